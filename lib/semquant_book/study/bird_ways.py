"""Ways of saying how important each part of a FunnyBird is, for the score of any class.

Pixels' attributions are summed over the pixels of a part, as published. What an explanation says of a
filter in an image is handed out over the positions of its rectified map, in proportion to it; a position
belongs to the parts that cover at least `COVER` of it, as where `semquant.parts` names filters, equally
if they are several, and to objects by what they cover if there is no such part. With plain areas an eye,
smaller than a position, would lose nearly all to what surrounds it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semquant import corrected, peers, truth
from semquant.concepts import FilterConcepts, Measured
from semquant.distillation import FittedExplainer, distill_measured
from semquant.explainers import ExplainerOptions
from semquant.losses import Objective
from semquant.measure import measure
from semquant.networks.performers import Performer
from semquant.training import FitOptions
from semquant_book.datasets.funnybirds import COLOURS, OBJECT, PARTS
from semquant_book.study.bird_protocols import Importances, Scored

__all__ = ["COVER", "EPOCHS", "FITS", "STEPS", "WAYS", "Case", "by_pixels", "by_positions"]

COVER, DILATION = 0.05, 3  # of a position; pixels (published: 5 of 256)
STEPS, BATCH = 20, 20  # of integrated gradients over pixels (published: 50); images at once
EPOCHS = 4  # of each g: one for each class and kind of fit
#: The fits of g: the paper's first case, weights of at least 0; and its second, weights of any sign,
#: since a filter that speaks for one class speaks against others.
FITS = {"ours": (Objective("measured", "l2", 0.2), ExplainerOptions(positive=False, bias="mean")),
        "baseline": (Objective("none", "l2"), ExplainerOptions(positive=False, bias="mean")),
        "ours_positive": (Objective(), ExplainerOptions(bias="min")),
        "baseline_positive": (Objective("none"), ExplainerOptions(bias="min"))}


@dataclass(frozen=True, eq=False)
class Case:
    """What ways are asked about: N test images, and the training images that some learn from."""

    net: Performer
    images: Tensor  #: (N, 3, S, S) uint8
    codes: Tensor  #: (N, S, S), what covers each pixel
    scored: Scored
    x: Tensor  #: (N, n, H, W), the maps of the interpretable layer
    train_x: Tensor  #: (M, n, H, W)
    fits: dict = field(default_factory=dict)

    @property
    def objects(self) -> int:
        """The largest number of objects behind a bird."""
        return self.scored.objects.shape[1]

    @cached_property
    def shares(self) -> Tensor:
        """What share of each filter's map is on each part, and on each object: (N, n, P + O)."""
        return by_positions(self.x, self.codes, self.objects)

    def measured(self, x: Tensor, target: int, clip: bool = False, positions: str = "all") -> Measured:
        """y, the score of a class, and w of maps x (B, n, H, W)."""
        model = nn.Sequential(OrderedDict(mask=nn.Identity(), head=self.net.head))
        return measure(FilterConcepts("mask", True, positions, clip), model, x, target)

    def corrected(self, target: int) -> FittedExplainer:
        """The correction for a class's score, see `semquant.corrected`, learned when first asked for."""
        if ("corrected", target) not in self.fits:
            train = self.measured(self.train_x, target, positions="weighted")
            removals = corrected.remove(corrected.of_head(lambda x: self.net.head(x)[:, target]),
                                        train.x.split(64), train.y.shape[1])
            net, _ = corrected.correct(train, removals, fit=replace(corrected.FIT, device="cpu"))
            self.fits["corrected", target] = FittedExplainer(net)
        return self.fits["corrected", target]

    def fitted(self, kind: str, target: int) -> FittedExplainer:
        """The explainer of a class's score, fitted when it is first asked for."""
        if (kind, target) not in self.fits:
            objective, options = FITS[kind]
            self.fits[kind, target] = distill_measured(
                self.measured(self.train_x, target, clip=objective.loss == "cross_entropy"),
                objective=objective, explainer=options, fit=FitOptions(epochs=EPOCHS, device="cpu"))
        return self.fits[kind, target]


#: (case, numbers of images (B,), the class explained of each (B,)) -> their importances.
Way = Callable[[Case, Tensor, Tensor], Importances]


def _masks(codes: Tensor, objects: int) -> Tensor:
    """Which pixels have which colour of `COLOURS`, and which object is there: (B, 8 + O, S, S) float."""
    wanted = torch.tensor([*range(1, len(COLOURS) + 1), *range(OBJECT, OBJECT + objects)])
    return (codes[:, None] == wanted[:, None, None]).float()


def _over_parts(values: Tensor) -> Tensor:
    """Sums over the colours of each part: (B, 8 + O, ...) -> (B, P + O, ...)."""
    place = torch.tensor([PARTS.index(part) for part in COLOURS.values()])
    place = torch.cat([place, torch.arange(len(PARTS), len(PARTS) + values.shape[1] - len(place))])
    return values.new_zeros(len(values), int(place.max()) + 1, *values.shape[2:]).index_add(1, place, values)


