"""The pictures of Experiment 2: drawn faces, or CelebA's photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from semquant.checks import InputError
from semquant_book.datasets import celeba
from semquant_book.datasets.decoded import Decoded
from semquant_book.datasets.drawn import faces
from semquant_book.datasets.drawn.faces import Faces
from semquant_book.datasets.names import ATTRIBUTES, SPLITS
from semquant_book.folders import real
from semquant_book.study import store
from semquant_book.study.presets import Settings, build_root, data_root

__all__ = ["celeba_folders", "faces_of", "make_data", "photographs", "portraits"]


def faces_of(settings: Settings, split: str) -> Faces:
    """Return a split of the faces: drawn ones, or CelebA's official one."""
    count = getattr(settings, f"face_{split}_images")
    if settings.faces == "celeba":
        return _celeba(data_root(), split, settings.face_size, count, settings.data_seed,
                       settings.cache)
    return faces.load(split, count, size=settings.face_size, seed=settings.data_seed,
                      root=build_root() / "data" / "faces")


def celeba_folders(root: Path) -> list[Path]:
    """Return the folders of CelebA's images in the folder of real data.

    ``celeba`` and any other whose name begins so and that has lists or images as CelebA has (copies
    of more images, perhaps smaller), or the folder itself. ``celeba_hq`` has neither.
    """
    return real(path for path in root.glob("celeba*") if celeba.is_home(path)) or [root]


@lru_cache(maxsize=len(SPLITS))
def _celeba(root: Path, split: str, size: int, count: int, seed: int, cache: str) -> Faces:
    """A split of all CelebA folders together, at most `count` faces; an image is taken once.

    They are decoded once, if all splits' images fit into memory by `store.in_memory`, or each time.
    """
    indices = [_scanned_faces(folder) for folder in celeba_folders(root)]
    images = sum(sum(index.present.values()) for index in indices)
    decode = store.in_memory(cache, 3 * size**2 * images, "faces, decoded")
    found = [celeba.load(index, split, size=size, cache=build_root() / "data" / "celeba",
                         decode=decode) for index in indices if index.files[split]]
    if not found:
        raise InputError(f"data: {root} has no CelebA image of the split {split}")
    whole = celeba.join(*found)
    if len(whole) <= count:
        return whole
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    return whole.subset(order[:count].sort().values)


@lru_cache(maxsize=4)
def _scanned_faces(folder: Path) -> celeba.Index:
    return celeba.scan(folder)


def portraits(settings: Settings, chosen: Sequence[int], size: int = 192) -> np.ndarray:
    """Return chosen test faces finer than the network sees them: (k, size, size, 3) uint8."""
    if settings.faces == "celeba":
        ids = faces_of(settings, "test").ids
        return photographs([ids[int(i)] for i in chosen], size)
    return np.stack([faces.render(settings.data_seed, "test", int(i), size) for i in chosen])


def photographs(ids: Sequence[str], size: int = 192) -> np.ndarray:
    """Return photographs from the folder of real data by their names: (k, size, size, 3) uint8."""
    folders = celeba_folders(data_root())
    found = [next((path for folder in folders
                   for path in (folder / "img_align_celeba" / name,) if path.is_file()), None)
             for name in ids]
    missing = [name for name, path in zip(ids, found) if path is None]
    if missing:
        raise InputError(f"data: {len(missing)} of {len(ids)} photographs are not in {data_root()}: "
                         f"{', '.join(missing[:3])}")
    shown, problems = [], []
    for path in found:
        try:
            shown.append(celeba.square(path, size))
        except InputError as error:
            problems.append(f"{path} ({error})")
    if problems:
        raise InputError(f"data: {len(problems)} photographs can't be used: "
                         f"{', '.join(problems[:3])}{', ...' if len(problems) > 3 else ''}")
    return np.stack(shown)


def make_data(settings: Settings) -> str:
    """Draw or decode all splits of the faces, and write their record."""
    with store.record(settings) as about:
        for split in SPLITS:
            drawn = faces_of(settings, split)
            digest = celeba.digest if isinstance(drawn.images, Decoded) else store.tensor_digest
            about["metrics"][split] = {
                "images": len(drawn),
                "rates": dict(zip(ATTRIBUTES, drawn.attributes.float().mean(dim=0).tolist())),
                "sha256": digest(drawn.images),
            }
        if settings.faces == "celeba":  # and what was left out
            about["found"] = {folder.name: str(_scanned_faces(folder))
                              for folder in celeba_folders(data_root())}
    store.write_record(store.faces_record(settings), about)
    said = f"faces: {sum(m['images'] for m in about['metrics'].values())} images " \
           f"in {about['seconds']:.0f} s"
    return "; ".join([said, *(f"{k}: {v}" for k, v in about.get("found", {}).items())])
