"""The drawings of the method's chapters: weights, toys, the two prior losses, templates and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.losses import prior_weight
from semquant.metrics import contribution_entropy, rank_agreement
from semquant_book.figures.style import (FAINT, INK, METHOD_COLOURS, WIDTH, array, bare,
                                         part_colour, resize, rgb, signed)

__all__ = ["crushing", "explained_scores", "fading", "masking", "prior_and_falls", "prior_losses",
           "template_row", "valleys", "weight_changes", "weights_over_images", "weights_through"]

BROKEN = (0, (4, 3))


def weights_over_images(alpha: Tensor) -> Figure:
    """Show how the weights (B, n) vary over images: medians, and the 5th to the 95th percentile."""
    order = alpha.median(0).values.argsort(descending=True)
    low, half, high = (torch.quantile(alpha, q, dim=0)[order] for q in (0.05, 0.5, 0.95))
    figure, ax = plt.subplots(figsize=(WIDTH, 2.2))
    places = range(len(order))
    ax.vlines(places, low, high, color=METHOD_COLOURS["ours"], linewidth=2.4, alpha=0.45)
    ax.plot(places, half, ".", color=METHOD_COLOURS["ours"], markersize=5)
    ax.set(xlabel="filters, by median weight", ylabel=r"$\alpha_i(I)$", xlim=(-1, len(order)),
           ylim=(0, None))
    return figure


def explained_scores(yhat: Tensor, total: Tensor, positive: Tensor, category: str) -> Figure:
    """Show explained scores (B,) against the performer's; `positive` are those of the category."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.1))
    for which, colour, name in ((positive, METHOD_COLOURS["ours"], category),
                                (~positive, METHOD_COLOURS["paper"], "anything else")):
        ax.plot(yhat[which], total[which], "o", markersize=3, alpha=0.6, color=colour,
                markeredgewidth=0, label=name)
    ends = [float(yhat.min()), float(yhat.max())]
    ax.plot(ends, ends, color=INK, linewidth=0.8)
    ax.set(xlabel="performer's score ŷ", ylabel="explained score")
    ax.legend(markerscale=2)
    return figure


def valleys(alone: Sequence[Tensor], guided: Sequence[Tensor], w: ArrayLike | Tensor) -> Figure:
    r"""Show ways of descent in the plane of two weights whose sum is to be 2, with the prior w and
    by distillation alone. A way of :math:`\alpha` is (steps + 1, 2)."""
    w = array(w)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharex=True, sharey=True)
    both = (alone, "baseline", "distillation alone"), (guided, "ours", f"with prior w = ({w[0]:g}, {w[1]:g})")
    for ax, (ways, method, title) in zip(axes, both):
        ax.plot([0, 2], [2, 0], color="#C9C9C9", linewidth=5, solid_capstyle="round", zorder=0)
        for way in map(array, ways):
            ax.plot(*way.T, color=METHOD_COLOURS[method])
            ax.plot(*way[0], "o", color=METHOD_COLOURS[method], markerfacecolor="white", markersize=5)
            ax.plot(*way[-1], "o", color=METHOD_COLOURS[method], markersize=6)
        ax.set(xlabel=r"$\alpha_1$", title=title, xlim=(0, 2.05), ylim=(0, 2.05), aspect="equal")
    axes[1].plot([0, 2], [0, 2 * w[1] / w[0]], color=FAINT, linewidth=1, linestyle=BROKEN)
    axes[0].set_ylabel(r"$\alpha_2$")
    return figure


