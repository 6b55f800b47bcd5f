"""CelebA: folders of the official layout, written here, and a real one where one is given.

The real folder is named by the environment variable SEMQUANT_DATA, and holds celeba.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semquant.checks import InputError
from semquant_book.datasets import celeba
from semquant_book.datasets.drawn.faces import Faces
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.press import cli
from semquant_book.study import portraits
from semquant_book.study.portraits import celeba_folders

COUNT = 24
NAMES = [f"{i:06d}.jpg" for i in range(1, COUNT + 1)]
PARTITION = [0] * 14 + [1] * 6 + [2] * 4
HAS = np.random.default_rng(5).random((COUNT, 40)) < 0.4
IMAGES, LIST, PARTS = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"


def pixels(seed, width=178, height=218):
    """A picture without fine detail, so that copies of another size and JPEG change little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (11, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.BICUBIC)


def write_lists(folder, names=NAMES, has=HAS, partition=PARTITION, columns=ATTRIBUTES):
    rows = [f"{n} {' '.join(' 1' if v else '-1' for v in r)}" for n, r in zip(names, has)]
    lines = [str(len(names)), " ".join(columns) + " ", *rows]
    (folder / LIST).write_text("\n".join(lines) + "\n")
    (folder / PARTS).write_text("".join(f"{n} {p}\n" for n, p in zip(names, partition)))


