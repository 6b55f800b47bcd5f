"""What other systems leave in folders is no data, no preset and no reason to train again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semquant import Images
from semquant_book.datasets import celeba, pascal_part, specimens
from semquant_book.folders import of_a_system, real
from semquant_book.study import presets, store

JUNK = ("._x.mat", ".DS_Store", "Thumbs.db", "desktop.ini", "._000001.jpg", "._x.yml", "._image_0001.png")


@pytest.mark.parametrize("name, left", [(name, True) for name in (*JUNK, "THUMBS.DB", "__MACOSX", "@eaDir")]
                         + [("a.mat", False), ("thumbs.jpg", False), ("desktop", False), ("_x.mat", False)])
def test_what_other_systems_leave(name, left):
    assert of_a_system(name) is left


def litter(root):
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in JUNK:
            (folder / name).write_bytes(b"\x00\x05\x16\x07")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "0.jpg").write_bytes(b"junk")


def test_paths_come_in_order_and_a_system_s_folder_is_not_looked_into(tmp_path):
    (tmp_path / ".hidden root").mkdir()
    root = tmp_path / ".hidden root"
    for name in ("b.txt", "a.txt"):
        (root / name).write_text("x")
    litter(root)
    assert [path.name for path in real((p for p in root.rglob("*") if p.is_file()), root)] == ["a.txt", "b.txt"]


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    specimens.write_pascal_part(root, "dog", photos=6, negatives=4)
    specimens.write_celeba(root, train=4, val=2, test=2)
    return root


def test_scans_and_digests_are_the_same_beside_them(data, tmp_path):
    clean = tmp_path / "clean"
    shutil.copytree(data, clean)
    litter(data)
    found, expected = (pascal_part.scan(root, "dog") for root in (data, clean))
    assert [crop.id for crop in found.crops] == [crop.id for crop in expected.crops] and found.counts == expected.counts
    faces, few = (celeba.scan(root) for root in (data, clean))
    assert faces.files == few.files and faces.strays == few.strays == []
    for patterns in store.READ.values():
        assert store.folder_digest(data, patterns) == store.folder_digest(clean, patterns)


def test_presets_are_those_of_the_book(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parents[1] / "book" / "presets", tmp_path / "book" / "presets")
    litter(tmp_path / "book" / "presets")
    monkeypatch.setenv("SEMQUANT_ROOT", str(tmp_path))
    assert presets.preset_names() == ("celeba", "cpu", "paper", "photographs", "quick", "smoke")


def test_a_folder_of_images_for_a_network_of_one_s_own(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    litter(tmp_path)
    (batch,) = Images(tmp_path).batches()
    assert torch.equal(batch[:, 0, 0, 0], torch.tensor([0, 1, 2], dtype=torch.uint8))
