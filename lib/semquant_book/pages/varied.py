"""What the trial holds fixed, varied: where b starts, the filter loss, depth and seeds of g."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from semquant.explanation import UNASSIGNED
from semquant_book.pages.comparison import paper, styled
from semquant_book.pages.findings import number, percent, spread
from semquant_book.study.factorial import RECORD, STRONG, frame
from semquant_book.study.hypotheses import ERROR, HOME, REGIMES, regime
from semquant_book.study.presets import project_root
from semquant_book.study.store import read_record

__all__ = ["ARMS", "MEASURES", "arms", "differences", "progress", "read", "said", "table"]

#: What is varied, by its fields; all else is as in the trial.
FIXED = {"fading": True, "bias": "min", "depth": "small"}
ARMS = {
    "as in the trial": {"seed": 0},
    "b from the mean score": {"bias": "mean", "seed": 0},
    f"filter loss {STRONG:g} throughout": {"fading": False, "seed": 0},
    "both of these": {"fading": False, "bias": "mean", "seed": 0},
    "g a ResNet-18": {"depth": 18, "seed": 0},
    "other seeds of g": {}}
#: What is compared, in words, and the digits that it is written with.
MEASURES = {"normalised_entropy": ("H / ln n", 3), "entropy": ("H in nats", 2), ERROR: ("rescaled error", 3),
            "entropy shapley": ("distance to the truth's entropy", 3)}


def read() -> dict:
    """Return the record that comes with the project."""
    return read_record(project_root() / "book" / "records" / f"{RECORD}.json")


def arms(record: dict) -> dict[str, pd.DataFrame]:
    """Return the fits of each of `ARMS`, with the rate that counts, a row for each performer, seed and regime, a
    column for each measure and prior; of seeds those performers that have more than one."""
    rows, found = frame(record), {}
    for name, fields in ARMS.items():
        wanted = pd.Series(FIXED | fields)
        some = rows[rows.chosen & rows[[*wanted.index]].eq(wanted).all(axis=1)]
        if "seed" not in fields:
            some = some[some.groupby("performer").seed.transform("nunique") > 1]
        if len(some):
            found[name] = some.pivot(index=["optimizer", "start", "performer", "seed"], columns="prior",
                                     values=[*MEASURES]).astype(float)
    return found


def differences(found: pd.DataFrame, which: tuple[str, str], metric: str, of: str = "measured") -> list[float]:
    """Return what a prior adds to a metric in a regime, in each pair of fits of an arm that did not diverge."""
    if not {of, "none"} <= set(found[metric]) or which not in {key[:2] for key in found.index}:
        return []
    values = found.loc[which][metric]
    return (values[of] - values["none"]).dropna().tolist()


def table(record: dict) -> Styler:
    """Show what the prior loss adds to entropy and error, for each of `ARMS` and regime."""
    cells = {}
    for metric, (words, digits) in list(MEASURES.items())[:3]:
        for name, found in arms(record).items():
            cells[words, f"{name} ({_counted(found)})"] = [
                _range(differences(found, which, metric), digits, plus=True) for which in REGIMES]
    return styled(pd.DataFrame(cells, index=[regime(*which) for which in REGIMES]).T,
                  "Ours minus the baseline; of several performers, or seeds, from the lowest to the highest. There is no interval: "
                  "few performers, of categories that choices were made on")


def progress(record: dict) -> str:
    """Say how much of what is planned there is, and of which performers."""
    labels, planned = paper()["labels"], record["planned"]
    there = [f"{labels[p['architecture']]} for {p['category']}s"
             + ("" if p["fading"] else f", filter loss {p['filter_loss']:g} throughout") for p in record["performers"]]
    return (f"{len(record['fits'])} of {planned['fits']} fits that were planned are run, to {len(there)} of {planned['performers']} "
            f"performers ({'; '.join(there)}). Choices were made on these animals, and so few performers have no interval.")


def said(record: dict) -> str:
    """Say how far the plan came, for each of `ARMS` where entropy and error rise and fall, and how the fits stand
    to what is true, in Markdown."""
    found = arms(record)
    lines = [f"- **{name}** ({_counted(some)}): H / ln n {_ways(some, 'normalised_entropy')}; the rescaled error "
             f"{_ways(some, ERROR)}." for name, some in found.items()]
    lines += [_unknowing(record), _truth(record), _beside(record), *_strong(record)]
    return f"{progress(record)}\n\n" + "\n".join(lines)


def _ways(found: pd.DataFrame, metric: str) -> str:
    """Say in which regimes a metric rises in every pair of fits, in which it falls, and in which it does both."""
    named: dict[str, list[str]] = {}
    for which in REGIMES:
        values = differences(found, which, metric)
        if values:
            up = sum(v > 0 for v in values)
            verb = "rises" if up == len(values) else "falls" if not any(v > 0 for v in values) else "goes both ways"
            named.setdefault(verb, []).append(regime(*which).replace(", ", " from a "))
    return ", ".join(f"{verb} with {_and(names)}" for verb, names in named.items())


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])}{' and ' * (len(names) > 1)}{names[-1]}"


def _unknowing(record: dict) -> str:
    """How much of the measured prior's gain, where the paper's effect is, others bring."""
    rows = frame(record)
    rows = rows[rows.chosen & (rows.depth == "small") & (rows.seed == 0)]
    rows = rows[(rows.optimizer == HOME[0]) & (rows.start == HOME[1])]
    values = rows.pivot(index=["performer", "bias"], columns="prior", values="normalised_entropy").astype(float)
    gains = values.sub(values["none"], axis=0).reindex(columns=["measured", "uniform", "permuted"]).dropna()
    gains = gains[gains.measured > 0]
    if gains.empty:
        return f"- **Priors that know nothing**: the measured prior brings no gain with {regime(*HOME)}."
    shares = gains.div(gains.measured, axis=0)
    return (f"- **Priors that know nothing**: of the measured prior's gain in H / ln n with {regime(*HOME)} a uniform one "
            f"brings {spread(shares.uniform, 0, percent=True)}, a permuted one {spread(shares.permuted, 0, percent=True)} "
            f"(performers and starts of b: {len(shares)}).")


def _truth(record: dict) -> str:
    """Whether entropies come nearer to the truth's own where they rise."""
    own = [p["entropy shapley"] for p in record["performers"]]
    moved = [v for name, some in arms(record).items() if "seed" in ARMS[name] for v in differences(some, HOME, "entropy shapley")]
    return (f"- **The truth's own entropy** over part groups is {spread(own)} nats. With {regime(*HOME)} the prior loss brings the "
            f"explanation's nearer to it in {sum(v < 0 for v in moved)} of {len(moved)} pairs of fits.")


