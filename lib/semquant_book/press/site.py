"""From executed notebooks to the book's HTML: a folder to build from, and the build.

The sitemap, ``robots.txt``, each page's canonical address and the absolute one of the picture of a
shared page need the book's public address, ``site`` in ``[tool.semquant]`` of pyproject.toml.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import yaml
from PIL import Image

from semquant.checks import InputError
from semquant_book.files import write_atomic
from semquant_book.press import cards, preview, reference, without_scripts
from semquant_book.press.assets import vendor
from semquant_book.study.presets import build_root, project_root

__all__ = ["build", "public_addresses", "stage", "toc_pages"]

HEAVY = 270_000  # characters of base 64, 200 kB: from here on a figure is given as JPEG
DARK = "for_dark"  # folder of pictures for dark pages, among the static files
PICTURE = re.compile(r'<img ([^>]*?)src="([^"]*?)_images/([0-9a-f]{64})\.(?:png|jpe?g)"([^>]*?)/?>')
RUN = {"preset", "device"}  # parameters that say which run a page is of
# the part of _config.yml that points at scripts served from the book itself
OWN_SCRIPTS = ("mathjax_path", "nb_ipywidgets_js")
ICON_SCRIPT = (r'<link rel="preload" as="script" href="[^"]*scripts/fontawesome\.js[^"]*" ?/?>'
               r'|<script [^>]*src="[^"]*scripts/fontawesome\.js[^"]*"></script>')


def _toml(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def public_addresses(root: Path) -> dict[str, str]:
    """Return ``repository`` and ``site`` of ``[tool.semquant]`` in pyproject.toml, or empty."""
    table = _toml(root).get("tool", {}).get("semquant", {})
    return {name: str(table.get(name, "")).rstrip("/") for name in ("repository", "site")}


def _configuration(root: Path, addresses: dict[str, str], own_scripts: bool) -> dict:
    """Read ``_config.yml``; add what needs a public address, drop scripts that aren't there."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    options = config["sphinx"]["config"]
    for name in () if own_scripts else OWN_SCRIPTS:  # the default entries name public addresses
        options.pop(name, None)
    if addresses["repository"]:
        # the workflow publishes the folder built from, with install cells, as this branch
        config["repository"] = {"url": addresses["repository"], "branch": "notebooks"}
        config["launch_buttons"] = {"binderhub_url": "https://mybinder.org",
                                    "colab_url": "https://colab.research.google.com",
                                    "notebook_interface": "jupyterlab"}
        config.setdefault("html", {}).update(use_repository_button=True, use_issues_button=True)
    if addresses["site"]:
        options |= {"html_baseurl": addresses["site"] + "/", "sitemap_url_scheme": "{link}",
                    "sitemap_excludes": ["genindex.html", "py-modindex.html", "search.html"]}
        options["extensions"].append("sphinx_sitemap")
    return config


