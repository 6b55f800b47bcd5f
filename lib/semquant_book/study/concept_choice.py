"""How much the choice of concepts matters (Figure 8): random choices, with g and without."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semquant import metrics
from semquant.distillation import distill_measured
from semquant.training import cpu_threads
from semquant_book.datasets.names import SPLITS
from semquant_book.study import experiment2, store
from semquant_book.study.presets import Settings

__all__ = ["linear_weights", "make_selection", "moments", "selection_record"]


def moments(scores: Tensor) -> Tensor:
    """Return all that least squares needs of scores (B, K): sums of products of all pairs.

    (K + 1, K + 1), float64; the last row and column belong to the constant 1.
    """
    columns = torch.cat([scores, torch.ones_like(scores[:, :1])], dim=1).double()
    return columns.T @ columns


def linear_weights(products: Tensor, target: int, among: Sequence[int]) -> Tensor:
    """Least squares with the same weights for all images: yhat ~ sum_i v_i y_i + b.

    `products` are `moments` of the scores, of which `target` is yhat and the n `among` are the
    concepts. Returns v and, last, b: (n + 1,), float64.
    """
    chosen = torch.tensor([*among, len(products) - 1])
    return torch.linalg.lstsq(products[chosen][:, chosen], products[chosen, target, None],
                              driver="gelsd").solution[:, 0]


def make_selection(settings: Settings, target: str, performer_seed: int = 0) -> str:
    """Explain a target by random choices of concepts, and write the record.

    The record's ``points`` hold for each choice: ``size``, ``draw``, ``weights`` (``"linear"`` or
    ``"learned"``), ``deviation`` and ``accuracy_loss``, the performer's accuracy minus the
    explanation's.
    """
    cpu_threads(settings.threads)
    surveys = {split: experiment2.outputs(settings, split, performer_seed) for split in SPLITS}
    products = moments(surveys["train"].scores)
    own = experiment2.target_index(target)
    run = experiment2.Run(settings, target, performer_seed)
    labels = {split: run.labels(split) for split in ("val", "test")}
    yhat, points = surveys["test"].scores[:, own], []

    def judge(val: Tensor, test: Tensor) -> dict:
        """Judge explained scores, with a threshold chosen on the validation images."""
        threshold, _ = metrics.best_threshold(val, labels["val"])
        return {"deviation": float(metrics.relative_deviation(yhat, test).mean()),
                "accuracy_loss": metrics.accuracy(yhat, labels["test"])
                - metrics.accuracy(test, labels["test"], threshold)}

    with store.record(settings, target=target, performer_seed=performer_seed) as content:
        for size in settings.selection_sizes:
            whole = size == len(experiment2.concepts_of(target))  # then there is a single choice
            draws = 1 if whole else max(settings.selection_draws, settings.selection_fits)
            for draw in range(draws):
                among = experiment2.concepts_of(target, size, seed=draw)
                point = {"size": size, "draw": draw}
                if draw < settings.selection_draws:
                    v = linear_weights(products, own, among)
                    said = ((surveys[k].scores[:, among].double() @ v[:-1] + v[-1]).float()
                            for k in ("val", "test"))
                    points.append({**point, "weights": "linear", **judge(*said)})
                if draw < settings.selection_fits:
                    found = {split: experiment2.change(s, target, among=among)
                             for split, s in surveys.items()}
                    how = experiment2.options(settings, seed=draw)
                    fitted = distill_measured(found["train"], **how)
                    said = (fitted.explain_measured(found[k]).total for k in ("val", "test"))
                    points.append({**point, "weights": "learned", **judge(*said)})
        content["points"] = points
    store.write_record(store.selection_path(settings, target, performer_seed), content)
    return f"{target}: {len(points)} choices of concepts in {content['seconds']:.0f} s"


def selection_record(settings: Settings, target: str, performer_seed: int = 0) -> dict:
    """Return the record of `make_selection`, which is run if there is none."""
    path = store.selection_path(settings, target, performer_seed)
    if not path.exists():
        make_selection(settings, target, performer_seed)
    return store.read_record(path)
