"""Pascal-Part: files of the official structure, written here, and a real folder where one is given.

The real folder is named by the environment variable SEMQUANT_DATA.
"""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from semquant.checks import InputError
from semquant_book.datasets import pascal_part
from semquant_book.press import cli

HEIGHT, WIDTH = 120, 160


def rectangle(top, left, bottom, right, shape=(HEIGHT, WIDTH)):
    mask = np.zeros(shape, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def write_annotation(path, objects):
    """Write a .mat as Pascal-Part's: anno(imname, objects(class, class_ind, mask, parts))."""
    names = ("class", "class_ind", "mask", "parts")
    rows = np.zeros((1, len(objects)), [(name, object) for name in names])
    for i, (name, mask, parts) in enumerate(objects):
        inner = np.zeros((1, len(parts)), [("part_name", object), ("mask", object)])
        for j, (part, part_mask) in enumerate(parts):
            inner[0, j] = (part, part_mask)
        rows[0, i] = (name, 12.0, mask, inner if parts else np.zeros((0, 0)))
    anno = np.zeros((1, 1), [("imname", object), ("objects", object)])
    anno[0, 0] = (path.stem, rows)
    scipy.io.savemat(path, {"anno": anno}, do_compression=True)


def write_photo(path, seed, size=(WIDTH, HEIGHT)):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)


DOG = rectangle(20, 30, 100, 130)
DOG_PARTS = [("head", rectangle(20, 30, 60, 80)), ("leye", rectangle(30, 40, 40, 50)),
             ("reye", rectangle(30, 60, 40, 70)), ("torso", rectangle(40, 60, 100, 130))]


@pytest.fixture
def folder(tmp_path):
    """Twelve photos with a dog (one with a tiny second dog), six with a cat, ten negatives."""
    photos = tmp_path / "VOC2010" / "JPEGImages"
    annotations = tmp_path / "VOC2010" / "Annotations_Part"
    negatives = tmp_path / "neg"
    for made in (photos, annotations, negatives):
        made.mkdir(parents=True)
    for i in range(18):
        name = f"2010_{i:06d}"
        write_photo(photos / f"{name}.jpg", i)
        objects = [("dog", DOG, DOG_PARTS)] if i < 12 else [("cat", DOG, [])]
        if i == 0:
            objects.insert(0, ("dog", rectangle(0, 0, 49, 51), []))
        if i == 1:
            objects = [("table", DOG, []), ("dog", DOG, [])]
        write_annotation(annotations / f"{name}.mat", objects)
    for i in range(10):
        write_photo(negatives / f"{i:05d}.JPEG", 100 + i, (90, 70))
    return tmp_path


def test_reads_every_object_and_counts_what_it_leaves_out(folder):
    index = pascal_part.scan(folder, "dog")
    assert index.counts == {"objects": 12, "photos": 12, "small": 1, "partless": 1, "filled": 12,
                            "negatives": 10}
    assert [c.positive for c in index.crops] == [True] * 12 + [False] * 10
    assert index.crops[0].id == "2010_000000#1" and index.crops[0].box == (20, 30, 100, 130)
    assert "12 objects" in str(index) and "1 dog objects" in str(index)


