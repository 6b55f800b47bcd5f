"""Open pages of the book in a browser, record what they ask for and complain of, read its views."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page

PATIENCE = 60_000  # milliseconds; only a page that is broken takes so long

# kept in the page: when as many views as there should be were ready, in milliseconds from its start
_WHEN_READY = """
  const look = () => {
    if (document.querySelectorAll(".sq-view[data-ready]").length < COUNT) setTimeout(look, 5);
    else window.whenReady = performance.now();
  };
  look();
"""
# what still has to happen when a page has loaded: formulas, fonts, views
READY = """async (count) => {
  await window.formulas;
  const views = () => document.querySelectorAll(".sq-view[data-ready]").length;
  while (views() < count) await new Promise((done) => setTimeout(done, 10));
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


@dataclass
class Log:
    """What pages asked for and complained of."""

    requests: list[str] = field(default_factory=list)  # all that are no data: or blob: addresses
    outside: list[str] = field(default_factory=list)  # requests that leave the book
    failed: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)  # errors and warnings
    errors: list[str] = field(default_factory=list)  # of scripts

    def trouble(self) -> list[str]:
        """All that should not be, in words."""
        return [f"{what}: {item}" for what, found in
                (("request that leaves the book", self.outside), ("failed request", self.failed),
                 ("console", self.console), ("error of a script", self.errors)) for item in found]

    def listen(self, page: Page, inside: re.Pattern) -> None:
        """Record what happens in a page from now on."""

        def on_request(request) -> None:
            if request.url.startswith(("data:", "blob:")):
                return
            self.requests.append(request.url)
            if not inside.match(request.url):
                self.outside.append(request.url)

        def on_failure(request) -> None:
            if request.failure != "csp":  # a script, where scripts are switched off
                self.failed.append(f"{request.url} ({request.failure})")

        def on_response(response) -> None:
            if response.status >= 400:
                self.failed.append(f"{response.url} ({response.status})")

        def on_console(message) -> None:
            if message.type in ("error", "warning"):
                self.console.append(f"{message.type}: {message.text}")

        page.on("request", on_request)
        page.on("requestfailed", on_failure)
        page.on("response", on_response)
        page.on("console", on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))


class Opener:
    """Opens pages of the book; calling it opens one.

    Parameters
    ----------
    browser : Browser
    html : path
        The book's folder.
    address : str
        Where the same folder is served.
    """

    def __init__(self, browser: Browser, html: Path, address: str) -> None:
        self.browser, self.html, self.address = browser, html, address
        self.log = Log()
        self._contexts: list[BrowserContext] = []

    def again(self) -> Opener:
        """Return another one of the same book, with a log of its own."""
        return Opener(self.browser, self.html, self.address)

    def __call__(self, page: str | Path, *, width: int = 1280, height: int = 900,
                 scheme: str = "light", motion: str = "no-preference", media: str = "screen",
                 scripts: bool = True, touch: bool = False, from_file: bool = False) -> Page:
        """Open a page and wait until it is ready; options as in ``conftest.py``."""
        path = page if isinstance(page, Path) else self.html / f"{page}.html"
        if from_file or isinstance(page, Path):
            url, base = path.as_uri(), path.parent.as_uri() + "/"
            if not isinstance(page, Path):
                base = self.html.as_uri() + "/"
        else:
            url, base = f"{self.address}/{page}.html", self.address + "/"
        inside = re.compile(f"^({re.escape(base)}|data:|blob:|about:)")
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme,
            reduced_motion=motion, java_script_enabled=scripts, has_touch=touch,
            offline=url.startswith("file:"))
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE)
        opened = context.new_page()
        opened.emulate_media(media=media)
        count = count_of_views(path)
        if scripts and count:
            opened.add_init_script(_WHEN_READY.replace("COUNT", str(count)))
        self.log.listen(opened, inside)
        opened.goto(url, wait_until="load")
        if scripts:
            settle(opened, count)
        return opened

    def close(self) -> None:
        """Close all pages that were opened."""
        while self._contexts:
            self._contexts.pop().close()


def count_of_views(path: Path) -> int:
    """Return how many views a built page brings: each comes with a still figure."""
    return len(re.findall(r'<figure class="[^"]*\bsq-still\b', path.read_text()))


def seconds_until_ready(page: Page) -> float | None:
    """Return how long after its beginning a page's views were ready; None if it has none."""
    milliseconds = page.evaluate("window.whenReady ?? null")
    return None if milliseconds is None else milliseconds / 1000


def settle(page: Page, count: int = 0) -> None:
    """Wait until formulas and fonts are there, and at least `count` views are ready."""
    page.evaluate(READY, count)


# ---- views ---------------------------------------------------------------------------------------


def views(page: Page, kind: str = "") -> list[Locator]:
    """Return the views of a page that are ready, in order.

    Parameters
    ----------
    page : Page
    kind : str
        Only views that carry the class ``sq-<kind>``, or hold an element that does.
    """
    ready = page.locator(".sq-view[data-ready]")
    if kind:
        ready = page.locator(f".sq-view[data-ready]:is(.sq-{kind}, :has(.sq-{kind}))")
    return ready.all()


def number(view: Locator | Page, name: str) -> float:
    """Return a number that a view shows, as exactly as it computed it (``data-value``)."""
    return float(view.locator(f'[data-name="{name}"]').get_attribute("data-value"))


def numbers(view: Locator | Page) -> dict[str, float]:
    """Return all named numbers of a view."""
    found = view.locator("[data-name][data-value]").evaluate_all(
        "(all) => all.map((one) => [one.dataset.name, one.dataset.value])")
    return {name: float(value) for name, value in found}


def slide(view: Locator | Page, label: str, value: float) -> None:
    """Put a slider, found by its label, on a value, as dragging does."""
    view.get_by_role("slider", name=label).fill(f"{value:g}")


def sticking_out(page: Page) -> list[str]:
    """Return what makes a page scroll sideways: nothing, or its width and what reaches beyond."""
    return page.evaluate("""() => {
      const root = document.scrollingElement;
      const room = root.clientWidth;
      if (root.scrollWidth <= room) return [];
      const beyond = (one) => {
        const box = one.getBoundingClientRect();
        if (!box.width || box.right < room + 1) return false;
        for (let outer = one; outer; outer = outer.parentElement) {
          const style = getComputedStyle(outer);
          if (style.position === "fixed" || outer !== one && style.overflowX !== "visible") return false;
        }
        return true;
      };
      const named = (one) => `${one.tagName.toLowerCase()}${one.id && "#" + one.id}.${one.classList}: `
        + `${Math.round(one.getBoundingClientRect().right)} px, ${one.textContent.trim().slice(0, 50)}`;
      return [`${root.scrollWidth} px in ${room} px`,
              ...[...document.body.querySelectorAll("*")].filter(beyond).slice(0, 5).map(named)];
    }""")
