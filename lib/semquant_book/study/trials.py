"""The trial: every performer of a preset, run as book/right/protocol.md wrote down before.

A performer's trial is kept as soon as it is done. The record joins those of the committed record with
those that are new, so that the plan can be run in pieces, on any machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from semquant.checks import InputError
from semquant.distillation import distill_measured
from semquant.training import Diverged, cpu_threads
from semquant_book.study import experiment1, ranking, regimes, store
from semquant_book.study.presets import BEFORE, Settings, project_root
from semquant_book.study.ranking import Bench

__all__ = ["FITS", "HIGH_RATES", "RECORD", "REGIME_FIELDS", "TUNING", "WAYS",
           "fitted", "gather", "options", "performers", "planned", "run_trial", "short", "trial"]

RECORD = "trials"
#: The categories that choices were made on; tests are on the others.
TUNING = ("dog", "cat")
IMAGES, EPOCHS = 3000, 20  # that g is fitted to, and how often
#: Rates of SGD from a high start; that one counts whose baseline fits the training scores best.
HIGH_RATES = (1e-5, 3e-5, 1e-4)
#: What is fitted: optimiser, start, rates, priors.
FITS = (("sgd", "high", HIGH_RATES, ("none", "measured")), ("sgd", "fitting", (3e-3,), ("none", "measured")),
        ("adamw", "high", (1e-2,), ("none", "measured")),
        ("adamw", "fitting", (1e-2,), ("none", "measured", "permuted")))
#: Fitted from SGD's high start with the rate that counts.
CONTROLS = ("permuted", "uniform")
#: Peers that the trial leaves out: in the pilot the first two took three times as long as Shapley
#: sampling (KernelSHAP agreed with it, LIME was further off), the others came later.
LEFT_OUT = ("lime", "kernel_shap", "boosted", "concept_head")
#: The ways beside the regimes' explainers.
WAYS = (ranking.CORRECTED, *(name for name in ranking.PEERS if name not in LEFT_OUT))
#: Measures of a fit, of the paper's and against exact Shapley values.
REGIME_FIELDS = ("normalised_entropy", "entropy", "error average", "error_of_shares average", "deviation",
                 "accuracy", "squared_error", "error shapley", "rescaled_error shapley",
                 "rank_agreement shapley", "entropy shapley")
WAY_FIELDS = ("seconds", "completeness", "error shapley", "rescaled_error shapley", "rank_agreement shapley",
              "sign_agreement shapley", "entropy shapley", "rescaled_error removals",
              "rescaled_error mean_reference")
#: What is kept of a performer's truth.
TRUTH_FIELDS = ("images", "nonlinearity", "agreement", "negative shapley", "floor shapley", "entropy shapley")


def planned(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Yield architecture, category and seed of all performers, in the order of their seeds."""
    for seed, category, architecture in product(range(settings.performer_seeds), settings.categories,
                                                settings.architectures):
        yield architecture, category, seed


def trial(run: experiment1.Run, say: Callable[[str], object] = print) -> dict:
    """Run one performer's trial: ``regimes``, ``ways`` and ``truth``, the first two lists of rows."""
    cpu_threads(run.settings.threads)
    start = time.perf_counter()
    bench = Bench(run)
    fits = list(_fits(run, bench))
    say(f"{run.name}: {len(fits)} fits in {time.perf_counter() - start:.0f} s")
    ways = [{"method": way} | _of_way(bench, way) for way in WAYS]
    return {"regimes": fits, "ways": ways, "truth": bench.about(),
            "accuracy": run.record()["metrics"]["accuracy"],
            "seconds": round(time.perf_counter() - start)}


def _fits(run: experiment1.Run, bench: Bench) -> Iterator[dict]:
    """A row for each fit of a regime; without measures where it diverged."""
    def fit(optimizer: str, start: str, rate: float, prior: str) -> dict:
        row = {"optimizer": optimizer, "start": start, "rate": rate, "prior": prior}
        return row | fitted(run, bench, options(run.settings, optimizer, start, rate, prior))

    for optimizer, start, rates, priors in FITS:
        rows = [fit(optimizer, start, rate, prior) for rate in rates for prior in priors]
        left = {row["rate"]: row["squared_error"] for row in rows
                if row["prior"] == "none" and row["squared_error"] is not None}
        counts = min(left, key=left.get, default=None)
        if len(rates) > 1 and counts is not None:
            rows += [fit(optimizer, start, counts, prior) for prior in CONTROLS]
        yield from ({**row, "chosen": row["rate"] == counts} for row in rows)


