"""The concept selection explorer in the built book: its quantiles are numpy's, of the book's own run."""

import json

import numpy as np
import pytest
from browser.reading import number, numbers, slide, views

PAGE = "book/experiment2/concept_selection"
NAMES = {"attractive": "Attractive", "heavy_makeup": "Heavy makeup", "male": "Male", "young": "Young"}
SIZES = [1, 10, 39]  # of the smoke preset


@pytest.fixture(scope="module")
def points(built):
    """The points of each target, from the records in the store."""
    found = {}
    for path in sorted((built / "store" / "selections").glob("*.json")):
        content = json.loads(path.read_text())
        found[content["target"].lower()] = content["points"]
    return found


@pytest.fixture
def explorer(open_page):
    (view,) = views(open_page(PAGE), "selection")
    return view


def values(points, target, size, weights="linear", measure="deviation"):
    return [p[measure] for p in points[target] if p["size"] == size and p["weights"] == weights]


def check(view, points, target, size, weights, measure, centre):
    given = values(points, target, size, weights, measure)
    assert number(view, f"{target}-centre") == pytest.approx(getattr(np, centre)(given), abs=2e-6)
    low, high = (min(given), max(given)) if len(given) < 10 else np.quantile(given, (0.1, 0.9))
    assert number(view, f"{target}-low") == pytest.approx(low, abs=2e-6)
    assert number(view, f"{target}-high") == pytest.approx(high, abs=2e-6)


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("weights, label", [("linear", "fixed linear weights"), ("learned", "weights by g")])
def test_the_numbers_are_those_of_the_choices(explorer, points, k, weights, label):
    explorer.get_by_role("radio", name=label).check()
    slide(explorer, "Number of concepts", k)
    for target in NAMES:
        check(explorer, points, target, SIZES[k], weights, "deviation", "median")
    words = explorer.locator(".sq-words").inner_text()
    best = min(NAMES, key=lambda t: np.median(values(points, t, SIZES[k], weights)))
    assert words.startswith(f"{SIZES[k]} concept") and f"lowest for {NAMES[best]}, " in words


def test_the_other_measure_and_the_mean_by_keyboard(explorer, points):
    explorer.get_by_role("radio", name="relative deviation").press("ArrowRight")
    explorer.get_by_role("radio", name="median").press("ArrowRight")
    for target in NAMES:
        check(explorer, points, target, 10, "linear", "accuracy_loss", "mean")
    assert "mean loss of accuracy" in explorer.get_by_role("status").inner_text()


def test_targets_come_and_go(explorer):
    for name in ("Attractive", "Heavy makeup", "Young"):
        explorer.get_by_role("checkbox", name=name).press("Space")
    assert {name.split("-")[0] for name in numbers(explorer)} == {"male"}
    assert explorer.locator("g[data-target]").count() == 1
    explorer.get_by_role("checkbox", name="Male").click()
    assert "Choose at least one" in explorer.locator(".sq-words").inner_text()
    assert explorer.get_by_role("status").inner_text() == "nothing is chosen"
    explorer.get_by_role("checkbox", name="Young").click()
    assert "young-centre" in numbers(explorer)


def test_a_dot_for_each_choice_and_a_mark_for_each_size(explorer, points):
    young = explorer.locator('g[data-target="Young"]')
    assert young.locator(".sq-choice").count() == sum(p["weights"] == "linear" for p in points["young"])
    assert young.locator("path[data-size]").count() == len(SIZES)


def test_pressing_in_the_chart_chooses_a_size(explorer, points):
    mark = explorer.locator('g[data-target="Male"] path[data-size="39"]')
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    explorer.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert explorer.get_by_role("slider").get_attribute("aria-valuetext") == "39"
    check(explorer, points, "male", 39, "linear", "deviation", "median")
    assert "the only choice" in explorer.locator(".sq-words").inner_text()


def test_a_phone(open_page):
    (view,) = views(open_page(PAGE, width=360, touch=True), "selection")
    assert view.evaluate("(view) => view.scrollWidth <= view.clientWidth + 1")
