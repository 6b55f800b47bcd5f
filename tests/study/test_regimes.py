"""Regimes of a fit, on a smoke performer: what is varied, how a rate is chosen, what is measured."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from semquant import metrics
from semquant.checks import InputError
from semquant.distillation import distill_measured
from semquant_book.study import experiment1, regimes
from semquant_book.study.record_book import RECORDS


@pytest.fixture(scope="module")
def record(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regimes, "RATES", {which: rates[-2:] for which, rates in regimes.RATES.items()})
        said = []
        content = regimes.collect(run.settings, said.append)
        assert len(said) == len(content["rows"])
        return content


@pytest.mark.parametrize("optimizer, start", regimes.RATES)
def test_a_regime_is_an_optimiser_and_a_start_and_nothing_else(run, optimizer, start):
    usual = experiment1.options(run.settings, "permuted", "literal")
    found = regimes.options(run.settings, optimizer, start, 0.25, "permuted")
    assert found["objective"] == usual["objective"]
    assert found["fit"] == replace(usual["fit"], optimizer=optimizer, learning_rate=0.25)
    assert found["explainer"] == replace(
        usual["explainer"], scale={"high": "literal", "fitting": "scaled"}[start], bias="min")


def test_the_rate_that_explains_the_training_scores_best_is_taken(run):
    rate, left = regimes.tune(run, "sgd", "fitting")
    assert list(left) == list(regimes.RATES["sgd", "fitting"])
    for tried, error in left.items():
        how = regimes.options(run.settings, "sgd", "fitting", tried, "none")
        assert distill_measured(run.measured("train"), **how).history[-1]["distillation"] == error
    assert left[rate] == min(left.values())


def test_a_rate_at_which_the_fit_diverges_is_not_taken(run, monkeypatch):
    monkeypatch.setattr(regimes, "RATES", {("sgd", "high"): (1e-5, 1e6)})
    rate, left = regimes.tune(run, "sgd", "high")
    assert rate == 1e-5 and left[1e6] is None
    monkeypatch.setattr(regimes, "RATES", {("sgd", "high"): (1e6,)})
    with pytest.raises(InputError, match=r"^rates: with each of \[1000000.0\] the fit of alexnet dog seed 0 "
                                         "by sgd from a high start diverged$"):
        regimes.tune(run, "sgd", "high")


def test_every_regime_and_prior_is_fitted_once_with_the_rate_taken(record):
    rows = [row for row in record["rows"] if row["chosen"]]
    assert [(r["optimizer"], r["start"], r["prior"]) for r in rows] == [
        (*which, prior) for which in regimes.RATES for prior in regimes.PRIORS]
    taken = {(r["optimizer"], r["start"]): r["rate"] for r in record["rates"] if r["chosen"]}
    assert all(r["rate"] == taken[r["optimizer"], r["start"]] for r in rows)
    others = [row for row in record["rows"] if not row["chosen"]]
    assert [(r["optimizer"], r["start"], r["prior"]) for r in others] == [
        (*regimes.WATCHED, "none"), (*regimes.WATCHED, "measured")]
    assert others[0]["rate"] == others[1]["rate"] != taken[regimes.WATCHED]
    assert set(RECORDS["regimes"].fields) <= set(record)
    assert {r["method"] for r in record["references"]} == {"prior", "gradient_times_input", "uniform"}


def test_a_fit_that_leaves_no_contribution_has_no_entropy():
    nothing = float("nan")
    kept = regimes.kept({"entropy": nothing, "deviation": 0.5, "error": {"eye": 0.1}}, 64)
    assert kept == {"entropy": None, "normalised_entropy": None, "deviation": 0.5, "error average": 0.1, "n": 64}


def test_what_is_measured_of_a_fit(run, record):
    row = next(r for r in record["rows"]
               if (r["optimizer"], r["start"], r["prior"]) == ("adamw", "high", "none"))
    weights = next(w for w in record["weights"] if all(
        w[key] == row[key] for key in ("optimizer", "start", "prior", "rate")))
    how = regimes.options(run.settings, "adamw", "high", row["rate"], "none")
    first = []
    fitted = distill_measured(
        run.measured("train"), **how,
        on_epoch=lambda t, e, means: first.append(e.explain_measured(run.measured("train"))) if t == 0 else None)
    explained = fitted.explain_measured(run.measured("test"))[run.images("test").positive]
    assert row["entropy"] == pytest.approx(
        float(metrics.contribution_entropy(explained.contributions).nanmean()), rel=1e-5)
    n = explained.y.shape[1]
    assert row["normalised_entropy"] == pytest.approx(row["entropy"] / torch.tensor(float(n)).log().item())
    alpha, y = explained.alpha.mean(0), explained.y.mean(0)
    assert row["follows_y"] == pytest.approx(stats.spearmanr(alpha, y).statistic)
    assert weights["alpha"] == pytest.approx(alpha.tolist(), abs=1e-5)
    assert weights["y"] == pytest.approx(y.tolist(), abs=1e-5)
    total = (first[0].alpha * first[0].y).sum(1).abs().mean()
    assert row["start_ratio"] == pytest.approx(float(total / run.measured("train").yhat.abs().mean()), rel=1e-5)
    assert row["n"] == n
