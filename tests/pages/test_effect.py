"""The page on when the paper's effect appears, on records made by hand."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from made_factorial import record as record_of_more
from made_trial import trial
from scipy import stats

from semquant_book.folders import project_root
from semquant_book.pages import effect
from semquant_book.pages.findings import number
from semquant_book.study.hypotheses import ERROR
from semquant_book.study.regimes import RATES, WATCHED
from semquant_book.study.store import read_record

NETWORKS = ("alexnet", "vgg_m", "vgg_s", "vgg16")


def record(gains=(0.1, 0.2, 0.3, 0.4)):
    """In SGD from a high start ours is more even by `gains`; everywhere else nothing changes."""
    rows, weights, rates = [], [], []
    for k, architecture in enumerate(NETWORKS):
        for optimizer, start in RATES:
            about = {"architecture": architecture, "category": "dog", "performer_seed": 0,
                     "optimizer": optimizer, "start": start}
            for rate in RATES[optimizer, start]:
                rates.append(about | {"rate": rate, "chosen": rate == 1e-3 or rate == 1e-4,
                                      "squared_error": None if rate == 3e-2 else 1.5 + k})
            for prior in ("none", "measured", "uniform", "permuted"):
                share = {"none": 0, "measured": 1, "uniform": 0.75, "permuted": 0.5}[prior]
                more = share * gains[k] if (optimizer, start) == ("sgd", "high") else 0.0
                rows.append(about | {
                    "prior": prior, "rate": 1e-3, "chosen": True, "normalised_entropy": 0.5 + more, "error average": 0.2 - more / 10,
                    "error_of_shares average": 0.1 + 0.01 * k, "deviation": 0.05, "n": 64,
                    "start_ratio": (20.0 if start == "high" else 1.0) + k,
                    "follows_y": (-0.5 if start == "high" else 0.25) - k / 10})
                if (optimizer, start) == WATCHED and prior in ("none", "measured"):
                    rows.append(rows[-1] | {"rate": 1e-5, "chosen": False, "start_ratio": 99.0,
                                            "normalised_entropy": None if k == 3 else 0.3 + 2 * more,
                                            "deviation": 0.5})
                weights.append(about | {"prior": prior, "start_alpha": [0.7, 0.7, 0.7],
                                        "alpha": [0.7, 0.07, 0.0], "y": [1.0, 10.0, 20.0]})
    return {"settings": {"categories": ["dog"]}, "rows": rows, "weights": weights, "rates": rates}


def test_a_gain_has_students_interval_over_performers():
    found = effect.gains(record(), "normalised_entropy")
    assert list(found) == ["SGD, high start", "SGD, fitting start", "AdamW, high start", "AdamW, fitting start"]
    gain = found["SGD, high start"]
    half = stats.t.ppf(0.975, 3) * np.std([0.1, 0.2, 0.3, 0.4], ddof=1) / 2
    assert gain.value == pytest.approx(0.25) and gain.low == pytest.approx(0.25 - half)
    assert found["AdamW, high start"].value == 0


def test_what_is_said_has_the_number_the_interval_and_the_count():
    said = effect.said(record())
    assert ("- **SGD, high start**: H / ln n +0.250 (+0.045 to +0.455, 4 performers), higher in 4 of 4; "
            "the paper's error −0.025 (−0.046 to −0.004, 4 performers), error of shares +0.000") in said
    assert "- **AdamW, fitting start**: H / ln n +0.000 (+0.000 to +0.000, 4 performers), higher in 0 of 4" in said
    assert "(the paper's entropy, of the same categories: +0.182)" in said


def test_what_priors_without_knowledge_bring_is_told_where_there_is_a_gain():
    assert effect.controls(record()) == (
        "Of the gain in entropy a prior that knows nothing brings, with SGD, high start: 75% by a uniform "
        "prior, 50% by one whose weights are those of other filters.")
    assert effect.controls(record((-0.3, 0.2, 0.3, -0.4))) == (
        "In no regime is a gain in entropy told from zero. With SGD, high start, priors that know nothing "
        "bring −0.038 (uniform) and −0.025 (permuted), where the measured one brings −0.050.")


def test_the_trial_by_regime_has_levels_and_differences_within_performers():
    table = effect.by_regime(trial()).data.T
    assert list(table.index) == list(effect.changes(trial(), ERROR))
    levels = table["H / ln n"].loc["SGD, high start"]
    gains = [0.2 * (1 + k / 10) for k in range(4)]  # of birds and cows
    assert levels.iloc[0] == f"0.600 → {number(0.6 + np.mean(gains))}"
    means = [np.mean([gains[i] for i in drawn]) for drawn in product((0, 2), (0, 2), (1, 3), (1, 3))]  # within networks
    half = (max(means) - min(means)) / 2  # each end comes in more than 2.5% of all draws
    assert levels.iloc[1] == f"+0.230 ± {half:.3f}"
    assert table["rescaled error"].loc["AdamW, fitting start"].iloc[1].startswith("+0.115 ± ")
    assert "mean over 4 performers" in effect.by_regime(trial()).caption


def test_where_the_prior_loss_raises_the_entropy_is_said_and_where_it_comes_nearer_to_the_truth():
    said = effect.homes(trial())
    assert said.startswith("The entropy over part groups of exact Shapley values is, in nats, 1.15 (1.05 to 1.25, 4 performers). ")
    assert ("raises H / ln n with SGD from a high start, and lowers it with SGD from a fitting start and AdamW from a "
            "fitting start.") in said
    assert ("nearer to the truth's with SGD from a high start and SGD from a fitting start, and further from it "
            "with AdamW from a fitting start.") in said


def test_with_few_performers_no_regime_is_named():
    few = trial(categories=("bird", "dog"))
    assert effect.homes(few) == (
        "The entropy over part groups of exact Shapley values is, in nats, 1.05 (2 performers, no interval). Fewer than 4 "
        "performers have no interval, so that no regime is named.")
    assert effect.by_regime(few).data.T["H / ln n"].loc["SGD, high start"].iloc[1] == "+0.210"


def test_a_fit_that_diverged_has_no_pair():
    gain = effect.changes(trial(diverged={(3, "sgd", "high", "none")}), ERROR)["SGD, high start"]
    assert gain.values == pytest.approx((-0.1, -0.12, -0.11)) and not gain.known


def test_the_map_is_shown_with_its_still_figure(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    effect.explore(trial(), record_of_more())
    still, view = shown
    alt = re.search('alt="(.*?)"', still.data)[1]
    assert len(alt) <= 300 and len(view.data["performers"]) == 4 + 3


def test_the_rates_that_were_tried():
    tried = effect.tried(record())
    assert tried.loc[("SGD, high start", 1e-4), "AlexNet"] == "1.50 (taken)"
    assert tried.loc[("SGD, fitting start", 3e-2), "VGG-M"] == "diverged"
    assert tried.loc[("AdamW, high start", 3e-3), "VGG-16"] == "4.50"


def test_what_the_rate_does_where_the_effect_is():
    table = effect.by_rate(record()).data
    assert list(table.index) == ["1e-05", "0.001"]
    assert table["taken for", "networks"].tolist() == ["0", "4"]
    assert table["H / ln n", "baseline"].tolist() == ["0.300", "0.500 ± 0.000"]  # three of four
    assert table["H / ln n", "ours"].tolist() == ["0.700", "0.750 ± 0.205"]
    assert table["relative deviation", "ours"].tolist() == ["0.500 ± 0.000", "0.050 ± 0.000"]


def test_where_the_sum_starts():
    assert effect.starts(record()) == (
        "a high start is 20.0 to 23.0 times the scores' mean size; a fitting start is 1.0 to 4.0 times "
        "the scores' mean size")


def test_how_weights_go_with_values_is_told_from_network_to_network():
    assert regimes_of(effect.follows(record())) == {
        "SGD, high start": "−0.80 to −0.50", "SGD, fitting start": "−0.05 to 0.25",
        "AdamW, high start": "−0.80 to −0.50", "AdamW, fitting start": "−0.05 to 0.25"}


def regimes_of(said):
    return {part[: part.index("start") + 5]: part[part.index("start") + 6 :] for part in said.split("; ")}


def test_figures_show_the_records_numbers():
    slopes = effect.slopes(record())
    titles = [ax.get_title("left") for ax in slopes.axes]
    assert titles == ["the paper", "SGD,\nhigh start", "SGD,\nfitting start", "AdamW,\nhigh start",
                      "AdamW,\nfitting start"]
    lines = [line.get_ydata().tolist() for line in slopes.axes[1].lines]
    assert sorted(lines) == [pytest.approx([0.5, 0.5 + g]) for g in (0.1, 0.2, 0.3, 0.4)]
    crushed = effect.crushed(record(), "vgg_m")
    assert len(crushed.axes) == 4
    dots = crushed.axes[0].lines[1]
    assert dots.get_xdata().tolist() == [1, 10, 20]
    assert dots.get_ydata().tolist() == pytest.approx([1, 0.1, 1e-3])


def test_the_record_that_comes_with_the_project_is_of_four_networks():
    kept = effect.read()
    assert {row["architecture"] for row in kept["rows"]} == set(NETWORKS)
    assert sum(row["chosen"] for row in kept["rows"]) == 4 * 4 * 4


def test_readme_has_the_records_numbers():
    row = next(line for line in (project_root() / "README.md").read_text().splitlines()
               if "by optimiser of g" in line)
    kept = effect.read()
    for name, gain in effect.gains(kept, "normalised_entropy").items():
        said = " ".join(number(v, plus=True) for v in (gain.value, gain.low, gain.high))
        assert re.sub(r"[()]|to ", "", row).count(said) == 1, name
    for metric in ("error average", "error_of_shares average"):  # "no error differs detectably in either"
        found = effect.gains(kept, metric)
        assert all(found[name].low < 0 < found[name].high for name in ("SGD, high start", "AdamW, high start"))


def test_what_the_departures_say_of_the_optimiser_is_so():
    rows = yaml.safe_load((project_root() / "book" / "departures.yml").read_text())
    said = next(row["here"] for row in rows if row["id"] == "explainer-optimiser")
    frame = pd.DataFrame(read_record(project_root() / "book" / "records" / "regimes.json")["rows"])
    frame = frame[frame.chosen].pivot(index=["optimizer", "start", "architecture"], columns="prior",
                                      values="normalised_entropy")
    higher = (frame.measured > frame.none).groupby(["optimizer", "start"]).sum()
    assert "of all four networks with SGD from a high start, of one with AdamW" in " ".join(said.split())
    assert higher.to_dict() == {("adamw", "fitting"): 0, ("adamw", "high"): 1, ("sgd", "fitting"): 0, ("sgd", "high"): 4}
