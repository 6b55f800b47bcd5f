"""One drawn face: head, features, and the order in which everything is painted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.drawing import (REACH, Colour, Figure, curve, ellipse, limb, mix,
                                                  smooth, turn)
from semquant_book.datasets.drawn.garments import backdrop, body, earrings, necklace, necktie
from semquant_book.datasets.drawn.hairstyles import (back_hair, bangs, beard, beard_rim, front_hair,
                                                     goatee, hat, mustache, style)
from semquant_book.datasets.drawn.looks import UMBER, Look, Person, look
from semquant_book.datasets.drawn.shading import Glaze

__all__ = ["Portrait", "portrait"]

WHITE, BLACK = (255, 255, 255), (34, 24, 30)
SHADOWS = ((124, 62, 150), (50, 116, 150), (150, 62, 100), (86, 74, 160), (60, 124, 110))
SKIN = ("face", "nose")


class Portrait(NamedTuple):
    """Everything to be painted, in model units."""

    high: Colour  # of the backdrop
    low: Colour
    figures: list[Figure]  # from back to front
    glazes: list[Glaze]
    light: list[int]  # factors of red, green and blue, of 256
    slope: tuple[float, float]  # how much brighter the right and the top are
    blur: float  # radius


def _head(lk: Look) -> np.ndarray:
    """Return the outline of the head."""
    w, lean = lk.wide, lk.yaw * 0.35
    half = [(0.0, -20.4), (0.60 * w, -18.6), (0.95 * w, -11.0), (w, -3.0),
            (w * 0.975 + 0.5 * lk.cheek, 3.5), (lk.jaw + 0.15 * (w - lk.jaw), 10.5),
            (lk.tip + 0.6, lk.chin - 2.0), (0.0, lk.chin)]
    both = half + [(-x, y) for x, y in half[-2:0:-1]]
    return smooth([(x + lean * (y > 3), y) for x, y in both], 4)


def _skull(f: Figure, p: Person, lk: Look) -> None:
    """Draw ears, a second chin if there is one, and the bare head."""
    c = lk.colours
    for side in (-1, 1):
        x = side * (lk.wide + 0.7) - lk.yaw * 0.4
        f.shape("ear", ellipse(x, 1.6, 2.2, 3.9, side * -8), c.skin, c.deep, 0.6)
        f.fill("ear", ellipse(x + side * 0.2, 1.8, 1.1, 2.3, side * -8), c.shade)
    fold = p.strength("Double_Chin")
    if fold > 0.5:
        low, broad = lk.chin + 2.9 + 0.8 * fold, lk.jaw - 1.0
        f.shape("fold", smooth([(-broad, 9.5), (0, 8.0), (broad, 9.5), (broad * 0.72, low - 1.3),
                                (0, low), (-broad * 0.72, low - 1.3)]),
                mix(c.skin, c.shade, 0.4), c.deep, 1.2)
    beard_rim(f, p, lk)
    f.shape("face", _head(lk), c.skin, c.deep, 0.6)
    if p["Bald"]:
        f.fill("face", ellipse(-4.6, -15.2, 3.6, 1.7, -24), c.light)
    if fold > 0.5:
        half = lk.tip + 1.6
        f.line("face", curve([(-half, lk.chin - 1.8), (0, lk.chin - 0.2), (half, lk.chin - 1.8)]),
               c.deep, 1.4)


def _wrinkles(f: Figure, p: Person, lk: Look) -> None:
    """Draw the lines of those who are not young: forehead, crow's feet, beside the mouth."""
    c, depth = lk.colours, min(max(lk.age, 0.0), 1.2)
    ink = mix(c.skin, c.deep, 0.25 + 0.4 * depth)
    if depth > 0.35:
        for y, half in ((-9.2, 6.0), (-11.2, 4.8)):
            f.line("face", curve([(-half, y + 0.4), (-half * 0.4, y), (half * 0.4, y),
                                  (half, y + 0.4)]), ink, 0.8)
    if depth > 0.2:
        for side in (-1, 1):
            for rise in (-1.2, 0.2, 1.6):
                f.line("face", [(side * 9.9, -0.9 + rise * 0.4),
                                (side * (10.6 + depth), -1.0 + rise)], ink, 0.6)
            f.line("face", curve([(side * 3.6, 6.0), (side * 5.8, 8.4), (side * 6.6, 11.2)]), ink,
                   0.8)


