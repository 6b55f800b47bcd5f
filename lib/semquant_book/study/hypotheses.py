"""The tests that book/right/protocol.md names, on the record of the trial's performers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from semquant_book.study.replicates import (DRAWS, LEAST, PERFORMER, Estimate, bootstrap, holm,
                                            sign_test)
from semquant_book.study.ranking import CORRECTED
from semquant_book.study.trials import TUNING

__all__ = ["ERROR", "HOME", "HYPOTHESES", "LEVEL", "MARGINS", "REGIMES", "Tested", "confirming",
           "difference", "evenness", "fits", "regime", "tests", "verdict", "ways"]

ERROR = "rescaled_error shapley"
LEVEL = 0.05
#: A difference whose interval lies within is called none: in error, in nats.
MARGINS = {"error": 0.01, "nats": 0.05, "correlation": 0.0}
HYPOTHESES = {1: "The paper's effect has one home", 2: "The prior's knowledge counts",
              3: "No explainer beats its own prior", 4: "Even is not right",
              5: "Gradients fail where the head is not linear", 6: "The correction is better"}
HOME = ("sgd", "high")
REGIMES = (HOME, ("sgd", "fitting"), ("adamw", "high"), ("adamw", "fitting"))
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}


@dataclass(frozen=True)
class Tested:
    """One test: what is compared, the sign that the hypothesis expects (0: none above the margin), the
    mean over performers with its interval, and p before and after Holm's correction."""

    hypothesis: int
    words: str
    unit: str  # a key of `MARGINS`
    expected: int
    found: Estimate
    p: float
    corrected: float = float("nan")


def regime(optimizer: str, start: str) -> str:
    """Return what a regime is called."""
    return f"{OPTIMIZERS[optimizer]}, {start} start"