def options(settings: Settings, optimizer: str, start: str, rate: float, prior: str) -> dict:
    """Return `regimes.options` of a fit of the trial, which takes `EPOCHS`."""
    return regimes.options(replace(settings, explainer_epochs=EPOCHS), optimizer, start, rate, prior)


def fitted(run: experiment1.Run, bench: Bench, how: dict) -> dict[str, float | None]:
    """Return `REGIME_FIELDS` of an explainer fitted to the first `IMAGES` with options of
    `distill_measured`; None of each where the fit diverged."""
    train = run.measured("train")[:IMAGES]
    try:
        explainer = distill_measured(train, **how)
    except Diverged:
        return dict.fromkeys(REGIME_FIELDS)
    found = regimes.kept(run.judge(explainer), train.y.shape[1])
    found |= bench.judge(explainer.explain_measured(bench.shown))
    found["squared_error"] = explainer.history[-1]["distillation"]
    return {name: short(found[name]) for name in REGIME_FIELDS}


def _of_way(bench: Bench, way: str) -> dict:
    said, seconds = ranking.explained_in(bench.run, way, bench.head, bench.shown, bench.background)
    row = bench.judge(said) | {"seconds": seconds / len(bench.shown)}
    return {name: short(row[name]) for name in WAY_FIELDS}


def short(value: float | None) -> float | None:
    """Return a number with the five digits that a record keeps."""
    return None if value is None else float(f"{value:.5g}")


def run_trial(run: experiment1.Run) -> str:
    """Run one performer's trial, keep it, and say how long it took."""
    with store.record(run.settings, architecture=run.architecture, category=run.category,
                      performer_seed=run.seed) as content:
        content |= trial(run)
    store.write_record(_path(run.settings, run.architecture, run.category, run.seed), content)
    return f"{run.name}: trial in {content['seconds']:.0f} s"


def _path(settings: Settings, architecture: str, category: str, seed: int) -> Path:
    return store.trial_path(settings, architecture, category, seed)


def performers(content: dict) -> set[tuple[str, str, int]]:
    """Return architecture, category and seed of the performers of a record."""
    return {(p["architecture"], p["category"], p["performer_seed"]) for p in content["performers"]}


def gather(settings: Settings) -> dict:
    """Join the trials that are done with those of the committed record, and return the record.

    ``performers``: of each its names, ``accuracy``, ``seconds`` and what is true of it; ``regimes``
    and ``ways``: a row each, beginning with the performer's place in that list; ``planned``: how many
    performers there would be. InputError where no trial is done, or the committed record is of
    other settings.
    """
    content = _committed(settings) or {"experiment": 1, "performers": [], "regimes": [], "ways": []}
    there = performers(content)
    for about in planned(settings):
        path = _path(settings, *about)
        if about in there or not path.exists():
            continue
        found, place = store.read_record(path), len(content["performers"])
        names = dict(zip(("architecture", "category", "performer_seed"), about))
        content["performers"].append(names | {key: found[key] for key in ("accuracy", "seconds")}
                                     | {key: found["truth"][key] for key in TRUTH_FIELDS})
        columns = content.setdefault("columns", {table: ["performer", *found[table][0]]
                                                 for table in ("regimes", "ways")})
        for table, fields in columns.items():
            content[table] += [[place, *(row[name] for name in fields[1:])] for row in found[table]]
        content |= {key: found[key] for key in ("settings", "versions", "peak_memory_mb")}
    if not content["performers"]:
        raise InputError(f"trials: none is done; accepted: semquant book --preset {settings.preset} "
                         "--target trials, which runs them")
    content["planned"] = len(list(planned(settings)))
    content["seconds"] = sum(p["seconds"] for p in content["performers"])
    return content


def _committed(settings: Settings) -> dict | None:
    path = project_root() / "book" / "records" / f"{RECORD}.json"
    if not path.exists():
        return None
    content = store.read_record(path)
    kept, here = {**BEFORE, **content["settings"]}, json.loads(json.dumps(asdict(settings)))  # a record has lists
    differ = [name for name in store.TRIAL_FIELDS if kept.get(name) != here[name]]
    if differ:
        raise InputError(f"trials: the record in {path} has other settings of {', '.join(differ)}; "
                         f"accepted: those of preset {kept['preset']}, or move the record away")
    return content
