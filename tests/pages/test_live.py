"""Live views: what a person does with their fields and buttons, and what is seen then."""

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from queue import Empty

import ipywidgets
import nbformat
import numpy as np
import psutil
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from live_fits import SETTINGS, N, Slow, measured, slow

from semquant import metrics
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.distillation import distill_measured
from semquant.explainers import ExplainerOptions
from semquant.losses import Objective
from semquant.rows import Rows
from semquant.training import FitOptions
from semquant_book.pages.live import OUTPUT, NotebookForm, Redistill
from semquant_book.study.evaluation import evaluate_attribute
from semquant_book.study.presets import project_root
from semquant_book.views.widgets import View

PATIENCE = 240  # seconds; only a kernel that is broken takes so long


@pytest.fixture
def view():
    """A view of such scores, with labels and a validation set."""
    test, val = measured(20, 1), measured(16, 2)
    return Redistill(measured(), test, labels=test.yhat > 1.5, validation=(val, val.yhat > 1.5),
                     options=SETTINGS)


def press_run(view, **values):
    """What a person does: set fields, press Run, and wait; whatever goes wrong is in the view."""
    for name, value in values.items():
        view.fields[name].value = value
    view.run_button.click()
    view._thread.join()
    return view


def by_hand(train=None, on_epoch=None, prior="measured", beta=10.0, scale="scaled", **fit):
    """The same fit without a view."""
    return distill_measured(train or measured(), on_epoch=on_epoch, objective=Objective(prior, beta=beta),
                            explainer=replace(SETTINGS["explainer"], scale=scale),
                            fit=replace(SETTINGS["fit"], **fit))


def until(true, patience=60):
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def weights(fitted):
    return torch.cat([tensor.flatten().float() for tensor in fitted.g.state_dict().values()])


class _Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data


def table(html):
    """The runs of a table, each a column, as dicts."""
    return [dict(zip(names, column, strict=True))
            for names, *columns in [zip(*_Cells(html).rows, strict=True)] for column in columns]


def problem(view):
    """The line that says what is wrong, if it does."""
    found = re.fullmatch('<b role="alert">(.*)</b>', view.line.value)
    return unescape(found[1]) if found else ""


# --- distil again: numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["literal", "scaled"])
@pytest.mark.parametrize("prior", ["measured", "permuted", "none"])
def test_the_same_numbers_as_a_fit_by_hand(view, scale, prior):
    press_run(view, prior=prior, beta=3.0, epochs=3, seed=4, scale=scale)
    fitted = by_hand(prior=prior, beta=3.0, epochs=3, seed=4, scale=scale)
    assert torch.equal(weights(view.fitted), weights(fitted))
    said = fitted.explain_measured(view.test)
    expected = evaluate_attribute(said, view.labels, fitted.explain_measured(view.held), view.truth)
    assert torch.equal(view.explanation.contributions, said.contributions)
    (row,) = view.runs
    assert row["history"] == fitted.history
    for name in ("entropy", "deviation", "accuracy"):
        assert row[name] == pytest.approx(expected[name], rel=1e-6)
    assert row["H / ln n"] == pytest.approx(expected["entropy"] / np.log(N))
    # and they are what is seen
    (shown,) = table(view.result.value)
    assert shown == {
        "run": "1", "prior": prior, "beta": "3", "epochs": "3 of 3", "seed": "4", "scale": scale,
        "concepts": "all 6", "entropy": f"{expected['entropy']:.3f}",
        "H / ln n": f"{expected['entropy'] / np.log(N):.3f}", "deviation": f"{expected['deviation']:.4f}",
        "accuracy": f"{expected['accuracy']:.3f}", "seconds": f"{row['seconds']:.1f}"}
    assert view.line.value == f"done: 3 of 3 epochs, {row['seconds']:.1f} s"


