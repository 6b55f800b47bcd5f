"""What the tests share: the smoke book, built once, and how tests are spread over processes.

`make test` runs pytest-xdist with ``--dist loadgroup``. The tests of a file stay together in one
process unless a test names a group of its own (``pytest.mark.xdist_group``). The file that builds
the smoke book comes first and the files that read it come last, so that no process waits long for
the book.

``SEMQUANT_TEST_BOOK=folder`` names a build folder that holds a smoke book already
(``SEMQUANT_BUILD=folder semquant book --preset smoke``): for work on single tests, no book is built
then.
"""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The build folder of the smoke book, the same one for all processes of the session."""
    if given := os.environ.get("SEMQUANT_TEST_BOOK"):
        return Path(given).resolve()
    from smoke import built_once  # needs the book's packages, which the method's tests don't
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # a worker's own folder lies in the session's
    return built_once(folder)


def _turn(item: pytest.Item) -> int:
    if item.path.name == "test_book.py":
        return 0
    if item.path.name == "test_pages.py":  # its visits are the longest part
        return 2
    return 3 if "built" in item.fixturenames or HERE / "browser" in item.path.parents else 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and put them in an order that wastes no time."""
    turn = {}  # a file comes when the last of its tests can
    for item in items:
        turn[item.path] = max(_turn(item), turn.get(item.path, 0))
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(HERE))))
    items.sort(key=lambda item: turn[item.path])


def pytest_terminal_summary(terminalreporter) -> None:
    """Say what tests have measured (``record_property("figure", ...)``), also if they passed."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "figure":
                    terminalreporter.write_line(f"measured: {value}")
