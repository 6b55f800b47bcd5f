"""The network in the browser: what it computes from a file, in a worker and without, is the library's."""

import base64
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from semquant import grad_cam, parts
from semquant.corrected import Correction
from semquant.explainers import Explainer, ExplainerOptions
from semquant.networks import performers
from semquant_book.study import experiment1, experiment2, portable, ranking
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import load_settings
from semquant_book.views.widgets import VIEWS

IMAGES = 50
NEAR = 1e-3  # of the spread over the images
WAYS = {"ours": "ours_scaled", "baseline": "baseline_scaled", "corrected": "corrected",
        "gradient times input": "gradient_times_input"}
PAGE = """<!doctype html><meta charset="utf-8"><title>engine</title><script type="module">
%s
const packed = %s;
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
window.engine = (options) => makeEngine(packed, options);
window.ask = async (pictures, off, options) => {
  const engine = makeEngine(packed, options), said = [];
  for (const text of pictures) said.push(await engine.run({ pixels: bytes(text), off }));
  const where = await engine.where;
  engine.close();
  return JSON.stringify({ where, said }, plain);
};
window.bytes = bytes;
window.ready = true;
</script>"""


@dataclass
class Case:
    """A trained network, packed, with the images that it is asked about."""

    run: experiment1.Run | experiment2.Run
    packed: dict
    images: torch.Tensor  # (50, 3, S, S) uint8


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        yield replace(load_settings("smoke", device="cpu"), architectures=("alexnet",), train_images=128,
                      test_images=IMAGES, performer_epochs=4, explainer_epochs=3, face_train_images=256,
                      face_epochs=4, attribute_epochs=3)


@pytest.fixture(scope="module")
def animals(settings):
    run = experiment1.Run(settings, "alexnet", "dog")
    return Case(run, portable.of_animals(run), run.images("test").images)


@pytest.fixture(scope="module")
def faces(settings):
    run = experiment2.Run(settings, "Male")
    return Case(run, portable.of_faces(run), faces_of(settings, "test").images[:IMAGES])


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """Opens the page of a case from a file, without a network; a script may come before its own."""
    pages = []

    def opened(case: Case, before: str = ""):
        place = page_of(case, tmp_path_factory.mktemp("page"))
        context = browser.new_context(offline=True)
        page = context.new_page()
        page.asked, page.trouble = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        page.on("console", lambda message: page.trouble.append(message.text))
        if before:
            page.add_init_script(before)
        page.goto(place.as_uri())
        page.wait_for_function("window.ready")
        pages.append((page, place))
        return page

    yield opened
    for page, place in pages:
        outside = [url for url in page.asked if not url.startswith(("blob:", "data:", place.as_uri()))]
        page.context.close()
        assert not outside and not page.trouble


def page_of(case: Case, folder: Path) -> Path:
    place = folder / "page.html"
    place.write_text(PAGE % ((VIEWS / "engine.mjs").read_text(), json.dumps(case.packed)))
    return place


def texts(images):
    """Pixels (S, S, 3) of each image, as base 64."""
    return [base64.b64encode(image.contiguous().numpy().tobytes()).decode() for image in images.permute(0, 2, 3, 1)]


def ask(page, images, off=None, options=None) -> dict:
    """What the engine says of images; `page` is any browser's that evaluates a function of one argument."""
    return json.loads(page.evaluate("([pictures, off, options]) => ask(pictures, off, options ?? {})",
                                    [texts(images), off, options]))


def column(said, *names):
    """What was said of all images by a name, or one within another, as a tensor (B, ...)."""
    for name in names:
        said = [one[name] for one in said]
    return torch.tensor(said, dtype=torch.float64)


def near(said, right, record_property=None, what=""):
    """Whether numbers (B, ...) are the library's, up to a thousandth of each one's spread over images."""
    right = right.detach().double()
    far, spread = (said - right).abs().amax(dim=0), right.std(dim=0)
    if record_property:
        shown = (far / spread)[spread > 0]
        record_property("figure", f"{what}: {float(shown.max()):.1e} of the spread at most, of {shown.numel()}")
    assert bool((far <= NEAR * spread + 1e-6).all()), f"{what}: {float((far - NEAR * spread).max()):.2g} too far"


@pytest.fixture(scope="module")
def asked_of_animals(opened, animals):
    return ask(opened(animals), animals.images)["said"]


def test_scores_and_filters_are_those_of_the_library(asked_of_animals, animals, record_property):
    measured = animals.run.measure(animals.run.images("test"), prior=True)
    near(column(asked_of_animals, "score"), measured.yhat, record_property, "score")
    near(column(asked_of_animals, "y"), measured.y, record_property, "y")
    near(column(asked_of_animals, "x", "values").view(measured.x.shape), measured.x)


