"""What all figures share: colours, type, sheets of pictures.

A part, a sign and a method have the same colour in every figure of the book. All colours are told
apart with the common kinds of colour blindness (parts: Paul Tol's muted scheme; methods: his
vibrant scheme). A figure is as wide as the book's column and has a white ground of its own; for dark
pages it is drawn a second time, see `semquant_book.figures.dark`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from semquant.checks import InputError
from semquant_book.figures import dark

__all__ = ["METHOD_COLOURS", "PART_COLOURS", "SIGN_COLOURS", "WIDTH", "part_colour", "rgb",
           "shares", "signed", "use_style"]

WIDTH = 7.4  # inches; 740 CSS pixels at 100 dots an inch, the width of the book's column
PART_COLOURS = {"eye": "#332288", "mouth & nose": "#CC6677", "ear": "#DDCC77", "head": "#882255",
                "torso": "#88CCEE", "leg": "#117733", "tail": "#999933", "wing": "#AA4499",
                "unassigned": "#C9C9C9"}
METHOD_COLOURS = {"ours": "#0077BB", "baseline": "#EE7733", "performer": "#444444",
                  "paper": "#9A9A9A"}
SIGN_COLOURS = {"positive": "#0B7A75", "negative": "#B3345C"}
SPARE = ("#44AA99", "#6699CC", "#997700", "#994455", "#555555")
BRIGHT = 0.45  # the mean of a picture that is light enough for what is lit in it to be seen
INK, FAINT = "#222222", "#8A8A8A"
MINUS = "\N{MINUS SIGN}"


def use_style() -> None:
    """Set type, lines and ground of all figures; in a notebook also sharp pixels and full width,
    and a second picture for dark pages."""
    sns.set_theme(context="paper", style="ticks", rc={
        "figure.figsize": (WIDTH, 3.2), "figure.dpi": 100, "savefig.dpi": 200,
        "figure.facecolor": "white", "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "font.size": 9.5, "axes.titlesize": 9.5, "axes.labelsize": 9.5, "legend.fontsize": 8.5,
        "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "text.color": INK, "axes.labelcolor": INK,
        "xtick.color": "#555555", "ytick.color": "#555555", "axes.edgecolor": FAINT,
        "axes.linewidth": 0.8, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
        "lines.linewidth": 1.6, "legend.frameon": False,
    })
    try:
        from IPython import get_ipython
        from IPython.core.formatters import BaseFormatter
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if (shell := get_ipython()) is not None:
        # not trimmed: every figure keeps the column's width, so that its letters keep their size
        set_matplotlib_formats("retina", bbox_inches=None)
        for_dark = BaseFormatter(parent=shell.display_formatter, format_type=dark.MIME,
                                 print_method="_repr_on_dark_")
        for_dark.for_type(Figure, dark.webp)
        others = {kind: f for kind, f in shell.display_formatter.formatters.items() if kind != dark.MIME}
        shell.display_formatter.formatters = {dark.MIME: for_dark} | others  # it comes first


def part_colour(name: str) -> str:
    """Return the colour of a part group: always the same for a name, also for an unlisted one."""
    return PART_COLOURS.get(name, SPARE[sum(map(ord, name)) % len(SPARE)])


def array(values: ArrayLike | Tensor) -> np.ndarray:
    """Return a numpy copy of an array or a tensor from any device."""
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return np.array(values)


def rgb(images: ArrayLike | Tensor) -> np.ndarray:
    """Return images (N, 3, H, W) or (N, H, W, 3), or one of them, bytes 0-255 or floats 0-1, as
    floats in [0, 1], (N, H, W, 3)."""
    floating = (images.is_floating_point() if isinstance(images, Tensor)
                else np.asarray(images).dtype.kind == "f")
    images = array(images)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise InputError(f"images: shape {images.shape} is not (N, 3, H, W) or (N, H, W, 3)")
    if images.shape[3] != 3:
        images = images.transpose(0, 2, 3, 1)
    return np.clip(images if floating else images / 255, 0, 1)


def resize(maps: ArrayLike | Tensor, size: int, mode: str = "bicubic") -> np.ndarray:
    """Enlarge maps (N, H, W) or pictures (N, H, W, 3) to `size` x `size`, smoothly."""
    maps = torch.as_tensor(array(maps), dtype=torch.float32)
    colour = maps.dim() == 4
    maps = maps.permute(0, 3, 1, 2) if colour else maps[:, None]
    maps = functional.interpolate(maps, size=(size, size), mode=mode, align_corners=False)
    return (maps.permute(0, 2, 3, 1).clamp(0, 1) if colour else maps[:, 0]).numpy()


def shares(values: ArrayLike) -> np.ndarray:
    """Whole percentages that sum to 100 (largest remainders); all 0 if nothing is positive."""
    values = np.clip(array(values).astype(float), 0, None)
    if values.sum() == 0:
        return np.zeros(len(values), dtype=int)
    exact = 100 * values / values.sum()
    rounded = np.floor(exact).astype(int)
    rounded[np.argsort(rounded - exact, kind="stable")[: 100 - rounded.sum()]] += 1
    return rounded


def signed(value: float, digits: int = 2, plus: bool = False) -> str:
    """Write a number with a true minus sign, never as a negative zero."""
    text = f"{abs(value):.{digits}f}"
    below = value < 0 and float(text) != 0
    return (MINUS if below else "+" if plus else "") + text


def bare(ax: Axes, title: str = "", **style) -> None:
    """Take the frame and ticks off, and write a title above."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title, **{"loc": "center", "pad": 3} | style)