def _table(record: dict, name: str, names: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a table of the record, indexed by performer."""
    frame = pd.DataFrame(record[name], columns=record["columns"][name])
    about = pd.DataFrame(record["performers"])[[*PERFORMER]]
    return frame.join(about, on="performer").drop(columns="performer").set_index([*PERFORMER, *names])


def fits(record: dict) -> pd.DataFrame:
    """Return all fits of regimes, a row each."""
    return _table(record, "regimes", ("optimizer", "start", "prior")).sort_index()


def ways(record: dict) -> pd.DataFrame:
    """Return all ways of explaining, a row for each performer and way."""
    return _table(record, "ways", ("method",))


def confirming(values: pd.Series | pd.DataFrame) -> pd.Series | pd.DataFrame:
    """Return what is of categories that no choice was made on."""
    return values[~values.index.get_level_values("category").isin(TUNING)]


def _fit(frame: pd.DataFrame, which: tuple[str, str], prior: str, metric: str) -> pd.Series:
    """A metric of the fits that count, by performer."""
    names = list(frame.index.names[len(PERFORMER):])
    some = frame[frame.chosen].reset_index(names)
    return some[(some[names] == [*which, prior]).all(axis=1)][metric].astype(float)


def difference(record: dict, which: tuple[str, str], metric: str, of: str = "measured",
               over: str = "none") -> Estimate:
    """Return a measure with one prior minus that with another, in a regime, of the tests' performers."""
    fitted = confirming(fits(record))
    return bootstrap(_fit(fitted, which, of, metric) - _fit(fitted, which, over, metric))


def evenness(record: dict, start: str) -> Estimate:
    """Return the rank correlation of entropy with error over a performer's fits from one start, of the
    tests' performers: the fourth test, for a part of the fits."""
    some = confirming(fits(record)).xs(start, level="start").astype({"entropy": float, ERROR: float})
    return bootstrap(some.groupby(level=[*PERFORMER]).apply(
        lambda rows: rows["entropy"].corr(rows[ERROR], method="spearman")))


def tests(record: dict) -> list[Tested]:
    """Return all tests, of the categories that no choice was made on."""
    found = list(_tests(confirming(fits(record)), confirming(ways(record)), record))
    return [replace(test, corrected=p) for test, p in zip(found, holm(test.p for test in found))]


def _tests(fitted: pd.DataFrame, explained: pd.DataFrame, record: dict) -> Iterator[Tested]:
    def paired(hypothesis: int, words: str, unit: str, expected: int, values: pd.Series) -> Tested:
        return Tested(hypothesis, words, unit, expected, bootstrap(values), sign_test(values))

    by_way = explained[ERROR].astype(float).unstack("method")
    for which in REGIMES:
        gain = _fit(fitted, which, "measured", "entropy") - _fit(fitted, which, "none", "entropy")
        yield paired(1, f"entropy, with the prior loss minus without: {regime(*which)}", "nats",
                     1 if which == HOME else 0, gain)
    for which in (HOME, REGIMES[-1]):
        error = _fit(fitted, which, "measured", ERROR) - _fit(fitted, which, "permuted", ERROR)
        yield paired(2, f"error, measured minus permuted prior: {regime(*which)}", "error", -1, error)
    for which in (HOME, REGIMES[-1]):
        error = _fit(fitted, which, "measured", ERROR) - by_way["prior"]
        yield paired(3, f"error, ours minus its prior: {regime(*which)}", "error", 1, error)
    pairs = fitted.astype({"entropy": float, ERROR: float}).groupby(level=[*PERFORMER])
    yield paired(4, "rank correlation of entropy with error, over a performer's fits", "correlation", 0,
                 pairs.apply(lambda some: some["entropy"].corr(some[ERROR], method="spearman")))
    yield _over_performers(by_way["gradient_times_input"], record)
    for way, words in (("gradient_times_input", "gradient × input"),
                       ("integrated_gradients", "integrated gradients"), ("ridge", "ridge regression")):
        yield paired(6, f"error, corrected minus {words}", "error", -1, by_way[CORRECTED] - by_way[way])


def _over_performers(error: pd.Series, record: dict) -> Tested:
    """The fifth: a rank correlation over performers, its interval by bootstrap, p by permutation."""
    about = pd.DataFrame(record["performers"]).set_index([*PERFORMER])
    both = pd.DataFrame({"error": error, "index": about["nonlinearity"]}).dropna().astype(float)

    def correlation(a, b):
        return stats.spearmanr(a, b).statistic

    words = "rank correlation of non-linearity with the error of gradient × input, over performers"
    if len(both) < LEAST:
        return Tested(5, words, "correlation", 1, Estimate(float("nan"), None, None, ()), float("nan"))
    error, index = both["error"].to_numpy(), both["index"].to_numpy()
    value, generator = float(correlation(error, index)), np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS // 10):
        rows = np.concatenate([generator.choice(places, len(places)) for places
                               in both.groupby(level="architecture").indices.values()])
        if len(set(index[rows])) > 1:
            drawn.append(correlation(error[rows], index[rows]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    p = stats.permutation_test((error,), lambda some: correlation(some, index),
                               permutation_type="pairings", n_resamples=DRAWS // 10,
                               rng=np.random.default_rng(0)).pvalue
    return Tested(5, words, "correlation", 1, Estimate(value, float(low), float(high), tuple(error)), float(p))


def verdict(test: Tested) -> str:
    """Return what a test says of its hypothesis: holds, the opposite, none, or open.

    None, before all else: the interval lies within the margin. An expected sign holds, or its opposite
    does, where p after Holm's correction is below `LEVEL`. Where no effect is expected, the hypothesis holds as
    long as the interval ends below the margin (of entropy), or is not below 0 (of a correlation).
    """
    found, margin = test.found, MARGINS[test.unit]
    if not found.known:
        return "open"
    if test.expected == 0:
        if test.unit == "correlation":
            return "holds" if found.high >= 0 else "the opposite"
        return "holds" if found.high < margin else "the opposite" if found.low > margin else "open"
    if -margin < found.low and found.high < margin:
        return "none"
    if test.corrected < LEVEL and found.low * found.high > 0:
        return "holds" if np.sign(found.value) == test.expected else "the opposite"
    return "open"
