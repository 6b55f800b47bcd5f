"""What came out for each sentence of ``book/claims.yml``: a function for each, from tables to a Finding.

A sentence about two kinds of fit gets its verdict from the interval over performers
(`findings.compared`), measured in several places (`findings.combined`). Where the paper says "few", "most"
or "a bit", the text says what is taken for it.

Experiment 2 has one performer, so no interval: a sentence that a counterexample refutes, or that is
said of each of several attributes, is counted over these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from semquant.checks import one_of
from semquant_book.datasets.names import METHODS

from semquant_book.pages.comparison import (
    REFERENCES, paper, paper_frame, paper_normalised, paper_of)
from semquant_book.pages.findings import (
    FAILS, HOLDS, MIXED, UNTOLD, Finding, Line, beside, by_reading, by_target, combined, compared,
    counted, gain_lines, level_lines, number, over, percent, spread, told, where_higher)
from semquant_book.study.replicates import by_performer, estimate, gains
from semquant_book.study.results import DOGS, FIVE, Results

__all__ = ["ANSWER", "TESTS", "findings"]

#: The sentences that answer what the landing page asks.
ANSWER = ("less-biased", "closer-to-truth", "deviation-measures-concepts")


def findings(results: Results, only: Sequence[str] | None = None) -> dict[str, Finding]:
    """Test the paper's sentences: all of ``book/claims.yml``, or those with some ids."""
    for name in only or ():
        one_of("sentence", name, tuple(TESTS))
    return {name: TESTS[name](results) for name in only or TESTS}


def _of(frame: pd.DataFrame, method: str, metric: str) -> pd.Series:
    """A metric of one method, a value for each performer."""
    return by_performer(frame[frame.method == method], metric)


def _prefixed(prefix: str, lines: Sequence[Line]) -> tuple[Line, ...]:
    return tuple(Line(f"{prefix}: {line.name}", line.estimate, line.paper) for line in lines)


def less_biased(r: Results) -> Finding:
    """Entropy of contributions as a share of ln n, ours minus baseline."""
    printed = [paper_of(r.settings.categories),  # and of faces without the average, an erratum
               paper_normalised("table_1", "experiment_2").drop(columns="average")]
    rises = [table.loc["ours"] - table.loc["baseline"] for table in printed]
    metric = "normalised_entropy"
    lines = (gain_lines(r.experiment_1, metric, paper=rises[0].mean())
             + gain_lines(r.experiment_2, metric, paper=rises[1].mean()))
    return Finding(
        over(lines), lines, "H / ln n, ours minus baseline",
        f"Entropy as a share of the largest possible, H / ln n: {beside(r.explainers, metric, 2)}. "
        f"In the paper, of the same categories, ours {spread(printed[0].loc['ours'])}, baseline "
        f"{spread(printed[0].loc['baseline'])}, higher for every network.",
        f"For so many performers (fits) ours is higher on recorded photographs: {DOGS}, "
        f"{where_higher(r.experiment_1[DOGS], metric)}; {FIVE}, "
        f"{where_higher(r.experiment_1[FIVE], metric)}. On faces, "
        f"{where_higher(r.attributes, metric)}"
        + (": no detectable effect." if over(gain_lines({"": r.attributes}, metric)) == UNTOLD else "."),
        shown=len(by_reading(r.explainers)))


def baseline_few_filters(r: Results) -> Finding:
    """How many filters the baseline uses, and how many of the most activated ones it leaves out."""
    frame = r.explainers.assign(used=np.exp(r.explainers.entropy) / r.explainers.n)
    used = level_lines(frame, "used", "baseline", "in use, baseline")
    ignored = level_lines(frame, "ignored_active", "baseline", "strongest ignored, baseline")
    others = (level_lines(frame, "used", "ours", "in use, ours")
              + level_lines(frame, "ignored_active", "ours", "strongest ignored, ours"))
    verdicts = [over(used, 0.25, above=False), over(ignored, 0.5)]
    n = pd.Series(paper()["settings"]["experiment_1"]["n"])
    printed = np.exp(paper_frame("table_1", "experiment_1").loc["baseline"]) / n
    return Finding(
        combined(verdicts), used + ignored + others, "share of the filters",
        "An even distribution of the same entropy would use, of a network's filters, "
        f"{beside(frame, 'used', 0, percent=True)}; the paper's baseline "
        f"{spread(printed, 0, percent=True)}. “Very few” is taken as less than a quarter, “most” "
        "as more than half.",
        f"Of an image's most activated tenth, not among its largest contributions: "
        f"{beside(frame, 'ignored_active', 0, percent=True)}.",
        border=0.25, digits=0, percent=True, plus=False, shown=len(used))


