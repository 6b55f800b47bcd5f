"""Backdrop, shoulders, clothes and jewels of the drawn faces."""

from __future__ import annotations

import numpy as np

from semquant_book.datasets.drawn.drawing import (REACH, Colour, Dice, Figure, curve, ellipse, mix,
                                                  smooth, vary)
from semquant_book.datasets.drawn.looks import Look, Person

__all__ = ["backdrop", "body", "earrings", "necklace", "necktie"]

BACKDROPS = (((176, 206, 226), (214, 230, 238)), ((238, 208, 190), (248, 230, 214)),
             ((196, 214, 194), (224, 234, 218)), ((214, 202, 226), (234, 226, 240)),
             ((240, 222, 178), (248, 238, 212)), ((122, 146, 170), (164, 184, 200)),
             ((112, 134, 126), (156, 176, 164)), ((154, 122, 132), (190, 162, 166)),
             ((206, 204, 206), (230, 228, 226)), ((90, 98, 124), (128, 136, 160)))
CLOTHES = ((70, 98, 150), (196, 82, 78), (82, 136, 112), (236, 190, 98), (134, 98, 152),
           (232, 142, 140), (62, 68, 90), (244, 240, 232), (96, 160, 176), (150, 106, 84))
TIES = ((170, 38, 50), (38, 62, 122), (36, 104, 84), (116, 52, 112), (200, 120, 30), (40, 40, 52))
GOLD, SILVER, PEARL = (246, 200, 70), (222, 228, 238), (255, 250, 240)


def backdrop(dice: Dice) -> tuple[Colour, Colour, Figure]:
    """Return the colours at the top and the bottom, and some large, calm discs."""
    high, low = dice.pick(BACKDROPS)
    high, f = vary(dice, high, 8), Figure()
    for _ in range(1 + dice.below(3)):
        x, y, r = dice.uniform(0, REACH), dice.uniform(4, 50), dice.uniform(8, 20)
        f.fill(None, ellipse(x, y, r, r), mix(high, low, dice.uniform(0.35, 0.85)))
    return high, low, f


def _shoulders(lk: Look) -> np.ndarray:
    broad, n = 19.5 + 4.2 * lk.masc, lk.neck
    half = curve([(n + 0.2, 20.5), (n + 2.6, 23.6), (broad * 0.72, 25.6), (broad, 29.0),
                  (broad + 2.0, 42.0)])
    return np.concatenate([half[::-1] * (-1, 1), half])


def _neckline(dice: Dice, lk: Look, manly: bool) -> np.ndarray:
    """Return the edge of the clothes at the neck, from right to left."""
    n, kind, deep = lk.neck, dice.below(3), dice.uniform(-0.6, 0.6)
    if manly:
        half = [(n + 1.6, 22.8), (n * 0.6, 25.2 + deep), (0.0, 26.0 + deep)]
    elif kind == 0:  # V
        return np.asarray([(n + 2.6, 23.4), (0.0, 32.0 + deep), (-n - 2.6, 23.4)])
    elif kind == 1:  # round and low
        half = [(n + 3.4, 23.9), (n * 0.8, 29.0 + deep), (0.0, 30.0 + deep)]
    else:  # wide
        half = [(n + 7.0, 24.9), (n + 2.0, 28.0 + deep), (0.0, 28.8 + deep)]
    return curve(half + [(-x, y) for x, y in half[-2::-1]])


def body(f: Figure, p: Person, lk: Look) -> None:
    """Draw neck, shoulders and clothes."""
    c, n, broad, dice = lk.colours, lk.neck, 19.5 + 4.2 * lk.masc, p.dice("clothes")
    tint, manly = vary(dice, dice.pick(CLOTHES), 8), dice.chance(0.92 if lk.masc > 0.5 else 0.08)
    ink, extra, neckline = mix(tint, (36, 26, 40), 0.35), dice.below(3), _neckline(dice, lk, manly)
    shoulders = _shoulders(lk)
    left, right = shoulders[shoulders[:, 0] < 0], shoulders[shoulders[:, 0] > 0]
    f.shape("neck", np.concatenate([left, [(-n, 6.0), (n, 6.0)], right]), c.skin, c.deep, 0.6)
    shadow = smooth([(-n - 1, 8.0), (n + 1, 8.0), (n + 0.6, 17.0), (0.0, lk.chin + 4.6),
                     (-n - 0.6, 17.0)])
    f.shade("neck", shadow, c.shade)
    first, last = neckline[-1], neckline[0]
    cloth = np.concatenate([shoulders[shoulders[:, 0] < first[0]], neckline[::-1],
                            shoulders[shoulders[:, 0] > last[0]]])
    f.shape("clothes", cloth, tint, ink, 0.8)
    if manly and extra < 2:  # the lapels of an open shirt, or a jacket over a shirt
        flap, over, share = (
            ([(n + 1.8, 21.8), (0.6, 26.6), (4.6, 30.6), (n + 4.2, 25.0)], (255, 250, 244), 0.3),
            ([(n + 3.4, 23.4), (5.0, 42.0), (broad + 4, 42.0), (broad, 28.0)], (40, 34, 52), 0.55),
        )[extra]
        for side in (-1, 1):
            f.shape("clothes", np.asarray(flap) * (side, 1), mix(tint, over, share), ink, 0.6)
    elif not manly:
        f.line("clothes", neckline + (0, 1.3), mix(tint, (255, 250, 244), 0.45), 0.8)


