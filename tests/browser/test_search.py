"""Search in the built book, from a server and from a file, without a network."""

import pytest

RESULTS = "#search-results ul.search > li"


@pytest.mark.parametrize("from_file", [True, False])
def test_search_finds_pages_and_leads_to_them(open_page, from_file):
    page = open_page("book/reproduce/limitations", from_file=from_file)
    page.keyboard.press("Control+k")
    page.keyboard.type("bias-interpreting")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?**")
    page.locator("#search-results .search-summary", has_text="found").wait_for()
    found = page.locator(RESULTS)
    names = [name.strip() for name in found.locator("a").all_inner_texts()]
    assert {"Bias-interpreting", "Glossary", "AlexNet"} <= set(names)
    if from_file:  # lines around what was found stand in files that a file's scripts may not read
        assert not page.locator(f"{RESULTS} p.context").count()
    else:
        page.locator(f"{RESULTS} p.context").first.wait_for()
        page.wait_for_load_state("networkidle")  # what is being read when a page is left has failed
    found.get_by_role("link", name="Bias-interpreting", exact=True).first.click()
    page.wait_for_url("**/method/bias_interpreting.html**")
    assert page.locator("article h1").first.inner_text().startswith("Bias-interpreting")


@pytest.mark.parametrize("width", [1280, 360])
def test_the_icon_of_the_search_box_covers_no_letter(open_page, width):
    page = open_page("search", width=width)
    box = page.locator(".bd-search-container form")
    icon, field = box.locator("i").bounding_box(), box.locator("input").bounding_box()
    padding = box.locator("input").evaluate("(one) => parseFloat(getComputedStyle(one).paddingLeft)")
    assert field["x"] + padding >= icon["x"] + icon["width"]


def test_a_word_that_is_nowhere_is_said_to_be_nowhere(open_page):
    page = open_page("search", from_file=True)
    page.locator(".bd-search-container input[type=search]").fill("zyzzyva")
    page.locator(".bd-search-container input[type=search]").press("Enter")
    page.get_by_text("did not match any documents").wait_for()
    assert not page.locator(RESULTS).count()
