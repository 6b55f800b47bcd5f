"""The rules that verdicts follow, each on numbers whose answer is plain; and how a finding is shown."""

import re

import pandas as pd
import pytest

from semquant_book.pages import claim_list
from semquant_book.pages.findings import (
    FAILS, HOLDS, MIXED, UNTOLD, VERDICTS, Finding, Line, beside, by_target, combined, compared, counted,
    gain_lines, number, over, told, where_higher,
)  # fmt: skip
from semquant_book.study.replicates import Estimate, estimate


def between(low, high):
    return Estimate((low + high) / 2, low, high, (low, low, high, high))


ABOVE, BELOW, ACROSS, ALONE = between(1, 2), between(-2, -1), between(-1, 1), estimate([5.0])


@pytest.mark.parametrize("number_, border, above, verdict", [
    (ABOVE, 0.0, True, HOLDS), (BELOW, 0.0, True, FAILS), (ACROSS, 0.0, True, UNTOLD),
    (ALONE, 0.0, True, UNTOLD), (ABOVE, 0.0, False, FAILS), (BELOW, 0.0, False, HOLDS),
    (ABOVE, 1.5, True, UNTOLD), (ABOVE, 2.0, True, UNTOLD), (ABOVE, 3.0, True, FAILS),
])
def test_one_number(number_, border, above, verdict):
    assert compared(number_, border, above) == verdict


@pytest.mark.parametrize("verdicts, verdict", [
    ([HOLDS, HOLDS], HOLDS), ([HOLDS, UNTOLD], MIXED), ([HOLDS, FAILS], MIXED), ([FAILS, UNTOLD], FAILS),
    ([FAILS], FAILS), ([UNTOLD, UNTOLD], UNTOLD), ([], UNTOLD), ([MIXED, FAILS], MIXED),
])
def test_several_verdicts(verdicts, verdict):
    assert combined(verdicts) == verdict


@pytest.mark.parametrize("estimates, verdict", [
    ([ABOVE, ALONE], HOLDS),  # one performer has no say
    ([ALONE], UNTOLD), ([ABOVE, ACROSS], MIXED), ([BELOW, ACROSS, ALONE], FAILS),
])
def test_several_numbers(estimates, verdict):
    assert over([Line("", e) for e in estimates]) == verdict


@pytest.mark.parametrize("hits, cases, verdict", [
    (4, 4, HOLDS), (1, 4, MIXED), (0, 4, FAILS), (0, 0, UNTOLD)])
def test_counts(hits, cases, verdict):
    assert counted(hits, cases) == verdict


def test_numbers_in_words():
    assert number(-0.0004, 3) == "0.000" and number(-0.5, 1) == "\N{MINUS SIGN}0.5"
    assert number(0.125, 1, percent=True, plus=True) == "+12.5%"
    assert number(float("nan")) == number(None) == "\N{EM DASH}"
    assert told(between(0.25, 0.75), 2) == "0.50 (0.25 to 0.75, 4 performers)"
    assert told(estimate([0.5]), 2, plus=True) == "+0.50 (1 performer, no interval)"


def fits(values, along="scale"):
    """Rows of two performers, ours and baseline, from (performer, reading, seed, method, value)."""
    return pd.DataFrame([{"architecture": a, "category": "dog", "performer_seed": 0, along: s, "seed": k,
                          "method": m, "error": v} for a, s, k, m, v in values])


FRAME = fits([("alexnet", "literal", 0, "ours", 1.0), ("alexnet", "literal", 0, "baseline", 3.0),
              ("alexnet", "literal", 1, "ours", 4.0), ("alexnet", "literal", 1, "baseline", 3.0),
              ("vgg_m", "literal", 0, "ours", 2.0), ("vgg_m", "literal", 0, "baseline", 1.0),
              ("alexnet", "scaled", 0, "ours", 7.0), ("alexnet", "scaled", 0, "baseline", 5.0)])


