"""What views share that need a kernel: commands from the page, and a status that it shows.

A view sends commands as messages of its own, ``{"do": "run", ...}``, and the kernel says to each
that it was heard; a page where nothing answers knows that there is no kernel. The other way goes
`KernelView.status`, which a built page carries like all traits.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

import traitlets

from semquant.checks import InputError
from semquant_book.views.widgets import View

__all__ = ["KernelView", "beside", "one_line"]


class KernelView(View):
    """A view with commands; subclasses name theirs in `commands`.

    JupyterLab brings commands to a thread of their own (a subshell), so that they are heard while a
    cell runs. They and the work beside set the status under one lock, which is held for no longer.

    Attributes
    ----------
    status : dict
        ``state`` (``"idle"``, ``"running"``, or how it ended), ``line`` and ``done`` (0 to 1) of
        what is under way, ``problem``: what a person should know, as ``{"field", "text"}``.
    """

    status = traitlets.Dict().tag(sync=True)
    #: name of a command -> name of the method that does it
    commands: dict[str, str] = {}

    def __init__(self, **traits: object) -> None:
        self._lock = threading.RLock()
        status = {"state": "idle", "line": "", "done": 0.0, "problem": None}
        super().__init__(status=status, **traits)
        self.on_msg(self._heard)
        if self.comm is not None:
            # ipykernel 7.4 takes a comm's messages to the shell that it was last spoken from, at
            # first that of the cell that made it, where they wait while a cell runs. Here they go
            # where JupyterLab sends them.
            self.comm._reply_subshell_for = lambda data, chosen: chosen

    def tell(self, **changes: object) -> None:
        """Change some of the status; from any thread."""
        with self._lock:
            self.status = self.status | changes

    def _heard(self, _: object, content: object, buffers: object) -> None:
        """Do what the page asks; whatever goes wrong is said in the page."""
        command = dict(content) if isinstance(content, dict) else {}
        name = command.pop("do", None)
        self.send({"heard": name})
        if name == "hello":
            return
        try:
            if name not in self.commands:
                raise InputError(f"command: {name!r} is not one of {', '.join(self.commands)}")
            getattr(self, self.commands[name])(**command)
        except Exception as error:  # a message's handler has nobody above it who would say it
            self.tell(problem=problem_of(error))


def problem_of(error: Exception) -> dict[str, str]:
    """What a view shows of an error: one line, and the field that it begins with, if it does."""
    field = str(error).partition(":")[0] if isinstance(error, InputError) else ""
    return {"field": field, "text": one_line(error)}


def one_line(error: BaseException) -> str:
    """Return an error in one line: its message if it was written for people, else with its kind."""
    if isinstance(error, InputError):
        return str(error)
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def beside(work: Callable[[], object], name: str) -> threading.Thread:
    """Start a thread that ends with the kernel.

    It has the context of who starts it: what it sends belongs, for whoever listens, to the same
    cell or command. Executed notebooks keep only what belongs to the cell that runs.
    """
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name=name,
                              daemon=True)
    thread.start()
    return thread
