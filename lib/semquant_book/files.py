"""Files that are whole or absent: written beside, synced, renamed, and checked when read."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from semquant.checks import InputError

__all__ = ["Checkpoint", "check_writable", "load_or_make", "read_checked", "sha256",
           "write_atomic", "write_checked"]

T = TypeVar("T")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: str | Path, content: bytes | str | Callable[[Path], object]) -> Path:
    """Write a file, bytes, text or what a function writes to a path, whole or not at all.

    The content goes to a file beside `path`, is synced to disk and then renamed over `path`; if
    anything fails on the way, the file beside is removed and `path` is what it was before. Missing
    folders are made. InputError if the folder can't be written to, or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(beside)
        else:
            beside.write_bytes(content.encode() if isinstance(content, str) else content)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"output: {path} can't be written ({reason})") from error
    finally:
        if beside.exists():
            beside.unlink()
    return path


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def write_checked(path: str | Path, content: bytes | str | Callable[[Path], object]) -> Path:
    """Write a file atomically, and its checksum in a second file, ``<name>.sha256``, after it."""
    path = Path(path)
    _sidecar(path).unlink(missing_ok=True)  # an old checksum must not speak for a new file
    write_atomic(path, content)
    write_atomic(_sidecar(path), sha256(path) + "\n")
    return path


def read_checked(path: str | Path, load: Callable[[Path], T]) -> T | None:
    """Load a file written by `write_checked`; None if it is absent or damaged.

    A damaged file is renamed to ``<name>.damaged``, with a line on standard error.
    """
    path = Path(path)
    if not path.exists():
        return None
    side = _sidecar(path)
    if side.exists() and side.read_text(encoding="utf-8").strip() == sha256(path):
        return load(path)
    aside = path.with_name(path.name + ".damaged")
    os.replace(path, aside)
    side.unlink(missing_ok=True)
    print(f"semquant: {path} does not match its checksum: set aside as {aside.name}, made again",
          file=sys.stderr)
    return None


def load_or_make(
    path: str | Path, load: Callable[[Path], T], make: Callable[[], T],
    save: Callable[[T, Path], object]) -> T:
    """Load what belongs at a path, or make it and write it there by ``save(value, path)``."""
    value = read_checked(path, load)
    if value is None:
        value = make()
        write_checked(path, lambda beside: save(value, beside))
    return value


class Checkpoint:
    """The state of a training run in a file with a checksum, see `semquant.checkpoints.Checkpoint`.

    `key` names the settings and code that the state belongs to; one with another key is not gone on
    with, nor is a damaged one, which is set aside.
    """

    def __init__(self, path: str | Path, key: str = "") -> None:
        self.path, self.key = Path(path), key

    def load(self) -> dict | None:
        import torch  # here, so that asking for paths stays quick

        content = read_checked(self.path, lambda path: torch.load(
            path, map_location="cpu", weights_only=True))
        return content if content is not None and content.pop("key") == self.key else None

    def save(self, state: dict) -> None:
        import torch

        write_checked(self.path, lambda beside: torch.save({**state, "key": self.key}, beside))

    def remove(self) -> None:
        """Forget the state: the run has come to its end."""
        self.path.unlink(missing_ok=True)
        _sidecar(self.path).unlink(missing_ok=True)


def check_writable(folder: str | Path) -> Path:
    """Make a folder and check that files can be written there, or InputError before long work."""
    write_atomic(Path(folder) / ".writable", b"").unlink()
    return Path(folder)