def test_a_number_as_scale_is_where_the_field_begins():
    view = Redistill(measured(), measured(20, 1), options={
        "objective": Objective(beta=2.0), "explainer": replace(SETTINGS["explainer"], scale=0.5),
        "fit": replace(SETTINGS["fit"], epochs=1)})
    assert view.fields["beta"].value == 2.0 and view.fields["epochs"].value == 1
    press_run(view)
    fitted = by_hand(beta=2.0, epochs=1, scale=0.5)
    assert torch.equal(weights(view.fitted), weights(fitted))


def test_entropy_is_averaged_over_the_images_that_count():
    test = measured(20, 1)
    counted = torch.arange(20) < 7
    view = press_run(Redistill(measured(), test, counted=counted, options=SETTINGS), epochs=1)
    entropy = metrics.contribution_entropy(view.explanation.contributions[:7]).mean()
    assert view.runs[0]["entropy"] == pytest.approx(float(entropy), rel=1e-6)
    # without labels the accuracy is how often the answers are the network's own
    assert view.runs[0]["accuracy"] == metrics.best_threshold(view.explanation.total, test.yhat > 0)[1]


def test_without_a_validation_set_the_threshold_is_chosen_on_the_test_images():
    test = measured(20, 1)
    view = press_run(Redistill(measured(), test, labels=test.yhat > 1.5, options=SETTINGS), epochs=2)
    assert view.runs[0]["accuracy"] == metrics.best_threshold(view.explanation.total, test.yhat > 1.5)[1]


def test_chosen_concepts_are_the_only_ones(view):
    press_run(view, epochs=1, concepts=("concept 1", "concept 4"))
    part = measured()
    fitted = by_hand(Measured(part.x, part.y[:, [1, 4]], part.yhat, part.w[:, [1, 4]]), epochs=1)
    assert torch.equal(weights(view.fitted), weights(fitted))
    assert view.explanation.names == ["concept 1", "concept 4"]
    assert table(view.result.value)[0]["concepts"] == "concept 1, concept 4"
    assert view.runs[0]["H / ln n"] == pytest.approx(view.runs[0]["entropy"] / np.log(2))


def test_drawn_concepts_change_with_the_draw_and_repeat(view):
    chosen = [press_run(view, epochs=1, drawn=3, draw=draw).explanation.names for draw in (0, 1, 0)]
    assert chosen[0] == chosen[2] != chosen[1]
    assert {len(names) for names in chosen} == {3}
    assert [row["concepts"] for row in table(view.result.value)] == ["3 drawn (0)", "3 drawn (1)", "3 drawn (0)"]


def test_groups_are_switched_together():
    view = Redistill(measured(), measured(20, 1), options=SETTINGS,
                     groups={"head": [0, 2], "tail": [5], "trunk": [1, 3, 4]})
    press_run(view, epochs=1, concepts=("head", "tail"))
    assert view.explanation.names == ["concept 0", "concept 2", "concept 5"]
    assert table(view.result.value)[0]["concepts"] == "head, tail"


def test_settings_may_depend_on_the_scale():
    view = Redistill(measured(), measured(20, 1),
                     options=lambda scale: SETTINGS | {
                         "explainer": ExplainerOptions(bias=0.0 if scale == "literal" else "min")})
    press_run(view, scale="literal", epochs=1)
    assert view.fitted.g.settings["bias"] == 0.0
    press_run(view, scale="scaled", epochs=1)
    assert view.fitted.g.settings["bias"] == pytest.approx(float(view.train.yhat.min()))


def test_settings_from_code_are_the_fields(view):
    view.run(prior="uniform", epochs=2, concepts=["concept 2", "concept 3"]).wait()
    assert view.fields["prior"].value == "uniform" and view.fields["epochs"].value == 2
    assert [view.runs[0][name] for name in ("prior", "epochs")] == ["uniform", "2 of 2"]
    assert view.explanation.names == ["concept 2", "concept 3"]


# --- distil again: beside the notebook ------------------------------------------------------------


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
                     options=SETTINGS)
    press_run(view, epochs=3, scale=scale)
    assert len(states) >= 18  # 3 epochs of 6 batches
    assert all(state == before for state in states[-18:])
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before


