"""The studio, opened from a file without a network: pictures, scores and what was foretold are the library's."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from browser.reading import number, numbers, sticking_out
from browser.visiting import violations
from PIL import Image

from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.pages import studio as page_of
from semquant_book.study import experiment1, experiment2, portable, ranking
from semquant_book.study.interventions import FLIPPED, flipped
from semquant_book.study.performing import scores
from semquant_book.study.presets import load_settings
from semquant_book.views import studio

WAYS = {"ours": "ours_scaled", "baseline": "baseline_scaled", "gradient times input": "gradient_times_input",
        "corrected": "corrected"}
SHELL = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>studio</title><style>%s</style><main><div id="here"></div></main><script type="module">
%s
const data = %s;
made.render({ model: { get: () => data, on() {}, off() {} }, el: document.getElementById("here") });
window.pixels = async (k, edit) => { // what the network gets
  const all = data.pictures.map((one) => (one.drawn ? readDrawn(one.drawn) : readSheet(one)));
  await all[k].ready;
  return Array.from(seen(all[k], composite(all[k], { ...untouched(), ...edit }, all).flat));
};
</script></html>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        settings = load_settings("smoke", device="cpu", architectures=["alexnet"], train_images=128, performer_epochs=4,
                                 explainer_epochs=3)
        yield experiment1.Run(settings, "alexnet", "dog")


@pytest.fixture(scope="module")
def names(run):
    return page_of.chosen(run)


@pytest.fixture(scope="module")
def male(run):
    settings = load_settings("smoke", device="cpu", face_train_images=256, face_epochs=4, attribute_epochs=3)
    return experiment2.Run(settings, "Male")


@pytest.fixture(scope="module")
def places(run, names, male, tmp_path_factory):
    """A page of animals, and one of faces."""
    folder = tmp_path_factory.mktemp("studio")
    given = [(flipped(male.settings, k), attributes(male.settings, k)) for k in range(2)]
    for name, view in (
        ("animals", studio.animal_studio("AlexNet", "dog", portable.of_animals(run), names, "A note.")),
        ("faces", studio.face_studio("VGG-16", "Male", portable.of_faces(male), given, FLIPPED, "No_Beard"))):
        (folder / f"{name}.html").write_text(
            SHELL % (view._css, view._esm.replace("export default", "const made ="), json.dumps(view.data)))
    return folder


def attributes(settings, face):
    has = faces.attributes_of(settings.data_seed, "test", face)
    return [has[ATTRIBUTES.index(name)] for name in FLIPPED]


@pytest.fixture(scope="module")
def said(run, names):
    """What the library says of the pictures as they are, by the view's names of the methods."""
    head, test = ranking.head_of(run), run.images("test")
    shown = run.measure(test.subset([test.ids.index(name) for name in names]), prior=True)
    return {method: ranking.explained_in(run, way, head, shown, run.measured("train"))[0] for method, way in WAYS.items()}


@pytest.fixture
def view(open_studio):
    return open_studio()


@pytest.fixture
def open_studio(browser, places):
    contexts, trouble, asked = [], [], []

    def opened(name="animals", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto((places / f"{name}.html").as_uri())
        found = page.locator(".sq-view.sq-studio")
        ready(found)
        return found

    yield opened
    for context in contexts:
        context.close()
    assert not trouble
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)


def ready(view):
    """Wait until the network has answered."""
    view.page.wait_for_function("() => document.querySelector('.sq-studio').dataset.state === 'ready'")


def groups_of(kind):
    return sorted({animals.GROUP_OF[part] for part in animals.PARTS_OF[kind]})


def without(name, groups, size=64):
    kind, *which = animals.parse_id(name)
    return animals.render(kind, *which, size, [p for p in animals.PARTS_OF[kind] if animals.GROUP_OF[p] in groups])[0]


def score_of(run, picture):
    return float(scores(run.performer(), torch.from_numpy(picture).permute(2, 0, 1)[None], run.settings))


def test_pictures_without_parts_are_the_drawings(view, names):
    chance = np.random.default_rng(0)
    for k, name in enumerate(names):
        groups = groups_of(name.partition("/")[0])
        for off in ([], groups, ["head"], [g for g in groups if chance.random() < 0.5]):
            pixels = np.array(view.page.evaluate("([k, off]) => pixels(k, { off })", [k, off]), np.uint8)
            np.testing.assert_array_equal(pixels.reshape(64, 64, 3), without(name, off))


