"""The page on FunnyBirds, on a record made by hand."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from semquant.checks import InputError
from semquant_book import figures
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.pages import funnybirds as page
from semquant_book.study.bird_ways import WAYS
from semquant_book.study.birds import EXAMPLE
from semquant_book.study.record_book import RECORDS

SCORES = {"shapley": 0.95, "removals": 0.9, "ours": 0.7, "baseline": 0.5, "ours_positive": 0.4, "baseline_positive": 0.45,
          "prior": 0.6, "pixel_gradient_times_input": 0.55}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def record():
    """Every score of a way is that of `SCORES`, or 0.3; its error is 1 less that, its agreement that."""
    rows = []
    for way in WAYS:
        value = SCORES.get(way, 0.3)
        row = {"method": way, "seconds": 0.01, "threshold": 0.1, "ts_images": 90, **dict.fromkeys(page.PROTOCOLS, value)}
        for truth in page.TRUE:
            row |= {f"{m} {truth}": value if "agreement" in m else 1 - value for m in page.MEASURES}
            if way == "random":
                row[f"rank_agreement {truth}"] = None
        rows.append(row)
    rows[list(WAYS).index("baseline")]["ts"] = 0.8
    return {"rows": rows, "accuracy": 0.85, "background_independence": 0.975,
            "performer": {"parameters": 432_932, "side": 96, "filters": 64, "val": 0.7, "test": 0.85},
            "data": {"classes": 12, "suffix": ".jpg", "train": 2400, "val": 480, "test": 180, "with_objects": 120},
            "truth": {"parts": ["beak", "eye", "foot", "tail", "wing"], "mean": [0.5, 0.1, 2.0, -0.25, 1.0], "negative": 0.125,
                      "nonlinearity": 0.25, "agreement": 0.9375},
            "example": {"index": 0, "label": 0, "score": 4.0,
                        "importances": {way: [1.0, -0.5, 2.0, 0.0, k] for k, way in enumerate(EXAMPLE)}}}


def test_every_way_has_a_name():
    assert set(page.NAMES) == set(WAYS) and set(EXAMPLE) <= set(WAYS)


def test_the_published_mean_is_that_of_the_authors_plot():
    # plot_results.py: the mean of com, cor and con
    com = ((0.7353 + 0.602 + 0.532) / 3 + 0.54372) / 2
    assert page.mean_score(page.PUBLISHED) == pytest.approx((com + 0.54592 + 0.806) / 3)


def test_ways_are_sorted_by_their_mean(record):
    frame = page.scores(record)
    assert list(frame.index[:5]) == ["shapley", "removals", "ours", "baseline", "prior"]
    assert frame.loc["baseline", "mean"] == pytest.approx((0.5 + 0.5 + 0.8) / 3)
    assert page.protocols(record).data.loc["ours, signed"].tolist() == [
        "0.700", "0.700", "0.700", "0.700", "0.700", "0.700", "0.700", "0.100", "0.0100"]


def test_the_grid_shows_every_score(record):
    ax = page.grid(record).axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0] == "Shapley values of renders" and len(names) == len(WAYS)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["CSDC", "PC", "DC", "D", "SD", "TS", "mean"]
    row = [text.get_text() for text in ax.texts if text.get_position()[1] == names.index("baseline, signed")]
    assert row == ["0.50"] * 5 + ["0.80", "0.60"]
    shades = {label.get_text(): to_hex(label.get_color()).upper() for label in ax.get_yticklabels()}
    assert shades["ours, signed"] == METHOD_COLOURS["ours"] and shades["prior weights alone"] == "#222222"


def test_the_published_row_is_beside_the_same_way(record):
    table = page.beside_published(record).data
    assert table.loc["here"].tolist() == ["0.850", *["0.550"] * 6, "0.975", "0.550"]
    assert table.loc["ResNet-50, published", ["A", "CSDC", "D", "BI", "mean"]].tolist() == [
        "0.998", "0.735", "0.544", "0.998", "0.645"]
    said = page.said(record)
    assert "85.0% of 180 test images correctly (chance: 8.3%), the published one 99.8%" in said
    assert "The same way is within 0.05 in DC, D, SD; lower in CSDC, PC, TS. Network" in said
    differs = page.differs(record)
    assert differs.loc["classes", "here"].startswith("12;") and "432,932 parameters" in differs.loc["network", "here"]
    assert differs.loc["pixels", "here"] == "96, from JPEG of 128"


def test_verdicts_are_computed_from_the_record(record):
    said = page.standing(record)
    assert said.startswith(f"By the mean the first of {len(WAYS) - 2} ways that are no truth is ours, signed, 0.700; prior "
                           "weights alone 0.600, place 3; random shares 0.300, place ")
    assert ("- **signed weights**: ours 0.700, place 1; baseline 0.600, place 2. Ours is higher in CSDC, PC, DC, D, SD "
            "(5 of 6).") in said
    assert ("- **positive weights**: ours 0.400, place 6; baseline 0.450, place 5. Ours is higher in none (0 of 6).") in said
    assert "One performer, no interval" in said
    record["rows"][2]["csdc"] = 0.2
    assert "higher in PC, DC, D, SD (4 of 6)" in page.standing(record)
    true = page.true(record)
    assert "have 0.950, place 1 of 14, below 0.9 in none" in true and "by 0.938 (Spearman's" in true
    assert "12% of them are below 0" in true or "13% of them are below 0" in true
    assert true.endswith("The largest on average is the foot's, the smallest the tail's.")


def test_the_nearest_to_the_truth_come_first(record):
    table = page.truths(record)
    assert list(table.data.index[:3]) == ["single removals of renders", "ours, signed", "prior weights alone"]
    assert table.data.loc["ours, signed"].tolist() == ["0.300", "0.300", "0.700", "0.700"]
    assert table.data.index[-1] == "random shares" and "one performer, no interval" in table.caption
    assert page.truths(record, "removals").data.index[0] == "Shapley values of renders"


def test_the_example_has_a_panel_for_each_way(record):
    figure = page.example(record)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title("left") for ax in shown] == [page.NAMES[way] for way in EXAMPLE]
    assert [bar.get_width() for bar in shown[3].patches] == [1.0, -0.5, 2.0, 0.0, 3]
    assert "−0.50" in [text.get_text() for text in shown[0].texts]
    with pytest.raises(InputError, match="^importances: a has 2 values; accepted: 3, one a part$"):
        figures.part_bars({"a": [1, 2]}, ["x", "y", "z"])


def test_the_record_that_comes_with_the_project_fits_the_page(record):
    kept = page.read()
    assert [row["method"] for row in kept["rows"]] == list(WAYS)
    assert set(record["rows"][0]) <= set(kept["rows"][0]) and set(RECORDS["funnybirds"].fields) <= set(kept)
    for name in ("data", "truth", "example"):
        assert set(record[name]) == set(kept[name])
    assert np.isfinite(page.scores(kept).to_numpy()).all()
    assert not kept["data"].get("pictures") and "base64" not in str(kept)
