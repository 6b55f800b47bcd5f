"""Regimes of a fit, and in which of them the prior loss does what the paper reports of it.

The paper names neither the optimiser of g nor where the sum of contributions starts. A regime is
one choice of both. In each, explainers are fitted to the same performer without the prior loss, with
it, and with priors that know nothing of the image's filters; all else is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from semquant import metrics
from semquant.checks import InputError
from semquant.distillation import FittedExplainer, distill_measured
from semquant.training import Diverged, cpu_threads
from semquant_book.study import experiment1
from semquant_book.study.presets import Settings
from semquant_book.study.store import record
from semquant_book.study.tables import metrics_row

__all__ = ["PRIORS", "RATES", "STARTS", "WATCHED", "collect", "kept", "options", "tune"]

#: Where the sum of contributions starts: alpha's scale, `ExplainerOptions`. y as it is lets it start
#: far above the scores.
STARTS = {"high": "literal", "fitting": "scaled"}
#: Learning rates of g that are tried, by optimiser and start.
RATES = {("sgd", "high"): (1e-5, 3e-5, 1e-4, 3e-4), ("sgd", "fitting"): (1e-3, 3e-3, 1e-2, 3e-2),
         ("adamw", "high"): (1e-3, 3e-3, 1e-2), ("adamw", "fitting"): (1e-3, 3e-3, 1e-2)}
#: The regime that is fitted with every rate.
WATCHED = ("sgd", "high")
#: What is fitted in each regime; none is the paper's baseline, measured is ours.
PRIORS = ("none", "measured", "uniform", "permuted")
KEPT = ("entropy", "deviation", "accuracy", "ignored_active", "error average", "error_of_shares average")


def options(settings: Settings, optimizer: str, start: str, rate: float, prior: str) -> dict:
    """Return ``objective``, ``explainer`` and ``fit`` of `distill_measured` in a regime.

    b starts at the smallest score in every regime, so that parts add up from there.
    """
    how = experiment1.options(settings, prior, STARTS[start])
    return how | {"explainer": replace(how["explainer"], bias="min"),
                  "fit": replace(how["fit"], optimizer=optimizer, learning_rate=rate)}


def tune(run: experiment1.Run, optimizer: str, start: str) -> tuple[float, dict[float, float | None]]:
    """Return the rate of `RATES` whose baseline explains the training scores best, and the mean
    squared error in the last epoch with each; None where the fit diverged.

    No test image, no entropy and no truth has a say. InputError if every fit diverged.
    """
    left: dict[float, float | None] = {}
    for rate in RATES[optimizer, start]:
        how = options(run.settings, optimizer, start, rate, "none")
        try:
            left[rate] = distill_measured(run.measured("train"), **how).history[-1]["distillation"]
        except Diverged:
            left[rate] = None
    known = {rate: value for rate, value in left.items() if value is not None}
    if not known:
        raise InputError(f"rates: with each of {list(left)} the fit of {run.name} by {optimizer} "
                         f"from a {start} start diverged")
    return min(known, key=known.get), left


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Fit all regimes and priors to each performer of the settings, and return the record.

    In the regime of SGD from a high start, none and the measured prior are fitted with every rate
    that was tried, since what comes out depends on it; ``chosen`` says which fits have the rate taken.

    ``rows``: a fit each, with the measures of `evaluation.evaluate`, ``follows_y``: the rank
    correlation of the filters' mean weight with their mean value, and ``start_ratio``: the sum's
    mean size at the start over the scores'. ``rates``: what `tune` found. ``weights``: of each
    baseline the mean alpha of each filter at the start and at the end, with the mean y; of positive
    test images. ``references``: what needs no fit, see `experiment1.Run.references`.
    """
    cpu_threads(settings.threads)
    with record(settings, experiment=1) as content:
        content |= {"rows": [], "rates": [], "weights": [], "references": []}
        for category, architecture, seed in product(settings.categories, settings.architectures,
                                                    range(settings.performer_seeds)):
            run = experiment1.Run(settings, architecture, category, seed)
            about = {"architecture": architecture, "category": category, "performer_seed": seed}
            content["references"] += [about | {"method": name} | kept(found, run.performer().n)
                                      for name, found in run.references()["references"].items()]
            for optimizer, start in RATES:
                rate, left = tune(run, optimizer, start)
                regime = about | {"optimizer": optimizer, "start": start}
                content["rates"] += [regime | {"rate": r, "squared_error": v, "chosen": r == rate}
                                     for r, v in left.items()]
                others = [r for r, v in left.items() if r != rate and v is not None]
                fits = [(rate, prior) for prior in PRIORS]
                fits += [(r, p) for r in others for p in PRIORS[:2] if (optimizer, start) == WATCHED]
                for r, prior in fits:
                    row, weights = _fit(run, optimizer, start, r, prior)
                    which = regime | {"rate": r, "chosen": r == rate, "prior": prior}
                    content["rows"].append(which | row)
                    if r == rate and prior == "none":
                        content["weights"].append(which | weights)
                    say(f"{run.name}: {optimizer} at {r:g}, {start} start, prior {prior}: "
                        f"H / ln n {row['normalised_entropy']:.3f}")
    return content


def kept(measured: dict, n: int) -> dict:
    """Return the measures that a record keeps, of n filters; None where no filter has a contribution left."""
    row = {name: value for name, value in metrics_row({"metrics": measured}).items() if name in KEPT}
    row |= {"n": n, "normalised_entropy": row["entropy"] / math.log(n)}
    return {name: None if value != value else value for name, value in row.items()}


def _fit(run: experiment1.Run, optimizer: str, start: str, rate: float,
         prior: str) -> tuple[dict, dict]:
    """One fit's measures, and its filters' weights at the start and at the end."""
    train, test = run.measured("train"), run.measured("test")
    positive = test[run.images("test").positive]
    first = {}

    def watch(epoch: int, explainer: FittedExplainer, means: dict) -> None:
        if epoch == 0:
            first["alpha"] = explainer.explain_measured(positive).alpha.mean(dim=0)
            first["total"] = explainer.explain_measured(train).contributions.sum(dim=1).abs().mean()

    how = options(run.settings, optimizer, start, rate, prior)
    fitted = distill_measured(train, on_epoch=watch, **how)
    last, y = fitted.explain_measured(positive).alpha.mean(dim=0), positive.y.mean(dim=0)
    row = {"follows_y": float(metrics.rank_agreement(last[None], y[None])[0]),
           "start_ratio": float(first["total"] / train.yhat.abs().mean())}
    return row | kept(run.judge(fitted), len(y)), {name: [round(v, 5) for v in values.tolist()]
                 for name, values in (("start_alpha", first["alpha"]), ("alpha", last), ("y", y))}