def test_other_cells_draws_leave_the_fit_alone():
    fitted = by_hand(epochs=3, scale="literal")
    view = slow(0.01).run(epochs=3, scale="literal")
    until(lambda: view.line.value.startswith("epoch 1"))
    while view._thread.is_alive():
        torch.rand(3)
        time.sleep(0.001)
    assert torch.equal(weights(view.wait().fitted), weights(fitted))


def test_run_returns_at_once_and_progress_is_told():
    view = slow()
    bars, lines = [], []
    view.bar.observe(lambda change: bars.append(change["new"]), "value")
    view.line.observe(lambda change: lines.append(change["new"]), "value")
    view.fields["epochs"].value = 4
    started = time.monotonic()
    view.run_button.click()
    assert time.monotonic() - started < 0.2
    assert view.run_button.disabled and not view.stop_button.disabled
    view.wait()
    assert bars == [0.25, 0.5, 0.75, 1.0]
    assert [line.partition(", loss")[0] for line in lines[:-1]] == [
        "begins", *(f"epoch {t} of 4" for t in (1, 2, 3, 4))]
    assert lines[1].startswith(f"epoch 1 of 4, loss {view.runs[0]['history'][0]['loss']:.4g}")
    assert not view.run_button.disabled and view.stop_button.disabled


def test_losses_are_drawn_during_a_long_fit():
    view = slow(0.1)
    view.fields["epochs"].value = 50
    view.run_button.click()
    until(lambda: "<img" in view.result.value)
    assert view.runs == [] and table(view.result.value)[0]["prior"] == "measured"
    view.stop()
    view.wait()


def test_stop_ends_after_the_epoch_and_shows_what_was_fitted():
    view = slow(0.05)
    view.fields["epochs"].value = 50
    view.run_button.click()
    until(lambda: view.line.value.startswith("epoch 2"))
    view.stop_button.click()
    assert view.line.value == "stops"
    reached = round(view.bar.value * 50)
    view.wait()
    (row,) = view.runs
    count = len(row["history"])
    assert 2 <= reached <= count <= reached + 1 and row["epochs"] == f"{count} of 50"
    assert view.line.value == f"stopped: {count} of 50 epochs, {row['seconds']:.1f} s"
    assert view.bar.value == count / 50
    # it is g as it stands then, with the schedule of 50 epochs
    fitted = by_hand(epochs=50, on_epoch=lambda epoch, explainer, means: epoch == count)
    assert torch.equal(weights(view.fitted), weights(fitted))
    assert torch.equal(view.explanation.alpha, fitted.explain_measured(view.test).alpha)
    assert press_run(view, epochs=1).line.value.startswith("done")  # and the next one runs


def test_stop_before_the_first_epoch_fits_nothing():
    view = slow(0.3)
    view.fields["epochs"].value = 50
    view.run_button.click()
    view.stop_button.click()  # its scale is being chosen
    view.wait()
    assert view.line.value.startswith("stopped: 0 of 50 epochs") and view.runs[0]["history"] == []
    assert table(view.result.value)[0]["epochs"] == "0 of 50"


def test_a_view_runs_once_at_a_time_and_another_beside_it(view):
    first = slow()
    first.run(epochs=50)
    until(lambda: first.line.value.startswith("epoch 1"))
    with pytest.raises(InputError, match="^run: one is under way"):
        first.run(epochs=1)
    assert press_run(view, epochs=1).line.value.startswith("done")
    assert first.line.value.startswith("epoch")
    first.stop()
    first.wait()
    fitted = by_hand(epochs=1)
    assert torch.equal(weights(view.fitted), weights(fitted))


def test_closing_a_view_stops_its_fit():
    view = slow().run(epochs=50)
    until(lambda: view.line.value.startswith("epoch"))
    view.close()
    view._thread.join(5)
    assert not view._thread.is_alive()


# --- distil again: what goes wrong ----------------------------------------------------------------