def _eye_places(lk: Look) -> list[tuple[int, float, float, float]]:
    """Return side, x, y and size of both eyes."""
    skew = lk.skew[0]
    return [(side, side * 6.1 + lk.yaw, -1.0 + side * skew * 0.45,
             lk.eyes * (1 + side * 0.05 * skew) * (1 - 0.03 * side * lk.yaw)) for side in (-1, 1)]


def _eyes(f: Figure, p: Person, lk: Look) -> None:
    c, dice = lk.colours, p.dice("eyes")
    gaze, drop = dice.uniform(-0.35, 0.35), dice.uniform(-0.2, 0.25)
    narrow = p.strength("Narrow_Eyes")
    lid, dark = mix(BLACK, c.deep, 0.25), mix(c.iris, BLACK, 0.55)
    for side, x, y, size in _eye_places(lk):
        rx, ry = 3.0 * size, (2.1 - 1.15 * narrow) * size
        top = [(-rx * side, 0.35), (-rx * 0.5 * side, -ry * 0.82), (rx * 0.1 * side, -ry * 1.05),
               (rx * 0.62 * side, -ry * 0.78), (rx * side, -0.25 + drop)]
        low = [(rx * 0.6 * side, ry * 0.68), (0.0, ry * 0.95), (-rx * 0.55 * side, ry * 0.75)]
        place, part = np.array((x, y)), f"eye{side}"
        f.fill(part, smooth(np.asarray(top + low) + place, 4), (252, 250, 248))
        f.shade(part, ellipse(x + gaze, y - 0.15, 2.0 * size, 2.15 * size), dark)
        f.fill(part, ellipse(x + gaze, y + 0.05, 1.5 * size, min(1.65 * size, 0.84 * ry)), c.iris)
        f.fill(part, ellipse(x + gaze, y - 0.05, 0.95 * size, min(1.0 * size, 0.8 * ry)), BLACK)
        f.fill(part, ellipse(x + gaze + 0.65, y - 0.75 * (1 - 0.6 * narrow), 0.6, 0.56), WHITE)
        thick = 0.75 + 0.15 * (1 - lk.masc) + 0.5 * max(lk.makeup, 0.0)
        f.fill("lid", limb(np.asarray(top) + place, [0.35, thick, thick, thick, 0.5], 3), lid)
        f.line("lid", curve(np.asarray([top[-1], *low, top[0]]) + place, 3),
               mix(c.skin, c.deep, 0.6), 0.5)
        if narrow > 0.5:
            f.line("lid", curve(np.asarray(top) + place + (0, -1.1), 3), c.deep, 0.8)
        if lk.makeup > 0.5:
            for share, out in ((0.7, 0.8), (1.0, 1.5)):
                root = (x + side * rx * share, y - ry * (1.05 - 0.7 * share * share))
                f.line("lid", [root, (root[0] + side * out, root[1] - 1.2)], lid, 0.7)


def _eye_glazes(p: Person, lk: Look) -> list[Glaze]:
    """Return eye shadow and what tires the eyes."""
    tint, makeup = p.dice("makeup").pick(SHADOWS), min(max(lk.makeup / 0.7 - 0.4, 0.0), 1.1)
    bags, glazes = p.excess("Bags_Under_Eyes"), []
    tired = mix(lk.colours.skin, (76, 30, 66), 0.62)
    for side, x, y, size in _eye_places(lk):
        glazes.append(Glaze(SKIN, x + side * 0.4, y - 2.0, 4.5 * size, 2.5, tint, 0.66 * makeup,
                            side * -6))
        glazes.append(Glaze(SKIN, x, y + 3.3, 3.6, 1.8, tired, 0.52 * bags))
    return glazes