def test_scores_and_contributions_are_the_librarys(view, run, names, said):
    groups = run.naming()[0]
    for k in (0, len(names) - 1):
        view.locator(".sq-thumbs input").nth(k).check()
        ready(view)
        shown = numbers(view)
        assert shown["score"] == pytest.approx(score_of(run, without(names[k], [])), abs=1e-3)
        for method, explanation in said.items():
            for p, group in enumerate(run.images("test").groups):
                if f"{method}-{group}" in shown:
                    assert shown[f"{method}-{group}"] == pytest.approx(
                        float(explanation.contributions[k, groups == p].sum()), abs=2e-3)
            assert shown[f"{method}-sum"] == pytest.approx(float(explanation.total[k]), abs=2e-3)
            assert shown[f"{method}-left over"] == pytest.approx(float(explanation.residual[k]), abs=2e-3)


def test_a_part_taken_away_changes_the_score_to_the_networks_and_stands_beside_what_was_said(view, run, names, said):
    before, groups = number(view, "score"), run.naming()[0]
    off = ["torso", "leg"]
    view.get_by_role("checkbox", name="torso, in the picture").click()
    view.get_by_role("checkbox", name="leg, in the picture").press("Space")
    ready(view)
    after = score_of(run, without(names[0], off))
    assert number(view, "score") == pytest.approx(after, abs=1e-3)
    assert number(view, "picture-network") == pytest.approx(after - before, abs=1e-3)
    members = sum(groups == list(run.images("test").groups).index(group) for group in off) > 0
    for method, explanation in said.items():
        foretold = -float(explanation.contributions[0, members].sum())
        assert number(view, f"picture-{method}") == pytest.approx(foretold, abs=2e-3)
        assert number(view, f"picture-{method}-off") == pytest.approx(foretold - (after - before), abs=3e-3)
    assert number(view, "ours-sum") == pytest.approx(float(said["ours"].total[0]), abs=2e-3)  # as it was
    view.get_by_role("radio", name="as it is now").check()
    assert number(view, "ours-left over") == pytest.approx(after - number(view, "ours-sum"), abs=1e-3)
    view.get_by_role("button", name="Start again").first.click()
    ready(view)
    assert number(view, "score") == pytest.approx(before, abs=1e-6)


def test_filters_switched_off_in_the_network(view, run, names, said):
    groups, p = run.naming()[0], int(run.naming()[0].max())
    group = run.images("test").groups[p]
    view.get_by_role("checkbox", name=f"filters of {group}, in the network").press("Space")
    ready(view)
    test = run.images("test")
    shown = run.measure(test.subset([test.ids.index(names[0])]))
    x = shown.x.clone()
    x[:, groups == p] = 0
    with torch.no_grad():
        fall = float(ranking.head_of(run)(x)) - float(shown.yhat)
    assert number(view, "network-network") == pytest.approx(fall, abs=1e-3)
    for method, explanation in said.items():
        assert number(view, f"network-{method}") == pytest.approx(
            -float(explanation.contributions[0, groups == p].sum()), abs=2e-3)


def test_the_tour_ends_with_whoever_was_nearest(view, run, names):
    text = view.locator(".sq-tour-text")
    assert re.search(r"64 × 64 pixels", text.inner_text())
    for _ in range(2):
        view.get_by_role("button", name="Next").press("Enter")
    assert view.locator('[aria-current="step"]').inner_text().endswith("Take the head away")
    text.get_by_role("button", name="Take the head away").press("Enter")
    ready(view)
    gone = [g for g in studio.HEAD if g in groups_of("dog")]
    assert number(view, "score") == pytest.approx(score_of(run, without(names[0], gone)), abs=1e-3)
    assert view.evaluate("(one) => one.contains(document.activeElement)")  # the focus is not lost
    view.get_by_role("button", name="Next").press("Enter")
    shown = numbers(view)
    nearest = min(WAYS, key=lambda m: abs(shown[f"picture-{m}-off"]))
    assert text.locator("[data-name=nearest]").inner_text() == nearest.replace("times", "×")
    view.page.wait_for_function("() => document.querySelector('.sq-studio [role=status]').textContent")
    assert "Nearest: " + nearest.replace("times", "×") in view.get_by_role("status").inner_text()
    text.get_by_role("button", name="switch its filters off").press("Enter")  # if any are named for what is gone
    ready(view)
    assert all(view.get_by_role("checkbox", name=f"{group}, in the picture").is_checked() for group in gone)
    shown = numbers(view)
    nearest = min(WAYS, key=lambda m: abs(shown[f"network-{m}-off"]))
    assert text.locator("[data-name=nearest]").inner_text() == nearest.replace("times", "×")
    assert "what the paper takes for the truth" in text.inner_text()


