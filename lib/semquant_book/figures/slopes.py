"""From the baseline to ours, a line for each network: what the prior loss does, here and in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from semquant.checks import InputError
from semquant_book.figures.style import FAINT, INK, METHOD_COLOURS, WIDTH

__all__ = ["entropy_slopes"]


def entropy_slopes(panels: Mapping[str, pd.DataFrame], *, gap: float = 0.017) -> Figure:
    """Draw slopes from the baseline to ours, a panel for each title, side by side on one axis: a
    row for each network, columns ``baseline`` and ``ours``, entropies as shares of ln n, or
    whatever else can be compared. Networks' names stand at least `gap` apart, in units of the axis.
    InputError without a panel or a column."""
    if not panels:
        raise InputError("panels: there is none; accepted: at least one")
    for title, frame in panels.items():
        for column in ("baseline", "ours"):
            if column not in frame:
                raise InputError(f"panels: {title} has no column {column}; accepted: baseline and ours")
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False, figsize=(WIDTH, 3.3))
    for ax, (title, frame) in zip(axes[0], panels.items()):
        for _, row in frame.iterrows():
            ax.plot([0, 1], [row.baseline, row.ours], color=FAINT, linewidth=1.1, zorder=1)
        for x, method in enumerate(("baseline", "ours")):
            ax.scatter([x] * len(frame), frame[method], s=26, color=METHOD_COLOURS[method], zorder=2,
                       marker="s" if method == "baseline" else "o")
        for y, (name, value) in zip(_apart(frame.baseline.tolist(), gap), frame.baseline.items()):
            ax.annotate(str(name), (0, value), (-0.07, y), ha="right", va="center", fontsize=8, color=INK)
        ax.set_title(title, loc="left")
        ax.set(xlim=(-0.72, 1.15), xticks=[0, 1], xticklabels=["baseline", "ours"])
        ax.tick_params(axis="x", length=0)
        ax.grid(axis="y", color="#EEEEEE")
        ax.set_axisbelow(True)
    axes[0, 0].set_ylabel("entropy of contributions, H / ln n")
    axes[0, 0].set_ylim(top=max(1.0, axes[0, 0].get_ylim()[1]))
    return figure


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Move values as little as needed for neighbours to be `gap` apart; their order stays."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    groups: list[tuple[list[int], float]] = []  # members, and the middle that they would like
    for i in order:
        groups.append(([i], values[i]))
        while len(groups) > 1:
            (a, p), (b, q) = groups[-2:]
            if q - p >= gap * (len(a) + len(b)) / 2 - 1e-12:
                break
            groups[-2:] = [(a + b, (p * len(a) + q * len(b)) / (len(a) + len(b)))]
    placed = list(values)
    for members, middle in groups:
        for k, i in enumerate(members):
            placed[i] = middle + gap * (k - (len(members) - 1) / 2)
    return placed
