"""The fit in the page: its arithmetic against torch's, and what is seen of it, by keyboard."""

import json
import math
from pathlib import Path

import pytest
import torch
from browser.reading import number, numbers, sticking_out, views
from torch.nn import functional as F

from semquant import metrics
from semquant.concepts import Measured
from semquant.losses import distillation_loss, prior_cross_entropy, prior_weight
from semquant.training import OPTIMIZERS, cosine
from semquant_book.study import trajectories
from semquant_book.study.presets import project_root
from semquant_book.study.store import read_record
from semquant_book.views import fitting
from semquant_book.views.widgets import VIEWS

PAGE = "book/method/bias_interpreting"
PATIENCE = 60_000  # milliseconds that a fit may take; alone on two cores it takes a tenth
N, n, d, HIDDEN, EPOCHS, STEPS = 12, 6, 24, 8, 4, 5


# ---- the arithmetic --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tensors():
    draw = torch.Generator().manual_seed(1)
    uniform = lambda *shape: torch.rand(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    w = (uniform(N, n) - 0.3).clamp_min(0)
    w[0] = 0  # an image that the prior says nothing of
    return {"x": 2 * (uniform(N, d) - 0.5).clamp_min(0), "y": 3 * uniform(N, n), "yhat": 6 * uniform(N) - 3, "w": w}


@pytest.fixture(scope="module")
def in_browser(browser, tensors):
    """Run the page's functions in Chromium: the starting weights, and all that is seen of a fit."""
    page = browser.new_page()
    text = (VIEWS / "descent.mjs").read_text()
    fixed = {"N": N, "n": n, "d": d, "hidden": HIDDEN, "epochs": EPOCHS, "perEpoch": STEPS, "every": 1, "seed": 3,
             "biasRate": 30, "decay": 1e-2, "positive": [1] * N} | {k: v.flatten().tolist() for k, v in tensors.items()}

    def run(**options):
        return page.evaluate("([text, problem]) => { const { startingWeights, fitted } = new Function("
                             "`${text}; return { startingWeights, fitted };`)(); return { weights: Object.fromEntries("
                             "Object.entries(startingWeights(problem)).map(([k, v]) => [k, [...v]])), "
                             "seen: [...fitted(problem)] }; }", [text, fixed | options])
    yield run
    page.close()


def by_torch(tensors, weights, optimizer, start, beta, rate):
    """The same fit by torch and the library's losses: what there is before each step, and after the last."""
    x, y, yhat, w = (tensors[name] for name in ("x", "y", "yhat", "w"))
    g = {name: torch.tensor(values, dtype=torch.float64) for name, values in weights.items()}
    g = {"W1": g["W1"].view(d, HIDDEN), "W2": g["W2"].view(HIDDEN, n)} | {k: v for k, v in g.items() if k not in ("W1", "W2")}
    b = yhat.min().clone().requires_grad_()
    for values in g.values():
        values.requires_grad_()

    def weigh():
        h = F.relu(F.batch_norm(x @ g["W1"], None, None, g["gain"], g["c1"], training=True))
        return scale * F.softplus(h @ g["W2"] + g["c2"])

    scale = 1.0
    if start == "fitting":
        scale = float(yhat.std() / (weigh() * y).sum(1).square().mean().sqrt().detach())
    descent = OPTIMIZERS[optimizer]([{"params": list(g.values())}, {"params": [b], "lr": 30 * rate, "weight_decay": 0.0}],
                                    lr=rate, weight_decay=1e-2)
    schedule, found = cosine(descent, EPOCHS * STEPS), []
    for step in range(EPOCHS * STEPS + 1):
        alpha = weigh()
        loss = distillation_loss(yhat, alpha, y, b)
        if beta:
            loss = loss + prior_weight(min(step // STEPS, EPOCHS - 1) + 1, beta) * prior_cross_entropy(alpha, w)
        c = (alpha * y).detach()
        share = c / c.sum(1, keepdim=True)
        found.append({"loss": float(loss.detach()), "entropy": float(metrics.contribution_entropy(c).mean()) / math.log(n),
                      "deviation": float(metrics.relative_deviation(yhat, (c.sum(1) + b).detach()).mean()), "b": float(b.detach()),
                      "shares": share.sort(1, descending=True).values.mean(0).tolist(), "alpha": alpha.mean(0).tolist()})
        descent.zero_grad()
        loss.backward()
        descent.step()
        schedule.step()
    return found


@pytest.mark.parametrize("beta", [0, 10])
@pytest.mark.parametrize("optimizer, start, rate", [("sgd", "high", 1e-3), ("sgd", "fitting", 3e-3), ("adamw", "high", 1e-2),
                                                    ("adamw", "fitting", 1e-2)])
def test_every_step_is_torchs(in_browser, tensors, optimizer, start, beta, rate):
    found = in_browser(optimizer=optimizer, start=start, beta=beta, rate=rate)
    wanted = by_torch(tensors, found["weights"], optimizer, start, beta, rate)
    assert len(found["seen"]) == len(wanted) == 21 and found["seen"][-1]["done"]
    for mine, torchs in zip(found["seen"], wanted):
        for name, value in torchs.items():
            assert mine[name] == pytest.approx(value, rel=1e-6), (mine["step"], name)
        assert mine["largest"] == mine["shares"][0]
    assert abs(wanted[-1]["loss"] / wanted[0]["loss"] - 1) > 0.1  # it went somewhere


def test_a_seed_gives_the_same_numbers_and_another_one_others(in_browser):
    how = dict(optimizer="sgd", start="high", beta=1, rate=1e-3)
    first, again, other = in_browser(**how), in_browser(**how), in_browser(**how, seed=4)
    assert first == again and first["seen"][0]["loss"] != other["seen"][0]["loss"]


def test_a_fit_that_diverges_says_so_and_ends(in_browser):
    seen = in_browser(optimizer="sgd", start="high", beta=0, rate=1e6)["seen"]
    assert seen[-1]["failed"] and not seen[-1]["done"] and len(seen) < 21


# ---- the view --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A page with the view alone, as a file."""
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(40, 9, 8, 8, generator=draw) - 0.8).clamp_min(0)
    y = x.sum((2, 3))
    w = torch.rand(40, 9, generator=draw)
    record = read_record(project_root() / "book" / "records" / f"{trajectories.RECORD}.json")
    made = fitting.explore(Measured(x, y, (w * y).sum(1) - 3, w), torch.arange(40) < 30, record, "A note.")
    path = tmp_path_factory.mktemp("fit") / "fit.html"
    path.write_text(f"<!doctype html><html lang='en'><meta charset='utf-8'><title>A fit</title><style>{made._css}</style>"
                    "<main id='place'></main><script type='module'>" + made._esm.replace("export default", "const made =")
                    + f"const data = {json.dumps(made.data)};\nmade.render({{ model: {{ get: () => data, on() {{}}, off() {{}} }}, "
                    "el: document.querySelector('#place') });</script></html>")
    return path.as_uri()


@pytest.fixture
def opened(browser, alone):
    """Open the page; an error of a script fails the test."""
    contexts, errors = [], []

    def open_it(script="", **options):
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(script)
        page.goto(alone)
        page.wait_for_selector(".sq-view[data-ready]")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not errors


def ended(view):
    view.locator('.sq-fit[data-finished="true"]').wait_for(timeout=PATIENCE)
    return numbers(view)


def press(view):
    view.get_by_role("button", name="Fit g").press("Enter")


def test_a_run_by_keyboard_and_a_second_one_beside_it(opened):
    page = opened()
    assert "not fitted yet" in page.locator(".sq-words").inner_text()
    press(page)
    assert page.get_by_role("button", name="Stop").evaluate("(node) => node === document.activeElement")
    first = ended(page)
    assert first["epoch"] == 20 and first["entropy-start"] != first["entropy"]
    said = page.get_by_role("status").inner_text()
    assert f"SGD, high start, β = 0, rate 0.00003, seed 0: H / ln n went from {first['entropy-start']:.3f} to {first['entropy']:.3f}" in said
    bars = page.locator("[data-rank]").evaluate_all("(all) => all.map((bar) => +bar.dataset.value)")
    assert len(bars) == 9 and bars == sorted(bars, reverse=True) and sum(bars) == pytest.approx(1)
    assert bars[0] == pytest.approx(first["largest"])
    assert page.locator(".sq-run").count() == 1 and page.locator("[data-recorded]").count() == 2

    page.get_by_role("slider", name="Strength").press("End")
    page.get_by_role("radio", name="SGD").press("ArrowRight")
    assert page.get_by_label("Learning rate").input_value() == "0.01"
    page.get_by_role("radio", name="high").press("ArrowRight")
    press(page)
    second = ended(page)
    assert "AdamW, fitting start, β = 100" in page.locator(".sq-words").inner_text()
    assert page.locator(".sq-run").count() == 2 and page.locator("table tbody tr").count() == 7
    cells = page.locator("table tbody tr").nth(2).locator("td").all_inner_texts()
    assert cells == [f"{second['entropy']:.3f}", f"{first['entropy']:.3f}"]


def test_the_same_choice_gives_the_same_numbers_with_a_worker_and_without(opened):
    found = []
    for script in ("", "delete window.Worker", "window.Worker = class { constructor() { throw new Error('not here'); } }"):
        page = opened(script)
        press(page)
        found.append(ended(page))
    assert found[0] == found[1] == found[2]


def test_it_can_be_stopped(opened):
    page = opened()
    # so many epochs that it is under way still
    page.evaluate("() => { const post = Worker.prototype.postMessage; Worker.prototype.postMessage = function (problem) "
                  "{ post.call(this, { ...problem, perEpoch: 100000 }); }; }")
    press(page)
    page.wait_for_function("() => document.querySelector('[data-name=epoch]')")
    page.get_by_role("button", name="Stop").press("Enter")
    assert "stopped" in page.get_by_role("status").inner_text()
    epoch = number(page, "epoch")
    for _ in range(100):
        page.wait_for_timeout(100)
        if not page.workers:
            break
    assert number(page, "epoch") == epoch and not page.workers
    assert page.get_by_role("button", name="Fit g").count() == 1


def test_a_phone_in_the_dark_with_little_motion(opened):
    page = opened(viewport={"width": 390, "height": 800}, color_scheme="dark", reduced_motion="reduce", has_touch=True)
    for _ in range(2):
        page.get_by_role("button", name="Fit g").tap()
        ended(page)
    assert page.locator("table tbody tr").count() == 7 and not sticking_out(page)


def test_the_one_in_the_book_fits_the_performers_own_images(open_page, record_property):
    page = open_page(PAGE)
    (view,) = views(page, "fit")
    press(view)
    found = ended(view)
    assert found["epoch"] == 20 and math.isfinite(found["distillation"])
    record_property("figure", f"a fit in the page: {view.locator('.sq-words').inner_text().rpartition('(')[2].removesuffix(').')}")
    assert Path(open_page.html / f"{PAGE}.html").stat().st_size < 3_000_000
