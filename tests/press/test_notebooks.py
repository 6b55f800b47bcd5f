"""Notebooks run strictly: names and types of parameters, failures that name notebook and cell."""

import ast
import json
from pathlib import Path

import nbformat
import pytest
import yaml

from semquant.checks import InputError
from semquant_book.press.cli import main
from semquant_book.press.notebooks import (
    check_values, execute, notebook_parameters, parameters, read_parameters)


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
        ({"count": "2.5"}, r"^parameter count: '2.5' is not a whole number"),
        ({"count": "0123"}, r"^parameter count: '0123' is not a whole number"),
        ({"count": "1:30"}, r"^parameter count: '1:30' is not a whole number"),
        ({"count": "1_000"}, r"^parameter count: '1_000' is not a whole number"),
        ({"count": "None"}, r"^parameter count: 'None' is not a whole number"),
        ({"count": True}, r"^parameter count: True is not a whole number"),
        ({"rate": "nan"}, r"^parameter rate: 'nan' is not a number"),
        ({"rate": "no"}, r"^parameter rate: 'no' is not a number"),
        ({"fail": "maybe"}, r"^parameter fail: 'maybe' is not true or false"),
        ({"rate": "[1]"}, r"^parameter rate: '\[1\]' is not a number"),
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


@pytest.mark.parametrize("given, expected", [
    ({"rate": "1e-3"}, {"rate": 1e-3}), ({"rate": " .5 "}, {"rate": 0.5}), ({"rate": "-2"}, {"rate": -2.0}),
    ({"rate": "1E+2"}, {"rate": 100.0}), ({"count": "-7"}, {"count": -7}), ({"count": "0"}, {"count": 0}),
    ({"fail": "no"}, {"fail": False}), ({"fail": "True"}, {"fail": True}), ({"name": "no"}, {"name": "no"}),
    ({"name": "0123"}, {"name": "0123"}), ({"name": "None"}, {"name": "None"}),
    ({"name": "it's {count} \"so\"\nand # so"}, {"name": "it's {count} \"so\"\nand # so"}),
    ({"several": "[1, 2]"}, {"several": [1, 2]}), ({"several": "[]"}, {"several": []}), ({"nothing": "None"}, {"nothing": None}),
])
def test_values_as_people_write_them(notebook, given, expected):
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[0].source += "\nseveral = [3]\nnothing = None"
    nbformat.write(nb, notebook)
    assert check_values(parameters(notebook), given) == (expected, {})


def test_what_is_in_a_list_has_the_type_of_what_is_there(notebook):
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[0].source = "several = [3]"
    nbformat.write(nb, notebook)
    for wrong, told in (("[1, 02]", "'02'"), ("3", "'3'"), ("[1", "'\\[1'"), ("{a: 1}", "{'a': '1'}")):
        with pytest.raises(InputError, match=f"^parameter several: {told} is not a (whole number|list)"):
            execute(notebook, notebook.with_name("out.ipynb"), {"several": wrong})


def test_a_folder_with_braces_and_a_value_with_everything(notebook, tmp_path):
    folder = tmp_path / "a {name} {0} # 'b' \u00e4"
    folder.mkdir()
    source, value = notebook.rename(folder / "story.ipynb"), "it's {count} \"so\" # \\ \u00e4\nand a line"
    out = execute(source, folder / "out.ipynb", {"name": value})
    printed = "".join(o.text for c in nbformat.read(out, as_version=4).cells for o in c.get("outputs", []))
    assert printed == f"{value} 1 0.5\n"


def test_a_parameters_cell_is_read_by_pythons_rules(notebook):
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[0].source = 'a = "b # c"  # what # it is\nd: float = 1.5\ne = [1,\n     2]  # two\nf = None'
    nbformat.write(nb, notebook)
    assert [(p.name, p.default, p.help) for p in parameters(notebook)] == [
        ("a", "b # c", "what # it is"), ("d", 1.5, ""), ("e", [1, 2], "two"), ("f", None, "")]
    nb.cells[0].source = "a = 1\nb = print(a)"
    nbformat.write(nb, notebook)
    with pytest.raises(InputError, match="^notebook: line 2 of the parameters of .*story.ipynb is not 'name = value'"):
        parameters(notebook)


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


