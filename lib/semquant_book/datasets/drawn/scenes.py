"""The scenes behind the animals, the clutter in them, and the clutter that stands for an animal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.anatomy import CREAM, INK
from semquant_book.datasets.drawn.drawing import (Colour, Dice, Figure, curve, ellipse, limb,
                                                  luminance, mix, scalloped, smooth, vary)

GAP = 38
"""The least difference in luminance between a coat and each tone of the scene behind it."""


class Tones(NamedTuple):
    """The colours of a scene, from top to bottom."""

    high: Colour
    low: Colour
    far: Colour
    near: Colour
    ground: Colour


TONES = (Tones((178, 214, 238), (232, 243, 242), (184, 214, 186), (170, 206, 152), (160, 200, 132)),
         Tones((250, 208, 184), (254, 238, 214), (226, 190, 178), (212, 178, 158), (222, 196, 146)),
         Tones((198, 216, 236), (236, 242, 248), (210, 222, 234), (224, 233, 241), (240, 244, 247)),
         Tones((34, 46, 82), (66, 80, 118), (44, 62, 84), (38, 62, 70), (44, 72, 66)),
         Tones((70, 56, 92), (104, 78, 104), (68, 64, 86), (58, 62, 76), (62, 70, 64)),
         Tones((246, 226, 192), (250, 240, 220), (226, 190, 140), (216, 178, 126), (222, 190, 134)),
         Tones((42, 70, 68), (70, 96, 82), (40, 68, 60), (36, 62, 50), (50, 76, 50)),
         Tones((184, 222, 230), (228, 242, 242), (156, 202, 212), (140, 194, 206), (238, 224, 188)),
         Tones((236, 206, 214), (248, 230, 226), (214, 194, 214), (200, 190, 206), (188, 204, 170)),
         Tones((58, 82, 102), (84, 106, 116), (56, 80, 92), (50, 74, 76), (70, 78, 66)),
         Tones((112, 150, 176), (140, 170, 176), (104, 146, 120), (92, 136, 96), (96, 140, 84)),
         Tones((146, 90, 86), (176, 120, 98), (136, 92, 84), (120, 84, 80), (124, 98, 72)),
         Tones((92, 90, 138), (128, 118, 156), (90, 102, 124), (82, 106, 104), (86, 120, 90)))
SUNNY, LEAFY, STONY, WHITE = (255, 240, 196), (96, 148, 84), (150, 146, 148), (255, 255, 255)


def _tree(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    f.fill(None, limb([(x, y), (x + 0.1 * s, y - 1.4 * s)], [0.5 * s, 0.34 * s]),
           wash((128, 96, 74)))
    if dice.chance(0.5):
        f.fill(None, scalloped(x, y - 2.1 * s, 1.15 * s, 1.2 * s, 8), wash(LEAFY))
    else:
        for k in range(3):
            w, top = (1.25 - 0.3 * k) * s, y - (2.0 + 0.75 * k) * s
            f.fill(None, [(x - w, top + 1.1 * s), (x, top - 0.2 * s), (x + w, top + 1.1 * s)],
                   wash(LEAFY))


def _bush(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    f.fill(None, scalloped(x, y, 1.7 * s, 1.0 * s, 9), wash(mix(LEAFY, SUNNY, 0.2)))


def _rock(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    f.fill(None, smooth([(x - 1.1 * s, y + 0.3 * s), (x - 0.7 * s, y - 0.6 * s),
                         (x + 0.2 * s, y - 0.9 * s), (x + 1.1 * s, y + 0.2 * s)]), wash(STONY))


def _fence(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    wood = wash((176, 146, 116))
    for k in range(-2, 3):
        f.fill(None, limb([(x + k * 1.3 * s, y), (x + k * 1.3 * s, y - 1.5 * s)],
                          [0.4 * s, 0.36 * s], 1), wood)
    for h in (0.5, 1.1):
        f.line(None, [(x - 3.1 * s, y - h * s), (x + 3.1 * s, y - h * s)], wood, 0.3 * s)


def _flowers(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    petals = wash(dice.pick(((236, 130, 130), (250, 210, 110), (206, 160, 220), (250, 246, 240))))
    for k in range(3):
        px, py = x + (k - 1) * 1.2 * s, y - dice.uniform(0, 0.8) * s
        f.line(None, [(px, py), (px, y + 0.8 * s)], wash(LEAFY), 0.8)
        f.fill(None, ellipse(px, py, 0.42 * s, 0.42 * s), petals)


def _ball(dice: Dice, f: Figure, x: float, y: float, s: float, wash) -> None:
    tint = wash(dice.pick(((222, 110, 96), (98, 150, 196), (238, 190, 96), (150, 180, 120))))
    f.fill(None, ellipse(x, y, 0.8 * s, 0.8 * s), tint)
    f.fill(None, ellipse(x - 0.2 * s, y - 0.24 * s, 0.3 * s, 0.26 * s), mix(tint, CREAM, 0.5))


CLUTTER = (_tree, _bush, _rock, _fence, _flowers, _ball)


def scene(dice: Dice, tones: Tones, feet: float) -> Figure:
    """Return hills, ground and some clutter, calm enough that an animal stands out. The ground
    begins at the latest at y = `feet`, in model units."""
    f, disc, x, y = Figure(), dice.below(3), dice.uniform(6, 58), dice.uniform(4, 16)
    if disc == 0:
        f.fill(None, ellipse(x, y, 4.5, 4.5), mix(tones.high, SUNNY, 0.6))
    elif disc == 1:
        for dx, r in ((-4, 2.6), (0, 3.6), (4.5, 2.4)):
            f.fill(None, ellipse(x + dx, y, r * 1.3, r * 0.8), mix(tones.high, WHITE, 0.35))
    horizon = min(dice.uniform(30, 50), feet - 5.0)
    for tone, rise in ((tones.far, 9.0), (tones.near, 4.0)):
        ridge = [(k * 16.0 - 8.0, horizon - dice.uniform(0.0, rise)) for k in range(6)]
        f.fill(None, np.concatenate([curve(ridge), [(80.0, 80.0), (-20.0, 80.0)]]), tone)
    things = [(dice.pick(CLUTTER), dice.uniform(2, 62), horizon + dice.uniform(-1.0, 3.0),
               dice.uniform(2.2, 4.2)) for _ in range(dice.below(4))]
    for thing, x, y, s in things:
        thing(dice, f, x, y, s, lambda tint: mix(tint, tones.near, 0.66))
    bank = [(x, horizon + dice.uniform(1, 4)) for x in (-4.0, 20.0, 44.0, 70.0)]
    f.fill(None, np.concatenate([curve(bank), [(80.0, 80.0), (-20.0, 80.0)]]), tones.ground)
    for _ in range(dice.below(4) + 2):
        x, y = dice.uniform(0, 64), dice.uniform(horizon + 6, 63)
        blade = mix(tones.ground, tones.far if dice.chance(0.5) else SUNNY, 0.45)
        f.line(None, [(x - 1.4, y - 1.8), (x, y), (x + 1.2, y - 2.0)], blade, 0.9)
    if dice.chance(0.4):
        _flowers(dice, f, dice.uniform(3, 61), dice.uniform(54, 62), dice.uniform(1.6, 2.4),
                 lambda tint: mix(tint, tones.ground, 0.4))
    return f


def foreground(dice: Dice, tones: Tones, feet: float) -> Figure:
    """Return what grows or lies in front: in some images it hides a bit of the animal."""
    f = Figure()

    def wash(tint: Colour) -> Colour:
        return mix(tint, tones.ground, 0.5)

    for _ in range(1 + dice.below(2) if dice.chance(0.4) else 0):
        what, x, s = dice.below(4), dice.uniform(4, 60), dice.uniform(2.6, 4.4)
        y = min(feet + dice.uniform(0.5, 3.0), 66.0)
        if what == 0:
            for k in range(5):
                tip = (x + (k - 2) * 1.5 * s * 0.6 + dice.uniform(-1, 1),
                       y - dice.uniform(1, 2.2) * s)
                f.fill(None, [(x + (k - 2.6) * 0.5 * s, y), tip, (x + (k - 1.4) * 0.5 * s, y)],
                       wash(LEAFY))
        else:
            (_bush, _rock, _flowers)[what - 1](dice, f, x, y - 0.3 * s, s * 0.9, wash)
    return f


def decoy(dice: Dice, fur: Colour) -> Figure:
    """Return clutter that takes an animal's place, with its colours, size and outlines: a heap of
    two to four boulders, bushes, barrels, balls, logs, posts or mushrooms."""
    f, ink, x = Figure(), mix(fur, INK, 0.78), 0.0
    light, dark = mix(fur, CREAM, 0.6), mix(fur, INK, 0.3)
    for _ in range(2 + dice.below(3)):
        thing, s = dice.below(7), dice.uniform(0.75, 1.25)
        tint = dice.pick((fur, fur, light, dark))
        if thing == 0:
            f.shape(None, smooth([(x - 9 * s, 7), (x - 7 * s, -3 * s), (x, -9 * s),
                                  (x + 8 * s, -4 * s), (x + 9 * s, 7), (x, 8)]), tint, ink)
            f.fill(None, ellipse(x - 2 * s, -4 * s, 3 * s, 1.6 * s, -20), mix(tint, CREAM, 0.3))
        elif thing == 1:
            f.shape(None, scalloped(x, 0, 10 * s, 7.5 * s, 11), tint, ink)
            for dx, dy in ((-4, -1), (3, -2), (1, 3)):
                f.fill(None, ellipse(x + dx * s, dy * s, 1.0, 1.0), dark)
        elif thing == 2:
            f.shape(None, smooth([(x - 5 * s, 8), (x - 6.4 * s, 0), (x - 5 * s, -8 * s),
                                  (x + 5 * s, -8 * s), (x + 6.4 * s, 0), (x + 5 * s, 8)]),
                    tint, ink)
            for y in (-4.5 * s, 4.0):
                f.line(None, [(x - 5.8 * s, y), (x + 5.8 * s, y)], ink, 1.3)
        elif thing == 3:
            f.shape(None, ellipse(x, 1, 7 * s, 7 * s), tint, ink)
            f.fill(None, smooth([(x - 2 * s, -5.6 * s), (x + 2 * s, -5.6 * s), (x + 3 * s, 1),
                                 (x + 2 * s, 7 * s), (x - 2 * s, 7 * s), (x - 1 * s, 1)]), light)
        elif thing == 4:
            f.shape(None, limb([(x - 12 * s, 5), (x + 12 * s, 5)], [7 * s, 7 * s]), tint, ink)
            f.shape(None, ellipse(x + 12 * s, 5, 2.4 * s, 3.6 * s), light, ink, 1.2)
        elif thing == 5:
            for dx in (-7, 0, 7):
                f.shape(None, limb([(x + dx * s, 9), (x + dx * s, -7 * s)], [3.4, 3.0]), tint, ink)
            f.shape(None, limb([(x - 10 * s, 0), (x + 10 * s, -1)], [3.0, 3.0]), tint, ink)
        else:
            f.shape(None, limb([(x, 9), (x, -2)], [5 * s, 4 * s]), light, ink)
            f.shape(None, smooth([(x - 8 * s, -1), (x - 5 * s, -7 * s), (x, -9 * s),
                                  (x + 5 * s, -7 * s), (x + 8 * s, -1), (x, 0.5)]), tint, ink)
            for dx, dy in ((-3.4, -4), (1, -6), (4, -3)):
                f.fill(None, ellipse(x + dx * s, dy * s, 1.1, 0.9), dark)
        x += dice.uniform(7, 13)
    return f


def contrasting(dice: Dice, fur: Colour) -> Tones:
    """Return the tones of a scene in which a coat of that colour stands out."""
    fitting = [tones for tones in TONES
               if all(abs(luminance(tone) - luminance(fur)) >= GAP for tone in tones)]
    return Tones(*(vary(dice, tone, 6) for tone in dice.pick(fitting)))

