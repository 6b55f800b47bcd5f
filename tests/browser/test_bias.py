"""The bias-interpreting explorer in the built book: its numbers are the library's, by mouse and keys."""

import pytest
import torch
from browser.reading import number, numbers, slide, views

from semquant import metrics
from semquant.explanation import Explanation
from semquant_book.pages import recorded

PAGE = "book/method/bias_interpreting"
RUNS = ("alexnet-scaled", "alexnet-literal", "attractive")


@pytest.fixture(scope="module")
def runs():
    return [recorded.recorded(name, 64) for name in RUNS]


@pytest.fixture
def explorer(open_page):
    (view,) = views(open_page(PAGE), "bias")
    return view


def explanation(run, beta, seed, epoch):
    return Explanation(*(torch.tensor(v) for v in (run.yhat, run.y, run.alpha[beta, seed, epoch])),
                       run.bias[beta, seed, epoch])


def check(view, run, beta, seed, epoch, image):
    """Every number of the view, for one seed."""
    for prefix, k in (("", beta), ("baseline-", 0)):
        if k == beta and prefix:
            continue
        for name in ("entropy", "deviation", "accuracy"):
            assert number(view, prefix + name) == pytest.approx(
                getattr(run, name)[k, seed, epoch], abs=1e-6)
        one = explanation(run, k, seed, epoch)
        assert number(view, prefix + "image-entropy") == pytest.approx(
            float(metrics.contribution_entropy(one.contributions)[image]), abs=1e-5)
        assert number(view, prefix + "carry") == len(one.top(share=0.9)[image])
    one = explanation(run, beta, seed, epoch)
    shown = numbers(view)
    assert shown["sum"] == pytest.approx(float(one.contributions[image].sum()), abs=1e-4)
    assert shown["bias"] == pytest.approx(one.bias, abs=1e-5)
    assert shown["total"] == pytest.approx(float(one.total[image]), abs=1e-4)
    assert shown["residual"] == pytest.approx(float(one.residual[image]), abs=1e-4)
    bars = view.locator("rect[data-concept]").evaluate_all("(all) => all.map((b) => +b.dataset.value)")
    torch.testing.assert_close(torch.tensor(bars), one.contributions[image], rtol=1e-5, atol=1e-6)


def test_what_is_shown_first(explorer, runs):
    run = runs[0]
    check(explorer, run, list(run.betas).index(run.usual), 0, len(run.epochs) - 1, 0)
    assert run.note in explorer.inner_text()


@pytest.mark.parametrize("which", [1, 2])
def test_another_run_strength_seed_epoch_and_image(explorer, runs, which):
    run = runs[which]
    explorer.get_by_label("Explained").select_option(str(which))
    slide(explorer, "Strength", 4)
    slide(explorer, "Seed", 1)
    slide(explorer, "Epoch", 2)
    explorer.get_by_role("radio", name=run.labels[2], exact=True).check()
    check(explorer, run, 4, 1, 2, 2)
    said = explorer.get_by_role("status").inner_text()
    assert said.startswith(f"β = {run.betas[4]:g}, epoch {run.epochs[2]}, seed {run.seeds[1]}: entropy ")


def test_the_keyboard_alone(explorer, runs):
    run = runs[0]
    beta, epoch = list(run.betas).index(run.usual), len(run.epochs) - 1
    for label, key in (("Strength", "ArrowRight"), ("Epoch", "ArrowLeft"), ("Seed", "ArrowRight")):
        explorer.get_by_role("slider", name=label).press(key)
    explorer.get_by_role("radio", name=run.labels[0], exact=True).press("ArrowRight")
    check(explorer, run, beta + 1, 1, epoch - 1, 1)
    explorer.get_by_role("slider", name="Strength").press("Home")  # the baseline itself
    check(explorer, run, 0, 1, epoch - 1, 1)
    assert "baseline-entropy" not in numbers(explorer)