@pytest.mark.parametrize(
    "default, comment, accepted",
    [
        ("cpu", "auto, cpu, cuda", ("auto", "cpu", "cuda")),
        ("cpu", "auto, cpu, cuda; nothing is run on this page", ("auto", "cpu", "cuda")),
        ("a", "a or b: which of the two", ("a", "b")),
        ("a", "a: it is so; b: it is not", ("a", "b")),
        ("a", "what is shown; a: it is so; b: it is not", ("a", "b")),
        ("c", "a, b", ()),  # the comment is about something else
        ("", "folder of photographs, see the page; empty: none", ()),
        ("dog", "the category whose image is shown", ()),
        (1, "1, 2", ()),
    ],
)
def test_a_comment_lists_the_accepted_values(notebook, default, comment, accepted):
    nb = nbformat.read(notebook, as_version=4)
    nb.cells[0].source = f"value = {default!r}  # {comment}"
    nbformat.write(nb, notebook)
    (value,) = parameters(notebook)
    assert (value.name, value.default, value.help, value.accepted) == ("value", default, comment, accepted)


def test_comments_of_the_books_notebooks_are_understood():
    root = Path(__file__).parents[2] / "book"
    lists = {"category", "device", "last_layer", "preset", "scale", "target"}
    seen = set()
    for path in sorted(root.rglob("*.ipynb")):
        for parameter in parameters(path):
            if parameter.accepted:
                assert parameter.default in parameter.accepted
                seen.add(parameter.name)
    assert seen >= lists


def test_the_books_notebooks_use_what_they_import():
    for path in sorted((Path(__file__).parents[2] / "book").rglob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        tree = ast.parse("\n".join(c.source for c in nb.cells if c.cell_type == "code"))
        imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = [(a.asname or a.name).split(".")[0] for n in imports for a in n.names]
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert len(names) == len(set(names)), f"{path.name} imports a name twice"
        assert set(names) <= used, f"{path.name} does not use {', '.join(sorted(set(names) - used))}"


def test_values_are_checked_all_at_once(notebook):
    good, problems = check_values(parameters(notebook), {"count": "7", "rate": "x", "nmae": "b"})
    assert good == {"count": 7}
    assert list(problems) == ["rate", "nmae"]
    assert problems["rate"] == "parameter rate: 'x' is not a number (its default is 0.5)"


def test_a_parameter_file_and_p_before_it(notebook, tmp_path, capsys):
    values = {"name": "from the file: b", "count": 3, "rate": 1.5, "fail": False}
    file = tmp_path / "values.yml"
    file.write_text("# a comment\n" + yaml.safe_dump(values, sort_keys=False))
    assert check_values(parameters(notebook), read_parameters(file)) == (values, {})
    out = tmp_path / "out.ipynb"
    status = main(["notebook", str(notebook), str(out), "--parameters", str(file), "-p", "count", "9",
                   "--log"])
    assert status == 0
    assert "from the file: b 9 1.5" in json.dumps(nbformat.read(out, as_version=4))
    said = capsys.readouterr().out.splitlines()
    assert said == ["cell 1 of 4", "cell 2 of 4", "cell 3 of 4", "cell 4 of 4",
                    "from the file: b 9 1.5"]


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "parameters: .*values.yml can't be read \\(No such file or directory\\)"),
        ("count: [", "parameters: .*values.yml is not YAML"),
        ("- 1", "parameters: .*values.yml does not hold lines of the form 'name: value'"),
        ("", "parameters: .*values.yml does not hold lines"),
    ],
)
def test_a_parameter_file_that_can_not_be_used(tmp_path, text, message):
    file = tmp_path / "values.yml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_parameters(file)
