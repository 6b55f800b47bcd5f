"""The folder that the book is built from, and the build, on a book of two pages."""

import fnmatch
import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from semquant import site
from semquant.checks import InputError

PROJECT = Path(__file__).parents[1]
TOC = {"format": "jb-book", "root": "book/intro",
       "parts": [{"caption": "The method", "chapters": [{"file": "book/method/words"}]}]}
WORDS = "# Words\n\nA formula, $x_i$, and\n\n$$ y = 1 $$ (one)\n\nequation {eq}`one`.\n"


def notebook(executed):
    outputs = [new_output("display_data", {"text/html": "<b>forty-two</b>"})] if executed else []
    view = {"model_id": "m1", "version_major": 2, "version_minor": 0}
    widget = [new_output("display_data", {"application/vnd.jupyter.widget-view+json": view})]
    cells = [new_markdown_cell("# Start"),
             new_code_cell("preset = 'quick'", metadata={"tags": ["parameters"]}),
             new_code_cell("show()", outputs=outputs),
             new_code_cell("slider", outputs=widget if executed else [])]
    content = new_notebook(cells=cells)
    content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    if executed:
        content.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
        content.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {
            "version_major": 2, "version_minor": 0,
            "state": {"m1": {"model_name": "IntSliderModel", "model_module_version": "2.0.0",
                             "model_module": "@jupyter-widgets/controls", "state": {}}}}}
    return content


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two pages with the real settings and assets, executed; nothing is fetched."""
    root = tmp_path / "project"
    (root / "book" / "method").mkdir(parents=True)
    shutil.copy(PROJECT / "_config.yml", root)
    shutil.copytree(PROJECT / "book" / "assets", root / "book" / "assets")
    (root / "_toc.yml").write_text(yaml.safe_dump(TOC))
    (root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (root / "book" / "references.bib").write_text("")
    (root / "book" / "method" / "words.md").write_text(WORDS)
    nbformat.write(notebook(executed=False), root / "book" / "intro.ipynb")
    (tmp_path / "executed" / "book").mkdir(parents=True)
    nbformat.write(notebook(executed=True), tmp_path / "executed" / "book" / "intro.ipynb")

    def vendor(target, cache, lock):
        target.mkdir(parents=True)
        (target / "script.js").write_text("")
        return True

    monkeypatch.setattr(site, "vendor", vendor)
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    return root


def stage(project):
    return site.stage(project.parent / "executed", project.parent / "staged", project)


def configuration(staged):
    return yaml.safe_load((staged / "_config.yml").read_text())


def addresses(project, repository="", address=""):
    with open(project / "pyproject.toml", "a") as file:
        file.write(f"[tool.semquant]\nrepository = '{repository}'\nsite = '{address}'\n")


def test_the_staged_folder_holds_executed_notebooks_and_prose(project):
    staged = stage(project)
    cells = nbformat.read(staged / "book" / "intro.ipynb", as_version=4).cells
    assert cells[2].outputs[0].data["text/html"] == "<b>forty-two</b>"
    assert (staged / "book" / "method" / "words.md").read_text() == WORDS
    assert (staged / "book" / "assets" / "vendor" / "script.js").exists()
    assert not (staged / "book" / "assets" / "lock.json").exists()


def test_staging_again_leaves_nothing_old(project):
    (stage(project) / "book" / "old.md").touch()
    assert not (stage(project) / "book" / "old.md").exists()


def test_a_notebook_that_was_not_executed_is_named(project):
    (project.parent / "executed" / "book" / "intro.ipynb").unlink()
    with pytest.raises(InputError, match="book/intro.ipynb was not executed"):
        stage(project)


def test_a_page_that_is_not_there_is_named(project):
    (project / "book" / "method" / "words.md").unlink()
    with pytest.raises(InputError, match="book/method/words"):
        stage(project)


def test_pages_come_in_reading_order(project):
    assert site.toc_pages(project) == ["book/intro", "book/method/words"]


def test_without_addresses_nothing_points_outside(project):
    staged = stage(project)
    config = configuration(staged)
    assert "launch_buttons" not in config
    assert "html_baseurl" not in config["sphinx"]["config"]
    assert config["repository"] == {"url": ""}
    assert not any(config["html"].get(name) for name in
                   ("use_repository_button", "use_issues_button", "use_edit_page_button"))
    assert "http" not in (staged / "_config.yml").read_text()
    assert len(nbformat.read(staged / "book" / "intro.ipynb", as_version=4).cells) == 4


def test_with_a_repository_there_are_launch_buttons_and_install_cells(project):
    addresses(project, repository="https://example.org/us/semquant/")
    staged = stage(project)
    config = configuration(staged)
    assert config["repository"]["url"] == "https://example.org/us/semquant"
    assert config["launch_buttons"]["colab_url"] and config["launch_buttons"]["binderhub_url"]
    assert "html_baseurl" not in config["sphinx"]["config"]
    cells = nbformat.read(staged / "book" / "intro.ipynb", as_version=4).cells
    assert cells[0].source == "# Start"  # the page's title stays first
    assert "git clone -q --depth 1 https://example.org/us/semquant semquant" in cells[1].source
    assert "find_spec('semquant') is None" in cells[1].source  # does nothing where it is installed
    assert len({cell.id for cell in cells}) == 5


def test_own_scripts_keep_their_order(project):
    scripts = configuration(stage(project))["sphinx"]["config"]["nb_ipywidgets_js"]
    names = [name.rpartition("/")[2] for name in scripts]
    assert names == ["widgets-early.js", "require.js", "widgets-config.js", "embed-amd.js"]


def test_where_scripts_cannot_be_fetched_none_are_named(project, monkeypatch):
    monkeypatch.setattr(site, "vendor", lambda *_: False)
    options = configuration(stage(project))["sphinx"]["config"]
    assert "mathjax_path" not in options and "nb_ipywidgets_js" not in options
    assert "vendor" not in json.dumps(options)


def test_every_script_that_the_settings_name_is_ours_or_locked():
    options = yaml.safe_load((PROJECT / "_config.yml").read_text())["sphinx"]["config"]
    own = PROJECT / "book" / "assets"
    locked = [place + Path(pattern).name if place.endswith("/") else place
              for package in json.loads((own / "lock.json").read_text())
              for pattern, place in package["files"].items()]
    for name in [options["mathjax_path"], *options["nb_ipywidgets_js"], *options["html_css_files"]]:
        vendored = name.removeprefix("vendor/")
        assert any(fnmatch.fnmatch(vendored, pattern) for pattern in locked) \
            if vendored != name else (own / name).is_file(), name


def test_the_built_book_asks_no_other_address(project):
    addresses(project, address="https://example.org/book")
    index = site.build(stage(project), project.parent / "html")
    pages = project.parent / "html" / "book"
    assert index.exists() and "forty-two" in (pages / "intro.html").read_text()
    for page in (pages / "intro.html", pages / "method" / "words.html"):
        text = page.read_text()
        for outside in ('src="http', "unpkg", "jsdelivr", "cdnjs"):
            assert outside not in text, f"{page.name}: {outside}"
        assert "book.css" in text
    intro = (pages / "intro.html").read_text()
    assert "vendor/widgets/embed-amd.js" in intro and "tag_parameters" in intro
    assert "vendor/mathjax/tex-mml-chtml.js" in (pages / "method" / "words.html").read_text()
    assert "<loc>https://example.org/book/book/method/words.html</loc>" in (
        project.parent / "html" / "sitemap.xml").read_text()


def test_a_build_with_warnings_fails_and_leaves_the_book_that_was_there(project, monkeypatch,
                                                                        capsys):
    def run(command, **options):
        assert {"-W", "--keep-going", "-n"} <= set(command)
        return subprocess.CompletedProcess(command, 1, "", "\x1b[91mwords.md: no such equation")

    monkeypatch.setattr(site.subprocess, "run", run)
    html = project.parent / "html"
    html.mkdir()
    (html / "index.html").write_text("the book that was there")
    with pytest.raises(InputError, match="failed"):
        site.build(stage(project), html)
    assert capsys.readouterr().err == "words.md: no such equation"
    assert (html / "index.html").read_text() == "the book that was there"


@pytest.mark.parametrize("tags, hidden", [(["parameters", "remove-cell"], True),
                                          (["parameters"], False)])
def test_a_page_that_hides_its_parameters_hides_the_values_it_was_run_with(project, tags, hidden):
    page = project.parent / "executed" / "book" / "intro.ipynb"
    content = notebook(executed=True)
    content.cells[1] = new_code_cell("a = 1", metadata={"tags": tags})
    content.cells.insert(2, new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}))
    nbformat.write(content, page)
    staged = nbformat.read(stage(project) / "book" / "intro.ipynb", as_version=4)
    assert ("remove-cell" in staged.cells[2].metadata["tags"]) is hidden


def test_the_api_reference_names_every_module():
    text = (PROJECT / "book" / "reproduce" / "api.md").read_text()
    named = set(re.findall(r"automodule:: semquant\.(\S+)", text))
    library = Path(site.__file__).parent
    modules = {path.stem for path in library.glob("*.py")} - {"__init__", "__main__", "cli"}
    assert {name for name in named if not name.startswith("datasets")} == modules
    assert all((library / f"{name.replace('.', '/')}.py").exists() or name == "datasets"
               for name in named)
