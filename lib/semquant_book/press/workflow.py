"""`make book`: Snakemake on this machine, one at a time, with a progress line a person can read."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time

from semquant.checks import InputError
from semquant.files import check_writable
from semquant_book.study.presets import build_root, load_settings, project_root

__all__ = ["make_book"]

_STARTED = re.compile(r"^Job (\d+): (.*)$")
_COUNT = re.compile(r"^(\d+) of (\d+) steps")


def make_book(preset: str, *, cores: str = "all", data: str = "", target: str = "all") -> str:
    """Bring the book, or another target of the Snakefile, up to date.

    The lock belongs to the Snakemake process itself and goes with it, however it ends, so that
    nothing has to be unlocked by hand after a crash.

    Parameters
    ----------
    preset : str
        A file in ``book/presets``.
    cores : str
        Number of cores, or ``"all"``.
    data : str
        Folder of real photographs, or empty.
    target : str
        A rule of the Snakefile.

    Raises
    ------
    InputError
        If the preset isn't accepted, the build folder can't be written, another run is under way,
        or a job failed (what it said is on standard error).
    """
    load_settings(preset)
    if cores != "all" and not cores.isdigit():
        raise InputError(f"cores: {cores!r} is neither a whole number nor all")
    if data and not os.path.isdir(data):
        raise InputError(f"data: {data} is not a folder; accepted: a folder of real photographs")
    build = check_writable(build_root())
    started = time.monotonic()
    with open(build / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"book: another run is under way in {build}; wait for its end, or "
                             "choose another folder (BUILD=...)") from error
        command = [sys.executable, "-m", "snakemake", target, "--cores", cores,
                   "--snakefile", str(project_root() / "Snakefile"), "--directory", str(build),
                   "--nolock", "--rerun-incomplete", "--config", f"preset={preset}",
                   f"data={os.path.abspath(data) if data else ''}"]
        if load_settings(preset).device != "cpu" and shutil.which("nvidia-smi"):
            command += ["gpu=1", "--resources", "gpu=1"]  # jobs that compute take turns on it
        # jobs call `python`: the one this runs on, wherever the shell would look
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        environment = os.environ | {"PATH": path, "SEMQUANT_BUILD": str(build),
                                    "SEMQUANT_ROOT": str(project_root())}
        if data:
            environment["SEMQUANT_DATA"] = os.path.abspath(data)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, env=environment, pass_fds=(lock.fileno(),))
        said = _follow(process, started)
    if process.returncode:
        own = [line for line in said if line.startswith("semquant: ")]
        if not own:
            sys.stderr.write("".join(said[-40:]))
        raise InputError("book: a job failed; make book goes on from there once it is mended")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    index = build / preset / "html" / "index.html"
    ready = f"open {index}" if target == "all" else f"target {target} is up to date"
    return f"{ready} ({minutes} min {seconds:02d} s)"


def _follow(process: subprocess.Popen, started: float) -> list[str]:
    """Turn Snakemake's output into one line a job; return all that it said."""
    said, done, total = [], 0, 0

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{minutes:3d}:{seconds:02d}  [{done:2d}/{total:2d}]  {text}", file=sys.stderr,
              flush=True)

    for line in process.stdout:
        said.append(line)
        line = line.strip()
        if match := re.match(r"^total\s+(\d+)$", line):
            total = int(match[1])
        elif match := _COUNT.match(line):
            done, total = int(match[1]), int(match[2])
        elif match := _STARTED.match(line):
            say(match[2] + " ...")
        elif line.startswith("semquant: "):
            say(line.removeprefix("semquant: "))
        elif "Nothing to be done" in line:
            say("everything is up to date")
    process.wait()
    return said
