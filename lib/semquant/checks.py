"""Checks of what people type: one line that names the field, the value and what is accepted."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["InputError", "number", "one_of"]


class InputError(ValueError):
    """Input that cannot be used. Its message is one line, written for the person who typed it."""

    def __str__(self) -> str:
        """The message on one line, whatever a file's content or name brought into it."""
        return " ".join(super().__str__().splitlines())

    def _render_traceback_(self) -> list[str]:
        """Show the one line, not the traceback, in a notebook (IPython asks for this)."""
        return [f"InputError: {self}"]


def one_of(field: str, value: object, accepted: Collection) -> object:
    """Return `value` if it is among `accepted`.

    Parameters
    ----------
    field : str
        The name the person knows the value by, e.g. ``"architecture"``.
    value : object
        What was given.
    accepted : collection
        What may be given.

    Raises
    ------
    InputError
        If `value` is not accepted; the message lists what is, and the closest name.
    """
    if value in accepted:
        return value
    names = ", ".join(str(a) for a in accepted)
    close = get_close_matches(str(value), [str(a) for a in accepted], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"{field}: {value!r} is not one of {names}{hint}")


def number(
    field: str,
    value: object,
    low: float | None = None,
    high: float | None = None,
    *,
    integer: bool = False,
) -> float:
    """Return `value` if it is a number within [`low`, `high`].

    Parameters
    ----------
    field : str
        The name the person knows the value by.
    value : object
        What was given. ``True`` and ``False`` are not numbers here.
    low, high : float, optional
        Inclusive bounds.
    integer : bool
        Whether only whole numbers are accepted.

    Raises
    ------
    InputError
        If `value` is not such a number.
    """
    kind = "a whole number" if integer else "a number"
    bounds = {
        (True, True): f" from {low} to {high}",
        (True, False): f" of at least {low}",
        (False, True): f" of at most {high}",
        (False, False): "",
    }[low is not None, high is not None]
    right_type = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
    if (
        not right_type
        or value != value
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise InputError(f"{field}: {value!r} is not {kind}{bounds}")
    return value