def _bags(f: Figure, p: Person, lk: Look) -> None:
    if p["Bags_Under_Eyes"]:
        ink = mix(lk.colours.skin, lk.colours.deep, 0.85)
        for side, x, y, _ in _eye_places(lk):
            f.line("face", curve([(x - side * 2.9, y + 2.7), (x - side * 0.6, y + 4.3),
                                  (x + side * 2.9, y + 3.3)]), ink, 0.9)


def _brows(f: Figure, p: Person, lk: Look) -> None:
    arch, bushy = p.strength("Arched_Eyebrows"), p.strength("Bushy_Eyebrows")
    lift = p.dice("brows").uniform(-0.3, 0.3)
    thick = 1.15 + 0.35 * min(max(lk.masc, 0.0), 1.0) + 1.6 * bushy
    for side, x, y, _ in _eye_places(lk):
        y = y - 4.1 - lift + 0.2 * lk.masc - 0.35 * thick
        path = [(x - side * 3.3, y - 0.1 - 0.8 * arch), (x - side * 0.9, y - 0.4 - 2.0 * arch),
                (x + side * 1.6, y - 0.5 - 2.5 * arch), (x + side * 4.4, y + 0.8 + 0.2 * arch)]
        f.fill("brow", limb(path, [thick * 0.7, thick, thick * 0.95, 0.5]), lk.colours.brow)


def _nose(f: Figure, p: Person, lk: Look) -> None:
    c, big, pointy = lk.colours, p.strength("Big_Nose"), p.strength("Pointy_Nose")
    x = lk.yaw * 1.5 + lk.skew[1] * 0.7
    half, low = 1.7 + 2.0 * big + 0.1 * pointy, 6.3 + 0.7 * big
    tint = mix(mix(c.skin, c.shade, 0.8), (206, 92, 88), 0.2 * max(big, 0.0))
    if pointy > 0.5:
        tip = low + 1.6
        left, right = (x - half - 0.7, low - 0.6), (x + half + 0.7, low - 0.6)
        f.fill("nose", [(x - 0.3, -2.6), right, (x, tip), left], tint)
        f.fill("nose", [(x - 0.3, -2.6), (x + 0.5, low - 1.2), (x, tip), left],
               mix(c.shade, c.deep, 0.3))
        f.fill("nose", [(x + 0.3, -1.0), (x + 1.1, low - 1.4), (x + 0.3, low - 0.2)],
               mix(c.skin, c.light, 0.9))
        f.line("nose", [left, (x, tip), right], c.deep, 0.8)
        return
    f.fill("nose", smooth([(x, -1.0), (x + 0.9, 2.6), (x + half, low - 1.9), (x + half, low - 0.2),
                           (x, low + 0.5), (x - half, low - 0.2), (x - half, low - 1.9),
                           (x - 0.9, 2.6)]), tint)
    f.fill("nose", ellipse(x + 0.2, low - 2.6, 0.6 + 0.5 * big, 0.9), mix(c.skin, c.light, 0.6))
    f.line("nose", curve([(x - half - 0.1, low - 1.4), (x - half * 0.8, low + 0.1),
                          (x, low + 0.6), (x + half * 0.8, low + 0.1),
                          (x + half + 0.1, low - 1.4)], 3), c.deep, 0.6 + 0.4 * (big > 0.5))
    if big > 0.5:
        for side in (-1, 1):
            f.fill("nose", ellipse(x + side * half * 0.48, low - 0.2, 0.8, 0.5), c.deep)