def test_the_mean_over_seeds(explorer, runs):
    run = runs[0]
    slide(explorer, "Seed", 3)
    beta = list(run.betas).index(run.usual)
    values = run.entropy[beta, :, -1]
    assert number(explorer, "entropy") == pytest.approx(values.mean(), abs=1e-6)
    assert f"± {(values.max() - values.min()) / 2:.2f}" in explorer.locator(
        '[data-name="entropy"]').inner_text()
    each = torch.stack([explanation(run, beta, k, -1).contributions[0] for k in range(3)])
    bars = explorer.locator("rect[data-concept]").evaluate_all("(all) => all.map((b) => +b.dataset.value)")
    torch.testing.assert_close(torch.tensor(bars), each.mean(dim=0), rtol=1e-5, atol=1e-6)
    assert number(explorer, "image-entropy") == pytest.approx(
        float(metrics.contribution_entropy(each).mean()), abs=1e-5)
    bands = explorer.locator("path.sq-band").evaluate_all("(all) => all.map((b) => b.getAttribute('d'))")
    assert len(bands) == 2 and all(bands)


def places(view):
    """Where the bars stand from left to right: the number of each concept, and its value."""
    return view.locator("rect[data-concept]").evaluate_all("""(all) => all
      .map((b) => [+b.getAttribute("x"), +b.dataset.concept, +b.dataset.value])
      .sort((a, b) => a[0] - b[0]).map((b) => b.slice(1))""")


def test_the_order_of_the_bars(explorer, runs):
    parts = runs[0].parts
    assert [i for i, _ in places(explorer)] == list(range(len(parts)))
    explorer.get_by_label("by size").check()
    sizes = [abs(v) for _, v in places(explorer)]
    assert sizes == sorted(sizes, reverse=True)
    explorer.get_by_label("by part").check()
    shown = [parts[i] for i, _ in places(explorer)]
    assert len(set(shown)) == 1 + sum(a != b for a, b in zip(shown, shown[1:]))


def test_a_bar_that_is_pointed_at_is_named(explorer, runs):
    run, look = runs[0], explorer.get_by_role("slider", name="Look at")
    beta = list(run.betas).index(run.usual)
    explorer.locator(".sq-bars").scroll_into_view_if_needed()
    box = explorer.locator('rect[data-concept="5"]').bounding_box()
    ground = explorer.locator(".sq-bars").bounding_box()
    explorer.page.mouse.move(box["x"] + box["width"] / 2, ground["y"] + ground["height"] / 2)
    value = float(explanation(run, beta, 0, -1).contributions[0, 5])
    said = f"{run.names[5]}: {value:+.3f}".replace("-", "−")
    assert look.get_attribute("aria-valuetext").startswith(said)
    look.press("ArrowRight")
    assert look.get_attribute("aria-valuetext").startswith(f"{run.names[6]}: ")


def test_pressing_on_a_curve_goes_there(explorer, runs):
    run = runs[0]
    chart = explorer.locator(".sq-columns > div:nth-child(2) svg").first
    chart.scroll_into_view_if_needed()
    line = chart.locator("path.sq-baseline")
    point = line.evaluate("""(line) => {
      const at = line.getPointAtLength(0).matrixTransform(line.getScreenCTM());
      return [at.x, at.y];
    }""")
    explorer.page.mouse.click(*point)
    assert explorer.get_by_role("slider", name="Epoch").get_attribute("aria-valuetext") == "0"
    # at the start all strengths are in one place; the first is the baseline
    assert number(explorer, "entropy") == pytest.approx(run.entropy[0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("motion, expected", [("reduce", "0s"), ("no-preference", "0.25s")])
def test_bars_glide_only_where_motion_is_welcome(open_page, motion, expected):
    (view,) = views(open_page(PAGE, motion=motion), "bias")
    found = view.locator("rect[data-concept]").first.evaluate(
        "(bar) => getComputedStyle(bar).transitionDuration")
    assert found.split(", ")[0] == expected


def test_a_phone(open_page, runs):
    (view,) = views(open_page(PAGE, width=360, touch=True), "bias")
    inside = view.evaluate("""(view) => [...view.querySelectorAll("*")].every((one) =>
      one.matches(".sq-hidden, .sq-hidden *, input") || one.getBoundingClientRect().right
        <= view.getBoundingClientRect().right + 1)""")
    assert inside
    check(view, runs[0], list(runs[0].betas).index(runs[0].usual), 0, len(runs[0].epochs) - 1, 0)


def test_a_finger_that_scrolls_changes_nothing_and_a_tap_does(open_page):
    page = open_page(PAGE, width=360, touch=True)
    (view,) = views(page, "bias")
    curve = view.get_by_role("img", name="Entropy of the contributions")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    before = number(view, "entropy")
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for k in range(1, 6):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 20 * k}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    assert number(view, "entropy") == before
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    assert number(view, "entropy") != before
