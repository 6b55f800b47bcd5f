"""Distilling a CNN's score into an explainer: equation (3), from images to explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from semquant import kept, priors
from semquant.checkpoints import OwnCheckpoint
from semquant.checks import InputError, check_finite, check_shapes, number
from semquant.concepts import FilterConcepts, Measured, OutputConcepts
from semquant.corrected import Correction
from semquant.explainers import Explainer, ExplainerOptions, starting_scale
from semquant.explanation import Explanation
from semquant.gathered import Gathered
from semquant.images import Images
from semquant.losses import Objective, distillation_loss, prior_loss, prior_weight
from semquant.measure import measured_batches
from semquant.models import undisturbed
from semquant.report import Report
from semquant.training import OPTIMIZERS, Descent, FitOptions, TensorBatches, choose_device, cosine

__all__ = ["FittedExplainer", "alpha_is_positive", "distill_measured", "fit_explainer"]

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


@dataclass(repr=False)
class FittedExplainer(kept.Kept):
    """A fitted explainer g, with what is needed to explain images.

    ``history`` has for each epoch ``loss``, ``distillation``, ``prior`` (each before its factor) and
    ``prior_weight``, the mean over batches. It is saved and loaded as in `semquant.kept`.
    """

    g: Explainer | Correction  #: in evaluation mode
    history: list[dict[str, float]] = field(default_factory=list)
    without_prior: int = 0  #: images with prior weights all zero: the prior loss had no say in them
    names: list[str] | None = None  #: what the concepts are called
    model: nn.Module | None = None  #: what was explained; None where the fit was from measured tensors
    concepts: FilterConcepts | OutputConcepts | None = None
    target: int | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    report: Report | None = None  #: what the explanation is worth, from `semquant.distill`: print it

    def __repr__(self) -> str:
        where = f" of {self.concepts.layer!r}" if self.concepts is not None else ""
        told = f"; {self.report.verdict} (see .report)" if self.report is not None else ""
        count = self.g.settings["n"]
        return f"<{type(self.g).__name__}: {count} concepts{where}, target {self.target}{told}>"

    def explain(self, images: Images | object, batch_size: int = 64) -> Explanation:
        """Explain the model's score on `Images`, a batch at a time; see there what `images` may be."""
        if self.model is None:
            raise InputError("model: none is known here, use explain_measured(measured)")
        gathered = Gathered()
        for _, part in measured_batches(self.concepts, self.model, images, self.target, self.g.reads_prior,
                                        prepare=self.prepare, batch_size=batch_size):
            found = self.explain_measured(part)
            gathered.add({name: getattr(found, name) for name in ("yhat", "y", "alpha")})
        return replace(found, **gathered.whole())

    def with_names(self, names: Mapping[int, str] | str | Path) -> FittedExplainer:
        """The same with names for some filters, from a dict or a YAML file, see `semquant.names`."""
        if not isinstance(self.concepts, FilterConcepts):
            raise InputError("names: these are for filters; accepted: FilterConcepts")
        concepts = self.concepts.with_names(names)
        return replace(self, concepts=concepts, names=concepts.names(self.g.settings["n"]))

    @undisturbed()
    def explain_measured(self, measured: Measured, batch_size: int = 256) -> Explanation:
        """Explain scores that `concepts` measured before.

        A `Correction` and `Steps` read w, as their concepts measure it: of filters with
        ``positions="weighted", clip=False``, of outputs the slopes of `StepConcepts`.
        """
        self.g.eval()
        alpha = self.g.weigh(measured, batch_size)
        return Explanation(measured.yhat, measured.y, alpha, float(self.g.bias.detach()), self.names)


@undisturbed()
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
    positive = alpha_is_positive(objective, explainer, fit)
    if len(yhat) < 2:
        raise InputError(f"images: {len(yhat)} given, a fit needs at least 2")
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
    if fit.checkpoint is not None:
        words = repr((objective, options,
                      replace(fit, checkpoint=None, device="auto", progress=None, workers=0)))
        data = [x[:4].flatten(1).mean(dim=1), y, yhat, *([] if w is None else [w])]
        fit = replace(fit, checkpoint=OwnCheckpoint(fit.checkpoint, words, *data))
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


def alpha_is_positive(objective: Objective, explainer: ExplainerOptions, fit: FitOptions) -> bool:
    """Whether alpha is at least 0, from settings that are checked to go together."""
    number("epochs", fit.epochs, 1, integer=True)
    entropic = objective.loss == "cross_entropy"
    positive = entropic if explainer.positive is None else explainer.positive
    if entropic and not positive:
        raise InputError("positive: False does not go with the cross-entropy, take loss='l2'")
    return positive


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