def write_images(folder, names=NAMES, size=(178, 218)):
    (folder / IMAGES).mkdir(parents=True)
    for name in names:
        pixels(int(name[:6]), *size).save(folder / IMAGES / name, quality=95)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "celeba"
    write_images(folder)
    write_lists(folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """24 images: 14 to train, 6 to choose, 4 to evaluate."""
    return shutil.copytree(made, tmp_path / "data")


def change(path, line, new):
    """Replace a line (from 1) by none, one or more."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [new] if isinstance(new, str) else new
    path.write_text("\n".join(lines) + "\n")


def load(root, split="val", **settings):
    return celeba.load(root, split, **{"size": 16, "workers": 1, **settings})


# What is read.


def test_reads_splits_names_and_attributes(folder):
    index = celeba.scan(folder)
    assert index.images == folder / IMAGES
    assert index.files == {"train": NAMES[:14], "val": NAMES[14:20], "test": NAMES[20:]}
    assert index.present == index.listed == {"train": 14, "val": 6, "test": 4}
    for split, rows in {"train": HAS[:14], "val": HAS[14:20], "test": HAS[20:]}.items():
        assert index.attributes[split].dtype == torch.bool
        assert np.array_equal(index.attributes[split].numpy(), rows)
    assert index.summary().splitlines() == [
        "24 of 24 listed images", "train: 14 of 14", "val: 6 of 6", "test: 4 of 4"]
    assert str(index) == index.summary().replace("\n", "; ")


def test_loads_faces(folder):
    faces = load(folder, "test")
    assert isinstance(faces, Faces) and faces.names == ATTRIBUTES
    assert faces.images.shape == (4, 3, 16, 16) and faces.images.dtype == torch.uint8
    assert faces.ids == NAMES[20:]
    assert np.array_equal(faces.attributes.numpy(), HAS[20:])
    for image, name in zip(faces.images, NAMES[20:]):
        photo = Image.open(folder / IMAGES / name).crop((0, 20, 178, 198))
        expected = np.array(photo.resize((16, 16), Image.BILINEAR))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
    again = load(celeba.scan(folder), "test")  # an index does for the folder
    assert torch.equal(again.images, faces.images)


def test_crop_is_the_central_square(folder):
    picture = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / IMAGES / NAMES[14], "png")  # lossless
    image = load(folder, size=178).images[0].permute(1, 2, 0).numpy()
    assert np.array_equal(image, picture[20:198])


def test_nothing_outside_the_crop_shines_in(folder):
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[:20] = picture[198:] = 255
    Image.fromarray(picture).save(folder / IMAGES / NAMES[14], "png")
    assert load(folder).images[0].max() == 0


def test_resizing_is_antialiased(folder):
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[::2, ::2] = picture[1::2, 1::2] = 255
    Image.fromarray(picture).save(folder / IMAGES / NAMES[14], "png")
    image = load(folder, size=32).images[0].float()
    assert (image - 127.5).abs().max() < 8


def test_half_size_copies_show_the_same(folder, tmp_path):
    write_images(tmp_path / "half", size=(89, 109))
    write_lists(tmp_path / "half")
    full, half = load(folder).images.float(), load(tmp_path / "half").images.float()
    assert (full - half).abs().mean() < 2
    assert (full - half.roll(1, 2)).abs().mean() > 10


def test_grey_image_becomes_rgb(folder):
    pixels(3).convert("L").save(folder / IMAGES / NAMES[14])
    image = load(folder).images[0]
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_torchvision_layout(folder, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(folder, parent / "celeba")
    for name in ("identity_CelebA.txt", "list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (parent / "celeba" / name).write_text("what stands here is not read")
    index = celeba.scan(parent)
    assert index.images == parent / "celeba" / IMAGES and index.files == celeba.scan(folder).files
    assert str(index) == str(celeba.scan(folder))
    assert torch.equal(load(parent).images, load(folder).images)


def test_lists_and_folders_as_kaggle_gives_them_out(folder, tmp_path):
    kaggle = tmp_path / "kaggle"
    shutil.copytree(folder / IMAGES, kaggle / IMAGES / IMAGES)
    rows = (folder / LIST).read_text().splitlines()[2:]
    (kaggle / "list_attr_celeba.csv").write_text("image_id," + ",".join(ATTRIBUTES) + "\n" + "".join(
        ",".join(row.split()) + "\n" for row in rows))
    (kaggle / "list_eval_partition.csv").write_text("image_id,partition\n" + "".join(
        ",".join(row.split()) + "\n" for row in (folder / PARTS).read_text().splitlines()))
    found, expected = celeba.scan(kaggle), celeba.scan(folder)
    assert found.files == expected.files and found.listed == expected.listed and found.strays == []
    assert all(torch.equal(found.attributes[split], expected.attributes[split]) for split in found.files)
    assert torch.equal(load(kaggle).images, load(folder).images)
    text = (kaggle / "list_attr_celeba.csv").read_text().splitlines()
    (kaggle / "list_attr_celeba.csv").write_text("\n".join([*text[:3], text[3].replace("1", "7", 40), *text[4:]]))
    fails("list_attr_celeba.csv, line 4: ", celeba.scan, kaggle)
    (kaggle / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,5\n")
    (kaggle / "list_attr_celeba.csv").write_text("\n".join(text))
    fails("list_eval_partition.csv, line 2: '5' is not 0, 1 or 2", celeba.scan, kaggle)


@pytest.mark.parametrize("name, words", [(f"{IMAGES}.zip", "is there, not unpacked"), (f"{IMAGES}_png", "is there .the PNG files")])
def test_what_stands_in_the_place_of_the_images_is_named(folder, name, words):
    shutil.rmtree(folder / IMAGES)
    (folder / name).write_bytes(b"PK")
    fails(f"has no {IMAGES}, but {name} {words}", celeba.scan, folder)


def test_a_neighbour_of_another_kind_is_left_alone(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data" / "celeba")
    (tmp_path / "data" / "celeba_hq").mkdir()
    (tmp_path / "data" / "celeba_hq" / "0.jpg").write_bytes(b"x")
    assert celeba_folders(tmp_path / "data") == [tmp_path / "data" / "celeba"]


def test_folder_with_a_list_of_its_own_is_the_one_meant(folder):
    shutil.copytree(folder, folder / "celeba")
    assert celeba.scan(folder).images == folder / IMAGES
    (folder / PARTS).unlink()
    fails(f"data has no {PARTS};", celeba.scan, folder)


def test_columns_are_found_by_name(folder):
    order = np.random.default_rng(1).permutation(40)
    write_lists(folder, has=HAS[:, order], columns=[ATTRIBUTES[i] for i in order])
    assert np.array_equal(celeba.scan(folder).attributes["val"].numpy(), HAS[14:20])


def test_order_of_rows_does_not_matter(folder):
    order = np.random.default_rng(2).permutation(COUNT)
    write_lists(folder, [NAMES[i] for i in order], HAS[order], [PARTITION[i] for i in order])
    index = celeba.scan(folder)
    assert index.files["train"] == NAMES[:14]
    assert np.array_equal(index.attributes["train"].numpy(), HAS[:14])
    assert np.array_equal(load(folder, "train", count=5).attributes.numpy(),
                          HAS[[NAMES.index(i) for i in load(folder, "train", count=5).ids]])


def test_windows_line_ends_byte_order_mark_and_blank_lines(folder):
    before = celeba.scan(folder)
    for name in (LIST, PARTS):
        text = (folder / name).read_text() + "\n \n"
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    after = celeba.scan(folder)
    assert after.files == before.files
    assert torch.equal(after.attributes["train"], before.attributes["train"])


def test_rows_without_an_image_are_counted(folder):
    for name in NAMES[:3] + NAMES[15:17]:
        (folder / IMAGES / name).unlink()
    index = celeba.scan(folder)
    assert index.present == {"train": 11, "val": 4, "test": 4}
    assert index.listed == {"train": 14, "val": 6, "test": 4}
    assert index.summary().splitlines() == [
        "19 of 24 listed images", "train: 11 of 14", "val: 4 of 6", "test: 4 of 4",
        "listed without an image, left out: 5"]
    faces = load(folder)
    assert faces.ids == [NAMES[14], *NAMES[17:20]]
    assert np.array_equal(faces.attributes.numpy(), HAS[[14, 17, 18, 19]])


def test_files_in_neither_list_are_counted_and_named(folder):
    for name in ("notes.db", "000099.jpg", "000098.jpg", "000097.png"):
        (folder / IMAGES / name).write_text("x")
    index = celeba.scan(folder)
    assert index.strays == ["000097.png", "000098.jpg", "000099.jpg", "notes.db"]
    assert index.summary().endswith("\nfiles in neither list, left out: 4 (000097.png, 000098.jpg, "
                                    "000099.jpg, ...)")
    assert index.present == {"train": 14, "val": 6, "test": 4}


def test_draw_repeats_and_grows(folder):
    index = celeba.scan(folder)
    draws = {n: load(index, "train", count=n).ids for n in (1, 5, 9, 14)}
    assert [len(ids) for ids in draws.values()] == [1, 5, 9, 14]
    assert all(ids == sorted(ids) for ids in draws.values())
    assert set(draws[1]) < set(draws[5]) < set(draws[9]) < set(draws[14])
    assert load(index, "train", count=5).ids == draws[5]
    assert load(index, "train", count=5, seed=1).ids != draws[5]
    # on every machine: SHA-256 of "celeba/0/" and these names begin with 44, 3f, 4c, 16 and 15
    assert draws[5] == [NAMES[i - 1] for i in (1, 6, 10, 11, 12)]
    whole = load(index, "train")
    at = [whole.ids.index(name) for name in draws[5]]
    assert torch.equal(load(index, "train", count=5).images, whole.images[at])


def test_result_does_not_depend_on_workers_or_blocks(tmp_path, monkeypatch):
    names = [f"{i:06d}.jpg" for i in range(1, 121)]
    write_images(tmp_path, names, (40, 49))
    write_lists(tmp_path, names, np.zeros((120, 40), bool), [0] * 120)
    one = load(tmp_path, "train", size=8)
    assert len(one.images.flatten(1).unique(dim=0)) == 120
    assert torch.equal(load(tmp_path, "train", size=8, workers=2).images, one.images)
    monkeypatch.setattr(celeba, "_BLOCK", 1)
    assert torch.equal(load(tmp_path, "train", size=8).images, one.images)


# The cache.


def decoded(monkeypatch):
    """Count the images that are decoded from now on."""
    seen, square = [], celeba.square
    monkeypatch.setattr(celeba, "square", lambda *task: seen.append(task) or square(*task))
    return seen


def test_cache_spares_decoding(folder, tmp_path, monkeypatch):
    seen, cache = decoded(monkeypatch), tmp_path / "cache"
    plain = load(folder)
    first, second = load(folder, cache=cache), load(folder, cache=cache)
    assert len(seen) == 12
    for faces in (first, second):
        assert torch.equal(faces.images, plain.images) and faces.ids == plain.ids
    for other in ({"size": 17}, {"split": "test"}, {"count": 3}):
        before = len(seen)
        load(folder, cache=cache, **other)
        assert len(seen) > before, other
    before = len(seen)
    load(folder, count=6, cache=cache, seed=8)  # all six, whatever the seed
    assert len(seen) == before


def test_cache_follows_changed_images_and_lists(folder, tmp_path):
    before = load(folder, cache=tmp_path / "cache")
    pixels(99).save(folder / IMAGES / NAMES[14], quality=95)
    os.utime(folder / IMAGES / NAMES[14], (1, 1))
    after = load(folder, cache=tmp_path / "cache")
    assert not torch.equal(after.images[0], before.images[0])
    assert torch.equal(after.images[1:], before.images[1:])
    write_lists(folder, has=~HAS)
    assert torch.equal(load(folder, cache=tmp_path / "cache").attributes, ~before.attributes)


def test_time_alone_is_part_of_the_key(folder, tmp_path, monkeypatch):
    load(folder, cache=tmp_path / "cache")
    seen = decoded(monkeypatch)
    os.utime(folder / IMAGES / NAMES[14], (1, 1))
    load(folder, cache=tmp_path / "cache")
    assert len(seen) == 6


def test_damaged_cache_is_made_again(folder, tmp_path, capsys):
    first = load(folder, cache=tmp_path / "cache")
    [file] = (tmp_path / "cache").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-40])
    assert torch.equal(load(folder, cache=tmp_path / "cache").images, first.images)
    assert "made again" in capsys.readouterr().err


def test_bad_image_leaves_no_cache(folder, tmp_path):
    (folder / IMAGES / NAMES[14]).write_text("no image")
    fails("1 images can't be used", load, folder, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.safetensors*"))


# Several folders.


def test_join_takes_an_image_once_from_the_first(folder):
    train, val = load(folder, "train"), load(folder, "val")
    other = Faces(255 - train.images[10:], train.attributes[10:], train.ids[10:])
    joined = celeba.join(train.subset(range(12)), val, other)
    assert joined.ids == NAMES[:12] + NAMES[14:20] + NAMES[12:14]
    assert torch.equal(joined.images[:12], train.images[:12])
    assert torch.equal(joined.images[18:], 255 - train.images[12:])
    assert torch.equal(joined.attributes, torch.cat(
        [train.attributes[:12], val.attributes, train.attributes[12:]]))
    assert celeba.repeated(train.subset(range(12)), val, other) == NAMES[10:12]
    assert celeba.repeated(train, val) == []


def test_join_of_what_does_not_fit(folder):
    val = load(folder)
    fails(r"faces: \(3, 16, 16\) and \(3, 8, 8\)", celeba.join, val, load(folder, size=8))
    fails("faces: nothing", celeba.join)
    other = val.attributes.clone()
    other[[1, 4], 7] ^= True
    fails(f"2 images have other attributes.*: {NAMES[15]}, {NAMES[18]}",
          celeba.join, val, Faces(val.images, other, val.ids))


# Input that can't be used: one line each.


def fails(match, call, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_names_what_is_accepted(folder):
    fails("split: 'tset' .*did you mean test", load, folder, "tset")
    fails("size: 0 is not a whole number from 1 to 512", load, folder, size=0)
    fails("seed: -1", load, folder, seed=-1)
    fails("workers: 0", load, folder, workers=0)
    for count in (0, 2.5, 7):
        fails(rf"count \(of val in .*data/img_align_celeba\): {count} is not a whole number from 1 to 6",
              load, folder, count=count)


def test_missing_folder(folder, tmp_path):
    fails("nowhere is not a folder; accepted: a folder that holds img_align_celeba, list_attr",
          celeba.scan, tmp_path / "nowhere")
    fails(f"{PARTS} is not a folder", celeba.scan, folder / PARTS)
    (tmp_path / "empty").mkdir()
    fails(f"empty has no {IMAGES} and no {LIST} and no {PARTS}", celeba.scan, tmp_path / "empty")


@pytest.mark.parametrize("name", [LIST, PARTS, IMAGES])
def test_missing_list_or_images(folder, name):
    shutil.rmtree(folder / name) if name == IMAGES else (folder / name).unlink()
    fails(f"data: .*data has no {name}; accepted: a folder", celeba.scan, folder)


def test_list_that_is_no_text(folder):
    (folder / LIST).write_bytes(b"PK\x03\x04\xff\xfe\x80")
    fails(f"{LIST} is not a text file", celeba.scan, folder)


@pytest.mark.parametrize("first", ["many", "24.0", "-24", "5_o_Clock_Shadow Arched_Eyebrows"])
def test_first_line_that_is_no_number(folder, first):
    change(folder / LIST, 1, first)
    fails(f"{LIST}, line 1: '{first}' is not a whole number", celeba.scan, folder)


@pytest.mark.parametrize("count", ["0", "23", "25", "202599", "1" * 5000])
def test_count_that_disagrees_with_the_rows(folder, count):
    change(folder / LIST, 1, count)
    fails(f"{LIST}, line 1: {count[:40]} images; the rows that follow are 24", celeba.scan, folder)


@pytest.mark.parametrize("text", ["", "0\n", f"0\n{' '.join(ATTRIBUTES)}\n"])
def test_empty_list(folder, text):
    (folder / LIST).write_text(text)
    (folder / PARTS).write_text("")
    words = {0: "line 1: '' is not a whole", 2: "line 2: no column 5_o_Clock_Shadow, Arched"}
    fails(words.get(len(text), "holds none of the 0 listed images"), celeba.scan, folder)


COLUMNS = {
    "missing": (lambda c: c[:4] + c[5:], "no column Bald;"),
    "several missing": (lambda c: c[:4] + c[8:], "no column Bald, Bangs, Big_Lips, ...;"),
    "extra": (lambda c: ["image_id", *c], "unknown column image_id;"),
    "renamed": (lambda c: ["bald" if n == "Bald" else n for n in c],
                "no column Bald, unknown column bald;"),
    "twice": (lambda c: [*c, "Bald"], "a second column Bald;"),
    "instead": (lambda c: ["Male" if n == "Bald" else n for n in c],
                "no column Bald, a second column Male;"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_wrong_columns(folder, case):
    edit, words = COLUMNS[case]
    change(folder / LIST, 2, " ".join(edit(list(ATTRIBUTES))))
    fails(f"{LIST}, line 2: {words} accepted: the 40 attributes of CelebA", celeba.scan, folder)


@pytest.mark.parametrize("number", [0, 39, 41])
def test_row_with_a_wrong_number_of_values(folder, number):
    change(folder / LIST, 7, "000005.jpg " + " ".join(["-1"] * number))
    fails(f"{LIST}, line 7: 000005.jpg has {number} values; accepted: 40$",
          celeba.scan, folder)


@pytest.mark.parametrize("value", ["2", "0", "x", "1.0", "--1"])
def test_unknown_value(folder, value):
    change(folder / LIST, 7, "000005.jpg " + " ".join(["-1"] * 20 + [value] + ["1"] * 19))
    fails(f"{LIST}, line 7: '{value}' is not 1 or -1", celeba.scan, folder)


def test_windows_line_ends_are_no_part_of_what_is_quoted(folder):
    change(folder / LIST, 7, "000005.jpg " + " ".join(["-1"] * 39 + ["x"]))
    change(folder / PARTS, 9, "000009.jpg 3")
    for name in (LIST, PARTS):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    fails(f"{LIST}, line 7: 'x' is not 1 or -1$", celeba.scan, folder)
    change(folder / LIST, 7, "000005.jpg " + " ".join(["-1"] * 40))
    fails(f"{PARTS}, line 9: '3' is not 0, 1 or 2$", celeba.scan, folder)


def test_duplicate_row(folder):
    lines = (folder / LIST).read_text().splitlines()
    change(folder / LIST, 9, lines[4])
    fails(f"{LIST}, line 9: 000003.jpg once more, as in line 5; accepted: one row",
          celeba.scan, folder)


def test_duplicate_row_of_the_partition(folder):
    change(folder / PARTS, 9, "000003.jpg 0")
    fails(f"{PARTS}, line 9: 000003.jpg once more; accepted: one row", celeba.scan, folder)


@pytest.mark.parametrize("value", ["3", "-1", "train", "", "0 1"])
def test_partition_other_than_0_1_2(folder, value):
    change(folder / PARTS, 9, f"000009.jpg {value}")
    fails(f"{PARTS}, line 9: '{value}' is not 0, 1 or 2", celeba.scan, folder)


def test_partition_row_of_an_unknown_image(folder):
    change(folder / PARTS, 9, ["000009.jpg 0", "000077.jpg 1"])
    fails(f"{PARTS}, line 10: 1 images have no row in {LIST}: 000077.jpg", celeba.scan, folder)


def test_images_without_a_partition(folder):
    change(folder / PARTS, 3, [])
    fails(f"1 images of {LIST} have no row in .*{PARTS}: 000003.jpg$", celeba.scan, folder)
    for _ in range(4):
        change(folder / PARTS, 3, [])
    fails("5 images of .*: 000003.jpg, 000004.jpg, 000005.jpg, ...$", celeba.scan, folder)


def test_no_image_at_all(folder):
    for name in NAMES:
        (folder / IMAGES / name).rename(folder / IMAGES / name.replace("jpg", "png"))
    fails("holds none of the 24 listed images but 24 other files .000001.png, 000002.png, 000003"
          ".png, ...", celeba.scan, folder)
    shutil.rmtree(folder / IMAGES)
    (folder / IMAGES).mkdir()
    fails("holds none of the 24 listed images but nothing", celeba.scan, folder)


def test_split_without_an_image(folder):
    for name in NAMES[14:20]:
        (folder / IMAGES / name).unlink()
    assert celeba.scan(folder).present["val"] == 0
    assert celeba.scan(folder).attributes["val"].shape == (0, 40)
    fails(r"split: no image of val in .*data/img_align_celeba \(the lists have 6\); accepted: train, test$",
          load, folder, "val")


def test_images_that_can_not_be_decoded_are_counted_and_named(folder):
    whole = (folder / IMAGES / NAMES[14]).read_bytes()
    (folder / IMAGES / NAMES[14]).write_bytes(whole[:-100])
    (folder / IMAGES / NAMES[16]).write_text("not an image")
    fails("2 images can't be used .*: 000015.jpg .not readable: .*truncated.*, 000017.jpg .not "
          "readable: not an image.$", load, folder)
    (folder / IMAGES / NAMES[17]).write_bytes(b"")
    (folder / IMAGES / NAMES[18]).unlink()
    (folder / IMAGES / NAMES[18]).mkdir()
    fails("4 images can't be used .*: 000015.jpg .*, 000017.jpg .*, 000018.jpg .not readable: not "
          "an image., ...$", load, folder)
    assert len(load(folder, "test")) == 4  # other splits are not concerned


def test_images_that_are_gone_since_the_folder_was_read(folder):
    index = celeba.scan(folder)
    for name in (*NAMES[14:18], NAMES[0]):
        (folder / IMAGES / name).unlink()
    gone = r"\.jpg \(not readable: No such file or directory\)"
    fails(rf"4 images can't be used .*: 000015{gone}, 000016{gone}, 000017{gone}, \.\.\.$",
          load, index)
    fails(rf"4 images of .*{IMAGES} can't be used: 000015{gone}, 000016{gone}, 000017{gone}, \.\.\.$",
          load, index, cache=folder / "cache")


def test_photographs_shown_by_name_that_can_not_be_decoded(folder, monkeypatch):
    monkeypatch.setenv("SEMQUANT_DATA", str(folder))
    for name in NAMES[:2]:
        (folder / IMAGES / name).write_text("no image")
    fails("data: 2 photographs can't be used: .*000001.jpg .not readable: not an image., .*000002",
          portraits.photographs, NAMES[:3])


def test_bad_images_of_all_blocks_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(celeba, "_BLOCK", 1)
    names = [f"{i:06d}.jpg" for i in range(1, 61)]
    write_images(tmp_path, names, (40, 49))
    write_lists(tmp_path, names, np.zeros((60, 40), bool), [0] * 60)
    for name in (names[0], names[59]):
        (tmp_path / IMAGES / name).write_text("x")
    fails("2 images can't be used .*: 000001.jpg .*, 000060.jpg", load, tmp_path, "train")


@pytest.mark.parametrize("size", [(178, 220), (178, 178), (218, 178), (89, 111), (20, 24)])
def test_image_of_another_size(folder, size):
    pixels(0, *size).save(folder / IMAGES / NAMES[15])
    fails(rf"1 images can't be used \(accepted: 178 x 218 px or its proportions\): 000016.jpg "
          rf"\({size[0]} x {size[1]} px\)$", load, folder)


@pytest.mark.parametrize("size", [(178, 218), (178, 217), (89, 109), (89, 110), (356, 436)])
def test_sizes_of_those_proportions(folder, size):
    before = load(folder).images[1].float()
    pixels(16, *size).save(folder / IMAGES / NAMES[15], quality=95)
    assert (load(folder).images[1].float() - before).abs().mean() < 4


def test_cache_that_can_not_be_written(folder):
    fails("output: .*can't be written", load, folder, cache=folder / PARTS / "cache")


def test_the_command_says_it_in_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMQUANT_DATA", str(folder))
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    draw = ["faces", "draw", "--preset", "celeba"]
    change(folder / LIST, 1, "25")
    assert cli.main(draw) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("semquant: data: ") and line.endswith("the rows that follow are 24")
    change(folder / LIST, 1, "24")
    (folder / IMAGES / NAMES[3]).write_text("no image")
    (folder / IMAGES / NAMES[5]).write_bytes(b"")
    assert cli.main(draw) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("semquant: data: 2 images can't be used ") and "000004.jpg (not" in line
    assert not list((tmp_path / "build").rglob("*.json"))


# The real folder.


@pytest.fixture(scope="module")
def real():
    named = os.environ.get("SEMQUANT_DATA")
    if not named:
        pytest.skip("SEMQUANT_DATA is not set: no folder with celeba to read")
    if not (Path(named) / "celeba" / IMAGES).is_dir():
        pytest.skip(f"SEMQUANT_DATA: {named} holds no celeba/{IMAGES}")
    return Path(named)


def test_real_folder(real):
    index = celeba.scan(real)
    split = max(index.files, key=lambda s: len(index.files[s]))
    faces = celeba.load(index, split, size=32, count=min(400, index.present[split]), workers=1)
    assert faces.images.float().std() > 30  # photos, not blanks
    top = faces.images[:, :, :10].float().mean((1, 2, 3))  # hair, and what is behind it
    has = {name: faces.attributes[:, ATTRIBUTES.index(name)] for name in ATTRIBUTES}
    assert top[has["Blond_Hair"]].mean() > top[has["Black_Hair"]].mean() + 15
    assert (has["Mustache"] & ~has["Male"]).float().mean() < 0.01
    assert 0.2 < has["Male"].float().mean() < 0.7


def test_real_folder_of_half_size(real):
    if not (real / "celeba_half" / IMAGES).is_dir():
        pytest.skip(f"SEMQUANT_DATA: {real} holds no celeba_half/{IMAGES}")
    full, half = celeba.scan(real), celeba.scan(real / "celeba_half")
    both = sorted(set(full.files["train"]) & set(half.files["train"]))[:100]
    for index in (full, half):
        keep = [index.files["train"].index(name) for name in both]
        index.files["train"][:] = both
        index.attributes["train"] = index.attributes["train"][keep]
    a, b = (celeba.load(index, "train", size=32, workers=1) for index in (full, half))
    assert celeba.repeated(a, b) == both and celeba.join(a, b).ids == both
    assert (a.images.float() - b.images.float()).abs().mean() < 8
