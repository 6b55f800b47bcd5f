"""The book's interactive views."""

from importlib.util import find_spec

if missing := [name for name in ("anywidget", "matplotlib", "PIL") if find_spec(name) is None]:
    raise ModuleNotFoundError(f"views: {', '.join(missing)} not installed; they come with the extra "
                              "book: pip install '.[book]' in the project's folder", name=missing[0])
