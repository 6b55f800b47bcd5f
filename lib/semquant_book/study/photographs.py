"""Experiment 1 on real photographs: a frozen ImageNet trunk under an interpretable top.

The trunk's map of every picture is computed once and kept. What is trained is what Zhang et al.
(2018) put afresh on their ImageNet networks: the inserted conv layer with mask and filter loss, and
the fully-connected head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semquant import metrics, parts
from semquant.checks import InputError
from semquant.concepts import Measured, measure_batches
from semquant.distillation import distill_measured
from semquant.explanation import Explanation
from semquant.networks.performers import Performer, initialise, interpretable_top, normalise
from semquant.training import choose_device, cpu_threads, seed_everything
from semquant_book.datasets import Images, pascal_part
from semquant_book.files import load_or_make
from semquant_book.study import experiment1
from semquant_book.study.evaluation import evaluate
from semquant_book.study.inspection import Case, example as example_of
from semquant_book.study.performing import train_performer
from semquant_book.study.presets import METHODS, build_root, load_settings, project_root
from semquant_book.study.pretrained import EfficientNetLite0, efficientnet_lite0
from semquant_book.study.store import (
    explainer_runs, read_record, record, source_digest, tensor_digest,
)
from semquant_book.study.tables import metrics_row

__all__ = [
    "Photographs",
    "Recipe",
    "Result",
    "accuracies",
    "crops",
    "example",
    "explainer_frame",
    "fit_performer",
    "photographs",
    "recipe",
    "recorded",
    "run",
    "with_trunk",
]

EXAMPLES = 3  # photos whose contributions a record holds, filter by filter


@dataclass(frozen=True)
class Recipe:
    """All that decides the numbers of a run on photographs."""

    preset: str  # gives the fields at the end
    category: str
    seed: int  # of the split by photo, of fresh weights and of batches
    size: int = EfficientNetLite0.input_size
    negatives: str = "photos"  # whole, as in Zhang et al.; or "crops"
    filters: int = 128  # the trunk has 1280 channels; so many filters would outnumber the photos
    fc: int = 128
    pool: tuple[int, int] = (4, 3)  # pool5 on the 7x7 map: 2x2 is left
    dropout: float = 0.2
    filter_loss: float = 0.1
    performer_epochs: int = 6
    performer_batch: int = 32
    performer_lr: float = 5e-4  # peak of the one-cycle schedule, AdamW
    weight_decay: float = 1e-4
    explainer_batch: int = 32  # few photos: smaller batches than the preset's, for enough steps
    # from the preset
    explainer: str = "small"
    explainer_epochs: int = 36  # more than the preset's, for the same reason
    explainer_lr: float = 1e-2
    explainer_seeds: int = 2
    scales: tuple[str, ...] = ("literal", "scaled")
    beta: float = 10.0
    device: str = "auto"
    amp: bool = False
    channels_last: bool = True
    threads: int = 1
    workers: int = 0


def recipe(preset: str = "quick", category: str = "dog", seed: int = 0, **changes) -> Recipe:
    """Return the settings of a run: the preset's where it has a say, else those of `Recipe`.

    Parameters
    ----------
    preset : str
        A file in ``book/presets``: gives the explainer, how many are fitted and how long, beta,
        device and threads, and bounds the performer's epochs.
    category : str
        Target category.
    seed : int
        Of the split, the performer's weights and its batches.
    **changes
        Values of other fields; None changes nothing.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    given = load_settings(preset, device=changes.pop("device", None), categories=[category])
    shared = ("explainer", "explainer_lr", "explainer_seeds", "scales", "beta", "device", "amp",
              "threads")
    values = {name: getattr(given, name) for name in shared}
    values["explainer_epochs"] = min(Recipe.explainer_epochs, 3 * given.explainer_epochs)
    values["performer_epochs"] = min(given.performer_epochs, Recipe.performer_epochs)
    return Recipe(preset, category, seed, **{**values, **changes})


