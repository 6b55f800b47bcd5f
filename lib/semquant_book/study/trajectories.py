"""How fits of the trial's regimes go, epoch by epoch: the background of the fit that runs in a page."""

from __future__ import annotations

import math
from collections.abc import Callable

from semquant import metrics
from semquant.distillation import FittedExplainer, distill_measured
from semquant.training import Diverged, cpu_threads
from semquant_book.study import experiment1, trials
from semquant_book.study.presets import Settings
from semquant_book.study.store import record

__all__ = ["MEASURES", "PRIORS", "RECORD", "collect"]

RECORD = "trajectories"
PRIORS = ("none", "measured")  # the baseline, and ours
IMAGES = 1000  # test images that each epoch is measured on
#: Mean over positive test images of H / ln n and of the largest contribution's share; the relative deviation of all.
MEASURES = ("normalised_entropy", "largest", "deviation")


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Fit AlexNet's explainers as the trial does, and return the record.

    ``fits``: a row for each regime, rate and prior, with `MEASURES` from the start to the last epoch;
    ``chosen`` are those with the rate whose baseline explains the training scores best.
    """
    cpu_threads(settings.threads)
    with record(settings, experiment=1, architecture="alexnet", category=settings.categories[0],
                performer_seed=0) as content:
        run = experiment1.Run(settings, "alexnet", settings.categories[0])
        train, test = run.measured("train")[:trials.IMAGES], run.measured("test")[:IMAGES]
        positive = run.images("test").positive[:IMAGES]
        content |= {"fits": [], "n": train.y.shape[1]}
        for optimizer, start, rates, _ in trials.FITS:
            regime, left = {"optimizer": optimizer, "start": start}, {}
            for rate in rates:
                for prior in PRIORS:
                    row = regime | {"rate": rate, "prior": prior} | {name: [] for name in MEASURES}

                    def watch(epoch: int, explainer: FittedExplainer, means: dict, row: dict = row) -> None:
                        found = explainer.explain_measured(test)
                        c = found.contributions[positive].abs()
                        c = c[c.sum(dim=1) > 0]
                        values = (metrics.contribution_entropy(c).mean() / math.log(c.shape[1]),
                                  (c / c.sum(dim=1, keepdim=True)).amax(dim=1).mean(),
                                  metrics.relative_deviation(found.yhat, found.total).mean())
                        for name, value in zip(MEASURES, values):
                            row[name].append(trials.short(float(value)))

                    how = trials.options(settings, optimizer, start, rate, prior)
                    try:
                        fit = distill_measured(train, on_epoch=watch, **how)
                    except Diverged:
                        say(f"{optimizer} at {rate:g}, {start} start, prior {prior}: diverged")
                        continue
                    content["fits"].append(row)
                    if prior == "none":
                        left[rate] = fit.history[-1]["distillation"]
                    say(f"{optimizer} at {rate:g}, {start} start, prior {prior}: "
                        f"H / ln n {row['normalised_entropy'][0]:.3f} to {row['normalised_entropy'][-1]:.3f}")
            counts = min(left, key=left.get, default=None)
            for row in content["fits"]:
                if (row["optimizer"], row["start"]) == (optimizer, start):
                    row["chosen"] = row["rate"] == counts
    return content
