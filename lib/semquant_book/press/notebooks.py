"""Running a notebook with parameters through papermill, strictly.

papermill warns of a misspelt parameter and goes on, and leaves a failed notebook where a good one
would be. Here parameters are checked first, and the output is a complete notebook or none.
"""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError

from semquant.checks import InputError, one_of
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.study.presets import preset_names

__all__ = ["Parameter", "check_values", "execute", "notebook_parameters", "parameters",
           "part_of", "read_parameters"]

_TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false",
          list: "a list"}
#: How a whole number and a number are written: 0123 is neither, nor are nan and 1_000.
NUMBERS = {int: re.compile(r"[+-]?(0|[1-9][0-9]*)", re.ASCII),
           float: re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)}
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal
_CELL = re.compile(r"Executing Cell (\d+)-")
_OBJECT = re.compile(r"<[^<>\n]*>")  # what is displayed, but for its text
_NOT_SAID = ("Ending Cell", "Input Notebook: ", "Output Notebook: ", "Executing notebook with ")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook; `help` is the comment beside it, `accepted` what that lists."""

    name: str
    default: object
    help: str = ""
    accepted: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """What its values are, in words."""
        return _TYPES.get(type(self.default), type(self.default).__name__)


def parameters(path: str | Path) -> list[Parameter]:
    """Return the parameters of a notebook's cell with that tag, and what is said beside them.

    A comment lists accepted values as ``a, b, c``, as ``a or b: what it is``, or as ``a: what
    it does; b: what it does``; ``a file in book/presets`` and ``any of CelebA's 40 attributes``
    stand for those names. InputError, if there is no such notebook.
    """
    return [Parameter(name, default, help, _accepted(default, help))
            for name, (default, help) in _inspected(path).items()]


def _accepted(default: object, help: str) -> tuple[str, ...]:
    """The values that a comment lists, if the default is one of them."""
    if not isinstance(default, str):
        return ()
    if help.startswith("a file in book/presets"):
        return preset_names()
    if help.startswith("any of CelebA's 40 attributes"):
        return ATTRIBUTES
    listed = re.match(r"([\w.-]+(?:(?:, | or )[\w.-]+)+)(?=$|[;:])", help)
    found = re.split(", | or ", listed[1]) if listed else re.findall(r"(?:^|; )([\w.-]+): ", help)
    return tuple(found) if default in found and len(found) > 1 else ()


def notebook_parameters(path: str | Path) -> dict[str, object]:
    """Return a notebook's parameters and their defaults; InputError if there is no such one."""
    return {name: default for name, (default, _) in _inspected(path).items()}


def _inspected(path: str | Path) -> dict[str, tuple[object, str]]:
    if not Path(path).is_file():
        raise InputError(f"notebook: {path} is not there")
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError) as error:
        raise InputError(f"notebook: {path} is not a notebook") from error
    source = next((c.source for c in cells if "parameters" in c.metadata.get("tags", ())), "")
    # by Python's own rules: papermill's take a "#" in a text for the beginning of a comment
    comments = {token.end[0]: token.string.lstrip("# ") for token in tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT}
    found = {}
    for line in ast.parse(source).body:
        targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", ())
        try:
            (name,), value = (target.id for target in targets), ast.literal_eval(line.value)
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"notebook: line {line.lineno} of the parameters of {path} is not "
                             "'name = value'") from error
        found[name] = value, comments.get(line.end_lineno, "")
    return found


