"""The paper's Figures 1 to 3 redrawn: what is explained, by what, with a real image's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.checks import InputError
from semquant_book.figures.style import (FAINT, INK, MINUS, SIGN_COLOURS, WIDTH, array, bare, lit,
                                         mosaic, overlay, part_colour, resize, rgb, signed)

__all__ = ["additive_model", "case_one", "case_two", "kinds_of_explanation"]


def _axes(figure: Figure, left: float, top: float, width: float, height: float,
          picture: np.ndarray | None = None, title: str = "") -> Axes:
    """Axes at a place in inches from the figure's left upper corner, bare if it has a picture."""
    wide, high = figure.get_size_inches()
    ax = figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))
    if picture is not None:
        ax.imshow(picture)
        bare(ax, title)
    return ax


def _write(figure: Figure, x: float, y: float, text: str, **style) -> None:
    """Text at a place in inches from the left upper corner, centred on it."""
    wide, high = figure.get_size_inches()
    figure.text(x / wide, 1 - y / high, text, **{"ha": "center", "va": "center", "size": 9} | style)


def _arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two places in inches from the left upper corner."""
    wide, high = figure.get_size_inches()
    ends = [(x / wide, 1 - y / high) for x, y in (start, end)]
    figure.add_artist(FancyArrowPatch(*ends, transform=figure.transFigure, arrowstyle="-|>",
                                      mutation_scale=8, color=FAINT, linewidth=1, shrinkA=0,
                                      shrinkB=0))


def _bars(ax: Axes, values: np.ndarray, colours: Sequence[str], title: str = "",
          labels: Sequence[str] | None = None, drawn: int | None = None) -> None:
    """Horizontal bars with their numbers, the first on top. NaN leaves a row empty; from `drawn`
    on, rows have a number but no bar."""
    drawn = len(values) if drawn is None else drawn
    bars = np.nan_to_num(values)
    bars[drawn:] = 0
    span = max(np.abs(bars).max(), 1e-12)
    digits = 2 if span >= 0.1 else 4
    places = np.arange(len(values))
    ax.barh(places, bars, height=0.72, color=colours)
    for place, bar, value in zip(places, bars, values):
        if np.isfinite(value):
            ax.text(bar + (-0.03 if bar < 0 else 0.03) * span, place, signed(value, digits),
                    va="center", ha="right" if bar < 0 else "left", fontsize=7.5)
    low, high = min(bars.min(), 0), max(bars.max(), 0)
    # room for the numbers, in inches, beside the bars of either sign
    before, after = (0.45 if low < 0 else 0.02), 0.45
    width = ax.get_position().width * ax.figure.get_size_inches()[0]
    inch = max(high - low, 1e-12) / (width - before - after)
    bare(ax, title, fontsize=9, pad=5)
    ax.set(xlim=(low - before * inch, high + after * inch), ylim=(len(values) - 0.45, -0.55))
    ax.axvline(0, color=FAINT, linewidth=0.8)
    if labels is not None:
        ax.set_yticks(places, labels, fontsize=8)
        ax.tick_params(axis="y", length=0, pad=2)


def kinds_of_explanation(image: ArrayLike | Tensor, heat: ArrayLike | Tensor,
                         maps: ArrayLike | Tensor, contributions: ArrayLike | Tensor,
                         names: Sequence[str], yhat: float, bias: float) -> Figure:
    """Figure 1: an image, two explanations by pictures, and one by parts and numbers: Grad-CAM (H,
    W), the maps (4, H, W) of four filters, to show what filters see, and the contributions of P
    parts. Those of exactly 0 are left out."""
    picture, values = rgb(image)[0], array(contributions)
    side, gap, top = 1.5, 0.12, 0.3
    figure = plt.figure(figsize=(WIDTH, side + top + 0.08), layout="none")
    small = resize(picture[None], 96).repeat(4, axis=0)
    pictures = {"(a) image": resize(picture[None], 192)[0], "(b) Grad-CAM": overlay(picture, heat),
                "(c) four filters": mosaic(lit(small, maps), 2, gap=4)[0]}
    for k, (title, shown) in enumerate(pictures.items()):
        _axes(figure, 0.02 + k * (side + gap), top, side, side, shown, title)
    order = [i for i in np.argsort(-values, kind="stable") if values[i] != 0]
    labels = [*(names[i] for i in order), "b"]
    colours = [*(part_colour(names[i]) for i in order), FAINT]
    left = 3 * (side + gap)
    _bars(_axes(figure, left + 0.95, top, WIDTH - left - 1, side),
          np.array([*values[order], bias]), colours, labels=labels)
    _write(figure, (left + WIDTH) / 2, 0.18, f"(d) contributions to ŷ = {signed(yhat)}", size=9.5)
    return figure


def additive_model(image: ArrayLike | Tensor, y: ArrayLike | Tensor, alpha: ArrayLike | Tensor,
                   bias: float, yhat: float, parts: Sequence[str], most: int = 8) -> Figure:
    """Figure 2: y_i times alpha_i(I) gives contributions, which add up with b to nearly yhat. Of n
    filters, each named after a part, the `most` largest contributions have rows of their own; the
    others share one."""
    y, alpha = array(y), array(alpha)
    values = alpha * y
    kept, rest = np.split(np.argsort(-np.abs(values), kind="stable"), [most])
    labels = [f"filter {i}" + (f", {parts[i]}" if parts[i] != "unassigned" else "") for i in kept]
    colours = [part_colour(parts[i]) for i in kept]
    columns = [y[kept], alpha[kept], values[kept]]
    if len(rest):
        labels.append(f"{len(rest)} other filters")
        colours.append(FAINT)
        columns = list(map(np.append, columns, (np.nan, np.nan, values[rest].sum())))
    top, side, left, width, gap = 0.3, 1.45, 3.05, 1.2, 0.27
    high = 0.22 * len(labels)
    below = max(high + top + 0.25, top + side + 0.25)
    figure = plt.figure(figsize=(WIDTH, below + 0.95), layout="none")
    _axes(figure, 0.02, top, side, side, resize(rgb(image), 192)[0], "image I")
    titles = ("value $y_i$", "weight $\\alpha_i(I)$", "contribution $\\alpha_i y_i$")
    for k, (column, title) in enumerate(zip(columns, titles)):
        _bars(_axes(figure, left + k * (width + gap), top, width, high), column, colours, title,
              labels if k == 0 else None, drawn=most)
    for k, sign in enumerate("×="):
        _write(figure, left + (k + 1) * (width + gap) - 0.16, top + high / 2, sign, size=13,
               color=FAINT)
    _arrow(figure, (left + 2.5 * (width + gap), top + high + 0.02),
           (left + 2.5 * (width + gap), below - 0.03))
    _arrow(figure, (0.75, top + side + 0.04), (0.75, below + 0.08))
    _write(figure, 0.75, below + 0.21, f"performer: ŷ = {signed(yhat)}", size=9.5)
    # of the rounded numbers, so that the sum holds as it is written
    total = round(float(values.sum()), 2) + round(bias, 2)
    _sum(_axes(figure, 1.75, below, WIDTH - 1.85, 0.42), columns[2], colours, bias, yhat)
    sign = "+" if bias >= 0 else MINUS
    _write(figure, 1.75 + (WIDTH - 1.85) / 2, below + 0.82,
           f"contributions {signed(values.sum())} {sign} {signed(abs(bias))} (b) = {signed(total)};"
           f"   ŷ {signed(yhat)} (black line);   residual "
           f"{signed(round(yhat, 2) - total, plus=True)}")
    return figure


def _sum(ax: Axes, values: np.ndarray, colours: Sequence[str], bias: float, yhat: float) -> None:
    """Contributions laid end to end from b, and where the performer's score is."""
    ends = np.cumsum([bias, *values])
    ax.barh(np.zeros(len(values)), values, left=ends[:-1], color=colours, height=0.8,
            edgecolor="white", linewidth=0.6)
    ax.axvline(yhat, color=INK, linewidth=1.8)
    low, high = min(0, yhat, ends.min()), max(0, yhat, ends.max())
    ax.set(xlim=(low - 0.02 * (high - low), high + 0.02 * (high - low)), ylim=(-0.55, 0.55),
           yticks=[])
    ax.spines[["left", "right", "top"]].set_visible(False)


