"""A view in a real kernel: commands as JupyterLab sends them, and what the kernel publishes."""

import time

import pytest
from jupyter_client.manager import start_new_kernel

PATIENCE = 240  # seconds; only a kernel that is broken takes so long
SETUP = """
import sys, time
sys.path.insert(0, {tests!r})
from test_redistill import slow
view = slow({seconds})
view
"""


class Notebook:
    """A kernel, and what it has published."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=PATIENCE)
        self.heard = []

    def take(self, wait=0.05):
        """Receive what has been published meanwhile."""
        from queue import Empty

        try:
            while True:
                self.heard.append(self.client.get_iopub_msg(timeout=wait))
        except Empty:
            pass

    def until(self, true, patience=PATIENCE):
        end = time.monotonic() + patience
        while not true():
            assert time.monotonic() < end, "it did not come to that"
            self.take()

    def of(self, kind, parent=None):
        return [m for m in self.heard if m["msg_type"] == kind
                and parent in (None, m["parent_header"].get("msg_id"))]

    def run(self, code):
        """Run a cell to its end; return the id of the message that asked for it."""
        cell = self.start(code)
        self.until(lambda: any(m["content"]["execution_state"] == "idle"
                               for m in self.of("status", cell)))
        errors = self.of("error", cell)
        assert not errors, "\n".join(errors[0]["content"]["traceback"])
        return cell

    def start(self, code):
        # else a cell that is interrupted takes those with it that are sent next
        return self.client.execute(code, stop_on_error=False)

    def subshell(self):
        """Open a subshell, as JupyterLab does for the messages of widgets."""
        message = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(message)
        reply = self.client.get_control_msg(timeout=PATIENCE)
        assert reply["content"]["status"] == "ok", reply
        return reply["content"]["subshell_id"]

    def say(self, comm, subshell=None, **content):
        """Send a view's own message, as its script does."""
        message = self.client.session.msg("comm_msg", {
            "comm_id": comm, "data": {"method": "custom", "content": content}})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def statuses(self, comm):
        """All states of a view that were published, in order."""
        return [m["content"]["data"]["state"]["status"] for m in self.of("comm_msg")
                if m["content"]["comm_id"] == comm
                and "status" in m["content"]["data"].get("state", {})]

    def answers(self, comm):
        return [m["content"]["data"]["content"] for m in self.of("comm_msg")
                if m["content"]["comm_id"] == comm
                and m["content"]["data"]["method"] == "custom"]


@pytest.fixture(scope="module")
def notebook():
    made = Notebook()
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


def shown(notebook, request, seconds):
    """Run the cell that makes a view and shows it; return its comm."""
    tests = str(request.path.parent)
    cell = notebook.start(SETUP.format(tests=tests, seconds=seconds))
    notebook.until(lambda: notebook.of("execute_result", cell) or notebook.of("error", cell))
    (result,) = notebook.of("execute_result", cell)
    return result["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]


def test_run_and_stop_from_the_page_while_cells_run(notebook, request):
    comm = shown(notebook, request, 0.2)
    subshell = notebook.subshell()

    notebook.say(comm, subshell, do="hello")
    notebook.until(lambda: notebook.answers(comm) == [{"heard": "hello"}])

    notebook.say(comm, subshell, do="run", epochs=100, beta=3.0, scale="literal")
    notebook.until(lambda: any("batch" in s["line"] for s in notebook.statuses(comm)))
    assert notebook.statuses(comm)[0]["state"] == "running"

    started = time.monotonic()
    notebook.run("assert view.status['state'] == 'running'")  # the kernel is free
    assert time.monotonic() - started < 10

    # a second Run is refused, and said; the first goes on
    notebook.say(comm, subshell, do="run", epochs=1)
    notebook.until(lambda: notebook.statuses(comm)[-1]["problem"])
    assert notebook.statuses(comm)[-1]["problem"]["text"].startswith("run: a fit is under way")
    assert notebook.statuses(comm)[-1]["state"] == "running"

    # progress is told and Stop is heard while a cell is busy
    busy = notebook.start("time.sleep(30)")
    notebook.until(lambda: notebook.of("execute_input", busy))
    count = len(notebook.statuses(comm))
    notebook.until(lambda: len(notebook.statuses(comm)) > count + 1, patience=20)
    notebook.say(comm, subshell, do="stop")
    notebook.until(lambda: notebook.statuses(comm)[-1]["state"] == "stopped", patience=20)
    assert not any(m["content"]["execution_state"] == "idle" for m in notebook.of("status", busy))
    notebook.manager.interrupt_kernel()
    notebook.until(lambda: notebook.of("error", busy))

    rows = [m["content"]["data"]["state"]["runs"] for m in notebook.of("comm_msg")
            if "runs" in m["content"]["data"].get("state", {})]
    assert [row["state"] for row in rows[-1]] == ["stopped"]
    notebook.run("assert view.explanation.alpha.shape == (20, 6)")


def test_the_first_command_is_heard_while_a_cell_is_busy(notebook, request):
    comm = shown(notebook, request, 0.0)
    subshell = notebook.subshell()
    busy = notebook.start("time.sleep(60)")
    notebook.until(lambda: notebook.of("execute_input", busy))
    notebook.say(comm, subshell, do="hello")
    notebook.until(lambda: notebook.answers(comm), patience=30)
    assert not any(m["content"]["execution_state"] == "idle" for m in notebook.of("status", busy))
    notebook.manager.interrupt_kernel()
    notebook.until(lambda: notebook.of("error", busy))


def test_what_a_cells_own_run_publishes_belongs_to_the_cell(notebook, request):
    """Or an executed page would not keep it: what has another parent is not saved with it."""
    comm = shown(notebook, request, 0.0)
    cell = notebook.run("view.run(epochs=2).wait()")
    states = [m["content"]["data"]["state"] for m in notebook.of("comm_msg", cell)
              if m["content"]["comm_id"] == comm]
    assert [state["status"]["state"] for state in states if "status" in state][-1] == "done"
    assert any("runs" in state for state in states)


def test_what_is_wrong_comes_back_as_one_line(notebook, request):
    comm = shown(notebook, request, 0.0)
    notebook.say(comm, do="run", beta=-1)
    notebook.until(lambda: notebook.statuses(comm))
    assert notebook.statuses(comm)[-1]["problem"] == {
        "field": "beta", "text": "beta: -1 is not a number of at least 0"}
    assert not notebook.of("error")[2:]  # two are of the cells that were interrupted
