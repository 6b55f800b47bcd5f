"""What notebooks need and are run with, from a few words in their metadata."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from semquant.checks import InputError
from semquant_book.datasets.names import ARCHITECTURES
from semquant_book.press.needs import KEYS, Page, Results
from semquant_book.press.notebooks import notebook_parameters
from semquant_book.press.site import toc_pages
from semquant_book.study.presets import load_settings, preset_names
from smoke import ROOT

NOTEBOOKS = [page for page in toc_pages(ROOT) if (ROOT / f"{page}.ipynb").exists()]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    return Results(load_settings("smoke"))


@pytest.fixture
def page(tmp_path, results):
    """A project with one page, whose metadata and code can be chosen."""
    (tmp_path / "book" / "presets").mkdir(parents=True)
    (tmp_path / "book" / "records").mkdir()
    for name in ("paper.yml", "claims.yml", "records/beta-a.json", "records/beta-b.json"):
        (tmp_path / "book" / name).touch()

    def make(source="", settings=results.settings, data="", **asked):
        asked = {"needs": [], "parameters": {}, "preset": None} | asked
        path = tmp_path / "book" / "a.ipynb"
        path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": source}],
                                    "metadata": {"semquant": asked}}))
        return Page(path, Results(settings), data)

    return make


def names(files):
    return [os.path.relpath(file).rpartition("/")[2].rpartition("-")[0] for file in files]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_says_what_it_needs_and_is_run_with(name, results):
    path = ROOT / f"{name}.ipynb"
    page = Page(path, results, "/photographs")
    assert page.inputs[0] == str(path) and len(page.code) == 10
    asked = json.loads(path.read_text())["metadata"]["semquant"]
    assert set(asked["parameters"]) <= set(notebook_parameters(path))
    assert page.parameters.count("-p ") == len(asked["parameters"])
    assert asked["preset"] is None or asked["preset"] in preset_names()


def test_words_stand_for_what_jobs_make(results):
    assert names(results.meant("performers alexnet")) == ["alexnet-dog-s0"] * 2
    assert names(results.meant("controls")) == ["alexnet-dog-s0-without-filter-loss"] * 2
    assert results.meant("controls vgg16") == []
    explainers = results.meant("explainers vgg_m")
    assert len(explainers) == 2 * 2 * 2 * 2 + 1 and "references" in explainers[-1]
    assert set(results.meant("explainers")) > set(explainers)
    assert names(results.meant("surveys")) == [f"faces-p0-{s}" for s in ("train", "val", "test", "flips")]
    assert names(results.meant("selections Male")) == ["faces-Male-p0"]
    assert set(results.meant("attributes")) > set(results.meant("attributes Male"))
    assert names(results.meant("data")) == ["dog"] and names(results.meant("faces")) == ["faces"]
    assert names(results.meant("trials")) == [f"{name}-dog-p0" for name in ARCHITECTURES]
    every = results.meant("results")
    for word in ("performers", "controls", "explainers", "faces", "face_performers", "surveys",
                 "attributes", "selections"):
        assert set(results.meant(word)) <= set(every), word
    assert not set(results.meant("trials")) & set(every)  # the book reads their record


def test_words_mean_all_seeds_and_categories_of_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    results = Results(load_settings("smoke", performer_seeds=2, categories=["cat", "cow"]))
    assert results.category == "cat"
    assert names(results.meant("performers alexnet"))[::2] == ["alexnet-cat-s0", "alexnet-cat-s1"]
    assert len(results.meant("performers")) == 2 * 4 * 2 * 2
    assert names(results.meant("face_performers"))[::2] == ["vgg16-faces-s0", "vgg16-faces-s1"]


@pytest.mark.parametrize("word, message", [
    ("performrs", r"^needs: 'performrs' is not one of .*did you mean performers"),
    ("performers alexnt", r"^needs performers: 'alexnt' is not one of .*did you mean alexnet"),
    ("attributes Mail", r"^needs attributes: 'Mail' is not one of .*did you mean Male"),
    ("faces Male", r"^needs faces: 'Male' is not one of"),
    ("records/beta.json", r"^needs: 'records/beta.json' in .*a.ipynb is no file in book$"),
])
def test_a_word_that_means_nothing_is_one_line(page, word, message):
    with pytest.raises(InputError, match=message) as error:
        page(needs=[word]).inputs
    assert "\n" not in str(error.value)


def test_metadata_that_lacks_a_key_is_one_line(page, tmp_path, results):
    path = tmp_path / "book" / "a.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {"semquant": {"needs": []}}}))
    with pytest.raises(InputError, match=f"a.ipynb has needs; accepted: {', '.join(KEYS)}$"):
        Page(path, results)


def test_files_of_the_book_are_inputs_where_the_metadata_or_the_code_names_them(page):
    found = page("'claims.yml'", needs=["records/beta-*.json", "faces"]).inputs
    assert [name.rpartition("/")[2] for name in found[:3]] == ["a.ipynb", "beta-a.json", "beta-b.json"]
    assert names(found[3:4]) == ["faces"] and found[4].endswith("book/claims.yml") and len(found) == 5


def test_parameters_are_the_runs_and_empty_ones_are_not_given(page):
    asked = {"preset": "{preset}", "category": "{category}", "data": "{data}", "seed": 3}
    assert page(parameters=asked).parameters == "-p preset smoke -p category dog -p seed 3"
    assert page(parameters=asked, data="/my data").parameters.endswith("-p data '/my data' -p seed 3")
    with pytest.raises(InputError, match="^parameters: '{prest}' in .* preset, category, data are$"):
        page(parameters={"preset": "{prest}"}).parameters


def test_a_page_about_drawings_has_a_preset_of_drawings(page, tmp_path, monkeypatch):
    """Of another preset nothing is made before: the page draws what it shows."""
    monkeypatch.setenv("SEMQUANT_DATA", str(tmp_path))
    asked = {"needs": ["data"], "parameters": {"preset": "{preset}"}, "preset": "quick"}
    photographs = load_settings("smoke", images="pascal_part")
    assert page(**asked).parameters == "-p preset smoke" and len(page(**asked).inputs) == 2
    other = page(settings=photographs, **asked)
    assert other.parameters == "-p preset quick" and len(other.inputs) == 1
    assert page(settings=photographs, **asked | {"needs": ["faces"]}).parameters == "-p preset smoke"
    assert page(settings=photographs, **asked | {"preset": None}).parameters == "-p preset smoke"


def planned(built, root, target="results"):
    """The jobs that the workflow would run to bring a target up to date."""
    environment = os.environ | {"SEMQUANT_BUILD": str(built), "SEMQUANT_ROOT": str(root),
                                "PYTHONPATH": str(root / "lib")}
    done = subprocess.run([sys.executable, "-m", "snakemake", target, "--cores", "1", "--nolock",
                           "--snakefile", str(root / "Snakefile"), "--directory", str(built),
                           "--config", "preset=smoke", "data=", "--dry-run", "--quiet", "rules"],
                          env=environment, capture_output=True, text=True, check=True)
    table = done.stdout.partition("Job stats:")[2].partition("total")[0]
    return {line.split()[0]: int(line.split()[1]) for line in table.splitlines()[3:] if line.strip()}


def test_a_trial_that_the_committed_record_has_is_not_run_again():
    results = Results(load_settings("cpu"))
    kept = json.loads((ROOT / "book/records/trials.json").read_text())
    there = [(p["architecture"], p["category"], p["performer_seed"]) for p in kept["performers"]]
    assert there and all(results.trial(*each) == [] for each in there)
    assert len(results.meant("trials")) == kept["planned"] - len(there)
    assert results.trial("{architecture}", "{category}", "{seed}")  # as the workflow asks


def test_the_trial_is_a_job_for_each_performer_after_its_training(tmp_path):
    assert planned(tmp_path, ROOT, "trials") == {"data": 1, "performer": 4, "trial": 4, "trials": 1}


def test_changed_code_is_run_again_and_changed_words_are_not(built, tmp_path):
    for name in ("lib", "book"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "_toc.yml"):
        shutil.copy(ROOT / name, tmp_path / name)

    def add(module, text):
        path = tmp_path / "lib" / f"{module}.py"
        path.write_text(path.read_text().replace('"""', '"""Other words. ', 1) + text)

    for module in ("semquant/losses", "semquant_book/datasets/drawn/animals"):
        add(module, '\n# a remark\n"""More words."""\n')
    assert planned(built, tmp_path) == {}

    add("semquant_book/study/concept_choice", "\nCODE = 1\n")
    assert planned(built, tmp_path) == {"selection": 4, "results": 1}

    add("semquant_book/datasets/drawn/portraits", "\nCODE = 1\n")
    assert planned(built, tmp_path) == {"faces": 1, "face_performer": 1, "surveys": 1, "attribute": 4,
                                        "selection": 4, "results": 1}
