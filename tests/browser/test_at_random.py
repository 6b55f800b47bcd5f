"""Every view, its controls used in any order: nothing breaks, every number is one, every sum adds up."""

import random
import re

import pytest

from semquant_book.press.site import toc_pages
from smoke import ROOT

STEPS = 100
PAGES = [page for page in toc_pages(ROOT) if (ROOT / f"{page}.ipynb").exists()]
NO_NUMBER = re.compile(r".{,40}\b(NaN|Infinity|undefined|null|\[object).{,40}")
# use one control of a view: which one, and what it is set to, are given as numbers from 0 to 1
USE = """(view, [which, value]) => {
  const controls = [...view.querySelectorAll("input, select, button")]
    .filter((one) => !one.matches(":disabled") && one.offsetParent !== null);
  if (!controls.length) return null;
  const one = controls[Math.floor(which * controls.length)];
  if (one.type === "range") { // one end, the other, or between
    const [low, high] = [Number(one.min), Number(one.max)];
    one.value = value < 0.3 ? low : value < 0.6 ? high : low + (high - low) * (value - 0.6) / 0.4;
  } else if (one.tagName === "SELECT") {
    one.selectedIndex = Math.floor(value * one.options.length);
  } else {
    one.click();
  }
  if (one.matches("[type=range], select")) {
    for (const event of ["input", "change"]) one.dispatchEvent(new Event(event, { bubbles: true }));
  }
  const row = (name) => [...view.querySelectorAll(`[data-name="${name}"]`)].map((cell) => cell.textContent);
  return {
    did: [one.type, one.getAttribute("aria-label") ?? one.textContent, one.value].join(" "),
    text: view.innerText,
    sums: ["sum", "bias", "total", "residual"].map((name) => row(`ours-${name}`)[0]), yhat: row("yhat")[0],
  };
}"""


@pytest.mark.parametrize("page", PAGES)
def test_controls_in_any_order(open_page, page):
    chance = random.Random(page)
    width, scheme = chance.choice([(1280, "light"), (360, "dark")])
    opened = open_page(page, width=width, scheme=scheme)
    for view in opened.locator(".sq-view").all():
        for _ in range(STEPS):
            found = view.evaluate(USE, [chance.random(), chance.random()])
            if found is None:  # what needs a kernel
                break
            wrong = NO_NUMBER.search(found["text"])
            assert not wrong, (found["did"], wrong.group(0))
            assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), found["did"]
            if found["sums"][0] and found["yhat"]:  # as printed, where one explanation is shown
                total, bias, explained, rest, yhat = (
                    float(text.replace("−", "-")) for text in [*found["sums"], found["yhat"]])
                assert total + bias == pytest.approx(explained, abs=1e-9), found["did"]
                assert explained + rest == pytest.approx(yhat, abs=1e-9), found["did"]
