"""The folder that the book is built from, and the build, on a book of two pages."""

import base64
import fnmatch
import importlib
import io
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from semquant.checks import InputError
from semquant_book.figures import dark
from semquant_book.press import reference, site

PROJECT = Path(__file__).parents[2]
TOC = {"format": "jb-book", "root": "book/intro",
       "parts": [{"caption": "The method", "chapters": [{"file": "book/method/words"}]}]}
WORDS = """# Words & `signs`

Its first sentence {cite}`a2018`. With $n$ one more. A formula, $x_i$, ends the description.

$$ y = 1 $$ (one)

Equation {eq}`one`, and a [heading](../intro.ipynb#a-heading).

```{bibliography}
```
"""
REFERENCES = "@misc{a2018, author={Anna Author}, title={A title}, year={2018}}\n"
PICTURE = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJ"
           "RU5ErkJggg==")


def notebook(executed):
    outputs = [new_output("display_data", {"text/html": "<b>forty-two</b>"})] if executed else []
    view = {"model_id": "m1", "version_major": 2, "version_minor": 0}
    widget = [new_output("display_data", {"application/vnd.jupyter.widget-view+json": view})]
    cells = [new_markdown_cell("# Start\n\n## A heading"),
             new_code_cell("category = 'dog'", metadata={"tags": ["parameters"]}),
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
    (root / "pyproject.toml").write_text(
        "[project]\nname = 'x'\nrequires-python = '>=3.11,<3.13'\n")
    (root / "book" / "references.bib").write_text(REFERENCES)
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
    assert cells[0].source.startswith("# Start")  # the page's title stays first
    assert "git clone -q --depth 1 https://example.org/us/semquant semquant" in cells[1].source
    assert len({cell.id for cell in cells}) == 5


@pytest.mark.parametrize("installed, fetched, commands, root", [
    (False, False, ["git clone", "install"], False),  # git is not run in this test
    (False, True, ["install"], True),  # it was stopped between the two
    (True, True, [], True),  # the kernel was started again
    (True, False, [], False),  # on the machine of somebody who has the project
])
def test_the_install_cell_does_what_is_missing(project, tmp_path, monkeypatch, installed, fetched,
                                               commands, root):
    addresses(project, repository="https://github.com/us/semquant")
    source = nbformat.read(stage(project) / "book" / "intro.ipynb", as_version=4).cells[1].source
    said = []

    class Shell:
        def system(self, line):
            said.append(line)

        def run_line_magic(self, name, line, **options):
            said.append(line)

    folder = tmp_path / "somewhere"
    folder.mkdir()
    if fetched:
        (folder / "semquant" / "book" / "presets").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEMQUANT_ROOT", "")  # so that what the cell sets goes with the test
    monkeypatch.delenv("SEMQUANT_ROOT")
    # a folder without __init__.py is found as well, as a namespace without an origin
    spec = SimpleNamespace(origin="x.py" if installed else None) if installed or fetched else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    exec(TransformerManager().transform_cell(source), {"get_ipython": Shell})
    assert len(said) == len(commands) and all(c in s for c, s in zip(commands, said))
    assert os.environ.get("SEMQUANT_ROOT") == (str(folder / "semquant") if root else None)


def test_own_scripts_keep_their_order(project):
    scripts = configuration(stage(project))["sphinx"]["config"]["nb_ipywidgets_js"]
    names = [name.rpartition("/")[2] for name in scripts]
    assert names == ["require.js", "widgets-config.js", "libembed-amd.js", "widgets-start.js"]


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
    for name in [options["mathjax_path"], *options["nb_ipywidgets_js"], *options["html_css_files"],
                 *options["html_js_files"]]:
        vendored = name.removeprefix("vendor/")
        assert any(fnmatch.fnmatch(vendored, pattern) for pattern in locked) \
            if vendored != name else (own / name).is_file(), name


def with_picture(project):
    """Let the landing page hold the picture that is shown of a shared page."""
    page = project.parent / "executed" / "book" / "intro.ipynb"
    content = nbformat.read(page, as_version=4)
    shown = new_output("execute_result", {"image/png": PICTURE},
                       metadata={"image/png": {"alt": 'a "dog"'}})
    content.cells.append(new_code_cell("draw()", outputs=[shown],
                                       metadata={"tags": ["remove-cell", "preview"]}))
    nbformat.write(content, page)


def head(page):
    """The tags in a built page's head: property or name -> content."""
    text = page.read_text().partition("</head>")[0]
    found = [(key, value) for key, value in
             re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)"', text)
             if key.startswith(("og:", "twitter:", "description"))]
    assert max(Counter(key for key, _ in found).values()) == 1
    return dict(found)


