"""Lists of the book as tables of words: departures and readings, errata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

import yaml
from IPython.display import HTML

from semquant_book.study.presets import project_root

__all__ = ["departures", "errata", "worded"]


def worded(rows: Sequence[Mapping], columns: Mapping[str, str] | None = None, kind: str = "") -> HTML:
    """Return rows as a table of words, which break where there is no room.

    What stands in backticks is code; None and what is missing are a dash. Columns are keys and
    their titles, by default the first row's keys; the kind ``"narrow"`` is for numbers rather
    than sentences.
    """
    columns = {key: key for key in rows[0]} if columns is None else columns

    def cell(value: object) -> str:
        text = "\N{EM DASH}" if value is None else str(value)
        return "<td>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)) + "</td>"

    head = "".join(f"<th>{escape(title)}</th>" for title in columns.values())
    body = "".join("<tr>" + "".join(cell(row.get(key)) for key in columns) + "</tr>" for row in rows)
    classes = f"prose-table {kind}".strip()
    return HTML(f'<table class="{classes}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def _read(name: str) -> list[dict]:
    return yaml.safe_load((project_root() / "book" / f"{name}.yml").read_text(encoding="utf-8"))


def departures(kind: str) -> HTML:
    """Return the rows of ``book/departures.yml`` of a kind: "reading" or "departure"."""
    return worded([row for row in _read("departures") if row["kind"] == kind],
                  {"topic": "Topic", "paper": "The paper", "here": "Here", "option": "To choose otherwise",
                   "matters": "What it touches"})


def errata() -> HTML:
    """Return the slips in the paper's own numbers and sentences, ``book/errata.yml``."""
    return worded(_read("errata"), {"where": "Where", "printed": "Printed", "should_be": "Should be", "why": "Why"})
