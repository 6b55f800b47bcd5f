"""Distilling again with other settings, in a thread beside the notebook.

Other cells run on, and the fit can be watched and stopped. A built page has no kernel; there the
view shows what the page's own run left, and says what it needs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import traitlets
from torch import Tensor

from semquant import metrics
from semquant.checks import InputError, check_finite, check_shapes, number, one_of
from semquant.concepts import Measured
from semquant.distillation import SCALES, FittedExplainer, distill_measured
from semquant.explanation import Explanation
from semquant.priors import CONTROLS
from semquant.rows import Rows
from semquant_book.views import widgets
from semquant_book.views.kernel import KernelView, beside, one_line, problem_of
from semquant_book.views.widgets import View

__all__ = ["Redistill"]

MANY = 64  # concepts without groups are listed one by one up to so many
OFTEN = 0.25  # seconds between two words on progress within an epoch
AT_LEAST = 0.1  # and between those after short epochs
POINTS = 300  # of a curve that a page holds, at most
DEFAULTS = {"prior": "measured", "beta": 10.0, "epochs": 12, "seed": 0, "scale": "scaled",
            "concepts": None, "draw": 0}

_one_fit = threading.Lock()  # they would only slow each other down: one at a time


class _Stopped(Exception):
    """The person pressed Stop."""


class _Watched(Rows):
    """Rows that tell when some are fetched; otherwise those that they are made of."""

    def __init__(self, rows: Tensor | Rows, fetched: Callable[[], object]) -> None:
        self.rows, self.fetched, self.shape = rows, fetched, tuple(rows.shape)

    def __getitem__(self, index) -> Tensor:
        self.fetched()
        return self.rows[index]


class Redistill(KernelView, script="charts kernel live"):
    r"""Distill a score again, with other settings, and compare what comes out.

    Parameters
    ----------
    train : Measured
        What g is fitted to; with w, unless only the prior ``"none"`` is wanted.
    test : Measured
        What every run is judged on and explains; its w is not read.
    title, about : str
        What is explained, and a line on it.
    validation : Measured, optional
        Where the threshold :math:`\tau` is chosen; by default on `test`, as the paper does.
    labels, validation_labels : tensor (B,) bool, optional
        The true answers, for the accuracy at :math:`\tau`.
    counted : tensor (B,) bool, optional
        Which of the test images the entropy is averaged over; all by default.
    names : sequence of n str, optional
        What the concepts are called.
    groups : mapping of str to sequence of int, optional
        Concepts that are chosen together; by default each for itself, if there are up to 64.
    draw : callable, optional
        ``draw(count, seed)`` gives the positions of `count` concepts at random.
    settings : mapping or callable, optional
        Further arguments of `distill_measured`; or a function of the scale that returns them. Those
        that the form has are where it begins.
    shows : View, optional
        A view that is given the result: ``shows.data = pack(explanation)``.
    pack : callable, optional
        See `shows`.
    on_result : callable, optional
        Called with this object after every run that came to a result, in the run's thread.

    Attributes
    ----------
    runs : list of dict
        All runs of the session: settings, losses, entropy, deviation, accuracy.
    fitted : FittedExplainer or None
        Of the last run.
    explanation : Explanation or None
        Of the test images, by the last run.
    history : list of dict
        Of the last run, one for each whole epoch.
    error : Exception or None
        Why the last run failed.

    Notes
    -----
    The same settings and seed give the same numbers as `distill_measured`, bit by bit on the same
    device and with the same number of threads. A fit draws from a generator of its own: it leaves
    those of torch and numpy alone, and other cells leave it alone.
    """

    runs = traitlets.List().tag(sync=True)
    commands = {"run": "run", "stop": "stop"}

    def __init__(
        self,
        train: Measured,
        test: Measured,
        *,
        title: str = "Distill again",
        about: str = "",
        validation: Measured | None = None,
        labels: Tensor | None = None,
        validation_labels: Tensor | None = None,
        counted: Tensor | None = None,
        names: Sequence[str] | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
        draw: Callable[[int, int], Sequence[int]] | None = None,
        settings: Mapping[str, object] | Callable[[str], Mapping[str, object]] | None = None,
        shows: View | None = None,
        pack: Callable[[Explanation], dict] | None = None,
        on_result: Callable[[Redistill], object] | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        n = check_shapes(x=(train.x, "B C H W"), y=(train.y, "B n"), yhat=(train.yhat, "B"))["n"]
        check_shapes(y=(train.y[:0], "none n"), test_y=(test.y, "B n"), test_yhat=(test.yhat, "B"))
        check_finite(x=train.x if isinstance(train.x, Tensor) else None)
        for name, some, of in (("labels", labels, test), ("counted", counted, test),
                               ("validation_labels", validation_labels, validation)):
            if some is not None and (of is None or some.shape != of.yhat.shape):
                raise InputError(f"{name}: shape {tuple(some.shape)} does not fit the images")
        if (shows is None) != (pack is None):
            raise InputError("shows: goes with pack, which makes its data of an explanation")
        self.train, self.test, self.validation = train, test, validation
        self.labels, self.validation_labels, self.counted = labels, validation_labels, counted
        self.names = [f"concept {i}" for i in range(n)] if names is None else list(names)
        if len(self.names) != n:
            raise InputError(f"names: {len(self.names)} names for {n} concepts")
        if groups is None:
            groups = {name: [i] for i, name in enumerate(self.names)} if n <= MANY else {}
        self.groups = {name: [int(i) for i in members] for name, members in groups.items()}
        self._draw = draw or self._any
        self._settings = settings if callable(settings) else lambda scale: settings or {}
        self.shows, self.pack, self.on_result = shows, pack, on_result
        self.fitted: FittedExplainer | None = None
        self.explanation: Explanation | None = None
        self.history: list[dict[str, float]] = []
        self.error: Exception | None = None
        given = dict(self._settings(DEFAULTS["scale"]))
        self.defaults = {k: given.get(k, v) for k, v in DEFAULTS.items()}
        if train.w is None:
            self.defaults["prior"] = "none"
        super().__init__(data={
            "title": title, "about": about, "n": n, "defaults": self.defaults,
            "priors": list(CONTROLS if train.w is not None else ["none"]), "scales": list(SCALES),
            "groups": [{"name": k, "size": len(m)} for k, m in self.groups.items()],
            "kinds": "concepts" if all(len(m) == 1 for m in self.groups.values()) else "groups",
            "caption": self._caption(),
        })

    def _caption(self) -> str:
        counted = len(self.test) if self.counted is None else int(self.counted.sum())
        text = f"Of {len(self.test):,} test images; entropy of {counted:,} of them, in nats"
        if self.labels is None:
            return text + "."
        on = "the same images" if self.validation_labels is None else \
            f"{len(self.validation):,} validation images"
        return text + f"; accuracy with a threshold chosen on {on}."

    # --- commands -------------------------------------------------------------------------------

    def run(self, *, prior: str | None = None, beta: float | None = None,
            epochs: int | None = None, seed: int | None = None, scale: str | float | None = None,
            concepts: int | Sequence[str] | None = None, draw: int = 0) -> Redistill:
        """Start a fit and return at once.

        Parameters
        ----------
        prior : {"measured", "uniform", "permuted", "none"}
        beta : float
        epochs, seed : int
        scale : {"literal", "scaled"} or float
            Each by default what the view began with; see `distill_measured`.
        concepts : int or sequence of str, optional
            So many of the concepts, drawn at random; or those of the named groups; or all.
        draw : int
            Seed of the draw.

        Returns
        -------
        Redistill
            This object: ``run(...).wait()`` waits.

        Raises
        ------
        InputError
            If a setting is not accepted, or a fit is under way, here or in another view.
        """
        given = {"prior": prior, "beta": beta, "epochs": epochs, "seed": seed, "scale": scale}
        chosen = self.defaults | {k: v for k, v in given.items() if v is not None} | {"draw": draw}
        self._check(chosen)
        among = self._among(concepts, draw)
        chosen["concepts"] = concepts if isinstance(concepts, int | None) else list(concepts)
        if not _one_fit.acquire(blocking=False):
            raise InputError("run: a fit is under way, here or in another view; accepted: stop it, "
                             "or wait for it")
        self._stop.clear()
        self.error = None
        number_ = len(self.runs) + 1
        self.tell(state="running", line="begins", done=0.0, problem=None, number=number_,
                  settings=chosen, history={})
        self._thread = beside(lambda: self._work(number_, chosen, among), f"run {number_}")
        return self

    def stop(self) -> None:
        """End the fit that is under way, before its next batch; what was fitted is shown."""
        self._stop.set()
        with self._lock:
            if self.status["state"] == "running":
                self.tell(line="stops")

    def wait(self) -> Redistill:
        """Wait until the run has ended; for pages that are executed, and for scripts.

        Raises
        ------
        Exception
            The one that ended it.
        """
        try:
            if self._thread is not None:
                self._thread.join()
        except KeyboardInterrupt:
            self.stop()
            raise
        if self.error is not None:
            raise self.error
        return self

    def show(self) -> None:
        """Display the view, and a figure of all losses for print and for pages without scripts."""
        from semquant_book.figures import training_history

        done = [row for row in self.runs if row.get("reached")]
        if not done:
            raise InputError("runs: none has come to a result; accepted: run(...).wait() before")
        keys = {"distillation": "distillation loss", "prior": "prior loss"}
        histories = {}
        for row in done:
            curves = {key: row["history"][key] for key in keys if row["history"][key]}
            histories[f"run {row['number']}, prior {row['settings']['prior']}"] = [
                dict(zip(curves, epoch)) for epoch in zip(*curves.values())]
        said = "; ".join(f"run {row['number']} with prior {row['settings']['prior']}, beta "
                         f"{row['settings']['beta']:g}, {row['reached']} epochs: entropy "
                         f"{row['entropy']:.3f}, relative deviation {row['deviation']:.4f}"
                         for row in done if row["entropy"] is not None)
        widgets.show(self, training_history(histories, keys),
                     f"{self.data['title']}: curves of the distillation loss and of the prior loss "
                     f"over epochs. {said}")

    def close(self) -> None:
        """Stop what is under way and remove the view."""
        self._stop.set()
        super().close()

    def _check(self, chosen: Mapping[str, object]) -> None:
        one_of("prior", chosen["prior"], CONTROLS)
        number("beta", chosen["beta"], 0)
        number("epochs", chosen["epochs"], 1, integer=True)
        number("seed", chosen["seed"], 0, integer=True)
        number("draw", chosen["draw"], 0, integer=True)
        if isinstance(chosen["scale"], str):
            one_of("scale", chosen["scale"], SCALES)
        elif not number("scale", chosen["scale"], 0) > 0:
            raise InputError(f"scale: {chosen['scale']!r} is not above 0")
        if self.train.w is None and chosen["prior"] != "none":
            raise InputError(f"prior: {chosen['prior']!r} needs measured prior weights, "
                             "there are none")

    def _among(self, concepts: int | Sequence[str] | None, draw: int) -> list[int]:
        """Positions of the concepts that take part."""
        n = len(self.names)
        if concepts is None:
            return list(range(n))
        if isinstance(concepts, (int, float)):
            number("concepts", concepts, 1, n, integer=True)
            return sorted(int(i) for i in self._draw(concepts, draw))
        if isinstance(concepts, str) or not concepts:
            raise InputError(f"concepts: {concepts!r} names none; accepted: one or more of "
                             f"{', '.join(self.groups)}")
        chosen = {i for name in concepts
                  for i in self.groups[one_of("concepts", name, tuple(self.groups))]}
        if not chosen:
            raise InputError(f"concepts: {', '.join(concepts)} has no members")
        return sorted(chosen)

    def _any(self, count: int, seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(self.names), generator=generator)[:count].tolist()

    # --- in the thread --------------------------------------------------------------------------

    def _work(self, number_: int, chosen: dict, among: list[int]) -> None:
        row = {"number": number_, "settings": chosen, "concepts": self._called(chosen, among)}
        problem = None
        try:
            fit = _Fit(self, chosen, among)
            fit.go()
            if fit.fitted is None:
                line = "stopped before the first batch"
                row |= {"state": "failed", "problem": line}
            else:
                line, judged = self._judge(fit, among)
                row |= judged
                problem = self._hand_on()
        except Exception as error:  # nobody is above a thread: it is shown, and kept for `wait`
            self.error = error
            row |= {"state": "failed", "problem": one_line(error)}
            line, problem = f"run {number_} failed", problem_of(error)
        try:
            with self._lock:
                self.runs = [*self.runs, row]
                self.tell(state=row["state"], line=line, problem=problem, history={},
                          done=1.0 if row["state"] == "done" else self.status["done"])
        finally:
            _one_fit.release()

    def _called(self, chosen: dict, among: list[int]) -> str:
        concepts = chosen["concepts"]
        if concepts is None:
            return f"all {len(among)}"
        if isinstance(concepts, int):
            return f"{concepts} drawn ({chosen['draw']})"
        return ", ".join(concepts) if len(concepts) <= 3 else f"{len(among)} chosen"

    def _judge(self, fit: _Fit, among: list[int]) -> tuple[str, dict]:
        """Explain the test images; return the run in a line, and for its row."""
        self.fitted, self.history = fit.fitted, fit.history
        said = self.fitted.explain_measured(self._part(self.test, among))
        self.explanation = said
        inside = slice(None) if self.counted is None else self.counted
        entropy = metrics.contribution_entropy(said[inside].contributions).nanmean()
        accuracy = None
        if self.labels is not None:
            if self.validation_labels is None:
                accuracy = metrics.best_threshold(said.total, self.labels)[1]
            else:
                held_out = self.fitted.explain_measured(self._part(self.validation, among))
                threshold, _ = metrics.best_threshold(held_out.total, self.validation_labels)
                accuracy = metrics.accuracy(said.total, self.labels, threshold)
        reached = f"{len(fit.history)} of {fit.epochs}"
        more = f"{fit.batch} {'batch' if fit.batch == 1 else 'batches'}"  # of the next epoch
        line = f"{'stopped after' if fit.stopped else 'done:'} {reached} epochs" \
               f"{f' and {more}' if fit.batch else ''}, {fit.seconds:.1f} s"
        return line, {
            "state": "stopped" if fit.stopped else "done",
            "reached": reached + (f", {more}" if fit.batch else ""),
            "seconds": round(fit.seconds, 2),
            "entropy": _plain(entropy),
            "highest": math.log(len(among)),
            "deviation": _plain(metrics.relative_deviation(said.yhat, said.total).mean()),
            "accuracy": _plain(accuracy),
            "history": _curves(fit.history),
        }

    def _part(self, measured: Measured, among: list[int]) -> Measured:
        return Measured(measured.x, measured.y[:, among], measured.yhat)

    def _hand_on(self) -> dict | None:
        """Give the result to who asked for it; what goes wrong there doesn't undo the run."""
        what = "pack"
        try:
            if self.shows is not None:
                self.shows.data = self.pack(self.explanation)
            what = "on_result"
            if self.on_result is not None:
                self.on_result(self)
        except Exception as error:
            return {"field": what, "text": f"{what}: {one_line(error)}"}
        return None