def by_pixels(heat: Tensor, codes: Tensor, objects: int) -> Importances:
    """Attributions of pixels (B, S, S) summed over each part and object, a pixel beyond its edge too;
    what both eyes, feet or wings reach counts twice, as published."""
    masks = F.max_pool2d(_masks(codes, objects), DILATION, stride=1, padding=DILATION // 2)
    said = _over_parts((masks * heat[:, None]).sum(dim=(2, 3)))
    return Importances(said[:, : len(PARTS)], said[:, len(PARTS) :], heat.sum(dim=(1, 2)))


def by_positions(x: Tensor, codes: Tensor, objects: int) -> Tensor:
    """What share of each map of x (B, n, H, W) is on each part, and on each object: (B, n, P + O)."""
    found = []
    for maps, some in zip(x.split(BATCH), codes.split(BATCH)):
        cover = F.adaptive_avg_pool2d(_over_parts(_masks(some, objects)), maps.shape[2:])  # (B, P + O, H, W)
        parts = (cover[:, : len(PARTS)] >= COVER).float()
        count = parts.sum(dim=1, keepdim=True)
        places = torch.cat([parts / count.clamp_min(1), cover[:, len(PARTS) :] * (count == 0)], dim=1)
        maps = maps.clamp_min(0)
        maps = maps / maps.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)
        found.append(torch.einsum("bnhw,bphw->bnp", maps, places))
    return torch.cat(found)


def _pixels(attribute: Callable[..., Tensor]) -> Way:
    """The way of a Captum method: `attribute`(score, pixels from 0 to 1, classes) -> (B, 3, S, S)."""

    def way(case: Case, rows: Tensor, target: Tensor) -> Importances:
        found = []
        for some, labels in zip(rows.split(BATCH), target.split(BATCH)):
            pixels = case.images[some].float() / 255
            heat = attribute(lambda step: case.net(case.net.prepare(step * 255)), pixels, labels)
            found.append(by_pixels(heat.detach().sum(dim=1), case.codes[some], case.objects))
        return Importances(*map(torch.cat, zip(*found)))

    return way


def _gradient(score, pixels, labels) -> Tensor:
    from captum.attr import InputXGradient  # takes a second to import

    return InputXGradient(score).attribute(pixels.requires_grad_(), target=labels)


def _integrated(score, pixels, labels) -> Tensor:
    from captum.attr import IntegratedGradients

    return IntegratedGradients(score).attribute(pixels, target=labels, n_steps=STEPS, internal_batch_size=100)


def _filters(contributions: Callable[[Case, Measured, int], Tensor]) -> Way:
    """The way of filters' contributions: of measured images and their class, (B, n)."""

    def way(case: Case, rows: Tensor, target: Tensor) -> Importances:
        said = torch.zeros(len(rows), case.x.shape[1])
        for label in target.unique().tolist():
            chosen = target == label
            said[chosen] = contributions(case, case.measured(case.x[rows[chosen]], label), label)
        places = torch.einsum("bn,bnp->bp", said, case.shares[rows])
        return Importances(places[:, : len(PARTS)], places[:, len(PARTS) :], said.sum(dim=1))

    return way


def _peer(case: Case, measured: Measured, label: int, method: str) -> Tensor:
    background = case.measured(case.train_x, label) if method == "prior" else None
    return peers.explain(method, lambda x: case.net.head(x)[:, label], measured,
                         background=background).contributions


def _fit(case: Case, measured: Measured, label: int, kind: str) -> Tensor:
    return case.fitted(kind, label).explain_measured(measured).contributions


def _corrected(case: Case, measured: Measured, label: int) -> Tensor:
    weighted = case.measured(measured.x, label, positions="weighted")
    return case.corrected(label).explain_measured(weighted).contributions


def _true(case: Case, rows: Tensor, target: Tensor, of: Callable[[Tensor], Tensor]) -> Importances:
    """A truth of parts, of the scores with each subset of them; objects' are single removals."""
    some = Scored(*(values[rows] for values in (case.scored.labels, case.scored.scores, case.scored.renders,
                                                case.scored.objects)), case.scored.models)
    parts = of(some.of(some.renders, target))
    fall = some.of(some.scores, target)[:, None] - some.of(some.objects, target)
    return Importances(parts, fall.nan_to_num(0.0), parts.sum(dim=1))


#: All ways by name. A further one is a function of a case, numbers of images and classes.
#:
#: :meta hide-value:
WAYS: dict[str, Way] = {
    "shapley": partial(_true, of=truth.shapley),
    "removals": partial(_true, of=truth.removals),
    **{kind: _filters(partial(_fit, kind=kind)) for kind in FITS},
    "corrected": _filters(_corrected),
    **{method: _filters(partial(_peer, method=method)) for method in (
        "prior", "gradient_times_input", "integrated_gradients", "equal_share", "random")},
    "pixel_gradient_times_input": _pixels(_gradient),
    "pixel_integrated_gradients": _pixels(_integrated),
}
