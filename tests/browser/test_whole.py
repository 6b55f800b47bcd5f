"""The smoke book as a whole: its links, its weight, how soon views are ready."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from browser.reading import count_of_views, seconds_until_ready
from browser.visiting import FILES, PAGES

MEGABYTE = 10 ** 6
READY = 2.0  # seconds until all views of a page answer


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


@FILES
def test_pages_and_what_they_share_are_light(visit, html, record_property):
    loaded = {name: visit(name, "dark").files for name in PAGES}
    counts = Counter(path for files in loaded.values() for path in files)
    shared = sum(path.stat().st_size for path, count in counts.items() if count > 1)
    own = {name: sum(path.stat().st_size for path in files if counts[path] == 1)
           for name, files in loaded.items()}
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


@FILES
def test_views_are_ready_soon(visit, opener, html, record_property):
    """Other tests run beside, on the same cores: a page that took longer is opened again."""
    best = {name: visit(name, "dark").ready for name in with_views(html)}
    for name in best:
        for _ in range(7):
            if best[name] < READY:
                break
            mine = opener.again()
            best[name] = min(best[name], seconds_until_ready(mine(name, from_file=True)))
            mine.close()
    slowest = max(best, key=best.get)
    record_property("figure", f"views of {len(best)} pages ready within {best[slowest]:.2f} s "
                              f"({slowest})")
    assert not {name: seconds for name, seconds in best.items() if seconds >= READY}


def test_without_scripts_a_figure_stands_where_a_view_is(open_page, html):
    pages = with_views(html)
    assert "book/intro" in pages
    for name, count in pages.items():
        page = open_page(name, scripts=False)
        stills = page.locator(".sq-still").all()
        assert len(stills) == count, name
        assert all(still.is_visible() and still.bounding_box()["height"] > 20 for still in stills)
