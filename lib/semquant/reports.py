"""What the pages show: records as tables beside the paper's numbers, and one performer's case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
import yaml
from torch import Tensor

from semquant import experiment1, experiment2, figures, metrics, parts, store
from semquant.concepts import Measured
from semquant.datasets import Images
from semquant.explanation import UNASSIGNED, Explanation, grad_cam
from semquant.performers import Performer
from semquant.selection import linear_weights, moments, selection_record
from semquant.settings import Settings, project_root

__all__ = ["Case", "attribute_frame", "case", "cells", "comparison", "example", "explainer_frame",
           "metrics_row", "paper", "paper_frame", "performer_frame", "reference_frame",
           "selection_frame", "strongest_images", "yardstick_frame"]

#: Table 3's parts, in its order.
TABLE_3_PARTS = ("eye", "mouth & nose", "ear", "torso", "leg")


def paper() -> dict:
    """Return the paper's numbers, ``book/paper.yml``."""
    return yaml.safe_load((project_root() / "book" / "paper.yml").read_text())


def paper_frame(table: str, *keys: str) -> pd.DataFrame:
    """Return a table of the paper, or the part of it that `keys` lead to.

    Parameters
    ----------
    table : str
        A name under ``tables`` in ``book/paper.yml``.
    *keys : str
        Where in its values to begin, e.g. ``"experiment_1"``.

    Returns
    -------
    DataFrame
        A row for each series (``ours``, ``baseline``, ``performer``), a column for each item.
    """
    values = paper()["tables"][table]["values"]
    for key in keys:
        values = values[key]
    return pd.DataFrame(values).T


