"""What the map of the trial packs, and its still figure."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_trial import GAINS, trial

from semquant.checks import InputError
from semquant_book.study.hypotheses import ERROR, REGIMES
from semquant_book.views import factorial

LABELS = {"alexnet": "AlexNet", "vgg_m": "VGG-M"}


def fit(data, performer, optimizer, start, prior, rate):
    (found,) = [f for f in data["fits"] if (f["performer"], f["optimizer"], f["start"], f["prior"], f["rate"])
                == (performer, optimizer, start, prior, rate)]
    return found


def test_the_map_holds_every_fit_of_the_performers_that_tests_are_on():
    data = factorial.explore(trial(), LABELS, "A note.").data
    assert [p["name"] for p in data["performers"]] == [
        f"{LABELS[a]}, {c}, seed 0" for c in ("bird", "cow") for a in LABELS]  # no dog
    assert [p["entropy"] for p in data["performers"]] == pytest.approx([1, 1.1, 1.2, 1.3])
    assert len(data["fits"]) == 4 * (3 * 3 + 1 + 3 * 2)
    ours = fit(data, 2, "sgd", "fitting", "measured", 1e-2)
    assert ours["normalised_entropy"] == pytest.approx(0.6 - 0.1 * 1.2) and ours[ERROR] == pytest.approx(0.5 - 0.2 * 1.2)
    assert not fit(data, 0, "sgd", "high", "none", 1e-5)["chosen"] and fit(data, 0, "sgd", "high", "none", 3e-5)["chosen"]
    assert data["measures"][0] == (ERROR, "rescaled error") and data["note"] == "A note."


def test_yardsticks_are_of_each_performer_where_a_measure_has_them():
    lines = {line["name"]: line["values"] for line in factorial.explore(trial(), LABELS).data["yardsticks"]}
    assert list(lines) == ["gradient × input", "corrected", "prior alone"]
    assert lines["prior alone"][ERROR] == pytest.approx([3 * (0.1 + k / 100) for k in range(4)])
    assert "error average" not in lines["prior alone"]


def test_a_fit_that_diverged_is_there_without_numbers():
    data = factorial.explore(trial(diverged={(1, "adamw", "high", "measured")}), LABELS).data
    json.dumps(data, allow_nan=False)  # plain values only
    assert fit(data, 1, "adamw", "high", "measured", 1e-2)[ERROR] is None


def test_without_a_performer_that_tests_are_on_there_is_no_map():
    with pytest.raises(InputError, match="record: no performer that the tests are on"):
        factorial.explore(trial(categories=("dog", "cat")), LABELS)


def test_the_still_figure_has_each_pair_and_the_mean_in_every_regime():
    drawn = factorial.figure(trial(diverged={(0, "sgd", "high", "measured")}))
    assert [ax.get_title("left") or ax.get_title() for ax in drawn.axes] == [
        "SGD,\nhigh start", "SGD,\nfitting start", "AdamW,\nhigh start", "AdamW,\nfitting start"]
    for ax, which in zip(drawn.axes, REGIMES):
        count = 3 if which == REGIMES[0] else 4
        _, baseline, ours, *mean = ax.lines[:5]
        assert len(baseline.get_xdata()) == len(ours.get_xdata()) == count
        even, other = (gain * np.mean([1 + k / 10 for k in range(4 - count, 4)]) for gain in GAINS[which])
        assert [line.get_xdata().item() for line in mean] == pytest.approx([0.6, 0.6 + even])
        assert [line.get_ydata().item() for line in mean] == pytest.approx([0.5, 0.5 + other])
        assert [line.get_ydata()[0] for line in ax.lines[5:]] == pytest.approx([0.115 * j for j in (2, 1, 3)])
    plt.close("all")
