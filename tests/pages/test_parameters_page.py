"""The page that lists the presets' keys: complete, and with the default preset's values."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import yaml

from semquant_book.study.presets import Settings

BOOK = Path(__file__).parents[2] / "book"
TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    tuple[str, ...]: "list of text",
    tuple[float, ...]: "list of numbers",
    tuple[int, ...]: "list of whole numbers",
}


def _rows() -> dict[str, list[str]]:
    text = (BOOK / "reproduce" / "parameters.md").read_text()
    presets = text[text.index("## Of the presets") :]
    lines = [line for line in presets.splitlines() if line.startswith("| `")]
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {row[0].strip("`"): row for row in rows}


def _hints() -> dict[str, object]:
    return {name: hint for name, hint in get_type_hints(Settings).items() if name != "preset"}


def _plain(hint: object) -> object:
    """A type without the values that it is confined to."""
    if get_origin(hint) is tuple:
        return tuple[_plain(get_args(hint)[0]), ...]
    return str if get_origin(hint) is Literal else hint


def test_lists_every_key_and_its_type():
    hints = _hints()
    assert set(hints) == {field.name for field in fields(Settings)} - {"preset"}
    assert {name: row[1] for name, row in _rows().items()} == {
        name: TYPES[_plain(hint)] for name, hint in hints.items()
    }


def test_lists_the_names_that_are_accepted():
    rows, listed = _rows(), 0
    for name, hint in _hints().items():
        hint = get_args(hint)[0] if get_origin(hint) is tuple else hint
        shown = re.findall("`([^`]*)`", rows[name][2])
        if get_origin(hint) is Literal and shown and shown != ["architectures"]:
            assert {value.strip('"') for value in shown} == set(get_args(hint)), name
            listed += 1
    assert listed > 10


def test_shows_the_default_presets_values():
    values = yaml.safe_load((BOOK / "presets" / "quick.yml").read_text())
    for name, row in _rows().items():
        shown = re.findall("`([^`]*)`", row[3])
        shown = [yaml.safe_load(value) for value in shown]
        expected = values[name] if isinstance(values[name], list) else [values[name]]
        assert shown == expected, name
