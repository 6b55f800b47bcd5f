"""The experiments' jobs: each loads what belongs to its settings, or computes it and writes it.

A job is a pair: ``performer(...)`` gives the thing itself, from the store where it is there;
``make_performer(...)`` is what the workflow runs, and returns a line that says what came out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from semquant import parts
from semquant.networks import performers
from semquant_book.study import store
from semquant.concepts import FilterConcepts, Measured, measure_batches
from semquant_book.datasets import Images, pascal_part
from semquant_book.datasets.drawn import animals
from semquant.distillation import FittedExplainer, distill_measured
from semquant_book.study.evaluation import evaluate, evaluate_reference
from semquant.files import load_or_make, write_checked
from semquant_book.study.jobs import at_once, begin, kept_maps, kept_performer, recipe_of
from semquant.networks.performers import Performer
from semquant_book.study.presets import SPLITS, Settings, build_root, data_root, hardware
from semquant_book.study.store import read_record, record, record_of, tensor_digest, write_record
from semquant.training import (
    choose_device, cpu_threads, preparation, seed_everything, train_performer,
)

__all__ = [
    "assign_filters",
    "data",
    "drops_of",
    "explainer",
    "explainer_record",
    "explainer_settings",
    "make_data",
    "make_explainers",
    "make_performer",
    "make_references",
    "measure",
    "performer",
    "performer_record",
    "reference_record",
    "start",
]

CODE = ("semquant_book/datasets/drawn/animals", "semquant_book/datasets/drawn/anatomy", "semquant_book/datasets/drawn/bodies", "semquant_book/datasets/drawn/drawing",
        "semquant_book/datasets/drawn/heads", "semquant_book/datasets/pascal_part", "semquant_book/datasets/drawn/scenes", "semquant_book/study/experiment1", "semquant/networks/interpretable",
        "semquant/networks/performers", "semquant/training", "semquant/networks/weights")
CONCEPTS = FilterConcepts("mask")  # x is the mask's output


# --- data ---------------------------------------------------------------------------------------


def data(settings: Settings, category: str, split: str, architecture: str = "") -> Images:
    """Return a split of the drawn animals, half of it positive, or of the photographs.

    At the paper's sizes a network has its own, see `Settings.pixels`.
    """
    size = settings.pixels(architecture)
    if settings.images == "pascal_part":
        return _photographs(data_root(), category, split, size, settings.data_seed,
                            settings.photo_shares)
    return animals.load(
        category,
        split,
        getattr(settings, f"{split}_images"),
        size=size,
        seed=settings.data_seed,
        root=build_root() / "data" / "animals",
    )


@lru_cache(maxsize=len(SPLITS))
def _photographs(root: Path, category: str, split: str, size: int, seed: int,
                 shares: tuple[float, ...]) -> Images:
    """Box crops of a category and photos without it; see `pascal_part.load`."""
    return pascal_part.load(_scanned(root, category), split, size=size, seed=seed, shares=shares)


@lru_cache(maxsize=1)
def _scanned(root: Path, category: str) -> pascal_part.Index:
    return pascal_part.scan(root, category)


def _balanced(images: Images, recipe: str) -> Images:
    """Repeat photographs of one class, as unequal classes need.

    The rarer, until both are about equally frequent; with the predecessor's recipe the positives,
    until there are about three to a negative.
    """
    positive = images.positive
    if recipe == "predecessor":
        few, wanted = positive, 3.0
    else:
        few, wanted = positive if 2 * int(positive.sum()) < len(positive) else ~positive, 1.0
    copies = max(1, round(wanted * int((~few).sum()) / max(1, int(few.sum()))))
    order = torch.arange(len(positive))
    return images.subset(torch.cat([order[~few], order[few].repeat(copies)]))


def make_data(settings: Settings, category: str) -> str:
    """Draw or decode all splits of a category, and write their record."""
    with record(settings, category=category) as about:
        for split in SPLITS:
            images = data(settings, category, split)
            about["metrics"][split] = {
                "images": len(images),
                "positive": int(images.positive.sum()),
                "kinds": {kind: images.kinds.count(kind) for kind in sorted(set(images.kinds))},
                "sha256": tensor_digest(images.images),
            }
        if settings.images == "pascal_part":  # and what was left out
            about["found"] = str(_scanned(data_root(), category))
    write_record(store.data_record(settings, category), about)
    return f"{category}: {sum(m['images'] for m in about['metrics'].values())} images " \
           f"in {about['seconds']:.0f} s" + (f": {about['found']}" if "found" in about else "")


# --- performers ---------------------------------------------------------------------------------


def performer(
    settings: Settings,
    architecture: str,
    category: str,
    seed: int = 0,
    *,
    filter_loss: bool = True,
) -> Performer:
    """Return a trained performer, on the settings' device and in evaluation mode.

    Parameters
    ----------
    settings : Settings
    architecture, category : str
        Which performer.
    seed : int
        Seed of its weights and of the order of its batches.
    filter_loss : bool
        False gives the control that was trained without the filter loss (the mask stays).
    """
    cpu_threads(settings.threads)
    seed_everything("performer", architecture, category, seed)
    net = start(settings, architecture)
    batch, rate = recipe_of(settings, architecture, settings.performer_batch, settings.performer_lr)

    def train(**kept) -> list[dict[str, float]]:
        images = data(settings, category, "train", architecture)
        images = images if settings.images == "drawn" else _balanced(images, settings.recipe)
        return train_performer(
            net, images.images, images.positive, epochs=settings.performer_epochs,
            batch_size=batch, learning_rate=rate, weight_decay=settings.weight_decay,
            recipe=settings.recipe,
            filter_weight=settings.filter_loss if filter_loss else 0.0,
            seed=seed, **kept, **hardware(settings),
        )

    return kept_performer(
        net, store.performer_path(settings, architecture, category, seed, filter_loss), settings,
        train, lambda: _judge_performer(net, settings, architecture, category), CODE,
        architecture=architecture, category=category, seed=seed, filter_loss=filter_loss)


def start(settings: Settings, architecture: str) -> Performer:
    """Return an untrained performer: fresh, or with ImageNet weights below the inserted layer."""
    return begin(performers.build(
        architecture, size=settings.pixels(architecture), width=settings.width,
        batch_norm=settings.batch_norm, dropout=settings.dropout,
    ), architecture, settings)


@torch.inference_mode()
def _judge_performer(net: Performer, settings: Settings, architecture: str, category: str) -> dict:
    """Accuracy on the test images, and how specific the filters are to parts."""
    device, prepare = choose_device(settings.device), preparation(net, settings.channels_last)
    test = data(settings, category, "test", architecture)
    scores = torch.cat([net(prepare(batch.to(device))).cpu()[:, 0]
                        for batch in test.images.split(at_once(net.input_size, 256))])
    positives = test.subset(test.positive)
    maps = torch.cat([net.maps(prepare(batch.to(device)))[1].cpu()
                      for batch in positives.images.split(at_once(net.input_size, 256))])
    named = parts.part_specificity(maps, positives.group_masks(net.map_size))
    return {
        "accuracy": float(((scores > 0) == test.positive).float().mean()),
        "test_images": len(test),
        "part_specificity": float(named),
        "yhat_std": float(scores.std()),
    }


def performer_record(settings: Settings, architecture: str, category: str, seed: int = 0, *,
                     filter_loss: bool = True) -> dict:
    """Return the record of a trained performer."""
    return read_record(record_of(
        store.performer_path(settings, architecture, category, seed, filter_loss)))


def make_performer(settings: Settings, architecture: str, category: str, seed: int, *,
                   filter_loss: bool = True) -> str:
    """Train a performer, and say what came out."""
    performer(settings, architecture, category, seed, filter_loss=filter_loss)
    about = performer_record(settings, architecture, category, seed, filter_loss=filter_loss)
    name = f"{architecture} {category} seed {seed}" + ("" if filter_loss else " (no filter loss)")
    return f"{name}: accuracy {about['metrics']['accuracy']:.1%} in {about['seconds']:.0f} s"


# --- explainers ---------------------------------------------------------------------------------


def measure(net: Performer, images: Images, settings: Settings, prior: str = "none",
            x_to: str | Path = "memory") -> Measured:
    """Measure x, y, yhat and, with ``prior="jacobian"``, w of images; for `x_to` see
    `semquant.concepts.measure_batches`."""
    return measure_batches(CONCEPTS, net, images.images, 0, prior,
                           batch_size=at_once(net.input_size, 128),
                           prepare=preparation(net, settings.channels_last),
                           device=choose_device(settings.device), x_to=x_to)


def assign_filters(net: Performer, images: Images, settings: Settings) -> Tensor:
    """Name a performer's filters from the part masks of positive images.

    Returns
    -------
    Tensor (n,)
        Index of the part group, -1 for none.
    """
    positives = images.subset(images.positive)
    x = measure(net, positives, settings).x
    return parts.name_filters(x, positives.group_masks(net.map_size))[0]


def explainer_settings(settings: Settings, method: str, scale: str) -> dict:
    """Return the arguments of `distill_measured` that a method and a reading of y's scale mean."""
    depth = settings.explainer if settings.explainer == "small" else int(settings.explainer)
    return dict(
        prior="measured" if method == "ours" else "none",
        beta=settings.beta,
        epochs=settings.explainer_epochs,
        batch_size=settings.explainer_batch,
        learning_rate=settings.explainer_lr,
        depth=depth,
        scale=scale,
        bias=0.0 if scale == "literal" else "min",  # b starts low, so that parts add up from there
        bias_rate=30.0,  # b is one number in score units: at g's rate it would never get there
        workers=settings.workers,
        **hardware(settings),
    )


