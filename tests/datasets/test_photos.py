"""Photos as cameras, programs and networks leave them."""

import numpy as np
import pytest
from PIL import Image

from semquant.checks import InputError
from semquant_book.datasets import pascal_part, specimens
from semquant_book.datasets.photos import opened

PIXELS = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)  # 8 wide, 6 high


def held(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation, turn", [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)])
def test_a_photo_is_turned_as_the_camera_was_held(tmp_path, orientation, turn):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path, exif=held(orientation))
    photo = opened(path)
    np.testing.assert_array_equal(np.asarray(photo), turn(PIXELS))
    assert photo.info["turned"] is (orientation != 1) and opened(path, decode=False).size == photo.size


@pytest.mark.parametrize("kind, near", [("CMYK", 12), ("RGBA", 0), ("L", 0), ("P", 40), ("LA", 0)])
def test_other_modes_become_rgb(tmp_path, kind, near):
    picture = Image.fromarray(np.full((32, 32, 3), (200, 60, 60), np.uint8)).convert(kind)
    path = tmp_path / ("a.jpg" if kind == "CMYK" else "a.png")
    picture.save(path)
    expected = np.asarray(picture.convert("RGB"), int)
    assert np.abs(np.asarray(opened(path), int) - expected).max() <= near


def test_sixteen_bits_are_refused_and_not_made_white(tmp_path):
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="^more than 8 bits a channel .mode I;16"):
        opened(tmp_path / "a.png")


def test_what_is_no_photo_is_one_line(tmp_path, monkeypatch):
    whole = tmp_path / "a.jpg"
    Image.fromarray(np.tile(PIXELS, (20, 20, 1))).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-300])
    (tmp_path / "page.jpg").write_text("<!doctype html><title>404</title>")
    for name, words in (("cut.jpg", "truncated"), ("page.jpg", "not an image"), ("none.jpg", "No such file")):
        with pytest.raises(InputError, match=f"^not readable: .*{words}"):
            opened(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="^not readable: .*decompression bomb"):
        opened(whole)


def test_a_scan_counts_no_web_page_as_a_photo(tmp_path):
    specimens.write_pascal_part(tmp_path, "dog", photos=4, negatives=3)
    before = pascal_part.scan(tmp_path, "dog").counts["negatives"]
    (tmp_path / "neg" / "zzz.jpg").write_text("<!doctype html>")
    with pytest.raises(InputError, match="1 photos can't be used: zzz.jpg .not readable: not an image"):
        pascal_part.scan(tmp_path, "dog", limit=before + 1)


def test_a_photo_that_is_turned_and_its_mask_is_not_is_named(tmp_path):
    specimens.write_pascal_part(tmp_path, "dog", photos=4, negatives=3)
    path = sorted((tmp_path / "VOC2010/JPEGImages").glob("*.jpg"))[0]
    index = pascal_part.scan(tmp_path, "dog")
    with Image.open(path) as photo:
        photo.load()
    photo.save(path, exif=held(3))
    with pytest.raises(InputError, match=f"{path.name} .turned by its EXIF entry, and its mask is not"):
        pascal_part.load(index, size=32)
