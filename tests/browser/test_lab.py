"""Views with a kernel in JupyterLab itself: keys, numbers, a fit beside other cells, Stop."""

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
from test_redistill import SETTINGS, measured

from semquant_book.views.redistill import Redistill

CELLS = [
    "from test_redistill import SETTINGS, measured\nfrom semquant_book.views.redistill import Redistill",
    "test = measured(20, 1)\n"
    "fits = Redistill(measured(seconds=0.01), test, labels=test.yhat > 1.5, settings=SETTINGS,\n"
    "                 groups={'head': range(3), 'tail': range(3, 6)})\n"
    "fits",
    "print('meanwhile:', fits.status['state'])",
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


@pytest.fixture
def lab(tmp_path):
    """The address of JupyterLab on a folder with one notebook, with settings of its own."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "python"}
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(nb, folder / "fits.ipynb")
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
            env=os.environ | own | {"PYTHONPATH": os.pathsep.join(
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
        server.wait(30)


def test_fits_beside_a_notebook_by_keyboard(lab, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        play(page, f"{lab}/lab/tree/fits.ipynb")
    finally:
        page.close()


def play(page, address):
    page.goto(address)
    page.locator(".jp-CodeCell").nth(2).wait_for(timeout=60_000)
    page.evaluate(RUN_ALL)
    view = page.locator(".sq-view[data-ready]")
    view.wait_for(timeout=60_000)
    epochs, run = view.get_by_role("spinbutton", name="Epochs"), view.get_by_role("button", name="Run")
    line = view.locator("[data-name=line]")

    # Enter in a field is the button; the row that comes is the library's
    epochs.fill("3")
    epochs.press("Enter")
    row = view.locator('tr[data-run="1"]')
    row.wait_for()
    test = measured(20, 1)
    again = Redistill(measured(), test, labels=test.yhat > 1.5, settings=SETTINGS)
    again.run(epochs=3).wait()
    for name in ("entropy", "deviation", "accuracy"):
        assert float(row.locator(f"[data-name={name}]").get_attribute("data-value")) == pytest.approx(
            again.runs[0][name], rel=1e-4)

    # the arrow keys are the view's, not the notebook's
    view.get_by_role("radio", name="all 6").focus()
    page.keyboard.press("ArrowRight")
    assert view.get_by_role("radio", name="chosen").is_checked()
    assert page.evaluate("document.activeElement.closest('.sq-view') !== null")
    page.keyboard.press("ArrowLeft")
    assert view.get_by_role("radio", name="all 6").is_checked()

    # a long fit leaves the kernel to other cells, and Stop keeps what was fitted
    epochs.fill("10000")
    run.press("Enter")
    line.filter(has_text=re.compile("^epoch [1-9]")).wait_for()
    page.locator(".jp-CodeCell").nth(2).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("meanwhile: running").wait_for(timeout=5000)
    page.keyboard.press("Escape")
    view.get_by_role("button", name="Stop").press("Enter")
    line.filter(has_text="stopped after").wait_for(timeout=5000)
    assert "stopped: " in view.locator('tr[data-run="2"]').inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Run"
