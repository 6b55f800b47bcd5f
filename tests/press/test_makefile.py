"""The Makefile in a checkout whose path has spaces and apostrophes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smoke import ROOT

# stands for a program of .venv: writes down where it was called, and with which arguments
STAND_IN = '''#!/bin/sh
{ printf '%s' "$(basename "$0")"; printf '|%s' "$@"; echo; } >> .called
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi
'''


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


@pytest.fixture(params=["my folder", "it's my folder"])
def checkout(request, tmp_path) -> Path:
    """A checkout beside other people's folders, which a path taken apart at its spaces would name."""
    folder = tmp_path / request.param / "in a checkout"
    folder.mkdir(parents=True)
    for name in ("my", "it's", "its", request.param + "/in"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("")
    for name in ("folder", "a", "my", "build"):
        (folder / name).mkdir()
        (folder / name / "precious").write_text("")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def precious(checkout: Path) -> set[Path]:
    return set(checkout.parents[1].rglob("precious"))


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make without the variables of a make that these tests are run by: they name real folders."""
    return subprocess.run(["make", *arguments], cwd=checkout, env={"PATH": os.environ["PATH"]},
                          capture_output=True, text=True, timeout=60)


def called(checkout: Path) -> list[list[str]]:
    return [line.split("|") for line in (checkout / ".called").read_text().splitlines()]


@pytest.mark.parametrize("build", ["_build", "a build", "it's a build", "../my own build"])
def test_clean_removes_the_build_folder_and_no_other(checkout, build):
    before = precious(checkout)
    for name in (build, ".snakemake", ".venv"):
        (checkout / name).mkdir()
        (checkout / name / "made").write_text("")
    done = make(checkout, "clean", *([] if build == "_build" else [f"BUILD={build}"]))
    assert done.returncode == 0, done.stderr
    assert precious(checkout) == before
    assert not (checkout / build).exists() and not (checkout / ".snakemake").exists()
    assert (checkout / ".venv" / "made").exists()


def test_install_makes_the_environment_in_the_checkout_once(checkout):
    python = program(checkout.parent / "a python" / "python3.11")
    (checkout / ".venv" / "lib").mkdir(parents=True)  # of an installation that broke off
    for _ in range(2):
        done = make(checkout, "install", f"PYTHON={python}")
        assert done.returncode == 0, done.stderr
    venv, pip = called(checkout)
    assert venv == ["python3.11", "-m", "venv", ".venv"]
    assert pip[:4] == ["python", "-m", "pip", "install"] and pip[-1] == ".[book,test]"
    assert (checkout / ".venv" / ".installed").exists()


def test_a_python_that_is_missing_is_one_line(checkout):
    done = make(checkout, "install", "PYTHON=no such python")
    assert done.returncode
    assert "python: no such python is not installed; accepted: Python 3.11" in done.stderr


def test_every_target_gets_whole_paths_and_values(checkout):
    for name in ("python", "semquant", "jupyter"):
        program(checkout / ".venv" / "bin" / name)
    (checkout / ".venv" / ".installed").write_text("")
    for arguments in (["book", "DATA=it's a folder", "PRESET=my own", "CORES=2"], ["test"], ["lab"],
                      ["paper-check", "DATA=it's a folder"]):
        done = make(checkout, *arguments)
        assert done.returncode == 0, done.stderr
    assert called(checkout) == [
        ["semquant", "book", "--preset", "my own", "--cores", "2", "--data", "it's a folder"],
        ["python", "tests/browser/engines.py"],
        ["python", "-m", "pytest", "-n", "auto", "--dist", "loadgroup", "--no-loadscope-reorder"],
        ["jupyter", "lab", f"--ServerApp.root_dir={checkout}", "--LabApp.default_url=/lab/tree/book"],
        ["semquant", "check", "--preset", "paper", "--data", "it's a folder"]]


def test_help_lists_the_targets(checkout):
    said = make(checkout).stdout
    assert "make <target>" in said
    assert all(f"  {name} " in said for name in ("install", "book", "test", "lab", "clean"))


@pytest.mark.parametrize("name", ["a:b", "a{b}"])
def test_a_folder_that_can_not_be_taken_is_one_line_before_anything(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, folder / file)
    done = make(folder, "install", f"PYTHON={program(tmp_path / 'python')}")
    said = done.stderr.strip().splitlines()
    assert done.returncode != 0 and said[0].startswith(f"folder: {folder} has a colon or a brace in its path")
    assert not (folder / ".venv").exists() and not (folder / ".called").exists()