def _mouth(f: Figure, p: Person, lk: Look) -> None:
    c = lk.colours
    smile, gape, full = (p.strength(name) for name in
                         ("Smiling", "Mouth_Slightly_Open", "Big_Lips"))
    x, y, tilt = lk.yaw * 0.9 + lk.skew[2] * 0.7, 11.8, lk.skew[2] * 0.25
    half = 4.1 + 1.5 * smile + 0.7 * full - 0.4 * max(gape - smile, 0.0)
    lift, drop = -1.6 * smile - 0.25, 0.6 * smile
    upper, lower = 0.85 + 0.95 * full, 1.05 + 1.15 * full
    gap = max((2.0 + 0.7 * smile) * gape, 0.0) if gape > 0.5 else 0.0

    def bow(out: float, between: float, middle: float) -> np.ndarray:
        """Return a curve from corner to corner: y in its middle, and `out` to both sides of it."""
        path = [(-1, lift), (-out, between), (0, middle), (out, between), (1, lift)]
        return curve([(x + px * half, y + py + px * tilt) for px, py in path], 4)

    rise = 0.25 * gap
    edge = bow(0.5, lift * 0.25 + drop * 0.6 - rise, drop - rise)
    base = bow(0.55, lift * 0.2 + drop + gap * 0.62, drop + gap * 0.8)
    top = bow(0.42, lift * 0.3 + drop * 0.5 - rise - upper, drop * 0.7 - rise - upper * 0.72)
    low = bow(0.5, lift * 0.2 + drop + gap * 0.66 + lower * 0.9, drop + gap * 0.85 + lower)
    ink = mix(mix(c.lips, c.deep, 0.55), BLACK, 0.15)
    f.fill("lips", np.concatenate([top, low[::-1]]), c.lips)
    f.fill("lips", np.concatenate([top, edge[::-1]]), mix(c.lips, ink, 0.3))
    f.fill("lips", limb(low[6:11] - (0, 0.55 * lower), [0.2, 0.5, 0.6, 0.5, 0.2], 2),
           mix(c.lips, WHITE, 0.28))
    if gap:
        f.fill("inside", np.concatenate([edge, base[::-1]]), (96, 30, 40))
        f.shade("inside", ellipse(x, y + drop + gap * 1.05, half * 0.5, gap * 0.5), (206, 96, 100))
        teeth = np.concatenate([edge - (0, 0.6), (edge + (0, 0.42 * gap + 0.2))[::-1]])
        f.shade("inside", teeth, (255, 253, 250))
    else:
        f.line("lips", edge, ink, 0.8)
    if smile > 0.5:
        for side in (-1, 1):
            cx, cy = x + side * (half + 0.7), y + lift + side * tilt
            f.line("face", curve([(cx - side * 0.3, cy - 1.2), (cx + side * 0.3, cy),
                                  (cx - side * 0.1, cy + 1.1)], 3), c.deep, 0.7)


def _skin_glazes(p: Person, lk: Look, lit: int) -> list[Glaze]:
    """Return light and shadow on the face, and what colours the cheeks and the jaw."""
    c, w = lk.colours, lk.wide
    rosy, bones, stubble = (p.excess(name) for name in
                            ("Rosy_Cheeks", "High_Cheekbones", "5_o_Clock_Shadow"))
    glazes = [Glaze(SKIN, -lit * (w + 1), 3.0, 9.0, 21.0, UMBER, 0.14),
              Glaze(SKIN, lit * 3.0, -11.0, 9.0, 6.0, c.light, 0.3)]
    bristle = mix(c.skin, (44, 44, 62), 0.82)
    glazes += [Glaze(("face",), *place, bristle, 0.5 * stubble, rough=True) for place in (
        (0, 15.4, 9.5, 5.0), (-9.0, 10.0, 4.6, 6.4), (9.0, 10.0, 4.6, 6.4), (0, 9.0, 6.0, 2.0))]
    for side in (-1, 1):
        x = side * 8.4 + lk.yaw * 0.6
        glazes.append(Glaze(SKIN, x, 5.4, 4.4, 3.6, (242, 98, 108), 0.52 * rosy))
        glazes.append(Glaze(SKIN, x + side * 0.6, 2.9, 4.4, 1.9, c.light, 0.6 * bones, side * -24))
        glazes.append(Glaze(SKIN, x + side * 0.8, 7.2, 4.8, 1.7, c.deep, 0.22 * bones, side * -34))
    return glazes


