"""Views with a kernel: in the built page without one, and with one that is played by the test."""

import json
import re
import shlex

import pytest
from browser.reading import views

from semquant_book.pages.form import NotebookForm
from semquant_book.study.presets import project_root
from semquant_book.views.redistill import Redistill

PAGE = "book/reproduce/live"
MEASURES = ("entropy", "deviation", "accuracy")
# a model as anywidget gives one to a view, whose kernel is the test: what is sent is kept, and
# `put` and `answer` are what a kernel would do
PLAYED = """<!doctype html><meta charset="utf-8"><title>view</title><style>{css}</style>
<button id="before">before</button><div id="el"></div>
<script type="module">
const state = {state}, listeners = {{}};
const emit = (name, ...what) => [...(listeners[name] ?? [])].forEach((f) => f(...what));
window.sent = [];
window.put = (name, value) => {{ state[name] = value; emit(`change:${{name}}`); }};
window.answer = () => emit("msg:custom", {{ heard: "it" }});
const model = {{
  get: (name) => state[name], set() {{}}, save_changes() {{}},
  send: (content) => window.sent.push(content),
  on: (name, f) => (listeners[name] ??= []).push(f),
  off: (name, f) => {{ listeners[name] = (listeners[name] ?? []).filter((g) => g !== f); }},
}};
const script = {script};
const {{ default: view }} = await import(URL.createObjectURL(new Blob([script], {{ type: "text/javascript" }})));
view.render({{ model, el: document.querySelector("#el") }});
</script>"""


def as_script(value) -> str:
    return json.dumps(value).replace("</", "<\\/")


@pytest.fixture
def played(open_page, tmp_path):
    """Open a view with a kernel that the test plays; returns the page and the view."""

    def open_view(view, **options):
        state = {name: value for name, value in view.get_state().items()
                 if name in ("data", "status", "runs")}
        path = tmp_path / "view.html"
        path.write_text(PLAYED.format(css=view._css, state=as_script(state),
                                      script=as_script(view._esm)))
        page = open_page(path, **options)
        page.locator(".sq-view[data-ready]").wait_for()
        return page, page.locator(".sq-view")

    return open_view


@pytest.fixture
def redistill():
    from test_redistill import N, SETTINGS, measured

    test = measured(20, 1)
    return Redistill(measured(), test, labels=test.yhat > 1.5, settings=SETTINGS,
                     groups={"head": range(3), "tail": range(3, N)})


@pytest.fixture
def form(tmp_path):
    return NotebookForm(project_root() / "book" / "experiment1" / "alexnet.ipynb",
                        tmp_path / "it's here" / "copy.ipynb")


def told(page, command):
    """What was sent last with a command."""
    return page.evaluate("(name) => window.sent.filter((m) => m.do === name).at(-1)", command)


def put_status(page, view, **changes):
    page.evaluate("(status) => window.put('status', status)", view.status | changes)


# --- without a kernel -----------------------------------------------------------------------------


def test_the_built_page_says_what_it_needs_and_shows_the_last_results(open_page, html):
    page = open_page(PAGE)
    shown = views(page, "redistill") + views(page, "form")
    assert len(shown) == 3
    state = json.loads(re.search(
        r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>',
        (html / f"{PAGE}.html").read_text(), re.S)[1])["state"]
    runs = [model["state"]["runs"] for model in state.values() if model["state"].get("runs")]
    assert len(runs) == 2
    for view in shown:
        note = view.locator("[data-name=kernel]")
        assert note.is_visible()
        assert note.inner_text().startswith("These controls need a kernel: run make lab in a copy")
        assert view.locator("input, select, button").evaluate_all(
            "(all) => all.filter((one) => !one.matches(':disabled')).map((one) => one.textContent)"
        ) == (["Copy"] if "sq-form" in view.get_attribute("class") else [])
    said = [[{name: float(view.locator(f'tr[data-run="{k}"] [data-name={name}]')
                           .get_attribute("data-value")) for name in MEASURES} for k in (1, 2)]
            for view in shown[:2]]
    kept = [[{name: row[name] for name in MEASURES}
             for row in sorted(rows, key=lambda row: row["number"])] for rows in runs]
    assert said in (kept, kept[::-1])  # a notebook keeps its models in no order
    assert "--parameters" in shown[2].locator("[data-name=command]").inner_text()


# --- with a kernel that the test plays ------------------------------------------------------------


def test_controls_wait_for_an_answer(played, redistill):
    page, view = played(redistill)
    run = view.get_by_role("button", name="Run")
    assert told(page, "hello") == {"do": "hello"}
    assert view.locator("[data-name=kernel]").inner_text() == "Asking the kernel ..."
    assert run.is_disabled()
    view.locator("[data-name=kernel][data-state=none]").wait_for()  # after some seconds
    assert view.locator("[data-name=kernel]").inner_text().startswith("No kernel answers: ")
    assert page.evaluate("window.sent.length") > 1  # and it was asked again
    page.evaluate("window.answer()")
    assert run.is_enabled() and view.locator("[data-name=kernel]").is_hidden()
    assert view.get_by_role("button", name="Stop").is_disabled()


