"""What the trial holds fixed, varied: where b starts, the filter loss, depth and seeds of g."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from pandas.io.formats.style import Styler

from semquant.explanation import UNASSIGNED
from semquant_book.pages.comparison import paper, styled
from semquant_book.pages.findings import number, percent
from semquant_book.study.factorial import DEEPER, RECORD, STRONG, frame
from semquant_book.study.hypotheses import ERROR, HOME, REGIMES, regime
from semquant_book.study.presets import project_root
from semquant_book.study.regimes import PRIORS
from semquant_book.study.store import read_record

__all__ = ["ARMS", "arms", "differences", "progress", "read", "said", "table"]

FIXED = {"fading": True, "bias": "min", "depth": "small"}
USUAL, STRONGLY, DEEP = "as in the trial", f"filter loss {STRONG:g} throughout", f"g a ResNet-{DEEPER}"
#: What is varied, by its fields; all else is as in `FIXED`.
ARMS = {USUAL: {"seed": 0}, "b from the mean score": {"bias": "mean", "seed": 0},
        STRONGLY: {"fading": False, "seed": 0},
        "both of these": {"fading": False, "bias": "mean", "seed": 0},
        DEEP: {"depth": DEEPER, "seed": 0}, "other seeds of g": {}}
LEFT = "squared_error"  # of training scores, in the last epoch
EVEN, OWN = "normalised_entropy", "entropy shapley"  # H / ln n; the distance to the truth's entropy
#: What the table has, in words, and its digits.
MEASURES = {EVEN: ("H / ln n", 3), "entropy": ("H in nats", 2), ERROR: ("rescaled error", 3)}


def read() -> dict:
    """Return the record that comes with the project."""
    return read_record(project_root() / "book" / "records" / f"{RECORD}.json")


def arms(record: dict) -> dict[str, pd.DataFrame]:
    """Return the fits of each of `ARMS`, with the rate that counts.

    A row for each regime, performer and seed, a column for each measure and prior; of seeds those of
    performers that have more than one. What has no pair of fits is left out.
    """
    rows, found = frame(record), {}
    for name, fields in ARMS.items():
        wanted = pd.Series(FIXED | fields)
        some = rows[rows.chosen & rows[[*wanted.index]].eq(wanted).all(axis=1)]
        if "seed" not in fields:
            some = some[some.groupby("performer").seed.transform("nunique") > 1]
        some = some.pivot(index=["optimizer", "start", "performer", "seed"], columns="prior",
                          values=[*MEASURES, OWN, LEFT]).astype(float)
        if len(some) and any(differences(some, which, EVEN) for which in REGIMES):
            found[name] = some
    return found


def differences(found: pd.DataFrame, which: tuple[str, str], metric: str,
                of: str = "measured") -> list[float]:
    """Return what a prior adds to a metric in a regime, in each pair of an arm's fits that came through."""
    if not {of, "none"} <= set(found[metric]) or which not in {key[:2] for key in found.index}:
        return []
    values = found.loc[which][metric]
    return (values[of] - values["none"]).dropna().tolist()


def table(record: dict) -> Styler:
    """Show what the prior loss adds to entropy and error, for each of `ARMS` and regime."""
    cells = {}
    for metric, (words, digits) in MEASURES.items():
        for name, found in arms(record).items():
            cells[words, f"{name} ({_counted(found)})"] = [
                _range(differences(found, which, metric), digits, plus=True) for which in REGIMES]
    shown = styled(pd.DataFrame(cells, index=[regime(*which) for which in REGIMES]).T,
                   "Ours minus the baseline; of several performers, or seeds, from the lowest to the "
                   "highest. There is no interval: few performers, of categories that choices were made on")
    return shown.set_properties(**{"white-space": "normal"})  # ranges may be wrapped