def test_parts_are_moved_coloured_and_exchanged_and_each_is_undone(view):
    before = number(view, "score")
    canvas = view.locator("canvas[role=application]")
    undo = view.get_by_role("button", name="Undo")
    view.get_by_role("radio", name="move").check()
    for act in (lambda: canvas.press("Shift+ArrowLeft"),
                lambda: view.get_by_role("slider", name="Colour").fill("120"),
                lambda: view.get_by_label("Instead").select_option(index=1)):
        act()
        ready(view)
        assert number(view, "score") != pytest.approx(before, abs=1e-6)
        assert "picture-ours" not in numbers(view)  # nobody had said anything of that
        undo.press("Enter")
        ready(view)
        assert number(view, "score") == pytest.approx(before, abs=1e-6)
    assert undo.is_disabled()


def test_what_is_rubbed_out_shows_the_scene(view, run, names):
    kind = names[0].partition("/")[0]
    view.get_by_role("radio", name="rub out").check()
    canvas = view.locator("canvas[role=application]")
    box = canvas.bounding_box()
    mouse = view.page.mouse
    mouse.move(box["x"] + 5, box["y"] + 5)
    mouse.down()
    for k in range(0, 26):  # all of it, line by line
        y = box["y"] + min(box["height"] - 2, 5 + k * box["height"] / 25)
        for x in (box["x"] + 2, box["x"] + box["width"] - 2):
            mouse.move(x, y, steps=2)
    mouse.up()
    ready(view)
    scene = score_of(run, without(names[0], groups_of(kind)))
    assert number(view, "score") == pytest.approx(scene, abs=1e-3)
    canvas.press("Control+z")
    ready(view)
    canvas.press("ArrowRight")
    canvas.press("Space")
    ready(view)
    assert view.get_by_role("button", name="Undo").is_enabled()


def test_a_drag_moves_the_part_that_was_taken_hold_of(view):
    view.get_by_role("radio", name="move").check()
    canvas = view.locator("canvas[role=application]")
    box, before = canvas.bounding_box(), number(view, "score")
    mouse = view.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.6)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] * 0.4, steps=4)
    mouse.up()
    ready(view)
    assert number(view, "score") != pytest.approx(before, abs=1e-6)
    view.get_by_role("button", name="Undo").click()  # one drag, one step
    ready(view)
    assert number(view, "score") == pytest.approx(before, abs=1e-6)


