"""`make book`: Snakemake on this machine, one at a time, with a progress line a person can read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from semquant.checks import InputError
from semquant_book.files import check_writable
from semquant_book.study.presets import build_root, load_settings, project_root

__all__ = ["check_path", "make_book"]

#: Characters that a path may not have, and why.
REFUSED = {"{": "which Snakemake takes for a wildcard", "}": "which Snakemake takes for a wildcard",
           ":": "which ends a folder in PATH", "\n": "which ends a line in make", "\r": "which ends a line in make"}

_STARTED = re.compile(r"^Job (\d+): (.*)$")
_COUNT = re.compile(r"^(\d+) of (\d+) steps")
_GRACE = 10  # seconds that jobs have to clean up after Ctrl-C


def make_book(preset: str, *, cores: str = "all", data: str = "", target: str = "all") -> str:
    """Bring the book, or another target of the Snakefile, up to date.

    Snakemake and its jobs end with this process, however it ends: they are a process group that
    kills itself when a pipe from here is closed (`_be_snakemake`). The lock belongs to both
    processes and goes with them, so that nothing has to be unlocked by hand after a crash.

    InputError, if a value isn't accepted, the build folder can't be written, another run is
    under way, or a job failed (what it said is on standard error).
    """
    load_settings(preset)
    if cores != "all" and not cores.isdigit():
        raise InputError(f"cores: {cores!r} is neither a whole number nor all")
    if data and not os.path.isdir(data):
        raise InputError(f"data: {data} is not a folder; accepted: a folder of real photographs")
    data = data and os.path.abspath(data)
    for field, path in (("folder", project_root()), ("BUILD", build_root()), ("DATA", data)):
        check_path(field, path)
    build = check_writable(build_root())
    started = time.monotonic()
    with open(build / ".lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise InputError(f"book: another run is under way in {build} ({lock.read() or 'new'}); "
                             "wait for its end, or choose another folder (BUILD=...)") from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M')}")
        lock.flush()
        command = [sys.executable, "-m", __name__, target, "--cores", cores,
                   "--snakefile", str(project_root() / "Snakefile"), "--directory", str(build),
                   "--nolock", "--rerun-incomplete", "--config", f"preset={preset}", f"data={data}"]
        if load_settings(preset).device != "cpu" and shutil.which("nvidia-smi"):
            command += ["gpu=1", "--resources", "gpu=1"]  # jobs that compute take turns on it
        # jobs call `python`: the one this runs on, wherever the shell would look
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        # whatever the locale: what others' programs read and write here is UTF-8
        environment = os.environ | {"PATH": path, "PYTHONUTF8": "1", "SEMQUANT_BUILD": str(build),
                                    "SEMQUANT_ROOT": str(project_root())}
        environment |= {"SEMQUANT_DATA": data} if data else {}
        if make := environment.pop("SEMQUANT_MAKE", ""):
            threading.Thread(target=_end_with, args=(int(make),), daemon=True).start()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", env=environment,
                                   process_group=0, pass_fds=(lock.fileno(),))
        if threading.current_thread() is threading.main_thread():  # no other gets signals
            signal.signal(signal.SIGTSTP, lambda *_: _pause(process))
        try:
            said = _follow(process, started)
        except KeyboardInterrupt:  # Ctrl-C reaches the process group of this process only
            _tell(process, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            raise
    if process.returncode:
        own = [line for line in said if line.startswith("semquant: ")]
        if not own:
            sys.stderr.write("".join(said[-40:]))
        raise InputError("book: a job failed; make book goes on from there once it is mended")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    index = build / preset / "html" / "index.html"
    ready = f"open {index}" if target == "all" else f"target {target} is up to date"
    return f"{ready} ({minutes} min {seconds:02d} s)"


def check_path(field: str, path: str | Path) -> None:
    """Refuse a folder whose path a program of the workflow takes for something else (InputError)."""
    for character, what in REFUSED.items():
        if character in str(path) and (field == "folder" or character != ":"):
            raise InputError(f"{field}: {path} has {character!r} in it, {what}; accepted: a path without "
                             "it")


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


def _tell(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, number)


def _pause(process: subprocess.Popen) -> None:
    """Stop with all jobs, as Ctrl-Z asks, and go on with them."""
    _tell(process, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    _tell(process, signal.SIGCONT)


def _end_with(make: int) -> None:
    """End this process once the make that started it has ended: killed, it tells nobody."""
    while os.getppid() == make:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _be_snakemake() -> None:
    """Run Snakemake here, in the first process of a group, until standard input is closed.

    Nothing is written there; its other end is closed when the process of `make_book` ends. Then
    this one and its jobs, which write whole files only, are killed.
    """
    from snakemake.cli import main

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        os.killpg(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    main()


if __name__ == "__main__":
    _be_snakemake()
