"""Live views: distil again with other settings, run a notebook with other parameters.

They are plain ipywidgets. What takes long runs beside the notebook, in a thread or a process. A
built page has no kernel: it shows the text that each view also is, which says so and what came out.
"""

from __future__ import annotations

import atexit
import contextvars
import math
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path

import ipywidgets as ipw
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor
from traitlets import TraitError

from semquant import metrics
from semquant.checks import InputError, check_shapes, one_of
from semquant.concepts import Measured
from semquant.distillation import FittedExplainer, distill_measured
from semquant.explainers import SCALES, ExplainerOptions
from semquant.explanation import UNASSIGNED, Explanation
from semquant.losses import Objective
from semquant.priors import CONTROLS
from semquant.training import FitOptions
from semquant_book import figures
from semquant_book.datasets.names import ATTRIBUTES, label
from semquant_book.press.notebooks import Parameter, check_values, parameters
from semquant_book.study import experiment1, experiment2
from semquant_book.study.presets import build_root, project_root
from semquant_book.views import widgets

__all__ = ["NotebookForm", "Redistill", "of_attribute", "of_filters"]

NEEDS = ("The controls of this view need a kernel: run <code>make lab</code> in a copy of the "
         "project and open <code>reproduce/live.ipynb</code>. This is what the page was built "
         "with:")
FORMATS = {"beta": "g", "entropy": ".3f", "H / ln n": ".3f", "deviation": ".4f", "accuracy": ".3f", "seconds": ".1f"}
OUTPUT = "executed copy"  # its field in a form; no parameter's name has a space
DEFAULTS = {"objective": Objective(), "explainer": ExplainerOptions(), "fit": FitOptions()}


