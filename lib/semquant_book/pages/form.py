"""A form for a notebook's parameters: it writes a parameter file and runs the notebook with it."""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from html import escape
from pathlib import Path

import psutil

from semquant.checks import InputError
from semquant_book.press.notebooks import check_values, parameters, part_of, write_parameters
from semquant_book.study.presets import build_root, project_root
from semquant_book.views.kernel import KernelView, beside

__all__ = ["NotebookForm"]

SAID = 300  # lines of a run that are kept
OFTEN = 0.2  # seconds between two updates of what a run says
OUTPUT = "executed copy"  # its field; no parameter's name has a space
GRACE = 5.0  # seconds that a cell has to clean up when it is interrupted

_running: weakref.WeakSet[NotebookForm] = weakref.WeakSet()


class NotebookForm(KernelView, script="kernel form"):
    """A notebook's parameters as a form; runs the notebook in a process of its own.

    Parameters
    ----------
    path : path
        A notebook with a cell tagged ``parameters``; relative to the project's folder, or anywhere.
    output : path, optional
        Where the executed copy goes, by default into ``live`` in the build folder. The parameter
        file goes beside it, with the ending ``.yml``.

    Attributes
    ----------
    result : Path or None
        The executed copy of the last run, if it is whole.

    Raises
    ------
    InputError
        If there is no such notebook, or it has no parameters.
    """

    commands = {"write": "write", "run": "run", "stop": "stop"}

    def __init__(self, path: str | Path, output: str | Path | None = None) -> None:
        self._process: subprocess.Popen | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.result: Path | None = None
        self.root = project_root()
        self.path = (self.root / path).resolve()
        self.parameters = parameters(self.path)
        if not self.parameters:
            raise InputError(f"notebook: {self.path} has no parameters")
        output = build_root() / "live" / self.path.name if output is None else Path(output)
        super().__init__(data={
            "title": f"Run {self.path.name} with other parameters",
            "fields": [{"name": p.name, "type": p.type, "default": _text(p.default), "help": p.help,
                        "accepted": list(p.accepted)} for p in self.parameters],
            "output": self._shown(self.root / output),
            "source": self._shown(self.path),
            "program": self._program(),
        })
        self.tell(lines=[], file=None, result=None, problems={}, settings={})

    def _shown(self, path: Path) -> str:
        """A path as it is typed in the project's folder; whole if it is elsewhere."""
        path = path.resolve()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def _program(self) -> str:
        """The command, as it is typed in the project's folder."""
        own = Path(".venv", "bin", "semquant")
        return str(own) if (self.root / own).exists() else "semquant"

    # --- commands -------------------------------------------------------------------------------

    def write(self, values: Mapping[str, object] | None = None,
              output: str | Path | None = None) -> Path:
        """Check values and write the parameter file.

        Parameters
        ----------
        values : mapping, optional
            By name; the others are the notebook's own.
        output : path, optional
            Of the executed copy, relative to the project's folder; by default what the form began
            with. The parameter file is beside it.

        Returns
        -------
        Path
            The parameter file.

        Raises
        ------
        InputError
            If a value is not accepted; nothing is written then, and the form says of each field
            what is wrong with it.
        """
        values = dict(values or {})
        given = self.data["output"] if output is None else str(output)
        good, problems = check_values(self.parameters, values)
        try:
            place = self._place(given)
        except InputError as error:
            problems[OUTPUT] = str(error)
        self.tell(problems=problems, problem=None,
                  settings={"values": {k: _text(v) for k, v in values.items()}, "output": given})
        if problems:
            raise InputError("; ".join(problems.values()))
        good = {p.name: good.get(p.name, p.default) for p in self.parameters}
        file = write_parameters(place.with_suffix(".yml"), good,
                                f"parameters of {self.data['source']}")
        self.tell(file={"path": self._shown(file), "text": file.read_text()})
        return file

    def run(self, values: Mapping[str, object] | None = None,
            output: str | Path | None = None) -> NotebookForm:
        """Write the parameter file and start the notebook; see `write`. Returns at once.

        Raises
        ------
        InputError
            If a value is not accepted, or the notebook runs already.
        """
        if self._thread is not None and self._thread.is_alive():
            raise InputError(f"run: {self.path.name} is running; accepted: stop it, or wait for it")
        file = self.write(values, output)
        place = file.with_suffix(".ipynb")
        self.result, self._stopping = None, False
        self.tell(state="running", line="starts", done=0.0, lines=[], result=None)
        command = [sys.executable, "-m", "semquant_book", "notebook", str(self.path), str(place),
                   "--parameters", str(file), "--log"]
        self._process = subprocess.Popen(
            command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            env=os.environ | {"SEMQUANT_ROOT": str(self.root)})
        _running.add(self)
        self._thread = beside(lambda: self._follow(self._process, place), f"run {self.path.name}")
        return self

    def stop(self) -> None:
        """End the run and all its processes; returns at once. Nothing of it stays."""
        if self._thread is not None and self._thread.is_alive() and not self._stopping:
            self._stopping = True
            self.tell(line="stops")
            beside(lambda: _end(self._process), "stop")

    def wait(self) -> NotebookForm:
        """Wait until the run has ended; ``status`` says how."""
        try:
            if self._thread is not None:
                self._thread.join()
        except KeyboardInterrupt:
            self.stop()
            raise
        return self

    def show(self) -> None:
        """Display the form, and what it amounts to for print and for pages without scripts."""
        from IPython.display import HTML, display

        output = self.status["settings"].get("output", self.data["output"])
        command = shlex.join([self.data["program"], "notebook", self.data["source"], output,
                              "--parameters", str(Path(output).with_suffix(".yml"))])
        lines = "\n".join(f"{p.name}: {_text(p.default)}  # {p.help or p.type}"
                          for p in self.parameters)
        display(HTML(f'<figure class="sq-still"><pre>{escape(command)}</pre>'
                     f"<pre>{escape(lines)}</pre><figcaption>{escape(self.data['title'])}: the "
                     "command, and the parameter file with the notebook's own values.</figcaption>"
                     "</figure>"))
        display(self)

    def close(self) -> None:
        """Stop the run and remove the view."""
        self.stop()
        super().close()

    def _place(self, output: str) -> Path:
        place = (self.root / output.strip()).resolve()
        if place.suffix != ".ipynb":
            raise InputError(f"output: {output!r} does not end in .ipynb")
        if place.is_dir() or place == self.path or place.is_relative_to(self.root / "book"):
            raise InputError(f"output: {output!r} is in the folder of the book's sources, or is a "
                             "folder; accepted: a file elsewhere")
        return place

    # --- in the thread --------------------------------------------------------------------------

    def _follow(self, process: subprocess.Popen, place: Path) -> None:
        """Show what a run says, and how it ended."""
        lines: list[str] = []
        said = 0.0
        for line in process.stdout:
            line = line.rstrip("\n")
            lines = [*lines[1 - SAID:], line]
            changes = {"lines": lines}
            if line.startswith("cell "):  # cell 3 of 12
                _, now, _, count = line.split(" ", 3)
                changes |= {"line": line, "done": (int(now) - 1) / int(count)}
            if "line" in changes or time.monotonic() - said > OFTEN:
                said = time.monotonic()
                self.tell(**({"lines": lines} if self._stopping else changes))
        status = process.wait()
        part_of(place).unlink(missing_ok=True)
        if status == 0:
            self.result = place
            self.tell(state="done", line="done", done=1.0, lines=lines, result={
                "path": self._shown(place), "address": _address(place)})
        elif self._stopping:
            place.with_name(f"{place.stem}.failed.ipynb").unlink(missing_ok=True)
            self.tell(state="stopped", line="stopped; nothing of the run is kept", lines=lines)
        else:
            own = [line for line in lines if line.startswith("semquant: ")]
            text = own[-1].removeprefix("semquant: ") if own else f"exit status {status}"
            self.tell(state="failed", line="failed", lines=lines,
                      problem={"field": "run", "text": text})