@pytest.mark.parametrize(
    "values, message",
    [
        ({"epochs": 0}, "epochs: 0 is not a whole number of at least 1"),
        ({"concepts": ()}, "concepts: none is chosen; accepted: one or more of concept 0, concept 1, "
                           "concept 2, concept 3, concept 4, concept 5"),
    ],
)
def test_what_the_fields_let_through_is_said_in_one_line(view, values, message):
    press_run(view, **values)
    assert problem(view) == message and view.runs == []
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        view.wait()
    press_run(view, epochs=1, concepts=("concept 1", "concept 2"))
    assert problem(view) == "" and len(view.runs) == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"beta": -1}, "^beta: -1 is not accepted; accepted: values such as 0.0$"),
        ({"beta": ""}, "^beta: '' is not accepted"),
        ({"epochs": 1.5}, "^epochs: 1.5 is not accepted"),
        ({"seed": -1}, "^seed: -1 is not accepted; accepted: values such as 0$"),
        ({"draw": -1}, "^draw: -1 is not accepted; accepted: values such as 0$"),
        ({"prior": "mesured"}, "^prior: 'mesured' is not accepted; accepted: measured, uniform, permuted, none$"),
        ({"scale": "huge"}, "^scale: 'huge' is not accepted; accepted: scaled, literal$"),
        ({"drawn": 7}, "^drawn: 7 is not accepted; accepted: values such as 6$"),
        ({"concepts": ["nose"]}, r"^concepts: \('nose',\) is not accepted; accepted: concept 0, "),
        ({"betta": 1}, r"^setting: 'betta' is not one of .*\(did you mean beta\?\)$"),
    ],
)
def test_a_setting_from_code_that_is_not_accepted(view, settings, message):
    with pytest.raises(InputError, match=message):
        view.run(**settings)
    assert view.runs == [] and view.line.value == ""


def test_a_failed_fit_is_said_and_the_next_one_runs():
    train = measured()
    train.w[0, 0] = torch.nan
    view = Redistill(train, measured(20, 1), options=SETTINGS)
    press_run(view, epochs=1)
    assert problem(view) == "w: 1 of 288 values are NaN or infinite"
    with pytest.raises(InputError, match="^w: 1 of 288 values are NaN"):
        view.wait()
    press_run(view, epochs=1, prior="none")
    assert [row["prior"] for row in table(view.result.value)] == ["none"] and problem(view) == ""


def test_any_other_error_in_the_thread_is_one_line_too():
    class Broken(Rows):
        shape = (48, 4, 8, 8)

        def _take(self, chosen):
            raise RuntimeError("disk <is> gone\nsecond line")

    train = measured()
    view = Redistill(Measured(Broken(), train.y, train.yhat, train.w), measured(20, 1), options=SETTINGS)
    press_run(view, epochs=1)
    assert problem(view) == "RuntimeError: disk <is> gone" and "<is>" not in view.line.value
    with pytest.raises(RuntimeError):
        view.wait()


