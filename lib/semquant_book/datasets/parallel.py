"""Drawing many images at once, the same ones for any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

__all__ = ["available_cores", "in_chunks"]

T = TypeVar("T")


def available_cores() -> int:
    """Return how many cores this process may use."""
    linux = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1


def in_chunks(
    work: Callable[[tuple[list, int]], T], plan: list, size: int, workers: int
) -> list[T]:
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
