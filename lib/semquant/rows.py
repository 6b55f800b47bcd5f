"""Tensors of many images that are not in memory: an index computes or reads the rows asked for.

What an explainer is fitted to is measured once, since the performer doesn't change. Of that, the map
x is by far the largest: 512 x 14 x 14 numbers an image for VGG-16, 81 GB for all of CelebA. Where it
is too large, `Computed` makes it anew from the images in every epoch; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["Chosen", "Computed", "Gathered", "Rows"]

PIECE = 2**26  # bytes, 64 MB


class Rows:
    """Tensors of N images, of which an index gives some.

    Attributes
    ----------
    shape : tuple of int
        (N, ...), as of the tensor that they would be together.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> Tensor:
        """The rows of a slice, or of a tensor or list of numbers or of booleans."""
        return self._take(torch.arange(len(self))[index])

    def split(self, size: int) -> Iterator[Tensor]:
        """The rows in their order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def _take(self, chosen: Tensor) -> Tensor:
        raise NotImplementedError


class Computed(Rows):
    """What a frozen network makes of images, computed each time it is asked for.

    `compute` turns images (B, ...) on `device` into rows (B, ...); `shape` is that of all rows.
    """

    def __init__(self, images: Tensor | Rows, compute: Callable[[Tensor], Tensor],
                 shape: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.images, self.shape = images, tuple(int(length) for length in shape)
        self._compute, self.device = compute, torch.device(device)

    def of(self, index: Tensor) -> Computed:
        """The rows of some of the images, still to be computed."""
        shape = (len(index), *self.shape[1:])
        return Computed(Chosen(self.images, index), self._compute, shape, self.device)

    def compute(self, images: Tensor) -> Tensor:
        """The rows of images that are on the device."""
        with torch.no_grad():
            return self._compute(images)

    def _take(self, chosen: Tensor) -> Tensor:
        rows = [self.compute(self.images[some].to(self.device)).cpu() for some in chosen.split(256)]
        return torch.cat(rows) if rows else torch.empty(0, *self.shape[1:])


class Chosen(Rows):
    """Those of some rows, or of a tensor's, that an index chooses; read when they are asked for."""

    def __init__(self, rows: Tensor | Rows, index: Tensor) -> None:
        self.rows, self.index, self.shape = rows, index, (len(index), *rows.shape[1:])

    def _take(self, chosen: Tensor) -> Tensor:
        return self.rows[self.index[chosen]]


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