def test_the_built_book_asks_no_other_address(project):
    with_picture(project)
    index = site.build(stage(project), project.parent / "html")
    html = project.parent / "html"
    pages = html / "book"
    assert index.exists() and "forty-two" in (pages / "intro.html").read_text()
    for page in (pages / "intro.html", pages / "method" / "words.html"):
        text = page.read_text()
        for outside in ('src="http', "unpkg", "jsdelivr", "cdnjs"):
            assert outside not in text, f"{page.name}: {outside}"
        assert "book.css" in text
    intro, words = (pages / "intro.html").read_text(), (pages / "method" / "words.html").read_text()
    assert "vendor/widgets/libembed-amd.js" in intro and "widgets-start.js" in intro
    assert "tag_parameters" in intro
    assert "draw()" not in intro
    assert "_static/formulas.js" in words
    assert "scripts/fontawesome.js" not in words  # the icons' font is there
    assert not list((html / "_static" / "scripts").glob("fontawesome.js*"))
    assert 'href="../intro.html#a-heading"' in words
    assert not (html / "sitemap.xml").exists() and not (html / "robots.txt").exists()

    # without a public address the picture's is relative to the page, and no page names its own
    found = head(pages / "method" / "words.html")
    assert found["og:title"] == "Words &amp; signs"
    assert found["og:description"] == found["description"] == "Its first sentence. With n one more."
    picture = pages / "method" / found["og:image"]
    assert picture.resolve() == (html / "_static" / "preview.png").resolve() and picture.exists()
    assert found["og:image:alt"] == "a &quot;dog&quot;"
    assert found["twitter:card"] == "summary_large_image" and "og:url" not in found
    assert head(pages / "intro.html")["og:title"] == "Start"

    # each notebook can be downloaded as it was executed, from the page that shows it
    (link,) = set(re.findall(r'href="([^"]*intro\.ipynb)"', intro))
    kept = nbformat.read(pages / link, as_version=4)
    nbformat.validate(kept)
    assert kept.cells[2].outputs[0].data["text/html"] == "<b>forty-two</b>"


def test_a_book_with_addresses_leads_to_binder_and_colab_and_crawlers_to_it(project):
    addresses(project, "https://github.com/us/semquant", "https://example.org/book/")
    with_picture(project)
    site.build(stage(project), project.parent / "html")
    html = project.parent / "html"
    intro = (html / "book" / "intro.html").read_text()
    for link in ("mybinder.org/v2/gh/us/semquant/notebooks?urlpath=lab/tree/book/intro.ipynb",
                 "colab.research.google.com/github/us/semquant/blob/notebooks/book/intro.ipynb",
                 "github.com/us/semquant"):
        assert f'href="https://{link}"' in intro
    for outside in ('src="http', "unpkg", "jsdelivr", "cdnjs"):
        assert outside not in intro, outside
    words = (html / "book" / "method" / "words.html").read_text()
    assert "mybinder" not in words and "colab" not in words  # prose has nothing to run

    base = "https://example.org/book/"
    found = head(html / "book" / "method" / "words.html")
    assert found["og:image"] == base + "_static/preview.png"
    assert found["og:url"] == base + "book/method/words.html"
    assert f'<link rel="canonical" href="{base}book/method/words.html"' in words
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    listed = [e.text for e in ElementTree.parse(html / "sitemap.xml").findall("s:url/s:loc", space)]
    assert listed == [base + "book/intro.html", base + "book/method/words.html"]
    for place in listed:
        assert (html / place.removeprefix(base)).exists()
    assert (html / "robots.txt").read_text().splitlines() == [
        "User-agent: *", "Allow: /", f"Sitemap: {base}sitemap.xml"]


def test_what_binder_installs_has_the_python_that_the_project_needs(project):
    addresses(project, "https://github.com/us/semquant")
    assert (stage(project) / "runtime.txt").read_text() == "python-3.11\n"


def test_without_a_picture_of_the_landing_page_none_is_named(project):
    assert "semquant_preview" not in configuration(stage(project))["sphinx"]["config"]


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


@pytest.mark.parametrize("source, tags, hidden", [
    ("category = 'dog'", ["parameters", "remove-cell"], True),
    ("category = 'dog'\npreset = 'quick'", ["parameters"], False),
    ("preset = 'quick'  # a file\ndevice = 'auto'  # auto, cpu", ["parameters"], True),
])
def test_parameters_that_say_nothing_of_a_page_are_hidden_and_so_are_the_values_it_was_run_with(
        project, source, tags, hidden):
    page = project.parent / "executed" / "book" / "intro.ipynb"
    content = notebook(executed=True)
    content.cells[1] = new_code_cell(source, metadata={"tags": tags})
    content.cells.insert(2, new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}))
    nbformat.write(content, page)
    staged = nbformat.read(stage(project) / "book" / "intro.ipynb", as_version=4)
    for cell in staged.cells[1:3]:
        assert cell.metadata["tags"].count("remove-cell") == hidden


