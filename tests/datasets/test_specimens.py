"""Specimens of the real data: what is written is read, in the official structure, and is right."""

import time
from collections import Counter

import numpy as np
import pytest
import scipy.io
from PIL import Image

from semquant.checks import InputError
from semquant_book.datasets import celeba, pascal_part
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.specimens import WITHIN, write_celeba, write_pascal_part

TARGETS = ("Attractive", "Heavy_Makeup", "Male", "Young")


@pytest.fixture(scope="module")
def dogs(tmp_path_factory):
    return write_pascal_part(tmp_path_factory.mktemp("dogs"))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("people"), train=8, val=4, test=3)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def annotations(folder):
    return sorted((folder / "VOC2010" / "Annotations_Part").glob("*.mat"))


def drawn_masks(file):
    """Return {part name: mask (H, W) bool}, and the object's mask."""
    item = scipy.io.loadmat(file)["anno"][0, 0]["objects"][0, 0]
    return {p["part_name"].item(): p["mask"] > 0 for p in item["parts"].ravel()}, item["mask"] > 0


# Pascal-Part.


def test_animals_are_read(dogs):
    index = pascal_part.scan(dogs, "dog")
    assert index.counts == Counter(objects=12, photos=12, partless=1, negatives=8)
    assert index.negatives_from == "neg/"
    images = pascal_part.load(index, size=32)
    assert images.kinds == ["dog"] * 12 + ["background"] * 8
    assert images.masks[12:].sum() == 0
    assert len(content(dogs)) == 12 + 12 + 8


def test_each_split_of_five_seeds_has_both(dogs):
    index = pascal_part.scan(dogs, "dog")
    for seed in range(5):
        counts = Counter((c.positive, pascal_part.split_of(c.id, seed)) for c in index.crops)
        assert {split for positive, split in counts if positive} == set(pascal_part.SPLITS)
        assert {split for positive, split in counts if not positive} == set(pascal_part.SPLITS)
        assert 6 <= counts[True, "train"] <= 8
    for crop in index.crops:  # and each picture takes its turn in all of them
        assert {pascal_part.split_of(crop.id, s) for s in range(5)} == set(pascal_part.SPLITS)
    for split in pascal_part.SPLITS:
        assert 0 < pascal_part.load(index, split, size=32).positive.sum() < 12


def test_structure_is_the_official_one(dogs):
    for i, file in enumerate(annotations(dogs)):
        # mat_dtype: by MATLAB's classes, as in the official files: logical masks, double numbers
        found = scipy.io.loadmat(file, mat_dtype=True)["anno"]
        assert found.shape == (1, 1) and found.dtype.names == ("imname", "objects")
        name, objects = found[0, 0]
        assert name.shape == (1,) and name.item() == file.stem and file.stem.startswith("2008_")
        assert objects.shape == (1, 1)
        assert objects.dtype.names == ("class", "class_ind", "mask", "parts")
        kind, number, mask, parts = objects[0, 0]
        assert kind.item() == "dog" and number.dtype == float and number.tolist() == [[12]]
        assert mask.shape == (256, 256) and mask.dtype == bool
        assert parts.dtype.names == ("part_name", "mask")
        assert parts.shape == ((1, parts.size) if i else (0, 0)) and bool(parts.size) == bool(i)
        for part, part_mask in parts.ravel():
            assert part.item() in pascal_part.PARTS["dog"]
            assert part_mask.shape == (256, 256) and part_mask.dtype == bool and part_mask.any()


def test_masks_lie_on_the_drawing(dogs):
    for i, file in enumerate(annotations(dogs)):
        photo = np.array(Image.open(dogs / "VOC2010" / "JPEGImages" / f"{file.stem}.jpg"), int)
        empty, _ = animals.render("dog", 0, "train", i, 256, without=animals.PARTS_OF["dog"])
        parts, whole = drawn_masks(file)
        changed = np.abs(photo - empty).max(axis=2) > 24  # beyond what JPEG changes
        assert changed[whole].mean() > 0.85
        assert changed[~whole].mean() < 0.01
        if parts:
            assert np.array_equal(np.any(list(parts.values()), axis=0), whole)
            assert parts["torso"].mean() > 0.02


