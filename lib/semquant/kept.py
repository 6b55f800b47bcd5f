"""Fitted explainers in files: what is in one, how it is checked, and that nothing in it is run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from copy import copy
from pathlib import Path
from reprlib import repr as shortened
from typing import Self

import torch
from safetensors import safe_open
from torch import Tensor, nn

from semquant import __version__
from semquant.checks import InputError
from semquant.concepts import FilterConcepts, OutputConcepts
from semquant.corrected import Correction
from semquant.explainers import Explainer
from semquant.files import checksum, reading, write_tensors
from semquant.report import Report
from semquant.steps import StepConcepts, Steps

__all__ = ["FORMAT", "Kept", "options_of", "read", "rebuilt", "write"]

#: Of the files written here. Those without a number have g's settings and the names alone, and no checksum.
FORMAT = 2
#: What a setting that only it has says g is.
KINDS = {"hidden": Correction, "kind": Steps}
#: Concepts that a file alone can build.
BUILT = {kind.__name__: kind for kind in (FilterConcepts, OutputConcepts, StepConcepts)}
#: What `distill` chooses itself: options, and what it makes of which concepts.
CHOSEN = {"positions": (), "clip": (), "reached": (), "StepConcepts": ("OutputConcepts",)}


class Kept:
    """What a fitted explainer has to go into a file, and to come back."""

    def save(self, path: str | Path) -> None:
        """Write all but the model as a safetensors file, with a checksum; whole or not at all.

        A function, such as `prepare`, can't be in a file: `load` asks for it.
        """
        write(path, self.g, {
            "names": self.names, "concepts": options_of(self.concepts),
            "target": self.target if plain(self.target) else None,
            "prepared": self.prepare is not None, "without_prior": self.without_prior,
            "report": None if self.report is None else self.report.to_dict()})

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | None = None, concepts: object = None,
             prepare: Callable[[Tensor], Tensor] | None = None) -> Self:
        """Read what `save` wrote; with the model, an explainer of images at once.

        An InputError if the file can't be read, holds no explainer, is damaged or of a newer format, or
        lacks what the model needs: a function given as an option of the concepts, or `prepare`. What is
        given as `concepts` has to be what was given to the fit; names are taken from it if it has some.
        """
        g, about = read(path)
        concepts = rebuilt(about.get("concepts"), concepts)
        if isinstance(g, Correction) and isinstance(concepts, FilterConcepts):  # files of before don't say it
            concepts = copy(concepts)
            concepts.positions, concepts.clip = "weighted", False
        if isinstance(g, Steps) and not isinstance(concepts, StepConcepts | None):
            raise InputError(f"concepts: {path} has steps; accepted: StepConcepts")
        if model is not None:
            if concepts is None:
                raise InputError(f"concepts: {path} can't tell them; accepted: the ones of the fit")
            if about.get("prepared") and prepare is None:
                raise InputError(f"prepare: {path} was fitted with one; accepted: that function")
            concepts.check(model)
        report = about.get("report")
        return cls(g, [], about.get("without_prior", 0), about["names"], model, concepts,
                   about.get("target"), prepare, None if report is None else Report.of(report))


def write(path: str | Path, g: Explainer | Correction, about: dict) -> None:
    """Write g as a safetensors file with what is said about it, plain values; whole or not at all."""
    about = {"format": FORMAT, "version": __version__, "settings": g.settings, **about}
    write_tensors(path, "explainer", about, g.state_dict(), "explainer")


def read(path: str | Path) -> tuple[nn.Module, dict]:
    """Read what `write` wrote: g, in evaluation mode, and what is said about it.

    Nothing is built before the file is known to hold its tensors: what it claims costs no memory.
    """
    with reading(path, "explainer", "explainer"):
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["explainer"])
            if about.get("format", 0) > FORMAT:
                raise InputError(f"explainer: {path} has format {about['format']}, of semquant "
                                 f"{about['version']}; accepted here: up to {FORMAT}")
            with torch.device("meta"):  # shapes without numbers
                kind = next((KINDS[key] for key in KINDS if key in about["settings"]), Explainer)
                g = kind.of(**about["settings"])
            _check_tensors(g, file, path)
            state = {name: file.get_tensor(name) for name in file.keys()}
        if set(about) != {"settings", "names"} and about.pop("sha256") != checksum(about, state):
            raise InputError(f"explainer: {path} is damaged, its checksum is another")
        g.load_state_dict(state, assign=True)
        return g.eval(), about


def _check_tensors(g: nn.Module, file: object, path: str | Path) -> None:
    """Check by the file's head alone that it has the tensors of a module."""
    there = {name: file.get_slice(name) for name in file.keys()}
    there = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in there.items()}
    here = {name: (tuple(tensor.shape), {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype])
            for name, tensor in g.state_dict().items()}
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            raise InputError(f"weights: {path} is of another architecture ({name} is "
                             f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here)")


def options_of(concepts: object) -> dict | None:
    """What builds concepts again, as plain values, with the names of options that are none."""
    if concepts is None:
        return None
    values, lacks = {}, []
    for name in inspect.signature(type(concepts)).parameters:
        value = getattr(concepts, name, None)
        value = value.tolist() if isinstance(value, Tensor) else value
        if plain(value):
            values[name] = value
        else:
            lacks.append(name)
    named = dict(getattr(concepts, "named", {}))
    return {"kind": type(concepts).__name__, "options": values, "lacks": lacks} | ({"named": named} if named else {})


def plain(value: object) -> bool:
    """Whether JSON can hold a value."""
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False


def rebuilt(kept: dict | None, given: object = None) -> object | None:
    """The concepts of `options_of`, or those that are given, with what `distill` itself had chosen.

    None where nothing is given and an option was no plain value. InputError if what is given is of
    another kind or says something else.
    """
    if kept is None or (given is None and kept["lacks"]):
        return given
    kind, options = kept["kind"], dict(kept["options"])
    if given is not None:
        accepted = {kind, *CHOSEN.get(kind, ())}
        if accepted.isdisjoint(one.__name__ for one in type(given).__mro__):
            raise InputError(f"concepts: {type(given).__name__} given, the fit had {min(accepted)}")
        said = options_of(given)["options"]
        for name, value in options.items():
            if name in said and said[name] != value and name not in CHOSEN and None not in (
                    (said[name], value) if name == "outputs" else ()):
                raise InputError(f"concepts: {name} is {shortened(said[name])}, the fit had {shortened(value)}")
    if given is None or kind not in {one.__name__ for one in type(given).__mro__}:
        if kind not in BUILT:
            raise InputError(f"concepts: {kind} is a class of one's own; accepted: concepts= of the fit")
        found = BUILT[kind](**options, **{name: getattr(given, name) for name in kept["lacks"]})
    else:
        found = copy(given)
        vars(found).update({name: options[name] for name in ("positions", "clip") if name in options})
    named = getattr(given, "named", None) or {int(i): name for i, name in kept.get("named", {}).items()}
    return found.with_names(named) if named else found
