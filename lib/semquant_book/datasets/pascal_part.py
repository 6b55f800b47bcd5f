"""Real photographs: animals of PASCAL VOC 2010 with the part masks of Pascal-Part.

The folder that a reader gives holds::

    VOC2010/JPEGImages/<image id>.jpg         the photos of PASCAL VOC 2010
    VOC2010/Annotations_Part/<image id>.mat   Pascal-Part (Chen et al., CVPR 2014)
    neg/*.jpg                                 optional: photos without the category

Positives are box crops of every object of the category, as in "Interpretable Convolutional Neural
Networks" (Zhang, Wu and Zhu, CVPR 2018). Train, validation and test are split by image.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.images import Images
from semquant_book.datasets.names import CATEGORIES, GROUPS, SPLITS, group_of
from semquant_book.datasets.photos import opened, report
from semquant_book.folders import real

__all__ = ["PARTS", "Crop", "Index", "load", "scan", "split_of"]

_FACE = "head leye reye torso neck tail "
_HOOFED = _FACE + "lear rear muzzle lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg "
_PAWED = _FACE + "lear rear nose lfleg lfpa rfleg rfpa lbleg lbpa rbleg rbpa "
#: Part names that Pascal-Part uses for each category.
PARTS = {
    "bird": tuple((_FACE + "beak lwing rwing lleg lfoot rleg rfoot").split()),
    "cat": tuple(_PAWED.split()),
    "cow": tuple((_HOOFED + "lhorn rhorn").split()),
    "dog": tuple((_PAWED + "muzzle").split()),
    "horse": tuple((_HOOFED + "lfho rfho lbho rbho").split()),
    "sheep": tuple((_HOOFED + "lhorn rhorn").split()),
}
GROUP_OF = {part: group_of(part) for parts in PARTS.values() for part in parts}
SHARES = (0.6, 0.15, 0.25)  # of the photos
MIN_AREA = 50 * 50  # least area of an object's box in pixels
_PHOTOS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Crop:
    """One picture of the data set, not yet decoded."""

    photo: Path
    #: The photo's name without its ending; for an object ``#`` and its number in the annotation.
    id: str
    #: (top, left, bottom, right) in pixels, bottom and right exclusive; None for the whole photo.
    box: tuple[int, int, int, int] | None = None
    annotation: Path | None = None  #: The .mat file of a positive.
    number: int = 0  #: Which object of that file, from 0.

    @property
    def positive(self) -> bool:
        return self.annotation is not None


@dataclass
class Index:
    """What a folder holds for one category, and what was left out, counted."""

    category: str
    crops: list[Crop]  #: Positives in the order of their file names, then negatives.
    negatives_from: str
    counts: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        c, name = self.counts, self.category
        strays = "; files in neg/ that are no photos, left out: "
        return (f"{c['objects']} objects of category {name} in {c['photos']} photos, "
                f"{c['negatives']} negatives ({self.negatives_from}); left out: {c['small']} "
                f"{name} objects of a box below the least area; kept although no part is marked: "
                f"{c['partless']}; with a mask that fills its box (a box stands for the outline): "
                f"{c['filled']}" + (f"{strays}{c['strays']}" if c["strays"] else ""))


def split_of(image_id: str, seed: int = 0, shares: Sequence[float] = SHARES) -> str:
    """Return the split a picture belongs to, "train", "val" or "test", in these shares of the
    photos. A hash of the seed and the photo's name (what stands before a ``#``) decides, so the
    split depends neither on the other photos nor on the machine, and all crops of a photo fall
    together."""
    digest = hashlib.sha256(f"{seed}/{image_id.partition('#')[0]}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < shares[0]:
        return "train"
    return "val" if draw < shares[0] + shares[1] else "test"


def scan(data: str | Path, category: str, *, negatives: str = "photos", seed: int = 0,
         limit: int = 1000) -> Index:
    """Read all annotations in a folder, about 100 a second, and list the pictures of one category.
    As in Zhang et al. (2018) these are objects whose box has at least `MIN_AREA` pixels, and by
    default up to 1000 whole photos as negatives. For `negatives` "crops" it is one box from each,
    of the relative size of a random positive's box, so that framing and sharpness tell less.

    Negatives come from ``neg/``; without that folder from the photos whose annotation has no object
    of the category. The 1000 that Zhang et al. published are not clean: about one in ten shows some
    animal, and nothing here looks for the category in them. scipy's reader runs no code, but a .mat
    file whose bytes were changed on purpose can crash it: take the files from their publisher.

    InputError, with a count and the first names, if a folder is missing or empty; if an annotation
    is not a Pascal-Part file, names an unknown part, or has masks of different sizes; if a photo is
    missing.
    """
    one_of("category", category, CATEGORIES)
    one_of("negatives", negatives, ("photos", "crops"))
    number("limit", limit, 1, integer=True)
    data = Path(data)
    photos = _folder(data, "VOC2010/JPEGImages")
    files = real(_folder(data, "VOC2010/Annotations_Part").glob("*.mat"))
    if not files:
        raise InputError(f"data: {data}/VOC2010/Annotations_Part holds no .mat file")
    crops, free, problems, counts = [], [], [], Counter()
    for file in files:
        photo = photos / f"{file.stem}.jpg"
        try:
            objects = _objects(file, category)
            boxes = [_box(mask) for mask, _ in objects]
            unknown = {name for _, parts in objects for name, _ in parts} - {*PARTS[category]}
            if unknown:
                raise InputError(f"unknown part {', '.join(sorted(unknown))}")
        except InputError as error:
            problems.append(f"{file.name} ({error})")
            continue
        if not objects:
            free.append(photo)
        counts["photos"] += bool(objects)
        for i, ((mask, parts), box) in enumerate(zip(objects, boxes, strict=True)):
            top, left, bottom, right = box
            if (bottom - top) * (right - left) < MIN_AREA:
                counts["small"] += 1
                continue
            counts["objects"] += 1
            counts["partless"] += not any(part.any() for _, part in parts)
            counts["filled"] += bool(mask[top:bottom, left:right].all())
            crops.append(Crop(photo, f"{file.stem}#{i}", box, file, i))
    report(problems, "annotations can't be used")
    if not crops:
        raise InputError(f"category: no {category} of at least {MIN_AREA} px in {len(files)} "
                         "annotations")
    source, chosen = f"photos of VOC2010 annotated without {category}", free
    if (data / "neg").is_dir():
        inside = real((data / "neg").iterdir())
        source, chosen = "neg/", [p for p in inside if p.suffix.lower() in _PHOTOS]
        if len(chosen) < len(inside):
            counts["strays"] = len(inside) - len(chosen)
        stems = Counter(p.stem for p in chosen)
        report([p.name for p in chosen if stems[p.stem] > 1],
               f"photos of {data / 'neg'} have the name of another but for its ending")
    if not chosen:
        raise InputError(f"data: {data} has no negatives ({source})")
    chosen = sorted(sorted(chosen, key=lambda p: _draw(seed, p.stem).bytes(8))[:limit])
    counts["negatives"], positives = len(chosen), list(crops)
    wanted = sorted({crop.photo for crop in crops} | set(chosen))
    report([p.name for p in wanted if not p.is_file()], f"photos are missing from {photos}")
    for photo in chosen:
        try:
            _size(photo)  # a web page may be called .jpg
            box = _random_box(photo, positives, seed) if negatives == "crops" else None
            crops.append(Crop(photo, photo.stem, box))
        except InputError as error:
            problems.append(str(error))
    report(sorted(set(problems)), "photos can't be used")
    source += ", random boxes" if negatives == "crops" else ""
    return Index(category, crops, source, counts)


def load(index: Index, split: str | None = None, *, size: int = 224, seed: int = 0,
         shares: Sequence[float] = SHARES) -> Images:
    """Decode the pictures of an index, or of one split by `split_of`, to a side of `size` pixels.
    Photos are resized bilinearly, without regard to their proportions, masks to the nearest pixel.
    Masks are packed and may overlap, as Pascal-Part's do (an eye lies within the head); negatives
    have none. InputError if photos can't be decoded or differ in size from their masks, with the
    first names; if the split has no positive or no negative."""
    number("size", size, 1, integer=True)
    if split is not None:
        one_of("split", split, SPLITS)
    crops = [c for c in index.crops if split is None or split_of(c.id, seed, shares) == split]
    positive = torch.tensor([c.positive for c in crops], dtype=torch.bool)
    if not 0 < positive.sum() < len(crops):
        raise InputError(f"split: {split or 'the whole'} has {positive.sum()} positives and "
                         f"{(~positive).sum()} negatives; accepted: some of both")
    images = torch.empty(len(crops), 3, size, size, dtype=torch.uint8)
    names = PARTS[index.category]
    masks = torch.zeros(len(crops), len(names), size, -(-size // 8), dtype=torch.uint8)
    problems, objects, before = set(), [], None
    for i, crop in enumerate(crops):
        try:
            if crop.positive and crop.annotation != before:
                before, objects = crop.annotation, _objects(crop.annotation, index.category)
            photo = opened(crop.photo)
            mask, parts = objects[crop.number] if crop.positive else (None, [])
            if mask is not None and photo.info["turned"]:
                raise InputError("turned by its EXIF entry, and its mask is not")
            if mask is not None and mask.shape != (photo.height, photo.width):
                raise InputError(f"{photo.width} x {photo.height} px, its mask {mask.shape[1]} x "
                                 f"{mask.shape[0]}")
        except InputError as error:
            problems.add(f"{crop.photo.name} ({error})")
            continue
        top, left, bottom, right = crop.box or (0, 0, photo.height, photo.width)
        cut = photo.crop((left, top, right, bottom))  # first: nothing outside may shine in
        resized = cut.resize((size, size), Image.Resampling.BILINEAR)
        images[i] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)  # (S, S, 3) -> (3, S, S)
        rows, columns = (start + ((np.arange(size) + 0.5) * (end - start) / size).astype(int)
                         for start, end in ((top, bottom), (left, right)))
        for name, part in parts:
            packed = np.packbits(part[np.ix_(rows, columns)] > 0, axis=-1)
            masks[i, names.index(name)] |= torch.from_numpy(packed)
    report(sorted(problems), "photos can't be used")
    return Images(images, positive, [index.category if p else "background" for p in positive],
                  [c.id for c in crops], masks=masks, parts=names, groups=GROUPS,
                  group_of={name: GROUP_OF[name] for name in names})


def _folder(data: Path, name: str) -> Path:
    folder = data / name
    if not folder.is_dir():
        raise InputError(f"data: {folder} is not a folder; accepted: a folder that holds {name}")
    return folder


def _objects(file: Path, category: str) -> list[tuple[np.ndarray, list[tuple[str, np.ndarray]]]]:
    """Return mask (H, W) and [(part name, mask (H, W)), ...] of a category's objects in a .mat."""
    try:
        objects = loadmat(file, simplify_cells=True)["anno"]["objects"]
        found, sizes = [], set()
        for item in np.atleast_1d(objects):  # one object, or one part, is no list
            parts = [(str(part["part_name"]), _numbers(part["mask"]))
                     for part in np.atleast_1d(item["parts"])]
            parts = [(name, mask) for name, mask in parts if mask.size]  # 0 x 0: an empty part
            mask = _numbers(item["mask"])
            sizes |= {m.shape for m in (mask, *(part for _, part in parts))}
            if item["class"] == category:
                found.append((mask, parts))
        two_d = all(len(shape) == 2 for shape in sizes)
    except Exception as error:  # whatever scipy meets in a file that is something else
        reason = str(error).splitlines()[0][:60] if str(error) else type(error).__name__
        raise InputError(f"not a Pascal-Part file: {reason}") from error
    if len(sizes) > 1 or not two_d:
        raise InputError(f"masks of sizes {' and '.join(str(s) for s in sorted(sizes))}")
    return found


def _numbers(mask: object) -> np.ndarray:
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "biuf":
        raise InputError(f"a mask is no matrix of numbers but {type(mask).__name__}")
    return mask


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise InputError("an object with an empty mask")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _draw(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"negatives/{seed}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _size(photo: Path) -> tuple[int, int]:
    try:
        return opened(photo, decode=False).size
    except InputError as error:
        raise InputError(f"{photo.name} ({error})") from error


def _random_box(path: Path, positives: list[Crop], seed: int) -> tuple[int, int, int, int]:
    """Return a box at a random place, of the relative height and width of a random positive's."""
    draw = _draw(seed, path.stem)
    like = positives[draw.integers(len(positives))]
    (width, height), (wide, high) = _size(path), _size(like.photo)
    high = max(1, round((like.box[2] - like.box[0]) * (height / high)))
    wide = max(1, round((like.box[3] - like.box[1]) * (width / wide)))
    top, left = draw.integers(height - high + 1), draw.integers(width - wide + 1)
    return int(top), int(left), int(top + high), int(left + wide)
