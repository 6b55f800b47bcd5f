"""What the pages of Experiment 1's networks show: sentences, figures and tables of one run, or of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant.explanation import UNASSIGNED
from semquant_book import figures
from semquant_book.datasets.names import ARCHITECTURES, CATEGORIES, METHODS
from semquant_book.figures.style import signed
from semquant_book.pages import cases, comparison
from semquant_book.pages.findings import beside, number, percent, told, where_higher
from semquant_book.study import inspection, tables
from semquant_book.study.experiment1 import Run
from semquant_book.study.presets import Settings
from semquant_book.study.replicates import by_performer, estimate, pairs
from semquant_book.views import explorer, widgets

__all__ = ["accuracies", "contribution_bars", "controls", "counted_parts", "each_reading", "entropies",
           "errors", "explainers", "explore", "fall_of_losses", "filters", "higher", "learning", "named", "numbers", "part_error_dots",
           "part_errors_said", "part_tables", "performer", "performers", "pies", "residuals", "shares_said",
           "some", "supplement", "thresholds", "trained", "what_was_run"]

#: The rows of `numbers`.
NUMBERS = {"entropy": "entropy H, nats", "normalised_entropy": "H / ln n",
           "error average": "error of part contributions",
           "error_of_shares average": "the same, contributions rescaled", "deviation": "relative deviation",
           "accuracy": "accuracy"}


def performer(run: Run, shown: inspection.Case) -> str:
    """Say how large a performer is, what it was trained on, and how often it is right."""
    about, settings = run.record(), run.settings
    m, parts = about["metrics"], sum(name != UNASSIGNED for name in shown.names)
    trained = comparison.animals_shown(settings, run.category, "train", run.architecture)
    return (f"{about['parameters']:,} parameters, {comparison.beginning(settings)} in "
            f"{about['seconds']:.0f} s on {trained}. On {m['test_images']:,} test images it is "
            f"right in **{m['accuracy']:.1%}**. Its top map has {len(shown.names)} filters on "
            f"{shown.net.map_size}x{shown.net.map_size} positions; {parts} of them can be named "
            "after a part of the animal from the part masks of the validation images.")


def trained(run: Run) -> Figure:
    """Draw the performer's losses over its epochs."""
    return figures.training_history({"performer": run.record()["history"]},
                                    {"logistic": "logistic loss", "filter": "filter loss"})


def named(shown: inspection.Case, part_specificity: float) -> str:
    """Say how many filters are named after each part, and how specific they are."""
    return (f"Filters by part: {counted_parts(shown.names, shown.groups)}. Part-specific filters "
            f"on the test images: {part_specificity:.0%}.")


def counted_parts(names: Sequence[str], groups: Sequence[str]) -> str:
    """Count names of filters by part, those of no part last."""
    return ", ".join(f"{part} {names.count(part)}" for part in (*groups, UNASSIGNED) if part in names)


def filters(shown: inspection.Case | None, per_part: int = 2) -> Figure | None:
    """Draw the test images that excite each part's best filters most: Figure 4; nothing without a case."""
    return None if shown is None else figures.filter_gallery(
        **inspection.strongest_images(shown, per_part=per_part))


def pies(shown: inspection.Case | None, chosen: Sequence[int] | int) -> Figure | None:
    """Draw a few test images, Grad-CAM, and the parts' contributions by both methods: Figure 5. A number
    stands for so many of `some`; nothing is drawn without a case."""
    if shown is None:
        return None
    chosen = some(shown, chosen) if isinstance(chosen, int) else list(chosen)
    return figures.explanation_pies(shown.images.images[chosen], shown.heatmaps(chosen),
                                    *(shown.by_part(method)[chosen] for method in METHODS))


def contribution_bars(shown: inspection.Case | None, chosen: Sequence[int] | int) -> Figure | None:
    """Draw every filter's contribution to the scores of a few test images, chosen as in `pies`: Figure 7."""
    if shown is None:
        return None
    chosen = some(shown, chosen) if isinstance(chosen, int) else list(chosen)
    return figures.contribution_distribution(shown.ours.contributions[chosen],
                                             shown.baseline.contributions[chosen])


