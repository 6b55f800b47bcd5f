"""Archives unpacked with care: nothing out of the folder, no link, each file whole or absent."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from semquant.checks import InputError

__all__ = ["Unpacked", "check_space", "human", "set_aside", "unpack"]

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
            EOFError, RuntimeError)  # what a cut, spoilt or encrypted archive raises


@dataclass(frozen=True)
class Unpacked:
    """The files that an archive leaves; the fields are explained in ``book/sources.yml``."""

    part: str
    files: str
    count: int
    unit: str
    counted: str
    numbered: str | None = None
    partner: str | None = None

    @property
    def folder(self) -> PurePosixPath:
        return PurePosixPath(self.files).parent

    def counts(self, name: str) -> bool:
        """Say whether a file's name is one of those that are wanted."""
        return fnmatch(name.lower(), PurePosixPath(self.files).name) and not name.startswith(".")


def human(size: float | None) -> str:
    """Write a number of bytes for a person."""
    if size is None:
        return "size not known"
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def check_space(folder: Path, needed: int) -> None:
    """Raise InputError if the disk of a folder has fewer bytes free than are needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"fetch: {human(needed)} are needed in {folder}, {human(free)} are free")


def set_aside(file: Path, name: str) -> Path:
    """Rename a file that is not what it should be to ``<name>.damaged``, and return its path."""
    return file.replace(file.with_name(f"{name}.damaged"))


@contextmanager
def _members(path: Path) -> Iterator[list[tuple[tarfile.TarInfo, Callable]]]:
    """Give the members of a tar or zip archive, each with a function that opens it."""
    if not zipfile.is_zipfile(path):
        with tarfile.open(path) as tar:
            yield [(member, tar.extractfile) for member in tar.getmembers()]
        return
    with zipfile.ZipFile(path) as packed:
        members = []
        for item in packed.infolist():
            member = tarfile.TarInfo(item.filename)
            member.size = item.file_size
            if item.is_dir():
                member.type = tarfile.DIRTYPE
            elif stat.S_ISLNK(item.external_attr >> 16):
                member.type = tarfile.SYMTYPE
                member.linkname = packed.read(item).decode(errors="replace")
            members.append((member, lambda _, item=item: packed.open(item)))
        yield members


def unpack(path: Path, want: Unpacked, place: Path) -> None:
    """Unpack what is wanted of an archive, file by file, each written beside and renamed. Nothing
    is written before every member has been looked at: absolute paths, paths with "..", links that
    lead out of the folder and devices are refused. Links are never made. InputError for a refused
    member; if nothing wanted is in the archive or the disk is too small; if it is cut or spoilt,
    which then is set aside as ``<name>.damaged``."""
    if not hasattr(tarfile, "data_filter"):
        raise InputError("fetch: unpacking needs Python 3.11.4 or later")
    part, target, wanted = PurePosixPath(want.part).parts, place / want.folder, []
    unpacking = target / ".unpacking.part"
    try:
        with _members(path) as members:
            for member, start in members:
                _refuse(path, member, place)
                name = PurePosixPath(member.name)
                if (member.isreg() and name.parent.parts[-len(part):] == part
                        and want.counts(name.name)):
                    wanted.append((member, target / name.name, start))
            if not wanted:
                raise InputError(f"fetch: {path} holds no {want.part}/{PurePosixPath(want.files).name}")
            target.mkdir(parents=True, exist_ok=True)
            check_space(target, sum(member.size for member, _, _ in wanted))
            print(f"unpacking {len(wanted):,} {want.unit} to {target}")
            for member, file, start in wanted:
                with start(member) as source, open(unpacking, "wb") as whole:
                    shutil.copyfileobj(source, whole)
                os.replace(unpacking, file)
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        aside = set_aside(path, path.name)
        raise InputError(f"fetch: {path.name} can't be unpacked ({reason}): set aside as {aside}; "
                         "run this again to fetch it anew") from error
    finally:
        unpacking.unlink(missing_ok=True)


def _refuse(path: Path, member: tarfile.TarInfo, place: Path) -> None:
    """Refuse a member that would be written, or leads, out of the folder."""
    name = PurePosixPath(member.name.replace("\\", "/"))
    problem = name.is_absolute() or ".." in name.parts
    try:
        tarfile.data_filter(member, str(place))
    except (tarfile.FilterError, ValueError):  # a NUL byte in a name
        problem = True
    if problem:
        raise InputError(f"fetch: {path} is refused: its member {member.name!r} leads out of the "
                         "folder or is a device")
