"""What came out for the sentences that Experiment 2 tests, from tables.

It has one performer, so that no interval can be given: a sentence that a counterexample refutes, or that
is said of each of several attributes, is counted over these. Differences between two kinds of fit are not
decided here.
"""

from __future__ import annotations

import pandas as pd

from semquant_book.pages.findings import (
    FAILS, HOLDS, MIXED, UNTOLD, Finding, Line, by_target, counted, number, percent, spread,
)  # fmt: skip
from semquant_book.study.replicates import estimate, gains
from semquant_book.study.results import Results

__all__ = ["deviation_measures_concepts", "entropy_measures_bias", "global_from_local",
           "image_specific_weights", "more_concepts"]


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