def check_values(known: Sequence[Parameter],
                 values: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
    """Return the accepted values, each of its parameter's type, and a problem for each other.

    Text is taken as the type of the parameter's default.
    """
    by_name, good, problems = {parameter.name: parameter for parameter in known}, {}, {}
    for name, value in values.items():
        try:
            about = by_name[one_of("parameter", name, tuple(by_name))]
            value = _typed(name, value, about.default)
            good[name] = one_of(name, value, about.accepted) if about.accepted else value
        except InputError as error:
            problems[name] = str(error)
    return good, problems


def read_parameters(path: str | Path) -> dict[str, object]:
    """Read a parameter file; InputError if it can't be, or holds more than names and values."""
    try:
        # all values as text: YAML itself takes 0123 for 83, 1:30 for 90 and no for false
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"parameters: {path} can't be read ({reason})") from error
    except yaml.YAMLError as error:
        line = str(error).splitlines()[0]
        raise InputError(f"parameters: {path} is not YAML ({line})") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError(f"parameters: {path} does not hold lines of the form 'name: value'")
    return found


def _typed(name: str, value: object, default: object) -> object:
    """Return `value` as the type of the parameter's default; text is read as that type is written."""
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        value = _read(value.strip(), wanted)
    if wanted is list and isinstance(value, list) and default:
        return [_typed(name, item, default[0]) for item in value]
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise InputError(f"parameter {name}: {value!r} is not {_TYPES.get(wanted, wanted)} "
                         f"(its default is {default!r})")
    return value


def _read(text: str, wanted: type) -> object:
    """What a text says, if it is written as values of a type are, else the text."""
    if wanted is bool:
        return WORDS.get(text.lower(), text)
    if wanted in (int, float) and NUMBERS[wanted].fullmatch(text):
        return wanted(text)
    if wanted is type(None) and text.lower() in ("none", "null", ""):
        return None
    if wanted in (list, dict):
        try:
            return yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            return text
    return text


def part_of(output: str | Path) -> Path:
    """Return where an executed copy is while it is not whole."""
    output = Path(output)
    return output.with_name(f".{output.stem}.part.ipynb")


def execute(path: str | Path, output: str | Path, parameters: Mapping[str, object],
            say: Callable[[str], object] | None = None) -> Path:
    """Execute a notebook with parameters and write the executed copy when every cell has run.

    Text is taken as the type of the parameter's default. `say` is called with a line for each
    cell that begins, ``cell 3 of 12``, and with each line that it prints.

    InputError, if there is no such parameter, a value has the wrong type, or a cell fails. The
    message names the notebook and the cell; the partly executed copy is kept beside `output`,
    ending in ``.failed.ipynb``.
    """
    path, output = Path(path), Path(output)
    defaults = notebook_parameters(path)
    values = {one_of(f"parameter of {path.name}", name, tuple(defaults)):
              _typed(name, value, defaults[name]) for name, value in parameters.items()}
    beside = part_of(output)
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        count = len(nbformat.read(path, as_version=4).cells) + bool(values)  # one is injected
        with _lines(say, count):
            papermill.execute_notebook(
                _whole(path), _whole(beside), values, kernel_name="python3", progress_bar=False,
                log_output=say is not None)
    except PapermillExecutionError as error:
        os.replace(beside, failed)
        reason = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise InputError(f"notebook: {path} failed in cell {error.cell_index + 1} ({reason}); "
                         f"what ran is kept in {failed}") from error
    except OSError as error:
        raise InputError(f"output: {output} can't be written ({error.strerror or error})") from error
    else:
        failed.unlink(missing_ok=True)
        os.replace(beside, output)
    finally:
        beside.unlink(missing_ok=True)  # of a run that was interrupted
    return output


def _whole(path: Path) -> str:
    """A path as papermill takes it, which puts parameters in the place of names in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _lines(say: Callable[[str], object] | None, count: int) -> Iterator[None]:
    """Hand on what papermill logs of a run of `count` cells, line by line."""
    if say is None:
        yield
        return

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = _TERMINAL.sub("", record.getMessage())
            if match := _CELL.match(text):
                say(f"cell {match[1]} of {count}")
            elif not text.startswith(_NOT_SAID) and not _OBJECT.fullmatch(text):
                for line in text.splitlines():
                    say(line)

    logger, handler = logging.getLogger("papermill"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
