"""The page on when the paper's effect appears: the trial by regime, and the pilot it came from."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.pages.comparison import paper, paper_of, styled
from semquant_book.pages.findings import HOLDS, compared, number, percent, spread, told
from semquant_book.study.hypotheses import ERROR, REGIMES, confirming, fits, regime
from semquant_book.study.presets import project_root
from semquant_book.study.regimes import PRIORS, RATES, WATCHED
from semquant_book.study.replicates import LEAST, PERFORMER, Estimate, bootstrap, estimate
from semquant_book.study.store import read_record
from semquant_book.views import factorial, widgets
from semquant_book.views.factorial import EVENNESS

__all__ = ["by_rate", "by_regime", "changes", "controls", "crushed", "explore", "follows", "gains", "homes",
           "in_regime", "measures", "performers", "read", "regime", "said", "slopes", "started", "starts", "tried"]

AWAY = "entropy shapley"  # of a fit: how far its entropy over part groups is from the truth's
TRIAL = {EVENNESS: "H / ln n", AWAY: "distance to the truth's entropy", ERROR: "rescaled error"}
METRICS = {"normalised_entropy": ("H / ln n", 3), "error average": ("the paper's error", 3),
           "error_of_shares average": ("error of shares", 3), "deviation": ("relative deviation", 3)}


def performers(record: dict) -> pd.DataFrame:
    """Return what the trial keeps of the performers that the tests are on."""
    return confirming(pd.DataFrame(record["performers"]).set_index([*PERFORMER]))


def in_regime(record: dict, which: tuple[str, str], prior: str, metric: str) -> pd.Series:
    """Return a metric of the trial's fits that count, by performer that the tests are on."""
    frame = confirming(fits(record))
    return frame[frame.chosen].xs((*which, prior), level=("optimizer", "start", "prior"))[metric].astype(float)


def changes(record: dict, metric: str) -> dict[str, Estimate]:
    """Return, for each regime of the trial, how much more ours has of a metric than the baseline."""
    return {regime(*which): bootstrap(in_regime(record, which, "measured", metric)
                                      - in_regime(record, which, "none", metric)) for which in REGIMES}


def by_regime(record: dict) -> Styler:
    """Put baseline and ours of the trial side by side in every regime, with the difference within performers."""
    cells = {}
    for metric, words in TRIAL.items():
        cells[words, "baseline → ours"] = [" → ".join(
            number(in_regime(record, which, prior, metric).mean()) for prior in ("none", "measured")) for which in REGIMES]
        cells[words, "difference"] = [
            figures.with_interval(gain, 3, plus=True) for gain in changes(record, metric).values()]
    return styled(pd.DataFrame(cells, index=[regime(*which) for which in REGIMES]).T,
                  f"The trial's regimes, mean over {len(performers(record))} performers; ± is half the 95% "
                  "bootstrap interval")


def homes(record: dict) -> str:
    """Say in which regimes the entropy rises and falls, and where it comes nearer to the truth's own."""
    count, own = len(performers(record)), bootstrap(performers(record)["entropy shapley"].astype(float))
    beginning = f"The entropy over part groups of exact Shapley values is, in nats, {told(own, 2)}. "
    if count < LEAST:
        return f"{beginning}Fewer than {LEAST} performers have no interval, so that no regime is named."

    def where(metric: str, above: bool) -> str:
        named = [name.replace(", ", " from a ") for name, gain in changes(record, metric).items()
                 if compared(gain, above=above) == HOLDS]
        return f"with {', '.join(named[:-1])}{' and ' * (len(named) > 1)}{named[-1]}" if named else "in no regime"

    return (f"{beginning}The prior loss raises H / ln n {where(EVENNESS, True)}, and lowers it {where(EVENNESS, False)}. "
            f"It brings the entropy over part groups nearer to the truth's {where(AWAY, False)}, and further from it "
            f"{where(AWAY, True)}. Named is where the 95% interval lies on one side of 0.")


def explore(record: dict, more: dict) -> None:
    """Show the map of the trial, and of what it holds fixed, with the still figure of the trial."""
    widgets.show(factorial.explore(
        record, paper()["labels"], "Means are over performers; their intervals stand in the table above. H / ln n is over "
        "filters, the truth's entropy and the distance to it over part groups. Errors are against exact Shapley values, "
        "but for the paper's, whose truth is the fall of the score. The rate that counts is the one whose baseline fits "
        "the training scores best, for each performer.", more, "Means are over very few performers, of "
        "categories that choices were made on; there is no interval. The rate that counts is that of the fit "
        "with all else as in the trial."),
        factorial.figure(record),
        "Four panels, one for each regime: H / ln n against the rescaled error on a logarithmic axis, an arrow from the "
        "baseline to ours for each performer, and their mean, large. Lines are gradient times input, as it is and "
        "corrected, and the prior alone. The sentences above have the numbers.")


def read() -> dict:
    """Return the recorded factorial that comes with the project."""
    return read_record(project_root() / "book" / "records" / "regimes.json")


def measures(record: dict, metric: str) -> pd.DataFrame:
    """Return a metric of every fit with the rate taken: a row for each regime and performer, a column
    for each prior."""
    rows = pd.DataFrame(record["rows"])
    return rows[rows.chosen].pivot(index=["optimizer", "start", *PERFORMER], columns="prior", values=metric).astype(float)


def gains(record: dict, metric: str, prior: str = "measured") -> dict[str, Estimate]:
    """Return, for each regime, how much more a prior has of a metric than none, over performers."""
    values = measures(record, metric)
    return {regime(*which): estimate((values[prior] - values["none"]).loc[which]) for which in RATES}


