"""Pages made from the modules themselves: the table of modules, and the API reference.

A comment in a page's Markdown stands for what is made of the modules below a package::

    <!-- modules: semquant -->       a table of them, each with the first line of its docstring
    <!-- reference: semquant -->     their reference: a heading and an ``automodule`` each
    <!-- pages of the reference -->  a table of the pages that hold such references

Modules come in the order of the contracts in pyproject.toml, so that none imports from a later one.
"""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from semquant.checks import InputError

__all__ = ["Module", "automodules", "fill", "modules"]

MARK = re.compile(r"<!-- (?:(modules|reference): ([\w., ]+)|pages of the reference) -->")
TITLE = re.compile(r"# (?:API: )?([^\n]+)\n\n((?:[^\n]+\n)+)")  # and the paragraph below it


@dataclass(frozen=True)
class Module:
    """A module of the project, as its own text has it; it is not imported.

    `public` are the names in ``__all__`` that are defined in it, and not in a module it imports
    from.
    """

    name: str
    summary: str
    public: tuple[str, ...]
    package: bool


def modules(package: str, root: Path) -> list[Module]:
    """Return a package (or module) and all below it, in the order of the contracts, then by name.

    InputError, if there is no such package, or one of its modules has no docstring.
    """
    place = root / "lib" / Path(*package.split("."))
    files = list(place.rglob("*.py")) or [place.with_suffix(".py")]
    if not files[0].is_file():
        raise InputError(f"package: {package} is not in {root / 'lib'}")
    layers = _layers(root)
    found = [_read(path, root / "lib") for path in files if path.name != "__main__.py"]
    return sorted(found, key=lambda m: (_place(m.name, layers), m.name))


def _place(name: str, layers: dict[str, int]) -> int:
    return layers.get(".".join(name.split(".")[:2]), -1)  # -1: the package itself


def _layers(root: Path) -> dict[str, int]:
    """Places of modules and packages in the contracts' layers, the lowest layer first."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    names = [f"{container}.{name}" for contract in project["tool"]["importlinter"]["contracts"]
             for container in contract.get("containers", ())
             for layer in reversed(contract["layers"]) for name in re.findall(r"\w+", layer)]
    return {name: place for place, name in enumerate(names)}


def _read(path: Path, library: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    name = ".".join(path.relative_to(library).with_suffix("").parts).removesuffix(".__init__")
    text = ast.get_docstring(tree)
    if not text:
        raise InputError(f"module: {name} has no docstring ({path})")
    summary = text.partition("\n")[0].rstrip(".:")
    return Module(name, summary, _public(tree), path.name == "__init__.py")


def _public(tree: ast.Module) -> tuple[str, ...]:
    defined, listed = set(), ()
    for node in tree.body:
        targets = {t.id for t in getattr(node, "targets", ()) if isinstance(t, ast.Name)}
        if "__all__" in targets and isinstance(node.value, ast.List):
            listed = ast.literal_eval(node.value)
        defined |= targets | {getattr(node, "name", "")}
    return tuple(name for name in listed if name in defined)


def fill(text: str, root: Path) -> str:
    """Put what the marks in a page of MyST Markdown stand for in their places."""
    def made(mark: re.Match) -> str:
        if not mark[1]:
            return _pages(root)
        found = [module for package in mark[2].split(", ") for module in modules(package, root)
                 if module.public or not module.package]
        return _table(found) if mark[1] == "modules" else _reference(found)

    return MARK.sub(made, text)


def automodules(text: str) -> list[str]:
    """Return the names of the modules that a filled page documents."""
    return re.findall(r"automodule:: (\S+)", text)


def _table(found: list[Module]) -> str:
    rows = (f"| `{_short(module)}` | {module.summary.replace('|', '&#124;')} |\n" for module in found)
    return "| module | holds |\n|---|---|\n" + "".join(rows)


def _reference(found: list[Module]) -> str:
    return "\n".join(f"## {_short(module)}\n\n```{{eval-rst}}\n.. automodule:: {module.name}\n"
                     + f"   :members: {', '.join(module.public)}\n" * bool(module.public) + "```\n"
                     for module in found)


def _pages(root: Path) -> str:
    """The pages that document modules, in the order of the contracts."""
    filled = {path: fill(text, root) for path in (root / "book").rglob("api_*.md")
              if "<!-- reference:" in (text := path.read_text(encoding="utf-8"))}
    layers = _layers(root)
    rows = []
    for path, text in sorted(filled.items(), key=lambda item: _place(automodules(item[1])[0], layers)):
        title, about = TITLE.match(text).groups()
        names = (f"{{py:mod}}`~{name}`" for name in automodules(text))
        rows.append(f"| [{title}]({path.name}) | {' '.join(about.split()).partition(' [')[0]} | {', '.join(names)} |\n")
    return "| page | what | modules |\n|---|---|---|\n" + "".join(rows)


def _short(module: Module) -> str:
    """Its name within the package of the method, or of the book."""
    return module.name.partition(".")[2]
