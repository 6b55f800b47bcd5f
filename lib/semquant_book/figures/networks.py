"""The figures of the paper, drawn from arrays, and its numbers beside ours in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from pandas.io.formats.style import Styler
from torch import Tensor

from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant.metrics import contribution_entropy
from semquant_book.figures.style import (FAINT, INK, METHOD_COLOURS, MINUS, PART_COLOURS,
                                         SIGN_COLOURS, WIDTH, array, bare, epoch_curves, lit,
                                         mosaic, named_rows, opaque, overlay, part_colour,
                                         part_legend, readable_on, resize, rgb, shares, sheet_axes,
                                         signed, signed_rows, use_style)
from semquant_book.study.replicates import Estimate, estimate

__all__ = ["METHOD_COLOURS", "PART_COLOURS", "SIGN_COLOURS", "comparison_table",
           "contribution_distribution", "contributions", "explanation_pies", "filter_gallery",
           "label_map", "part_errors", "sample_sheet", "training_history", "use_style", "with_interval"]

DASH = "\N{EM DASH}"


def sample_sheet(images: ArrayLike | Tensor, labels: Sequence[str] | None = None,
                 columns: int = 8) -> Figure:
    """Show images side by side with a short label under each."""
    pictures = resize(rgb(images), 192)
    if labels is not None and len(labels) != len(pictures):
        raise InputError(f"labels: {len(labels)} of them for {len(pictures)} images")
    columns = min(columns, len(pictures))
    words = 0 if labels is None else 4.8 * columns  # room for a line, in pixels of the sheet
    sheet, corners = mosaic(pictures, columns, gap=12, below=round(words))
    figure, ax = sheet_axes(sheet)
    for (x, y), label in zip(corners, labels or ()):
        ax.text(x + 96, y + 198, label, ha="center", va="top", fontsize=min(8.5, 76 / columns))
    return figure


def label_map(images: ArrayLike | Tensor, masks: ArrayLike | Tensor, groups: Sequence[str],
              columns: int = 6) -> Figure:
    """Show where the part groups are: images, and under each the same with its parts coloured. The
    masks (N, P, H, W) are the share of each cell that each of P groups covers."""
    pictures, masks = resize(rgb(images), 192), array(masks)
    paint = np.stack([to_rgb(part_colour(group)) for group in groups])  # (P, 3)
    coloured = []
    for picture, mask in zip(pictures, masks):
        mask = np.clip(resize(mask, 192, mode="bilinear"), 0, 1)  # (P, 192, 192)
        mask = mask / mask.sum(0).clip(1)
        free = 1 - mask.sum(0)[..., None]
        ground = 0.35 * picture.mean(2, keepdims=True) + 0.65
        coloured.append(ground * free + np.einsum("phw,pc->hwc", mask, paint))
    columns = min(columns, len(pictures))
    order = []
    for start in range(0, len(pictures), columns):
        for row in (pictures[start : start + columns], coloured[start : start + columns]):
            order += [*row, *[np.ones_like(pictures[0])] * (columns - len(row))]
    sheet, _ = mosaic(np.stack(order), columns, gap=12)
    figure, _ = sheet_axes(sheet, top=0.3)
    shown = [g for g, there in zip(groups, masks.sum((0, 2, 3)) > 0) if there]
    part_legend(figure, shown, loc="upper center")
    return figure


def explanation_pies(images: ArrayLike | Tensor | None, heatmaps: ArrayLike | Tensor | None,
                     ours: Explanation, baseline: Explanation,
                     names: Sequence[str] | None = None) -> Figure:
    """Figure 5: k images, Grad-CAM (k, H, W), and the parts' contributions by our loss and by the
    baseline, whose explanations are merged to parts. Without images both are left out: photographs
    that may not be shown. A pie can show positive contributions only: its wedges are shares of
    their sum. Under each pie stand the sum of all contributions plus b, and which parts are below
    zero."""
    names, pictures = list(names if names is not None else ours.names), {}
    if images is not None:
        pictures["image"] = resize(rgb(images), 192)
        if heatmaps is not None:
            pictures["Grad-CAM"] = list(map(overlay, rgb(images), array(heatmaps)))
    pies = {"ours": ours, "baseline": baseline}
    gaps = {"image": 0.02, "Grad-CAM": 0.08, "ours": 0.42, "baseline": 0.42}  # below each row
    gaps = {word: gap for word, gap in gaps.items() if word in pictures or word in pies}
    count, cell = len(ours), (WIDTH - 0.25) / max(len(ours), 4)
    height = len(gaps) * cell + sum(gaps.values()) + 0.56
    figure, axes = plt.subplots(len(gaps), count, squeeze=False, layout="none",
                                figsize=(WIDTH, height))
    top = height - 0.25
    for row, (word, gap) in zip(axes, gaps.items()):
        for k, ax in enumerate(row):
            if word in pies:
                _pie(ax, array(pies[word].contributions[k]), names, pies[word].bias)
            else:
                ax.imshow(pictures[word][k])
                bare(ax)
            ax.set_position(((0.25 + k * cell + 0.03) / WIDTH, (top - cell) / height,
                             (cell - 0.06) / WIDTH, cell / height))
        row[0].set_ylabel(word, color=METHOD_COLOURS.get(word, INK), fontsize=10, labelpad=4)
        top -= cell + gap
    for ax, yhat in zip(axes[0], ours.yhat):
        ax.set_title(f"ŷ = {signed(float(yhat))}", loc="center", pad=3)
    there = (np.abs(array(ours.contributions)) + np.abs(array(baseline.contributions))).sum(0) > 0
    part_legend(figure, [n for n, shown in zip(names, there) if shown], loc="lower center")
    return figure


def _pie(ax: Axes, values: np.ndarray, names: Sequence[str], bias: float) -> None:
    """Draw positive contributions as wedges; write the sum, and negative ones, under them."""
    positive = np.clip(values, 0, None)
    if positive.sum() > 0:
        wedges, *_ = ax.pie(positive, colors=[part_colour(n) for n in names], startangle=90,
                            counterclock=False, wedgeprops={"lw": 0.8, "edgecolor": "white"})
        for wedge, share, name in zip(wedges, shares(positive), names):
            if share >= 8:
                angle = np.deg2rad((wedge.theta1 + wedge.theta2) / 2)
                ax.text(0.68 * np.cos(angle), 0.68 * np.sin(angle), f"{share}%", ha="center",
                        va="center", fontsize=7.5, color=readable_on(part_colour(name)))
    sign = MINUS if bias < 0 else "+"
    total = round(float(values.sum()), 2) + round(bias, 2)  # the sum holds as it is written
    below = sorted((v, n) for n, v in zip(names, values) if round(v, 2) < 0)
    text = (f"{signed(values.sum())} {sign} {signed(abs(bias))} = {signed(total)}\n"
            + ", ".join([*(f"{n} {signed(v)}" for v, n in below[:2]),
                         *([f"{len(below) - 2} more"] if len(below) > 2 else [])]))
    bare(ax)
    ax.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal")
    ax.set_xlabel(text, fontsize=7.5, labelpad=0, color="#444444")


def contributions(explanation: Explanation, index: int = 0, most: int = 12) -> Figure:
    """Show one image's explanation as signed bars: the `most` largest contributions, the rest, b,
    and the sum."""
    values = array(explanation.contributions[index])
    names = list(explanation.names or (f"concept {i}" for i in range(len(values))))
    kept, rest = np.split(np.argsort(-np.abs(values), kind="stable"), [most])
    rows = [(names[i], float(values[i])) for i in kept]
    if len(rest):
        rows.append((f"{len(rest)} others", float(values[rest].sum())))
    bias, yhat = float(explanation.bias), float(explanation.yhat[index])
    total = float(values.sum()) + bias
    rows.append(("b", bias))
    figure, ax = plt.subplots(figsize=(WIDTH, 0.7 + 0.24 * len(rows)))
    words, heights = zip(*rows)
    signed_rows(ax, np.array(heights), words, height=0.7, away=0.012, room=0.15, size=8)
    ax.set_xlabel("contribution to the score")
    ax.set_title(f"ŷ = {signed(yhat)}   explained {signed(total)}   "
                 f"residual {signed(round(yhat, 2) - round(total, 2), plus=True)}")
    return figure


def contribution_distribution(ours: ArrayLike | Tensor, baseline: ArrayLike | Tensor, *,
                              sort: bool = False, titles: Sequence[str] | None = None) -> Figure:
    """Figure 7: the contributions (k, n) of every filter in k images, with our loss and without,
    and their entropy; sorted from the largest down, or by filter index as in the paper."""
    both = {"ours": np.atleast_2d(array(ours)), "baseline": np.atleast_2d(array(baseline))}
    if both["ours"].shape != both["baseline"].shape:
        raise InputError(f"baseline: shape {both['baseline'].shape} is not that of ours, "
                         f"{both['ours'].shape}")
    count, n = both["ours"].shape
    figure, axes = plt.subplots(count, 2, figsize=(WIDTH, 0.6 + 1.3 * count), sharex=True,
                                sharey="row", squeeze=False)
    for column, (method, values) in zip(axes.T, both.items()):
        colour = METHOD_COLOURS[method]
        for k, (ax, row) in enumerate(zip(column, values)):
            entropy = float(contribution_entropy(torch.as_tensor(row[None]))[0])
            bars = np.sort(row)[::-1] if sort else row
            ax.vlines(np.arange(n), 0, bars, color=colour, linewidth=max(0.6, 190 / n))
            ax.axhline(0, color=FAINT, linewidth=0.6)
            ax.set_title(f"{method}, H = {signed(entropy)}", loc="right", color=colour)
            if titles is not None and method == "ours":
                ax.set_title(titles[k], loc="left")
            ax.margins(x=0.01)
        column[-1].set_xlabel("filters, largest contribution first" if sort else "filter")
    figure.supylabel("contribution", fontsize=9.5)
    return figure


def filter_gallery(images: ArrayLike | Tensor, maps: ArrayLike | Tensor, parts: Sequence[str],
                   labels: Sequence[str] | None = None, *, across: int = 2,
                   level: float = 0.4) -> Figure:
    """Figure 4: for each of F filters the m images that excite it most, (F, m, 3, S, S), the
    strongest first, lit where its map (F, m, H, W), enlarged, is above `level` times its largest
    value. Beside them stand the part that it is named after, and a label, e.g. its index."""
    maps = array(maps)
    count, each = maps.shape[:2]
    if count == 0:
        figure = plt.figure(figsize=(WIDTH, 0.5))
        figure.text(0.5, 0.5, "no filter has a name", ha="center", va="center")
        return figure
    size, gap, words, space = 128, 6, 150, 24
    pictures = resize(rgb(images.reshape(count * each, *images.shape[2:])), size)
    pictures = lit(pictures, maps.reshape(count * each, *maps.shape[2:]), level)
    pictures = pictures.reshape(count, each, size, size, 3)
    rows, block = -(-count // across), words + each * (size + gap)
    sheet = np.zeros((rows * (size + gap) - gap, across * (block + space) - space - gap, 4))
    corners = [((f % across) * (block + space), (f // across) * (size + gap)) for f in range(count)]
    for (x, y), row in zip(corners, pictures):
        for left, picture in zip(range(x + words, x + block, size + gap), row):
            sheet[y : y + size, left : left + size] = opaque(picture)
    _, ax = sheet_axes(sheet)
    for f, (x, y) in enumerate(corners):
        ax.add_patch(plt.Rectangle((x, y + 6), 10, size - 12, color=part_colour(parts[f])))
        text = parts[f].replace(" & ", " &\n") + (f"\n{labels[f]}" if labels else "")
        ax.text(x + 20, y + size / 2, text, va="center", fontsize=8, linespacing=1.3)
    return ax.figure


def part_errors(errors: pd.DataFrame, paper: pd.DataFrame | None = None) -> Figure:
    """Table 3 as dots: the error of each part's contribution, ours and baseline, and the paper's.
    Columns are ``part``, ``method`` ("ours" or "baseline"), ``error``; several rows of a part and
    method (seeds, architectures) become a mean with its range."""
    parts = list(dict.fromkeys(errors["part"]))
    figure, ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(parts)))
    for method, shift in (("ours", -0.13), ("baseline", 0.13)):
        colour = METHOD_COLOURS[method]
        for place, part in enumerate(parts):
            mine = errors.query("part == @part and method == @method")["error"].dropna()
            if len(mine):
                ax.plot([mine.min(), mine.max()], [place + shift] * 2, color=colour, alpha=0.45,
                        linewidth=3, solid_capstyle="round")
                ax.plot(mine.mean(), place + shift, "o", color=colour, markersize=6.5,
                        label=method if place == 0 else None)
            if paper is not None:
                theirs = paper.query("part == @part and method == @method")["error"].dropna()
                ax.plot(theirs, [place + shift] * len(theirs), "D", markerfacecolor="white",
                        markeredgecolor=colour, markersize=5, markeredgewidth=1.2,
                        label=f"{method}, paper" if place == 0 and len(theirs) else None)
    ax.set_xlabel("error of the estimated contribution")
    ax.set_xlim(left=min(0, ax.get_xlim()[0]))
    named_rows(ax, parts, grid=True)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def training_history(histories: Mapping[str, Sequence[Mapping[str, float]]],
                     measures: Mapping[str, str], figure: Figure | None = None) -> Figure:
    """Show what was measured in every epoch, a panel for each measure (its key in the dicts that
    `training.fit` returns, and a title), a curve for each history. The distillation loss, which
    falls by orders of magnitude, has a logarithmic axis. Threads give a figure: pyplot's own are
    not for them."""
    figure = plt.figure() if figure is None else figure
    figure.set_size_inches(WIDTH, 2.5)
    axes = figure.subplots(1, len(measures), squeeze=False)
    spare = sns.color_palette("colorblind", len(histories))
    for ax, (key, label) in zip(axes[0], measures.items()):
        epoch_curves(ax, histories, key, label, spare)
    if len(histories) > 1:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center",
                      ncols=len(histories))
    return figure


def comparison_table(measured: pd.DataFrame, paper: pd.DataFrame, *, digits: int = 3,
                     caption: str | None = None) -> Styler:
    """Put measured numbers, one or a sequence (of performers) in a cell, beside the paper's. Rows
    and columns come in the paper's order, then those that only `measured` has. Each column becomes
    the mean (± half its 95% interval, see `study.replicates.estimate`; nothing for too few), the
    paper's number, and mean minus paper. What is missing is an em dash; for a column of which the
    paper has no number, the last two are left out."""
    rows = [*paper.index, *(r for r in measured.index if r not in paper.index)]
    columns = [*paper.columns, *(c for c in measured.columns if c not in paper.columns)]
    cells: dict[tuple, list[str]] = {}
    for column in columns:
        known = any(len(_numbers(paper, row, column)) for row in rows)
        for row in rows:
            mine, theirs = _numbers(measured, row, column), _numbers(paper, row, column)
            texts = {"this run": with_interval(estimate(mine), digits) if len(mine) else DASH}
            if known:
                texts["paper"] = signed(theirs[0], digits) if len(theirs) else DASH
                texts["difference"] = (signed(mine.mean() - theirs[0], digits, plus=True)
                                       if len(mine) and len(theirs) else DASH)
            for name, text in texts.items():
                cells.setdefault((column, name), []).append(text)
    style = pd.DataFrame(cells, index=rows).style.set_table_attributes('class="dataframe"')
    style = style.set_properties(**{"text-align": "right", "white-space": "nowrap"})
    return style.set_caption(caption) if caption else style


def with_interval(mean: Estimate, digits: int = 3, plus: bool = False) -> str:
    """Write a mean, with half its interval where there is one."""
    half = f" ± {(mean.high - mean.low) / 2:.{digits}f}" if mean.known else ""
    return signed(mean.value, digits, plus) + half


def _numbers(table: pd.DataFrame, row: object, column: object) -> np.ndarray:
    """The finite numbers in a cell; none if the table has no such cell."""
    if row not in table.index or column not in table.columns:
        return np.empty(0)
    values = np.atleast_1d(np.asarray(table.at[row, column], dtype=float))
    return values[np.isfinite(values)]
