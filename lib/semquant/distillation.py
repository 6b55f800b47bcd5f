"""Distilling a CNN's score into an explainer: equation (3), from images to explanations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semquant import corrected, priors, steps
from semquant.checks import InputError, check_finite, check_shapes, one_of
from semquant.concepts import FilterConcepts, Measured, OutputConcepts
from semquant.explainers import Explainer, ExplainerOptions, starting_scale
from semquant.explanation import Explanation
from semquant.losses import Objective, distillation_loss, prior_loss, prior_weight
from semquant.measure import measure
from semquant.networks.performers import load_weights
from semquant.training import (
    OPTIMIZERS, Descent, FitOptions, TensorBatches, choose_device, cosine, placed)

__all__ = ["FittedExplainer", "distill", "distill_measured", "fit_explainer"]

SCALE_IMAGES = 512  # as many as the starting scale is computed from


def fit_explainer(g: Explainer, measured: Measured, objective: Objective, options: FitOptions,
                  on_epoch: Callable[[int, dict], object] | None = None) -> list[dict[str, float]]:
    r"""Fit g and b to measured scores: the loop of equation (3).

    .. math:: \mathrm{Loss} = L + \lambda(t)\,\mathcal L(\alpha, w), \qquad
              \lambda(t) = \beta / \sqrt t

    Returns for each epoch t the means over its batches. Without w only L is there, the paper's
    baseline. The paper gives no optimiser: here AdamW or SGD, with a cosine decay over all steps.
    """
    x, y, yhat, w = measured.x, measured.y, measured.yhat, measured.w
    generator = torch.Generator()  # of its own: torch's stays as it is, for whatever runs beside
    batches = TensorBatches(*(t for t in (x, y, yhat, w) if t is not None),
                            batch_size=options.batch_size, device=g.bias.device,
                            workers=options.workers, generator=generator,
                            channels_last=options.channels_last)
    unit = float(yhat.var()) if objective.divide_by_variance else 1.0
    rate, decay = options.learning_rate, options.weight_decay
    optimizer = OPTIMIZERS[options.optimizer]([
        {"params": [p for p in g.parameters() if p is not g.bias]},
        {"params": [g.bias], "lr": rate * options.bias_rate, "weight_decay": 0.0},
    ], lr=rate, weight_decay=decay, fused=True)
    schedule = cosine(optimizer, max(1, options.epochs * len(batches)))
    descent = Descent(g, optimizer, schedule, options, generator, on_epoch)
    for t in descent.epochs():
        strength = prior_weight(t, objective.beta)  # lambda(t)
        for x, y, yhat, *w in batches:
            with descent.precision():
                alpha = g(x)  # (B, n)
            distillation = distillation_loss(yhat, alpha, y, g.bias) / unit  # equation (2)
            if not w:
                descent.step(distillation, distillation=distillation)
                continue
            prior = prior_loss(alpha, w[0], objective)  # equation (4)
            loss = distillation + strength * prior  # equation (3)
            descent.step(loss, distillation=distillation, prior=prior, prior_weight=strength)
    return descent.history


@dataclass
class FittedExplainer:
    """A fitted explainer g, with what is needed to explain images.

    Attributes
    ----------
    g : Explainer, Correction or Steps
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

    g: Explainer | corrected.Correction | steps.Steps
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
        return self.explain_measured(measure(self.concepts, self.model, images, self.target,
                                             self.g.reads_prior, prepare=self.prepare,
                                             batch_size=batch_size))

    def explain_measured(self, measured: Measured, batch_size: int = 256) -> Explanation:
        """Explain scores that were measured before; w is read by a `Correction` only."""
        self.g.eval()
        alpha = self.g.weigh(measured, batch_size)
        return Explanation(measured.yhat, measured.y, alpha, float(self.g.bias.detach()), self.names)

    def save(self, path: str | Path) -> None:
        """Write g as a safetensors file, with its settings and the concepts' names."""
        state = {name: tensor.cpu().contiguous() for name, tensor in self.g.state_dict().items()}
        about = {"settings": self.g.settings, "names": self.names}
        # one entry: safetensors writes several in an order that changes from run to run
        save_file(state, path, metadata={"explainer": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> FittedExplainer:
        """Read what `save` wrote, an explainer of measured images; an InputError for another file."""
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["explainer"])
                kinds = {"hidden": corrected.Correction.of, "kind": steps.Steps}
                kind = next((kinds[key] for key in kinds if key in about["settings"]), Explainer.of)
                g = kind(**about["settings"])
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
    objective: Objective = Objective(),
    explainer: ExplainerOptions = ExplainerOptions(),
    fit: FitOptions = FitOptions(),
    names: list[str] | None = None,
    on_epoch: Callable[[int, FittedExplainer, dict], object] | None = None,
) -> FittedExplainer:
    """Fit an explainer to measured x, y, yhat and w.

    Parameters
    ----------
    measured : Measured
        Of all training images; x may be any `semquant.rows.Rows`. Left unchanged.
    objective : Objective
        What is minimised: which w, which loss, beta.
    explainer : ExplainerOptions
        What g is, and where g and b start.
    fit : FitOptions
        Epochs, batches, learning rates, seed, device.
    names : list of str, optional
        What the concepts are called.
    on_epoch : callable, optional
        Called after each epoch, and before the first as epoch 0, with the epoch, the explainer as it
        stands (in evaluation mode; its g goes on learning) and the epoch's means. A true answer ends
        the fit. The numbers are the same with it and without.

    Returns
    -------
    FittedExplainer

    Raises
    ------
    InputError
        If the tensors don't fit each other, hold NaN, or a setting is not accepted.
    """
    x, y, yhat = measured.x, measured.y, measured.yhat
    check_shapes(x=(x, "B C H W"), y=(y, "B n"), yhat=(yhat, "B"))
    check_finite(y=y, yhat=yhat)
    if isinstance(x, Tensor):  # other rows were checked when they were measured
        check_finite(x=x)
    if fit.epochs < 1:
        raise InputError(f"epochs: {fit.epochs} is not a whole number of at least 1")
    if len(yhat) < 2:
        raise InputError(f"images: {len(yhat)} given, a fit needs at least 2")
    entropic = objective.loss == "cross_entropy"
    positive = entropic if explainer.positive is None else explainer.positive
    if entropic and not positive:
        raise InputError("positive: False does not go with the cross-entropy, take loss='l2'")
    if objective.divide_by_variance and float(yhat.var()) == 0:
        raise InputError("yhat: all scores are equal, their variance can't divide the loss")
    w = priors.control(objective.prior, measured.w, fit.seed)
    without_prior = 0
    if w is not None:
        check_shapes(y=(y, "B n"), w=(w, "B n"))
        check_finite(w=w)
        without_prior = int((w == 0).all(dim=1).sum())
    bias = {"mean": yhat.mean, "min": yhat.min}.get(explainer.bias, lambda: explainer.bias)()
    options = replace(explainer, positive=positive, bias=float(bias))
    device = choose_device(fit.device)
    g = _fresh(measured, options, fit.seed).to(device)
    if fit.channels_last:
        g = g.to(memory_format=torch.channels_last)

    def watch(epoch: int, means: dict) -> object:
        if on_epoch is None:
            return None
        answer = on_epoch(epoch, FittedExplainer(g.eval(), without_prior=without_prior, names=names),
                          means)
        g.train()
        return answer

    history = []
    if not watch(0, {}):
        history = fit_explainer(g, Measured(x, y, yhat, w), objective, fit, watch)
    return FittedExplainer(g, history, without_prior, names)


