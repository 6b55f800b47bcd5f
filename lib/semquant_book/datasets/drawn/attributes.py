"""Which attributes a face has: the 40 of CelebA, at its rates and with its correlations.

A face is a man's or a woman's, and has six latent factors; each attribute is present where a
weighted sum of factors and noise of its own passes a threshold (a probit factor model). Hair has
at most one of four colours, and is not both straight and wavy. All of it is arithmetic on whole
numbers, so that every machine draws the same faces.

Notes
-----
`ROWS` holds, for each attribute, three shares and the weights of the factors. The first share is
CelebA's own, over its 202,599 images (Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the
Wild, ICCV 2015; counts of its ``list_attr_celeba.txt``, to four decimals). The shares among men and
women were measured on the first 10,000 of its images and then shifted, both alike in log-odds, until
together they give the first; where the 10,000 have fewer than two women in a thousand, the model has
none. The weights were fitted to the correlations within men and within women in the same 10,000.
They are what annotators of photographs of celebrities put down, not a statement about people.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from semquant_book.datasets.drawn.drawing import Dice
from semquant_book.datasets.names import ATTRIBUTES

__all__ = ["FACTORS", "RATES", "ROWS", "sample"]


class Row(NamedTuple):
    """An attribute's share of all faces, of the men's and the women's, and its factors' weights."""

    rate: float
    men: float
    women: float
    mirth: float = 0.0
    beard: float = 0.0
    style: float = 0.0
    dark: float = 0.0
    age: float = 0.0
    full: float = 0.0


FACTORS = Row._fields[3:]
ROWS = {
    "5_o_Clock_Shadow": Row(0.1111, 0.267, 0.000, beard=0.30, dark=0.35, age=-0.47),
    "Arched_Eyebrows": Row(0.2670, 0.052, 0.421, style=0.60, dark=0.35, full=0.35),
    "Attractive": Row(0.5125, 0.270, 0.686, mirth=0.08, style=0.42, age=-0.70, full=-0.22),
    "Bags_Under_Eyes": Row(0.2046, 0.342, 0.106, mirth=0.30, age=0.25, full=0.44),
    "Bald": Row(0.0224, 0.054, 0.000, age=0.65),
    "Bangs": Row(0.1516, 0.079, 0.204, age=-0.46),
    "Big_Lips": Row(0.2408, 0.158, 0.300, dark=0.27, full=0.53),
    "Big_Nose": Row(0.2345, 0.416, 0.105, beard=0.23, age=0.50, full=0.58),
    "Black_Hair": Row(0.2393, 0.294, 0.200),
    "Blond_Hair": Row(0.1480, 0.019, 0.240, style=0.28, dark=-0.53),
    "Blurry": Row(0.0509, 0.056, 0.047, mirth=-0.31, style=-0.68),
    "Brown_Hair": Row(0.2052, 0.152, 0.243),
    "Bushy_Eyebrows": Row(0.1422, 0.242, 0.071, dark=0.96),
    "Chubby": Row(0.0576, 0.124, 0.010, beard=0.20, style=-0.26, age=0.68, full=0.40),
    "Double_Chin": Row(0.0467, 0.101, 0.008, mirth=0.40, age=0.70, full=0.32),
    "Eyeglasses": Row(0.0651, 0.121, 0.025, style=-0.64, age=0.42),
    "Goatee": Row(0.0628, 0.151, 0.000, beard=0.93),
    "Gray_Hair": Row(0.0419, 0.086, 0.010, age=0.90),
    "Heavy_Makeup": Row(0.3869, 0.003, 0.661, style=0.90, age=-0.32),
    "High_Cheekbones": Row(0.4550, 0.306, 0.561, mirth=0.96),
    "Male": Row(0.4168, 1.000, 0.000),
    "Mouth_Slightly_Open": Row(0.4834, 0.421, 0.528, mirth=0.69),
    "Mustache": Row(0.0415, 0.100, 0.000, beard=0.83, age=0.26),
    "Narrow_Eyes": Row(0.1151, 0.123, 0.110, mirth=0.13, full=0.49),
    "No_Beard": Row(0.8349, 0.604, 1.000, beard=-0.96),
    "Oval_Face": Row(0.2841, 0.230, 0.323, mirth=0.31, full=-0.55),
    "Pale_Skin": Row(0.0429, 0.026, 0.055),
    "Pointy_Nose": Row(0.2774, 0.162, 0.360, style=0.44),
    "Receding_Hairline": Row(0.0798, 0.124, 0.048, age=0.68),
    "Rosy_Cheeks": Row(0.0657, 0.004, 0.110, mirth=0.55, style=0.78),
    "Sideburns": Row(0.0565, 0.136, 0.000, beard=0.88),
    "Smiling": Row(0.4821, 0.392, 0.546, mirth=0.96),
    "Straight_Hair": Row(0.2084, 0.233, 0.191),
    "Wavy_Hair": Row(0.3196, 0.142, 0.447, style=0.33),
    "Wearing_Earrings": Row(0.1889, 0.016, 0.312, mirth=0.35, style=0.23),
    "Wearing_Hat": Row(0.0485, 0.080, 0.026, beard=0.21, style=-0.50),
    "Wearing_Lipstick": Row(0.4724, 0.006, 0.806, style=0.92, age=-0.26),
    "Wearing_Necklace": Row(0.1230, 0.017, 0.199, style=0.10, full=0.41),
    "Wearing_Necktie": Row(0.0727, 0.174, 0.000, age=0.43),
    "Young": Row(0.7736, 0.629, 0.877, age=-0.84),
}
"""Each attribute, in CelebA's order. Black and brown hair follow the weights of blond hair, straight
hair those of wavy hair: they are stretches of one scale."""

RATES = {name: row.rate for name, row in ROWS.items()}

_BYTES = 16  # a nearly normal number is a sum of this many bytes
_SPREAD = 100 * (_BYTES * (256**2 - 1) / 12) ** 0.5  # its standard deviation, times 100
_WEIGHTS = np.array([[round(100 * w) for w in row[3:]] for row in ROWS.values()])  # (40, 6)
_OWN = np.array([round(100 * (1 - sum(w * w for w in row[3:])) ** 0.5) for row in ROWS.values()])


def _cut(share: float) -> int:
    """Return what a normal number exceeds in `share` of the cases, in the sums' unit."""
    if share in (0.0, 1.0):
        return round(_SPREAD * (10.0 - 20.0 * share))
    return round(_SPREAD * round(NormalDist().inv_cdf(1 - share), 4))


