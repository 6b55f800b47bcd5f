"""Distilling a CNN's score into an explainer: equation (3), from images to explanations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from semquant import kept, priors, targets
from semquant.checks import InputError, check_finite, check_shapes, number, one_of
from semquant.concepts import FilterConcepts, Measured, OutputConcepts
from semquant.corrected import Correction, correct, enough
from semquant.explainers import Explainer, ExplainerOptions, starting_scale
from semquant.explanation import Explanation
from semquant.images import Images
from semquant.losses import Objective, distillation_loss, prior_loss, prior_weight
from semquant.measure import measured_batches
from semquant.models import undisturbed, unwrapped
from semquant.report import Report, judge, look
from semquant.rows import Gathered
from semquant.training import (
    OPTIMIZERS, Descent, FitOptions, OwnCheckpoint, TensorBatches, choose_device, cosine, placed)

__all__ = ["FittedExplainer", "distill", "distill_measured", "fit_explainer"]

METHODS = ("auto", "paper", "corrected")
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
class FittedExplainer:
    """A fitted explainer g, with what is needed to explain images.

    Attributes
    ----------
    g : Explainer or Correction
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
    report : Report or None
        What the explanation is worth, from `distill`: print it.
    """

    g: Explainer | Correction
    history: list[dict[str, float]] = field(default_factory=list)
    without_prior: int = 0
    names: list[str] | None = None
    model: nn.Module | None = None
    concepts: FilterConcepts | OutputConcepts | None = None
    target: int | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    report: Report | None = None

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

    @undisturbed()
    def explain_measured(self, measured: Measured, batch_size: int = 256) -> Explanation:
        """Explain scores that `concepts` measured before; w is read by a `Correction` only."""
        self.g.eval()
        alpha = self.g.weigh(measured, batch_size)
        return Explanation(measured.yhat, measured.y, alpha, float(self.g.bias.detach()), self.names)

    def save(self, path: str | Path) -> None:
        """Write all but the model as a safetensors file, with a checksum; whole or not at all.

        A function, such as `prepare`, can't be in a file: `load` asks for it.
        """
        kept.write(path, self.g, {
            "names": self.names, "concepts": kept.options_of(self.concepts),
            "target": self.target if kept.plain(self.target) else None,
            "prepared": self.prepare is not None, "without_prior": self.without_prior,
            "report": None if self.report is None else self.report.to_dict()})

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | None = None,
             concepts: FilterConcepts | OutputConcepts | None = None,
             prepare: Callable[[Tensor], Tensor] | None = None) -> FittedExplainer:
        """Read what `save` wrote; with the model, an explainer of images at once.

        Raises
        ------
        InputError
            If the file can't be read, holds no explainer, is damaged or of a newer format, or lacks
            what the model needs to be explained: a function given as an option of the concepts, or
            `prepare`.
        """
        g, about = kept.read(path)
        concepts = kept.rebuilt(about.get("concepts")) if concepts is None else concepts
        if model is not None:
            if concepts is None:
                raise InputError(f"concepts: {path} can't tell them; accepted: the ones of the fit")
            if about.get("prepared") and prepare is None:
                raise InputError(f"prepare: {path} was fitted with one; accepted: that function")
            concepts.check(model)
        report = about.get("report")
        return cls(g, [], about.get("without_prior", 0), about["names"], model, concepts,
                   about.get("target"), prepare, None if report is None else Report.of(report))


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
    positive = _positive(objective, explainer, fit)
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


def _positive(objective: Objective, explainer: ExplainerOptions, fit: FitOptions) -> bool:
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


def distill(model: nn.Module, concepts: FilterConcepts | OutputConcepts, images: Images | object,
            target: int | str, *, method: str | Objective = "auto",
            explainer: ExplainerOptions | None = None, fit: FitOptions | None = None,
            prepare: Callable[[Tensor], Tensor] | None = None) -> FittedExplainer:
    """Distill one output of a CNN into an additive explainer, and report what it is worth.

    Parameters
    ----------
    model : Module
        images (B, C, H, W) -> logits (B, K), scores before any softmax or sigmoid. Not trained,
        not changed.
    concepts : FilterConcepts or OutputConcepts
        What y is.
    images : Images, or what they can be made from
        Training images: a tensor (N, C, H, W), a loader, a list, a folder and more, see
        `semquant.Images`. Labels are not read. They are gone through once, in any order.
    target : int or str
        Which output is explained, by number or by name where the model or the concepts know names,
        see `semquant.targets`.
    method : {"auto", "paper", "corrected"} or Objective
        ``"corrected"``, for filters, is this book's own: gradient times input with a correction
        learned from removing filters, see `semquant.corrected`; 19 passes an image. ``"paper"`` is
        the paper's `Objective` for these concepts, ``concepts.objective``: cross-entropy and beta 10
        for filters, squared distance and 0.2 for outputs. With filters and the squared distance, w
        is not clipped if the concepts say so (``FilterConcepts(layer, clip=False)``). ``"auto"`` is
        ``"corrected"`` for filters, and for others their objective with b from the mean score and L
        in units of the scores' variance.
    explainer : ExplainerOptions, optional
        What g is, and where g and b start. A correction reads none.
    fit : FitOptions, optional
        Epochs, rates, seed, device, and the share of images that is held out for the report; on its
        device the model is run as well, and moved back. A correction has epochs, batches and rates of
        its own where these are left as they are, see `semquant.corrected.enough`.
    prepare : callable, optional
        Applied to each batch of images before the model, here and in ``explain``. Without it bytes
        become numbers from 0 to 1.

    Returns
    -------
    FittedExplainer
        Its ``explain(images)`` gives an `Explanation`, its ``report`` says what that is worth. If
        something speaks against it, the worst is a warning as well.

    Raises
    ------
    InputError
        If a setting is not accepted, or the layer is unknown: before the model is run.

    Examples
    --------
    >>> concepts = FilterConcepts("features.10", rectified=True)  # a conv layer without a mask
    >>> explainer = distill(model, concepts, images=loader, target=281)
    >>> print(explainer.report)
    >>> explanation = explainer.explain(images)
    >>> explanation.contributions, explanation.bias, explanation.residual
    """
    _check_arguments(model, concepts, method, explainer, fit, prepare)
    target = targets.resolve(target, unwrapped(model), concepts)
    objective, start = _chosen(method, concepts)
    plain, explainer, corrects = fit or FitOptions(), explainer or start, objective is None
    if not corrects:
        _positive(objective, explainer, plain)
    images = Images.of(images)
    if images.progress is None:
        images = replace(images, progress=plain.progress)
    with placed(model, choose_device(plain.device)):
        seen = look(model, concepts, images, target, prepare=prepare, corrects=corrects, fit=plain)
        train, test = seen.split(plain.held_out)
        measured = seen.of(train) if len(test) else seen.measured
        names = concepts.names(measured.y.shape[1], target)
        if corrects:
            removals = seen.removals[train] if len(test) else seen.removals
            g, history = correct(measured, removals, fit=enough(len(measured), plain))
            fitted = FittedExplainer(g, history, names=names)
        else:
            fitted = distill_measured(measured, objective=objective, explainer=explainer, fit=plain,
                                      names=names)
        fitted = replace(fitted, model=model, concepts=seen.concepts, target=target, prepare=prepare)
        fitted.report = judge(fitted.explain_measured, seen, plain.held_out, model, concepts, target,
                              prepare=prepare, without_prior=fitted.without_prior)
    if fitted.report.warnings:
        warnings.warn(f"semquant: {fitted.report.verdict}; print the explainer's report", stacklevel=2)
    return fitted


def _chosen(method: str | Objective, concepts: object) -> tuple[Objective | None, ExplainerOptions]:
    """What a method minimises, None for a correction, and how g starts if nothing is said of it."""
    if method == "corrected" or (method == "auto" and isinstance(concepts, FilterConcepts)):
        return None, ExplainerOptions()
    if method == "auto":
        return replace(concepts.objective, divide_by_variance=True), ExplainerOptions(bias="mean")
    return concepts.objective if method == "paper" else method, ExplainerOptions()


def _check_arguments(model: nn.Module, concepts: object, method: object, explainer: object,
                     fit: object, prepare: object) -> None:
    """Check all that can be checked before the model is run."""
    if not (hasattr(concepts, "measure") and hasattr(concepts, "layer")):
        raise InputError(f"concepts: {type(concepts).__name__} is not FilterConcepts or OutputConcepts")
    if not isinstance(method, Objective):
        one_of("method", method, METHODS)
    for field_, value, kind in (("explainer", explainer, ExplainerOptions), ("fit", fit, FitOptions)):
        if not isinstance(value, kind | None):
            raise InputError(f"{field_}: {type(value).__name__} is not {kind.__name__}, or None")
    filters = isinstance(concepts, FilterConcepts)
    if method == "corrected" and not filters:
        raise InputError(f"method: 'corrected' removes filters, it can't remove {type(concepts).__name__}; "
                         "accepted for these: 'auto', 'paper', or an Objective")
    if explainer is not None and (method == "corrected" or (method == "auto" and filters)):
        raise InputError("explainer: a correction reads no options of g; accepted: None, or method='paper'")
    if not (prepare is None or callable(prepare)):
        raise InputError(f"prepare: {type(prepare).__name__} is not a function of images, or None")
    concepts.check(model)
