"""Tables beside the paper's: what stands in them."""

import math
import re

import pandas as pd
import pytest

from semquant_book.pages import comparison

PUBLISHED = pd.DataFrame({"baseline": {"male": 3.0, "young": 3.2, "average": 3.1},
                          "ours": {"male": 3.3, "young": 3.5, "average": 3.4}}).T
MEASURED = pd.DataFrame([
    {"method": method, "target": target, "performer_seed": 0, "seed": seed, "entropy": value}
    for method, target, seed, value in [
        ("ours", "male", 0, 1.0), ("ours", "young", 0, 2.0), ("ours", "male", 1, 3.0),
        ("ours", "young", 1, 6.0), ("baseline", "male", 0, 0.5), ("baseline", "young", 0, 0.25),
        ("baseline", "male", 1, 0.5)]])


def table(frame, published=PUBLISHED):
    return comparison.comparison(frame, "entropy", published, columns="target").data


def test_the_paper_s_average_stands_beside_ours():
    row = table(MEASURED).loc["average"]
    assert row["Ours", "this run"] == "3.000"  # 1.5 with seed 0, 4.5 with seed 1, of one performer
    assert row["Ours", "paper"] == "3.400"
    assert row["Ours", "difference"] == "−0.400"
    assert row["Baseline", "this run"] == "0.375"  # of seed 1, young is missing


def test_the_average_of_four_performers_has_an_interval_and_the_title_says_so():
    frame = pd.concat([MEASURED.assign(performer_seed=k, entropy=MEASURED.entropy + 2 * k) for k in range(4)])
    shown = comparison.comparison(frame, "entropy", PUBLISHED, columns="target", caption="Entropy")
    # 3, 5, 7, 9: deviation sqrt(20 / 3), t 3.182446
    assert shown.data.loc["average", ("Ours", "this run")] == f"6.000 ± {3.182446 * math.sqrt(20 / 3) / 2:.3f}"
    assert shown.caption == f"Entropy ({comparison.INTERVAL})"
    one = comparison.comparison(MEASURED, "entropy", PUBLISHED, columns="target", caption="Entropy")
    assert one.caption == f"Entropy ({comparison.NO_INTERVAL})" and "no interval" in one.caption


@pytest.mark.parametrize("frame, published", [
    (MEASURED[MEASURED.target == "male"], PUBLISHED),  # of other things than the paper's
    (MEASURED, PUBLISHED.drop(columns="average")),  # the paper prints none
])
def test_no_average_of_something_else(frame, published):
    assert "average" not in table(frame, published).index


def test_a_title_says_how_the_explainers_were_fitted():
    frame = MEASURED.assign(scale="literal", optimizer="adamw", bias_start="zero")
    shown = comparison.comparison(frame, "entropy", PUBLISHED, columns="target", caption="Entropy")
    assert shown.caption == f"Entropy (AdamW, b from 0; {comparison.NO_INTERVAL})"
    sgd = frame.assign(scale="literal, SGD", optimizer="sgd")
    scaled = frame.assign(scale="scaled", bias_start="min")
    assert comparison.fits_said(pd.concat([frame, scaled, sgd])) == (
        "y literal: AdamW, b from 0; y scaled: AdamW, b from the smallest score; y literal, SGD: SGD, b from 0")
    assert comparison.fits_said(pd.concat([frame, scaled.assign(bias_start="zero")])) == "AdamW, b from 0"


# --- entropies as H / ln n, both errors, and the supplement's categories ---------------------------


def test_the_papers_entropies_as_shares_of_ln_n():
    networks = comparison.paper_normalised("table_1", "experiment_1")
    assert networks.at["baseline", "alexnet"] == pytest.approx(3.840 / math.log(256))
    assert networks.at["ours", "vgg16"] == pytest.approx(5.932 / math.log(512))
    assert comparison.paper_normalised("table_1", "experiment_2").at["ours", "male"] == pytest.approx(
        3.280 / math.log(39))
    dogs = comparison.paper_normalised("supplement_entropy", "alexnet")
    assert dogs.at["ours", "dog"] == pytest.approx(5.163 / math.log(256))