def test_parts_hold_what_lies_on_them(dogs):
    """As in the official files: eyes, ears, nose and muzzle in the head, a paw in its leg."""
    pairs = [("leye", "head"), ("reye", "head"), ("lear", "head"), ("rear", "head"),
             ("muzzle", "head"), ("nose", "head"), ("nose", "muzzle"), ("lfpa", "lfleg"),
             ("rbpa", "rbleg")]
    seen = set()
    for file in annotations(dogs):
        parts, _ = drawn_masks(file)
        for inner, outer in pairs:
            if inner in parts and outer in parts:
                assert not (parts[inner] & ~parts[outer]).any(), (inner, outer)
                seen.add((inner, outer))
    assert seen == set(pairs)


def test_crops_have_their_parts(dogs):
    images = pascal_part.load(pascal_part.scan(dogs, "dog"), size=64)
    masks = images.group_masks()
    assert masks[0].sum() == 0  # the object without parts
    assert 0.3 < masks[1:12].amax(1).mean() < 1  # of the box, the animal
    for group in ("eye", "mouth & nose", "ear", "head", "torso", "leg"):
        assert (masks[1:12, images.groups.index(group)].sum((1, 2)) > 0).sum() >= 6, group
    assert masks[:, images.groups.index("wing")].sum() == 0


@pytest.mark.parametrize("category", pascal_part.CATEGORIES)
def test_no_part_is_dropped(tmp_path, category):
    """A drawn part that Pascal-Part has not would be lost, one that holds others not whole."""
    assert set(animals.PARTS_OF[category]) <= set(pascal_part.PARTS[category])
    write_pascal_part(tmp_path, category, photos=3, negatives=1, size=128, seed=2)
    assert pascal_part.scan(tmp_path, category).counts["objects"] == 3
    for i, file in list(enumerate(annotations(tmp_path)))[1:]:
        _, labels = animals.render(category, 2, "train", i, 128)
        parts, _ = drawn_masks(file)
        assert set(parts) == {animals.PARTS[n - 1] for n in np.unique(labels[labels > 0])}
        for part, mask in parts.items():
            own = (part, *(p for p in WITHIN.get(part, ()) if p in animals.PARTS))
            numbers = [animals.PARTS.index(p) + 1 for p in own]
            assert np.array_equal(mask, np.isin(labels, numbers))


def test_several_categories_in_one_folder(tmp_path):
    for category in ("cat", "dog"):
        write_pascal_part(tmp_path, category, photos=2, negatives=1, size=128)
    for category in ("cat", "dog"):
        assert pascal_part.scan(tmp_path, category).counts["objects"] == 2
    assert len(content(tmp_path)) == 4 + 4 + 1


def test_negatives_show_no_animal(dogs):
    photos = sorted((dogs / "neg").iterdir())
    assert len(photos) == 8
    for i, photo in enumerate(photos):
        picture, labels = animals.render("background", 0, "train", i, 256)
        assert not labels.any()
        assert np.abs(np.array(Image.open(photo), int) - picture).mean() < 4


# CelebA.


def test_faces_are_read(people):
    index = celeba.scan(people)
    assert index.present == index.listed == {"train": 8, "val": 4, "test": 3}
    assert index.files["train"][0] == "000001.jpg" and index.files["test"][-1] == "000015.jpg"
    assert not index.strays
    loaded = celeba.load(index, "test", size=32, workers=1)
    assert len(loaded) == 3 and loaded.names == faces.ATTRIBUTES


def test_lists_are_in_the_official_format(people):
    text = (people / "celeba" / "list_attr_celeba.txt").read_text()
    count, names, first, *rest = text.split("\n")
    assert count == "15" and names.split() == list(faces.ATTRIBUTES)
    name, *values = first.split()
    assert name == "000001.jpg" and set(values) == {"1", "-1"}
    assert len(first) == len(name) + 40 * 3 and len(rest) == 14 + 1  # " 1" is as wide as "-1"
    for file in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        raw = (people / "celeba" / file).read_bytes()
        assert raw.count(b"\r\n") == raw.count(b"\n") and raw.endswith(b"\r\n")
    lines = (people / "celeba" / "list_eval_partition.txt").read_text().splitlines()
    assert lines[0] == "000001.jpg 0" and lines[8] == "000009.jpg 1" and lines[-1][-1] == "2"