def test_without_prior_weights_only_the_baseline_is_offered():
    train = measured()
    train.w = None
    view = Redistill(train, measured(20, 1), options=SETTINGS)
    assert view.fields["prior"].options == ("none",)
    with pytest.raises(InputError, match="^prior: 'measured' is not accepted; accepted: none$"):
        view.run(prior="measured")
    assert len(press_run(view, epochs=1).runs) == 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"names": ["a"]}, "^names: 1 names for 6 concepts$"),
        ({"labels": torch.ones(3, dtype=torch.bool)}, r"^labels: shape \(3,\)"),
        ({"counted": torch.ones(3, dtype=torch.bool)}, r"^counted: shape \(3,\)"),
        ({"validation": (measured(16, 2), torch.ones(20, dtype=torch.bool))}, r"^validation: shape \(20,\)"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        Redistill(measured(), measured(20, 1), **changes)


# --- distil again: results go on ------------------------------------------------------------------


def test_results_go_to_another_view():
    other, called = View(), []

    def pack(explanation):
        called.append(threading.current_thread())
        return {"first": float(explanation.yhat[0])}

    view = press_run(slow(0.0, shows=other, pack=pack), epochs=1)
    assert other.data == {"first": float(view.test.yhat[0])}
    assert called == [view._thread]


def test_an_error_of_what_is_handed_on_does_not_undo_the_run():
    view = press_run(slow(0.0, shows=View(), pack=lambda e: {}["nothing"]), epochs=1)
    assert len(view.runs) == len(table(view.result.value)) == 1
    assert problem(view) == "KeyError: 'nothing'"


def test_a_page_without_a_kernel_has_the_results_and_says_what_the_controls_need(view):
    press_run(view, epochs=2)
    press_run(view, epochs=1, prior="none")
    bundle = view._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    html = bundle["text/html"]
    assert html.startswith("<p>The controls of this view need a kernel: run <code>make lab</code>")
    assert html.count("<figure") == 1 and re.search(r'alt="[^"]+"', html)
    assert [row["prior"] for row in table(html)] == ["measured", "none"]
    assert not re.search("<(input|button|select)", html)


def test_the_distillation_loss_has_a_logarithmic_axis_and_each_run_a_curve(view, monkeypatch):
    from semquant_book.views import widgets

    drawn = []
    still = widgets.still
    monkeypatch.setattr(widgets, "still", lambda figure, *more: drawn.append(figure) or still(figure, *more))
    press_run(view, epochs=2)
    press_run(view, epochs=3, prior="none")
    left, right = drawn[-1].axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert [line.get_ydata().tolist() for line in left.lines] == [
        [means["distillation"] for means in row["history"]] for row in view.runs]
    assert [line.get_ydata().tolist() for line in right.lines] == [
        [means["prior"] for means in view.runs[0]["history"]]]


# --- run a notebook -------------------------------------------------------------------------------

CELL = '''kind = "a"  # a, b or c
count = 2  # so many lines are printed
rate = 0.5
slow = False  # true: wait for a minute
words = ["x"]'''


@pytest.fixture
def form(tmp_path):
    """A form of a notebook that prints, and waits if it is told to."""
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("for i in range(count):\n    print(kind, i)\nprint(type(rate), words)"),
        nbformat.v4.new_code_cell(
            "import time, pathlib\n"
            "try:\n"
            "    time.sleep(60 * slow)\n"
            "finally:\n"
            f"    pathlib.Path({str(tmp_path / 'cleaned')!r}).touch()"),
    ]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "python"}
    nbformat.write(nb, tmp_path / "story.ipynb")
    made = NotebookForm(tmp_path / "story.ipynb", tmp_path / "out" / "copy.ipynb")
    yield made
    made.stop()
    made._thread.ident and made._thread.join()


def shown_lines(form):
    return unescape(re.sub("<[^>]*>", "", form.result.value)).split("\n")


def test_fields_have_kinds_defaults_help_and_accepted_values(form, tmp_path):
    assert {name: (type(field).__name__, field.value) for name, field in form.fields.items()} == {
        "kind": ("Dropdown", "a"), "count": ("IntText", 2), "rate": ("FloatText", 0.5),
        "slow": ("Checkbox", False), "words": ("Text", "['x']"),
        OUTPUT: ("Text", str(tmp_path / "out" / "copy.ipynb"))}
    assert form.fields["kind"].options == ("a", "b", "c")
    beside = {row.children[0].description: row.children[1].value
              for row in form.children if isinstance(row, ipywidgets.HBox) and len(row.children) == 2}
    assert beside["count"] == "so many lines are printed" and beside["kind"] == "a, b or c"


def test_the_command_follows_the_fields_and_is_quoted(form, tmp_path):
    form.fields["kind"].value = "b"
    form.fields["count"].value = 7
    form.fields[OUTPUT].value = "it's here/copy.ipynb"
    assert shlex.split(form.command)[1:] == [
        "notebook", str(tmp_path / "story.ipynb"), "it's here/copy.ipynb", "-p", "kind", "b", "-p", "count", "7",
        "-p", "rate", "0.5", "-p", "slow", "False", "-p", "words", "['x']"]
    assert unescape(re.sub("<[^>]*>", "", form.above.value)) == form.command


