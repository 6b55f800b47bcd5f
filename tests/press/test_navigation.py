"""Finding the way through the built smoke book: order, downloads, the landing page, previews."""

import re
from collections import Counter
from functools import lru_cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from PIL import Image

from semquant_book.pages import claims, status
from semquant_book.pages.findings import VERDICTS
from semquant_book.figures import dark
from semquant_book.press import preview
from semquant_book.press.site import toc_pages
from smoke import ROOT

PAGES = toc_pages(ROOT)
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]


class Reader(HTMLParser):
    """What the tests ask of a page: its links, and the tags of its head."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[dict] = []
        self.meta: Counter[str] = Counter()
        self.head: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "a" and given.get("href"):
            self.links.append(given)
        if tag == "meta" and (key := given.get("property") or given.get("name")):
            self.head[key] = given.get("content") or ""
            self.meta[key] += 1

    def of_class(self, name: str) -> list[str]:
        return [link["href"] for link in self.links if name in (link.get("class") or "").split()]


def plain(html):
    """The text of a piece of HTML, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@lru_cache(maxsize=None)
def read(path: Path) -> Reader:
    return Reader(path.read_text())


@pytest.fixture
def html(built):
    return built / "smoke" / "html"


def title(page):
    if (ROOT / f"{page}.md").exists():
        text = (ROOT / f"{page}.md").read_text()
    else:
        text = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells[0].source
    return re.match(r"# (.+)", text)[1]


def test_next_leads_through_all_pages_in_order_and_previous_back(html):
    for before, after in zip(PAGES, PAGES[1:]):
        (there,) = read(html / f"{before}.html").of_class("right-next")
        (back,) = read(html / f"{after}.html").of_class("left-prev")
        assert ((html / before).parent / there).resolve() == (html / f"{after}.html").resolve()
        assert ((html / after).parent / back).resolve() == (html / f"{before}.html").resolve()
    assert not read(html / f"{PAGES[0]}.html").of_class("left-prev")
    assert not read(html / f"{PAGES[-1]}.html").of_class("right-next")


def test_the_side_bar_has_the_captions_and_every_page(html):
    text = (html / f"{PAGES[0]}.html").read_text()
    captions = re.findall(r'<p[^>]*class="caption"[^>]*><span class="caption-text">([^<]+)', text)
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    assert captions == [part["caption"] for part in parts]
    linked = {link["href"].partition("#")[0] for link in read(html / f"{PAGES[0]}.html").links}
    assert {f"{page.removeprefix('book/')}.html" for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_what_other_sites_show_of_a_page(html, page):
    found = read(html / f"{page}.html")
    shown = {key: value for key, value in found.head.items() if key.startswith(("og:", "twitter:"))}
    assert max(n for key, n in found.meta.items() if key in {*shown, "description"}) == 1
    # quotation marks become typographical ones
    assert shown["og:title"].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") == title(page)
    assert 20 <= len(shown["og:description"]) <= preview.LONGEST
    assert shown["og:description"] == found.head["description"]
    assert not re.search(r"[\\$`{}]|\[\w", shown["og:description"])
    assert shown["twitter:card"] == "summary_large_image" and shown["og:image:alt"]
    picture = (html / f"{page}.html").parent / shown["og:image"]  # relative: no public address
    with Image.open(picture) as image:
        assert image.size == preview.SIZE
    assert (shown["og:image:width"], shown["og:image:height"]) == tuple(map(str, preview.SIZE))


def test_descriptions_differ_from_page_to_page(html):
    said = Counter(read(html / f"{page}.html").head["og:description"] for page in PAGES)
    assert not [text for text, n in said.items() if n > 1]


def without_pixels(cell):
    """A cell's text and outputs; of pictures only that they are there: heavy ones become JPEG."""
    outputs = []
    for output in cell.get("outputs", []):
        # a drawing for dark pages is given to the page as a file; a widget that is a text too is left out
        view = "application/vnd.jupyter.widget-view+json"
        kept = {kind: value for kind, value in output.get("data", {}).items()
                if kind != dark.MIME and not (kind == view and "text/html" in output["data"])}
        data = {"image" if kind in ("image/png", "image/jpeg") else kind: value
                for kind, value in kept.items()}
        if "image" in data:
            data["image"] = True
        outputs.append((output.output_type, output.get("text"), data))
    return cell.id, cell.source, outputs


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_notebook_of_a_page_can_be_downloaded_as_it_was_executed(built, html, page):
    path = html / f"{page}.html"
    (link,) = {href for href in read(path).of_class("btn-download-source-button")}
    content = nbformat.read(path.parent / link, as_version=4)
    nbformat.validate(content)
    assert any(cell.get("outputs") for cell in content.cells)
    executed = nbformat.read(built / "smoke" / "notebooks" / f"{page}.ipynb", as_version=4)
    assert list(map(without_pixels, content.cells)) == list(map(without_pixels, executed.cells))


def test_the_landing_page_has_the_state_of_every_table_and_figure(html):
    text = (html / "book" / "intro.html").read_text()
    (table,) = [t for t in re.findall(r"<table.*?</table>", text, re.S) if "What differs" in t]
    shown, rows = re.findall(r"<tr.*?</tr>", table, re.S)[1:], status.load()
    assert len(shown) == len(rows)
    for html_row, row in zip(shown, rows):
        assert plain(re.findall(r"<td.*?</td>", html_row, re.S)[1]) == row["state"]
        places = (*row["where"].values(), *row["photos"].values())
        pages = [place.partition("#")[0] for place in places]
        assert [f"book/{link.partition('.html#')[0]}" for link in
                re.findall(r'href="([^"]+)"', html_row)] == pages
    counted = status.counted(rows).replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
    assert counted in plain(text)


def test_the_landing_page_says_what_entropy_does_here(html):
    text = plain((html / "book" / "intro.html").read_text())
    assert re.search(r"(What does not appear here is|The paper.s collapsed baseline appears here)", text)


def test_three_verdicts_stand_on_the_landing_page_and_all_on_their_own(html):
    words = "|".join(map(re.escape, VERDICTS))
    for page, count in (("intro", len(claims.ANSWER)), ("claims", len(claims.TESTS))):
        text = (html / "book" / f"{page}.html").read_text()
        items = re.findall(r'<li class="claim".*?</li>', text, re.S)
        assert len(items) == count, page
        for item in items:
            said = re.search(rf"claim-verdict.*?</svg> ({words})<", unescape(item), re.S)
            assert said, item[:200]
