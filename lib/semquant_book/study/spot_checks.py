"""Measurements that no record holds, of a run's networks themselves: for a few of the paper's sentences."""

from __future__ import annotations

import pandas as pd
import torch

from semquant import metrics
from semquant_book.datasets.names import ATTRIBUTES, METHODS, TARGETS
from semquant_book.study import experiment2, inspection
from semquant_book.study.concept_choice import linear_weights, moments
from semquant_book.study.presets import Settings

__all__ = ["alpha_between_images", "grad_cam_agreement", "mask_order", "variance_explained"]

IMAGES = 256  # positive test images of a performer, at most
DRAWS = 20  # random choices of four local attributes


def mask_order(settings: Settings) -> float:
    """Return the largest difference of the first performer's scores between mask and ReLU either
    way.
    """
    shown = _shown(settings, settings.architectures[0])
    net = shown.net
    images = net.prepare(shown.images.images[:IMAGES].to(next(net.parameters()).device))
    with torch.no_grad():
        z, x = net.maps(images)
        return float((net.head(x) - net.head(net.mask(z.relu()))).abs().max())


def grad_cam_agreement(settings: Settings) -> pd.DataFrame:
    """Compare part contributions with the share of Grad-CAM's map that lies on each part's mask.

    A row for each network (first category, first seeds, the first reading of y) and method,
    ``"ours"``, ``"baseline"`` and ``"uniform"`` (the same weight for every filter):
    ``rank_correlation`` over the named parts, mean over images; no row for a network with fewer
    than two named parts.
    """
    rows = []
    for architecture in settings.architectures:
        shown = _shown(settings, architecture)
        there = [p for p in range(len(shown.groups)) if bool((shown.assignment == p).any())]
        if len(there) < 2:
            continue
        some = range(min(IMAGES, len(shown.images)))
        masks = shown.images.subset(list(some)).group_masks()
        on_parts = (shown.heatmaps(some)[:, None] * masks).sum(dim=(2, 3))  # (B, P)
        equal = shown.measured.y.new_zeros(len(shown.images), len(shown.groups))
        for p in there:
            equal[:, p] = shown.measured.y[:, shown.assignment == p].sum(dim=1)
        said = {method: shown.by_part(method).contributions for method in METHODS}
        for method, contributions in (said | {"uniform": equal}).items():
            found = metrics.rank_agreement(contributions[list(some)][:, there], on_parts[:, there])
            rows.append((architecture, settings.categories[0], 0, method, float(found.nanmean())))
    return pd.DataFrame(rows, columns=["architecture", "category", "performer_seed", "method",
                                       "rank_correlation"])


def _shown(settings: Settings, architecture: str) -> inspection.Case:
    return inspection.case(settings, architecture, settings.categories[0], scale=settings.scales[0])


def alpha_between_images(settings: Settings) -> dict[str, float]:
    """Return, for each target, the share of alpha's variance between faces rather than concepts."""
    shares = {}
    for target in settings.targets:
        alpha = experiment2.Run(settings, target).explain().alpha  # (B, n)
        between = float(alpha.var(dim=0).mean())
        shares[target] = between / (between + float(alpha.mean(dim=0).var()))
    return shares


def variance_explained(settings: Settings) -> pd.DataFrame:
    """Explain each attribute's score by a linear model of others, on the test faces.

    A row for each attribute: ``attribute``, ``whole`` (whether it is one of the four global ones);
    the share of variance that the ``others`` (the 36 local scores for a global attribute, the four
    global ones for a local one) and ``four_local`` scores, mean over random choices, explain.
    """
    fit, test = (experiment2.outputs(settings, split).scores for split in ("train", "test"))
    products = moments(fit)
    whole = [ATTRIBUTES.index(name) for name in TARGETS]
    local = [k for k in range(len(ATTRIBUTES)) if k not in whole]
    generator = torch.Generator().manual_seed(0)

    def explained(target: int, among: list[int]) -> float:
        v = linear_weights(products, target, among).float()
        left = test[:, target] - test[:, among] @ v[:-1] - v[-1]
        return 1 - float(left.square().mean() / test[:, target].var(correction=0))

    def four_at_random(target: int) -> float:
        rest = torch.tensor([k for k in local if k != target])
        found = [explained(target, rest[torch.randperm(len(rest), generator=generator)[:4]].tolist())
                 for _ in range(DRAWS)]
        return sum(found) / DRAWS

    return pd.DataFrame([
        {"attribute": ATTRIBUTES[k], "whole": k in whole,
         "others": explained(k, local if k in whole else whole), "four_local": four_at_random(k)}
        for k in (*whole, *local)])
