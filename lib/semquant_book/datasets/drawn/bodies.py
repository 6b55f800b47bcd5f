"""The bodies: torso, neck, legs, tail and wings in several postures, and whole animals.

All face right and are measured in model units; the origin is in the middle of the torso.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.anatomy import CREAM, INK, PINK, Coat, coat
from semquant_book.datasets.drawn.drawing import (Colour, Dice, Figure, curve, ellipse, limb, mix,
                                                  scalloped, smooth)
from semquant_book.datasets.drawn.heads import HEADS, eye


class Build(NamedTuple):
    """The proportions of a four-legged animal, in model units."""

    length: float  # half the torso
    depth: float  # half the torso's height
    leg: float  # from the belly line to the ground
    thick: float  # of a leg at the top
    neck: tuple[float, float]  # from the shoulder to the middle of the head
    head: float  # natural radius, before it is enlarged
    enlarged: tuple[float, float]
    tuck: float  # how far the belly rises towards the hind legs


BUILDS = {
    "cat": Build(10.5, 5.0, 7.0, 3.6, (4.4, -6.0), 4.4, (1.50, 1.75), 0.75),
    "cow": Build(13.5, 7.6, 7.5, 4.4, (5.0, -4.4), 4.4, (1.45, 1.65), 1.0),
    "dog": Build(10.5, 5.2, 8.0, 4.0, (4.2, -6.2), 4.2, (1.50, 1.75), 0.6),
    "horse": Build(11.5, 6.2, 11.0, 4.2, (5.6, -10.6), 5.0, (1.30, 1.50), 0.8),
    "sheep": Build(11.5, 8.0, 6.5, 3.0, (4.0, -4.0), 4.6, (1.45, 1.70), 1.0),
}
POSTURES = {
    "cat": ("standing", "standing", "sitting", "lying"),
    "cow": ("standing", "standing", "standing", "grazing", "lying"),
    "dog": ("standing", "standing", "standing", "grazing", "sitting", "lying"),
    "horse": ("standing", "standing", "standing", "grazing", "lying"),
    "sheep": ("standing", "standing", "standing", "grazing", "lying"),
}
"""How often each posture occurs. A grazing dog is one that sniffs at the ground."""


def _leg(kind: str, which: str, path: list, c: Coat, colour: Colour, thick: float) -> list:
    """Return the shapes of a leg along a path of hip, knee and ankle; `which` is e.g. "rf"."""
    hip, knee, ankle = path
    if kind in ("cat", "dog"):
        paw = ellipse(ankle[0] + 0.25 * thick, ankle[1] - 0.1 * thick, 0.64 * thick, 0.44 * thick)
        return [(f"{which}leg", limb(path, [thick * 1.3, thick, thick * 0.84]), colour),
                (f"{which}pa", paw, mix(colour, c.light, 0.75))]
    hoof = np.asarray([(-0.40, -0.5), (0.40, -0.5), (0.60, 0.22), (-0.48, 0.22)]) * thick + ankle
    return [(f"{which}uleg", limb([hip, knee], [thick * 1.4, thick * 0.9]), colour),
            (f"{which}lleg", limb([knee, ankle], [thick * 0.9, thick * 0.7]), colour),
            (f"{which}ho" if kind == "horse" else f"{which}lleg", hoof, mix(c.ink, INK, 0.3))]


def _tail(f: Figure, kind: str, dice: Dice, c: Coat, x: float, y: float, drop: float = 1.0) -> None:
    """Draw the tail from (x, y); `drop` shortens the tails that hang down."""
    wag = dice.uniform(-1, 1)
    if kind == "dog":
        f.shape("tail", limb([(x + 1, y + 0.6), (x - 3.4, y - 2.6), (x - 4.6 + wag, y - 6.4),
                              (x - 2.6 + 1.5 * wag, y - 8.4)], [3.4, 3.0, 2.4, 1.2]), c.fur, c.ink)
        f.shade("tail", ellipse(x - 2.6 + 1.5 * wag, y - 8.2, 2.0, 1.8), c.light)
    elif kind == "cat":
        f.shape("tail", limb([(x + 1, y + 1), (x - 4.2, y - 0.6), (x - 5.6, y - 6.5),
                              (x - 3.4 + wag, y - 11.5), (x - 5.4 + 2 * wag, y - 14.5)],
                             [2.4, 2.3, 2.1, 2.0, 1.6]), c.fur, c.ink)
        f.shade("tail", ellipse(x - 5.2 + 2 * wag, y - 14.4, 2.2, 2.0), c.dark)
    elif kind == "cow":
        end = (x - 3.2 + wag, y + 10.5 * drop)
        f.shape("tail", limb([(x + 0.6, y), (x - 2.0, y + 2 * drop), (x - 2.6, y + 6 * drop), end],
                             [1.8, 1.5, 1.3, 1.2]), c.fur, c.ink)
        f.shape("tail", ellipse(end[0], end[1] + 0.8, 1.3, 2.2, 8 * wag), c.dark, c.ink)
    elif kind == "horse":
        hair = smooth([(x + 1.4, y - 1.2), (x - 2.6, y - 1.4), (x - 5.2 + wag, y + 4 * drop),
                       (x - 5.6 + 2 * wag, y + 12.5 * drop), (x - 3.2 + wag, y + 11 * drop),
                       (x - 1.6, y + 5 * drop), (x + 0.8, y + 2)])
        f.shape("tail", hair, mix(c.dark, INK, 0.45), c.ink)
    else:
        f.shape("tail", scalloped(x - 0.6, y + 1.4, 2.2, 2.8, 6), mix(c.fur, CREAM, 0.2), c.ink)


def _markings(f: Figure, dice: Dice, c: Coat, x: float, y: float, a: float, b: float) -> None:
    """Shade the torso: a light belly, patches, a soft light on the back."""
    f.shade("torso", ellipse(x - 0.1 * a, y - 0.75 * b, 0.8 * a, 0.34 * b), mix(c.fur, CREAM, 0.18))
    f.shade("torso", ellipse(x, y + 1.0 * b, 0.9 * a, 0.42 * b), mix(c.fur, c.light, 0.6))
    spots = [(dice.uniform(-0.75, 0.75), dice.uniform(-0.6, 0.3), dice.uniform(0.22, 0.4),
              dice.uniform(0.3, 0.5), dice.below(90)) for _ in range(3)]
    if c.patched:
        for u, v, r, s, tilt in spots:
            f.shade("torso", ellipse(x + u * a, y + v * b, r * a, s * b, tilt), c.dark)
    if c.striped:
        for k in range(4):
            u = x + (0.4 * k - 0.62) * a
            f.shade("torso", limb([(u, y - 1.1 * b), (u + 0.12 * a, y - 0.3 * b),
                                   (u + 0.04 * a, y + 0.25 * b)], [2.6, 2.0, 0.8], 3), c.dark)


def _fleece(f: Figure, dice: Dice, c: Coat, x: float, y: float, a: float, b: float) -> None:
    """Draw the torso of a sheep: a scalloped cloud with curls."""
    wool = mix(c.fur, CREAM, 0.2)
    f.shape("torso", scalloped(x, y, a, b, 13, 0.07), wool, c.ink)
    f.shade("torso", ellipse(x, y + b, 0.9 * a, 0.4 * b), mix(wool, c.ink, 0.14))
    for u, v in ((-0.6, -0.3), (-0.1, -0.5), (-0.35, 0.25), (0.2, 0.1), (0.5, -0.3), (0.05, 0.6)):
        u, v = u + dice.uniform(-0.1, 0.1), v + dice.uniform(-0.1, 0.1)
        px, py = x + u * a, y + v * b
        f.line("torso", curve([(px - 1.6, py), (px - 1.0, py + 1.2), (px + 0.6, py + 1.0),
                               (px + 0.9, py - 0.2)], 3), mix(wool, c.ink, 0.45), 1.0, clip=True)


def _sitting(f: Figure, kind: str, dice: Dice, c: Coat, p: Build, near: str, far: str,
             at: np.ndarray, step: float) -> None:
    """Draw the body of a cat or dog that sits, its head to come at `at`."""
    ground, pale = 11.0, mix(c.fur, c.light, 0.7)
    _tail(f, kind, dice, c, -8.6, 8.2)
    f.fuse(c.ink, *_leg(kind, far + "f", [(7.0, -1), (8.2, 5), (8.4 + step, ground - 0.6)], c,
                        mix(c.fur, c.ink, 0.26), p.thick * 0.9))
    body = smooth([(5.0, -9), (7.4, -3.4), (6.4, 4), (4.5, 10), (-4.5, 10.6), (-9.8, 8.4),
                   (-9.4, 1.6), (-5.0, -4.6), (-1.4, -9.6)])
    f.fuse(c.ink, ("neck", limb([(1.6, -4), at], [9.5, 8]), c.fur), ("torso", body, c.fur))
    f.shade("torso", ellipse(5.2, -1, 3.2, 7.4, -6), pale)
    if c.patched:
        f.shade("torso", ellipse(-7, 0, 4, 4.6), c.dark)
    f.shape(f"{near}bpa", ellipse(1.6, ground - 0.9, 3.6, 1.7), pale, c.ink)
    f.shape(f"{near}bleg", ellipse(-3.6, 6.2, 5.2, 4.6, -12), c.fur, c.ink)
    f.fuse(c.ink, *_leg(kind, near + "f", [(4.4, 0), (4.8, 5), (4.8 + step, ground - 0.4)], c,
                        c.fur, p.thick * 0.95))


def quadruped(kind: str, dice: Dice, fur: Colour, near: str, far: str) -> Figure:
    """Return a cat, cow, dog, horse or sheep that faces right. Its sides that face us and that do
    not are "r" and "l", or, if the figure is going to be flipped, "l" and "r"."""
    p, c = BUILDS[kind], coat(dice, fur)
    posture, turned = dice.pick(POSTURES[kind]), dice.chance(0.6)
    a, b = p.length * dice.uniform(0.92, 1.08), p.depth * dice.uniform(0.92, 1.08)
    size = p.head * dice.uniform(*p.enlarged)
    step, nod = dice.uniform(-1.2, 1.2), dice.uniform(-16, 16)
    lift, bent = dice.uniform(-1.2, 1.2), dice.uniform(0.9, 1.1)
    f, head = Figure(), Figure()
    HEADS[kind](head, dice, c, near, far, turned)
    shins = c.dark if kind == "sheep" else c.fur
    behind = mix(shins, c.ink, 0.26)

    if posture == "sitting":
        at = np.asarray([4.6, -11.6 + 0.5 * lift])
        _sitting(f, kind, dice, c, p, near, far, at, 0.4 * step)
        return _with_head(f, head, size, nod, at)
    lying = posture == "lying"
    ground = b * 0.96 if lying else b * 0.8 + p.leg * bent
    at = np.asarray([0.72 * a + p.neck[0], -0.45 * b + p.neck[1] + lift])
    if posture == "grazing":
        at = np.asarray([a + 0.55 * size, ground - 1.25 * size + 0.5 * lift])
    _tail(f, kind, dice, c, -a * 0.94, -b * (0.1 if lying else 0.45), 0.48 if lying else 1.0)

    def leg(which: str, hip: tuple, knee: tuple, ankle: tuple, colour: Colour, wide: float) -> list:
        return _leg(kind, which, [hip, knee, ankle], c, colour, p.thick * wide)

    if lying:
        hidden = leg(far + "f", (0.7 * a, 0.45 * b), (1.05 * a, 0.78 * b), (1.36 * a, ground - 1.6),
                     behind, 0.9)
        legs = leg(near + "f", (0.55 * a, 0.45 * b), (0.85 * a, 0.8 * b), (1.16 * a, ground - 0.6),
                   shins, 1.0)
    else:
        hidden = [shape for end, x, s in (("b", -0.48, -step), ("f", 0.88, step)) for shape in
                  leg(far + end, (x * a, 0.3 * b), (x * a - 0.3 * s, ground * 0.62),
                      (x * a + s, ground - 1.0), behind, 0.92)]
        legs = [shape for end, x, s, k in (("b", -0.70, step, 1.0), ("f", 0.60, -step, 0.2))
                for shape in leg(near + end, (x * a, 0.25 * b), (x * a + k, ground * 0.62),
                                 (x * a + s, ground), shins, 1.0)]
    f.fuse(c.ink, *hidden)
    neck = limb([(0.55 * a, -0.1 * b), at], [b * 1.5, size * (1.3 if kind == "horse" else 1.25)])
    if kind == "sheep":
        f.shape("neck", neck, mix(c.fur, c.ink, 0.22), c.ink)
        f.fuse(c.ink, *legs)
        _fleece(f, dice, c, 0, 0, a, b)
        return _with_head(f, head, size, nod, at)
    if kind == "cow" and not lying:
        f.shape("torso", ellipse(-0.40 * a, 0.98 * b, 3.4, 2.4), PINK, c.ink)
    if kind == "horse":
        mane = [(0.45 * a, -0.7 * b), ((0.5 * a + at[0]) / 2 - 2.6, at[1] * 0.62),
                (at[0] - 0.55 * size, at[1] - 0.5 * size)]
        f.shape("neck", limb(mane, [5, 6, 4.4]), mix(c.dark, INK, 0.45), c.ink)
    body = smooth([(-a, -0.1 * b), (-0.84 * a, -0.8 * b), (-0.2 * a, -0.86 * b),
                   (0.5 * a, -0.92 * b), (0.96 * a, -0.6 * b), (1.02 * a, 0.2 * b),
                   (0.66 * a, 0.94 * b), (0, 0.92 * b * (1 if lying else sqrt(p.tuck))),
                   (-0.5 * a, b * (0.9 if lying else p.tuck)), (-0.92 * a, 0.5 * b)])
    if lying and kind in ("cat", "dog"):
        haunch = [(f"{near}bleg", ellipse(-0.55 * a, 0.34 * b, 0.42 * a, 0.62 * b), c.fur),
                  (f"{near}bpa", ellipse(-0.12 * a, ground - 0.8, 3.2, 1.6),
                   mix(c.fur, c.light, 0.75))]
        legs = haunch + legs
    elif lying:
        legs = leg(near + "b", (-0.6 * a, 0.3 * b), (-0.35 * a, 0.8 * b), (0.05 * a, ground - 0.6),
                   shins, 1.0) + legs
    trunk = [("neck", neck, c.fur), ("torso", body, c.fur)]
    for part, points, _ in trunk + legs:  # one outline around trunk and near legs
        f.rim(part, points, c.ink, 2.0)
    for shape in trunk:
        f.fill(*shape)
    _markings(f, dice, c, 0, 0, a, b)
    for part, points, colour in legs:  # within it, legs have a softer one
        if not part.endswith(("lleg", "ho", "pa")):
            f.line("torso", np.concatenate([points, points[:1]]), mix(colour, c.ink, 0.5), 2.0,
                   clip=True)
    for shape in legs:
        f.fill(*shape)
    return _with_head(f, head, size, nod, at)


def _with_head(f: Figure, head: Figure, size: float, nod: float, at: np.ndarray) -> Figure:
    f.ops += head.moved(size, float(at[0]), float(at[1]), tilt=nod).ops
    return f


def bird(dice: Dice, fur: Colour, near: str, far: str) -> Figure:
    """Return a bird that faces right; parameters as for `quadruped`."""
    c, f = coat(dice, fur), Figure()
    posture = dice.pick(("standing", "standing", "perching", "flapping"))
    turned = dice.chance(0.35)
    a, b = 10.0 * dice.uniform(0.92, 1.08), 7.6 * dice.uniform(0.92, 1.08)
    size, slope = 4.1 * dice.uniform(1.45, 1.75), dice.uniform(-18, 2)
    leg = 1.5 if posture == "perching" else dice.uniform(5.0, 8.0)
    horny = dice.pick(((240, 168, 60), (232, 140, 70), (214, 150, 100), (120, 100, 90)))
    crest, stride = dice.chance(0.35), dice.uniform(-1, 1)
    beak = dice.uniform(0.75, 1.05)

    for side, x, dark in ((far, 2.6, 0.25), (near, -1.4, 0.0)):
        shank, ground = mix(horny, c.ink, dark), b * 0.9 + leg - (0.8 if side == far else 0.0)
        foot = x + stride * (1 if side == near else -1)
        f.shape(f"{side}leg", limb([(x, b * 0.5), (foot, ground)], [2.2, 1.5]), shank, c.ink, 1.4)
        claws = [(foot - 1.8, ground + 0.9), (foot, ground - 0.9), (foot + 3.6, ground + 0.9)]
        f.shape(f"{side}foot", claws, shank, c.ink, 1.4)
    body = Figure()
    body.shape("tail", smooth([(-0.75 * a, -0.15 * b), (-1.3 * a, -0.5 * b), (-1.95 * a, -0.65 * b),
                               (-2.0 * a, -0.1 * b), (-1.4 * a, 0.25 * b), (-0.7 * a, 0.4 * b)]),
               c.dark, c.ink)
    body.line("tail", [(-1.1 * a, -0.1 * b), (-1.86 * a, -0.36 * b)], c.ink, 0.9)
    raised = posture == "flapping"
    if raised:
        body.shape(f"{far}wing", smooth([(0.3 * a, -0.5 * b), (-0.1 * a, -1.7 * b),
                                         (0.5 * a, -2.3 * b), (0.75 * a, -1.2 * b)]),
                   mix(c.dark, c.ink, 0.2), c.ink)
    at = (0.82 * a, -1.02 * b)
    body.fuse(c.ink, ("torso", smooth([(-a, 0), (-0.6 * a, -0.72 * b), (0.2 * a, -0.95 * b),
                                       (0.9 * a, -0.5 * b), (a, 0.25 * b), (0.4 * a, 0.95 * b),
                                       (-0.4 * a, 0.8 * b)]), c.fur),
              ("neck", limb([(0.45 * a, -0.2 * b), at], [b * 1.3, size * 1.3]), c.fur))
    body.shade("torso", ellipse(0.5 * a, 0.45 * b, 0.62 * a, 0.62 * b), c.light)
    if raised:
        wing = smooth([(0.35 * a, -0.2 * b), (-0.3 * a, -0.9 * b), (-0.75 * a, -2.3 * b),
                       (-1.2 * a, -1.7 * b), (-0.95 * a, -0.5 * b), (-0.4 * a, 0.2 * b)])
    else:
        wing = smooth([(0.4 * a, -0.35 * b), (-0.1 * a, -0.55 * b), (-0.8 * a, -0.3 * b),
                       (-1.3 * a, 0.2 * b), (-0.5 * a, 0.5 * b), (0.2 * a, 0.35 * b)])
    body.shape(f"{near}wing", wing, c.dark, c.ink)
    x0, y0 = (-0.5 * a, -0.9 * b) if raised else (-0.6 * a, 0.08 * b)
    for k in range(2):
        body.line(f"{near}wing", [(x0 + 0.35 * a * k, y0 + 0.16 * b * (1 - k)),
                                  (x0 + 0.35 * a * k - 0.3 * a, y0 + (0.2 - 0.3 * raised) * b)],
                  mix(c.dark, c.ink, 0.6), 0.9, clip=True)
    f.ops += body.moved(tilt=-slope * 0.5).ops

    h = Figure()
    if crest:
        h.shape("head", smooth([(-0.3, -0.7), (-0.9, -1.3), (-0.2, -1.2), (0.2, -1.5),
                                (0.35, -0.8)]), c.dark, c.ink)
    if turned:
        h.shape("head", ellipse(0, 0, 0.96, 0.94), c.fur, c.ink)
        h.shade("head", ellipse(0.1, 0.5, 0.7, 0.55), c.light)
        h.shape("beak", [(-0.2, 0.02), (0.5, 0.02), (0.2, 0.34 + 0.5 * beak)], horny, c.ink, 1.4)
        eye(h, f"{far}eye", 0.56, -0.16, 0.22, c)
        eye(h, f"{near}eye", -0.32, -0.16, 0.22, c)
    else:
        h.shape("beak", [(0.7, -0.32), (0.8 + beak, 0.14), (0.66, 0.44)], horny, c.ink, 1.6)
        h.shape("head", ellipse(0, 0, 0.96, 0.94), c.fur, c.ink)
        h.shade("head", ellipse(0.25, 0.55, 0.66, 0.5), c.light)
        h.line("beak", [(0.9, 0.1), (0.74 + beak, 0.14)], c.ink, 0.9)
        eye(h, f"{near}eye", 0.32, -0.16, 0.25, c)
    f.ops += h.moved(scale=size).moved(x=at[0], y=at[1] - 0.3 * slope * 0.1).ops
    return f


def animal(kind: str, dice: Dice, fur: Colour, near: str, far: str) -> Figure:
    """Return a figure of one of the six categories, facing right."""
    return bird(dice, fur, near, far) if kind == "bird" else quadruped(kind, dice, fur, near, far)
