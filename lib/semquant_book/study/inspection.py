"""One performer of Experiment 1, its named filters, and explanations of its test images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from semquant import metrics, truth
from semquant.concepts import Measured
from semquant.explanation import UNASSIGNED, Explanation, grad_cam
from semquant.networks.performers import Performer
from semquant_book.datasets.images import Images
from semquant_book.datasets.names import METHODS
from semquant_book.study import experiment1
from semquant_book.study.presets import Settings

__all__ = ["Case", "case", "example", "rounded", "strongest_images"]


@dataclass
class Case:
    """One performer, its named filters, and the explanations of its B positive test images.

    `images` and `measured` are of these. `assignment` (n,): the part group of each filter, -1 for
    none; `scores` (n, P): how well each group fits each filter. `ours` and `baseline` have a
    contribution for each filter. `drops` (B, P + 1): fall of the score when a group's filters are
    removed. `scale` is the reading of y's scale that both are of; `others` holds, by reading, the
    same by method in each other one that has been run.
    """

    net: Performer
    images: Images
    measured: Measured
    assignment: Tensor
    scores: Tensor
    ours: Explanation
    baseline: Explanation
    drops: Tensor
    scale: str = ""
    others: dict[str, dict[str, Explanation]] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the P part groups."""
        return self.images.groups

    @property
    def names(self) -> list[str]:
        """The part each filter is named after."""
        return [UNASSIGNED if p < 0 else self.groups[p] for p in self.assignment.tolist()]

    def by_part(self, method: str) -> Explanation:
        """Return the explanations of ``"ours"`` or ``"baseline"``, merged to parts."""
        return getattr(self, method).merge(self.assignment, self.groups)

    def truth(self) -> tuple[Tensor, Tensor]:
        """Return the true contributions of the parts, and which images they can be used of."""
        return metrics.true_contributions(self.measured.yhat, self.drops)

    def coalitions(self, chosen: Sequence[int]) -> Tensor:
        """Return chosen images' scores by all coalitions of the groups that have filters (k, 2^P).

        In the groups' order, filters of none last, see `truth.coalition_values`; of an absent group
        the filters are 0.
        """
        groups, named = torch.full_like(self.assignment, -1), self.assignment >= 0
        groups[named] = self.assignment[named].unique(return_inverse=True)[1]
        head = nn.Sequential(self.net.head, nn.Flatten(0))
        x = self.measured.x[list(chosen)].to(next(self.net.parameters()).device)
        return truth.coalition_values(head, x, groups).cpu()

    def heatmaps(self, chosen: Sequence[int]) -> Tensor:
        """Return Grad-CAM maps (k, S, S) of chosen images, for the mask's output."""
        device = next(self.net.parameters()).device
        images = self.net.prepare(self.images.images[list(chosen)].to(device))
        return grad_cam(self.net, "mask", images, 0).cpu()

    def examples(self, scale: str, count: int = 3) -> dict:
        """Return the explanations of a few images as plain numbers, for a record; `example` reads
        them.

        The first images that the performer recognises, then, if they are too few, the first others.
        """
        first = (self.measured.yhat <= 0).int().argsort(stable=True)[:count]
        return {
            "ids": [self.images.ids[i] for i in first.tolist()],
            "yhat": rounded(self.measured.yhat[first]),
            "groups": list(self.groups), "assignment": self.assignment.tolist(),
            **{method: {"scale": scale, "bias": explanation.bias,
                        "contributions": rounded(explanation.contributions[first])}
               for method, explanation in (("ours", self.ours), ("baseline", self.baseline))},
        }


def rounded(values: Tensor) -> list:
    """Return numbers (N,) or (N, n) with four decimals, for a record."""
    return [round(v, 4) if isinstance(v, float) else [round(u, 4) for u in v]
            for v in values.tolist()]


def example(kept: dict, method: str) -> Explanation:
    """Return the explanations of ``"ours"`` or ``"baseline"`` that `Case.examples` kept, by filter.
    """
    contributions = torch.tensor(kept[method]["contributions"])
    return Explanation(torch.tensor(kept["yhat"]), contributions, torch.ones_like(contributions),
                       kept[method]["bias"], _numbered(kept["groups"], kept["assignment"]))


def _numbered(groups: Sequence[str], assignment: Iterable[int]) -> list[str]:
    return [f"{'none' if p < 0 else groups[p]} {i}" for i, p in enumerate(assignment)]


def case(settings: Settings, architecture: str, category: str, performer_seed: int = 0, *,
         scale: str = "literal", seed: int = 0) -> Case:
    """Gather what a page shows of one performer.

    `scale` is the reading of y's scale, `seed` that of the explainers.
    """
    run = experiment1.Run(settings, architecture, category, performer_seed)
    test = run.images("test")
    images, measured = test.subset(test.positive), run.measured("test")[test.positive]
    assignment, scores = run.naming()
    explained = {reading: {method: run.explainer(method, reading, seed).explain_measured(measured)
                           for method in METHODS}
                 for reading in dict.fromkeys((scale, *settings.scales))}
    for explanation in (e for methods in explained.values() for e in methods.values()):
        explanation.names = _numbered(images.groups, assignment)
    return Case(run.performer(), images, measured, assignment, scores, drops=run.drops(measured),
                **explained.pop(scale), scale=scale, others=explained)


def strongest_images(shown: Case, per_part: int = 2, images: int = 4) -> dict:
    """Choose filters to show, and the images that excite each most, as `figures.filter_gallery`
    wants them.

    At most `per_part` filters of each part group: those whose name fits best. ``images`` (F, m, 3,
    S, S), ``maps`` (F, m, H, W), ``parts`` and ``labels``.
    """
    peak = shown.measured.x.flatten(2).amax(dim=2)  # (B, n, H, W) -> (B, n)
    chosen = []
    for part in range(len(shown.groups)):
        members = (shown.assignment == part).nonzero()[:, 0]
        best = shown.scores[members, part].argsort(descending=True, stable=True)
        chosen += members[best][:per_part].tolist()
    top = peak.argsort(dim=0, descending=True, stable=True)[:images]  # (m, n)
    pictures, x = shown.images.images, shown.measured.x
    return {
        "images": torch.stack([pictures[top[:, i]] for i in chosen]) if chosen
        else pictures.new_zeros(0, images, 3, 1, 1),
        "maps": torch.stack([x[top[:, i], i] for i in chosen]) if chosen
        else x.new_zeros(0, images, 1, 1),
        "parts": [shown.groups[int(shown.assignment[i])] for i in chosen],
        "labels": [f"filter {i}" for i in chosen],
    }
