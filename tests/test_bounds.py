"""How large things may be: the library, its modules, its functions, the workflow, the notebooks."""

import importlib
import inspect
import pkgutil
from collections import defaultdict
from dataclasses import is_dataclass
from pathlib import Path

import nbformat
import pytest

import semquant
from semquant_book.press.site import toc_pages

PROJECT = Path(__file__).parents[1]
LIBRARY = PROJECT / "lib"
NOTEBOOKS = sorted(path for path in (PROJECT / "book").rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in path.parts)
HIDDEN = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
#: What the paper does not have: truths and other ways to explain, and what a CNN of one's own needs.
BESIDES = ("corrected", "peers", "regressions", "steps", "truth",
           "borrowed", "checkpoints", "exports", "files", "gallery", "gathered", "images", "kept", "layouts",
           "models", "names", "own", "report", "shown", "targets", "views")
being_built = pytest.mark.xfail(strict=True, raises=AssertionError, reason="being built")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def within(record_property, what: str, figure: float, bound: float) -> None:
    record_property("figure", f"{what}: {figure:,} of at most {bound:,}")
    assert figure <= bound, f"{what}: {figure:,}, at most {bound:,}"


def none_above(record_property, what: str, bound: int, found: dict[str, int]) -> None:
    above = {name: number for name, number in sorted(found.items()) if number > bound}
    record_property("figure", f"{what}: {max(found.values())} at most; more than {bound}: {above}")
    assert not above, f"{what}, at most {bound}: {above}"


def code_cells() -> list[tuple[str, nbformat.NotebookNode, set[str]]]:
    """The notebooks' cells of code: where, the cell, its tags."""
    return [(str(path.relative_to(PROJECT)), cell, set(cell.metadata.get("tags", ())))
            for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code"]


def code(cell: nbformat.NotebookNode) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def test_the_method_is_small(record_property):
    files = [path for path in (LIBRARY / "semquant").rglob("*.py")
             if path.relative_to(LIBRARY / "semquant").with_suffix("").parts[0] not in BESIDES]
    within(record_property, "lines of the paper's method", sum(map(lines, files)), 3000)


def test_the_method_with_what_the_paper_does_not_have_is_small(record_property):
    within(record_property, "lines of lib/semquant",
           sum(map(lines, (LIBRARY / "semquant").rglob("*.py"))), 7450)


@being_built
def test_the_library_is_small(record_property):
    within(record_property, "lines of Python in lib", sum(map(lines, LIBRARY.rglob("*.py"))), 15_300)


def test_the_workflow_is_short(record_property):
    within(record_property, "lines of the Snakefile", lines(PROJECT / "Snakefile"), 180)


def test_no_module_is_long(record_property):
    none_above(record_property, "lines of a module", 500,
               {str(path.relative_to(LIBRARY)): lines(path) for path in LIBRARY.rglob("*.py")})


def signatures() -> dict[str, int]:
    """The number of parameters of each public function, method and class of the method."""
    found = {}
    for about in pkgutil.walk_packages(semquant.__path__, "semquant."):
        module = importlib.import_module(about.name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not callable(value) or getattr(value, "__module__", None) != about.name:
                continue
            callables = {f"{about.name}.{name}": value}
            if inspect.isclass(value):
                if is_dataclass(value) or issubclass(value, Exception):
                    callables.clear()  # a field each, with its default and its reason
                callables |= {f"{about.name}.{name}.{key}": getattr(value, key)
                              for key, method in vars(value).items() if not key.startswith("_")
                              and inspect.isroutine(getattr(value, key))}
            for place, function in callables.items():
                taken = [p for p in inspect.signature(function).parameters if p != "self"]
                found[place] = len(taken)
    return found


def test_no_public_function_of_the_method_takes_many_parameters(record_property):
    found = signatures()
    assert {"semquant.own.distill", "semquant.losses.prior_cross_entropy",
            "semquant.explanation.Explanation.top", "semquant.explainers.Explainer"} <= set(found)
    none_above(record_property, "parameters of a function", 8, found)


def test_the_notebooks_have_little_code(record_property):
    within(record_property, "lines of code in notebooks",
           sum(len(code(cell)) for _, cell, _ in code_cells()), 1200)


def test_half_of_the_notebooks_code_is_seen(record_property):
    """Parameters are not counted: they are seen, and say nothing of the method."""
    cells = [(len(code(cell)), tags) for _, cell, tags in code_cells() if "parameters" not in tags]
    total, hidden = sum(n for n, _ in cells), sum(n for n, tags in cells if tags & HIDDEN)
    within(record_property, f"hidden lines, of {total:,}", hidden, total // 2)


def test_code_that_is_seen_fits_a_page(record_property):
    """On a page of 1440 px lines of 110 characters are whole; nobody scrolls to a comment."""
    lengths = {f"{path}: {line}": len(line) for path, cell, tags in code_cells() if not tags & HIDDEN
               for line in cell.source.splitlines()}
    none_above(record_property, "characters of a line of seen code", 108, lengths)


def cells_twice(record_property, at_least: int) -> dict[str, set[str]]:
    """The cells of so many lines that stand in several notebooks, and where."""
    where = defaultdict(set)
    for path, cell, tags in code_cells():
        if len(code(cell)) >= at_least and "parameters" not in tags:
            where["\n".join(code(cell))].add(path)
    twice = {source: paths for source, paths in where.items() if len(paths) > 1}
    record_property("figure", f"cells of {at_least} or more lines in several notebooks: {len(twice)}")
    return twice


def test_no_work_stands_in_two_notebooks(record_property):
    assert not cells_twice(record_property, 4)


@being_built
def test_no_cell_stands_in_two_notebooks(record_property):
    """The pages of one kind show the same pictures and tables, by the same named calls."""
    assert not cells_twice(record_property, 1)


def test_a_folded_cell_has_something_to_see_under_it(built, record_property):
    executed = built / "smoke" / "notebooks"
    empty = []
    for page in toc_pages(PROJECT):
        path = executed / f"{page}.ipynb"
        if not (PROJECT / f"{page}.ipynb").exists():
            continue
        for cell in nbformat.read(path, as_version=4).cells:
            if "hide-input" in cell.metadata.get("tags", ()) and not cell.outputs:
                empty.append(f"{page}: {cell.source[:80]}")
    record_property("figure", f"folded cells without an output: {len(empty)}")
    assert not empty, "\n".join(empty)