def explainer(
    settings: Settings,
    architecture: str,
    category: str,
    performer_seed: int = 0,
    method: str = "ours",
    scale: str = "literal",
    seed: int = 0,
) -> FittedExplainer:
    """Return a fitted explainer of a performer.

    Parameters
    ----------
    settings : Settings
    architecture, category, performer_seed
        Which performer.
    method : {"ours", "baseline"}
        With the prior loss, or by distillation alone.
    scale : {"literal", "scaled"}
        y as it is, or scaled so that the contributions start as large as the scores vary.
    seed : int
        Seed of g's weights and of the order of its batches.
    """
    which = (settings, architecture, category, performer_seed)
    path = store.explainer_path(*which, method, scale, seed)
    if not path.exists():
        make_explainers(*which)
    return load_or_make(path, FittedExplainer.load, lambda: _refit(*which, method, scale, seed),
                        FittedExplainer.save)


def explainer_record(settings: Settings, architecture: str, category: str,
                     performer_seed: int = 0, method: str = "ours", scale: str = "literal",
                     seed: int = 0) -> dict:
    """Return the record of a fitted explainer."""
    return read_record(record_of(store.explainer_path(
        settings, architecture, category, performer_seed, method, scale, seed)))


def _refit(settings, architecture, category, performer_seed, method, scale, seed):
    net = performer(settings, architecture, category, performer_seed)
    train = measure(net, data(settings, category, "train", architecture), settings, "jacobian")
    return distill_measured(train, seed=seed, **explainer_settings(settings, method, scale))


