"""From filters to object parts: naming filters by part masks, and taking a part's filters away."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from semquant.checks import InputError, check_assignment, check_finite, check_shapes, number
from semquant.training import evaluation_mode

__all__ = ["drops", "hit_rates", "name_filters", "part_specificity"]


def hit_rates(activation: Tensor, group_masks: Tensor, cover: float = 0.05,
              strongest: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """How often a filter's peak falls on a part, and how often a random position would.

    A position is on a part if the part covers at least `cover` of it; so it can be on two. A filter
    fires in an image if its peak is above 0.

    Parameters
    ----------
    activation : tensor (N, n, H, W)
        The filters' maps on images that show the object: x, or the map before the mask (the mask
        moves no peak).
    group_masks : tensor (N, P, H, W)
        The part of each position that a group covers, 0 to 1, on the maps' grid.
    cover : float
        0 to 1.
    strongest : float
        Above 0, to 1: of the images in which a filter fires, only this part counts, those with its
        highest peaks (at least one image).

    Returns
    -------
    rates : tensor (n, P)
        Share of the filter's images where its peak is on the part; 0 for a filter that never
        fires.
    chance : tensor (P,)
        Share of all positions of all images that are on the part.
    counted : tensor (n,)
        How many images of each filter count.
    """
    sizes = check_shapes(activation=(activation, "N n H W"), group_masks=(group_masks, "N P H W"))
    check_finite(activation=activation, group_masks=group_masks)
    number("cover", cover, 0, 1)
    if not 0 < number("strongest", strongest, 0, 1):
        raise InputError(f"strongest: {strongest!r} is not above 0")
    if sizes["N"] == 0:
        raise InputError("activation: no images were given")
    on = (group_masks >= cover) & (group_masks > 0)
    chance = on.double().mean(dim=(0, 2, 3))
    peak, where = activation.flatten(2).max(dim=2)  # (N, n, H, W) -> (N, n)
    fires = peak > 0
    rank = peak.argsort(dim=0, descending=True, stable=True).argsort(dim=0)  # 0 is the highest
    fires &= rank < (strongest * fires.sum(dim=0)).ceil()
    places = where[:, None, :].expand(-1, sizes["P"], -1)  # (N, P, n)
    hits = on.flatten(2).gather(2, places) & fires[:, None, :]  # part p at the peak of filter i
    counted = fires.sum(dim=0)
    rates = hits.sum(dim=0).T.double() / counted.clamp_min(1)[:, None]  # (n, P)
    return rates, chance, counted


def _scores(rates: Tensor, chance: Tensor) -> Tensor:
    lift = rates / torch.where(chance > 0, chance, torch.ones_like(chance))
    return rates * lift.sqrt()


def name_filters(activation: Tensor, group_masks: Tensor, threshold: float = 0.25,
                 cover: float = 0.05, strongest: float = 0.5) -> tuple[Tensor, Tensor]:
    """Name each filter after the part group that its peaks fall on.

    The score of a filter for a group is its hit rate times the square root of the rate's lift over
    chance: small parts are not swallowed by the large ones around them, and rare lucky hits on a
    tiny part don't win. The best group names the filter, if enough of its peaks vote for it.

    Parameters as in `hit_rates`; `threshold` is the least hit rate for a name, 0 to 1.

    Returns
    -------
    assignment : tensor (n,), whole numbers
        Index of the group; -1 where no group is hit often enough, or the filter never fires.
    scores : tensor (n, P)

    Notes
    -----
    In the paper a person names each filter by looking at where it is strongly activated. Here the
    stronger half of a filter's images votes.
    """
    number("threshold", threshold, 0, 1)
    rates, chance, _ = hit_rates(activation, group_masks, cover, strongest)
    scores = _scores(rates, chance)
    best = scores.argmax(dim=1)
    rate = rates.gather(1, best[:, None])[:, 0]
    return torch.where((rate >= threshold) & (rate > 0), best, -1), scores


def part_specificity(activation: Tensor, group_masks: Tensor, share: float = 0.5,
                     cover: float = 0.05) -> float:
    """Share of filters that keep to one part.

    These are the filters whose peak falls on their best part in at least `share` of all images in
    which they fire. A filter that never fires is not one of them.

    Parameters as in `hit_rates`; the best part is the one of `name_filters`.
    """
    number("share", share, 0, 1)
    assignment, _ = name_filters(activation, group_masks, share, cover, strongest=1.0)
    return float((assignment >= 0).double().mean())


def drops(head: Callable[[Tensor], Tensor], x: Tensor, assignment: Tensor, parts: int) -> Tensor:
    """How far the score falls when all activations of a part's filters are removed (section 4.1).

    Parameters
    ----------
    head : callable
        x (B, n, H, W) -> yhat (B,). A module is run in evaluation mode.
    x : tensor (B, n, H, W)
    assignment : tensor (n,), whole numbers
        The part of each filter, from 0 to P - 1; -1 for none.
    parts : int
        P.

    Returns
    -------
    tensor (B, P + 1)
        yhat(x) - yhat(x with these filters 0), in score units; the last column is for the filters
        that belong to no part. A part without filters has drop 0.
    """
    number("parts", parts, 0, integer=True)
    check_shapes(x=(x, "B n H W"), assignment=(assignment, "n"))
    check_assignment(assignment, parts)
    assignment = assignment.to(x.device)
    with torch.no_grad(), evaluation_mode(head):
        yhat = head(x.clone())  # a copy: a head may start with an in-place ReLU
        check_shapes(x=(x, "B n H W"), yhat=(yhat, "B"))
        columns = []
        for part in [*range(parts), -1]:
            chosen = assignment == part
            if not bool(chosen.any()):
                columns.append(torch.zeros_like(yhat))
                continue
            columns.append(yhat - head(x.masked_fill(chosen[None, :, None, None], 0.0)))
    return torch.stack(columns, dim=1)
