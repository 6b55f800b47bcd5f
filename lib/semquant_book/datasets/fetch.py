"""Where real data and public weights come from: `semquant data` lists, fetches and checks them.

Downloads are pooch's: written beside, checked and renamed, so that a file is whole or absent. One
that broke off is fetched anew.
"""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from textwrap import fill
from typing import NamedTuple

import yaml

from semquant.checks import InputError, one_of
from semquant_book.datasets.archives import Unpacked, check_space, human, set_aside, unpack
from semquant_book.files import check_writable
from semquant_book.folders import of_a_system, project_root

__all__ = ["Found", "Source", "add_parser", "check", "describe", "fetch", "load_sources", "run",
           "verify"]


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


@dataclass(frozen=True)
class Source:
    """A data set or a network's weights; the fields are explained in ``book/sources.yml``."""

    name: str
    title: str
    use: str
    homepage: str
    licence: str
    fetch: str
    downloads: list[Download]
    places: tuple[str, ...] = (".",)
    reason: str = ""
    how: str = ""
    package: tuple[str, str] | None = None


class Found(NamedTuple):
    """What a folder holds of one source."""

    place: Path  # where most of it lies: the folder itself, or one in it
    have: int  # how many of its files are there
    problems: list[str]  # what is missing or not as published; empty if it is complete
    notes: list[str]  # what else is worth knowing

    @property
    def state(self) -> str:
        return ("partial" if self.have else "missing") if self.problems else "complete"


def load_sources() -> dict[str, Source]:
    """Read ``book/sources.yml``."""
    path, sources = project_root() / "book" / "sources.yml", {}
    with _one_line("sources", path):
        text = path.read_text(encoding="utf-8")
    for name, fields in yaml.safe_load(text).items():
        downloads = [Download(**item | {"unpack": Unpacked(**item["unpack"])} if "unpack" in item
                              else item) for item in fields["downloads"]]
        sources[name] = Source(name, **fields | {"downloads": downloads})
    return sources


def check(source: Source, folder: str | Path) -> Found:
    """Look what a folder holds of a source: names and numbers of files, sizes and checksums. No
    picture is opened, empty files don't count; of the places where the files may lie, the one with
    most is described."""
    places = [Path(folder) / place for place in source.places]
    if source.package and (spec := find_spec(source.package[0])):
        places.append(Path(spec.submodule_search_locations[0]) / source.package[1])
    found = []
    for place in places:
        have, problems, notes = zip(*(_look(item, place) for item in source.downloads))
        found.append(Found(place, sum(have), [p for p in problems if p], sum(notes, [])))
    return max(found, key=lambda f: (f.have, len(f.notes)))


def _look(item: Download, place: Path) -> tuple[int, str, list[str]]:
    """Return how many files of a download are in place, what is wrong with them, and notes."""
    path, want, notes = place / item.file, item.unpack, []
    if not want:
        problem = _flaw(path, item) if path.is_file() else "is missing"
        return (0, f"{item.file} {problem}", []) if problem else (1, "", [])
    names = set()
    if (place / want.folder).is_dir():
        with os.scandir(place / want.folder) as entries:
            names = {Path(e.name).stem for e in entries if want.counts(e.name) and e.is_file()
                     and e.stat().st_size and not of_a_system(e.name)}
    if want.partner:
        alone = [PurePosixPath(want.partner.format(n)).name for n in sorted(names)
                 if not (place / want.partner.format(n)).is_file()]
        if alone:
            notes.append(f"{len(alone):,} {want.unit} lack their {_some(alone)}")
    numbered = [want.numbered.format(i + 1) for i in range(want.count)] if want.numbered else names
    missing = [name for name in numbered if name not in names]
    names = names.intersection(numbered)
    if len(names) >= want.count:
        return len(names), "", notes
    if path.is_file():
        notes.append(f"{item.file} is there, not unpacked; --fetch unpacks it")
    without = f" (without {_some(missing)})" if names and missing else ""
    problem = f"{len(names):,} of {want.count:,} {want.unit} in {want.folder}{without}"
    return len(names), problem, notes


