"""Files that are whole or absent: written beside, then put in their place."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from semquant.checks import InputError

__all__ = ["write_whole"]


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write a file whole or not at all; what was there before stays if anything fails.

    Raises
    ------
    InputError
        If the folder doesn't exist or can't be written to, or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"path: {path} can't be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)
    return path
