"""Every figure of the book has a text for readers who can't see it."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from semquant_book.press.notebooks import notebook_parameters

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(p.relative_to(ROOT / "book").with_suffix(""))
               for p in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
LONGEST = 300  # characters; a screen reader can't stop and go on within a text
NAMES = r"VGG-16|EfficientNet-Lite0|ResNet-\d+|(Case|Experiment|Figure|Section|Table) \d+"


def functions_that_draw() -> set[str]:
    """The packages' functions that return a Figure, as ``module.name``; methods as ``.name``."""
    found = set()
    for path in (ROOT / "lib").rglob("*.py"):  # a Figure of datasets is a drawn body
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if (isinstance(node, ast.FunctionDef) and node.returns is not None
                    and ast.unparse(node.returns).strip("'\"").removesuffix(" | None")
                    .rpartition(".")[2] == "Figure"):
                module = "figures" if path.parent.name == "figures" else path.stem
                found.add(f"{module if node in tree.body else ''}.{node.name}")
    return found


def figures_left(node: ast.AST, drawing: set[str]) -> int:
    """Count the figures that code opens when it runs, without those that it gives away.

    A figure is opened by a function that returns one, or by pyplot; it is gone when it is closed
    or handed to `semquant_book.views.widgets.show`, which wants a text of its own. What stands in a function
    does not run before the function is called.
    """
    count = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.Lambda)):
            continue
        count += figures_left(child, drawing)
        if isinstance(child, ast.Call):
            of, _, name = ast.unparse(child.func).rpartition(".")
            if of == "plt":
                count += {"figure": 1, "subplots": 1, "close": -1}.get(name, 0)
            elif of == "sns":
                count += name.endswith(("plot", "map", "grid"))
            elif name == "show" and len(child.args) + len(child.keywords) >= 3:
                count -= 1
            elif of:
                count += not drawing.isdisjoint({f"{of}.{name}", f".{name}"})
            else:
                count += name in drawing
    return count


def drawing_cells(cells: list, drawing: set[str]) -> list:
    """The code cells that leave a figure in the page, also by a function that the page defines."""
    trees = [(cell, ast.parse(cell.source)) for cell in cells if cell.cell_type == "code"]
    nodes = [node for _, tree in trees for node in ast.walk(tree)]
    drawing = drawing | {a.asname or a.name for node in nodes if isinstance(node, ast.ImportFrom)
                         for a in node.names
                         if f"{(node.module or '').rpartition('.')[2]}.{a.name}" in drawing}
    helpers = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    for _ in helpers:  # one that calls another is known a round later
        drawing = drawing | {f.name for f in helpers if figures_left(f, drawing) > 0}
    hidden = {"remove-cell", "remove-output"}
    return [cell for cell, tree in trees if figures_left(tree, drawing) > 0
            and not hidden.intersection(cell.metadata.get("tags", []))]


def text(cell) -> str:
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def page(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)


DRAWING = functions_that_draw()


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_has_a_text(name):
    missing = [cell.id for cell in drawing_cells(page(name).cells, DRAWING)
               if not text(cell).strip()]
    assert not missing, f"{name}.ipynb: no metadata mystnb.image.alt in the cells {missing}"


@pytest.mark.parametrize("name", PAGES)
def test_every_text_has_a_figure(name):
    """A text of a figure that is gone would be read out for whatever picture takes its place."""
    cells = page(name).cells
    drawn = {cell.id for cell in drawing_cells(cells, DRAWING)}
    idle = [cell.id for cell in cells if text(cell) and cell.id not in drawn]
    assert not idle, f"{name}.ipynb: metadata mystnb.image.alt, but no figure, in the cells {idle}"


@pytest.mark.parametrize("name", PAGES)
def test_texts_are_short_and_different_and_hold_for_every_run(name):
    texts = {cell.id: text(cell) for cell in page(name).cells if text(cell)}
    assert len(set(texts.values())) == len(texts), "two figures of the page have the same text"
    defaults = notebook_parameters(ROOT / "book" / f"{name}.ipynb").values()
    values = [default for default in defaults if isinstance(default, str) and default]
    for cell, said in texts.items():
        assert len(said) <= LONGEST and said[0].isupper() and said.endswith("."), cell
        assert not re.match(r"(?i)(an? )?(image|picture|figure|plot) (of|with|that)", said), cell
        # a number, or a parameter's value, is true of one run only
        assert not re.search(r"\d", re.sub(NAMES, "", said)), cell
        for value in values:
            assert not re.search(rf"(?i)\b{re.escape(value)}\b", said), (cell, value)


def test_pictures_in_prose_have_a_text():
    sources = {str(p.relative_to(ROOT)): p.read_text()
               for p in (*(ROOT / "book").rglob("*.md"), ROOT / "README.md")}
    sources |= {f"{name}.ipynb": "\n".join(c.source for c in page(name).cells
                                           if c.cell_type == "markdown") for name in PAGES}
    for where, prose in sources.items():
        assert not re.search(r"!\[\s*\]\(", prose), where
        for tag in re.findall(r"<img\b[^>]*>", prose):
            assert re.search(r'\balt="[^"]+"', tag), (where, tag)
        for options in re.findall(r"^[`:]{3,}\{(?:figure|image)\}.*\n((?::.*\n)*)", prose, re.M):
            assert re.search(r"^:alt: \S", options, re.M), (where, options)


@pytest.mark.parametrize("source, drawn", [
    ("figures.sample_sheet(images);", True),
    ("if data:\n    figures.case_one(a, b)", True),
    ("figure, (left, right) = plt.subplots(1, 2)\nleft.plot(x)", True),
    ("sns.heatmap(table)", True),
    ("for k in range(2):\n    inner(k)", True),
    ("outer()", True),
    ("from semquant_book.figures import sample_sheet as sheet\nsheet(images)", True),
    ("figures.use_style()", False),
    ("case_one(a, b)", False),  # not the library's
    ("shades = sns.color_palette('colorblind')", False),
    ("figures.comparison_table(ours, theirs)", False),
    ("def later():\n    plt.figure()", False),
    ("figure = plt.figure()\nplt.close(figure)", False),
    ("quiet()", False),
    ("widgets.show(view, figures.sample_sheet(images), 'Images in a row.')", False),
    ("figure, ax = plt.subplots()\nshow(view, figure, 'A line.')", False),
    ("figures.sample_sheet(images)\nplt.show()", True),
])
def test_what_counts_as_a_figure(source, drawn):
    helpers = ("def outer():\n    inner(1)\n\ndef inner(k):\n    figures.label_map(k)\n\n"
               "def quiet():\n    figure = plt.figure()\n    plt.close(figure)")
    cells = [nbformat.v4.new_code_cell(code) for code in (helpers, source)]
    assert drawing_cells(cells, DRAWING) == cells[1:] * drawn
    cells[1].metadata["tags"] = ["hide-input", "remove-output"]
    assert drawing_cells(cells, DRAWING) == []
