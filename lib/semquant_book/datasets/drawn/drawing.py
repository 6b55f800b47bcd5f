"""Drawing: dice, colours, curves, and a canvas that knows which part owns each pixel.

Everything here gives the same bytes on every machine: random numbers come straight from the bits
of PCG64, sines are rounded to 1/4096, and coordinates pass only through additions, products,
quotients and square roots of float64 (exact by IEEE 754) before they are rounded to whole pixels.
Curves are (n, 2) arrays of x, y in model units; x to the right, y down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw

Colour = tuple[int, int, int]
OVERSAMPLING = 2  # canvas pixels for one image pixel, along each side
REACH = 64  # model units along one side of the image


class Dice:
    """Random numbers that belong to a key, whatever the machine and the version of NumPy: the
    SHA-256 of its strings and whole numbers is the seed."""

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest[:16], "little"))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def below(self, n: int) -> int:
        return int(self._bits.random_raw()) % n

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def pick(self, choices: Sequence):
        return choices[self.below(len(choices))]

    def grain(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of `shape` of independent bytes."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw((count + 7) // 8)
        return np.frombuffer(raw.astype("<u8").tobytes(), np.uint8)[:count].reshape(shape)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that is `share` of `b` and the rest of `a`."""
    t = round(share * 256)
    return tuple((x * (256 - t) + y * t) >> 8 for x, y in zip(a, b, strict=True))


def luminance(colour: Colour) -> int:
    """Return the luminance, 0 to 255 (the weights of ITU-R BT.601)."""
    r, g, b = colour
    return (299 * r + 587 * g + 114 * b) // 1000


def vary(dice: Dice, colour: Colour, amount: int) -> Colour:
    """Return a colour near `colour`."""
    return tuple(min(255, max(0, c + dice.below(2 * amount + 1) - amount)) for c in colour)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values * 4096) / 4096


def turn(degrees: float) -> tuple[float, float]:
    """Return cosine and sine, rounded to 1/4096."""
    angle = np.deg2rad(degrees)
    return float(_rounded(np.cos(angle))), float(_rounded(np.sin(angle)))


_ANGLES = np.arange(28) * (2 * np.pi / 28)
_CIRCLE = _rounded(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1))


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> np.ndarray:
    """Return an ellipse around (x, y), turned by `tilt` degrees."""
    points = _CIRCLE * (rx, ry)
    return (rotate(points, tilt) if tilt else points) + (x, y)


def rotate(points: np.ndarray, degrees: float) -> np.ndarray:
    """Return the points turned clockwise (as y points down) around the origin."""
    cos, sin = turn(degrees)
    x, y = points[:, 0], points[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)


def _spline(a, b, c, d, steps: int) -> np.ndarray:
    t = (np.arange(steps) / steps)[:, None, None]
    cubic = ((3 * b - a - 3 * c + d) * t + (2 * a - 5 * b + 4 * c - d)) * t + (c - a)
    return (b + cubic * t * 0.5).transpose(1, 0, 2).reshape(-1, 2)  # (steps, n, 2) -> (n steps, 2)


def smooth(points: Sequence, steps: int = 5) -> np.ndarray:
    """Return a closed Catmull-Rom curve through `points`."""
    return _spline(*(np.roll(np.asarray(points, float), -k, axis=0) for k in (-1, 0, 1, 2)), steps)


def curve(points: Sequence, steps: int = 5) -> np.ndarray:
    """Return an open Catmull-Rom curve through `points`."""
    p = np.asarray(points, float)
    p = np.concatenate([p[:1], p, p[-1:]])
    return np.concatenate([_spline(p[:-3], p[1:-2], p[2:-1], p[3:], steps), p[-1:]])


def along(path: np.ndarray) -> np.ndarray:
    """Return the direction of a path at each of its points, of unit length."""
    step = np.concatenate([path[1:2] - path[:1], path[2:] - path[:-2], path[-1:] - path[-2:-1]])
    return step / np.sqrt(step[:, :1] ** 2 + step[:, 1:] ** 2 + 1e-12)


def limb(points: Sequence, widths: Sequence[float], steps: int = 4) -> np.ndarray:
    """Return the outline of a bent, tapered limb with round ends: a path and its full widths."""
    path = curve(points, steps)
    w, t = np.asarray(widths, float)[:, None], np.arange(steps) / steps
    half = np.append(w[:-1] + (w[1:] - w[:-1]) * t, w[-1])[:, None] / 2
    forward = along(path) * half
    off = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    start, end = path[:1] - forward[:1] * 0.7, path[-1:] + forward[-1:] * 0.7
    return np.concatenate([start, path + off, end, (path - off)[::-1]])


def scalloped(x: float, y: float, rx: float, ry: float, bumps: int, depth: float = 0.12):
    """Return an ellipse with a wavy rim of round bumps, like wool, a bush or a cloud."""
    angle = np.arange(bumps * 6) * (2 * np.pi / (bumps * 6))
    rim = 1 - depth + 2 * depth * np.abs(np.sin(angle * bumps / 2)) ** 0.8
    points = _rounded(np.stack([np.cos(angle) * rim, np.sin(angle) * rim], axis=1))
    return points * (rx, ry) + (x, y)


class Op(NamedTuple):
    """One stroke of the brush: a filled polygon, or a line of some width."""

    part: str | None
    points: np.ndarray
    colour: Colour
    width: float = 0.0  # of the line, in model units; 0 fills the polygon
    clip: bool = False  # paint only where the part itself is on top


