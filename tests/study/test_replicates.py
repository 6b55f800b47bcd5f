"""The replicate is the performer: means within one, intervals over at least four."""

import math

import pandas as pd
import pytest

from semquant_book.study.replicates import by_performer, estimate, gains, pairs
from semquant_book.study.tables import normalised


def test_the_interval_of_four_is_student_s():
    found = estimate([1.0, 2.0, 3.0, 6.0])
    # mean 3, squares 4 + 1 + 0 + 9 = 14, deviation sqrt(14 / 3); t of 3 degrees at 97.5% is 3.182446
    half = 3.182446 * math.sqrt(14 / 3) / 2
    assert found.value == 3.0
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


def test_the_interval_of_shares_ends_where_shares_do():
    assert estimate([0.1, 0.1, 0.2, 0.4]).low < 0
    assert estimate([0.1, 0.1, 0.2, 0.4], share=True).low == 0.0
    assert estimate([0.9, 0.9, 1.0, 0.5], share=True).high == 1.0


def test_three_performers_have_a_mean_and_no_interval():
    found = estimate([1.0, None, 2.0, float("nan"), 6.0])
    assert (found.value, found.low, found.high, found.known) == (3.0, None, None, False)
    assert found.values == (1.0, 2.0, 6.0)


def test_nothing_has_no_mean():
    found = estimate([])
    assert math.isnan(found.value) and not found.known and found.values == ()


FRAME = pd.DataFrame([
    {"architecture": a, "category": "dog", "performer_seed": 0, "scale": "literal", "seed": seed,
     "method": method, "entropy": value}
    for a, seed, method, value in [
        ("alexnet", 0, "ours", 3.0), ("alexnet", 1, "ours", 1.0), ("alexnet", 0, "baseline", 1.0),
        ("alexnet", 1, "baseline", 2.0), ("vgg_m", 0, "ours", 5.0), ("vgg_m", 0, "baseline", 2.0),
        ("vgg_m", 1, "ours", 9.0)]])  # the last has no partner


def test_seeds_of_g_are_averaged_within_a_performer():
    assert by_performer(FRAME[FRAME.method == "ours"], "entropy").tolist() == [2.0, 7.0]
    assert by_performer(FRAME, "nothing").empty


def test_gains_are_of_matched_pairs_within_a_performer():
    assert sorted(pairs(FRAME, "entropy").entropy) == [-1.0, 2.0, 3.0]
    assert gains(FRAME, "entropy").tolist() == [0.5, 3.0]
    assert gains(FRAME, "nothing").empty and gains(FRAME, "entropy", "ours", "uniform").empty


def test_targets_of_one_performer_are_one_replicate():
    faces = pd.DataFrame([{"target": t, "performer_seed": 0, "last_layer": "near_zero", "seed": 0,
                           "method": m, "entropy": v}
                          for t, m, v in [("male", "ours", 2.0), ("male", "baseline", 1.0),
                                          ("young", "ours", 5.0), ("young", "baseline", 2.0)]])
    assert gains(faces, "entropy").tolist() == [2.0]


def test_entropies_as_a_share_of_the_largest_possible():
    filters = pd.DataFrame({"method": ["ours", "ours"], "entropy": [math.log(8), math.log(4)],
                            "filters eye": [4, 10.0], "filters leg": [4, 6.0], "filters wing": [None, 0]})
    found = normalised(filters)
    assert found.n.tolist() == [8, 16]
    assert found.normalised_entropy.tolist() == pytest.approx([1.0, 0.5])
    faces = normalised(pd.DataFrame({"method": ["ours", "constant"], "entropy": [math.log(39), 0.0]}))
    assert faces.normalised_entropy[0] == pytest.approx(1.0)
    assert math.isnan(faces.normalised_entropy[1]) and math.isnan(faces.n[1])  # a single concept