def closer_to_truth(r: Results) -> Finding:
    """The paper's error and the error of rescaled shares, baseline minus ours."""
    table_3 = paper_frame("table_3").average
    raw, shares = "error average", "error_of_shares average"
    here, recorded = ({name: f for name, f in r.experiment_1.items() if (name in (DOGS, FIVE)) == there}
                      for there in (False, True))
    lines = tuple(
        line for frames in (here, recorded)
        for line in (*_prefixed("raw", gain_lines(frames, raw, sign=-1, paper=table_3.baseline - table_3.ours)),
                     *_prefixed("rescaled", gain_lines(frames, shares, sign=-1))))
    known = set(r.references.method)
    alone = "; ".join(
        f"{words} {number(_of(r.references, m, raw).mean())} and {number(_of(r.references, m, shares).mean())}"
        for m, words in REFERENCES.items() if m in known)
    flips = ("" if r.attributes.agreement.isna().all() else
             " Faces, rank correlation with the fall of the score when an attribute is flipped: "
             f"{beside(r.attributes, 'agreement', 2)}.")
    return Finding(
        over(lines), lines, "error, baseline minus ours",
        f"The paper's error, raw: {beside(r.explainers, raw)} (the paper's ours "
        f"{number(table_3.ours)}, baseline {number(table_3.baseline)}). With each image's "
        f"contributions rescaled to add up to its score: {beside(r.explainers, shares)}.{flips}",
        f"The same two errors, raw and rescaled, of what needs no explainer: {alone}.",
        shown=2 * len(by_reading(r.explainers)))


def accuracy_kept(r: Results) -> Finding:
    """Accuracy of the explainer, ours minus baseline; a percentage point is let pass."""
    lines = gain_lines(r.experiment_1, "accuracy") + gain_lines(r.experiment_2, "accuracy")
    values = [v for line in lines for v in line.estimate.values]
    return Finding(
        over(lines, -0.01), lines, "accuracy, ours minus baseline, in points",
        f"Accuracy of the explainers: {beside(r.explainers, 'accuracy', 1, percent=True)}. “Did "
        "not decrease” is taken as: by less than a percentage point.",
        f"The largest fall of one performer is {percent(min(values), 1, plus=True)}. Whether the "
        "loss overcame bias-interpreting is another sentence, the first.",
        border=-0.01, digits=1, percent=True, shown=len(by_reading(r.explainers)))


def deviation_kept(r: Results) -> Finding:
    """Mean relative deviation, ours minus baseline; a hundredth of the scores' range is let pass."""
    lines = gain_lines(r.experiment_1, "deviation") + gain_lines(r.experiment_2, "deviation")
    values = [v for line in lines for v in line.estimate.values]
    return Finding(
        over(lines, 0.01, above=False), lines, "relative deviation, ours minus baseline",
        f"Relative deviation: {beside(r.explainers, 'deviation')}. “A bit” is taken as less than 0.01.",
        f"The largest rise for one performer is {number(max(values), 4, plus=True)}. In the "
        "paper's own table it falls for three of the four networks.",
        border=0.01, digits=4, shown=len(by_reading(r.explainers)))


