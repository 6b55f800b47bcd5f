"""The prior explorer in the built book: its losses are those of `losses`."""

import pytest
import torch
from browser.reading import number, numbers, slide, views

from semquant import losses, metrics
from semquant_book.pages import recorded

PAGE = "book/method/priors"
RUNS = ("alexnet-scaled", "alexnet-literal", "attractive")


@pytest.fixture(scope="module")
def runs():
    return [recorded.recorded(name, 64) for name in RUNS]


@pytest.fixture
def explorer(open_page):
    (view,) = views(open_page(PAGE), "prior")
    return view


def check(view, run, beta, epoch, image):
    w = torch.tensor(run.w)[None, image]
    for prefix, k in (("", beta), ("baseline-", 0)):
        if k == beta and prefix:
            continue
        alpha = torch.tensor(run.alpha[k, 0, epoch])[None, image]
        compare = losses.prior_cross_entropy if run.loss == "cross_entropy" else losses.prior_l2
        assert number(view, prefix + "dissimilarity") == pytest.approx(float(compare(alpha, w)), rel=1e-4)
        cosine = float(torch.nn.functional.cosine_similarity(alpha, w))
        assert number(view, prefix + "cosine") == pytest.approx(cosine, abs=1e-5)
        if run.epochs[epoch]:
            assert number(view, prefix + "lambda") == pytest.approx(
                losses.prior_weight(run.epochs[epoch], run.betas[k]))


@pytest.mark.parametrize("which, beta, epoch, image", [(0, 4, 2, 1), (1, 5, 6, 0), (2, 1, 3, 3)])
def test_the_numbers_are_the_librarys(explorer, runs, which, beta, epoch, image):
    run = runs[which]
    explorer.get_by_label("Explained").select_option(str(which))
    explorer.get_by_role("radio", name=run.labels[image], exact=True).check()
    slide(explorer, "Strength", beta)
    slide(explorer, "Epoch", epoch)
    check(explorer, run, beta, epoch, image)
    said = explorer.get_by_role("status").inner_text()
    assert f"β = {run.betas[beta]:g}, after epoch {run.epochs[epoch]}" in said


def test_what_is_shown_first(explorer, runs):
    run = runs[0]
    check(explorer, run, list(run.betas).index(run.usual), len(run.epochs) - 1, 0)
    lowest = float(metrics.contribution_entropy(torch.tensor(run.w))[0])  # alpha = w
    assert f"lowest possible {lowest:.2f}" in explorer.inner_text()


def test_the_dots_are_the_scaled_weights(explorer, runs):
    run = runs[2]
    explorer.get_by_label("Explained").select_option("2")
    beta = list(run.betas).index(run.usual)
    shown = explorer.locator("circle[data-concept]").evaluate_all(
        "(all) => all.map((dot) => [+dot.getAttribute('cx'), +dot.dataset.value])")
    alpha, w = torch.tensor(run.alpha[beta, 0, -1, 0]), torch.tensor(run.w[0])
    torch.testing.assert_close(torch.tensor([v for _, v in shown]), alpha / alpha.norm(),
                               rtol=1e-4, atol=1e-6)
    # from left to right as the prior weights are, in proportion
    across = torch.tensor([x for x, _ in shown])
    assert float(torch.corrcoef(torch.stack([across, w]))[0, 1]) > 0.999999


def test_steps_by_keyboard(explorer, runs):
    epoch = explorer.get_by_role("slider", name="Epoch")
    last = runs[0].epochs[-1]
    assert explorer.get_by_role("button", name="Later").is_disabled()
    explorer.get_by_role("button", name="Earlier").press("Enter")
    assert epoch.get_attribute("aria-valuetext") == str(runs[0].epochs[-2])
    explorer.get_by_role("button", name="Later").press("Space")
    assert epoch.get_attribute("aria-valuetext") == str(last)
    epoch.press("Home")
    assert explorer.get_by_role("button", name="Earlier").is_disabled()
    assert "before the first epoch" in explorer.get_by_role("status").inner_text()
    assert explorer.locator('[data-name="lambda"]').inner_text() == "–"
    start = numbers(explorer)
    assert start["cosine"] == pytest.approx(start["baseline-cosine"], abs=1e-6)  # the same start


def test_playing_goes_through_the_epochs_and_stops(explorer, runs):
    epoch = explorer.get_by_role("slider", name="Epoch")
    explorer.get_by_role("button", name="Play").click()
    assert epoch.get_attribute("aria-valuetext") == "0"
    stop = explorer.get_by_role("button", name="Stop")
    stop.wait_for()
    stop.click()
    now = epoch.get_attribute("aria-valuetext")
    explorer.page.wait_for_timeout(1000)
    assert epoch.get_attribute("aria-valuetext") == now
    assert int(now) < runs[0].epochs[-1]


def test_nothing_plays_where_motion_is_not_welcome(open_page):
    (view,) = views(open_page(PAGE, motion="reduce"), "prior")
    assert view.get_by_role("button", name="Play").count() == 0
    assert view.get_by_role("button", name="Earlier").count() == 1


def test_a_dot_that_is_pointed_at_is_named(explorer, runs):
    run = runs[0]
    i = int(run.w[0].argsort()[-2])
    dot = explorer.locator(f'circle[data-concept="{i}"]')
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    explorer.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    look = explorer.get_by_role("slider", name="Look at")
    share = run.w[0, i] / run.w[0].sum()
    assert look.get_attribute("aria-valuetext").startswith(f"{run.names[i]}: w {share:.3f}, α ")
    look.press("Home")
    assert look.get_attribute("aria-valuetext").startswith(f"{run.names[0]}: w ")

