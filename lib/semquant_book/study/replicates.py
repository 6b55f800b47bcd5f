"""The replicate is the performer: averages within one, and how far a mean over several is known.

Fits of g with other seeds to one performer share its features, its prior and its test images: they say
how much the fit varies, not whether a result would come again with another network. So they are averaged
first, and an interval is one over performers. Fewer than `LEAST` performers have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["DRAWS", "LEAST", "PAIR", "PERFORMER", "Estimate", "bootstrap", "by_performer", "estimate",
           "gains", "holm", "pairs", "sign_test"]

LEAST = 4  # performers; fewer have no interval
DRAWS = 10_000  # of performers in a bootstrap, of signs in a permutation test
#: The columns that name a performer, where a table has them.
PERFORMER = ("architecture", "category", "performer_seed")
#: The columns in which ours and the baseline of a pair agree, where a table has them.
PAIR = (*PERFORMER, "target", "scale", "last_layer", "seed")


@dataclass(frozen=True)
class Estimate:
    """A mean over performers (NaN without any), its 95% interval (Student's of `estimate`, percentiles of
    `bootstrap`), and the value of each."""

    value: float
    low: float | None  # None for fewer than `LEAST` performers
    high: float | None
    values: tuple[float, ...]

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None


def estimate(values: Iterable[float], share: bool = False) -> Estimate:
    """Return the mean of one value for each performer, with a 95% interval from `LEAST` on.

    NaN and None are left out. Of shares the interval ends at 0 and 1.
    """
    known = np.array([v for v in values if v is not None and np.isfinite(v)], dtype=float)
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < LEAST:
        return Estimate(mean, None, None, tuple(known.tolist()))
    half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
    low, high = mean - half, mean + half
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(mean, low, high, tuple(known.tolist()))


def by_performer(frame: pd.DataFrame, metric: str) -> pd.Series:
    """Return a metric's mean within each performer, over seeds of g and whatever else differs.

    Rows are explainers, references or performers; of Experiment 2, targets are averaged too. A
    table without the metric gives an empty series.
    """
    if metric not in frame:
        return pd.Series(dtype=float)
    known = frame.dropna(subset=[metric])
    keys = [key for key in PERFORMER if key in frame]
    return known.groupby(keys, sort=False, dropna=False)[metric].mean().astype(float)


def pairs(frame: pd.DataFrame, metric: str, of: str = "ours", over: str = "baseline") -> pd.DataFrame:
    """Return one method's metric minus another's, with all else the same, a row for each pair of
    fits.

    Columns are those of `PAIR` and the metric. What has only one of the methods with all else the
    same is left out; a table without the metric gives no rows.
    """
    keys = [key for key in PAIR if key in frame]
    if metric not in frame or not {of, over} <= set(frame.method):
        return pd.DataFrame(columns=[*keys, metric])
    wide = frame.pivot_table(index=keys, columns="method", values=metric, sort=False)
    wide = wide.reindex(columns=[of, over]).dropna()
    return (wide[of] - wide[over]).rename(metric).reset_index()


def gains(frame: pd.DataFrame, metric: str, of: str = "ours", over: str = "baseline") -> pd.Series:
    """Return the mean of `pairs` within each performer."""
    return by_performer(pairs(frame, metric, of, over), metric)


def bootstrap(values: pd.Series, draws: int = DRAWS) -> Estimate:
    """Return the mean of a value for each performer, and the central 95% of its bootstrap means.

    Performers are drawn anew within each network: the index has a level ``architecture``. Networks
    are taken as given; one with a single performer adds no variance, and with few in each the
    interval is too narrow (it covers 85% for 4, 4, 4 and 1 normal values). Fewer than `LEAST`
    performers have no interval.
    """
    known = values.dropna().astype(float)
    plain = estimate(known)
    if not plain.known:
        return plain
    generator, total = np.random.default_rng(0), np.zeros(draws)
    for _, some in known.groupby(level="architecture"):
        total += generator.choice(some.to_numpy(), (draws, len(some))).sum(axis=1)
    low, high = np.quantile(total / len(known), [0.025, 0.975])
    return Estimate(plain.value, float(low), float(high), plain.values)


def sign_test(values: pd.Series) -> float:
    """Return the p-value of a paired permutation test that differences are symmetric about 0, by
    their mean: each keeps or changes its sign. Exact up to 13 values; two-sided; NaN below `LEAST` values."""
    known = values.dropna().to_numpy(float)
    if len(known) < LEAST:
        return float("nan")
    found = stats.permutation_test((known, np.zeros(len(known))), lambda a, b, axis: (a - b).mean(axis=axis),
                                   permutation_type="samples", vectorized=True, n_resamples=DRAWS,
                                   rng=np.random.default_rng(0))
    return float(found.pvalue)


def holm(p: Iterable[float]) -> list[float]:
    """Return p-values after Holm's correction for how many there are; NaN ones count for nothing."""
    p = np.array(list(p), dtype=float)
    order = [i for i in np.argsort(p, kind="stable") if np.isfinite(p[i])]
    found, largest = np.full(len(p), np.nan), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[i]))
        found[i] = largest
    return found.tolist()
