"""What the studio packs: drawings layer by layer, rows of parts or attributes, faces without loss."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from packed import unpacked
from PIL import Image

from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.layers import layered
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.views import studio

GROUPS = ("eye", "ear", "head", "torso")
NETWORK = {"size": 64, "names": list(GROUPS), "groups": [3, 0, -1, 3, 1, -1]}


def read(packed):
    """The layers' pixels again, as picture.mjs reads them."""
    values, side = iter(unpacked(packed["runs"]).tolist()), 2 * packed["size"]
    for layer in packed["layers"]:
        (x, y, width, height), n, found = layer["box"], layer["n"], []
        while len(found) < width * height:
            byte = next(values)
            found += [byte % n] * (1 + byte // n) if n <= 8 else [byte] * (1 + next(values))
        pixels = np.zeros((side, side), np.uint8)
        pixels[y : y + height, x : x + width] = np.array(found).reshape(height, width)
        yield layer, pixels
    assert next(values, None) is None


@pytest.mark.parametrize("name", ["dog/0/test/0", "sheep/3/val/2", "background/0/test/1"])
def test_a_drawing_is_packed_whole(name):
    packed, found = studio.drawn(name, 64), layered(*animals.parse_id(name))
    json.dumps(packed)  # plain values only
    for (layer, pixels), wanted in zip(read(packed), found.layers, strict=True):
        assert layer["part"] == wanted.part and layer["group"] == animals.GROUP_OF.get(wanted.part)
        assert layer["colours"] == "".join("%02x%02x%02x" % colour for colour in wanted.colours)
        np.testing.assert_array_equal(pixels, wanted.pixels)
    nibbles = unpacked(packed["grain"])
    np.testing.assert_array_equal(np.stack([nibbles & 15, nibbles >> 4], axis=1).reshape(64, 64).astype(int) - 4, found.grain)


def test_a_drawing_takes_few_bytes(record_property):
    sizes = [len(json.dumps(studio.drawn(f"{kind}/0/test/{i}", 64))) for kind in animals.KINDS for i in range(3)]
    record_property("figure", f"bytes of a drawing to take apart: {max(sizes):,} at most")
    assert max(sizes) < 12_000


def test_animals_have_a_row_for_each_part_and_for_filters_without_a_name():
    data = studio.animal_studio("AlexNet", "dog", NETWORK, ["dog/0/test/0", "bird/0/test/0"], "A note.").data
    json.dumps(data)
    rows = {row["name"]: row for row in data["rows"]}
    assert list(rows) == ["eye", "mouth & nose", "ear", "head", "torso", "leg", "tail", "wing", "unassigned"]
    assert rows["torso"]["members"] == [0, 3] and rows["head"]["members"] == rows["wing"]["members"] == []
    assert rows["unassigned"]["members"] == [2, 5] and rows["unassigned"]["group"] is None
    assert [one["label"] for one in data["pictures"]] == ["drawn dog 1", "drawn bird 1"]
    without = studio.animal_studio("AlexNet", "dog", NETWORK | {"groups": [3, 0]}, ["dog/0/test/0"]).data
    assert "unassigned" not in [row["name"] for row in without["rows"]]
    assert "wing" not in [row["name"] for row in without["rows"]]  # a dog has none


def test_faces_come_without_loss_and_with_the_attributes_that_they_have():
    pictures = torch.randint(256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    concepts = [i for i, name in enumerate(ATTRIBUTES) if name != "Male"]
    network = {"size": 32, "concepts": concepts, "explainers": {"ours": {}, "baseline": {}}}
    flips = ["Smiling", "Eyeglasses", "No_Beard"]
    data = studio.face_studio("VGG-16", "Male", network, [(pictures, [True, False, True])], flips, "No_Beard").data
    json.dumps(data)
    (face,) = data["pictures"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(face["sheet"].partition(",")[2]))))
    for k, one in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
        y, x = k // face["across"] * 32, k % face["across"] * 32
        np.testing.assert_array_equal(sheet[y : y + 32, x : x + 32], one)
    assert face["has"] == [True, False, True] and data["lead"] == ["No_Beard"]
    rows = data["rows"]
    assert [row["group"] for row in rows] == [*flips, None]
    names = [ATTRIBUTES[i] for i in concepts]
    assert [[names[i] for i in row["members"]] for row in rows[:3]] == [[name] for name in flips]
    assert sorted(i for row in rows for i in row["members"]) == list(range(39))
