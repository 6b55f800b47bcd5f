"""The explanation explorer: a score as a sum of contributions, to look at and to change.

``explorer.explore(explorer.case("my network", images, {"ours": explanation}))``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.checks import InputError
from semquant.explanation import UNASSIGNED, Explanation
from semquant.shown import pictures as shown_pictures
from semquant_book.figures.style import array
from semquant_book.views.widgets import View, colours, pack, picture

__all__ = ["ExplanationExplorer", "case", "explore", "together"]

MASK_SIZE = 64  # pixels a side that masks of parts are kept at
SMALL = 96  # and drawings of a changed image are shown at
HEAT = (np.array([plt.get_cmap("inferno")(0.25 + 0.7 * i / 255)[:3] for i in range(256)])
        * 255).round()  # as `style.overlay` colours a heat map


class ExplanationExplorer(View, script="network explanation"):
    """Choose a network and an image; see the photo, the contributions, and what they add up to.

    Concepts can be switched off and their weights scaled; the explained score follows, with or
    without a kernel, and beside it what the network itself says then, where that was recorded.
    """

    caption = "What each concept contributes to a score: as it is, or with concepts switched off or scaled."


def case(title: str, images: ArrayLike | Tensor | None, methods: Mapping[str, Explanation], *,
         undo: object = None, experiment: str = "", says: Sequence[str] | None = None,
         assignment: Sequence[int] | Tensor | None = None, groups: Sequence[str] = (),
         maps: Tensor | None = None, masks: Tensor | None = None, heatmaps: Tensor | None = None,
         phrases: Sequence[tuple[str, str]] | None = None, labels: Sequence[str] | None = None,
         share: float = 1.0, reasons: int = 3, note: str = "", reading: str = "",
         others: Mapping[str, Mapping[str, Explanation]] | None = None,
         coalitions: Tensor | None = None, flipped: Tensor | None = None,
         drawings: Sequence[Mapping[int, tuple[str, ArrayLike]]] | None = None) -> dict:
    """Pack explanations of B images by one network for `explore`; InputError if parts don't fit.

    `images` (B, 3, H, W) or (B, H, W, 3) are shown at 192 pixels, without their normalisation if
    `undo` says how to take it back (see `semquant.shown.shown`); those that can't be shown as they are
    are stretched, and the view says so. None for photographs that may not be shown. `methods` explain
    the same n concepts; the first orders them, and each keeps its own y where that differs. `others`
    are the same in other readings of y's scale, beside `reading`, which is shown first.

    `assignment` (n,) has the part group of each concept, -1 for none: contributions are summed
    by group and shown as pies; without it each concept has a signed bar. `maps` (B, n, h, w),
    which show where above 0, `masks` of the parts (B, P, H, W) from 0 to 1, and `heatmaps` of
    Grad-CAM (B, H, W) lie over the images. `says` is what a score above 0 and one below say, for
    networks that decide at 0 (not those of several classes, whose largest score decides),
    `phrases` the same of each concept's value. The most important reasons are as few as make up
    `share` of all contributions, at most `reasons` of them, see `Explanation.top`.

    What the network itself says without a concept: `coalitions` (B, 2^P), its scores as
    `truth.coalition_values` gives them, of the groups that have concepts, in their order, those of
    no group last; or `flipped` (B, n), its score of the image with one concept turned to its
    opposite, NaN where there is none, of which `drawings` show some: for each image by concept the
    words and the picture.
    """
    if not methods:
        raise InputError("methods: none is given; accepted: one explanation or more, by name")
    first = next(iter(methods.values()))
    count, n = first.y.shape
    pictures = None
    if images is not None:
        found = shown_pictures(images if isinstance(images, Tensor) else np.asarray(images), undo)
        pictures = found.pixels
        note += f" Pictures: {found.note}." if found.note else ""
    others = others or {}
    for name, got, wanted in (
        *((f"methods[{m!r}]", tuple(e.y.shape), (count, n)) for m, e in methods.items()),
        *((f"others[{r!r}]", list(found), list(methods)) for r, found in others.items()),
        *((f"others[{r!r}][{m!r}]", tuple(e.y.shape), (count, n))
          for r, found in others.items() for m, e in found.items()),
        ("images", None if pictures is None else len(pictures), count),
        ("maps", None if maps is None else tuple(maps.shape[:2]), (count, n)),
        ("masks", None if masks is None else tuple(masks.shape[:2]), (count, len(groups))),
        ("heatmaps", None if heatmaps is None else len(heatmaps), count),
        ("phrases", None if phrases is None else len(phrases), n),
        ("labels", None if labels is None else len(labels), count),
        ("flipped", None if flipped is None else tuple(flipped.shape), (count, n)),
        ("drawings", None if drawings is None else len(drawings), count)):
        if got is not None and got != wanted:
            raise InputError(f"{name}: {got} does not fit {wanted}, of {count} images and {n} concepts")
    if others and not reading:
        raise InputError("reading: '' is empty; accepted: what `methods` are called beside the others")
    packed = {
        "title": title, "experiment": experiment, "says": says and list(says), "note": note,
        "share": share, "reasons": reasons,
        "pictures": None if pictures is None else [picture(image) for image in pictures],
        "labels": list(labels or (f"image {i + 1}" for i in range(count))),
        "yhat": pack(first.yhat), "y": pack(first.y), "names": list(first.names),
        # lists: a notebook's file keeps no order of names
        "reading": reading, "methods": _methods(methods, first.y),
        "others": [{"name": name, "methods": _methods(found, first.y)} for name, found in others.items()],
        "phrases": None if phrases is None else [list(pair) for pair in phrases],
        "groups": None, "maps": None, "masks": None, "coalitions": None,
        "flipped": None if flipped is None else pack(flipped),
        "drawings": None if drawings is None else [
            [[k, words, picture(image, SMALL)] for k, (words, image) in some.items()] for some in drawings],
        "heat": None if heatmaps is None or images is None else _relative(heatmaps)}
    if assignment is not None:
        first.merge(assignment, groups)  # checks it
        part = np.array([int(p) for p in assignment])
        names = [*groups, UNASSIGNED]
        part[part < 0] = len(groups)
        there = [p for p in range(len(names)) if (part == p).any()]  # groups that have concepts
        packed["groups"] = [names[p] for p in there]
        packed["part"] = pack(np.array([there.index(p) for p in part]), "u1")
        if masks is not None and images is not None:
            packed["masks"] = _bits(masks, [p for p in there if p < len(groups)])
    if coalitions is not None:
        wanted = (count, 2 ** len(packed["groups"] or ()))
        if tuple(coalitions.shape) != wanted or packed["groups"] is None:
            raise InputError(f"coalitions: {tuple(coalitions.shape)} does not fit {wanted}, all "
                             f"coalitions of {packed['groups'] or 'no groups'}")
        packed["coalitions"] = pack(coalitions)
    if maps is not None and images is not None:
        packed["maps"] = _relative(maps.clamp_min(0))
    return packed


def _methods(explanations: Mapping[str, Explanation], y: Tensor) -> list[dict]:
    """Pack explanations; those with the same values of the concepts share them."""
    return [{"name": name, "alpha": pack(e.alpha), "bias": e.bias,
             "y": None if e.y.equal(y) else pack(e.y)} for name, e in explanations.items()]


def _relative(maps: Tensor | ArrayLike) -> dict:
    """Pack maps (..., h, w) of at least 0: whole numbers to 255, and what 255 stands for."""
    maps = np.clip(array(maps), 0, None)
    peak = maps.max(axis=(-2, -1))
    scaled = 255 * maps / np.where(peak > 0, peak, 1)[..., None, None]
    return {"values": pack(scaled.round(), "u1"), "peak": pack(peak)}


def _bits(masks: Tensor, chosen: Sequence[int]) -> dict:
    """Pack masks (B, P, H, W): one number a pixel whose bit k says whether group chosen[k] is there."""
    from torch.nn import functional
    small = functional.interpolate(masks.float(), size=(MASK_SIZE, MASK_SIZE), mode="area")
    there = array(small)[:, list(chosen)] >= 0.5
    bits = (there * (1 << np.arange(len(chosen)))[:, None, None]).sum(1)
    return pack(bits, "u2")


def explore(*cases: dict) -> ExplanationExplorer:
    """Return the explorer of one or more cases, see `case`."""
    return ExplanationExplorer(data=together(*cases))


def together(*cases: dict) -> dict:
    """Return an explorer's data for one or more cases; pictures that they share are kept once."""
    if not cases:
        raise InputError("cases: none is given; accepted: one or more, made by explorer.case")
    pictures: dict[str, int] = {}
    packed = []
    for one in cases:
        places = one["pictures"] and [pictures.setdefault(address, len(pictures))
                                      for address in one["pictures"]]
        packed.append({**one, "pictures": places})
    parts = dict.fromkeys(name for one in packed for name in one["groups"] or ())
    return {"cases": packed, "pictures": list(pictures), "colours": colours(tuple(parts)),
            "heat": pack(HEAT, "u1")}
