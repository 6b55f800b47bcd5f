"""Figures of Experiment 2: faces with signed bars, choices of concepts, rates of attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.explanation import Explanation
from semquant_book.datasets.names import label, phrase
from semquant_book.figures.style import (FAINT, INK, METHOD_COLOURS, SIGN_COLOURS, WIDTH, array,
                                         bare, epoch_curves, named_rows, opaque, resize, rgb,
                                         signed, signed_rows)

__all__ = ["METHOD_NAMES", "agreement_dots", "correlation_maps", "flipped_pairs", "in_words", "outcome_dots",
           "rate_dots", "selection_curves", "share_bars", "signed_bars", "what_the_prior_does"]

#: What is compared in Experiment 2: fits, controls, and contributions that are no fits of their own.
METHOD_NAMES = {"baseline": "baseline", "ours": "ours", "relative": "ours, relative loss",
                "permuted": "prior permuted", "shuffled": "concepts of another face",
                "constant": "one constant concept", "centred": "y centred",
                "prior": "prior alone, w y", "uniform": "equal weights, y",
                "linear": "fixed linear weights", "mean_alpha": "ours, alpha averaged",
                "another_face": "ours, of another face"}
FEW = 10  # choices a point; below that each has a dot of its own
KINDS = {"linear": ("fixed linear weights", "#EE3377"), "learned": ("weights by g", "#0077BB")}


def in_words(explanation: Explanation, index: int = 0, share: float = 0.5) -> list[str]:
    """The most important reasons of a face: as few as make up a share, 0 to 1, of all contributions
    in size."""
    return [phrase(r.name, float(explanation.y[index, r.index]))
            for r in explanation[index : index + 1].top(share=share)[0]]


def signed_bars(images: ArrayLike | Tensor | None, explanation: Explanation, target: str, *,
                share: float = 0.5, most: int = 9, keep: int | None = None) -> Figure:
    """Figure 6: faces, the signed contributions of the other attributes, and reasons in words. A
    row for each of B faces, (B, 3, H, W) or (B, H, W, 3); None leaves their places empty but for
    the score: photographs that may not be shown. Bars are contributions, not scores: where the
    network finds an attribute absent, the bar is named after its absence. The `most` largest have
    bars of their own, and so has the attribute at the place `keep`. The names of as few as make up
    a `share` of all contributions in size are bold."""
    pictures = None if images is None else resize(rgb(images), 192)
    count, height = len(explanation), 0.62 + 0.205 * (most + 2)
    figure, axes = plt.subplots(count, 2, figsize=(WIDTH, height * count), squeeze=False,
                                width_ratios=(1 if images is not None else 0.62, 2.2))
    for k, (face, bars) in enumerate(axes):
        if pictures is not None:
            face.imshow(pictures[k])
        bare(face)
        yhat = float(explanation.yhat[k])
        face.set_title(f"{phrase(target, yhat)}\nŷ = {signed(yhat)}", loc="center",
                       fontsize=10 if images is not None else 8.5, weight="bold")
        _bars(bars, explanation, k, share, most, keep)
    axes[-1, 1].set_xlabel("contribution $\\alpha_i y_i$, in logits", fontsize=8.5)
    figure.set_layout_engine("constrained", hspace=0.05)
    return figure


def _bars(ax: Axes, explanation: Explanation, k: int, share: float, most: int, keep: int | None) -> None:
    values, y = array(explanation.contributions[k]), array(explanation.y[k])
    order = np.argsort(-np.abs(values), kind="stable")
    if keep is not None and keep not in order[:most]:  # in the last one's place
        order = np.concatenate([order[: most - 1], [keep], order[order != keep][most - 1 :]])
    important = {r.index for r in explanation[k : k + 1].top(share=share)[0]}
    rows = [(phrase(explanation.names[i], y[i]), values[i], i in important) for i in order[:most]]
    if len(order) > most:
        rows.append((f"{len(order) - most} others, net", values[order[most:]].sum(), False))
    rows.append(("b", explanation.bias, False))
    words, heights, important = zip(*rows)
    signed_rows(ax, np.array(heights), words, height=0.72, away=0.015, room=0.2, size=7.5)
    for text, bold in zip(ax.get_yticklabels(), important):
        text.set(weight="bold" if bold else "normal", color=INK)
    ax.tick_params(axis="y", labelsize=8)
    ax.tick_params(axis="x", labelsize=7.5)
    total, yhat = float(values.sum()) + explanation.bias, float(explanation.yhat[k])
    ax.set_title(f"contributions; all and b: {signed(total)}, left over "
                 f"{signed(round(yhat, 2) - round(total, 2), plus=True)}", fontsize=8.5)


def share_bars(shares: pd.DataFrame, mark: str = "") -> Figure:
    """Mean shares of contributions, a row for each concept and a bar for each method (column). The
    name of the row `mark` is bold."""
    figure, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.24 * len(shares)))
    height = 0.8 / shares.shape[1]
    for k, method in enumerate(shares):
        ax.barh(np.arange(len(shares)) + (k - (shares.shape[1] - 1) / 2) * height, shares[method],
                height=height, color=METHOD_COLOURS.get(method, FAINT), label=method)
    named_rows(ax, shares.index)
    for text in ax.get_yticklabels():
        text.set_weight("bold" if text.get_text() == mark else "normal")
    ax.set_xlabel("mean share of |contribution|")
    ax.legend(loc="lower right")
    return figure


def flipped_pairs(images: ArrayLike | Tensor, flipped: ArrayLike | Tensor,
                  names: Sequence[str], columns: int = 4) -> Figure:
    """Pairs of the same face, as it is and with one attribute flipped."""
    before, after = resize(rgb(images), 160), resize(rgb(flipped), 160)
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 1.16 * rows * 4 / columns),
                                squeeze=False)
    for k, ax in enumerate(axes.flat):
        if k < len(names):
            gap = np.zeros((before.shape[1], 6, 4))  # transparent
            ax.imshow(np.concatenate([opaque(before[k]), gap, opaque(after[k])], axis=1))
            ax.set_title(label(names[k]), loc="center", fontsize=7.5, pad=3)
        bare(ax, ax.get_title(loc="center"))
    return figure


def rate_dots(drawn: Mapping[str, float], published: Mapping[str, float]) -> Figure:
    """How often each attribute is drawn, and how often CelebA has it."""
    names = sorted(published, key=published.get, reverse=True)
    figure, ax = plt.subplots(figsize=(WIDTH, 6.6))
    places = range(len(names))
    ax.hlines(places, [published[n] for n in names], [drawn[n] for n in names], color="#CCCCCC",
              linewidth=2)
    ax.plot([published[n] for n in names], places, "D", color=METHOD_COLOURS["paper"],
            markersize=4.5, label="CelebA, all 202,599 images")
    ax.plot([drawn[n] for n in names], places, "o", color=METHOD_COLOURS["ours"], markersize=4,
            label="drawn")
    _named_rows(ax, names)
    ax.set(xlabel="share of faces that have it", xlim=(0, 1))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def correlation_maps(drawn: np.ndarray, published: np.ndarray, names: Sequence[str]) -> Figure:
    """Correlations of all pairs of attributes, drawn above the diagonal and published below."""
    n = len(names)
    both = np.where(np.arange(n)[:, None] < np.arange(n)[None], drawn, published)
    np.fill_diagonal(both, np.nan)
    figure, ax = plt.subplots(figsize=(WIDTH, 7.2))
    words = [label(name) for name in names]
    sns.heatmap(pd.DataFrame(both, words, words), ax=ax, cmap="vlag", center=0, vmin=-0.9, vmax=0.9,
                square=True, xticklabels=True, yticklabels=True,
                cbar_kws={"shrink": 0.6, "label": "correlation"})
    ax.tick_params(labelsize=6.5, length=0)
    ax.set_title("above the diagonal: drawn; below: CelebA")
    return figure


def outcome_dots(table: pd.DataFrame) -> Figure:
    """Accuracy and balanced accuracy of each attribute, and what always the likelier answer gets,
    from columns ``accuracy``, ``balanced_accuracy``, ``rate``."""
    table = table.sort_values("balanced_accuracy", ascending=False)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 6.6), sharey=True)
    places = range(len(table))
    majority = np.maximum(table["rate"], 1 - table["rate"])
    axes[0].plot(majority, places, "D", color=METHOD_COLOURS["paper"], markersize=4.5,
                 label="always the likelier answer")
    for ax, column in zip(axes, ("accuracy", "balanced_accuracy")):
        ax.plot(table[column], places, "o", color=METHOD_COLOURS["ours"], markersize=4.5,
                label="performer")
        ax.set(xlabel=column.replace("_", " "), xlim=(0.48, 1.02))
        _named_rows(ax, list(table.index))
    axes[1].axvline(0.6, color=SIGN_COLOURS["negative"], linewidth=1, linestyle="--")
    axes[1].text(0.605, len(table) - 0.6, "0.6", color=SIGN_COLOURS["negative"], fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def selection_curves(points: pd.DataFrame) -> Figure:
    """Figure 8: how well random choices of so many concepts explain, with their spread, from
    columns ``size``, ``weights`` ("linear" or "learned"), ``deviation``, ``accuracy_loss``."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    for ax, measure, name in zip(axes, ("deviation", "accuracy_loss"),
                                 ("relative deviation", "loss of accuracy")):
        for kind, (words, colour) in KINDS.items():
            chosen = points[points["weights"] == kind]
            if chosen.empty:
                continue
            by_size = chosen.groupby("size")[measure]
            low, high = by_size.quantile(0.1), by_size.quantile(0.9)
            if by_size.size().max() < FEW:  # too few for a band
                ax.plot(chosen["size"], chosen[measure], "o", color=colour, alpha=0.4,
                        markersize=3, markeredgewidth=0)
            else:
                ax.fill_between(low.index, low, high, color=colour, alpha=0.18, linewidth=0)
            ax.plot(by_size.mean(), "o-", color=colour, markersize=4, label=words)
        ax.set(xlabel="number of concepts", title=name)
        ax.axhline(0, color=FAINT, linewidth=0.8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def what_the_prior_does(alpha: Mapping[str, Tensor], w: Tensor,
                        histories: Mapping[str, Sequence[Mapping[str, float]]], mark: int,
                        name: str) -> Figure:
    """Directions of alpha (B, n), of two methods, against those of the prior weights w (B, n), and
    the losses of each epoch: a dict for each, with ``distillation`` and perhaps ``prior``. The dots
    of the concept at the place `mark` are lit, and have its name."""
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.0))
    unit_w = _unit(array(w))
    for ax, (method, values) in zip(axes[0], alpha.items()):
        unit, colour = _unit(array(values)), METHOD_COLOURS.get(method, INK)
        ax.plot(unit_w.ravel(), unit.ravel(), ".", markersize=1.5, alpha=0.25, color=colour,
                rasterized=True)
        ax.plot(unit_w[:, mark], unit[:, mark], "o", markersize=3.5, color=INK, markeredgewidth=0,
                alpha=0.5, label=name, rasterized=True)
        cosine = float((unit * unit_w).sum(axis=1).mean())
        ax.set(title=f"{method}: cosine {signed(cosine)}", xlabel="w, unit length",
               ylabel="alpha, unit length")
        for line, share in ((ax.axhline, ax.sharey), (ax.axvline, ax.sharex)):
            line(0, color=FAINT, linewidth=0.6)
            share(axes[0, 0])
        ax.legend(loc="upper left")
    losses = {"distillation": "distillation loss, equation (2)", "prior": "prior loss, equation (4)"}
    for ax, (key, title) in zip(axes[1], losses.items()):
        epoch_curves(ax, histories, key, title, [INK] * len(histories))
        ax.legend()
    return figure


