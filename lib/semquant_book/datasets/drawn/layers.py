"""A drawn animal as layers: what a page needs to draw it again without some of its parts.

Painting is in flat colours and without soft edges, and light, grain and the means of four pixels come
last. So layers with nothing half-transparent, composited before they are lit, are `animals.render`
exactly, whatever parts are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.drawing import OVERSAMPLING, Canvas, Colour, Figure

__all__ = ["Layer", "Layered", "layered"]


class Layer(NamedTuple):
    """Strokes of one part (or of none: the scene) that nothing comes between.

    `pixels` (side, side) uint8 have the number of a colour, from 1, or 0 where nothing is painted;
    above the number of colours, less that number, it is painted only where the part itself is on top.
    """

    part: str | None
    colours: list[Colour]
    pixels: np.ndarray


class Layered(NamedTuple):
    """Layers in painting order, and how what they come to is lit, see `animals.render`.

    Where no layer is, the sky goes from the colour `high` down to `low`. Colours are multiplied by
    `light`, in 256ths; then comes a glow along `slope`, and `grain` (64, 64), from -4 to 4.
    """

    layers: list[Layer]
    high: Colour
    low: Colour
    light: list[int]
    slope: tuple[float, float]
    grain: np.ndarray


def layered(kind: str, seed: int, split: str, index: int, size: int = 64) -> Layered:
    """Return the layers of ``animals.render(kind, seed, split, index, size)``, each twice as fine."""
    background, figure, front, tones, light, slope, grain = animals._compose(kind, seed, split, index)
    layers, side = [], size * OVERSAMPLING
    for op in (op for strokes in (background, figure, front) for op in strokes.ops):
        if not layers or layers[-1][0].part != op.part:
            layers.append((Layer(op.part, [], np.zeros((side, side), np.uint8)), np.zeros((side, side), bool)))
        layer, solid = layers[-1]
        if op.colour not in layer.colours:
            layer.colours.append(op.colour)
        canvas = Canvas(size)
        canvas.paint(Figure([op._replace(part="here", clip=False)]))
        covered = canvas.labels({"here": 1}) > 0
        layer.pixels[covered] = layer.colours.index(op.colour) + 1
        if not op.clip:
            solid |= covered
    for layer, solid in layers:  # clipped by what this layer itself has painted, a stroke is whole there
        layer.pixels[(layer.pixels > 0) & ~solid] += len(layer.colours)
    found = [layer for layer, _ in layers if layer.pixels.any()]
    return Layered(found, tones.high, tones.low, light, slope, (grain % 9).astype(np.int8) - 4)
