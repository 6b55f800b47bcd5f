"""Live views in JupyterLab itself: keys, a fit beside other cells, its end, Stop."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
from live_fits import SETTINGS, measured

from semquant_book.pages.live import Redistill
from semquant_book.study.presets import project_root

CELLS = [
    "from live_fits import SETTINGS, measured\nfrom semquant_book.pages import live",
    "test = measured(20, 1)\n"
    "fits = live.Redistill(measured(seconds=0.01), test, labels=test.yhat > 1.5, options=SETTINGS,\n"
    "                      groups={'head': range(3), 'tail': range(3, 6)})\n"
    "fits",
    "print('meanwhile:', fits.line.value)",
    "from pathlib import Path\n"
    "live.NotebookForm(Path('story.ipynb').resolve(), Path('copy.ipynb').resolve())",
]

# "Run All Cells" of the menu does nothing until the notebook has its kernel, which shows nowhere
RUN_ALL = """async () => {
  const { commands, shell } = window.jupyterapp;
  await shell.currentWidget.context.ready;
  const session = shell.currentWidget.sessionContext;
  await session.ready;
  while (session.session?.kernel?.connectionStatus !== "connected") {
    await new Promise((done) => setTimeout(done, 50));
  }
  await session.session.kernel.info;
  await commands.execute("notebook:run-all-cells");
}"""


def write(path, *cells):
    nb = nbformat.v4.new_notebook(cells=list(cells))
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "python"}
    nbformat.write(nb, path)


@pytest.fixture
def lab(tmp_path):
    """The address of JupyterLab on a folder with two notebooks, with settings of its own."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    code = nbformat.v4.new_code_cell
    write(folder / "fits.ipynb", *map(code, CELLS))
    write(folder / "story.ipynb", code("count = 2", metadata={"tags": ["parameters"]}), code("print(count * 111)"))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    own = {name: str(tmp_path / "own") for name in (
        "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser",
             f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"],
            env=os.environ | own | {"SEMQUANT_ROOT": str(project_root()), "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])},
            stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{address}/api", timeout=5).close()
                break
            except URLError:
                assert server.poll() is None and time.monotonic() < end, (tmp_path / "lab.log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()  # its kernels go with it
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # a kernel that computes is waited for
            server.kill()
            server.wait(30)


def test_fits_and_a_form_beside_a_notebook_by_keyboard(lab, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 2000})
    try:
        play(page, f"{lab}/lab/tree/fits.ipynb")
    finally:
        page.close()


def play(page, address):
    page.goto(address)
    page.locator(".jp-CodeCell").nth(3).wait_for(timeout=60_000)
    page.evaluate(RUN_ALL)
    view = page.locator(".jp-CodeCell").nth(1)
    form = page.locator(".jp-CodeCell").nth(3)
    form.get_by_role("button", name="Run").wait_for(timeout=60_000)

    # each field is called what stands beside it
    epochs, run = view.get_by_label("epochs"), view.get_by_role("button", name="Run")
    for name in ("prior", "beta", "seed", "scale", "concepts", "drawn", "draw"):
        assert view.get_by_label(name, exact=True).count() == 1, name

    # the row that comes is the library's
    view.get_by_label("prior").select_option("none")
    epochs.fill("3")
    epochs.press("Tab")
    run.press("Enter")
    view.get_by_text(re.compile("^done: 3 of 3 epochs")).wait_for()
    row = dict(one.locator("th, td").all_inner_texts() for one in view.locator("tr").all())
    test = measured(20, 1)
    again = Redistill(measured(), test, labels=test.yhat > 1.5, options=SETTINGS)
    again.run(epochs=3, prior="none").wait()
    assert (row["prior"], row["epochs"], row["concepts"]) == ("none", "3 of 3", "all 6")
    for name in ("entropy", "deviation", "accuracy"):
        assert float(row[name]) == pytest.approx(again.runs[0][name], abs=6e-4)
    assert view.locator("figure img:not([hidden])").is_visible()

    # a long fit leaves the kernel to other cells, and Stop keeps what was fitted
    epochs.fill("10000")
    epochs.press("Tab")
    run.press("Enter")
    view.get_by_text(re.compile("^epoch [1-9]")).wait_for()
    assert run.is_disabled()
    page.locator(".jp-CodeCell").nth(2).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("meanwhile: epoch").wait_for(timeout=5000)
    page.keyboard.press("Escape")
    view.get_by_role("button", name="Stop").press("Enter")
    view.get_by_text(re.compile(r"^stopped: \d+ of 10000 epochs")).wait_for(timeout=5000)
    assert view.locator("thead th").all_inner_texts() == ["run", "1", "2"] and run.is_enabled()

    # what is wrong is one line
    epochs.fill("0")
    epochs.press("Tab")
    run.press("Enter")
    alert = view.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "epochs: 0 is not a whole number of at least 1"

    # the other notebook runs with the value of the field, and the link opens what came of it
    count = form.get_by_label("count")
    count.fill("3")
    count.press("Tab")
    form.locator("pre").filter(has_text="copy.ipynb -p count 3").wait_for()
    form.get_by_role("button", name="Run").press("Enter")
    link = form.get_by_role("link", name="copy.ipynb")
    link.wait_for(timeout=60_000)
    link.click()
    page.get_by_role("tab", name="copy.ipynb").wait_for(timeout=20_000)
    page.get_by_text("333", exact=True).wait_for(timeout=20_000)