def test_settings_go_to_the_kernel_as_they_are(played, redistill):
    page, view = played(redistill)
    page.evaluate("window.answer()")
    view.get_by_role("combobox", name="Prior").select_option("permuted")
    view.get_by_role("spinbutton", name="β").fill("2.5")
    view.get_by_role("radio", name="chosen").check()
    view.get_by_role("checkbox", name="tail").uncheck()
    epochs = view.get_by_role("spinbutton", name="Epochs")
    epochs.fill("3")
    epochs.press("Enter")  # as the button
    asked = told(page, "run")
    assert asked == {"do": "run", "prior": "permuted", "beta": 2.5, "epochs": 3, "seed": 0,
                     "scale": "scaled", "concepts": ["head"], "draw": 0}
    view.get_by_role("radio", name="drawn").check()
    view.get_by_role("spinbutton", name="How many").fill("4")
    view.get_by_role("spinbutton", name="Draw").fill("2")
    view.get_by_role("button", name="Run").click()
    assert told(page, "run") | {"concepts": 4, "draw": 2} == told(page, "run")
    # the kernel takes just that
    redistill._heard(redistill, told(page, "run"), [])
    row = redistill.wait().runs[-1]
    assert row["settings"]["concepts"] == 4 and row["settings"]["prior"] == "permuted"
    # and its row is the view's
    page.evaluate("(runs) => window.put('runs', runs)", redistill.runs)
    line = view.locator('tr[data-run="1"]')
    for name in ("entropy", "highest", "deviation", "accuracy"):
        assert float(line.locator(f"[data-name={name}]").get_attribute("data-value")) == row[name]
    assert view.get_by_role("img", name=re.compile("^Prior loss by epoch. run 1: ")).is_visible()


def test_what_is_under_way_is_shown_and_the_keyboard_stops_it(played, redistill):
    page, view = played(redistill)
    page.evaluate("window.answer()")
    view.get_by_role("button", name="Run").press("Enter")
    put_status(page, redistill, state="running", line="epoch 1 of 4, loss 2", done=0.25, number=1,
               history={"epochs": [1], "distillation": [2.0], "prior": [1.0]})
    assert view.locator("progress").evaluate("(one) => one.value") == 0.25
    assert view.locator("[data-name=line]").inner_text() == "epoch 1 of 4, loss 2"
    assert view.get_by_role("img", name=re.compile("^Distillation loss by epoch. run 1: ")).is_visible()
    assert view.get_by_role("button", name="Run").is_disabled()
    page.keyboard.press("Enter")  # the focus has gone to Stop
    assert told(page, "stop") == {"do": "stop"}
    put_status(page, redistill, state="stopped", line="stopped after 1 of 4 epochs, 3.0 s", done=0.25)
    assert view.get_by_role("status").inner_text() == "stopped after 1 of 4 epochs, 3.0 s"
    assert page.evaluate("document.activeElement.dataset.name") == "run"


def test_what_is_wrong_stands_beside_its_field_and_takes_the_focus(played, redistill):
    page, view = played(redistill)
    page.evaluate("window.answer()")
    view.get_by_role("button", name="Run").press("Enter")
    text = "epochs: 0 is not a whole number of at least 1"
    put_status(page, redistill, problem={"field": "epochs", "text": text})
    field = view.get_by_role("spinbutton", name="Epochs")
    assert field.get_attribute("aria-invalid") == "true"
    assert view.locator(f'[id="{field.get_attribute("aria-describedby").split()[-1]}"]').inner_text() == text
    assert page.evaluate("document.activeElement.dataset.field") == "epochs"
    put_status(page, redistill, problem={"field": "run", "text": "run: a fit is under way"})
    assert field.get_attribute("aria-invalid") is None
    assert view.get_by_role("alert").inner_text() == "run: a fit is under way"


def test_the_form_sends_its_values_and_spells_the_command(played, form):
    page, view = played(form)
    page.evaluate("window.answer()")
    view.get_by_role("combobox", name="category").select_option("cat")
    view.get_by_role("textbox", name="seed").fill("1")
    view.get_by_role("button", name="Write the parameter file").click()
    asked = told(page, "write")
    assert asked["values"] == {"preset": "quick", "category": "cat", "seed": "1", "scale": "literal",
                               "device": "auto"}
    command = view.locator("[data-name=command]").inner_text()
    output = form.data["output"]
    assert shlex.split(command) == [form.data["program"], "notebook", "book/experiment1/alexnet.ipynb",
                                    output, "--parameters", output.replace(".ipynb", ".yml")]
    form._heard(form, asked, [])  # the kernel takes just that
    page.evaluate("(status) => window.put('status', status)", form.status)
    assert "category: cat\nseed: 1\n" in view.locator("[data-name=file]").inner_text()


def test_the_form_shows_a_run_its_end_and_what_is_wrong(played, form):
    page, view = played(form)
    page.evaluate("window.answer()")
    view.get_by_role("textbox", name="seed").press("Enter")
    assert told(page, "run")["values"]["seed"] == "0"
    put_status(page, form, problems={"seed": "parameter seed: 'x' is not a whole number"},
               problem={"field": "parameter seed", "text": "x"})
    assert view.get_by_role("textbox", name="seed").get_attribute("aria-invalid") == "true"
    assert view.locator("[data-name=wrong]").text_content() == ""  # it is said once
    put_status(page, form, state="running", line="cell 2 of 4", done=0.25, lines=["cell 1 of 4", "<b>"])
    assert view.get_by_role("region", name="What the run says").inner_text() == "cell 1 of 4\n<b>"
    assert view.get_by_role("button", name="Write").is_disabled()
    put_status(page, form, state="done", line="done", done=1.0,
               result={"path": "_build/live/copy.ipynb", "address": "/lab/tree/copy.ipynb"})
    link = view.get_by_role("link", name="_build/live/copy.ipynb")
    assert link.get_attribute("href") == "/lab/tree/copy.ipynb"


@pytest.mark.parametrize("kind", ["redistill", "form"])
def test_a_phone_and_the_rules_of_accessibility(played, kind, request, axe):
    page, view = played(request.getfixturevalue(kind), width=360)
    page.evaluate("window.answer()")
    if kind == "redistill":
        view.get_by_role("radio", name="chosen").check()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    page.evaluate(axe)
    found = page.evaluate("axe.run('.sq-view', {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
