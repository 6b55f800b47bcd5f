"""What came out for a sentence of the paper: verdicts, the rules that they follow, and numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from semquant_book.datasets.names import METHODS, STARTS
from semquant_book.figures.style import signed
from semquant_book.study.replicates import LEAST, Estimate, by_performer, estimate, gains, pairs

__all__ = ["FAILS", "HOLDS", "MIXED", "UNTOLD", "VERDICTS", "Finding", "Line", "beside", "by_reading", "by_target",
           "combined", "compared", "counted", "gain_lines", "level_lines", "number", "over", "percent", "spread",
           "told", "where_higher"]

HOLDS, FAILS, MIXED, UNTOLD = "holds", "does not hold", "mixed", "can't be told here"

#: The verdicts, and what each means.
VERDICTS = {
    HOLDS: "the whole range lies on the sentence's side, wherever it was measured",
    FAILS: "the whole range lies on the other side somewhere, and on the sentence's side nowhere",
    MIXED: "it lies on the sentence's side in some of the places, in others not",
    UNTOLD: f"it lies on both sides, or there is none: fewer than {LEAST} performers have no interval",
}


@dataclass(frozen=True)
class Line:
    """One number, of what, with its range over performers where there is one, and the paper's."""

    name: str
    estimate: Estimate
    paper: float | None = None


@dataclass(frozen=True)
class Finding:
    """What came out for a sentence: a verdict, its numbers, and what speaks for it and against.

    The first `shown` lines are the sentence's own, the others come on demand. `unit` labels
    their axis, whose sides meet at `border`; the numbers are shares if `percent`, and
    differences, with their sign, if `plus`.
    """

    verdict: str
    lines: tuple[Line, ...]
    unit: str
    text: str
    against: str
    border: float = 0.0
    digits: int = 3
    percent: bool = False
    plus: bool = True
    shown: int = 2

    def write(self, value: float) -> str:
        """Write one of its numbers."""
        return number(value, self.digits, percent=self.percent, plus=self.plus)


def number(value: float, digits: int = 3, *, percent: bool = False, plus: bool = False) -> str:
    """Write a number with a true minus sign; a share in percent; what is not there as a dash."""
    if value is None or value != value:
        return "\N{EM DASH}"
    return signed(100 * value if percent else value, digits, plus=plus) + "%" * percent


def told(estimate: Estimate, digits: int = 3, *, percent: bool = False, plus: bool = False) -> str:
    """Write a mean with its interval and the number of performers, or that there is none."""
    def show(value):
        return number(value, digits, percent=percent, plus=plus)

    count = len(estimate.values)
    performers = f"{count} performer" + "s" * (count != 1)
    if not estimate.known:
        return f"{show(estimate.value)} ({performers}, no interval)"
    return f"{show(estimate.value)} ({show(estimate.low)} to {show(estimate.high)}, {performers})"


def compared(estimate: Estimate, border: float = 0.0, above: bool = True) -> str:
    """Return the verdict of one number: whether all its interval lies above (or below) `border`."""
    if not estimate.known or estimate.low <= border <= estimate.high:
        return UNTOLD
    return HOLDS if (estimate.low > border) == above else FAILS


def combined(verdicts: Iterable[str]) -> str:
    """Return the verdict of several: what holds everywhere holds, what holds in places is mixed."""
    found = set(verdicts)
    if HOLDS in found or MIXED in found:
        return HOLDS if found == {HOLDS} else MIXED
    return FAILS if FAILS in found else UNTOLD


def over(lines: Iterable[Line], border: float = 0.0, above: bool = True) -> str:
    """Return the verdict of several numbers; those without an interval have no say."""
    return combined(compared(line.estimate, border, above) for line in lines if line.estimate.known)


def counted(hits: int, cases: int) -> str:
    """Return the verdict of a yes or no in each of several cases: all, none, or some."""
    if not cases:
        return UNTOLD
    return HOLDS if hits == cases else MIXED if hits else FAILS


def percent(share: float, digits: int = 0, *, plus: bool = False) -> str:
    """Write a share in percent."""
    return number(share, digits, percent=True, plus=plus)


def spread(values: Iterable[float], digits: int = 2, *, percent: bool = False) -> str:
    """Write the smallest and the largest of some numbers."""
    low, high = min(values), max(values)
    return f"{number(low, digits, percent=percent)} to {number(high, digits, percent=percent)}"


def by_reading(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Part a table of Experiment 1 by the reading of y's scale, one of Experiment 2 by g's start."""
    if "scale" in frame:
        return [(f"y {s}", g) for s, g in frame.groupby("scale", sort=False)]
    return [(f"g started {STARTS[s]}", g) for s, g in frame.groupby("last_layer", sort=False)]


def gain_lines(frames: Mapping[str, pd.DataFrame], metric: str, *, sign: int = 1,
               paper: float | None = None) -> tuple[Line, ...]:
    """Return ours minus the baseline (with sign -1 the opposite) by what was run and reading."""
    return tuple(Line(f"{name}, {reading}", estimate(sign * gains(g, metric)), paper)
                 for name, frame in frames.items() for reading, g in by_reading(frame))


def level_lines(frame: pd.DataFrame, metric: str, method: str, name: str = "",
                share: bool = True) -> tuple[Line, ...]:
    """Return a metric's mean, a line for each reading, named after the method or `name`."""
    return tuple(Line(f"{name or method}, {reading}",
                      estimate(by_performer(g[g.method == method], metric), share))
                 for reading, g in by_reading(frame))


def beside(frame: pd.DataFrame, metric: str, digits: int = 3, *, percent: bool = False) -> str:
    """Write ours and the baseline's mean over performers, for each reading."""
    said = []
    for reading, g in by_reading(frame):
        means = (number(by_performer(g[g.method == m], metric).mean(), digits, percent=percent)
                 for m in METHODS)
        said.append("{}: ours {}, baseline {}".format(reading, *means))
    return "; ".join(said)


def where_higher(frame: pd.DataFrame, metric: str) -> str:
    """Write for how many performers ours is higher, and in brackets in how many fits, by reading."""
    said = []
    for reading, g in by_reading(frame):
        each, fits = gains(g, metric), pairs(g, metric)[metric]
        said.append(f"{reading} {(each > 0).sum()} of {len(each)} ({(fits > 0).sum()} of {len(fits)})")
    return ", ".join(said)


def by_target(frame: pd.DataFrame, metric: str, method: str) -> pd.Series:
    """Return a metric's mean for each target, of g's first start and seed, as controls have them."""
    first = frame[(frame.last_layer == frame.last_layer.iloc[0]) & (frame.seed == 0)]
    return first[first.method == method].groupby("target")[metric].mean()
