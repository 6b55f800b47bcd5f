"""The rest of the factorial: which fits are run, which rate counts, how a run goes on, what the record has."""

import math
from dataclasses import asdict, replace

import pytest
import torch

from semquant import truth
from semquant.checks import InputError
from semquant.distillation import distill_measured
from semquant.training import Diverged
from semquant_book.study import factorial, performing, ranking, store, trials
from semquant_book.study.factorial import DEEPER, EVERY, MADE, PLAN, SEEDS, STRONG, Fit, Made
from test_ranking import fewer_samples

HOME = ("sgd", "high")
FEW = [Fit(*HOME, "measured"), Fit("adamw", "fitting", "none", bias="mean"), Fit(*HOME, "none", depth=DEEPER),
       Fit(*HOME, "none", seed=2)]


@pytest.fixture(scope="module")
def short():
    """Fits of one epoch; the highest rate from SGD's high start diverges."""
    def distill(measured, **how):
        if how["fit"].learning_rate == trials.HIGH_RATES[-1]:
            raise Diverged("loss: became nan in epoch 1")
        return distill_measured(measured, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SHOWN", 4)
        patch.setattr(ranking, "BACKGROUND", 20)
        patch.setattr(ranking.peers, "explain", fewer_samples(ranking.peers.explain))
        patch.setattr(trials, "EPOCHS", 1)
        patch.setattr(trials, "distill_measured", distill)
        patch.setattr(factorial, "MADE", MADE[:2])
        yield patch


@pytest.fixture(scope="module")
def done(run, short):
    """A record of two performers; `run` sets the folder."""
    short.setattr(factorial, "PLAN", ((MADE[0], FEW), (MADE[1], FEW[:1])))
    said = []
    return factorial.collect(run.settings, said.append), said


def test_the_plan_has_every_cell_the_seeds_and_the_depth():
    fits = {made: [f for other, some in PLAN for f in some if other == made] for made in MADE}
    for made, some in fits.items():
        assert len(set(some)) == len(some) == (64 if made == MADE[0] else 32)
        assert {(f.optimizer, f.start, f.prior, f.bias) for f in some} == {
            (o, s, p, b) for o in ("sgd", "adamw") for s in ("high", "fitting")
            for p in ("none", "measured", "uniform", "permuted") for b in ("min", "mean")}
    first = fits[MADE[0]]
    assert [sum(f.seed == k for f in first) for k in SEEDS] == [8, 8, 8] and sum(f.depth == DEEPER for f in first) == 8
    assert {made.category for made in MADE} == set(trials.TUNING)


def test_every_fit_is_a_row_and_the_rates_that_were_tried_are_kept(done):
    record, said = done
    frame = factorial.frame(record)
    assert len(frame) == len(said) == (3 + 4) + (3 + 1) and record["planned"] == {"performers": 2, "fits": 4 + 1 + 2 * 2}
    tried = frame[(frame.prior == "none") & (frame.depth == "small") & (frame.seed == 0) & (frame.start == "high")]
    assert tried.groupby("performer").rate.agg(list).tolist() == [list(trials.HIGH_RATES)] * 2
    assert tried.squared_error.isna().tolist() == [False, False, True] * 2  # those with the highest rate diverged
    assert frame[frame.depth == DEEPER].chosen.all() and set(trials.REGIME_FIELDS) <= set(frame)


def test_the_rate_counts_whose_baseline_leaves_the_least(done):
    frame = factorial.frame(done[0])
    home = frame[(frame.optimizer == "sgd") & (frame.start == "high")]
    for _, some in home.groupby("performer"):
        baseline = some[(some.prior == "none") & (some.depth == "small") & (some.seed == 0)].set_index("rate").squared_error
        counts = baseline.astype(float).idxmin()
        assert set(some[some.chosen].rate) == {counts} and set(some[some.prior == "measured"].rate) == {counts}
    assert frame[frame.optimizer == "adamw"].chosen.all() and set(frame[frame.optimizer == "adamw"].rate) == {1e-2}


def test_where_every_rate_diverges_it_is_said():
    rows = [asdict(Fit(*HOME, "none")) | {"rate": rate, "squared_error": None} for rate in trials.HIGH_RATES]
    with pytest.raises(InputError, match="^rates: with each of .* the fit of a dog by sgd from a high start diverged$"):
        factorial._counts(rows, Fit(*HOME, "measured"), "a dog")
    assert factorial._counts(rows, Fit("sgd", "fitting", "none"), "a dog") == 3e-3


def test_a_run_goes_on_where_it_was(run, short, done):
    path = store.factorial_path(run.settings, "alexnet", "dog", True)
    kept = store.read_record(path)
    whole = list(kept["fits"])
    kept["fits"] = whole[:4]  # as if it had been stopped after these
    store.write_record(path, kept)
    said = []
    record = factorial.collect(run.settings, said.append)
    assert len(said) == len(whole) - 4
    for before, after in zip(done[0]["fits"], record["fits"]):
        assert before[:-1] == after[:-1]  # the same to the last digit, but for the seconds


def test_each_field_of_a_fit_reaches_it(run, short, done, monkeypatch):
    seen = []

    def watch(measured, **how):
        seen.append(how)
        return distill_measured(measured, **how)

    monkeypatch.setattr(trials, "distill_measured", watch)
    fits = [Fit("adamw", "fitting", "uniform", "mean", "small", 3), Fit("sgd", "fitting", "none", depth=DEEPER)]
    made = Made("alexnet", "dog")
    short.setattr(factorial, "PLAN", ((made, fits),))
    factorial.collect(run.settings, lambda line: None)
    first, second = seen
    assert (first["fit"].optimizer, first["fit"].learning_rate, first["fit"].seed, first["fit"].epochs) == ("adamw", 1e-2, 3, 1)
    assert (first["explainer"].bias, first["explainer"].scale, first["objective"].prior) == ("mean", "scaled", "uniform")
    assert (second["explainer"].depth, second["explainer"].bias, second["fit"].learning_rate) == (DEEPER, "min", 3e-3)


def test_the_strong_filter_loss_is_another_performer_whose_weight_stays(run, monkeypatch):
    settings, weights = replace(run.settings, performer_epochs=3), []

    def seen(net, images, positive, epoch, weight):
        weights.append(weight / epoch)
        return loss(net, images, positive, epoch, weight)

    loss = performing.performer_loss
    monkeypatch.setattr(performing, "performer_loss", seen)
    usual, strong = Made("alexnet", "dog").run(settings), Made("alexnet", "dog", False).run(settings)
    assert strong.settings.filter_loss == STRONG
    assert len({usual.path, strong.path, replace(strong, fading=True).path}) == 3
    before = strong.performer().head[-1].weight
    assert set(weights) == {STRONG}
    weights.clear()
    assert not torch.equal(usual.performer().head[-1].weight, before)
    assert sorted(set(weights)) == pytest.approx([settings.filter_loss / epoch for epoch in (3, 2, 1)])
    assert strong.record()["fading"] is False and "fading" not in usual.record()


def test_a_fits_error_is_that_of_shapley_values_by_their_definition(run, done):
    """Weighted over coalitions, by the formula with factorials; merged by hand."""
    bench = ranking.Bench(run)
    how = trials.options(run.settings, *HOME, 3e-5, "measured")
    said = distill_measured(run.measured("train")[:trials.IMAGES], **how).explain_measured(bench.shown)
    count, values = len(bench.names), truth.coalition_values(bench.head, bench.shown.x, bench.groups)
    right = torch.zeros(len(values), count, dtype=values.dtype)
    for p in range(count):
        for mask in range(2**count):
            if not mask >> p & 1:
                k = mask.bit_count()
                weight = math.factorial(k) * math.factorial(count - k - 1) / math.factorial(count)
                right[:, p] += weight * (values[:, mask | 1 << p] - values[:, mask])
    ours = torch.stack([said.contributions[:, bench.groups == p].sum(dim=1) for p in range(count)], dim=1)
    scaled = ours * (right.sum(dim=1) / ours.sum(dim=1))[:, None]
    raw, rescaled = (((c - right).abs().sum() / right.abs().sum()).item() for c in (ours, scaled))
    found = trials.fitted(run, bench, how)
    assert found["error shapley"] == pytest.approx(raw, rel=1e-3)
    assert found["rescaled_error shapley"] == pytest.approx(rescaled, rel=1e-3)


def test_nothing_done_is_one_line(run, short, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    with pytest.raises(InputError, match="^factorial: no fit is done; accepted: semquant record factorial"):
        factorial.gather(run.settings)
