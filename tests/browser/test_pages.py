"""Every page of the smoke book in a browser without a network: whole, quiet, readable.

A page is opened twice from a server: wide and light, and as wide as a phone and dark, with reduced
motion; each time the window is then drawn to the other widths. All that is asserted below is
recorded on the way (`Visit`), and a screenshot is kept of every width and scheme, in
``screenshots/<width>-<scheme>/`` of the build folder or in the folder ``SEMQUANT_SCREENSHOTS``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

from browser.reading import count_of_views, settle, sticking_out
from semquant.settings import build_root
from semquant.site import toc_pages
from smoke import ROOT

GENERATED = ["search", "genindex"]  # by Sphinx
WIDTHS = {"light": (1280, 768, 360), "dark": (360, 768, 1280)}  # the first one is opened
# tests of one page in one scheme run in one process, which opens it once
VISITS = [pytest.param((page, scheme), id=f"{page}-{scheme}",
                       marks=pytest.mark.xdist_group(f"{page}-{scheme}"))
          for page in (*toc_pages(ROOT), *GENERATED) for scheme in WIDTHS]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

# in a view, a picture on a button that has a name (axe-core sees to that) needs no text of its own
_IMAGES = """() => [...document.querySelectorAll("article img")].map((one) => ({
  source: one.currentSrc.slice(0, 80), loaded: one.naturalWidth > 0,
  described: one.alt.trim() !== "" || one.matches(".sq-view :is(label, button) img[alt]")}))"""
# what MathJax has left as it was, and what it could not read
_RAW_MATHS = r"""() => {
  const found = [...document.querySelectorAll(".math")]
    .filter((one) => !one.querySelector("mjx-container"));
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!/\\\(|\\\)|\\\[|\\\]|\$\$/.test(node.data)) continue;
    if (!node.parentElement.closest("pre, code, script, style, mjx-container")) {
      found.push(node.parentElement);
    }
  }
  found.push(...document.querySelectorAll("mjx-merror"));
  return found.map((one) => one.textContent.slice(0, 100));
}"""
_MOVING = """() => document.getAnimations()
  .filter((one) => one.playState === "running" && one.effect.getComputedTiming().duration > 20)
  .map((one) => one.animationName ?? one.transitionProperty ?? "animation")"""
_STILLS = """() => [...document.querySelectorAll(".sq-still")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height > 0).length"""


@dataclass(repr=False)  # pytest would print all of it beside what failed
class Visit:
    """What a page was like in one scheme."""

    trouble: list[str]
    theme: str
    sideways: dict[int, list[str]] = field(default_factory=dict)  # width -> what reaches beyond it
    images: list[dict] = field(default_factory=list)
    raw_maths: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    figures: int = 0  # still figures to be seen, though their views are
    printed: tuple[int, int, int] = (0, 0, 0)  # visible views and figures on paper; views there are


@pytest.fixture(scope="session")
def visit(opener, axe):
    """Return the visit of a page in a scheme; it is made once in a process."""
    place = Path(os.environ.get("SEMQUANT_SCREENSHOTS") or build_root() / "screenshots")

    @cache
    def made(name: str, scheme: str) -> Visit:
        mine = opener.again()
        try:
            return look(mine, name, scheme)
        finally:
            mine.close()

    def look(mine, name: str, scheme: str) -> Visit:
        motion = "reduce" if scheme == "dark" else "no-preference"
        page = mine(name, width=WIDTHS[scheme][0], scheme=scheme, motion=motion)
        seen = Visit(mine.log.trouble(), page.evaluate("document.documentElement.dataset.theme"))
        seen.moving = page.evaluate(_MOVING)
        seen.violations = violations(page, axe)
        for width in WIDTHS[scheme]:
            page.set_viewport_size({"width": width, "height": 900})
            settle(page)
            seen.sideways[width] = sticking_out(page)
            page.screenshot(path=place / f"{width}-{scheme}" / f"{name}.png", full_page=True)
        seen.images = page.evaluate(_IMAGES)
        seen.raw_maths = page.evaluate(_RAW_MATHS)
        seen.figures = page.evaluate(_STILLS.replace(".sq-still", ".sq-still:not(.sq-kept)"))
        page.emulate_media(media="print")
        views = page.locator(".sq-view").all()
        seen.printed = (sum(view.is_visible() for view in views), page.evaluate(_STILLS),
                        count_of_views(mine.html / f"{name}.html"))
        seen.trouble = mine.log.trouble()  # also what came after it was opened
        return seen

    return made


def violations(page: Page, axe: str) -> list[str]:
    """Run axe-core; return a line for each element that breaks a rule."""
    page.evaluate(axe)
    found = page.evaluate("""async (rules) => (await axe.run(document,
      {runOnly: rules, resultTypes: ["violations"]})).violations""", RULES)
    return [f"{rule['id']}: {' '.join(map(str, node['target']))}: "
            f"{' '.join(node['failureSummary'].split())[:300]} | {node['html'][:160]}"
            for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("what", VISITS)
def test_nothing_leaves_the_book_and_nothing_is_complained_of(visit, what):
    assert not visit(*what).trouble


@pytest.mark.parametrize("what", VISITS)
def test_the_scheme_is_the_readers(visit, what):
    assert visit(*what).theme == what[1]


@pytest.mark.parametrize("what", VISITS)
def test_no_page_scrolls_sideways(visit, what):
    assert visit(*what).sideways == {width: [] for width in WIDTHS[what[1]]}


@pytest.mark.parametrize("what", VISITS)
def test_every_image_is_there_and_is_described(visit, what):
    assert not [one for one in visit(*what).images if not (one["described"] and one["loaded"])]


@pytest.mark.parametrize("what", VISITS)
def test_formulas_are_typeset(visit, what):
    assert not visit(*what).raw_maths


@pytest.mark.parametrize("what", VISITS)
def test_axe_finds_nothing(visit, what):
    found = visit(*what).violations
    assert not found, "\n".join(found)


@pytest.mark.parametrize("what", VISITS)
def test_a_view_stands_where_its_figure_was(visit, what):
    assert visit(*what).figures == 0


@pytest.mark.parametrize("what", VISITS)
def test_on_paper_a_figure_stands_where_a_view_is(visit, what):
    views, figures, count = visit(*what).printed
    assert (views, figures) == (0, count)


@pytest.mark.parametrize("what", [one for one in VISITS if one.values[0][1] == "dark"])
def test_nothing_moves_for_who_asked_for_that(visit, what):
    assert not visit(*what).moving
