"""The studio: a picture that the reader edits, what the network really makes of it, and what was foretold.

``studio.explore(studio.animals(...))``
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from semquant.explanation import UNASSIGNED
from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.layers import Layer, layered
from semquant_book.datasets.names import ATTRIBUTES, GROUPS, PHRASES, label
from semquant_book.views.explorer import HEAT
from semquant_book.views.widgets import View, address, colours, pack, picture

__all__ = ["Studio", "animal_studio", "drawn", "face_studio"]

METHODS = ["ours", "baseline", "gradient times input", "corrected"]  # as engine.mjs calls them
FEW = 8  # numbers of a layer that are packed with how often they follow each other
ACROSS = 8  # pictures of a face side by side on its sheet
HEAD = ("head", "ear", "eye", "mouth & nose")  # what goes when the tour takes the head away


class Studio(View, script="engine picture studio"):
    """Take a picture apart, and see the network's real answer beside what each explanation had foretold."""


def animal_studio(title: str, category: str, network: dict, names: Sequence[str], note: str = "") -> Studio:
    """Return the studio of a network that recognises a category, as `portable.of_animals` packs it, with
    drawn animals, by their names in `Images.ids`."""
    kinds = [name.partition("/")[0] for name in names]
    rows = [{"name": group, "group": group, "members": _members(network, group)} for group in GROUPS
            if any(group == animals.GROUP_OF[part] for kind in kinds for part in animals.PARTS_OF[kind])]
    if -1 in network["groups"]:
        rows.append({"name": UNASSIGNED, "group": None, "members": _members(network, UNASSIGNED)})
    paints = colours([row["name"] for row in rows])
    return Studio(data={
        "kind": "animals", "title": title, "category": category, "network": network, "note": note,
        "says": [f"“{category}”", f"“no {category}”"], "lead": list(HEAD), "filters": len(network["groups"]),
        "methods": METHODS, "rows": [row | {"colour": paints["parts"][row["name"]]} for row in rows],
        "colours": paints, "heat": pack(HEAT, "u1"), "pictures": [
            {"label": f"drawn {kind} {1 + kinds[:k].count(kind)}", "drawn": drawn(name, network["size"]),
             "small": picture(animals.render(*animals.parse_id(name), size=96)[0], 96)}
            for k, (kind, name) in enumerate(zip(kinds, names))]})


def face_studio(title: str, target: str, network: dict, faces: Sequence[tuple[Tensor, Sequence[bool]]],
                flips: Sequence[str], lead: str, note: str = "") -> Studio:
    """Return the studio of a network of 40 attributes, as `portable.of_faces` packs it, with drawn faces.

    Of each face there are its pictures with every set of `flips` turned to its opposite, (2^P, 3, S, S) uint8
    in the order of `truth.coalition_values`, the last one as it is, and which of these attributes it has.
    The tour flips `lead`, one of them.
    """
    concepts = [ATTRIBUTES[i] for i in network["concepts"]]
    others = [i for i, name in enumerate(concepts) if name not in flips]
    rows = [{"name": label(name).lower(), "group": name, "members": [concepts.index(name)], "colour": None,
             "called": PHRASES[name]} for name in flips if name in concepts]
    rows.append({"name": f"the other {len(others)}", "group": None, "members": others, "colour": None})
    return Studio(data={
        "kind": "faces", "title": title, "category": label(target).lower(), "network": network, "note": note,
        "says": [f"“{words[0].lower() + words[1:]}”" for words in PHRASES[target]], "lead": [lead],
        "filters": 0, "methods": list(network["explainers"]), "rows": rows, "colours": colours(), "heat": pack(HEAT, "u1"),
        "pictures": [{"label": f"drawn face {k + 1}", "sheet": _sheet(pictures), "across": ACROSS,
                      "size": pictures.shape[-1], "has": [bool(one) for one in has], "flips": list(flips),
                      "small": picture(pictures[-1], 96)} for k, (pictures, has) in enumerate(faces)]})


def _sheet(pictures: Tensor) -> str:
    """Pictures (n, 3, S, S) side by side on one sheet, as a ``data:`` address of a WebP without loss."""
    n, _, size, _ = pictures.shape
    rows = -(-n // ACROSS)
    sheet = np.zeros((rows * size, ACROSS * size, 3), np.uint8)
    for k, one in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
        y, x = k // ACROSS * size, k % ACROSS * size
        sheet[y : y + size, x : x + size] = one
    return address(Image.fromarray(sheet), "webp", lossless=True, quality=100, method=6)


def _members(network: dict, group: str) -> list[int]:
    """The filters that are named after a part group, or after none."""
    names = [*network["names"], UNASSIGNED]  # -1 is the last
    return [i for i, place in enumerate(network["groups"]) if names[place] == group]


def drawn(name: str, size: int) -> dict:
    """Pack a drawn animal, by its name in `Images.ids`, as picture.mjs reads it: layers, and their light."""
    found = layered(*animals.parse_id(name), size=size)
    boxes = [_box(layer.pixels) for layer in found.layers]
    runs = [_runs(layer.pixels[y : y + h, x : x + w]) for layer, (x, y, w, h) in zip(found.layers, boxes)]
    grain = (found.grain + 4).astype(np.uint8).ravel()
    return {"size": size, "layers": [_about(*each) for each in zip(found.layers, boxes)],
            "runs": pack(np.concatenate(runs), "u1"), "sky": [list(found.high), list(found.low)],
            "light": found.light, "slope": list(found.slope),
            "grain": pack(grain[::2] | grain[1::2] << 4, "u1")}  # two numbers to a byte


def _about(layer: Layer, box: list[int]) -> dict:
    return {"part": layer.part, "group": animals.GROUP_OF.get(layer.part), "box": box, "n": int(layer.pixels.max()) + 1,
            "colours": "".join(f"{part:02x}" for colour in layer.colours for part in colour)}


def _box(pixels: np.ndarray) -> list[int]:
    """Where something is painted: x, y, width, height."""
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def _runs(pixels: np.ndarray) -> np.ndarray:
    """Numbers row by row as bytes. Of n different ones, up to 8, a byte has a number, plus n for each time that
    it follows itself; of more, it is a number, and the next byte says how often that follows itself."""
    flat, n = pixels.ravel().astype(int), int(pixels.max()) + 1
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    most = 256 // n if n <= FEW else 256
    found: list[int] = []
    for start, end in zip(starts, [*starts[1:], len(flat)]):
        while start < end:
            again, value = min(end - start, most) - 1, flat[start]
            found += [value + n * again] if n <= FEW else [value, again]
            start += again + 1
    return np.array(found, np.uint8)
