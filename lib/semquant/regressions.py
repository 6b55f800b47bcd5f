"""Scores regressed on concepts: what one alpha for all images, or one function of each concept, explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from semquant.checks import InputError, check_finite, check_shapes

__all__ = ["STRENGTHS", "boosted", "concept_head", "nonnegative", "ridge"]

#: Strengths that ridge regression chooses from, in units of a standardised concept's variance.
STRENGTHS = tuple(10.0**power for power in range(-8, 4))
BINS = 32  # of a concept's values, equally full
STEP = 0.1  # share of a stump's values that is added
MOST, PATIENCE = 2000, 50  # stumps, and without an improvement on images left out


def ridge(y: Tensor, yhat: Tensor) -> tuple[Tensor, float]:
    r"""Ridge regression of scores on standardised concepts; alpha (n,) and b, which is not shrunk.

    Of y (B, n) and yhat (B,). The strength is the one of `STRENGTHS` with the least squared error
    on images left out one at a time, which has a closed form. A concept that never varies has
    alpha 0.
    """
    y, yhat, mean, middle = _centred(y, yhat)
    images = len(y)
    spread = y.square().mean(dim=0).sqrt()
    unit = torch.where(spread > 0, spread, 1.0)
    u, s, v = torch.linalg.svd(y / unit, full_matrices=False)
    along = u.T @ yhat
    errors = []
    for strength in STRENGTHS:
        kept = s.square() / (s.square() + strength * images)
        leverage = u.square() @ kept + 1 / images
        left_out = (yhat - u @ (kept * along)) / (1 - leverage).clamp_min(1e-12)
        errors.append(left_out.square().mean())
    strength = STRENGTHS[int(torch.stack(errors).argmin())]
    alpha = v.T @ (s / (s.square() + strength * images) * along) / unit
    return alpha, float(middle - alpha @ mean)


def nonnegative(y: Tensor, yhat: Tensor) -> tuple[Tensor, float]:
    r"""Least squares with alpha of at least 0; alpha (n,) and b, which may have any sign.

    Of y (B, n) and yhat (B,): :math:`\min_{\alpha \ge 0, b} \|Y \alpha + b - \hat y\|^2` by the
    active-set method of Lawson and Hanson.
    """
    y, yhat, mean, middle = _centred(y, yhat)
    length = torch.linalg.vector_norm(y, dim=0)
    unit = torch.where(length > 0, length, 1.0)
    q, r = torch.linalg.qr(y / unit)  # the same problem with fewer rows
    target = q.T @ yhat
    n = r.shape[1]
    alpha, free = torch.zeros(n, dtype=r.dtype), torch.zeros(n, dtype=torch.bool)
    least = 1e-12 * float(torch.linalg.vector_norm(target))
    for _ in range(3 * n):
        slope = (r.T @ (target - r @ alpha)).masked_fill(free, -torch.inf)
        if not float(slope.max()) > least:
            break
        free[slope.argmax()] = True
        while True:
            solved = torch.zeros_like(alpha)
            found = torch.linalg.lstsq(r[:, free], target[:, None], driver="gelsd")
            solved[free] = found.solution[:, 0]
            wrong = free & (solved <= 0)
            if not bool(wrong.any()):
                break
            step = (alpha / (alpha - solved))[wrong].min()  # as far as all stay at least 0
            alpha = alpha + step * (solved - alpha)
            free &= alpha > 1e-15 * alpha.max()
            alpha = alpha * free
        alpha = solved
    alpha = alpha / unit
    return alpha, float(middle - alpha @ mean)


def concept_head(y: Tensor, yhat: Tensor) -> tuple[Tensor, float]:
    r"""A concept bottleneck's linear head; alpha (n,) and b.

    Of y (B, n) and yhat (B,). It learns the network's decision, not its score: logistic regression
    of yhat > 0 on the standardised concepts, with the penalty :math:`\|v\|^2 / 2` on the sum of the
    images' losses. What it explains is its own logit, which has the unit of no score; alpha and b
    are those of the logit times one factor, that of its least squares to yhat. Where all images are
    decided alike, alpha is 0 and b the mean score.
    """
    y, yhat, mean, middle = _centred(y, yhat)
    spread = y.square().mean(dim=0).sqrt()
    unit = torch.where(spread > 0, spread, 1.0)
    design, yes = torch.cat([y / unit, torch.ones_like(y[:, :1])], dim=1), (yhat + middle > 0).double()
    if yes.min() == yes.max():
        return torch.zeros_like(mean), float(middle)
    v = torch.zeros(design.shape[1], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([v], max_iter=1000, tolerance_grad=1e-8, tolerance_change=1e-12,
                                line_search_fn="strong_wolfe")

    @torch.enable_grad()
    def loss() -> Tensor:
        descent.zero_grad()
        value = F.binary_cross_entropy_with_logits(design @ v, yes, reduction="sum")
        value = value + v[:-1].square().sum() / 2
        value.backward()
        return value

    descent.step(loss)
    v = v.detach()
    logit = design @ v
    v = v * (logit @ (yhat + middle)) / logit.square().sum()
    alpha = v[:-1] / unit
    return alpha, float(v[-1] - alpha @ mean)


def boosted(y: Tensor, yhat: Tensor) -> tuple[Callable[[Tensor], Tensor], float]:
    r"""An additive boosting machine; the concepts' parts of the score, and b.

    Of y (B, n) and yhat (B,): :math:`f(y) = c + \sum_i f_i(y_i)`, what an explainable boosting machine
    is without interactions. Each step adds a tenth of the stump, over all concepts and the
    thresholds between their equally full bins, that explains the residual best; as many steps as
    explain each fifth image, left out at first, best.

    Returns
    -------
    parts : callable, (B', n) -> (B', n)
        :math:`f_i(y_i) - f_i(\bar y_i)`: how much less f would be with :math:`y_i` at its mean over
        the images of the fit. As f is additive, this is exact.
    b : float
        f where all concepts are at their means.
    """
    y, yhat, mean, middle = _centred(y, yhat)
    share = torch.arange(1, BINS, dtype=y.dtype) / BINS
    thresholds = torch.quantile(y, share, dim=0).T.contiguous()  # (n, BINS - 1)
    left_out = torch.arange(len(y)) % 5 == 4
    best, steps = float("inf"), 0
    for t, values in enumerate(_boosting(y[~left_out], yhat[~left_out], thresholds), 1):
        said = _parts(y[left_out], values, thresholds).sum(dim=1)
        error = float((yhat[left_out] - said).square().mean())
        if error < best:
            best, steps = error, t
        if t - steps >= PATIENCE or t == MOST:
            break
    values = torch.zeros(y.shape[1], BINS, dtype=y.dtype)
    for values in islice(_boosting(y, yhat, thresholds), steps):
        pass
    middles = _parts(torch.zeros_like(y[:1]), values, thresholds)

    def parts(concepts: Tensor) -> Tensor:
        return _parts(concepts.detach().double().cpu() - mean, values, thresholds) - middles

    return parts, float(middle + middles.sum())


def _boosting(y: Tensor, yhat: Tensor, thresholds: Tensor) -> Iterator[Tensor]:
    """The functions' values in each bin, (n, BINS), after each stump."""
    below = (y[:, :, None] <= thresholds).flatten(1).to(y.dtype)  # (B, n * (BINS - 1))
    count, left = below.sum(dim=0), yhat.clone()
    values = torch.zeros(len(thresholds), BINS, dtype=y.dtype)
    while True:
        low = left @ below
        high = left.sum() - low
        gain = low.square() / count + high.square() / (len(y) - count)
        best = int(gain.nan_to_num(-1.0, posinf=-1.0).argmax())  # with images on both sides
        concept, place = divmod(best, BINS - 1)
        sides = STEP * torch.stack([low[best] / count[best], high[best] / (len(y) - count[best])])
        if not bool(sides.isfinite().all()):  # no concept varies
            sides = torch.zeros_like(sides)
        left = left - torch.where(below[:, best] > 0, sides[0], sides[1])
        values[concept, : place + 1] += sides[0]
        values[concept, place + 1 :] += sides[1]
        yield values


def _parts(y: Tensor, values: Tensor, thresholds: Tensor) -> Tensor:
    """The functions of concepts y (B, n), (B, n)."""
    place = torch.searchsorted(thresholds, y.T.contiguous())  # thresholds that are less
    return values.gather(1, place).T


def _centred(y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y and yhat less their means, and the means; float64 on the CPU.

    What is left of a concept that never varies is rounding, and becomes 0.
    """
    check_shapes(y=(y, "B n"), yhat=(yhat, "B"))
    check_finite(y=y, yhat=yhat)
    if len(yhat) < 2:
        raise InputError(f"images: {len(yhat)} given, a fit needs at least 2")
    y, yhat = y.detach().double().cpu(), yhat.detach().double().cpu()
    mean, middle = y.mean(dim=0), yhat.mean()
    left = y - mean
    left = left * (left.abs().amax(dim=0) > 1e-13 * y.abs().amax(dim=0))
    return left, yhat - middle, mean, middle
