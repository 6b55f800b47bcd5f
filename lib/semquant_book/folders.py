"""The project's folders: its own, the one of everything generated, the one of real photographs."""

from __future__ import annotations

import os
from pathlib import Path

from semquant.checks import InputError

__all__ = ["build_root", "data_root", "project_root"]


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
