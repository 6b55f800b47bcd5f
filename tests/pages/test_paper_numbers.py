"""The paper's numbers: averages against their columns, tables against each other, named errata."""

import math
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
import yaml

BOOK = Path(__file__).parents[2] / "book"


class _Exact(yaml.SafeLoader):
    """Reads numbers with a point as Decimal, with the digits as they stand in the file."""


_Exact.add_constructor("tag:yaml.org,2002:float", lambda loader, node: Decimal(node.value))


def _read(name: str) -> dict | list:
    return yaml.load((BOOK / name).read_text(), Loader=_Exact)


PAPER = _read("paper.yml")
ERRATA = {erratum["id"]: erratum for erratum in _read("errata.yml")}
WRONG_AVERAGES = {tuple(e["path"]): e for e in ERRATA.values() if e["kind"] == "average"}


def _series(node: dict, path: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    """Yield each series of numbers with the path that leads to it."""
    if all(isinstance(value, int | Decimal) for value in node.values()):
        yield path, node
        return
    for name, child in node.items():
        yield from _series(child, (*path, name))


ALL_SERIES = {
    (table, *path): series
    for table, content in PAPER["tables"].items()
    for path, series in _series(content["values"])
}
AVERAGED = {
    (*path, "average"): series for path, series in ALL_SERIES.items() if "average" in series
}


def _mean(series: dict) -> Decimal:
    items = [Decimal(value) for name, value in series.items() if name != "average"]
    return sum(items) / len(items)


def _unit(path: tuple) -> Decimal:
    """One unit of the last digit that a table prints."""
    decimals = PAPER["tables"][path[0]]["decimals"]
    if isinstance(decimals, dict):
        decimals = decimals[path[1]]
    return Decimal(1).scaleb(-decimals)


def _value(*path: str) -> Decimal:
    node = PAPER["tables"][path[0]]["values"]
    for name in path[1:]:
        node = node[name]
    return Decimal(node)


def test_all_tables_are_there_and_complete():
    counts = {}
    for path, series in ALL_SERIES.items():
        counts[path[0]] = counts.get(path[0], 0) + len(series)
    assert counts == {
        "table_1": 2 * (4 + 5),
        "table_2": 4 * (4 + 5),
        "table_3": 2 * 6,
        "supplement_entropy": 8 * 7,
        "supplement_accuracy": 12 * 7,
        "supplement_accuracy_attributes": 3 * 5,
        "supplement_deviation": 8 * 7,
    }


def test_numbers_have_the_digits_that_are_printed():
    for path, series in ALL_SERIES.items():
        for name, value in series.items():
            if isinstance(value, Decimal):
                assert value.as_tuple().exponent == _unit(path).as_tuple().exponent, (path, name)
            else:  # the only whole number printed is a performer's deviation from itself
                assert value == 0 and "performer" in path


@pytest.mark.parametrize("path", sorted(AVERAGED), ids="-".join)
def test_average_fits_its_columns_unless_it_is_a_named_erratum(path):
    series = AVERAGED[path]
    off = abs(Decimal(series["average"]) - _mean(series))
    assert (off > _unit(path) / 2) == (path in WRONG_AVERAGES)


def test_averages_that_are_named_errata():
    assert set(WRONG_AVERAGES) == {
        ("table_1", "experiment_2", "ours", "average"),
        ("supplement_deviation", "vgg_s", "ours", "average"),
    }
    for path, erratum in WRONG_AVERAGES.items():
        series = AVERAGED[path]
        assert Decimal(erratum["printed"]) == series["average"]
        assert Decimal(erratum["should_be"]) == _mean(series).quantize(
            _unit(path), ROUND_HALF_UP
        )
        # columns rounded to half a unit move their mean by half a unit at most
        off = abs(series["average"] - _mean(series))
        assert (off <= _unit(path)) == erratum["within_rounding_of_columns"]


def test_statements_that_are_named_errata():
    falls = {
        network: methods["ours"]["average"] < methods["baseline"]["average"]
        for network, methods in PAPER["tables"]["supplement_deviation"]["values"].items()
    }
    assert falls == {"alexnet": True, "vgg_m": True, "vgg_s": True, "vgg16": False}
    accuracy = PAPER["tables"]["supplement_accuracy"]["values"]
    lower = [n for n, m in accuracy.items() if m["ours"]["average"] < m["baseline"]["average"]]
    assert lower == ["vgg16"]
    attributes = PAPER["tables"]["supplement_accuracy_attributes"]["values"]
    assert all(attributes["ours"][a] >= attributes["baseline"][a] for a in attributes["ours"])
    assert {e["id"] for e in ERRATA.values() if e["kind"] == "statement"} == {
        "deviation-caption",
        "accuracy-caption",
    }


def test_numbers_quoted_in_the_errata_are_the_tables():
    for network in ("alexnet", "vgg_m", "vgg_s", "vgg16"):
        two = [_value("supplement_deviation", network, m, "average") for m in ("baseline", "ours")]
        assert "{} to {}".format(*two) in " ".join(ERRATA["deviation-caption"]["why"].split())
    for method in ("baseline", "ours"):
        value = _value("supplement_accuracy", "vgg16", method, "average")
        assert f"{value}%" in ERRATA["accuracy-caption"]["why"]


def test_main_text_repeats_the_supplement():
    for network in PAPER["settings"]["experiment_1"]["performers"]:
        for method in ("baseline", "ours"):
            assert _value("table_1", "experiment_1", method, network) == _value(
                "supplement_entropy", network, method, "average"
            )
        for method in ("performer", "ours"):
            assert _value("table_2", "accuracy", "experiment_1", method, network) == _value(
                "supplement_accuracy", network, method, "average"
            )
        assert _value("table_2", "relative_deviation", "experiment_1", "ours", network) == _value(
            "supplement_deviation", network, "ours", "average"
        )
    for attribute in (*PAPER["settings"]["experiment_2"]["targets"], "average"):
        for method in ("performer", "ours"):
            assert _value("table_2", "accuracy", "experiment_2", method, attribute) == _value(
                "supplement_accuracy_attributes", method, attribute
            )


def test_entropies_are_possible_in_nats():
    n = PAPER["settings"]["experiment_1"]["n"]
    for path, series in ALL_SERIES.items():
        if path[0] == "supplement_entropy":
            assert max(series.values()) < math.log(n[path[1]])
        if path[:2] == ("table_1", "experiment_2"):
            assert max(series.values()) < math.log(PAPER["settings"]["experiment_2"]["n"])


def test_smallest_test_set_behind_the_accuracies():
    def possible(value: Decimal, images: int) -> bool:
        near = int(value * images / 100)
        percent = [Decimal(100 * k) / images for k in (near, near + 1)]
        return any(abs(p - value) <= Decimal("0.05") for p in percent)

    for category, smallest in PAPER["inferred"]["smallest_test_set"].items():
        printed = [
            methods[m][category]
            for methods in PAPER["tables"]["supplement_accuracy"]["values"].values()
            for m in methods
        ]
        fits = (n for n in range(20, 801) if all(possible(value, n) for value in printed))
        assert next(fits) == smallest, category


@pytest.mark.parametrize(
    "name, required",
    [
        ("errata.yml", {"id", "kind", "where", "printed", "should_be", "why"}),
        ("claims.yml", {"id", "quote", "section", "measure", "measured_in", "paper"}),
        ("departures.yml", {"id", "kind", "topic", "paper", "here", "option", "matters", "scope"}),
    ],
)
def test_lists_are_complete(name, required):
    rows = _read(name)
    for row in rows:
        assert required <= set(row), row["id"]
        assert all(value not in ("", []) for value in row.values()), row["id"]
    assert len({row["id"] for row in rows}) == len(rows)
