"""The paper's measures of an explanation (section 4.1), and what keeps them well defined."""

from __future__ import annotations

import torch
from torch import Tensor

from semquant.checks import InputError, check_finite, check_shapes, number

__all__ = ["accuracy", "best_threshold", "contribution_entropy",
           "contribution_error", "rank_agreement", "relative_deviation", "rescale",
           "true_contributions"]


def contribution_entropy(contributions: Tensor) -> Tensor:
    r"""Entropy of the contribution distribution, :math:`H(c) = -\sum_i c_i \ln c_i`.

    :math:`c_i = |\alpha_i y_i| / \sum_j |\alpha_j y_j|`; low where few concepts carry the score.

    Of contributions alpha_i y_i, (B, n); returns (B,), in nats, 0 to ln n; NaN for an image in which
    every contribution is 0.

    Notes
    -----
    The paper gives no unit; its values (up to 5.975 where ln n = ln 512 = 6.238) fit the natural logarithm.
    """
    check_shapes(contributions=(contributions, "B n"))
    check_finite(contributions=contributions)
    size = contributions.abs()
    c = size / size.sum(dim=1, keepdim=True)  # 0 / 0 is NaN
    return -torch.special.xlogy(c, c).sum(dim=1)


def relative_deviation(yhat: Tensor, explained: Tensor, yhat_range: float | None = None) -> Tensor:
    r"""Deviation of the explained score, :math:`|\hat y - \sum_i \alpha_i y_i - b|` over the range.

    Parameters
    ----------
    yhat, explained : tensor (B,)
        The performer's and the explainer's scores.
    yhat_range : float, optional
        Largest minus smallest yhat of the whole evaluated set; by default of these images.

    Returns
    -------
    tensor (B,)
        Without unit.

    Raises
    ------
    InputError
        If the range is not above 0.
    """
    check_shapes(yhat=(yhat, "B"), explained=(explained, "B"))
    check_finite(yhat=yhat, explained=explained)
    if len(yhat) == 0:
        raise InputError("yhat: no images were given")
    if yhat_range is None:
        yhat_range = float(yhat.max() - yhat.min())
    if not number("yhat_range", float(yhat_range)) > 0:
        raise InputError(f"yhat_range: {yhat_range!r} is not above 0, are all scores equal?")
    return (yhat - explained).abs() / yhat_range


def _labels(labels: Tensor) -> Tensor:
    if labels.dtype != torch.bool:
        if not bool(torch.isin(labels, torch.tensor([-1, 0, 1], device=labels.device)).all()):
            raise InputError("labels: hold other values than True and False, 0 and 1, or -1 and 1")
    return labels > 0


def accuracy(scores: Tensor, labels: Tensor, threshold: float = 0.0) -> float:
    """Share of images on the right side of a threshold: positive if score > threshold.

    Parameters
    ----------
    scores : tensor (B,)
        Of the performer, or explained ones; the threshold is in their unit.
    labels : tensor (B,)
        bool, or 0 and 1, or -1 and 1.
    """
    check_shapes(scores=(scores, "B"), labels=(labels, "B"))
    check_finite(scores=scores)
    if len(scores) == 0:
        raise InputError("scores: no images were given")
    return float(((scores.double() > threshold) == _labels(labels)).double().mean())