def make_explainers(settings: Settings, architecture: str, category: str,
                    performer_seed: int = 0) -> str:
    """Fit all explainers of a performer, and say how long it took.

    One job fits them all, since they share what costs most: the performer's maps of all images.
    """
    net = performer(settings, architecture, category, performer_seed)
    images = {split: data(settings, category, split, architecture) for split in SPLITS}
    size = 4 * net.n * net.map_size**2 * sum(len(some) for some in images.values())
    with kept_maps(settings, f"{architecture} {category}: x of all images", size) as x_to:
        measured = {split: measure(net, images[split], settings,
                                   "jacobian" if split == "train" else "none", x_to(split))
                    for split in SPLITS}
        return _fit_all(settings, net, images, measured, architecture, category, performer_seed)


def _fit_all(settings: Settings, net: Performer, images: dict[str, Images],
             measured: dict[str, Measured], architecture: str, category: str,
             performer_seed: int) -> str:
    train, val, test = (measured[split] for split in SPLITS)
    assignment = assign_filters(net, images["val"], settings)
    groups = images["test"].groups
    drops = drops_of(net, test[images["test"].positive], assignment, len(groups), settings)
    make_references(settings, net, images["test"], drops, assignment, architecture, category,
                    performer_seed)
    seconds = 0.0
    for method, scale, seed in store.explainer_runs(settings):
        path = store.explainer_path(settings, architecture, category, performer_seed, method,
                                    scale, seed)
        about = dict(architecture=architecture, category=category, performer_seed=performer_seed,
                     method=method, scale=scale, seed=seed)
        with record(settings, **about) as content:
            fitted = distill_measured(train, seed=seed,
                                      **explainer_settings(settings, method, scale))
            content["history"] = fitted.history
            content["metrics"] = evaluate(
                fitted.explain_measured(test), images["test"].positive,
                fitted.explain_measured(val), images["val"].positive, drops, assignment, groups)
            content["metrics"]["without_prior"] = fitted.without_prior
            content["g"] = {**fitted.g.settings, "parameters": sum(
                p.numel() for p in fitted.g.parameters())}
        write_record(record_of(path), content)
        write_checked(path, fitted.save)
        seconds += content["seconds"]
    count = len(store.explainer_runs(settings))
    return f"{architecture} {category} seed {performer_seed}: {count} explainers in {seconds:.0f} s"