@dataclass
class Photographs:
    """Pictures of one category, and the trunk's maps of them.

    Attributes
    ----------
    index : pascal_part.Index
        Says what was found and what was left out.
    images : Images
        All N pictures.
    features : Tensor (2, N, 1280, 7, 7), float16
        The trunk's maps; second, those of the mirrored pictures.
    trunk : EfficientNetLite0
    """

    index: pascal_part.Index
    images: Images
    features: Tensor
    trunk: EfficientNetLite0

    def split(self, seed: int) -> dict[str, Tensor]:
        """Return the numbers of the pictures in ``"train"``, ``"val"`` and ``"test"``."""
        names = [pascal_part.split_of(i, seed) for i in self.images.ids]
        return {split: torch.tensor([i for i, name in enumerate(names) if name == split])
                for split in pascal_part.SPLITS}


def photographs(data: str | Path, settings: Recipe) -> Photographs:
    """Read a folder, and compute the trunk's maps, or load them from the store.

    Parameters
    ----------
    data : path
        See `semquant_book.datasets.pascal_part`.
    settings : Recipe
        ``category``, ``size``, ``negatives``, ``device`` and ``threads`` are read.
    """
    cpu_threads(settings.threads)
    device = choose_device(settings.device)
    index = pascal_part.scan(data, settings.category, negatives=settings.negatives)
    images = pascal_part.load(index, size=settings.size)
    trunk = efficientnet_lite0()

    def make() -> dict[str, Tensor]:
        trunk.to(device)
        with torch.inference_mode():
            maps = [trunk(normalise(batch.to(device))).half().cpu().contiguous()
                    for pictures in (images.images, images.images.flip(-1))
                    for batch in pictures.split(32)]
        trunk.to("cpu")
        return {"maps": torch.cat(maps)}

    name = f"efficientnet_lite0-{settings.category}-{tensor_digest(images.images)[:10]}"
    path = build_root() / "store" / "features" / f"{name}-{source_digest('semquant/networks/pretrained')}.safetensors"
    maps = load_or_make(path, load_file, make, save_file)["maps"]
    return Photographs(index, images, maps.unflatten(0, (2, len(images))), trunk)


def fit_performer(
    photos: Photographs, settings: Recipe, progress: str | None = None
) -> tuple[Performer, list[dict[str, float]]]:
    """Train the interpretable top on the training photos' maps.

    The maps of mirrored pictures take part as pictures of their own, and the rarer class is
    repeated until both are about equally frequent.

    Returns
    -------
    Performer
        Reads the trunk's maps (B, 1280, 7, 7); `with_trunk` makes one that reads pictures.
    list of dict
        What each epoch measured.
    """
    trunk = photos.trunk
    train = photos.split(settings.seed)["train"]
    positive = photos.images.positive[train]
    rare = positive if 2 * int(positive.sum()) < len(train) else ~positive
    copies = max(1, round(int((~rare).sum()) / max(1, int(rare.sum()))))
    chosen = torch.cat([train[~rare], train[rare].repeat(copies)])
    maps = photos.features[:, chosen].flatten(0, 1)  # (2, M, C, H, W) -> (2 M, C, H, W)
    labels = photos.images.positive[chosen].repeat(2)

    seed_everything("photographs", settings.category, settings.seed)
    conv, mask, head = interpretable_top(
        trunk.channels, settings.filters, trunk.map_size, fc=settings.fc, dropout=settings.dropout,
        pool=settings.pool,
    )
    top = initialise(Performer(conv, mask, head, n=settings.filters, map_size=trunk.map_size,
                               input_size=trunk.map_size))
    history = train_performer(
        top, maps, labels, epochs=settings.performer_epochs, batch_size=settings.performer_batch,
        learning_rate=settings.performer_lr, weight_decay=settings.weight_decay,
        filter_weight=settings.filter_loss, flip=False, prepare=_prepare, device=settings.device,
        seed=settings.seed, amp=settings.amp, progress=progress)
    return top, history


