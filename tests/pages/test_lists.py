"""Lists as tables of words, and the tables of the page on the paper preset."""

import re

import pytest

from semquant_book.pages import lists, paper_preset
from semquant_book.study.presets import load_settings


def cells(html):
    return [re.findall("<t[dh]>(.*?)</t[dh]>", row, re.S) for row in re.findall("<tr>(.*?)</tr>", html.data, re.S)]


def test_words_are_escaped_code_is_marked_and_what_is_missing_is_a_dash():
    table = lists.worded([{"a": "x < y, `f(a)`", "b": None}, {"a": 3}], {"a": "A & B", "b": "C"})
    assert cells(table) == [["A &amp; B", "C"], ["x &lt; y, <code>f(a)</code>", "\N{EM DASH}"],
                            ["3", "\N{EM DASH}"]]
    assert 'class="prose-table"' in table.data
    assert 'class="prose-table narrow"' in lists.worded([{"a": 1}], kind="narrow").data


def test_every_departure_and_reading_is_in_one_of_the_two_tables():
    rows = {kind: cells(lists.departures(kind))[1:] for kind in ("reading", "departure")}
    assert len(rows["reading"]) + len(rows["departure"]) == len(lists._read("departures"))
    assert all(len(row) == 5 for found in rows.values() for row in found)
    assert len(cells(lists.errata())) == 1 + len(lists._read("errata"))


def test_the_settings_that_the_page_explains_are_the_preset_s():
    settings = load_settings("paper")
    rows = {row[0]: row[1] for row in cells(paper_preset.settings_table(settings))[1:]}
    assert set(rows) == set(paper_preset.MEANINGS)
    assert rows["categories"] == "bird, cat, cow, dog, horse, sheep" and rows["explainer"] == "152"


def test_the_rehearsal_is_told_as_it_was_recorded():
    record = paper_preset.recorded()
    steps = paper_preset.steps_of(record)
    networks = cells(paper_preset.networks_table(steps))
    assert networks[1][:2] == ["AlexNet", "3×227×227"] and networks[2][0] == "g of AlexNet"
    assert networks[-1][0] == "g of VGG-16 (faces)"
    fast, slow = (cells(paper_preset.training_table(steps, rate))[1:] for rate in (40.0, 20.0))
    assert float(slow[-1][-1]) == pytest.approx(2 * float(fast[-1][-1]), abs=0.02)
    hours = sum(step.hours(40.0) for step in steps)
    assert f"Together {hours:.1f} hours at 40 ·" in paper_preset.hours_said(steps, 40.0)
    assert f"took {record['seconds']:.0f} s" in paper_preset.taken_said(record)
    assert ["VGG-16 (faces)", "81.3 GB"] in cells(paper_preset.maps_table(record))
    assert "hours by the same count" in paper_preset.maps_said(steps, 40.0)
