"""The way in for a network of one's own: `distill`, from images to an explainer with its report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import replace

from torch import Tensor, nn

from semquant import targets
from semquant.checks import InputError, check_varies, one_of
from semquant.concepts import FilterConcepts, OutputConcepts
from semquant.corrected import Correction, correct, enough, tried
from semquant.distillation import FittedExplainer, alpha_is_positive, distill_measured
from semquant.explainers import ExplainerOptions
from semquant.images import Images
from semquant.losses import Objective
from semquant.models import unwrapped
from semquant.report import judge, look
from semquant.steps import sharing, stepped, steps_of, tail_of
from semquant.training import FitOptions, choose_device, placed

__all__ = ["distill"]

METHODS = ("auto", "paper", "corrected")


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
        ``"corrected"`` is this book's own: for filters gradient times input with a correction learned
        from removing filters, see `semquant.corrected`, 19 passes an image; for other outputs the steps
        of their logits, see `semquant.steps`, where `shared` stands in the Sequential that ends the model and
        `among` is None. ``"paper"`` is the paper's `Objective` for these concepts, ``concepts.objective``: cross-entropy and beta 10
        for filters, squared distance and 0.2 for outputs. With filters and the squared distance, w
        is not clipped if the concepts say so (``FilterConcepts(layer, clip=False)``). ``"auto"`` is
        ``"corrected"`` for filters, without the correction where it does harm on a fifth of the images of
        the fit, as it can with few; and for others their objective with b from the mean score and L
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
        something speaks against it, the worst is a warning as well. An InputError if a setting is not
        accepted, or the layer is unknown: before the model is run.

    Examples
    --------
    >>> concepts = FilterConcepts("features.10", rectified=True)  # a conv layer without a mask
    >>> explainer = distill(model, concepts, images=loader, target=281)
    >>> explanation = explainer.explain(images)
    """
    _check_arguments(model, concepts, method, explainer, fit, prepare)
    target = targets.resolve(target, unwrapped(model), concepts)
    objective, start = _chosen(method, concepts)
    plain, explainer = fit or FitOptions(), explainer or start
    corrects, steps = (objective is None and isinstance(concepts, kind)
                       for kind in (FilterConcepts, OutputConcepts))
    if objective is not None:
        alpha_is_positive(objective, explainer, plain)
    images = copy(Images.of(images))
    images.progress = images.progress or plain.progress
    with placed(model, choose_device(plain.device)):
        seen = look(model, sharing(concepts) if steps else concepts, images, target, prepare=prepare,
                    corrects=corrects, fit=replace(plain, keep_x=True) if steps else plain)
        check_varies("yhat", seen.measured.yhat)
        train, test = seen.split(plain.held_out)
        if steps:
            concepts, measured = stepped(model, concepts, seen.measured, train, target)
            seen = replace(seen, concepts=concepts, measured=measured, hides=False)
        measured, note = seen.of(train) if len(test) else seen.measured, None
        names = concepts.names(measured.y.shape[1], target)
        if corrects:
            removals, how = seen.removals[train] if len(test) else seen.removals, enough(len(measured), plain)
            g, history = correct(measured, removals, fit=how)
            note = _left_out(g, tried(measured, removals, how)) if method == "auto" else None
            fitted = FittedExplainer(g, history, names=names)
        elif steps:
            fitted = FittedExplainer(steps_of(measured, concepts, target), names=names)
        else:
            fitted = distill_measured(measured, objective=objective, explainer=explainer, fit=plain,
                                      names=names)
        fitted = replace(fitted, model=model, concepts=seen.concepts, target=target, prepare=prepare)
        fitted.report = judge(fitted.explain_measured, seen, plain.held_out, model, concepts, target,
                              prepare=prepare, without_prior=fitted.without_prior)
        fitted.report.notes += [note] if note else []
    if fitted.report.warnings:
        warnings.warn(f"semquant: {fitted.report.verdict}; print the explainer's report", stacklevel=2)
    return fitted


def _left_out(g: Correction, errors: tuple[float, float] | None) -> str | None:
    """Leave a correction out that did harm where it was tried, and say so."""
    if errors is not None and errors[0] <= errors[1]:
        return None
    g.leave_out()
    if errors is None:
        return "The correction is left out: there are too few images to try one."
    did = "harm" if errors[0] > errors[1] + 0.005 else "no good"
    return (f"The correction is left out: tried on a fifth of the images of the fit it did {did} (error {errors[0]:.2g}, "
            f"without it {errors[1]:.2g}).")


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
    if method == "corrected" and not isinstance(concepts, FilterConcepts | OutputConcepts):
        raise InputError("method: 'corrected' removes filters or moves outputs, it can't do that to "
                         f"{type(concepts).__name__}; accepted for these: 'auto', 'paper', or an Objective")
    if method == "corrected" and isinstance(concepts, OutputConcepts):
        tail_of(model, sharing(concepts).shared)
    if explainer is not None and (method == "corrected" or (method == "auto" and filters)):
        raise InputError("explainer: a correction reads no options of g; accepted: None, or method='paper'")
    if not (prepare is None or callable(prepare)):
        raise InputError(f"prepare: {type(prepare).__name__} is not a function of images, or None")
    concepts.check(model)
