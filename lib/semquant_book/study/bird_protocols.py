"""The protocols of FunnyBirds (Hesse, Schaub-Meyer and Roth, 2023), written from their definitions.

What is asked of an explanation is how important it says each part of a bird is, and each object behind
it. Whether that is so is known from images without some parts, or without an object. A set of parts is
a bit mask: bit p is set where part p is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from semquant.metrics import rank_agreement

__all__ = ["THRESHOLDS", "Explain", "Importances", "Scored", "background_independence", "controlled_check",
           "deletion_check", "distractibility", "important", "preservation_check", "protocols", "rivals",
           "single_deletion", "sufficient", "target_sensitivity"]

#: A part is important if its importance is above this share of the whole explanation's.
THRESHOLDS = tuple(torch.linspace(0.01, 0.5, 80).tolist())
FEW = 0.05  # a removal that lowers the score by less than this share of it is irrelevant


class Importances(NamedTuple):
    """What an explanation says of B images: of parts (B, P), of objects (B, O), and summed over all (B,)."""

    parts: Tensor
    objects: Tensor
    total: Tensor


#: (numbers of images (B,), the class explained of each (B,)) -> their importances.
Explain = Callable[[Tensor, Tensor], Importances]


@dataclass(frozen=True)
class Scored:
    """A network's scores (logits) of N images, of K classes, and of the same images changed."""

    labels: Tensor  #: (N,)
    scores: Tensor  #: (N, K)
    renders: Tensor  #: (N, 2^P, K), column S of the image with the set S of its parts
    objects: Tensor  #: (N, O, K), without each object; NaN where there is none, or no such image
    models: Tensor  #: (K, P), which model of each part a class has

    @property
    def predicted(self) -> Tensor:
        """The class with the highest score, (N,)."""
        return self.scores.argmax(dim=1)

    def of(self, values: Tensor, target: Tensor) -> Tensor:
        """A class's scores of each image: (N, ..., K) and (N,) -> (N, ...)."""
        place = target.view(-1, *[1] * (values.dim() - 1)).expand(*values.shape[:-1], 1)
        return values.gather(-1, place)[..., 0]


def important(importance: Tensor, total: Tensor) -> Tensor:
    """Which importances (B, P) are above each threshold's share of the total (B,): bool (T, B, P)."""
    return importance > total[:, None] * torch.tensor(THRESHOLDS, dtype=total.dtype)[:, None, None]


def _sets(chosen: Tensor) -> Tensor:
    """The bit masks of bool (..., P)."""
    return (chosen.long() << torch.arange(chosen.shape[-1])).sum(dim=-1)


def sufficient(models: Tensor, label: int) -> list[set[int]]:
    """The smallest sets of parts that no other class has: none of them holds another such set."""
    parts, found = models.shape[1], []
    shared = (models == models[label])[torch.arange(len(models)) != label]  # (K - 1, P)
    for chosen in sorted(range(1, 2**parts), key=int.bit_count):
        members = {p for p in range(parts) if chosen >> p & 1}
        if not shared[:, sorted(members)].all(dim=1).any() and not any(one < members for one in found):
            found.append(members)
    return found


def controlled_check(scored: Scored, found: Importances) -> Tensor:
    """Controlled synthetic data check, (T,): how much of a sufficient set of parts is found important.

    The largest share of one of the class's smallest `sufficient` sets, of the images that are
    classified correctly. `found` is of the labels.
    """
    right = (scored.predicted == scored.labels).nonzero()[:, 0]
    chosen, shares = important(found.parts, found.total), []
    known = [[sorted(one) for one in sufficient(scored.models, label)] for label in range(len(scored.models))]
    for image in right.tolist():
        sets = known[int(scored.labels[image])]
        each = [chosen[:, image, one].double().mean(dim=1) for one in sets]
        shares.append(torch.stack(each).amax(dim=0) if each else torch.zeros(len(THRESHOLDS)).double())
    return torch.stack(shares).mean(dim=0)


def _same(scored: Scored, kept: Tensor) -> Tensor:
    """Whether the class stays with sets (T, N) of parts alone, as shares of images (T,)."""
    after = scored.renders.argmax(dim=2)  # (N, 2^P)
    return (after.T.gather(0, kept) == scored.predicted).double().mean(dim=1)


def preservation_check(scored: Scored, found: Importances) -> Tensor:
    """Share of images, (T,), whose class stays when only important parts are left. `found` is of the
    predicted classes."""
    return _same(scored, _sets(important(found.parts, found.total)))


def deletion_check(scored: Scored, found: Importances) -> Tensor:
    """Share of images, (T,), whose class changes when the important parts are taken away."""
    return 1 - _same(scored, _sets(~important(found.parts, found.total)))


