"""The page on whether an explanation is right, on a record made by hand."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from scipy import stats

from semquant.checks import InputError
from semquant_book import figures
from semquant_book.figures.style import METHOD_COLOURS
from semquant_book.folders import project_root
from semquant_book.pages import ranking
from semquant_book.pages.findings import number
from semquant_book.study.ranking import TRUTHS, WAYS
from semquant_book.study.replicates import estimate

NETWORKS = ("alexnet", "vgg_m", "vgg_s", "vgg16")
ERRORS = {"ours_literal": (0.5, 0.6, 0.7, 0.8), "ours_scaled": (0.3, 0.3, 0.5, 0.5),
          "baseline_literal": (0.9, 0.9, 0.9, 0.9), "gradient_times_input": (0.1, 0.1, 0.1, 0.1),
          "prior": (0.2, 0.5, 0.3, 0.6), "shapley_sampling": (0.05, 0.05, 0.05, 0.05)}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def record():
    """Errors are `ERRORS`, or 1.5; the rank agreement is 1 less half of it; the other truth doubles it."""
    rows, truths = [], []
    for k, architecture in enumerate(NETWORKS):
        about = {"architecture": architecture, "category": "dog", "performer_seed": 0}
        for way in WAYS:
            error = ERRORS.get(way, (1.5,) * 4)[k]
            row = about | {"method": way, "seconds": 0.002 if way == "lime" else 0.001, "completeness": 0.25}
            for factor, truth in enumerate(TRUTHS, 1):
                row |= {f"error {truth}": 2.0, f"rescaled_error {truth}": factor * error,
                        f"paper_error {truth}": None if way == "ridge" else 0.125,
                        f"rank_agreement {truth}": 1 - error / 2 if way != "random" else None,
                        f"sign_agreement {truth}": 0.9, f"entropy {truth}": 0.05}
            rows.append(row)
        truths.append(about | {"images": 100 - k, "groups": ["eye", "ear", "unassigned"], "nonlinearity": 0.125,
                               "agreement": 0.75, "negative shapley": 0.1, "negative removals": 0.2,
                               "floor shapley": 0.25, "floor removals": 0.375, "seconds": 0.004,
                               "entropy shapley": 1.5, "entropy removals": 1.25})
    return {"rows": rows, "truths": truths, "settings": {}}


def test_the_best_come_first_whatever_is_measured():
    errors = ranking.measured(record(), "rescaled_error shapley")
    assert list(errors.index[:3]) == ["shapley_sampling", "gradient_times_input", "ours_scaled"]
    assert errors.loc["prior"].tolist() == [0.2, 0.5, 0.3, 0.6]
    assert list(ranking.measured(record(), "rank_agreement shapley").index[:2]) == [
        "shapley_sampling", "gradient_times_input"]


def test_every_way_has_a_name():
    assert set(ranking.NAMES) == set(WAYS)


def test_the_best_are_named_with_their_intervals():
    said = ranking.best(record())
    assert said.startswith(f"Nearest to Shapley values, of {len(WAYS)} ways")
    assert "- **rescaled error**: Shapley sampling 0.050 (0.050 to 0.050, 4 performers); gradient times" in said
    assert "- **rank agreement**: Shapley sampling 0.975 (" in said
    half = stats.t.ppf(0.975, 3) * np.std([0.3, 0.3, 0.5, 0.5], ddof=1) / 2
    assert f"ours, y scaled 0.400 ({0.4 - half:.3f} to {0.4 + half:.3f}, 4 performers)." in said
    assert "Nearest to single removals" in ranking.best(record(), "removals")


def test_where_ours_stands_is_a_place_among_all():
    said = ranking.standing(record()).splitlines()
    assert len(said) == 4
    assert said[0].startswith("- **ours, y literal**: rescaled error 0.650 (")
    assert f"place 5 of {len(WAYS)}; rank agreement 0.675 (" in said[0]
    assert said[1].startswith("- **ours, y scaled**") and f"place 3 of {len(WAYS)}; " in said[1]


def test_a_difference_that_includes_zero_is_no_detectable_one():
    said = ranking.differences(record(), "prior").splitlines()
    assert said[0] == "Ours minus prior weights alone:"
    assert "rescaled error +0.000 (−0.2" in said[3]
    assert "4 performers), no detectable difference, better in 2 of 4; rank agreement" in said[3]
    gap = ranking.differences(record(), "gradient_times_input").splitlines()[3]
    assert "rescaled error +0.300 (+0.116 to +0.484, 4 performers), better in 0 of 4" in gap
    assert "rank agreement −0.150 (−0.242 to −0.058, 4 performers), better in 0 of 4." in gap
    other = ranking.differences(record(), "baseline").splitlines()
    assert other[0] == "Ours minus the baseline:" and "rescaled error −1.100 (" in other[3]
    other = other[2]
    assert "rescaled error −0.250 (−0.455 to −0.045, 4 performers), better in 4 of 4" in other
    assert "rank agreement +0.125" in other and other.endswith("better in 4 of 4.")
    twice = ranking.differences(record(), "gradient_times_input", "removals")
    assert "rescaled error +0.600" in twice


def test_tables_have_means_and_half_intervals():
    table = ranking.table(record()).data
    assert list(table.index[:2]) == ["Shapley sampling", "gradient times input"]
    assert table.loc["ours, y scaled", "rescaled error"] == "0.400 ± 0.184"
    assert table.loc["ridge regression", "the paper's error"] == "—"
    assert table.loc["random shares", "rank agreement"] == "—"
    assert ranking.table(record(), "removals").data.loc["ours, y scaled", "rescaled error"] == "0.800 ± 0.367"
    assert "single removals, mean over 4 performers" in ranking.table(record(), "removals").caption
    costs = ranking.costs(record()).data
    assert costs.loc["LIME"].tolist() == ["0.250 ± 0.000", "2.00 ± 0.00"]


def test_deletion_and_insertion_stand_between_the_best_order_and_random_ones():
    kept = record()
    for row in kept["rows"]:
        row |= {"deletion": 0.25, "insertion": 0.75}
    for about in kept["truths"]:
        about |= {"best_deletion": 0.125, "best_insertion": 0.875, "random": 0.5}
    costs = ranking.costs(kept).data
    assert list(costs) == ["unexplained", "deletion", "insertion", "ms an image"]
    assert costs.loc["LIME"].tolist() == ["0.250 ± 0.000", "0.250 ± 0.000", "0.750 ± 0.000", "2.00 ± 0.00"]
    assert costs.loc["the best order"].tolist() == ["—", "0.125 ± 0.000", "0.875 ± 0.000", "—"]
    assert costs.loc["random orders"].tolist() == ["—", "0.500 ± 0.000", "0.500 ± 0.000", "—"]


def test_the_truth_is_described():
    about = ranking.truths(record()).data
    assert list(about) == ["AlexNet", "VGG-M", "VGG-S", "VGG-16"]
    assert about["VGG-S"].tolist() == [98, 3, "0.125", "10%", "0.250", "1.50", "20%", "0.375", "1.25",
                                       "0.750", "4.0"]


def test_the_figure_shows_the_records_numbers():
    left, right = ranking.ranking(record()).axes
    assert [ax.get_title("left") for ax in (left, right)] == [
        "rescaled error, less is better", "rank agreement, more is better"]
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[:3] == ["Shapley sampling", "gradient times input", "ours, y scaled"]
    dots, mean, interval = left.lines[6:9]  # three of each method
    assert sorted(dots.get_xdata()) == [0.3, 0.3, 0.5, 0.5] and set(dots.get_ydata()) == {2}
    assert mean.get_xdata()[0] == pytest.approx(0.4)
    assert interval.get_xdata() == pytest.approx([0.4 - 0.184, 0.4 + 0.184], abs=1e-3)
    assert right.lines[7].get_xdata()[0] == pytest.approx(0.8) and right.lines[7].get_ydata()[0] == 2
    shades = {name: to_hex(left.lines[3 * k + 1].get_color(), keep_alpha=False).upper()
              for k, name in enumerate(names)}
    assert shades["ours, y literal"] == METHOD_COLOURS["ours"]
    assert shades["baseline, y scaled"] == METHOD_COLOURS["baseline"]
    assert shades["prior weights alone"] == METHOD_COLOURS["paper"]
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")


def test_rows_are_in_the_order_of_the_first_panels_means():
    first, second = pd.DataFrame([[1.0, 1.0], [0.0, 1.5]], ["a", "b"]), pd.DataFrame([[5.0], [6.0]], ["a", "b"])
    left, right = figures.ranking({"first": first, "second": second}, {}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["b", "a"]
    assert [line.get_xdata()[0] for line in right.lines[::2]] == [6, 5]  # too few for an interval


@pytest.mark.parametrize("panels, message", [
    ({}, "panels: there is none"),
    ({"a": pd.DataFrame([[1.0]], ["x"]), "b": pd.DataFrame([[1.0]], ["y"])}, "panels: b has other methods")])
def test_panels_that_do_not_fit_are_told(panels, message):
    with pytest.raises(InputError, match=message):
        figures.ranking(panels, {})


def test_the_record_that_comes_with_the_project_is_of_four_networks():
    kept = ranking.read()
    assert [about["architecture"] for about in kept["truths"]] == list(NETWORKS)
    for architecture in NETWORKS:  # it may be from before the latest ways and measures
        ways = {row["method"] for row in kept["rows"] if row["architecture"] == architecture}
        assert ways == set(WAYS)
    assert set(record()["rows"][0]) <= set(kept["rows"][0])
    assert set(record()["truths"][0]) <= set(kept["truths"][0])


def test_readme_has_the_records_numbers():
    row = next(line for line in (project_root() / "README.md").read_text().splitlines()
               if "exact Shapley values of part groups" in line)
    values = ranking.measured(ranking.read(), "rescaled_error shapley")
    means = values.mean(axis=1)
    for words, way in (("ours, y scaled, ", "ours_scaled"), ("its prior alone ", "prior"),
                       ("gradient times input ", "gradient_times_input"), ("baseline ", "baseline_scaled"),
                       ("y literal: ours ", "ours_literal"), ("baseline ", "baseline_literal")):
        assert f"{words}{means[way]:.2f}" in row or f"{words.rstrip()} {means[way]:.2f}" in row, way
    for words, other in (("Ours minus its prior ", "prior"), ("minus the baseline ", "baseline_scaled")):
        gap = estimate(values.loc["ours_scaled"] - values.loc[other])
        value, low, high = (number(v, plus=True) for v in (gap.value, gap.low, gap.high))
        assert f"{words}{value} ({low} to {high})" in row, other
