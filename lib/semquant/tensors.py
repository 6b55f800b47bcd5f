"""Checks of tensors: shapes that fit each other, values that are finite or not negative."""

from __future__ import annotations

import torch

from semquant.checks import InputError
from semquant.rows import Rows

__all__ = ["check_finite", "check_not_negative", "check_shapes"]


def check_shapes(**tensors: tuple[torch.Tensor | Rows, str]) -> dict[str, int]:
    """Check that tensors have the axes they should, with axes of one name equally long.

    Parameters
    ----------
    **tensors : (tensor, str)
        For each field the tensor and the names of its axes, e.g. ``y=(y, "B n")``.

    Returns
    -------
    dict
        The length of each axis.

    Raises
    ------
    InputError
        If a value is no tensor, has another number of axes, or an axis differs in length from the
        axis of the same name in a field before it.
    """
    sizes: dict[str, int] = {}
    for field, (tensor, axes) in tensors.items():
        names = axes.split()
        accepted = f"({', '.join(names)})"
        if not isinstance(tensor, torch.Tensor | Rows):
            kind = type(tensor).__name__
            raise InputError(f"{field}: {kind} is not a tensor of shape {accepted}")
        shape = tuple(tensor.shape)
        if len(shape) != len(names):
            raise InputError(f"{field}: shape {shape} is not {accepted}")
        for name, length in zip(names, shape):
            if sizes.setdefault(name, length) != length:
                raise InputError(
                    f"{field}: shape {shape} is not {accepted} with {name} = {sizes[name]}"
                )
    return sizes


def check_finite(**tensors: torch.Tensor | None) -> None:
    """Check that tensors hold neither NaN nor infinity; None is let through.

    Raises
    ------
    InputError
        If one does.
    """
    for field, tensor in tensors.items():
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise InputError(f"{field}: {bad} of {tensor.numel()} values are NaN or infinite")


def check_not_negative(**tensors: torch.Tensor) -> None:
    """Check that every value is at least 0, and not NaN.

    Raises
    ------
    InputError
        If one is not.
    """
    for field, tensor in tensors.items():
        if not bool((tensor >= 0).all()):  # false for NaN as well
            low = float(tensor.min())
            raise InputError(f"{field}: smallest value {low:.4g} is not at least 0")
