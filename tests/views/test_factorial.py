"""What the map of the trial packs, and its still figure."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_factorial import record
from made_trial import GAINS, trial

from semquant.checks import InputError
from semquant_book.study.factorial import Fit
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
    assert data["measures"][0] == (ERROR, "rescaled error") 
    assert [s["note"] for s in data["sets"]] == ["A note."] and data["varied"] == []


def test_yardsticks_are_of_each_performer_where_a_measure_has_them():
    lines = {line["name"]: line["values"] for line in factorial.explore(trial(), LABELS).data["yardsticks"]}
    assert list(lines) == ["gradient × input", "corrected", "prior alone"]
    assert lines["prior alone"][ERROR] == pytest.approx([3 * (0.1 + k / 100) for k in range(4)])
    assert "error average" not in lines["prior alone"]


def test_a_fit_that_diverged_is_there_without_numbers():
    data = factorial.explore(trial(diverged={(1, "adamw", "high", "measured")}), LABELS).data
    json.dumps(data, allow_nan=False)  # plain values only
    assert fit(data, 1, "adamw", "high", "measured", 1e-2)[ERROR] is None


def test_what_the_trial_holds_fixed_is_a_set_of_its_own():
    data = factorial.explore(trial(), LABELS, "A note.", record(lost={(2, Fit("adamw", "fitting", "none"))}), "Few.").data
    json.dumps(data, allow_nan=False)
    assert [s["note"] for s in data["sets"]] == ["A note.", "Few."] and data["sets"][1]["name"].startswith("dog, cat (")
    assert [(p["name"], p.get("set", 0), p.get("fading", 0)) for p in data["performers"][3:]] == [
        ("VGG-M, cow, seed 0", 0, 0), ("AlexNet, dog", 1, 0), ("AlexNet, dog, filter loss 0.3", 1, 1), ("AlexNet, cat", 1, 0)]
    assert [v["field"] for v in data["varied"]] == ["fading", "bias", "depth", "seed"]
    fits = [f for f in data["fits"] if f["performer"] >= 4]
    assert len(fits) == len(record()["fits"]) and not any("bias" in f for f in data["fits"] if f["performer"] < 4)

    def one(performer, prior, regime=("sgd", "high"), **other):
        numbers = dict.fromkeys(("bias", "depth", "seed"), 0) | other
        (found,) = [f for f in fits if (f["performer"], f["prior"], f["optimizer"], f["start"], f["chosen"]) == (
            performer, prior, *regime, True) and all(f.get(name, 0) == k for name, k in numbers.items())]
        return found

    assert one(5, "uniform", bias=1)["normalised_entropy"] == pytest.approx(0.6 + 0.2 * 0.75 * (0.5 + 0.1))
    assert one(5, "uniform", bias=1)["fading"] == 1 and "fading" not in one(4, "none")
    assert one(4, "measured", depth=1)["normalised_entropy"] == pytest.approx(0.6 - 0.2)
    assert one(4, "measured", seed=3)["normalised_entropy"] == pytest.approx(0.6 + 0.2 * 1.03)
    assert one(6, "none", ("adamw", "fitting"))[ERROR] is None
    lines = {line["name"]: line["values"][ERROR] for line in data["yardsticks"]}
    assert lines["gradient × input"][4:] == pytest.approx([0.02, 0.03, 0.04]) and lines["corrected"][4:] == [None] * 3


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
