"""Downloads that go on where they broke off, checked, and archives unpacked with care."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from semquant.checks import InputError

__all__ = ["Download", "Unpacked", "beside", "counts", "download", "expected", "flaw", "human",
           "unpack"]

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


@dataclass(frozen=True)
class Download:
    """A file that its owner publishes; the fields are explained in ``book/sources.yml``."""

    file: str
    urls: list[str]
    size: int | None
    checksum: str | None
    roughly: int | None = None
    stated: str = ""
    unpack: Unpacked | None = None


def counts(name: str, pattern: PurePosixPath) -> bool:
    """Say whether a file's name is one of those that a pattern wants."""
    return fnmatch(name.lower(), pattern.name) and not name.startswith(".")


def flaw(path: Path, item: Download) -> str:
    """Say in which way a file is not the one published, or return ''."""
    size = path.stat().st_size
    if item.size not in (None, size):
        return f"has {size:,} bytes instead of {item.size:,}"
    if not item.checksum:
        return ""
    algorithm, digits = item.checksum.split(":")
    with open(path, "rb") as file:
        made = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    known = made.hexdigest()[: len(digits)]
    return "" if known == digits else f"has the {algorithm} {known} instead of {digits}"


def human(size: float | None) -> str:
    """Write a number of bytes for a person."""
    if size is None:
        return "size not known"
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def expected(item: Download) -> str:
    """Say how large a download is, as far as that is known."""
    return f"about {human(item.roughly)}" if item.roughly else human(item.size)


def beside(path: Path, ending: str) -> Path:
    """Return a path whose name has one more ending."""
    return path.with_name(path.name + ending)


def download(item: Download, path: Path) -> None:
    """Download a file from the first of its addresses that answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in item.urls:
        part = beside(path, ".part")
        with open(part, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"fetch: another run is fetching {path}") from error
            whole = item.checksum and not flaw(part, item)  # stopped just before the renaming
            reason = "" if whole else _transfer(url, item, path, file)
        if not reason:
            break
        reasons.append(f"{url} ({reason})")
        if not part.stat().st_size:
            part.unlink()
    else:
        raise InputError(f"fetch: {item.file} can't be had from {', nor from '.join(reasons)}")
    if wrong := flaw(part, item):
        aside = beside(path, ".damaged")
        os.replace(part, aside)
        raise InputError(f"fetch: {item.file} {wrong}: set aside as {aside}")
    os.replace(part, path)
    if not item.checksum:
        print(f"{item.file}: no checksum is known, so only its length was checked")


def _transfer(url: str, item: Download, path: Path, file) -> str:
    """Append to a begun file what it lacks; return why the address did not answer, or ''.

    Without a checksum to decide at the end, a begun file is not gone on with, but fetched anew.
    """
    from http.client import HTTPException
    from ssl import SSLError
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    start, whole = os.fstat(file.fileno()).st_size, True
    wanted = {"Range": f"bytes={start}-"} if start and item.checksum else {}
    try:
        answer = urlopen(Request(url, headers={"User-Agent": "semquant"} | wanted), timeout=60)
    except (HTTPException, OSError, ValueError) as error:  # among them urllib's own
        if wanted and getattr(error, "code", 0) == 416:  # begun with something longer
            file.truncate(0)
            return _transfer(url, item, path, file)
        return f"HTTP {error.code}" if isinstance(error, HTTPError) else str(error)
    with answer:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
            file.truncate(0)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        begun = f", {human(start)} of it are here" if start else ""
        print(f"{item.file}: {human(total) if total else expected(item)} from {url}{begun}")
        size = total or item.size or item.roughly or 0
        _check_space(path.parent, size - start + (size if item.unpack else 0))
        try:
            with tqdm.wrapattr(file, "write", total=total, initial=start, disable=None) as out:
                shutil.copyfileobj(answer, out, 1 << 20)
        except (HTTPException, ConnectionError, TimeoutError, SSLError):
            whole = False
    file.flush()
    os.fsync(file.fileno())
    have = os.fstat(file.fileno()).st_size
    if not whole or (total and have < total):
        raise InputError(f"fetch: the connection broke after {human(have)} of {item.file}; run "
                         f"this again to {'go on' if item.checksum else 'start anew'}")
    return ""


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"fetch: {human(needed)} are needed in {folder}, {human(free)} are free")


# --- archives -------------------------------------------------------------------------------------


@contextmanager
def _members(path: Path) -> Iterator[list[tuple[tarfile.TarInfo, Callable]]]:
    """Give the members of a tar or zip archive, each with a function that opens it."""
    with ExitStack() as stack:
        if not zipfile.is_zipfile(path):
            tar = stack.enter_context(tarfile.open(path))
            yield [(member, tar.extractfile) for member in tar.getmembers()]
            return
        packed = stack.enter_context(zipfile.ZipFile(path))
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
    """Unpack what is wanted of an archive, file by file, each written beside and renamed.

    Nothing is written before every member has been looked at: absolute paths, paths with "..",
    links that lead out of the folder and devices are refused. Links are never made.
    """
    pattern, part = PurePosixPath(want.files), PurePosixPath(want.part).parts
    target = place / pattern.parent
    unpacking = target / ".unpacking.part"
    if not hasattr(tarfile, "data_filter"):
        raise InputError("fetch: unpacking needs Python 3.11.4 or later")
    try:
        with _members(path) as members:
            for member, _ in members:
                _refuse(path, member, place)
            wanted = []
            for member, start in members:
                name = PurePosixPath(member.name)
                if (member.isreg() and name.parent.parts[-len(part):] == part
                        and counts(name.name, pattern)):
                    wanted.append((member, name.name, start))
            if not wanted:
                raise InputError(f"fetch: {path} holds no {want.part}/{pattern.name}")
            target.mkdir(parents=True, exist_ok=True)
            _check_space(target, sum(member.size for member, _, _ in wanted))
            print(f"unpacking {len(wanted):,} {want.unit} to {target}")
            for member, name, start in wanted:
                with start(member) as source, open(unpacking, "wb") as file:
                    shutil.copyfileobj(source, file)
                os.replace(unpacking, target / name)
    except _DAMAGED as error:
        aside = beside(path, ".damaged")
        os.replace(path, aside)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
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
