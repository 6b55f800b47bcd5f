"""Drawn animals whose parts are known to the pixel.

Every image belongs to (kind, seed, split, index) and is the same on every machine. All that is
random is decided before a part is left out, so that an image without, say, its ears differs from
the image with them only where the ears were (and, as pixels are averages of four finer ones, at
the pixels that the ears' rim shares with something else).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.drawn.anatomy import FURS, GROUP_OF, PARTS, PARTS_OF
from semquant_book.datasets.drawn.bodies import animal
from semquant_book.datasets.drawn.drawing import (OVERSAMPLING, REACH, Canvas, Dice, Figure,
                                                  averaged, covered, ellipse, mix, vary)
from semquant_book.datasets.drawn.scenes import contrasting, decoy, foreground, scene
from semquant_book.datasets.images import Images
from semquant_book.datasets.names import CATEGORIES, GROUPS, SPLITS
from semquant_book.datasets.parallel import in_chunks, kept, processes

__all__ = ["CLUTTER_SHARE", "GROUP_OF", "KINDS", "PARTS", "PARTS_OF", "load", "parse_id", "render"]

KINDS = (*CATEGORIES, "background")
CLUTTER_SHARE = 1 / 6
"""Of the negatives, the share that shows clutter and no animal; the rest is the other animals."""
VERSION = 4  # of the drawing; part of the key, so that an old cache is never taken for a new one
AREA = (0.15, 0.31)  # of the image, what an animal (or the clutter in its place) covers
WIDEST = 68.0  # model units; the image is 64 wide, so that the longest figures lose a tip at most
SMALLEST, LARGEST = 32, 1024
_NUMBERS = {part: number for number, part in enumerate(PARTS, start=1)}


def _placed(figure: Figure, dice: Dice, flip: bool) -> tuple[Figure, float]:
    """Return the figure turned, scaled to a random area and shifted into the frame, and its feet.
    The area is drawn the same way for all kinds, so that it tells nothing of the kind."""
    figure = figure.moved(flip=flip, tilt=dice.uniform(-5, 5))
    low, high = figure.bounds()
    trial = 60.0 / max(high - low)  # first at some size, to see how much it covers
    covers = covered(figure.moved(trial, *((REACH - trial * (low + high)) / 2)))
    extent = trial * float(np.sqrt(dice.uniform(*AREA) * REACH**2 / covers))
    extent = min(extent, WIDEST / max(high - low))
    low, high = low * extent, high * extent
    slack = REACH - (high - low)
    x = float(-low[0] + slack[0] / 2 + dice.uniform(-0.5, 0.5) * max(slack[0], 8.0))
    y = float(-low[1] + slack[1] / 2 + dice.uniform(-0.5, 0.5) * max(slack[1], 6.0))
    return figure.moved(extent, x, y), float(high[1] + y)


def _compose(kind: str, seed: int, split: str, index: int) -> tuple:
    """Decide everything about an image: scene and figure, sky, light and grain."""
    dice = Dice("animals", VERSION, kind, seed, split, index)
    fur, flip = vary(dice, dice.pick(FURS), 8), dice.chance(0.5)
    near, far = "lr" if flip else "rl"
    tones = contrasting(dice, fur)
    figure = decoy(dice, fur) if kind == "background" else animal(kind, dice, fur, near, far)
    figure, feet = _placed(figure, dice, flip)
    low, high = figure.bounds()
    background = scene(dice, tones, feet)
    shadow = ellipse((low[0] + high[0]) / 2, feet - 0.8, 0.4 * (high[0] - low[0]), 2.2)
    background.fill(None, shadow, mix(tones.ground, (30, 30, 50), 0.22))
    front = foreground(dice, tones, feet)
    light = [round(256 * dice.uniform(0.92, 1.04) * tint) for tint in
             (1 + dice.uniform(-0.02, 0.04), 1.0, 1 - dice.uniform(-0.02, 0.04))]
    slope = dice.uniform(-14, 14), dice.uniform(0, 14)
    return background, figure, front, tones, light, slope, dice.grain((REACH, REACH))


def _paint(kind: str, seed: int, split: str, index: int, size: int,
           without: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture and its labels at `OVERSAMPLING` times `size`."""
    background, figure, front, tones, light, slope, grain = _compose(kind, seed, split, index)
    canvas = Canvas(size)
    for layer in (background, figure, front):
        canvas.paint(layer, without)
    rows = np.arange(canvas.side)[:, None, None]
    high, low = np.array(tones.high), np.array(tones.low)
    sky = np.minimum(rows * 2, canvas.side)  # the sky fades downwards until half the height
    paper = np.broadcast_to(high + (low - high) * sky // canvas.side, (canvas.side, canvas.side, 3))
    picture = canvas.colours(paper.astype(np.uint8)).astype(np.int32)
    ramp = (np.arange(canvas.side) * 2 - canvas.side) / canvas.side
    glow = np.floor(ramp[None, :] * slope[0] - ramp[:, None] * slope[1]).astype(np.int32)
    near = np.arange(canvas.side) * REACH // canvas.side
    glow += (grain.astype(np.int32) % 9 - 4)[near][:, near]
    picture = (picture * np.array(light) >> 8) + glow[:, :, None]
    return np.clip(picture, 0, 255).astype(np.uint8), canvas.labels(_NUMBERS)


def render(kind: str, seed: int, split: str, index: int, size: int = 64,
           without: Collection[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image of a kind, and say which part is where: (size, size, 3) and (size, size),
    uint8. The label of a pixel is the topmost visible part's position in `PARTS` plus 1, 0 for
    none. Another size is the same picture, finer or coarser. What lies behind the parts of the
    animal that are left out, from ``PARTS_OF[kind]``, appears, and everything else stays as it is.
    InputError for a kind, split, size or part that there is not."""
    one_of("kind", kind, KINDS)
    one_of("split", split, SPLITS)
    number("seed", seed, 0, integer=True)
    number("index", index, 0, integer=True)
    number("size", size, SMALLEST, LARGEST, integer=True)
    if isinstance(without, str):
        raise InputError(f"without: {without!r} is not a collection of part names")
    for part in without:
        one_of(f"without (parts of a {kind})", part, PARTS_OF[kind])
    picture, labels = _paint(kind, seed, split, index, size, frozenset(without))
    middle = slice(OVERSAMPLING // 2, None, OVERSAMPLING)
    return averaged(picture, OVERSAMPLING).astype(np.uint8), labels[middle, middle].copy()


def make_id(kind: str, seed: int, split: str, index: int) -> str:
    """Return an image's name in `Images.ids`."""
    return f"{kind}/{seed}/{split}/{index}"


def parse_id(name: str) -> tuple[str, int, str, int]:
    """Return (kind, seed, split, index) of an image's name: ``render(*parse_id(name))``."""
    kind, seed, split, index = name.split("/")
    return kind, int(seed), split, int(index)


def _plan(category: str, seed: int, split: str, count: int) -> list[tuple[str, int, str, int]]:
    """Return which images make up a data set: positives and negatives in turn."""
    others = [kind for kind in KINDS if kind != category]
    plan = []
    for i in range(count):
        turn, negative = divmod(i, 2)
        again, which = divmod(turn, len(others))
        plan.append((others[which], seed, split, again) if negative else
                    (category, seed, split, turn))
    return plan


def _render_some(task: tuple[list, int]) -> tuple[np.ndarray, np.ndarray]:
    plan, size = task
    images, labels = zip(*(render(*item, size=size) for item in plan), strict=True)
    return np.stack(images), np.stack(labels)


def _render_all(plan: list, size: int, workers: int) -> dict[str, torch.Tensor]:
    done = zip(*in_chunks(_render_some, plan, size, workers))
    images, labels = (torch.from_numpy(np.concatenate(some)) for some in done)
    return {"images": images.permute(0, 3, 1, 2).contiguous(), "labels": labels}  # (N, 3, S, S)


def load(category: str, split: str, count: int, size: int = 64, seed: int = 0,
         root: str | Path = "_build/data", workers: int | None = None) -> Images:
    """Return a data set for telling one category from everything else, at least 2 images. Positives
    and negatives alternate. Of the negatives, `CLUTTER_SHARE` show clutter only, and the five other
    categories have equal parts of the rest. Splits share no image, nor do seeds. The result does
    not depend on the number of workers; in the cache `root` a file that does not match its checksum
    is made again. InputError for an argument out of range, or a folder that can't be written to."""
    one_of("category", category, CATEGORIES)
    one_of("split", split, SPLITS)
    number("count", count, 2, integer=True)
    number("size", size, SMALLEST, LARGEST, integer=True)
    number("seed", seed, 0, integer=True)
    workers, plan = processes(workers), _plan(category, seed, split, count)
    name = f"animals-v{VERSION}-{category}-{split}-{count}-{size}px-seed{seed}.safetensors"
    tensors = kept(Path(root) / name, lambda: _render_all(plan, size, workers))
    kinds = [kind for kind, *_ in plan]
    return Images(**tensors, positive=torch.tensor([kind == category for kind in kinds]),
                  kinds=kinds, ids=[make_id(*item) for item in plan], parts=PARTS, groups=GROUPS,
                  group_of=GROUP_OF)
