"""Views with a kernel: fits beside the notebook, their numbers, Stop and errors; the form."""

import json
import threading
import time

import numpy as np
import pytest
import torch

from semquant import metrics
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.distillation import distill_measured
from semquant.rows import Rows
from semquant_book.study.evaluation import evaluate_attribute
from semquant_book.views import redistill
from semquant_book.views.redistill import Redistill
from semquant_book.views.widgets import View

N = 6
SETTINGS = dict(batch_size=8, learning_rate=0.01, bias="mean", device="cpu")


class Slow(Rows):
    """Rows that take their time, so that there is something to stop."""

    def __init__(self, rows, seconds):
        self.rows, self.seconds, self.shape = rows, seconds, tuple(rows.shape)

    def _take(self, chosen):
        time.sleep(self.seconds)
        return self.rows[chosen]


def measured(count=48, seed=0, seconds=0.0):
    """Scores that 6 concepts explain, with weights that depend on the map."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, 8, 8, generator=generator)
    y = torch.rand(count, N, generator=generator)
    w = torch.rand(count, N, generator=generator)
    yhat = (y * w).sum(dim=1) + 0.1 * x.mean(dim=(1, 2, 3))
    return Measured(Slow(x, seconds) if seconds else x, y, yhat, w)


@pytest.fixture
def view():
    """A view of such scores, with labels and a validation set."""
    test, val = measured(20, 1), measured(16, 2)
    return Redistill(measured(), test, validation=val, labels=test.yhat > 1.5,
                          validation_labels=val.yhat > 1.5, settings=SETTINGS)


def slow(seconds=0.05, **more):
    """A view whose fits last: 6 batches an epoch."""
    return Redistill(measured(seconds=seconds), measured(20, 1), settings=SETTINGS, **more)


def until(true, patience=20):
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def weights(fitted):
    return torch.cat([tensor.flatten().float() for tensor in fitted.g.state_dict().values()])


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["literal", "scaled", 0.5])
@pytest.mark.parametrize("prior", ["measured", "none"])
def test_the_same_numbers_as_a_fit_by_hand(view, scale, prior):
    view.run(prior=prior, beta=3.0, epochs=3, seed=4, scale=scale).wait()
    by_hand = distill_measured(measured(), prior=prior, beta=3.0, epochs=3, seed=4, scale=scale,
                               **SETTINGS)
    assert torch.equal(weights(view.fitted), weights(by_hand))
    assert view.history == by_hand.history
    said = by_hand.explain_measured(view.test)
    expected = evaluate_attribute(said, view.labels, by_hand.explain_measured(view.validation),
                                  view.validation_labels)
    row = view.runs[-1]
    assert torch.equal(view.explanation.contributions, said.contributions)
    assert {k: row[k] for k in ("entropy", "deviation", "accuracy")} == {
        k: expected[k] for k in ("entropy", "deviation", "accuracy")}
    assert row["highest"] == pytest.approx(np.log(N))
    assert row["history"]["distillation"] == [epoch["distillation"] for epoch in by_hand.history]


def test_entropy_is_averaged_over_the_images_that_count():
    test = measured(20, 1)
    counted = torch.arange(20) < 7
    view = Redistill(measured(), test, counted=counted, settings=SETTINGS).run(epochs=1).wait()
    entropy = metrics.contribution_entropy(view.explanation.contributions[:7]).mean()
    assert view.runs[0]["entropy"] == pytest.approx(float(entropy), rel=1e-6)
    assert view.runs[0]["accuracy"] is None  # there are no labels


def test_chosen_concepts_are_the_only_ones(view):
    view.run(epochs=1, concepts=["concept 1", "concept 4"]).wait()
    part = measured()
    by_hand = distill_measured(Measured(part.x, part.y[:, [1, 4]], part.yhat, part.w[:, [1, 4]]),
                               epochs=1, scale="scaled", **SETTINGS)
    assert torch.equal(weights(view.fitted), weights(by_hand))
    assert view.explanation.names == ["concept 1", "concept 4"]


def test_drawn_concepts_change_with_the_draw_and_repeat(view):
    chosen = [view.run(epochs=1, concepts=3, draw=draw).wait().explanation.names
              for draw in (0, 1, 0)]
    assert chosen[0] == chosen[2] != chosen[1]
    assert {len(names) for names in chosen} == {3}


def test_groups_are_switched_together():
    view = Redistill(measured(), measured(20, 1), settings=SETTINGS,
                          groups={"head": [0, 2], "tail": [5]})
    view.run(epochs=1, concepts=["tail", "head"]).wait()
    assert view.explanation.names == ["concept 0", "concept 2", "concept 5"]
    assert view.runs[0]["concepts"] == "tail, head"


def test_settings_may_depend_on_the_scale():
    view = Redistill(measured(), measured(20, 1),
                          settings=lambda scale: {**SETTINGS, "bias": {"literal": 0.0}.get(scale, "min")})
    view.run(scale="literal", epochs=1).wait()
    assert view.fitted.g.settings["bias"] == 0.0
    view.run(scale="scaled", epochs=1).wait()
    assert view.fitted.g.settings["bias"] == pytest.approx(float(view.train.yhat.min()))


# --- beside the notebook --------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["literal", "scaled"])
def test_random_numbers_of_other_cells_are_left_alone(scale):
    """Whenever a batch is fetched, and at the end, both global generators are as they were."""
    torch.manual_seed(7)
    np.random.seed(7)
    states = []

    class Looking(Slow):
        def _take(self, chosen):
            states.append((torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()))
            return self.rows[chosen]

    train = measured()
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    view = Redistill(Measured(Looking(train.x, 0), train.y, train.yhat, train.w), measured(20, 1),
                     settings=SETTINGS)
    view.run(epochs=3, scale=scale).wait()
    fetched = states[-18:]  # 3 epochs of 6 batches; before, one for g's scale
    assert len(states) == 18 + (scale == "scaled")
    assert all(state == before for state in fetched)
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before


def test_other_cells_draws_leave_the_fit_alone():
    by_hand = distill_measured(measured(), epochs=3, scale="literal", **SETTINGS)
    view = slow(0.01).run(epochs=3, scale="literal")
    until(lambda: "batch" in view.status["line"])
    while view.status["state"] == "running":
        torch.rand(3)
        time.sleep(0.001)
    assert torch.equal(weights(view.wait().fitted), weights(by_hand))


def test_run_returns_at_once_and_progress_is_told():
    view = slow()
    told = []
    view.observe(lambda change: told.append(change["new"]), "status")
    started = time.monotonic()
    view.run(epochs=2)
    assert time.monotonic() - started < 0.2
    assert view.status["state"] == "running"
    view.wait()
    done = [status["done"] for status in told]
    assert done == sorted(done) and len(set(done)) > 4
    assert any(status["line"].startswith("epoch 1 of 2, batch") for status in told)
    assert any(status["line"].startswith("epoch 2 of 2, loss") for status in told)
    assert any(len(status["history"].get("distillation", [])) == 1 for status in told)
    assert view.status["state"] == "done" and view.status["done"] == 1.0


def test_stop_ends_before_the_next_batch_and_shows_what_was_fitted():
    view = slow(0.1).run(epochs=50)
    until(lambda: len(view.status["history"].get("distillation", [])) == 1)
    until(lambda: "batch 3" in view.status["line"] or "batch 4" in view.status["line"])
    started = time.monotonic()
    view.stop()
    view.wait()
    assert time.monotonic() - started < 1.0  # an epoch takes 0.6 s and more
    assert view.status["state"] == "stopped"
    row = view.runs[0]
    assert row["state"] == "stopped"
    assert row["reached"].startswith("1 of 50, ") and row["reached"].endswith(" batches")
    assert view.status["line"].startswith(f"stopped after {row['reached'].replace(',', ' epochs and')}")
    assert len(view.history) == len(row["history"]["distillation"]) == 1
    assert not view.fitted.g.training
    # and it is g as it stands, not as it began, nor as after the whole epoch
    one = distill_measured(measured(), epochs=50, scale="scaled", **SETTINGS,
                           on_epoch=lambda epoch, means: True)
    assert view.history == one.history
    assert not torch.equal(weights(view.fitted), weights(one))
    said = view.fitted.explain_measured(view.test)
    assert torch.equal(view.explanation.alpha, said.alpha)
    assert view.run(epochs=1).wait().status["state"] == "done"  # and the next one runs


def test_stop_before_the_first_batch_says_so():
    view = slow(0.5).run(epochs=2, scale="scaled")  # its scale is being chosen
    view.stop()
    view.wait()
    assert view.fitted is None and view.explanation is None
    assert view.runs[0]["state"] == "failed"
    assert view.status["line"] == view.runs[0]["problem"] == "stopped before the first batch"


def test_one_fit_at_a_time_in_all_views(view):
    first = slow().run(epochs=50)
    for other in (first, view):
        with pytest.raises(InputError, match="^run: a fit is under way"):
            other.run(epochs=1)
    assert first.status["state"] == "running" and view.status["state"] == "idle"
    first.stop()
    first.wait()
    assert view.run(epochs=1).wait().status["state"] == "done"


def test_closing_a_view_stops_its_fit():
    view = slow().run(epochs=50)
    thread = view._thread
    until(lambda: "batch" in view.status["line"])
    view.close()
    thread.join(5)
    assert not thread.is_alive()


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"beta": -1}, "^beta: -1 is not a number of at least 0$"),
        ({"beta": ""}, "^beta: '' is not a number"),
        ({"epochs": 0}, "^epochs: 0 is not a whole number of at least 1$"),
        ({"epochs": 1.5}, "^epochs: 1.5 is not a whole number"),
        ({"seed": -1}, "^seed: -1 is not"),
        ({"prior": "mesured"}, r"^prior: 'mesured' is not one of .*did you mean measured"),
        ({"scale": "huge"}, "^scale: 'huge' is not one of literal, scaled"),
        ({"scale": 0}, "^scale: 0 is not above 0$"),
        ({"concepts": 7}, "^concepts: 7 is not a whole number from 1 to 6$"),
        ({"concepts": []}, r"^concepts: \[\] names none"),
        ({"concepts": ["nose"]}, "^concepts: 'nose' is not one of concept 0"),
    ],
)
def test_a_setting_that_is_not_accepted(view, settings, message):
    with pytest.raises(InputError, match=message):
        view.run(**settings)
    assert view.runs == [] and view.status["state"] == "idle"
    view._heard(view, {"do": "run", **settings}, [])  # as the page asks for it
    assert view.status["problem"]["field"] == next(iter(settings))
    assert view.status["state"] == "idle"
    view.run(epochs=1).wait()
    assert view.status["problem"] is None


def test_a_failed_fit_is_said_and_stays():
    train = measured()
    train.w[0, 0] = torch.nan
    view = Redistill(train, measured(20, 1), settings=SETTINGS)
    with pytest.raises(InputError, match="^w: 1 of 288 values are NaN"):
        view.run(epochs=1).wait()
    assert view.status["state"] == "failed"
    assert view.status["problem"] == {"field": "w", "text": "w: 1 of 288 values are NaN or infinite"}
    assert view.runs[0]["problem"] == view.status["problem"]["text"]
    view.run(epochs=1, prior="none").wait()
    assert [row["state"] for row in view.runs] == ["failed", "done"]  # the line is still there


def test_any_other_error_in_the_thread_is_one_line_too():
    class Broken(Rows):
        shape = (48, 4, 8, 8)

        def _take(self, chosen):
            raise RuntimeError("disk is gone\nsecond line")

    train = measured()
    view = Redistill(Measured(Broken(), train.y, train.yhat, train.w), measured(20, 1),
                          settings=SETTINGS)
    with pytest.raises(RuntimeError):
        view.run(epochs=1, scale="literal").wait()
    assert view.status["problem"]["text"] == "RuntimeError: disk is gone"


def test_without_prior_weights_only_the_baseline_is_offered():
    train = measured()
    train.w = None
    view = Redistill(train, measured(20, 1), settings=SETTINGS)
    assert view.data["priors"] == ["none"] and view.data["defaults"]["prior"] == "none"
    with pytest.raises(InputError, match="^prior: 'measured' needs measured prior weights"):
        view.run(prior="measured")
    view.run(epochs=1).wait()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"names": ["a"]}, "^names: 1 names for 6 concepts$"),
        ({"labels": torch.ones(3, dtype=torch.bool)}, r"^labels: shape \(3,\)"),
        ({"validation_labels": torch.ones(20, dtype=torch.bool)}, "^validation_labels: "),
        ({"shows": View()}, "^shows: goes with pack"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        Redistill(measured(), measured(20, 1), **changes)


def test_an_unknown_command_is_said(view):
    view._heard(view, {"do": "explode"}, [])
    assert view.status["problem"]["text"].startswith("command: 'explode' is not one of run, stop")


# --- results go on --------------------------------------------------------------------------------


def test_results_go_to_another_view_and_to_a_function():
    other, called = View(), []
    view = slow(0.0, shows=other, pack=lambda e: {"first": float(e.yhat[0])},
                on_result=lambda v: called.append((threading.current_thread().name, v.explanation)))
    view.run(epochs=1).wait()
    assert other.data == {"first": float(view.test.yhat[0])}
    assert called == [("run 1", view.explanation)]


def test_an_error_of_what_is_handed_on_does_not_undo_the_run():
    view = slow(0.0, shows=View(), pack=lambda e: {}["nothing"])
    view.run(epochs=1).wait()
    assert view.status["state"] == "done" and view.runs[0]["state"] == "done"
    assert view.status["problem"] == {"field": "pack", "text": "pack: KeyError: 'nothing'"}


def test_long_curves_are_thinned_for_the_page():
    history = [{"distillation": float(t), "prior": -float(t)} for t in range(1, 1001)]
    found = redistill._curves(history)
    assert len(found["epochs"]) <= redistill.POINTS + 1
    assert found["epochs"][0] == 1 and found["epochs"][-1] == 1000
    assert found["distillation"] == [float(t) for t in found["epochs"]]
    assert redistill._curves(history[:3])["epochs"] == [1, 2, 3]
    assert redistill._curves([]) == {"epochs": [], "distillation": [], "prior": []}


def test_everything_a_page_carries_is_json_without_nan(view):
    view.run(epochs=2).wait()
    view.runs = [*view.runs, {**view.runs[0], "accuracy": None}]
    state = {k: v for k, v in view.get_state().items() if k in ("data", "status", "runs")}
    assert json.loads(json.dumps(state, allow_nan=False)) == state


def test_print_and_pages_without_scripts_have_a_figure(view, monkeypatch):
    with pytest.raises(InputError, match="^runs: none has come to a result"):
        view.show()
    view.run(epochs=2).wait()
    view.run(epochs=1, prior="none").wait()
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    view.show()
    still, itself = shown
    assert '<figure class="sq-still">' in still.data
    assert f"entropy {view.runs[0]['entropy']:.3f}" in still.data
    assert "run 2 with prior none" in still.data
    assert itself is view
