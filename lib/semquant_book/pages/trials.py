"""What the trial found: its tests in one table, and every way of explaining against the truth."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import METHODS
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages.comparison import paper, styled
from semquant_book.pages.findings import number, told
from semquant_book.pages.ranking import NAMES
from semquant_book.study.hypotheses import (
    ERROR, HOME, HYPOTHESES, REGIMES, Tested, confirming, difference, fits, regime, tests, verdict, ways)
from semquant_book.study.presets import project_root
from semquant_book.study.replicates import Estimate, bootstrap
from semquant_book.study.store import read_record
from semquant_book.study.trials import RECORD, TUNING

__all__ = ["PANELS", "answers", "by_network", "errors", "progress", "ranked", "read", "said", "table"]

#: Truths in words, by the field that holds the rescaled error against them.
PANELS = {ERROR: "Shapley values", "rescaled_error removals": "single removals",
          "rescaled_error mean_reference": "Shapley values, mean reference"}
DIGITS = {"nats": 2, "error": 3, "correlation": 2}
EXPECTED = {1: "above 0", -1: "below 0"}
WORDS = {"holds": "holds", "the opposite": "does not hold: the opposite", "none": "does not hold: no difference",
         "open": "open"}


def read() -> dict:
    """Return the recorded trial that comes with the project."""
    return read_record(project_root() / "book" / "records" / f"{RECORD}.json")


def progress(record: dict) -> str:
    """Say how many performers of the plan there are, and how many of them the tests are on."""
    about = pd.DataFrame(record["performers"])
    tested = about[~about.category.isin(TUNING)]
    counts = ", ".join(f"{count} of {paper()['labels'][name]}" for name, count
                       in tested.architecture.value_counts(sort=False).items())
    seeds = sorted(tested.performer_seed.unique())
    seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (f"{len(about)} of the {record['planned']} performers that were planned are run. The tests are on the "
            f"{len(tested)} of categories that no choice was made on ({', '.join(tested.category.unique())}; {seeds}): "
            f"{counts}.")


def answers(record: dict) -> Styler:
    """Say in a row each what the paper claims and what the trial found of it, and what to use instead: the
    answer, a number, its interval, how many performers."""
    found, errors_ = tests(record), errors(record)
    gains = [t for t in found if t.hypothesis == 1]
    best = errors_.mean(axis=1).drop(NAMES["shapley_sampling"]).idxmin()

    def row(claim: str, answer: str, value: Estimate, digits: int, words: str) -> tuple[str, dict]:
        interval = (f"{number(value.low, digits, plus=True)} to {number(value.high, digits, plus=True)}"
                    if value.known else "none")
        return claim, {"what came out": answer, "number": f"{number(value.value, digits, plus=True)} {words}",
                       "95% interval": interval, "performers": _performers(value)}

    def gap(first: str, second: str) -> Estimate:
        return bootstrap(errors_.loc[first] - errors_.loc[second])

    rows = []
    for test, which in zip(gains, REGIMES):
        rows.append(row(f"The prior loss makes contributions more even: {regime(*which)}", _more(test.found, "yes"),
                        test.found, 2, "nats"))
    for which in (HOME, REGIMES[-1]):
        value = difference(record, which, ERROR)
        rows.append(row(f"It makes them more correct: {regime(*which)}", _more(value, "yes", below=True), value, 3, "of error"))
    even = next(t for t in found if t.hypothesis == 4).found
    rows.append(row("More even is more correct, over the fits to one performer", _more(even, "mostly yes", below=True),
                    even, 2, "rank correlation with error"))
    ours = gap(f"ours, {regime(*REGIMES[-1])}", NAMES["prior"])
    rows.append(row("The explainer adds to its prior weights", _more(ours, "yes", below=True), ours, 3, "of error over the prior alone"))
    gradient = gap(f"ours, {regime(*REGIMES[-1])}", NAMES["gradient_times_input"])
    rows.append(row("It is nearer to the truth than gradient times input", _more(gradient, "yes", below=True), gradient, 3, "of error"))
    instead = gap(best, NAMES["gradient_times_input"])
    rows.append(row(f"Use instead: {best}, the nearest of all that run the head a few times",
                    "nearer than gradient times input" if instead.known and instead.high < 0 else "not told from gradient times input",
                    instead, 3, "of error"))
    return styled(pd.DataFrame([cells for _, cells in rows], index=[name for name, _ in rows]),
                  "Drawn animals, performers that no choice was made on; error: rescaled, against exact Shapley values of part "
                  "groups of filters")


def _more(value: Estimate, yes: str, below: bool = False) -> str:
    """Yes, no with the opposite, or that it can't be told."""
    if not value.known or value.low <= 0 <= value.high:
        return "can't be told"
    return yes if (value.value < 0) == below else "no, the opposite"