def test_lines_of_gains():
    literal, scaled = gain_lines({"here": FRAME}, "error", sign=-1, paper=0.5)
    assert (literal.name, scaled.name) == ("here, y literal", "here, y scaled")
    # alexnet (2 - 1) / 2 = 0.5, vgg_m -1
    assert literal.estimate.values == (0.5, -1.0) and literal.paper == 0.5
    assert scaled.estimate.values == (-2.0,)


def test_words_of_gains():
    assert beside(FRAME, "error", 2) == ("y literal: ours 2.25, baseline 2.00; "  # means of performers' means
                                         "y scaled: ours 7.00, baseline 5.00")
    assert where_higher(FRAME, "error") == "y literal 1 of 2 (2 of 3), y scaled 1 of 1 (1 of 1)"
    assert beside(FRAME.rename(columns={"scale": "last_layer"}).replace(
        {"literal": "near_zero", "scaled": "default"}), "error", 0).startswith("g started near zero: ours 2")


def test_targets_are_compared_with_the_start_and_seed_that_controls_have():
    frame = pd.DataFrame({"method": ["ours"] * 3, "target": ["male"] * 3, "seed": [0, 1, 0],
                          "last_layer": ["near_zero", "near_zero", "default"], "error": [1.0, 2.0, 3.0]})
    assert by_target(frame, "error", "ours").to_dict() == {"male": 1.0}


# --- the list -------------------------------------------------------------------------------------

FINDING = Finding(HOLDS, (Line("drawn", between(0.1, 0.3), 0.4), Line("faces", ALONE), Line("more", ABOVE)),
                  "H <1>", "It rose & fell.", "But little.")


def test_every_verdict_has_a_word_and_a_shape_of_its_own():
    assert set(claim_list.SHAPES) == set(claim_list.KINDS) == set(VERDICTS)
    assert len(set(claim_list.SHAPES.values())) == len(set(claim_list.KINDS.values())) == len(VERDICTS)
    for verdict in VERDICTS:
        html = claim_list.listed({"less-biased": Finding(verdict, (), "", "", "")}).data
        assert verdict in re.sub("<[^>]*>", "", html).replace("&#x27;", "'")
        assert claim_list.SHAPES[verdict] in html


def test_what_is_shown_and_what_comes_on_demand():
    html = claim_list.listed({"less-biased": FINDING}).data
    visible, details = html.split("<details>")
    sentence = claim_list.sentences()["less-biased"]
    assert sentence["quote"] in visible and "section 4.3" in visible
    assert "It rose &amp; fell." in visible and "But little." in visible  # what speaks against it, too
    assert "drawn" in visible and "faces" in visible and "<th>more</th>" in details
    assert "+0.200 (+0.100 to +0.300, 4 performers); the paper +0.400" in visible
    assert "+5.000 (1 performer, no interval)" in visible
    assert "Entropy of the contribution" in details
    assert "<details>" not in claim_list.listed({"less-biased": FINDING}, brief=True).data


def test_a_dot_stands_where_its_number_is():
    html = claim_list.listed({"less-biased": FINDING}).data
    low, high = claim_list._limits(FINDING)  # of 0, 0.1 to 0.4, 5, 1 and 2, with a 25th of 5 more
    assert (low, high) == pytest.approx((-0.2, 5.2))
    inner = claim_list.WIDTH - 2 * claim_list.MARGIN
    first = re.search(r'<circle class="dot" cx="([\d.]+)"', html)
    assert float(first[1]) == pytest.approx(claim_list.MARGIN + inner * 0.4 / 5.4, abs=0.06)
    assert 'class="dot alone"' in html  # hollow: no interval
    assert html.count('class="range"') == 2 and html.count('class="paper"') == 1


def test_the_tally_counts_every_verdict():
    found = {str(k): Finding(v, (), "", "", "") for k, v in enumerate([HOLDS, FAILS, FAILS, UNTOLD])}
    assert claim_list.tally(found) == \
        "Of 4 sentences 1 hold, 2 do not, 0 are mixed, and 1 can't be told here."
