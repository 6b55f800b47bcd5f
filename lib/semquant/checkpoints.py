"""Where the state of a fit is kept, and which fit it is of."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from semquant.checks import InputError

__all__ = ["Checkpoint", "OwnCheckpoint"]


class Checkpoint(Protocol):
    """Where the state of a fit is kept."""

    def load(self) -> dict | None:
        """What was saved last, with all tensors on the CPU; None if there is nothing to go on from."""

    def save(self, state: dict) -> None:
        """Keep a state, whole or not at all."""


class OwnCheckpoint:
    """A `Checkpoint` that is taken for one fit only; that of another is an InputError.

    `words` are the fit's settings, which must be the same; of its `data`, tensors (N, ...), a random
    projection is kept, which must be the same up to rounding.
    """

    def __init__(self, kept: Checkpoint, words: str, *data: Tensor) -> None:
        self.kept, self.words = kept, words
        self.sketch = [_projection(tensor) for tensor in data]

    def load(self) -> dict | None:
        state = self.kept.load()
        if state is None:
            return None
        words, sketch = state.pop("words", None), state.pop("sketch", [])
        if words != self.words or not _alike(sketch, self.sketch):
            other = "settings" if words != self.words else "images, or another model or target"
            raise InputError(f"checkpoint: it is of another fit, with other {other}; remove it, or name "
                             "another")
        return state

    def save(self, state: dict) -> None:
        self.kept.save({**state, "words": self.words, "sketch": self.sketch})


def _projection(tensor: Tensor) -> Tensor:
    """A tensor (N, ...) times N random numbers, always the same ones."""
    along = torch.randn(len(tensor), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return along @ tensor.detach().cpu().double().reshape(len(tensor), -1)


def _alike(these: list[Tensor], those: list[Tensor]) -> bool:
    return len(these) == len(those) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
        for a, b in zip(these, those))
