"""The studio: a picture that the reader edits, what the network really makes of it, and what was foretold.

``studio.explore(studio.animals(...))``
"""

from __future__ import annotations

import numpy as np

from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.layers import Layer, layered
from semquant_book.views.widgets import pack

__all__ = ["drawn"]


def drawn(name: str, size: int) -> dict:
    """Pack a drawn animal, by its name in `Images.ids`, as picture.mjs reads it: layers, and their light."""
    found = layered(*animals.parse_id(name), size=size)
    boxes = [_box(layer.pixels) for layer in found.layers]
    runs = [_runs(layer.pixels[y : y + h, x : x + w]) for layer, (x, y, w, h) in zip(found.layers, boxes)]
    grain = (found.grain + 4).astype(np.uint8).ravel()
    return {"size": size, "layers": [_about(*each) for each in zip(found.layers, boxes)],
            "runs": pack(np.concatenate(runs), "u1"), "sky": [list(found.high), list(found.low)],
            "light": found.light, "slope": list(found.slope),
            "grain": pack(grain[::2] | grain[1::2] << 4, "u1")}  # two numbers to a byte


def _about(layer: Layer, box: list[int]) -> dict:
    return {"part": layer.part, "group": animals.GROUP_OF.get(layer.part), "box": box,
            "colours": [list(colour) for colour in layer.colours]}


def _box(pixels: np.ndarray) -> list[int]:
    """Where something is painted: x, y, width, height."""
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def _runs(pixels: np.ndarray) -> np.ndarray:
    """Numbers row by row as pairs of bytes: a number, and how often it follows itself, at most 255 times."""
    flat = pixels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=256 - int(flat[0])))
    pairs = []
    for start, end in zip(starts, [*starts[1:], len(flat)]):
        whole, rest = divmod(int(end - start), 256)
        pairs += [(flat[start], 255)] * whole + [(flat[start], rest - 1)] * (rest > 0)
    return np.array(pairs, np.uint8).ravel()
