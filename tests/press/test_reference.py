"""Pages made from the modules: their order, what they document, and what is wrong with a module."""

import pytest

from semquant.checks import InputError
from semquant_book.press import reference

CONTRACTS = """
[[tool.importlinter.contracts]]
type = "forbidden"

[[tool.importlinter.contracts]]
type = "layers"
containers = ["method"]
layers = ["upper", "(absent)", "lower | middle"]

[[tool.importlinter.contracts]]
type = "layers"
containers = ["book"]
layers = ["pages"]
"""
MODULES = {
    "method/__init__.py": '"""A method."""\n',
    "method/upper.py": '"""First: a | b.\n\nMore.\n"""\n__all__ = ["f", "lower_f", "C"]\n'
                       "from method.lower import lower_f\nC = 1\n\n\ndef f():\n    pass\n",
    "method/lower/__init__.py": '"""A package."""\n',
    "method/lower/two.py": '"""The second of two::\n\n    code\n"""\n',
    "method/lower/one.py": '"""One of two."""\n',
    "book/__main__.py": '"""The command."""\n',
    "book/pages.py": '"""Pages."""\n__all__ = []\n',
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pyproject.toml").write_text(CONTRACTS)
    for name, text in MODULES.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    return tmp_path


def test_modules_come_in_the_order_of_the_contracts(root):
    found = reference.modules("method", root)
    assert [m.name for m in found] == ["method", "method.lower", "method.lower.one",
                                       "method.lower.two", "method.upper"]
    assert found[-1].public == ("f", "C")  # what another module defines is documented there
    assert [m.name for m in reference.modules("book", root)] == ["book.pages"]
    assert [m.name for m in reference.modules("method.upper", root)] == ["method.upper"]


def test_a_table_has_the_first_line_of_each_module(root):
    assert reference.fill("# A\n\n<!-- modules: method, book -->\n\nz", root) == (
        "# A\n\n| module | holds |\n|---|---|\n| `lower.one` | One of two |\n"
        "| `lower.two` | The second of two |\n| `upper` | First: a &#124; b |\n| `pages` | Pages |\n\n\nz")


def test_a_reference_has_what_each_module_defines(root):
    text = reference.fill("<!-- reference: method.upper, method.lower.one -->", root)
    assert text == ("## upper\n\n```{eval-rst}\n.. automodule:: method.upper\n   :members: f, C\n```\n\n"
                    "## lower.one\n\n```{eval-rst}\n.. automodule:: method.lower.one\n```\n")
    assert reference.automodules(text) == ["method.upper", "method.lower.one"]


def test_the_pages_of_the_reference_are_listed(root):
    folder = root / "book"
    folder.mkdir()
    (folder / "api_book.md").write_text("# API: the book\n\nPages.\n\n<!-- reference: book -->\n")
    (folder / "api_way.md").write_text("# API: the way\n\nOf doing\nit. [All](api.md).\n\n"
                                       "<!-- reference: method.upper -->\n")
    assert reference.fill("<!-- pages of the reference -->", root).splitlines()[2:] == [
        "| [the way](api_way.md) | Of doing it. | {py:mod}`~method.upper` |",
        "| [the book](api_book.md) | Pages. | {py:mod}`~book.pages` |"]


def test_other_comments_and_other_text_are_left_alone(root):
    text = "<!-- modules -->\n<!-- a reference: method -->\n`<!--`\n"
    assert reference.fill(text, root) == text


def test_what_is_missing_is_named(root):
    with pytest.raises(InputError, match="package: metod is not in"):
        reference.fill("<!-- modules: metod -->", root)
    (root / "lib" / "method" / "upper.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="module: method.upper has no docstring"):
        reference.modules("method", root)
