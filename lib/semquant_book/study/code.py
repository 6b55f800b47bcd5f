"""The code that a result depends on, found from imports: no list of sources is kept by hand.

A module stands for itself and for every module of the project that it imports, directly or not.
What is imported within a function counts, what is imported for type checkers only doesn't. Imports
nothing heavy, so that the workflow can ask without loading torch.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from semquant.checks import InputError
from semquant_book.folders import real

__all__ = ["closure", "digest", "named", "of_notebook"]

LIBRARY = Path(__file__).parents[2]
PACKAGES = ("semquant", "semquant_book")
#: A folder beside modules whose files they read: the scripts and looks of views.
BESIDE = "scripts"


def closure(*modules: str) -> list[str]:
    """Return the modules that some depend on, themselves included, in alphabetical order.

    InputError if the project has no such module.
    """
    found, left = set(), list(modules)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _imported(name)
    return sorted(found)


def digest(*modules: str) -> str:
    """Return 10 digits that stand for what some modules, and all that they import, do.

    Comments, docstrings and layout change nothing. The files in a folder ``scripts`` beside one of
    the modules count by their bytes. InputError if the project has no such module.
    """
    names = closure(*modules)
    parts = [f"{name} {_content(_file(name))}" for name in names]
    for folder in sorted({_file(name).parent / BESIDE for name in names}):
        parts += [f"{path.relative_to(LIBRARY)} {_sha(path.read_bytes())}"
                  for path in real(folder.glob("*")) if path.is_file()]
    return _sha("\n".join(parts).encode())[:10]


def of_notebook(path: str | Path) -> list[str]:
    """Return the project's modules that a notebook's cells import; InputError for broken Python."""
    return sorted({name for cell in _cells(Path(path)) for name in _imports(cell)})


def named(path: str | Path, files: Iterable[Path]) -> list[Path]:
    """Return those files whose names stand, as texts, in a notebook or what it imports."""
    texts = {text for cell in _cells(Path(path)) for text in _texts(cell)}
    for name in closure(*of_notebook(path)):
        texts |= _texts(_tree(_file(name)))
    return [file for file in files if file.name in texts]


def _cells(path: Path) -> list[ast.Module]:
    """The code cells of a notebook."""
    found = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
        if cell["cell_type"] == "code":
            try:
                found.append(ast.parse("".join(cell["source"])))
            except SyntaxError as error:
                raise InputError(f"notebook: cell {number} of {path} is not Python "
                                 f"(line {error.lineno}: {error.msg})") from error
    return found


def _file(name: str) -> Path:
    found = _find(name)
    if found is None:
        raise InputError(f"module: {name!r} is no module of the project")
    return found


@lru_cache(maxsize=None)
def _find(name: str) -> Path | None:
    """The file of a module, or None for one that is not the project's."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or "" in parts:  # "semquant.." would be the package by yet another name
        return None
    place = LIBRARY.joinpath(*parts)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py"))
                 if path.is_file()), None)


@lru_cache(maxsize=None)
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@lru_cache(maxsize=None)
def _imported(name: str) -> tuple[str, ...]:
    path = _file(name)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(_imports(_tree(path), package))


def _imports(tree: ast.Module, package: str = "") -> set[str]:
    """The project's modules that code names in its import statements.

    Where there is ``import_module``, every text that names a module of the same package counts.
    """
    found, left = set(), [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if _find(inner) else base)
                if alias.name == "import_module":
                    found.update(f"{package}.{text}" for text in _texts(tree)
                                 if all(map(str.isidentifier, text.split("."))))
    return {name for name in found if _find(name)}


def _texts(tree: ast.Module) -> set[str]:
    return {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


class _WithoutDocstrings(ast.NodeTransformer):
    """Takes statements away that are nothing but a text."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


@lru_cache(maxsize=None)
def _content(path: Path) -> str:
    """What stands for a module's text: its syntax tree without docstrings."""
    tree = _WithoutDocstrings().visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return _sha(ast.dump(tree).encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
