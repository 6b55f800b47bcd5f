"""Several explanations of one picture in the built book: errors and ranks are the ranking's."""

import pytest
from browser.reading import number, numbers, sticking_out, views

from semquant import metrics
from semquant_book.pages import one_picture
from semquant_book.study import experiment1, ranking
from semquant_book.study.presets import load_settings

PAGE = "book/right/right"


@pytest.fixture(scope="module")
def several(built):
    """What the page shows, computed again by the library from the built store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(built))
        settings = load_settings("smoke", architectures=["alexnet"], categories=["dog"])
        return one_picture.gathered(experiment1.Run(settings, "alexnet", "dog"))


@pytest.fixture
def view(open_page):
    (found,) = views(open_page(PAGE), "several")
    return found


def check(view, several, image, scale, rescaled):
    right, shown = several.right[[image]], numbers(view)
    for way, readings in several.ways.items():
        said = readings.get(scale, next(iter(readings.values())))[[image]]
        if rescaled and float(said.sum()) == 0:  # it has no such contributions
            assert not {f"{way}-sum", f"error-{way}", f"ranks-{way}"} & set(shown)
            continue
        said = metrics.rescale(said, right.sum(dim=1)) if rescaled else said
        found = ranking.measures(said, right, several.yhat[[image]])
        wanted = {f"{way}-{name}": float(said[0, k]) for k, name in enumerate(several.names)} | {
            f"error-{way}": found["error"], f"ranks-{way}": found["rank_agreement"], f"{way}-sum": float(said.sum())}
        for name, value in wanted.items():
            assert shown.get(name) == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-4)), name
    for k, name in enumerate(several.names):
        assert shown[f"truth-{name}"] == pytest.approx(float(right[0, k]), abs=1e-5)


def test_what_is_shown_first(view, several):
    check(view, several, 0, several.reading, False)
    said = numbers(view)
    nearest = min(several.ways, key=lambda way: said[f"error-{way}"])
    assert f"Nearest to the truth is {nearest}" in view.locator(".sq-words").inner_text()
    assert view.locator(f'[data-name="error-{nearest}"]').get_attribute("class") == "sq-strong"
    assert several.note in view.inner_text()


def test_reading_scaling_and_picture_by_keyboard(view, several):
    view.get_by_role("radio", name="scaled", exact=True).press("ArrowLeft")
    check(view, several, 0, "literal", False)
    view.get_by_role("radio", name="as they are").press("ArrowRight")
    check(view, several, 0, "literal", True)
    view.get_by_role("radio", name=several.labels[0], exact=True).press("ArrowRight")
    check(view, several, 1, "literal", True)
    assert f"{several.labels[1]}, y literal, rescaled. Nearest" in view.get_by_role("status").inner_text()
    assert view.locator(".sq-one img").get_attribute("alt") == several.labels[1]


def test_bars_of_all_columns_have_one_axis_and_a_mark_at_the_truth(view, several):
    name, right = several.names[0], several.right[0]
    truth = view.locator(f'[data-name="truth-{name}"] rect')
    for way in several.ways:
        cell = view.locator(f'[data-name="{way}-{name}"]')
        x, width = (float(cell.locator("rect").get_attribute(a)) for a in ("x", "width"))
        own, mark = float(truth.get_attribute("width")), float(cell.locator("line").nth(1).get_attribute("x1"))
        zero = float(cell.locator("line").first.get_attribute("x1"))
        assert abs(mark - zero) == pytest.approx(own, abs=1e-6)
        if float(right[0]):
            assert width / own == pytest.approx(abs(number(view, f"{way}-{name}") / float(right[0])), rel=1e-4)
        assert x == pytest.approx(zero) or x + width == pytest.approx(zero)


@pytest.mark.parametrize("width", [390, 360])
def test_on_a_phone_all_columns_are_in_sight(open_page, several, width):
    page = open_page(PAGE, width=width, touch=True)
    (view,) = views(page, "several")
    assert not sticking_out(page)
    names = [f'[data-name="{way}-{name}"]' for way in several.ways for name in several.names]
    for place in names:
        box = view.locator(place).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    rows = view.get_by_role("row")  # laid out as a grid, and still a table
    assert rows.count() == len(several.names) + 4
