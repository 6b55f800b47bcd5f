"""Fitted explainers in files: what is in one, how it is checked, and that nothing in it is run."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semquant import concepts as kinds
from semquant.checks import InputError, one_of
from semquant.corrected import Correction
from semquant.explainers import Explainer

__all__ = ["FORMAT", "options_of", "read", "rebuilt", "write"]

#: Of the files written here. Those without a number have g's settings and the names alone, and no checksum.
FORMAT = 2


def write(path: str | Path, g: Explainer | Correction, about: dict) -> None:
    """Write g as a safetensors file with what is said about it, plain values; whole or not at all."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in g.state_dict().items()}
    about = {"format": FORMAT, "version": _version(), "settings": g.settings, **about}
    about["sha256"] = _digest(about, state)
    try:
        # one entry: safetensors writes several in an order that changes from run to run
        save_file(state, beside, metadata={"explainer": json.dumps(about)})
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"explainer: {path} can't be written ({reason})") from error
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | Path) -> tuple[nn.Module, dict]:
    """Read what `write` wrote: g, in evaluation mode, and what is said about it.

    Nothing is built before the file is known to hold its tensors: what it claims costs no memory.

    Raises
    ------
    InputError
        If the file can't be read, holds no explainer, is of a newer format, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["explainer"])
            if about.get("format", 0) > FORMAT:
                raise InputError(f"explainer: {path} has format {about['format']}, of semquant "
                                 f"{about['version']}; accepted here: up to {FORMAT}")
            with torch.device("meta"):  # shapes without numbers
                g = (Correction if "hidden" in about["settings"] else Explainer).of(**about["settings"])
            _check_tensors(g, file, path)
            state = {name: file.get_tensor(name) for name in file.keys()}
        if set(about) != {"settings", "names"} and about.pop("sha256") != _digest(about, state):
            raise InputError(f"explainer: {path} is damaged, its checksum is another")
        g.load_state_dict(state, assign=True)
        return g.eval(), about
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"explainer: {path} can't be read ({error.strerror or error})") from error
    except Exception as error:  # no such entry, no such setting, no safetensors file
        raise InputError(f"explainer: {path} holds no explainer") from error


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


def _digest(about: dict, state: dict[str, Tensor]) -> str:
    """SHA-256 of all that a file holds, but of this itself."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


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