def explainer_frame(settings: Settings, categories: Sequence[str] | None = None,
                    performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the metrics of every explainer, one row each.

    Parameters
    ----------
    settings : Settings
    categories, performer_seeds : sequence, optional
        The settings' own by default.

    Returns
    -------
    DataFrame
        Columns ``architecture``, ``category``, ``performer_seed``, ``method``, ``scale``,
        ``seed``, each metric of `evaluation.evaluate`, and ``error <part>`` and
        ``error_of_shares <part>`` for each part group, with ``error average`` over the parts of
        Table 3 that have filters.
    """
    rows = []
    for category in categories or settings.categories:
        for architecture in settings.architectures:
            for performer_seed in performer_seeds or range(settings.performer_seeds):
                for run in store.explainer_runs(settings):
                    about = experiment1.explainer_record(settings, architecture, category,
                                                  performer_seed, *run)
                    rows.append(metrics_row(about))
    return pd.DataFrame(rows)


def metrics_row(about: dict) -> dict:
    """Flatten the metrics of an explainer's record, as `explainer_frame` describes."""
    row = {key: about[key] for key in
           ("architecture", "category", "performer_seed", "method", "scale", "seed", "seconds")
           if key in about}
    for name, value in about["metrics"].items():
        if not isinstance(value, dict):
            row[name] = value
        elif name in ("error", "error_of_shares"):
            row |= {f"{name} {part}": number for part, number in value.items()}
            known = [value[part] for part in TABLE_3_PARTS if value.get(part) is not None]
            row[f"{name} average"] = sum(known) / len(known) if known else None
        else:
            row |= {f"{name} {part}": number for part, number in value.items()}
    return row


def performer_frame(settings: Settings) -> pd.DataFrame:
    """Return the metrics of every performer, one row each; controls have ``filter_loss`` False."""
    rows = []
    for category in settings.categories:
        for architecture in settings.architectures:
            for seed in range(settings.performer_seeds):
                for loss in (True, False):
                    if not loss and architecture not in settings.control_without_filter_loss:
                        continue
                    about = experiment1.performer_record(settings, architecture, category, seed,
                                                  filter_loss=loss)
                    rows.append({key: about[key] for key in ("architecture", "category", "seed",
                                                             "filter_loss", "parameters",
                                                             "seconds")} | about["metrics"])
    return pd.DataFrame(rows)


def reference_frame(settings: Settings) -> pd.DataFrame:
    """Return the metrics of what stands beside the explainers: see `experiment1.make_references`."""
    rows = []
    for category in settings.categories:
        for architecture in settings.architectures:
            for seed in range(settings.performer_seeds):
                about = experiment1.reference_record(settings, architecture, category, seed)
                for name, measured in about["references"].items():
                    rows.append(metrics_row({**about, "method": name, "metrics": measured}))
    return pd.DataFrame(rows)


def attribute_frame(settings: Settings, targets: Sequence[str] | None = None,
                    performer_seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the metrics of every explainer of Experiment 2, one row each.

    Parameters
    ----------
    settings : Settings
    targets, performer_seeds : sequence, optional
        The settings' own by default.

    Returns
    -------
    DataFrame
        Columns ``target`` (as in the paper's tables: ``"heavy_makeup"``), ``performer_seed``,
        ``method`` (``"ours"``, ``"baseline"`` or a control), ``last_layer``, ``seed``, and each
        metric of `evaluation.evaluate_attribute`; ``agreement`` with the truth by flipping.
    """
    rows = []
    for target in targets or settings.targets:
        for performer_seed in performer_seeds or range(settings.performer_seeds):
            for run in store.attribute_runs(settings):
                about = experiment2.explainer_record(settings, target, performer_seed, *run)
                names = ("performer_seed", "method", "last_layer", "seed", "seconds")
                rows.append({"target": target.lower()} | {name: about[name] for name in names}
                            | {"agreement": None} | about["metrics"])
    return pd.DataFrame(rows).astype({"agreement": float})


def yardstick_frame(settings: Settings, performer_seeds: Sequence[int] | None = None,
                    last_layer: str | None = None) -> pd.DataFrame:
    """Return entropy and agreement of contributions that stand beside ours, a row for each.

    ``prior``: w_i y_i; ``linear``: fixed weights, the same for all images, by least squares on the
    training images; ``mean_alpha``: ours with alpha averaged over the test images;
    ``another_face``: ours of the next test image, which says what an agreement of nothing but the
    average explanation is.

    Returns
    -------
    DataFrame
        Columns ``target``, ``performer_seed``, ``method``, ``entropy``, ``agreement`` (None for
        photographs, which have no truth by flipping).
    """
    rows = []
    for seed in performer_seeds or range(settings.performer_seeds):
        products = moments(experiment2.survey(settings, "train", seed).scores)
        for target in settings.targets:
            found = experiment2.measured(settings, target, "test", performer_seed=seed)
            ours = experiment2.explain(settings, target, seed, last_layer=last_layer)
            v = linear_weights(products, experiment2.target_index(target),
                               experiment2.concepts_of(target))
            contributions = {
                "prior": found.w * found.y,
                "linear": v[:-1].float() * found.y,
                "mean_alpha": ours.alpha.mean(dim=0) * ours.y,
                "another_face": ours.contributions.roll(1, dims=0),
            }
            drops = (experiment2.change_of_score(settings, target, seed)
                     if settings.faces == "drawn" else None)
            for method, values in contributions.items():
                agreement = None if drops is None else float(
                    metrics.rank_agreement(values[: len(drops)], drops).nanmean())
                entropy = float(metrics.contribution_entropy(values).nanmean())
                rows.append({"target": target.lower(), "performer_seed": seed, "method": method,
                             "entropy": entropy, "agreement": agreement})
    return pd.DataFrame(rows).astype({"agreement": float})


def selection_frame(settings: Settings, performer_seed: int = 0) -> pd.DataFrame:
    """Return the random choices of concepts for all targets, a row each, see `selection`."""
    return pd.concat([pd.DataFrame(selection_record(settings, t, performer_seed)["points"])
                      .assign(target=t.lower()) for t in settings.targets], ignore_index=True)


def cells(frame: pd.DataFrame, value: str, *, rows: str = "method",
          columns: str = "architecture") -> pd.DataFrame:
    """Gather a metric's values over seeds in the cells of a table.

    Returns
    -------
    DataFrame
        A cell is the list of values of its row and column, as `figures.comparison_table` takes it.
    """
    found = frame.dropna(subset=[value]).groupby([rows, columns], sort=False)[value].agg(list)
    return found.unstack(columns).map(lambda v: v if isinstance(v, list) else [])


def comparison(frame: pd.DataFrame, metric: str, published: pd.DataFrame, *,
               rows: Sequence[str] = ("baseline", "ours"), columns: str = "architecture",
               digits: int = 3, caption: str | None = None):
    """Put a metric of the explainers beside the paper's numbers.

    Parameters
    ----------
    frame : DataFrame
        As `explainer_frame` returns it.
    metric : str
        One of its columns.
    published : DataFrame
        A row for each method, a column for each value of `columns`, as `paper_frame` returns it.
    rows : sequence of str
        The methods shown, in their order.
    columns : str
        The column of `frame` whose values become columns.
    digits : int
        Decimals.
    caption : str, optional
        Title of the table.

    Returns
    -------
    pandas Styler
        A row for each value of `columns`, a column for each method. Where the paper prints an average
        and all that it is of has been measured, it gets a row: the mean for each seed.
    """
    if "average" in published and set(published) <= {*frame[columns], "average"}:
        frame = pd.concat([frame, _averages(frame, metric, columns)])
    measured = cells(frame, metric, columns=columns)
    shown = [c for c in frame[columns].unique() if c in measured or c in published]
    labels = paper()["labels"]
    names = {"index": lambda r: labels.get(r, r), "columns": lambda c: labels.get(c, c)}
    return figures.comparison_table(
        measured.reindex(index=rows, columns=shown).rename(**names).T,
        published.reindex(index=rows, columns=shown).rename(**names).T,
        digits=digits, caption=caption,
    )


def _averages(frame: pd.DataFrame, metric: str, columns: str) -> pd.DataFrame:
    """Rows called "average": a metric's mean over the values of `columns`, where all are there."""
    seeds = [name for name in ("performer_seed", "seed") if name in frame]
    groups = frame.dropna(subset=[metric]).groupby(["method", *seeds], sort=False, dropna=False)
    each = groups[metric].agg(["mean", "count"]).reset_index().rename(columns={"mean": metric})
    return each[each["count"] == frame[columns].nunique()].assign(**{columns: "average"})


def beginning(settings: Settings) -> str:
    """Return how the performers were trained, as pages say it."""
    return ("trained from scratch" if settings.weights == "fresh"
            else "begun with ImageNet weights and trained")


def animals_shown(settings: Settings, category: str, split: str, architecture: str = "") -> str:
    """Return what the images of a split are, as pages say it."""
    side = f"{settings.pixels(architecture)}x{settings.pixels(architecture)}"
    if settings.images == "drawn":
        count = getattr(settings, f"{split}_images")
        return f"{count:,} drawn images of {side} pixels, half of them a {category}"
    found = experiment1.data(settings, category, split, architecture)
    return (f"{len(found):,} photographs of {side} pixels, {int(found.positive.sum()):,} of them "
            f"crops of a {category}")


@dataclass
class Case:
    """One performer, its named filters, and the explanations of its positive test images.

    Attributes
    ----------
    net : Performer
    images : Images
        The positive test images, B of them.
    measured : Measured
        x, y and yhat of them.
    assignment : Tensor (n,)
        The part group of each filter, -1 for none.
    scores : Tensor (n, P)
        How well each group fits each filter.
    ours, baseline : Explanation
        Of all B images, a contribution for each filter.
    drops : Tensor (B, P + 1)
        Fall of the score when a group's filters are removed.
    """

    net: Performer
    images: Images
    measured: Measured
    assignment: Tensor
    scores: Tensor
    ours: Explanation
    baseline: Explanation
    drops: Tensor

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the P part groups."""
        return self.images.groups

    @property
    def names(self) -> list[str]:
        """The part each filter is named after."""
        return [UNASSIGNED if p < 0 else self.groups[p] for p in self.assignment.tolist()]

    def by_part(self, method: str) -> Explanation:
        """Return the explanations of ``"ours"`` or ``"baseline"``, merged to parts."""
        return getattr(self, method).merge(self.assignment, self.groups)

    def truth(self) -> tuple[Tensor, Tensor]:
        """Return the true contributions of the parts, and which images they can be used of."""
        return metrics.true_contributions(self.measured.yhat, self.drops)

    def heatmaps(self, chosen: Sequence[int]) -> Tensor:
        """Return Grad-CAM maps (k, S, S) of chosen images, for the mask's output."""
        device = next(self.net.parameters()).device
        images = self.net.prepare(self.images.images[list(chosen)].to(device))
        return grad_cam(self.net, "mask", images, 0).cpu()


    def examples(self, scale: str, count: int = 3) -> dict:
        """Return the explanations of a few images as plain numbers, for a record.

        The first images that the performer recognises, then, if they are too few, the first others.
        `example` reads them.
        """
        first = (self.measured.yhat <= 0).int().argsort(stable=True)[:count]
        return {
            "ids": [self.images.ids[i] for i in first.tolist()],
            "yhat": _rounded(self.measured.yhat[first]),
            "groups": list(self.groups),
            "assignment": self.assignment.tolist(),
            **{method: {"scale": scale, "bias": explanation.bias,
                        "contributions": _rounded(explanation.contributions[first])}
               for method, explanation in (("ours", self.ours), ("baseline", self.baseline))},
        }


def _rounded(values: Tensor) -> list:
    return [round(v, 4) if isinstance(v, float) else [round(u, 4) for u in v]
            for v in values.tolist()]


def example(kept: dict, method: str) -> Explanation:
    """Return the explanations that `Case.examples` kept, by filter.

    Parameters
    ----------
    kept : dict
    method : {"ours", "baseline"}
    """
    contributions = torch.tensor(kept[method]["contributions"])
    names = [f"{'none' if p < 0 else kept['groups'][p]} {i}"
             for i, p in enumerate(kept["assignment"])]
    return Explanation(torch.tensor(kept["yhat"]), contributions, torch.ones_like(contributions),
                       kept[method]["bias"], names)


def case(settings: Settings, architecture: str, category: str, performer_seed: int = 0, *,
         scale: str = "literal", seed: int = 0) -> Case:
    """Gather what a page shows of one performer.

    Parameters
    ----------
    settings : Settings
    architecture, category, performer_seed
        Which performer.
    scale : {"literal", "scaled"}
        Which reading of y's scale.
    seed : int
        Seed of the explainers.
    """
    net = experiment1.performer(settings, architecture, category, performer_seed)
    test = experiment1.data(settings, category, "test", architecture)
    images = test.subset(test.positive)
    measured = experiment1.measure(net, images, settings)
    val = experiment1.data(settings, category, "val", architecture)
    named = val.subset(val.positive)
    assignment, scores = parts.name_filters(experiment1.measure(net, named, settings).x,
                                            named.group_masks(net.map_size))
    explained = {method: experiment1.explainer(settings, architecture, category, performer_seed, method,
                                        scale, seed).explain_measured(measured)
                 for method in store.METHODS}
    names = [f"{'none' if p < 0 else images.groups[p]} {i}" for i, p in enumerate(assignment)]
    for explanation in explained.values():
        explanation.names = names
    drops = experiment1.drops_of(net, measured, assignment, len(images.groups), settings)
    return Case(net, images, measured, assignment, scores, drops=drops, **explained)


def strongest_images(shown: Case, per_part: int = 2, images: int = 4) -> dict:
    """Choose filters to show, and the images that excite each most.

    Parameters
    ----------
    shown : Case
    per_part : int
        At most so many filters of each part group: those whose name fits best.
    images : int
        How many images of each.

    Returns
    -------
    dict
        ``images`` (F, m, 3, S, S), ``maps`` (F, m, H, W), ``parts`` and ``labels``, as
        `figures.filter_gallery` takes them.
    """
    peak = shown.measured.x.flatten(2).amax(dim=2)  # (B, n, H, W) -> (B, n)
    chosen = []
    for part in range(len(shown.groups)):
        members = (shown.assignment == part).nonzero()[:, 0]
        best = shown.scores[members, part].argsort(descending=True, stable=True)
        chosen += members[best][:per_part].tolist()
    top = peak.argsort(dim=0, descending=True, stable=True)[:images]  # (m, n)
    return {
        "images": torch.stack([shown.images.images[top[:, i]] for i in chosen]) if chosen
        else shown.images.images.new_zeros(0, images, 3, 1, 1),
        "maps": torch.stack([shown.measured.x[top[:, i], i] for i in chosen]) if chosen
        else shown.measured.x.new_zeros(0, images, 1, 1),
        "parts": [shown.groups[int(shown.assignment[i])] for i in chosen],
        "labels": [f"filter {i}" for i in chosen],
    }
