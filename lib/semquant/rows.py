"""Tensors of many images that need not be in memory: mapped from a file, or made when asked for.

What an explainer is fitted to is measured once, since the performer doesn't change. Of that, the map
x is by far the largest: 512 x 14 x 14 numbers an image for VGG-16, 81 GB for all of CelebA. `choose`
says where it goes; whichever it is, an index gives the rows, and `training.TensorBatches` takes them.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from semquant.checks import InputError, one_of

__all__ = ["Computed", "Decoded", "Mapped", "Rows", "choose", "describe", "join", "subset"]

CACHES = ("auto", "memory", "disk", "recompute")
# of what is free
MEMORY_SHARE, DISK_SHARE = 0.5, 0.8
# Linux's control groups, version 2
OWN_GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


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


class Mapped(Rows):
    """float32 rows in a file, which the system reads and forgets as it sees fit.

    Parameters
    ----------
    path : Path
        The file. It is made if it isn't there; what is in it is otherwise taken as it is.
    shape : tuple of int

    Raises
    ------
    InputError
        If the file can't be made, or is of another size.
    """

    def __init__(self, path: Path, shape: Sequence[int]) -> None:
        self.path, self.shape = Path(path), tuple(int(length) for length in shape)
        size = 4 * math.prod(self.shape)
        try:
            if not self.path.exists():
                with open(self.path, "wb") as file:
                    file.truncate(size)
                    if hasattr(os, "posix_fallocate"):  # a full disk shows now, not in the midst
                        os.posix_fallocate(file.fileno(), 0, size)
            found = self.path.stat().st_size
        except OSError as error:
            raise InputError(f"output: {path} can't be written ({error.strerror})") from error
        if found != size:
            raise InputError(f"data: {path} has {found} bytes; accepted: {size}, of shape {self.shape}")
        self._rows = torch.from_file(str(self.path), shared=True, size=size // 4).view(self.shape)
        self._end = 0

    def append(self, rows: Tensor) -> None:
        """Write rows behind those written before."""
        self._rows[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def _take(self, chosen: Tensor) -> Tensor:
        return self._rows[chosen]


class Decoded(Rows):
    """Pictures in files, decoded each time they are asked for: (N, 3, S, S) uint8.

    Parameters
    ----------
    paths : sequence of Path
    size : int
        S in pixels.
    read : callable
        ``read(path, size)`` gives (S, S, 3) uint8.
    """

    def __init__(self, paths: Sequence[Path], size: int,
                 read: Callable[[Path, int], np.ndarray]) -> None:
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


class Computed(Rows):
    """What a frozen network makes of images, computed each time it is asked for.

    Parameters
    ----------
    images : Tensor or Rows, (N, ...)
    compute : callable
        Images (B, ...) on `device` -> rows (B, ...).
    shape : tuple of int
        Of all rows together.
    device : device
        Where `compute` runs.
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


def subset(images: Tensor | Decoded, chosen: Tensor) -> Tensor | Decoded:
    """Some of the images, decoded or not as they were."""
    return images.take(chosen) if isinstance(images, Decoded) else images[chosen]


def join(images: Sequence[Tensor | Decoded]) -> Tensor | Decoded:
    """Images one after the other; all in memory, or all in files."""
    if not isinstance(images[0], Decoded):
        return images[0] if len(images) == 1 else torch.cat(list(images))  # spare a copy
    return Decoded([path for some in images for path in some.paths], images[0].size, images[0].read)


def choose(choice: str, size: int, folder: Path) -> str:
    """Say where something goes that doesn't change while it is used.

    Parameters
    ----------
    choice : {"auto", "memory", "disk", "recompute"}
        ``"auto"``: in memory if it takes at most half of what is free (putting it together takes
        it twice for a moment); else to files in `folder` if it takes at most four fifths of the
        free disk; else it is computed again whenever it is needed.
    size : int
        Of it all, in bytes.
    folder : Path
        Where files would go.

    Returns
    -------
    str
        ``"memory"``, ``"disk"`` or ``"recompute"``.
    """
    if one_of("cache", choice, CACHES) != "auto":
        return choice
    if size <= MEMORY_SHARE * free_memory():
        return "memory"
    return "disk" if size <= DISK_SHARE * free_disk(folder) else "recompute"


def describe(what: str, size: int, where: str, folder: Path) -> str:
    """Return a line that says how large something is, where it goes and what is free."""
    place = {"memory": "kept in memory", "disk": f"kept in files in {folder}",
             "recompute": "computed again in every epoch"}[where]
    free = ", ".join(f"{gigabytes(n)} of {name}" for n, name in
                     ((free_memory(), "memory"), (free_disk(folder), "disk")))
    return f"{what}: {gigabytes(size)}, {place} (free: {free})"


def gigabytes(size: float) -> str:
    """A number of bytes in decimal gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"


def free_memory() -> int:
    """Bytes that a process can still take, a container's limit included."""
    free = psutil.virtual_memory().available
    try:  # a cluster's limit may be on any group above ours
        lines = OWN_GROUP.read_text().splitlines()
    except OSError:
        return free
    own = next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    group = GROUPS / own
    for place in (group, *group.parents):
        try:
            limit, used = (int((place / name).read_text()) for name in ("memory.max",
                                                                        "memory.current"))
            pairs = (line.split() for line in (place / "memory.stat").read_text().splitlines())
            cached = int(dict(pairs)["inactive_file"])  # what files fill is given back
        except (OSError, ValueError, KeyError):  # no limit ("max"), or none that is told here
            continue
        free = min(free, limit - used + cached)
    return max(free, 0)


def free_disk(folder: Path) -> int:
    """Bytes that can still be written below a folder, which need not be there yet."""
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