def test_figures_get_a_number_and_a_caption_and_tables_of_sentences_become_cards(project):
    picture = new_output("display_data", {"image/png": PICTURE})
    words = new_output("display_data", {"text/markdown": "No figure."})
    still = new_output("display_data", {"text/html": (
        '<figure class="sq-still"><img src="x.png" alt="A"><figcaption>Of a view.</figcaption></figure>')})
    table = new_output("display_data", {"text/html": (
        '<table class="prose-table"><thead><tr><th>Why</th></tr></thead>'
        "<tbody><tr><td>x</td></tr></tbody></table>")})
    alt = {"mystnb": {"image": {"alt": "Dots, e.g. two: left. The table has more."}}}
    content = notebook(executed=True)
    content.cells += [new_code_cell("a", outputs=[words, picture, picture], metadata=alt),
                      new_code_cell("b", outputs=[still, table]),
                      new_code_cell("c", outputs=[picture, picture],
                                    metadata=alt | {"caption": ["A $1 < 2$.", "The *second*."]})]
    nbformat.write(content, project.parent / "executed" / "book" / "intro.ipynb")
    site.build(stage(project), project.parent / "html")
    text = (project.parent / "html" / "book" / "intro.html").read_text()
    found = [(place, re.sub("<[^>]+>", "", caption).strip().removesuffix("#")) for place, caption in
             re.findall(r'<figure [^>]*id="([^"]+)".*?<figcaption>(.*?)</figcaption>', text, re.DOTALL)]
    assert found == [("figure-1", "Figure 1.1. Dots, e.g. two: left."),
                     ("figure-2", "Figure 1.2. Dots, e.g. two: left."),
                     ("figure-3", "Figure 1.3. Of a view."),
                     ("figure-4", "Figure 1.4. A $1 &lt; 2$."),
                     ("figure-5", "Figure 1.5. The *second*.")]
    assert 'alt="Dots, e.g. two: left. The table has more."' in text
    assert '<td data-label="Why">' in text


def test_the_api_reference_names_every_module():
    folder = PROJECT / "book" / "reproduce"
    filled = {path.name: reference.fill(path.read_text(), PROJECT) for path in folder.glob("api*.md")}
    index = filled.pop("api.md")
    named = [name for text in filled.values() for name in reference.automodules(text)]
    listed = re.findall(r"\{py:mod\}`~(\S+)`[, ]", index.split("## The pages")[1])
    assert sorted(listed) == sorted(named) and len(set(named)) == len(named)
    assert reference.automodules(index) == ["semquant"]
    library = PROJECT / "lib"
    texts = {".".join(path.relative_to(library).with_suffix("").parts): path.read_text()
             for path in library.rglob("*.py") if path.name != "__main__.py"}
    empty = {name for name, text in texts.items() if name.endswith(".__init__")
             and not re.search(r"^(def|class) [a-zA-Z]", text, re.MULTILINE)}
    assert set(named) == {name.removesuffix(".__init__") for name in set(texts) - empty}


@pytest.mark.parametrize("page", ["api", "design"])
def test_names_on_pages_about_the_code_are_there(page):
    """Sphinx leaves a name that it does not know as plain text, without a word."""
    text = (PROJECT / "book" / "reproduce" / f"{page}.md").read_text()
    named = re.findall(r"\{py:(\w+)\}`~([\w.]+)`", text)
    assert named
    for kind, name in named:
        place, _, last = name.rpartition(".")
        if kind == "mod":
            importlib.import_module(name)
        else:
            assert callable(getattr(importlib.import_module(place), last)), name


def test_pages_made_from_the_modules_are_filled_when_they_are_laid_out(project):
    (project / "lib" / "semquant").mkdir(parents=True)
    (project / "lib" / "semquant" / "checks.py").write_text('"""Checks."""\n')
    with open(project / "pyproject.toml", "a") as file:
        file.write("[tool.importlinter]\ncontracts = []\n")
    page = project / "book" / "method" / "words.md"
    page.write_text(WORDS + "\n<!-- modules: semquant -->\n")
    staged = (stage(project) / "book" / "method" / "words.md").read_text()
    assert staged == WORDS + "\n| module | holds |\n|---|---|\n| `checks` | Checks |\n\n"
    assert page.read_text().endswith("<!-- modules: semquant -->\n")


