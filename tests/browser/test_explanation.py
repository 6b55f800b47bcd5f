"""The explanation explorer in the built book: its numbers are the library's, and it can be used."""

import pytest
import torch
from browser.reading import number, numbers, slide, views

from semquant_book.datasets.names import PHRASES
from semquant_book.study import experiment2, inspection, records
from semquant_book.study.presets import load_settings

NETWORK, ATTRIBUTE = "book/experiment1/alexnet", "book/experiment2/attractive"


@pytest.fixture(scope="module")
def case(built):
    """What the page of AlexNet shows, computed again by the library from the built store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(built))
        settings = load_settings("smoke", architectures=["alexnet"], categories=["dog"])
        return inspection.case(settings, "alexnet", "dog", 0, scale="literal")


@pytest.fixture(scope="module")
def scaled(built):
    """The same in the other reading of y's scale."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(built))
        settings = load_settings("smoke", architectures=["alexnet"], categories=["dog"])
        return inspection.case(settings, "alexnet", "dog", 0, scale="scaled")


@pytest.fixture
def explorer(open_page):
    (view,) = views(open_page(NETWORK), "explanation")
    return view


def choose_image(view, k):
    """With the arrow keys, from the image that is shown."""
    images = view.locator(".sq-thumbs input")
    now = images.evaluate_all("(all) => all.findIndex((one) => one.checked)")
    images.nth(now).focus()
    for _ in range(abs(k - now)):
        images.page.keyboard.press("ArrowRight" if k > now else "ArrowLeft")


def check_equation(view, explanation, k):
    """All numbers of the k-th image's equation, for both methods."""
    for method, of in explanation.items():
        shown = {name: number(view, f"{method}-{name}") for name in ("sum", "bias", "total", "residual")}
        assert shown["sum"] == pytest.approx(float(of.contributions[k].sum()), abs=1e-5)
        assert shown["bias"] == pytest.approx(of.bias, abs=1e-6)
        assert shown["total"] == pytest.approx(float(of.total[k]), abs=1e-5)
        assert shown["residual"] == pytest.approx(float(of.residual[k]), abs=1e-5)
        said = [view.locator(f'[data-name="{method}-{name}"]').inner_text().replace("−", "-")
                for name in ("sum", "bias", "residual")]
        yhat = view.locator('[data-name="yhat"]').first.inner_text().replace("−", "-")
        assert sum(map(float, said)) == pytest.approx(float(yhat), abs=1e-9)  # as printed


@pytest.mark.parametrize("k", [0, 3])
def test_the_numbers_are_the_librarys(explorer, case, k):
    choose_image(explorer, k)
    check_equation(explorer, {"ours": case.ours, "baseline": case.baseline}, k)
    for method in ("ours", "baseline"):
        merged = case.by_part(method)
        for name, value in zip(merged.names, merged.contributions[k].tolist()):
            if name == "unassigned" and name not in case.names or name not in case.names:
                continue  # a part without filters has no row
            assert number(explorer, f"{method}-{name}") == pytest.approx(value, abs=1e-5)
        words = explorer.locator(f'[data-name="{method}-words"]').inner_text()
        for reason in merged.top(3)[k]:
            assert f"{reason.name} " in words


def test_the_reading_of_y_can_be_switched(explorer, case, scaled):
    merged = case.by_part("ours")
    name = next(n for n in merged.names if n in case.names)
    explorer.get_by_role("checkbox", name=f"count {name}", exact=True).press("Space")
    explorer.get_by_role("radio", name="scaled").check()
    explorer.get_by_role("checkbox", name=f"count {name}", exact=True).press("Space")
    check_equation(explorer, {"ours": scaled.ours, "baseline": scaled.baseline}, 0)
    assert "literal reading takes y as it is" in explorer.inner_text()
    choose_image(explorer, 2)
    check_equation(explorer, {"ours": scaled.ours, "baseline": scaled.baseline}, 2)  # it stays
    explorer.get_by_role("radio", name="literal").check()
    check_equation(explorer, {"ours": case.ours, "baseline": case.baseline}, 2)


def test_on_a_phone_the_picture_stays_in_sight_of_what_lights_it(open_page):
    page = open_page(NETWORK, width=390, height=844, touch=True)
    (view,) = views(page, "explanation")
    chip = view.locator(".sq-chips [data-filter]").last
    chip.scroll_into_view_if_needed()
    chip.tap()
    canvas, header = view.locator("canvas").bounding_box(), page.locator(".bd-header-article").bounding_box()
    assert canvas["y"] >= header["y"] + header["height"] - 1
    assert canvas["y"] + canvas["height"] <= chip.bounding_box()["y"]
    assert "where filter" in view.locator(".sq-sight .sq-note").inner_text()