def fits(**metrics):
    """AlexNet's explainers: ours and the baseline with two seeds; a metric is (ours, baseline)."""
    return pd.DataFrame([
        {"architecture": "alexnet", "category": "dog", "performer_seed": 0, "scale": "literal",
         "method": method, "seed": seed, **{name: v[k] + seed for name, v in metrics.items()}}
        for k, method in enumerate(("ours", "baseline")) for seed in (0, 1)])


def test_entropies_stand_beside_the_papers_in_nats_and_as_shares():
    frame = fits(entropy=(3.0, 2.0), normalised_entropy=(0.25, 0.125))
    shown = comparison.entropy_table(frame, "table_1", "experiment_1", caption="Table 1")
    assert list(shown.data.index) == ["AlexNet"]
    assert shown.data.loc["AlexNet", "Ours"].tolist() == ["3.500", "5.136", "0.75", "0.93"]
    assert shown.data.loc["AlexNet", "Baseline"].tolist() == ["2.500", "3.840", "0.62", "0.69"]
    assert "no interval" in shown.caption


def references(**metrics):
    """AlexNet's references; a metric is (gradient times input, equal weights)."""
    return pd.DataFrame([
        {"architecture": "alexnet", "category": "dog", "performer_seed": 0, "method": method,
         **{name: values[k] for name, values in metrics.items()}}
        for k, method in enumerate(("gradient_times_input", "uniform"))])


def test_both_errors_stand_side_by_side_with_what_needs_no_explainer():
    frame = fits(**{"error average": (0.25, 0.125), "error_of_shares average": (0.5, 1.0)})
    own = references(**{"error average": (0.013, 0.11), "error_of_shares average": (0.012, 0.099)})
    rows = comparison.error_table(frame, own).data
    assert list(rows) == ["the paper's error", "error of shares"]
    assert rows.index.tolist() == ["gradient times input", "equal weights", "Ours, y literal",
                                   "Baseline, y literal", "Ours in the paper, its dogs",
                                   "Baseline in the paper, its dogs"]  # the smallest error of shares first
    assert rows.loc["Ours, y literal"].tolist() == ["0.750", "1.000"]
    assert rows.loc["gradient times input"].tolist() == ["0.013", "0.012"]
    assert rows.loc["Baseline in the paper, its dogs"].tolist() == ["0.164", "—"]


def test_references_of_older_records_have_no_error_of_the_papers_kind():
    own = references(**{"error_of_shares average": (0.012, 0.099)})
    frame = fits(**{"error average": (0.25, 0.125), "error_of_shares average": (0.5, 1.0)})
    assert comparison.error_table(frame, own).data.loc["equal weights"].tolist() == ["—", "0.099"]


def test_parts_of_table_3():
    parts = {f"error {p}": (0.25, 0.5) for p in ("eye", "mouth & nose", "ear", "torso", "average")}
    frame = fits(**parts, **{"error leg": (math.nan, math.nan)})
    shown = comparison.part_table(frame).data
    assert shown.loc["eye", "Ours"].tolist() == ["0.750", "0.181", "+0.569"]
    assert shown.loc["leg", "Baseline"].tolist() == ["—", "0.084", "—"]
    assert list(comparison.part_table(frame, published=False).data["Ours"]) == ["this run"]


def test_the_categories_that_were_run_are_shown_and_the_others_come_on_demand():
    html = comparison.per_category(fits(accuracy=(0.5, 0.25)), "accuracy", "supplement_accuracy",
                                   factor=100, digits=1, caption="Accuracy").data
    shown, others = html.split("<details>")
    assert "AlexNet, dog" in shown and "100.0" in shown and "92.0" in shown  # mean of 50 and 150; the paper's
    assert "—" not in shown and "—" not in others
    assert "87.3" in others and "average" not in others  # the paper's baseline for cows
    heads = re.findall(r"<th[^>]*col_heading[^>]*>([^<]+)", others)
    assert heads == ["bird", "cat", "cow", "horse", "sheep"]
