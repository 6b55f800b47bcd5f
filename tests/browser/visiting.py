"""Visits to every page of the book: what is looked at on the way, and what is kept of it.

A page is opened twice: wide and light, from a server; and as wide as a phone and dark, with reduced
motion, as a file. Each time the window is then drawn to the other widths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page

from browser.reading import Opener, count_of_views, seconds_until_ready, settle, sticking_out
from semquant_book.press.site import toc_pages
from smoke import ROOT

PAGES = toc_pages(ROOT)
GENERATED = ["search", "genindex"]  # by Sphinx
WIDTHS = {"light": (1280, 768, 360), "dark": (360, 768, 1280)}  # the first one is opened
#: the process of this group visits all pages as files, so that it knows what they share
FILES = pytest.mark.xdist_group("files")
# other tests of one page run in one process, which opens it once
VISITS = [pytest.param((page, scheme), id=f"{page}-{scheme}",
                       marks=FILES if scheme == "dark" else pytest.mark.xdist_group(page))
          for scheme in ("dark", "light") for page in (*PAGES, *GENERATED)]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

# in a view, a picture on a button that has a name (axe-core sees to that) needs no text of its own
_IMAGES = """() => [...document.querySelectorAll("article img")]
  .filter((one) => one.loading !== "lazy" || one.checkVisibility()).map((one) => ({
  source: one.currentSrc.slice(0, 80), loaded: one.naturalWidth > 0,
  described: one.alt.trim() !== "" || one.matches(".sq-view :is(label, button) img[alt]")}))"""
# pictures are asked for when they are scrolled to; here all that can be
_ALL_LOADED = """() => Promise.all([...document.querySelectorAll("article img[loading=lazy]")]
  .filter((one) => one.checkVisibility()).map((one) => {
    one.loading = "eager";
    const late = new Promise((done) => setTimeout(done, 3000));  // it counts as not loaded then
    return Promise.race([one.decode().catch(() => null), late]);
  }))"""
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
# tables that stick out of the page on paper, and tables of sentences that do on a screen
_CUT = """(kind) => [...document.querySelectorAll(`article ${kind}`)].filter((one) =>
  one.checkVisibility() && !one.closest(".sq-view") && one.getBoundingClientRect().right
    > document.querySelector("article").getBoundingClientRect().right + 1)
  .map((one) => `${Math.round(one.getBoundingClientRect().width)} px: ${one.textContent.slice(0, 60)}`)"""
# short names in tables that are broken over lines
_BROKEN = """() => [...document.querySelectorAll("article table code")].filter((one) =>
  one.textContent.length < 12 && !/\\s/.test(one.textContent) && one.getClientRects().length > 1)
  .map((one) => one.textContent)"""
# pictures that cells leave, without a number and words that everybody sees who opens what is folded
_UNNUMBERED = """() => [...document.querySelectorAll("article .cell_output img")]
  .filter((one) => !one.closest(".sq-view") && !/^Figure \\d+\\.\\d+\\. \\S/.test(
    one.closest("figure")?.querySelector("figcaption")
      ?.[one.closest("details:not([open])") ? "textContent" : "innerText"] ?? ""))
  .map((one) => one.alt)"""
_NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PAPER = 688  # pixels: A4 without margins
_MOVING = """() => document.getAnimations()
  .filter((one) => one.playState === "running" && one.effect.getComputedTiming().duration > 20)
  .map((one) => one.animationName ?? one.transitionProperty ?? "animation")"""
_STILLS = """() => [...document.querySelectorAll(".sq-still > :not(figcaption)")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height > 0).length"""


@dataclass(repr=False)  # pytest would print all of it beside what failed
class Visit:
    """What a page was like in one scheme."""

    trouble: list[str]
    theme: str
    ready: float | None  # seconds until its views were ready
    files: set[Path] = field(default_factory=set)  # that it loaded, when opened as a file
    sideways: dict[int, list[str]] = field(default_factory=dict)  # width -> what reaches beyond it
    cut: dict[int | str, list[str]] = field(default_factory=dict)  # tables that are wider than there is room
    broken: list[str] = field(default_factory=list)  # names that are broken letter by letter
    unnumbered: list[str] = field(default_factory=list)  # figures without a caption and a number
    images: list[dict] = field(default_factory=list)
    raw_maths: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    figures: int = 0  # still figures to be seen, though their views are
    on_paper: str = ""  # the scheme in print
    printed: tuple[int, int, int] = (0, 0, 0)  # visible views and figures on paper; views there are


def look(opener: Opener, name: str, scheme: str, axe: str, place: Path) -> Visit:
    """Visit a page; keep a picture of each width in ``<width>-<scheme>/`` of the folder `place`."""
    dark = scheme == "dark"
    page = opener(name, width=WIDTHS[scheme][0], scheme=scheme, from_file=dark,
                  motion="reduce" if dark else "no-preference")
    seen = Visit(opener.log.trouble(), page.evaluate("document.documentElement.dataset.theme"),
                 seconds_until_ready(page))
    seen.moving = page.evaluate(_MOVING)
    seen.violations = violations(page, axe)
    for width in WIDTHS[scheme]:
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        seen.sideways[width] = sticking_out(page)
        seen.cut[width] = page.evaluate(_CUT, "table.cards")
        seen.broken += page.evaluate(_BROKEN)
        page.screenshot(path=place / f"{width}-{scheme}" / f"{name}.jpg", full_page=True,
                        quality=70)  # as PNG it takes twice as long
    page.evaluate(_ALL_LOADED)
    seen.images = page.evaluate(_IMAGES)
    seen.unnumbered = page.evaluate(_UNNUMBERED)
    seen.raw_maths = page.evaluate(_RAW_MATHS)
    seen.figures = page.evaluate(_STILLS.replace(".sq-still", ".sq-still:not(.sq-kept)"))
    seen.files = {Path(unquote(urlsplit(url).path)) for url in opener.log.requests
                  if url.startswith("file:")}
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 900})
    page.evaluate(_NEXT_FRAME)  # with it the page hears that it is on paper
    seen.on_paper = page.evaluate("document.documentElement.dataset.theme")
    seen.cut["paper"] = page.evaluate(_CUT, "table")
    views = page.locator(".sq-view").all()
    seen.printed = (sum(view.is_visible() for view in views), page.evaluate(_STILLS),
                    count_of_views(opener.html / f"{name}.html"))
    seen.trouble = opener.log.trouble()  # also what came after it was opened
    return seen


def violations(page: Page, axe: str) -> list[str]:
    """Run axe-core; return a line for each element that breaks a rule.

    It fetches style sheets for the rule about turned screens; those of files no script may read. A frame
    from a file answers to nobody; what stands in ours is looked at by itself (``test_saved_page.py``).
    """
    page.evaluate(axe)
    found = page.evaluate("""async (rules) => (await axe.run(document,
      {runOnly: rules, iframes: false, resultTypes: ["violations"], preload: location.protocol !== "file:"}))
      .violations""", RULES)
    return [f"{rule['id']}: {' '.join(map(str, node['target']))}: "
            f"{' '.join(node['failureSummary'].split())[:300]} | {node['html'][:160]}"
            for rule in found for node in rule["nodes"]]
