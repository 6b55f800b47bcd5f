"""Finding and installing Firefox and WebKit, with programs of our own in their place."""

import pytest

from browser import chromium, engines


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with Chromium, apt-get and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FIREFOX", raising=False)
    monkeypatch.setattr(chromium, "main", lambda: 0)
    monkeypatch.setattr(engines.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(engines.sys, "platform", "linux")
    put(tmp_path, "apt-get", "")
    yield tmp_path
    for find in (engines.firefox, engines.webkit):
        find.cache_clear()


@pytest.fixture(autouse=True)
def fresh():
    for find in (engines.firefox, engines.webkit):
        find.cache_clear()


def put(folder, name, says):
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


def test_a_firefox_is_found_and_what_only_points_at_one_is_not(machine, monkeypatch):
    put(machine, "firefox-esr", "install the snap")
    found = put(machine, "firefox", "Mozilla Firefox 1.2")
    assert engines.firefox() == found
    engines.firefox.cache_clear()
    monkeypatch.setenv("FIREFOX", str(machine / "nothing"))  # the only one tried
    assert engines.firefox() is None


def test_what_is_missing_is_installed_in_one_go(machine, monkeypatch, capsys):
    asked = []

    def ran(command):
        asked.append(command)
        put(machine, "firefox-esr", "Mozilla Firefox 1.2")
        return True

    monkeypatch.setattr(chromium, "ran", ran)
    assert engines.main() == 0
    command, = asked
    assert command[:2] == ["apt-get", "install"] and command[-3:] == ["firefox-esr", "webkit2gtk-driver", "xvfb"]
    first, last = capsys.readouterr().err.splitlines()
    assert first == "installing Firefox and WebKit for the browser tests"
    assert last.startswith("the book is not opened in WebKit (install Debian's webkit2gtk-driver xvfb)")


@pytest.mark.parametrize("ci", [False, True])
def test_where_they_cannot_be_had_one_line_says_so_and_the_rest_goes_on(machine, monkeypatch, capsys, ci):
    if ci:
        monkeypatch.setenv("CI", "true")
    asked = []
    monkeypatch.setattr(chromium, "ran", lambda command: asked.append(command[1]) and False)
    assert engines.main() == 0
    assert asked == ["install", "update", "install", "install"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("the book is not opened in Firefox and WebKit (install ")
