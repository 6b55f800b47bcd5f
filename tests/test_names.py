"""Lists of names stand in one place, which is quick to ask."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from semquant import explainers
from semquant.networks import performers
from semquant_book.datasets import names

LIBRARY = Path(names.__file__).parents[1]
LISTS = {name: getattr(names, name) for name in names.__all__ if isinstance(getattr(names, name), tuple)}


def test_the_methods_own_names_are_the_books():
    assert performers.ARCHITECTURES == names.ARCHITECTURES
    assert explainers.SCALES == names.SCALES


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_no_module_of_the_book_writes_a_list_of_names_again(path):
    if path.samefile(names.__file__):
        return
    written = [ast.literal_eval(node) for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) > 1
               and all(isinstance(e, ast.Constant) for e in node.elts)]
    again = [name for name, values in LISTS.items() if values in map(tuple, written)]
    assert not again, f"{path.name} writes {', '.join(again)} of semquant_book.datasets.names"


@pytest.mark.parametrize("module", ["datasets.names", "folders", "study.presets", "study.store",
                                    "study.code", "press.needs", "press.site"])
def test_what_the_workflow_asks_is_quick_to_load(module):
    said = subprocess.run([sys.executable, "-c", f"import sys, semquant_book.{module}; "
                           "print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"],
                          capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