@pytest.mark.parametrize("name", WAYS)
def test_contributions_of_each_method_are_those_of_the_library(name, asked_of_animals, animals, record_property):
    run = animals.run
    shown = run.measure(run.images("test"), prior=True)
    said, _ = ranking.explained_in(run, WAYS[name], ranking.head_of(run), shown, run.measured("train"))
    found = [one["methods"][name] for one in asked_of_animals]
    near(column(found, "contributions"), said.contributions, record_property, name)
    near(column(found, "total"), said.total, record_property, f"{name}, total")
    near(column(found, "alpha") * column(asked_of_animals, "y"), said.contributions)
    assert found[0]["bias"] == pytest.approx(said.bias, rel=1e-4)
    if name == "gradient times input":
        near(column(asked_of_animals, "gradient"), said.contributions)


def test_filters_that_are_off_are_removed_from_the_network(opened, animals, record_property):
    run, n = animals.run, animals.run.performer().n
    off = [int(i % 3 == 0) for i in range(n)]
    said = ask(opened(animals), animals.images, off)["said"]
    measured = run.measure(run.images("test"), prior=True)
    head = ranking.head_of(run)
    drops = parts.drops(head, measured.x, torch.tensor(off) - 1, 1)[:, 0]  # of the one group there is
    near(column(said, "score"), measured.yhat - drops, record_property, "score without filters")
    present = 1 - torch.tensor(off)
    x = measured.x * present[:, None, None]
    without = replace(measured, x=x, y=measured.y * present, yhat=head(x).detach())
    for name in WAYS:
        right, _ = ranking.explained_in(run, WAYS[name], head, without, measured)
        near(column([one["methods"][name] for one in said], "contributions"), right.contributions,
             record_property, f"{name} without filters")


def test_heat_maps_are_those_of_grad_cam(asked_of_animals, animals, record_property):
    net = animals.run.performer()
    right = grad_cam(net, "mask", net.prepare(animals.images), 0)
    shape, said = asked_of_animals[0]["cam"]["shape"], column(asked_of_animals, "cam", "values")
    said = F.interpolate(said.view(IMAGES, 1, *shape), size=right.shape[1:], mode="bilinear")[:, 0]
    near(said.flatten(1), right.flatten(1), record_property, "Grad-CAM")


def test_faces_are_explained_as_in_the_library(opened, faces, record_property):
    run = faces.run
    said, shown = ask(opened(faces), faces.images)["said"], run.measured("test")[torch.arange(IMAGES)]
    near(column(said, "score"), shown.yhat, record_property, "score of a face")
    near(column(said, "y"), shown.y, record_property, "other outputs")
    near(column(said, "logits"), run.outputs("test").scores[:IMAGES], record_property, "all outputs")
    for method in ("ours", "baseline"):
        right = run.explainer(method).explain_measured(shown)
        found = [one["methods"][method] for one in said]
        near(column(found, "contributions"), right.contributions, record_property, f"{method} of a face")
        near(column(found, "total"), right.total, record_property, f"{method} of a face, total")


@pytest.mark.parametrize(("architecture", "interpretable", "depth"),
                         [("alexnet", 2, 50), ("vgg_m", 1, 18), ("vgg_s", 1, "small"), ("vgg16", 0, 18)])
