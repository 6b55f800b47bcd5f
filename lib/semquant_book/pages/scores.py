"""Experiment 2 as pages tell it: the performer's 40 scores, and all fits beside controls and the paper."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import ATTRIBUTES, METHODS, STARTS, label
from semquant_book.figures import METHOD_NAMES, signed
from semquant_book.pages.comparison import (
    INTERVAL, NO_INTERVAL, comparison, entropy_table, paper, paper_frame, paper_normalised)
from semquant_book.pages.findings import FAILS, HOLDS, compared, number, percent, spread, told
from semquant_book.study.experiment2 import Run
from semquant_book.study.portraits import faces_of, portraits
from semquant_book.study.presets import Settings
from semquant_book.study.replicates import LEAST, by_performer, estimate, gains, pairs

__all__ = ["accuracy_kept", "accuracy_tables", "controls", "deviation_tables", "entropies", "entropy_gain",
           "entropy_tables", "gallery", "judged", "judged_in_words", "plain", "side_by_side", "what_was_run"]

N = len(ATTRIBUTES) - 1  # of the concepts, here and in the paper
DASH = "\N{EM DASH}"
#: Columns of `side_by_side`: the metric, its heading, decimals, and what it is multiplied with.
MEASURES = (("entropy", "H", 3, 1), ("normalised_entropy", "H / ln n", 3, 1),
            ("accuracy", "accuracy, %", 1, 100), ("deviation", "relative deviation", 3, 1),
            ("r2", "variance explained", 3, 1), ("agreement", "agreement with flips", 2, 1))


def judged(record: dict) -> pd.DataFrame:
    """Return a performer's accuracy for each attribute, as `figures.outcome_dots` takes it."""
    table = pd.DataFrame(record["metrics"])[["accuracy", "balanced_accuracy", "rate"]]
    return table.loc[list(ATTRIBUTES)].astype(float)


def judged_in_words(table: pd.DataFrame, least: float = 0.6) -> str:
    """Say for how many attributes the balanced accuracy is at least so much, and for which not."""
    weak = [label(name).lower() for name in table.index[~(table.balanced_accuracy >= least)]]
    return (f"Balanced accuracy is at least {least:g} for {len(table) - len(weak)} of the "
            f"{len(table)} attributes" + (f" (not for: {', '.join(weak)})" if weak else "")
            + f"; mean accuracy {percent(table.accuracy.mean(), 1)}.")


def what_was_run(settings: Settings) -> str:
    """Say what the summary's numbers were measured on."""
    kind = "[drawn faces](faces)" if settings.faces == "drawn" else "photographs"
    performers = f"{settings.performer_seeds} performer{'s' * (settings.performer_seeds > 1)}"
    return (f"**What was run.** Preset `{settings.preset}`: VGG-16 at {settings.face_width:g} of "
            f"the paper's width with {settings.face_fc} units in its fully connected layers, "
            f"{len(faces_of(settings, 'train')):,} training and "
            f"{len(faces_of(settings, 'test')):,} test {kind} of {settings.face_size} pixels a "
            f"side, {performers}; explainers of "
            f"{', '.join(label(t).lower() for t in settings.targets)} with "
            f"{settings.explainer_seeds} seeds of g each, ours with beta "
            f"{settings.attribute_beta:g}. The paper's numbers are of the full-size network on "
            "photographs of CelebA. In both n = 39 concepts explain a score, so that entropies can "
            "be compared as they are, and as a share of the largest possible one, ln 39 = "
            f"{math.log(N):.3f}.")


def plain(explainers: pd.DataFrame) -> pd.DataFrame:
    """Return the fits of ours and of the baseline alone."""
    return explainers[explainers.method.isin(METHODS)]


