"""The slope chart of entropies, and what the landing page says of it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from semquant.checks import InputError
from semquant_book import figures
from semquant_book.figures.slopes import _apart
from semquant_book.pages import landing


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


PANELS = {"the paper": pd.DataFrame({"baseline": [0.7, 0.6], "ours": [0.9, 0.95]}, index=["AlexNet", "VGG-M"]),
          "here": pd.DataFrame({"baseline": [0.94], "ours": [0.93]}, index=["AlexNet"])}


def test_a_line_for_each_network_on_one_axis():
    left, right = figures.entropy_slopes(PANELS).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[0.7, 0.9], [0.6, 0.95]]
    assert [line.get_ydata().tolist() for line in right.lines] == [[0.94, 0.93]]
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[1] >= 1
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("the paper", "here")
    assert {t.get_text() for t in left.texts} == {"AlexNet", "VGG-M"}


@pytest.mark.parametrize("panels, message", [
    ({}, "panels: there is none"), ({"x": pd.DataFrame({"ours": [1.0]})}, "panels: x has no column baseline")])
def test_what_is_missing_is_told(panels, message):
    with pytest.raises(InputError, match=message):
        figures.entropy_slopes(panels)


def test_names_move_apart_as_little_as_needed():
    assert _apart([0.5, 0.2], 0.1) == [0.5, 0.2]
    assert _apart([0.52, 0.5], 0.1) == pytest.approx([0.56, 0.46])
    placed = _apart([0.5, 0.5, 0.5, 0.9], 0.1)
    assert sorted(placed) == pytest.approx([0.4, 0.5, 0.6, 0.9])
    generator = np.random.default_rng(0)
    values = generator.random(12).tolist()
    placed = _apart(values, 0.05)
    assert np.argsort(values).tolist() == np.argsort(placed).tolist()
    assert np.diff(sorted(placed)).min() >= 0.05 - 1e-9


def results(baseline, ours):
    frame = pd.DataFrame([
        {"architecture": a, "category": "dog", "performer_seed": 0, "scale": s, "seed": 0, "method": m,
         "normalised_entropy": v}
        for a in ("alexnet", "vgg_m") for s in ("literal", "scaled")
        for m, v in (("baseline", baseline), ("ours", ours))])
    prior = pd.DataFrame([{"architecture": "alexnet", "category": "dog", "performer_seed": 0,
                           "method": "prior", "normalised_entropy": 0.68}])
    return SimpleNamespace(explainers=frame, references=prior, settings=SimpleNamespace(
        preset="quick", categories=("dog",)))


def test_the_headline_follows_from_the_numbers():
    said = landing.headline(results(0.95, 0.93))
    assert "What does not appear here is the paper's collapsed baseline" in said
    assert "*ours* is where the paper's is: 0.93 to 0.93 with y literal, 0.93 to 0.96 in the paper, of the same categories" in said
    assert "The baseline is at 0.95 to 0.95, in the paper at 0.67 to 0.90" in said
    assert "With y scaled" in said and "0.68" in said and "nothing to cure" in said
    other = landing.headline(results(0.7, 0.8))
    assert "collapsed baseline appears here too" in other and "not where the paper's is" in other
    assert "nothing to cure" not in other


def test_a_smoke_run_is_called_one():
    assert landing.preface(results(0.9, 0.9)) == ""
    assert "mean nothing" in landing.preface(SimpleNamespace(settings=SimpleNamespace(preset="smoke")))


def test_the_slopes_are_the_papers_and_each_readings():
    axes = landing.slopes(results(0.95, 0.93)).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["the paper", "here, y literal", "here, y scaled"]
    assert [len(ax.lines) for ax in axes] == [4, 2, 2]
