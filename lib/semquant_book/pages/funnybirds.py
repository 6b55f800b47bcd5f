"""The page on FunnyBirds: figures, tables and sentences of a recorded run of its protocols."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import METHODS
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages.comparison import styled
from semquant_book.pages.findings import number, percent
from semquant_book.study.presets import project_root
from semquant_book.study.store import read_record

__all__ = ["beside_published", "differs", "example", "grid", "mean_score", "protocols", "read", "said",
           "scores", "standing", "true", "truths"]

#: What each way is called.
NAMES = {
    "shapley": "Shapley values of renders", "removals": "single removals of renders",
    "ours": "ours, signed", "baseline": "baseline, signed",
    "ours_positive": "ours, positive", "baseline_positive": "baseline, positive",
    "prior": "prior weights alone", "corrected": "gradient times input, corrected",
    "gradient_times_input": "gradient times input, filters",
    "integrated_gradients": "integrated gradients, filters", "equal_share": "equal shares",
    "random": "random shares", "pixel_gradient_times_input": "gradient times input, pixels",
    "pixel_integrated_gradients": "integrated gradients, pixels"}
#: Not explanations of the book but what they are compared with.
TRUE = ("shapley", "removals")
#: What is asked of a way, and its short name.
PROTOCOLS = {"csdc": "CSDC", "pc": "PC", "dc": "DC", "distractibility": "D", "sd": "SD", "ts": "TS"}
MEASURES = {"error": "error", "rescaled_error": "rescaled error", "rank_agreement": "rank agreement",
            "sign_agreement": "sign agreement"}
#: As the README of the authors' framework prints them: ResNet-50, input times gradient.
PUBLISHED = {"accuracy": 0.998, "csdc": 0.7353, "pc": 0.602, "dc": 0.532, "distractibility": 0.54372,
             "background_independence": 0.99826, "sd": 0.54592, "ts": 0.806}
SAME = "pixel_gradient_times_input"  # the published row's way
CLOSE, HIGH = 0.05, 0.9  # what is called close to another score, and high


def read() -> dict:
    """Return the recorded run that comes with the project."""
    return read_record(project_root() / "book" / "records" / "funnybirds.json")


def mean_score(row: dict) -> float:
    """Return the mean of completeness, correctness and contrastivity, as the framework's plot has it.

    Completeness is the mean of distractibility and of the mean of CSDC, PC and DC.
    """
    complete = ((row["csdc"] + row["pc"] + row["dc"]) / 3 + row["distractibility"]) / 2
    return (complete + row["sd"] + row["ts"]) / 3


def scores(record: dict) -> pd.DataFrame:
    """Return the protocols' scores, and their `mean_score`: a row for each way, the best first."""
    rows = {row["method"]: [*(row[name] for name in PROTOCOLS), mean_score(row)] for row in record["rows"]}
    frame = pd.DataFrame(rows, index=[*PROTOCOLS, "mean"], dtype=float).T
    return frame.sort_values("mean", ascending=False, kind="stable")


def grid(record: dict) -> Figure:
    """Draw the scores of every way, the best mean at the top."""
    frame = scores(record).rename(index=NAMES, columns=PROTOCOLS)
    return figures.score_grid(frame, {name: METHOD_COLOURS[name] for name in METHODS})


def protocols(record: dict) -> Styler:
    """Give the scores of every way in three digits, and the threshold that was taken."""
    frame, rows = scores(record), {row["method"]: row for row in record["rows"]}
    cells = frame.map(number).rename(columns=PROTOCOLS)
    cells["threshold"] = [number(rows[way]["threshold"]) for way in frame.index]
    cells["s an image"] = [number(rows[way]["seconds"], 4) for way in frame.index]
    return styled(cells.rename(index=NAMES), f"{record['data']['test']} test images, one performer, no interval")


def beside_published(record: dict) -> Styler:
    """Put the published row beside the same way here."""
    row = next(row for row in record["rows"] if row["method"] == SAME)
    own = row | {name: record[name] for name in ("accuracy", "background_independence")}
    titles = {"accuracy": "A", **PROTOCOLS, "background_independence": "BI"}
    cells = {title: [number(PUBLISHED[name]), number(own[name])] for name, title in titles.items()}
    cells["mean"] = [number(mean_score(PUBLISHED)), number(mean_score(row))]
    return styled(pd.DataFrame(cells, index=["ResNet-50, published", "here"]),
                  "Gradient times input, of pixels; A and BI are of the network alone")


