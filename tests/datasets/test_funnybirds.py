"""The loader of FunnyBirds, on a tiny folder made here in the official layout and in that of a subset."""

import json

import numpy as np
import pytest
import torch
from birds import LEFT_OUT, MODELS, NUMBERS, OBJECTS, PLACES, SIDE, folder, part_map, picture

from semquant.checks import InputError
from semquant_book.datasets import funnybirds
from semquant_book.datasets.funnybirds import COLOURS, OBJECT, PARTS


@pytest.fixture(params=[True, False], ids=["official", "subset"])
def official(request):
    return request.param


@pytest.fixture
def data(tmp_path, official):
    return folder(tmp_path, official)


def test_the_lists_say_what_is_there(data, official):
    birds = funnybirds.read(data)
    assert birds.names == NUMBERS and birds.models.tolist() == [list(m) for m in MODELS]
    assert birds.suffix == (".png" if official else ".jpg")
    assert {split: len(some) for split, some in birds.birds.items()} == (
        {"train": 12, "val": 0, "test": 8} if official else {"train": 8, "val": 4, "test": 8})
    assert birds.labels("test").tolist() == [0, 1, 2, 3] * 2
    assert {bird.objects for bird in birds.birds["test"]} == {OBJECTS}
    if not official:
        assert [bird.index for bird in birds.birds["val"]] == [8, 9, 10, 11]


def test_an_image_may_show_every_class_that_has_its_parts(data):
    birds = funnybirds.read(data)
    first = birds.birds["train"][0]
    assert first.parts == 0b00011 and birds.birds["train"][1].parts == 0b11111
    shown = [p for p, part in enumerate(PARTS) if part not in LEFT_OUT]
    same = [all(MODELS[k][p] == MODELS[0][p] for p in shown) for k in range(4)]
    assert birds.possible("train")[0].tolist() == [s / sum(same) for s in same] == [0.5, 0.5, 0, 0]
    assert birds.possible("test").argmax(dim=1).equal(birds.labels("test"))
    assert birds.possible("test").max(dim=1).values.eq(1).all()


def test_images_are_those_of_the_files(data, official):
    birds = funnybirds.read(data)
    found = birds.images("test", SIDE)[:]
    for image, label in zip(found, birds.labels("test").tolist()):
        right = torch.from_numpy(picture(dict(zip(PARTS, MODELS[label])))).permute(2, 0, 1)
        assert (image.int() - right.int()).abs().float().mean() < (0.01 if official else 6)
    assert birds.images("train", 16)[:].shape == (len(birds.birds["train"]), 3, 16, 16)


def test_a_part_map_is_codes_of_colours(data):
    birds = funnybirds.read(data)
    colours, codes = part_map(dict.fromkeys(PARTS, 0)), birds.part_maps("test", SIDE)[0]
    for row in range(SIDE):
        for column in range(SIDE):
            colour = tuple(int(v) for v in colours[row, column])
            wanted = list(COLOURS).index(colour) + 1 if colour in COLOURS else 0
            wanted = OBJECT + colour[2] - 204 if colour[:2] == (204, 204) else wanted
            assert codes[row, column] == wanted
    assert len(np.unique(codes)) == 1 + len(PLACES) + OBJECTS


def test_a_render_keeps_the_parts_of_its_bit_mask(data):
    birds = funnybirds.read(data)
    bird = birds.birds["test"][1]
    paths = birds.renders(bird)
    assert len(paths) == 32 and all(path.is_file() for path in paths)
    assert paths[0b00101].stem == "body_beak_foot" and paths[0].stem == "body_"
    assert paths[-1].stem == "body_beak_eye_foot_tail_wing"
    shown = birds.decoded([paths[0b00101]], SIDE)[:][0]
    right = torch.from_numpy(picture({"beak": 0, "foot": 1})).permute(2, 0, 1)
    assert (shown.int() - right.int()).abs().float().mean() < 6


def test_objects_are_left_out_where_the_folder_has_such_images(data, official):
    birds = funnybirds.read(data)
    found = [len(birds.without_objects(bird)) for bird in birds.birds["test"]]
    assert found == [OBJECTS] * 8 if official else found == [OBJECTS] * 4 + [0] * 4
    assert [path.stem for path in birds.without_objects(birds.birds["test"][0])] == ["0", "1"]


def test_what_is_missing_is_said_in_one_line(data):
    with pytest.raises(InputError, match=r"^data: .*nowhere/FunnyBirds is not a folder; accepted: .*FunnyBirds$"):
        funnybirds.read(data / "nowhere")
    birds, root = funnybirds.read(data), data / "FunnyBirds"
    next((root / "test").rglob(f"000003{birds.suffix}")).unlink()
    with pytest.raises(InputError, match=rf"^data: 1 images are missing from .*: test/9/000003\{birds.suffix}$"):
        birds.images("test", SIDE)
    next((root / "test_part_map").rglob("000002.png")).unlink()
    with pytest.raises(InputError, match="^data: 1 images are missing from .*: test_part_map/8/000002.png$"):
        birds.part_maps("test", SIDE)
    (root / "dataset_train.json").write_text("[")
    with pytest.raises(InputError, match="^data: .*dataset_train.json is not JSON$"):
        funnybirds.read(data)
    (root / "dataset_train.json").unlink()
    with pytest.raises(InputError, match=r"^data: .*dataset_train.json can't be read \(No such file"):
        funnybirds.read(data)


def test_a_class_that_is_not_there_is_named(data, official):
    root = data / "FunnyBirds"
    records = json.loads((root / "dataset_test.json").read_text())
    (root / "dataset_test.json").write_text(json.dumps([*records, {"class_idx": 77}]))
    with pytest.raises(InputError, match="dataset_test.json names class 77, which is not there; accepted: 3, 5, 8, 9$"):
        funnybirds.read(data)
    (root / "subset.json").write_text(json.dumps({"classes": [{"label": 0, "class_idx": 44}], "splits": {}}))
    with pytest.raises(InputError, match="subset.json names class 44, which is not there; accepted: "):
        funnybirds.read(data)
    (root / "parts.json").write_text(json.dumps({"horn": []}))
    with pytest.raises(InputError, match="parts.json lists horn; accepted: beak, eye, foot, tail, wing$"):
        funnybirds.read(data)
