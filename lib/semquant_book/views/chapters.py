"""Views of the chapters: bias-interpreting, the prior, choices of concepts, templates.

Each view shows arrays that are packed here and computes in the browser; any fits that were watched
can be explored: ``chapters.explore_bias(chapters.Watched(...))``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.checks import InputError, number, one_of
from semquant.networks import interpretable
from semquant_book.figures.style import (
    FAINT, INK, METHOD_COLOURS, PART_COLOURS, SIGN_COLOURS, WIDTH, array, bare, part_colour, rgb)
from semquant_book.views.widgets import View, colours, pack, picture

__all__ = ["BiasExplorer", "PriorExplorer", "SelectionExplorer", "TemplateExplorer", "Watched",
           "bias_figure", "explore_bias", "explore_prior", "explore_selection", "explore_templates",
           "prior_figure", "selection_figure", "template_figure"]

FEW = 10  # choices; of fewer the whole range is told
LOSSES = ("cross_entropy", "l2")
SELECTION_MEASURES = ("deviation", "accuracy_loss")
#: Red below 0, blue above, as the figures of templates have them.
SHADES = (np.array([plt.get_cmap("RdBu")(k / 255)[:3] for k in range(256)]) * 255).round()
TARGET_COLOURS = ("#4477AA", "#CCBB44", "#228833", "#AA3377")  # Paul Tol's bright scheme


@dataclass
class Watched:
    """Fits with E strengths of the prior and S seeds, at T epochs, on I images with n concepts.

    beta 0, the first, is the baseline; epoch 0 is the start. Scores `yhat` (I,), values `y` and
    prior weights `w` (I, n); learned `alpha` (E, S, T, I, n) and `bias` (E, S, T); means over
    the test images `entropy`, `deviation`, `accuracy` (E, S, T); `pictures` (I, H, W, 3). A
    concept has the colour of its part, or else of the sign of its contribution; its two
    `phrases` say a value above 0 and one below, where that depends on the image. `usual` is the
    beta to begin with.
    """

    title: str
    betas: Sequence[float]
    seeds: Sequence[int]
    epochs: Sequence[int]
    names: Sequence[str]
    yhat: np.ndarray
    y: np.ndarray
    w: np.ndarray
    alpha: np.ndarray
    bias: np.ndarray
    entropy: np.ndarray
    deviation: np.ndarray
    accuracy: np.ndarray
    loss: str
    pictures: np.ndarray
    labels: Sequence[str]
    parts: Sequence[str] | None = None
    phrases: Sequence[tuple[str, str]] | None = None
    usual: float = 0.0
    unit: str = "concepts"
    averaged: str = "test images"
    note: str = ""

    def __post_init__(self) -> None:
        count, n = np.shape(self.y)
        fits = len(self.betas), len(self.seeds), len(self.epochs)
        one_of("loss", self.loss, LOSSES)
        for name, wanted in (("yhat", (count,)), ("w", (count, n)), ("alpha", (*fits, count, n)),
                             ("bias", fits), ("entropy", fits), ("deviation", fits),
                             ("accuracy", fits)):
            if np.shape(getattr(self, name)) != wanted:
                raise InputError(f"{name}: shape {np.shape(getattr(self, name))} is not {wanted}")
        for name, wanted in (("names", n), ("parts", n), ("phrases", n), ("pictures", count),
                             ("labels", count)):
            given = getattr(self, name)
            if given is not None and len(given) != wanted:
                raise InputError(f"{name}: {len(given)} do not fit {wanted}")
        if self.betas[0] != 0:
            raise InputError(f"betas: {self.betas[0]} is first; accepted: 0, the baseline")


class BiasExplorer(View, script="charts bias"):
    """Contributions, their entropy and the deviation, by strength of the prior, epoch and seed."""


def explore_bias(*runs: Watched) -> BiasExplorer:
    """Return the explorer of one or more watched sweeps; the first is shown first."""
    return BiasExplorer(data=_sweeps(runs, lambda run: {name: pack(getattr(run, name)) for name in (
        "yhat", "alpha", "bias", "entropy", "deviation", "accuracy")}))


def bias_figure(run: Watched, image: int = 0) -> Figure:
    """Draw what the explorer shows first: contributions, and measures with bands of seeds."""
    figure = plt.figure(figsize=(WIDTH, 3.3))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1))
    bars, *curves = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
    usual = list(run.betas).index(run.usual)
    ours, baseline = (run.alpha[k, 0, -1, image] * run.y[image] for k in (usual, 0))
    places = np.arange(len(ours))
    bars.bar(places, ours, width=0.85, color=_fills(run, ours))
    bars.bar(places, baseline, width=0.85, color="none", edgecolor=INK, linewidth=0.6,
             linestyle=(0, (2, 1.5)))
    bars.axhline(0, color=FAINT, linewidth=0.8)
    bars.set(xlabel=run.unit, xticks=[], title=f"contributions, β = {run.usual:g} (outline: β = 0)",
             xlim=(-1, len(ours)))
    for ax, name, words in zip(curves, ("entropy", "deviation"),
                               ("entropy of contributions", "relative deviation")):
        _lines(ax, run, getattr(run, name))
        ax.set(title=words)
    curves[1].set(yscale="log")
    curves[1].yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    curves[1].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    curves[1].yaxis.set_minor_locator(NullLocator())
    return figure


def _fills(run: Watched, contributions: np.ndarray) -> list[str]:
    if run.parts is not None:
        return [part_colour(part) for part in run.parts]
    return [SIGN_COLOURS["negative" if c < 0 else "positive"] for c in contributions]


def _lines(ax: Axes, run: Watched, values: np.ndarray) -> None:
    """Lines over epochs, one for each beta; values (E, S, T)."""
    steps = range(len(run.epochs))
    for beta, each in zip(run.betas, np.asarray(values)):
        chosen = beta in (0, run.usual)
        colour = METHOD_COLOURS["ours" if beta else "baseline"]
        ax.plot(steps, each.mean(0), color=colour, alpha=1 if chosen else 0.35,
                linewidth=1.8 if chosen else 1, linestyle="-" if beta else (0, (4, 2)))
        if chosen:
            ax.fill_between(steps, each.min(0), each.max(0), color=colour, alpha=0.2, linewidth=0)
    ax.set(xticks=steps, xticklabels=run.epochs)
    ax.set_xlabel("epoch", fontsize=8.5)


def _sweeps(runs: Sequence[Watched], own: Callable[[Watched], dict]) -> dict:
    """What both views of watched fits show, and each run's own.

    Parts are in the order of all figures; a notebook's file sorts a dict's keys.
    """
    there = dict.fromkeys(part for run in runs for part in run.parts or ())
    parts = sorted(there, key=[*PART_COLOURS, *there].index)
    return {"runs": [_common(run) | own(run) for run in runs], "colours": colours(tuple(parts)),
            "parts": parts}


def _common(run: Watched) -> dict:
    return {
        **{name: getattr(run, name)
           for name in ("title", "loss", "usual", "unit", "averaged", "note")},
        **{name: list(getattr(run, name)) for name in ("betas", "seeds", "epochs", "names", "labels")},
        "y": pack(run.y), "parts": None if run.parts is None else list(run.parts),
        "phrases": None if run.phrases is None else [list(pair) for pair in run.phrases],
        "pictures": [picture(image, size=112) for image in run.pictures]}


class PriorExplorer(View, script="charts prior"):
    """The explainer's weights against the prior weights, by strength of the prior and epoch."""


