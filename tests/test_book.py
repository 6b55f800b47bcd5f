"""The whole chain in the smoke preset: every notebook, the book, and a run that is killed."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from safetensors.torch import load_file

from semquant.checks import InputError
from semquant_book.datasets import specimens
from semquant_book.files import sha256
from semquant_book.press.notebooks import execute
from semquant_book.press.site import toc_pages
from smoke import ROOT, book, gone
from semquant_book.press.needs import Results
from semquant_book.study.presets import load_settings

NOTEBOOKS = [page for page in toc_pages(ROOT) if (ROOT / f"{page}.ipynb").exists()]


def results(build: Path) -> dict[str, object]:
    """What the runs came to: checksums of weights, and metrics of records."""
    store = build / "store"
    found = {str(p.relative_to(store)): sha256(p) for p in store.rglob("*.safetensors")}
    for path in store.rglob("*.json"):
        record = json.loads(path.read_text())
        found[str(path.relative_to(store))] = [record.get(k) for k in
                                               ("metrics", "history", "references")]
    return found


def test_every_page_is_in_the_book(built):
    for page in toc_pages(ROOT):
        assert (built / "smoke" / "html" / f"{page}.html").exists(), page


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_every_notebook_ran_to_its_end_without_an_error(built, page):
    executed = nbformat.read(built / "smoke" / "notebooks" / f"{page}.ipynb", as_version=4)
    code = [c for c in executed.cells if c.cell_type == "code" and c.source.strip()]
    assert all(c.execution_count for c in code)
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    warned = [o.text for o in outputs if o.output_type == "stream" and "Warning" in o.text]
    assert not warned


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_source_notebooks_carry_no_outputs_and_have_parameters(page):
    source = nbformat.read(ROOT / f"{page}.ipynb", as_version=4)
    code = [c for c in source.cells if c.cell_type == "code"]
    assert not [c for c in code if c.outputs or c.execution_count]
    assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1


def test_a_number_on_a_page_is_the_one_in_the_record(built):
    (record,) = (built / "store" / "performers").glob("alexnet-dog-s0-[0-9a-f]*.json")
    about = json.loads(record.read_text())
    page = (built / "smoke" / "html" / "book" / "experiment1" / "alexnet.html").read_text()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert f"{about['metrics']['accuracy']:.1%}" in re.sub(r"\s+", " ", text)
    assert f"{about['parameters']:,} parameters" in re.sub(r"\s+", " ", text)


def test_the_book_names_no_folder_of_the_machine_it_was_built_on(built):
    for page in (built / "smoke" / "html").rglob("*.html"):
        assert str(ROOT) not in page.read_text(), page


def test_no_page_shows_the_name_of_an_object_in_its_place(built):
    for page in (built / "smoke" / "html").rglob("*.html"):
        found = re.search(r"&lt;(IPython|Figure size|Axes|pandas|matplotlib|semquant)[^\n]*", page.read_text())
        assert not found, (page, found.group(0))


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_negative_numbers_have_a_true_minus(built, page):
    nb = nbformat.read(built / "smoke" / "notebooks" / f"{page}.ipynb", as_version=4)
    shown = [output.data for cell in nb.cells for output in cell.get("outputs", ()) if "data" in output]
    for text in [d.get("text/html", d.get("text/markdown", "")) for d in shown]:
        text = re.sub(r"(?s)<(style|script|svg|code|pre)\b.*?</\1>|<[^>]*>|\$[^$]*\$|`[^`]*`", " ", text)
        assert not re.search(r"(^|[\s(=|])-\d.{,40}", text), re.search(r".{,40}[\s(=|]-\d.{,40}", text)


def test_a_page_runs_alone_with_other_parameters(built, tmp_path, monkeypatch):
    """Another category and seed: what is not in the store is trained on the way."""
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    shutil.copytree(built / "data", tmp_path / "build" / "data")
    out = execute(ROOT / "book" / "experiment1" / "alexnet.ipynb", tmp_path / "out.ipynb",
                  {"preset": "smoke", "category": "cat", "seed": "1", "scale": "scaled"})
    assert "half of them a cat" in out.read_text()
    names = {p.name[:20] for p in (tmp_path / "build" / "store" / "performers").glob("*.json")}
    assert len(names) == 1 and names.pop().startswith("alexnet-cat-s1")


def test_a_value_that_is_not_accepted_stops_a_page_with_one_line(tmp_path):
    with pytest.raises(InputError, match=r"failed in cell \d+ \(InputError: categories: 'cta' is not"):
        execute(ROOT / "book" / "experiment1" / "alexnet.ipynb", tmp_path / "out.ipynb",
                {"preset": "smoke", "category": "cta"})


def test_a_page_of_an_attribute_runs_for_any_other(built, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    shutil.copytree(built / "data", tmp_path / "build" / "data")
    page = ROOT / "book" / "experiment2" / "male.ipynb"
    out = execute(page, tmp_path / "out.ipynb", {"preset": "smoke", "target": "Smiling"})
    assert "for another target than its own: Smiling" in out.read_text()
    with pytest.raises(InputError, match="targets: 'Smilling' is not one of .*did you mean Smiling"):
        execute(page, tmp_path / "other.ipynb", {"preset": "smoke", "target": "Smilling"})


def test_a_second_run_has_nothing_to_do(built):
    process = book(built)
    said, _ = process.communicate()
    assert process.returncode == 0 and "everything is up to date" in said
    assert "train the performer" not in said


def test_a_run_killed_in_the_middle_goes_on_to_the_same_numbers(built, tmp_path, monkeypatch):
    """Killed while it made all results; the first of both experiments are then made whole."""
    process = book(tmp_path, "--target", "results")
    store = tmp_path / "store"
    deadline = time.monotonic() + 300
    while len(list(store.glob("performers/*.json"))) < 2:  # some are done, others under way
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()  # alone, as the kernel does when memory runs out
    process.wait()
    assert gone(started)
    unfinished = set(results(tmp_path))
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    made = Results(load_settings("smoke"))
    for target in (made.explainers("alexnet", "dog", 0)[0], made.surveys(0)[0]):
        process = book(tmp_path, "--target", target)
        said, _ = process.communicate()
        assert process.returncode == 0, said
    undisturbed, found = results(built), results(tmp_path)
    made = {Path(name).parent.name for name in set(found) - unfinished}
    assert "explainers" in made and len(found) > len(unfinished) + 10
    assert found == {name: undisturbed[name] for name in found}


def test_two_runs_at_a_time_are_refused(tmp_path):
    first = book(tmp_path, "--target", "results")
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("data")) and first.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = book(tmp_path, "--target", "results")
        said, _ = second.communicate()
        assert second.returncode == 1 and "another run is under way" in said
        assert f"(process {first.pid} since " in said
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_a_failing_notebook_stops_the_build_and_is_named(tmp_path):
    root = tmp_path / "project"
    for name in ("book", "lib"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("Snakefile", "_toc.yml", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    path = root / "book" / "reproduce" / "errata.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, path)
    folder = tmp_path / "build" / "smoke" / "notebooks" / "book" / "reproduce"
    process = book(tmp_path / "build", "--target",
                   str(folder / "errata.ipynb"), root=root)
    said, _ = process.communicate()
    assert process.returncode == 1
    cell = len(notebook.cells) + 1  # the injected parameters come on top
    assert f"errata.ipynb failed in cell {cell} (ZeroDivisionError: division by zero)" in said
    assert "Traceback" not in said
    assert [p.name for p in folder.iterdir()] == ["errata.failed.ipynb"]


def test_a_preset_of_photographs_goes_through_both_experiments(tmp_path):
    """The paper preset, made small, on files in the real formats; x made anew in every epoch, a worker fetching."""
    root = tmp_path / "project"
    for name in ("Snakefile", "_config.yml", "_toc.yml"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "book", root / "book")
    (root / "lib").symlink_to(ROOT / "lib")
    values = yaml.safe_load((ROOT / "book" / "presets" / "paper.yml").read_text())
    smoke = yaml.safe_load((ROOT / "book" / "presets" / "smoke.yml").read_text())
    values |= {key: smoke[key] for key in smoke if key.endswith(("size", "width", "epochs", "_fc"))}
    values |= {"categories": ["dog"], "architectures": ["alexnet"], "targets": ["Male"],
               "photo_shares": [0.6, 0.15, 0.25], "weights": "fresh", "explainer": "small",
               "batch_norm": True, "explainer_seeds": 1, "scales": ["literal"], "threads": 1,
               "last_layers": ["near_zero"], "selection_sizes": [3], "selection_draws": 1,
               "amp": False, "cache": "recompute", "workers": 1}
    (root / "book" / "presets" / "smoke.yml").write_text(yaml.safe_dump(values))
    specimens.write_pascal_part(tmp_path / "data", "dog", photos=12, negatives=10)
    specimens.write_celeba(tmp_path / "data")
    process = book(tmp_path / "build", "--data", str(tmp_path / "data"), "--target", "results",
                   root=root)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "left out: 0 dog objects" in said and "made anew whenever it is needed" in said
    built = tmp_path / "build" / "store"
    assert len(list(built.glob("explainers/alexnet-dog-*.safetensors"))) == 4  # with AdamW, and with SGD
    assert len(list(built.glob("explainers/faces-Male-*.safetensors"))) == 7
    surveys = [load_file(path) for path in built.glob("surveys/faces-*.safetensors")]
    assert len(surveys) == 3 and not any("x" in kept for kept in surveys)
