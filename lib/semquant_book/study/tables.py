"""Records as tables, one row a performer, explainer or choice of concepts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from semquant import metrics
from semquant_book.datasets.names import ATTRIBUTES, OPTIMIZERS
from semquant_book.study import experiment1, experiment2, store
from semquant_book.study.concept_choice import linear_weights, moments, selection_record
from semquant_book.study.presets import Settings

__all__ = ["arms", "attribute_frame", "explainer_frame", "history_frame", "metrics_row", "normalised",
           "performer_frame", "reference_frame", "selection_frame", "yardstick_frame"]

#: Table 3's parts, in its order.
TABLE_3_PARTS = ("eye", "mouth & nose", "ear", "torso", "leg")


def normalised(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with ``n``, the number of concepts, and ``normalised_entropy``, H / ln n.

    1 where all contributions are equally large, whatever n; both NaN for a single concept. In
    Experiment 1 the table has the number of filters of each part.
    """
    filters = [name for name in frame if name.startswith("filters ")]
    n = (frame[filters].sum(axis=1) if filters else
         pd.Series(len(ATTRIBUTES) - 1, frame.index).where(frame.method != "constant", 1))
    n = n.where(n > 1)
    return frame.assign(n=n, normalised_entropy=frame.entropy / n.map(math.log, na_action="ignore"))