def differs(record: dict) -> pd.DataFrame:
    """Say in what the published run and this one differ."""
    data, net = record["data"], record["performer"]
    official = data["suffix"] == ".png"
    rows = {
        "network": ("ResNet-50, pretrained on ImageNet",
                    f"{net['parameters']:,} parameters, from scratch, {net['filters']} interpretable filters"),
        "classes": ("50", f"{data['classes']}; all searches are among these"),
        "training images": ("50,000", f"{data['train']:,}"),
        "test images": ("500", f"{data['test']}, {data['with_objects']} of them also without objects"),
        "pixels": ("256, PNG", f"{net['side']}, from {'PNG of 256' if official else 'JPEG of 128'}"),
        "renders": ("the authors'", "the authors'" if official else "anew, from the authors' models and scenes"),
        "edge around a part": ("2 of 256 pixels", f"1 of {net['side']}")}
    return pd.DataFrame(rows, index=["published", "here"]).T


def said(record: dict) -> str:
    """Say how good the network is and how its row stands beside the published one, in Markdown."""
    row = next(row for row in record["rows"] if row["method"] == SAME)
    gaps = {title: row[name] - PUBLISHED[name] for name, title in PROTOCOLS.items()}
    parts = [f"{words} in {', '.join(some)}" for words, some in (
        (f"within {CLOSE}", [title for title, gap in gaps.items() if abs(gap) <= CLOSE]),
        ("lower", [title for title, gap in gaps.items() if gap < -CLOSE]),
        ("higher", [title for title, gap in gaps.items() if gap > CLOSE])) if some]
    data = record["data"]
    return (f"The performer classifies {percent(record['accuracy'], 1)} of {data['test']} test images correctly (chance: "
            f"{percent(1 / data['classes'], 1)}), the published one {percent(PUBLISHED['accuracy'], 1)}. The same way is "
            f"{'; '.join(parts)}. Network, classes and images differ, so that a difference is no failed reproduction.")


def standing(record: dict) -> str:
    """Say where ours and the baseline stand among ways that are no truth, and what the prior loss did."""
    frame, lines = scores(record).drop(index=list(TRUE)), []
    for kind, end in (("signed", ""), ("positive", "_positive")):
        ours, base = (frame.loc[method + end] for method in METHODS)
        up = [title for name, title in PROTOCOLS.items() if ours[name] > base[name]]
        lines.append(f"- **{kind} weights**: ours {_told(frame, f'ours{end}')}; baseline "
                     f"{_told(frame, f'baseline{end}')}. Ours is higher in {', '.join(up) or 'none'} "
                     f"({len(up)} of {len(PROTOCOLS)}).")
    first = frame.index[0]
    return (f"By the mean the first of {len(frame)} ways that are no truth is {NAMES[first]}, "
            f"{number(frame.loc[first, 'mean'])}; prior weights alone {_told(frame, 'prior')}; random shares "
            f"{_told(frame, 'random')}.\n\n" + "\n".join(lines)
            + "\n\nOne performer, no interval: which of two close scores is higher may be chance.")


def _told(frame: pd.DataFrame, way: str) -> str:
    return f"{number(frame.loc[way, 'mean'])}, place {frame.index.get_loc(way) + 1}"


def true(record: dict) -> str:
    """Say what the protocols give the exact truth, and what it is like, in Markdown."""
    frame, about = scores(record), record["truth"]
    own = {title: frame.loc["shapley", name] for name, title in PROTOCOLS.items()}
    below = [f"{title} {number(value)}" for title, value in own.items() if value < HIGH]
    means = pd.Series(about["mean"], about["parts"])
    return (f"Exact Shapley values, right by definition, have {_told(frame, 'shapley')} of {len(frame)}, below {HIGH} in "
            f"{', '.join(below) or 'none'}: not even the truth need be given 1. They agree with single removals by "
            f"{number(about['agreement'])} (Spearman's, mean over images); {percent(about['negative'])} of them are below 0; "
            f"scores are {percent(about['nonlinearity'])} from a sum over parts. The largest on average is the "
            f"{means.idxmax()}'s, the smallest the {means.idxmin()}'s.")


def truths(record: dict, truth: str = "shapley") -> Styler:
    """Give how far each way is from a truth of the renders, the nearest by rank agreement first."""
    rows = {row["method"]: row for row in record["rows"] if row["method"] != truth}
    order = sorted(rows, key=lambda way: -(rows[way][f"rank_agreement {truth}"] or -1))
    cells = {words: [number(rows[way][f"{measure} {truth}"]) for way in order]
             for measure, words in MEASURES.items()}
    return styled(pd.DataFrame(cells, index=[NAMES[way] for way in order]),
                   f"Against {NAMES[truth]}, {record['data']['test']} test images, one performer, no interval")


def example(record: dict) -> Figure:
    """Draw what ways say of the parts of one bird that is classified correctly."""
    return figures.part_bars({NAMES[way]: values for way, values in record["example"]["importances"].items()},
                             record["truth"]["parts"])