def test_no_chip_of_a_filter_is_cut(open_page):
    (view,) = views(open_page(NETWORK), "explanation")
    rows = view.locator(".sq-link").all()
    for row in rows:
        row.press("Enter")
        more = view.locator("[data-name=filters]")
        if more.count():
            count = int(more.inner_text().removeprefix("Show all "))
            more.press("Enter")
            assert view.locator(".sq-chips [data-filter]").count() == count
        assert view.locator(".sq-chips").evaluate("(all) => all.scrollHeight <= all.clientHeight")
        if more.count():
            assert more.evaluate("(one) => one === document.activeElement")
            more.press("Enter")


def test_what_is_lit_on_a_night_picture_is_no_dark_spot(open_page):
    """Where a filter fires a dark picture is lighter than it was, and the rest is pale."""
    (view,) = views(open_page(NETWORK), "explanation")
    grey = """(canvas) => {
      const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return Array.from({length: all.length / 4}, (_, p) => (all[4 * p] + all[4 * p + 1] + all[4 * p + 2]) / 3);
    }"""
    canvas, pictures = view.locator("canvas"), []
    for k in range(view.locator(".sq-thumbs input").count()):
        choose_image(view, k)
        view.page.wait_for_timeout(100)
        pictures.append(torch.tensor(canvas.evaluate(grey)))
    darkest = min(range(len(pictures)), key=lambda k: pictures[k].mean())
    assert pictures[darkest].mean() < 110  # there is a night picture
    choose_image(view, darkest)
    view.locator(".sq-chips [data-filter]").first.focus()
    view.page.wait_for_timeout(100)
    lit = torch.tensor(canvas.evaluate(grey))
    spot = lit.argsort()[: len(lit) // 100]
    assert (lit[spot] > pictures[darkest][spot] + 5).all()
    assert lit.quantile(0.5) > 178


def test_a_part_that_is_switched_off_takes_its_contribution_along(explorer, case):
    merged = case.by_part("ours")
    values = dict(zip(merged.names, merged.contributions[0].tolist()))
    there = [name for name in merged.names if name in case.names]
    before = number(explorer, "ours-total")
    explorer.get_by_role("checkbox", name=f"count {there[0]}", exact=True).click()  # by mouse
    assert number(explorer, "ours-total") == pytest.approx(before - values[there[0]], abs=1e-5)
    explorer.get_by_role("checkbox", name=f"count {there[1]}", exact=True).press("Space")
    assert number(explorer, "ours-total") == pytest.approx(
        before - values[there[0]] - values[there[1]], abs=1e-5)
    assert "With your changes." in explorer.locator(".sq-words").inner_text()
    assert "explained by ours" in explorer.get_by_role("status").inner_text()
    explorer.get_by_role("button", name="Undo changes").press("Enter")
    assert number(explorer, "ours-total") == pytest.approx(before, abs=1e-6)
    assert explorer.get_by_role("button", name="Undo changes").is_disabled()


def test_beside_a_part_that_is_off_stands_what_the_network_says(explorer, case):
    scores, merged = case.coalitions([0])[0], case.by_part("ours")
    values = dict(zip(merged.names, merged.contributions[0].tolist()))
    there = [name for name in merged.names if name in case.names]
    bits = {name: 1 << k for k, name in enumerate(there)}
    everyone = 2 ** len(there) - 1

    def check(off):
        present = everyone - sum(bits[name] for name in off)
        for name in there:
            alone = float(scores[present | bits[name]] - scores[present & ~bits[name]])
            assert number(explorer, f"network-{name}") == pytest.approx(alone, abs=1e-5)
        if off:
            change, foretold = float(scores[present] - scores[-1]), -sum(values[name] for name in off)
            assert number(explorer, "asked-network-before") == pytest.approx(float(case.measured.yhat[0]), abs=1e-5)
            assert number(explorer, "asked-network-after") == pytest.approx(float(scores[present]), abs=1e-5)
            assert number(explorer, "asked-network-change") == pytest.approx(change, abs=1e-5)
            assert number(explorer, "asked-ours-change") == pytest.approx(foretold, abs=1e-5)
            assert number(explorer, "asked-ours-off") == pytest.approx(foretold - change, abs=1e-5)
            said = explorer.get_by_role("status").inner_text()
            assert f"without {', '.join(off)}: the network's score changes by " in said

    check([])
    for k in (1, 2):
        explorer.get_by_role("checkbox", name=f"count {there[k - 1]}", exact=True).press("Space")
        check(there[:k])
    choose_image(explorer, 1)
    assert number(explorer, "asked-network-before") == pytest.approx(float(case.measured.yhat[1]), abs=1e-5)


def test_the_network_was_run_with_whole_parts_only(explorer, case):
    name = explorer.get_by_role("button", pressed=True).first.inner_text()
    slide(explorer, f"Scale α of {name}", 0.5)
    assert "run with whole parts" in explorer.locator('[data-name="network-why"]').inner_text()
    assert "run with whole parts" in explorer.get_by_role("status").inner_text()
    slide(explorer, f"Scale α of {name}", 0)  # which is without it
    assert "asked-network-after" in numbers(explorer)


def test_an_attribute_that_is_off_is_flipped_in_the_drawing(open_page, built, monkeypatch):
    (view,) = views(open_page(ATTRIBUTE), "explanation")
    monkeypatch.setenv("SEMQUANT_BUILD", str(built))
    run = experiment2.Run(load_settings("smoke", targets=["Attractive"]), "Attractive")
    labels = view.locator(".sq-thumbs input").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    faces = [int(label.rpartition(" ")[2]) - 1 for label in labels]
    drawn = [k for k, face in enumerate(faces) if face < run.settings.flip_faces]
    assert 0 < len(drawn) < len(faces)
    (flipped,), ours = run.flipped([faces[drawn[0]]]), run.explain("ours")[[faces[drawn[0]]]]
    choose_image(view, drawn[0])
    first, second = (reason.index for reason in ours.top(2)[0])
    fall = float(ours.yhat[0] - flipped[first])
    assert number(view, f"network-{ours.names[first]}") == pytest.approx(fall, abs=1e-5)
    boxes = view.get_by_role("checkbox")
    boxes.nth(0).press("Space")
    assert number(view, "asked-network-change") == pytest.approx(-fall, abs=1e-5)
    assert number(view, "asked-ours-off") == pytest.approx(fall - float(ours.contributions[0, first]), abs=1e-5)
    assert view.get_by_role("img", name="the face drawn again").evaluate("(one) => one.naturalWidth") == 96
    boxes.nth(1).press("Space")
    assert "one attribute flipped" in view.locator('[data-name="network-why"]').inner_text()
    beyond = next(k for k in range(len(faces)) if k not in drawn)
    choose_image(view, beyond)
    assert "not drawn" in view.locator('[data-name="network-why"]').inner_text()
    assert f"network-{ours.names[first]}" not in numbers(view)


def test_scaling_a_part_scales_its_contribution(explorer, case):
    merged = case.by_part("ours")
    values = dict(zip(merged.names, merged.contributions[0].tolist()))
    name = max((n for n in merged.names if n in case.names), key=lambda n: abs(values[n]))
    explorer.get_by_role("button", name=name, exact=True).press("Enter")
    before = number(explorer, "ours-total")
    slide(explorer, f"Scale α of {name}", 1.5)
    assert number(explorer, "ours-total") == pytest.approx(before + 0.5 * values[name], abs=1e-5)
    explorer.get_by_role("slider").press("ArrowLeft")
    assert number(explorer, f"ours-{name}") == pytest.approx(1.4 * values[name], abs=1e-5)
    assert explorer.get_by_role("slider").get_attribute("aria-valuetext") == "× 1.4"


def test_pointing_at_a_part_or_a_filter_shows_where_it_fires(explorer, case):
    picture = explorer.get_by_role("img").first
    caption = explorer.locator(".sq-picture .sq-note").first
    plain = picture.screenshot()
    part = next(name for name in case.by_part("ours").names if name in case.names)
    explorer.get_by_role("button", name=part, exact=True).hover()
    assert f"where the filters of {part} fire" in caption.inner_text()
    assert picture.screenshot() != plain
    explorer.locator(".sq-equation").hover()
    assert picture.screenshot() == plain
    explorer.get_by_role("button", name=part, exact=True).focus()  # the keyboard does the same
    assert f"where the filters of {part} fire" in caption.inner_text()
    explorer.locator(".sq-chips button").first.focus()
    assert "where filter" in caption.inner_text()


def test_heat_and_parts_can_be_laid_over_the_picture(explorer):
    picture = explorer.get_by_role("img").first
    seen = {picture.screenshot()}
    for name in ("Grad-CAM", "parts", "filters"):
        explorer.get_by_role("radio", name=name).check()
        explorer.page.wait_for_timeout(50)
        seen.add(picture.screenshot())
    assert len(seen) >= 3  # a filter map may be empty in a network that learned nothing
    assert "fire" in picture.get_attribute("aria-label")


def test_an_attribute_page_has_signed_bars_with_the_librarys_numbers(open_page, built, monkeypatch):
    (view,) = views(open_page(ATTRIBUTE), "explanation")
    monkeypatch.setenv("SEMQUANT_BUILD", str(built))
    settings = load_settings("smoke", targets=["Attractive"])
    run = experiment2.Run(settings, "Attractive")
    ours, baseline = (run.explain(method, "near_zero") for method in ("ours", "baseline"))
    yhat = [float(view.locator('[data-name="yhat"]').first.get_attribute("data-value"))]
    k = int((ours.yhat - yhat[0]).abs().argmin())  # which face comes first is the page's choice
    check_equation(view, {"ours": ours, "baseline": baseline}, k)
    view.get_by_role("button", name="Show all 39").click()
    found = numbers(view)
    for i, name in enumerate(ours.names):
        assert found[f"ours-{name}"] == pytest.approx(float(ours.contributions[k, i]), abs=1e-5)
    words = view.locator('[data-name="ours-words"]').inner_text()
    for reason in ours.top(share=0.5)[k]:
        assert PHRASES[reason.name][0 if float(ours.y[k, reason.index]) > 0 else 1] in words


def test_changes_are_undone_with_most_concepts_out_of_sight(open_page):
    (view,) = views(open_page(ATTRIBUTE), "explanation")
    before = number(view, "ours-total")
    boxes, undo = view.get_by_role("checkbox"), view.get_by_role("button", name="Undo changes")
    assert boxes.count() < 39
    for k in (0, 1):
        boxes.nth(k).press("Space")
        assert number(view, "ours-total") != pytest.approx(before, abs=1e-6)
        if k:  # and with a changed one out of sight
            view.get_by_role("button", name="Show all 39").press("Enter")
            boxes.last.press("Space")
            view.get_by_role("button", name="Show 10").press("Enter")
        undo.press("Enter")
        assert number(view, "ours-total") == pytest.approx(before, abs=1e-6)
        assert undo.is_disabled()
        view.get_by_role("button", name="Show all 39").press("Enter")
        assert all(box.is_checked() for box in boxes.all())
        view.get_by_role("button", name="Show 10").press("Enter")


def test_a_record_without_photographs_shows_its_numbers(open_page):
    record = records.photographs("dog")
    _, view = views(open_page("book/experiment1/efficientnet_lite0"), "explanation")
    explanations = {m: inspection.example(record["examples"], m) for m in ("ours", "baseline")}
    assert not explanations["ours"].y.equal(explanations["baseline"].y)  # each has its own values
    for k in range(len(record["examples"]["ids"])):
        choose_image(view, k)
        check_equation(view, explanations, k)
    assert not view.locator("canvas").is_visible()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_click_on_an_overlay_counts_when_a_part_had_the_focus(open_page, case, width):
    (view,) = views(open_page(NETWORK, width=width), "explanation")
    part = next(name for name in case.by_part("ours").names if name in case.names)
    for name in ("Grad-CAM", "filters", "parts"):
        view.get_by_role("button", name=part, exact=True).focus()
        view.get_by_role("radio", name=name).click()  # its place is looked up before the focus goes
        assert view.get_by_role("radio", name=name).is_checked()


def test_changes_of_attributes_end_with_the_image_and_are_told(open_page):
    (view,) = views(open_page(ATTRIBUTE), "explanation")
    first = view.get_by_role("button", pressed=True).inner_text()
    before = number(view, "ours-total")
    slide(view, f"Scale α of {first}", 1.5)
    assert "× 1.5" in view.locator("tr", has=view.page.get_by_role("button", name=first, exact=True)).inner_text()
    bars = view.locator(".sq-bar rect").evaluate_all("(all) => all.map((one) => one.getAttribute('width'))")
    assert max(map(float, bars)) <= 30
    said = view.get_by_role("status").inner_text().replace("−", "-")
    assert f"explained by ours: {view.locator('[data-name=ours-total]').inner_text()}".replace("−", "-") in said
    choose_image(view, 1)
    assert view.get_by_role("button", name="Undo changes").is_disabled()
    choose_image(view, 0)
    assert number(view, "ours-total") == pytest.approx(before, abs=1e-6)
    view.get_by_role("checkbox").first.press("Space")
    view.get_by_role("button", name="Undo changes").press("Enter")
    assert view.evaluate("(one) => one.contains(document.activeElement)")  # the focus is not lost