def explore(run: Run, shown: inspection.Case, scale: str) -> None:
    """Show Figure 5 of up to five test images, and the same and more images to play with."""
    still = pies(shown, range(min(5, len(shown.images))))
    view = explorer.explore(cases.of_case(shown, run.settings, run.architecture, run.category, scale=scale))
    widgets.show(view, still, "Four rows, a column for each of up to five test images: the picture "
                 "with its score, its Grad-CAM heat map, a pie of what each part contributes by "
                 "ours, and one by the baseline, with sum and b below.", keep=True)


def residuals(shown: inspection.Case, most: int = 8) -> Figure:
    """Draw the test images of which most is left unexplained, with score and residual."""
    worst = shown.ours.residual.abs().argsort(descending=True)[:most].tolist()
    return figures.sample_sheet(shown.images.images[worst], [
        f"ŷ {signed(float(shown.ours.yhat[i]), 1)}, left {signed(float(shown.ours.residual[i]), 1, plus=True)}"
        for i in worst], columns=4)


def explainers(run: Run) -> pd.DataFrame:
    """Return the records of all explainers of a performer, which are made where they are missing."""
    run.make_explainers()
    return tables.explainer_frame(run.settings, performer_seeds=[run.seed])


def errors(run: Run, records: pd.DataFrame) -> Styler:
    """Return the error of part contributions by the explainers and by what needs none."""
    references = tables.reference_frame(run.settings, [run.seed])
    return comparison.error_table(records, references, caption=f"Error of part contributions, {run.category}")


def each_reading(records: pd.DataFrame) -> None:
    """Show `numbers` of each reading of y's scale."""
    for reading in records.scale.unique():
        display(numbers(records, reading))


def entropies(records: pd.DataFrame) -> str:
    """Say the mean entropies in nats and as H / ln n, since n differs from the paper's."""
    n = int(records.n.iloc[0])
    return ("Mean entropy over the positive test images, in nats, "
            f"{beside(records, 'entropy', 2)}. The largest possible is ln n = {math.log(n):.2f}; "
            f"as a share of it, {beside(records, 'normalised_entropy', 2)}.")


def numbers(records: pd.DataFrame, scale: str) -> Styler:
    """Put one performer's numbers in one reading of y beside the paper's of its network.

    A row for each of `NUMBERS`. The paper's errors are Table 3's, of dogs and a network that it
    doesn't name; rescaled it has none.
    """
    frame = records[records.scale == scale]
    architecture, category = frame.architecture.iloc[0], frame.category.iloc[0]
    measured = pd.DataFrame({method: {words: by_performer(g, metric).mean() for metric, words in NUMBERS.items()}
                             for method, g in frame.groupby("method")})
    return figures.comparison_table(
        measured[["baseline", "ours"]], _published(architecture, category), digits=3,
        caption=f"y {scale}, {category} ({comparison.fits_said(frame)}; seeds of g averaged; one performer "
                "has no interval)")


def _published(architecture: str, category: str) -> pd.DataFrame:
    """The paper's numbers for the rows of `numbers`; NaN where it has none. Of another network: its four's mean."""
    own = [architecture] if architecture in ARCHITECTURES else ARCHITECTURES

    def mean(read: Callable[..., pd.DataFrame], table: str) -> pd.Series:
        return (sum(read(table, a) for a in own) / len(own))[category]

    frame, normalised = comparison.paper_frame, comparison.paper_normalised
    columns = {NUMBERS["entropy"]: mean(frame, "supplement_entropy"),
               NUMBERS["normalised_entropy"]: mean(normalised, "supplement_entropy"),
               NUMBERS["deviation"]: mean(frame, "supplement_deviation"),
               NUMBERS["accuracy"]: mean(frame, "supplement_accuracy") / 100}
    if category == "dog":
        columns[NUMBERS["error average"]] = frame("table_3").average
    table = pd.DataFrame(columns, index=["baseline", "ours"]).reindex(columns=list(NUMBERS.values()))
    return table.T.astype(float)


