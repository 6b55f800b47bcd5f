"""The losses an explainer learns from: equations (2), (3) and (4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semquant.checks import check_not_negative, check_shapes, number, one_of
from semquant.priors import CONTROLS

__all__ = ["DIRECTIONS", "LOSSES", "Objective", "distillation_loss", "prior_cross_entropy",
           "prior_l2", "prior_loss", "prior_weight"]

#: The two cases of equation (4).
LOSSES = ("cross_entropy", "l2")

#: Which of the two distributions of a cross-entropy is inside the logarithm.
DIRECTIONS = ("log_alpha", "log_w")


@dataclass(frozen=True)
class Objective:
    r"""What a fit minimises: :math:`\mathrm{Loss} = L + \lambda(t)\,\mathcal L(\alpha, w)` (equation (3))."""

    prior: str = "measured"  # which w: measured, uniform, permuted; none is the paper's baseline
    loss: str = "cross_entropy"  # the case of equation (4): that, or l2, which takes any signs
    beta: float = 10.0  # lambda(t) = beta / sqrt(t): 10 in Experiment 1, 0.2 in Experiment 2
    direction: str = "log_alpha"  # of the cross-entropy, see `prior_cross_entropy`
    divide_by_variance: bool = False  # L in units of yhat's variance: beta means the same at any scale

    def __post_init__(self) -> None:
        one_of("prior", self.prior, CONTROLS)
        one_of("loss", self.loss, LOSSES)
        number("beta", self.beta, 0)
        one_of("direction", self.direction, DIRECTIONS)
        one_of("divide_by_variance", self.divide_by_variance, (True, False))


def distillation_loss(yhat: Tensor, alpha: Tensor, y: Tensor, b: Tensor | float) -> Tensor:
    r"""Mean over images of :math:`(\hat y - \sum_i \alpha_i y_i - b)^2` (equation (2)).

    A scalar, in squared score units, of the performer's scores yhat (B,), the concepts' weights and
    values alpha and y (B, n), and the bias term b.
    """
    check_shapes(yhat=(yhat, "B"), alpha=(alpha, "B n"), y=(y, "B n"))
    return (yhat - (alpha * y).sum(dim=1) - b).square().mean()


def prior_cross_entropy(alpha: Tensor, w: Tensor, direction: str = "log_alpha",
                        eps: float = 1e-8) -> Tensor:
    r"""Cross-entropy between the two sets of weights as distributions (equation (4), first case).

    With :math:`p = w / \|w\|_1` and :math:`q = \alpha / \|\alpha\|_1`, the mean over images of
    :math:`-\sum_i p_i \log q_i`.

    Parameters
    ----------
    alpha : tensor (B, n)
        The explainer's weights, at least 0.
    w : tensor (B, n)
        Prior weights, at least 0. An image whose w is all zero counts 0 in the mean.
    direction : {"log_alpha", "log_w"}
        ``"log_w"`` gives :math:`-\sum_i q_i \log(p_i + \epsilon)` instead.
    eps : float
        The epsilon of ``"log_w"``, needed since clipped prior weights are often exactly 0.

    Returns
    -------
    scalar tensor
        In nats.

    Raises
    ------
    InputError
        If the shapes don't fit, or a weight is negative or NaN.

    Notes
    -----
    The paper writes crossEntropy(alpha, w) and doesn't say which of the two is inside the
    logarithm. The default is the direction whose minimum is alpha proportional to w; the other one
    is lowest where all of alpha lies on the largest w.
    """
    one_of("direction", direction, DIRECTIONS)
    check_shapes(alpha=(alpha, "B n"), w=(w, "B n"))
    check_not_negative(alpha=alpha, w=w)
    tiny = torch.finfo(alpha.dtype).tiny  # keeps logarithm and quotient finite where alpha is 0
    w_sum = w.sum(dim=1, keepdim=True)
    p = w / w_sum.clamp_min(torch.finfo(w.dtype).tiny)  # an all-zero w stays 0
    alpha_sum = alpha.sum(dim=1, keepdim=True).clamp_min(tiny)
    if direction == "log_alpha":
        log_q = alpha.clamp_min(tiny).log() - alpha_sum.log()
        return -(p * log_q).sum(dim=1).mean()
    per_image = -((alpha / alpha_sum) * (p + eps).log()).sum(dim=1)
    return (per_image * (w_sum[:, 0] > 0)).mean()


def prior_l2(alpha: Tensor, w: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Squared distance between the two directions (equation (4), second case).

    Mean over images of :math:`\| \alpha / \|\alpha\|_2 - w / \|w\|_2 \|_2^2`.

    Parameters
    ----------
    alpha, w : tensor (B, n)
        The explainer's weights and the prior weights, of any sign. An image whose w is all zero
        counts 0 in the mean.
    eps : float
        :math:`\|\alpha\|_2` is taken as :math:`\sqrt{\|\alpha\|_2^2 + \epsilon^2}`, so that value
        and gradient stay finite at alpha = 0.

    Returns
    -------
    scalar tensor
        Between 0 and 4, without unit.
    """
    check_shapes(alpha=(alpha, "B n"), w=(w, "B n"))
    w_norm = torch.linalg.vector_norm(w, dim=1, keepdim=True)
    w_unit = w / w_norm.clamp_min(torch.finfo(w.dtype).tiny)
    alpha_unit = alpha / (alpha.square().sum(dim=1, keepdim=True) + eps**2).sqrt()
    per_image = (alpha_unit - w_unit).square().sum(dim=1)
    return (per_image * (w_norm[:, 0] > 0)).mean()


def prior_loss(alpha: Tensor, w: Tensor, objective: Objective) -> Tensor:
    r""":math:`\mathcal L(\alpha, w)`, the case of equation (4) that an objective names: a scalar tensor."""
    if objective.loss == "l2":
        return prior_l2(alpha, w)
    return prior_cross_entropy(alpha, w, objective.direction)


def prior_weight(epoch: int, beta: float) -> float:
    r"""Weight of the prior loss, :math:`\lambda(t) = \beta / \sqrt t` (section 3).

    The epoch t counts from 1. It fades slowly: with beta = 10 it is still 2 at epoch 25.
    """
    number("epoch", epoch, 1, integer=True)
    number("beta", beta, 0)
    return beta / math.sqrt(epoch)
