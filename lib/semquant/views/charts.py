"""Figures of an explanation: one image's score as a waterfall, all images' contributions as a swarm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from semquant.checks import InputError, check_finite, needed, number
from semquant.shown import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["swarm", "waterfall"]

# told apart with any colour blindness
PLUS, MINUS, TOTAL, REST, LINE = "#0B7A75", "#B3345C", "#3B4450", "#8A929B", "#B9BFC6"
COLOURS = "cividis"


def waterfall(explanation, image: int, images: Tensor | np.ndarray | None, undo: object,
              top: int) -> Figure:
    """Draw one image's score from b to the score; parameters as in `semquant.Explanation.plot`."""
    number("image_index", image, 0, len(explanation) - 1, integer=True)
    number("top", top, 1, integer=True)
    one = explanation[image : image + 1]
    check_finite(yhat=one.yhat, y=one.y, alpha=one.alpha)
    # rows of (what, value, colour or None for a total); what is printed adds up
    named = [(reason.name, reason.contribution) for reason in one.top(top)[0]]
    total, score, bias = float(one.contributions.double().sum()), float(one.yhat[0]), explanation.bias
    digits = _digits(max(abs(v) for v in (total, score, bias, *(value for _, value in named))))
    rounded = [round(value, digits) for _, value in named]
    others = len(explanation.names) - len(named)
    rows = [("b, the same for all images", bias, round(bias, digits), REST)]
    if others:
        named.append((f"{others} other concept" + "s" * (others > 1), total - sum(v for _, v in named)))
        rounded.append(round(total, digits) - sum(rounded))
    rows += [(*one, printed, MINUS if one[1] < 0 else PLUS) for one, printed in zip(named, rounded)]
    explained = round(bias, digits) + round(total, digits)
    rows.append(("explained score", bias + total, explained, None))
    rows.append(("not explained", score - bias - total, round(score, digits) - explained, REST))
    rows.append(("network's score", score, round(score, digits), None))

    figure = _empty(7.2 if images is None else 9.6, 0.75 + 0.27 * len(rows))
    if images is None:
        ax = figure.add_subplot()
    else:
        grid = figure.add_gridspec(1, 2, width_ratios=(1, 2.6), wspace=0.04)
        _picture(figure.add_subplot(grid[0]), explanation, image, images, undo)
        ax = figure.add_subplot(grid[1])
    _bars(ax, rows, digits)
    ax.set_xlabel(f"score of image {image}")
    return figure


def _bars(ax: Axes, rows: list, digits: int) -> None:
    """One bar below the other, each from where the last ended; totals begin at 0."""
    at, ends = 0.0, [0.0]
    for place, (_, value, _, colour) in enumerate(rows):
        left = 0.0 if colour is None else at
        ax.barh(place, value, left=left, height=0.68, color=colour or TOTAL)
        if place + 1 < len(rows):  # what is reached
            ax.plot([left + value] * 2, [place - 0.34, place + 1.34], color=LINE, lw=0.8, zorder=0)
        at = left + value
        ends += [left, at]
    span = max(ends) - min(ends) or 1.0
    at = 0.0
    for place, (_, value, printed, colour) in enumerate(rows):
        at = value if colour is None else at + value
        beside = value >= 0
        ax.text(at + (0.012 if beside else -0.012) * span, place,
                _signed(printed, digits, colour is not None), va="center", ha="left" if beside else "right",
                fontsize=8.5, fontweight="bold" if colour is None else "normal")
    ax.set_xlim(min(ends) - 0.14 * span, max(ends) + 0.14 * span)
    _named(ax, [name for name, *_ in rows])
    for label, (*_, colour) in zip(ax.get_yticklabels(), rows):
        label.set_fontweight("bold" if colour is None else "normal")
    ax.axvline(0, color=REST, linewidth=0.8, zorder=0)


