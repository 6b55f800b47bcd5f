"""Finding and installing the browser, with programs of our own in its place."""

import sys

import pytest
from playwright.sync_api import Error

from browser import chromium


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose PATH is one empty folder, where Playwright has installed nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(chromium, "_playwrights_own", lambda: None)
    chromium.find.cache_clear()
    yield tmp_path
    chromium.find.cache_clear()


def put(folder, name, says="Chromium 1.2", status=0):
    program = folder / name
    program.write_text(f"#!{sys.executable}\nprint({says!r})\nraise SystemExit({status})\n")
    program.chmod(0o755)
    return str(program)


def test_a_browser_on_the_path_is_found(machine):
    found = put(machine, "google-chrome", "Google Chrome 1.2")
    assert chromium.find() == found
    assert chromium.main() == 0


def test_a_program_that_only_points_at_another_is_passed_over(machine):
    put(machine, "chromium", "requires the snap to be installed", 1)
    assert chromium.find() is None
    found = put(machine, "chromium-browser")
    chromium.find.cache_clear()
    assert chromium.find() == found


def test_a_path_that_is_given_is_the_only_one_tried(machine, monkeypatch, capsys):
    put(machine, "chromium")
    monkeypatch.setenv("CHROMIUM", str(machine / "nothing"))
    assert chromium.find() is None
    assert chromium.main() == 0  # and nothing is installed
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"CHROMIUM: {machine / 'nothing'} does not start; accepted: ")
    monkeypatch.setenv("CHROMIUM", put(machine, "mine"))
    chromium.find.cache_clear()
    assert chromium.find() == str(machine / "mine")


def test_where_there_is_none_it_is_installed(machine, monkeypatch):
    put(machine, "apt-get")
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(chromium.sys, "platform", "linux")
    tried = []

    def ran(command):
        tried.append(command[:2])
        if tried == [["apt-get", "install"], ["apt-get", "update"], ["apt-get", "install"]]:
            put(machine, "chromium")
            return True
        return command[1] == "update"

    monkeypatch.setattr(chromium, "ran", ran)
    assert chromium.main() == 0
    assert chromium.find() == str(machine / "chromium")
    assert len(tried) == 3


@pytest.mark.parametrize("ci", [False, True])
def test_where_it_cannot_be_installed_one_line_says_what_to_do(machine, monkeypatch, capsys, ci):
    tried = []
    monkeypatch.setattr(chromium, "ran", lambda command: tried.append(command) and False)
    if ci:
        monkeypatch.setenv("CI", "true")
    assert chromium.main() == int(ci)
    assert tried == [[sys.executable, "-m", "playwright", "install", "chromium"]]
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("no Chromium for the browser tests (looked for ")
    assert chromium.TO_DO in line
    assert line.endswith("the browser tests are skipped") != ci


@pytest.mark.parametrize("host", ["example.com", "192.0.2.1", "[2001:db8::1]"])
def test_it_reaches_no_other_machine(browser, host):
    page = browser.new_page()
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto(f"http://{host}/")
    page.close()
