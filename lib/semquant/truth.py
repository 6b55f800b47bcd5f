"""What is true of a score: its value for each coalition of filters, and exact Shapley values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_assignment, check_finite, check_shapes, number, one_of
from semquant.training import evaluation_mode

__all__ = ["KINDS", "MOST_GROUPS", "REFERENCES", "Planted", "coalition_values", "interactions",
           "nonlinearity", "planted", "removals", "shapley"]

#: What takes the place of a filter that is absent.
REFERENCES = ("zero", "mean", "resampled")
#: So many groups have 2^16 = 65,536 coalitions, a pass of the head each; more are refused.
MOST_GROUPS = 16
#: The heads whose Shapley values are a formula.
KINDS = ("linear", "product", "saturating", "cancelling")


def coalition_values(head: Callable[[Tensor], Tensor], x: Tensor, groups: Tensor,
                     reference: str = "zero", background: Tensor | None = None, *,
                     parts: int | None = None, batch_size: int = 256) -> Tensor:
    r"""The score of every coalition of groups: its filters as they are, all others absent.

    Parameters
    ----------
    head : callable
        x (B, n, H, W) -> yhat (B,). A module is run in evaluation mode. The images of a batch must
        not influence each other.
    x : tensor (B, n, H, W)
        Left unchanged.
    groups : tensor (n,), whole numbers
        The group of each filter, from 0; -1 for none. If there are filters of none, they are one
        further group, the last.
    reference : {"zero", "mean", "resampled"}
        What an absent filter's map is: 0, its mean over the background images (at each position),
        or that of each background image in turn, of which the mean value is taken.
    background : tensor (M, n, H, W), optional
        Needed for ``"mean"`` and ``"resampled"``.
    parts : int, optional
        How many groups there are, without the further one, where the last ones may be empty; by
        default the largest of `groups` and one more.
    batch_size : int
        How many maps the head is given at a time.

    Returns
    -------
    tensor (B, 2^P), P the number of groups with the further one
        In score units. Column S is a bit mask: bit p is set where group p is present. So column 0
        is the reference's score and the last column that of x.
        An InputError if the shapes don't fit, x or a value is NaN, or P is above 16.
    """
    n = check_shapes(x=(x, "B n H W"), groups=(groups, "n"))["n"]
    check_finite(x=x)
    number("batch_size", batch_size, 1, integer=True)
    present = _members(groups, parts).to(x.device)  # (2^P, n)
    references = _references(one_of("reference", reference, REFERENCES), background, x)
    images, count = len(x), len(present)
    total = None
    with torch.no_grad(), evaluation_mode(head):
        for absent in references:  # (n, H, W)
            values = []
            for some in torch.arange(images * count, device=x.device).split(batch_size):
                kept = present[some % count][:, :, None, None]
                maps = torch.where(kept, x[some // count], absent)  # a copy, for a ReLU in place
                yhat = head(maps)
                check_shapes(maps=(some, "B"), yhat=(yhat, "B"))
                values.append(yhat)
            values = torch.cat(values) if values else x.new_zeros(0)
            total = values if total is None else total + values
    check_finite(**{"the head's score": total})
    return (total / len(references)).view(images, count)


def _members(groups: Tensor, parts: int | None) -> Tensor:
    """Which filters each coalition of groups has, bool (2^P, n)."""
    last = int(groups.max()) if groups.numel() else -1
    parts = last + 1 if parts is None else number("parts", parts, 0, integer=True)
    check_assignment(groups, parts, "groups")
    column = torch.where(groups < 0, parts, groups).long().cpu()
    players = parts + int(bool((groups < 0).any()))
    if players > MOST_GROUPS:
        raise InputError(f"groups: {players} are more than {MOST_GROUPS}, of which all coalitions "
                         "can be run; merge some")
    return _bits(players)[:, column] if players else torch.ones(1, groups.numel(), dtype=torch.bool)


def _bits(players: int) -> Tensor:
    """Which players are in each coalition, bool (2^P, P)."""
    masks = torch.arange(2**players)
    return (masks[:, None] >> torch.arange(players)) & 1 == 1


def _references(name: str, background: Tensor | None, x: Tensor) -> Tensor:
    """The maps that absent filters have, (R, n, H, W)."""
    if name == "zero":
        return x.new_zeros(1, *x.shape[1:])
    if background is None:
        raise InputError(f"background: none was given, reference {name!r} needs maps")
    check_shapes(x=(x, "B n H W"), background=(background, "M n H W"))
    check_finite(background=background)
    if len(background) == 0:
        raise InputError("background: no images were given")
    background = background.to(x)
    return background if name == "resampled" else background.mean(dim=0, keepdim=True)


def _players(values: Tensor) -> int:
    """P of the values (B, 2^P) of all coalitions, checked."""
    count = check_shapes(values=(values, "B 2^P"))["2^P"]
    check_finite(values=values)
    if count < 1 or count & (count - 1):
        raise InputError(f"values: {count} columns are not 2^P, one for each coalition of P groups")
    return count.bit_length() - 1


def shapley(values: Tensor) -> Tensor:
    r"""Exact Shapley values of the groups.

    .. math:: \phi_p = \sum_{S \not\ni p} \frac{|S|!\,(P - |S| - 1)!}{P!}
              \left(v(S \cup p) - v(S)\right)

    Of the values (B, 2^P) that `coalition_values` gives; returns (B, P), of any sign, in score
    units. An image's add up to v(all) - v(none).
    """
    players = _players(values)
    masks = torch.arange(2**players)
    size = _bits(players).sum(dim=1)  # |S| of each coalition
    weight = torch.tensor([math.factorial(s) * math.factorial(players - s - 1)
                           / math.factorial(players) for s in range(players)], dtype=torch.float64)
    found = []
    for p in range(players):
        without = masks[masks >> p & 1 == 0]
        gained = values[:, without | 1 << p].double() - values[:, without].double()
        found.append(gained @ weight[size[without]].to(values.device))
    return torch.stack(found, dim=1).to(values.dtype) if found else values[:, :0]


def removals(values: Tensor) -> Tensor:
    """v(all) - v(all without p) of each group, of any sign: (B, 2^P) -> (B, P), in score units.

    What `semquant.parts.drops` gives, where the reference is zero.
    """
    players = _players(values)
    everyone = 2**players - 1
    return values[:, [everyone]] - values[:, [everyone ^ 1 << p for p in range(players)]]


def interactions(values: Tensor) -> Tensor:
    r"""How far two groups' removals fall short of adding up, (B, 2^P) -> (B, P, P), in score units.

    :math:`v(all) - v(all \setminus p) - v(all \setminus q) + v(all \setminus \{p, q\})`, symmetric;
    0 on the diagonal, and everywhere for a linear head.
    """
    players = _players(values)
    everyone = 2**players - 1
    removed = [1 << p for p in range(players)]
    without = values[:, [everyone ^ p for p in removed]]  # (B, P)
    both = values[:, [everyone & ~(p | q) for p in removed for q in removed]]
    found = (values[:, -1:, None] - without[:, :, None] - without[:, None, :]
             + both.view(-1, players, players))
    return found * (1 - torch.eye(players, dtype=found.dtype, device=found.device))


def nonlinearity(values: Tensor) -> Tensor:
    r"""How far a score is from a sum over groups: 1 - R² of the best additive fit.

    The fit :math:`v(S) \approx a + \sum_{p \in S} a_p` is by least squares over all 2^P coalitions
    of an image. Of values (B, 2^P); returns (B,), without unit, from 0 (a linear head, or a score
    that is always the same) to 1.
    """
    players = _players(values)
    v = values.double()
    centred = v - v.mean(dim=1, keepdim=True)
    total = centred.square().mean(dim=1)
    signs = _bits(players).to(v) * 2 - 1  # the columns are orthogonal, so each is fitted alone
    explained = (centred @ signs / v.shape[1]).square().sum(dim=1)
    rounding = (torch.finfo(values.dtype).eps * v.abs().amax(dim=1)).square()
    share = explained / torch.where(total > rounding, total, torch.ones_like(total))
    return torch.where(total > rounding, (1 - share).clamp(0, 1), 0.0).to(values.dtype)


class Planted(NamedTuple):
    """A head whose right explanation is known."""

    head: nn.Module  # x (B, n, H, W) -> yhat (B,)
    shapley: Callable[[Tensor], Tensor]  # x -> exact Shapley values (B, n); absent filters are 0


class _Sums(nn.Module):
    """A head that reads y, the filters' sums over positions; `layer` is y (B, n) -> (B, 1)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.sum(dim=(2, 3)))[:, 0]


