"""The form of a notebook's parameters: checked beside the field, run in a process of its own."""

import json
import time

import nbformat
import psutil
import pytest
import yaml

from semquant.checks import InputError
from semquant_book.pages.form import NotebookForm

CELL = '''kind = "a"  # a, b or c
count = 2  # so many lines are printed
rate = 0.5
slow = False  # true: wait for a minute'''


@pytest.fixture
def form(tmp_path):
    """A form of a notebook that prints, and waits if it is told to."""
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("for i in range(count):\n    print(kind, i)"),
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
    made.wait()


def until(true, patience=60):
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_fields_have_kinds_defaults_help_and_accepted_values(form):
    assert form.data["fields"] == [
        {"name": "kind", "type": "text", "default": "a", "help": "a, b or c",
         "accepted": ["a", "b", "c"]},
        {"name": "count", "type": "a whole number", "default": "2",
         "help": "so many lines are printed", "accepted": []},
        {"name": "rate", "type": "a number", "default": "0.5", "help": "", "accepted": []},
        {"name": "slow", "type": "true or false", "default": False,
         "help": "true: wait for a minute", "accepted": []},
    ]


def test_paths_are_shown_from_the_projects_folder_or_whole(form, tmp_path):
    assert form.data["source"] == str(tmp_path / "story.ipynb")
    assert form.data["output"] == str(tmp_path / "out" / "copy.ipynb")
    within = NotebookForm("book/experiment1/alexnet.ipynb", "out/copy.ipynb")
    assert within.data["source"] == "book/experiment1/alexnet.ipynb"
    assert within.data["output"] == "out/copy.ipynb"


def test_a_file_for_papermill_with_typed_values(form, tmp_path):
    file = form.write({"count": "3", "rate": "2", "kind": "b"})
    assert file == tmp_path / "out" / "copy.yml"
    assert yaml.safe_load(file.read_text()) == {"kind": "b", "count": 3, "rate": 2.0, "slow": False}
    assert form.status["file"]["text"] == file.read_text()


@pytest.mark.parametrize(
    "values, output, field, message",
    [
        ({"count": "two"}, None, "count", "parameter count: 'two' is not a whole number (its default is 2)"),
        ({"count": "[1"}, None, "count", "parameter count: '[1' is not a whole number (its default is 2)"),
        ({"kind": "d"}, None, "kind", "kind: 'd' is not one of a, b, c"),
        ({"knid": "a"}, None, "knid",
         "parameter: 'knid' is not one of kind, count, rate, slow (did you mean kind?)"),
        ({}, "copy.txt", "executed copy", "output: 'copy.txt' does not end in .ipynb"),
        ({}, "book/x.ipynb", "executed copy", "output: 'book/x.ipynb' is in the folder of the book's "
                             "sources, or is a folder; accepted: a file elsewhere"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field_before_anything_is_written(
        form, tmp_path, values, output, field, message):
    for command in ("write", "run"):
        form._heard(form, {"do": command, "values": values, "output": output}, [])
        assert form.status["problems"] == {field: message}
        assert form.status["state"] == "idle"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["story.ipynb"]
    form.write()
    assert form.status["problems"] == {} and form.status["problem"] is None


def test_it_never_writes_over_its_notebook(form, tmp_path):
    with pytest.raises(InputError, match="^output: "):
        form.run(output=tmp_path / "story.ipynb")


def test_a_run_shows_each_cell_and_line_and_leaves_a_whole_copy(form, tmp_path):
    told = []
    form.observe(lambda change: told.append(change["new"]), "status")
    started = time.monotonic()
    form.run({"count": "2", "kind": "c"})
    assert time.monotonic() - started < 1
    assert form.status["state"] == "running"
    with pytest.raises(InputError, match="^run: story.ipynb is running"):
        form.run()
    form.wait()
    assert form.status["state"] == "done" and form.status["done"] == 1.0
    lines = form.status["lines"]
    for line in ("cell 1 of 4", "cell 4 of 4", "c 0", "c 1"):
        assert line in lines
    assert {status["line"] for status in told} >= {"starts", "cell 2 of 4", "done"}
    done = [status["done"] for status in told]
    assert done == sorted(done)
    assert form.result == tmp_path / "out" / "copy.ipynb"
    assert "c 1" in json.dumps(nbformat.read(form.result, as_version=4))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["copy.ipynb", "copy.yml"]


def test_stop_ends_all_processes_and_leaves_nothing(form, tmp_path):
    form.run({"slow": True})
    until(lambda: form.status["line"] == "cell 4 of 4")
    processes = [psutil.Process(form._process.pid)]
    processes += processes[0].children(recursive=True)
    assert len(processes) > 1  # the notebook's kernel, in a session of its own
    time.sleep(0.5)
    started = time.monotonic()
    form.stop()
    assert time.monotonic() - started < 0.5
    form.wait()
    assert form.status["state"] == "stopped" and form.result is None
    assert form.status["line"] == "stopped; nothing of the run is kept"
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["copy.yml"]
    assert (tmp_path / "cleaned").exists()  # the cell was interrupted, not just killed


def test_a_run_that_fails_says_where(form, tmp_path):
    nb = nbformat.read(tmp_path / "story.ipynb", as_version=4)
    nb.cells[2].source = "assert count < 3, 'too many'"
    nbformat.write(nb, tmp_path / "story.ipynb")
    form.run({"count": "5"}).wait()
    assert form.status["state"] == "failed" and form.result is None
    problem = form.status["problem"]["text"]
    assert problem.startswith("notebook: ") and "failed in cell 4 (AssertionError: too many)" in problem
    assert "\n" not in problem
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["copy.failed.ipynb", "copy.yml"]


def test_pages_without_scripts_have_the_command_and_the_file(form, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    form.show()
    html = shown[0].data
    assert '<figure class="sq-still">' in html
    assert f"{form.data['program']} notebook {form.data['source']} {form.data['output']} --parameters " in html
    assert "count: 2  # so many lines are printed" in html
    assert shown[1] is form