def with_trunk(top: Performer, trunk: EfficientNetLite0) -> Performer:
    """Return a performer that reads pictures (B, 3, 224, 224); it shares all weights."""
    whole = Performer(nn.Sequential(trunk, top.features), top.mask, top.head, n=top.n,
                      map_size=top.map_size, input_size=trunk.input_size)
    return whole.to(next(top.parameters()).device).eval()


def _prepare(maps: Tensor) -> Tensor:
    return maps.to(torch.float32, memory_format=torch.channels_last)


def _measure(top: Performer, maps: Tensor, settings: Recipe, prior: str = "none") -> Measured:
    return measure_batches(experiment1.CONCEPTS, top, maps, 0, prior, prepare=_prepare,
                           device=choose_device(settings.device))


def _judge(top: Performer, photos: Photographs, settings: Recipe) -> dict:
    """The performer's accuracies, its mistakes, and how specific its filters are to parts."""
    split = photos.split(settings.seed)
    test, positive = split["test"], photos.images.positive
    measured = _measure(top, photos.features[0], settings)
    right = (measured.yhat > 0) == positive
    shown = test[positive[test]]
    masks = photos.images.subset(shown).group_masks(top.map_size)
    return {
        "accuracy": metrics.accuracy(measured.yhat[test], positive[test]),
        "accuracy_val": metrics.accuracy(measured.yhat[split["val"]], positive[split["val"]]),
        "recall": float(right[shown].float().mean()),
        "specificity": float(right[test[~positive[test]]].float().mean()),
        "majority": float((~positive[test]).float().mean()),
        "photos": {name: {"positive": int(positive[chosen].sum()),
                          "negative": int((~positive[chosen]).sum())}
                   for name, chosen in split.items()},
        "wrong": [{"id": photos.images.ids[i], "score": round(float(measured.yhat[i]), 2)}
                  for i in test[~right[test]].tolist()],
        "part_specificity": parts.part_specificity(measured.x[shown], masks),
        "yhat_std": float(measured.yhat[test].std()),
    }


def accuracies(photos: Photographs, settings: Recipe, seeds: Sequence[int]) -> dict[int, dict]:
    """Train and judge a performer for each seed, that is, for other splits and weights."""
    found = {}
    for seed in seeds:
        other = replace(settings, seed=seed)
        found[seed] = _judge(fit_performer(photos, other)[0], photos, other)
    return found


@dataclass
class Result:
    """A run: its record, and what the page shows beside it.

    Attributes
    ----------
    record : dict
        As written to ``book/records``; without any picture.
    shown : Case
        The positive test photos and their explanations, of the first scale and seed.
    wrong_images : Tensor (k, 3, S, S), uint8
        The misjudged test pictures, in the record's order.
    """

    record: dict
    shown: Case
    wrong_images: Tensor


