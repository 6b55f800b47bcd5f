"""Experiment 2 as pages tell it: numbers of small tables made by hand, words that follow from them."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.pages import celeba, choices, scores
from semquant_book.pages.comparison import paper_frame
from semquant_book.study import records
from semquant_book.study.tables import normalised

LN = math.log(39)
MEASURES = dict(accuracy=0.8, performer_accuracy=0.9, accuracy_own_threshold=0.81, deviation=0.02, r2=0.9,
                agreement=0.4)


def fit(method, entropy, **more):
    """A row as `tables.attribute_frame` has it; entropy as a share of ln 39."""
    return {"target": "male", "performer_seed": 0, "method": method, "last_layer": "near_zero", "seed": 0,
            "entropy": entropy * LN, **MEASURES, **more}


@pytest.fixture
def explainers():
    """Two targets and two seeds: ours higher by 0.05, 0.03, 0.01 and lower by 0.01; one start of g."""
    rows = [fit(method, base + gain * (method == "ours"), target=target, seed=seed)
            for (target, seed, base), gain in zip(
                [("male", 0, 0.8), ("male", 1, 0.8), ("young", 0, 0.9), ("young", 1, 0.9)],
                (0.05, 0.03, 0.01, -0.01)) for method in ("ours", "baseline")]
    rows += [fit("shuffled", 0.95, target=t, deviation=0.03, accuracy=0.78, agreement=0.1) for t in ("male", "young")]
    rows += [fit("constant", 0.0, target=t, deviation=0.04, accuracy=0.79, agreement=None) for t in ("male", "young")]
    return normalised(pd.DataFrame(rows).astype({"agreement": float}))


@pytest.fixture
def yardsticks():
    rows = [dict(target=t, performer_seed=0, method=m, entropy=e * LN, agreement=0.3)
            for t in ("male", "young") for m, e in (("prior", 0.9), ("uniform", 0.85))]
    return normalised(pd.DataFrame(rows))


def several(explainers, gains):
    """The same with one performer for each gain of ours over the baseline, in all its fits."""
    frames = []
    for seed, gain in enumerate(gains):
        own = explainers.assign(performer_seed=seed, normalised_entropy=0.8)
        own.loc[own.method == "ours", "normalised_entropy"] = 0.8 + gain
        frames.append(own)
    return pd.concat(frames, ignore_index=True)


def test_one_performer_has_no_detectable_effect_however_many_fits_agree(explainers):
    said = scores.entropy_gain(explainers)
    assert "with g started near zero +0.020 (1 performer, no interval)" in said  # (5 + 3 + 1 - 1) / 4 hundredths
    assert "above 0 in 3 of 4 pairs of fits" in said and "(−0.010 to 0.050)" in said
    assert "**no detectable effect**" in said
    paper = paper_frame("table_1", "experiment_2").drop(columns="average")
    theirs = (paper.loc["ours"] - paper.loc["baseline"]).mean() / LN
    assert f"The paper's difference is +{theirs:.3f} by its four targets (one of its printed averages" in said


@pytest.mark.parametrize("gains, verdict", [
    ((0.03, 0.04, 0.05, 0.04), "higher"), ((-0.03, -0.04, -0.05, -0.04), "lower"),
    ((0.03, -0.04, 0.05, -0.04), "no detectable effect"), ((0.03, 0.04, 0.05), "no detectable effect"),
])
def test_several_performers_may_show_one(explainers, gains, verdict):
    said = scores.entropy_gain(several(explainers, gains))
    assert said.count("**") == 2 and f": **{verdict}**" in said
    assert (f"{len(gains)} performers" + ", no interval" * (len(gains) < 4)) in said


def test_all_that_was_fitted_stands_in_one_table_beside_the_paper(explainers, yardsticks):
    style = scores.side_by_side(explainers, yardsticks, "Means")
    table = style.data
    assert list(table.index) == [
        "baseline in the paper", "ours in the paper", "baseline, g started near zero",
        "ours, g started near zero", "concepts of another face", "one constant concept", "prior alone, w y",
        "equal weights, y", "performer"]
    assert table.loc["ours, g started near zero"].tolist() == [
        f"{0.87 * LN:.3f}", "0.870", "80.0", "0.020", "0.900", "0.40"]  # (.85 + .83 + .91 + .89) / 4
    assert table.loc["one constant concept", ["H", "H / ln n"]].tolist() == ["0.000", "—"]
    assert table.loc["prior alone, w y"].tolist() == [f"{0.9 * LN:.3f}", "0.900", "—", "—", "—", "0.30"]
    assert table.loc["performer"].tolist() == ["—", "—", "90.0", "—", "—", "—"]
    average = paper_frame("table_1", "experiment_2").average
    assert table.at["ours in the paper", "H"] == f"{average.ours:.3f}"
    assert table.at["ours in the paper", "H / ln n"] == f"{average.ours / LN:.3f}"
    assert "no interval" in style.caption


def test_the_table_of_one_target_has_the_papers_numbers_of_it(explainers, yardsticks):
    one = [frame[frame.target == "young"] for frame in (explainers, yardsticks)]
    table = scores.side_by_side(*one).data
    assert table.at["baseline in the paper", "H"] == f"{paper_frame('table_1', 'experiment_2').young.baseline:.3f}"
    assert table.at["ours, g started near zero", "H / ln n"] == "0.900"
    other = [frame.assign(target="smiling") for frame in one]  # which the paper doesn't explain
    assert "ours in the paper" not in scores.side_by_side(*other).data.index


def test_photographs_have_no_column_for_the_truth(explainers, yardsticks):
    frames = [frame.assign(agreement=float("nan")) for frame in (explainers, yardsticks)]
    table = scores.side_by_side(*frames).data
    assert "agreement with flips" not in table and "variance explained" in table
    assert "Agreement" not in scores.controls(*frames)


def test_controls_in_words(explainers, yardsticks):
    said = scores.controls(explainers, yardsticks)
    assert "deviation is 0.030, with a single constant concept 0.040, with the right concepts 0.020" in said
    assert "lose at most 2.0 points of accuracy" in said and "1.5 and 2.0 times that of ours" in said
    assert "H / ln n is 0.870 for ours and 0.850 for the baseline" in said
    assert "**A high entropy is no evidence" in said  # of another face: 0.95
    assert "equal weights, which explain nothing, 0.850" in said
    lower = explainers.assign(entropy=explainers.entropy.where(explainers.method != "shuffled", 0.1))
    assert "**A high entropy" not in scores.controls(normalised(lower), yardsticks)


def test_what_is_lost_of_the_accuracy(explainers):
    points = pd.DataFrame([dict(weights="linear", size=s, deviation=d)
                           for s, d in ((1, 0.2), (39, 0.04), (39, 0.06))])
    said = scores.accuracy_kept(explainers, points, 1234)
    assert ("our explainers lose, in percentage points, with g started near zero 10.00 (1 performer, no "
            "interval); the paper's lose 4.3. The") in said and "+1.00 points more" in said
    assert "(1,234 here" in said and "weights of 39 other scores, the same for all faces, already give 0.050" in said


def test_slopes_are_shares_of_ln_n(explainers):
    found = scores.entropies(explainers)
    assert list(found) == ["the paper", "here, g started near zero"]
    here = found["here, g started near zero"]
    assert here.loc["male", ["baseline", "ours"]].tolist() == pytest.approx([0.8, 0.84])
    assert list(found["the paper"].index)[0] == "attractive" and len(found["the paper"]) == 4


def test_accuracies_in_words():
    about = {"metrics": {"accuracy": {n: 0.9 for n in ATTRIBUTES}, "rate": {n: 0.2 for n in ATTRIBUTES},
                         "balanced_accuracy": {n: 0.7 for n in ATTRIBUTES} | {"Bald": 0.59, "Young": None},
                         "test_images": 10}}
    table = scores.judged(about)
    assert list(table.index) == list(ATTRIBUTES)
    said = scores.judged_in_words(table)
    assert "at least 0.6 for 38 of the 40 attributes (not for: bald, young); mean accuracy 90.0%." in said


def test_means_over_choices_have_a_spread_where_there_are_several():
    points = pd.DataFrame([dict(target="male", weights=w, size=s, deviation=d, accuracy_loss=-d)
                           for w in ("linear", "learned") for s, d in ((1, 0.2), (1, 0.4), (39, 0.1))])
    table = choices.means(points).data
    assert table.at[1, "deviation, linear"] == "0.300 ± 0.141" and table.at[39, "deviation, g"] == "0.100"
    assert table.at[1, "loss of accuracy, g"] == "−0.300 ± 0.141"


def test_the_recorded_photographs_are_told_as_recorded():
    found = celeba.evidence("", False, "celeba", "cpu")
    assert found.explainers.normalised_entropy.dropna().between(0.5, 1).all()
    said = celeba.what_was_run(found, False)
    assert "14,283 training" in said and "one performer" in said and "may be chance" in said
    assert "may be chance" not in celeba.what_was_run(found, True)
    origin = celeba.origin("", False, "celeba")
    assert "recorded numbers" in origin and "none is shown" in origin
    assert "records/mine.json" in celeba.origin("x", True, "mine")
    assert "no detectable effect" in scores.entropy_gain(found.explainers)


def test_a_run_on_no_folder_is_one_line():
    with pytest.raises(ValueError, match="^run: True needs data, the folder with CelebA$"):
        celeba.evidence("", True, "celeba", "cpu")


def test_a_target_that_a_record_lacks_is_said():
    found = SimpleNamespace(record={"examples": {}}, example=records.Evidence.example)
    figure = celeba.gallery(found, "Male", "")
    assert figure.texts[0].get_text() == "Male is no target of this run"
