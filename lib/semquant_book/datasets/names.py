"""Experiment 2 in words: the 40 face attributes of CelebA, there and not there; starts of g."""

from __future__ import annotations

from semquant.checks import one_of

__all__ = ["ATTRIBUTES", "PHRASES", "STARTS", "TARGETS", "label", "phrase"]

PHRASES = {
    "5_o_Clock_Shadow": ("5 o'clock shadow", "No 5 o'clock shadow"),
    "Arched_Eyebrows": ("Arched eyebrows", "No arched eyebrows"),
    "Attractive": ("Attractive", "Not attractive"),
    "Bags_Under_Eyes": ("Bags under eyes", "No bags under eyes"),
    "Bald": ("Bald", "Not bald"),
    "Bangs": ("Bangs", "No bangs"),
    "Big_Lips": ("Big lips", "No big lips"),
    "Big_Nose": ("Big nose", "No big nose"),
    "Black_Hair": ("Black hair", "No black hair"),
    "Blond_Hair": ("Blond hair", "No blond hair"),
    "Blurry": ("Blurry", "Not blurry"),
    "Brown_Hair": ("Brown hair", "No brown hair"),
    "Bushy_Eyebrows": ("Bushy eyebrows", "No bushy eyebrows"),
    "Chubby": ("Chubby", "Not chubby"),
    "Double_Chin": ("Double chin", "No double chin"),
    "Eyeglasses": ("Eyeglasses", "No eyeglasses"),
    "Goatee": ("Goatee", "No goatee"),
    "Gray_Hair": ("Gray hair", "No gray hair"),
    "Heavy_Makeup": ("Heavy makeup", "No heavy makeup"),
    "High_Cheekbones": ("High cheekbones", "No high cheekbones"),
    "Male": ("Male", "Not male"),
    "Mouth_Slightly_Open": ("Mouth slightly open", "Mouth closed"),
    "Mustache": ("Mustache", "No mustache"),
    "Narrow_Eyes": ("Narrow eyes", "No narrow eyes"),
    "No_Beard": ("No beard", "Beard"),
    "Oval_Face": ("Oval face", "No oval face"),
    "Pale_Skin": ("Pale skin", "No pale skin"),
    "Pointy_Nose": ("Pointy nose", "No pointy nose"),
    "Receding_Hairline": ("Receding hairline", "No receding hairline"),
    "Rosy_Cheeks": ("Rosy cheeks", "No rosy cheeks"),
    "Sideburns": ("Sideburns", "No sideburns"),
    "Smiling": ("Smiling", "Not smiling"),
    "Straight_Hair": ("Straight hair", "No straight hair"),
    "Wavy_Hair": ("Wavy hair", "No wavy hair"),
    "Wearing_Earrings": ("Wearing earrings", "No earrings"),
    "Wearing_Hat": ("Wearing hat", "No hat"),
    "Wearing_Lipstick": ("Wearing lipstick", "Not wearing lipstick"),
    "Wearing_Necklace": ("Wearing necklace", "Not wearing necklace"),
    "Wearing_Necktie": ("Wearing necktie", "Not wearing necktie"),
    "Young": ("Young", "Not young"),
}
"""For each attribute, in CelebA's order, the words for a positive score and for a negative one."""

ATTRIBUTES = tuple(PHRASES)
STARTS = {"near_zero": "near zero", "default": "as torch does"}
"""How g's last layer starts."""

TARGETS = ("Attractive", "Heavy_Makeup", "Male", "Young")
"""The attributes that the paper explains: what describes a face as a whole."""


def phrase(attribute: str, score: float) -> str:
    """Say what a score means: a positive one that the attribute is there.

    Parameters
    ----------
    attribute : str
        One of `ATTRIBUTES`.
    score : float
        y, a logit.

    Notes
    -----
    The paper's own wording varies ("No chubby" and "Not chubby", "Wear lipstick" and "Wearing
    lipstick"); here each attribute has one. ``No_Beard`` is positive where there is no beard.
    """
    there, absent = PHRASES[one_of("attribute", attribute, ATTRIBUTES)]
    return there if score > 0 else absent


def label(attribute: str) -> str:
    """Name an attribute in a figure or table."""
    return PHRASES[one_of("attribute", attribute, ATTRIBUTES)][0]
