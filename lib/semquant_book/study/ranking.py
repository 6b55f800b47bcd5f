"""Ways of explaining a score by part groups of filters, ranked by how near each comes to what is true.

Two truths, both from the scores of all coalitions of groups, an absent group's filters being 0:
exact Shapley values, and single removals, which the paper takes for the truth. Every way explains the
same images of the same performers, filter by filter, and is summed up to the same groups.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from semquant import metrics, peers, truth
from semquant.concepts import Measured
from semquant.explanation import UNASSIGNED, Explanation
from semquant.training import cpu_threads
from semquant_book.datasets.names import METHODS, SCALES
from semquant_book.study import experiment1
from semquant_book.study.presets import Settings
from semquant_book.study.store import record

__all__ = ["BACKGROUND", "PEERS", "SHOWN", "TRUTHS", "WAYS", "collect", "described", "explained",
           "groups_of", "head_of", "known_mean", "measures", "recognised", "truths_of"]

SHOWN, BACKGROUND = 100, 500  # test images that are explained, training images that peers learn from
TRUTHS = ("shapley", "removals")
#: The peers of `semquant.peers`, with the samples that each is given by default; Shapley values of
#: all filters can't be exact.
PEERS = tuple(name for name in peers.PEERS if name != "exact_shapley")
#: All that is ranked: ours and the baseline in each reading of y's scale, and the peers.
WAYS = (*(f"{method}_{scale}" for scale in SCALES for method in METHODS), *PEERS)
FEW = 0.05  # of the largest truth: the sign of what is smaller isn't asked for


def head_of(run: experiment1.Run) -> nn.Module:
    """Return the performer's head, x (B, n, H, W) -> yhat (B,)."""
    return nn.Sequential(run.performer().head, nn.Flatten(0)).eval()


def groups_of(run: experiment1.Run) -> tuple[Tensor, list[str]]:
    """Return the group of each filter (n,) and the groups' names: those that have filters.

    Filters without a name are a group of their own, the last.
    """
    assignment = run.naming()[0]
    there = [p for p, _ in enumerate(run.images("test").groups) if bool((assignment == p).any())]
    names = [run.images("test").groups[p] for p in there]
    groups = torch.full_like(assignment, len(there))
    for place, p in enumerate(there):
        groups[assignment == p] = place
    return groups, [*names, UNASSIGNED] if bool((assignment < 0).any()) else names


def recognised(run: experiment1.Run, most: int) -> Tensor:
    """Return the numbers of the first positive test images with a score above 0, at most so many;
    of the first positive ones if there is none such."""
    positive = run.images("test").positive
    known = positive & (run.measured("test").yhat > 0)
    return (known if bool(known.any()) else positive).nonzero()[:most, 0]


def truths_of(values: Tensor) -> dict[str, Tensor]:
    """Return both truths (B, P) of the coalitions' scores (B, 2^P)."""
    return {"shapley": truth.shapley(values), "removals": truth.removals(values)}


def measures(contributions: Tensor, right: Tensor, yhat: Tensor) -> dict[str, float | None]:
    """Return how near contributions (B, P) come to a truth (B, P), of images with scores yhat (B,).

    ``error``: the mean over images of ``|contribution - truth|``, over that of ``|truth|``, both
    summed over groups. ``rescaled_error``: the same after each image's contributions are scaled to
    add up to what its truth adds up to, without images whose contributions add up to 0.
    ``paper_error``: `metrics.contribution_error`, its mean over groups, against the truth scaled to
    add up to yhat, of the images that `metrics.true_contributions` keeps.
    ``rank_agreement``: Spearman's, within an image. ``sign_agreement``: the share of an image's
    groups with the right sign, of those whose truth is above 5% of its largest in size. ``entropy``:
    ``|H - H of the truth|`` over groups, in nats. The last three are means over images; None is what
    can't be told of any image.
    """
    whole = contributions.sum(dim=1) != 0
    scaled = metrics.rescale(contributions[whole], right.sum(dim=1)[whole])
    paper, keep = metrics.true_contributions(yhat, right)
    large = right.abs() > FEW * right.abs().amax(dim=1, keepdim=True)
    same = (contributions.sign() == right.sign()) & large
    entropies = (metrics.contribution_entropy(c) for c in (contributions, right))
    return {
        "error": _relative(contributions, right), "rescaled_error": _relative(scaled, right[whole]),
        "paper_error": known_mean(metrics.contribution_error(
            contributions[keep], paper[keep], yhat[keep])) if bool(keep.any()) else None,
        "rank_agreement": known_mean(metrics.rank_agreement(contributions, right)),
        "sign_agreement": known_mean(same.sum(dim=1) / large.sum(dim=1)),
        "entropy": known_mean(torch.sub(*entropies).abs())}


def _relative(contributions: Tensor, right: Tensor) -> float | None:
    return known_mean((contributions - right).abs().sum() / right.abs().sum())


