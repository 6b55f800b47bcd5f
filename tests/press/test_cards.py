"""Tables of sentences are made ready for a narrow screen, all others are left as they are."""

import re

import pytest

from semquant_book.press.cards import mend

LONG = "a sentence that is longer than any number"


def table(classes, *rows, heads=("key", "meaning")):
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{one}</th>" for one in heads)
    return f'<table class="{classes}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def test_each_cell_carries_the_heading_of_its_column():
    found = mend("<p>before</p>" + table("table", ["size", LONG], ["beta", "—"]) + "<p>after</p>")
    assert 'class="table cards"' in found
    assert re.findall(r'data-label="(\w+)"', found) == ["key", "meaning"] * 2
    assert '<td class="nothing" data-label="meaning">—</td>' in found  # left out of a card
    assert found.startswith("<p>before</p><table") and found.endswith("</table><p>after</p>")


def test_a_long_name_may_break_between_its_words_only():
    found = mend(table("prose-table", ["<code><span>face_train_images</span></code>",
                                       "distill_measured(x, loss=two)"]))
    assert "face_<wbr/>train_<wbr/>images" in found
    assert "distill_<wbr/>measured(x, loss=two)" in found
    assert "lambda(t) of 0.1234567890123" in mend(table("prose-table", ["lambda(t) of 0.1234567890123"]))


@pytest.mark.parametrize("html", [
    table("table", ["1", "2"]),
    table("dataframe", ["1", LONG]),
    table("table", ["1", LONG, "3"]),  # more cells than headings
    f"<table><tr><td>{LONG}</td></tr></table>",
    "<script>" + table("prose-table", ["x", LONG]) + "</script>",  # a view's data
])
def test_what_is_no_table_of_sentences_is_left_alone(html):
    assert mend(html) == html
