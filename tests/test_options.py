"""What the list of departures names as options is there: functions, arguments, keys, commands."""

import ast
import importlib
import inspect
import pkgutil
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import yaml

import semquant
import semquant_book
from semquant_book.study.presets import Settings

PROJECT = Path(__file__).parents[1]
ROWS = [row for row in yaml.safe_load((PROJECT / "book" / "departures.yml").read_text())
        if row["option"] is not None]
KEYS = re.compile(r"preset keys? (`\w+`(?:, `\w+`)*)")


@cache
def modules() -> dict[str, str]:
    """Full names of modules by the last part of their names."""
    return {about.name.rpartition(".")[2]: about.name for package in (semquant_book, semquant)
            for about in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
            if not about.name.endswith("__main__")}


def found(name: str) -> object:
    """What `module.name` or a public name of the method stands for."""
    first, *rest = name.split(".")
    if first in modules() and rest:
        value = importlib.import_module(modules()[first])
    else:
        homes = [module for name in modules().values() if name.startswith("semquant.")
                 and first in getattr(module := importlib.import_module(name), "__all__", ())]
        assert homes, f"{first} is no public name of the method"
        value = getattr(homes[0], first)
    for part in rest:
        value = getattr(value, part)
    return value


def check(code: str) -> None:
    """Fail if an expression names what is not there, or an argument that is not taken."""
    expression = ast.parse(code, mode="eval").body
    if not isinstance(expression, ast.Call):
        assert callable(found(code)), code
        return
    signature = inspect.signature(found(ast.unparse(expression.func)))
    given = [a for a in expression.args if not (isinstance(a, ast.Constant) and a.value is ...)]
    positional = [None] if "self" in signature.parameters else []
    signature.bind_partial(*positional, *given, **{k.arg: None for k in expression.keywords})


def check_command(text: str) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    _, target, *variables = text.split()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), text
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]}\s*\?=", makefile, re.MULTILINE), text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_what_an_option_names_is_there(row):
    keys = {key for listed in KEYS.findall(row["option"]) for key in re.findall(r"\w+", listed)}
    assert keys <= {field.name for field in fields(Settings)}
    rest = re.findall("`([^`]+)`", KEYS.sub("", row["option"]))
    assert keys or rest, "it names nothing, in backticks"
    for text in rest:
        (check_command if text.startswith("make ") else check)(text)
    words = re.sub("`[^`]+`", "", row["option"])
    assert not re.search(r"\w[._(]\w", words), f"names without backticks: {words}"
