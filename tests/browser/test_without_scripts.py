"""Pages in a browser that runs no scripts: formulas are set, colours are the reader's, pictures are there."""

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


def test_every_formula_is_there_twice(html):
    pages = [(html / f"{name}.html").read_text() for name in PAGES]
    formulas, set_ones = (sum(page.count(what) for page in pages)
                          for what in ('class="math notranslate nohighlight"', "</span><noscript><math "))
    assert formulas == set_ones > 100


@pytest.mark.parametrize("name", [PAGE, "book/method/interpretable_filters", "book/right/protocol"])
def test_formulas_are_set_and_no_tex_is_seen(open_page, name):
    page = open_page(name, scripts=False)
    assert min(page.evaluate(WIDTHS)) > 3
    assert not page.evaluate(RAW)


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_the_readers(open_page, scheme, media):
    bare = open_page(PAGE, scripts=False, scheme=scheme, media=media).evaluate(COLOURS, LOOKED_AT)
    usual = open_page(PAGE, scheme=scheme if media == "screen" else "light", media=media).evaluate(COLOURS, LOOKED_AT)
    assert bare == usual


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_books_picture_is_there(open_page, scheme):
    assert open_page(PAGE, scripts=False, scheme=scheme).locator("img.logo__image").locator("visible=true").count() == 1
