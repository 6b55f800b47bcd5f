"""Every page of the smoke book in a browser without a network: whole, quiet, readable.

All that is asserted below is recorded on visits (``visiting.py``). A screenshot is kept of every
width and scheme, in ``screenshots/<width>-<scheme>/`` of the build folder or in the folder
``SEMQUANT_SCREENSHOTS``.
"""

from __future__ import annotations

import pytest

from browser.visiting import VISITS, WIDTHS


@pytest.mark.parametrize("what", VISITS)
def test_nothing_leaves_the_book_and_nothing_is_complained_of(visit, what):
    assert not visit(*what).trouble


@pytest.mark.parametrize("what", VISITS)
def test_the_scheme_is_the_readers(visit, what):
    assert visit(*what).theme == what[1]


@pytest.mark.parametrize("what", VISITS)
def test_no_page_scrolls_sideways(visit, what):
    assert visit(*what).sideways == {width: [] for width in WIDTHS[what[1]]}


@pytest.mark.parametrize("what", VISITS)
def test_no_table_of_sentences_is_cut_on_a_screen_and_none_on_paper(visit, what):
    assert visit(*what).cut == {place: [] for place in (*WIDTHS[what[1]], "paper")}


@pytest.mark.parametrize("what", VISITS)
def test_no_name_in_a_table_is_broken_letter_by_letter(visit, what):
    assert not visit(*what).broken


@pytest.mark.parametrize("what", VISITS)
def test_on_paper_a_page_is_light(visit, what):
    assert visit(*what).on_paper == "light"


@pytest.mark.parametrize("what", VISITS)
def test_every_figure_has_a_number_and_a_caption(visit, what):
    assert not visit(*what).unnumbered


@pytest.mark.parametrize("what", VISITS)
def test_every_image_is_there_and_is_described(visit, what):
    assert not [one for one in visit(*what).images if not (one["described"] and one["loaded"])]


@pytest.mark.parametrize("what", VISITS)
def test_formulas_are_typeset(visit, what):
    assert not visit(*what).raw_maths


@pytest.mark.parametrize("what", VISITS)
def test_axe_finds_nothing(visit, what):
    found = visit(*what).violations
    assert not found, "\n".join(found)


@pytest.mark.parametrize("what", VISITS)
def test_a_view_stands_where_its_figure_was(visit, what):
    assert visit(*what).figures == 0


@pytest.mark.parametrize("what", VISITS)
def test_on_paper_a_figure_stands_where_a_view_is(visit, what):
    views, figures, count = visit(*what).printed
    assert (views, figures) == (0, count)


@pytest.mark.parametrize("what", [one for one in VISITS if one.values[0][1] == "dark"])
def test_nothing_moves_for_who_asked_for_that(visit, what):
    assert not visit(*what).moving
