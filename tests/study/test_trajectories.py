"""Recorded fits, epoch by epoch: a small one against fits by the library, and the one of the project."""

import math

import pytest

from semquant import metrics
from semquant.distillation import distill_measured
from semquant_book.folders import project_root
from semquant_book.study import trajectories, trials
from semquant_book.study.store import read_record

FITS, EPOCHS = trials.FITS, trials.EPOCHS  # as they are


@pytest.fixture(scope="module")
def record(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "EPOCHS", 2)
        patch.setattr(trials, "FITS", (("sgd", "high", (1e-5, 1e-4), ()), ("adamw", "fitting", (1e-2,), ())))
        said = []
        content = trajectories.collect(run.settings, said.append)
        assert len(said) == len(content["fits"]) == 6
        yield content


def test_a_fit_is_the_trials_and_is_measured_in_every_epoch(run, record):
    row = next(r for r in record["fits"] if r["optimizer"] == "adamw" and r["prior"] == "measured")
    how = trials.options(run.settings, "adamw", "fitting", 1e-2, "measured")
    found = distill_measured(run.measured("train")[:trials.IMAGES], **how).explain_measured(run.measured("test"))
    c = found.contributions[run.images("test").positive]
    assert [len(row[name]) for name in trajectories.MEASURES] == [3, 3, 3]
    assert row["normalised_entropy"][-1] == pytest.approx(
        float(metrics.contribution_entropy(c).nanmean()) / math.log(record["n"]), rel=1e-4)
    shares = [max(abs(v) for v in one) / sum(abs(v) for v in one) for one in c.tolist()]
    assert row["largest"][-1] == pytest.approx(sum(shares) / len(shares), rel=1e-4)
    assert row["deviation"][-1] == pytest.approx(float(metrics.relative_deviation(found.yhat, found.total).mean()), rel=1e-4)


def test_the_rate_that_explains_the_training_scores_best_is_chosen(run, record):
    left = {rate: distill_measured(run.measured("train"), **trials.options(run.settings, "sgd", "high", rate, "none"))
            .history[-1]["distillation"] for rate in (1e-5, 1e-4)}
    chosen = {r["rate"] for r in record["fits"] if r["optimizer"] == "sgd" and r["chosen"]}
    assert chosen == {min(left, key=left.get)}


def test_the_kept_record_has_every_regime_and_rate_of_the_trial():
    kept = read_record(project_root() / "book" / "records" / "trajectories.json")
    wanted = {(optimizer, start, rate, prior) for optimizer, start, rates, _ in FITS for rate in rates
              for prior in trajectories.PRIORS}
    assert {(r["optimizer"], r["start"], r["rate"], r["prior"]) for r in kept["fits"]} == wanted
    assert all(len(r[name]) == EPOCHS + 1 for r in kept["fits"] for name in trajectories.MEASURES)
