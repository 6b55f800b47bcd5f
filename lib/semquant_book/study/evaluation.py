"""What an explainer is worth: the paper's metrics, and a few more that its sentences ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from semquant import metrics
from semquant.explanation import UNASSIGNED, Explanation

__all__ = ["evaluate", "evaluate_attribute", "evaluate_reference", "part_errors"]


def evaluate(
    test: Explanation, test_positive: Tensor, val: Explanation, val_positive: Tensor, drops: Tensor,
    assignment: Tensor, groups: tuple[str, ...]) -> dict:
    """Compute the paper's metrics of one explainer (section 4.1).

    `test` and `val` explain all test and validation images; `drops` (B, P + 1) are of the B
    positive test images; `assignment` (n,) is the part group of each filter, -1 for none. Entropy
    and errors are of positive test images; ``deviation`` and the accuracies of all test images.
    """
    positives = test[test_positive]
    merged = positives.merge(assignment, groups).contributions  # (B, P + 1), unassigned last
    return {**_scores(test, test_positive, val, val_positive), **_spread(positives.contributions),
            "ignored_active": _ignored(positives.y, positives.contributions),
            **_parts(merged, assignment),
            **part_errors(merged, positives.yhat, drops, assignment, groups)}


def evaluate_reference(contributions: Tensor, yhat: Tensor, drops: Tensor, assignment: Tensor,
                       groups: tuple[str, ...]) -> dict:
    """Compute the same of contributions (B, n) without an explainer, so without a scale and b.

    Shares need no scale. For the paper's error one factor for all images is fitted, by least
    squares of yhat by the factor times the sum of contributions; on these very images, which
    flatters by as much as one number can. The other arguments are those of `part_errors`.
    """
    total = contributions.sum(dim=1)
    size = float(total.square().sum())
    factor = float((total * yhat).sum()) / size if size else 1.0
    scaled = Explanation(yhat, contributions * factor, torch.ones_like(contributions), 0.0)
    merged = scaled.merge(assignment, groups).contributions
    return {"entropy": float(metrics.contribution_entropy(contributions).nanmean()),
            "factor": factor, **_parts(merged, assignment),
            **part_errors(merged, yhat, drops, assignment, groups)}


def evaluate_attribute(test: Explanation, test_labels: Tensor, val: Explanation,
                       val_labels: Tensor) -> dict:
    """Compute the paper's metrics of an explainer of one attribute by the others (section 4.2).

    All are of all test images; ``r2`` is the share of the scores' variance that is explained.
    Labels (N,) bool say which images have the attribute.
    """
    return {**_scores(test, test_labels, val, val_labels), **_spread(test.contributions),
            "r2": 1 - float(test.residual.square().mean() / test.yhat.var(correction=0))}


def _scores(test: Explanation, test_labels: Tensor, val: Explanation, val_labels: Tensor) -> dict:
    """How well the explained scores stand in for the performer's, as numbers and as answers."""
    deviation = metrics.relative_deviation(test.yhat, test.total)
    threshold, _ = metrics.best_threshold(val.total, val_labels)
    own_threshold, own_accuracy = metrics.best_threshold(test.total, test_labels)
    meant = test.yhat > 0
    repeated, wrong = ((test.total > threshold) == meant).float(), meant != test_labels
    return {
        "deviation": float(deviation.mean()), "bias": test.bias,
        "accuracy": metrics.accuracy(test.total, test_labels, threshold), "threshold": threshold,
        "accuracy_own_threshold": own_accuracy, "own_threshold": own_threshold,
        "performer_accuracy": metrics.accuracy(test.yhat, test_labels),
        "mistakes": int(wrong.sum()),
        "mistakes_repeated": float(repeated[wrong].mean()) if wrong.any() else None,
        "right_repeated": float(repeated[~wrong].mean()),
        "deviation_of_mistakes": float(deviation[wrong].mean()) if wrong.any() else None,
    }


def part_errors(merged: Tensor, yhat: Tensor, drops: Tensor, assignment: Tensor,
                groups: tuple[str, ...]) -> dict:
    """Compute the errors of part contributions, by the name of the part.

    `merged` (B, P + 1): contributions of the parts, the last column: unassigned filters; `drops`
    likewise; `assignment` (n,): the part of each filter. ``error``: the paper's;
    ``error_of_shares``: after each image's contributions are scaled to add up to yhat; both None
    for a part without filters, where 0 would flatter. ``kept``: share of the images that the
    hygiene rule keeps. ``filters``: how many filters each part has. ``true_positive_parts`` and
    ``true_similarity``: what `evaluate` measures of an explanation as ``positive_parts`` and
    ``similarity``, of the true contributions; of kept images, None without any.
    """
    truth, keep = metrics.true_contributions(yhat, drops)
    keep &= merged.sum(dim=1) != 0
    filters = {name: int((assignment == index).sum())
               for name, index in zip((*groups, UNASSIGNED), (*range(len(groups)), -1))}
    said, truth, kept = merged[keep], truth[keep], yhat[keep]
    errors = shares = [None] * len(filters)
    true = {"positive_parts": None, "similarity": None}
    if len(kept):
        errors = metrics.contribution_error(said, truth, kept).tolist()
        shares = metrics.contribution_error(metrics.rescale(said, kept), truth, kept).tolist()
        true = _parts(truth, assignment)

    def by_part(values: list) -> dict:
        return {name: value if filters[name] else None for name, value in zip(filters, values)}

    return {"error": by_part(errors), "error_of_shares": by_part(shares),
            **{f"true_{name}": value for name, value in true.items()},
            "kept": float(keep.float().mean()), "filters": filters}


def _spread(contributions: Tensor) -> dict:
    """Entropy, and how many concepts it takes, on average, to make up 90% of |contributions|."""
    entropy = metrics.contribution_entropy(contributions)
    sizes = contributions.abs().sort(dim=1, descending=True).values
    reached = sizes.cumsum(dim=1) < 0.9 * sizes.sum(dim=1, keepdim=True)
    return {"entropy": float(entropy.nanmean()),
            "entropy_without_contributions": int(entropy.isnan().sum()),
            "active_concepts": float((reached.sum(dim=1) + 1).float().mean())}


def _ignored(y: Tensor, contributions: Tensor) -> float:
    """Return the share of an image's most activated filters that are not among its reasons.

    The n / 10 filters with the largest y, against the n / 10 with the largest |contribution|.
    """
    k = max(1, round(0.1 * y.shape[1]))
    active = torch.zeros_like(y, dtype=torch.bool).scatter(1, y.topk(k, dim=1).indices, True)
    chosen = contributions.abs().topk(k, dim=1).indices
    return 1 - float(active.gather(1, chosen).float().mean())


def _parts(merged: Tensor, assignment: Tensor) -> dict:
    """The share of images in which every part with filters has a contribution above 0, and the
    mean correlation of the parts' contributions between two images.
    """
    there = [p for p in range(merged.shape[1] - 1) if bool((assignment == p).any())]
    centred = merged - merged.mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)
    # the mean over pairs, from the sum over all ordered pairs less the diagonal
    total, count = unit.sum(dim=0).square().sum() - unit.square().sum(), len(unit)
    return {"positive_parts": float((merged[:, there] > 0).all(dim=1).float().mean()),
            "similarity": float(total / (count * (count - 1))) if count > 1 else None}
