"""The glossary holds the paper's terms, and pages link terms that it holds."""

import re
from pathlib import Path

import nbformat
import pytest

from semquant_book.press.site import toc_pages

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "book" / "reproduce" / "glossary.md").read_text()
ENTRIES = TEXT.partition(":sorted:\n\n")[2].partition("```")[0]
TERMS = re.findall(r"^(?! )(.+)$", ENTRIES, re.M)
OF_THE_PAPER = (
    "performer explainer concept contribution alpha yhat score b n g x y w "
    "distillation lambda beta entropy_of_contributions relative_deviation bias-interpreting "
    "interpretable_filter filter_loss template mask part part_group prior_weight prior_loss "
    "baseline ours residual Case_1 Case_2 Grad-CAM true_contribution most_important_reasons "
    "contribution_of_a_part error_of_part_contributions target threshold "
    "explanation_capacity").split()
LINKING = [p for p in toc_pages(ROOT) if p == "book/intro" or p.startswith("book/method/")]


def source(page):
    path = ROOT / f"{page}.ipynb"
    if not path.exists():
        return (ROOT / f"{page}.md").read_text()
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)
    return text.replace("{{", "{").replace("}}", "}")  # in f-strings


def used(text):
    """The terms that a text links."""
    return re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", re.sub(r"\s+", " ", text))


def test_no_term_is_there_twice():
    assert len(TERMS) == len(set(map(str.lower, TERMS)))


def test_every_term_has_a_definition():
    blocks = [block.splitlines() for block in ENTRIES.strip().split("\n\n")]
    assert all(any(line.startswith("  ") for line in block) and not block[0].startswith(" ")
               for block in blocks)


@pytest.mark.parametrize("term", OF_THE_PAPER)
def test_the_terms_of_the_paper_are_there(term):
    assert term.replace("_", " ") in TERMS


def test_links_lead_to_terms():
    assert used("{term}`a`, {term}`prior\nones <prior weight>`") == ["a", "prior weight"]
    for page in toc_pages(ROOT):
        assert set(used(source(page))) <= set(TERMS), page


@pytest.mark.parametrize("page", LINKING)
def test_the_landing_page_and_the_chapters_of_the_method_link_a_term_at_its_first_use(page):
    linked = used(source(page))
    assert len(linked) >= 3
    assert len(linked) == len(set(linked))
