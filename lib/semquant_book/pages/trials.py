"""What the trial found: its tests in one table, and every way of explaining against the truth."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import ARCHITECTURES, METHODS
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages.comparison import paper, styled
from semquant_book.pages.findings import UNTOLD, number, told
from semquant_book.pages.ranking import NAMES
from semquant_book.study.hypotheses import (
    ERROR, HOME, HYPOTHESES, LEVEL, REGIMES, Tested, confirming, difference, evenness, fits, regime, tests, verdict, ways)
from semquant_book.study.presets import project_root
from semquant_book.study.replicates import Estimate, bootstrap
from semquant_book.study.store import read_record
from semquant_book.study.trials import RECORD, TUNING

__all__ = ["PANELS", "answers", "by_network", "corrected_gap", "errors", "progress", "ranked", "read", "said", "table"]

#: Truths in words, by the field that holds the rescaled error against them.
PANELS = {ERROR: "Shapley values", "rescaled_error removals": "single removals",
          "rescaled_error mean_reference": "Shapley values, mean reference"}
DIGITS = {"nats": 3, "error": 3, "correlation": 2}
EXPECTED = {1: "above 0", -1: "below 0"}
WORDS = {"holds": "holds", "the opposite": "no: the opposite", "none": "no: no difference",
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
    tested, found = tests(record), errors(record)

    def row(claim: str, value: Estimate, digits: int, words: str, answer: str) -> tuple[str, dict]:
        interval = (f"{number(value.low, digits, plus=True)} to {number(value.high, digits, plus=True)}"
                    if value.known else "none")
        return claim, {"what came out": answer, "number": f"{number(value.value, digits, plus=True)} {words}",
                       "95% interval": interval, "performers": str(len(value.values))}

    def planned(claim: str, test: Tested, words: str, yes: str = "yes", below: bool = False) -> tuple[str, dict]:
        answer = _answer(test.found, yes, below) if test.corrected < LEVEL else UNTOLD
        return row(claim, test.found, DIGITS[test.unit], words, answer)

    first, second = HOME, REGIMES[-1]
    correct = {which: difference(record, which, ERROR) for which in (first, second)}
    equal = bootstrap(found.loc[f"ours, {regime(*first)}"] - found.loc[NAMES["equal_share"]])
    even = {start: evenness(record, start) for start in ("high", "fitting")}
    gradient = bootstrap(found.loc[f"ours, {regime(*second)}"] - found.loc[NAMES["gradient_times_input"]])
    by_number = {n: [t for t in tested if t.hypothesis == n] for n in HYPOTHESES}
    rows = [planned(f"The prior loss makes contributions more even: {regime(*which)}", test, "nats")
            for which, test in zip(REGIMES, by_number[1])]
    rows += [row(f"It makes them more correct: {regime(*which)}*", value, 3, "of error",
                 _answer(value, "yes", below=True)) for which, value in correct.items()]
    rows += [planned(f"And more so than a permuted prior: {regime(*which)}", test, "of error", below=True)
             for which, test in zip((first, second), by_number[2])]
    rows.append(row(f"And more correct than equal shares: {regime(*first)}*", equal, 3, "of error",
                    _answer(equal, "yes", below=True)))
    rows += [
        planned("More even is more correct, over the fits to one performer", by_number[4][0],
                "rank correlation with error", "only over all fits pooled", below=True),
        *(row(f"The same, over its fits from a {start} start*", value, 2, "rank correlation with error",
              _answer(value, "yes", below=True)) for start, value in even.items()),
        planned("The explainer is more correct than its prior weights alone", by_number[3][1], "of error", below=True),
        row("And than gradient times input*", gradient, 3, "of error", _answer(gradient, "yes", below=True)),
        planned("What to use instead: gradient times input, corrected; is it more correct than gradient times input?",
                by_number[6][0], "of error", below=True),
        planned("And than integrated gradients?", by_number[6][1], "of error", below=True)]
    for metric, words in list(PANELS.items())[1:]:
        other = corrected_gap(record, metric)
        rows.append(row(f"And than gradient times input, against {words}?*", other, 3, "of error",
                        _answer(other, "yes", below=True)))
    return styled(pd.DataFrame([cells for _, cells in rows], index=[name for name, _ in rows]),
                  "Drawn animals, performers that no choice was made on; error: rescaled, against exact Shapley values of part "
                  "groups of filters. *: not in the plan, by its interval alone", sentences=True)


def _answer(value: Estimate, yes: str, below: bool) -> str:
    """Yes, the opposite, or that it can't be told, by the interval alone."""
    if not value.known or value.low <= 0 <= value.high:
        return UNTOLD
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
                  "permutation after Holm's correction over all tests; of hypothesis 5 the correlation over performers, p by "
                  "permuting pairs. Where below +0.05 or not below 0 is expected, the interval decides", sentences=True)


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
        verdicts = {verdict(t) for t in found if t.hypothesis == hypothesis}
        whole = ("holds" if verdicts == {"holds"} else "the opposite" if "the opposite" in verdicts else "open")
        lines.append(f"- **{HYPOTHESES[hypothesis]}** (as a whole: {WORDS[whole]}): {'; '.join(parts)}.")
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


def corrected_gap(record: dict, metric: str) -> Estimate:
    """Return the error of the correction minus that of gradient times input, against a truth of `PANELS`."""
    found = errors(record, metric)
    return bootstrap(found.loc[NAMES["corrected"]] - found.loc[NAMES["gradient_times_input"]])


def by_network(record: dict, names: Collection[str] = ()) -> Styler:
    """Give the error of some ways for each network, and over all of them with its interval."""
    found = errors(record)
    found = found.loc[[NAMES.get(name, name) for name in names]] if names else found
    labels, cells = paper()["labels"], {}
    there = set(found.columns.get_level_values("architecture"))
    for architecture in (name for name in ARCHITECTURES if name in there):
        some = found.xs(architecture, axis=1, level="architecture")
        cells[f"{labels[architecture]} ({some.shape[1]})"] = some.mean(axis=1).map(number)
    cells["all"] = {name: figures.with_interval(bootstrap(values), 3) for name, values in found.iterrows()}
    return styled(pd.DataFrame(cells), "Rescaled error against Shapley values, mean over performers (how many); ± is half the "
                  "95% bootstrap interval")
