"""The page on FunnyBirds: figures, tables and sentences of a recorded run of its protocols."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages.comparison import styled
from semquant_book.pages.findings import number, percent
from semquant_book.study.presets import project_root
from semquant_book.study.store import read_record

__all__ = ["beside_published", "differs", "example", "grid", "mean_score", "nearest", "protocols", "read",
           "said", "scores", "standing", "true", "truths"]

#: What each way is called.
NAMES = {
    "shapley": "Shapley values of renders", "removals": "single removals of renders",
    "ours": "ours, signed", "baseline": "baseline, signed",
    "ours_positive": "ours, positive", "baseline_positive": "baseline, positive",
    "prior": "prior weights alone", "gradient_times_input": "gradient times input, filters",
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
    return figures.score_grid(frame, {name: METHOD_COLOURS[name] for name in ("ours", "baseline")})


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
    data, net, drops = record["data"], record["performer"], "half of the training images lack parts"
    side = f"{net['side']} px"
    return pd.DataFrame({
        "network": ["ResNet-50, pretrained on ImageNet", f"{net['parameters']:,} parameters, from scratch, "
                    f"{net['filters']} interpretable filters"],
        "classes": ["50", str(data["classes"])],
        "training images": [f"50,000; {drops}", f"{data['train']:,}; {drops}"],
        "labels": ["every class that has the parts shown", "the bird's own class"],
        "test images": ["500", f"{data['test']}, with objects removed {data['with_objects']}"],
        "images": ["256 px, PNG", f"{side}, " + {".jpg": "from JPEG of 128 px", ".png": "from PNG"}[data["suffix"]]],
        "renders": ["the authors'", "anew, from the authors' models and scenes" if data["suffix"] == ".jpg"
                    else "the authors'"],
        "edge around a part": ["2 of 256 px", f"1 of {side}"],
        "classes searched": ["50", str(data["classes"])],
    }, index=["published", "here"]).T


def said(record: dict) -> str:
    """Say how good the network is and how this row stands beside the published one, in Markdown."""
    row = next(row for row in record["rows"] if row["method"] == SAME)
    closer = [PROTOCOLS[name] for name in PROTOCOLS if abs(row[name] - PUBLISHED[name]) <= 0.05]
    lower = [PROTOCOLS[name] for name in PROTOCOLS if row[name] < PUBLISHED[name] - 0.05]
    higher = [PROTOCOLS[name] for name in PROTOCOLS if row[name] > PUBLISHED[name] + 0.05]
    parts = [f"{words}: {', '.join(some)}" for words, some in (
        ("within 0.05", closer), ("lower by more", lower), ("higher by more", higher)) if some]
    return (f"The performer classifies {percent(record['accuracy'], 1)} of the {record['data']['test']} test images "
            f"(chance: {percent(1 / record['data']['classes'], 1)}), the published one {percent(PUBLISHED['accuracy'], 1)}. "
            f"The same way beside the published row, {'; '.join(parts)}. Network, classes and images differ, so "
            "that no agreement is to be expected, and a difference is no failed reproduction.")


def standing(record: dict) -> str:
    """Say where ours and the baseline stand among ways that are no truth, and what the prior loss did."""
    frame = scores(record).drop(index=list(TRUE))
    lines = []
    for kind in ("signed", "positive"):
        end = "" if kind == "signed" else "_positive"
        ours, base = frame.loc[f"ours{end}"], frame.loc[f"baseline{end}"]
        up = [PROTOCOLS[name] for name in PROTOCOLS if ours[name] > base[name]]
        lines.append(f"- **{kind} weights**: ours {number(ours['mean'])}, place {_place(frame, f'ours{end}')} of "
                     f"{len(frame)}; baseline {number(base['mean'])}, place {_place(frame, f'baseline{end}')}. Ours is "
                     f"higher in {', '.join(up) if up else 'none'} ({len(up)} of {len(PROTOCOLS)}).")
    first = frame.index[0]
    prior = frame.loc["prior", "mean"]
    return (f"By the mean of completeness, correctness and contrastivity the first is {NAMES[first]} "
            f"({number(frame['mean'].iloc[0])}); prior weights alone have {number(prior)}, random shares "
            f"{number(frame.loc['random', 'mean'])}.\n\n" + "\n".join(lines) + "\n\nOne performer, no interval: "
            "which of two close scores is higher may be chance.")


def _place(frame: pd.DataFrame, way: str) -> int:
    return int(frame.index.get_loc(way)) + 1


def true(record: dict) -> str:
    """Say what the exact truth itself is given by the protocols, in Markdown."""
    frame, about = scores(record), record["truth"]
    short = {PROTOCOLS[name]: frame.loc["shapley", name] for name in PROTOCOLS}
    below = [f"{name} {number(value)}" for name, value in short.items() if value < 0.9]
    least, most = (about["parts"][f(range(5), key=about["mean"].__getitem__)] for f in (min, max))
    return (f"Exact Shapley values, which are right by definition, score {number(frame.loc['shapley', 'mean'])}, place "
            f"{_place(frame, 'shapley')} of {len(frame)}, below 0.9 in {', '.join(below) or 'none'}: a protocol's 1 is not "
            f"what a true explanation gets. They agree with single removals by {number(about['agreement'])} (Spearman's, mean over "
            f"images); {percent(about['negative'])} of them are below 0; scores are {percent(about['nonlinearity'])} from a sum "
            f"over parts. The largest on average is the {most}'s, the smallest the {least}'s.")


def truths(record: dict, truth: str = "shapley") -> Styler:
    """Give how far each way is from a truth of the renders, the nearest by rank agreement first."""
    rows = {row["method"]: row for row in record["rows"] if row["method"] != truth}
    order = sorted(rows, key=lambda way: -(rows[way][f"rank_agreement {truth}"] or -1))
    cells = {words: [number(rows[way][f"{measure} {truth}"]) for way in order] for measure, words in MEASURES.items()}
    return styled(pd.DataFrame(cells, index=[NAMES[way] for way in order]),
                   f"Against {NAMES[truth]}, {record['data']['test']} test images, one performer, no interval")


def nearest(record: dict) -> str:
    """Say which ways come nearest to the exact Shapley values of parts, in Markdown."""
    rows, lines = [row for row in record["rows"] if row["method"] not in TRUE], []
    for measure, sign in (("rank_agreement", -1), ("rescaled_error", 1)):
        known = [row for row in rows if row[f"{measure} shapley"] is not None]
        ranked = sorted(known, key=lambda row: sign * row[f"{measure} shapley"])
        names = [row["method"] for row in ranked]
        top = "; ".join(f"{NAMES[row['method']]} {number(row[f'{measure} shapley'])}" for row in ranked[:3])
        ours = ", ".join(f"{NAMES[way]} {names.index(way) + 1}" for way in names if way.startswith(("ours", "baseline")))
        lines.append(f"- **{MEASURES[measure]}**: {top}. Places of {len(names)}: {ours}.")
    return "Nearest to exact Shapley values of parts, truths left out:\n\n" + "\n".join(lines)


def example(record: dict) -> Figure:
    """Draw what ways say of the parts of one bird that is classified correctly."""
    return figures.part_bars({NAMES[way]: values for way, values in record["example"]["importances"].items()},
                             record["truth"]["parts"])
