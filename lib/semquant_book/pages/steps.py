"""Steps of attributes on the page of what would be better: a recorded run's table and sentences."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import label
from semquant_book.pages import ranking
from semquant_book.pages.comparison import styled
from semquant_book.pages.findings import number, told
from semquant_book.study.presets import project_root
from semquant_book.study.replicates import LEAST, Estimate, estimate
from semquant_book.study.steps import TRUTHS, WAYS
from semquant_book.study.store import read_record

__all__ = ["against", "read", "said", "table", "verdict"]

NAMES = {"steps": "whole steps", "unlabelled": "whole steps, reach without labels",
         "derivative": "derivative of the same length",
         "corrected": "derivative of the same length, corrected", "to_zero": "whole steps to 0",
         "to_mean": "whole steps to the mean", "held": "derivative, all others held",
         **{way: ranking.NAMES.get(way, way) for way in WAYS[7:]}}
TRIED = ("to_zero", "to_mean", "held", "corrected")
TRUTH_NAMES = {"flips": "attributes flipped", "shapley": "Shapley values of six",
               "moves": "moved as data differ"}
MEASURES = {"rank_agreement": "rank agreement", "scaled_error": "error, one factor"}


def read() -> dict:
    """Return the record that comes with the project."""
    return read_record(project_root() / "book" / "records" / "steps.json")


def measured(record: dict, measure: str, targets: list[str]) -> pd.DataFrame:
    """Return a measure as ``"error flips"``, mean over targets: a row a way, a column a performer."""
    rows = pd.DataFrame(record["rows"])
    rows = rows[rows.target.isin(targets)]
    return rows.pivot_table(index="method", columns="performer_seed", values=measure).reindex(WAYS)


def _targets(record: dict) -> tuple[list[str], list[str]]:
    """The targets on which the step was chosen, and the others."""
    every = list(dict.fromkeys(row["target"] for row in record["rows"]))
    return [t for t in every if t in record["chosen"]], [t for t in every if t not in record["chosen"]]


def _words(targets: list[str]) -> str:
    return " and ".join(label(target).lower() for target in targets)


def said(record: dict | None = None) -> str:
    """Say `verdict` and `against`, by default of the record that comes with the project."""
    record = read() if record is None else record
    return f"{verdict(record)}\n\n{against(record)}"


def table(record: dict | None = None) -> Styler:
    """Give every way's distance from each truth, mean over the targets that had no say, the best first.

    By default of the record that comes with the project.
    """
    record = read() if record is None else record
    targets = _targets(record)[1]
    ranks = measured(record, "rank_agreement flips", targets).mean(axis=1)
    order, cells = ranks.sort_values(ascending=False, kind="stable").index, {}
    for truth in TRUTHS:
        for measure, words in MEASURES.items():
            values = measured(record, f"{measure} {truth}", targets)
            cells[f"{TRUTH_NAMES[truth]}, {words}"] = [_cell(estimate(values.loc[way])) for way in order]
    count = measured(record, "error flips", targets).shape[1]
    performers = f"{count} performer" + "s" * (count > 1)
    return styled(pd.DataFrame(cells, index=[NAMES[way] for way in order]),
                  f"Mean of {_words(targets)}, {performers}, "
                  f"{record['truths'][0]['faces']['flips']} faces; "
                  + ("± is half the 95% interval" if count >= LEAST else "no interval"))


def _cell(value: Estimate) -> str:
    """A mean; what is the same for all attributes has no order and is a dash."""
    return figures.with_interval(value, 3) if value.values else number(None)


def verdict(record: dict) -> str:
    """Say whether steps are nearer to what flips do than the prior and others are, by target."""
    lines, better, every = [], 0, [*_targets(record)[1], *_targets(record)[0]]
    for target in every:
        found = {m: measured(record, f"{m} flips", [target])
                 for m in ("rank_agreement", "scaled_error", "error")}
        ranks, scaled = found["rank_agreement"].mean(axis=1), found["scaled_error"].mean(axis=1)
        better += bool(ranks["steps"] > ranks["prior"] and scaled["steps"] < scaled["prior"])
        first = ranks.loc["prior":].idxmax()
        chosen = ", on which it was chosen" * (target in record["chosen"])
        gap = found["rank_agreement"].loc["steps"] - found["rank_agreement"].loc["prior"]
        lines.append(
            f"- **{label(target)}**{chosen}: rank agreement {number(ranks['steps'])}, the prior "
            f"{number(ranks['prior'])}, ours {number(ranks['ours'])}, the baseline "
            f"{number(ranks['baseline'])}; the best of all others is {NAMES[first]} "
            f"({number(ranks[first])}). Steps minus prior {told(estimate(gap), plus=True)}. Error after "
            f"one factor {number(scaled['steps'])}, the prior {number(scaled['prior'])}; as it is "
            f"{number(found['error'].loc['steps'].mean())}.")
    return (f"Nearer than the prior in rank agreement and in error for {better} of {len(every)} targets:"
            "\n\n" + "\n".join(lines))


def against(record: dict) -> str:
    """Say where the gain comes from, and what speaks against it."""
    targets = _targets(record)[1]
    means = {f"{m} {t}": measured(record, f"{m} {t}", targets).mean(axis=1) for t in TRUTHS
             for m in ("rank_agreement", "error")}
    ranks, about = means["rank_agreement flips"], pd.DataFrame(record["truths"])
    about = about[about.target.isin(targets)].mean(numeric_only=True)
    others = []
    for truth in TRUTHS[1:]:
        near = means[f"rank_agreement {truth}"]
        others.append(f"{TRUTH_NAMES[truth]} {number(near['steps'])} (the prior {number(near['prior'])}; "
                      f"nearest {NAMES[near.idxmax()]}, {number(near.max())})")
    tried = "; ".join(f"{NAMES[way]} {number(ranks[way])}" for way in TRIED)
    return (
        f"Where it comes from, mean of {_words(targets)}. When an attribute is flipped in the drawing its "
        f"own logit changes by {number(about['change'], 2)} on average; the prior counts "
        f"{number(about['y'], 2)}, a step {number(about['step'], 2)}; their cosine with the real change is "
        f"{number(about['cosine y'], 2)} and {number(about['cosine step'], 2)}. A derivative of the same "
        f"length has a rank agreement of {number(ranks['derivative'])}, the whole step "
        f"{number(ranks['steps'])}, and with a reach measured without labels "
        f"{number(ranks['unlabelled'])}. Rank agreement with the other "
        f"truths: {'; '.join(others)}.\n\nWhat else was tried, by rank agreement: {tried}.\n\n"
        "What speaks against it: an explanation of nothing but zeros has an error of 1, and steps have "
        f"{_beside(means['error flips'], ('steps', 'unlabelled', 'prior'))}, whose one factor is fitted to "
        "the scores. The contributions don't add up to the score. Of the reach with labels somebody has to "
        "tell which training faces have each attribute.")


def _beside(values: pd.Series, ways: tuple[str, ...]) -> str:
    """The value of the first way, and of the others with their names."""
    first, *others = ways
    return f"{number(values[first])}, " + ", ".join(f"{NAMES[way]} {number(values[way])}" for way in others)
