"""Tensors of many images that are not in memory: an index computes or reads the rows asked for.

What an explainer is fitted to is measured once, since the performer doesn't change. Of that, the map
x is by far the largest: 512 x 14 x 14 numbers an image for VGG-16, 81 GB for all of CelebA. Where it
is too large, `Computed` makes it anew from the images in every epoch; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["Computed", "Rows"]


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

    def compute(self, images: Tensor) -> Tensor:
        """The rows of images that are on the device."""
        with torch.no_grad():
            return self._compute(images)

    def _take(self, chosen: Tensor) -> Tensor:
        rows = [self.compute(self.images[some].to(self.device)).cpu() for some in chosen.split(256)]
        return torch.cat(rows) if rows else torch.empty(0, *self.shape[1:])
