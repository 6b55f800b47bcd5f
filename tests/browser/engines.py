"""Find the browsers that the built book is opened in; run as a script, install those that are missing.

`make test` runs the script before the tests; pytest installs nothing. Chromium carries most of the
tests (``chromium.py``). Firefox and WebKit open every page besides (``test_engines.py``): where one of
them can't be had, one line says so, here and at the end of the tests, and the others go on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # when it is run as a script

from browser import chromium  # noqa: E402

PACKAGES = {"Firefox": ["firefox-esr"], "WebKit": ["webkit2gtk-driver", "xvfb"]}  # Debian's


@lru_cache
def firefox() -> str | None:
    """Return the path of a Firefox that starts, or None; a path in ``FIREFOX`` is the only one tried."""
    given = os.environ.get("FIREFOX")
    for path in [given] if given else map(shutil.which, ("firefox-esr", "firefox")):
        if path and "Mozilla Firefox" in _says(path):
            return path
    return None


@lru_cache
def webkit() -> tuple[str, str, str] | None:
    """Return the paths of WebKitGTK's driver, of its small browser and of Xvfb; None if one is missing."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browsers = sorted(path for place in ("lib/*/", "libexec/", "lib/", "lib64/")
                      for path in Path("/usr").glob(f"{place}webkit2gtk-4.*/MiniBrowser"))
    return (driver, str(browsers[-1]), screen) if driver and screen and browsers else None


FIND = {"Firefox": firefox, "WebKit": webkit}


def left_out() -> list[str]:
    """Return the engines besides Chromium that are not on this machine."""
    return [name for name, find in FIND.items() if not find()]


def _says(path: str) -> str:
    """What a program answers when it is asked for its version."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def install(names: list[str]) -> None:
    """Install the packages of engines in one go, or, if that fails, engine by engine."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    everything = [package for name in names for package in PACKAGES[name]]
    if not chromium.ran([*command, *everything]):
        chromium.ran(["apt-get", "update", "--quiet"])
        for name in names:
            chromium.ran([*command, *PACKAGES[name]])
    for find in FIND.values():
        find.cache_clear()


def main() -> int:
    """Find or install all; only Chromium's absence is an error, where CI=true."""
    status = chromium.main()
    if names := left_out():
        print(f"installing {' and '.join(names)} for the browser tests", file=sys.stderr)
        install(names)
    if names := left_out():
        wanted = " ".join(package for name in names for package in PACKAGES[name])
        print(f"the book is not opened in {' and '.join(names)} (install Debian's {wanted}); "
              "these tests are skipped", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
