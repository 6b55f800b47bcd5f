"""Tables beside the paper's: what stands in them."""

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
    assert row["Ours", "this run"] == "3.000 ± 1.500"  # 1.5 with seed 0, 4.5 with seed 1
    assert row["Ours", "paper"] == "3.400"
    assert row["Ours", "difference"] == "−0.400"
    assert row["Baseline", "this run"] == "0.375"  # of seed 1, young is missing


@pytest.mark.parametrize("frame, published", [
    (MEASURED[MEASURED.target == "male"], PUBLISHED),  # of other things than the paper's
    (MEASURED, PUBLISHED.drop(columns="average")),  # the paper prints none
])
def test_no_average_of_something_else(frame, published):
    assert "average" not in table(frame, published).index
