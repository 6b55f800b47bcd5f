"""The pictures of Experiment 1: drawn animals, or crops and photographs from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from semquant.checks import InputError
from semquant_book.datasets import Images, pascal_part
from semquant_book.datasets.drawn import animals
from semquant_book.datasets.names import SPLITS
from semquant_book.study import store
from semquant_book.study.presets import Settings, build_root, data_root

__all__ = ["animals_of", "balanced", "crops", "make_data", "scanned"]


def animals_of(settings: Settings, category: str, split: str, architecture: str = "") -> Images:
    """Return a split of the drawn animals, half of it positive, or of the photographs.

    At the paper's sizes a network has its own, see `Settings.pixels`.
    """
    size = settings.pixels(architecture)
    if settings.images == "pascal_part":
        return _crops(data_root(), category, split, size, settings.data_seed, settings.photo_shares)
    return animals.load(
        category, split, getattr(settings, f"{split}_images"), size=size, seed=settings.data_seed,
        root=build_root() / "data" / "animals")


@lru_cache(maxsize=len(SPLITS))
def _crops(root: Path, category: str, split: str, size: int, seed: int,
           shares: tuple[float, ...]) -> Images:
    """Box crops of a category and photos without it; see `pascal_part.load`."""
    return pascal_part.load(scanned(root, category), split, size=size, seed=seed, shares=shares)


@lru_cache(maxsize=1)
def scanned(root: Path, category: str) -> pascal_part.Index:
    """What a folder of real data holds of a category, and what was left out."""
    return pascal_part.scan(root, category)


def crops(data: str | Path, category: str, ids: Sequence[str], size: int = 192) -> Images:
    """Return the crops of a record's examples from a folder; InputError if it lacks one of them."""
    index = scanned(Path(data), category)
    known = {crop.id: crop for crop in index.crops}
    missing = [name for name in ids if name not in known]
    if missing:
        raise InputError(f"data: {len(missing)} of {len(ids)} crops are not in {data}: "
                         f"{', '.join(missing[:3])}")
    negative = next(crop for crop in index.crops if not crop.positive)  # `load` wants some of both
    chosen = replace(index, crops=[*(known[name] for name in ids), negative])
    return pascal_part.load(chosen, size=size).subset(range(len(ids)))


def balanced(positive: Tensor, recipe: str) -> Tensor:
    """Return the numbers of photographs to train on, some of one class again, as unequal classes need.

    The rarer, until both are about equally frequent; with the predecessor's recipe the positives,
    until there are about three to a negative. The repeated class comes last.
    """
    if recipe == "predecessor":
        few, wanted = positive, 3.0
    else:
        few, wanted = positive if 2 * int(positive.sum()) < len(positive) else ~positive, 1.0
    copies = max(1, round(wanted * int((~few).sum()) / max(1, int(few.sum()))))
    order = torch.arange(len(positive))
    return torch.cat([order[~few], order[few].repeat(copies)])


def make_data(settings: Settings, category: str) -> str:
    """Draw or decode all splits of a category, and write their record."""
    with store.record(settings, category=category) as about:
        for split in SPLITS:
            images = animals_of(settings, category, split)
            about["metrics"][split] = {
                "images": len(images),
                "positive": int(images.positive.sum()),
                "kinds": {kind: images.kinds.count(kind) for kind in sorted(set(images.kinds))},
                "sha256": store.tensor_digest(images.images),
            }
        if settings.images == "pascal_part":  # and what was left out
            about["found"] = str(scanned(data_root(), category))
    store.write_record(store.data_record(settings, category), about)
    return f"{category}: {sum(m['images'] for m in about['metrics'].values())} images " \
           f"in {about['seconds']:.0f} s" + (f": {about['found']}" if "found" in about else "")
