"""Ways of explaining a score by part groups of filters, ranked by how near each comes to what is true.

Two truths, both from the scores of all coalitions of groups, an absent group's filters being 0:
exact Shapley values, and single removals, which the paper takes for the truth. Every way explains the
same images of the same performers, filter by filter, and is summed up to the same groups.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor, nn

from semquant import corrected, metrics, peers, truth
from semquant.concepts import Measured
from semquant.distillation import FittedExplainer
from semquant.explanation import UNASSIGNED, Explanation
from semquant.training import cpu_threads
from semquant_book.datasets.names import METHODS, SCALES
from semquant_book.study import experiment1
from semquant_book.study.presets import Settings
from semquant_book.study.store import record

__all__ = ["BACKGROUND", "Bench", "CORRECTED", "PEERS", "SHOWN", "TRUTHS", "WAYS", "asked", "collect",
           "correction", "described", "explained_in", "groups_of", "head_of", "known_mean", "measures", "orders",
           "paths", "recognised", "truths_of", "with_gradients"]

SHOWN, BACKGROUND = 100, 500  # test images that are explained, training images that peers learn from
TRUTHS = ("shapley", "removals")
#: The peers of `semquant.peers`, with the samples that each is given by default; Shapley values of
#: all filters can't be exact.
PEERS = tuple(name for name in peers.PEERS if name != "exact_shapley")
#: Gradient times input with a learned correction, see `semquant.corrected`.
CORRECTED = "corrected"
#: All that is ranked: ours and the baseline in each reading of y's scale, the correction, the peers.
WAYS = (*(f"{method}_{scale}" for scale in SCALES for method in METHODS), CORRECTED, *PEERS)
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


def paths(contributions: Tensor, values: Tensor) -> dict[str, float | None]:
    """Return what is left of the score on the way when groups go, or come, in an explanation's order.

    Of contributions (B, P) and the coalitions' scores (B, 2^P), see `truth.coalition_values`. Groups go in
    the order of their contributions, the largest first, from all to none: ``deletion`` is the mean
    score of the P + 1 coalitions on the way, less that of no group, over the score of all less that
    of none, both summed over images. ``insertion``: the same where they come in that order, from
    none to all. A good order has a small deletion and a large insertion.
    """
    order = contributions.argsort(dim=1, descending=True, stable=True)
    come = torch.nn.functional.pad((1 << order).cumsum(dim=1), (1, 0))  # (B, P + 1), as bit masks
    everyone = values.shape[1] - 1
    return {"deletion": _on_the_way(values.gather(1, everyone - come), values),
            "insertion": _on_the_way(values.gather(1, come), values)}


def orders(values: Tensor) -> dict[str, float | None]:
    """Return what `paths` gives for each image's best order, and on average for random ones.

    ``best_deletion``, ``best_insertion``, and ``random``, which is the same for both.
    """
    groups = (values.shape[1] - 1).bit_length()
    sizes = torch.tensor([mask.bit_count() for mask in range(values.shape[1])])
    means = [values[:, sizes == k].mean(dim=1) for k in range(groups + 1)]
    found = {"random": _on_the_way(torch.stack(means, dim=1), values)}
    for name, best in (("best_deletion", torch.amin), ("best_insertion", torch.amax)):
        total = [values[:, 0]]  # of the best way from no group to each coalition
        for mask in range(1, values.shape[1]):
            before = [total[mask ^ 1 << p] for p in range(groups) if mask >> p & 1]
            total.append(values[:, mask] + best(torch.stack(before), dim=0))
        found[name] = _on_the_way(total[-1][:, None] / (groups + 1), values)
    return found


def _on_the_way(scores: Tensor, values: Tensor) -> float | None:
    """The mean of scores (B, K), less those of no group, as a share of what all groups make up."""
    none = values[:, 0]
    return known_mean((scores.mean(dim=1) - none).sum() / (values[:, -1] - none).sum())


def _relative(contributions: Tensor, right: Tensor) -> float | None:
    return known_mean((contributions - right).abs().sum() / right.abs().sum())


def known_mean(values: Tensor) -> float | None:
    """Return the mean of the values that are numbers; None without any."""
    mean = float(values.double().nanmean())
    return round(mean, 5) if math.isfinite(mean) else None


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Explain the same images of each performer of the settings in all `WAYS`, and return the record.

    ``rows``: one for each performer and way, with `measures` as ``<measure> <truth>`` and `paths`;
    ``completeness``: the mean of ``|sum of contributions + b - yhat|`` over the mean of ``|yhat|``; and
    ``seconds`` for an image, without those of fitting g and of measuring. ``truths``: of each
    performer how many images, its groups and how many filters each has, the mean of each truth,
    ``nonlinearity``, ``seconds`` for an image, `orders`, and for each truth ``negative``, the share of its
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


class Bench:
    """One performer's images, part groups and truths, and how near an explanation comes to them.

    ``shown`` and ``background`` are measured, with w; ``values`` are the scores of all coalitions,
    ``right`` the truths by name, each (B, P): those of `TRUTHS`, and ``mean_reference``, Shapley
    values with the background's mean in an absent filter's place.
    """

    def __init__(self, run: experiment1.Run) -> None:
        self.run, self.head, (self.groups, self.names) = run, head_of(run), groups_of(run)
        self.shown, self.background = asked(run, SHOWN)
        peers.explain("gradient_times_input", self.head, self.shown)  # the first pass of all takes longer
        start = time.perf_counter()
        self.values = truth.coalition_values(self.head, self.shown.x, self.groups)
        self.seconds = round((time.perf_counter() - start) / len(self.shown), 6)
        means = truth.coalition_values(self.head, self.shown.x, self.groups, "mean", self.background.x)
        self.right = truths_of(self.values) | {"mean_reference": truth.shapley(means)}

    def judge(self, said: Explanation) -> dict[str, float | None]:
        """Return `measures` against each truth, as ``<measure> <truth>``, ``completeness`` and `paths`."""
        # what `merge` adds for filters without a group is empty
        merged = said.merge(self.groups, self.names).contributions[:, : len(self.names)]
        row = {"completeness": known_mean(said.residual.abs().mean() / self.shown.yhat.abs().mean())}
        row |= paths(merged, self.values)
        for name, true in self.right.items():
            row |= {f"{measure} {name}": value for measure, value
                    in measures(merged, true, self.shown.yhat).items()}
        return row

    def about(self) -> dict:
        """Return what is true of the performer, see `collect`."""
        return {"images": len(self.shown), "groups": self.names, "seconds": self.seconds,
                "filters": torch.bincount(self.groups, minlength=len(self.names)).tolist(),
                **described(self.values, self.shown.yhat), **orders(self.values)}


def _performer(run: experiment1.Run, say: Callable[[str], object]) -> tuple[list[dict], dict]:
    bench, rows = Bench(run), []
    for way in WAYS:
        said, taken = explained_in(run, way, bench.head, bench.shown, bench.background)
        rows.append({"method": way, "seconds": round(taken / len(bench.shown), 6)} | bench.judge(said))
        say(f"{run.name}: {way}: rescaled error {rows[-1]['rescaled_error shapley']}, rank agreement "
            f"{rows[-1]['rank_agreement shapley']}, {rows[-1]['seconds']:.3f} s an image")
    return rows, bench.about()


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


def asked(run: experiment1.Run, most: int) -> tuple[Measured, Measured]:
    """Measure the images that are explained, `recognised`, and those that peers learn from."""
    test, train = run.images("test"), run.images("train")
    return (run.measure(test.subset(recognised(run, most)), prior=True),
            run.measure(train.subset(torch.arange(len(train))[:BACKGROUND]), prior=True))


def explained_in(run: experiment1.Run, way: str, head: nn.Module, shown: Measured,
                 background: Measured) -> tuple[Explanation, float]:
    """Return the images explained in one of the `WAYS`, filter by filter, and the seconds that it took.

    Those of a fit of g or of a correction, which see all training images, are left out.
    """
    method, _, scale = way.rpartition("_")
    fitted = run.explainer(method, scale) if method in METHODS else None
    net = correction(run, head) if way == CORRECTED else None
    start = time.perf_counter()
    if fitted:
        said = fitted.explain_measured(shown)
    elif way == CORRECTED:
        said = FittedExplainer(net).explain_measured(with_gradients(head, shown))
    else:
        said = peers.explain(way, head, shown, background=background)
    return said, time.perf_counter() - start


def correction(run: experiment1.Run, head: nn.Module) -> corrected.Correction:
    """Return the correction that is fitted to all training images of a run."""
    train = with_gradients(head, run.measured("train"))
    removals = corrected.remove(corrected.of_head(head), train.x.split(64), train.y.shape[1])
    return corrected.correct(train, removals, fit=replace(corrected.FIT, device=run.settings.device))[0]


def with_gradients(head: nn.Module, measured: Measured) -> Measured:
    """Return the same with prior weights such that w y is gradient times input."""
    products, y = peers.explain("gradient_times_input", head, measured).contributions, measured.y
    return replace(measured, w=torch.where(y == 0, 0, products / torch.where(y == 0, 1, y)))
