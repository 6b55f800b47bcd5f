"""The table of the paper's tables and figures: whole, with states and links that hold."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mdit_py_plugins.anchors.index import slugify

from semquant.checks import InputError
from semquant_book.pages import status
from semquant_book.press.site import toc_pages

ROOT = Path(__file__).parents[2]
ROWS = status.load()
# the supplement's: the four tables and the four kinds of figures under its headings
SUPPLEMENT = {"supplement_entropy", "supplement_accuracy", "supplement_accuracy_attributes",
              "supplement_deviation", "supplement_distributions", "supplement_explanations",
              "supplement_filters"}


def headings(page):
    """The addresses of a page's headings, from its source."""
    source = ROOT / f"{page}.ipynb"
    if source.exists():
        cells = json.loads(source.read_text())["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    else:
        text = (ROOT / f"{page}.md").read_text()
    return {slugify(title) for title in re.findall(r"^#{1,3} (.+)$", text, re.M)}


def test_every_numbered_table_and_figure_is_there_once():
    numbered = Counter(m[0] for row in ROWS if (m := re.match(r"(Table|Figure) \d+", row["title"])))
    assert numbered == Counter([*(f"Table {k}" for k in (1, 2, 3)),
                                *(f"Figure {k}" for k in range(1, 9))])


def test_the_supplement_is_there_once_its_faces_by_attribute():
    paper = yaml.safe_load((ROOT / "book" / "paper.yml").read_text())
    faces = {f"supplement_attributes/{t}" for t in paper["settings"]["experiment_2"]["targets"]}
    items = [row["item"] for row in ROWS if row["item"].startswith("supplement")]
    assert sorted(items) == sorted(SUPPLEMENT | faces)
    assert {i.partition("/")[0] for i in (row["item"] for row in ROWS)} == \
        paper["tables"].keys() | paper["figures"].keys()


def test_states_are_accepted_ones_and_explained():
    assert {row["state"] for row in ROWS} <= status.STATES.keys()
    said = status.explained()
    assert all(f"*{state}*: " in said for state in status.STATES)


def test_nothing_is_called_reproduced_while_the_default_data_are_drawings():
    """`reproduced` means photographs and networks of the paper's size: not the default."""
    default = yaml.safe_load((ROOT / "book" / "presets" / "quick.yml").read_text())
    if default["images"] == default["faces"] == "drawn":
        assert not [row["item"] for row in ROWS if row["state"] == "reproduced"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["item"])
def test_links_lead_to_headings_of_pages_of_the_book(row):
    pages = toc_pages(ROOT)
    for place in (*row["where"].values(), *row["photos"].values()):
        page, _, heading = place.partition("#")
        assert page in pages, place
        assert heading in headings(page), place


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["item"])
def test_what_differs_is_one_sentence(row):
    assert re.fullmatch(r"[A-Z][^.]*\.", " ".join(row["differs"].split()))


def rows(**states):
    return [{"item": f"{state}{k}", "title": "Table 1. A title", "what": "w", "state": state,
             "where": {}, "photos": {}, "differs": "D."}
            for state, n in states.items() for k in range(n)]


def test_the_sentence_counts_the_states():
    some = rows(reproduced=1, partly=2) + [{**r, "state": "on drawings"} for r in rows(partly=13)]
    assert status.counted(some) == (
        "Of the paper's 16 tables and figures, the supplement's included, one is reproduced as the "
        "paper measured it, 13 are reproduced on drawings, two are reproduced partly, and none are "
        "missing.")
    count = Counter(row["state"] for row in ROWS)
    assert sum(count.values()) == len(ROWS)
    assert f"{len(ROWS)} tables and figures" in status.counted(ROWS)


def test_links_are_relative_to_the_page_that_shows_them():
    table = {"item": "table_1", "title": "Table 1. Entropy", "what": "entropy", "state": "partly",
             "where": {"one": "book/experiment1/summary#a"},
             "photos": {"two": "book/reproduce/api"}, "differs": "D."}
    assert status.table([table]).splitlines()[-1] == (
        "| **Table 1**: entropy | partly | [one](experiment1/summary.ipynb#a). Photographs: "
        "[two](reproduce/api.md) | D. |")
    assert "[one](../experiment1/summary.ipynb#a)" in status.table([table], "book/method/priors")


def broken(tmp_path, change):
    content = yaml.safe_load((ROOT / "book" / "status.yml").read_text())
    change(content)
    path = tmp_path / "status.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("change, message", [
    (lambda c: c[0].update(state="party"),
     r"row 1 \(table_1\), state: 'party' is not one of .*did you mean partly"),
    (lambda c: c[1].pop("differs"), r"row 2 \(table_2\): differs is missing"),
    (lambda c: c[0].update(were=1), r"row 1 \(table_1\): were is not one of"),
    (lambda c: c[0].update(item="table_9"), r"item: 'table_9' is not one of"),
    (lambda c: c.append(c[0]), r"row 23 \(table_1\): another row has it already"),
    (lambda c: c[0].update(where="book/intro"), r"row 1 \(table_1\), where: 'book/intro' is not"),
    (lambda c: c[0].update(where={}), r"row 1 \(table_1\), where: \{\} is not"),
])
def test_what_is_wrong_in_the_file_is_said_in_one_line(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        status.load(broken(tmp_path, change))


def test_a_link_to_no_page_is_named(tmp_path):
    path = broken(tmp_path, lambda c: c[0].update(where={"x": "book/experiment1/sumary#a"}))
    with pytest.raises(InputError, match="book/experiment1/sumary is no page"):
        status.table(status.load(path))
