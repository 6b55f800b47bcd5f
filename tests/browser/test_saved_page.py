"""Pages that the method saves: opened from disk without a network, by mouse and by keyboard."""

import pytest
import torch
from browser.reading import Opener
from browser.visiting import violations
from torch import nn

from semquant import FilterConcepts
from semquant.explanation import Explanation
from semquant.names import read_names

B, N = 9, 30
IN_SIGHT = "(one) => { const b = one.getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight; }"
NASTY = "<img src=x onerror=alert(1)> & 'ear'"


@pytest.fixture(scope="module")
def explanation():
    generator = torch.Generator().manual_seed(0)
    y, alpha = torch.rand(B, N, generator=generator), torch.randn(B, N, generator=generator)
    names = [NASTY, "left eye", "right eye", *(f"filter {i}" for i in range(3, N))]
    return Explanation((y * alpha).sum(1) + 1 + torch.randn(B, generator=generator), y, alpha, 0.8, names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, explanation):
    """A page with pictures, one without, and a gallery."""
    folder = tmp_path_factory.mktemp("saved")
    images = torch.rand(B, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    explanation.save_html(folder / "explanation.html", 4 * images - 2)
    explanation.save_html(folder / "plain.html")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5, stride=5), nn.Flatten(), nn.Linear(6 * 64, 2))
    concepts = FilterConcepts("0").with_names({2: "sky: blue"})
    concepts.gallery(net, images, top=5).save_html(folder / "gallery.html")
    return folder


@pytest.fixture
def opened(browser, folder):
    """Open a saved page; whatever it asks for or complains of fails the test when it ends."""
    opener = Opener(browser, folder, "")
    yield lambda name, **options: opener(folder / f"{name}.html", **options)
    opener.close()
    assert not opener.log.trouble()
    assert all(url.startswith("file:") and url.endswith(".html") for url in opener.log.requests)


@pytest.fixture(params=["explanation", "plain"])
def page(opened, request):
    return opened(request.param)


def numbers(page):
    """What the page shows, by name: the exact values, and the printed ones."""
    found = page.locator("[data-value]").evaluate_all(
        "(all) => all.map((one) => [one.dataset.name, Number(one.dataset.value), one.textContent])")
    return ({name: value for name, value, _ in found},
            {name: float(text.replace("−", "-")) for name, _, text in found})


def check(page, explanation, image, off=()):
    """All numbers of an image, with some concepts switched off."""
    exact, printed = numbers(page)
    values = explanation.contributions[image].double()
    on = [i for i in range(N) if i not in off]
    explained = float(values[on].sum()) + explanation.bias
    score = float(explanation.yhat[image])
    for name, wanted in {"explained": explained, "total": explained, "score": score, "yhat": score,
                         "residual": score - explained, "bias": explanation.bias}.items():
        assert exact[name] == pytest.approx(wanted, abs=1e-5), name
        assert printed[name] == pytest.approx(wanted, abs=0.016), name  # a half of a digit, thrice
    shown = [int(name.partition("-")[2]) for name in exact if name.startswith("contribution-")]
    for i in shown:
        assert exact[f"contribution-{i}"] == pytest.approx(float(values[i]), abs=1e-6)
        assert exact[f"y-{i}"] == float(explanation.y[image, i])
        assert exact[f"alpha-{i}"] == float(explanation.alpha[image, i])
    hidden = [i for i in on if i not in shown]
    if hidden:
        assert exact["others"] == pytest.approx(float(values[hidden].sum()), abs=1e-5)
    assert printed["total"] + printed["residual"] == pytest.approx(printed["yhat"], abs=1e-9)
    return shown


