"""Fitted explainers in files: what is in one, how it is checked, and that nothing in it is run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from semquant import concepts as kinds
from semquant.checks import InputError, one_of
from semquant.corrected import Correction
from semquant.explainers import Explainer
from semquant.files import checksum, reading, write_whole
from semquant.report import Report
from semquant.steps import Steps

__all__ = ["FORMAT", "Kept", "options_of", "read", "rebuilt", "write"]

#: Of the files written here. Those without a number have g's settings and the names alone, and no checksum.
FORMAT = 2
#: What a setting that only it has says g is.
KINDS = {"hidden": Correction, "kind": Steps}


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
        lacks what the model needs: a function given as an option of the concepts, or `prepare`.
        """
        g, about = read(path)
        concepts = rebuilt(about.get("concepts")) if concepts is None else concepts
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
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in g.state_dict().items()}
    about = {"format": FORMAT, "version": _version(), "settings": g.settings, **about}
    about["sha256"] = checksum(about, state)
    # one entry: safetensors writes several in an order that changes from run to run
    write_whole(path, save(state, {"explainer": json.dumps(about)}), "explainer")


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


def _version() -> str:
    try:
        return version("semquant")
    except PackageNotFoundError:  # imported from its folder
        return "unknown"


def options_of(concepts: object) -> dict | None:
    """What builds concepts again, as plain values, with the names of options that are none."""
    if concepts is None:
        return None
    values, lacks = {}, []
    for name in inspect.signature(type(concepts)).parameters:
        value = getattr(concepts, name, None)
        if plain(value):
            values[name] = value
        else:
            lacks.append(name)
    return {"kind": type(concepts).__name__, "options": values, "lacks": lacks}


def plain(value: object) -> bool:
    """Whether JSON can hold a value."""
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False


def rebuilt(kept: dict | None) -> object | None:
    """The concepts of `options_of`; None where an option was no plain value."""
    if kept is None or kept["lacks"]:
        return None
    one_of("concepts", kept["kind"], [name for name in kinds.__all__ if name.endswith("Concepts")])
    return getattr(kinds, kept["kind"])(**kept["options"])
