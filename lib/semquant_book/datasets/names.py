"""Every list of names once; the 40 face attributes of CelebA in words.

Imports nothing heavy: settings, paths and the workflow ask here.
"""

from __future__ import annotations

from semquant.checks import one_of

__all__ = ["ARCHITECTURES", "ATTRIBUTES", "CATEGORIES", "CONTROLS", "GROUPS", "LAST_LAYERS", "METHODS",
           "PHRASES", "SCALES", "SPLITS", "STARTS", "TARGETS", "TRUNK",
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

METHODS = ("ours", "baseline")
"""What is compared: g fitted with a prior of w, and without."""

CONTROLS = ("shuffled", "constant", "permuted", "centred")
"""What is fitted beside the methods in Experiment 2, to see what they owe to x, y and w."""

VARIANTS = ("relative",)
"""Ours, with the distillation loss in units of the scores' variance."""

SCALES = ("literal", "scaled")
"""Readings of y: as it is, or so that sum(alpha y) starts near std(yhat)."""

STARTS = {"near_zero": "near zero", "default": "as torch does"}
"""How g's last layer starts, in words."""

LAST_LAYERS = tuple(STARTS)

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
TARGETS = ("Attractive", "Heavy_Makeup", "Male", "Young")
"""The attributes that the paper explains: what describes a face as a whole."""


def phrase(attribute: str, score: float) -> str:
    """Say what a score y, a logit, means: a positive one that the attribute is there. The paper's
    own wording varies ("No chubby" and "Not chubby", "Wear lipstick" and "Wearing lipstick"); here
    each attribute has one. ``No_Beard`` is positive where there is no beard."""
    there, absent = PHRASES[one_of("attribute", attribute, ATTRIBUTES)]
    return there if score > 0 else absent


def label(attribute: str) -> str:
    """Name an attribute in a figure or table."""
    return PHRASES[one_of("attribute", attribute, ATTRIBUTES)][0]