def test_the_numbers_are_the_explanations(page, explanation):
    for image in (0, 4):
        page.get_by_role("radio", name=f"image {image}").check(force=True)
        shown = check(page, explanation, image)
        assert shown == explanation.contributions[image].abs().argsort(descending=True)[:12].tolist()
        names = page.locator("tbody").first.get_by_role("checkbox")
        assert names.count() == 12
    means = explanation.contributions.abs().mean(0)
    exact, _ = numbers(page)
    found = {int(name[5:]): value for name, value in exact.items() if name.startswith("mean-")}
    assert list(found) == means.argsort(descending=True)[:12].tolist()
    assert all(value == pytest.approx(float(means[i]), abs=1e-6) for i, value in found.items())


def test_the_arrow_keys_go_through_the_images(page, explanation):
    page.get_by_role("radio", name="image 0").focus()
    for image in (1, 2):
        page.keyboard.press("ArrowRight")
        check(page, explanation, image)
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("radio", name="image 1").is_checked()
    page.get_by_role("button", name="next image").press("Enter")
    check(page, explanation, 2)
    page.get_by_role("button", name="previous image").click(click_count=3)
    check(page, explanation, B - 1)  # round the end
    assert page.get_by_role("heading", level=2).first.inner_text() == f"What the score of image {B - 1} is made of"


def test_a_concept_that_is_off_takes_its_contribution_along(page, explanation):
    first, second, third = explanation.contributions[0].abs().argsort(descending=True)[:3].tolist()
    box = lambda i: page.locator(f"input[data-concept='{i}']")
    box(first).focus()
    page.keyboard.press("Space")
    check(page, explanation, 0, [first])
    assert not box(first).is_checked() and box(first).evaluate("(one) => one === document.activeElement")
    said = page.get_by_role("status").inner_text()
    assert said.startswith(f"{explanation.names[first]} switched off. image 0: explained score ")
    change = -float(explanation.contributions[0, first])
    words = page.locator("[data-name=changed]").inner_text().replace("−", "-")
    assert f"changes by {change:+.2f}. The network itself was not asked again" in words
    box(second).click()  # by mouse, and on the bar beside the name
    page.locator("tr", has=box(third)).locator(".track").click()
    check(page, explanation, 0, [first, second, third])
    page.get_by_role("button", name="next image").click()  # they stay off, and in sight
    assert {first, second, third} <= set(check(page, explanation, 1, [first, second, third]))
    page.get_by_role("button", name="Switch all on").press("Enter")
    check(page, explanation, 1)
    assert page.locator("[data-name=changed]").inner_text() == ""
    assert page.get_by_role("button", name="Switch all on").is_disabled()
    assert page.get_by_role("searchbox").evaluate("(one) => one === document.activeElement")


def test_concepts_are_searched_and_small_ones_hidden(page, explanation):
    page.get_by_role("searchbox").fill("EYE")
    assert sorted(check(page, explanation, 0)) == [1, 2]
    assert "2 of 30 concepts" in page.get_by_role("status").inner_text()
    page.get_by_role("searchbox").fill("nothing of the kind")
    assert check(page, explanation, 0) == []
    page.get_by_role("searchbox").fill("")
    sizes = explanation.contributions[0].abs()
    for value, wanted in (("1", sizes >= 0.01 * sizes.sum()), ("5", sizes >= 0.05 * sizes.sum()),
                          ("all", sizes >= 0)):
        page.get_by_label("Show").select_option(value)
        assert sorted(check(page, explanation, 0)) == wanted.nonzero().flatten().tolist()
    assert page.locator("tbody th", has_text=NASTY).count() >= 1  # text, not HTML


def test_bars_are_as_long_as_their_numbers(page, explanation):
    page.get_by_label("Show").select_option("all")
    bars = page.locator("tr.pick").evaluate_all("""(all) => all.map((row) => {
      const track = row.querySelector(".track").getBoundingClientRect();
      const bar = row.querySelector(".bar").getBoundingClientRect();
      const zero = track.left + track.width * parseFloat(row.querySelector(".track").style.getPropertyValue("--zero")) / 100;
      return [Number(row.querySelector("input").dataset.concept), bar.width, bar.left >= zero - 1, track.width];
    })""")
    values = explanation.contributions[0]
    span = 1.02 * float(values.max() - values.min())
    assert len(bars) == N
    for i, width, right, track in bars:
        assert width == pytest.approx(max(1, abs(float(values[i])) / span * track), rel=0.05, abs=1.5)
        assert right == bool(values[i] >= 0)


