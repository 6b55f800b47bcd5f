"""`make book` ends with everything it has started, however it is ended, and says who holds the lock."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from smoke import ROOT, book, gone
from semquant_book.press.cli import main

# one job that computes and one that executes a notebook, whose kernel has a session of its own
SNAKEFILE = """
rule all:
    input: "computed", "page.ipynb"

rule compute:
    output: "computed"
    shell: "python ../long.py"

rule page:
    output: "page.ipynb"
    shell: "python -m semquant_book notebook ../page.ipynb {output}"

rule nothing:
    shell: "true"
"""
JOB = """
import os, pathlib, time
pathlib.Path("started-{0}").write_text(str(os.getpid()))
try:
    time.sleep(600)
finally:
    pathlib.Path("cleaned-{0}").write_text("")
"""
STARTED: list[psutil.Process] = []


@pytest.fixture
def project(tmp_path) -> Iterator[Path]:
    """A project whose book takes ten minutes of sleep."""
    (tmp_path / "book" / "presets").mkdir(parents=True)
    shutil.copy(ROOT / "book" / "presets" / "smoke.yml", tmp_path / "book" / "presets")
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "long.py").write_text(JOB.format("job"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(
        f"import os; os.chdir({str(tmp_path / 'build')!r})" + JOB.format("kernel"))])
    nbformat.write(notebook, tmp_path / "page.ipynb")
    yield tmp_path
    while STARTED:  # by a run that should have ended it
        with contextlib.suppress(psutil.NoSuchProcess):
            STARTED.pop().kill()


def under_way(process: subprocess.Popen, build: Path) -> list[psutil.Process]:
    """Wait for both jobs; return all processes that `process` has started."""
    deadline = time.monotonic() + 180
    while not (pid(build, "job") and pid(build, "kernel")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    STARTED.extend(started)
    assert {pid(build, "job"), pid(build, "kernel")} < {one.pid for one in started}
    return started


def pid(build: Path, name: str) -> int:
    file = build / f"started-{name}"
    return int(file.read_text() or 0) if file.exists() else 0


def is_free(build: Path) -> bool:
    """Whether the lock can be had soon; a killed process gives it back with its last thread."""
    deadline = time.monotonic() + 10
    with open(build / ".lock") as lock:
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_jobs_end_with_the_process_alone(project, number):
    build = project / "build"
    process = book(build, "--cores", "2", root=project)
    started = under_way(process, build)
    process.send_signal(number)
    assert process.wait(10) == -number
    assert gone(started) and is_free(build)


def test_the_jobs_end_when_all_is_killed_at_once(project):
    build = project / "build"
    process = book(build, "--cores", "2", root=project)
    started = under_way(process, build)
    for group in {os.getpgid(one.pid) for one in (process, *started)}:
        os.killpg(group, signal.SIGKILL)
    process.wait(10)
    assert gone(started) and is_free(build)


def test_an_interrupted_run_lets_its_jobs_clean_up_and_says_that_it_stopped(project):
    build = project / "build"
    process = book(build, "--cores", "2", root=project)
    started = under_way(process, build)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and said.endswith("semquant: stopped\n")
    assert "Traceback" not in said
    assert gone(started) and is_free(build)
    assert (build / "cleaned-job").exists()


def test_a_paused_run_pauses_its_jobs(project):
    build = project / "build"
    process = book(build, "--cores", "2", root=project)
    started = under_way(process, build)
    job = psutil.Process(pid(build, "job"))
    try:
        for number, paused in ((signal.SIGTSTP, True), (signal.SIGCONT, False)):
            process.send_signal(number)
            deadline = time.monotonic() + 10
            while (job.status() == psutil.STATUS_STOPPED) is not paused:
                assert time.monotonic() < deadline, job.status()
                time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
    assert gone(started)


def test_all_ends_with_a_make_that_is_killed_alone(project):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    command = project / ".venv" / "bin" / "semquant"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m semquant_book "$@"\n')
    command.chmod(0o755)
    (project / ".venv" / ".installed").write_text("")
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("MAKE", "MFLAGS", "SEMQUANT_"))}
    process = subprocess.Popen(["make", "book", "PRESET=smoke", "CORES=2", "BUILD=build"],
                               cwd=project, env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    started = under_way(process, project / "build")
    process.kill()
    process.wait(10)
    assert gone(started) and is_free(project / "build")


def test_a_second_run_is_told_which_process_is_at_it(project):
    build = project / "build"
    first = book(build, "--cores", "2", root=project)
    try:
        under_way(first, build)
        for _ in range(2):  # the first refusal leaves the name where it was
            second = book(build, "--target", "nothing", root=project)
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 1 and said.count("\n") == 1
            assert f"another run is under way in {build} (process {first.pid} since 2" in said
    finally:
        first.kill()
        first.wait()
    third = book(build, "--target", "nothing", root=project)
    said, _ = third.communicate(timeout=60)
    assert third.returncode == 0, said


@pytest.mark.parametrize("what, name", [("BUILD", "a{b}"), ("BUILD", "a\nb"), ("DATA", "a}b")])
def test_a_folder_that_the_workflow_can_not_take_is_one_line_before_anything(tmp_path, monkeypatch, capsys, what, name):
    folder, build = tmp_path / name, tmp_path / "build"
    if what == "DATA":
        folder.mkdir()
    monkeypatch.setenv("SEMQUANT_BUILD", str(build if what == "DATA" else folder))
    assert main(["book", "--preset", "smoke", *(["--data", str(folder)] if what == "DATA" else [])]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"semquant: {what}: ") and said.count("\n") == 1 and "accepted: a path without it" in said
    assert not build.exists() and (what == "DATA" or not folder.exists())