def _install_cell(repository: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(
        "# On Colab or Binder: fetch the project and install what this notebook needs.\n"
        "import importlib.util, os\n"
        "found = importlib.util.find_spec('semquant')\n"
        "if found is None or found.origin is None:  # not installed, or only fetched\n"
        "    if not os.path.isdir('semquant'):\n"
        f"        !git clone -q --depth 1 {repository} semquant\n"
        "    %pip install -q './semquant[book]'\n"
        "if os.path.isdir('semquant/book/presets'):  # also after a restart of the kernel\n"
        "    os.environ['SEMQUANT_ROOT'] = os.path.abspath('semquant')",
        id="install", metadata={"tags": ["hide-input"]})


def _oldest_python(root: Path) -> str:
    """Return the first version in pyproject.toml's requires-python, e.g. 3.11."""
    return re.search(r"\d+\.\d+", _toml(root)["project"]["requires-python"])[0]


def stage(executed: Path, target: Path, root: Path | None = None) -> Path:
    """Lay out the folder, made anew, that the book is built from.

    The scripts that pages need come along, in ``book/assets/vendor``. If they can't be fetched,
    a line on standard error says so, and the configuration is without the entries that name
    them. InputError, if a page named in ``_toc.yml`` isn't there, or is a notebook that was not
    executed.
    """
    root = root or project_root()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book",
                    ignore=shutil.ignore_patterns("*.ipynb", "lock.json", "presets", ".*"))
    for path in (target / "book").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        if (filled := reference.fill(text, root)) != text:
            write_atomic(path, filled)
    own_scripts = vendor(target / "book" / "assets" / "vendor", build_root() / "cache" / "assets",
                         root / "book" / "assets" / "lock.json")
    addresses = public_addresses(root)
    config = _configuration(root, addresses, own_scripts)
    config["sphinx"]["config"] |= _preview(executed / f"{toc_pages(root)[0]}.ipynb", target)
    write_atomic(target / "_config.yml", yaml.safe_dump(config, sort_keys=False))
    shutil.copy(root / "_toc.yml", target / "_toc.yml")
    if addresses["repository"]:  # Binder's own default is another Python
        write_atomic(target / "runtime.txt", f"python-{_oldest_python(root)}\n")
    for page in toc_pages(root):
        if (root / f"{page}.md").exists():
            continue
        if not (root / f"{page}.ipynb").exists():
            raise InputError(f"_toc.yml: {page} is neither {page}.md nor {page}.ipynb")
        notebook = executed / f"{page}.ipynb"
        if not notebook.exists():
            raise InputError(f"notebook: {page}.ipynb was not executed ({notebook} is not there)")
        content = nbformat.read(notebook, as_version=4)
        _treat_parameters(content)
        _lighten(content)
        _leave_out_live_widgets(content)
        _keep_for_dark(content, target / "book" / "assets" / DARK)
        for part in (content, *content.cells):  # it names folders of the machine
            part.metadata.pop("papermill", None)
        if addresses["repository"]:
            content.cells.insert(1, _install_cell(addresses["repository"]))
        write_atomic(target / f"{page}.ipynb", nbformat.writes(content))
    return target


def _preview(landing: Path, target: Path) -> dict:
    """Put the picture that the landing page drew beside the style sheet; return its settings."""
    if not landing.exists() or not (found := preview.taken_from(nbformat.read(landing, 4))):
        return {}
    picture, words = found
    write_atomic(target / "book" / "assets" / preview.FILE, picture)
    return {"semquant_preview": True, "semquant_preview_alt": words}


def _treat_parameters(notebook: nbformat.NotebookNode) -> None:
    """Hide parameters, and their values, of pages with the tag ``remove-cell`` or with `RUN` alone.

    Which run a page is of and on which device is no choice that a reader of one page would look
    for.
    """
    cells = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])
             if tag in ("parameters", "injected-parameters")}
    if "parameters" not in cells:
        return
    names = set(re.findall(r"^(\w+) *=", cells["parameters"].source, re.MULTILINE))
    if names <= RUN or "remove-cell" in cells["parameters"].metadata.tags:
        for cell in cells.values():
            cell.metadata.tags = [*{*cell.metadata.tags, "remove-cell"}]


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _lighten(notebook: nbformat.NotebookNode) -> None:
    """Give figures full of pictures as JPEG: as PNG they would make a page heavy."""
    for output in _outputs(notebook):
        data, about = output.get("data", {}), output.get("metadata", {})
        if len(data.get("image/png", "")) < HEAVY:
            continue
        with Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))) as image:
            ground = Image.new("RGB", image.size, "white")
            ground.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
        with io.BytesIO() as file:
            ground.save(file, "jpeg", quality=85, subsampling=0)
            data["image/jpeg"] = base64.b64encode(file.getvalue()).decode()
        if "image/png" in about:
            about["image/jpeg"] = about.pop("image/png")


def _leave_out_live_widgets(notebook: nbformat.NotebookNode) -> None:
    """Of outputs that are a widget and a text keep the text, which says that it needs a kernel."""
    view = "application/vnd.jupyter.widget-view+json"
    shown = []
    for data in (output.get("data", {}) for output in _outputs(notebook)):
        if "text/html" in data:
            data.pop(view, None)
        shown += [data[view]["model_id"]] if view in data else []
    for content in notebook.metadata.get("widgets", {}).values():
        states, kept = content["state"], {}
        while shown:
            name = shown.pop()
            if name in states and name not in kept:
                kept[name] = states[name]
                shown += re.findall(r"IPY_MODEL_(\w+)", json.dumps(states[name]))
        content["state"] = kept


