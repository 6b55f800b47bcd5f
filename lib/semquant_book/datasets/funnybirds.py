"""FunnyBirds in its official layout (Hesse, Schaub-Meyer and Roth, ICCV 2023).

The folder of real data holds a folder ``FunnyBirds`` with::

    classes.json  parts.json              the model of each part of each class, and the models
    dataset_train.json  dataset_test.json a record for each image, its class and its scene
    train/<class>/<index>.png             images; the index is the record's place, in six digits
    test_part_map/<class>/<index>.png     what covers each pixel, by colour
    test_interventions/<class>/<index>/body_<kept parts>.png          each subset of the parts
    test_interventions/<class>/<index>/background_interventions/<n>.png  without object n
    subset.json                           not official: which classes are there, and the splits

Images are PNG, of which alpha is dropped, or JPEG. Without ``subset.json`` all classes are taken, and
there is no validation split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semquant.checks import InputError
from semquant_book.datasets.decoded import Decoded
from semquant_book.datasets.names import SPLITS
from semquant_book.datasets.photos import opened, report
from semquant_book.folders import real

__all__ = ["COLOURS", "FOLDER", "OBJECT", "PARTS", "Bird", "Birds", "read"]

FOLDER = "FunnyBirds"
PARTS = ("beak", "eye", "foot", "tail", "wing")  # as in parts.json, and in the names of files
#: The colours of parts in a part map, and the part of each; left and right have their own.
COLOURS = {(255, 255, 0): "beak", (255, 255, 253): "eye", (255, 255, 254): "eye", (255, 0, 1): "foot",
           (255, 0, 2): "foot", (0, 0, 255): "tail", (0, 255, 1): "wing", (0, 255, 2): "wing"}
OBJECT = 100  # code of background object 0
_GREY = 204  # background object n is (204, 204, 204 + n)


class Bird(NamedTuple):
    """An image: its record, what it shows, and how many objects are behind it."""

    file: str  #: ``train`` or ``test``
    index: int  #: The record's place in the file.
    label: int
    parts: int  #: Bit mask of `PARTS`: of a training image some may have been left out.
    objects: int


@dataclass(frozen=True, eq=False)
class Birds:
    """What a folder holds."""

    root: Path
    suffix: str  #: Of images: ``.png`` or ``.jpg``.
    names: tuple[int, ...]  #: For each label the official number of the class.
    models: Tensor  #: (K, 5) whole numbers, the model of each of `PARTS` that a class has.
    birds: dict[str, list[Bird]]  #: By split.

    def labels(self, split: str) -> Tensor:
        """The labels (N,) of a split's images."""
        return torch.tensor([bird.label for bird in self.birds[split]], dtype=torch.long)

    def possible(self, split: str) -> Tensor:
        """For each of a split's images every class that has the parts shown, equally: (N, K), adding up
        to 1."""
        labels, kept = self.labels(split), torch.tensor([bird.parts for bird in self.birds[split]])
        shown = (kept[:, None] >> torch.arange(len(PARTS)) & 1 == 1)[:, None]  # (N, 1, P)
        same = self.models[labels][:, None] == self.models[None]  # (N, K, P)
        found = (same | ~shown).all(dim=2).float()
        return found / found.sum(dim=1, keepdim=True)

    def images(self, split: str, size: int) -> Decoded:
        """A split's images (N, 3, size, size) uint8, decoded whenever they are asked for."""
        return self.decoded([self._path(bird.file, bird, self.suffix) for bird in self.birds[split]], size)

    def decoded(self, paths: Sequence[Path], size: int) -> Decoded:
        """Images in files; InputError, with a count and the first names, if some are missing."""
        report([str(path.relative_to(self.root)) for path in paths if not path.is_file()],
               f"images are missing from {self.root}")
        return Decoded(paths, size, _square)

    def part_maps(self, split: str, size: int) -> Tensor:
        """What covers each pixel, (N, size, size) uint8: 0 for what has no colour in `COLOURS`, from 1
        on these in their order, and `OBJECT` + n for background object n."""
        paths = [self._path(f"{bird.file}_part_map", bird, ".png") for bird in self.birds[split]]
        self.decoded(paths, size)
        return torch.stack([torch.from_numpy(_codes(path, size)) for path in paths])

    def renders(self, bird: Bird) -> list[Path]:
        """The images with each subset of the parts, in the order of bit masks: bit p is set where part
        p is kept."""
        folder = self._path(f"{bird.file}_interventions", bird, "")
        return [folder / ("body_" + "_".join(part for p, part in enumerate(PARTS) if kept >> p & 1) + self.suffix)
                for kept in range(2 ** len(PARTS))]

    def without_objects(self, bird: Bird) -> list[Path]:
        """The images without each background object; none where the folder has none for this image."""
        folder = self._path(f"{bird.file}_interventions", bird, "") / "background_interventions"
        return [folder / f"{n}{self.suffix}" for n in range(bird.objects)] if folder.is_dir() else []

    def _path(self, folder: str, bird: Bird, suffix: str) -> Path:
        return self.root / folder / str(self.names[bird.label]) / f"{bird.index:06d}{suffix}"