def agreement_dots(table: pd.DataFrame) -> Figure:
    """What a control does to each measure: a dot for each target, the mean as a line. A row of the
    table is a fit; columns ``method``, ``target`` and the measures ``entropy``, ``deviation``,
    ``accuracy``, ``performer_accuracy``, ``agreement``."""
    shown = [name for name in METHOD_NAMES if name in set(table["method"])]
    table = table.assign(gain=100 * (table["accuracy"] - table["performer_accuracy"]))
    measures = {"deviation": "relative\ndeviation", "gain": "accuracy gained,\npoints",
                "entropy": "entropy", "agreement": "agreement\nwith flips"}
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 1.05 + 0.33 * len(shown)), sharey=True)
    for ax, (measure, title) in zip(axes, measures.items()):
        for place, method in enumerate(shown):
            values = table[table["method"] == method].groupby("target")[measure].mean().dropna()
            colour = METHOD_COLOURS.get(method, FAINT)
            ax.plot(values, [place] * len(values), "o", color=colour, markersize=4.5, alpha=0.75)
            if len(values):
                ax.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour)
        ax.set_title(title, fontsize=8.5)
        ax.tick_params(labelsize=7.5)
        if measure in ("agreement", "gain"):
            ax.axvline(0, color=FAINT, linewidth=0.8)
        ax.grid(axis="y", color="#EEEEEE")
    axes[0].set(yticks=range(len(shown)), yticklabels=[METHOD_NAMES[m] for m in shown])
    axes[0].invert_yaxis()
    return figure


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)


def _named_rows(ax: Axes, names: Sequence[str]) -> None:
    named_rows(ax, [label(name) for name in names], grid=True, fontsize=7.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