def _removed(scored: Scored, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A class's score of each image (N,), and without each part (N, P), and without each object (N, O)."""
    whole = 2 ** scored.models.shape[1] - 1
    without = [whole ^ 1 << p for p in range(scored.models.shape[1])]
    return (scored.of(scored.scores, target), scored.of(scored.renders, target)[:, without],
            scored.of(scored.objects, target))


def distractibility(scored: Scored, found: Importances) -> Tensor:
    """1 less the share of irrelevant parts and objects, (T,), that are found important.

    Irrelevant is what lowers the score by less than 5% of it when it is removed, or raises it. Of images
    with some, and with images without their objects. `found` is of the labels.
    """
    score, parts, objects = _removed(scored, scored.labels)
    without = torch.cat([parts, objects], dim=1)
    drop, limit = score[:, None] - without, FEW * score.abs()[:, None]
    irrelevant = (drop.abs() < limit) | (drop < 0)  # never where the score is NaN
    asked = irrelevant.any(dim=1) & ~objects.isnan().all(dim=1)
    chosen = important(torch.cat([found.parts, found.objects], dim=1), found.total)
    shares = (chosen & irrelevant).sum(dim=2) / irrelevant.sum(dim=1)
    return 1 - shares[:, asked].double().mean(dim=1)


def background_independence(scored: Scored) -> float:
    """Share of objects whose removal does not lower the label's score by 5% of it or more."""
    score, _, objects = _removed(scored, scored.labels)
    drop = (score[:, None] - objects)[~objects.isnan()]
    limit = (FEW * score.abs()[:, None]).expand_as(objects)[~objects.isnan()]
    return float(1 - ((drop >= limit) & (drop > 0)).double().mean())


def single_deletion(scored: Scored, found: Importances) -> float:
    """Spearman's correlation of importances with the label's fall when a part is removed, from 0 to 1.

    The mean over images of (1 + rho) / 2, without those where either is the same for all parts.
    """
    score, parts, _ = _removed(scored, scored.labels)
    return float((rank_agreement(found.parts, score[:, None] - parts) / 2 + 0.5).nanmean())


def rivals(models: Tensor) -> Tensor:
    """For each class the first two others that share two parts each with it, none of them the same:
    (K, 2), -1 where there are no such two."""
    shared = models[:, None] == models[None]  # (K, K, P)
    pairs = torch.full((len(models), 2), -1)
    for k, same in enumerate(shared):
        near = (same.sum(dim=1) == models.shape[1] - 3).nonzero()[:, 0].tolist()
        two = next(((a, b) for i, a in enumerate(near) for b in near[i + 1 :]
                    if not (same[a] & same[b]).any()), None)
        if two:
            pairs[k] = torch.tensor(two)
    return pairs


def target_sensitivity(scored: Scored, explain: Explain) -> tuple[float, int]:
    """How often the parts shared with a class are more important for it than for another; of how many
    images.

    Of the two `rivals` of an image's class each has two of its parts. For each pair of parts the
    importances are summed. Images are left out where the network itself does not say so: where taking a
    rival's parts away does not lower its score more than taking the other's.
    """
    shared = scored.models[:, None] == scored.models[None]  # (K, K, P)
    pair = rivals(scored.models)[scored.labels]  # (N, 2)
    whole, images = 2 ** scored.models.shape[1] - 1, torch.arange(len(pair))
    of = shared[scored.labels[:, None], pair.clamp_min(0)]  # (N, 2, P)
    after = scored.renders[images[:, None], whole ^ _sets(of)]  # (N, 2, K), without a rival's parts
    score = after.gather(2, pair.clamp_min(0)[:, None].expand(-1, 2, -1))  # (N, without, rival)
    rows = ((pair >= 0).all(dim=1) & (score[:, 0, 0] < score[:, 1, 0])
            & (score[:, 1, 1] < score[:, 0, 1])).nonzero()[:, 0]
    if not len(rows):
        return float("nan"), 0
    # for each rival, the importance of each pair of parts
    said = [(of[rows] * explain(rows, pair[rows, k]).parts[:, None]).sum(dim=2) for k in range(2)]
    right = [said[0][:, 0] > said[1][:, 0], said[0][:, 1] < said[1][:, 1]]
    return float(torch.stack(right).double().mean()), len(rows)


def protocols(scored: Scored, explain: Explain, found: Importances) -> dict[str, float]:
    """What the protocols say of an explanation; `found` is what it says of the labels.

    Completeness (CSDC, PC, DC) and distractibility are at the threshold where their sum, completeness
    being the mean of its three, is largest on these images, as published.
    """
    predicted, labels = scored.predicted, scored.labels
    wrong = (predicted != labels).nonzero()[:, 0]
    of_predicted = found
    if len(wrong):
        other = explain(wrong, predicted[wrong])
        of_predicted = Importances(*(now.index_copy(0, wrong, then) for now, then in zip(found, other)))
    curves = {"csdc": controlled_check(scored, found), "pc": preservation_check(scored, of_predicted),
              "dc": deletion_check(scored, of_predicted), "distractibility": distractibility(scored, found)}
    best = int((sum(curves[name] for name in ("csdc", "pc", "dc")) / 3 + curves["distractibility"]).argmax())
    sensitivity, asked = target_sensitivity(scored, explain)
    return ({name: float(curve[best]) for name, curve in curves.items()}
            | {"threshold": THRESHOLDS[best], "sd": single_deletion(scored, found), "ts": sensitivity,
               "ts_images": asked})