def run(photos: Photographs, settings: Recipe, *, scale: str = "literal",
        other_seeds: Sequence[int] = (), progress: bool = False) -> Result:
    """Train the performer, fit all explainers, and measure everything.

    Parameters
    ----------
    photos : Photographs
    settings : Recipe
    scale : {"literal", "scaled"}
        Which explainers the page shows; all are measured.
    other_seeds : sequence of int
        More splits on which a performer, and nothing else, is trained and judged.
    progress : bool
        Whether training shows progress bars.
    """
    about = dict(architecture="efficientnet_lite0", category=settings.category, seed=settings.seed)
    with record(settings, **about) as content:
        content["data"] = {"found": str(photos.index), **photos.index.counts,
                           "negatives_from": photos.index.negatives_from,
                           "sha256": tensor_digest(photos.images.images)}
        top, content["history"] = fit_performer(
            photos, settings, "performer" if progress else None)
        content["parameters"] = sum(p.numel() for p in top.parameters())
        content["metrics"] = _judge(top, photos, settings)
        split, positive = photos.split(settings.seed), photos.images.positive
        named = torch.cat([split["train"], split["val"]])  # the test photos name no filter
        named = photos.images.subset(named[positive[named]]), named[positive[named]]
        assignment, scores = parts.name_filters(
            _measure(top, photos.features[0, named[1]], settings).x,
            named[0].group_masks(top.map_size))
        groups = photos.images.groups
        # the mirrored pictures take part in the fit as well
        maps = photos.features[:, split["train"]].flatten(0, 1)
        train = _measure(top, maps, settings, "jacobian")
        val = _measure(top, photos.features[0, split["val"]], settings)
        test = _measure(top, photos.features[0, split["test"]], settings)
        test_positive = positive[split["test"]]
        shown = test[test_positive]
        drops = experiment1.drops_of(top, shown, assignment, len(groups), settings)
        content["explainers"], fitted = [], {}
        for method, wanted, seed in explainer_runs(settings):
            g = distill_measured(train, seed=seed,
                                 **experiment1.explainer_settings(settings, method, wanted))
            measured = evaluate(
                g.explain_measured(test), test_positive, g.explain_measured(val),
                positive[split["val"]], drops, assignment, groups)
            content["explainers"].append({
                "architecture": "efficientnet_lite0", "category": settings.category,
                "performer_seed": settings.seed, "method": method, "scale": wanted, "seed": seed,
                "metrics": {**measured, "without_prior": g.without_prior}, "history": g.history})
            fitted.setdefault((wanted, method), g)  # the first seed's
        others = accuracies(photos, settings, other_seeds)
        content["other_splits"] = {str(seed): found for seed, found in others.items()}
    images = photos.images.subset(split["test"][test_positive])
    explained = {method: fitted[scale, method].explain_measured(shown) for method in METHODS}
    for explanation in explained.values():
        explanation.names = [f"{'none' if p < 0 else groups[p]} {i}"
                             for i, p in enumerate(assignment.tolist())]
    case = Case(with_trunk(top, photos.trunk), images, shown, assignment, scores, drops=drops,
                **explained)
    content["examples"] = case.examples(scale, EXAMPLES)
    wrong = [photos.images.ids.index(miss["id"]) for miss in content["metrics"]["wrong"]]
    return Result(content, case, photos.images.images[wrong])


def recorded(category: str = "dog") -> dict:
    """Return the record that comes with the project, of a run too long for every reader to make.

    Raises
    ------
    InputError
        If there is none for this category.
    """
    known = {path.stem.removeprefix("efficientnet_lite0-"): path for path in sorted(
        (project_root() / "book" / "records").glob("efficientnet_lite0-*.json"))}
    if category not in known:
        raise InputError(f"category: no run on {category!r} is recorded; accepted without a folder "
                         f"of photographs: {', '.join(known) or 'none'}")
    return read_record(known[category])


def example(content: dict, method: str) -> Explanation:
    """Return the explanations of a few recognised test photos that a record holds, by filter.

    Parameters
    ----------
    content : dict
        A run's record.
    method : {"ours", "baseline"}
    """
    return example_of(content["examples"], method)


def crops(data: str | Path, category: str, ids: Sequence[str], size: int = 192) -> Images:
    """Return the crops of a record's examples, from a folder of photographs.

    Raises
    ------
    InputError
        If the folder can't be used, or lacks one of them.
    """
    index = pascal_part.scan(data, category)
    known = {crop.id: crop for crop in index.crops}
    missing = [name for name in ids if name not in known]
    if missing:
        raise InputError(f"data: {len(missing)} of {len(ids)} crops are not in {data}: "
                         f"{', '.join(missing[:3])}")
    negative = next(crop for crop in index.crops if not crop.positive)  # `load` wants some of both
    chosen = replace(index, crops=[*(known[name] for name in ids), negative])
    return pascal_part.load(chosen, size=size).subset(range(len(ids)))


def explainer_frame(content: dict) -> pd.DataFrame:
    """Return the metrics of a record's explainers, one row each, as `tables.explainer_frame`."""
    return pd.DataFrame([metrics_row(about) for about in content["explainers"]])