def _flaw(path: Path, item: Download) -> str:
    """Say in which way a file is not the one published, or return ''."""
    from pooch import file_hash

    size = path.stat().st_size
    if item.size not in (None, size):
        return f"has {size:,} bytes instead of {item.size:,}"
    if not item.checksum:
        return ""
    algorithm, digits = item.checksum.split(":")
    known = file_hash(path, algorithm)[: len(digits)]
    return "" if known == digits else f"has the {algorithm} {known} instead of {digits}"


def verify(folder: str | Path, name: str | None = None) -> str:
    """Print what a folder holds of one source, or of all, and return a summary. InputError if the
    folder is not there, or the named source is not complete in it."""
    sources = load_sources()
    chosen = [sources[one_of("name", name, sources)]] if name else list(sources.values())
    if not Path(folder).is_dir():
        raise InputError(f"verify: {folder} is not a folder")
    states = {"complete": [], "partial": [], "missing": []}
    with _one_line("verify", folder):
        for source in chosen:
            found = check(source, folder)
            states[found.state].append(source.name)
            if found.state == "missing" and not name and not found.notes:
                continue
            print(f"{source.name}: {found.state} in {found.place}")
            for line in (*found.problems, *found.notes):
                print(f"    {line}")
    if states["missing"] and not name:
        print(f"missing:\n{_row('', ', '.join(states['missing']))}")
    if name and not states["complete"]:
        raise InputError(f"verify: {name} is not complete in {folder}: {'; '.join(found.problems)}")
    counts = ", ".join(f"{len(names)} {state}" for state, names in states.items() if names)
    return f"{name} is complete" if name else f"{counts} in {folder}"


def fetch(name: str, folder: str | Path) -> str:
    """Fetch what a folder lacks of a source, unpack it, and return a line on what was done. Files
    that are there already are checked and used, so a source that has to be downloaded by hand is
    unpacked by this as well. One that was fetched with a wrong checksum is set aside as
    ``<name>.damaged``. InputError if it can't be had, is not as published, or doesn't fit on the
    disk."""
    sources = load_sources()
    source, by_hand = sources[one_of("fetch", name, sources)], []
    with _one_line("fetch", folder):
        found = check(source, folder)
        if found.state == "complete":
            return f"{name} is complete in {found.place}"
        check_writable(folder)
        if source.fetch == "auto":
            print(f"{source.title}\nlicence: {source.licence}")
        for item in source.downloads:
            path = found.place / item.file
            if not _look(item, found.place)[1]:
                continue
            if not path.is_file() and source.fetch != "auto":
                by_hand.append(item)
                continue
            if not path.is_file():
                _download(item, path)
            elif wrong := _flaw(path, item):
                raise InputError(f"fetch: {path} {wrong}; move it away and try again")
            if item.unpack:
                unpack(path, item.unpack, found.place)
        if by_hand:
            print(describe(source))
            todo = "" if source.package else (f": put {', '.join(item.file for item in by_hand)} "
                                              f"into {found.place} and run this again")
            raise InputError(f"fetch: {name} has to be fetched by hand{todo}")
        found = check(source, folder)
    if found.problems:
        raise InputError(f"fetch: {name} is not complete afterwards: {'; '.join(found.problems)}")
    return f"{name} is complete in {found.place}"


def _download(item: Download, path: Path) -> None:
    """Download a file from the first of its addresses that answers."""
    from pooch import HTTPDownloader
    from requests.exceptions import ChunkedEncodingError, RequestException
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    size, reasons, part = item.size or item.roughly or 0, [], path.with_name(path.name + ".part")
    headers = {"User-Agent": "semquant", "Accept-Encoding": "identity"}  # archives stay packed
    check_space(path.parent, 2 * size if item.unpack else size)
    with open(part, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"fetch: another run is fetching {path}") from error
        try:
            for url in item.urls:
                file.truncate(0)
                try:
                    with tqdm(total=size or 1, unit="B", unit_scale=True, desc=item.file,
                              disable=None) as bar:
                        HTTPDownloader(bar, 2**18, headers=headers, timeout=60)(url, file, None)
                except RequestException as error:
                    if isinstance(error, ChunkedEncodingError) or part.stat().st_size:
                        raise InputError(f"fetch: the connection broke in the midst of {item.file}; "
                                         "run this again to start anew") from error
                    status = getattr(error.response, "status_code", None)
                    reasons.append(f"{url} ({f'HTTP {status}' if status else error})")
                    continue
                print(f"{item.file}: {human(part.stat().st_size)} from {url}")
                break
            else:
                raise InputError(f"fetch: {item.file} can't be had from {', nor from '.join(reasons)}")
            os.fsync(file.fileno())
            if wrong := _flaw(part, item):
                raise InputError(f"fetch: {item.file} {wrong}: set aside as {set_aside(part, path.name)}")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    if not item.checksum:
        print(f"{item.file}: no checksum is known, so only its length was checked")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


