"""Files are whole or absent, and a damaged one is recognised, set aside and made again."""

import os
from pathlib import Path

import pytest

from semquant.checks import InputError, number, one_of
from semquant_book import files


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = files.write_atomic(tmp_path / "a.txt", "old")

    def half(beside: Path) -> None:
        beside.write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        files.write_atomic(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"^output: .*a\.txt can't be written \(No space left"):
        files.write_atomic(tmp_path / "a.txt", b"x")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    # a file stands where the folder should be: refused for root as well
    (tmp_path / "blocked").write_text("")
    with pytest.raises(InputError, match="^output: .* can't be written"):
        files.check_writable(tmp_path / "blocked" / "inner")


@pytest.mark.parametrize("spoil", ["cut", "bit", "checksum"])
def test_a_damaged_file_is_set_aside_and_made_again(tmp_path, capsys, spoil):
    path = tmp_path / "value.txt"
    made = []

    def make() -> str:
        made.append(1)
        return "the value, of some length"

    def load_or_make() -> str:
        return files.load_or_make(path, Path.read_text, make, lambda v, p: p.write_text(v))

    assert load_or_make() == load_or_make() == "the value, of some length"
    assert len(made) == 1
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:5])
    elif spoil == "bit":
        path.write_bytes(b"T" + path.read_bytes()[1:])
    else:
        path.with_name("value.txt.sha256").unlink()  # killed between the file and its checksum
    assert load_or_make() == "the value, of some length"
    assert len(made) == 2
    assert (tmp_path / "value.txt.damaged").exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_names_and_numbers_are_refused_in_one_line():
    with pytest.raises(InputError) as error:
        one_of("architecture", "alexnt", ("alexnet", "vgg16"))
    assert str(error.value) == ("architecture: 'alexnt' is not one of alexnet, vgg16 "
                                "(did you mean alexnet?)")
    for value in (True, "3", 2.5, float("nan"), -1, 11):
        with pytest.raises(InputError, match="^seed: .* is not a whole number from 0 to 10$"):
            number("seed", value, 0, 10, integer=True)
    assert number("beta", 0, 0) == 0