def _beside(record: dict) -> str:
    """How many fits are nearer to the truth than what needs none."""
    rows = frame(record)
    rows, said = rows[rows.chosen & rows[ERROR].notna()], []
    for way, words in (("gradient_times_input", "gradient × input"), ("prior", "the prior alone")):
        line = rows.performer.map({k: p["ways"][way][ERROR] for k, p in enumerate(record["performers"])})
        said.append(f"that of {words} ({spread(line, 3)}) in {int((rows[ERROR] > line).sum())}")
    return (f"- **Beside what needs no explainer**: of {len(rows)} fits, with rescaled errors of {spread(rows[ERROR], 3)}, the error is "
            f"above {' and above '.join(said)}.")


def _strong(record: dict) -> list[str]:
    """What the filter loss does to the prior, and to the entropy where the sum starts where the scores are."""
    lines, found = [], arms(record)
    about = {(p["architecture"], p["category"], p["fading"]): (k, p) for k, p in enumerate(record["performers"])}
    for (architecture, category, fading), (strong, p) in about.items():
        if fading or (architecture, category, True) not in about:
            continue
        usual, before = about[architecture, category, True]
        gaps = []
        for name, k in (("as in the trial", usual), (f"filter loss {STRONG:g} throughout", strong)):
            values = found[name].xs((*REGIMES[-1], k, 0))["entropy"]
            gaps.append(number(values["measured"] - values["none"], 2, plus=True))
        lines.append(
            f"- **A strong filter loss**, {category}s: the share of the prior's weights above 0 goes from "
            f"{percent(before['speaking'])} to {percent(p['speaking'])}, and what the prior loss adds to the entropy with "
            f"{regime(*REGIMES[-1])} from {gaps[0]} to {gaps[1]} nats; accuracy from {percent(before['accuracy'], 1)} to "
            f"{percent(p['accuracy'], 1)}; part groups with filters of their own from {_groups(before)} to {_groups(p)}.")
    return lines


def _groups(performer: dict) -> int:
    return len([name for name in performer["groups"] if name != UNASSIGNED])


def _counted(found: pd.DataFrame) -> str:
    performers, seeds = (found.index.get_level_values(name).nunique() for name in ("performer", "seed"))
    return f"{performers} performer{'s' * (performers != 1)}" + f", {seeds} seeds" * (seeds > 1)


def _range(values: Sequence[float], digits: int, plus: bool = False) -> str:
    """A number, or the lowest and the highest of several; a dash without any."""
    ends = [number(f(values, default=None), digits, plus=plus) for f in (min, max)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
