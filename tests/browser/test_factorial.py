"""The map of the trial in the built book: what it says is what the record has."""

import pytest
from browser.reading import numbers, sticking_out, views

from semquant_book.pages import effect, trials, varied
from semquant_book.study import factorial
from semquant_book.study.hypotheses import ERROR, confirming, fits, ways
from semquant_book.views.factorial import EVENNESS, MEASURES, YARDSTICKS

PAGE = "book/right/when"


@pytest.fixture
def view(open_page):
    (found,) = views(open_page(PAGE), "factorial")
    return found


def check(view, which, prior, measure=ERROR, network=None, rate=None):
    """Compare what is said with means over the record's rows."""
    rows = confirming(fits(trials.read())).xs(which, level=("optimizer", "start"))
    rows = rows[rows.rate == rate] if rate else rows[rows.chosen]
    rows = rows.xs(network, level="architecture") if network else rows
    shown, said = numbers(view), view.locator(".sq-words").inner_text()
    for name, metric in (("evenness", EVENNESS), ("measure", measure)):
        values = rows[[EVENNESS, measure]].astype(float).unstack("prior")
        there = values.xs("none", axis=1, level="prior").notna().all(axis=1) & values.xs(prior, axis=1, level="prior").notna().all(axis=1)
        found = values[metric][there]
        change = found[prior] - found["none"]
        assert shown[name] == pytest.approx(found[prior].mean())
        if prior == "none":
            assert f"{name}-change" not in shown
        else:
            assert shown[f"{name}-change"] == pytest.approx(change.mean())
            assert f"(up in {(change > 0).sum()}, down in {(change < 0).sum()})" in said
    assert f"over {there.sum()} performer" in said
    assert view.locator("svg .sq-one").count() == there.sum() * (1 if prior == "none" else 2)


def test_what_is_shown_first(view):
    check(view, ("sgd", "high"), "measured")
    explained = confirming(ways(trials.read()))[ERROR].groupby(level="method").mean()
    assert view.locator("svg .sq-yardstick").count() == len(YARDSTICKS)
    label = view.get_by_role("img").get_attribute("aria-label")
    assert all(f"{words} {explained[way]:.3f}" in label for way, words in YARDSTICKS.items())


def test_every_choice_by_keyboard(view):
    radio = lambda name: view.get_by_role("radio", name=name, exact=True)  # noqa: E731
    radio("measured").press("ArrowRight")
    check(view, ("sgd", "high"), "permuted")
    radio("permuted").press("ArrowLeft")  # the buttons are new ones, and still have the focus
    view.get_by_label("Learning rate").select_option("0.00001")
    check(view, ("sgd", "high"), "measured", rate=1e-5)
    rows = confirming(fits(trials.read())).xs(("sgd", "high", "permuted"), level=("optimizer", "start", "prior"))
    assert radio("permuted").count() == int((rows.rate == 1e-5).any())  # fitted with the rate that counts only
    radio("SGD").press("ArrowRight")
    check(view, ("adamw", "high"), "measured")
    assert view.get_by_label("Learning rate").count() == 0
    radio("high").press("ArrowRight")
    radio("measured").press("ArrowLeft")
    check(view, ("adamw", "fitting"), "none")
    assert "no prior loss" in view.get_by_role("status").inner_text()


@pytest.mark.parametrize("measure", list(MEASURES))
def test_every_measure_upwards(view, measure):
    view.get_by_label("Upwards", exact=True).select_option(measure)
    check(view, ("sgd", "high"), "measured", measure)
    own = effect.performers(trials.read())["entropy shapley"]
    assert numbers(view).get("truth") == (pytest.approx(own.mean()) if measure == "entropy shapley" else None)
    assert view.locator("svg .sq-yardstick").count() == (0 if measure == "error average" else len(YARDSTICKS))


def test_one_network(view):
    view.get_by_label("Network").select_option("AlexNet")
    check(view, ("sgd", "high"), "measured", network="alexnet")
    view.locator("summary").press("Enter")
    assert all(name.startswith("AlexNet") for name in view.locator("details tbody th").all_inner_texts())


def check_varied(view, which, prior, measure=ERROR, **fields):
    """Compare what is said of the second set with the record of what the trial holds fixed."""
    fields = {"fading": True, "bias": "min", "depth": "small", "seed": 0} | fields
    rows = factorial.frame(varied.read())
    rows = rows[rows.chosen & (rows.optimizer == which[0]) & (rows.start == which[1])]
    for name, wanted in fields.items():
        rows = rows[rows[name] == wanted]
    found = rows.pivot(index="performer", columns="prior", values=[EVENNESS, measure]).astype(float)
    there = found.xs("none", axis=1, level="prior").notna().all(axis=1) & found.xs(prior, axis=1, level="prior").notna().all(axis=1)
    shown, found = numbers(view), found[there]
    for name, metric in (("evenness", EVENNESS), ("measure", measure)):
        assert shown[name] == pytest.approx(found[metric][prior].mean())
        assert shown[f"{name}-change"] == pytest.approx((found[metric][prior] - found[metric]["none"]).mean())
    assert f"over {len(found)} performer" in view.locator(".sq-words").inner_text()


def test_what_the_trial_holds_fixed_can_be_chosen(view):
    view.get_by_label("Performers", exact=True).select_option("1")
    check_varied(view, ("sgd", "high"), "measured")
    assert "no interval" in view.locator(".sq-note").inner_text()
    start = view.get_by_label("b starts at")
    start.select_option(label="the mean score")
    check_varied(view, ("sgd", "high"), "measured", bias="mean")
    view.get_by_role("radio", name="permuted", exact=True).check()
    check_varied(view, ("sgd", "high"), "permuted", bias="mean")
    view.get_by_role("radio", name="measured", exact=True).check()
    view.get_by_label("Filter loss").select_option(label="0.3 throughout")
    check_varied(view, ("sgd", "high"), "measured", bias="mean", fading=False)
    view.get_by_label("Seed of g", exact=True).select_option(label="2")  # not fitted with the others: they are as in the trial again
    check_varied(view, ("sgd", "high"), "measured", seed=2)
    assert view.get_by_label("Seed of g", exact=True).evaluate("(node) => node === document.activeElement")
    view.get_by_role("radio", name="AdamW", exact=True).check()
    check_varied(view, ("adamw", "high"), "measured", seed=2)
    for measure in ("error shapley", "entropy shapley"):
        view.get_by_label("Upwards", exact=True).select_option(measure)
        check_varied(view, ("adamw", "high"), "measured", measure, seed=2)
    view.get_by_label("Performers", exact=True).select_option("0")
    check(view, ("adamw", "high"), "measured", measure)


def test_a_phone_has_room(open_page):
    page = open_page(PAGE, width=360, touch=True)
    (view,) = views(page, "factorial")
    view.locator("summary").click()
    assert not sticking_out(page)
