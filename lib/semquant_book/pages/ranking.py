"""The page on whether an explanation is right: a figure, tables and sentences of a recorded ranking."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import METHODS, SCALES
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages.comparison import fits_said, paper, styled
from semquant_book.pages.findings import number, percent, told
from semquant_book.study.presets import project_root
from semquant_book.study.ranking import TRUTHS
from semquant_book.study.replicates import PERFORMER, Estimate, estimate
from semquant_book.study.store import read_record
from semquant_book.study.tables import arms

__all__ = ["best", "costs", "differences", "measured", "ranking", "read", "standing", "table", "truths"]

#: What each way is called.
NAMES = {
    "ours_literal": "ours, y literal", "ours_scaled": "ours, y scaled",
    "baseline_literal": "baseline, y literal", "baseline_scaled": "baseline, y scaled",
    "corrected": "gradient times input, corrected", "gradient_times_input": "gradient times input",
    "integrated_gradients": "integrated gradients",
    "deeplift": "DeepLIFT", "feature_ablation": "each filter removed",
    "shapley_sampling": "Shapley sampling", "kernel_shap": "KernelSHAP", "lime": "LIME",
    "prior": "prior weights alone", "mean_share": "mean shares of the prior",
    "equal_share": "equal shares", "random": "random shares", "ridge": "ridge regression",
    "nonnegative": "non-negative regression", "concept_head": "linear concept head",
    "boosted": "additive boosting"}
#: What is measured against a truth, in words, and its digits; less is better except of agreements.
MEASURES = {"error": ("error", 3), "rescaled_error": ("rescaled error", 3),
            "paper_error": ("the paper's error", 3), "rank_agreement": ("rank agreement", 3),
            "sign_agreement": ("sign agreement", 3), "entropy": ("difference of H", 3)}
TRUTH_NAMES = {"shapley": "Shapley values", "removals": "single removals"}
RANKED = ("rescaled_error", "rank_agreement")
OURS = ("ours_literal", "ours_scaled")


def read() -> dict:
    """Return the recorded ranking that comes with the project."""
    return read_record(project_root() / "book" / "records" / "ranking.json")


def measured(record: dict, measure: str) -> pd.DataFrame:
    """Return a measure of every way: a row for each, best first, and a column for each performer."""
    rows = pd.DataFrame(record["rows"])
    values = rows.pivot(index="method", columns=list(PERFORMER), values=measure).astype(float)
    means = values.mean(axis=1).sort_values(ascending="agreement" not in measure, kind="stable")
    return values.loc[means.index]


def ranking(record: dict, truth: str = "shapley") -> Figure:
    """Draw rescaled error and rank agreement of every way, a dot for each performer."""
    panels = {f"{MEASURES[m][0]}, {better} is better": measured(record, f"{m} {truth}").rename(NAMES)
              for m, better in zip(RANKED, ("less", "more"))}
    return figures.ranking(panels, {m: METHOD_COLOURS[m] for m in METHODS}, [next(iter(panels))])


def table(record: dict, truth: str = "shapley") -> Styler:
    """Give all measures of every way against a truth, by rescaled error, the best first."""
    order = measured(record, f"rescaled_error {truth}").index
    cells = {words: [_cell(record, f"{measure} {truth}", way, digits) for way in order]
             for measure, (words, digits) in MEASURES.items()}
    return styled(pd.DataFrame(cells, index=[NAMES[way] for way in order]),
                   f"Against {TRUTH_NAMES[truth]}, mean over {_performers(record)} performers; "
                   f"± is half the 95% interval. Explainers with {_fits(record)}")


def costs(record: dict) -> Styler:
    """Give what each way leaves unexplained, how its order does in deletion and insertion, and what it
    takes, none of which needs a truth; below, the best order of each image, and random ones."""
    order = measured(record, f"rescaled_error {TRUTHS[0]}").index
    seconds = [1000 * measured(record, "seconds").loc[way] for way in order]
    cells = {"unexplained": [_cell(record, "completeness", way, 3) for way in order]}
    more, truths = pd.DataFrame(), pd.DataFrame(record["truths"])
    if "random" in truths:  # older records have neither
        cells |= {path: [_cell(record, path, way, 3) for way in order] for path in ("deletion", "insertion")}
        more = pd.DataFrame({path: {words: figures.with_interval(estimate(truths[name]), 3) for words, name in
                                    (("the best order", f"best_{path}"), ("random orders", "random"))}
                             for path in ("deletion", "insertion")})
    cells |= {"ms an image": [figures.with_interval(estimate(values), 2) for values in seconds]}
    frame = pd.concat([pd.DataFrame(cells, index=[NAMES[way] for way in order]), more])
    return styled(frame.fillna("\N{EM DASH}"), f"Without a truth, mean over {_performers(record)} performers; one core")


def truths(record: dict) -> Styler:
    """Describe the truth itself, a row for each performer, and the least rescaled error against it of
    an explanation without a contribution below 0."""
    rows = pd.DataFrame(record["truths"])
    cells = {"images": rows.images, "groups": rows.groups.map(len),
             "non-linearity": rows.nonlinearity.map(number)}
    for truth, words in TRUTH_NAMES.items():
        cells[f"{words} below 0"] = rows[f"negative {truth}"].map(percent)
        cells[f"least error without, {words}"] = rows[f"floor {truth}"].map(number)
        cells[f"H of {words}"] = rows[f"entropy {truth}"].map(lambda value: number(value, 2))
    cells["rank agreement of both"] = rows.agreement.map(number)
    cells["ms an image"] = (1000 * rows.seconds).map(lambda value: number(value, 1))
    labels = rows.architecture.map(paper()["labels"])
    return styled(pd.DataFrame(cells).set_axis(labels.tolist()).T, "The truth of each performer")


def best(record: dict, truth: str = "shapley", count: int = 3) -> str:
    """Say which ways come nearest to a truth by each of the two measures, in Markdown."""
    said = []
    for measure in RANKED:
        values = measured(record, f"{measure} {truth}")
        first = "; ".join(f"{NAMES[way]} {told(estimate(values.loc[way]))}" for way in values.index[:count])
        said.append(f"- **{MEASURES[measure][0]}**: {first}.")
    return (f"Nearest to {TRUTH_NAMES[truth]}, of {len(values)} ways, 95% intervals over "
            "performers:\n\n" + "\n".join(said))


def standing(record: dict, truth: str = "shapley") -> str:
    """Say at which places ours and the baseline stand by each of the two measures, in Markdown."""
    lines = []
    for way in [name for name in NAMES if name.startswith(METHODS)]:
        places = []
        for measure in RANKED:
            values = measured(record, f"{measure} {truth}")
            places.append(f"{MEASURES[measure][0]} {told(estimate(values.loc[way]))}, place "
                          f"{values.index.get_loc(way) + 1} of {len(values)}")
        lines.append(f"- **{NAMES[way]}**: {'; '.join(places)}.")
    return "\n".join(lines)


def differences(record: dict, other: str, truth: str = "shapley") -> str:
    """Say how ours differs from another way in both measures, for each reading of y, in Markdown; from
    ``"baseline"`` in the same reading."""
    lines = []
    for way in OURS:
        parts, against = [], other if other in NAMES else way.replace("ours", other)
        for measure in RANKED:
            values = measured(record, f"{measure} {truth}")
            gap = values.loc[way] - values.loc[against]
            better = gap > 0 if "agreement" in measure else gap < 0
            parts.append(f"{MEASURES[measure][0]} {told(estimate(gap), plus=True)}{_doubt(estimate(gap))}, "
                         f"better in {int(better.sum())} of {len(gap)}")
        lines.append(f"- **{NAMES[way]}**: {'; '.join(parts)}.")
    return f"Ours minus {NAMES.get(other, f'the {other}')}:\n\n" + "\n".join(lines)


def _doubt(gap: Estimate) -> str:
    """What is said of a difference whose interval includes zero."""
    return ", no detectable difference" if not gap.known or gap.low <= 0 <= gap.high else ""


def _cell(record: dict, measure: str, way: str, digits: int) -> str:
    mean = estimate(measured(record, measure).loc[way])
    return figures.with_interval(mean, digits) if mean.values else "\N{EM DASH}"


def _fits(record: dict) -> str:
    """How the explainers were fitted."""
    frame, settings = pd.DataFrame({"scale": SCALES}), record["settings"]
    if "explainer_optimizers" in settings:
        frame["optimizer"] = settings["explainer_optimizers"][0]
        frame["bias_start"] = [settings[f"explainer_bias_{scale}"] for scale in SCALES]
    return fits_said(arms(frame))


def _performers(record: dict) -> int:
    return len(record["truths"])
