"""Checks of input, each failing with one line: the field, the value and what is accepted."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # checks of names are asked for where torch is not needed
    from torch import Tensor

__all__ = ["InputError", "check_assignment", "check_finite", "check_not_negative", "check_shapes", "check_varies", "needed",
           "number", "one_of"]

LONGEST = 600  # characters of a list of names in an error


class InputError(ValueError):
    """Input that cannot be used. Its message is one line, written for the person who typed it."""

    def __str__(self) -> str:
        """The message on one line, whatever a file's content or name brought into it."""
        return " ".join(super().__str__().splitlines())

    def _render_traceback_(self) -> list[str]:
        """Show the one line, not the traceback, in a notebook (IPython asks for this)."""
        return [f"InputError: {self}"]


def one_of(field: str, value: object, accepted: Collection) -> object:
    """Return `value` if it is among `accepted`; otherwise raise an InputError that lists what is.

    `field` is the name that the person knows the value by, e.g. ``"architecture"``. Of what is too
    much for a line only the number and the three nearest are told.
    """
    if value in accepted:
        return value
    names = ", ".join(str(a) for a in accepted)
    if len(names) > LONGEST:
        near = get_close_matches(str(value), [str(a) for a in accepted], n=3, cutoff=0)
        raise InputError(f"{field}: {value!r} is not one of {len(accepted)} names; the nearest are "
                         f"{', '.join(near)}")
    close = get_close_matches(str(value), [str(a) for a in accepted], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"{field}: {value!r} is not one of {names}{hint}")


def number(field: str, value: object, low: float | None = None, high: float | None = None, *,
           integer: bool = False) -> float:
    """Return `value` if it is a number within [`low`, `high`]; otherwise raise an InputError.

    With `integer` only whole numbers are accepted. ``True`` and ``False`` are not numbers here.
    """
    kind = "a whole number" if integer else "a number"
    given = value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # NumPy's, or a tensor ()
        value = value.item()
    bounds = {(True, True): f" from {low} to {high}",
              (True, False): f" of at least {low}",
              (False, True): f" of at most {high}",
              (False, False): ""}[low is not None, high is not None]
    right_type = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
    if (not right_type or value != value
        or (low is not None and value < low)
        or (high is not None and value > high)):
        raise InputError(f"{field}: {given!r} is not {kind}{bounds}")
    return value


def needed(module: str, what: str, package: str = "") -> ModuleType:
    """Import a module of a package that only an extra installs; InputError where it is not there.

    `what` is what the person asked for, e.g. ``"to_frame"``; `package` is what to install, where it
    has another name than the module.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = package or module.partition(".")[0]
        raise InputError(f"{what}: package {package} is not installed (pip install {package}, or in "
                         "this project's folder: pip install '.[show]')") from error


def check_shapes(**tensors: tuple[Tensor, str]) -> dict[str, int]:
    """Return the length of each axis of tensors, each given with its axes' names, ``y=(y, "B n")``.

    An InputError if a value is no tensor, has another number of axes, or an axis differs in length
    from the axis of the same name in a field before it.
    """
    sizes: dict[str, int] = {}
    for field, (tensor, axes) in tensors.items():
        names = axes.split()
        accepted = f"({', '.join(names)})"
        if not (hasattr(tensor, "shape") and hasattr(tensor, "split")):
            kind = type(tensor).__name__
            raise InputError(f"{field}: {kind} is not a tensor of shape {accepted}")
        shape = tuple(tensor.shape)
        if len(shape) != len(names):
            raise InputError(f"{field}: shape {shape} is not {accepted}")
        for name, length in zip(names, shape):
            if sizes.setdefault(name, length) != length:
                raise InputError(f"{field}: shape {shape} is not {accepted} with {name} = "
                                 f"{sizes[name]}")
    return sizes


def check_finite(**tensors: Tensor | None) -> None:
    """Check that tensors hold neither NaN nor infinity (InputError); None is let through."""
    for field, tensor in tensors.items():
        if tensor is None or not tensor.numel():
            continue
        if not all(bool(end.isfinite()) for end in tensor.aminmax()):  # both are NaN where one value is
            bad = int((~tensor.isfinite()).sum())
            raise InputError(f"{field}: {bad} of {tensor.numel()} values are NaN or infinite")


def check_varies(field: str, values: Tensor) -> None:
    """Check that values (B,) differ by more than rounding (InputError)."""
    spread, size = float(values.std()), float(values.abs().max())
    if not spread > 1e-6 * size:
        raise InputError(f"{field}: all {len(values)} are {float(values.mean()):.4g}, or within rounding of it; "
                         "there is nothing to explain")


def check_assignment(assignment: Tensor, parts: int, field: str = "assignment") -> None:
    """Check that each filter's group (n,) is a whole number from -1, for none, to `parts` - 1."""
    wrong = (assignment < -1) | (assignment >= parts) | (assignment != assignment.round())
    if bool(wrong.any()):
        bad = assignment[wrong][0].item()
        raise InputError(f"{field}: {bad} is not a whole number from -1 to {parts - 1}")


def check_not_negative(**tensors: Tensor) -> None:
    """Check that every value is at least 0, and not NaN (InputError)."""
    for field, tensor in tensors.items():
        if not bool((tensor >= 0).all()):  # false for NaN as well
            low = float(tensor.min())
            raise InputError(f"{field}: smallest value {low:.4g} is not at least 0")
