"""Tensors of the same images, side by side: put together batch by batch, and chosen from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Self

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_finite
from semquant.images import Images, input_by
from semquant.rows import Computed, Rows
from semquant.training import home_of

__all__ = ["Columns", "Gathered", "gathered", "some_of"]

PIECE = 2**26  # bytes, 64 MB


class Columns:
    """Base of dataclasses whose fields are tensors or `Rows` of the same images, or None."""

    def __getitem__(self, index) -> Self:
        """The images of an index: a slice, or a tensor of numbers or of booleans."""
        return self._each(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(None if value is None else change(value) for value in values))

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """One after the other."""
        columns = zip(*([getattr(part, field.name) for field in fields(cls)] for part in parts))
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))


class _Chosen(Rows):
    """Those of some rows, or of a tensor's, that an index chooses; read when they are asked for."""

    def __init__(self, rows: Tensor | Rows, index: Tensor) -> None:
        self.rows, self.index, self.shape = rows, index, (len(index), *rows.shape[1:])

    def _take(self, chosen: Tensor) -> Tensor:
        return self.rows[self.index[chosen]]


def some_of(computed: Computed, index: Tensor) -> Computed:
    """The rows of some of the images, still to be computed."""
    return Computed(_Chosen(computed.images, index), computed.compute, (len(index), *computed.shape[1:]),
                    computed.device)


class Gathered:
    """Tensors of many images, put together from those of batches without ever holding them twice.

    They are copied into large pieces, one where `expected` says how many images there will be. A small
    tensor kept from each batch would be enough to hold the memory of all that the batches needed: it
    lies between, and what is free around it can't be given back.
    """

    def __init__(self, expected: int | None = None) -> None:
        self.expected = expected
        self._pieces: dict[object, list[tuple[Tensor, int]]] = {}  # each with how much of it is filled

    def add(self, batch: Mapping[object, Tensor | None]) -> None:
        """Copy a batch's tensors (B, ...), on any device; None stays None."""
        for name, rows in batch.items():
            pieces = self._pieces.setdefault(name, [])
            while rows is not None and len(rows):
                if not pieces or pieces[-1][1] == len(pieces[-1][0]):
                    one = max(1, rows[0].numel() * rows.element_size())
                    first = None if pieces else self.expected
                    pieces.append((_like(rows, first or max(len(rows), PIECE // one)), 0))
                piece, filled = pieces[-1]
                some = rows[: len(piece) - filled]
                piece[filled : filled + len(some)] = some
                pieces[-1], rows = (piece, filled + len(some)), rows[len(some) :]

    def whole(self) -> dict[object, Tensor | None]:
        """The tensors (N, ...) of all batches, on the CPU. The pieces are let go."""
        return {name: self._joined(self._pieces.pop(name)) for name in list(self._pieces)}

    def _joined(self, pieces: list[tuple[Tensor, int]]) -> Tensor | None:
        if not pieces:
            return None
        if len(pieces) == 1 and self.expected is not None:
            piece, filled = pieces[0]
            return piece[:filled]
        end = sum(filled for _, filled in pieces)
        found = _like(pieces[0][0], end)
        while pieces:
            piece, filled = pieces.pop()
            found[end - filled : end] = piece[:filled]
            end -= filled
        return found


def _like(x: Tensor, count: int) -> Tensor:
    """Room for so many rows in memory, laid out as those of x are."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(count, *x.shape[1:], dtype=x.dtype, device="cpu",
                       memory_format=torch.channels_last if last else torch.contiguous_format)


def gathered(parts: Iterable[dict], x_of: Callable[[Tensor], Tensor], model: nn.Module, images: Images,
              prepare: Callable[[Tensor], Tensor] | None, keep_x: bool) -> dict:
    """The tensors of all parts; x among them in memory once, or computed again when it is asked for."""
    if not keep_x and images.rows() is None:
        raise InputError("keep_x: False needs images whose number is known and that are read by it: a "
                         "tensor, rows, an array, a list, a Dataset or a folder")
    gathered, count, shape = Gathered(images.expected()), 0, ()
    for part in parts:
        if not keep_x:
            check_finite(x=part["x"])  # nobody looks at all of it later
            count, shape = count + len(part["x"]), part["x"].shape[1:]
        gathered.add(part if keep_x else part | {"x": None})
    found, ready = gathered.whole(), input_by(prepare)
    if not keep_x:
        found["x"] = Computed(images.rows(), lambda batch: x_of(ready(batch)), (count, *shape),
                              home_of(model))
    return found
