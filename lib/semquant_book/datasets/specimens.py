"""Specimens of the real data: small folders in the official layouts, filled with drawn pictures.

For a dry run of what reads photographs, and for tests, where there are none of the real data. The
files have the real ones' names, formats and structure; the pictures are those of
`semquant_book.datasets.drawn.animals` and `semquant_book.datasets.drawn.faces`, and say nothing about photographs.
"""

from __future__ import annotations

import io
from itertools import count
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.celeba import ATTRIBUTE_LIST, HEIGHT, IMAGES, PARTITION_LIST, WIDTH
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.names import ATTRIBUTES, CATEGORIES, SPLITS, TARGETS
from semquant_book.datasets.pascal_part import PARTS, split_of
from semquant_book.files import write_atomic

__all__ = ["write_celeba", "write_pascal_part"]

SMALLEST = 128  # px; in smaller photos animals fall below the least area of `pascal_part.scan`
CLASS_NUMBERS = {"bird": 3, "cat": 8, "cow": 10, "dog": 12, "horse": 13, "sheep": 17}  # VOC's
# Every part of `animals` has its name from Pascal-Part. But the drawings mark the topmost part at a
# pixel, Pascal-Part marks these parts whole, with what lies on them or ends them.
WITHIN = {
    "head": ("leye", "reye", "lear", "rear", "nose", "muzzle", "beak"),
    "muzzle": ("nose",), "lleg": ("lfoot",), "rleg": ("rfoot",),
    **{f"{leg}leg": (f"{leg}pa",) for leg in ("lf", "rf", "lb", "rb")},
    **{f"{leg}lleg": (f"{leg}ho",) for leg in ("lf", "rf", "lb", "rb")},
}
_PART = [("part_name", object), ("mask", object)]
_HEADER = b"MATLAB 5.0 MAT-file, drawn specimen".ljust(116)  # scipy's has the time in it
_TURNS = ("train", "val", "test", "train", "train")


def write_pascal_part(folder: str | Path, category: str = "dog", photos: int = 12,
                      negatives: int = 8, size: int = 256, seed: int = 0) -> Path:
    """Write drawn animals as PASCAL VOC 2010 with Pascal-Part, and return the folder. It gets
    ``VOC2010/JPEGImages/<id>.jpg``, ``VOC2010/Annotations_Part/<id>.mat`` and ``neg/<number>.jpg``;
    other files there are left alone. The year in an id tells the category (dog 2008), so that one
    folder can have several.

    There are at least 2 photos, each with one object of the category, and at least 1 negative,
    clutter without an animal; all are squares of 128 to 1024 px. Parts are marked where they show;
    one that holds others (`WITHIN`, as in the official files) includes them. The object's mask is
    the union of its parts. The first photo's object has no parts (0 x 0), like Pascal-Part's own of
    which none are marked.

    The names do not depend on the seed. Their numbers are chosen so that by `pascal_part.split_of`,
    for each of its seeds 0 to 4, pictures go to train, val and test in the ratio 3:1:1: each split
    has positives and negatives if there are at least 5 of both. InputError for an argument out of
    range; if a file is there already and differs; if the folder can't be written to.
    """
    one_of("category", category, CATEGORIES)
    number("photos", photos, 2, integer=True)
    number("negatives", negatives, 1, integer=True)
    number("size", size, SMALLEST, animals.LARGEST, integer=True)
    number("seed", seed, 0, integer=True)
    folder, year = Path(folder), 2005 + CATEGORIES.index(category)
    for i, name in enumerate(_names(f"{year}_{{:06d}}", photos)):
        picture, labels = animals.render(category, seed, "train", i, size)
        parts = _parts(category, labels) if i else []
        _put(folder / "VOC2010" / "JPEGImages" / f"{name}.jpg", _jpeg(picture))
        _put(folder / "VOC2010" / "Annotations_Part" / f"{name}.mat",
             _annotation(name, category, labels > 0, parts))
    for i, name in enumerate(_names("{:05d}", negatives)):
        picture, _ = animals.render("background", seed, "train", i, size)
        _put(folder / "neg" / f"{name}.jpg", _jpeg(picture))
    return folder