def prior_fades(r: Results) -> Finding:
    """The share of lambda(t) times the prior loss in the whole loss, last epoch minus first."""
    h = r.history.assign(weighted=r.history.prior_weight * r.history.prior)
    h = h.assign(share=h.weighted / (h.weighted + h.distillation))
    keys = ["architecture", "category", "performer_seed", "scale", "seed"]
    ends = h[h.epoch == h.epoch.max()].merge(h[h.epoch == 1], on=keys, suffixes=("", "_first"))
    ends["change"] = ends.share - ends.share_first
    lines = tuple(Line(reading, estimate(by_performer(g, "change"))) for reading, g in by_reading(ends))

    def fall(name: str, show: Callable[[float], str]) -> str:
        return "; ".join(f"{reading} {show(g[f'{name}_first'].mean())} to {show(g[name].mean())}"
                         for reading, g in by_reading(ends))

    labels = paper()["labels"]
    rising = [labels[a] for a, g in ends.groupby("architecture", sort=False) if (g.prior > g.prior_first).any()]
    return Finding(
        over(lines, above=False), lines, "share of the prior loss, last epoch minus first",
        "The prior loss times lambda(t), as a share of the whole loss in the first and the last of "
        f"{h.epoch.max()} epochs: {fall('share', percent)}.",
        "lambda falls like 1 / sqrt(t), the distillation loss faster: "
        f"{fall('distillation', '{:.4g}'.format)}. The cross-entropy can't fall below the entropy "
        "of w" + (f"; for {', '.join(rising)} it even rises." if rising else "."),
        digits=0, percent=True, shown=len(lines))


def positive_parts(r: Results) -> Finding:
    """Share of images in which every named part is above 0: by the paper's own truth, and by ours."""
    truth = Line("the truth", estimate(by_performer(r.explainers, "true_positive_parts"), share=True))
    ours = level_lines(r.explainers, "positive_parts", "ours")
    each = truth.estimate.values
    gradient = _of(r.references, "gradient_times_input", "positive_parts").mean()
    return Finding(
        compared(truth.estimate, 0.5), (truth, *ours), "share of positive images",
        "By the paper's own truth, the fall of the score when a part's filters are removed, every "
        f"named part is positive in {spread(each, 0, percent=True)} of a network's "
        "images." if each else "The true contributions were not recorded.",
        f"By ours in {percent(min(line.estimate.value for line in ours))} of them, by "
        "construction: alpha is positive by a softplus, so that the sign is that of the part's y. "
        f"By gradient times input, which may be negative, in {percent(gradient)}.",
        border=0.5, digits=0, percent=True, plus=False, shown=1 + len(ours))


def similar_explanations(r: Results) -> Finding:
    """Mean correlation of two images' part contributions: by ours, and by the truth."""
    truth = Line("the truth", estimate(by_performer(r.explainers, "true_similarity")))
    ours = level_lines(r.explainers, "similarity", "ours", share=False)
    judged = (*ours, truth) if truth.estimate.values else ours
    equal = _of(r.references, "uniform", "similarity").mean()
    return Finding(
        over(judged, 0.5), (*ours, truth), "correlation of two images",
        "Correlation of the parts' contributions to two images: "
        f"{beside(r.explainers, 'similarity', 2)}; of the true ones {told(truth.estimate, 2)}. "
        "“Similar” is taken as above 0.5.",
        "Equal weights for all filters, which know nothing of the image, come to "
        f"{number(equal, 2)}: a part with many filters is large in every image.",
        border=0.5, digits=2, plus=False, shown=1 + len(ours))


def one_part_a_filter(r: Results) -> Finding:
    """Share of filters whose peak falls on their own part in at least half of the images."""
    with_loss, without = (r.performers[r.performers.filter_loss == there] for there in (True, False))
    lines = tuple(Line(words, estimate(by_performer(frame, "part_specificity"), share=True))
                  for words, frame in (("with the filter loss", with_loss), ("without", without)))
    labels = paper()["labels"]
    each = with_loss.groupby("architecture", sort=False).part_specificity.mean()
    same = with_loss[with_loss.architecture.isin(without.architecture)].part_specificity.mean()
    return Finding(
        compared(lines[0].estimate, 0.9), lines, "share of the filters",
        "Filters that keep to one part: " + ", ".join(f"{labels[a]} {percent(v)}" for a, v in each.items())
        + ". “Each” is taken as more than nine in ten.",
        f"Trained without the filter loss {percent(without.part_specificity.mean())}; the same "
        "network with it "
        f"{percent(same)}." if len(without) else "Nothing was trained without the filter loss here.",
        border=0.9, digits=0, percent=True, plus=False)


