"""The smoke book, which several files of tests read: how it is run, and how it is built once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from semquant_book.study.presets import build_root, project_root

ROOT = project_root(Path(__file__).parent)


def book(build: Path, *arguments: str, root: Path = ROOT, **options) -> subprocess.Popen:
    """Start `semquant book` in a process group of its own."""
    environment = os.environ | {"SEMQUANT_BUILD": str(build), "SEMQUANT_ROOT": str(root)}
    return subprocess.Popen([sys.executable, "-m", "semquant_book", "book", "--preset", "smoke",
                             *arguments], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True, **options)


def gone(processes: list[psutil.Process], timeout: float = 20) -> bool:
    """Whether processes end in time; what nobody has asked how it ended has ended too."""
    def waiting() -> list[psutil.Process]:
        left = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process)
        return left

    deadline = time.monotonic() + timeout
    while waiting() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not waiting()


def built_once(folder: Path) -> Path:
    """Build the book in a folder unless another process has, or is at it; return the build folder.

    Processes of one test session share the folder: the first that asks builds, the others wait.

    Raises
    ------
    AssertionError
        If the build failed, also in the process that did not run it.
    """
    build, outcome = folder / "smoke_book", folder / "smoke_book.said"
    with open(folder / "smoke_book.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            kept = build_root() / "cache" / "assets"  # of the pages' scripts; checked again
            if kept.is_dir():
                shutil.copytree(kept, build / "cache" / "assets",
                                ignore=shutil.ignore_patterns("tmp*"))
            process = book(build)
            said, _ = process.communicate()
            outcome.write_text(f"{process.returncode}\n{said}")
    status, _, said = outcome.read_text().partition("\n")
    assert status == "0", said
    return build
