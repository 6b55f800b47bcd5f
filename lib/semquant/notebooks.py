"""Running a notebook with parameters through papermill, strictly.

papermill warns of a misspelt parameter and goes on, and leaves a failed notebook where a good one
would be. Here a parameter's name and type are checked first, the output path holds a complete
notebook or none, and a failure names the notebook and the cell.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path

import nbformat
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError

from semquant.checks import InputError, one_of

__all__ = ["execute", "notebook_parameters"]

_TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false",
          list: "a list"}


def notebook_parameters(path: str | Path) -> dict[str, object]:
    """Return the parameters of a notebook and their defaults.

    Parameters
    ----------
    path : path
        A notebook with a cell tagged ``parameters``.

    Raises
    ------
    InputError
        If there is no such notebook.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"notebook: {path} is not there")
    try:
        found = papermill.inspect_notebook(str(path))
    except nbformat.reader.NotJSONError as error:
        raise InputError(f"notebook: {path} is not a notebook") from error
    return {name: ast.literal_eval(about["default"]) for name, about in found.items()}


def _typed(name: str, value: object, default: object) -> object:
    """Return `value` as the type of the parameter's default; text is read as YAML reads it."""
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        value = yaml.safe_load(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise InputError(f"parameter {name}: {value!r} is not {_TYPES.get(wanted, wanted)} "
                         f"(its default is {default!r})")
    return value


def execute(path: str | Path, output: str | Path, parameters: Mapping[str, object]) -> Path:
    """Execute a notebook with parameters and write the executed copy.

    Parameters
    ----------
    path : path
        The source notebook; it is only read.
    output : path
        Where the executed copy goes, when every cell has run.
    parameters : mapping
        Values by parameter name. Text is taken as the type of the parameter's default.

    Raises
    ------
    InputError
        If the notebook has no such parameter, a value has the wrong type, or a cell fails. The
        message names the notebook and the cell, and the partly executed copy is kept beside
        `output` with the ending ``.failed.ipynb``.
    """
    path, output = Path(path), Path(output)
    defaults = notebook_parameters(path)
    values = {}
    for name, value in parameters.items():
        one_of(f"parameter of {path.name}", name, tuple(defaults))
        values[name] = _typed(name, value, defaults[name])
    beside = output.with_name(f".{output.stem}.part.ipynb")
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(path), str(beside), values, kernel_name="python3", progress_bar=False
        )
    except PapermillExecutionError as error:
        os.replace(beside, failed)
        reason = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise InputError(f"notebook: {path} failed in cell {error.cell_index + 1} ({reason}); "
                         f"what ran is kept in {failed}") from error
    except OSError as error:
        raise InputError(f"output: {output} can't be written ({error.strerror or error})") from error
    failed.unlink(missing_ok=True)
    os.replace(beside, output)
    return output