def case_one(image: ArrayLike | Tensor, maps: ArrayLike | Tensor, y: ArrayLike | Tensor,
             w: ArrayLike | Tensor, filters: Sequence[int], parts: Sequence[str],
             yhat: float) -> Figure:
    """Figure 3, left: filters of a middle layer are the concepts. Of k filters the masked maps x
    (k, H, W), their sums y over positions, the sums w of the score's derivatives, indices and
    parts."""
    maps, y, w = np.clip(array(maps), 0, None), array(y), array(w)
    count = len(maps)
    if not len(y) == len(w) == len(filters) == len(parts) == count:
        raise InputError(f"maps: {count} of them for {len(y)} y, {len(w)} w, {len(filters)} "
                         f"filters, {len(parts)} parts")
    cell, top, high = 0.42, 0.32, count * 0.42
    middle = top + high / 2
    figure = plt.figure(figsize=(WIDTH, high + top + 0.08), layout="none")
    _axes(figure, 0.02, middle - 0.7, 1.4, 1.4, resize(rgb(image), 192)[0], "image I")
    for k, (index, part) in enumerate(zip(filters, parts)):
        height = top + (k + 0.5) * cell
        ax = _axes(figure, 2.85, height - cell / 2 + 0.02, cell - 0.04, cell - 0.04)
        ax.imshow(maps[k], cmap="inferno", vmin=0, vmax=max(maps[k].max(), 1e-9))
        bare(ax, "map $x_i$" if k == 0 else "", fontsize=9, pad=5)
        _write(figure, 2.78, height, f"filter {index}\n{part}", ha="right", size=8)
        _arrow(figure, (1.46, middle), (1.9, height))
        _arrow(figure, (6.3, height), (6.6, middle))
    colours = [part_colour(part) for part in parts]
    titles = ("$y_i = \\Sigma\\, x_i$", "$w_i = \\Sigma\\, \\partial ŷ / \\partial x_i$")
    for left, values, title in zip((3.45, 4.95), (y, w), titles):
        _bars(_axes(figure, left, top, 1.3, high), values, colours, title)
    _write(figure, 7.0, middle, f"performer\nŷ = {signed(yhat)}", size=9.5)
    return figure


