"""Small runs on made-up photographs in the official formats: what a record holds."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from PIL import Image

from semquant import metrics
from semquant.checks import InputError
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.study import experiment2, records, tables
from semquant_book.study.pictures import animals_of, balanced
from semquant_book.study.portraits import faces_of, photographs
from semquant_book.study.presets import load_settings


def write_faces(folder, names, partition, width=178, height=218):
    """A folder in CelebA's layout; a face with blond hair is bright."""
    random = np.random.default_rng(len(names))
    has = random.random((len(names), 40)) < 0.5
    (folder / "img_align_celeba").mkdir(parents=True)
    for name, row in zip(names, has):
        shade = 180 if row[ATTRIBUTES.index("Blond_Hair")] else 60
        noise = random.integers(0, 40, (11, 9, 3), dtype=np.uint8) + shade
        Image.fromarray(noise.astype(np.uint8)).resize((width, height)).save(
            folder / "img_align_celeba" / name)
    rows = [f"{n} {' '.join('1' if v else '-1' for v in r)}" for n, r in zip(names, has)]
    (folder / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(names)), " ".join(ATTRIBUTES), *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{n} {p}\n" for n, p in zip(names, partition)))
    return has


def write_animals(root):
    """A folder in Pascal-Part's layout: dogs with a bright torso, and negatives."""
    random = np.random.default_rng(0)
    photos, marks = root / "VOC2010" / "JPEGImages", root / "VOC2010" / "Annotations_Part"
    for made in (photos, marks, root / "neg"):
        made.mkdir(parents=True)
    for i in range(30):
        pixels = random.integers(0, 120, (80, 100, 3), dtype=np.uint8)
        mask, torso = np.zeros((2, 80, 100), np.uint8)
        mask[5:75, 10:90], torso[30:70, 30:80] = 1, 1
        pixels[torso > 0] += 120
        Image.fromarray(pixels).save(photos / f"{i:04d}.jpg")
        parts = np.zeros((1, 1), [("part_name", object), ("mask", object)])
        parts[0, 0] = ("torso", torso)
        objects = np.zeros((1, 1), [(n, object) for n in ("class", "class_ind", "mask", "parts")])
        objects[0, 0] = ("dog", 12.0, mask, parts)
        anno = np.zeros((1, 1), [("imname", object), ("objects", object)])
        anno[0, 0] = (f"{i:04d}", objects)
        scipy.io.savemat(marks / f"{i:04d}.mat", {"anno": anno})
        Image.fromarray(random.integers(0, 120, (80, 80, 3), dtype=np.uint8)).save(
            root / "neg" / f"{i:04d}.jpg")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 faces, 10 more at half the size of which 2 are in both folders; animals."""
    root = tmp_path_factory.mktemp("data")
    names = [f"{i:06d}.jpg" for i in range(60)]
    write_faces(root / "celeba", names, [0] * 30 + [1] * 14 + [2] * 16)
    write_faces(root / "celeba_half", [f"{i:06d}.jpg" for i in range(100, 108)], [0] * 8, 89, 109)
    write_animals(root)
    return root


@pytest.fixture(scope="module")
def build(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        patch.setenv("SEMQUANT_DATA", str(data))
        yield


FEW = dict(face_train_images=1000, face_val_images=1000, face_test_images=1000, flip_faces=1)


@pytest.fixture(scope="module")
def settings(build):
    return load_settings("smoke", faces="celeba", targets=["Male", "Young"], explainer_seeds=1,
                         selection_sizes=[2], selection_draws=1, selection_fits=1, **FEW)


def test_all_folders_of_celeba_are_taken_together(settings):
    train, test = (faces_of(settings, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (38, 16)
    assert train.images.shape[2:] == (32, 32) and len(set(train.ids)) == 38
    fewer = load_settings("smoke", faces="celeba", **(FEW | {"face_train_images": 10}))
    some = faces_of(fewer, "train")
    assert len(some) == 10 and set(some.ids) < set(train.ids)


def test_photographs_are_shown_by_name(settings):
    shown = photographs(["000001.jpg", "000103.jpg"], 48)
    assert shown.shape == (2, 48, 48, 3) and shown.dtype == np.uint8
    with pytest.raises(InputError, match="^data: 1 of 2 photographs are not in .*: 999999.jpg$"):
        photographs(["000001.jpg", "999999.jpg"])


def test_a_folder_without_celeba_is_one_line(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_DATA", str(tmp_path))
    with pytest.raises(InputError, match="^data: .*"):
        faces_of(settings, "test")


def test_a_run_on_faces_is_a_record_without_pictures(settings):
    content = json.loads(json.dumps(records.collect(settings)))
    assert content["data"] == {"train": 38, "val": 14, "test": 16}
    found = records.Evidence.of(content)
    live = tables.attribute_frame(settings)
    assert len(found.explainers) == len(live) == 2 * (4 + 1 + 4)
    merged = found.explainers.merge(live, on=["target", "method", "last_layer", "seed"])
    assert np.allclose(merged.entropy_x, merged.entropy_y, atol=1e-6)
    assert found.explainers.agreement.isna().all() and found.yardsticks.agreement.isna().all()
    assert set(found.selection.target) == {"male", "young"}
    ids, shown = found.example("Male")
    assert shown.names == [name for name in ATTRIBUTES if name != "Male"]
    ours = experiment2.Run(settings, "Male").explain()
    rows = [faces_of(settings, "test").ids.index(name) for name in ids]
    assert torch.allclose(shown.contributions, ours.contributions[rows], atol=1e-2)
    if ids:
        assert torch.isfinite(metrics.contribution_entropy(shown.contributions)).all()


def test_a_run_on_animals_is_a_record_without_pictures(build):
    settings = load_settings("smoke", images="pascal_part", architectures=["alexnet"],
                             explainer_seeds=1)
    content = json.loads(json.dumps(records.collect_networks(settings, "dog")))
    counts = content["data"]
    assert sum(c["positive"] for c in counts.values()) == 30
    assert sum(c["negative"] for c in counts.values()) == 30
    performers, fits = pd.DataFrame(content["performers"]), pd.DataFrame(content["explainers"])
    assert set(performers.filter_loss) == {True, False} and set(fits.method) == {"ours", "baseline"}
    assert len(content["references"]) == 3


def test_the_rarer_class_is_repeated_in_training(build):
    images = animals_of(load_settings("smoke", images="pascal_part"), "dog", "train")
    few = images.subset(torch.cat([torch.nonzero(images.positive)[:3, 0],
                                   torch.nonzero(~images.positive)[:12, 0]]))
    for recipe, positives in (("one_cycle", 12), ("predecessor", 36)):  # there, three to one
        repeated = few.subset(balanced(few.positive, recipe))
        assert int(repeated.positive.sum()) == positives and len(repeated) == positives + 12
        assert len({i for i, yes in zip(repeated.ids, repeated.positive.tolist()) if yes}) == 3


def test_an_unknown_record_is_one_line():
    with pytest.raises(InputError, match="^record: no run named lfw is recorded$"):
        records.recorded("lfw")


def test_another_folder_is_another_run(data, build, tmp_path, monkeypatch):
    smaller = shutil.copytree(data, tmp_path / "data")
    settings = load_settings("smoke", faces="celeba", **FEW)
    before = faces_of(settings, "train")
    (smaller / "celeba_half" / "img_align_celeba" / "000100.jpg").unlink()
    monkeypatch.setenv("SEMQUANT_DATA", str(smaller))
    assert len(faces_of(settings, "train")) == len(before) - 1