class _Product(nn.Module):
    def forward(self, y: Tensor) -> Tensor:
        return y[:, :1] * y[:, 1:2]


class _Strongest(nn.Module):
    def forward(self, y: Tensor) -> Tensor:
        return y.clamp_min(0).amax(dim=1, keepdim=True)


def planted(kind: str, n: int = 4, seed: int = 0) -> Planted:
    r"""A small head on n filters, with a formula for its Shapley values.

    Each reads :math:`y_i`, the sum of filter i over all positions. The players are the filters, and
    an absent one is 0 everywhere.

    Parameters
    ----------
    kind : {"linear", "product", "saturating", "cancelling"}
        :math:`\sum_i v_i y_i + c` with drawn v and c; :math:`y_0 y_1`;
        :math:`\max(0, \max_i y_i)`, for which one filter is enough; or :math:`\max(0, y_0 - y_1)`,
        where filter 1 holds back what filter 0 says.
    n : int
        At least 2. Filters that the formula does not name have no say.
    seed : int
        Of v and c.
    """
    one_of("kind", kind, KINDS)
    number("n", n, 2, integer=True)
    number("seed", seed, 0, integer=True)
    drawn = torch.randn(n + 1, generator=torch.Generator().manual_seed(seed))
    difference = _linear(torch.tensor([1.0, -1.0] + [0.0] * (n - 2)), torch.zeros(1))
    layer, rule = {
        "linear": (_linear(drawn[:n], drawn[n:]), lambda y: y * drawn[:n].to(y)),
        "product": (_Product(), _of_a_product),
        "saturating": (_Strongest(), _of_the_strongest),
        "cancelling": (nn.Sequential(difference, nn.ReLU()), _of_a_difference),
    }[kind]
    return Planted(_Sums(layer).eval(), lambda x: rule(x.sum(dim=(2, 3))))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """The layer of a weight (n,) and a bias (1,)."""
    layer = nn.utils.skip_init(nn.Linear, len(weight), 1)  # torch's random numbers stay as they are
    layer.load_state_dict({"weight": weight[None], "bias": bias})
    return layer


def _of_two(y: Tensor, first: Tensor, second: Tensor) -> Tensor:
    found = torch.zeros_like(y)
    found[:, 0], found[:, 1] = first, second
    return found


def _of_a_product(y: Tensor) -> Tensor:
    """Neither says anything alone, so each has half."""
    half = y[:, 0] * y[:, 1] / 2
    return _of_two(y, half, half)


def _of_a_difference(y: Tensor) -> Tensor:
    """The mean over the two orders of joining: v(0) = max(0, y_0), v(1) = max(0, -y_1)."""
    both, first, second = (v.clamp_min(0) for v in (y[:, 0] - y[:, 1], y[:, 0], -y[:, 1]))
    return _of_two(y, (both - second + first) / 2, (both - first + second) / 2)


def _of_the_strongest(y: Tensor) -> Tensor:
    """In rising order, all that reach a step share it equally (the airport game)."""
    rising, order = y.clamp_min(0).sort(dim=1)
    steps = rising.diff(dim=1, prepend=torch.zeros_like(rising[:, :1]))
    sharing = torch.arange(y.shape[1], 0, -1, device=y.device)
    return torch.zeros_like(y).scatter(1, order, (steps / sharing).cumsum(dim=1))