@contextmanager
def _one_line(field: str, folder: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise InputError(f"{field}: {where} ({error.strerror or error})") from error


def _row(word: str, text: str) -> str:
    return fill(text, 100, initial_indent=f"    {word:10}", subsequent_indent=" " * 14,
                break_on_hyphens=False, break_long_words=False)


def describe(source: Source) -> str:
    """Return all that is known of a source, for a person to read."""
    lines = [f"{source.name}: {source.title}", _row("for", source.use),
             _row("page", source.homepage), _row("licence", source.licence)]
    for item in source.downloads:
        size, checksum = human(item.size), "no checksum is known"
        if item.roughly:
            size = f"about {human(item.roughly)}"
        if item.checksum:
            algorithm, digits = item.checksum.split(":")
            begins = "" if len(digits) in (32, 64) else " begins with"
            checksum = f"{algorithm}{begins} {digits} ({item.stated})"
        lines += [_row("file", f"{item.file}, {size}"), _row("", checksum)]
        lines += [_row("from", url) for url in item.urls]
        if want := item.unpack:
            lines.append(_row("leaves", f"{want.files}: {want.count:,} {want.unit} "
                              f"(counted by {want.counted})"))
    if source.fetch == "auto":
        lines.append(_row("fetch", f"semquant data --fetch {source.name} --to FOLDER"))
    else:
        lines += [_row("by hand", f"because {source.reason}"), _row("", source.how)]
    return "\n".join(lines)


def _summary(source: Source) -> str:
    sizes = [item.size or item.roughly for item in source.downloads]
    about = "about " if any(item.size is None for item in source.downloads) else ""
    size = about + human(sum(filter(None, sizes))) if any(sizes) else "size not known"
    sums = sum(item.checksum is not None for item in source.downloads)
    checks = {0: "no checksum known", len(sizes): "checksum known"}.get(sums, "some checksums")
    how = "--fetch fetches it" if source.fetch == "auto" else "fetched by hand"
    return "\n".join([f"{source.name}: {source.title}", _row("", f"{size}; {checks}; {how}"),
                      _row("", f"licence: {source.licence}")])


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command ``data`` to those of `semquant`."""
    data = commands.add_parser("data", help="say where real data come from, fetch and check them")
    data.add_argument("name", nargs="?", help="a data set or weights (default: all)")
    data.add_argument("--fetch", metavar="NAME", help="fetch it, as far as that is allowed")
    data.add_argument("--to", metavar="FOLDER", help="where --fetch puts it")
    data.add_argument("--verify", metavar="FOLDER", help="say what of it a folder holds")


def run(arguments: argparse.Namespace) -> str:
    """Do what `semquant data` was asked and return the line to say at the end."""
    if arguments.fetch is not None:
        if arguments.verify is not None or arguments.name is not None:
            raise InputError("fetch: accepted: --fetch NAME --to FOLDER, without anything else")
        if not arguments.to:
            raise InputError("to: --fetch needs a folder; accepted: --fetch NAME --to FOLDER")
        return fetch(arguments.fetch, arguments.to)
    if arguments.to is not None:
        raise InputError("to: accepted only with --fetch NAME")
    if arguments.verify is not None:
        return verify(arguments.verify, arguments.name)
    sources = load_sources()
    if arguments.name is not None:
        print(describe(sources[one_of("name", arguments.name, sources)]))
        return "nothing was fetched or checked"
    print("\n".join(_summary(source) for source in sources.values()))
    return f"{len(sources)} sources; semquant data NAME says more of one"
