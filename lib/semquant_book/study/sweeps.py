"""Recorded sweeps: explainers fitted with six strengths of the prior, and watched as they learn.

A sweep takes longer than a page may, so that its record comes with the project. It holds no
picture: the images are drawn again from their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from semquant import metrics
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.distillation import FittedExplainer, distill_measured
from semquant.explanation import UNASSIGNED
from semquant.training import cpu_threads
from semquant_book.datasets.names import ATTRIBUTES, SCALES, SPLITS
from semquant_book.study import experiment1, experiment2
from semquant_book.study.evaluation import evaluate_attribute
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings, build_root
from semquant_book.study.store import pack, record, write_record

__all__ = ["BETAS", "NAMES", "attribute", "epochs_kept", "make", "network"]

#: Strengths of the prior, in decades around the paper's; 0 is the baseline.
BETAS = {1: (0.0, 0.1, 1.0, 10.0, 100.0, 1000.0), 2: (0.0, 0.02, 0.2, 2.0, 20.0, 200.0)}
#: The records that come with the project, as `pages.recorded` takes them.
NAMES = (*(f"alexnet-{scale}" for scale in SCALES), "attractive")
SEEDS = (0, 1, 2)
IMAGES = {1: 3, 2: 4}  # whose weights a record holds
MEASURES = ("entropy", "deviation", "accuracy")


def epochs_kept(epochs: int) -> list[int]:
    """Return the epochs that a record keeps: 0 (the start), powers of two, and the last one."""
    return sorted({0, *(2**k for k in range(epochs.bit_length())), epochs})


def network(settings: Settings, scale: str, category: str = "dog",
            say: Callable[[str], object] = print) -> dict:
    """Sweep the explainers of Experiment 1's AlexNet, `say` each fit, and return the record.

    `scale` is the reading of y's scale. Entropy is the mean over positive test images, as in
    `evaluation.evaluate`. The images are the first of them that the performer recognises.
    """
    cpu_threads(settings.threads)
    run = experiment1.Run(settings, "alexnet", category)
    with record(settings, experiment=1, architecture="alexnet", category=category, scale=scale,
                performer_seed=0, loss="cross_entropy") as content:
        images = {split: run.images(split) for split in SPLITS}
        found = {split: run.measured(split) for split in SPLITS}
        positive = images["test"].positive
        chosen = _first((found["test"].yhat > 0) & positive, IMAGES[1])
        shown = run.measure(images["test"].subset(chosen), prior=True)
        groups = [*images["test"].groups, UNASSIGNED]
        content["parts"] = [groups[p] for p in run.naming()[0].tolist()]
        content["names"] = [f"{part} {i}" for i, part in enumerate(content["parts"])]
        content["images"] = _images([images["test"].ids[i] for i in chosen.tolist()], shown)

        def fit(beta: float, seed: int, watch: Callable) -> FittedExplainer:
            how = experiment1.options(replace(settings, beta=beta), "measured" if beta else "none",
                                      scale, seed)
            return distill_measured(found["train"], on_epoch=watch, **how)

        def judge(explainer: FittedExplainer) -> dict:
            test, val = (explainer.explain_measured(found[split]) for split in ("test", "val"))
            measured = evaluate_attribute(test, positive, val, images["val"].positive)
            entropy = metrics.contribution_entropy(test[positive].contributions)
            return {**measured, "entropy": float(entropy.nanmean())}

        _sweep(content, BETAS[1], settings.explainer_epochs, fit, judge, shown,
               f"alexnet {category}, y {scale}", say)
    return content


def attribute(settings: Settings, target: str = "Attractive",
              say: Callable[[str], object] = print) -> dict:
    """Sweep the explainers of one face attribute, `say` each fit, and return the record.

    Entropy is the mean over all test faces, as in `evaluation.evaluate_attribute`. The images are
    the first test faces with and without the target that the performer recognises.
    """
    cpu_threads(settings.threads)
    run = experiment2.Run(settings, target)
    with record(settings, experiment=2, architecture="vgg16", target=target, performer_seed=0,
                loss="l2") as content:
        found = {split: run.measured(split) for split in SPLITS}
        has = {split: run.labels(split) for split in ("val", "test")}
        right = (found["test"].yhat > 0) == has["test"]
        chosen = torch.cat([_first(right & (has["test"] == there), IMAGES[2] // 2)
                            for there in (True, False)])
        shown = found["test"][chosen]
        content["names"] = [ATTRIBUTES[i] for i in experiment2.concepts_of(target)]
        content["images"] = _images([faces_of(settings, "test").ids[i] for i in chosen.tolist()], shown)

        def fit(beta: float, seed: int, watch: Callable) -> FittedExplainer:
            how = experiment2.options(replace(settings, attribute_beta=beta),
                                      "ours" if beta else "baseline", seed=seed)
            return distill_measured(found["train"], on_epoch=watch, **how)

        def judge(explainer: FittedExplainer) -> dict:
            test, val = (explainer.explain_measured(found[split]) for split in ("test", "val"))
            return evaluate_attribute(test, has["test"], val, has["val"])

        _sweep(content, BETAS[2], settings.attribute_epochs, fit, judge, shown, target, say)
    return content


def _sweep(content: dict, betas: Sequence[float], epochs: int, fit: Callable, judge: Callable,
           shown: Measured, what: str, say: Callable[[str], object]) -> None:
    """Fit with every beta and seed; keep what was measured, alpha and b in some epochs."""
    kept = epochs_kept(epochs)
    shape = (len(betas), len(SEEDS), len(kept))
    measures = {name: np.zeros(shape) for name in MEASURES}
    bias = np.zeros(shape, np.float32)
    alpha = np.zeros((*shape, *shown.y.shape), np.float32)

    def watch(fitted: tuple[int, int], epoch: int, explainer: FittedExplainer, means: dict) -> None:
        if epoch in kept:
            at = *fitted, kept.index(epoch)
            measured, explained = judge(explainer), explainer.explain_measured(shown)
            for name in MEASURES:
                measures[name][at] = measured[name]
            alpha[at], bias[at] = explained.alpha.numpy(), explained.bias

    for (i, beta), (j, seed) in product(enumerate(betas), enumerate(SEEDS)):
        fit(beta, seed, partial(watch, (i, j)))
        last = ", ".join(f"{name} {measures[name][i, j, -1]:.3f}" for name in MEASURES)
        say(f"{what}, beta {beta:g}, seed {seed}: {last}")
    content |= {
        "betas": list(betas), "seeds": list(SEEDS), "epochs": kept,
        "metrics": {name: np.round(values, 5).tolist() for name, values in measures.items()},
        "alpha": pack(alpha), "bias": pack(bias)}


def _first(wanted: Tensor, count: int) -> Tensor:
    """The numbers of the first images that are wanted, then, if they are too few, of others."""
    return (~wanted).int().argsort(stable=True)[:count]


def _images(ids: Sequence[str], shown: Measured) -> dict:
    return {"ids": list(ids), "yhat": pack(shown.yhat), "y": pack(shown.y), "w": pack(shown.w)}


def make(settings: Settings, say: Callable[[str], object] = print) -> str:
    """Make all sweeps and write their records into the build folder.

    InputError for a preset of photographs, whose images can't be drawn again.
    """
    for name in ("images", "faces"):
        if (value := getattr(settings, name)) != "drawn":
            raise InputError(f"preset: {settings.preset} has {name}: {value}; accepted for a sweep "
                             "are presets of drawn images")
    category = "dog" if "dog" in settings.categories else settings.categories[0]
    made = {f"alexnet-{scale}": lambda scale=scale: network(settings, scale, category, say)
            for scale in SCALES} | {"attractive": lambda: attribute(settings, say=say)}
    written = [write_record(build_root() / "records" / f"beta-{name}.json", sweep())
               for name, sweep in made.items()]
    return "wrote " + ", ".join(map(str, written))
