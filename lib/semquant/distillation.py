"""Distilling a CNN's score into an explainer: equation (3), from images to explanations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from semquant import priors
from semquant.checks import InputError, number, one_of
from semquant.concepts import FilterConcepts, Measured, OutputConcepts, measure_batches
from semquant.explainers import Explainer, starting_scale
from semquant.explanation import Explanation
from semquant.losses import distillation_loss, prior_cross_entropy, prior_l2, prior_weight
from semquant.networks.performers import load_weights
from semquant.tensors import check_finite, check_shapes
from semquant.training import TensorBatches, choose_device, fit

__all__ = ["LOSSES", "FittedExplainer", "distill", "distill_measured"]

LOSSES = ("cross_entropy", "l2")
SCALES = ("literal", "scaled")
BIASES = ("mean", "min")
DRAWN = ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_")  # how modules begin
SCALE_IMAGES = 512  # as many as the starting scale is computed from


@dataclass
class FittedExplainer:
    """A fitted explainer g, with what is needed to explain images.

    Attributes
    ----------
    g : Explainer
        In evaluation mode.
    history : list of dict
        For each epoch ``loss``, ``distillation``, ``prior`` (each before its factor) and
        ``prior_weight``, the mean over batches.
    without_prior : int
        Images whose prior weights were all zero, so that the prior loss had no say in them.
    names : list of str
        What the concepts are called.
    model, concepts, target, prepare
        What was explained; None when the fit was from measured tensors.
    """

    g: Explainer
    history: list[dict[str, float]] = field(default_factory=list)
    without_prior: int = 0
    names: list[str] | None = None
    model: nn.Module | None = None
    concepts: FilterConcepts | OutputConcepts | None = None
    target: int | None = None
    prepare: Callable[[Tensor], Tensor] | None = None

    def explain(self, images: Tensor | Iterable, batch_size: int = 64) -> Explanation:
        """Explain the model's score on images (B, C, H, W), or on those of a loader."""
        if self.model is None:
            raise InputError("model: none is known here, use explain_measured(measured)")
        return self.explain_measured(
            measure_batches(
                self.concepts, self.model, images, self.target, "none",
                batch_size=batch_size, prepare=self.prepare,
            )
        )  # fmt: skip

    def explain_measured(self, measured: Measured, batch_size: int = 256) -> Explanation:
        """Explain scores whose x, y and yhat were measured before; w is not read."""
        device = self.g.bias.device
        self.g.eval()
        with torch.no_grad():
            alpha = torch.cat(
                [self.g(x.to(device)).to(measured.y.device) for x in measured.x.split(batch_size)]
            )
        bias = float(self.g.bias.detach())
        return Explanation(measured.yhat, measured.y, alpha, bias, self.names)

    def save(self, path: str | Path) -> None:
        """Write g as a safetensors file, with its settings and the concepts' names."""
        state = {name: tensor.cpu().contiguous() for name, tensor in self.g.state_dict().items()}
        about = {"settings": self.g.settings, "names": self.names}
        # one entry: safetensors writes several in an order that changes from run to run
        save_file(state, path, metadata={"explainer": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> FittedExplainer:
        """Read what `save` wrote: an explainer of measured images, on the CPU.

        Raises
        ------
        InputError
            If the file holds no explainer.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["explainer"])
                g = Explainer(**about["settings"])
                load_weights(g, {name: file.get_tensor(name) for name in file.keys()}, str(path))
            return cls(g.eval(), names=about["names"])
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"explainer: {path} can't be read ({error.strerror or error})") from error
        except Exception as error:  # no such entry, no such setting, no safetensors file
            raise InputError(f"explainer: {path} holds no explainer") from error


def distill_measured(
    measured: Measured,
    *,
    prior: str = "measured",
    loss: str = "cross_entropy",
    beta: float = 10.0,
    epochs: int = 12,
    depth: str | int = "small",
    scale: str | float = "scaled",
    bias: str | float = 0.0,
    bias_rate: float = 1.0,
    positive: bool | None = None,
    direction: str = "log_alpha",
    divide_by_variance: bool = False,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    device: str = "auto",
    names: list[str] | None = None,
    checkpoint=None,
    key: str = "",
    amp: bool = False,
    channels_last: bool = False,
    workers: int = 0,
    progress: str | None = None,
    on_epoch: Callable[[int, dict], object] | None = None,
    watch: Callable[[int, FittedExplainer], object] | None = None,
    **g_settings,
) -> FittedExplainer:
    r"""Fit an explainer to measured x, y, yhat and w.

    .. math:: \mathrm{Loss} = L + \lambda(t)\,\mathcal L(\alpha, w), \qquad
              \lambda(t) = \beta / \sqrt t

    Parameters
    ----------
    measured : Measured
        Of all training images; x may be any `semquant.rows.Rows`. Left unchanged.
    prior : {"measured", "uniform", "permuted", "none"}
        Which w the fit sees; ``"none"`` is the paper's baseline.
    loss : {"cross_entropy", "l2"}
        Which case of equation (4). The cross-entropy needs w and alpha of at least 0.
    beta : float
        10 in Experiment 1, 0.2 in Experiment 2.
    epochs : int
        Passes over the data; t counts them from 1.
    depth : {"small", 18, 34, 50, 101, 152}
        Size of g.
    scale : {"literal", "scaled"} or float
        The fixed factor on alpha: 1; or what makes the sum of contributions start as large as the
        scores vary (`starting_scale`); or a given one.
    bias : float or {"mean", "min"}
        Where b starts: a number, or the mean or the smallest yhat.
    bias_rate : float
        Learning rate of b in units of g's. A scalar under AdamW moves by at most about its
        learning rate a step, so at 1 b stays near its start.
    positive : bool, optional
        Whether alpha passes a softplus; by default it does with the cross-entropy.
    direction : {"log_alpha", "log_w"}
        See `prior_cross_entropy`.
    divide_by_variance : bool
        Whether L is divided by the variance of yhat, so that beta means the same at any scale of
        the scores.
    learning_rate, weight_decay, batch_size : float, float, int
        AdamW with a cosine decay to 0 over all steps; b is not decayed.
    seed : int
        Fixes the initialisation of g, the order of images, and a permuted prior.
    device : str
        ``"auto"`` takes CUDA where there is one.
    names : list of str, optional
        What the concepts are called.
    checkpoint, key, amp, progress, on_epoch
        As in `semquant.training.fit`.
    watch : callable, optional
        Called with an epoch and the explainer as it stands after it, in evaluation mode; and before
        the first, as epoch 0. To look at, not to keep: its g goes on learning. The fit is the same
        with it and without.
    channels_last : bool
        Memory layout of g and of its input.
    workers : int
        Processes that fetch x where it is not in memory, see `semquant.training.TensorBatches`.
    **g_settings
        Further settings of `Explainer`: reduction, stem_stride, last_std, last_bias.

    Returns
    -------
    FittedExplainer

    Raises
    ------
    InputError
        If the tensors don't fit each other, hold NaN, or a setting is not accepted.

    Notes
    -----
    Optimiser, epochs, batch size and initialisation are not given in the paper.
    """
    x, y, yhat = measured.x, measured.y, measured.yhat
    check_shapes(x=(x, "B C H W"), y=(y, "B n"), yhat=(yhat, "B"))
    check_finite(y=y, yhat=yhat)
    if isinstance(x, Tensor):  # other rows were checked when they were measured
        check_finite(x=x)
    one_of("loss", loss, LOSSES)
    number("epochs", epochs, 1, integer=True)
    number("beta", beta, 0)
    number("bias_rate", bias_rate, 0)
    number("learning_rate", learning_rate, 0)
    number("weight_decay", weight_decay, 0)
    if len(yhat) < 2:
        raise InputError(f"images: {len(yhat)} given, a fit needs at least 2")
    positive = loss == "cross_entropy" if positive is None else positive
    if loss == "cross_entropy" and not positive:
        raise InputError("positive: False does not go with the cross-entropy, take loss='l2'")
    w = priors.control(prior, measured.w, seed)
    without_prior = 0
    if w is not None:
        check_shapes(y=(y, "B n"), w=(w, "B n"))
        check_finite(w=w)
        without_prior = int((w == 0).all(dim=1).sum())

    device = choose_device(device)
    g = _fresh(
        measured, depth=depth, positive=positive, scale=scale, seed=seed,
        bias=_start(bias, yhat), **g_settings,
    ).to(device)  # fmt: skip
    if channels_last:
        g = g.to(memory_format=torch.channels_last)
    unit = float(yhat.var()) if divide_by_variance else 1.0
    if unit == 0:
        raise InputError("yhat: all scores are equal, their variance can't divide the loss")

    def step(batch: tuple, epoch: int) -> dict[str, Tensor]:
        x, y, yhat, *rest = batch
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        alpha = g(x)
        with torch.autocast(x.device.type, enabled=False):  # sums over n stay in full precision
            distillation = distillation_loss(yhat, alpha, y, g.bias) / unit
            if not rest:
                return {"loss": distillation, "distillation": distillation}
            if loss == "cross_entropy":
                dissimilarity = prior_cross_entropy(alpha, rest[0], direction)
            else:
                dissimilarity = prior_l2(alpha, rest[0])
            weight = prior_weight(epoch, beta)  # $\lambda(t)$
        return {
            "loss": distillation + weight * dissimilarity,
            "distillation": distillation,
            "prior": dissimilarity,
            "prior_weight": torch.tensor(weight),
        }

    tensors = (x, y, yhat) if w is None else (x, y, yhat, w)
    generator = torch.Generator()  # of its own: torch's stays as it is, for whatever runs beside
    batches = TensorBatches(*tensors, batch_size=batch_size, device=device, workers=workers,
                            generator=generator)
    steps = max(1, epochs * len(batches))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in g.parameters() if p is not g.bias]},
            {"params": [g.bias], "lr": learning_rate * bias_rate, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        weight_decay=weight_decay,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * min(t / steps, 1.0)))
    )

    def after(epoch: int, means: dict | None = None) -> object:
        if watch is not None:
            watch(epoch, FittedExplainer(g.eval(), without_prior=without_prior, names=names))
            g.train()
        return on_epoch(epoch, means) if on_epoch is not None and epoch else None

    after(0)
    history = fit(
        g, step, batches, epochs=epochs, optimizer=optimizer, scheduler=scheduler, seed=seed,
        checkpoint=checkpoint, key=key, amp=amp, device=device, progress=progress, on_epoch=after,
        generator=generator,
    )  # fmt: skip
    return FittedExplainer(g, history, without_prior, names)


def _start(bias: str | float, yhat: Tensor) -> float:
    if isinstance(bias, str):
        return float(yhat.mean() if one_of("bias", bias, BIASES) == "mean" else yhat.min())
    return float(number("bias", bias))


class _Drawing(TorchFunctionMode):
    """Lets the weights that this thread initialises be drawn from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        if function.__name__ in DRAWN and keywords.get("generator") is None:
            keywords["generator"] = self.generator
        return function(*arguments, **keywords)


def _fresh(measured: Measured, *, scale: str | float, seed: int, **settings) -> Explainer:
    """A freshly initialised g; torch's generator is not drawn from."""
    channels, *size = measured.x.shape[1:]
    if isinstance(scale, str):
        one_of("scale", scale, SCALES)
    n = measured.y.shape[1]
    generator = torch.Generator().manual_seed(seed)
    fixed = scale if not isinstance(scale, str) else 1.0
    with _Drawing(generator):
        g = Explainer(channels, n, tuple(size), scale=fixed, **settings)
    if scale == "scaled":
        some = torch.randperm(len(measured), generator=generator)[:SCALE_IMAGES]
        part = measured[some.to(measured.y.device)].to("cpu")
        scale = starting_scale(g, part.x, part.y, part.yhat)
        g.scale.fill_(scale)
        g.settings["scale"] = scale
    return g


def distill(
    model: nn.Module,
    concepts: FilterConcepts | OutputConcepts,
    images: Tensor | Iterable,
    target: int,
    *,
    prior: str | None = None,
    loss: str | None = None,
    beta: float | None = None,
    device: str = "auto",
    prepare: Callable[[Tensor], Tensor] | None = None,
    measure_batch_size: int = 64,
    seed: int = 0,
    **settings,
) -> FittedExplainer:
    """Distill one output of a CNN into an additive explainer.

    Parameters
    ----------
    model : Module
        images (B, C, H, W) -> logits (B, K), scores before any softmax or sigmoid. Not trained,
        not changed.
    concepts : FilterConcepts or OutputConcepts
        What y is.
    images : tensor (N, C, H, W) or loader
        Training images, without labels: batches of images, or tuples whose first item they are.
        Each is run through the model once.
    target : int
        Which output is explained.
    prior : str, optional
        ``"jacobian"`` or ``"taylor"`` (the default of the concepts), ``"uniform"``,
        ``"permuted"``, or ``"none"``, the paper's baseline.
    loss, beta : optional
        By default the paper's for these concepts: cross-entropy and 10 for filters, squared
        distance and 0.2 for outputs. With filters and the squared distance, w is not clipped if
        the concepts say so (``FilterConcepts(layer, clip=False)``).
    device : str
        ``"auto"`` takes CUDA where there is one; the model is moved back afterwards.
    prepare : callable, optional
        Applied to each batch of images before the model, here and in ``explain``.
    measure_batch_size : int
        How many images of a tensor go through the model at once.
    seed : int
        Fixes everything random.
    **settings
        Further settings of `distill_measured`.

    Returns
    -------
    FittedExplainer
        Its ``explain(images)`` gives an `Explanation`.

    Examples
    --------
    >>> concepts = FilterConcepts("features.10", rectified=True)  # a conv layer without a mask
    >>> explainer = distill(model, concepts, images=loader, target=281)
    >>> explanation = explainer.explain(images)
    >>> explanation.contributions, explanation.bias, explanation.residual
    """
    name = concepts.prior if prior is None else prior
    one_of("prior", name, (concepts.prior, *priors.CONTROLS[1:]))
    measured = measure_batches(
        concepts, model, images, target, "none" if name == "none" else concepts.prior,
        batch_size=measure_batch_size, prepare=prepare, device=choose_device(device),
    )  # fmt: skip
    n = measured.y.shape[1]
    names = (
        concepts.names(n, target) if isinstance(concepts, OutputConcepts) else concepts.names(n)
    )
    fitted = distill_measured(
        measured,
        prior="measured" if name == concepts.prior else name,
        loss=concepts.loss if loss is None else loss,
        beta=concepts.beta if beta is None else beta,
        device=device, seed=seed, names=names, **settings,
    )  # fmt: skip
    fitted.model, fitted.concepts = model, concepts
    fitted.target, fitted.prepare = target, prepare
    return fitted
