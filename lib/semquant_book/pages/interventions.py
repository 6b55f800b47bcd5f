"""The page of parts erased in the picture: a strip of drawings, and a recorded run's tables and sentences."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
import torch
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import METHODS, label
from semquant_book.figures.style import METHOD_COLOURS, signed
from semquant_book.pages import ranking
from semquant_book.pages.comparison import paper, styled
from semquant_book.pages.findings import number, percent, told
from semquant_book.study import experiment1
from semquant_book.study.interventions import erased, erasing, players_of
from semquant_book.study.presets import project_root
from semquant_book.study.ranking import TRUTHS, recognised
from semquant_book.study.replicates import LEAST, Estimate, estimate
from semquant_book.study.store import read_record

__all__ = ["comparison", "faces", "falling", "hidden", "interacting", "interactions", "methods", "network", "photographs", "read",
           "strip", "table", "truths"]

NAMES = ranking.NAMES | {f"filters_{truth}": f"filters removed: {ranking.TRUTH_NAMES[truth]}" for truth in TRUTHS}
PLACES = {"picture": "parts erased in the picture", "network": "filters removed in the network"}
HIDING = {"blurred": "boxes blurred", "mean": "boxes of the mean colour"}
MISSING = "The record was made without this part."
RANKED = {"rescaled_error": "rescaled error", "rank_agreement": "rank agreement"}


def read() -> dict:
    """Return the record that comes with the project."""
    return read_record(project_root() / "book" / "records" / "interventions.json")


def strip(run: experiment1.Run, index: int | None = None) -> Figure:
    """Show a drawn test image, by default the first that is recognised, then without each of its part
    groups and without all, and the scores."""
    test, players = run.images("test"), players_of(run.category)
    index = int(recognised(run, 1)[0]) if index is None else index
    values, whole = erasing(run, torch.tensor([index]))[0], 2 ** len(players) - 1
    shown = {"as it is": whole, **{f"no {name}": whole ^ 1 << p for p, name in enumerate(players)}, "no part": 0}
    pictures = erased(test.ids[index], test.images.shape[-1])[list(shown.values())]
    labels = [f"{words}: {signed(float(values[mask]))}" for words, mask in shown.items()]
    return figures.sample_sheet(pictures, labels, columns=5)


def comparison(record: dict, measure: str = "rescaled_error", truth: str = "shapley") -> Figure:
    """Draw a measure of every way against the truth in the picture and that in the network, a dot for
    each performer."""
    panels = {words: ranking.measured(record["animals"], f"{measure} {truth} {place}").drop(
        index=[f"filters_{name}" for name in TRUTHS]).rename(NAMES) for place, words in PLACES.items()}
    return figures.ranking(panels, {m: METHOD_COLOURS[m] for m in METHODS},
                           panels if measure == "rescaled_error" else ())


def table(record: dict, truth: str = "shapley") -> Styler:
    """Give the distances of every way from the truth in both places, the nearest to the picture first;
    the truths in the network are two more ways."""
    count = len(record["animals"]["truths"])
    return _table(record["animals"], PLACES, truth,
                  f"Against {ranking.TRUTH_NAMES[truth]}, mean over {count} performers; "
                  + ("± is half the 95% interval" if count >= LEAST else "too few for an interval"))


def _table(part: dict, places: dict[str, str], truth: str, caption: str) -> Styler:
    order = ranking.measured(part, f"rescaled_error {truth} {next(iter(places))}").index
    cells = {f"{RANKED[measure]}, {words}": [
        figures.with_interval(estimate(ranking.measured(part, f"{measure} {truth} {place}").loc[way])) for way in order]
        for place, words in places.items() for measure in RANKED}
    return styled(pd.DataFrame(cells, index=[NAMES[way] for way in order]), caption)


def network(record: dict, truth: str = "shapley") -> str:
    """Say how near the truth in the network comes to that in the picture, and which way comes nearest."""
    own, lines = f"filters_{truth}", []
    for measure, words in RANKED.items():
        values = ranking.measured(record["animals"], f"{measure} {truth} picture")
        first = next(way for way in values.index if not way.startswith("filters"))
        lines.append(f"- **{words}**: filters removed in the network {told(estimate(values.loc[own]))}, place "
                     f"{values.index.get_loc(own) + 1} of {len(values)}; of the explanations {NAMES[first]} comes "
                     f"nearest, {told(estimate(values.loc[first]))}.")
    orders = [ranking.measured(record["animals"], f"rescaled_error {truth} {place}").mean(axis=1) for place in PLACES]
    both = pd.concat(orders, axis=1).drop(index=[f"filters_{name}" for name in TRUTHS]).rank().corr().iloc[0, 1]
    return (f"{ranking.TRUTH_NAMES[truth].capitalize()} of filters removed in the network, against those of parts "
            "erased in the picture, 95% intervals over performers:\n\n" + "\n".join(lines)
            + f"\n\nThe {len(orders[0]) - len(TRUTHS)} ways, ordered by the mean rescaled error in each of the two places: "
              f"the two orders have a rank correlation of {number(both, 2)}.")


def methods(record: dict, truth: str = "shapley") -> str:
    """Say whether ours is nearer than the baseline to the truth in each place, and whether both agree."""
    lines = []
    for way in ranking.OURS:
        gaps = {}
        for place in PLACES:
            values = ranking.measured(record["animals"], f"rescaled_error {truth} {place}")
            gaps[place] = estimate(values.loc[way] - values.loc[way.replace("ours", "baseline")])
        said = [_side(gap) for gap in gaps.values()]
        parts = "; ".join(f"{PLACES[place]} {told(gap, plus=True)}, {words}"
                          for (place, gap), words in zip(gaps.items(), said))
        agree = f" The two truths {'agree' if len(set(said)) == 1 else 'differ'}."
        lines.append(f"- **{NAMES[way]}**: {parts}." + agree * all(gap.known for gap in gaps.values()))
    return "Rescaled error of ours minus that of the baseline:\n\n" + "\n".join(lines)


def _side(gap: Estimate) -> str:
    if not gap.known:
        return "too few performers to tell"
    if gap.low <= 0 <= gap.high:
        return "no detectable difference"
    return "ours is nearer" if gap.high < 0 else "the baseline is nearer"


def truths(record: dict) -> Styler:
    """Describe the truth in both places, a column for each performer."""
    rows, cells = record["animals"]["truths"], {}
    for about in rows:
        column = {"images": str(about["images"]), "groups with filters, of all":
                  f"{sum(count > 0 for count in about['filters'])} of {len(about['groups'])}"}
        for place, words in PLACES.items():
            column[f"{words}: non-linearity"] = number(about[place]["nonlinearity"])
            column[f"{words}: Shapley values below 0"] = percent(about[place]["negative shapley"])
            column[f"{words}: H"] = number(about[place]["entropy shapley"], 2)
        means = about["picture"]["mean shapley"]
        column["of the picture's sum, parts without filters"] = percent(
            sum(mean for mean, count in zip(means, about["filters"]) if not count) / sum(means))
        cells[paper()["labels"][about["architecture"]]] = column
    return styled(pd.DataFrame(cells), "The truth of each performer, in the picture and in the network")


def falling(record: dict) -> str:
    """Say how much of y filters lose when the part that they are named after is erased, or another one."""
    own, others = [], []
    for about in record["animals"]["truths"]:
        named = [p for p, count in enumerate(about["filters"]) if count]
        lost = pd.DataFrame(about["falls"]).iloc[:, named].astype(float)
        own.append(sum(lost.loc[p, p] for p in named) / len(named))
        others.append((lost.to_numpy().sum() - own[-1] * len(named)) / (lost.size - len(named)))
    return ("Do the filters see the part that they are named after? When it is erased in the picture, the $y$ of a part's "
            f"filters falls by {told(estimate(own), 1, percent=True)}, averaged over parts; when another part is, by "
            f"{told(estimate(others), 1, percent=True)}.")


def interactions(record: dict, target: str) -> Styler | Markdown:
    """Give the mean interaction of each pair of flipped attributes, in score units; on the diagonal the
    mean size of the single flip."""
    if record["faces"] is None:
        return Markdown(MISSING)
    names, about = [label(name) for name in record["faces"]["attributes"]], record["faces"]["targets"][target]
    cells = [[signed(value, 2) if p != q else number(about["single"][p], 2) for q, value in enumerate(row)]
             for p, row in enumerate(about["pairs"])]
    return styled(pd.DataFrame(cells, names, names), f"Score of {label(target).lower()}, mean of "
                                                     f"{record['faces']['faces']} faces")


def interacting(record: dict) -> str:
    """Say for each target how far it is from a sum, and which pair of attributes interacts most."""
    if record["faces"] is None:
        return MISSING
    names, lines = [label(name).lower() for name in record["faces"]["attributes"]], []
    for target, about in record["faces"]["targets"].items():
        p, q = max(combinations(range(len(names)), 2), key=lambda pair: about["sizes"][pair[0]][pair[1]])
        single = sum(about["single"]) / len(names)
        lines.append(
            f"- **{label(target)}**: non-linearity {number(about['truth']['nonlinearity'])}; most of all {names[p]} and "
            f"{names[q]} interact, {number(about['sizes'][p][q], 2)} in size on average, where a single flip changes "
            f"the score by {number(single, 2)}; Shapley values below 0: {percent(about['truth']['negative shapley'])}.")
    return "\n".join(lines) + "\n\nThere is one performer, so that nothing here has an interval."


def faces(record: dict, truth: str = "shapley") -> Styler | Markdown:
    """Give each way's distance from the truth by flipping, for each target."""
    if record["faces"] is None:
        return Markdown(MISSING)
    cells = {f"{label(target).lower()}, {RANKED[measure]}": {
        NAMES.get(row["method"], row["method"]): number(row[f"{measure} {truth}"]) for row in about["rows"]}
        for target, about in record["faces"]["targets"].items() for measure in RANKED}
    return styled(pd.DataFrame(cells), f"Against {ranking.TRUTH_NAMES[truth]} of {len(record['faces']['attributes'])} "
                                       f"attributes, {record['faces']['faces']} faces; one performer, no interval")