def _keep_for_dark(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Take the pictures for dark pages out, named as MyST-NB names those beside them."""
    from semquant_book.figures import dark
    for output in _outputs(notebook):
        picture = output.get("data", {}).pop(dark.MIME, None)
        usual = next((output.data[kind] for kind in ("image/png", "image/jpeg")
                      if kind in output.get("data", {})), None)
        if picture and usual:
            name = hashlib.sha256(base64.b64decode(usual)).hexdigest()
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / f"{name}.webp", base64.b64decode(picture))


def toc_pages(root: Path) -> list[str]:
    """Return the pages that ``_toc.yml`` names, without endings, in reading order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]]

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "file" in node:
                pages.append(node["file"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(toc.get("parts", toc.get("chapters", [])))
    return pages


def build(staged: Path, html: Path) -> Path:
    """Build the book, with warnings as errors, and put the HTML in place when it is whole."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build",
               str(staged), "-W", "--keep-going", "-n", "--quiet"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                          env=os.environ | {"PYTHONUTF8": "1"})
    if done.returncode:
        said = done.stdout[-6000:] + done.stderr[-12000:]
        sys.stderr.write(re.sub(r"\x1b\[[0-9;]*m", "", said))  # without terminal colours
        raise InputError(f"book: the build of {staged} failed (jupyter-book exit status "
                         f"{done.returncode})")
    built = staged / "_build" / "html"
    _mend(built)
    if (built / "sitemap.xml").exists():  # the book has a public address
        base = yaml.safe_load((staged / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]["html_baseurl"]
        # crawlers read it at the top of a host only; elsewhere they are told of the sitemap itself
        write_atomic(built / "robots.txt", f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n")
    old = html.with_name(html.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if html.exists():
        html.rename(old)
    shutil.move(built, html)
    shutil.rmtree(old, ignore_errors=True)
    return html / "index.html"


def _mend(html: Path) -> None:
    """Mend what the theme and docutils put on the pages.

    The theme brings its icons as a font and as a script of 1.5 MB that replaces the font's on
    each page: the font stays. Controls are called what is written on them (WCAG 2.5.3); arrows
    that open a part of the navigation get a name. A bibliography's entries have a role that
    ARIA has dropped: it stays plain text. What pages need without scripts comes with them.
    """
    without_scripts.styles(html)
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(ICON_SCRIPT, "", text)
        text = text.replace('<summary aria-label="Toggle hidden content">', "<summary>")
        text = re.sub(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"', r"\1", text)
        # an icon's title becomes text within the button, which is called "Color mode"
        text = re.sub(r'(<i class="theme-switch [^>]*?)\s+title="[^"]*"', r"\1", text)
        text = text.replace('<summary><span class="toctree-toggle"',
                            '<summary aria-label="Pages below this one"><span class="toctree-toggle"')
        text = text.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        text = text.replace(' role="doc-biblioentry"', "")
        text = PICTURE.sub(lambda found: _with_dark(found, html), cards.mend(text))
        write_atomic(page, without_scripts.mend(text))
    for file in (html / "_static" / "scripts").glob("fontawesome.js*"):
        file.unlink()


def _with_dark(found: re.Match, html: Path) -> str:
    """A picture, and the one for dark pages beside it, if there is one; see book.css.

    That one is loaded when it is to be seen; the usual one always, for printing.
    """
    before, root, name, after = found.groups()
    if not (html / "_static" / DARK / f"{name}.webp").exists():
        return found[0]
    size = re.search(r"width: (\d+)px; height: (\d+)px", before + after)  # kept free until it comes
    room = f'width="{size[1]}" height="{size[2]}" ' if size else ""
    return (f'{found[0]}<img hidden loading="lazy" class="for-dark" {room}{before}'
            f'src="{root}_static/{DARK}/{name}.webp"{after}/>')
