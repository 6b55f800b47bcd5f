"""Tables of sentences on the built pages: on a narrow screen each row becomes a card.

The style sheet does that to tables of the class ``cards``, and writes before each cell the heading of
its column, which stands in ``data-label``; cells of the class ``nothing`` are left out there. Long names
may break after a dot, an underscore or the like, never between any two letters.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag

__all__ = ["mend"]

# scripts hold the data of views, whose text is none of the page's
PARTS = re.compile(r"<script\b.*?</script>|<table\b.*?</table>", re.DOTALL)
SENTENCE = 30  # characters: a table with a longer cell is one to be read, not one of numbers
LONG = re.compile(r"[\w./(=]{12}")  # a name that is too long for a narrow column
# where it may go on in the next line: between words of four letters or more, never in a number
BREAKS = re.compile(r"(?<=\w{4}[_./(=])(?=[^\W\d]\w{3})")
NOTHING = ("", "-", "—", "–")


def mend(page: str) -> str:
    """Return a page's HTML with its tables of sentences ready to be shown as cards."""
    return PARTS.sub(lambda found: found[0] if found[0].startswith("<script") else _mended(found[0]),
                     page)


def _mended(html: str) -> str:
    soup = BeautifulSoup(html, "html.parser")
    table = soup.table
    rows = [row.find_all(["td", "th"], recursive=False) for row in table.select("tbody > tr")]
    heads = [cell.get_text(" ", strip=True) for cell in table.select("thead > tr > th")]
    if not _is_prose(table, heads, rows):
        return html
    table["class"] = [*table.get("class", []), "cards"]
    for row in rows:
        for head, cell in zip(heads, row):
            cell["data-label"] = head
            if cell.get_text(strip=True) in NOTHING:
                cell["class"] = [*cell.get("class", []), "nothing"]
    for text in table.find_all(string=LONG):
        first, *others = BREAKS.split(text)
        text.replace_with(first, *(one for part in others for one in (soup.new_tag("wbr"), part)))
    return str(table)


def _is_prose(table: Tag, heads: list[str], rows: list[list[Tag]]) -> bool:
    """Whether a table has one row of headings, as many as columns, and cells to be read."""
    classes = table.get("class", [])
    if not rows or "dataframe" in classes or any(len(row) != len(heads) for row in rows):
        return False
    if "prose-table" in classes:
        return True
    return "table" in classes and any(len(cell.get_text()) > SENTENCE for row in rows for cell in row)