def photographs(record: dict, truth: str = "shapley") -> Styler | Markdown:
    """Give each way's distance from the truth in photographs, by what hidden boxes show; without a
    folder of photographs there is none."""
    if record["photographs"] is None:
        return Markdown(MISSING)
    (about,) = record["photographs"]["truths"]
    return _table(record["photographs"], HIDING | {"network": PLACES["network"]}, truth,
                  f"Against {ranking.TRUTH_NAMES[truth]} of {about['images']} photographs; one performer, no interval")


def hidden(record: dict, truth: str = "shapley") -> str:
    """Say for each of what hidden boxes show which way comes nearest and where others stand, and what the
    boxes say of a part that its filters don't."""
    if record["photographs"] is None:
        return MISSING
    (about,), lines = record["photographs"]["truths"], []
    for place, words in HIDING.items():
        values = ranking.measured(record["photographs"], f"rescaled_error {truth} {place}").iloc[:, 0]
        ways = values.drop(index=[f"filters_{name}" for name in TRUTHS]).sort_values(kind="stable")
        others = "; ".join(f"{NAMES[way]} {number(ways[way])}, place {ways.index.get_loc(way) + 1}" for way in
                           ("gradient_times_input", "prior", "ours_scaled", "baseline_scaled") if way != ways.index[0])
        lines.append(f"- **{words}**: of {len(ways)} ways {NAMES[ways.index[0]]} comes nearest, rescaled error "
                     f"{number(ways.iloc[0])}; {others}. Filters removed in the network, taken as one more: "
                     f"{number(values[f'filters_{truth}'])}.")
    means = {place: about[place][f"mean {truth}"] for place in (*HIDING, "network")}
    shares = {place: [value / sum(each) for value in each] for place, each in means.items()}
    p = max(range(len(about["groups"])), key=lambda p: shares["blurred"][p] - shares["network"][p])
    return (f"{about['images']} photographs of {about['category']}s, one performer on the pretrained trunk, no interval:\n\n"
            + "\n".join(lines) + f"\n\nWhat the two kinds of truth differ in most is the {about['groups'][p]}: of the score "
            f"{percent(shares['blurred'][p])} with its box blurred and {percent(shares['mean'][p])} with one of the mean colour, "
            f"{percent(shares['network'][p])} by the {about['filters'][p]} filters with its name.")