def test_other_networks_and_sizes_of_g_are_computed_too(architecture, interpretable, depth, opened):
    torch.manual_seed(0)
    net = performers.build(architecture, size=64, width=0.0625, outputs=2, interpretable=interpretable)
    g, images = Explainer(net.n, net.n, net.map_size, ExplainerOptions(depth)), torch.randint(
        256, (20, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(20):  # running means of what it sees
            g.train()(net.train().maps(net.prepare(images))[1])
        x = net.eval().maps(net.prepare(images))[1]
        y, alpha, logits = x.sum(dim=(2, 3)), g.eval()(x), net.head(x)
    packed = portable.performer(net) | {"kind": "filters", "output": 1, "correction": None,
                                        "explainers": {"ours": portable.explainer(g)}}
    said = ask(opened(Case(None, packed, images)), images)["said"]
    near(column(said, "logits"), logits)
    near(column(said, "y"), y)
    near(column([one["methods"]["ours"] for one in said], "contributions"), alpha * y)


def test_a_network_of_the_quick_presets_size_answers_while_a_slider_moves(opened, record_property):
    net = performers.build("alexnet", size=64, width=0.25)
    g = portable.explainer(Explainer(net.n, net.n, net.map_size))
    packed = portable.performer(net) | {
        "kind": "filters", "output": 0, "correction": portable.correction_of(Correction(net.n, 64)),
        "explainers": {"ours": g, "baseline": g}}
    images = torch.randint(256, (21, 3, 64, 64), dtype=torch.uint8)
    taken = statistics.median(one["ms"] for one in ask(opened(Case(None, packed, images)), images)["said"])
    record_property("figure", f"AlexNet and all that explains it: {taken:.0f} ms in the browser")
    assert taken < 150


@pytest.mark.parametrize("before", [
    "", "delete window.Worker", "window.Worker = class { constructor() { throw new Error('none'); } }",
    "const Own = Worker; window.Worker = class extends Own { constructor() { super('data:,throw 1'); } }"])
def test_without_a_worker_the_page_computes_the_same(before, opened, animals, asked_of_animals):
    few = animals.images[:3]
    found = ask(opened(animals, before), few, options=None if before else {"worker": False})
    assert found["where"] == "page"
    assert [one | {"ms": 0} for one in found["said"]] == [one | {"ms": 0} for one in asked_of_animals[:3]]


def test_a_worker_computes_where_there_can_be_one(opened, animals):
    assert ask(opened(animals), animals.images[:1])["where"] == "worker"


@pytest.mark.parametrize("name", ["Firefox", "WebKit"])
def test_other_browsers_compute_the_same(name, animals, asked_of_animals, tmp_path):
    driving = pytest.importorskip("browser.driving")
    if name in driving.engines.left_out():
        pytest.skip(f"{name} is not on this machine")
    page_of(animals, tmp_path)
    page = getattr(driving, name)(tmp_path)
    try:
        page.open("page")
        page.wait("() => window.ready === true")
        found = {worker: ask(page, animals.images, options={"worker": worker}) for worker in (True, False)}
        trouble = page.trouble()
    finally:
        page.close()
    assert not trouble
    for worker, answer in found.items():
        assert answer["where"] == ("worker" if worker else "page")
        for names in (["score"], ["y"], ["cam", "values"],
                      *(["methods", method, "contributions"] for method in WAYS)):
            torch.testing.assert_close(column(answer["said"], *names), column(asked_of_animals, *names),
                                       rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("worker", [True, False])
def test_only_the_latest_request_waits(worker, opened, animals, asked_of_animals):
    scores = opened(animals).evaluate("""async ([pictures, worker]) => {
      const one = engine({ worker });
      await one.run({ pixels: bytes(pictures[0]) });
      const said = await Promise.all(pictures.map((text) => one.run({ pixels: bytes(text) })));
      one.close();
      return [...said, await one.run({ pixels: bytes(pictures[0]) })].map((each) => each && each.score);
    }""", [texts(animals.images[:6]), worker])
    first, *between, last, closed = scores
    assert [first, last] == [asked_of_animals[0]["score"], asked_of_animals[5]["score"]]
    assert between == [None] * 4 and closed is None


def test_what_is_left_when_it_is_closed_is_answered(opened, animals):
    assert opened(animals).evaluate("""async ([picture]) => {
      const one = engine(), pixels = bytes(picture);
      const asked = [one.run({ pixels }), one.run({ pixels })];
      one.close();
      return Promise.all(asked);
    }""", texts(animals.images[:1])) == [None, None]


@pytest.mark.parametrize("worker", [True, False])
def test_pixels_of_another_size_are_refused_and_the_next_are_not(worker, opened, animals, asked_of_animals):
    said, score = opened(animals).evaluate("""async ([picture, worker]) => {
      const one = engine({ worker });
      const said = await one.run({ pixels: bytes(picture).slice(3) }).catch((error) => error.message);
      const found = [said, (await one.run({ pixels: bytes(picture) })).score];
      one.close();
      return found;
    }""", [*texts(animals.images[:1]), worker])
    assert said.removeprefix("Uncaught Error: ") == "pixels: 12285 numbers; accepted: 64 x 64 x 3"
    assert score == asked_of_animals[0]["score"]


def test_weights_of_12_bits_are_read_as_they_are_rounded(opened, animals, asked_of_animals):
    explainers = {method: portable.coarser(one) for method, one in animals.packed["explainers"].items()}
    assert explainers != animals.packed["explainers"]
    coarse = replace(animals, packed=animals.packed | {"explainers": explainers})
    said = ask(opened(coarse), animals.images)["said"]
    for method in explainers:
        alpha, right = (column(one, "methods", method, "alpha") for one in (said, asked_of_animals))
        assert float((alpha - right).abs().mean() / right.abs().mean()) < 0.01
    assert column(said, "score").equal(column(asked_of_animals, "score"))