def test_paths_in_the_project_are_typed_as_they_are(monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(project_root() / "_build"))
    form = NotebookForm("book/experiment1/alexnet.ipynb")
    assert shlex.split(form.command)[2:4] == ["book/experiment1/alexnet.ipynb", "_build/live/alexnet.ipynb"]


def test_the_command_does_the_same(form, tmp_path):
    form.fields["kind"].value = "c"
    words = [sys.executable, "-m", "semquant_book", *shlex.split(form.command)[1:]]
    subprocess.run(words, check=True, capture_output=True, cwd=form.root)
    by_command = nbformat.read(tmp_path / "out" / "copy.ipynb", as_version=4)
    press_run(form)
    by_form = nbformat.read(tmp_path / "out" / "copy.ipynb", as_version=4)
    assert [cell.source for cell in by_form.cells] == [cell.source for cell in by_command.cells]
    assert by_form.cells[2].outputs == by_command.cells[2].outputs


@pytest.mark.parametrize(
    "values, message",
    [
        ({"words": "[1"}, "parameter words: '[1' is not a list (its default is ['x'])"),
        ({"words": "x"}, "parameter words: 'x' is not a list (its default is ['x'])"),
        ({OUTPUT: "copy.txt"}, "executed copy: 'copy.txt' is not a path, outside of the book's sources, that ends "
                               "in .ipynb"),
        ({OUTPUT: "book/x.ipynb"}, "executed copy: 'book/x.ipynb' is not a path, outside of the book's sources, "
                                   "that ends in .ipynb"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_written(form, tmp_path, values, message):
    press_run(form, **values)
    assert problem(form) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["story.ipynb"]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"count": "two"}, "^count: 'two' is not accepted; accepted: values such as 2$"),
        ({"kind": "d"}, "^kind: 'd' is not accepted; accepted: a, b, c$"),
        ({"knid": "a"}, r"^setting: 'knid' is not one of .*\(did you mean kind\?\)$"),
    ],
)
def test_a_value_from_code_that_is_not_accepted(form, tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        form.run(**values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["story.ipynb"]


def test_it_never_writes_over_its_notebook(form, tmp_path):
    before = (tmp_path / "story.ipynb").read_bytes()
    press_run(form, **{OUTPUT: str(tmp_path / "story.ipynb")})
    assert problem(form).startswith("executed copy: ")
    assert (tmp_path / "story.ipynb").read_bytes() == before


def test_a_notebook_without_parameters_has_no_form(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "bare.ipynb")
    with pytest.raises(InputError, match="^notebook: .*bare.ipynb has no parameters$"):
        NotebookForm(tmp_path / "bare.ipynb")


def test_a_run_shows_each_cell_and_line_and_leaves_a_whole_copy(form, tmp_path):
    bars, lines = [], []
    form.bar.observe(lambda change: bars.append(change["new"]), "value")
    form.line.observe(lambda change: lines.append(change["new"]), "value")
    form.fields["kind"].value = "c"
    started = time.monotonic()
    form.run_button.click()
    assert time.monotonic() - started < 1
    with pytest.raises(InputError, match="^run: one is under way"):
        form.run()
    form.wait()
    assert form.line.value == "done" and problem(form) == ""
    assert bars == sorted(bars) and bars[-1] == 1.0
    assert {"begins", "cell 2 of 4", "done"} <= set(lines)
    for line in ("cell 1 of 4", "cell 4 of 4", "c 0", "c 1", "<class 'float'> ['x']"):
        assert line in shown_lines(form)
    assert "c 1" in str(nbformat.read(tmp_path / "out" / "copy.ipynb", as_version=4).cells[2].outputs)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["copy.ipynb"]
    (link,) = form.link.outputs
    assert f'<a href="{os.path.relpath(tmp_path / "out" / "copy.ipynb")}">' in link["data"]["text/html"]
    press_run(form, **{OUTPUT: "copy.txt"})
    assert form.link.outputs == ()  # it was the last run's


def test_stop_ends_all_processes_and_leaves_nothing(form, tmp_path):
    form.fields["slow"].value = True
    form.run_button.click()
    until(lambda: form.line.value == "cell 4 of 4")
    processes = [psutil.Process(form._process.pid)]
    processes += processes[0].children(recursive=True)
    assert len(processes) > 1  # the notebook's kernel, in a session of its own
    time.sleep(0.5)
    started = time.monotonic()
    form.stop_button.click()
    assert time.monotonic() - started < 0.5
    form.wait()
    assert time.monotonic() - started < 20  # it would have slept for a minute
    assert form.line.value == "stopped; nothing of the run is kept" and problem(form) == ""
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes))
    assert list((tmp_path / "out").iterdir()) == []
    assert (tmp_path / "cleaned").exists()  # the cell was interrupted, not just killed


