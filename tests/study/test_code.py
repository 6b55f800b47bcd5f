"""The code that a result depends on is found from imports, and words change nothing."""

import json
from pathlib import Path

import pytest

from semquant.checks import InputError
from semquant_book.study import code


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library whose files can be spoilt: `write` a module, or anything beside it."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for kept in (code._find, code._tree, code._imported, code._content):
            kept.cache_clear()

    monkeypatch.setattr(code, "LIBRARY", tmp_path)
    write("semquant/__init__.py", "")
    write("semquant/priors.py", "import torch\n\ndef prior():\n    return 1\n")
    write("semquant/losses.py", "from semquant import priors\n")
    write("semquant_book/__init__.py", "")
    write("semquant_book/views/__init__.py", "")
    write("semquant_book/views/widgets.py", "import semquant.losses\n")
    write("semquant_book/views/scripts/bias.mjs", "let a = 1")
    yield write
    for kept in (code._find, code._tree, code._imported, code._content):
        kept.cache_clear()


def test_a_module_stands_for_all_that_it_imports(library):
    assert code.closure("semquant.priors") == ["semquant.priors"]
    assert code.closure("semquant_book.views.widgets") == [
        "semquant.losses", "semquant.priors", "semquant_book.views.widgets"]


@pytest.mark.parametrize("text, found", [
    ("import semquant.priors as p", "semquant.priors"),
    ("from semquant.priors import prior", "semquant.priors"),
    ("from semquant.priors import *", "semquant.priors"),
    ("def f():\n    if f:\n        from semquant import priors", "semquant.priors"),
    ("if TYPE_CHECKING:\n    pass\nelse:\n    import semquant.priors", "semquant.priors"),
    ("from . import other", "semquant_book.views.other"),
    ("from ..views import other", "semquant_book.views.other"),
    ("from .other import View", "semquant_book.views.other"),
    ("from semquant_book import views", "semquant_book.views"),
    ("from importlib import import_module\nimport_module('other')", "semquant_book.views.other"),
    ("from importlib import import_module\nimport_module('')\n'.', 'a b', '..other'", None),
    ("if TYPE_CHECKING:\n    from semquant import priors", None),
    ("if typing.TYPE_CHECKING:\n    from semquant import priors", None),
    ("import semquantum, numpy as semquant\nfrom scipy import stats", None),
])
def test_imports_of_every_form_are_found(library, text, found):
    library("semquant_book/views/other.py", "")
    library("semquant_book/views/new.py", text)
    others = set(code.closure("semquant_book.views.new")) - {"semquant_book.views.new"}
    assert others == ({found} if found else set())


def test_a_text_of_dots_beside_import_module_is_no_module(library):
    """Each would be the package by another name, which imports one with more dots, and so on."""
    library("semquant/__init__.py", "from importlib import import_module\n")
    library("semquant/checks.py", "from importlib import import_module\n\nDOTS = '.', '', '..'\n")
    assert code.closure("semquant.checks") == ["semquant.checks"]


def test_a_circle_of_imports_has_an_end(library):
    library("semquant/priors.py", "from semquant import losses\n")
    assert code.closure("semquant.priors") == ["semquant.losses", "semquant.priors"]


@pytest.mark.parametrize("text", [
    '"""Words."""\nimport torch\n\n\ndef prior():\n    """More words."""\n    return 1  # a remark\n',
    "import torch\ndef prior(): return 1\n",
    'import torch\n\ndef prior():\n    return 1\n"""Words below."""\n',
])
def test_words_and_layout_change_nothing(library, text):
    before = code.digest("semquant_book.views.widgets")
    library("semquant/priors.py", text)
    assert code.digest("semquant_book.views.widgets") == before


@pytest.mark.parametrize("name, text", [
    ("semquant/priors.py", "import torch\n\ndef prior():\n    return 2\n"),
    ("semquant/losses.py", "from semquant import priors\nimport semquant.new\n"),
    ("semquant_book/views/scripts/bias.mjs", "let a = 2"),
    ("semquant_book/views/scripts/style.css", "p {}"),
])
def test_code_scripts_and_imports_change_the_digest(library, name, text):
    before = code.digest("semquant_book.views.widgets"), code.digest("semquant.priors")
    library("semquant/new.py", "")
    library(name, text)
    assert code.digest("semquant_book.views.widgets") != before[0]
    assert (code.digest("semquant.priors") == before[1]) == (name != "semquant/priors.py")


def test_a_module_that_there_is_not_is_one_line(library):
    with pytest.raises(InputError, match="^module: 'semquant.prior' is no module of the project$"):
        code.digest("semquant.prior")


def notebook(path, *cells):
    path.write_text(json.dumps({"cells": [
        {"cell_type": "markdown", "source": ["import semquant.losses"]},
        *({"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells)]}))
    return path


def test_a_notebook_depends_on_what_its_code_cells_import(library, tmp_path):
    path = notebook(tmp_path / "a.ipynb", "import numpy\n", "from semquant import priors\n")
    assert code.of_notebook(path) == ["semquant.priors"]
    with pytest.raises(InputError, match=r"^notebook: cell 2 of .*a.ipynb is not Python \(line 1"):
        code.of_notebook(notebook(path, "%matplotlib inline"))


def test_files_that_a_notebook_or_its_modules_name_are_found(library, tmp_path):
    library("semquant/priors.py", "NAME = 'paper.yml'\n")
    path = notebook(tmp_path / "a.ipynb", "from semquant import losses\n'claims.yml'\n")
    files = [Path(name) for name in ("book/claims.yml", "book/errata.yml", "book/paper.yml")]
    assert code.named(path, files) == [files[0], files[2]]


def test_the_public_names_of_the_method_stand_for_their_modules():
    """They are loaded when they are used first, by names in a table."""
    assert {"semquant.distillation", "semquant.explainers"} <= set(code.closure("semquant"))


def test_drawn_images_depend_on_no_network():
    for module in ("drawn.animals", "drawn.faces"):
        found = code.closure(f"semquant_book.datasets.{module}")
        assert not [name for name in found if ".study" in name or ".networks" in name], found


@pytest.mark.parametrize("module", ["animal_performers", "face_performers"])
def test_performers_depend_on_no_explainer(module):
    """So that what is changed about explanations does not train performers again."""
    found = code.closure(f"semquant_book.study.{module}")
    ours = ("concepts", "priors", "losses", "measure", "explainers", "distillation", "explanation",
            "metrics")
    assert not {f"semquant.{name}" for name in ours} & set(found)
    assert "semquant_book.study.evaluation" not in found and "semquant.networks.performers" in found
