"""The rest of the factorial: where b starts, the filter loss, depth and seeds of g.

The trial varies the optimiser, the start of the sum and the prior; what it holds fixed is varied here, on
networks of the categories that choices were made on. Each fit is kept as soon as it is done, so that
the plan can be run in pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product

import pandas as pd

from semquant.checks import InputError
from semquant.training import cpu_threads
from semquant_book.study import store, trials
from semquant_book.study.experiment1 import Run
from semquant_book.study.presets import Settings
from semquant_book.study.ranking import Bench, explained_in
from semquant_book.study.regimes import PRIORS

__all__ = ["BIASES", "DEEPER", "MADE", "PLAN", "RECORD", "SEEDS", "STRONG", "Fit", "Made",
           "collect", "frame", "gather"]

RECORD = "factorial"
BIASES = ("min", "mean")  # where b starts: at the smallest score, or their mean
DEEPER, SEEDS = 18, (1, 2, 3)  # of g; everything else has the small one and seed 0
STRONG = 0.3  # weight of the filter loss that does not fade
#: What stands beside the fits, and its measures.
WAYS = ("gradient_times_input", "prior")
WAY_FIELDS = ("error shapley", "rescaled_error shapley", "entropy shapley")
#: Rates of g; of several that one counts whose baseline fits the training scores best.
RATES = {(optimizer, start): rates for optimizer, start, rates, _ in trials.FITS}


@dataclass(frozen=True)
class Fit:
    """One fit of g to a performer; the fields that have a value here are what the trial holds fixed."""

    optimizer: str
    start: str
    prior: str
    bias: str = "min"
    depth: str | int = "small"
    seed: int = 0


@dataclass(frozen=True)
class Made:
    """A performer with seed 0, its filter loss as the settings have it, or constant and `STRONG`."""

    architecture: str
    category: str
    fading: bool = True

    def run(self, settings: Settings) -> Run:
        """Return its run."""
        settings = settings if self.fading else replace(settings, filter_loss=STRONG)
        return Run(settings, self.architecture, self.category, fading=self.fading)


# in the order in which they are run: what decides first
EVERY = [Fit(*which, prior, bias) for bias, prior, which in product(BIASES, PRIORS, RATES)]
DECISIVE = [(*which, prior) for which, prior in product(RATES, PRIORS[:2])]
HALF, DEEP = len(EVERY) // 2, [Fit(*which, depth=DEEPER) for which in DECISIVE]
MADE = [Made(architecture, category, fading) for architecture, category, fading in (
    ("alexnet", "dog", True), ("alexnet", "dog", False), ("alexnet", "cat", True),
    ("alexnet", "cat", False), ("vgg16", "dog", True), ("vgg16", "cat", True))]
#: What is fitted to which performer, in the order in which it is run.
PLAN = ((MADE[0], EVERY + [Fit(*which, seed=seed) for seed in SEEDS for which in DECISIVE]),
        (MADE[1], EVERY[:HALF]), (MADE[0], DEEP[:2]), (MADE[2], EVERY[:HALF]), (MADE[1], EVERY[HALF:]),
        (MADE[0], DEEP[2:]), (MADE[2], EVERY[HALF:]), *((made, EVERY) for made in MADE[3:]))


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Run what is missing of `PLAN`, and return the record, see `gather`."""
    cpu_threads(settings.threads)
    for made, fits in PLAN:
        _go_on(made.run(settings), fits, say)
    return gather(settings)


def _go_on(run: Run, fits: list[Fit], say: Callable[[str], object]) -> None:
    """Run those of some fits to a performer that are missing; each is kept when it is done."""
    path = store.factorial_path(run.settings, run.architecture, run.category, run.fading)
    kept = store.read_record(path) if path.exists() else {"fits": []}
    rows, bench = kept["fits"], None
    tried = [(Fit(*which, "none"), rate) for which, rates in RATES.items() for rate in rates
             if len(rates) > 1]
    for fit, rate in [*tried, *((fit, None) for fit in fits)]:
        rate = rate or _counts(rows, fit, run.name)
        about = asdict(fit) | {"rate": rate}
        if any(about.items() <= row.items() for row in rows):
            continue
        with store.record(run.settings) as taken:
            if bench is None:
                bench = Bench(run)
                kept["performer"] = _performer(bench)
            how = trials.options(run.settings, fit.optimizer, fit.start, rate, fit.prior)
            how |= {"explainer": replace(how["explainer"], bias=fit.bias, depth=fit.depth),
                    "fit": replace(how["fit"], seed=fit.seed)}
            row = about | trials.fitted(run, bench, how)
        rows.append(row | {"seconds": round(taken["seconds"], 1)})
        kept |= {key: taken[key] for key in ("settings", "versions", "peak_memory_mb")}
        store.write_record(path, kept)
        say(f"{run.name}: {about}: H / ln n {row['normalised_entropy']}, {taken['seconds']:.0f} s")


