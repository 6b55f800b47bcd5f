"""Which output of a model is explained: by number, by name, or another one for each image."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from semquant.checks import InputError, number, one_of

__all__ = ["class_names", "resolve", "resolve_each", "scores_of"]


def resolve(target: object, model: object = None, concepts: object = None) -> int:
    """Return the number of one output.

    Parameters
    ----------
    target : int or str
        A whole number from 0, of Python, NumPy or a tensor () of them; or a class's name.
    model, concepts : optional
        Who may know the names: ``concepts.outputs``, or the model as `class_names` reads it.

    Raises
    ------
    InputError
        If it is neither, or a name that is unknown or of several outputs. That the model has so
        many outputs is checked where they are known, by `scores_of`.
    """
    if isinstance(target, str):
        return _named(target, getattr(concepts, "outputs", None) or class_names(model))
    if isinstance(target, Tensor | np.ndarray | np.generic) and target.ndim == 0:
        target = target.item()
    outputs = getattr(concepts, "outputs", None)
    try:
        number("target", target if isinstance(target, bool) else operator.index(target), 0,
               len(outputs) - 1 if outputs else None, integer=True)
    except TypeError as error:
        several = isinstance(target, list | tuple | Tensor | np.ndarray)
        shown = f"{len(target)} outputs" if several and len(target) != 1 else repr(target)
        raise InputError(f"target: {shown} is not a whole number of at least 0, or a class's name"
                         + "; several: see measure_many" * several) from error
    return operator.index(target)


def resolve_each(target: object, model: object = None, concepts: object = None) -> int | Tensor:
    """As `resolve`; of a list, array or tensor (B,) a tensor (B,), one output for each image."""
    if isinstance(target, list | tuple) or getattr(target, "ndim", 0) > 0:
        if getattr(target, "ndim", 1) > 1:
            raise InputError(f"target: shape {tuple(target.shape)} is not (B,), one for each image")
        if not len(target):
            raise InputError("target: none were given")
        return torch.tensor([resolve(one, model, concepts) for one in target], dtype=torch.long)
    return resolve(target, model, concepts)


def scores_of(outputs: Tensor, target: object, model: object = None, concepts: object = None) -> Tensor:
    """The scores yhat (B,) of outputs (B, K): of one target, or of one for each image."""
    target, last = resolve_each(target, model, concepts), outputs.shape[1] - 1
    for one in target.unique().tolist() if isinstance(target, Tensor) else [target]:
        number("target", one, 0, last, integer=True)
    if not isinstance(target, Tensor):
        return outputs[:, target]
    if len(target) != len(outputs):
        raise InputError(f"target: {len(target)} were given for {len(outputs)} images; accepted: one, or "
                         "one for each image")
    return outputs.gather(1, target.to(outputs.device)[:, None])[:, 0]


def class_names(model: object) -> dict[int, str] | list[str] | None:
    """What a model's outputs are called, where it knows: transformers' or torchvision's way.

    ``model.config.id2label``, or ``model.categories``: set the latter from a list of your own, or
    from ``weights.meta["categories"]``.
    """
    return getattr(getattr(model, "config", None), "id2label", None) or getattr(model, "categories", None)


def _named(target: str, names: Mapping | list | None) -> int:
    if not names:
        raise InputError(f"target: {target!r} is a name, and this model knows none; accepted: a whole "
                         "number, or model.categories = [...] before")
    names = names if isinstance(names, Mapping) else dict(enumerate(names))
    found = [int(i) for i, name in names.items() if name == target]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"target: {target!r} is the name of outputs {', '.join(map(str, found))}; "
                         "accepted: one of these numbers")
    return one_of("target", target, list(map(str, names.values())))