class Figure:
    """A list of strokes, in painting order, each owned by a part (or by none, ``None``)."""

    def __init__(self, ops: Sequence[Op] = ()) -> None:
        self.ops = list(ops)

    def line(self, part: str | None, points: Sequence, colour: Colour, width: float,
             clip: bool = False) -> None:
        self.ops.append(Op(part, np.asarray(points, float), colour, width, clip))

    def fill(self, part: str | None, points: Sequence, colour: Colour) -> None:
        self.line(part, points, colour, 0.0)

    def shade(self, part: str, points: Sequence, colour: Colour) -> None:
        """Fill a polygon, but only where `part` is on top."""
        self.line(part, points, colour, 0.0, clip=True)

    def rim(self, part: str | None, points: Sequence, colour: Colour, width: float) -> None:
        self.line(part, np.concatenate([points, points[:2]]), colour, width)

    def shape(self, part: str | None, points: Sequence, colour: Colour, ink: Colour,
              width: float = 2.0) -> None:
        """Fill a polygon with an outline of its own."""
        self.rim(part, points, ink, width)
        self.fill(part, points, colour)

    def fuse(self, ink: Colour, *shapes: tuple[str, np.ndarray, Colour]) -> None:
        """Fill several polygons that share one outline: no ink where they overlap."""
        for part, points, _ in shapes:
            self.rim(part, points, ink, 2.0)
        for shape in shapes:
            self.fill(*shape)

    def moved(self, scale: float = 1.0, x: float = 0.0, y: float = 0.0, tilt: float = 0.0,
              flip: bool = False) -> Figure:
        """Return the figure turned, flipped left to right, scaled and then shifted. Lines keep
        their width."""
        points = np.concatenate([op.points for op in self.ops])
        points = rotate(points, tilt) if tilt else points
        points = points * (-scale if flip else scale, scale) + (x, y)
        ends = np.cumsum([len(op.points) for op in self.ops]).tolist()
        return Figure([op._replace(points=points[end - len(op.points) : end])
                       for op, end in zip(self.ops, ends, strict=True)])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and greatest x, y."""
        points = np.concatenate([op.points for op in self.ops])
        return points.min(axis=0), points.max(axis=0)


def _stroke(draw: ImageDraw.ImageDraw, points: np.ndarray, tag: int, width: int,
            joint: str | None = None) -> None:
    """Draw a line or, without a width, a polygon, at whole pixels."""
    pixels = np.floor(points + 0.5).astype(int).ravel().tolist()
    if width:
        draw.line(pixels, fill=tag, width=width, joint=joint)
    else:
        draw.polygon(pixels, fill=tag)


def covered(figure: Figure) -> float:
    """Return the area of a figure's silhouette, in square model units, within the frame."""
    picture = Image.new("L", (REACH, REACH), 0)
    draw = ImageDraw.Draw(picture)
    for op in figure.ops:
        if not op.clip:
            _stroke(draw, op.points, 1, round(op.width))
    return float(picture.histogram()[1])


def averaged(picture: np.ndarray, fineness: int) -> np.ndarray:
    """Return a picture (S, S, 3) shrunk: each pixel is the mean of `fineness` x `fineness`."""
    total = sum(picture[i::fineness, j::fineness].astype(np.int32)
                for i in range(fineness) for j in range(fineness))
    return (total + fineness**2 // 2) // fineness**2


class Canvas:
    """What has been painted: for each pixel the number of the (part, colour) on top. The canvas is
    `OVERSAMPLING` times finer than the image, whose side is `size` pixels."""

    def __init__(self, size: int) -> None:
        self.size, self.side = size, size * OVERSAMPLING
        self._tags: dict[tuple[str | None, Colour | None], int] = {(None, None): 0}
        self._ids = Image.new("L", (self.side, self.side), 0)
        self._draw = ImageDraw.Draw(self._ids)

    def paint(self, figure: Figure, without: Collection[str] = ()) -> None:
        """Paint a figure, leaving out the strokes of some parts."""
        zoom = self.side / REACH
        for op in (op for op in figure.ops if op.part not in without):
            tag = self._tags.setdefault((op.part, op.colour), len(self._tags))
            width = max(1, int(op.width * zoom * 0.5 + 0.5) * 2 - 1) if op.width else 0
            joint = "curve" if width > 4 else None
            if op.clip:
                own = [255 if part == op.part else 0 for part, _ in self._tags]
                inside = self._ids.point(own + [0] * (256 - len(own)))
                stencil = Image.new("L", self._ids.size, 0)
                _stroke(ImageDraw.Draw(stencil), op.points * zoom, 255, width, joint)
                self._ids.paste(tag, mask=ImageChops.multiply(inside, stencil))
            else:
                _stroke(self._draw, op.points * zoom, tag, width, joint)

    def colours(self, paper: np.ndarray) -> np.ndarray:
        """Return the (side, side, 3) uint8 colours, over the (side, side, 3) `paper`."""
        table = np.array([(0, 0, 0) if c is None else c for _, c in self._tags], np.uint8)
        ids = np.asarray(self._ids)
        return np.where(ids[:, :, None] == 0, paper, table[ids])

    def labels(self, numbers: dict[str, int]) -> np.ndarray:
        """Return the (side, side) uint8 number of the part on top, 0 for none."""
        table = np.array([numbers.get(part, 0) for part, _ in self._tags], np.uint8)
        return table[np.asarray(self._ids)]