def case_two(target: ArrayLike | Tensor, gradients: ArrayLike | Tensor, w: ArrayLike | Tensor,
             names: Sequence[str]) -> Figure:
    """Figure 3, right: other outputs are the concepts; w_i is read off the gradients. Left the
    gradients of yhat and of k concepts with respect to the shared feature x as arrows in its plane.
    The dot is where the target's falls on a concept's line: w_i times that concept's gradient.
    Right the weights: the product of target and gradient_i, over the square of gradient_i. Names
    are in mathtext."""
    target, gradients, w = array(target), array(gradients), array(w)
    colours = sns.color_palette("colorblind", len(gradients))
    figure = plt.figure(figsize=(WIDTH, 2.8), layout="none")
    ax = _axes(figure, 0.3, 0.05, 3.9, 2.7)
    feet = w[:, None] * gradients
    for gradient, foot, name, colour in zip(gradients, feet, names, colours):
        ax.plot(*zip(foot, np.zeros(2), gradient), color=colour, linewidth=0.8, alpha=0.6)
        ax.plot(*zip(target, foot), color=colour, linewidth=1, linestyle=(0, (3, 2)))
        ax.plot(*foot, "o", color=colour, markersize=5)
        turn = target[0] * gradient[1] - target[1] * gradient[0]  # names stand away from the target
        _vector(ax, gradient, f"$\\nabla$ {name}", colour, side=1 if turn > 0 else -1)
    _vector(ax, target, "$\\nabla$ ŷ", INK)
    points = np.concatenate([gradients, feet, target[None], np.zeros((1, 2))])
    room = 0.2 * np.ptp(points, axis=0).max()
    low, high = points.min(0) - room, points.max(0) + room
    bare(ax)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    colours = [SIGN_COLOURS["negative" if value < 0 else "positive"] for value in w]
    height = 0.35 * len(w)
    _bars(_axes(figure, 5.0, 1.45 - height / 2, 2.2, height), w, colours,
          "$w_i = \\Delta ŷ / \\Delta y_i$", names)
    return figure


def _vector(ax: Axes, tip: np.ndarray, name: str, colour, side: float = 0) -> None:
    """An arrow from the origin with a name beyond its tip, or on its left (1) or right (-1)."""
    ax.annotate("", tip, (0, 0), arrowprops=dict(arrowstyle="-|>", color=colour, linewidth=2))
    along = tip / np.linalg.norm(tip)
    across = np.array([-along[1], along[0]])
    ax.annotate(name, tip, xytext=13 * along if side == 0 else 13 * side * across - 8 * along,
                textcoords="offset points", ha="center", va="center")
