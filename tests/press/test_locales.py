"""Whatever a machine's locale says text is: files here are UTF-8, and a name that can't be written is shown."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Python's own ways to be in UTF-8 all the same are off.
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOADING = """
from semquant_book.pages import claim_list, comparison, status
from semquant_book.press import assets, notebooks, reference, site
from semquant_book.study import code, presets, store
from semquant_book.study.presets import project_root
from semquant_book.views import explorer
assert presets.load_settings("quick").preset == "quick" and len(status.load()) > 10
for path in sorted((project_root() / "book").rglob("*.ipynb")):
    notebooks.parameters(path)
print(store.read_record(project_root() / "book/records/trials.json")["planned"])
"""


def run(*command, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LC_") and key != "LANG"}
    return subprocess.run([sys.executable, *command], capture_output=True, env=kept | PLAIN | environment, cwd=ROOT)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_files_are_read_in_a_locale_without_umlauts(locale):
    done = run("-c", LOADING, LC_ALL=locale)
    assert (done.returncode, done.stdout) == (0, b"72\n"), done.stderr.decode("utf-8", "replace")


def test_an_error_about_a_name_that_can_not_be_written_is_one_line(tmp_path):
    done = run("-m", "semquant_book", "notebook", "bücher.ipynb", str(tmp_path / "out.ipynb"), LC_ALL="C")
    said = done.stderr.decode("ascii")
    assert done.returncode == 1 and said.startswith("semquant: notebook: b") and said.count("\n") == 1 and "is not there" in said


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield node, name, {word.arg for word in node.keywords}


@pytest.mark.parametrize("path", sorted((ROOT / "lib").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT / "lib")))
def test_who_reads_or_writes_text_says_in_which_encoding(path):
    for node, name, words in calls(path):
        where = f"{path.name}:{node.lineno}"
        assert "encoding" in words or name not in ("read_text", "write_text"), where
        assert "encoding" in words or not words & {"text", "universal_newlines"}, where
        if name == "open" and isinstance(node.func, ast.Name):
            mode = [part.value for part in (*node.args[1:2], *(w.value for w in node.keywords if w.arg == "mode"))]
            assert "encoding" in words or "b" in "".join(mode), where