def test_a_dot_shows_its_image(opened, explanation):
    page = opened("explanation")
    dot = page.locator(".strip").first.locator("i[data-image='5']")
    dot.dispatch_event("click")
    check(page, explanation, 5)
    assert page.get_by_role("heading", level=2).first.evaluate(IN_SIGHT)
    assert dot.evaluate("(one) => one.classList.contains('here')")
    assert page.get_by_role("img", name="image 5", exact=True).evaluate("(one) => one.naturalWidth") == 40
    assert "9 of 9 pictures are stretched to be seen" in page.locator("header").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_chosen_image_is_in_sight_among_many(opened, folder, width):
    generator = torch.Generator().manual_seed(3)
    y = torch.rand(100, 4, generator=generator)
    many = Explanation(y.sum(1), y, torch.ones_like(y), 0.0)
    many.save_html(folder / "many.html", torch.rand(100, 3, 8, 8, generator=generator))
    page = opened("many", width=width)
    for name, image in (("previous image", 99), ("next image", 0)):
        page.get_by_role("button", name=name).click()
        chosen = page.get_by_role("radio", name=f"image {image}", exact=True)
        assert chosen.is_checked() and chosen.evaluate("""(one) => {
          const box = one.getBoundingClientRect();
          const frame = one.closest("fieldset").getBoundingClientRect();
          return box.top >= frame.top && box.bottom <= frame.bottom && box.left >= frame.left && box.right <= frame.right;
        }""")


@pytest.mark.parametrize("name", ["explanation", "plain", "gallery"])
def test_it_fits_a_phone_and_a_dark_screen(opened, name):
    for width, scheme in ((320, "light"), (390, "dark"), (800, "light"), (1400, "dark")):
        page = opened(name, width=width, scheme=scheme, touch=width < 500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground, ink = page.evaluate("""['backgroundColor', 'color'].map((key) =>
          getComputedStyle(document.body)[key].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))""")
        assert (ground < 150 < ink) if scheme == "dark" else (ink < 150 < ground)
        names = page.locator("tbody th").evaluate_all("(all) => all.map((one) => one.clientWidth)")
        assert all(name >= 100 for name in names)
        small = page.locator("button, input, select").evaluate_all("""(all) => all.filter((one) => {
          const box = (one.closest("label") ?? one).getBoundingClientRect();
          return box.width && (box.height < 24 || box.width < 24);
        }).map((one) => one.outerHTML)""")
        assert not small  # large enough for a finger


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["explanation", "plain", "gallery"])
def test_everyone_can_read_it(opened, axe, name, scheme):
    page = opened(name, scheme=scheme)
    if name != "gallery":
        page.get_by_role("checkbox").first.press("Space")
    assert not violations(page, axe)


def test_filters_are_named_in_the_gallery_and_the_names_taken_away(opened, tmp_path):
    page = opened("gallery")
    assert page.get_by_label("name", exact=True).count() == 6
    assert page.locator("section img").evaluate_all("(all) => all.every((one) => one.complete)")
    page.get_by_role("searchbox").fill("sky")
    assert page.locator("section:visible h2").all_inner_texts() == ["Filter 2"]
    page.get_by_role("searchbox").fill("filter 4")
    page.get_by_label("name", exact=True).locator("visible=true").fill('  a "wheel": left ä ')
    assert page.get_by_role("status").inner_text() == "1 of 6 filters shown, 2 named."
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save names.yml").click()
    waiting.value.save_as(tmp_path / "names.yml")
    assert waiting.value.suggested_filename == "names.yml"
    assert read_names(tmp_path / "names.yml", 6, "0") == {2: "sky: blue", 4: 'a "wheel": left ä'}