def necktie(f: Figure, p: Person, lk: Look) -> None:
    """Draw collar and tie."""
    dice, n = p.dice("necktie"), lk.neck
    tint, striped = dice.pick(TIES), dice.chance(0.5)
    ink, stripe = mix(tint, (20, 16, 26), 0.4), mix(tint, (255, 250, 240), 0.5)
    shirt, fold = (246, 246, 250), (178, 184, 200)
    f.shape("tie", [(-n - 2.0, 22.4), (n + 2.0, 22.4), (6.6, 42.0), (-6.6, 42.0)], shirt, fold, 0.6)
    f.shape("tie", [(-1.9, 26.6), (1.9, 26.6), (3.6, 42.0), (-3.6, 42.0)], tint, ink, 0.7)
    for y in (28.6, 31.6, 34.6) if striped else ():
        f.line("tie", [(-2.0, y), (2.2, y - 1.8)], stripe, 0.8)
    f.shape("tie", [(-2.6, 23.0), (2.6, 23.0), (1.7, 27.0), (-1.7, 27.0)], tint, ink, 0.7)
    collar = np.asarray([(n + 0.6, 19.8), (n + 2.4, 22.6), (5.4, 28.2), (1.4, 23.2)])
    for side in (-1, 1):
        f.shape("tie", collar * (side, 1), shirt, fold, 0.6)


def necklace(f: Figure, p: Person, lk: Look) -> None:
    """Draw a chain with a pendant, or a string of beads."""
    dice, n = p.dice("necklace"), lk.neck
    metal, beads = dice.pick((GOLD, SILVER, PEARL)), dice.chance(0.5)
    deep = dice.uniform(26.6, 28.4)
    gem, ink = dice.pick(((206, 50, 80), (50, 120, 190), (40, 150, 120), GOLD)), (96, 68, 60)
    half = [(0.0, deep), (n * 0.55, deep - 1.0), (n + 0.6, 22.2)]
    path = curve([(-x, y) for x, y in half[:0:-1]] + half, 6)
    f.line("necklace", path, ink, 1.6)
    if beads:
        for x, y in path[::2].tolist():
            f.shape("necklace", ellipse(x, y, 1.0, 1.0), metal, ink, 0.5)
    else:
        f.line("necklace", path, metal, 1.0)
        f.shape("necklace", ellipse(0, deep + 1.7, 1.7, 2.0), gem, ink, 0.6)
        f.fill("necklace", ellipse(-0.5, deep + 1.2, 0.5, 0.6), (255, 250, 246))


def earrings(f: Figure, p: Person, lk: Look) -> None:
    """Draw hoops, drops or studs that hang from the lobes, over the hair if need be."""
    dice = p.dice("earrings")
    kind, metal = dice.below(3), dice.pick((GOLD, GOLD, SILVER))
    gem = dice.pick(((206, 50, 80), (50, 120, 190), (40, 150, 120), (250, 246, 238)))
    ink = mix(metal, (70, 40, 30), 0.6)
    for side in (-1, 1):
        x, y = side * (lk.wide + 1.2), 6.0
        if kind == 0:
            ring = ellipse(x, y + 2.8, 2.1, 2.6)
            f.rim("earring", ring, ink, 1.8)
            f.rim("earring", ring, metal, 1.2)
        elif kind == 1:
            f.line("earring", [(x, y), (x, y + 3.0)], metal, 1.0)
            drop = [(x, y + 1.6), (x + 1.7, y + 4.8), (x, y + 6.4), (x - 1.7, y + 4.8)]
            f.shape("earring", smooth(drop), gem, ink, 0.7)
        else:
            f.shape("earring", ellipse(x, y + 1.0, 1.6, 1.6), gem, ink, 0.7)
            f.shape("earring", ellipse(x, y + 3.8, 1.2, 1.2), metal, ink, 0.7)
        f.fill("earring", ellipse(x, y, 0.8, 0.8), metal)