_CUTS = {sex: np.array([_cut(getattr(row, sex)) for row in ROWS.values()])
         for sex in ("men", "women")}


def _hair_cuts(sex: str) -> tuple[int, int, int, int]:
    """Return where on the scale of fairness black ends, brown begins and ends, blond begins. The
    gaps are hair that CelebA calls neither. Grey hair has left the scale."""
    black, brown, blond, grey = (getattr(ROWS[f"{c}_Hair"], sex)
                                 for c in ("Black", "Brown", "Blond", "Gray"))
    black, brown, blond = (share / (1 - grey) for share in (black, brown, blond))
    gap = (1 - black - brown - blond) / 2
    return _cut(1 - black), _cut(1 - black - gap), _cut(blond + gap), _cut(blond)


_HAIR_CUTS = {sex: _hair_cuts(sex) for sex in ("men", "women")}
_AT = {name: i for i, name in enumerate(ATTRIBUTES)}


def sample(dice: Dice) -> np.ndarray:
    """Draw a face's attributes: (40,) bool, in the order of `ATTRIBUTES`."""
    male = dice.chance(ROWS["Male"].rate)
    sex = "men" if male else "women"
    raw = dice.grain((len(FACTORS) + len(ATTRIBUTES), _BYTES)).astype(np.int64)
    normal = raw.sum(axis=1) - _BYTES * 255 // 2
    score = (_WEIGHTS * normal[: len(FACTORS)]).sum(axis=1) + _OWN * normal[len(FACTORS) :]
    has = score > _CUTS[sex]
    fair = score[_AT["Blond_Hair"]]
    dark, low, high, light = _HAIR_CUTS[sex]
    coloured = not has[_AT["Gray_Hair"]]
    has[_AT["Black_Hair"]] = coloured and fair < dark
    has[_AT["Brown_Hair"]] = coloured and low < fair < high
    has[_AT["Blond_Hair"]] = coloured and fair > light
    straight = _cut(1 - getattr(ROWS["Straight_Hair"], sex))
    has[_AT["Straight_Hair"]] = score[_AT["Wavy_Hair"]] < straight
    has[_AT["Male"]] = male
    return has