def _glasses(f: Figure, p: Person, lk: Look) -> None:
    dice = p.dice("glasses")
    tint = dice.pick(((40, 36, 46), (96, 52, 36), (38, 58, 104), (150, 40, 52), (30, 30, 34)))
    round_, x = dice.chance(0.5), lk.yaw
    for side in (-1, 1):
        cx = x + side * 6.2
        lens = ellipse(cx, -0.3, 4.7, 4.5) if round_ else smooth([
            (cx - 4.6, -3.2), (cx, -3.9), (cx + 4.6, -3.2), (cx + 4.4, 2.2), (cx, 3.5),
            (cx - 4.4, 2.2)])
        f.rim("glasses", lens, tint, 1.2)
        f.line("glasses", [(cx + side * 4.7, -1.4), (side * (lk.wide + 0.2), -1.0)], tint, 1.2)
        f.line("glint", [(cx - 3.4, -0.6), (cx - 2.2, -2.4)], WHITE, 0.6)
    f.line("glasses", curve([(x - 1.6, -0.9), (x, -1.7), (x + 1.6, -0.9)]), tint, 1.2)


def _figures(p: Person, lk: Look) -> tuple[Figure, Figure, Figure]:
    """Return what is painted behind the shoulders, there and before them."""
    st, behind, torso, before = style(p, lk), Figure(), Figure(), Figure()

    def where(f: Figure, **present: Callable) -> None:
        for attribute, draw in present.items():
            if p[attribute]:
                draw(f, p, lk)

    back_hair(behind, p, lk, st)
    body(torso, p, lk)
    where(torso, Wearing_Necktie=necktie, Wearing_Necklace=necklace)
    for draw in (_skull, beard, _wrinkles, _bags, _brows, _eyes, _nose, _mouth):
        draw(before, p, lk)
    where(before, Goatee=goatee, Mustache=mustache)
    front_hair(before, p, lk, st)
    bangs(before, p, lk, st)
    where(before, Wearing_Hat=hat, Eyeglasses=_glasses, Wearing_Earrings=earrings)
    return behind, torso, before


def portrait(p: Person) -> Portrait:
    """Return the portrait of a person."""
    lk, dice = look(p), p.dice("pose")
    scale, tilt = dice.uniform(1.02, 1.10), dice.uniform(-5, 5)
    x, y = REACH / 2 + dice.uniform(-1.5, 1.5), 29.0 + dice.uniform(-0.8, 1.0)
    lit, warm = dice.pick((-1, 1)), dice.uniform(-0.03, 0.04)
    bright, slope = dice.uniform(0.94, 1.03), (dice.uniform(4, 14) * lit, dice.uniform(0, 10))
    head, torso = (scale, x + 12 * scale * turn(tilt)[1], y, tilt), (scale, x, y, 0.0)
    high, low, discs = backdrop(p.dice("backdrop"))
    figures = [discs, *(figure.moved(*place) for figure, place in
                        zip(_figures(p, lk), (head, torso, head)) if figure.ops)]
    glazes = [g.moved(*head) for g in _skin_glazes(p, lk, lit) + _eye_glazes(p, lk) if g.share > 0]
    light = [round(256 * bright * (1 + tint)) for tint in (warm, 0.0, -warm)]
    blur = p.dice("blur").uniform(1.2, 2.2) if p["Blurry"] else 0.0
    return Portrait(high, low, figures, glazes, light, slope, blur)