def read(data: str | Path) -> Birds:
    """Read the lists of the folder ``FunnyBirds`` in a folder of real data; images stay on disk.

    InputError if the folder, a list or a class of a list is missing, or a list is no such list.
    """
    root = Path(data) / FOLDER
    if not root.is_dir():
        raise InputError(f"data: {root} is not a folder; accepted: a folder that holds {FOLDER}")
    classes, parts = _list(root, "classes.json"), _list(root, "parts.json")
    if tuple(sorted(parts)) != PARTS:
        raise InputError(f"data: {root / 'parts.json'} lists {', '.join(sorted(parts))}; accepted: "
                         f"{', '.join(PARTS)}")
    models = {one["class_idx"]: [one["parts"][part] for part in PARTS] for one in classes}
    subset = _list(root, "subset.json") if (root / "subset.json").is_file() else None
    if subset:
        names = tuple(one["class_idx"] for one in sorted(subset["classes"], key=lambda one: one["label"]))
        ranges = {split[:3] if split == "validation" else split: (about["from"], about["to"])
                  for split, about in subset["splits"].items()}
    else:
        names, ranges = tuple(sorted(models)), {"val": (0, 0)}
    _there(root, "subset.json", set(names), models)
    birds = {}
    for split in SPLITS:
        file = "test" if split == "test" else "train"
        birds[split] = _birds(root, file, names)[slice(*ranges.get(split, (None,)))]
    suffix = ".png" if real((root / "test").glob("*/*.png")) else ".jpg"
    return Birds(root, suffix, names, torch.tensor([models[name] for name in names]), birds)


def _birds(root: Path, file: str, names: tuple[int, ...]) -> list[Bird]:
    name, place = f"dataset_{file}.json", {name: label for label, name in enumerate(names)}
    records = _list(root, name)
    _there(root, name, {one["class_idx"] for one in records}, place)
    return [Bird(file, i, place[one["class_idx"]],
                 sum((one[f"{part}_model"] != "placeholder") << p for p, part in enumerate(PARTS)),
                 len(re.findall(r"\d+", one["bg_objects"]))) for i, one in enumerate(records)]


def _list(root: Path, name: str) -> list | dict:
    try:
        return json.loads((root / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"data: {root / name} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"data: {root / name} is not JSON") from error


def _there(root: Path, name: str, wanted: set[int], classes: dict[int, object]) -> None:
    strange = sorted(wanted - set(classes))
    if strange:
        raise InputError(f"data: {root / name} names class {strange[0]}, which is not there; accepted: "
                         f"{', '.join(map(str, sorted(classes)))}")


def _square(path: Path, size: int) -> np.ndarray:
    """An image (size, size, 3), reduced where it is larger."""
    return np.array(opened(path).resize((size, size), Image.Resampling.BICUBIC))


def _codes(path: Path, size: int) -> np.ndarray:
    """The part map (size, size) of a file, by the nearest pixel."""
    colours = np.asarray(opened(path).resize((size, size), Image.Resampling.NEAREST))
    codes = np.zeros((size, size), np.uint8)
    for code, colour in enumerate(COLOURS, 1):
        codes[(colours == colour).all(axis=2)] = code
    behind = (colours[..., :2] == _GREY).all(axis=2) & (colours[..., 2] >= _GREY)
    codes[behind] = OBJECT + colours[..., 2][behind] - _GREY
    return codes
