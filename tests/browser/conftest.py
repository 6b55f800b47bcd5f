"""The built smoke book in Chromium, with the network cut off.

How to write a test of a view, ``tests/browser/test_<view>.py``::

    from browser.reading import number, slide, views

    def test_beta_moves_the_entropy(open_page):
        page = open_page("book/method/bias_interpreting")     # ready when it returns
        view = views(page, "bias")[0]                         # a locator of `.sq-view.sq-bias`
        slide(view, "beta", 3)                                # the slider so labelled
        assert number(view, "entropy") == pytest.approx(...)  # data-name="entropy" data-value="..."
        view.get_by_role("button", name="Reset").press("Enter")

`open_page` takes the page's name as ``_toc.yml`` has it, or a ``Path`` of any HTML file, and

- ``width=1280``, ``height=900``: the window, in pixels;
- ``scheme="light"`` or ``"dark"``; ``motion="reduce"``; ``media="print"``;
- ``scripts=False``: without scripts;
- ``touch=True``: a phone's screen: taps instead of a mouse;
- ``from_file=True``: opened as a file instead of from a server on this machine.

What it returns is Playwright's ``Page``. A request that leaves the book, a request that fails, an
error or warning in the console, and an error of a script fail the test when it ends; a test that
expects one takes it out of ``open_page.log`` (a `reading.Log`).

``open_page`` belongs to one test; each of its pages is in a context of its own (no cache, no
storage). Other fixtures: ``browser`` (Playwright's, one a process), ``html`` (the book's folder),
``address`` (where it is served), ``axe`` (the text of axe-core's script), ``visit`` (``visiting.py``).

Where Chromium, axe-core or the pages' own scripts can't be had, tests that need them are skipped
and say why; with CI=true they fail. To try tests without building the book each time, see
``tests/conftest.py``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from browser import chromium
from browser.reading import Opener
from browser.visiting import Visit, look
from semquant_book.press.assets import Unavailable, unpack_locked
from semquant_book.study.presets import build_root

HERE = Path(__file__).parent
# the browser looks up no name and asks nobody on its own; what a page asks for is also recorded
OPTIONS = ["--disable-background-networking", "--disable-component-update",
           "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
           "--disable-features=" + ",".join([
               # two hidden pages of the browser's own in each window, which take half a second each
               "WebUIOmniboxPopup", "WebUIOmniboxAimPopup",
               # of Playwright's list, which this one replaces
               "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose",
               "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "MediaRouter",
               "OptimizationHints", "PaintHolding"])]


def lacking(reason: str) -> None:
    """Skip a test because of what the machine lacks; where CI=true, fail it."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def playwright() -> Playwright:
    """Playwright, which a process can start once only."""
    if not chromium.find():
        lacking(chromium.missing())
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright) -> Browser:
    """Chromium, one a process."""
    started = playwright.chromium.launch(executable_path=chromium.find(), args=OPTIONS)
    yield started
    started.close()


@pytest.fixture(scope="session")
def html(built) -> Path:
    """The folder of the built book, which holds the scripts that its pages need."""
    folder = built / "smoke" / "html"
    if not (folder / "_static" / "vendor").is_dir():
        lacking("the scripts of the pages could not be fetched (npm packages of book/assets/"
                "lock.json), so the smoke book needs a network; run again with one")
    return folder


@pytest.fixture(scope="session")
def address(html) -> str:
    """Where the book is served on this machine, without a slash at the end."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def opener(browser, html, address) -> Opener:
    """Opens pages; for tests that look at a page several times, and close it themselves."""
    return Opener(browser, html, address)


@pytest.fixture
def open_page(opener) -> Opener:
    """Open pages of the book for one test; see the top of this file."""
    mine = opener.again()
    yield mine
    mine.close()
    if trouble := mine.log.trouble():
        pytest.fail("\n".join(trouble), pytrace=False)


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, fetched at the version and checksum that ``lock.json`` names."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        unpack_locked(folder, build_root() / "cache" / "assets", HERE / "lock.json")
    except Unavailable as reason:
        lacking(f"axe-core could not be fetched: {reason}")
    return (folder / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def visit(opener, axe) -> Callable[[str, str], Visit]:
    """Return the visit of a page in a scheme; it is made once in a process."""
    place = Path(os.environ.get("SEMQUANT_SCREENSHOTS") or build_root() / "screenshots")

    @cache
    def made(name: str, scheme: str) -> Visit:
        mine = opener.again()
        try:
            return look(mine, name, scheme, axe, place)
        finally:
            mine.close()

    return made
