"""One browser, one page: what the tests ask of Chromium, Firefox and WebKit alike.

Firefox speaks WebDriver BiDi over a socket, WebKitGTK's driver the older WebDriver over HTTP; both take
the same lists of actions for keys and the mouse. Chromium is Playwright's, as in the other tests.
None of them reaches another machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import websocket
from playwright.sync_api import Error, Playwright

from browser import chromium, engines
from browser.reading import PATIENCE, READY, count_of_views

WIDTH, HEIGHT = 1280, 900
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Space": " ", "Home": "\ue011", "End": "\ue010", "ArrowLeft": "\ue012",
        "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Control": "\ue009"}
NOWHERE = "127.0.0.1:9"  # a proxy that is not there

# all addresses that a page has asked for, as far as it can tell, and what of them did not come
_ASKED = """() => {
  const all = performance.getEntriesByType("resource").map((one) => one.name);
  const failed = [...document.fonts].filter((one) => one.status === "error").map((one) => `font ${one.family}`);
  for (const one of document.querySelectorAll("script[src], link[rel=stylesheet], link[rel=icon], img[src]")) {
    const url = one.currentSrc || one.src || one.href;
    all.push(url);
    if (one.matches("link[rel=stylesheet]") && !one.sheet) failed.push(url);
    if (one.matches("img") && one.complete && !one.naturalWidth) failed.push(url.slice(0, 100));
  }
  return [[...new Set(all)].filter((one) => !/^(data|blob):/.test(one)), failed];
}"""
# the first element that a selector and, if given, what it is called find
_FOUND = """const found = (selector, name) => {
  const called = (one) => (one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent).trim();
  const all = [...document.querySelectorAll(selector)].filter((one) => name === null || called(one).includes(name));
  if (!all.length) throw new Error(`nothing is ${selector} ${name ?? ""}`);
  return all[0];
};"""
# what a page says to the console, and what it asked for in vain
_KEEP = """(() => {
  const said = window.itSaid = [];
  for (const [kind, name] of [["error", "error"], ["warn", "warning"]]) {
    const usual = console[kind];
    console[kind] = (...all) => { said.push(`${name}: ${all.join(" ")}`); usual.apply(console, all); };
  }
  addEventListener("error", ({ target, message }) => {
    said.push(`error: ${target === window ? message : "no " + (target.src || target.href)}`);
  }, true);
  addEventListener("unhandledrejection", ({ reason }) => said.push(`error: ${reason}`));
})();"""


def _linked(file: str, copy: str) -> None:
    try:
        os.link(file, copy)
    except OSError:  # on another disk
        shutil.copy(file, copy)


class Engine:
    """A browser with one page; `evaluate`, `press`, `_click_at`, `_go` and `said` differ."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # the book's

    def open(self, name: str) -> None:
        """Open a page from its file, and wait until its formulas and views are ready."""
        path = self.folder / f"{name}.html"
        self._go(path.as_uri())
        self.evaluate(READY, count_of_views(path))

    def click(self, selector: str, name: str | None = None) -> None:
        """Click with the mouse on the middle of an element."""
        x, y = self.evaluate("""(selector, name) => {
          %s
          let one = found(selector, name);
          if (one.matches("[type=radio], [type=checkbox]")) one = one.closest("label") ?? one;
          one.scrollIntoView({block: "center", behavior: "instant"});
          const box = one.getBoundingClientRect();
          return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
        }""" % _FOUND, selector, name)
        self._click_at(x, y)

    def use(self, key: str, selector: str, name: str | None = None) -> None:
        """Press a key on an element, which has the focus then."""
        self.evaluate("(selector, name) => { %s found(selector, name).focus(); }" % _FOUND, selector, name)
        self.press(key)

    def wait(self, condition: str, *arguments: object) -> None:
        """Wait until a function of JavaScript returns what counts as true, on this page or the next."""
        end = time.monotonic() + PATIENCE / 1000
        while True:
            with contextlib.suppress(AssertionError, Error):  # between two pages there is nobody to ask
                if self.evaluate(condition, *arguments):
                    return
            assert time.monotonic() < end, f"{self.name}: never came: {condition}"
            time.sleep(0.05)

    def numbers(self, view: str) -> dict[str, float]:
        """All named numbers of the first view that a selector finds."""
        found = self.evaluate("""(view) => [...document.querySelector(view).querySelectorAll("[data-name][data-value]")]
          .map((one) => [one.dataset.name, one.dataset.value])""", view)
        return {name: float(value) for name, value in found}

    def trouble(self) -> list[str]:
        """What the page asked for and is not a file of the book, what did not come, what the console said."""
        asked, failed = self.evaluate(_ASKED)
        files = {url: Path(unquote(urlsplit(url).path)) for url in asked}
        return ([f"asked for: {url}" for url, path in files.items()
                 if not (url.startswith("file:") and path.is_relative_to(self.folder) and path.is_file())]
                + [f"did not come: {one}" for one in failed]
                + [f"said: {one}" for one in self.said()])


