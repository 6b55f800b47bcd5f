"""Hair, hats and beards of the drawn faces, around the point between the eyes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.drawing import (Colour, Figure, along, curve, ellipse, limb, mix,
                                                  smooth)
from semquant_book.datasets.drawn.looks import Look, Person

__all__ = ["Style", "back_hair", "bangs", "beard", "beard_rim", "front_hair", "goatee", "hat",
           "mustache", "style"]

HAT_COLOURS = ((62, 92, 140), (190, 72, 66), (232, 176, 76), (76, 128, 104), (122, 88, 140),
               (216, 120, 130), (70, 74, 92), (206, 178, 140))


class Style(NamedTuple):
    """How the hair is worn."""

    length: str  # "short", "bob" or "long"
    tucked: bool  # behind the ears
    parting: float  # x of the parting
    volume: float
    waves: float  # how far the outline swings
    straight: bool
    receding: float


def style(p: Person, lk: Look) -> Style:
    """Return how a person wears their hair."""
    dice = p.dice("hairstyle")
    draw, parting = dice.uniform(0, 1), dice.uniform(3.0, 6.5) * dice.pick((-1, 1))
    centred, tucked, volume = dice.chance(0.3), dice.chance(0.35), dice.uniform(0.2, 1.8)
    if lk.masc > 0.5:
        length = "short" if draw < 0.93 else "bob" if draw < 0.97 else "long"
    else:
        length = "long" if draw < 0.66 else "bob" if draw < 0.90 else "short"
    volume += 0.9 if length == "short" and lk.masc <= 0.5 else 0.0
    return Style(length, tucked, parting=0.0 if centred else parting, volume=volume,
                 waves=p.strength("Wavy_Hair") if p["Wavy_Hair"] else 0.0,
                 straight=p["Straight_Hair"], receding=max(p.strength("Receding_Hairline"), 0.0))


def _waved(points: np.ndarray, swing: float, steps: int = 3) -> np.ndarray:
    """Return an open curve that swings to both sides of a path by `swing`."""
    off = along(points)[:, ::-1] * (1, -1)
    sign = np.where(np.arange(len(points)) % 2 == 0, 1.0, -1.0)[:, None]
    sign[[0, -1]] = 0.0
    return curve(points + off * sign * swing, steps)


def _mirrored(right: list[tuple[float, float]]) -> np.ndarray:
    """Return a path from left to right, given its right half from the middle outwards."""
    return np.asarray([(-x, y) for x, y in right[:0:-1]] + right)


def _evenly(points: np.ndarray, gap: float) -> np.ndarray:
    """Return points along a path, `gap` apart, and its end."""
    steps = np.sqrt(((points[1:] - points[:-1]) ** 2).sum(axis=1))
    kept, walked = [points[0]], 0.0
    for point, step in zip(points[1:], steps.tolist(), strict=True):
        walked += step
        if walked >= gap:
            kept.append(point)
            walked = 0.0
    return np.asarray(kept + [points[-1]])


def _sampled(points: np.ndarray, count: int) -> np.ndarray:
    """Return `count` points along a path, by the number of its points."""
    at = np.arange(count) * (len(points) - 1) / (count - 1)
    first = np.minimum(at.astype(int), len(points) - 2)
    share = (at - first)[:, None]
    return points[first] * (1 - share) + points[first + 1] * share


def back_hair(f: Figure, p: Person, lk: Look, st: Style) -> None:
    """Draw the hair behind the head and the shoulders."""
    c, w, v = lk.colours, lk.wide, st.volume
    if p["Bald"] or st.length == "short":
        return
    right = [(0.0, -23.2 - v), (8.0, -21.8 - v), (w + 0.6 + v * 0.4, -14.5), (w + 2.6 + v, -6.0),
             (w + 3.2 + v, 4.0)]
    if st.length == "bob":
        right += [(w + 3.4 + v, 11.0), (w + 1.6 + v, 17.0), (w - 3.0, 19.0)]
    else:
        right += [(w + 3.6 + v, 14.0), (w + 4.2 + v, 24.0), (w + 3.4 + v, 31.0), (w - 4.0, 35.0)]
    outline = curve(_mirrored(right))
    points = _waved(_evenly(outline, 4.2), 1.3 * st.waves) if st.waves else outline
    f.shape("back hair", points, mix(c.hair, c.dark, 0.55), c.dark, 0.8)
    if st.straight or st.waves:
        end = 15.0 if st.length == "bob" else 31.0
        for side in (-1, 1):
            for dx in (-3.4, -1.4, 0.6):
                fall = curve([(w + dx + v * 0.6, -6.0), (w + dx + 1.0 + v * 0.8, 6.0),
                              (w + dx + 1.6 + v * 0.8, end)])
                fall = _waved(_evenly(fall, 4.2), 0.9) if st.waves else fall
                tint = c.dark if dx < -3 or dx > 0 else mix(c.hair, c.shine, 0.5)
                f.line("back hair", fall * (side, 1), tint, 0.9)


def _crown(lk: Look, st: Style) -> np.ndarray:
    """Return the outer edge of the hair on top, from left to right."""
    w, v, lean = lk.wide, st.volume, -0.4 * st.parting
    if st.length == "short":
        side = [(w + 0.1, 0.6), (w + 0.8, -4.0), (w + 0.9 + 0.4 * v, -9.0),
                (w - 0.4 + 0.4 * v, -15.6)]
    else:
        side = [(w + 0.6, 2.0), (w + 2.0 + v, -5.0), (w + 1.2 + 0.7 * v, -10.0),
                (w - 0.6 + 0.2 * v, -16.0)]
    swell = 0.12 * lean  # the hair is higher on the side it is combed to
    top = [(-7.8 + lean * 0.5, -21.6 - v + swell), (lean, -23.4 - v),
           (7.8 + lean * 0.5, -21.6 - v - swell)]
    return curve([*((-x, y) for x, y in side), *top, *side[::-1]])


def _hairline(lk: Look, st: Style) -> np.ndarray:
    """Return the inner edge of the hair on top, from left to right."""
    w, r, low = lk.wide, min(st.receding, 1.1), 0.6 if st.length == "short" else 2.0
    near, up = w - 0.8, r if r > 0.5 else 0.0
    half = [(near - 1.0 + 0.5 * up, -4.6), (near - 2.0 + 0.7 * up, -8.6 - 3.4 * up),
            (7.8 + 0.2 * up, -12.4 - 5.2 * up), (3.6 - 0.6 * up, -13.9 - 2.7 * up)]
    part = (st.parting * (1 - 0.8 * up), -15.2 - 1.0 * up)
    return curve([(-near, low), *((-x, y) for x, y in half), part, *half[::-1], (near, low)])


def _lock(lk: Look, st: Style) -> tuple[np.ndarray, np.ndarray]:
    """Return outer edge and inner edge of the hair in front of the right ear, downwards."""
    w, v, end = lk.wide, st.volume, 14.5 if st.length == "bob" else 29.5
    outer = curve([(w - 1.0, -13.0), (w + 1.9 + v, -5.0), (w + 2.9 + v, 4.0),
                   (w + 3.1 + v, end * 0.6), (w + 2.2 + v * 0.5, end)])
    inner = curve([(w - 4.0, -11.0), (w - 1.7, -4.6), (w - 0.7, 4.0), (w - 0.4, end * 0.6),
                   (w + 0.2, end - (0.0 if st.straight else 2.0))])
    if st.waves:
        outer = _waved(_evenly(outer, 4.0), 1.1 * st.waves)
        inner = _waved(_evenly(inner, 4.0), 0.9 * st.waves)
    return outer, inner


def front_hair(f: Figure, p: Person, lk: Look, st: Style) -> None:
    """Draw the hair on top and before the ears; of a bald head, what is left at the sides."""
    c, w = lk.colours, lk.wide
    if p["Bald"]:
        patch = smooth([(w - 1.8, -5.0), (w - 0.2, -8.4), (w + 1.3, -5.0), (w + 1.4, 0.5),
                        (w + 0.4, 3.4), (w - 0.9, 1.0)])
        for side in (-1, 1):
            f.shape("hair", patch * (side, 1), c.hair, c.dark, 0.6)
        return
    crown, line = _crown(lk, st), _hairline(lk, st)
    edge = _waved(_evenly(crown, 3.9), 1.15 * st.waves, 4) if st.waves else crown
    rim = _waved(_evenly(line, 3.9), 0.6 * st.waves, 3) if st.waves else line
    shapes = [np.concatenate([edge, rim[::-1]])]
    loose = st.length != "short" and not st.tucked
    if loose:
        outer, inner = _lock(lk, st)
        shapes += [np.concatenate([outer, inner[::-1]]) * (side, 1) for side in (-1, 1)]
    for points in shapes:  # one outline around all of them
        f.rim("hair", points, c.dark, 0.8)
    for points in shapes:
        f.fill("hair", points, c.hair)
    if loose:
        _lock_strands(f, lk, st)
    _strands(f, lk, st, crown, line)


def _strands(f: Figure, lk: Look, st: Style, crown: np.ndarray, line: np.ndarray) -> None:
    """Draw how the hair on top lies: combed from the parting if straight, in waves if wavy."""
    c, outer, inner = lk.colours, _sampled(crown, 97), _sampled(line, 97)

    def strand(end: int, tint: Colour, width: float) -> None:
        start = 48 + (end - 48) // 2
        at = start + (end - start) * np.arange(9) // 8
        share = np.arange(1, 10)[:, None] / 10.5
        f.line("hair", curve((outer[at] * (1 - share) + inner[at] * share)[::2]), tint, width)

    if c.streak != c.hair:
        for end in (8, 18, 27, 36, 62, 70, 79, 88):
            strand(end, c.streak, 1.8)
    band = (outer * 0.62 + inner * 0.38)[32:60:4]
    f.fill("hair", limb(band, [0.3, 1.0, 1.5, 1.7, 1.5, 1.0, 0.3], 2), c.shine)
    if st.straight:
        for end in (10, 20, 29, 37, 59, 67, 76, 86):
            strand(end, c.dark if end % 2 else c.shine, 0.9)
    elif not st.waves:
        for end in (14, 26, 70, 82):
            strand(end, mix(c.hair, c.dark, 0.55), 0.6)
    if st.waves:
        for share in (0.3, 0.68):
            path = (outer * share + inner * (1 - share))[12:-12:4]
            f.line("hair", _waved(path, 0.6), c.dark, 0.7)


def _lock_strands(f: Figure, lk: Look, st: Style) -> None:
    c, w, v, end = lk.colours, lk.wide, st.volume, 14.5 if st.length == "bob" else 29.5
    middle = curve([(w - 1.2, -8.0), (w + 0.6, 0.0), (w + 1.1 + v * 0.5, end * 0.5),
                    (w + 1.2 + v * 0.3, end - 3.0)])
    for side in (-1, 1):
        if c.streak != c.hair:
            f.line("hair", middle * (side, 1), c.streak, 1.6)
        if st.waves:
            f.line("hair", _waved(_evenly(middle, 4.0), 0.8) * (side, 1), c.dark, 0.7)
        elif st.straight:
            for dx, tint in ((-0.8, c.dark), (0.9, c.shine)):
                f.line("hair", (middle + (dx, 0)) * (side, 1), tint, 0.9)
        else:
            f.line("hair", middle * (side, 1), mix(c.hair, c.dark, 0.5), 0.6)


def bangs(f: Figure, p: Person, lk: Look, st: Style) -> None:
    """Draw the fringe over the forehead."""
    c = lk.colours
    if p["Bald"] or not p["Bangs"]:
        return
    dice = p.dice("bangs")
    low, side, swept = dice.uniform(-8.0, -6.8), dice.pick((-1, 1)), dice.chance(0.4)
    span = (lk.wide - 1.4) * (1 - 0.30 * min(st.receding, 1.0))
    top = curve([(-span, -9.0), (-span * 0.85, -14.5), (0.0, -18.0), (span * 0.85, -14.5),
                 (span, -9.0)])
    lean = 1.5 * side if swept else 0.0
    xs = np.arange(9) * (span / 4) - span
    ys = low - 0.012 * xs * xs + lean * xs / span
    jag = np.where(np.arange(9) % 2 == 0, 0.0, -1.8 if st.waves and not st.straight else -1.1)
    bottom = np.stack([xs, ys + jag], axis=1)
    bottom = curve(bottom, 3) if st.waves else bottom
    f.fill("hair", np.concatenate([top, bottom[::-1]]), c.hair)
    f.line("hair", bottom, c.dark, 0.9)
    for x, y, tint in zip(xs[1::2], ys[1::2], (c.dark, c.shine) * 2):
        f.line("hair", curve([(x * 0.5, -18.5), (x * 0.88, -13.0), (x, y - 0.6)], 3), tint, 0.6)
    if c.streak != c.hair:
        f.line("hair", curve([(1.0, -16.0), (1.8, -12.0), (2.2, -9.0)], 3), c.streak, 1.4)


def hat(f: Figure, p: Person, lk: Look) -> None:
    """Draw a beanie, a cap or a hat with a brim."""
    dice, w = p.dice("hat"), lk.wide + 2.6
    kind, tint, band = dice.below(3), dice.pick(HAT_COLOURS), dice.pick(HAT_COLOURS)
    ink, light = mix(tint, (30, 22, 36), 0.4), mix(tint, (255, 250, 240), 0.35)
    band = light if band == tint else band
    dome = smooth([(-w, -10.0), (-w + 0.6, -17.0), (-w * 0.6, -24.4), (0, -26.6), (w * 0.6, -24.4),
                   (w - 0.6, -17.0), (w, -10.0), (0, -11.5)])
    f.shape("hat", dome, tint, ink, 0.8)
    if kind == 0:
        rib = smooth([(-w - 0.4, -9.0), (-w - 0.2, -13.6), (0, -16.4), (w + 0.2, -13.6),
                      (w + 0.4, -9.0), (w - 1.0, -8.4), (0, -11.4), (-w + 1.0, -8.4)])
        f.shape("hat", rib, light, ink, 0.8)
        f.shape("hat", ellipse(0, -27.2, 3.0, 2.6), light, ink, 0.7)
    elif kind == 1:
        f.line("hat", curve([(0, -26.4), (-2.0, -20.0), (-2.4, -14.0)]), ink, 0.7)
        f.fill("hat", ellipse(1.0, -18.6, 3.0, 2.6), light)
        visor = smooth([(-w + 0.5, -10.6), (-w * 0.6, -13.4), (0, -14.2), (w * 0.6, -13.4),
                        (w - 0.5, -10.6), (w * 0.55, -9.4), (0, -8.6), (-w * 0.55, -9.4)])
        f.shape("hat", visor, mix(tint, (30, 22, 36), 0.2), ink, 0.8)
    else:
        f.shape("hat", ellipse(0, -10.6, w + 6.0, 3.4), tint, ink, 0.8)
        f.fill("hat", smooth([(-w + 0.4, -12.4), (-w + 0.8, -16.4), (0, -18.0), (w - 0.8, -16.4),
                              (w - 0.4, -12.4), (0, -13.6)]), band)


def _thin(lk: Look, share: float) -> Colour:
    return mix(lk.colours.skin, mix(lk.colours.brow, lk.colours.dark, 0.5), share)


def beard_rim(f: Figure, p: Person, lk: Look) -> None:
    """Draw what of a beard sticks out below the jaw, before the head is drawn."""
    w, grown = lk.wide, p.dice("beard").uniform(0.6, 1.6)
    if p["No_Beard"]:
        return
    right = [(0.0, lk.chin + grown), (lk.tip + 0.6, lk.chin - 0.8 + grown * 0.8),
             (lk.jaw + 1.0 + grown * 0.3, 11.2), (w + 0.5, 4.0)]
    f.shape("beard", curve(_mirrored(right)), _thin(lk, 0.72), _thin(lk, 0.92), 0.6)


def beard(f: Figure, p: Person, lk: Look) -> None:
    """Draw the short full beard of those who are not without one, and the sideburns."""
    w = lk.wide
    if not p["No_Beard"]:
        inner = curve(_mirrored([(0.0, 8.4), (3.6, 8.6), (6.4, 9.6), (w - 3.6, 7.4), (w - 1.6, 3.0),
                                 (w - 1.0, -1.0)]))
        around = [(w + 4.0, -1.0), (w + 4.0, lk.chin + 6.0), (-w - 4.0, lk.chin + 6.0),
                  (-w - 4.0, -1.0)]
        f.shade("face", np.concatenate([inner, around]), _thin(lk, 0.72))
    if p["Sideburns"]:
        long = p.dice("sideburns").uniform(6.5, 9.0)
        strip = smooth([(w - 3.6, -7.0), (w + 1.0, -7.0), (w + 0.6, long - 1.5),
                        (w - 3.0, long + 1.0), (w - 5.0, long), (w - 3.9, 1.0)])
        for side in (-1, 1):
            f.shade("face", strip * (side, 1), mix(lk.colours.hair, lk.colours.dark, 0.35))


def _tuft(f: Figure, part: str, lk: Look, half: list[tuple[float, float]]) -> None:
    """Draw a beard of its own, given its right half from the top down."""
    c = lk.colours
    points = half + [(-x, y) for x, y in half[-2:0:-1]]
    f.shape(part, smooth(points, 3), mix(c.hair, c.dark, 0.6), c.dark, 0.6)


def goatee(f: Figure, p: Person, lk: Look) -> None:
    """Draw the beard on the chin."""
    low = lk.chin + p.dice("goatee").uniform(2.2, 3.8)
    _tuft(f, "goatee", lk, [(0.0, 14.6), (2.6, 14.8), (5.2, 13.0), (6.0, 15.0), (4.6, lk.chin),
                            (2.2, low - 0.8), (0.0, low)])


def mustache(f: Figure, p: Person, lk: Look) -> None:
    """Draw the beard above the upper lip."""
    wide = p.dice("mustache").uniform(6.2, 7.6)
    _tuft(f, "mustache", lk, [(0.0, 7.9), (2.6, 7.4), (wide * 0.7, 8.8), (wide, 11.4),
                              (wide * 0.66, 11.0), (2.2, 10.6), (0.0, 9.8)])
