"""The project's folders: its own, the one of everything generated, the one of real photographs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from semquant.checks import InputError

__all__ = ["build_root", "data_root", "of_a_system", "project_root", "real"]

#: Files that file managers leave in folders, beside hidden ones; in lower case.
LEFT = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")


def of_a_system(name: str) -> bool:
    """Whether a file or folder is hidden, or was left by another system: ``._name``, ``Thumbs.db``."""
    return name.startswith(".") or name.lower() in LEFT


def real(paths: Iterable[Path], root: Path | None = None) -> list[Path]:
    """Return paths in order, without those `of_a_system`, or in a folder of a system below `root`."""
    return sorted(path for path in paths if not any(
        of_a_system(part) for part in (path.relative_to(root).parts if root else (path.name,))))


def project_root(start: str | Path | None = None) -> Path:
    """Return the project's folder: `start` (this folder by default) or one above it.

    InputError if none of them holds ``book/presets``.
    """
    start = Path(start or os.environ.get("SEMQUANT_ROOT") or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "book" / "presets").is_dir():
            return folder
    raise InputError(f"folder: {start} is not inside the project (no book/presets above it); "
                     "change to the project's folder or set SEMQUANT_ROOT")


def build_root() -> Path:
    """Return the folder of everything generated: ``SEMQUANT_BUILD``, or ``_build`` in the project."""
    return Path(os.environ.get("SEMQUANT_BUILD") or project_root() / "_build").resolve()


def data_root() -> Path:
    """Return the folder of real photographs: ``SEMQUANT_DATA``, which ``make DATA=...`` sets.

    InputError if none is given, or it is no folder.
    """
    given = os.environ.get("SEMQUANT_DATA")
    if not given:
        raise InputError("data: no folder of real photographs is given; accepted: DATA=folder with "
                         "make, or the variable SEMQUANT_DATA")
    if not Path(given).is_dir():
        raise InputError(f"data: {given} is not a folder")
    return Path(given).resolve()
