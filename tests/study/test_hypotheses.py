"""The plan's tests, on records whose effects are known."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from semquant_book.study import hypotheses
from semquant_book.study.hypotheses import HYPOTHESES, MARGINS, verdict
from semquant_book.study.replicates import Estimate, holm
from trial_record import CATEGORIES, record


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(hypotheses, "DRAWS", 5000)  # a tenth of them over performers


def of(tests, hypothesis):
    return [test for test in tests if test.hypothesis == hypothesis]


def verdicts(tests, hypothesis):
    return [verdict(test) for test in of(tests, hypothesis)]


def test_every_hypothesis_holds_where_its_effect_is_there():
    tests = hypotheses.tests(record())
    assert {test.hypothesis for test in tests} == set(HYPOTHESES)
    assert {verdict(test) for test in tests} == {"holds"}
    gains = [test.found.value for test in of(tests, 1)]
    assert gains == pytest.approx([0.3, 0, 0, 0], abs=1e-12)  # of chosen fits, without the dog
    assert [test.found.value for test in of(tests, 2)] == pytest.approx([-0.2] * 2)
    assert [test.found.value for test in of(tests, 3)] == pytest.approx([0.1] * 2)
    assert [test.found.value for test in of(tests, 6)] == pytest.approx([-0.05] * 3)
    assert of(tests, 5)[0].found.value == pytest.approx(1)
    assert all(len(test.found.values) == 12 for test in tests)


def test_every_hypothesis_is_refuted_where_the_opposite_is_there():
    tests = hypotheses.tests(record(gains=(-0.3, 0.3, 0.3, 0.3), knowledge=0.2, over_prior=-0.1, slope=-1,
                                    rising=False, better=0.05))
    assert {verdict(test) for test in tests} == {"the opposite"}


def test_no_effect_is_none_where_an_interval_is_small_and_open_where_it_is_large():
    nothing = {"gains": (0.0,) * 4, "knowledge": 0.0, "over_prior": 0.0, "better": 0.0}
    small = hypotheses.tests(record(**nothing))
    assert verdicts(small, 1) == ["none", "holds", "holds", "holds"]
    for hypothesis in (2, 3, 6):
        assert set(verdicts(small, hypothesis)) == {"none"}, hypothesis
    large = hypotheses.tests(record(spread=0.5, **nothing))
    for hypothesis in (1, 2, 3, 6):
        assert set(verdicts(large, hypothesis)) == {"open"}, hypothesis


def test_few_performers_leave_all_open():
    few = record()
    few["performers"] = few["performers"][:3]
    for table in ("regimes", "ways"):
        few[table] = [row for row in few[table] if row[0] < 3]
    tests = hypotheses.tests(few)
    assert {verdict(test) for test in tests} == {"open"}
    assert np.isnan([test.p for test in tests]).all() and np.isnan([test.corrected for test in tests]).all()


def test_fits_that_diverged_leave_no_pair():
    tests = hypotheses.tests(record(diverged=(1, 6)))
    counts = [[len(test.found.values) for test in of(tests, hypothesis)] for hypothesis in (1, 2, 3, 5)]
    assert counts == [[10, 12, 12, 12], [10, 12], [10, 12], [12]]
    assert of(tests, 1)[0].found.value == pytest.approx(0.3, abs=0.001)
    all_of_them = hypotheses.tests(record(diverged=range(13)))
    assert [verdict(test) for test in of(all_of_them, 1)] == ["open", "holds", "holds", "holds"]


def test_fits_with_another_rate_count_for_the_correlation_alone():
    kept = record()
    chosen = kept["columns"]["regimes"].index("chosen")
    kept["regimes"] = [row for row in kept["regimes"] if row[chosen]]
    before, after = hypotheses.tests(record()), hypotheses.tests(kept)
    for one, other in zip(before, after):
        assert (one.found == other.found) == (one.hypothesis != 4), one.words


def test_the_correlation_of_entropy_and_error_is_within_a_performer():
    kept = record()
    fits = hypotheses.fits(kept)
    each = []
    for category in CATEGORIES:
        for _, some in fits.xs(category, level="category").groupby(level="architecture"):
            ranks = some[["entropy", hypotheses.ERROR]].astype(float).rank()
            each.append(np.corrcoef(ranks.T)[0, 1])
    found = of(hypotheses.tests(kept), 4)[0].found
    assert sorted(found.values) == pytest.approx(sorted(each)) and found.value == pytest.approx(np.mean(each))


def test_non_linearity_is_compared_over_performers():
    kept = record(categories=("bird",))  # four performers and the dog
    for about, value in zip(kept["performers"], (0.1, 0.4, 0.2, 0.3, -9.0)):
        about["nonlinearity"] = value
    test = of(hypotheses.tests(kept), 5)[0]
    errors, index = [1, 2, 3, 4], [1, 4, 2, 3]
    value = stats.spearmanr(errors, index).statistic
    every = [stats.spearmanr(order, index).statistic for order in permutations(errors)]
    above, below = (np.mean([side * v >= side * value - 1e-9 for v in every]) for side in (1, -1))
    assert test.found.value == pytest.approx(value) and test.p == pytest.approx(min(1, 2 * min(above, below)))


def test_all_are_corrected_together():
    tests = hypotheses.tests(record(spread=0.05))
    assert [test.corrected for test in tests] == holm(test.p for test in tests)
    assert max(test.corrected for test in tests) > 0.05 > min(test.corrected for test in tests)


@pytest.mark.parametrize("unit", ["error", "nats"])
def test_verdicts_at_their_borders(unit):
    def said(low, high, p, expected=1):
        value = (low + high) / 2
        return verdict(hypotheses.Tested(1, "", unit, expected, Estimate(value, low, high, (value,) * 4), p, p))

    margin = MARGINS[unit]
    assert said(0.1 * margin, 0.5 * margin, 0.04) == "none"  # the plan's word for what is that small
    assert said(0.1 * margin, 1.5 * margin, 0.04) == "holds"
    assert said(0.1 * margin, 0.5 * margin, 0.06) == "none"
    assert said(0.1 * margin, 1.5 * margin, 0.06) == "open"
    assert said(-2 * margin, -margin, 0.01) == "the opposite"
    assert said(-2 * margin, -margin, 0.01, expected=-1) == "holds"
    assert said(-2 * margin, 0.9 * margin, 0.9, expected=0) == "holds"
    assert said(0.5 * margin, 1.1 * margin, 0.01, expected=0) == "open"
    assert said(1.1 * margin, 2 * margin, 0.9, expected=0) == "the opposite"
