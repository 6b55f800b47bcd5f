"""What people call filters: names in a small YAML file, and what concepts make of them.

A file names some filters of one layer::

    layer: features.10
    names:
      17: left eye
      40: wheel
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from semquant.checks import InputError, needed, number, one_of
from semquant.files import write_whole

__all__ = ["checked_names", "in_full", "read_names", "write_names"]


def read_names(path: str | Path, n: int | None = None, layer: str | None = None) -> dict[int, str]:
    """Read the names of filters from a YAML file, by the filters' numbers.

    There are `n` filters, of a `layer` that has to be the file's, where it names one. An InputError if
    the file can't be read or holds no names, names another layer, a filter that there is not, or one
    twice.
    """
    yaml = needed("yaml", "names", "pyyaml")

    class Once(yaml.SafeLoader):  # plain YAML takes the last of two without a word
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key, count in Counter(map(repr, keys)).items():
                if count > 1:
                    raise InputError(f"names: {path} has {key} twice")
            return super().construct_mapping(node, deep)

    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=Once)
    except OSError as error:
        raise InputError(f"names: {path} can't be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise InputError(f"names: {path} is not YAML{where}") from error
    if not isinstance(found, dict) or not isinstance(found.get("names"), dict):
        raise InputError(f"names: {path} has no entry names with one line a filter, e.g. 17: left eye")
    for key in found:
        one_of(f"names: in {path} the entry", key, ("layer", "names"))
    of = found.get("layer")
    if None not in (of, layer) and of != layer:
        raise InputError(f"names: {path} names filters of {of}, not of {layer}")
    return checked_names(found["names"], n)


def write_names(path: str | Path, names: Mapping[int, str], layer: str | None = None) -> Path:
    """Write names of filters to a YAML file that `read_names` reads."""
    yaml = needed("yaml", "names", "pyyaml")
    content = {} if layer is None else {"layer": layer}
    content["names"] = dict(sorted(checked_names(names).items()))
    return write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def checked_names(names: Mapping[int, str], n: int | None = None) -> dict[int, str]:
    """Names by filters' numbers, each a whole number below `n`, each name a line with something in it."""
    for i, name in names.items():
        number("names", i, 0, None if n is None else n - 1, integer=True)
        if not isinstance(name, str) or not name.strip() or len(name.splitlines()) > 1:
            raise InputError(f"names: {name!r} of filter {i} is not a line of text")
    return {i: name.strip() for i, name in names.items()}


def in_full(names: Mapping[int, str], n: int) -> list[str]:
    """The names of all n filters: those without one by number, a name of several with the number."""
    names = checked_names(names, n)
    often = Counter(names.values())
    return [f"filter {i}" if i not in names
            else names[i] if often[names[i]] == 1 else f"{names[i]} ({i})" for i in range(n)]