class _Live(ipw.VBox):
    """Fields, Run and Stop, a bar and a line on what is under way, and what came of it."""

    _thread = threading.Thread()  # none that runs

    def __init__(self, title: str, fields: Mapping[str, ipw.Widget], helps: Mapping[str, str] = {}) -> None:
        self.fields, self.error, self._stopping = dict(fields), None, threading.Event()
        self.run_button = ipw.Button(description="Run", button_style="primary")
        self.stop_button = ipw.Button(description="Stop", disabled=True)
        self.bar, self.link = ipw.FloatProgress(max=1.0), ipw.Output()
        self.above, self.line, self.result = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.run_button.on_click(lambda _: self.run())
        self.stop_button.on_click(lambda _: self.stop())
        super().__init__([
            ipw.HTML(f"<b>{escape(title)}</b>"),
            *(ipw.HBox([field, ipw.Label(helps[name])]) if helps.get(name) else field
              for name, field in fields.items()),
            self.above, ipw.HBox([self.run_button, self.stop_button, self.bar, self.line]),
            self.link, self.result])
        for name, field in fields.items():
            field.description, field.style.description_width = name, "8em"
        for one in (*fields.values(), self.run_button, self.stop_button):
            # ipykernel 7.4 takes a comm's messages to the shell that it last spoke from, where they
            # wait while a cell runs; here they go where JupyterLab sends them, a shell of their own
            one.comm._reply_subshell_for = lambda data, chosen: chosen

    def run(self, **values: object) -> _Live:
        """Set fields, begin, and return at once."""
        if self._thread.is_alive():
            raise InputError("run: one is under way; accepted: stop it, or wait for it")
        for name, value in values.items():
            _set(name, self.fields[one_of("setting", name, tuple(self.fields))], value)
        self._stopping.clear()
        self.error, self.bar.value, self.line.value = None, 0.0, "begins"
        self.run_button.disabled, self.stop_button.disabled = True, False
        # in the context of who asks: an executed notebook keeps only what belongs to its cell
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._guarded,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End what is under way; returns at once."""
        if self._thread.is_alive():
            self._stopping.set()
            self.line.value = "stops"

    def wait(self) -> _Live:
        """Wait until the run has ended, and raise what it failed of."""
        if self._thread.ident:
            self._thread.join()
        if self.error is not None:
            raise self.error
        return self

    def _tell(self, line: str, share: float) -> None:
        self.bar.value = share
        if not self._stopping.is_set():
            self.line.value = line

    def close(self) -> None:
        """Stop what is under way and remove the view."""
        self.stop()
        super().close()

    def _guarded(self) -> None:
        try:
            self.line.value = self._work()
        except Exception as error:  # nobody is above a thread: it is shown, and kept for `wait`
            text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            self.error, self.line.value = error, f'<b role="alert">{escape(text.splitlines()[0])}</b>'
        self.run_button.disabled, self.stop_button.disabled = False, True

    def _repr_mimebundle_(self, **options: object) -> dict:
        """The view where there is a kernel, and where there is none its text."""
        text = f"<p>{NEEDS}</p>{self.above.value}{self.result.value}"
        return super()._repr_mimebundle_(**options) | {"text/html": text}


def _set(name: str, field: ipw.Widget, value: object) -> None:
    """Set a field from code; what its own kind would refuse, or bend to its range, is refused in a line."""
    value = tuple(value) if isinstance(value, list) else value
    with suppress(TraitError):
        field.value = value
    if field.value != value:
        accepted = ", ".join(map(str, getattr(field, "options", ()))) or f"values such as {field.value!r}"
        raise InputError(f"{name}: {value!r} is not accepted; accepted: {accepted}")


class Redistill(_Live):
    """Distil a score again, with other settings, and compare what comes out.

    g is fitted to `train`, with w; every run explains the B images of `test` and is judged on them.
    `labels` (B,) are true answers, by default the network's own; the entropy, in nats, is averaged
    over images `counted` (B,). The threshold of the accuracy is chosen on `validation`, measured
    and true, by default on `test`, as in the paper. Concepts are chosen by `groups`, by default
    each alone. `options` of `distill_measured` may be a function of the scale. The view `shows`
    gets ``pack(explanation)``. `runs` holds all results, `fitted` and `explanation` the last one's.
    """

    def __init__(self, train: Measured, test: Measured, *, title: str = "Distil again",
                 names: Sequence[str] | None = None, groups: Mapping[str, Sequence[int]] | None = None,
                 labels: Tensor | None = None, counted: Tensor | None = None,
                 validation: tuple[Measured, Tensor] | None = None, options: Mapping | Callable = {},
                 shows: widgets.View | None = None, pack: Callable[[Explanation], dict] | None = None) -> None:
        labels = test.yhat > 0 if labels is None else labels
        counted = torch.ones_like(labels) if counted is None else counted
        held, truth = validation or (test, labels)
        n = check_shapes(
            x=(train.x, "N C H W"), y=(train.y, "N n"), yhat=(train.yhat, "N"), test_y=(test.y, "B n"),
            labels=(labels, "B"), counted=(counted, "B"), validation_y=(held.y, "V n"), validation=(truth, "V"))["n"]
        self.names = [f"concept {i}" for i in range(n)] if names is None else list(names)
        if len(self.names) != n:
            raise InputError(f"names: {len(self.names)} names for {n} concepts")
        self.groups = {name: [i] for i, name in enumerate(self.names)} if groups is None else groups
        self.train, self.test, self.held, self.truth, self.labels = train, test, held, truth, labels
        self.counted, self.shows, self.pack, self.runs = counted, shows, pack, []
        self.options = lambda scale: DEFAULTS | (options(scale) if callable(options) else options)
        objective, explainer, fit = (self.options("scaled")[name] for name in DEFAULTS)
        super().__init__(title, {
            "prior": ipw.Dropdown(options=list(CONTROLS) if train.w is not None else ["none"]),
            "beta": ipw.BoundedFloatText(objective.beta, max=1e6),  # a slider has no name for screen readers
            "epochs": ipw.IntText(fit.epochs), "seed": ipw.BoundedIntText(fit.seed, max=10**9),
            "scale": ipw.Dropdown(options=list(dict.fromkeys([explainer.scale, *SCALES]))),
            "concepts": ipw.SelectMultiple(options=list(self.groups), value=list(self.groups)),
            "drawn": ipw.BoundedIntText(0, max=n), "draw": ipw.BoundedIntText(0, max=10**9),
        }, {"drawn": f"so many of all {n} concepts, at random; 0: those chosen above", "draw": "seed of the draw"})

    def _among(self, concepts: Sequence[str], drawn: int, draw: int) -> tuple[list[int], str]:
        """Positions of the concepts that take part, and what they are called together."""
        if drawn:
            order = torch.randperm(len(self.names), generator=torch.Generator().manual_seed(draw))
            return sorted(order[:drawn].tolist()), f"{drawn} drawn ({draw})"
        if not concepts:
            raise InputError(f"concepts: none is chosen; accepted: one or more of {', '.join(self.groups)}")
        chosen = sorted({i for name in concepts for i in self.groups[name]})
        return chosen, f"all {len(chosen)}" if len(concepts) == len(self.groups) else ", ".join(concepts)

    def _work(self) -> str:
        row = {"run": len(self.runs) + 1} | {name: field.value for name, field in self.fields.items()}
        among, row["concepts"] = self._among(row["concepts"], row.pop("drawn"), row.pop("draw"))
        epochs, row["history"] = row["epochs"], []
        started = shown = time.perf_counter()

        def on_epoch(epoch: int, explainer: FittedExplainer, means: dict[str, float]) -> bool:
            nonlocal shown
            if means:
                row["history"].append(means)
                self._tell(f"epoch {epoch} of {epochs}, loss {means['loss']:.4g}", epoch / epochs)
            if (now := time.perf_counter()) > shown + 1:
                self.result.value, shown = _results([*self.runs, row]), now
            return self._stopping.is_set()

        objective, explainer, fit = (self.options(row["scale"])[name] for name in DEFAULTS)
        w = None if row["prior"] == "none" else self.train.w[:, among]
        self.fitted = distill_measured(
            Measured(self.train.x, self.train.y[:, among], self.train.yhat, w),
            objective=replace(objective, prior=row["prior"], beta=row["beta"]),
            explainer=replace(explainer, scale=row["scale"]),
            fit=replace(fit, epochs=epochs, seed=row["seed"]),
            names=[self.names[i] for i in among], on_epoch=on_epoch)
        done = len(row["history"])
        row |= self._judge(among) | {"epochs": f"{done} of {epochs}", "seconds": time.perf_counter() - started}
        self.runs = [*self.runs, row]
        self.result.value = _results(self.runs, dark_too=True)
        if self.shows is not None:
            self.shows.data = self.pack(self.explanation)
        return f"{'done' if done == epochs else 'stopped'}: {done} of {epochs} epochs, {row['seconds']:.1f} s"

    def _judge(self, among: list[int]) -> dict[str, float]:
        """Explain the test images; return the numbers of the run."""
        said, held = (self.fitted.explain_measured(Measured(m.x, m.y[:, among], m.yhat))
                      for m in (self.test, self.held))
        self.explanation, (threshold, _) = said, metrics.best_threshold(held.total, self.truth)
        entropy = float(metrics.contribution_entropy(said[self.counted].contributions).nanmean())
        return {"entropy": entropy, "H / ln n": entropy / math.log(max(len(among), 2)),
                "deviation": float(metrics.relative_deviation(said.yhat, said.total).mean()),
                "accuracy": metrics.accuracy(said.total, self.labels, threshold)}


def _results(runs: Sequence[Mapping[str, object]], dark_too: bool = False) -> str:
    """The losses of runs as a figure, and what came out as a table, in HTML."""
    figure = figures.training_history(
        {f"run {row['run']}, prior {row['prior']}": row["history"] for row in runs},
        {"distillation": "distillation loss", "prior": "prior loss"}, Figure(layout="constrained"))
    table = pd.DataFrame({row["run"]: {name: format(value, FORMATS.get(name, "")) for name, value in row.items()
                                       if name not in ("run", "history")} for row in runs})
    return widgets.still(
        figure, "Curves over epochs of both losses; the table below says how the runs ended.", "sq-results",
        "Losses of each run: the distillation loss, on a logarithmic axis, and the prior loss.", dark_too,
    ) + table.rename_axis(columns="run").to_html(border=0, na_rep="–")


def of_filters(run: experiment1.Run, **more: object) -> Redistill:
    """Return the view of a run of Experiment 1: the score by its filters, chosen by part of the animal."""
    test, val = run.images("test"), run.images("val")
    parts = [*val.groups, UNASSIGNED]  # the last one's number is -1
    assignment = [parts[p] for p in run.naming()[0].tolist()]
    return Redistill(
        run.measured("train"), run.measured("test"), labels=test.positive, counted=test.positive,
        validation=(run.measured("val"), val.positive), title=f"Distil the score of {run.name} again, by its filters",
        names=[f"{part} filter {i}" for i, part in enumerate(assignment)],
        groups={part: [i for i, own in enumerate(assignment) if own == part] for part in parts if part in assignment},
        options=lambda scale: experiment1.options(run.settings, scale=scale), **more)


def of_attribute(run: experiment2.Run, **more: object) -> Redistill:
    """Return the view of a run of Experiment 2: the score of a face attribute by the other 39."""
    return Redistill(
        run.measured("train"), run.measured("test"), labels=run.labels("test"),
        validation=(run.measured("val"), run.labels("val")),
        names=[label(ATTRIBUTES[i]) for i in experiment2.concepts_of(run.target)],
        title=f"Distil the score of '{label(run.target)}' again, by the other attributes",
        options=experiment2.options(run.settings), **more)


class NotebookForm(_Live):
    """A notebook's parameters as a form; runs the notebook in a process of its own.

    Paths, also of the executed copy, are relative to the project's folder, or absolute.
    """

    def __init__(self, path: str | Path, output: str | Path | None = None) -> None:
        self.root, self.path, self._process = project_root(), path, None
        self.parameters = parameters(self.root / path)
        if not self.parameters:
            raise InputError(f"notebook: {path} has no parameters")
        super().__init__(f"Run {path} with other parameters", {p.name: _field(p) for p in self.parameters} | {
            OUTPUT: ipw.Text(str(output or os.path.relpath(build_root() / "live" / Path(path).name, self.root)))},
            {p.name: p.help for p in self.parameters})
        for field in self.fields.values():
            field.observe(self._spell, "value")
        self._spell()
        atexit.register(self._interrupt)

    @property
    def command(self) -> str:
        """The command line that does what Run does, in the project's folder."""
        own = Path(".venv", "bin", "semquant")
        values = {name: str(field.value) for name, field in self.fields.items()}
        output = values.pop(OUTPUT)
        return shlex.join([
            str(own) if (self.root / own).exists() else "semquant", "notebook", str(self.path), output,
            *(word for name, value in values.items() for word in ("-p", name, value))])

    def _spell(self, _: object = None) -> None:
        self.above.value = f"<pre>{escape(self.command)}</pre>"

    def stop(self) -> None:
        """End the run; the cell under way is interrupted and can clean up. Nothing of the run stays."""
        super().stop()
        self._interrupt()

    def _interrupt(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(2)  # SIGINT

    def _work(self) -> str:
        values = {name: field.value for name, field in self.fields.items()}
        output, lines, self.link.outputs = values.pop(OUTPUT), [], ()
        place = (self.root / output).resolve()
        problems = check_values(self.parameters, values)[1]
        if place.suffix != ".ipynb" or place.is_relative_to(self.root / "book") or place == self.root / self.path:
            problems[OUTPUT] = f"{OUTPUT}: {output!r} is not a path, outside of the book's sources, that ends in .ipynb"
        if problems:
            raise InputError("; ".join(problems.values()))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "semquant_book", *shlex.split(self.command)[1:], "--log"], cwd=self.root, encoding="utf-8",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
            start_new_session=True, env=os.environ | {"PYTHONUTF8": "1", "SEMQUANT_ROOT": str(self.root)})
        if self._stopping.is_set():
            self._interrupt()
        for line in map(str.rstrip, self._process.stdout):
            lines = [*lines[-299:], line]
            if line.startswith("cell "):  # cell 3 of 12
                self._tell(line, (int(line.split()[1]) - 1) / int(line.split()[3]))
            self.result.value = f"<pre>{escape(chr(10).join(lines))}</pre>"
        status = self._process.wait()
        if self._stopping.is_set():
            return "stopped; nothing of the run is kept"
        if status:
            raise InputError(lines[-1].removeprefix("semquant: ") if lines else f"run: exit status {status}")
        self.bar.value = 1.0
        self.link.append_display_data(HTML(f'<a href="{escape(os.path.relpath(place))}">{escape(output)}</a>'))
        return "done"


def _field(p: Parameter) -> ipw.Widget:
    """A field for a parameter, with its default."""
    if p.accepted:
        return ipw.Dropdown(options=p.accepted, value=p.default)
    kinds = {bool: ipw.Checkbox, int: ipw.IntText, float: ipw.FloatText}
    return kinds.get(type(p.default), lambda value: ipw.Text(str(value)))(p.default)