def _text(value: object) -> object:
    """A value as a form shows it."""
    if value is None:
        return "null"
    return value if isinstance(value, (str, bool)) else repr(value)


def _end(process: subprocess.Popen, grace: float = GRACE) -> None:
    """End a run: its kernel is interrupted, so that the cell cleans up; then all is killed.

    The kernel is in a session of its own, so the group of `process` isn't all.
    """
    try:
        everything = [one for one in psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    kernels = []
    for one in everything:
        try:
            if any("ipykernel_launcher" in word for word in one.cmdline()):
                kernels.append(one)
                one.send_signal(2)  # SIGINT, as the button 'interrupt' of a notebook
        except psutil.NoSuchProcess:
            continue
    if kernels:
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            pass  # the cell doesn't listen
    for one in [*everything, process]:
        try:
            one.kill()
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue


@atexit.register
def _end_all() -> None:
    for form in list(_running):
        if form._process is not None and form._process.poll() is None:
            _end(form._process, grace=0.5)


def _address(path: Path) -> str | None:
    """Return where the JupyterLab that this kernel belongs to shows a file, if it does."""
    try:
        from jupyter_server.serverapp import list_running_servers
    except ImportError:
        return None
    for server in list_running_servers():
        if str(server.get("pid")) == os.environ.get("JPY_PARENT_PID"):
            root = Path(server["root_dir"]).resolve()
            if path.is_relative_to(root):
                from urllib.parse import quote

                return f"{server['base_url']}lab/tree/{quote(path.relative_to(root).as_posix())}"
    return None
