"""Find Chromium for the browser tests, and install it where there is none; `engines.py` calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOOKED_FOR = ("the path in CHROMIUM, " + ", ".join(NAMES) + " on the PATH, and Playwright's own")
TO_DO = "install Debian's package chromium, or run playwright install chromium, or set CHROMIUM=path"


@lru_cache
def find() -> str | None:
    """Return the path of a Chromium that starts, or None.

    A path in ``CHROMIUM`` is the only one tried.
    """
    if given := os.environ.get("CHROMIUM"):
        return given if _starts(given) else None
    for name in NAMES:
        path = shutil.which(name)
        if path and _starts(path):
            return path
    own = _playwrights_own()
    return own if own and _starts(own) else None


def missing() -> str:
    """Return what to say where there is none, on one line."""
    if given := os.environ.get("CHROMIUM"):
        return f"CHROMIUM: {given} does not start; accepted: the path of a Chromium or Chrome"
    return f"no Chromium for the browser tests (looked for {LOOKED_FOR}); {TO_DO}"


def _starts(path: str) -> bool:
    """Whether a program answers with its version; some packages install only a hint at another."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and any(word in done.stdout for word in ("Chrom", "HeadlessShell"))


def _playwrights_own() -> str | None:
    """Return the path of the browser that `playwright install` put on this machine, if it did."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:  # without the test dependencies there is no such browser either
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Try the ways to install Chromium that need no question, one after the other."""
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        package = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium"]
        if ran(package) or (ran(["apt-get", "update", "--quiet"]) and ran(package)):
            find.cache_clear()
            if find():
                return
    ran([sys.executable, "-m", "playwright", "install", "chromium"])
    find.cache_clear()


def ran(command: list[str]) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=900)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> int:
    """Find or install; without success one line says so, and it is an error only where CI=true."""
    if not find() and not os.environ.get("CHROMIUM"):
        print("installing Chromium for the browser tests", file=sys.stderr)
        install()
    if find():
        return 0
    must = os.environ.get("CI") == "true"
    print(missing() + ("" if must else "; the browser tests are skipped"), file=sys.stderr)
    return int(must)
