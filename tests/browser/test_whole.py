"""The smoke book as a whole: opened as files, its links, its weight, how soon views are ready."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from browser.reading import count_of_views, settle
from semquant.site import toc_pages
from smoke import ROOT

PAGES = toc_pages(ROOT)
MEGABYTE = 10 ** 6
READY = 2.0  # seconds until all views of a page answer

_WHEN_READY = """
  const look = () => {
    if (document.querySelectorAll(".sq-view[data-ready]").length < COUNT) setTimeout(look, 5);
    else window.whenReady = performance.now();
  };
  look();
"""


class Parts(HTMLParser):
    """The links of a page and the places in it that links can name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.places = [], {"", "top"}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.places.update(given[name] for name in ("id", "name") if given.get(name))
        if tag == "a" and given.get("href") is not None:
            self.links.append(given["href"])


def test_links_lead_to_pages_and_places_that_exist(html):
    parsed = {path: Parts(path) for path in html.rglob("*.html") if "_static" not in path.parts}
    assert len(parsed) >= len(PAGES)
    broken = []
    for path, parts in parsed.items():
        for link in parts.links:
            url, place = urldefrag(urljoin(path.as_uri(), link))
            if not url.startswith("file:"):  # of another site
                continue
            target = Path(unquote(urlsplit(url).path))
            if not target.is_relative_to(html) or not target.is_file():
                broken.append(f"{path.relative_to(html)}: {link}: no such file")
            elif target in parsed and unquote(place) not in parsed[target].places:
                broken.append(f"{path.relative_to(html)}: {link}: no such place")
    assert not broken, "\n".join(broken)


@pytest.fixture(scope="module")
def loads(opener, html) -> dict[str, tuple[list[str], set[Path], int]]:
    """Each page, opened as a file: its troubles, the files it loaded, and its unread formulas."""
    seen = {}
    for name in PAGES:
        mine = opener.again()
        page = mine(name, from_file=True)
        raw = page.locator(".math:not(:has(mjx-container))").count()
        mine.close()
        files = {Path(unquote(urlsplit(url).path)) for url in mine.log.requests
                 if url.startswith("file:")}
        seen[name] = (mine.log.trouble(), files, raw)
    return seen


def test_opened_as_files_pages_are_whole_without_a_network(loads):
    trouble = {name: said for name, (said, _, raw) in loads.items() if said}
    assert not trouble
    assert not {name: raw for name, (_, _, raw) in loads.items() if raw}


def test_pages_and_what_they_share_are_light(loads, html, record_property):
    counts = Counter(path for _, files, _ in loads.values() for path in files)
    shared = sum(path.stat().st_size for path, count in counts.items() if count > 1)
    own = {name: sum(path.stat().st_size for path in files if counts[path] == 1)
           for name, (_, files, _) in loads.items()}
    heaviest = max(own, key=own.get)
    record_property("figure", f"shared by pages: {shared / MEGABYTE:.2f} MB; of one page: "
                              f"{own[heaviest] / MEGABYTE:.2f} MB at most ({heaviest})")
    assert shared < 8 * MEGABYTE, sorted(
        ((path.stat().st_size, str(path.relative_to(html))) for path, n in counts.items() if n > 1))
    assert not {name: size for name, size in own.items() if size >= 3 * MEGABYTE}


def with_views(html: Path) -> dict[str, int]:
    """Return the pages that bring views, and how many."""
    counts = {name: count_of_views(html / f"{name}.html") for name in PAGES}
    return {name: count for name, count in counts.items() if count}


def test_views_are_ready_soon(opener, html, record_property):
    """The best of at least three loads counts: other tests run beside, on the same cores."""
    best = {}
    for name, count in with_views(html).items():
        times = []
        while len(times) < 10 and not (len(times) >= 3 and min(times) < READY):
            mine = opener.again()
            page = mine(name, wait=False, before=_WHEN_READY.replace("COUNT", str(count)))
            settle(page, count)
            times.append(page.evaluate("window.whenReady") / 1000)
            mine.close()
        best[name] = min(times)
    slowest = max(best, key=best.get)
    record_property("figure", f"views of {len(best)} pages ready within {best[slowest]:.2f} s "
                              f"({slowest}; the best of some loads each)")
    assert not {name: seconds for name, seconds in best.items() if seconds >= READY}


def test_without_scripts_a_figure_stands_where_a_view_is(open_page, html):
    pages = with_views(html)
    assert "book/intro" in pages
    for name, count in pages.items():
        page = open_page(name, scripts=False)
        stills = page.locator(".sq-still").all()
        assert len(stills) == count, name
        assert all(still.is_visible() and still.bounding_box()["height"] > 20 for still in stills)
