"""How far the book has each table and figure of the paper: ``book/status.yml`` as pages show it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from semquant.checks import InputError, one_of
from semquant_book.study.presets import project_root

__all__ = ["STATES", "counted", "explained", "load", "table"]

#: The states that a table or figure can be in, and what they mean.
STATES = {
    "reproduced": "measured as in the paper, on its photographs with networks of its size",
    "on drawings": "the same quantity by the same definition, beside the paper's numbers where it "
                   "prints any, but of drawn images and small networks: it puts the method to the "
                   "test, and not the printed numbers",
    "partly": "panels, rows or columns are missing, or something else stands in their place",
    "not": "not there"}
KEYS = {"item", "what", "state", "where", "differs"}
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve")


def load(path: str | Path | None = None) -> list[dict]:
    """Read and check the rows of ``book/status.yml``, with titles of ``book/paper.yml``.

    A row has ``item``, ``what``, ``state``, ``where``, ``differs`` and perhaps ``photos``, both
    of words of a link and ``page#heading``. InputError for one without these, with something
    else or another state, and for an item that is not in ``book/paper.yml`` or in another row
    too.
    """
    book = project_root() / "book"
    paper = yaml.safe_load((book / "paper.yml").read_text(encoding="utf-8"))
    known = paper["tables"] | paper["figures"]
    rows, seen = [], set()
    for number, row in enumerate(yaml.safe_load(Path(path or book / "status.yml").read_text(encoding="utf-8")), 1):
        item = row.get("item", "")
        field = f"status.yml, row {number} ({item})"
        if missing := KEYS - row.keys():
            raise InputError(f"{field}: {', '.join(sorted(missing))} is missing")
        if unknown := row.keys() - KEYS - {"photos"}:
            raise InputError(f"{field}: {', '.join(sorted(unknown))} is not one of "
                             f"{', '.join(sorted(KEYS | {'photos'}))}")
        one_of(f"{field}, item", item.partition("/")[0], tuple(known))
        one_of(f"{field}, state", row["state"], tuple(STATES))
        for key in ("where", "photos"):
            if not isinstance(row.get(key, {}), dict) or (key == "where" and not row[key]
                                                          and row["state"] != "not"):
                raise InputError(f"{field}, {key}: {row[key]!r} is not words of links and pages")
        if item in seen:
            raise InputError(f"{field}: another row has it already")
        seen.add(item)
        rows.append(row | {"title": known[item.partition("/")[0]]["title"],
                           "photos": row.get("photos", {})})
    return rows


def _place(target: str, page: str, root: Path) -> str:
    """Return ``page#heading`` as an address relative to a page, with the page's ending."""
    name, _, heading = target.partition("#")
    ending = next((end for end in (".ipynb", ".md") if (root / f"{name}{end}").is_file()), None)
    if ending is None:
        raise InputError(f"status.yml: {name} is no page; accepted: a page of the book without its "
                         "ending, # and a heading")
    relative = os.path.relpath(f"{name}{ending}", os.path.dirname(page) or ".")
    return relative.replace(os.sep, "/") + (f"#{heading}" if heading else "")


def table(rows: Sequence[dict], page: str = "book/intro") -> str:
    """Return the rows as a table in Markdown, with links that are right on a page.

    InputError for a link to a page that isn't there.
    """
    root = project_root()

    def links(places: dict[str, str]) -> str:
        return ", ".join(f"[{words}]({_place(target, page, root)})"
                         for words, target in places.items())

    lines = ["| Of the paper | State | Where | What differs |", "|---|---|---|---|"]
    for row in rows:
        title, _, rest = row["title"].partition(". ")
        label = title if rest else "Supplement"
        where = links(row["where"])
        if row["photos"]:
            where += ". Photographs: " + links(row["photos"])
        lines.append(f"| **{label}**: {row['what']} | {row['state']} | {where} | "
                     f"{row['differs'].strip()} |")
    return "\n".join(lines)


def counted(rows: Sequence[dict]) -> str:
    """Return how many rows are in which state, as a sentence."""
    count = Counter(row["state"] for row in rows)
    said = {"reproduced": "reproduced as the paper measured {them}", "not": "missing",
            "on drawings": "reproduced on drawings", "partly": "reproduced partly"}
    parts = []
    for state in STATES:
        n = count[state]
        amount = NUMBERS[n] if n < len(NUMBERS) else str(n)
        verb, them = ("is", "it") if n == 1 else ("are", "them")
        parts.append(f"{amount} {verb} {said[state].format(them=them)}")
    return (f"Of the paper's {len(rows)} tables and figures, the supplement's included, "
            f"{', '.join(parts[:-1])}, and {parts[-1]}.")


def explained() -> str:
    """Return what the states mean, as a list in Markdown."""
    return "\n".join(f"- *{state}*: {meaning}." for state, meaning in STATES.items())