def part_error_dots(records: pd.DataFrame, scale: str) -> Figure:
    """Draw the error of each part's contribution, and the paper's where it is of the category: Table 3."""
    frame = records[records.scale == scale]
    parts = [p for p in tables.TABLE_3_PARTS  # that have filters, and so an error
             if frame.get(f"error {p}", pd.Series(dtype=float)).notna().any()]
    rows = pd.DataFrame([dict(part=p, method=method, error=error) for p in parts
                         for method, error in zip(frame.method, frame[f"error {p}"])],
                        columns=["part", "method", "error"])
    table = comparison.paper_frame("table_3")
    theirs = pd.DataFrame([dict(part=p, method=k, error=table.loc[k, p]) for p in parts for k in METHODS])
    return figures.part_errors(rows, theirs if set(frame.category) == {"dog"} and parts else None)


def part_errors_said(records: pd.DataFrame, images: str = "positive test images") -> str:
    """Say which parts have no error, and how many images it stands on."""
    missing = [p for p in tables.TABLE_3_PARTS if not records.get(f"filters {p}", pd.Series(0)).any()]
    without = f"No filter is named after: {', '.join(missing)}; such a part has no error. " if missing else ""
    return (f"{without}The error stands on {records.kept.mean():.0%} of the {images}; "
            "the rule leaves out the rest.")


def shares_said(errors: pd.DataFrame, references: pd.DataFrame) -> str:
    """Say which of all that has an error of shares, of one category, is nearest to the truth."""
    metric = "error_of_shares average"
    means = {f"{method}, y {scale}": by_performer(g, metric).mean()
             for (method, scale), g in errors.groupby(["method", "scale"], sort=False)}
    means |= {comparison.REFERENCES[method]: by_performer(g, metric).mean()
              for method, g in references.groupby("method", sort=False)}
    known = sorted((value, name) for name, value in means.items() if value == value)
    if not known:
        return "No part of Table 3 has a named filter in this run."
    return ("With contributions rescaled to add up to the score, from the smallest error to the largest: "
            + ", ".join(f"{name} {number(value)}" for value, name in known)
            + ". The truth of this table removes filters from a network and asks how far the score "
            "falls; where the layers above the filters are close to linear, that is what gradient "
            "times input computes. The table says how close an explanation comes to that truth, "
            "not how useful it is.")


def learning(run: Run, scale: str) -> Figure:
    """Draw the losses of ours and of the baseline over their epochs."""
    histories = {method: run.explainer_record(method, scale, 0)["history"] for method in METHODS}
    return figures.training_history(histories, {"distillation": "distillation loss", "prior": "prior loss"})


def fall_of_losses(history: Sequence[dict]) -> str:
    """Say how far the two losses of ours fell over its epochs, or that the prior loss rose."""
    first, last = history[0], history[-1]
    text = f"The distillation loss of ours goes from {first['distillation']:.3g} to {last['distillation']:.3g}, "
    weights = f"its weight λ falls from {first['prior_weight']:.2g} to {last['prior_weight']:.2g}"
    prior = last["prior_weight"] * last["prior"]
    share = prior / (prior + last["distillation"])
    lowest = min(range(len(history)), key=lambda t: history[t]["prior"])
    if last["prior"] <= first["prior"]:
        return f"{text}its prior loss from {first['prior']:.3g} to {last['prior']:.3g}, while {weights}."
    return (f"{text}but **its prior loss rises**, from {first['prior']:.3g} to {last['prior']:.3g} "
            f"({history[lowest]['prior']:.3g}, the lowest, after epoch {lowest + 1}), while "
            f"{weights}: as soon as the prior weighs less, the distillation loss draws the weights "
            f"away from it. In the last epoch the prior still makes up {share:.0%} of the whole loss.")


def what_was_run(settings: Settings, category: str) -> str:
    """Say which categories, images, performers and explainers a preset runs."""
    missing = [c for c in CATEGORIES if c not in settings.categories]
    rest = f"not run here: {', '.join(missing)}" if missing else "all six categories"
    return (f"**What was run.** Preset `{settings.preset}`: {', '.join(settings.categories)} "
            f"({rest}); for {category}, training on "
            f"{comparison.animals_shown(settings, category, 'train')}, test on "
            f"{comparison.animals_shown(settings, category, 'test')}; performers at "
            f"{settings.width:g} of the paper's width, {_seeds(settings.performer_seeds)} each; "
            f"explainers with {_seeds(settings.explainer_seeds)} each, ours with beta "
            f"{settings.beta:g}. Every number below is read from the records of these runs; the "
            "paper's are those of the full-size networks on photographs.")