def test_attributes_and_pictures_are_the_drawn_ones(tmp_path):
    """Faces with a listed row's attributes exist among the drawn; the central square is theirs."""
    write_celeba(tmp_path, 3, 2, 2, seed=3)
    index = celeba.scan(tmp_path)
    for split in celeba.SPLITS:
        loaded = celeba.load(index, split, size=178, workers=1)
        known = [faces.attributes_of(3, split, i) for i in range(300)]
        for image, has in zip(loaded.images, loaded.attributes.numpy(), strict=True):
            same = [i for i, other in enumerate(known) if np.array_equal(has, other)]
            assert same
            picture = image.permute(1, 2, 0).numpy().astype(int)
            assert min(np.abs(picture - faces.render(3, split, i, 178)).mean()
                       for i in same) < 4


def test_drawing_fills_the_central_square(people):
    photo = np.array(Image.open(people / "celeba" / "img_align_celeba" / "000001.jpg"), int)
    assert photo.shape == (218, 178, 3)
    for rows, line in ((photo[:20], photo[20]), (photo[198:], photo[197])):
        assert np.abs(rows - line).mean() < 4
    assert np.abs(photo[20:198] - photo[20]).mean() > 10


@pytest.mark.parametrize("seed", range(3))
def test_each_target_has_both_values_in_each_split(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(faces, "render", lambda *_: np.zeros((178, 178, 3), np.uint8))
    write_celeba(tmp_path, 2, 3, 4, seed)
    for rows in celeba.scan(tmp_path).attributes.values():
        for target in TARGETS:
            assert rows[:, faces.ATTRIBUTES.index(target)].unique().tolist() == [False, True]


# Both.


def test_same_bytes_twice(tmp_path, monkeypatch):
    def write(name):
        write_pascal_part(tmp_path / name, photos=3, negatives=1, size=128)
        return content(write_celeba(tmp_path / name, 2, 2, 2))

    first = write("a")
    monkeypatch.setattr(time, "asctime", lambda *_: "later")  # scipy writes it into .mat files
    assert write("b") == first and len(first) == 3 + 3 + 1 + 6 + 2


def test_another_seed_has_other_pictures(tmp_path):
    made = []
    for seed in (0, 1):
        folder = write_pascal_part(tmp_path / str(seed), "cat", 2, 1, size=128, seed=seed)
        made.append(content(write_celeba(folder, 2, 2, 2, seed)))
    assert made[0].keys() == made[1].keys()
    pictures = [name for name in made[0] if name.endswith((".jpg", ".mat"))]
    assert len(pictures) == 2 + 2 + 1 + 6
    assert all(made[0][name] != made[1][name] for name in pictures)


def test_nothing_is_written_over(tmp_path):
    write_pascal_part(tmp_path, photos=2, negatives=1, size=128)
    write_celeba(tmp_path, 2, 2, 2)
    before = content(tmp_path)
    write_pascal_part(tmp_path, photos=2, negatives=1, size=128)  # the same once more
    write_celeba(tmp_path, 2, 2, 2)
    with pytest.raises(InputError, match="is there already and differs; accepted: a new folder"):
        write_pascal_part(tmp_path, photos=2, negatives=1, size=128, seed=1)
    with pytest.raises(InputError, match="list_attr_celeba.txt is there already"):
        write_celeba(tmp_path, 2, 2, 3)
    assert content(tmp_path) == before


@pytest.mark.parametrize("write, wrong, message", [
    (write_pascal_part, {"category": "fox"}, "category: 'fox' is not one of bird, cat"),
    (write_pascal_part, {"photos": 1}, "photos: 1 is not a whole number of at least 2"),
    (write_pascal_part, {"negatives": 0}, "negatives: 0 is not"),
    (write_pascal_part, {"size": 127}, "size: 127 is not a whole number from 128 to 1024"),
    (write_pascal_part, {"seed": -1}, "seed: -1"),
    (write_celeba, {"train": 1}, "train: 1 is not a whole number of at least 2"),
    (write_celeba, {"val": 2.5}, "val: 2.5"),
    (write_celeba, {"test": 0}, "test: 0"),
    (write_celeba, {"seed": "0"}, "seed: '0'"),
])
def test_arguments_out_of_range_are_refused(tmp_path, write, wrong, message):
    with pytest.raises(InputError) as error:
        write(tmp_path / "new", **wrong)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        write_pascal_part(tmp_path / "file", photos=2, negatives=1, size=128)
