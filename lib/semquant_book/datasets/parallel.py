"""Drawing many images at once, the same ones for any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant.checks import number
from semquant_book.files import check_writable, load_or_make

__all__ = ["in_chunks", "kept", "processes"]

T = TypeVar("T")


def processes(wanted: int | None) -> int:
    """Return how many processes work: those wanted, at least 1, or one for each available core."""
    if wanted is not None:
        return number("workers", wanted, 1, integer=True)
    linux = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return tensors from a cache, or make them, once it is known that they can be kept there."""
    def made() -> dict[str, Tensor]:
        check_writable(path.parent)
        return make()

    return load_or_make(path, load_file, made, save_file)


def in_chunks(work: Callable[[tuple[list, int]], T], plan: list, size: int,
              workers: int) -> list[T]:
    """Return what `work` makes of each chunk of a plan, in order. It takes (50 or fewer items of
    the plan, size) and is a function of a module, so that another process can find it; one worker
    works here, without a pool."""
    tasks = [(plan[start : start + 50], size) for start in range(0, len(plan), 50)]
    workers = min(workers, len(tasks))
    if workers == 1:
        return [work(task) for task in tasks]
    # forking spares the workers the import of torch; it is not safe on macOS
    method = "fork" if sys.platform.startswith("linux") else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(work, tasks))
