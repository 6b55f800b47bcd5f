"""Every list of names once; the 40 face attributes of CelebA in words.

Imports nothing heavy: settings, paths and the workflow ask here.
"""

from __future__ import annotations

from semquant.checks import one_of

__all__ = ["ARCHITECTURES", "ATTRIBUTES", "BIASES", "CATEGORIES", "CONTROLS", "GROUPS", "LAST_LAYERS", "METHODS",
           "OPTIMIZERS", "PHRASES", "SCALES", "SPLITS", "STARTS", "TARGETS", "TRUNK",
           "VARIANTS", "label", "phrase"]

SPLITS = ("train", "val", "test")

ARCHITECTURES = ("alexnet", "vgg_m", "vgg_s", "vgg16")
"""The networks of Experiment 1; `semquant.networks.performers` builds them."""

TRUNK = "efficientnet_lite0"
"""One more, for photographs: pretrained and frozen, below an interpretable top."""

CATEGORIES = ("bird", "cat", "cow", "dog", "horse", "sheep")
"""The animals of Experiment 1."""

GROUPS = ("eye", "mouth & nose", "ear", "head", "torso", "leg", "tail", "wing")
"""What the parts of an animal are put together to, drawn or photographed. Table 3 of
the paper lists the first three, torso and leg."""

# of Pascal-Part's names without a side; all others are of a leg
_GROUPED = {**dict.fromkeys(("nose", "muzzle", "beak"), "mouth & nose"), "horn": "head",
            "neck": "torso", **{group: group for group in GROUPS}}

METHODS = ("ours", "baseline")
"""What is compared: g fitted with a prior of w, and without."""

CONTROLS = ("shuffled", "constant", "permuted", "centred")
"""What is fitted beside the methods in Experiment 2, to see what they owe to x, y and w."""

VARIANTS = ("relative",)
"""Ours, with the distillation loss in units of the scores' variance."""

SCALES = ("literal", "scaled")
"""Readings of y: as it is, or so that sum(alpha y) starts near std(yhat)."""

OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
"""What explainers are fitted with, in words; SGD has a momentum of 0.9."""

BIASES = {"zero": "0", "min": "the smallest score", "mean": "the mean score"}
"""Where b starts, in words."""

STARTS = {"near_zero": "near zero", "default": "as torch does"}
"""How g's last layer starts, in words."""

LAST_LAYERS = tuple(STARTS)

ATTRIBUTES = tuple(
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard "
    "Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair "
    "Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie "
    "Young".split())  # in CelebA's order

# absent ones have "No" before their name, but for these
_NOT = ("Attractive", "Bald", "Blurry", "Chubby", "Male", "Smiling", "Wearing_Lipstick",
        "Wearing_Necklace", "Wearing_Necktie", "Young")
_ABSENT = {"Mouth_Slightly_Open": "Mouth closed", "No_Beard": "Beard", "Wearing_Hat": "No hat",
           "Wearing_Earrings": "No earrings"}


def _words(attribute: str) -> tuple[str, str]:
    words = attribute.replace("_o_Clock", "_o'clock").replace("_", " ").lower()
    absent = _ABSENT.get(attribute, f"{'Not' if attribute in _NOT else 'No'} {words}")
    return words[0].upper() + words[1:], absent


PHRASES = {attribute: _words(attribute) for attribute in ATTRIBUTES}
"""For each attribute, in CelebA's order, the words for a positive score and for a negative one."""

TARGETS = ("Attractive", "Heavy_Makeup", "Male", "Young")
"""The attributes that the paper explains: what describes a face as a whole."""


def phrase(attribute: str, score: float) -> str:
    """Say what a score y, a logit, means: a positive one that the attribute is there. The paper's
    own wording varies ("No chubby" and "Not chubby", "Wear lipstick" and "Wearing lipstick"); here
    each attribute has one. ``No_Beard`` is positive where there is no beard."""
    there, absent = PHRASES[one_of("attribute", attribute, ATTRIBUTES)]
    return there if score > 0 else absent


def group_of(part: str) -> str:
    """Return the group of one of Pascal-Part's parts. The paper publishes no such table; horns
    count as head."""
    return _GROUPED.get(part) or _GROUPED.get(part[1:], "leg")


def label(attribute: str) -> str:
    """Name an attribute in a figure or table."""
    return PHRASES[one_of("attribute", attribute, ATTRIBUTES)][0]
