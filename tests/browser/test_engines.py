"""The built book, opened from files, in Firefox and WebKit as in Chromium; also where nothing may be kept.

What a view shows in Chromium is compared with the library in the other files; here with Chromium.
"""

from __future__ import annotations

import re
import time

import pytest

from browser import driving, engines
from browser.conftest import OPTIONS
from browser.visiting import GENERATED, PAGES
from semquant_book.pages import recorded

OTHERS = [pytest.param(name, marks=pytest.mark.xdist_group(name), id=name.lower()) for name in engines.FIND]
ALL = [pytest.param("Chromium", marks=pytest.mark.xdist_group("Firefox"), id="chromium"), *OTHERS]
# each kind of view, and the page on which it comes first
KINDS = {"studio": "book/intro", "explanation": "book/experiment1/alexnet", "bias": "book/method/bias_interpreting",
         "prior": "book/method/priors", "template": "book/method/interpretable_filters", "selection": "book/experiment2/concept_selection",
         "several": "book/right/right", "factorial": "book/right/when"}
RUN_HERE = ["fit", "studio"]  # a network runs in the page: whole and quiet here, their numbers in files of their own
# what can be used in a view, by its number: lists and what plays by itself are left alone
CONTROLS = """(view) => {
  const all = [...document.querySelector(view).querySelectorAll("input, button, [tabindex='0']")]
    .filter((one) => !one.matches(":disabled") && one.offsetParent !== null && one.textContent.trim() !== "Play");
  all.forEach((one, k) => { one.dataset.tried = k; });
  return all.map((one) => one.type === "range" ? "range" : one.matches("[type=radio], [type=checkbox], button")
    ? "click" : "other");
}"""
# without what is told to those who can't see it, which in the studio comes a moment later
SHOWN = """(view) => {
  const copy = document.querySelector(view).cloneNode(true);
  if (copy.matches(".sq-studio")) copy.querySelector("[role=status]").remove();
  return copy.textContent.replace(/\\s+/g, " ").trim();
}"""
ANSWERED = "() => !document.querySelector('.sq-studio:not([data-state=ready])')"  # a network is asked in a worker
ICONS = """async () => {
  await document.fonts.ready;
  const families = new Set([...document.fonts].filter((one) => one.status === "loaded")
    .map((one) => `${one.family.replaceAll('"', "")} ${one.weight}`));
  return [...document.querySelectorAll("i[class*='fa-']")].filter((one) => one.offsetParent !== null).map((one) => {
    const style = getComputedStyle(one, "::before");
    return [one.className, `${style.fontFamily.split(",")[0].replaceAll('"', "")} ${style.fontWeight}`];
  }).filter(([name, font]) => !families.has(font));
}"""


@pytest.fixture(scope="module")
def start(html, request):
    """Return an engine by its name, started once in a process; skip where it can't be had."""
    running = {}

    def started(name: str, keeps: bool = True) -> driving.Engine:
        if (name, keeps) in running:
            return running[name, keeps]
        if name == "Chromium":
            found = driving.Chromium(html, request.getfixturevalue("playwright"), OPTIONS, keeps)
        elif name in engines.left_out():
            pytest.skip(f"{name} is not on this machine; install Debian's {' '.join(engines.PACKAGES[name])}")
        else:
            found = getattr(driving, name)(html, keeps)
        running[name, keeps] = found
        return found

    yield started
    for engine in reversed(running.values()):
        engine.close()


@pytest.mark.parametrize("name", OTHERS)
def test_which_engines_there_are(start, record_property, name):
    if name in engines.left_out():
        record_property("figure", f"the book was not opened in {name}, which is not on this machine")
    else:
        record_property("figure", f"the book was opened in {name} {start(name).version}")