def rank_agreement(contributions: Tensor, truth: Tensor) -> Tensor:
    """Spearman's rank correlation between contributions and a truth, within each image.

    Contributions and truth are (B, n), of any sign and unit; equal values share the mean of their
    ranks. Returns (B,), from -1 to 1; NaN for an image in which either is the same for all concepts.
    """
    check_shapes(contributions=(contributions, "B n"), truth=(truth, "B n"))
    check_finite(contributions=contributions, truth=truth)
    a, b = _ranks(contributions), _ranks(truth)
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Ranks within each row from 0, equal values at their mean rank; float64."""
    below = (values[:, None, :] < values[:, :, None]).sum(dim=2)  # (B, n, n) -> (B, n)
    equal = (values[:, None, :] == values[:, :, None]).sum(dim=2)
    return below.double() + (equal.double() - 1) / 2


def best_threshold(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """The threshold with the highest accuracy, and that accuracy.

    Of scores and labels (B,), as in `accuracy`. Candidates lie halfway between neighbouring scores,
    and beyond either end; of equally good ones the lowest is taken. Chosen on the very images it is
    evaluated on, as the paper seems to do, it flatters; choose it on validation images and pass it
    to `accuracy` for a fair number.
    """
    check_shapes(scores=(scores, "B"), labels=(labels, "B"))
    check_finite(scores=scores)
    if len(scores) == 0:
        raise InputError("scores: no images were given")
    order = scores.double().cpu().argsort()
    s, positive = scores.double().cpu()[order], _labels(labels).cpu()[order].double()
    # correct[k]: the k lowest are called negative, the others positive
    zero = torch.zeros(1, dtype=torch.float64)
    below = torch.cat([zero, (1 - positive).cumsum(0)])
    above = positive.sum() - torch.cat([zero, positive.cumsum(0)])
    correct = below + above
    possible = torch.ones(len(s) + 1, dtype=torch.bool)
    possible[1:-1] = s[1:] > s[:-1]  # equal scores can't be told apart
    correct[~possible] = -1
    k = int(correct.argmax())
    if k in (0, len(s)):
        threshold = float(s[0]) - 1.0 if k == 0 else float(s[-1]) + 1.0
    else:
        threshold = float((s[k - 1] + s[k]) / 2)
        if not s[k - 1] <= threshold < s[k]:  # neighbours in float64
            threshold = float(s[k - 1])
    return threshold, float(correct[k]) / len(s)


def true_contributions(yhat: Tensor, drops: Tensor, least: float = 0.1) -> tuple[Tensor, Tensor]:
    r"""Ground truth of parts, :math:`y^*_p = \hat y\, \Delta y_p / \sum_{p'} \Delta y_{p'}`.

    Parameters
    ----------
    yhat : tensor (B,)
        The performer's scores.
    drops : tensor (B, P)
        Fall of the score when a part's filters are removed, see `semquant.parts.drops`.
    least : float
        See `keep`.

    Returns
    -------
    truth : tensor (B, P)
        In score units; NaN where the drops sum to exactly 0.
    keep : tensor (B,), bool
        Images for which the truth is usable: yhat > 0 and the sum of drops > `least` times
        the size of yhat.

    Notes
    -----
    The paper has no such rule; without it y* explodes where the sum of drops is near 0. The sum
    runs over all columns given here, so over groups of their own for unnamed filters too.
    """
    check_shapes(yhat=(yhat, "B"), drops=(drops, "B P"))
    check_finite(yhat=yhat, drops=drops)
    number("least", least, 0)
    total = drops.sum(dim=1)
    truth = yhat[:, None] * drops / torch.where(total == 0, torch.nan, total)[:, None]
    return truth, (yhat > 0) & (total > least * yhat.abs())


def contribution_error(contributions: Tensor, truth: Tensor, yhat: Tensor) -> Tensor:
    r"""Error of estimated contributions, :math:`E[|Contri_p - y^*_p|] / E[\hat y]`.

    Parameters
    ----------
    contributions, truth : tensor (B, P)
        Estimated and true contributions of the parts, of kept images only.
    yhat : tensor (B,)
        Their scores.

    Returns
    -------
    tensor (P,)
        Without unit.

    Raises
    ------
    InputError
        If no image is given, a value is NaN, or the mean score is not above 0.

    Notes
    -----
    A part without filters has contribution, truth and error 0: leave it out of averages.
    """
    check_shapes(contributions=(contributions, "B P"), truth=(truth, "B P"), yhat=(yhat, "B"))
    check_finite(contributions=contributions, truth=truth, yhat=yhat)
    if len(yhat) == 0:
        raise InputError("yhat: no images were given, did the hygiene rule keep none?")
    mean = float(yhat.mean())
    if not mean > 0:
        raise InputError(f"yhat: its mean {mean:.4g} is not above 0, pass the kept images only")
    return (contributions - truth).abs().mean(dim=0) / mean


def rescale(contributions: Tensor, yhat: Tensor) -> Tensor:
    """Contributions scaled so that each image's add up to yhat, as the true ones do.

    A strongly negative b makes the contributions add up to yhat - b, which inflates
    `contribution_error` though the parts' shares may be right; with these as input it compares
    shares.

    Contributions (B, P) are of all parts, the group of unnamed filters included; yhat is (B,). An
    InputError if an image's contributions add up to 0.
    """
    check_shapes(contributions=(contributions, "B P"), yhat=(yhat, "B"))
    check_finite(contributions=contributions, yhat=yhat)
    total = contributions.sum(dim=1, keepdim=True)
    if bool((total == 0).any()):
        raise InputError(f"contributions: add up to 0 in {int((total == 0).sum())} images")
    return contributions * yhat[:, None] / total