def drops_of(net: Performer, measured: Measured, assignment: Tensor, groups: int,
             settings: Settings) -> Tensor:
    """Score drops (B, groups + 1) when a group's filters are removed; the last: unassigned."""
    device = choose_device(settings.device)
    net.to(device)

    def head(x: Tensor) -> Tensor:
        return net.head(x)[:, 0]

    with torch.no_grad():
        return torch.cat([parts.drops(head, x.to(device), assignment, groups).cpu()
                          for x in measured.x.split(256)])


# --- what stands beside the explainers ----------------------------------------------------------


def make_references(settings: Settings, net: Performer, test: Images, drops: Tensor,
                    assignment: Tensor, architecture: str, category: str,
                    performer_seed: int) -> dict:
    """Measure what needs no explainer, on the positive test images, and write the record.

    ``prior``: w_i y_i, the prior weights alone; ``gradient_times_input``: the sum over positions of
    the map times its gradient; ``uniform``: the same weight for every filter. None of them has b;
    `evaluation.evaluate_reference` gives each one factor for all images.
    """
    device = choose_device(settings.device)
    positives = test.subset(test.positive)
    measured = measure(net, positives, settings, "jacobian")
    products = []
    for x in measured.x.split(256):
        leaf = x.to(device).requires_grad_()
        (gradient,) = torch.autograd.grad(net.head(leaf).sum(), leaf)
        products.append((gradient * leaf.detach()).sum(dim=(2, 3)).cpu())
    contributions = {
        "prior": measured.w * measured.y,
        "gradient_times_input": torch.cat(products),
        "uniform": measured.y,
    }
    with record(settings, architecture=architecture, category=category,
                performer_seed=performer_seed) as content:
        content["references"] = {
            name: evaluate_reference(values, measured.yhat, drops, assignment, test.groups)
            for name, values in contributions.items()}
    write_record(store.reference_path(settings, architecture, category, performer_seed), content)
    return content


def reference_record(settings: Settings, architecture: str, category: str,
                     performer_seed: int = 0) -> dict:
    """Return the record of `make_references`."""
    return read_record(store.reference_path(settings, architecture, category, performer_seed))
