"""The replicate is the performer: means within one, intervals over at least four."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from semquant_book.study.replicates import (
    bootstrap, by_performer, estimate, gains, holm, pairs, sign_test)
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


def of_networks(**values):
    """A value for each performer, in the given networks."""
    rows = [(architecture, value) for architecture, some in values.items() for value in some]
    index = pd.MultiIndex.from_tuples([(a, k) for k, (a, _) in enumerate(rows)], names=["architecture", "number"])
    return pd.Series([value for _, value in rows], index)


def test_the_bootstrap_is_that_of_all_ways_to_draw_within_networks():
    some, others = [0.1, 0.25, 0.7, 1.3], [2.0, 2.9, 3.15]
    means = [(sum(a) + sum(b)) / 7 for a in product(some, repeat=4) for b in product(others, repeat=3)]
    found = bootstrap(of_networks(alexnet=some, vgg_m=others))
    assert found.value == pytest.approx(np.mean(some + others))
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)
    assert found == bootstrap(of_networks(alexnet=some, vgg_m=others))


def test_networks_that_differ_do_not_widen_the_interval():
    values = of_networks(alexnet=[1.0, 1.0], vgg_m=[9.0, 9.0, 9.0])
    found = bootstrap(values)
    assert (found.value, found.low, found.high) == pytest.approx((5.8, 5.8, 5.8))
    assert estimate(values).high > 9


def test_what_is_not_there_is_left_out_and_few_have_no_interval():
    values = of_networks(alexnet=[1.0, None, 2.0], vgg_m=[float("nan"), 6.0])
    found = bootstrap(values)
    assert (found.value, found.low, found.high) == (3.0, None, None) and math.isnan(sign_test(values))
    four = of_networks(alexnet=[1.0, None, 2.0], vgg_m=[4.0, 6.0])
    assert len(bootstrap(four).values) == 4 and sign_test(four) == 2 / 2**4


def test_p_is_the_share_of_all_changes_of_sign_that_give_as_much():
    values = [0.3, -0.1, 0.5, 0.2, -0.05, 0.4, 0.15, -0.3]
    means = [abs(sum(s * v for s, v in zip(signs, values))) for signs in product((1, -1), repeat=8)]
    expected = np.mean([mean >= abs(sum(values)) - 1e-12 for mean in means])
    assert 0.05 < expected < 0.5
    assert sign_test(pd.Series(values)) == pytest.approx(expected)
    assert sign_test(-pd.Series(values)) == pytest.approx(expected)


def test_holm_by_hand():
    # in order: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04, none less than the one before it
    nan = float("nan")
    assert holm([0.01, 0.04, 0.03, nan, 0.005]) == pytest.approx([0.03, 0.06, 0.06, nan, 0.02], nan_ok=True)
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_holm_rejects_what_stepping_down_does():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.uniform(0, 0.1, 6).tolist()
        found = holm(p)
        for level in (0.01, 0.05, 0.1):
            rejected = set()
            for rank, i in enumerate(sorted(range(6), key=p.__getitem__)):
                if p[i] > level / (6 - rank):
                    break
                rejected.add(i)
            assert {i for i, value in enumerate(found) if value <= level} == rejected