def test_a_picture_of_ones_own_stays_in_the_page(view, run, tmp_path):
    side = 1024  # a multiple of what it is shown at, so that the means are exact
    picture = (np.indices((side, side)).sum(axis=0)[:, :, None] * np.array([1, 2, 3]) // 32 % 256).astype(np.uint8)
    wide = np.concatenate([np.zeros((side, 100, 3), np.uint8), picture, np.zeros((side, 100, 3), np.uint8)], axis=1)
    Image.fromarray(wide).save(tmp_path / "own.png")
    view.locator("input[type=file]").set_input_files(tmp_path / "own.png")
    view.page.wait_for_function("() => document.querySelector('.sq-stage canvas').getAttribute('aria-label') === 'your own picture'")
    ready(view)
    assert "nothing is sent anywhere" in view.inner_text()
    small = picture.reshape(64, 16, 64, 16, 3).mean(axis=(1, 3))
    assert number(view, "score") == pytest.approx(score_of(run, small.round().astype(np.uint8)), abs=0.1)
    assert view.get_by_role("checkbox", name="torso, in the picture").is_disabled()
    (tmp_path / "own.txt").write_text("no picture")
    view.locator("input[type=file]").set_input_files(tmp_path / "own.txt")
    view.get_by_role("alert").get_by_text("no picture that this browser can read").wait_for()
    view.locator(".sq-thumbs input").first.check()
    ready(view)
    assert view.get_by_role("checkbox", name="torso, in the picture").is_enabled()


DROPPED = """async ([name, address]) => {
  const given = new DataTransfer();
  given.items.add(new File([await (await fetch(address)).blob()], name, { type: "image/png" }));
  const stage = document.querySelector(".sq-stage");
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true });
    if (stage.dispatchEvent(event)) throw new Error(`the browser would open the file: ${kind}`);
  }
}"""


def test_a_picture_may_be_dropped_on_the_studio(view, tmp_path):
    first = number(view, "score")
    path = tmp_path / "own.png"
    Image.fromarray((np.indices((96, 96)).sum(axis=0)[:, :, None] * np.array([1, 2, 3]) % 256).astype(np.uint8)).save(path)
    view.locator("input[type=file]").set_input_files(path)
    view.page.wait_for_function("() => document.querySelector('.sq-stage canvas').getAttribute('aria-label') === 'your own picture'")
    ready(view)
    chosen = number(view, "score")
    view.locator(".sq-thumbs input").first.check()
    ready(view)
    assert number(view, "score") == first != chosen
    view.page.evaluate(DROPPED, ["own.png", "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()])
    view.page.wait_for_function("() => document.querySelector('.sq-stage canvas').getAttribute('aria-label') === 'your own picture'")
    ready(view)
    assert number(view, "score") == chosen


def test_a_face_is_drawn_with_attributes_flipped(open_studio, male):
    view = open_studio("faces")
    settings, off = male.settings, ["Eyeglasses", "No_Beard"]
    drawn = faces.render(settings.data_seed, "test", 0, settings.face_size, off)
    pixels = view.page.evaluate("(off) => pixels(0, { off })", off)
    np.testing.assert_array_equal(np.array(pixels, np.uint8).reshape(drawn.shape), drawn)
    before = number(view, "score")
    for name in ("eyeglasses", "no beard"):
        view.get_by_role("checkbox", name=f"{name}, in the picture").press("Space")
    ready(view)
    logits = scores(male.performer(), torch.from_numpy(drawn).permute(2, 0, 1)[None], settings)
    after = float(logits[0, experiment2.target_index("Male")])
    assert number(view, "picture-network") == pytest.approx(after - before, abs=2e-3)
    for method in ("ours", "baseline"):
        explained = male.explainer(method).explain_measured(male.measured("test")[[0]])
        names = [ATTRIBUTES[i] for i in experiment2.concepts_of("Male")]
        foretold = -sum(float(explained.contributions[0, names.index(name)]) for name in off)
        assert number(view, f"picture-{method}") == pytest.approx(foretold, abs=2e-3)
        assert number(view, f"{method}-sum") == pytest.approx(float(explained.total[0]), abs=5e-3)
    view.get_by_role("button", name="Change one thing").press("Enter")
    view.locator("[data-name=lead]").press("Enter")  # flips no beard back
    ready(view)
    assert view.get_by_role("checkbox", name="no beard, in the picture").is_checked()
    for title in ("The explanations", "Who was right?"):
        view.get_by_role("button", name=title).press("Enter")
    assert "With “eyeglasses” flipped" in view.locator(".sq-tour-text").inner_text()


@pytest.mark.parametrize("name", ["animals", "faces"])
@pytest.mark.parametrize("options", [{}, {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}])
def test_everybody_can_use_it(open_studio, axe, name, options):
    view = open_studio(name, **options)
    assert not sticking_out(view.page)
    assert not violations(view.page, axe)


def test_a_part_is_taken_away_by_a_click_on_it_and_a_scroll_takes_none(view, run, names):
    canvas = view.locator("canvas[role=application]")
    box = canvas.bounding_box()
    labels = animals.render(*animals.parse_id(names[0]))[1]
    y, x = np.argwhere(labels == 1 + animals.PARTS.index("torso")).tolist()[0]
    spot = {"x": (x + 0.75) * box["width"] / 64, "y": (y + 0.75) * box["height"] / 64}  # that fine pixel
    canvas.dispatch_event("pointerdown", {"clientX": box["x"] + spot["x"], "clientY": box["y"] + spot["y"], "pointerType": "touch"})
    canvas.dispatch_event("pointercancel", {})
    ready(view)
    assert view.get_by_role("checkbox", name="torso, in the picture").is_checked()
    canvas.click(position=spot)
    ready(view)
    assert not view.get_by_role("checkbox", name="torso, in the picture").is_checked()
    assert number(view, "score") == pytest.approx(score_of(run, without(names[0], ["torso"])), abs=1e-3)


def test_what_is_printed_adds_up_and_a_bird_has_no_ears_to_take_away(view, names):
    bird = next(k for k, name in enumerate(names) if name.startswith("bird"))
    view.locator(".sq-thumbs input").nth(bird).check()
    ready(view)
    view.get_by_role("button", name="Take the head away").press("Enter")
    view.locator("[data-name=lead]").press("Enter")
    ready(view)
    assert "Without eye, mouth & nose and head." in view.inner_text()
    said = {name: float(view.locator(f'[data-name="{name}"]').inner_text().replace("−", "-").rstrip(" ◂"))
            for name in ("before", "score", "change", "picture-network", *(f"picture-{m}{off}" for m in WAYS for off in ("", "-off")))}
    assert said["score"] - said["before"] == pytest.approx(said["change"], abs=1e-9)
    assert said["picture-network"] == said["change"]
    for m in WAYS:
        assert abs(said[f"picture-{m}"] - said["change"]) == pytest.approx(said[f"picture-{m}-off"], abs=1e-9)