def progress(record: dict) -> str:
    """Say how much of what is planned there is, and of which performers."""
    labels, planned = paper()["labels"], record["planned"]
    there = [f"{labels[p['architecture']]} for {p['category']}s" + ("" if p["fading"] else f", {STRONGLY}")
             for p in record["performers"]]
    return (f"{len(record['fits'])} of {planned['fits']} fits that were planned are run, to {len(there)} "
            f"of {planned['performers']} performers ({'; '.join(there)}). Choices were made on these "
            "animals, and so few performers have no interval.")


def said(record: dict) -> str:
    """Say how far the plan came, for each of `ARMS` where entropy and error rise and fall, and how the fits
    stand to what is true, in Markdown."""
    lines = [_whole(record)]
    lines += [f"- **{name}** ({_counted(some)}): H / ln n {_ways(some, EVEN)}; the rescaled error "
              f"{_ways(some, ERROR)}." for name, some in arms(record).items()]
    lines += [*_deep(record), _unknowing(record), _truth(record), _beside(record), *_strong(record)]
    return f"{progress(record)}\n\n" + "\n".join(lines)


def _whole(record: dict) -> str:
    """In how many of all pairs of fits entropy rises and error falls, in its home and elsewhere."""
    rows = frame(record)  # a deeper g has the small one's rates, and may fit nothing
    values = rows[rows.chosen & (rows.depth == "small")].pivot(index=["optimizer", "start", "performer", "bias", "depth", "seed"],
                                     columns="prior", values=[EVEN, ERROR]).astype(float)
    here = pd.Series([key[:2] == HOME for key in values.index], values.index)

    def counted(metric: str, sign: int) -> list[str]:
        gains = sign * (values[metric]["measured"] - values[metric]["none"]).dropna()
        return [f"{int((some > 0).sum())} of {len(some)}" for some in (gains[here], gains[~here])]

    (up, elsewhere), (down, too) = counted(EVEN, 1), counted(ERROR, -1)
    return (f"- **In all**, with the small g: with {_from(HOME)} the prior loss raises H / ln n in {up} pairs of fits, in the "
            f"three other regimes in {elsewhere}. It lowers the rescaled error in {down} and {too}.")


def _ways(found: pd.DataFrame, metric: str) -> str:
    """In which regimes a metric rises in every pair of fits, in which it falls, in which it does both."""
    named: dict[str, list[str]] = {}
    for which in REGIMES:
        if values := differences(found, which, metric):
            up = sum(v > 0 for v in values)
            verb = "rises" if up == len(values) else "goes both ways" if up else "falls"
            named.setdefault(verb, []).append(_from(which))
    return ", ".join(f"{verb} in all four regimes" if len(names) == len(REGIMES) else
                     f"{verb} with {', '.join(names[:-1])}{' and ' * (len(names) > 1)}{names[-1]}"
                     for verb, names in named.items())


def _deep(record: dict) -> list[str]:
    """How well a deeper g explains the training scores with the rates of the small one."""
    found, said = arms(record), []
    for key in found[DEEP].index if DEEP in found else ():
        if key in found[USUAL].index:
            deep, small = (" → ".join(number(found[name].loc[key][LEFT].get(prior), 1)
                                      for prior in PRIORS[:2]) for name in (DEEP, USUAL))
            alone = number(record["performers"][key[2]]["yhat_std"] ** 2, 1)
            said.append(f"{_from(key[:2])} {deep} (the small one {small}; the scores' variance {alone})")
    return [f"- **A deeper g** has the rates of the small one. The mean squared error of training scores, "
            f"baseline → ours: {'; '.join(said)}. A fit that leaves about the variance explains nothing, and "
            "its entropy says nothing."] if said else []


def _from(which: tuple[str, str]) -> str:
    return regime(*which).replace(", ", " from a ")


