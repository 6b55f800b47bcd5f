"""What would be better: the grid of all truths, and sentences that follow it."""

import pandas as pd
import pytest

from semquant_book import figures
from semquant_book.pages import better, interventions, ranking, trials
from semquant_book.study.hypotheses import ERROR
from semquant_book.study.presets import project_root
from semquant_book.study.replicates import estimate


@pytest.fixture
def grid():
    def one(value):
        return None if value is None else estimate([value] * 5)

    return pd.DataFrame({"network": [one(0.1), one(0.2), one(0.3)], "drawing": [one(0.5), one(0.4), None]},
                        index=["gradient times input, corrected", "gradient times input", "ours"]).astype(object)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_grid_has_each_error_once_and_the_best_mean_place_first(grid):
    figure = figures.error_grid(grid, {"ours": "#FF0000"})
    ax = figure.axes[0]
    assert sorted(t.split(" ")[0] for t in texts(figure)) == ["0.100", "0.200", "0.300", "0.400", "0.500"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "gradient times input", "gradient times input, corrected", "ours"]  # mean places 1/4, 1/2, 1
    assert ax.get_yticklabels()[2].get_color() == "#FF0000"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["network", "drawing"]


def test_the_nearest_and_the_corrections_place_are_said(grid, monkeypatch):
    monkeypatch.setattr(better, "all_truths", lambda: grid)
    first, second = better.elsewhere().splitlines()
    assert "nearest gradient times input, corrected (0.100 ± 0.000)" in first and "place 1 of 3" in first
    assert "nearest gradient times input (0.400" in second and "place 2 of 2" in second
    without = grid.drop(index="gradient times input, corrected")
    monkeypatch.setattr(better, "all_truths", lambda: without)
    assert "the correction was not asked" in better.elsewhere().splitlines()[0]


def test_the_kept_records_fill_the_grid_with_their_own_numbers():
    found, trial, drawn = better.all_truths(), trials.read(), interventions.read()["animals"]
    assert list(found.index) == list(better.WAYS) and found.shape[1] == len(trials.PANELS) + 2
    assert found.iloc[:, 0].notna().all()
    expected = trials.errors(trial).loc["gradient times input"].mean()
    assert found.loc["gradient times input"].iloc[0].value == pytest.approx(expected)
    erased = found.loc["ours"].iloc[len(trials.PANELS)]
    assert erased.value == pytest.approx(ranking.measured(drawn, f"{ERROR} picture").loc["ours_scaled"].mean())
    assert "performer" in found.columns[0] and found.columns[-1].endswith("(1 performer)")


def test_readme_has_the_numbers_of_erased_parts():
    text = (project_root() / "README.md").read_text().replace("\n", " ")
    said = text[text.index("parts are erased in the picture instead"):]
    column = better.all_truths().iloc[:, len(trials.PANELS)]
    for way in ("equal shares", "gradient times input", "gradient times input, corrected"):
        assert figures.with_interval(column[way], 3) in said, way
