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

__all__ = ["LEAST", "PAIR", "PERFORMER", "Estimate", "by_performer", "estimate", "gains", "pairs"]

LEAST = 4  # performers; fewer have no interval
#: The columns that name a performer, where a table has them.
PERFORMER = ("architecture", "category", "performer_seed")
#: The columns in which ours and the baseline of a pair agree, where a table has them.
PAIR = (*PERFORMER, "target", "scale", "last_layer", "seed")


@dataclass(frozen=True)
class Estimate:
    """A mean over performers (NaN without any), Student's 95% interval, and the value of each."""

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
