"""Sentences, tables and figures of the pages of Experiment 1's networks, on made-up numbers."""

import pandas as pd
import pytest

from semquant_book.pages import networks
from semquant_book.pages.comparison import paper_frame


def rows(**changes):
    """Two seeds of ours and the baseline of one performer; filters of torso and leg."""
    base = {"architecture": "alexnet", "category": "dog", "performer_seed": 0, "scale": "literal", "n": 100,
            "accuracy": 0.9, "accuracy_own_threshold": 0.92, "deviation": 0.05, "kept": 0.5,
            "filters torso": 3, "filters leg": 2, "filters eye": 0, "filters ear": 0, "filters mouth & nose": 0,
            "error torso": 0.1, "error leg": 0.3, "error eye": None, "error average": 0.2,
            "error_of_shares average": 0.1}
    table = [base | {"method": method, "seed": seed, "entropy": entropy + 0.1 * seed}
             for method, entropy in (("ours", 4.0), ("baseline", 3.0)) for seed in (0, 1)]
    frame = pd.DataFrame([row | changes for row in table])
    return frame.assign(normalised_entropy=frame.entropy / 4.60517)  # ln 100


def test_numbers_stand_beside_the_papers_of_the_same_network_and_category():
    table = networks.numbers(rows(), "literal").data
    assert table.loc["entropy H, nats", ("ours", "this run")] == "4.050"
    printed = paper_frame("supplement_entropy", "alexnet").dog.ours
    assert table.loc["entropy H, nats", ("ours", "paper")] == f"{printed:.3f}"
    assert table.loc["H / ln n", ("baseline", "this run")] == "0.662"
    printed = paper_frame("supplement_accuracy", "alexnet").dog.ours
    assert table.loc["accuracy", ("ours", "paper")] == f"{printed / 100:.3f}"
    assert table.loc["error of part contributions", ("ours", "paper")] == "0.089"
    assert table.loc["the same, contributions rescaled", ("ours", "paper")] == "—"  # the paper has none


def test_another_network_stands_beside_the_mean_of_the_papers_four():
    table = networks.numbers(rows(architecture="efficientnet_lite0", category="cat"), "literal").data
    four = [paper_frame("supplement_entropy", a).cat.ours for a in ("alexnet", "vgg_m", "vgg_s", "vgg16")]
    assert table.loc["entropy H, nats", ("ours", "paper")] == f"{sum(four) / 4:.3f}"
    assert table.loc["error of part contributions", ("ours", "paper")] == "—"  # Table 3 is of dogs


def test_entropies_are_told_in_nats_and_as_a_share():
    said = networks.entropies(rows())
    assert "y literal: ours 4.05, baseline 3.05" in said and "ln n = 4.61" in said
    assert said.endswith("y literal: ours 0.88, baseline 0.66.")


def test_parts_without_filters_are_named_and_not_drawn():
    said = networks.part_errors_said(rows())
    assert said.startswith("No filter is named after: eye, mouth & nose, ear;") and "50% of the positive" in said
    # that no image is kept leaves every part without an error, but not without filters
    none = networks.part_errors_said(rows(**{"error torso": None, "error leg": None, "kept": 0.0}))
    assert "torso" not in none and "stands on 0%" in none
    axes = networks.part_error_dots(rows(), "literal").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["torso", "leg"]
    assert networks.part_error_dots(rows(**{"error torso": None, "error leg": None}), "literal").axes


@pytest.mark.parametrize("priors, words", [
    ((3.0, 2.0, 1.5), "its prior loss from 3 to 1.5"),
    ((1.0, 0.5, 2.0), "**its prior loss rises**, from 1 to 2 (0.5, the lowest, after epoch 2)"),
])
def test_a_prior_loss_that_rises_is_said(priors, words):
    history = [{"distillation": 10.0 / t, "prior": p, "prior_weight": 10 / t**0.5} for t, p in enumerate(priors, 1)]
    said = networks.fall_of_losses(history)
    assert words in said and "distillation loss of ours goes from 10 to 3.33" in said
    assert "λ falls from 10 to 5.8" in said


def test_the_replicate_is_the_performer():
    frame = pd.concat([rows(performer_seed=seed) for seed in range(4)])
    said = networks.higher(frame, "entropy", "Entropy")
    assert said.startswith("Entropy, ours minus baseline: with y literal +1.000 (+1.000 to +1.000, 4 performers)")
    assert said.endswith("y literal 4 of 4 (8 of 8).")
    assert "1 performer, no interval" in networks.higher(rows(), "entropy", "Entropy")


def test_what_needs_no_explainer_stands_in_the_same_order():
    references = pd.DataFrame([
        {"architecture": "alexnet", "category": "dog", "performer_seed": 0, "method": m, "error_of_shares average": v}
        for m, v in (("gradient_times_input", 0.01), ("uniform", 0.3))])
    said = networks.shares_said(rows(), references)
    order = [said.index(words) for words in ("gradient times input 0.010", "ours, y literal 0.100", "equal weights 0.300")]
    assert order == sorted(order)
    nothing = rows(**{"error_of_shares average": None})
    assert networks.shares_said(nothing, references[:0]) == "No part of Table 3 has a named filter in this run."


def test_thresholds_and_controls_are_told():
    assert networks.thresholds(rows()) == ("Threshold chosen on the test images instead: +2.00 percentage points on "
                                           "average, at most +2.00.")
    table = pd.DataFrame([{"architecture": "alexnet", "filter_loss": loss, "part_specificity": 0.9 if loss else 0.4,
                           "accuracy": 0.95} for loss in (True, False)])
    assert "AlexNet: 90% with the loss, 40% without; accuracy 95.0% and 95.0%" in networks.controls(table)