def explore_prior(*runs: Watched) -> PriorExplorer:
    """Return the explorer of one or more watched sweeps, of their first seed."""
    return PriorExplorer(data=_sweeps(runs, lambda run: {
        "w": pack(run.w), "alpha": pack(np.asarray(run.alpha)[:, 0])}))


def prior_figure(run: Watched, image: int = 0) -> Figure:
    """Draw what the prior explorer shows first: weights against prior weights, start and end."""
    usual = list(run.betas).index(run.usual)
    w = scaled(run.w[image], run.loss)
    shown = [(usual, 0, "before the first epoch"), (0, -1, "β = 0, last epoch"),
             (usual, -1, f"β = {run.usual:g}, last epoch")]
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7), sharex=True, sharey=True)
    for ax, (beta, epoch, title) in zip(axes, shown):
        alpha = run.alpha[beta, 0, epoch, image]
        ax.axline((0, 0), slope=1, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        ax.scatter(w, scaled(alpha, run.loss), s=20, c=_fills(run, alpha * run.y[image]),
                   edgecolors="white", linewidths=0.4)
        ax.set(title=title, xlabel="prior weight w")
    axes[0].set_ylabel("weight α")
    return figure


def scaled(values: np.ndarray, loss: str) -> np.ndarray:
    """Scale weights (n,) as a prior loss compares them: to sum 1, or to length 1."""
    size = values.sum() if one_of("loss", loss, LOSSES) == "cross_entropy" else np.linalg.norm(values)
    return values / size if size else values


class SelectionExplorer(View, script="charts selection"):
    """How well random choices of so many concepts explain: each choice, and what is usual."""


def explore_selection(points: pd.DataFrame, names: Mapping[str, str], note: str = "") -> SelectionExplorer:
    """Return the explorer of random choices of concepts, a row of `tables.selection_frame` each.

    Targets are shown in the order of their `names`.
    """
    missing = [column for column in ("target", "size", "weights", *SELECTION_MEASURES)
               if column not in points]
    if missing or points.empty:
        raise InputError("points: "
                         f"{'no rows' if not missing else 'no column ' + ', '.join(missing)}; "
                         "accepted: a row for each choice of concepts")
    targets = []
    for target, colour in zip(names, TARGET_COLOURS, strict=False):
        found: dict = {}
        for (kind, size), rows in points[points.target == target].groupby(["weights", "size"]):
            found.setdefault(kind, {})[int(size)] = {
                measure: [round(float(v), 6) for v in rows[measure]] for measure in SELECTION_MEASURES}
        targets.append({"key": target, "name": names[target], "colour": colour, "points": found})
    sizes = sorted(int(size) for size in points["size"].unique())
    return SelectionExplorer(data={"targets": targets, "sizes": sizes, "note": note})


def selection_figure(points: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw what the selection explorer shows: the median for each target, the middle 80% as a band."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    for ax, kind, title in zip(axes, ("linear", "learned"), ("fixed linear weights", "weights by g")):
        for target, colour, mark in zip(names, TARGET_COLOURS, "os^D", strict=False):
            rows = points[(points.target == target) & (points["weights"] == kind)]
            by_size = rows.groupby("size")["deviation"]
            middle = by_size.quantile([0.1, 0.5, 0.9]).unstack()
            if not len(middle):
                continue
            if by_size.size().max() >= FEW:
                ax.fill_between(middle.index, middle[0.1], middle[0.9], color=colour, alpha=0.15,
                                linewidth=0)
            ax.plot(rows["size"], rows["deviation"], ".", color=colour, alpha=0.35, markersize=3)
            ax.plot(middle[0.5], marker=mark, color=colour, markersize=4, label=names[target])
        sizes = sorted(points["size"].unique())
        ax.set(xscale="log", xticks=sizes, xticklabels=sizes, xlabel="number of concepts", title=title)
        ax.minorticks_off()
    axes[0].set_ylabel("relative deviation")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
    return figure


class TemplateExplorer(View, script="charts template"):
    """A filter's map, a template with its peak anywhere, and the masked map."""


def explore_templates(maps: Tensor, pictures: ArrayLike | Tensor, titles: Sequence[str],
                      labels: Sequence[str], decay: float = 4.0, note: str = "") -> TemplateExplorer:
    """Return the explorer of templates, with the maps of some filters and a made-up one.

    The M maps (M, n, n) are those before mask and ReLU, z, with M pictures, their titles and
    alternative texts; `decay` is beta of the template to begin with.
    """
    if maps.dim() != 3 or maps.shape[1] != maps.shape[2]:
        raise InputError(f"maps: shape {tuple(maps.shape)} is not (M, n, n)")
    for name, given in (("pictures", pictures), ("titles", titles), ("labels", labels)):
        if len(given) != len(maps):
            raise InputError(f"{name}: {len(given)} do not fit {len(maps)} maps")
    number("decay", decay, 0.5, 10)
    return TemplateExplorer(data={
        "maps": [{"title": title, "label": label, "picture": picture(image, 160), "z": pack(z)}
                 for z, image, title, label in zip(maps, pictures, titles, labels)],
        "size": int(maps.shape[1]), "decay": decay, "shades": pack(SHADES, "u1"), "note": note})


def template_figure(z: Tensor, image: ArrayLike | Tensor, decay: float = 4.0) -> Figure:
    """Draw what the template explorer shows first: image, map (n, n), template, masked map."""
    peak = int(interpretable.peaks(z[None, None]))
    template = interpretable.templates(len(z), decay)[peak].clamp_min(0)
    most = max(float(z.abs().max()), 1e-9)
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.1))
    axes[0].imshow(rgb(image)[0])
    for ax, values, limit in zip(axes[1:], (template, z, z * template), (1, most, most)):
        ax.imshow(array(values), cmap="RdBu", vmin=-limit, vmax=limit)
    for ax, title in zip(axes, ("image", "template max(T, 0)", "map z", "x = z · max(T, 0)")):
        bare(ax, title)
    return figure