def arms(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table of explainers whose ``scale`` names the optimiser too where it is not the first
    row's: "literal, SGD" is a reading of its own.

    Records from before there was a choice lack ``optimizer`` and ``bias_start``: AdamW, and 0 with y
    literal, the smallest score with y scaled.
    """
    reading = frame.scale.str.partition(", ")[0]
    before = {"optimizer": "adamw", "bias_start": reading.map({"literal": "zero", "scaled": "min"})}
    frame = frame.assign(**{name: value for name, value in before.items() if name not in frame})
    other = frame.optimizer != frame.optimizer.iloc[0]
    return frame.assign(scale=reading.mask(other, reading + ", " + frame.optimizer.map(OPTIMIZERS)))


def _runs(settings: Settings,
          performer_seeds: Sequence[int] | None = None) -> list[experiment1.Run]:
    """The performers of Experiment 1, without controls; of some seeds, or all."""
    return [experiment1.Run(settings, architecture, category, seed)
            for category in settings.categories for architecture in settings.architectures
            for seed in performer_seeds or range(settings.performer_seeds)]


def explainer_frame(settings: Settings,
                    performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the metrics of every explainer, one row each.

    Columns ``architecture``, ``category``, ``performer_seed``, ``method``, ``seed``, those of `arms`,
    each metric of `evaluation.evaluate`, and ``error <part>`` and ``error_of_shares <part>`` for
    each part group, with ``error average`` over the parts of Table 3 that have filters; those of
    `normalised`.
    """
    return normalised(arms(pd.DataFrame([metrics_row(run.explainer_record(*which))
                                         for run in _runs(settings, performer_seeds)
                                         for which in store.explainer_runs(settings)])))


def metrics_row(about: dict) -> dict:
    """Flatten the metrics of an explainer's record, as `explainer_frame` describes."""
    row = _chosen(about, "architecture", "category", "performer_seed", "method", "scale", "optimizer",
                  "bias_start", "seed", "seconds")
    for name, value in about["metrics"].items():
        if not isinstance(value, dict):
            row[name] = value
            continue
        row |= {f"{name} {part}": number for part, number in value.items()}
        if name in ("error", "error_of_shares"):
            known = [value[part] for part in TABLE_3_PARTS if value.get(part) is not None]
            row[f"{name} average"] = sum(known) / len(known) if known else None
    return row


def _chosen(about: dict, *names: str) -> dict:
    """Those fields that are there."""
    return {name: about[name] for name in names if name in about}


def performer_frame(settings: Settings) -> pd.DataFrame:
    """Return the metrics of every performer, one row each; controls have ``filter_loss`` False.

    Its seed is ``seed``, and ``performer_seed`` as in the other tables.
    """
    kept = [replace(run, filter_loss=loss).record()
            for run in _runs(settings) for loss in (True, False)
            if loss or run.architecture in settings.control_without_filter_loss]
    return pd.DataFrame([
        _chosen(about, "architecture", "category", "seed", "filter_loss", "parameters", "seconds")
        | {"performer_seed": about["seed"]} | about["metrics"] for about in kept])


def reference_frame(settings: Settings, performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the metrics of what stands beside the explainers: see `experiment1.Run.references`."""
    return normalised(pd.DataFrame([
        metrics_row({**about, "method": name, "metrics": measured})
        for about in (run.references() for run in _runs(settings, performer_seeds))
        for name, measured in about["references"].items()]))


def history_frame(settings: Settings) -> pd.DataFrame:
    """Return what every epoch of ours in Experiment 1 measured, one row each.

    Columns ``architecture``, ``category``, ``performer_seed``, those of `arms`, ``seed``, ``epoch``
    (from 1), ``distillation``, ``prior``, ``prior_weight``.
    """
    kept = (run.explainer_record(*which) for run in _runs(settings)
            for which in store.explainer_runs(settings) if which[0] == "ours")
    return arms(pd.DataFrame([
        _chosen(about, "architecture", "category", "performer_seed", "scale", "optimizer", "bias_start",
                "seed")
        | {"epoch": t} | epoch for about in kept for t, epoch in enumerate(about["history"], 1)]))


def attribute_frame(settings: Settings, targets: Sequence[str] | None = None,
                    performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the metrics of every explainer of Experiment 2, one row each.

    Columns ``target`` (as in the paper's tables: ``"heavy_makeup"``), ``performer_seed``,
    ``method`` (``"ours"``, ``"baseline"`` or a control), ``last_layer``, ``seed``, and each metric
    of `evaluation.evaluate_attribute`; ``agreement`` with the truth by flipping.
    """
    kept = [experiment2.Run(settings, target, seed).explainer_record(*run)
            for target in targets or settings.targets
            for seed in performer_seeds or range(settings.performer_seeds)
            for run in store.attribute_runs(settings)]
    return normalised(pd.DataFrame([
        {"target": about["target"].lower()}
        | _chosen(about, "performer_seed", "method", "last_layer", "seed", "seconds")
        | {"agreement": None} | about["metrics"] for about in kept]).astype({"agreement": float}))


def yardstick_frame(settings: Settings,
                    performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return entropy and agreement of contributions that stand beside ours, a row for each.

    ``prior``: w_i y_i; ``uniform``: y_i, equal weights; ``linear``: fixed weights, the same for all
    images, by least squares on the training images; ``mean_alpha``: ours with alpha averaged over
    the test images; ``another_face``: ours of the next test image, which says what an agreement of
    nothing but the average explanation is. Photographs have no ``agreement``, since no truth by
    flipping.
    """
    rows = []
    for seed in performer_seeds or range(settings.performer_seeds):
        products = moments(experiment2.outputs(settings, "train", seed).scores)
        for target in settings.targets:
            run = experiment2.Run(settings, target, seed)
            found, ours = run.measured("test"), run.explain()
            v = linear_weights(products, experiment2.target_index(target),
                               experiment2.concepts_of(target))
            contributions = {
                "prior": found.w * found.y, "uniform": found.y, "linear": v[:-1].float() * found.y,
                "mean_alpha": ours.alpha.mean(dim=0) * ours.y,
                "another_face": ours.contributions.roll(1, dims=0)}
            drops = run.change_of_score() if settings.faces == "drawn" else None
            for method, values in contributions.items():
                agreement = None if drops is None else float(
                    metrics.rank_agreement(values[: len(drops)], drops).nanmean())
                entropy = float(metrics.contribution_entropy(values).nanmean())
                rows.append({"target": target.lower(), "performer_seed": seed, "method": method,
                             "entropy": entropy, "agreement": agreement})
    return normalised(pd.DataFrame(rows).astype({"agreement": float}))


def selection_frame(settings: Settings) -> pd.DataFrame:
    """Return the random choices of concepts for all targets, a row each, see `selection_record`."""
    return pd.concat([pd.DataFrame(selection_record(settings, t)["points"])
                      .assign(target=t.lower()) for t in settings.targets], ignore_index=True)
