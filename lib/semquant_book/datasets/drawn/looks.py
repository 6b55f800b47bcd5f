"""What a face is like before it is drawn: its attributes, its dice, its proportions and colours.

Every feature has dice of its own, keyed by its name, so that no feature depends on how many random
numbers another one took: negating an attribute leaves all else as it was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.drawing import Colour, Dice, luminance, mix, vary
from semquant_book.datasets.names import ATTRIBUTES

__all__ = ["Look", "Palette", "Person", "look"]

SKINS = ((255, 219, 184), (250, 206, 166), (240, 190, 150), (226, 170, 128), (204, 146, 104),
         (170, 114, 80), (134, 88, 64), (112, 74, 56))
PALE, ROSE, UMBER = (255, 240, 234), (226, 110, 120), (88, 32, 34)
HAIRS = {"Black_Hair": (40, 37, 48), "Brown_Hair": (118, 72, 44),
         "Blond_Hair": (242, 204, 112), "Gray_Hair": (190, 190, 198)}
OTHER_HAIRS = ((176, 84, 44), (72, 48, 42), (178, 126, 72), (150, 58, 46), (196, 138, 84))
IRISES = ((92, 58, 38), (78, 48, 34), (70, 116, 150), (96, 128, 74), (96, 140, 168), (126, 88, 48))


class Person:
    """A face's attributes, (40,) bool, and the dice of its features, which belong to the key."""

    def __init__(self, attributes: np.ndarray, *key: object) -> None:
        self._key = key
        self._has = dict(zip(ATTRIBUTES, attributes.tolist(), strict=True))
        dice = self.dice("strengths")  # both, so that neither depends on what the face has
        self._strengths = {name: (dice.uniform(-0.12, 0.2), dice.uniform(0.8, 1.15))
                           for name in ATTRIBUTES}

    def __getitem__(self, name: str) -> bool:
        return self._has[name]

    def dice(self, feature: str) -> Dice:
        return Dice(*self._key, feature)

    def strength(self, name: str) -> float:
        """Return how strongly an attribute shows: about 1 if it is present, about 0 if not."""
        return self._strengths[name][self[name]]

    def excess(self, name: str) -> float:
        """Return the same, with nothing at all to be seen of an absent attribute."""
        return max(self.strength(name) - 0.2, 0.0) / 0.8

    def tendency(self, name: str, spread: float) -> float:
        """Return 1 or 0 for an attribute, plus noise whose standard deviation is `spread`."""
        dice = Dice(*self._key, "tendency", name)
        return float(self[name]) + spread * sum(dice.uniform(-1, 1) for _ in range(3))


class Palette(NamedTuple):
    """The colours of one face."""

    skin: Colour
    shade: Colour  # skin in the shadow
    deep: Colour  # lines on the skin
    light: Colour
    lips: Colour
    hair: Colour
    dark: Colour  # strands and outline of the hair
    shine: Colour
    streak: Colour  # a second colour of the hair, or the first one
    brow: Colour
    iris: Colour


class Look(NamedTuple):
    """Proportions of one face, in model units; the origin is between the eyes, y points down."""

    masc: float  # about 0 for a woman, about 1 for a man
    age: float  # about 0 for the young, about 1 for others
    beauty: float
    makeup: float
    wide: float  # half the width at the cheekbones
    jaw: float  # half the width at the mouth
    tip: float  # half the width of the chin
    chin: float  # y of the chin
    cheek: float  # how far the cheeks stick out
    neck: float  # half its width
    yaw: float  # how far the features are turned to the side
    eyes: float  # size of the eyes
    skew: tuple[float, float, float]  # what is not symmetric: eyes, nose, mouth
    colours: Palette


def _palette(p: Person, age: float) -> Palette:
    dice = p.dice("skin")
    at = dice.uniform(0, len(SKINS) - 1.001)
    skin = vary(dice, mix(SKINS[int(at)], SKINS[int(at) + 1], at - int(at)), 4)
    skin = mix(skin, (luminance(skin),) * 3, 0.18 * min(max(age, 0.0), 1.0))
    skin = mix(skin, PALE, 0.55 + 0.25 * p.excess("Pale_Skin") if p["Pale_Skin"] else 0.0)
    shade, deep = mix(skin, UMBER, 0.18), mix(skin, UMBER, 0.52)
    dice = p.dice("lips")
    natural = mix(mix(skin, ROSE, dice.uniform(0.3, 0.42)), UMBER, 0.1)
    bright = dice.pick(((200, 24, 52), (214, 36, 92), (178, 20, 60), (226, 54, 60), (168, 34, 84)))
    lips = mix(natural, bright, dice.uniform(0.8, 1.0) if p["Wearing_Lipstick"] else 0.0)
    hair, streak = _hair(p, at / len(SKINS))
    return Palette(skin=skin, shade=shade, deep=deep, light=mix(skin, (255, 248, 236), 0.45),
                   lips=lips, hair=hair, dark=mix(hair, (22, 14, 26), 0.40),
                   shine=mix(hair, (255, 244, 224), 0.26), streak=streak,
                   brow=mix(mix(hair, (52, 34, 32), 0.45), skin, 0.05),
                   iris=p.dice("iris").pick(IRISES))


def _hair(p: Person, deep: float) -> tuple[Colour, Colour]:
    """Return the hair's colour, and that of its streaks: another one if it has several. Hair of
    none of the four colours is the darker the deeper the skin."""
    dice = p.dice("hair colour")
    other = vary(dice, mix(dice.pick(OTHER_HAIRS), (58, 38, 36), 0.7 * deep), 8)
    colours = [vary(dice, colour, 9) for colour in HAIRS.values()]
    mine = [c for c, name in zip(colours, HAIRS, strict=True) if p[name]] or [other]
    return mine[0], mine[-1]


def look(p: Person) -> Look:
    """Return a person's proportions and colours."""
    masc, age = p.tendency("Male", 0.33), 1.0 - p.tendency("Young", 0.42)
    beauty = p.tendency("Attractive", 0.42)
    oval, chubby = p.strength("Oval_Face"), p.strength("Chubby")
    dice = p.dice("proportions")
    wide = 13.4 + 0.5 * masc - 1.1 * oval + 1.3 * chubby + dice.uniform(-0.4, 0.4)
    jaw = 9.8 + 1.7 * masc - 1.3 * oval + 2.9 * chubby + dice.uniform(-0.3, 0.3)
    slip = max(1.25 - 0.95 * beauty, 0.1)
    dice, lean = p.dice("symmetry"), p.dice("yaw").uniform(-1.2, 1.2)
    return Look(masc=masc, age=age, beauty=beauty, makeup=p.tendency("Heavy_Makeup", 0.32),
                wide=wide, jaw=jaw, tip=4.5 + 1.6 * masc - 0.8 * oval + 1.4 * chubby,
                chin=17.4 + 0.5 * masc + 2.6 * oval, cheek=p.strength("High_Cheekbones"),
                neck=5.6 + 1.7 * masc + 1.2 * chubby, yaw=lean, eyes=0.90 + 0.17 * beauty,
                skew=tuple(slip * (dice.uniform(0.45, 1.0) * dice.pick((-1, 1))) for _ in range(3)),
                colours=_palette(p, age))
