"""Pictures in files, decoded each time they are asked for: what doesn't fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semquant.checks import InputError
from semquant.rows import Rows

__all__ = ["Decoded", "join", "subset"]


class Decoded(Rows):
    """Pictures in files, decoded each time they are asked for: (N, 3, S, S) uint8. ``read(path,
    size)`` gives (S, S, 3) uint8."""

    def __init__(self, paths: Sequence[Path], size: int, read: Callable[[Path, int], np.ndarray]):
        self.paths, self.size, self.read = list(paths), size, read
        self.shape = (len(self.paths), 3, size, size)

    def take(self, chosen: Tensor) -> Decoded:
        """The same of some of the files."""
        return Decoded([self.paths[i] for i in chosen.tolist()], self.size, self.read)

    def _take(self, chosen: Tensor) -> Tensor:
        images = torch.empty(len(chosen), *self.shape[1:], dtype=torch.uint8)
        for image, i in zip(images, chosen.tolist()):
            try:
                image[:] = torch.from_numpy(self.read(self.paths[i], self.size)).permute(2, 0, 1)
            except InputError as error:
                raise InputError(f"data: {self.paths[i]} can't be used ({error})") from error
        return images


def subset(images: Tensor | Decoded, chosen: Tensor) -> Tensor | Decoded:
    """Some of the images, decoded or not as they were."""
    return images.take(chosen) if isinstance(images, Decoded) else images[chosen]


def join(images: Sequence[Tensor | Decoded]) -> Tensor | Decoded:
    """Images one after the other; all in memory, or all in files."""
    if not isinstance(images[0], Decoded):
        return images[0] if len(images) == 1 else torch.cat(list(images))  # spare a copy
    return Decoded([path for some in images for path in some.paths], images[0].size, images[0].read)
