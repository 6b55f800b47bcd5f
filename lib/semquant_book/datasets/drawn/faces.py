"""Drawn faces: portraits with the 40 attributes of CelebA.

Every face belongs to (seed, split, index) and is the same on every machine (another version of
Pillow may round a pixel at an edge the other way). Which attributes it has is decided by
`semquant_book.datasets.drawn.attributes`; how each looks, by dice that belong to the feature and to nothing
else. So a face can be drawn once more with some attributes negated and all else as it was: a
counterfactual whose difference to the face is the attributes' own trace.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.decoded import Decoded, subset
from semquant_book.datasets.drawn.attributes import sample
from semquant_book.datasets.drawn.drawing import OVERSAMPLING, REACH, Canvas, Dice, averaged
from semquant_book.datasets.drawn.looks import Person
from semquant_book.datasets.drawn.portraits import portrait
from semquant_book.datasets.drawn.shading import apply, blurred
from semquant_book.datasets.names import ATTRIBUTES, SPLITS
from semquant_book.datasets.parallel import in_chunks, kept, processes

__all__ = ["VERSION", "Faces", "attributes_of", "load", "make_id", "parse_id", "render"]

VERSION = 2  # of the drawing; part of the key, so that an old cache is never taken for a new one
SMALLEST, LARGEST = 32, 512
_FINENESS = 4  # canvas pixels for one image pixel, along each side: thin lines need it


@dataclass(frozen=True)
class Faces:
    """Portraits (N, 3, S, S) uint8, their attributes (N, 40) bool with the names of the columns,
    and an id for each image, unique within its data set."""

    images: torch.Tensor | Decoded
    attributes: torch.Tensor
    ids: list[str]
    names: tuple[str, ...] = ATTRIBUTES

    def __post_init__(self) -> None:
        for name, value in {"attributes": self.attributes, "ids": self.ids}.items():
            if len(value) != len(self.images):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.images)} images")
        if self.attributes.ndim != 2 or self.attributes.shape[1] != len(self.names):
            raise ValueError(f"attributes: shape {tuple(self.attributes.shape)} for "
                             f"{len(self.names)} names")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | torch.Tensor) -> Faces:
        """Return the faces at `indices` (whole numbers, or a (N,) bool tensor), in that order."""
        chosen = torch.as_tensor(indices)
        chosen = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.long()
        return Faces(subset(self.images, chosen), self.attributes[chosen],
                     [self.ids[i] for i in chosen.tolist()], self.names)


def attributes_of(seed: int, split: str, index: int) -> np.ndarray:
    """Return which attributes a face has: (40,) bool, in the order of `ATTRIBUTES`. InputError for
    a split, seed or index that there is not."""
    one_of("split", split, SPLITS)
    number("seed", seed, 0, integer=True)
    number("index", index, 0, integer=True)
    return sample(Dice("faces", VERSION, seed, split, index, "attributes"))


def render(seed: int, split: str, index: int, size: int = 64,
           flip: Collection[str] = ()) -> np.ndarray:
    """Draw one face, (size, size, 3) uint8; another size is the same picture, finer or coarser. Of
    `flip` attributes are negated and everything else stays as it is, other attributes too, even
    where that makes a rare mixture: of two colours of the hair one shows as strands; a goatee needs
    no beard around it. Something may hide the change: a hat hides bangs, and a bald head has
    neither bangs nor curls. InputError for a split, seed, index, size or attribute that there is
    not."""
    number("size", size, SMALLEST, LARGEST, integer=True)
    if isinstance(flip, str):
        raise InputError(f"flip: {flip!r} is not a collection of attribute names")
    for name in flip:
        one_of("flip", name, ATTRIBUTES)
    has = attributes_of(seed, split, index) ^ np.isin(ATTRIBUTES, list(flip))
    return _developed(Person(has, "faces", VERSION, seed, split, index), size)


def _developed(person: Person, size: int) -> np.ndarray:
    """Return a person's portrait as pixels."""
    drawn, canvas = portrait(person), Canvas(size * _FINENESS // OVERSAMPLING)
    for figure in drawn.figures:
        canvas.paint(figure)
    side, high, low = canvas.side, np.array(drawn.high), np.array(drawn.low)
    rows = np.arange(side)[:, None, None]
    paper = (high + (low - high) * rows // side).astype(np.uint8)
    picture = canvas.colours(np.broadcast_to(paper, (side, side, 3))).astype(np.int32)
    apply(canvas, picture, drawn.glazes, _spread(person.dice("stubble"), 2 * REACH, side))
    ramp = (np.arange(size) * 2 + 1 - size) / size
    glow = np.floor(ramp[None, :] * drawn.slope[0] - ramp[:, None] * drawn.slope[1])
    glow = glow.astype(np.int32) + _spread(person.dice("grain"), REACH, size) % 5 - 2
    image = (averaged(picture, _FINENESS) * np.array(drawn.light) >> 8) + glow[:, :, None]
    return blurred(np.clip(image, 0, 255).astype(np.uint8), drawn.blur)


def _spread(dice: Dice, cells: int, side: int) -> np.ndarray:
    """Return (side, side) int32 random bytes, the same `cells` x `cells` for every side."""
    at = np.arange(side) * cells // side
    return dice.grain((cells, cells)).astype(np.int32)[at][:, at]


def make_id(seed: int, split: str, index: int) -> str:
    """Return a face's name in `Faces.ids`."""
    return f"face/{seed}/{split}/{index}"


def parse_id(name: str) -> tuple[int, str, int]:
    """Return (seed, split, index) of a face's name: ``render(*parse_id(name))``."""
    _, seed, split, index = name.split("/")
    return int(seed), split, int(index)


def _render_some(task: tuple[list, int]) -> np.ndarray:
    plan, size = task
    return np.stack([render(*item, size=size) for item in plan])


def _render_all(plan: list, size: int, workers: int) -> dict[str, torch.Tensor]:
    images = torch.from_numpy(np.concatenate(in_chunks(_render_some, plan, size, workers)))
    attributes = torch.from_numpy(np.stack([attributes_of(*item) for item in plan]))
    return {"images": images.permute(0, 3, 1, 2).contiguous(), "attributes": attributes}


def load(split: str, count: int, size: int = 64, seed: int = 0, root: str | Path = "_build/data",
         workers: int | None = None) -> Faces:
    """Return a data set of faces; a larger one begins with the faces of a smaller one. Splits share
    no face, nor do seeds. The result does not depend on the number of workers; in the cache `root`
    a file that does not match its checksum is made again. InputError for an argument out of range,
    or a folder that can't be written to."""
    one_of("split", split, SPLITS)
    number("count", count, 1, integer=True)
    number("size", size, SMALLEST, LARGEST, integer=True)
    number("seed", seed, 0, integer=True)
    workers, plan = processes(workers), [(seed, split, index) for index in range(count)]
    path = Path(root) / f"faces-v{VERSION}-{split}-{count}-{size}px-seed{seed}.safetensors"
    tensors = kept(path, lambda: _render_all(plan, size, workers))
    return Faces(**tensors, ids=[make_id(*item) for item in plan])