class _ByActions(Engine):
    """Keys and the mouse as W3C's list of actions."""

    def press(self, key: str) -> None:
        """Press a key, or several at once (``Control+k``)."""
        codes = [KEYS.get(one, one) for one in key.split("+")]
        self._perform({"type": "key", "id": "keys", "actions": [
            *({"type": "keyDown", "value": one} for one in codes),
            *({"type": "keyUp", "value": one} for one in reversed(codes))]})

    def _click_at(self, x: int, y: int) -> None:
        self._perform({"type": "pointer", "id": "mouse", "actions": [
            {"type": "pointerMove", "x": x, "y": y, "duration": 0},
            {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]})


class Firefox(_ByActions):
    """Firefox without a window, over WebDriver BiDi.

    Parameters
    ----------
    folder : path
        The book's.
    keeps : bool
        Whether pages may keep something on the machine; else ``localStorage`` throws.
    """

    name = "Firefox"
    PREFERENCES = {
        "app.update.disabledForTesting": True, "browser.shell.checkDefaultBrowser": False,
        "browser.startup.page": 0, "datareporting.policy.dataSubmissionEnabled": False,
        "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
        "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9,
        "services.settings.server": "data:,none", "toolkit.telemetry.enabled": False}

    def __init__(self, folder: Path, keeps: bool = True) -> None:
        super().__init__(folder)
        self._profile = tempfile.mkdtemp()
        wanted = self.PREFERENCES | ({} if keeps else {"network.cookie.cookieBehavior": 2})
        Path(self._profile, "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items()))
        said = Path(self._profile, "said")
        with said.open("w") as file:
            self._program = subprocess.Popen(
                [engines.firefox(), "--headless", "--no-remote", "--profile", self._profile,
                 "--remote-debugging-port=0"], stdout=subprocess.DEVNULL, stderr=file)
        end = time.monotonic() + PATIENCE / 1000
        while not (found := re.search(r"listening on (ws://\S+)\n", said.read_text(errors="replace"))):
            assert self._program.poll() is None and time.monotonic() < end, f"Firefox: {said.read_text()[-500:]}"
            time.sleep(0.05)
        self._socket = websocket.create_connection(found[1] + "/session", suppress_origin=True,
                                                   timeout=PATIENCE / 1000)
        self._count, self._events = 0, []
        self.version = self._ask("session.new", capabilities={})["capabilities"]["browserVersion"]
        self._ask("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent", "network.fetchError"])
        self._page = self._ask("browsingContext.create", type="tab")["context"]
        self._ask("browsingContext.setViewport", context=self._page, viewport={"width": WIDTH, "height": HEIGHT})

    def _ask(self, method: str, **parameters: object) -> dict:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                assert answer["type"] == "success", f"Firefox: {method}: {answer.get('message')}"
                return answer["result"]
            self._events.append(answer)

    def _go(self, url: str) -> None:
        self._events.clear()
        self._ask("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def evaluate(self, function: str, *arguments: object) -> object:
        """Call a function of JavaScript, wait for what it promises, return it."""
        answer = self._ask(
            "script.callFunction", target={"context": self._page}, awaitPromise=True,
            functionDeclaration=f"async (given) => JSON.stringify(await ({function})(...JSON.parse(given)) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(arguments)}])
        assert answer["type"] == "success", f"Firefox: {answer.get('exceptionDetails', {}).get('text')}"
        return json.loads(answer["result"]["value"])

    def _perform(self, *actions: dict) -> None:
        self._ask("input.performActions", context=self._page, actions=list(actions))

    def said(self) -> list[str]:
        """Errors and warnings of the console, and requests that another machine would have had to answer."""
        lines = [f"{kind}: {event['params'].get('text')}" for event in self._events
                 if event["method"] == "log.entryAdded"
                 and (kind := {"error": "error", "warn": "warning"}.get(event["params"]["level"]))]
        urls = [event["params"]["request"]["url"] for event in self._events if event["method"].startswith("network.")]
        return lines + [f"request: {url}" for url in urls if not url.startswith(("data:", "blob:", "file:", "about:"))]

    def close(self) -> None:
        """End it."""
        self._ask("browser.close")
        self._socket.close()
        self._program.wait(30)
        shutil.rmtree(self._profile, ignore_errors=True)


class WebKit(_ByActions):
    """WebKitGTK's small browser on a screen that is not there, over WebDriver; as `Firefox`.

    It tells nobody what pages say to the console: each page of a copy of the book keeps that itself.
    """

    name = "WebKit"

    def __init__(self, folder: Path, keeps: bool = True) -> None:
        driver, browser, screen = engines.webkit()
        self._own = Path(tempfile.mkdtemp()).resolve()
        super().__init__(self._own / "book")
        shutil.copytree(folder, self.folder, copy_function=_linked)
        said, says = os.pipe()
        self._programs = [subprocess.Popen([screen, "-displayfd", str(says), "-screen", "0", "1600x1200x24", "-noreset"],
                                           pass_fds=[says], stderr=subprocess.DEVNULL)]
        os.close(says)
        with open(said) as line:
            display = line.readline().strip()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._address = f"http://127.0.0.1:{one.getsockname()[1]}"
        self._programs.append(subprocess.Popen(
            [driver, f"--port={self._address.rpartition(':')[2]}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"DISPLAY": f":{display}", "XDG_DATA_HOME": str(self._own), "GIO_USE_VFS": "local",
                              "XDG_CACHE_HOME": str(self._own), "NO_AT_BRIDGE": "1"}))
        arguments = ["--automation", f"--proxy=http://{NOWHERE}"]
        arguments += [] if keeps else ["--enable-html5-local-storage=false"]
        self._session = ""
        answer = self._ask("POST", "/session", capabilities={"alwaysMatch": {
            "webkitgtk:browserOptions": {"binary": browser, "args": arguments}}})
        self._session = f"/session/{answer['sessionId']}"
        self.version = answer["capabilities"]["browserVersion"]
        self._ask("POST", "/window/rect", width=WIDTH, height=HEIGHT)

    def _ask(self, method: str, path: str, **parameters: object) -> object:
        request = Request(f"{self._address}{self._session}{path}", method=method, headers={"Content-Type": "application/json"},
                          data=json.dumps(parameters).encode() if method == "POST" else None)
        end = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                with urlopen(request, timeout=PATIENCE / 1000) as answer:
                    return json.load(answer)["value"]
            except HTTPError as error:
                raise AssertionError(f"WebKit: {path}: {json.load(error)['value']['message']}") from None
            except URLError:  # the driver is not there yet
                assert not self._session and time.monotonic() < end, "WebKit: its driver does not answer"
                time.sleep(0.05)

    def _go(self, url: str) -> None:
        self._ask("POST", "/url", url=url)

    def open(self, name: str) -> None:
        """Open a page from its file, and wait until its formulas and views are ready."""
        path = self.folder / f"{name}.html"
        if _KEEP not in (text := path.read_text()):
            path.unlink()  # the book's own file has the same content
            path.write_text(text.replace("<head>", f"<head><script>{_KEEP}</script>", 1))
        super().open(name)

    def evaluate(self, function: str, *arguments: object) -> object:
        """Call a function of JavaScript, wait for what it promises, return it."""
        return self._ask("POST", "/execute/sync", script=f"return ({function})(...arguments)", args=list(arguments))

    def _perform(self, *actions: dict) -> None:
        self._ask("POST", "/actions", actions=list(actions))

    def said(self) -> list[str]:
        """Errors and warnings of the console, and what did not load."""
        return self.evaluate("() => window.itSaid ?? []")

    def close(self) -> None:
        """End it."""
        self._ask("DELETE", "")
        for program in reversed(self._programs):
            program.terminate()
            program.wait(30)
        shutil.rmtree(self._own, ignore_errors=True)


class Chromium(Engine):
    """Chromium with a profile of its own, as Playwright drives it; as `Firefox`."""

    name = "Chromium"

    def __init__(self, folder: Path, playwright: Playwright, options: list[str], keeps: bool = True) -> None:
        super().__init__(folder)
        self._profile = Path(tempfile.mkdtemp())
        if not keeps:
            (self._profile / "Default").mkdir()
            (self._profile / "Default" / "Preferences").write_text(json.dumps(
                {"profile": {"default_content_setting_values": {"cookies": 2}}}))
        self._context = playwright.chromium.launch_persistent_context(
            self._profile, executable_path=chromium.find(), args=options, viewport={"width": WIDTH, "height": HEIGHT})
        self._context.set_default_timeout(PATIENCE)
        self.version = self._context.browser.version
        self._page = self._context.pages[0]
        self._said = []
        self._page.on("console", lambda one: self._said.append(f"{one.type}: {one.text}"))
        self._page.on("pageerror", lambda one: self._said.append(f"error: {one}"))
        self._page.on("requestfailed", lambda one: self._said.append(f"error: {one.url} {one.failure}"))

    def _go(self, url: str) -> None:
        self._said.clear()
        self._page.goto(url, wait_until="load")

    def evaluate(self, function: str, *arguments: object) -> object:
        """Call a function of JavaScript, wait for what it promises, return it."""
        return self._page.evaluate(f"(given) => ({function})(...given)", list(arguments))

    def press(self, key: str) -> None:
        """Press a key, or several at once (``Control+k``)."""
        self._page.keyboard.press(key)

    def _click_at(self, x: int, y: int) -> None:
        self._page.mouse.click(x, y)

    def said(self) -> list[str]:
        """Errors and warnings of the console, and requests that failed."""
        return [line for line in self._said if line.startswith(("error:", "warning:"))]

    def close(self) -> None:
        """End it."""
        self._context.close()
        shutil.rmtree(self._profile, ignore_errors=True)
