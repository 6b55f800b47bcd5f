"""Ways of explaining, the best first: a dot for each performer, and the mean over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from semquant.checks import InputError
from semquant_book.figures.networks import with_interval
from semquant_book.figures.style import METHOD_COLOURS, WIDTH, named_rows, readable_on
from semquant_book.study.replicates import estimate

__all__ = ["error_grid", "ranking"]


def ranking(panels: Mapping[str, pd.DataFrame], colours: Mapping[str, str],
            logarithmic: Collection[str] = ()) -> Figure:
    """Draw values of methods, a panel for each title, side by side: a row for each method, a column
    for each performer. A method has the same row in all panels, by its mean in the first, the
    smallest at the top. A light dot is a performer; the full one is the mean, and the line its
    interval, see `study.replicates.estimate`. `colours`: of the methods that are not grey, by the
    beginning of their names. `logarithmic`: the panels with such an axis; an interval from 0 or less
    begins at its left end. InputError without a panel, or if the panels' methods differ."""
    if not panels:
        raise InputError("panels: there is none; accepted: at least one")
    first, *others = panels.values()
    for title, frame in panels.items():
        if set(frame.index) != set(first.index):
            raise InputError(f"panels: {title} has other methods than the first panel")
    order = first.mean(axis=1).sort_values(kind="stable").index
    shades = [next((colour for name, colour in colours.items() if method.startswith(name)),
                   METHOD_COLOURS["paper"]) for method in order]
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False,
                                figsize=(WIDTH, 0.7 + 0.25 * len(order)))
    for ax, (title, frame) in zip(axes[0], panels.items()):
        for place, (method, shade) in enumerate(zip(order, shades)):
            mean = estimate(frame.loc[method])
            ax.plot(mean.values, [place] * len(mean.values), "o", color=shade, markersize=4.5,
                    markeredgewidth=0, alpha=0.4)
            ax.plot(mean.value, place, "o", color=shade, markersize=6)
            if mean.known:
                ax.plot([mean.low, mean.high], [place, place], color=shade, linewidth=1.6)
        ax.set_title(title, loc="left")
        if title in logarithmic:
            ax.set_xscale("log", nonpositive="clip")
            ax.set_xlim(frame.min(axis=None) / 1.3, None)
            ax.xaxis.set_major_formatter("{x:g}")
        ax.grid(axis="x", color="#EEEEEE")
    named_rows(axes[0, 0], order, grid=True)
    for ax in axes[0, 1:]:
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="y", color="#EEEEEE")
        ax.set_axisbelow(True)
    for label, shade in zip(axes[0, 0].get_yticklabels(), shades):
        label.set_color("#222222" if shade == METHOD_COLOURS["paper"] else shade)
    return figure


def error_grid(errors: pd.DataFrame, colours: Mapping[str, str] = {}) -> Figure:
    """Draw errors of methods against truths as a grid: a row for each method, the best mean place at the
    top, a column for each truth. Cells are `study.replicates.Estimate`, with half their interval where
    there is one, or None; the darker, the better a method's place in the column. `colours` as in
    `ranking`."""
    values = errors.map(lambda cell: float("nan") if cell is None else cell.value).astype(float)
    places = (values.rank() - 1) / (values.notna().sum() - 1).clip(lower=1)
    order = places.mean(axis=1).sort_values(kind="stable").index
    shades = plt.get_cmap("Blues_r")
    figure, ax = plt.subplots(figsize=(WIDTH, 1.3 + 0.3 * len(order)))
    ax.imshow(0.25 + 0.75 * places.loc[order].to_numpy(), cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row, method in enumerate(order):
        for column, truth in enumerate(errors.columns):
            cell, place = errors.at[method, truth], places.at[method, truth]
            if cell is not None and np.isfinite(cell.value):
                ax.text(column, row, with_interval(cell, 3), ha="center", va="center", fontsize=7.5,
                        color=readable_on(shades(0.25 + 0.75 * place)))
    ax.set_xticks(range(errors.shape[1]), errors.columns)
    ax.xaxis.tick_top()
    ax.tick_params(axis="x", length=0, labelsize=8.5)
    named_rows(ax, list(order))
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.spines[:].set_visible(False)
    for label in ax.get_yticklabels():
        name = label.get_text()
        label.set_color(next((c for start, c in colours.items() if name.startswith(start)), "#222222"))
    return figure