def _fresh(measured: Measured, options: ExplainerOptions, seed: int) -> Explainer:
    """A freshly initialised g; torch's own random numbers go on as if there were none."""
    channels, *size = measured.x.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        g = Explainer(channels, measured.y.shape[1], tuple(size), options)
        some = torch.randperm(len(measured))[:SCALE_IMAGES]
    if options.scale == "scaled":
        part = measured[some.to(measured.y.device)].to("cpu")
        g.scale.fill_(starting_scale(g, part.x, part.y, part.yhat))
    return g


def distill(model: nn.Module, concepts: FilterConcepts | OutputConcepts, images: Tensor | Iterable,
            target: int, *, method: str | Objective = "paper",
            explainer: ExplainerOptions = ExplainerOptions(), fit: FitOptions | None = None,
            prepare: Callable[[Tensor], Tensor] | None = None) -> FittedExplainer:
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
    method : {"paper", "corrected"} or Objective
        ``"paper"`` is the paper's `Objective` for these concepts, ``concepts.objective``:
        cross-entropy and beta 10 for filters, squared distance and 0.2 for outputs. With filters and
        the squared distance, w is not clipped if the concepts say so (``FilterConcepts(layer,
        clip=False)``). ``"corrected"`` is this book's own: for filters gradient times input with a learned
        correction, see `semquant.corrected`, 17 passes an image; for outputs steps, see `semquant.steps`.
    explainer, fit
        As in `distill_measured`; on the fit's device the model is run as well, and moved back. A
        correction reads no explainer options, and has its own fit by default.
    prepare : callable, optional
        Applied to each batch of images before the model, here and in ``explain``.

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
    if method == "corrected":
        fields = steps.step_model if isinstance(concepts, OutputConcepts) else corrected.correct_model
        return FittedExplainer(**fields(model, concepts, images, target, fit, prepare))
    fit, objective = fit or FitOptions(), method
    if not isinstance(method, Objective):
        one_of("method", method, ("paper", "corrected"))
        objective = concepts.objective
    with placed(model, choose_device(fit.device)):
        measured = measure(concepts, model, images, target, objective.prior != "none", prepare=prepare)
    names = concepts.names(measured.y.shape[1], target)
    fitted = distill_measured(measured, objective=objective, explainer=explainer, fit=fit, names=names)
    return replace(fitted, model=model, concepts=concepts, target=target, prepare=prepare)