def swarm(explanation, top: int) -> Figure:
    """Draw the contributions of the most important concepts; as `semquant.Explanation.swarm`."""
    number("top", top, 1, integer=True)
    if len(explanation) == 0:
        raise InputError("explanation: it is of no images")
    check_finite(yhat=explanation.yhat, y=explanation.y, alpha=explanation.alpha)
    values, y, residual = (part.detach().double().cpu().numpy() for part in (
        explanation.contributions, explanation.y, explanation.residual))
    order = np.argsort(-np.abs(values).mean(0), kind="stable")
    first, left = order[:top], order[top:]
    rest = [("not explained", residual)]
    if len(left):
        rest.insert(0, (f"the other {len(left)}, their sum", values[:, left].sum(1)))

    figure = _empty(7.2, 1.2 + 0.34 * max(7, len(first) + len(rest)))  # the scale needs room
    upper, lower = figure.subplots(2, 1, height_ratios=(len(first), len(rest) + 0.3))
    span = float(np.ptp(values[:, first])) or 1.0
    for place, i in enumerate(first):
        dots = upper.scatter(values[:, i], place + _aside(values[:, i], span), s=11, linewidths=0,
                             c=_relative(y[:, i]), cmap=COLOURS, vmin=0, vmax=1)
    span = max(float(v.max()) for _, v in rest) - min(float(v.min()) for _, v in rest) or 1.0
    for place, (_, found) in enumerate(rest):
        lower.scatter(found, place + _aside(found, span), s=11, linewidths=0, color=REST)
    for ax, names, label in (
        (upper, [explanation.names[i] for i in first],
         f"contribution to the score, a dot for each of {len(explanation)} images"),
        (lower, [name for name, _ in rest], "on a scale of their own")):
        ax.axvline(0, color=REST, linewidth=0.8, zorder=0)
        _named(ax, names)
        ax.set_xlabel(label)
    bar = figure.colorbar(dots, ax=upper, aspect=40, shrink=0.8, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["the concept's\nlowest y", "the concept's\nhighest y"], fontsize=8.5)
    bar.outline.set_visible(False)
    return figure


def _empty(width: float, height: float) -> Figure:
    Figure = needed("matplotlib.figure", "plot").Figure
    needed("matplotlib.pyplot", "plot")  # so that a notebook shows it
    return Figure(figsize=(width, height), layout="constrained")


def _picture(ax: Axes, explanation, image: int, images: Tensor | np.ndarray, undo: object) -> None:
    """The image beside its explanation: one of as many as are explained, or the one alone."""
    if getattr(images, "ndim", 4) == 4 and len(images) != len(explanation):
        raise InputError(f"images: {len(images)} don't fit an explanation of {len(explanation)}")
    found = pictures(images[image : image + 1] if images.ndim == 4 else images, undo)
    ax.imshow(found.pixels[0], interpolation="nearest" if max(found.pixels.shape) < 100 else "antialiased")
    ax.set(xticks=[], yticks=[], anchor="N")
    ax.spines[:].set_visible(False)
    ax.set_xlabel(f"image {image}" + ("\nstretched to be seen" if found.note else ""), fontsize=8.5)


def _named(ax: Axes, names: list[str]) -> None:
    """Name rows from the top down, without a frame."""
    ax.set_yticks(range(len(names)), [_plain(name) for name in names], fontsize=9)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=8.5, colors="#555555")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(LINE)
    ax.xaxis.label.set_size(9)


def _plain(name: str) -> str:
    """A name that matplotlib takes as it is, without mathematics, and not too long for a row."""
    return (name if len(name) <= 40 else name[:39] + "…").replace("$", r"\$")


def _relative(y: np.ndarray) -> np.ndarray:
    low, high = y.min(), y.max()
    return (y - low) / (high - low) if high > low else np.full(len(y), 0.5)


def _aside(values: np.ndarray, span: float) -> np.ndarray:
    """How far each dot is moved up or down, so that those of about one value lie beside each other."""
    cells = np.round(values / span * 90).astype(int)
    places = np.zeros(len(values))
    for cell in np.unique(cells):
        here = np.flatnonzero(cells == cell)
        here = here[np.argsort(values[here], kind="stable")]
        k = np.arange(len(here))
        places[here] = (k + 1) // 2 * np.where(k % 2, 1, -1)
    return 0.38 * places / max(4, np.abs(places).max())


def _digits(size: float) -> int:
    """Digits after the point with which a number of a size has three in all, at least."""
    return min(10, max(0, 2 - math.floor(math.log10(size)))) if size > 0 else 2


def _signed(value: float, digits: int, plus: bool) -> str:
    text = f"{abs(value):.{digits}f}"
    below = value < 0 and float(text) != 0
    return ("\N{MINUS SIGN}" if below else "+" * plus) + text
