"""Pages in a browser that runs no scripts: formulas are set, colours are the reader's, pictures are there."""

import re

import pytest

from browser.visiting import PAGES

PAGE = "book/method/bias_interpreting"
# elements whose colours tell whether the theme's are there, and the print of what they are
COLOURS = """(all) => Object.fromEntries(all.map((one) => {
  const style = getComputedStyle(document.querySelector(one));
  return [one, [style.color, style.backgroundColor, style.borderTopColor]];
}))"""
# TeX that a reader sees, other than in code
RAW = r"""() => {
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const { data, parentElement: around } = walker.currentNode;
    if (/\\[()[\]]|\$\$/.test(data) && !around.closest("pre, code, noscript, script, style")
        && around.checkVisibility()) found.push(data.slice(0, 100));
  }
  return found;
}"""
WIDTHS = """() => [...document.querySelectorAll(".math math")]
  .map((one) => one.checkVisibility() ? one.getBoundingClientRect().width : 9)"""
LOOKED_AT = ["body", "article h1", "article p", "article p a", ".bd-sidebar-primary", "nav.bd-links a",
             ".cell_input .highlight", ".highlight .kn", ".highlight .s2, .highlight .c1"]


def test_every_formula_is_set(open_page, html):
    count = 0
    for name in PAGES:
        formulas = len(re.findall('class="math notranslate', (html / f"{name}.html").read_text()))
        if not formulas:
            continue
        page = open_page(name, scripts=False)
        widths = page.evaluate(WIDTHS)
        assert len(widths) == formulas and min(widths) > 3, name
        assert not page.evaluate(RAW), name
        count += formulas
        page.context.close()
    assert count > 100


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_the_readers(open_page, scheme, media):
    bare = open_page(PAGE, scripts=False, scheme=scheme, media=media).evaluate(COLOURS, LOOKED_AT)
    usual = open_page(PAGE, scheme=scheme if media == "screen" else "light", media=media).evaluate(COLOURS, LOOKED_AT)
    assert bare == usual


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_books_picture_is_there(open_page, scheme):
    assert open_page(PAGE, scripts=False, scheme=scheme).locator("img.logo__image").locator("visible=true").count() == 1
