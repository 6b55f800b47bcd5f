"""What the page on choices of concepts shows: fits to a few of the other attributes (Figure 8)."""

from __future__ import annotations

import pandas as pd
import torch
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import ATTRIBUTES, STARTS, label
from semquant_book.figures import signed
from semquant_book.pages.findings import number
from semquant_book.study import experiment2, tables
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings
from semquant_book.views import chapters, widgets

__all__ = ["curves", "explore", "means", "what_was_run", "which_matter", "with_and_without_g"]


def what_was_run(settings: Settings) -> str:
    """Say how many choices a point stands on."""
    return (f"Preset `{settings.preset}`, targets "
            f"{', '.join(label(t).lower() for t in settings.targets)}, one performer. For each "
            f"target and number of concepts, up to {settings.selection_draws} random choices with "
            "fixed linear weights (least squares on the training faces) and "
            f"{settings.selection_fits} with g (ours, last layer started "
            f"{STARTS[settings.last_layers[0]]}); with all 39 there is only one choice. Measured "
            f"on {len(faces_of(settings, 'test')):,} test faces.")


def curves(points: pd.DataFrame, target: str) -> Figure:
    """Draw Figure 8 of one target; without points where the preset doesn't have it."""
    figure = figures.selection_curves(points[points.target == target.lower()])
    figure.suptitle(label(target))
    return figure


def means(points: pd.DataFrame) -> Styler:
    """Return means and standard deviations over random choices and targets, a row for each size."""
    table = points.groupby(["weights", "size"])[["deviation", "accuracy_loss"]].agg(["mean", "std"])
    shown = {}
    for measure, name in (("deviation", "deviation"), ("accuracy_loss", "loss of accuracy")):
        for kind, words in (("linear", "linear"), ("learned", "g")):
            rows = table.loc[kind][measure]
            shown[f"{name}, {words}"] = rows.apply(lambda row: signed(row["mean"], 3) + (
                f" ± {signed(row['std'], 3)}" if row["std"] == row["std"] else ""), axis=1)
    frame = pd.DataFrame(shown).rename_axis("concepts")
    return frame.style.set_table_attributes('class="dataframe"').set_caption(
        "Mean and standard deviation over random choices and targets; how much the choice matters, "
        "not an error")


def with_and_without_g(settings: Settings, points: pd.DataFrame) -> str:
    """Say how the deviation falls with more concepts, with g and without."""
    mean = points.groupby(["weights", "size"])["deviation"].mean()
    few, most = min(settings.selection_sizes), max(settings.selection_sizes)
    explainers = tables.attribute_frame(settings)
    constant = explainers[explainers.method == "constant"].deviation.mean()
    return (f"With fixed linear weights the relative deviation is {number(mean['linear', few])} "
            f"with {few} concept{'s' * (few > 1)} and {number(mean['linear', most])} with {most}; "
            f"with g {number(mean['learned', few])} and {number(mean['learned', most])}. A single "
            f"constant concept, which says nothing of a face, gives g {number(constant)} (see the "
            "[controls](#experiment2-controls)). So with g a deviation is not a measure of what "
            "the concepts know: it also depends on how easily the score can be written on them, "
            "which is hard where a $y$ is near 0.")


def explore(settings: Settings, points: pd.DataFrame) -> None:
    """Display the explorer of all choices, with its still figure."""
    targets = {t.lower(): label(t) for t in settings.targets}
    view = chapters.explore_selection(points, targets, note=f"Preset {settings.preset}, test faces.")
    widgets.show(view, chapters.selection_figure(points, targets),
                 "Relative deviation against the number of concepts, with a line and a band for "
                 "each explained attribute; left with fixed linear weights, right with weights by "
                 "g.")


def which_matter(settings: Settings, best: int = 4, worst: int = 3) -> Styler:
    """Return each target's best and worst single concepts, by the squared correlation of test scores."""
    correlation, rows = torch.corrcoef(experiment2.outputs(settings, "test").scores.T), {}
    for target in settings.targets:
        others = experiment2.concepts_of(target)
        r2 = correlation[experiment2.target_index(target), others].square().tolist()
        names = [f"{label(ATTRIBUTES[i])} {signed(value)}" for value, i in sorted(zip(r2, others), reverse=True)]
        rows[label(target)] = {"best": ", ".join(names[:best]), "worst": ", ".join(names[-worst:])}
    return pd.DataFrame(rows).T.style.set_table_attributes('class="dataframe"').set_caption(
        "Share of variance explained by one concept")
