"""Notebooks run strictly: names and types of parameters, failures that name notebook and cell."""

import json

import nbformat
import pytest

from semquant.checks import InputError
from semquant.cli import main
from semquant.notebooks import execute, notebook_parameters


@pytest.fixture
def notebook(tmp_path):
    """A notebook with parameters of four types, which fails where it is told to."""
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell('name = "a"  # text\ncount = 1\nrate = 0.5\nfail = False',
                                  metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("assert not fail, 'told to fail'"),
        nbformat.v4.new_code_cell("print(name, count, rate)"),
    ]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3",
                                 "language": "python"}
    path = tmp_path / "story.ipynb"
    nbformat.write(nb, path)
    return path


def test_parameters_and_their_defaults(notebook):
    assert notebook_parameters(notebook) == {"name": "a", "count": 1, "rate": 0.5, "fail": False}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"nmae": "b"}, r"^parameter of story.ipynb: 'nmae' is not one of name, count, rate, fail"),
        ({"count": "two"}, r"^parameter count: 'two' is not a whole number \(its default is 1\)$"),
        ({"count": "2.5"}, r"^parameter count: 2.5 is not a whole number"),
        ({"fail": "maybe"}, r"^parameter fail: 'maybe' is not true or false"),
        ({"rate": "[1]"}, r"^parameter rate: \[1\] is not a number"),
    ],
)
def test_a_wrong_parameter_is_one_line_before_anything_runs(notebook, tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        execute(notebook, tmp_path / "out" / "story.ipynb", values)
    assert not (tmp_path / "out").exists()


def test_an_executed_copy_has_the_values_and_the_source_is_left_alone(notebook, tmp_path):
    before = notebook.read_bytes()
    out = execute(notebook, tmp_path / "out.ipynb", {"name": "b", "count": "7", "rate": "2"})
    text = json.dumps(nbformat.read(out, as_version=4))
    assert "b 7 2.0" in text
    assert notebook.read_bytes() == before


def test_a_failure_names_notebook_and_cell_and_keeps_what_ran(notebook, tmp_path, capsys):
    out = tmp_path / "out.ipynb"
    out.write_text("of an earlier run")
    status = main(["notebook", str(notebook), str(out), "-p", "fail", "true"])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert "story.ipynb failed in cell 3 (AssertionError: told to fail)" in said  # 2 is injected
    assert out.read_text() == "of an earlier run"
    kept = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in kept.cells for o in c.get("outputs", []))


def test_an_absent_notebook_is_one_line(tmp_path):
    with pytest.raises(InputError, match="^notebook: .*none.ipynb is not there$"):
        execute(tmp_path / "none.ipynb", tmp_path / "out.ipynb", {})