def _by_start(explainers: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Ours and baseline by how g's last layer starts, in words."""
    return [(f"g started {STARTS[start]}", fits)
            for start, fits in plain(explainers).groupby("last_layer", sort=False)]


def entropies(explainers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return H / ln n of baseline and ours for each target, as `figures.entropy_slopes` takes it."""
    found = {"the paper": paper_normalised("table_1", "experiment_2").T.drop(index="average")}
    for start, fits in _by_start(explainers):
        found[f"here, {start}"] = fits.pivot_table(
            index="target", columns="method", values="entropy", sort=False) / math.log(N)
    labels = paper()["labels"]
    return {title: table.rename(index=lambda name: labels.get(name, name)) for title, table in found.items()}


def entropy_tables(explainers: pd.DataFrame) -> list[Styler]:
    """Return Table 1, one for each start of g's last layer."""
    return [entropy_table(fits, "table_1", "experiment_2", columns="target",
                          caption=f"Table 1, Experiment 2: entropy, {start}")
            for start, fits in _by_start(explainers)]


def entropy_gain(explainers: pd.DataFrame) -> str:
    """Say how much ours' entropy is above the baseline's, and whether that can be told from chance."""
    theirs = paper_normalised("table_1", "experiment_2").drop(columns="average")
    said = []
    for start, fits in _by_start(explainers):
        gain, each = estimate(gains(fits, "normalised_entropy")), pairs(fits, "normalised_entropy").normalised_entropy
        verdict = {HOLDS: "higher", FAILS: "lower"}.get(compared(gain), "no detectable effect")
        said.append(f"with {start} {told(gain, 3, plus=True)}, above 0 in {(each > 0).sum()} of "
                    f"{len(each)} pairs of fits "
                    f"that differ in target and seed of g ({spread(each, 3)}): **{verdict}**")
    return (f"H / ln n of ours minus the baseline's, mean over targets: {'; '.join(said)}. The "
            "fits to one performer share its features, priors and test faces, so that a count of "
            f"them is no evidence about another network; that takes at least {LEAST} performers. "
            "The paper's difference is "
            f"{signed((theirs.loc['ours'] - theirs.loc['baseline']).mean(), 3, plus=True)} by its four targets "
            "(one of its printed averages is a misprint, see [](../reproduce/errata)), of one "
            "performer and without a spread.")


def accuracy_tables(explainers: pd.DataFrame) -> list[Styler]:
    """Return Table 2's accuracies: the performer's, then ours and baseline for each start of g."""
    fits = plain(explainers)
    performers = fits.drop_duplicates(["target", "performer_seed"]).assign(
        method="performer", percent=lambda f: 100 * f.performer_accuracy)
    published = paper_frame("supplement_accuracy_attributes")
    shown = [comparison(performers, "percent", published, rows=("performer",), columns="target", digits=1,
                        caption="Table 2, right: accuracy of the performer in percent")]
    for start, some in _by_start(fits.assign(percent=lambda f: 100 * f.accuracy)):
        shown.append(comparison(some, "percent", published, columns="target", digits=1,
                                caption=f"Table 2, right, and supplement: accuracy in percent, {start}"))
    return shown


def deviation_tables(explainers: pd.DataFrame) -> list[Styler]:
    """Return Table 2's relative deviations, one for each start of g."""
    published = paper_frame("table_2", "relative_deviation", "experiment_2")
    return [comparison(fits, "deviation", published, columns="target",
                       caption=f"Table 2, right: relative deviation, {start}")
            for start, fits in _by_start(explainers)]


def accuracy_kept(explainers: pd.DataFrame, selections: pd.DataFrame, test_images: int) -> str:
    """Say what is lost of the accuracy, and why deviations can't be set beside the paper's."""
    table_2 = paper_frame("table_2", "accuracy", "experiment_2")["average"]
    ours = plain(explainers)[lambda f: f.method == "ours"]
    ours = ours.assign(loss=100 * (ours.performer_accuracy - ours.accuracy))
    losses = "; ".join(f"with {start} {told(estimate(by_performer(fits, 'loss')), 2)}"
                       for start, fits in _by_start(ours))
    tuned = 100 * (ours.accuracy_own_threshold - ours.accuracy).mean()
    linear = selections[selections.weights == "linear"].groupby("size").deviation.mean()
    return (f"Of the accuracy our explainers lose, in percentage points, {losses}; the paper's lose "
            f"{table_2.performer - table_2.ours:.1f}. The explainer's threshold is chosen on the "
            "validation faces, the performer's is 0; chosen on the test faces themselves, as the "
            f"paper seems to do, it gives {signed(tuned, 2, plus=True)} points more.\n\nThese "
            "deviations can't be compared with the paper's: the performer is much smaller, the "
            f"range that they are divided by grows with the number of test faces ({test_images:,} "
            f"here; CelebA has 19,962), and fixed linear weights of {linear.index[-1]} other "
            f"scores, the same for all faces, already give {number(linear.iloc[-1])}.")


def gallery(settings: Settings, target: str, share: float = 0.5) -> Figure:
    """Draw Figure 6 of a target: a test face with it and one without that the network gets right.

    Each target shows other faces than the last one, where there are so many.
    """
    run = Run(settings, target)
    ours, labels, k = run.explain(), run.labels("test"), ATTRIBUTES.index(target)
    chosen = []
    for answer in (True, False):
        said = (ours.yhat > 0) == answer
        right = (said & (labels == answer)).nonzero()[:, 0]
        chosen += (right if len(right) else said.nonzero()[:, 0]).roll(-k)[:1].tolist()
    return figures.signed_bars(portraits(settings, chosen), ours[chosen], target, share=share, most=8)


def side_by_side(explainers: pd.DataFrame, yardsticks: pd.DataFrame, caption: str = "") -> Styler:
    """Put ours, baseline, controls and what needs no fit, after the paper's, into one table.

    They are of one target or several, which are averaged. Controls are fitted with the first
    start of g's last layer. Whether there are intervals is added to the title.
    """
    groups = {f"{METHOD_NAMES[method]}, {start}": fits[fits.method == method]
              for start, fits in _by_start(explainers) for method in ("baseline", "ours")}
    groups |= {METHOD_NAMES[m]: f for m, f in explainers.groupby("method") if m not in METHODS}
    groups |= {METHOD_NAMES[m]: f for m, f in yardsticks.groupby("method")}
    found = {name: [estimate(by_performer(f, metric) * factor) for metric, _, _, factor in MEASURES]
             for name, f in groups.items()}
    found["performer"] = [estimate(by_performer(plain(explainers), "performer_accuracy") * factor)
                          if metric == "accuracy" else estimate([]) for metric, _, _, factor in MEASURES]
    order = [*groups][: 2 * explainers.last_layer.nunique()]
    order += [name for name in METHOD_NAMES.values() if name in groups] + ["performer"]
    targets = explainers.target.unique()
    rows = _published(targets[0] if len(targets) == 1 else "average") | {name: [
        figures.with_interval(e, digits) if e.values else DASH
        for e, (_, _, digits, _) in zip(found[name], MEASURES)] for name in order}
    most = max(len(e.values) for row in found.values() for e in row)
    table = pd.DataFrame(rows, index=[heading for _, heading, *_ in MEASURES]).T
    if (table[MEASURES[-1][1]] == DASH).all():  # photographs have no truth by flipping
        table = table.drop(columns=MEASURES[-1][1])
    style = table.style.set_table_attributes('class="dataframe"').set_properties(**{"text-align": "right"})
    return style.set_caption(f"{caption} ({INTERVAL if most >= LEAST else NO_INTERVAL})".strip())


def _published(target: str) -> dict[str, list[str]]:
    """The paper's rows of `side_by_side`: for a target in its spelling, or the average."""
    sources = {"entropy": paper_frame("table_1", "experiment_2"),
               "normalised_entropy": paper_normalised("table_1", "experiment_2"),
               "accuracy": paper_frame("supplement_accuracy_attributes"),
               "deviation": paper_frame("table_2", "relative_deviation", "experiment_2")}

    def cell(method: str, metric: str, digits: int) -> str:
        table = sources.get(metric)
        known = table is not None and method in table.index and target in table
        return number(table.at[method, target], digits) if known else DASH

    rows = {f"{method} in the paper": [cell(method, metric, digits) for metric, _, digits, _ in MEASURES]
            for method in ("baseline", "ours")}
    return {name: row for name, row in rows.items() if set(row) != {DASH}}


def controls(explainers: pd.DataFrame, yardsticks: pd.DataFrame) -> str:
    """Say what explanations that can't be right get by the paper's measures, and by the truth."""
    first = explainers[explainers.last_layer == explainers.last_layer.iloc[0]]
    every = pd.concat([first, yardsticks])

    def mean(metric: str, method: str) -> float:
        return by_performer(every[every.method == method], metric).mean()

    deviation, accuracy, entropy, truth = ({m: mean(metric, m) for m in METHOD_NAMES} for metric in (
        "deviation", "accuracy", "normalised_entropy", "agreement"))
    gap = accuracy["ours"] - min(accuracy["shuffled"], accuracy["constant"])
    text = ("**What this means.** g sees the face's feature map, so it can read the score off that "
            "map and write it on whatever concepts it is given. With the concepts of other faces "
            f"the relative deviation is {number(deviation['shuffled'])}, with a single constant "
            f"concept {number(deviation['constant'])}, with the right concepts "
            f"{number(deviation['ours'])}; the accuracies are {percent(accuracy['shuffled'], 1)}, "
            f"{percent(accuracy['constant'], 1)} and {percent(accuracy['ours'], 1)}. So **a low "
            "relative deviation or a small loss of accuracy is no evidence that the concepts "
            "explain the score**: explanations without information "
            f"{'lose at most ' + signed(100 * gap, 1) + ' points' if gap > 0 else 'lose no point'} of "
            "accuracy against ours, and their deviations are "
            f"{number(deviation['shuffled'] / deviation['ours'], 1)} and "
            f"{number(deviation['constant'] / deviation['ours'], 1)} times that of ours.\n\nH / ln "
            f"n is {number(entropy['ours'])} for ours and {number(entropy['baseline'])} for the "
            "baseline; with a prior that belongs to other concepts it is "
            f"{number(entropy['permuted'])}, with the concepts of other faces "
            f"{number(entropy['shuffled'])}"
            + (f", with equal weights, which explain nothing, {number(entropy['uniform'])}"
               if entropy["uniform"] == entropy["uniform"] else "") + ".")
    if any(entropy[method] > entropy["ours"] for method in ("permuted", "shuffled")):
        text += (" **A high entropy is no evidence that an explanation is correct**: a control "
                 "that can't be right has a higher one than ours.")
    return text + (_truth_in_words(plain(explainers), truth) if truth["ours"] == truth["ours"] else "")


def _truth_in_words(fits: pd.DataFrame, truth: dict[str, float]) -> str:
    """The paragraph of `controls` on the agreement with the truth by flipping."""
    gain, each = estimate(gains(fits, "agreement")), pairs(fits, "agreement").agreement
    verdict = {HOLDS: "better", FAILS: "worse"}.get(compared(gain), "no detectable difference")
    value = {method: number(mean, 2) for method, mean in truth.items()}
    return (f"\n\nAgreement with the truth by flipping: ours {value['ours']}, baseline "
            f"{value['baseline']}; over both starts of g ours minus baseline is "
            f"{told(gain, 3, plus=True)}, higher in {(each > 0).sum()} of {len(each)} pairs of "
            f"fits: {verdict}. With the permuted prior it is {value['permuted']}, with the "
            f"concepts of other faces {value['shuffled']}. 0 is not its chance level: the "
            f"contributions of another face already agree to {value['another_face']}, and weights "
            f"averaged over all faces to {value['mean_alpha']}, so that most of it says which "
            f"attributes matter on average. What needs no g: the prior alone {value['prior']}, "
            f"fixed linear weights {value['linear']}, equal weights {value['uniform']}. With $y$ "
            f"centred it is {value['centred']}: where the zero of a concept lies is a choice that "
            "the contributions depend on. With the relative loss, where the prior weighs more, it "
            f"is {value['relative']}.")