def mask_relu_order(r: Results) -> Finding:
    """Largest difference of a performer's scores between mask and ReLU in either order."""
    return Finding(
        HOLDS if r.mask_order <= 1e-4 else FAILS, (), "",
        f"Largest difference of a performer's scores between the two orders: {r.mask_order:.1g}.",
        "It is so by construction: the template is clipped at 0 here. Unclipped, as the "
        "predecessor's, it would turn a negative activation positive.")


def grad_cam_agrees(r: Results) -> Finding:
    """Rank correlation of part contributions with Grad-CAM's mass on the parts."""
    words = {"ours": "ours", "baseline": "baseline", "uniform": "equal weights"}
    found = {m: Line(w, estimate(_of(r.grad_cam, m, "rank_correlation"))) for m, w in words.items()}
    more = estimate(gains(r.grad_cam, "rank_correlation", "ours", "uniform"))
    return Finding(
        over([Line("more", more)]), tuple(found.values()), "rank correlation",
        f"Over a network's named parts: ours {told(found['ours'].estimate, 2)}, baseline "
        f"{number(found['baseline'].estimate.value, 2)}. It holds if ours agrees more than equal "
        "weights do.",
        f"Equal weights for all filters come to {number(found['uniform'].estimate.value, 2)}, ours "
        f"minus these {told(more, 2, plus=True)}: large parts gather more of the map whatever the "
        "explanation.", digits=2, plus=False, shown=3)


def jacobian_problematic(r: Results) -> Finding:
    """Error of shares of what the Jacobian alone gives, minus that of ours."""
    metric, alone = "error_of_shares average", ("prior", "gradient_times_input")
    lines = tuple(Line(f"{REFERENCES[m]}, {reading}",
                       estimate((_of(r.references, m, metric) - _of(g, "ours", metric)).dropna()))
                  for m in alone for reading, g in by_reading(r.explainers))
    said = ", ".join(f"{REFERENCES[m]} {number(_of(r.references, m, metric).mean())}" for m in alone)
    return Finding(
        over(lines), lines, "error of shares, minus that of ours",
        f"Error of shares: {said}; {beside(r.explainers, metric)}.",
        "The truth here removes filters under layers that are close to linear, which favours "
        "gradients; of deeper ones it says nothing.", shown=len(lines))


def explainer_outperforms(r: Results) -> Finding:
    """Accuracy of the explainer minus the performer's; sometimes: for some performer, beyond its error."""
    performer = r.explainers.performer_accuracy
    frame = r.explainers.assign(more=r.explainers.accuracy - performer,
                                own=r.explainers.accuracy_own_threshold - performer)
    each, own = by_performer(frame, "more"), by_performer(frame, "own")
    right, images = performer.mean(), r.performers.test_images.mean()
    error = (2 * right * (1 - right) / images) ** 0.5
    plain = r.attributes[r.attributes.method.isin(METHODS)]
    more = (plain.accuracy - plain.performer_accuracy).groupby(plain.target).mean()
    return Finding(
        HOLDS if each.max() > 2 * error else FAILS if each.max() <= 0 else UNTOLD,
        (Line("threshold from validation images", estimate(each)),
         Line("the best on the test images", estimate(own))),
        "accuracy, explainer minus performer, in points",
        f"At most {percent(each.max(), 2, plus=True)} for a performer; the standard error of such "
        f"a difference, if the two erred independently, is {percent(error, 2)}, and “sometimes” "
        "asks for twice that.",
        f"On average {percent(each.mean(), 2, plus=True)}; with the threshold chosen on the "
        f"evaluated images, as in the paper, {percent(own.mean(), 2, plus=True)}. On faces "
        f"{percent(more.min(), 2, plus=True)} to {percent(more.max(), 2, plus=True)} by target. "
        "The performer's own threshold is not tuned.", digits=2, percent=True)