def _performers(found: Estimate) -> str:
    return str(len(found.values))


def _interval(test: Tested) -> str:
    found, digits = test.found, DIGITS[test.unit]
    return f"{number(found.low, digits, plus=True)} to {number(found.high, digits, plus=True)}" if found.known else "none"


def _p(test: Tested) -> str:
    value = test.corrected
    return "\N{EM DASH}" if value != value else "< 0.001" if value < 0.001 else number(value)


def table(record: dict, hypotheses: Collection[int] = tuple(HYPOTHESES)) -> Styler:
    """Give each test of some hypotheses in a row: verdict, number, interval, p, performers."""
    rows = [(f"{t.hypothesis}. {t.words}", {
        "verdict": WORDS[verdict(t)], "expected": _expected(t),
        "found": number(t.found.value, DIGITS[t.unit], plus=True), "95% interval": _interval(t),
        "p (Holm)": _p(t), "performers": _performers(t.found)}) for t in tests(record) if t.hypothesis in hypotheses]
    return styled(pd.DataFrame([cells for _, cells in rows], index=[name for name, _ in rows]),
                  "The tests of the plan: mean over performers, its bootstrap interval within networks, p of a sign "
                  "permutation after Holm's correction over all tests")


def _expected(test: Tested) -> str:
    if test.expected:
        return EXPECTED[test.expected]
    return "not below 0" if test.unit == "correlation" else "below +0.05"


def said(record: dict, hypotheses: Collection[int] = tuple(HYPOTHESES)) -> str:
    """Say for some hypotheses what their tests found, in Markdown, a line each."""
    found, lines = tests(record), []
    for hypothesis in hypotheses:
        parts = [f"{t.words} {told(t.found, DIGITS[t.unit], plus=True)}, {WORDS[verdict(t)]}"
                 for t in found if t.hypothesis == hypothesis]
        lines.append(f"- **{HYPOTHESES[hypothesis]}**: {'; '.join(parts)}.")
    return "\n".join(lines)


def errors(record: dict, metric: str = ERROR) -> pd.DataFrame:
    """Return a measure of every way, and of ours and the baseline in each regime, where the record has it:
    a row for each, a column for each performer of the tests."""
    found = confirming(ways(record))[metric].astype(float).unstack("method").rename(columns=NAMES)
    if metric in record["columns"]["regimes"]:
        fitted = confirming(fits(record))
        fitted = fitted[fitted.chosen][metric].astype(float)
        for which in REGIMES:
            for prior, method in (("measured", "ours"), ("none", "baseline")):
                some = fitted.xs((*which, prior), level=("optimizer", "start", "prior"))
                found[f"{method}, {regime(*which)}"] = some
    return found.T


def ranked(record: dict) -> Figure:
    """Draw the rescaled error of every way against each truth, a dot for each performer."""
    first = errors(record)
    panels = {PANELS[ERROR]: first} | {
        words: errors(record, metric).reindex(first.index) for metric, words in PANELS.items() if metric != ERROR}
    panels = {words.replace(", ", ",\n"): frame for words, frame in panels.items()}
    return figures.ranking(panels, {m: METHOD_COLOURS[m] for m in METHODS}, list(panels))


def by_network(record: dict, names: Collection[str] = ()) -> Styler:
    """Give the error of some ways for each network, and over all of them with its interval."""
    found = errors(record)
    found = found.loc[[NAMES.get(name, name) for name in names]] if names else found
    labels, cells = paper()["labels"], {}
    for architecture, some in found.T.groupby(level="architecture", sort=False):
        cells[f"{labels[architecture]} ({len(some)})"] = some.mean().map(number)
    cells["all"] = {name: figures.with_interval(bootstrap(values), 3) for name, values in found.iterrows()}
    return styled(pd.DataFrame(cells), "Rescaled error against Shapley values, mean over performers (how many); ± is half the "
                  "95% bootstrap interval")
