"""What other sites show of a page: the tags in its head, and the picture."""

import io
import re

import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant_book.figures.style import PART_COLOURS
from semquant_book.press import preview


@pytest.mark.parametrize("text, kept", [
    ("One sentence.", "One sentence."),
    ("The paper\nexplains [Chen et al., 2018, Chen et al., 2019] it. So.",
     "The paper explains it. So."),
    ("A [mask] stays.", "A [mask] stays."),
    ("Short. " + "x" * 200 + ".", "Short."),
    ("No end", "No end"),
    ("", ""),
])
def test_a_description_is_whole_sentences_without_citations(text, kept):
    assert preview.sentences(text) == kept


def test_a_long_first_sentence_is_cut_between_words():
    text = "word " * 60 + "end."
    kept = preview.sentences(text)
    assert len(kept) <= preview.LONGEST and kept.endswith("word\N{HORIZONTAL ELLIPSIS}")


def parsed(text):
    return dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', text))


def test_tags_with_a_picture_and_an_address():
    found = parsed(preview.tags(
        "A & <b>", 'says "no"', site="https://example.org/b/", page="book/x.html",
        image="https://example.org/b/_static/preview.png", alternative="a dog", name="Book"))
    assert found == {
        "og:title": "A &amp; &lt;b&gt;", "og:type": "website", "og:site_name": "Book",
        "og:description": "says &quot;no&quot;", "description": "says &quot;no&quot;",
        "og:url": "https://example.org/b/book/x.html",
        "og:image": "https://example.org/b/_static/preview.png", "og:image:width": "1200",
        "og:image:height": "630", "og:image:alt": "a dog", "twitter:card": "summary_large_image"}


def test_tags_without_an_address_name_none():
    found = parsed(preview.tags("A", "", page="book/x.html"))
    assert found == {"og:title": "A", "og:type": "website", "twitter:card": "summary"}


def explanation(values):
    values = torch.tensor(values)
    return Explanation(values.sum(1), values, torch.ones_like(values), 0.0,
                       names=["ear", "torso", "leg"])


def test_the_picture_has_the_size_that_sites_crop_to_and_bars_of_the_parts():
    said = explanation([[4.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, -2.0]])
    figure = preview.draw(np.full((3, 8, 8, 3), 255, np.uint8), np.zeros((3, 4, 4)), said,
                          "A\ntitle", "b")
    widths = [[round(p.get_width(), 3) for p in ax.patches] for ax in figure.axes if ax.patches]
    assert widths == [[4, 2, 0], [1, 1, 0], [0, 3, 0]]  # what is below 0 has no length
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["ear", "torso"]
    with Image.open(io.BytesIO(preview.png(figure))) as image:
        assert image.size == preview.SIZE
        colours = {c for _, c in image.convert("RGB").getcolors(10**6)}
    bars = {tuple(int(PART_COLOURS[p][k:k + 2], 16) for k in (1, 3, 5)) for p in ("ear", "torso")}
    assert bars <= colours


def test_fewer_images_than_there_is_room_for_are_an_error():
    said = explanation([[1.0, 0.0, 0.0]])
    with pytest.raises(InputError, match="accepted: three of each"):
        preview.draw(np.zeros((1, 8, 8, 3)), np.zeros((1, 4, 4)), said, "a", "b")


def test_the_picture_is_taken_from_the_cell_with_the_tag_only():
    other = new_output("display_data", {"image/png": "b3RoZXI="})
    mine = new_output("execute_result", {"image/png": "bWluZQ==", "text/plain": "x"},
                      metadata={"image/png": {"alt": "a dog"}})
    notebook = new_notebook(cells=[
        new_code_cell("a", outputs=[other]),
        new_code_cell("b", outputs=[mine], metadata={"tags": ["preview"]})])
    assert preview.taken_from(notebook) == (b"mine", "a dog")
    notebook.cells.pop()
    assert preview.taken_from(notebook) is None