def mimics_mistakes(r: Results) -> Finding:
    """Share of the performer's wrong answers that the explainer repeats."""
    lines = tuple(Line(f"{words} answers repeated", estimate(by_performer(r.explainers, metric), share=True))
                  for words, metric in (("wrong", "mistakes_repeated"), ("right", "right_repeated")))
    plain = r.attributes[r.attributes.method.isin(METHODS)]
    deviation = [by_performer(r.explainers, m).mean() for m in ("deviation_of_mistakes", "deviation")]
    return Finding(
        compared(lines[0].estimate, 0.5), lines, "share of the performer's answers",
        f"Of {r.explainers.mistakes.mean():.0f} wrong answers a performer gives, the explainer "
        f"repeats {percent(lines[0].estimate.value)}; on faces "
        f"{percent(plain.mistakes_repeated.mean())}. It holds if it repeats more than half.",
        f"It repeats {percent(lines[1].estimate.value, 1)} of the right ones; relative deviation "
        f"on the wrong ones {number(deviation[0])}, on all {number(deviation[1])}.",
        border=0.5, digits=0, percent=True, plus=False)


def _one(name: str, values: pd.Series) -> Line:
    """The mean over attributes of the one performer."""
    return Line(name, estimate([values.mean()]))


def image_specific_weights(r: Results) -> Finding:
    """Share of alpha's variance between images: above a hundredth is all that 'may' asks."""
    shares = pd.Series(r.alpha_between_images)
    curve = r.selections.groupby(["weights", "size"]).deviation.mean()
    most = r.selections["size"].max()
    averaged = r.yardsticks[r.yardsticks.method == "mean_alpha"].agreement.mean()
    constant = by_target(r.attributes, "deviation", "constant").mean()
    ours = by_target(r.attributes, "agreement", "ours").mean()
    return Finding(
        counted(int((shares > 0.01).sum()), len(shares)), (_one("mean over targets", shares),),
        "share of alpha's variance between faces",
        f"Of alpha's variance {spread(shares, 0, percent=True)}, by target, lies between faces "
        "rather than between concepts.",
        f"They are hardly needed. Relative deviation with {most} concepts: fixed linear weights "
        f"{number(curve['linear', most])}, g {number(curve['learned', most])}, g with one constant "
        f"concept {number(constant)}. Agreement with the truth by flipping: ours "
        f"{number(ours, 2)}, with alpha averaged over the faces {number(averaged, 2)}.",
        digits=0, percent=True, plus=False)


def deviation_measures_concepts(r: Results) -> Finding:
    """Deviation with a concept that knows nothing: a counterexample where it is at most 1.5 times ours."""
    names = {"ours": "39 attributes", "shuffled": "39 attributes of another face",
             "constant": "one constant concept"}
    deviation = {m: by_target(r.attributes, "deviation", m) for m in names}
    accuracy = {m: by_target(r.attributes, "accuracy", m).mean() for m in names}
    worse = deviation["constant"] > 1.5 * deviation["ours"]
    said = "; ".join(f"{words} {number(deviation[m].mean())} and {percent(accuracy[m], 1)}"
                     for m, words in names.items())
    return Finding(
        counted(int(worse.sum()), len(worse)), tuple(_one(names[m], v) for m, v in deviation.items()),
        "relative deviation",
        f"Relative deviation and accuracy with {said}: g, which sees the face, makes up for what "
        "the concepts lack.",
        "One performer, but a counterexample needs no interval: without information the deviation "
        f"is more than 1.5 times as large for {int(worse.sum())} of {len(worse)} targets.",
        plus=False, shown=3)