class _Fit:
    """One run: the fit and its progress."""

    def __init__(self, view: Redistill, chosen: dict, among: list[int]) -> None:
        self.view, self.epochs = view, chosen["epochs"]
        self.names = [view.names[i] for i in among]
        train = view.train
        w = None if train.w is None or chosen["prior"] == "none" else train.w[:, among]
        self.measured = Measured(_Watched(train.x, self.fetched), train.y[:, among], train.yhat, w)
        self.arguments = dict(view._settings(chosen["scale"]))
        self.arguments |= {k: chosen[k] for k in ("prior", "beta", "epochs", "seed", "scale")}
        self.arguments["workers"] = 0  # rows are fetched here, where it is seen
        full, rest = divmod(len(train), self.arguments.get("batch_size", 64))
        self.batches = max(1, full + (rest > 1))
        self.fitted: FittedExplainer | None = None
        self.history: list[dict[str, float]] = []
        self.batch = 0  # of the epoch under way
        self.stopped = False
        self.seconds = 0.0
        self._g: FittedExplainer | None = None
        self._said = 0.0

    def go(self) -> None:
        """Fit; afterwards `fitted` is what came out, or None if there was no batch before Stop."""
        started = time.perf_counter()
        try:
            self.fitted = distill_measured(self.measured, names=self.names, watch=self.watched,
                                           on_epoch=self.epoch, **self.arguments)
            self.history, self.batch = self.fitted.history, 0
        except _Stopped:
            if self._g is not None and (self.history or self.batch):
                self.fitted = replace(self._g, history=self.history)
        self.stopped = self.stopped and len(self.history) < self.epochs
        self.seconds = time.perf_counter() - started

    def watched(self, epoch: int, fitted: FittedExplainer) -> None:
        """Keep hold of g, which goes on learning."""
        self._g = fitted

    def fetched(self) -> None:
        """Before every batch."""
        if self._g is None:  # g's scale is being chosen
            return
        if self.view._stop.is_set():
            self.stopped = True
            raise _Stopped
        now = time.monotonic()
        if now - self._said > OFTEN:
            self.say(f"epoch {len(self.history) + 1} of {self.epochs}, batch {self.batch + 1} of "
                     f"{self.batches}", self.batch / self.batches)
        self.batch += 1

    def epoch(self, epoch: int, means: dict[str, float]) -> None:
        """After every epoch."""
        self.history.append(means)
        self.batch = 0
        if epoch in (1, self.epochs) or time.monotonic() - self._said > AT_LEAST:
            self.say(f"epoch {epoch} of {self.epochs}, loss {means['loss']:.4g}", 0.0,
                     history=_curves(self.history))

    def say(self, line: str, inside: float, **more: object) -> None:
        self._said = time.monotonic()
        if not self.view._stop.is_set():
            self.view.tell(line=line, done=(len(self.history) + inside) / self.epochs, **more)


def _curves(history: list[dict[str, float]]) -> dict[str, list]:
    """The losses of the epochs, or, of very many, of some that are evenly spread, and the last."""
    step = max(1, math.ceil(len(history) / POINTS))
    epochs = sorted({*range(1, len(history) + 1, step), len(history)} - {0})
    losses = {k: [_plain(history[t - 1][k]) for t in epochs if k in history[t - 1]]
              for k in ("distillation", "prior")}
    return {"epochs": epochs} | losses


def _plain(value: Tensor | float | None) -> float | None:
    """A number that a page can hold, which has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
