"""What the page of the drawn animals shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from semquant_book import figures
from semquant_book.datasets import Images
from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.shortcuts import shortcuts
from semquant_book.datasets.names import CATEGORIES
from semquant_book.study.presets import Settings

__all__ = ["categories", "left_out", "negatives", "negatives_said", "parts", "shortcuts_said"]

COLUMNS = 8
WORDS = {"leye": "eyes", "reye": "eyes", "lear": "ears", "rear": "ears"}


def draw(category: str, data_seed: int, without: Sequence[str] = ()) -> np.ndarray:
    """Draw the first test images of a category, (8, S, S, 3), without some of its parts."""
    return np.stack([animals.render(category, data_seed, "test", i, size=128, without=tuple(without))[0]
                     for i in range(COLUMNS)])


def categories(settings: Settings) -> Figure:
    """Draw a row of test images of each category."""
    rows = np.concatenate([draw(category, settings.data_seed) for category in CATEGORIES])
    return figures.sample_sheet(rows, [c for c in CATEGORIES for _ in range(COLUMNS)])


def parts(images: Images, count: int = 6) -> Figure:
    """Draw the first positive images, and under each the same with its parts coloured."""
    few = images.subset(torch.nonzero(images.positive)[:count, 0])
    return figures.label_map(few.images, few.group_masks(), few.groups)


def left_out(settings: Settings, category: str) -> Figure:
    """Draw test images of a category whole, then without its eyes, its ears and its tail, as far as it has them."""
    names = animals.PARTS_OF[category]
    ears = [p for p in names if p in ("lear", "rear")] or names[:1]
    versions = [(), *filter(None, ([p for p in names if p in ("leye", "reye")], ears,
                                   [p for p in names if p == "tail"]))]
    rows = np.concatenate([draw(category, settings.data_seed, version) for version in versions])
    labels = [f"no {WORDS.get(v[0], v[0])}" if v else "complete" for v in versions]
    return figures.sample_sheet(rows, [label for label in labels for _ in range(COLUMNS)])


def negatives(images: Images, count: int = 16) -> Figure:
    """Draw the first images that do not show the category, with what each shows."""
    others = images.subset(torch.nonzero(~images.positive)[:count, 0])
    return figures.sample_sheet(others.images, others.kinds)


def negatives_said(images: Images) -> str:
    """Count what the images show that do not show the category."""
    kinds = images.subset(~images.positive).kinds
    counted = ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds)))
    return f"Negatives of the test images: {counted}."


def shortcuts_said(train: Images, test: Images) -> str:
    """Return as a table how often a logistic regression on simple features is right."""
    rows = "\n".join(f"| {name} | {value:.1%} |" for name, value in shortcuts(train, test).items())
    return f"| what the regression sees | accuracy on the test images |\n|---|---|\n{rows}"