def _counts(rows: list[dict], fit: Fit, name: str) -> float:
    """The rate of a fit: of several the one whose baseline, all else as in the trial, left the least."""
    rates = RATES[fit.optimizer, fit.start]
    if len(rates) == 1:
        return rates[0]
    baseline = asdict(Fit(fit.optimizer, fit.start, "none"))
    left = {row["rate"]: row["squared_error"] for row in rows
            if baseline.items() <= row.items() and row["squared_error"] is not None}
    if not left:
        raise InputError(f"rates: with each of {list(rates)} the fit of {name} by {fit.optimizer} "
                         f"from a {fit.start} start diverged")
    return min(left, key=left.get)


def _performer(bench: Bench) -> dict:
    """What a record keeps of a performer; ``speaking``: the share of weights w above 0 of the images
    shown; ``ways``: measures of what needs no fit, by its name."""
    about, trained, ways = bench.about(), bench.run.record(), {}
    for way in WAYS:
        found = bench.judge(explained_in(bench.run, way, bench.head, bench.shown, bench.background)[0])
        ways[way] = {name: trials.short(found[name]) for name in WAY_FIELDS}
    return {"ways": ways} | {key: about[key] for key in (*trials.TRUTH_FIELDS, "groups", "filters")} | {
        **{key: trained["metrics"][key] for key in ("accuracy", "part_specificity")},
        "speaking": trials.short(float((bench.shown.w > 0).double().mean())),
        "training_seconds": trained["seconds"]}


def gather(settings: Settings) -> dict:
    """Join the fits that are done, and return the record; InputError where none is.

    ``performers``: of each its names, ``fading`` and ``filter_loss``, and what is true of it. ``fits``: a
    row each, beginning with the performer's place in that list, with the fields of `Fit`, ``rate``,
    ``chosen``: whether that is the rate that counts, `trials.REGIME_FIELDS` and ``seconds``, with what had
    to be done first, of a performer's first fit its training. ``columns``: their names. ``planned``: how
    many performers and fits there would be.
    """
    content = {"experiment": 1, "performers": [], "fits": []}
    columns = [*Fit.__dataclass_fields__, "rate", "chosen", *trials.REGIME_FIELDS, "seconds"]
    for made in MADE:
        run = made.run(settings)
        path = store.factorial_path(run.settings, made.architecture, made.category, made.fading)
        if not path.exists():
            continue
        found, place = store.read_record(path), len(content["performers"])
        content["performers"].append(asdict(made) | {
            "performer_seed": 0, "filter_loss": run.settings.filter_loss,
            "yhat_std": trials.short(run.record()["metrics"]["yhat_std"])} | found["performer"])
        for row in found["fits"]:
            fit = Fit(**{name: row[name] for name in Fit.__dataclass_fields__})
            row |= {"chosen": row["rate"] == _counts(found["fits"], fit, run.name)}
            content["fits"].append([place, *(row[name] for name in columns)])
        content |= {key: found[key] for key in ("versions", "peak_memory_mb")}
    if not content["performers"]:
        raise InputError("factorial: no fit is done; accepted: semquant record factorial, which runs them")
    tried = sum(len(rates) - 1 for rates in RATES.values())
    return content | {
        "settings": asdict(settings), "columns": {"fits": ["performer", *columns]},
        "planned": {"performers": len(MADE),
                    "fits": sum(len(fits) for _, fits in PLAN) + tried * len(MADE)},
        "seconds": round(sum(row[-1] for row in content["fits"]))}


def frame(record: dict) -> pd.DataFrame:
    """Return all fits of a record that `gather` made, a row each, with ``performer``, its place, and its
    ``architecture``, ``category`` and ``fading``."""
    about = pd.DataFrame(record["performers"])[["architecture", "category", "fading"]]
    return pd.DataFrame(record["fits"], columns=record["columns"]["fits"]).join(about, on="performer")