def _seeds(count: int) -> str:
    return f"{count} seed" + "s" * (count != 1)


def performers(table: pd.DataFrame) -> Styler:
    """Put the performers' accuracies beside the paper's, with their size and time."""
    labels = comparison.paper()["labels"]
    printed = comparison.paper_frame("table_2", "accuracy", "experiment_1").loc["performer"]
    shown = pd.DataFrame({labels[a]: {
        "accuracy": f"{g.accuracy.mean():.1%}", "paper's accuracy": f"{printed[a]:.1f}%",
        "parameters": f"{g.parameters.iloc[0]:,}", "training": f"{g.seconds.mean():.0f} s"}
        for a, g in table[table.filter_loss].groupby("architecture", sort=False)})
    return shown.style.set_table_attributes('class="dataframe"').set_caption(
        "Performers (mean over categories and seeds)")


def accuracies(records: pd.DataFrame, table: pd.DataFrame, scale: str) -> Styler:
    """Put accuracies of performers, and of explainers in one reading, beside Table 2."""
    own = table[table.filter_loss].assign(method="performer", seed=-1)
    frame = pd.concat([records[records.scale == scale], own])
    return comparison.comparison(
        frame.assign(percent=100 * frame.accuracy), "percent",
        comparison.paper_frame("table_2", "accuracy", "experiment_1"),
        rows=("performer", "baseline", "ours"), digits=1, caption=f"Table 2, left: accuracy in percent, y {scale}")


def controls(table: pd.DataFrame) -> str:
    """Say how specific filters are with and without the filter loss, where both were trained."""
    labels, lines = comparison.paper()["labels"], []
    for architecture, g in table.groupby("architecture", sort=False):
        if not g.filter_loss.all():
            mean = g.groupby("filter_loss")[["part_specificity", "accuracy"]].mean()
            specific, right = mean.part_specificity, mean.accuracy
            lines.append(f"{labels[architecture]}: {specific[True]:.0%} with the loss, "
                         f"{specific[False]:.0%} without; accuracy {right[True]:.1%} and "
                         f"{right[False]:.1%}")
    return ("**Part-specific filters with and without the filter loss** (share of filters whose "
            "peak falls on their best part in at least half of the positive test images where they "
            "fire). " + ". ".join(lines) + ".")


def higher(records: pd.DataFrame, metric: str, words: str) -> str:
    """Say in how many performers ours has more of a metric than the baseline, and by how much."""
    gains = "; ".join(
        f"with y {scale} {told(estimate(by_performer(pairs(g, metric), metric)), 3, plus=True)}"
        for scale, g in records.groupby("scale", sort=False))
    return f"{words}, ours minus baseline: {gains}. Ours is higher with {where_higher(records, metric)}."


def thresholds(records: pd.DataFrame) -> str:
    """Say what choosing the threshold on the test images would gain."""
    gain = records.accuracy_own_threshold - records.accuracy
    return ("Threshold chosen on the test images instead: "
            f"{signed(100 * gain.mean(), 2, plus=True)} percentage points on average, at most "
            f"{percent(gain.max(), 2, plus=True).removesuffix('%')}.")


def some(shown: inspection.Case, count: int, start: int = 5) -> list[int]:
    """Positions of a few images that no other page shows; the first where there are not so many."""
    start = start if len(shown.images) >= start + count else 0
    return list(range(min(start + count, len(shown.images))))[start:]


def part_tables(records: pd.DataFrame, category: str) -> None:
    """Show Table 3 of a category, one table for each reading of y's scale."""
    for scale, frame in records.groupby("scale", sort=False):
        display(comparison.part_table(frame, published=category == "dog", caption=(
            f"Table 3: error of part contributions, {category}, all networks, y {scale}")))


def supplement(records: pd.DataFrame) -> None:
    """Show the supplement's tables of one reading."""
    display(comparison.per_category(records, "entropy", "supplement_entropy", caption="Supplement: entropy in nats"),
            comparison.per_category(records, "accuracy", "supplement_accuracy", factor=100, digits=1,
                                    caption="Supplement: accuracy in percent"),
            comparison.per_category(records, "deviation", "supplement_deviation",
                                    caption="Supplement: relative deviation"))
