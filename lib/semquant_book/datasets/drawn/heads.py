"""The heads: one function an animal, facing right, around (0, 0), about one unit in radius."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from semquant_book.datasets.drawn.anatomy import BLACK, CREAM, INK, PINK, Coat
from semquant_book.datasets.drawn.drawing import (Colour, Dice, Figure, curve, ellipse, limb,
                                                  luminance, mix, scalloped, smooth)

# pieces that several animals share; `near` and `far` are "r" and "l" for an animal facing right


def eye(f: Figure, part: str, x: float, y: float, r: float, c: Coat, slit: bool = False) -> None:
    f.fill(part, ellipse(x, y, r * 1.22, r * 1.22), mix(c.light, CREAM, 0.7))
    f.fill(part, ellipse(x + 0.04 * r, y + 0.06 * r, r, r), c.iris if slit else BLACK)
    if slit:
        f.fill(part, ellipse(x + 0.08 * r, y + 0.06 * r, r * 0.52, r * 0.92), BLACK)
    f.fill(part, ellipse(x + 0.34 * r, y - 0.36 * r, r * 0.36, r * 0.36), (255, 255, 255))


def _ear(f: Figure, part: str, c: Coat, colour: Colour, outer: Sequence, inner: Sequence = (),
         flip: int = 1, x: float = 0.0, y: float = 0.0, bend: Callable = smooth) -> None:
    """Draw an ear, and its inside if there is one, flipped if `flip` is -1 and moved by (x, y)."""
    f.shape(part, bend(np.asarray(outer) * (flip, 1) + (x, y)), colour, c.ink)
    if inner:
        f.fill(part, bend(np.asarray(inner) * (flip, 1) + (x, y)), mix(colour, PINK, 0.75))


def _dog_head(f: Figure, dice: Dice, c: Coat, near: str, far: str, turned: bool) -> None:
    big = dice.uniform(0.20, 0.24)
    drop, tongue, pricked = dice.uniform(0.35, 0.75), dice.chance(0.4), dice.chance(0.35)
    flap = [(-0.42, -0.86), (-0.92, -0.78), (-1.22, -0.2), (-1.18, drop), (-0.86, drop + 0.1),
            (-0.68, -0.1)]
    if pricked:
        flap = [(-0.88, -0.3), (-0.94, -0.86), (-0.78, -1.36), (-0.46, -1.12), (-0.22, -0.78)]
        inner = [(-0.74, -0.6), (-0.76, -1.1), (-0.4, -0.84)]
        _ear(f, f"{far}ear", c, c.dark, flap, inner, -1, 0.0 if turned else -0.5, bend=np.asarray)
        _ear(f, f"{near}ear", c, c.dark, flap, inner, 1, 0.0 if turned else 0.2, bend=np.asarray)
    if turned:
        f.shape("head", smooth([(-0.92, -0.1), (-0.66, -0.8), (0, -0.98), (0.66, -0.8),
                                (0.92, -0.1), (0.7, 0.58), (0, 0.86), (-0.7, 0.58)]), c.fur, c.ink)
        if c.patched:
            f.shade("head", ellipse(-0.42, -0.2, 0.42, 0.5), c.dark)
        if not pricked:
            _ear(f, f"{far}ear", c, c.dark, flap, flip=-1)
            _ear(f, f"{near}ear", c, c.dark, flap)
        x, y = 0.16, 0.42
        if tongue:
            f.shape("muzzle", ellipse(x, y + 0.44, 0.17, 0.26), (232, 112, 116), c.ink, 1.2)
        f.shape("muzzle", smooth([(x - 0.54, y), (x - 0.3, y - 0.34), (x, y - 0.42),
                                  (x + 0.3, y - 0.34), (x + 0.54, y), (x + 0.36, y + 0.34),
                                  (x, y + 0.28), (x - 0.36, y + 0.34)]), c.light, c.ink, 1.2)
        f.line("muzzle", [(x, y), (x, y + 0.28)], c.ink, 1.0)
        f.fill("nose", ellipse(x + 0.02, y - 0.2, 0.27, 0.19), BLACK)
        f.fill("nose", ellipse(x + 0.08, y - 0.26, 0.09, 0.05), (150, 140, 146))
        eye(f, f"{far}eye", x + 0.30, -0.2, big, c)
        eye(f, f"{near}eye", x - 0.44, -0.2, big, c)
        return
    if tongue:
        f.shape("muzzle", ellipse(0.86, 0.72, 0.16, 0.28), (232, 112, 116), c.ink, 1.2)
    f.fuse(c.ink, ("muzzle", smooth([(0.2, -0.2), (0.8, -0.16), (1.36, 0.0), (1.46, 0.34),
                                     (1.1, 0.58), (0.5, 0.66), (0.1, 0.5)]), c.light),
           ("head", ellipse(-0.06, -0.08, 0.86, 0.84), c.fur))
    if c.patched:
        f.shade("head", ellipse(0.3, -0.3, 0.42, 0.46), c.dark)
    f.line("muzzle", curve([(0.66, 0.42), (1.0, 0.44), (1.3, 0.32)]), c.ink, 1.0)
    f.fill("nose", ellipse(1.36, 0.0, 0.23, 0.19), BLACK)
    f.fill("nose", ellipse(1.40, -0.07, 0.08, 0.05), (150, 140, 146))
    eye(f, f"{near}eye", 0.36, -0.26, big, c)
    if not pricked:
        _ear(f, f"{near}ear", c, c.dark, flap, x=0.52)


def _cat_head(f: Figure, dice: Dice, c: Coat, near: str, far: str, turned: bool) -> None:
    big, tall = dice.uniform(0.19, 0.23), dice.uniform(1.32, 1.5)
    ear = [(-0.96, -0.1), (-1.0, -0.8), (-0.9, -tall), (-0.5, -1.12), (-0.1, -0.72)]
    inner = [(-0.82, -0.5), (-0.82, -tall + 0.3), (-0.36, -0.8)]
    if dice.chance(0.15):  # folded forward
        ear = [(-0.98, -0.1), (-1.02, -0.62), (-0.78, -0.92), (-0.3, -0.74), (-0.62, -0.42)]
        inner = [(-0.66, -0.74), (-0.5, -0.74), (-0.6, -0.6)]
    whisker = mix(c.ink, CREAM, 0.85 if luminance(c.fur) < 130 else 0.0)
    shift = 0.0 if turned else 0.3
    _ear(f, f"{far}ear", c, c.fur, ear, inner, -1, -0.04 - shift * 0.5, bend=np.asarray)
    _ear(f, f"{near}ear", c, c.fur, ear, inner, 1, shift * 0.5, bend=np.asarray)
    f.shape("head", smooth([(-1.0, 0.06), (-0.7, -0.66), (0, -0.84), (0.7, -0.66), (1.0, 0.06),
                            (0.68, 0.62), (0, 0.78), (-0.68, 0.62)]), c.fur, c.ink)
    if c.patched:
        for x in (-0.3, 0.0, 0.3):
            f.shade("head", limb([(x + 0.08, -0.95), (x * 0.7 + 0.08, -0.5)], [0.17, 0.05]), c.dark)
    x, y = 0.12 + shift, 0.36
    for dx in (-0.19, 0.19):
        f.fill("nose", ellipse(x + dx, y + 0.06, 0.27, 0.23), c.light)
    for side in (-1, 1):
        for slope in (-0.12, 0.1, 0.3):
            tip = (x + side * (1.1 - 0.4 * shift * side), y - 0.04 + slope)
            f.line("nose", [(x + side * 0.34, y + slope * 0.3), tip], whisker, 0.9)
    f.fill("nose", [(x - 0.17, y - 0.18), (x + 0.17, y - 0.18), (x, y + 0.05)], PINK)
    f.line("nose", curve([(x - 0.26, y + 0.14), (x - 0.12, y + 0.22), (x, y + 0.06),
                          (x + 0.12, y + 0.22), (x + 0.26, y + 0.14)], 3), c.ink, 1.0)
    if turned or shift < 0.5:
        eye(f, f"{far}eye", x + 0.40, -0.12, big * (1 - shift * 0.3), c, slit=True)
    eye(f, f"{near}eye", x - 0.48, -0.12, big, c, slit=True)


def _cow_head(f: Figure, dice: Dice, c: Coat, near: str, far: str, turned: bool) -> None:
    rosy, big = mix(PINK, CREAM, dice.uniform(0.1, 0.45)), dice.uniform(0.20, 0.24)
    bone = mix((236, 222, 190), c.light, 0.3)
    up, horned = dice.uniform(0.5, 0.75), dice.chance(0.7)
    leaf = [(-0.55, -0.62), (-0.9, -0.86), (-1.42, -0.62), (-1.3, -0.32), (-0.84, -0.26),
            (-0.55, -0.36)]
    inner = [(-0.72, -0.56), (-1.02, -0.68), (-1.26, -0.56), (-1.0, -0.42)]
    if turned:
        for part, side in ((f"{far}horn", 1), (f"{near}horn", -1)) if horned else ():
            f.shape(part, limb([(side * 0.42, -0.72), (side * (0.42 + 0.36), -0.72 - up * 0.4),
                                (side * (0.42 + 0.36 * 0.7), -0.72 - up)], [0.3, 0.24, 0.06]),
                    bone, c.ink)
        _ear(f, f"{far}ear", c, c.dark, leaf, inner, -1)
        _ear(f, f"{near}ear", c, c.dark, leaf, inner)
        f.shape("head", smooth([(-0.72, -0.3), (-0.5, -0.84), (0, -0.94), (0.5, -0.84),
                                (0.72, -0.3), (0.62, 0.4), (0.1, 0.9), (-0.5, 0.4)]), c.fur, c.ink)
        if c.patched:
            f.shade("head", smooth([(0.0, -0.9), (0.22, -0.4), (0.3, 0.4), (-0.1, 0.4),
                                    (-0.06, -0.4)]), c.light)
        x, y = 0.1, 0.58
        eye(f, f"{far}eye", 0.46, -0.22, big, c)
        eye(f, f"{near}eye", -0.34, -0.22, big, c)
    else:
        for part, dx in ((f"{far}horn", 0.22), (f"{near}horn", -0.16)) if horned else ():
            f.shape(part, limb([(dx, -0.7), (dx + 0.3, -0.78 - up * 0.4), (dx + 0.2, -0.8 - up)],
                               [0.3, 0.24, 0.06]), bone, c.ink)
        f.shape("head", smooth([(-0.7, -0.3), (-0.4, -0.84), (0.16, -0.86), (0.62, -0.5),
                                (1.0, 0.2), (0.9, 0.66), (0.3, 0.7), (-0.4, 0.5)]), c.fur, c.ink)
        if c.patched:
            f.shade("head", smooth([(0.2, -0.9), (0.62, -0.5), (1.0, 0.1), (0.6, 0.1),
                                    (0.3, -0.4)]), c.light)
        _ear(f, f"{near}ear", c, c.dark, leaf, inner, x=0.34)
        x, y = 0.84, 0.5
        eye(f, f"{near}eye", 0.3, -0.26, big, c)
    f.shape("muzzle", smooth([(x - 0.64, y), (x - 0.36, y - 0.36), (x + 0.36, y - 0.36),
                              (x + 0.64, y), (x + 0.4, y + 0.4), (x - 0.4, y + 0.4)]), rosy, c.ink)
    for dx in (-0.28, 0.28):
        f.fill("muzzle", ellipse(x + dx, y - 0.06, 0.12, 0.09), mix(rosy, INK, 0.75))
    f.line("muzzle", curve([(x - 0.26, y + 0.2), (x, y + 0.27), (x + 0.26, y + 0.2)]), c.ink, 1.0)


def _horse_head(f: Figure, dice: Dice, c: Coat, near: str, far: str, turned: bool) -> None:
    big, mane = dice.uniform(0.19, 0.23), mix(c.dark, INK, 0.45)
    ear = [(-0.16, 0.1), (-0.2, -0.4), (0.02, -0.72), (0.2, -0.36), (0.2, 0.1)]
    inner = [(-0.04, 0.0), (-0.05, -0.34), (0.03, -0.5), (0.09, -0.3), (0.08, 0.0)]
    for side, x in ((far, 0.36 if turned else 0.1), (near, -0.36 if turned else -0.22)):
        _ear(f, f"{side}ear", c, c.fur, ear, inner, x=x, y=-0.78 if turned else -0.66)
    if turned:
        f.shape("head", smooth([(-0.58, -0.4), (-0.36, -0.86), (0, -0.94), (0.36, -0.86),
                                (0.6, -0.4), (0.5, 0.3), (0.46, 0.9), (0.1, 1.2), (-0.26, 0.9),
                                (-0.42, 0.3)]), c.fur, c.ink)
        if c.patched:
            f.shade("head", smooth([(0, -0.6), (0.18, -0.1), (0.22, 0.8), (0, 0.8), (-0.04, -0.1)]),
                    c.light)
        f.fill("head", smooth([(-0.2, -1.0), (0.2, -1.0), (0.24, -0.6), (0.04, -0.24),
                               (-0.12, -0.6)]), mane)
        x, y, tilt = 0.1, 0.94, 0
        eye(f, f"{far}eye", 0.44, -0.2, big, c)
        eye(f, f"{near}eye", -0.32, -0.2, big, c)
    else:
        f.shape("head", smooth([(-0.56, -0.3), (-0.3, -0.76), (0.16, -0.74), (0.6, -0.3),
                                (1.2, 0.44), (1.24, 0.86), (0.86, 1.0), (0.4, 0.6), (0.0, 0.5),
                                (-0.4, 0.3)]), c.fur, c.ink)
        if c.patched:
            f.shade("head", smooth([(0.3, -0.66), (0.7, -0.2), (1.2, 0.4), (0.9, 0.36),
                                    (0.5, -0.1)]), c.light)
        f.fill("head", smooth([(-0.3, -0.9), (0.1, -0.84), (0.3, -0.4), (0.0, -0.5)]), mane)
        x, y, tilt = 1.02, 0.74, 38
        eye(f, f"{near}eye", 0.24, -0.24, big, c)
    f.shape("muzzle", ellipse(x, y, 0.46, 0.40, tilt), mix(c.light, PINK, 0.15), c.ink, 1.2)
    for dx in ((-0.2, 0.2) if turned else (0.14,)):
        f.fill("muzzle", ellipse(x + dx, y - 0.1, 0.10, 0.12), c.ink)
    f.line("muzzle", curve([(x - 0.2, y + 0.2), (x, y + 0.25), (x + 0.2, y + 0.18)]), c.ink, 1.0)


def _sheep_head(f: Figure, dice: Dice, c: Coat, near: str, far: str, turned: bool) -> None:
    big, wool, face = dice.uniform(0.19, 0.22), mix(c.fur, CREAM, 0.2), c.dark
    lobe = [(-0.5, -0.34), (-0.94, -0.38), (-1.3, 0.06), (-1.14, 0.26), (-0.72, 0.06)]
    if dice.chance(0.3):
        for part, sign in ((f"{far}horn", 1), (f"{near}horn", -1)):
            f.shape(part, limb([(sign * 0.4, -0.6), (sign * 0.9, -0.84), (sign * 1.16, -0.4),
                                (sign * 0.9, -0.14)], [0.36, 0.32, 0.24, 0.1]),
                    (214, 192, 150), c.ink)
    s = 0.06 if turned else 0.34
    _ear(f, f"{far}ear", c, face, lobe, flip=-1, x=s * 0.6)
    f.shape("head", smooth([(s - 0.6, -0.3), (s - 0.4, -0.74), (s, -0.84), (s + 0.42, -0.72),
                            (s + 0.6, -0.3), (s * 1.6 + 0.48, 0.4), (s * 2, 0.86),
                            (s * 1.6 - 0.44, 0.4)]), face, c.ink)
    _ear(f, f"{near}ear", c, face, lobe, x=s * 0.8)
    f.shape("head", scalloped(s * 0.5, -0.74, 0.62, 0.40, 7, 0.14), wool, c.ink)
    x, y = s * 1.9, 0.52
    f.fill("muzzle", ellipse(x, y, 0.40, 0.32), mix(face, CREAM, 0.5))
    f.line("muzzle", [(x - 0.15, y - 0.14), (x, y), (x + 0.15, y - 0.14)], BLACK, 1.3)
    f.line("muzzle", curve([(x, y), (x, y + 0.14), (x + 0.16, y + 0.18)], 3), BLACK, 1.0)
    eye(f, f"{far}eye", s * 1.5 + 0.3, -0.12, big, c)
    eye(f, f"{near}eye", s * 1.5 - 0.34, -0.12, big, c)


HEADS = {"cat": _cat_head, "cow": _cow_head, "dog": _dog_head, "horse": _horse_head,
         "sheep": _sheep_head}