def crushing(ways: Mapping[str, Tensor], y: Tensor, w: Tensor,
             steps: Sequence[int] = (0, 1, 10, 100, -1)) -> Figure:
    """Show the weights of n concepts against their values, from step to step, a panel for each fit.
    The ways are alpha after each step, (steps + 1, B, n); of `steps` the last is in full colour.
    Values y and the performer's own weights w are (B, n)."""
    figure, axes = plt.subplots(1, len(ways), figsize=(WIDTH, 2.6), sharex=True, sharey=True,
                                squeeze=False)
    shades = sns.color_palette(f"blend:#C2DBEF,{METHOD_COLOURS['ours']}", len(steps))  # on dark pages too
    order = y.mean(0).argsort()
    places = y.mean(0)[order]
    for ax, (name, way) in zip(axes[0], ways.items()):
        for step, shade in zip(steps, shades):
            count = range(len(way))[step]
            ax.plot(places, way[step].mean(0)[order], marker="o", markersize=3, color=shade,
                    linewidth=2.4 if shade == shades[-1] else 1.4,
                    label="start" if count == 0 else f"step {count:,}")
        ax.plot(places, w.mean(0)[order], "x", color=METHOD_COLOURS["baseline"], markersize=4,
                label="the performer's own")
        entropy = float(contribution_entropy(way[-1] * y).mean()) / np.log(y.shape[1])
        ax.set(title=f"{name}\nH / ln n = {entropy:.2f}", xlabel="mean value $y_i$", yscale="log")
    axes[0, 0].set_ylabel(r"mean weight $\alpha_i$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=len(steps) + 1)
    return figure


def weight_changes(fits: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Show how many times its start each concept's mean weight ends at, against its mean value, a
    panel for each fit. A fit has ``start_alpha``, ``alpha`` and ``y`` of n concepts; concepts with a
    value of 0 or less are left out, and what ends below a thousandth stands at it."""
    figure, axes = plt.subplots(1, len(fits), figsize=(WIDTH, 2.5), sharex=True, sharey=True,
                                squeeze=False)
    for ax, (name, fit) in zip(axes[0], fits.items()):
        y, first, last = (np.asarray(fit[key]) for key in ("y", "start_alpha", "alpha"))
        there = y > 0
        ax.axhline(1, color=FAINT, linewidth=0.8)
        ax.plot(y[there], np.maximum(last[there] / first[there], 1e-3), "o", markersize=3.5,
                color=METHOD_COLOURS["baseline"], markeredgewidth=0, alpha=0.8)
        ax.set(title=name.replace(", ", ",\n"), xlabel="mean value $y_i$", yscale="log")
    axes[0, 0].set_ylabel(r"$\alpha_i$, end over start")
    return figure


def weights_through(fits: Mapping[str, Mapping[int, Tensor]], y: Tensor,
                    epochs: Sequence[int] = (0, 1, 5, -1)) -> Figure:
    """Show each concept's mean weight against its mean value y (n,) after some epochs, a row for each
    fit, its mean alpha (n,) by epoch. Of `epochs` -1 is the last; those that a fit does not have are
    left out. Each panel has the rank correlation; what lies below a thousandth of the largest stands there."""
    last = max(map(max, fits.values()))
    shown = sorted({last if epoch < 0 else epoch for epoch in epochs if epoch <= last})
    figure, axes = plt.subplots(len(fits), len(shown), figsize=(WIDTH, 0.5 + 1.7 * len(fits)), sharex=True,
                                sharey=True, squeeze=False)
    floor = max(float(alpha.max()) for ways in fits.values() for alpha in ways.values()) / 1e3
    for row, (name, ways) in zip(axes, fits.items()):
        for ax, epoch in zip(row, shown):
            ax.plot(array(y), array(ways[epoch]).clip(floor), "o", markersize=3, markeredgewidth=0, alpha=0.8,
                    color=METHOD_COLOURS["baseline"])
            agreement = float(rank_agreement(ways[epoch][None], y[None]))
            ax.set(yscale="log", title=(f"epoch {epoch}" if epoch else "start")
                   + (f": ρ = {signed(agreement)}" if agreement == agreement else ""))
        row[0].set_ylabel(f"{name}\nmean $\\alpha_i$")
    figure.supxlabel("mean value $y_i$", fontsize=9.5)
    return figure


def prior_and_falls(falls: Tensor, prior: Tensor, parts: Sequence[str]) -> Figure:
    """Show one image's prior contributions w_i y_i (n,) against the falls of the score (n,) when
    each filter's map is set to 0. Both have the same sum: the prior has no scale of its own. Parts
    colour the filters that are named after them."""
    falls, prior = array(falls), array(prior)
    prior = prior * (falls.sum() / prior.sum() if prior.sum() else 1)
    figure, ax = plt.subplots(figsize=(WIDTH, 3.1))
    ax.axline((0, 0), slope=1, color=FAINT, linewidth=0.8)
    for part in dict.fromkeys(parts):
        of = [i for i, name in enumerate(parts) if name == part]
        ax.plot(falls[of], prior[of], "o", color=part_colour(part), markersize=5,
                markeredgecolor="white", markeredgewidth=0.4, label=part)
    ax.set(xlabel="fall of the score when the filter is removed",
           ylabel="$w_i\\, y_i$, scaled to the same sum")
    ax.legend(loc="upper left")
    return figure


def prior_losses(share: Tensor, entropic: Mapping[str, Sequence[float]], prior: float, angle: Tensor,
                 squared: Sequence[float]) -> Figure:
    """Show the two cases of equation (4), for two concepts: the cross-entropies ``"log_alpha"`` and
    ``"log_w"`` at each share (k,) of the first weight in their sum, where the prior's own is
    `prior`; and the squared distance of the directions at each angle (m,) between alpha and w, in
    radians."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    left.plot(share, entropic["log_alpha"], color=METHOD_COLOURS["ours"],
              label=r"$-\sum w \,\ln \alpha$ (used here)")
    left.plot(share, entropic["log_w"], color=METHOD_COLOURS["paper"], label=r"$-\sum \alpha \,\ln w$")
    left.axvline(prior, ymax=0.62, color=FAINT, linewidth=0.8, linestyle=BROKEN)
    left.set(xlabel=rf"share of $\alpha_1$, prior $w$ = ({prior:g}, {1 - prior:g})",
             title="cross-entropy", ylim=(0, 3.2))
    left.legend()
    right.plot(np.degrees(array(angle)), squared, color=METHOD_COLOURS["ours"])
    right.set(xlabel="angle between α and w, degrees", title="squared distance of directions",
              xticks=[0, 45, 90, 135, 180])
    return figure


def fading(betas: Mapping[str, float], stop: int) -> Figure:
    """Show lambda(t) over a hundred epochs for named strengths beta, and where a fit stops."""
    epochs = range(1, 101)
    figure, ax = plt.subplots(figsize=(WIDTH, 2.3))
    for (name, beta), colour in zip(betas.items(), (METHOD_COLOURS["ours"], INK), strict=False):
        ax.plot(epochs, [prior_weight(t, beta) for t in epochs], color=colour, label=f"β = {beta:g}, {name}")
    ax.axvline(stop, color=FAINT, linewidth=0.8, linestyle=BROKEN)
    ax.set(xlabel="epoch t (broken line: where this preset stops)", ylabel="λ(t)", yscale="log",
           xlim=(0, 101))
    ax.legend()
    return figure


def template_row(table: Tensor, places: Sequence[tuple[int, int]]) -> Figure:
    """Show the templates (n * n, n, n) of some places of the peak, and the negative one."""
    size = table.shape[1]
    shown = {f"peak at ({i}, {j})": table[i * size + j] for i, j in places}
    shown["negative"] = -torch.ones(size, size)
    figure, axes = plt.subplots(1, len(shown), figsize=(WIDTH, 1.75))
    for ax, (title, template) in zip(axes, shown.items()):
        drawn = ax.imshow(array(template), cmap="RdBu", vmin=-1, vmax=1)
        bare(ax, title)
    figure.colorbar(drawn, ax=axes, shrink=0.75, ticks=[-1, 0, 1]).outline.set_visible(False)
    return figure


def masking(images: ArrayLike | Tensor, z: Tensor, template: Tensor, x: Tensor) -> Figure:
    """Show what the mask does to one filter in k images: its map (k, H, W) before mask and ReLU,
    the template that it picked, and the masked map."""
    figure, axes = plt.subplots(len(z), 4, figsize=(WIDTH, 0.2 + 1.7 * len(z)), squeeze=False)
    for row, picture, *maps in zip(axes, resize(rgb(images), 192), z, template, x):
        heat = {"cmap": "inferno", "vmin": 0, "vmax": max(float(maps[0].max()), 1e-9)}
        styles = {}, heat, {"cmap": "Blues", "vmin": 0, "vmax": 1}, heat
        shown = picture, *(array(values.relu()) for values in maps)
        for ax, values, style in zip(row, shown, styles):
            ax.imshow(values, **style)
            bare(ax)
    for ax, title in zip(axes[0], ("image", "map after the ReLU", "template, clipped at 0",
                                   "after the mask")):
        bare(ax, title)
    return figure
