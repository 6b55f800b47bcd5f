"""Every kept record has a command that makes it, and the fields that this writes."""

import json

import numpy as np
import pytest

from semquant.checks import InputError
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.folders import project_root
from semquant_book.press.cli import main
from semquant_book.study import sweeps
from semquant_book.study.presets import load_settings
from semquant_book.study.record_book import RECORDS

KEPT = sorted((project_root() / "book" / "records").glob("*.json"))


def test_each_record_has_a_command_and_each_command_a_record():
    assert sorted(path.stem for path in KEPT) == sorted(RECORDS)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_record_has_the_fields_that_its_command_writes(path):
    content = json.loads(path.read_text())
    assert set(RECORDS[path.stem].fields) <= set(content)


def test_a_page_names_the_command_of_each_record():
    text = (project_root() / "book" / "reproduce" / "index.md").read_text()
    for name in RECORDS:
        family = name if f"`{name}`" in text else name.rsplit("-", 1)[0] + "-"
        assert "semquant record" in text and f"`{family}" in text, name


def test_the_rates_of_attributes_are_those_of_the_list(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    values = generator.random((10_001, 40)) < 0.3
    values[:, 1] = values[:, 0]
    rows = [f"{i + 1:06d}.jpg " + " ".join("1" if v else "-1" for v in row)
            for i, row in enumerate(values)]
    folder = tmp_path / "data" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    (folder / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(rows)), " ".join(ATTRIBUTES), *rows]) + "\n")
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("SEMQUANT_DATA", "")  # the command sets it, and afterwards it is as before
    assert main(["record", "celeba-attributes", "--data", str(tmp_path / "data")]) == 0
    found = json.loads((tmp_path / "build" / "records" / "celeba-attributes.json").read_text())
    assert set(found) == set(RECORDS["celeba-attributes"].fields)
    first = values[:10_000].astype(float)
    assert found["rates"][3] == round(float(first[:, 3].mean()), 4)
    assert found["correlations_below_diagonal"][1] == [1.0]
    centred = first - first.mean(axis=0)
    by_hand = (centred[:, 5] * centred[:, 2]).mean() / (first[:, 5].std() * first[:, 2].std())
    assert found["correlations_below_diagonal"][5][2] == pytest.approx(by_hand, abs=6e-4)
    (folder / "list_attr_celeba.txt").write_text("\n".join(["1", " ".join(ATTRIBUTES), rows[0]]) + "\n")
    assert main(["record", "celeba-attributes"]) == 1
    assert "lists 1 of CelebA's images 000001 to 010000" in capsys.readouterr().err


def test_an_unknown_record_is_one_line(capsys):
    assert main(["record", "beta-alexnet"]) == 1
    assert "record: 'beta-alexnet' is not one of" in capsys.readouterr().err


def test_a_sweep_writes_the_fields_that_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    monkeypatch.setattr(sweeps, "BETAS", {1: (0.0,), 2: (0.0,)})
    monkeypatch.setattr(sweeps, "SEEDS", (0,))
    for name in ("beta-alexnet-scaled", "beta-attractive"):
        content = RECORDS[name].make(load_settings("smoke"))
        assert set(content) == set(RECORDS[name].fields)


def test_sweeps_of_photographs_are_refused():
    with pytest.raises(InputError):
        sweeps.make(load_settings("celeba"))
