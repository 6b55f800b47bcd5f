"""Figures on a dark page: the same drawing with light letters and no ground.

A figure's letters, axes and ground have colours of their own (`semquant_book.figures.style`), and only these are
exchanged; what shows data keeps its colours, and pictures and heat maps are left as they are. In a
notebook `use_style` lets each figure's output hold such a picture beside the usual one, which
`semquant_book.press.site` gives to readers whose page is dark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

__all__ = ["MIME", "on_dark", "picture", "webp"]

MIME = "application/x-figure-on-dark"  # of an output: a WebP in base 64
GROUND = "#15191e"  # of a dark page, in book.css
#: letters, axes, lines of the grid, ground: what they become
COLOURS = {"#222222": "#d8dde3", "#3b4450": "#a9b2bd", "#444444": "#b4bcc6", "#555555": "#a9b2bd",
           "#cccccc": "#4a5560", "#eeeeee": "#2b333c", "#ffffff": GROUND}
PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


@contextmanager
def on_dark(figure: Figure) -> Iterator[Figure]:
    """Exchange the colours of a figure's letters, axes and ground, and put them back."""
    changed = []
    for artist in figure.findobj():
        for name in PROPERTIES:
            before = _colour(artist, name)
            if (after := None if before is None else _exchanged(before, artist)) is not None:
                changed.append((artist, name, before))
                getattr(artist, f"set_{name}")(after)
    try:
        yield figure
    finally:
        for artist, name, before in changed:
            getattr(artist, f"set_{name}")(before)


def _colour(artist: Artist, name: str) -> object:
    """An artist's colour of a kind; None if it has none, or has it from the values that it shows."""
    if not hasattr(artist, f"set_{name}") or not hasattr(artist, f"get_{name}"):
        return None
    if isinstance(artist, Collection) and (name == "color" or artist.get_array() is not None):
        return None
    return getattr(artist, f"get_{name}")()


def _exchanged(colour: object, artist: Artist) -> object:
    """The colour, or colours, on a dark page; None where nothing is to be exchanged."""
    if isinstance(artist, Collection):
        after = [_exchanged(one, None) for one in np.atleast_2d(colour)] if len(colour) else []
        return ([old if new is None else new for old, new in zip(colour, after)]
                if any(new is not None for new in after) else None)
    if isinstance(colour, str) and colour in ("none", "auto"):
        return None
    name = to_hex(colour)
    if name not in COLOURS or isinstance(artist, Text) and name == "#ffffff":  # written on a colour
        return None
    return to_rgba(COLOURS[name], to_rgba(colour)[3])


def picture(figure: Figure, dpi: float | None = None) -> Image.Image:
    """Return a figure as it looks on a dark page, with a transparent ground, by default at twice
    the figure's own dots an inch, as notebooks have it."""
    # a figure without a layout engine gets the default one when it has been saved: take it before
    # the usual picture, and with no default
    with on_dark(figure), rc_context({"figure.constrained_layout.use": False}), io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=dpi or 2 * figure.dpi, facecolor="none",
                       bbox_inches=None)
        return Image.open(file).convert("RGBA")


def webp(figure: Figure) -> str:
    """Return a notebook's picture of a figure for dark pages: a WebP in base 64."""
    with io.BytesIO() as file:
        picture(figure).save(file, "webp", quality=80, method=4)
        return base64.b64encode(file.getvalue()).decode()