def write_celeba(folder: str | Path, train: int = 16, val: int = 8, test: int = 8,
                 seed: int = 0) -> Path:
    """Write drawn faces as CelebA, and return the folder. It gets ``celeba`` with
    ``img_align_celeba/000001.jpg`` and so on, ``list_attr_celeba.txt`` and
    ``list_eval_partition.txt``, whose lines end by CR and LF as in the official lists; other files
    there are left alone.

    Each split has at least 2 images; in each, every target (Attractive, Heavy_Makeup, Male, Young)
    is present in some image and absent from some. An image is 178 x 218 px: its central square,
    rows 20 to 197, is the drawing, whose first and last rows are repeated above and below.
    InputError for an argument out of range; if a file is there already and differs; if the folder
    can't be written to.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, images in counts.items():
        number(split, images, 2, integer=True)
    number("seed", seed, 0, integer=True)
    drawn = [(split, i) for split, images in counts.items() for i in _faces(seed, split, images)]
    names = [f"{i:06d}.jpg" for i in range(1, len(drawn) + 1)]
    rows, parts = [str(len(drawn)), " ".join(ATTRIBUTES) + " "], []
    for name, (split, i) in zip(names, drawn, strict=True):
        values = " ".join(" 1" if has else "-1" for has in faces.attributes_of(seed, split, i))
        rows.append(f"{name} {values}")
        parts.append(f"{name} {SPLITS.index(split)}")
    home = Path(folder) / "celeba"
    for file, lines in {ATTRIBUTE_LIST: rows, PARTITION_LIST: parts}.items():
        _put(home / file, "".join(f"{line}\r\n" for line in lines).encode())
    above = (HEIGHT - WIDTH) // 2
    rim = ((above, HEIGHT - WIDTH - above), (0, 0), (0, 0))
    for name, (split, i) in zip(names, drawn, strict=True):
        face = faces.render(seed, split, i, WIDTH)
        _put(home / IMAGES / name, _jpeg(np.pad(face, rim, mode="edge")))
    return Path(folder)


def _names(form: str, wanted: int) -> list[str]:
    """Return names whose splits, for each seed 0 to 4, follow `_TURNS`, begun at the seed."""
    numbers, turns = map(form.format, count(1)), range(len(_TURNS))
    return [next(name for name in numbers if all(
        split_of(name, seed) == _TURNS[(i + seed) % len(_TURNS)] for seed in turns))
            for i in range(wanted)]


def _parts(category: str, labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return (part name, mask (S, S) bool) for the parts that show in labels (S, S)."""
    drawn = {part: labels == animals.PARTS.index(part) + 1 for part in PARTS[category]}
    return [(part, np.any([mask, *(drawn[p] for p in WITHIN.get(part, ()) if p in drawn)], axis=0))
            for part, mask in drawn.items() if mask.any()]


def _annotation(name: str, category: str, whole: np.ndarray,
                parts: list[tuple[str, np.ndarray]]) -> bytes:
    """Return a .mat file: anno(imname, objects(class, class_ind, mask, parts(part_name, mask))).
    Masks are (S, S) bool, in the file MATLAB's logical, the class's number its double."""
    marked = np.zeros((1, len(parts)) if parts else (0, 0), _PART)
    for i, part in enumerate(parts):
        marked[0, i] = part
    thing = {"class": category, "class_ind": float(CLASS_NUMBERS[category]), "mask": whole,
             "parts": marked}
    file = io.BytesIO()
    scipy.io.savemat(file, {"anno": {"imname": name, "objects": thing}}, do_compression=True)
    return _HEADER + file.getvalue()[len(_HEADER):]


def _faces(seed: int, split: str, images: int) -> list[int]:
    """Return the numbers of the first faces, two of them opposite to each other in all targets."""
    columns = [ATTRIBUTES.index(name) for name in TARGETS]
    pair = [next(i for i in count() if faces.attributes_of(seed, split, i)[columns].tolist() == has)
            for has in ([True, True, False, True], [False, False, True, False])]
    others = [i for i in range(images) if i not in pair]
    return sorted(pair + others[: images - 2])


def _jpeg(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    return file.getvalue()


def _put(path: Path, content: bytes) -> None:
    """Write a file, but never over another: the folder may hold real data."""
    if not path.is_file():
        write_atomic(path, content)
    elif path.read_bytes() != content:
        raise InputError(f"folder: {path} is there already and differs; accepted: a new folder")