def _unknowing(record: dict) -> str:
    """How much of the measured prior's gain, where the paper's effect is, others bring."""
    rows = frame(record)
    rows = rows[rows.chosen & (rows.depth == "small") & (rows.seed == 0)]
    rows = rows[(rows.optimizer == HOME[0]) & (rows.start == HOME[1])]
    values = rows.pivot(index=["performer", "bias"], columns="prior", values=EVEN).astype(float)
    gains = values.sub(values["none"], axis=0).reindex(columns=["measured", "uniform", "permuted"]).dropna()
    gains = gains[gains.measured > 0]
    if gains.empty:
        return f"- **Priors that know nothing**: the measured prior brings no gain with {_from(HOME)}."
    shares = gains.div(gains.measured, axis=0)
    return (f"- **Priors that know nothing**: of the measured prior's gain in H / ln n with {_from(HOME)} "
            f"a uniform one brings {_range(shares.uniform, 0, percent=True)}, a permuted one "
            f"{_range(shares.permuted, 0, percent=True)} (performers and starts of b: {len(shares)}).")


def _truth(record: dict) -> str:
    """Whether entropies come nearer to the truth's own where the paper's effect is."""
    own = [p[OWN] for p in record["performers"]]
    moved = [v for name, some in arms(record).items() if "seed" in ARMS[name] and name != DEEP
             for v in differences(some, HOME, OWN)]
    return (f"- **The truth's own entropy** over part groups is {_range(own, 2)} nats. With {_from(HOME)} the "
            f"prior loss brings the explanation's, with the small g, nearer to it in {sum(v < 0 for v in moved)} of "
            f"{len(moved)} pairs of fits.")


def _beside(record: dict) -> str:
    """How many fits are further from the truth than what needs none."""
    rows, above = frame(record), []
    rows = rows[rows.chosen & rows[ERROR].notna()]
    for way, words in (("gradient_times_input", "gradient × input"), ("prior", "the prior alone")):
        line = rows.performer.map({k: p["ways"][way][ERROR] for k, p in enumerate(record["performers"])})
        above.append(f"above that of {words} ({_range(line, 3)}) in {int((rows[ERROR] > line).sum())}")
    return (f"- **Beside what needs no explainer**: the rescaled error of {len(rows)} fits is "
            f"{_range(rows[ERROR], 3)}; it is {' and '.join(above)}.")


def _strong(record: dict) -> list[str]:
    """What the filter loss does to the prior, and to the entropy with AdamW from a fitting start."""
    lines, found = [], arms(record)
    about = {(p["architecture"], p["category"], p["fading"]): (k, p)
             for k, p in enumerate(record["performers"])}
    for (architecture, category, fading), (place, after) in about.items():
        if fading or (architecture, category, True) not in about or not {USUAL, STRONGLY} <= set(found):
            continue
        usual, before = about[architecture, category, True]
        gains = []
        for name, k in ((USUAL, usual), (STRONGLY, place)):
            some = found[name][found[name].index.get_level_values("performer") == k]
            gains.append(_range(differences(some, REGIMES[-1], "entropy"), 2, plus=True))
        lines.append(
            f"- **A strong filter loss**, {category}s: the share of the prior's weights above 0 goes from "
            f"{percent(before['speaking'])} to {percent(after['speaking'])}, and what the prior loss adds "
            f"to the entropy with {_from(REGIMES[-1])} from {gains[0]} to {gains[1]} nats; accuracy from "
            f"{percent(before['accuracy'], 1)} to {percent(after['accuracy'], 1)}. Groups that lose "
            f"all their filters: {_only(before, after)}; that get some: {_only(after, before)}.")
    return lines


def _only(performer: dict, other: dict) -> str:
    """The part groups that have filters in a performer, and none in another."""
    names = [name for name in performer["groups"] if name not in (*other["groups"], UNASSIGNED)]
    return ", ".join(names) or "none"


def _counted(found: pd.DataFrame) -> str:
    performers, seeds = (found.index.get_level_values(name).nunique() for name in ("performer", "seed"))
    return f"{performers} performer{'s' * (performers != 1)}" + f", {seeds} seeds" * (seeds > 1)


def _range(values: Iterable[float], digits: int, **how: bool) -> str:
    """A number, or the lowest and the highest of several; a dash without any."""
    values = list(values)
    ends = [number(f(values, default=None), digits, **how) for f in (min, max)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