def test_every_page_of_the_book_is_in_its_navigation_and_has_a_title_of_its_own():
    pages = site.toc_pages(PROJECT)
    sources = {p.relative_to(PROJECT).with_suffix("").as_posix()
               for p in (PROJECT / "book").rglob("*")
               if p.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in p.parts}
    assert Counter(pages) == Counter(sources)
    titles = Counter()
    for page in pages:
        if (PROJECT / f"{page}.md").exists():
            text = (PROJECT / f"{page}.md").read_text()
        else:
            text = nbformat.read(PROJECT / f"{page}.ipynb", as_version=4).cells[0].source
        titles[re.match(r"# (.+)", text)[1]] += 1
    assert not [title for title, count in titles.items() if count > 1]


def test_a_figure_full_of_pictures_is_given_as_jpeg(project):
    """As PNG such figures made pages of six megabytes; small ones stay as they are."""
    generator = np.random.default_rng(0)
    pictures = []
    for side in (400, 20):
        with io.BytesIO() as file:
            noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(noise).save(file, "png")
            pictures.append(base64.b64encode(file.getvalue()).decode())
    path = project.parent / "executed" / "book" / "intro.ipynb"
    content = nbformat.read(path, as_version=4)
    content.cells[2].outputs = [new_output("display_data", {"image/png": p}) for p in pictures]
    nbformat.write(content, path)
    heavy, light = nbformat.read(stage(project) / "book" / "intro.ipynb", as_version=4).cells[2].outputs
    assert list(heavy.data) == ["image/jpeg"] and list(light.data) == ["image/png"]
    with Image.open(io.BytesIO(base64.b64decode(heavy.data["image/jpeg"]))) as image:
        assert image.size == (400, 400)
    assert light.data["image/png"].strip() == pictures[1]


def test_a_widget_that_is_a_text_too_is_left_out_and_the_others_keep_what_they_need(project):
    content = notebook(executed=True)
    view = {"version_major": 2, "version_minor": 0}
    name = "application/vnd.jupyter.widget-view+json"
    content.cells[2].outputs = [
        new_output("execute_result", {name: {**view, "model_id": "live"}, "text/html": "<b>needs</b>"}),
        new_output("display_data", {name: {**view, "model_id": "box"}, "text/plain": "VBox"})]
    kept = content.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    for model, children in {"live": ["a"], "a": [], "box": ["b"], "b": ["c"], "c": ["b"]}.items():
        kept[model] = {"model_name": "VBoxModel", "state": {"children": [f"IPY_MODEL_{c}" for c in children]}}
    path = project.parent / "executed" / "book" / "intro.ipynb"
    nbformat.write(content, path)
    staged = nbformat.read(stage(project) / "book" / "intro.ipynb", as_version=4)
    first, second = staged.cells[2].outputs
    assert dict(first.data) == {"text/html": "<b>needs</b>"}
    assert second.data[name]["model_id"] == "box"
    state = staged.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert set(state) == {"m1", "box", "b", "c"} and state["b"] == kept["b"]


def test_a_dark_page_shows_the_picture_that_was_drawn_for_it(project):
    with io.BytesIO() as file:
        Image.new("RGBA", (2, 2)).save(file, "webp")
        night = base64.b64encode(file.getvalue()).decode()
    both = new_output("display_data", {"image/png": PICTURE, dark.MIME: night})
    content = notebook(executed=True)
    content.cells += [new_code_cell("a", outputs=[both], metadata={"mystnb": {"image": {"alt": "A."}}})]
    nbformat.write(content, project.parent / "executed" / "book" / "intro.ipynb")
    staged = stage(project)
    assert dark.MIME not in (staged / "book" / "intro.ipynb").read_text()
    site.build(staged, project.parent / "html")
    page = project.parent / "html" / "book" / "intro.html"
    usual, other = re.findall(r"<img [^>]*alt=\"A.\"[^>]*>", page.read_text())
    assert "hidden" not in usual and "lazy" not in usual  # printing needs it at once
    assert 'hidden loading="lazy" class="for-dark"' in other  # and where the usual one has a size, room for it
    shown = page.parent / re.search(r'src="([^"]+)"', other)[1]
    assert shown.read_bytes() == base64.b64decode(night)


def test_a_picture_that_comes_late_has_its_room_from_the_start(tmp_path):
    (tmp_path / "_static" / site.DARK).mkdir(parents=True)
    name = "a" * 64
    (tmp_path / "_static" / site.DARK / f"{name}.webp").touch()
    usual = f'<img alt="A." src="../_images/{name}.png" style="width: 740px; height: 330px;" />'
    both = site.PICTURE.sub(lambda found: site._with_dark(found, tmp_path), usual)
    assert both.startswith(usual) and 'class="for-dark" width="740" height="330" alt="A."' in both
