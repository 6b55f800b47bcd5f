"""Soft colour over a painted canvas, and blur. All in whole numbers, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.drawing import REACH, Canvas, Colour, rotate, turn

__all__ = ["Glaze", "apply", "blurred"]


class Glaze(NamedTuple):
    """A soft elliptical spot of colour, strongest in its middle, on some parts only."""

    parts: tuple[str, ...]  # painted where one of these is on top
    x: float
    y: float
    rx: float
    ry: float
    colour: Colour
    share: float  # of the colour, in the middle
    tilt: float = 0.0
    rough: bool = False  # broken up by the grain, like stubble

    def moved(self, scale: float, x: float, y: float, tilt: float) -> Glaze:
        """Return the glaze turned around the origin, scaled and then shifted."""
        ((px, py),) = rotate(np.array([(self.x, self.y)]), tilt) * scale + (x, y)
        return self._replace(x=float(px), y=float(py), rx=self.rx * scale, ry=self.ry * scale,
                             tilt=self.tilt + tilt)


def apply(canvas: Canvas, picture: np.ndarray, glazes: Sequence[Glaze], grain: np.ndarray) -> None:
    """Lay glazes, in painting order, over a picture (side, side, 3) int32 that was painted with a
    canvas, in place. The grain, (side, side) int32 random bytes, breaks up the rough ones."""
    own = {parts: canvas.labels(dict.fromkeys(parts, 1)).astype(np.int32)
           for parts in {glaze.parts for glaze in glazes}}
    zoom = canvas.side / REACH
    for g in glazes:
        reach = max(g.rx, g.ry)
        x0, x1 = (min(max(int((g.x + d) * zoom), 0), canvas.side) for d in (-reach, reach))
        y0, y1 = (min(max(int((g.y + d) * zoom), 0), canvas.side) for d in (-reach, reach))
        if x0 == x1 or y0 == y1:
            continue
        xs = ((np.arange(x0, x1) + 0.5) / zoom - g.x)[None, :]
        ys = ((np.arange(y0, y1) + 0.5) / zoom - g.y)[:, None]
        cos, sin = turn(g.tilt)
        u, v = (xs * cos + ys * sin) / g.rx, (ys * cos - xs * sin) / g.ry
        fall = np.maximum(1 - u * u - v * v, 0)
        alpha = np.floor(fall * (2 - fall) * (256 * g.share)).astype(np.int32)
        alpha *= own[g.parts][y0:y1, x0:x1]
        if g.rough:
            alpha = alpha * (grain[y0:y1, x0:x1] % 4) // 2
        patch = picture[y0:y1, x0:x1]
        patch += (np.array(g.colour, np.int32) - patch) * alpha[:, :, None] >> 8


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """Return an image (S, S, 3) blurred twice by a box that reaches `radius` pixels (of 64) each
    way. A fraction blends the two boxes next to it; 0 returns the image itself."""
    if not radius:
        return image
    scaled = round(radius * 16 * len(image) / REACH)
    whole, rest = divmod(scaled, 16)
    values = image.astype(np.int64) * 256
    for axis in (0, 1, 0, 1):
        inner, outer = (_box(values, reach, axis) for reach in (whole, whole + 1))
        values = (inner * (16 - rest) + outer * rest) // 16
    return (values // 256).astype(np.uint8)


def _box(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    padded = np.concatenate([np.repeat(moved[:1], reach + 1, axis=0), moved,
                             np.repeat(moved[-1:], reach, axis=0)])
    sums = np.cumsum(padded, axis=0)
    width = 2 * reach + 1
    return np.moveaxis((sums[width:] - sums[:-width]) // width, 0, axis)
