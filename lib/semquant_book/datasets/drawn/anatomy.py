"""What the animals are made of: the names of their parts, and the colours of their coats.

Part names are those of Pascal-Part, so that left and right are the animal's own: of an animal that
faces right we see the right side. Differences to Pascal-Part: a mane belongs to the neck, a comb
and a woolly cap to the head, an udder to the torso, and a cat's nose includes its whisker pads.
"""

from __future__ import annotations

from typing import NamedTuple

from semquant_book.datasets.drawn.drawing import Colour, Dice, luminance, mix
from semquant_book.datasets.names import group_of

_PAWS = tuple(f"{side}{end}{what}" for side in "lr" for end in "fb" for what in ("leg", "pa"))
_LEGS = tuple(f"{side}{end}{what}" for side in "lr" for end in "fb" for what in ("uleg", "lleg"))
_HOOVES = ("lfho", "rfho", "lbho", "rbho")
_FACE = ("head", "leye", "reye", "lear", "rear")

PARTS_OF: dict[str, tuple[str, ...]] = {
    "bird": ("head", "leye", "reye", "beak", "torso", "neck", "lwing", "rwing",
             "lleg", "lfoot", "rleg", "rfoot", "tail"),
    "cat": (*_FACE, "nose", "torso", "neck", *_PAWS, "tail"),
    "cow": (*_FACE, "muzzle", "lhorn", "rhorn", "torso", "neck", *_LEGS, "tail"),
    "dog": (*_FACE, "nose", "muzzle", "torso", "neck", *_PAWS, "tail"),
    "horse": (*_FACE, "muzzle", "torso", "neck", *_LEGS, *_HOOVES, "tail"),
    "sheep": (*_FACE, "muzzle", "lhorn", "rhorn", "torso", "neck", *_LEGS, "tail"),
    "background": (),
}
"""The parts that each kind can have. Which are drawn depends on view and posture."""


PARTS = tuple(dict.fromkeys(part for parts in PARTS_OF.values() for part in parts))
GROUP_OF = {part: group_of(part) for part in PARTS}

FURS = ((245, 240, 228), (240, 216, 176), (226, 176, 104), (222, 136, 74), (196, 150, 106),
        (150, 98, 64), (110, 74, 54), (86, 82, 88), (158, 156, 158), (122, 134, 152))
"""Coats, shared by all six kinds, so that no colour tells what the animal is."""

IRISES = ((70, 44, 32), (60, 40, 36), (116, 142, 60), (206, 150, 48), (70, 110, 140))
CREAM, INK, PINK, BLACK = (252, 244, 226), (46, 30, 30), (240, 158, 152), (40, 32, 36)


class Coat(NamedTuple):
    """The colours of one animal."""

    fur: Colour
    dark: Colour  # far side, ears, patches
    light: Colour  # belly, muzzle
    ink: Colour
    iris: Colour
    patched: bool
    striped: bool


def coat(dice: Dice, fur: Colour) -> Coat:
    """Draw the colours that go with a fur."""
    deep = luminance(fur) < 100
    dark = mix(fur, CREAM if deep and dice.chance(0.5) else INK, dice.uniform(0.24, 0.40))
    pattern = dice.uniform(0, 1)
    return Coat(fur, dark, light=mix(fur, CREAM, dice.uniform(0.45, 0.75)), ink=mix(fur, INK, 0.78),
                iris=dice.pick(IRISES), patched=pattern < 0.4, striped=pattern > 0.8)
