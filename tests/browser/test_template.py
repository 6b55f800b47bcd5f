"""The template explorer in the built book: template, mask and y are those of `interpretable`."""

import pytest
import torch
from browser.reading import number, slide, views

from semquant.networks import interpretable

PAGE = "book/method/interpretable_filters"


@pytest.fixture
def explorer(open_page):
    (view,) = views(open_page(PAGE), "template")
    return view


def cells(view, panel):
    """The numbers that a panel shows, (n, n)."""
    found = torch.tensor(view.locator(f'[data-panel="{panel}"] rect').evaluate_all(
        "(all) => all.map((cell) => +cell.dataset.value)"), dtype=torch.float64)
    side = round(len(found) ** 0.5)
    return found.view(side, side)


def value(view, label):
    return float(view.get_by_role("slider", name=label).input_value())


def check(view, clip=True):
    """All that is shown, from the map and the place of the peak."""
    z, decay = cells(view, "z"), value(view, "Decay")
    row, column = int(value(view, "Peak's row")), int(value(view, "Peak's column"))
    n = len(z)
    template = interpretable.templates(n, decay)[row * n + column].double()
    template = template.clamp_min(0) if clip else template
    torch.testing.assert_close(cells(view, "T"), template, rtol=0, atol=1e-6)
    x = z * template
    torch.testing.assert_close(cells(view, "x"), x, rtol=0, atol=1e-5)
    assert number(view, "y") == pytest.approx(float(x.sum()), abs=1e-4)
    assert number(view, "sum-z") == pytest.approx(float(z.sum()), abs=1e-4)
    assert number(view, "kept") == pytest.approx(float(x.relu().sum() / z.relu().sum()), abs=1e-5)
    rest = float(x.relu().sum())
    stray = float((x.relu() * (z < 0)).sum()) / rest if rest else 0
    assert number(view, "stray") == pytest.approx(stray, abs=1e-5)
    return z, x, row, column


def test_it_begins_as_the_mask_has_it(explorer):
    z, x, row, column = check(explorer)
    assert row * len(z) + column == int(interpretable.peaks(z[None, None]))
    torch.testing.assert_close(x, interpretable.Mask(len(z)).double()(z[None, None])[0, 0],
                               rtol=0, atol=1e-6)
    assert explorer.get_by_role("button", name="Put it where the mask does").is_disabled()


def test_every_map_can_be_chosen(explorer):
    options = explorer.get_by_label("Map", exact=True).locator("option").count()
    assert options >= 4
    sums = set()
    for k in range(options):
        explorer.get_by_label("Map", exact=True).select_option(str(k))
        z, *_ = check(explorer)
        sums.add(round(float(z.sum()), 6))
    assert len(sums) == options


def test_the_arrow_keys_move_the_peak(explorer):
    explorer.get_by_label("Map", exact=True).select_option(label="made up: two peaks and a trough")
    explorer.get_by_role("slider", name="Peak's row").fill("0")
    explorer.get_by_role("slider", name="Peak's column").fill("3")
    map_ = explorer.locator('[data-panel="T"]')
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp"):
        map_.press(key)
    assert check(explorer)[2:] == (1, 2)
    for _ in range(20):
        map_.press("ArrowRight")
    assert check(explorer)[2:] == (1, len(cells(explorer, "z")) - 1)  # no further than the edge
    assert "peak at row 1, column" in explorer.get_by_role("status").inner_text()
    assert "row 1, column" in map_.get_attribute("aria-label")


def test_the_pointer_moves_the_peak(explorer):
    panel = explorer.locator('[data-panel="z"]')
    panel.scroll_into_view_if_needed()
    box, n = panel.bounding_box(), len(cells(explorer, "z"))

    def place(row, column):
        return (box["x"] + (column + 0.5) / n * box["width"], box["y"] + (row + 0.5) / n * box["height"])

    explorer.page.mouse.click(*place(2, 5))
    assert check(explorer)[2:] == (2, 5)
    explorer.page.mouse.down()
    explorer.page.mouse.move(*place(n - 1, 0), steps=3)  # drag
    explorer.page.mouse.up()
    z, x, *where = check(explorer)
    assert where == [n - 1, 0]
    explorer.page.mouse.move(*place(1, 1))  # only points: the peak stays, the numbers are told
    assert check(explorer)[2:] == (n - 1, 0)
    assert f"Row 1, column 1: T = 0.00, z = {float(z[1, 1]):.2f}".replace("-", "−") in explorer.inner_text()
    explorer.get_by_role("button", name="Put it where the mask does").click()
    z, _, row, column = check(explorer)
    assert row * n + column == int(z.argmax())


def test_decay_and_clipping(explorer):
    explorer.get_by_label("Map", exact=True).select_option(label="made up: two peaks and a trough")
    slide(explorer, "Decay", 7.5)
    check(explorer)
    slide(explorer, "Decay", 1)
    explorer.get_by_label("clip the template at 0").uncheck()
    check(explorer, clip=False)
    slide(explorer, "Decay", 8)
    z, x, *_ = check(explorer, clip=False)
    assert number(explorer, "stray") > 0 and float(cells(explorer, "T").min()) == -1
    assert "Not clipped" in explorer.locator(".sq-words").inner_text()


@pytest.mark.parametrize("size", [6, 13, 17])
def test_the_size_of_the_made_up_map(explorer, size):
    wide = explorer.get_by_role("slider", name="Size")
    assert wide.is_disabled()  # a network's map has its own
    explorer.get_by_label("Map", exact=True).select_option(label="made up: two peaks and a trough")
    wide.fill(str(size))
    z, *_ = check(explorer)
    assert z.shape == (size, size) and float(z.min()) < 0 < float(z.max())


def test_a_phone(open_page):
    (view,) = views(open_page(PAGE, width=360, touch=True), "template")
    assert view.evaluate("(view) => view.scrollWidth <= view.clientWidth + 1")
    view.locator('[data-panel="T"]').tap()
    check(view)