BAD = {
    "a script": ('<script src="gone.js"></script>', "gone.js"),
    "a picture": ('<img src="gone.png">', "gone.png"),
    "a font": ("<style>@font-face { font-family: Gone; src: url(gone.woff2) } p { font-family: Gone }</style><p>x", "Gone"),
    "said": ('<script>console.error("an error was said")</script>', "an error was said"),
    "warned": ('<script>console.warn("a warning was said")</script>', "a warning was said"),
    "thrown": ('<script>throw new Error("it was thrown")</script>', "it was thrown|Script error"),
    "rejected": ('<script>Promise.reject(new Error("it was rejected"))</script>', "it was rejected"),
    "outside": ('<img src="http://192.0.2.1/outside.png">', "192.0.2.1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_wrong_with_a_page_is_seen(start, name, tmp_path):
    start(name)  # or skip
    for what, (body, _) in BAD.items():
        (tmp_path / f"{what}.html").write_text(f"<!doctype html><html><head></head><body>{body}</body></html>")
    (tmp_path / "fine.html").write_text("<!doctype html><html><head></head><body>Fine.</body></html>")
    engine = getattr(driving, name)(tmp_path)
    try:
        for what, (_, wanted) in BAD.items():
            engine.open(what)
            time.sleep(0.2)  # what fails may do so when the page is loaded
            assert re.search(wanted, " ".join(engine.trouble())), what
        engine.open("fine")
        assert not engine.trouble()
    finally:
        engine.close()


@pytest.mark.parametrize("page", [*PAGES, *GENERATED])
@pytest.mark.parametrize("name", OTHERS)
def test_every_page_is_whole_and_quiet(start, name, page):
    engine = start(name)
    engine.open(page)
    assert not engine.trouble()
    assert engine.evaluate(ICONS) == []
    left = engine.evaluate("""() => [...document.querySelectorAll(".math")]
      .filter((one) => !one.querySelector("mjx-container")).map((one) => one.textContent)""")
    assert not left
    known = ", ".join(f".sq-{kind}" for kind in [*KINDS, *RUN_HERE])
    assert not engine.evaluate("""(known) => [...document.querySelectorAll(".sq-view")]
      .filter((one) => !one.matches(known) && !one.querySelector(known)).map((one) => one.outerHTML.slice(0, 200))""",
                               known), "a kind of view that is in no list"


def used(engine, view) -> list[tuple[str, dict, str]]:
    """Use what a view has, each once, by keyboard or mouse; what it then shows."""
    def look(what: str) -> tuple[str, dict, str]:
        engine.wait(ANSWERED)
        return what, engine.numbers(view), engine.evaluate(SHOWN, view)

    seen = [look("at first")]
    for kind, most in (("range", 4), ("click", 6)):
        for k in range(most):
            controls = [i for i, one in enumerate(engine.evaluate(CONTROLS, view)) if one == kind]
            if k >= len(controls):
                break
            place = f"{view} [data-tried='{controls[k]}']"
            if kind == "range":
                engine.use("ArrowLeft" if k % 2 else "ArrowRight", place)
            else:
                engine.click(place)
            seen.append(look(f"{kind} {k}"))
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OTHERS)
def test_a_view_answers_as_in_chromium(start, name, kind):
    page = KINDS[kind]
    view = f".sq-view[data-ready]:is(.sq-{kind}, :has(.sq-{kind}))"
    found = []
    for engine in (start(name), start("Chromium")):
        engine.open(page)
        found.append(used(engine, view))
        assert not engine.trouble()
    ours, chromiums = found
    assert len(ours) == len(chromiums) > 3
    assert len({text for _, _, text in ours}) > 2  # something has changed
    for (what, numbers, text), (same, known, words) in zip(*found):
        assert what == same
        near = {"rel": 1e-4, "abs": 1e-5} if kind == "studio" else {"rel": 1e-6, "abs": 1e-9}
        assert numbers == pytest.approx(known, **near), what
        assert text == words, what


@pytest.mark.parametrize("name", OTHERS)
def test_numbers_are_the_librarys(start, name):
    run, engine = recorded.recorded("alexnet-scaled", 64), start(name)
    engine.open("book/method/bias_interpreting")
    view = ".sq-view[data-ready]:is(.sq-bias, :has(.sq-bias))"
    beta = list(run.betas).index(run.usual)
    engine.use("ArrowRight", f"{view} input", "Strength")
    engine.use("ArrowLeft", f"{view} input", "Epoch")
    assert engine.numbers(view)["entropy"] == pytest.approx(run.entropy[beta + 1, 0, -2], abs=1e-6)
    engine.click(f"{view} input", run.labels[1])
    explained = float((run.y[1] * run.alpha[beta + 1, 0, -2, 1]).sum())
    assert engine.numbers(view)["sum"] == pytest.approx(explained, abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_where_nothing_may_be_kept_everything_works(start, name):
    """Cookies are blocked: reading `localStorage` throws, or it is null."""
    engine = start(name, keeps=False)
    engine.open("book/method/priors")
    assert not engine.trouble()
    view = ".sq-view[data-ready]:is(.sq-prior, :has(.sq-prior))"
    before = engine.numbers(view)
    engine.use("Home", f"{view} input", "Epoch")
    assert engine.numbers(view) != before
    theme = "() => document.documentElement.dataset.theme"
    first = engine.evaluate(theme)
    for _ in range(2):  # light, dark, as the system has it
        engine.click(".bd-header-article .theme-switch-button")
        if engine.evaluate(theme) != first:
            break
    assert engine.evaluate(theme) != first
    engine.press("Control+k")
    for letter in "glossary":
        engine.press(letter)
    engine.press("Enter")
    engine.wait("() => location.pathname.endsWith('/search.html')")
    engine.wait("() => document.querySelector('#search-results ul.search')?.innerText.includes('Glossary')")
    assert not engine.trouble()