def entropy_measures_bias(r: Results) -> Finding:
    """A prior permuted over concepts: a counterexample where entropy rises and agreement falls."""
    names = {"baseline": "baseline", "ours": "ours", "permuted": "ours with a permuted prior"}
    entropy = {m: by_target(r.attributes, "normalised_entropy", m) for m in names}
    truth = {m: by_target(r.attributes, "agreement", m) for m in names}
    if not truth["permuted"].notna().any():
        return Finding(UNTOLD, (), "", "Photographs have no truth by flipping.", "")
    fooled = (entropy["permuted"] > entropy["baseline"]) & (truth["permuted"] < truth["baseline"])
    gain = gains(r.explainers, "normalised_entropy")
    error = gains(r.explainers, "error_of_shares average")
    same = int((gain * error > 0).sum())
    said = "; ".join(f"{words} {number(entropy[m].mean())} and {number(truth[m].mean(), 2)}"
                     for m, words in names.items())
    return Finding(
        counted(int((~fooled).sum()), len(fooled)), tuple(_one(names[m], v) for m, v in entropy.items()),
        "H / ln n",
        f"H / ln n and agreement with the truth by flipping: {said}. A prior that says nothing "
        f"raises the one and lowers the other for {int(fooled.sum())} of {len(fooled)} targets.",
        f"For animals, the lower entropy goes with the smaller error of shares for {same} of "
        f"{len(gain)} performers.", plus=False, shown=3)


def more_concepts(r: Results) -> Finding:
    """Relative deviation with the fewest and the most concepts, by target: lower by a tenth at least."""
    curve = r.selections.groupby(["weights", "target", "size"]).deviation.mean().unstack("size")
    few, most = curve.columns.min(), curve.columns.max()
    falls = curve[most] < 0.9 * curve[few]
    names = {"learned": "weights by g", "linear": "fixed linear weights"}
    verdicts = {counted(int(falls[w].sum()), len(falls[w])) for w in names}
    said = "; ".join(
        f"{words} {number(curve.loc[w, few].mean())} to {number(curve.loc[w, most].mean())}, lower "
        f"by a tenth or more for {int(falls[w].sum())} of {len(falls[w])} "
        "targets" for w, words in names.items())
    return Finding(
        verdicts.pop() if len(verdicts) == 1 else MIXED,
        tuple(_one(words, curve.loc[w, most] - curve.loc[w, few]) for w, words in names.items()),
        f"relative deviation, {most} concepts minus {few}",
        f"Relative deviation from {few} to {most} concepts: {said}.",
        "The paper's explainer is g, which can make up for missing concepts; one performer, no interval.")


def global_from_local(r: Results) -> Finding:
    """Variance of global scores that local ones explain, and the other way round with as many scores."""
    whole, local = (r.variance_explained[r.variance_explained.whole == w] for w in (True, False))
    usually, inverse = whole.others.mean() > 0.5, local.others.mean() < whole.four_local.mean()
    lines = (_one("global from 36 local", whole.others), _one("local from 4 global", local.others),
             _one("global from 4 local at random", whole.four_local),
             _one("local from 4 local at random", local.four_local))
    return Finding(
        FAILS if not usually else HOLDS if inverse else MIXED, lines, "share of variance explained",
        f"Global scores from the 36 local ones {percent(whole.others.mean())} "
        f"({spread(whole.others, 0, percent=True)}), local ones from the four global ones "
        f"{percent(local.others.mean())} ({spread(local.others, 0, percent=True)}).",
        f"That sets 36 scores against four. From four local ones at random: global "
        f"{percent(whole.four_local.mean())}, local {percent(local.four_local.mean())}.",
        digits=0, percent=True, plus=False, shown=4)


#: The test of each sentence of ``book/claims.yml``, by its id, in its order.
TESTS: dict[str, Callable[[Results], Finding]] = {
    test.__name__.replace("_", "-"): test for test in (
        less_biased, baseline_few_filters, closer_to_truth, positive_parts, similar_explanations,
        one_part_a_filter, mask_relu_order, explainer_outperforms, accuracy_kept, deviation_kept,
        mimics_mistakes, prior_fades, grad_cam_agrees, jacobian_problematic, image_specific_weights,
        deviation_measures_concepts, entropy_measures_bias, more_concepts, global_from_local)}
