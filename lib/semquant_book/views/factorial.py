"""The trial as a map: every fit by how even its contributions are and how far from what is true.

Beside it, as a choice of its own, `semquant_book.study.factorial`: fits that vary what it holds fixed.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from semquant.checks import InputError
from semquant_book.figures.style import FAINT, INK, METHOD_COLOURS, WIDTH
from semquant_book.study import factorial
from semquant_book.study.hypotheses import ERROR, OPTIMIZERS, REGIMES, confirming, fits, regime, ways
from semquant_book.study.ranking import CORRECTED
from semquant_book.study.replicates import PERFORMER
from semquant_book.views.widgets import View, colours

__all__ = ["EVENNESS", "MEASURES", "FactorialExplorer", "explore", "figure"]

EVENNESS = "normalised_entropy"
#: What the map has upwards, in words; the entropies of the last are over part groups, in nats.
MEASURES = {ERROR: "rescaled error", "error average": "paper’s error", "error shapley": "raw error",
            "entropy shapley": "distance to the truth’s entropy"}
#: Ways that are lines in the map.
YARDSTICKS = {"gradient_times_input": "gradient × input", CORRECTED: "corrected", "prior": "prior alone"}


#: What the trial holds fixed, and the values that it has besides, in words; the first is the trial's.
VARIED = {
    "fading": ("Filter loss", {True: "as in the trial", False: f"{factorial.STRONG:g} throughout"}),
    "bias": ("b starts at", {"min": "the smallest score", "mean": "the mean score"}),
    "depth": ("g", {"small": "small", factorial.DEEPER: f"ResNet-{factorial.DEEPER}"}),
    "seed": ("Seed of g", {seed: str(seed) for seed in (0, *factorial.SEEDS)})}
FIELDS = ("optimizer", "start", "prior", "rate", "chosen", EVENNESS, *MEASURES)


class FactorialExplorer(View, script="charts factorial"):
    """Every fit of the trial by its evenness and its error, with arrows from the baseline to the chosen prior."""


def explore(record: dict, labels: Mapping[str, str], note: str = "", more: dict | None = None,
            more_note: str = "") -> FactorialExplorer:
    """Return the map of a record of the trial, of the performers that the tests are on, and of one of
    `semquant_book.study.factorial`; `labels`: of networks, a note to each."""
    tested = confirming(pd.DataFrame(record["performers"]).set_index([*PERFORMER]))
    if tested.empty:
        raise InputError("record: no performer that the tests are on; accepted: at least one")
    place = {about: k for k, about in enumerate(tested.index)}
    rows = confirming(fits(record)).reset_index()
    explained = ways(record)
    data = {
        "performers": [{"network": labels[network], "name": f"{labels[network]}, {category}, seed {seed}",
                        "entropy": float(tested["entropy shapley"].iloc[k])}
                       for (network, category, seed), k in place.items()],
        "fits": [{"performer": place[about]} | {name: _plain(row[name]) for name in FIELDS}
                 for about, (_, row) in zip(rows[[*PERFORMER]].itertuples(index=False, name=None), rows.iterrows())],
        "yardsticks": [{"name": words, "values": {
            measure: [_plain(explained[measure].get((*about, way))) for about in place]
            for measure in MEASURES if measure in explained}} for way, words in YARDSTICKS.items()],
        "optimizers": OPTIMIZERS, "evenness": EVENNESS, "measures": list(MEASURES.items()),
        "colours": colours()["methods"], "sets": [{"name": "the trial’s", "note": note}],
        "varied": []}
    if more:
        _add(data, more, labels, more_note)
    return FactorialExplorer(data=data)


def _add(data: dict, more: dict, labels: Mapping[str, str], note: str) -> None:
    """Add a second set of performers, and what is varied in it; values are numbered, 0 is the trial's."""
    rows, before = factorial.frame(more), len(data["performers"])
    numbers = {field: {value: k for k, value in enumerate(words)} for field, (_, words) in VARIED.items()}
    data["sets"].append({"name": ", ".join(dict.fromkeys(p["category"] for p in more["performers"]))
                         + " (choices were made on these)", "note": note})
    data["varied"] = [{"field": field, "label": label, "options": [*words.values()]}
                      for field, (label, words) in VARIED.items()]
    for p in more["performers"]:
        data["performers"].append({
            "network": labels[p["architecture"]], "set": 1, "fading": numbers["fading"][p["fading"]],
            "entropy": p["entropy shapley"], "name": f"{labels[p['architecture']]}, {p['category']}"
            + ("" if p["fading"] else f", filter loss {p['filter_loss']:g}")})
    for _, row in rows.iterrows():
        other = {field: numbers[field][row[field]] for field in VARIED}
        data["fits"].append({"performer": before + row["performer"]}
                            | {name: _plain(row[name]) for name in FIELDS}
                            | {field: k for field, k in other.items() if k})
    for line, way in zip(data["yardsticks"], YARDSTICKS):
        for measure, values in line["values"].items():
            values += [p["ways"].get(way, {}).get(measure) for p in more["performers"]]


def _plain(value: object) -> object:
    """The value as JSON has it; None of what is not there."""
    value = getattr(value, "item", lambda: value)()
    return None if value is None or value != value else value


def figure(record: dict) -> Figure:
    """Draw the map in each regime: an arrow from the baseline to ours for each performer, and their mean."""
    fitted = confirming(fits(record))
    fitted = fitted[fitted.chosen][[EVENNESS, ERROR]].astype(float)
    lines = confirming(ways(record))[ERROR].astype(float).groupby(level="method").mean()
    drawn, axes = plt.subplots(1, len(REGIMES), sharex=True, sharey=True, figsize=(WIDTH, 3.2))
    for ax, which in zip(axes, REGIMES):
        ax.plot(fitted[EVENNESS], fitted[ERROR], "o", color="#DDDDDD", markersize=2.5, zorder=0)
        pairs = fitted.xs(which, level=("optimizer", "start")).unstack("prior")
        x, y = (pairs[name][["none", "measured"]] for name in (EVENNESS, ERROR))
        there = x.notna().all(axis=1) & y.notna().all(axis=1)
        x, y = x[there].to_numpy(), y[there].to_numpy()
        _arrows(ax, x, y, size=3.5, alpha=0.6)
        if len(x):
            _arrows(ax, x.mean(axis=0, keepdims=True), y.mean(axis=0, keepdims=True), size=9, markeredgecolor=INK)
        for way, words in YARDSTICKS.items():
            if way in lines:
                ax.axhline(lines[way], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)))
                if ax is axes[0]:
                    ax.annotate(words, (0, lines[way]), (2, 2), xycoords=("axes fraction", "data"),
                                textcoords="offset points", fontsize=7.5)
        ax.set(title=regime(*which).replace(", ", ",\n"), yscale="log", xlabel="H / ln n")
        ax.yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("rescaled error against Shapley values")
    return drawn


def _arrows(ax: plt.Axes, x: pd.DataFrame, y: pd.DataFrame, size: float, **style) -> None:
    """Draw points (P, 2), (P, 2) from the baseline's to ours."""
    for (x0, x1), (y0, y1) in zip(x, y):
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "->", "color": FAINT, "linewidth": size / 4})
    for k, (method, mark) in enumerate((("baseline", "s"), ("ours", "o"))):
        ax.plot(x[:, k], y[:, k], mark, color=METHOD_COLOURS[method], markersize=size, **style)