def named_rows(ax: Axes, names: Sequence[str], grid: bool = False, **style) -> None:
    """Name rows from the top down, without ticks and without a frame on the left."""
    ax.set_yticks(range(len(names)), names, **style)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)
    if grid:
        ax.grid(axis="y", color="#EEEEEE")
        ax.set_axisbelow(True)


def signed_rows(ax: Axes, values: np.ndarray, names: Sequence[str], *, height: float, away: float,
                room: float, size: float) -> None:
    """Draw bars in the colours of their signs, from the top down, and write their numbers beside
    them: `away` from their ends, with `room` for them at the sides, as shares of the longest."""
    colours = [SIGN_COLOURS["positive" if value >= 0 else "negative"] for value in values]
    ax.barh(range(len(values)), values, height=height, color=colours)
    span = max(float(np.abs(values).max()), 1e-9)
    for place, value in enumerate(values):
        side = 1 if value >= 0 else -1
        ax.text(value + side * away * span, place, signed(value, plus=True), va="center",
                ha="left" if value >= 0 else "right", fontsize=size)
    ax.set_xlim(min(values.min(), 0) - room * span, max(values.max(), 0) + room * span)
    named_rows(ax, names)
    ax.axvline(0, color=FAINT, linewidth=0.8)


def epoch_curves(ax: Axes, histories: Mapping[str, Sequence[Mapping[str, float]]], key: str,
                 title: str, spare: Sequence) -> None:
    """Draw what was measured in every epoch, in the methods' colours or spare ones. The
    distillation loss, which falls by orders of magnitude, has a logarithmic axis."""
    for (name, history), other in zip(histories.items(), spare):
        points = [(t, epoch[key]) for t, epoch in enumerate(history, 1) if key in epoch]
        if points:
            ax.plot(*zip(*points), "o-", markersize=3.5, label=name,
                    color=METHOD_COLOURS.get(name, other))
    ax.set(xlabel="epoch", title=title, yscale="log" if key == "distillation" else "linear")
    ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True))


def opaque(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) with a fourth channel, to lay it on a transparent sheet."""
    return np.dstack([picture, np.ones(picture.shape[:2])])


def mosaic(pictures: np.ndarray, columns: int, gap: int, below: int = 0) -> tuple[np.ndarray, list]:
    """Put pictures (N, S, S, 3) side by side on a transparent ground, with room `below` each row
    for words. Return the sheet and the left upper corner (x, y) of each picture."""
    count, size = pictures.shape[:2]
    rows, step = -(-count // columns), size + gap
    sheet = np.zeros((rows * (step + below) - (0 if below else gap), columns * step - gap, 4))
    corners = []
    for k, picture in enumerate(pictures):
        x, y = (k % columns) * step, (k // columns) * (step + below)
        sheet[y : y + size, x : x + size] = opaque(picture)
        corners.append((x, y))
    return sheet, corners


def sheet_axes(sheet: np.ndarray, top: float = 0) -> tuple[Figure, Axes]:
    """Open a figure that a sheet of pictures fills, with `top` inches free above it."""
    height = WIDTH * sheet.shape[0] / sheet.shape[1]
    figure = plt.figure(figsize=(WIDTH, height + top), layout="none")
    ax = figure.add_axes((0, 0, 1, height / (height + top)))
    ax.imshow(sheet, interpolation="antialiased", aspect="auto")
    bare(ax)
    return figure, ax


def overlay(image: np.ndarray, heat: ArrayLike | Tensor, size: int = 192) -> np.ndarray:
    """Lay a heat map (H, W) over a picture (S, S, 3): the hotter, the less the picture shows."""
    heat = np.clip(resize(array(heat)[None], size)[0], 0, None)
    heat = heat / heat.max() if heat.max() > 0 else heat
    picture = resize(image[None], size)[0]
    calm = 0.4 * picture + 0.6 * picture.mean(2, keepdims=True)
    weight = 0.8 * np.sqrt(heat)[..., None]
    return calm * (1 - weight) + plt.get_cmap("inferno")(0.25 + 0.7 * heat)[..., :3] * weight


def lit(pictures: np.ndarray, maps: ArrayLike | Tensor, level: float = 0.4) -> np.ndarray:
    """Fade pictures (N, S, S, 3) except where their maps (N, H, W), enlarged, are strong: above
    `level` times their largest value; where no map is above 0, all is faded. A dark picture is
    lightened first, or what is lit would be a dark spot on a light ground."""
    mean = pictures.mean((1, 2, 3), keepdims=True).clip(0.01)
    pictures = pictures ** np.minimum(1, np.log(BRIGHT) / np.log(mean.clip(max=0.99)))
    heat = np.clip(resize(maps, pictures.shape[1]), 0, None)
    top = heat.max((1, 2), keepdims=True)
    inside = heat / np.where(top > 0, top, 1)
    weight = 1 / (1 + np.exp(-(inside - level) * 25))[..., None]  # a soft edge
    faded = 0.7 + 0.3 * pictures.mean(3, keepdims=True)
    return (pictures * weight + faded * (1 - weight)).clip(0, 1)


def part_legend(figure: Figure, names: Sequence[str], loc: str = "outside lower center") -> None:
    """Name the colours of parts in one row."""
    figure.legend(handles=[Patch(color=part_colour(n), label=n) for n in names], loc=loc,
                  ncols=max(len(names), 1), columnspacing=1.0, handlelength=0.9, handleheight=0.9,
                  handletextpad=0.4, borderaxespad=0.1)


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on a colour."""
    red_green_blue = np.array(to_rgb(colour))
    linear = np.where(red_green_blue <= 0.04045, red_green_blue / 12.92,
                      ((red_green_blue + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"