def known_mean(values: Tensor) -> float | None:
    """Return the mean of the values that are numbers; None without any."""
    mean = float(values.double().nanmean())
    return round(mean, 5) if math.isfinite(mean) else None


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Explain the same images of each performer of the settings in all `WAYS`, and return the record.

    ``rows``: one for each performer and way, with `measures` as ``<measure> <truth>``;
    ``completeness``: the mean of ``|sum of contributions + b - yhat|`` over the mean of ``|yhat|``; and
    ``seconds`` for an image, without those of fitting g and of measuring. ``truths``: of each
    performer how many images, its groups and how many filters each has, the mean of each truth,
    ``nonlinearity``, ``seconds`` for an image, and for each truth ``negative``, the share of its
    values below 0, ``floor``, the least rescaled error that contributions without one below 0 can
    have, ``entropy``, and ``kept``, the share of images that `metrics.true_contributions` keeps;
    ``agreement``: `metrics.rank_agreement` of the two. ``images``: how many there are at most.
    """
    cpu_threads(settings.threads)
    with record(settings, experiment=1) as content:
        content |= {"rows": [], "truths": [], "images": {"shown": SHOWN, "background": BACKGROUND}}
        for category, architecture, seed in product(settings.categories, settings.architectures,
                                                    range(settings.performer_seeds)):
            run = experiment1.Run(settings, architecture, category, seed)
            about = {"architecture": architecture, "category": category, "performer_seed": seed}
            rows, true = _performer(run, say)
            content["rows"] += [about | row for row in rows]
            content["truths"].append(about | true)
    return content


def _performer(run: experiment1.Run, say: Callable[[str], object]) -> tuple[list[dict], dict]:
    head, (groups, names), numbers = head_of(run), groups_of(run), recognised(run, SHOWN)
    shown = run.measure(run.images("test").subset(numbers), prior=True)
    train = run.images("train")
    background = run.measure(train.subset(torch.arange(len(train))[:BACKGROUND]), prior=True)
    peers.explain("gradient_times_input", head, shown)  # the first pass of all takes longer
    start = time.perf_counter()
    values = truth.coalition_values(head, shown.x, groups)
    seconds, right, rows = time.perf_counter() - start, truths_of(values), []
    for way in WAYS:
        said, taken = explained(run, way, head, shown, background)
        merged = said.merge(groups, names).contributions[:, : len(names)]  # the rest is empty
        rows.append({"method": way, "seconds": round(taken / len(shown), 6),
                     "completeness": known_mean(said.residual.abs().mean() / shown.yhat.abs().mean())})
        for name, true in right.items():
            rows[-1] |= {f"{measure} {name}": value for measure, value
                         in measures(merged, true, shown.yhat).items()}
        say(f"{run.name}: {way}: rescaled error {rows[-1]['rescaled_error shapley']}, rank agreement "
            f"{rows[-1]['rank_agreement shapley']}, {rows[-1]['seconds']:.3f} s an image")
    return rows, {"images": len(shown), "groups": names, **described(values, shown.yhat),
                  "filters": torch.bincount(groups, minlength=len(names)).tolist(),
                  "seconds": round(seconds / len(shown), 6)}


def described(values: Tensor, yhat: Tensor) -> dict:
    """Return what `collect` says of both truths of scores (B, 2^P), of images with scores yhat (B,)."""
    right = truths_of(values)
    about = {"nonlinearity": known_mean(truth.nonlinearity(values)),
             "agreement": known_mean(metrics.rank_agreement(*right.values()))}
    for name, true in right.items():
        about |= {f"mean {name}": [round(v, 5) for v in true.mean(dim=0).tolist()],
                  f"negative {name}": known_mean((true < 0).double()),
                  f"entropy {name}": known_mean(metrics.contribution_entropy(true)),
                  f"floor {name}": known_mean(2 * _smaller_side(true).sum() / true.abs().sum()),
                  f"kept {name}": known_mean(metrics.true_contributions(yhat, true)[1].double())}
    return about


def _smaller_side(true: Tensor) -> Tensor:
    """The summed size of each image's values below 0, or of those above, whichever is smaller.

    Contributions of one sign that add up to what the truth does are at least twice that from it.
    """
    return torch.minimum(true.clamp_min(0).sum(dim=1), -true.clamp_max(0).sum(dim=1))


def explained(run: experiment1.Run, way: str, head: nn.Module, shown: Measured,
              background: Measured) -> tuple[Explanation, float]:
    """Return the images explained in one of the `WAYS`, filter by filter, and the seconds it took."""
    method, _, scale = way.rpartition("_")
    fitted = run.explainer(method, scale) if method in METHODS else None
    start = time.perf_counter()
    said = (fitted.explain_measured(shown) if fitted else
            peers.explain(way, head, shown, background=background))
    return said, time.perf_counter() - start