def test_objects_without_parts_are_kept_and_counted(folder):
    assert "kept although no part is marked: 1;" in str(pascal_part.scan(folder, "dog"))
    for i in (4, 9):
        write_annotation(folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat", [("dog", DOG, [])])
    index = pascal_part.scan(folder, "dog")
    assert index.counts["partless"] == 3 and index.counts["objects"] == 12
    assert "kept although no part is marked: 3;" in str(index)
    images = pascal_part.load(index, size=16)
    marked = images.group_masks().flatten(1).any(1)
    assert images.positive[:12].all()
    assert marked[:12].tolist() == [i not in (1, 4, 9) for i in range(12)]


def test_counts_masks_that_are_boxes(folder):
    outline = DOG.copy()
    outline[20:30, 30:40] = 0
    for i in (2, 3):
        write_annotation(folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat",
                         [("dog", outline, DOG_PARTS)])
    index = pascal_part.scan(folder, "dog")
    assert index.counts["filled"] == 10
    assert "fills its box (a box stands for the outline): 10" in str(index)


def test_crops_are_the_box_resized_bilinearly(folder):
    index = pascal_part.scan(folder, "dog")
    images = pascal_part.load(index, size=40)
    assert images.images.shape == (22, 3, 40, 40) and images.images.dtype == torch.uint8
    photo = Image.open(folder / "VOC2010/JPEGImages/2010_000003.jpg")
    expected = np.array(photo.crop((30, 20, 130, 100)).resize((40, 40), Image.BILINEAR))
    got = images.images[3].permute(1, 2, 0).numpy()
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1
    negative = np.array(Image.open(folder / "neg/00002.JPEG").resize((40, 40), Image.BILINEAR))
    assert np.abs(images.images[14].permute(1, 2, 0).numpy().astype(int) - negative).max() <= 1
    assert images.kinds == ["dog"] * 12 + ["background"] * 10


def test_masks_follow_the_crop(folder):
    images = pascal_part.load(pascal_part.scan(folder, "dog"), size=40)
    masks = images.group_masks()
    eye, head, torso, tail = (images.groups.index(g) for g in ("eye", "head", "torso", "tail"))
    # head: 40 of the box's 80 rows and 50 of its 100 columns, from its top left corner
    expected = torch.zeros(40, 40)
    expected[:20, :20] = 1
    assert torch.equal(masks[3, head], expected)
    assert masks[3, eye].sum() == 2 * (10 / 2) * (10 / 2.5)  # both eyes, each 10 x 10 px
    assert masks[3, torso].sum() == 30 * 28
    assert masks[3, tail].sum() == 0
    assert masks[1].sum() == 0  # parts 0 x 0
    assert masks[12:].sum() == 0  # negatives
    small = images.group_masks(4)
    assert torch.allclose(small[3, head], torch.tensor([[1.0, 1, 0, 0]] * 2 + [[0.0] * 4] * 2))


def test_masks_without_annotated_size_multiple_of_eight(folder):
    images = pascal_part.load(pascal_part.scan(folder, "dog"), size=37)
    assert images.masks.shape == (22, len(pascal_part.PARTS["dog"]), 37, 5)
    assert images.group_masks().shape == (22, 8, 37, 37)


def test_every_part_of_every_category_has_a_group():
    for category, parts in pascal_part.PARTS.items():
        assert len(set(parts)) == len(parts), category
        assert {pascal_part.GROUP_OF[part] for part in parts} <= set(pascal_part.GROUPS)
    assert {len(p) for p in pascal_part.PARTS.values()} == {13, 17, 18, 19, 21}


def test_split_is_by_photo_and_repeats():
    ids = [f"2009_{i:06d}" for i in range(4000)]
    splits = [pascal_part.split_of(i) for i in ids]
    shares = [splits.count(s) / len(ids) for s in ("train", "val", "test")]
    assert np.allclose(shares, [0.6, 0.15, 0.25], atol=0.03)
    assert splits == [pascal_part.split_of(i + "#3") for i in ids]
    assert splits != [pascal_part.split_of(i, seed=1) for i in ids]
    # on every machine: SHA-256 of "0/2009_000000" begins with 86, then bd, da, 23, 30, f0; train
    # ends at 60 % of the range (99), val at 75 % (c0)
    assert splits[:6] == ["train", "val", "test", "train", "train", "test"]


def test_splits_share_nothing_and_make_the_whole(folder):
    index = pascal_part.scan(folder, "dog")
    whole = pascal_part.load(index, size=16)
    seed = next(s for s in range(100) if all(
        len({c.positive for c in index.crops if pascal_part.split_of(c.id, s) == split}) == 2
        for split in ("train", "val", "test")))
    ids = [pascal_part.load(index, s, size=16, seed=seed).ids for s in ("train", "val", "test")]
    assert sorted(sum(ids, [])) == sorted(whole.ids)


def test_without_negatives_takes_photos_without_the_category(folder):
    shutil.rmtree(folder / "neg")
    index = pascal_part.scan(folder, "dog")
    assert index.counts["negatives"] == 6 and "without dog" in str(index)
    assert [c.id for c in index.crops[12:]] == [f"2010_{i:06d}" for i in range(12, 18)]


def test_limit_of_negatives_draws_by_seed(folder):
    drawn = [[c.id for c in pascal_part.scan(folder, "dog", limit=4, seed=s).crops[12:]]
             for s in (0, 0, 1)]
    assert len(drawn[0]) == 4 and drawn[0] == drawn[1] != drawn[2]


def test_negative_crops_have_the_relative_size_of_positives(folder):
    crops = pascal_part.scan(folder, "dog", negatives="crops").crops
    assert crops == pascal_part.scan(folder, "dog", negatives="crops").crops
    for crop in crops[12:]:
        top, left, bottom, right = crop.box
        # every dog's box is 80 of 120 rows and 100 of 160 columns; the photos are 70 x 90
        assert (bottom - top, right - left) == (round(80 / 120 * 70), round(100 / 160 * 90))
        assert 0 <= top and bottom <= 70 and 0 <= left and right <= 90


# Input that can't be used: one line each, counted, with the first names.


def fails(match, call, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_names_what_is_accepted(folder):
    fails("category: 'dgo' is not one of bird.*did you mean dog", pascal_part.scan, folder, "dgo")
    fails("negatives: 'boxes'", pascal_part.scan, folder, "dog", negatives="boxes")
    fails("category: no sheep", pascal_part.scan, folder, "sheep")
    fails("split: 'tset'", pascal_part.load, pascal_part.scan(folder, "dog"), "tset")


@pytest.mark.parametrize("name", ["VOC2010/JPEGImages", "VOC2010/Annotations_Part"])
def test_missing_folder(folder, name):
    shutil.rmtree(folder / name)
    fails(f"{name} is not a folder", pascal_part.scan, folder, "dog")


def test_empty_folders(folder):
    for file in (folder / "neg").iterdir():
        file.unlink()
    fails("no negatives", pascal_part.scan, folder, "dog")
    for file in (folder / "VOC2010/Annotations_Part").iterdir():
        file.unlink()
    fails("no .mat file", pascal_part.scan, folder, "dog")


def test_missing_photos_are_counted_and_named(folder):
    for i in range(2, 7):
        (folder / f"VOC2010/JPEGImages/2010_{i:06d}.jpg").unlink()
    fails(r"5 photos are missing.*2010_000002.jpg, 2010_000003.jpg, 2010_000004.jpg, \.\.\.",
          pascal_part.scan, folder, "dog")


def test_missing_photos_of_negatives_are_counted_with_the_others(folder):
    shutil.rmtree(folder / "neg")  # negatives are then the photos 12 to 17
    for i in (3, 14, 16, 17):
        (folder / f"VOC2010/JPEGImages/2010_{i:06d}.jpg").unlink()
    fails(r"4 photos are missing from .*JPEGImages: 2010_000003.jpg, 2010_000014.jpg, "
          r"2010_000016.jpg, \.\.\.$", pascal_part.scan, folder, "dog")


def test_photo_of_another_category_may_be_missing(folder):
    (folder / "VOC2010/JPEGImages/2010_000015.jpg").unlink()
    assert pascal_part.scan(folder, "dog").counts["photos"] == 12


def test_truncated_photo_and_file_that_is_no_photo(folder):
    index = pascal_part.scan(folder, "dog")
    photo = folder / "VOC2010/JPEGImages/2010_000004.jpg"
    photo.write_bytes(photo.read_bytes()[:2000])
    (folder / "neg/00003.JPEG").write_text("not a photo")
    fails("2 photos can't be used: .*00003.JPEG .*not an image.*2010_000004.jpg .*truncated",
          pascal_part.load, index)


def test_all_photos_are_tried_before_the_bad_ones_are_reported(folder):
    marks = folder / "VOC2010/Annotations_Part/2010_000002.mat"
    write_annotation(marks, [("dog", DOG, DOG_PARTS), ("dog", DOG, [])])
    index = pascal_part.scan(folder, "dog")
    for i in (2, 3, 5):  # the first of them has two dogs, and is one photo
        (folder / f"VOC2010/JPEGImages/2010_{i:06d}.jpg").write_bytes(b"")
    (folder / "neg/00009.JPEG").write_bytes(b"GIF89a")
    (folder / "neg/00001.JPEG").unlink()  # after the folder was read
    no = r"\(not readable: not an image\)"
    fails(r"data: 5 photos can't be used: 00001.JPEG \(not readable: .*No such file.*\), "
          rf"00009.JPEG {no}, 2010_000002.jpg {no}, \.\.\.$", pascal_part.load, index)


@pytest.mark.parametrize("content", ["text", "nothing", "format 7.3", "other variable",
                                     "other fields", "cell of numbers"])
def test_file_that_is_not_pascal_part(folder, content):
    path = folder / "VOC2010/Annotations_Part/2010_000005.mat"
    if content == "text":
        path.write_text("this is no .mat file at all, whatever its name says")
    elif content == "nothing":
        path.write_bytes(b"")
    elif content == "format 7.3":  # what MATLAB writes with -v7.3
        path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    else:
        value = {"other variable": {"x": 1}, "other fields": {"anno": {"objects": {"kind": "dog"}}},
                 "cell of numbers": {"anno": np.array([[1, 2], [3, 4]])}}[content]
        scipy.io.savemat(path, value)
    fails("1 annotations can't be used: 2010_000005.mat .*not a Pascal-Part file",
          pascal_part.scan, folder, "dog")


@pytest.mark.parametrize("left", [1, 127, 130, 300, -1])
def test_truncated_annotation(folder, left):
    path = folder / "VOC2010/Annotations_Part/2010_000005.mat"
    path.write_bytes(path.read_bytes()[:left])
    fails("1 annotations can't be used: 2010_000005.mat .not a Pascal-Part file: .+",
          pascal_part.scan, folder, "dog")


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_an_annotation_is_not_run(folder, tmp_path):
    path, made = folder / "VOC2010/Annotations_Part/2010_000005.mat", tmp_path / "made"
    path.write_bytes(pickle.dumps({"anno": Code(made)}))
    fails("1 annotations can't be used: 2010_000005.mat .not a Pascal-Part file",
          pascal_part.scan, folder, "dog")
    assert not made.exists()
    pickle.loads(path.read_bytes())  # it would have
    assert made.exists()


def test_all_annotations_are_read_before_the_bad_ones_are_reported(folder):
    marks = [folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat" for i in range(18)]
    marks[2].write_text("no .mat file")
    write_annotation(marks[4], [("dog", DOG, [("antler", DOG)])])
    write_annotation(marks[6], [("dog", DOG, [("head", DOG[:50])])])
    write_annotation(marks[8], [("dog", np.zeros_like(DOG), [])])
    marks[14].write_bytes(marks[14].read_bytes()[:200])  # a cat's: its category can't be known
    fails(r"data: 5 annotations can't be used: 2010_000002.mat \(not a Pascal-Part file: .*\), "
          r"2010_000004.mat \(unknown part antler\), 2010_000006.mat \(masks of sizes "
          r"\(50, 160\) and \(120, 160\)\), \.\.\.$", pascal_part.scan, folder, "dog")


def test_unknown_part_names(folder):
    for i in (2, 7):
        write_annotation(folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat",
                         [("dog", DOG, [*DOG_PARTS, ("antler", DOG), ("lhorn", DOG)])])
    fails("2 annotations can't be used: 2010_000002.mat .unknown part antler, lhorn",
          pascal_part.scan, folder, "dog")


def test_parts_of_other_categories_are_not_looked_at(folder):
    write_annotation(folder / "VOC2010/Annotations_Part/2010_000002.mat",
                     [("dog", DOG, DOG_PARTS), ("tvmonitor", DOG, [("screen", DOG)])])
    assert pascal_part.scan(folder, "dog").counts["objects"] == 12


def test_mask_and_photo_of_different_size(folder):
    write_photo(folder / "VOC2010/JPEGImages/2010_000006.jpg", 6, (WIDTH + 1, HEIGHT))
    fails("1 photos can't be used: 2010_000006.jpg .161 x 120 px, its mask 160 x 120",
          pascal_part.load, pascal_part.scan(folder, "dog"))


def test_photos_of_another_size_than_their_masks_are_counted_and_named(folder):
    write_annotation(folder / "VOC2010/Annotations_Part/2010_000003.mat",
                     [("dog", DOG, DOG_PARTS), ("dog", DOG, [])])  # two dogs: still one photo
    for i in (3, 5, 8, 11):
        write_photo(folder / f"VOC2010/JPEGImages/2010_{i:06d}.jpg", i, (HEIGHT, WIDTH))  # turned
    fails(r"data: 4 photos can't be used: 2010_000003.jpg \(120 x 160 px, its mask 160 x 120\), "
          r"2010_000005.jpg .*, 2010_000008.jpg .*, \.\.\.$",
          pascal_part.load, pascal_part.scan(folder, "dog"))


def test_masks_of_different_sizes_and_empty_ones(folder):
    path = folder / "VOC2010/Annotations_Part/2010_000002.mat"
    write_annotation(path, [("dog", DOG, [("head", rectangle(0, 0, 9, 9, (50, 50)))])])
    fails("2010_000002.mat .masks of sizes", pascal_part.scan, folder, "dog")
    write_annotation(path, [("dog", np.zeros_like(DOG), [])])
    fails("2010_000002.mat .an object with an empty mask", pascal_part.scan, folder, "dog")


def test_split_without_positives(folder):
    index = pascal_part.scan(folder, "dog")
    index.crops[:] = [c for c in index.crops if not c.positive]
    fails("0 positives and 10 negatives", pascal_part.load, index)


def test_the_command_says_it_in_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMQUANT_DATA", str(folder))
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    draw = ["draw", "--preset", "photographs", "--category", "dog"]
    for i in (4, 7):
        (folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat").write_bytes(b"")
    assert cli.main(draw) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("semquant: data: 2 annotations can't be used: 2010_000004.mat (not a ")
    assert not list((tmp_path / "build").rglob("*.json"))


@pytest.mark.parametrize("mask", [scipy.sparse.csc_matrix(DOG.astype(float)), "text"],
                         ids=["sparse", "text"])
def test_masks_that_are_no_matrix_of_numbers(folder, mask):
    path = folder / "VOC2010/Annotations_Part/2010_000002.mat"
    for objects in ([("dog", mask, [])], [("dog", DOG, [("head", mask)])]):
        write_annotation(path, objects)
        fails("1 annotations can't be used: 2010_000002.mat .*mask", pascal_part.scan, folder, "dog")


def test_parts_with_an_empty_mask_are_no_parts(folder):
    for i, mask in ((2, np.zeros((0, 0))), (3, np.zeros_like(DOG))):
        write_annotation(folder / f"VOC2010/Annotations_Part/2010_{i:06d}.mat",
                         [("dog", DOG, [("head", mask)])])
    index = pascal_part.scan(folder, "dog")
    assert index.counts["objects"] == 12 and index.counts["partless"] == 3
    assert pascal_part.load(index, size=16).group_masks()[:12].flatten(1).any(1).sum() == 9


def test_unknown_part_names_stay_on_one_line(folder):
    write_annotation(folder / "VOC2010/Annotations_Part/2010_000002.mat",
                     [("dog", DOG, [("ant\nler", DOG)])])
    fails("unknown part ant ler", pascal_part.scan, folder, "dog")


def test_files_that_are_no_photos_are_counted_and_names_are_unique(folder):
    (folder / "neg/notes.db").write_text("x")
    (folder / "neg/more").mkdir()
    index = pascal_part.scan(folder, "dog")
    assert index.counts["strays"] == 2
    assert str(index).endswith("files in neg/ that are no photos, left out: 2")
    write_photo(folder / "neg/00003.png", 1)
    fails("2 photos of .*neg have the name of another.*: 00003.JPEG, 00003.png$",
          pascal_part.scan, folder, "dog")


def test_random_boxes_of_photos_that_can_not_be_read(folder):
    for i in (3, 7):
        (folder / f"neg/{i:05d}.JPEG").write_text("not a photo")
    fails("2 photos can't be used: 00003.JPEG .not readable: not an image., 00007.JPEG",
          pascal_part.scan, folder, "dog", negatives="crops")
    for i in (3, 7):
        write_photo(folder / f"neg/{i:05d}.JPEG", i, (90, 70))
    for i in range(12):
        (folder / f"VOC2010/JPEGImages/2010_{i:06d}.jpg").write_bytes(b"")
    fails("photos can't be used: 2010_0000.. ?.*not an image", pascal_part.scan, folder, "dog",
          negatives="crops")


def test_photo_of_a_format_that_is_not_implemented(folder):
    header = b"DDS " + (124).to_bytes(4, "little") + (0x1007).to_bytes(4, "little")
    header += (8).to_bytes(4, "little") * 2 + bytes(56) + (32).to_bytes(4, "little")
    (folder / "neg/00003.JPEG").write_bytes(header + (138).to_bytes(4, "little") + bytes(200))
    fails("1 photos can't be used: 00003.JPEG .not readable: ", pascal_part.scan, folder, "dog")


# The real folder.


@pytest.fixture(scope="module")
def real():
    named = os.environ.get("SEMQUANT_DATA")
    if not named:
        pytest.skip("SEMQUANT_DATA is not set: no folder with VOC2010 to read")
    if not (Path(named) / "VOC2010" / "Annotations_Part").is_dir():
        pytest.skip(f"SEMQUANT_DATA: {named} holds no VOC2010/Annotations_Part")
    return Path(named)


def test_real_folder(real):
    index = pascal_part.scan(real, "dog", limit=20)
    assert index.counts["objects"] >= 100
    index.crops[:] = index.crops[:20] + index.crops[-20:]
    images = pascal_part.load(index, size=56)
    assert len(images) == 40 and int(images.positive.sum()) == 20
    groups = images.group_masks()
    for name in ("head", "torso", "leg"):
        share = groups[:20, images.groups.index(name)].flatten(1).any(1).float().mean()
        assert share > 0.5, name
    assert images.images.float().std() > 30  # photos, not blanks