def test_a_run_that_is_stopped_at_once_ends(form, tmp_path):
    form.fields["slow"].value = True
    form.run_button.click()
    form.stop_button.click()
    form.wait()
    assert form.line.value == "stopped; nothing of the run is kept"
    assert not (tmp_path / "out" / "copy.ipynb").exists()


def test_a_run_that_fails_says_where(form, tmp_path):
    nb = nbformat.read(tmp_path / "story.ipynb", as_version=4)
    nb.cells[2].source = "assert count < 3, 'too many'"
    nbformat.write(nb, tmp_path / "story.ipynb")
    press_run(form, count=5)
    assert form.link.outputs == ()
    assert problem(form).startswith("notebook: ")
    assert "failed in cell 4 (AssertionError: too many)" in problem(form) and "\n" not in problem(form)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["copy.failed.ipynb"]


def test_a_page_without_a_kernel_has_the_command(form):
    html = form._repr_mimebundle_()["text/html"]
    assert html.startswith("<p>The controls of this view need a kernel: run <code>make lab</code>")
    assert f"semquant notebook {form.path} " in html and "-p count 2 -p rate 0.5" in html


# --- in a kernel, as JupyterLab speaks to it ------------------------------------------------------

SETUP = """
import sys, time
sys.path.insert(0, {tests!r})
from live_fits import slow
from semquant_book.views.widgets import View
explorer = View()
view = slow({seconds}, shows=explorer, pack=lambda e: {{"first": float(e.yhat[0])}})
view
"""


class Notebook:
    """A kernel, and what it has published."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=PATIENCE)
        self.heard = []

    def take(self, wait=0.05):
        """Receive what has been published meanwhile."""
        try:
            while True:
                self.heard.append(self.client.get_iopub_msg(timeout=wait))
        except Empty:
            pass

    def until(self, true, patience=PATIENCE):
        end = time.monotonic() + patience
        while not true():
            assert time.monotonic() < end, "it did not come to that"
            self.take()

    def of(self, kind, parent=None):
        return [m for m in self.heard if m["msg_type"] == kind
                and parent in (None, m["parent_header"].get("msg_id"))]

    def run(self, code):
        """Run a cell to its end; return the id of the message that asked for it."""
        cell = self.start(code)
        self.until(lambda: any(m["content"]["execution_state"] == "idle"
                               for m in self.of("status", cell)))
        errors = self.of("error", cell)
        assert not errors, "\n".join(errors[0]["content"]["traceback"])
        return cell

    def start(self, code):
        # else a cell that is interrupted takes those with it that are sent next
        return self.client.execute(code, stop_on_error=False)

    def tell(self, expression):
        """The value of an expression, a text."""
        cell = self.run(f"print({expression}, end='')")
        return "".join(m["content"]["text"] for m in self.of("stream", cell))

    def subshell(self):
        """Open a subshell, as JupyterLab does for the messages of widgets."""
        message = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(message)
        reply = self.client.get_control_msg(timeout=PATIENCE)
        assert reply["content"]["status"] == "ok", reply
        return reply["content"]["subshell_id"]

    def say(self, comm, subshell, **data):
        """Send a widget's message, as its manager does."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def click(self, comm, subshell):
        self.say(comm, subshell, method="custom", content={"event": "click"})

    def set(self, comm, subshell, **state):
        self.say(comm, subshell, method="update", state=state, buffer_paths=[])

    def values(self, comm, parent=None, trait="value"):
        """All values of a widget that were published, in order."""
        return [m["content"]["data"]["state"][trait] for m in self.of("comm_msg", parent)
                if m["content"]["comm_id"] == comm and trait in m["content"]["data"].get("state", {})]

    def busy(self, cell):
        return not any(m["content"]["execution_state"] == "idle" for m in self.of("status", cell))


