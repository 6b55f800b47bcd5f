"""What the chapter on interpretable filters shows: choices of filters, its explorer, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from semquant import parts
from semquant_book import figures
from semquant_book.datasets import Images
from semquant_book.figures.style import signed
from semquant_book.pages.chapters import part_names
from semquant_book.study import experiment1
from semquant_book.views import chapters as views
from semquant_book.views.widgets import show

__all__ = ["best", "gallery", "mask_said", "names_said", "orders_said", "show_templates", "specificity", "specificity_said",
           "specificity_table", "strongest", "toy_table"]


def best(assignment: Tensor, scores: Tensor) -> list[int]:
    """Return the filters that have a name, from the best fitting one down."""
    order = scores.max(dim=1).values.argsort(descending=True, stable=True)
    return [i for i in order.tolist() if assignment[i] >= 0]


def strongest(x: Tensor, filters: Sequence[int], images: int = 4) -> Tensor:
    """Return which images (F, m) excite each of F filters most, of maps x (N, n, H, W)."""
    peak = x[:, list(filters)].flatten(2).amax(dim=2)  # (N, F)
    return peak.argsort(dim=0, descending=True, stable=True)[:images].T


def gallery(images: Images, x: Tensor, named: Sequence[int], names: Sequence[str]) -> Figure:
    """Draw the images that excite the best fitting filters of each part, two of a part, eight in all."""
    picked = [i for i in named if [names[k] for k in named[:named.index(i)]].count(names[i]) < 2][:8]
    top = strongest(x, picked)  # (F, 4)
    return figures.filter_gallery(images.images[top], x[top, torch.tensor(picked, dtype=torch.long)[:, None]],
                                  [names[i] for i in picked], [f"filter {i}" for i in picked])


def toy_table(found: Mapping[str, Mapping[str, float]]) -> Styler:
    """Show what the filter loss says of kinds of filters."""
    return pd.DataFrame(found).T.style.format(signed).set_table_attributes('class="dataframe"')


def mask_said(shown: int, name: str, z: Tensor, x: Tensor) -> str:
    """Say which filter is shown, and how much of maps z (N, n, H, W) is left in the masked maps x."""
    before, after = (maps.relu().sum((2, 3)).mean(0) for maps in (z, x))
    kept = float((after / before.clamp_min(1e-9)).median())
    return f"Filter {shown}, named *{name}*. For the median filter, {kept:.0%} of the activation passes the mask."


def show_templates(z: Tensor, images: Images, pairs: Sequence[tuple[int, int]], names: Sequence[str],
                   category: str, note: str) -> None:
    """Show the template explorer of maps z (N, n, H, W), before mask and ReLU.

    `pairs` of an image and a filter say which maps can be chosen; the first is shown first.
    """
    first, second = map(list, zip(*pairs))
    order = list(dict.fromkeys(first))
    number = [order.index(k) + 1 for k in first]
    view = views.explore_templates(
        z[first, second], images.images[first],
        [f"{category} {k} above, filter {i} ({names[i]})" for k, i in zip(number, second)],
        [f"{category} {k} of the figure above" for k in number], note=note)
    show(view, views.template_figure(z[first[0], second[0]], images.images[first[0]]),
         "An image, the template at the peak of one filter's map, the map, and their product, "
         "which is not 0 around the peak only.")


def orders_said(before: Tensor, after: Tensor, unclipped: Tensor, z: Tensor) -> str:
    """Say whether mask and ReLU can change places, with a clipped template and with an unclipped one."""
    stray = float((unclipped * (z < 0)).sum() / unclipped.sum())
    return (f"The two orders differ by at most {float((before - after).abs().max()):g}. Without "
            f"clipping, {stray:.0%} of what is left after the ReLU would come from places where "
            "the filter was negative.")


def specificity(run: experiment1.Run) -> dict[str, list[dict]]:
    """Return the measures of all performers with the filter loss and, where the preset has any, without."""
    settings, found = run.settings, {}
    controlled = run.architecture in settings.control_without_filter_loss
    for label, kept in (("with the filter loss", True), ("without", False))[: 1 + controlled]:
        runs = [experiment1.Run(settings, run.architecture, run.category, k, kept)
                for k in range(settings.performer_seeds)]
        found[label] = [r.performer() and r.record()["metrics"] for r in runs]  # trained if it isn't there
    return found


def specificity_table(found: Mapping[str, Sequence[dict]]) -> Styler:
    """Compare what `specificity` found: a column for each performer, and the mean of several."""
    rows = {}
    for label, each in found.items():
        for key, words in (("part_specificity", "part-specific filters"), ("accuracy", "accuracy")):
            values = [about[key] for about in each]
            rows[words, label] = {f"performer {k}": v for k, v in enumerate(values)} | (
                {"mean": sum(values) / len(values)} if len(values) > 1 else {})
    return pd.DataFrame(rows).T.style.format("{:.1%}").set_table_attributes('class="dataframe"')


def specificity_said(found: Mapping[str, Sequence[dict]]) -> str:
    """Say whether the filter loss made filters specific to parts."""
    share = {label: [about["part_specificity"] for about in each] for label, each in found.items()}
    if len(share) < 2:
        return "This preset has no performer without the filter loss to compare with."
    pairs = list(zip(*share.values()))
    raised = sum(a > c for a, c in pairs)
    means = [sum(values) / len(values) for values in share.values()]
    said = (f"In {raised} of {len(pairs)} pairs of networks the filter loss raises the share of "
            f"specific filters ({means[0]:.1%} against {means[1]:.1%}).")
    few = " Fewer than four pairs have no interval: they can't say how much of it is chance."
    return said + few * (len(pairs) < 4)


def names_said(run: experiment1.Run, images: int = 300) -> str:
    """Say how many filters each part has, and how well the names hold on positive test images."""
    test, assignment = run.images("test"), run.naming()[0]
    test = test.subset(test.positive.nonzero()[:images, 0])
    masks = test.group_masks(run.performer().map_size)
    rates, chance, _ = parts.hit_rates(run.measure(test).x, masks)  # (n, P), (P,)
    named = assignment >= 0
    own = assignment[named]
    hit, luck = rates[named, own], chance[own]
    counts = pd.Series(part_names(run)).value_counts()
    held = (f"on {len(test)} positive test images the peak of the median named filter is on the "
            f"part of its name in {float(hit.median()):.0%} of the images where it fires; a random "
            "place would be in "
            f"{float(luck.median()):.0%}." if len(own) else "here no filter has one.")
    return ("Filters by name: " + ", ".join(f"{name} {count}" for name, count in counts.items())
            + ". Unassigned are those whose peak falls on no part group often enough. A name is a tendency: " + held)
