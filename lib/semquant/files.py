"""Files that are whole or absent, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from semquant.checks import InputError

__all__ = ["checksum", "reading", "write_tensors", "write_whole"]


def write_whole(path: str | Path, content: bytes | str, field: str = "path") -> Path:
    """Write a file whole or not at all; what was there before stays if anything fails (InputError)."""
    if not isinstance(path, str | os.PathLike) or not Path(path).name:
        raise InputError(f"{field}: {path!r} is no file's path")
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{field}: {path} can't be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_tensors(path: str | Path, key: str, about: dict, tensors: dict[str, Tensor], field: str = "path") -> None:
    """Write a safetensors file whose one entry says what it is, plain values, with a `checksum` of all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {**about, "sha256": checksum(about, tensors)}
    # one entry: safetensors writes several in an order that changes from run to run
    write_whole(path, save(tensors, {key: json.dumps(about)}), field)


@contextmanager
def reading(path: str | Path, field: str, lacks: str) -> Iterator[None]:
    """Say in one line what is wrong with a file while it is read; `lacks` is what it may not hold."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{field}: {path} can't be read ({error.strerror or error})") from error
    except Exception as error:  # no such entry, no such setting, no safetensors file
        raise InputError(f"{field}: {path} holds no {lacks}") from error


def checksum(about: dict, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of what a file says and of its tensors, their names, types and shapes."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