@pytest.fixture(scope="module")
def notebook():
    made = Notebook()
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


def begin(notebook, request, seconds):
    """Run the cell that makes a view and shows it; return the addresses of its parts."""
    cell = notebook.run(SETUP.format(tests=str(request.path.parents[1]), seconds=seconds))
    (result,) = notebook.of("execute_result", cell)
    assert "application/vnd.jupyter.widget-view+json" in result["content"]["data"]
    parts = ("run_button", "stop_button", "line", "result", "fields['epochs']")
    return dict(zip(parts, notebook.tell("' '.join(x.model_id for x in (" + ", ".join(
        f"view.{part}" for part in parts) + "))").split()))


def test_run_and_stop_from_the_page_while_cells_run(notebook, request):
    at = begin(notebook, request, 0.05)
    subshell = notebook.subshell()
    notebook.set(at["fields['epochs']"], subshell, value=100)
    notebook.click(at["run_button"], subshell)
    notebook.until(lambda: any(v.startswith("epoch 1 of 100") for v in notebook.values(at["line"])))

    started = time.monotonic()
    assert notebook.tell("view._thread.is_alive()") == "True"  # the kernel is free
    assert time.monotonic() - started < 10

    # progress is told and Stop is heard while a cell is busy
    busy = notebook.start("time.sleep(60)")
    notebook.until(lambda: notebook.of("execute_input", busy))
    count = len(notebook.values(at["line"]))
    notebook.until(lambda: len(notebook.values(at["line"])) > count + 1, patience=30)
    notebook.click(at["stop_button"], subshell)
    notebook.until(lambda: notebook.values(at["line"])[-1].startswith("stopped: "), patience=30)
    assert notebook.busy(busy)
    notebook.manager.interrupt_kernel()
    notebook.until(lambda: notebook.of("error", busy))
    assert " of 100" in table(notebook.values(at["result"])[-1])[0]["epochs"]
    assert notebook.tell("tuple(view.explanation.alpha.shape)") == "(20, 6)"


def test_the_first_click_is_heard_while_a_cell_is_busy(notebook, request):
    at = begin(notebook, request, 0.0)
    subshell = notebook.subshell()
    busy = notebook.start("time.sleep(60)")
    notebook.until(lambda: notebook.of("execute_input", busy))
    notebook.set(at["fields['epochs']"], subshell, value=2)
    notebook.click(at["run_button"], subshell)
    notebook.until(lambda: any(v.startswith("done: 2 of 2") for v in notebook.values(at["line"])), patience=30)
    assert notebook.busy(busy)
    notebook.manager.interrupt_kernel()
    notebook.until(lambda: notebook.of("error", busy))


def test_what_a_cells_own_run_publishes_belongs_to_the_cell(notebook, request):
    """Or an executed page would not keep it: what has another parent is not saved with it."""
    at = begin(notebook, request, 0.0)
    explorer = notebook.tell("explorer.model_id")
    cell = notebook.run("view.run(epochs=2).wait()")
    notebook.take()
    assert notebook.values(at["line"], cell)[-1].startswith("done: 2 of 2")
    assert "first" in notebook.values(explorer, cell, "data")[-1]


def test_what_is_wrong_comes_back_as_one_line(notebook, request):
    at = begin(notebook, request, 0.0)
    subshell = notebook.subshell()
    notebook.set(at["fields['epochs']"], subshell, value=0)
    notebook.click(at["run_button"], subshell)
    notebook.until(lambda: any("epochs: 0 is not a whole number" in v for v in notebook.values(at["line"])))
    assert not notebook.of("error")[2:]  # two are of the cells that were interrupted
