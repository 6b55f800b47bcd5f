"""What would be better: the correction on one performer, in the trial, and against every truth there is."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant import corrected
from semquant.distillation import FittedExplainer
from semquant_book import figures
from semquant_book.datasets.names import METHODS
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages import funnybirds, interventions, ranking, trials
from semquant_book.pages.comparison import styled
from semquant_book.pages.findings import number
from semquant_book.study.hypotheses import ERROR, regime
from semquant_book.study.ranking import Bench, explained_in
from semquant_book.study.replicates import Estimate, bootstrap, estimate

__all__ = ["WAYS", "all_truths", "elsewhere", "everywhere", "without_the_gradient"]

#: A way here, in the trial, in other records' experiments with animals, and in that with birds.
FITTED = regime("adamw", "fitting")
WAYS = {
    "gradient times input, corrected": ("corrected", "corrected", "corrected"),
    **{ranking.NAMES[way]: (way, way, way if way != "mean_share" else None) for way in (
        "gradient_times_input", "integrated_gradients", "deeplift", "shapley_sampling", "feature_ablation",
        "prior", "mean_share", "ridge", "nonnegative", "equal_share", "random")},
    "ours": (f"ours, {FITTED}", "ours_scaled", "ours"),
    "baseline": (f"baseline, {FITTED}", "baseline_scaled", "baseline")}


def all_truths() -> pd.DataFrame:
    """Return the rescaled error of every way against each truth, `Estimate` or None, over performers
    that had no say in any choice (the trial's) or those that there are."""
    trial, birds = trials.read(), pd.DataFrame(funnybirds.read()["rows"]).set_index("method")
    drawn = interventions.read()["animals"]
    found = {}
    for metric, words in trials.PANELS.items():
        values = trials.errors(trial, metric)
        count, words = int(values.notna().sum(axis=1).max()), words.replace(", ", ",\n")
        found[f"network,\n{words}\n({count} performers)"] = {
            name: _mean(values, ranking.NAMES.get(keys[0], keys[0]), bootstrap) for name, keys in WAYS.items()}
    values = ranking.measured(drawn, f"{ERROR} picture")
    found[f"drawing,\nparts erased,\nShapley values\n({len(drawn['truths'])} performers)"] = {
        name: _mean(values, keys[1], estimate) for name, keys in WAYS.items()}
    found["FunnyBirds,\nrenders,\nShapley values\n(1 performer)"] = {
        name: estimate([birds.at[keys[2], ERROR]]) if keys[2] in birds.index else None for name, keys in WAYS.items()}
    return pd.DataFrame(found).astype(object).where(lambda frame: frame.notna(), None)


def _mean(values: pd.DataFrame, way: str, over) -> Estimate | None:
    return over(values.loc[way]) if way in values.index and values.loc[way].notna().any() else None


def everywhere() -> Figure:
    """Draw `all_truths`."""
    return figures.error_grid(all_truths(), {m: METHOD_COLOURS[m] for m in METHODS})


def elsewhere() -> str:
    """Say of each truth which way comes nearest, and where the correction stands, in Markdown."""
    lines, own = [], "gradient times input, corrected"
    for truth, cells in all_truths().items():
        known = {name: cell for name, cell in cells.items() if cell is not None}
        order = sorted(known, key=lambda name: known[name].value)
        words = truth.replace("\n", " ")
        if own not in known:
            lines.append(f"- **{words}**: nearest {order[0]} ({number(known[order[0]].value)}); the correction was not asked.")
            continue
        lines.append(f"- **{words}**: nearest {order[0]} ({figures.with_interval(known[order[0]])}); the correction "
                     f"{figures.with_interval(known[own])}, place {order.index(own) + 1} of {len(order)}; gradient "
                     f"times input {figures.with_interval(known['gradient times input'])}.")
    return "\n".join(lines)


def without_the_gradient(bench: Bench, train, removals) -> Styler:
    """Compare, on one performer, the correction with what it starts from, with its network alone, and with
    ways that run the network many times."""
    shown = bench.shown
    alone, _ = corrected.correct(replace(train, w=train.w * 0), removals)
    rows = {"the same network without the gradient": bench.judge(
        FittedExplainer(alone).explain_measured(replace(shown, w=shown.w * 0)))}
    for way in ("corrected", "gradient_times_input", "integrated_gradients", "shapley_sampling"):
        said, seconds = explained_in(bench.run, way, bench.head, shown, bench.background)
        rows[ranking.NAMES[way]] = bench.judge(said) | {"seconds": seconds / len(shown)}
    cells = {"rescaled error": [number(row[ERROR]) for row in rows.values()],
             "rank agreement": [number(row["rank_agreement shapley"]) for row in rows.values()],
             "ms an image": [number(1000 * row["seconds"], 2) if "seconds" in row else "\N{EM DASH}" for row in rows.values()]}
    return styled(pd.DataFrame(cells, index=list(rows)),
                  f"One performer, {len(shown)} images, against exact Shapley values; no interval")
