"""FunnyBirds: what protocols say of each way, and the importance of a bird's parts by several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from semquant.checks import InputError
from semquant_book.figures.style import WIDTH, named_rows, readable_on, signed, signed_rows

__all__ = ["part_bars", "score_grid"]


def score_grid(table: pd.DataFrame, colours: Mapping[str, str] = {}) -> Figure:
    """Draw scores from 0 to 1 as a grid: a row for each way, a column for each score, the darker the
    higher. `colours`: of the names of rows that are not grey, by their beginning."""
    values, shades = table.to_numpy(float), plt.get_cmap("Blues")
    figure, ax = plt.subplots(figsize=(WIDTH, 0.6 + 0.27 * len(table)))
    ax.imshow(values, cmap=shades, vmin=0, vmax=1.1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(column, row, signed(value), ha="center", va="center", fontsize=8.5,
                    color=readable_on(shades(value / 1.1)))
    ax.set_xticks(range(table.shape[1]), table.columns)
    ax.xaxis.tick_top()
    ax.tick_params(axis="x", length=0)
    named_rows(ax, list(table.index))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.spines[:].set_visible(False)
    for label in ax.get_yticklabels():
        name = label.get_text()
        label.set_color(next((colour for start, colour in colours.items() if name.startswith(start)), "#222222"))
    return figure


def part_bars(importances: Mapping[str, Sequence[float]], parts: Sequence[str]) -> Figure:
    """Draw what ways say of each part of an image, a panel for each way, side by side in rows of three.
    InputError if a way has another number of values."""
    for way, values in importances.items():
        if len(values) != len(parts):
            raise InputError(f"importances: {way} has {len(values)} values; accepted: {len(parts)}, one a part")
    rows = -(-len(importances) // 3)
    figure, axes = plt.subplots(rows, 3, squeeze=False, figsize=(WIDTH, 1.6 * rows))
    for ax, (way, values) in zip(axes.flat, importances.items()):
        signed_rows(ax, np.asarray(values, float), parts, height=0.65, away=0.04, room=0.55, size=8)
        ax.set_title(way, loc="left")
        ax.set_xticks([])
    for ax in list(axes.flat)[len(importances) :]:
        ax.set_visible(False)
    return figure