def slopes(record: dict) -> Figure:
    """Draw H / ln n from the baseline to ours, a line for each network: the paper's, and each regime."""
    labels, values = paper()["labels"], measures(record, "normalised_entropy")
    panels = {"the paper": paper_of(record["settings"]["categories"]).T}
    for which in RATES:
        found = values.loc[which].groupby("architecture", sort=False).mean()
        panels[regime(*which).replace(", ", ",\n")] = found.rename(columns={"none": "baseline", "measured": "ours"})
    return figures.entropy_slopes({title: frame.rename(index=labels) for title, frame in panels.items()})


def said(record: dict) -> str:
    """Say for each regime what the prior loss does to the entropy and to both errors, in Markdown."""
    lines = []
    entropy, raw, shares = (gains(record, metric) for metric in list(METRICS)[:3])
    for name, gain in entropy.items():
        above = sum(v > 0 for v in gain.values)
        lines.append(f"- **{name}**: H / ln n {told(gain, plus=True)}, higher in {above} of "
                     f"{len(gain.values)}; the paper's error {told(raw[name], plus=True)}, error of "
                     f"shares {told(shares[name], plus=True)}.")
    printed = paper_of(record["settings"]["categories"])
    most = (printed.loc["ours"] - printed.loc["baseline"]).mean()
    return ("Ours minus the baseline, 95% intervals over performers (the paper's entropy, of the same "
            f"categories: {number(most, 3, plus=True)}):\n\n" + "\n".join(lines))


def by_rate(record: dict) -> Styler:
    """Show what the rate does where the effect is: SGD from a high start, from the lowest rate up."""
    rows = pd.DataFrame(record["rows"])
    rows = rows[(rows.optimizer == WATCHED[0]) & (rows.start == WATCHED[1])]
    cells, taken = {}, rows[rows.chosen & (rows.prior == "none")].rate.value_counts()
    for rate, some in rows.groupby("rate"):
        cell = cells.setdefault(f"{rate:g}", {("taken for", "networks"): str(taken.get(rate, 0))})
        for metric, (words, digits) in METRICS.items():
            values = some.pivot(index=list(PERFORMER), columns="prior", values=metric)
            values = values[["none", "measured"]].astype(float).dropna()  # both over the same
            for prior, method in (("none", "baseline"), ("measured", "ours")):
                cell[words, method] = figures.with_interval(estimate(values[prior]), digits)
    frame = pd.DataFrame(cells).T
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return styled(frame, f"{regime(*WATCHED)}, by learning rate, mean over {_performers(record)} "
                   "performers; a cell without ± is over fewer, since a fit left no contribution")


def controls(record: dict) -> str:
    """Say how much of the measured prior's gain priors bring that know nothing, in Markdown."""
    found = []
    for name, gain in gains(record, "normalised_entropy").items():
        if not gain.known or gain.low <= 0:
            continue
        others = {prior: gains(record, "normalised_entropy", prior)[name]
                  for prior in ("uniform", "permuted")}
        found.append(f"{name}: {percent(others['uniform'].value / gain.value)} by a uniform prior, "
                     f"{percent(others['permuted'].value / gain.value)} by one whose weights are "
                     "those of other filters")
    if not found:
        best, others = regime(*WATCHED), gains(record, "normalised_entropy")
        known = (gains(record, "normalised_entropy", prior)[best].value for prior in PRIORS[2:])
        return ("In no regime is a gain in entropy told from zero. With {}, priors that know nothing bring {} "
                "(uniform) and {} (permuted), where the measured one brings {}.").format(
                    best, *(number(v, plus=True) for v in (*known, others[best].value)))
    return f"Of the gain in entropy a prior that knows nothing brings, with {'; with '.join(found)}."


def starts(record: dict) -> str:
    """Say how far above the scores the sum starts."""
    rows = pd.DataFrame(record["rows"])
    rows = rows[rows.chosen & (rows.prior == "none")]
    found = {start: g.start_ratio for start, g in rows.groupby("start")}
    return "; ".join(f"a {start} start is {number(values.min(), 1)} to {number(values.max(), 1)} times "
                     "the scores' mean size" for start, values in sorted(found.items(), reverse=True))


def follows(record: dict) -> str:
    """Say how the baselines' weights go with the filters' values, from network to network."""
    values = measures(record, "follows_y")["none"]
    return "; ".join(f"{regime(*which)} {spread(values.loc[which])}" for which in RATES)


def started(record: dict) -> str:
    """Say where the sum starts, and how weights go with values at the end."""
    return (f"Where the sum starts, over the networks: {starts(record)}. The rank correlation of the baselines' mean "
            f"weights with the filters' mean values, over the networks: {follows(record)}.")


def crushed(record: dict, architecture: str) -> Figure:
    """Draw what the baseline's fit did to each filter's weight, against the filter's value."""
    found = {regime(*which): next(
        w for w in record["weights"] if w["architecture"] == architecture and w["prior"] == "none"
        and (w["optimizer"], w["start"]) == which) for which in RATES}
    return figures.weight_changes(found)


def tried(record: dict) -> pd.DataFrame:
    """Return the rates that were tried, and the mean squared error that each left."""
    rates = pd.DataFrame(record["rates"])
    rates["regime"] = [regime(o, s) for o, s in zip(rates.optimizer, rates.start)]
    shown = [("diverged" if error != error else number(error, 2)) + " (taken)" * chosen
             for error, chosen in zip(rates.squared_error.astype(float), rates.chosen)]
    labels = rates.architecture.map(paper()["labels"])
    return rates.assign(left=shown, network=labels).pivot(
        index=["regime", "rate"], columns="network", values="left")


def _performers(record: dict) -> int:
    return len(pd.DataFrame(record["rows"])[list(PERFORMER)].drop_duplicates())
