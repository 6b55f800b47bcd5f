"""Every page of the smoke book in a browser without a network."""

import pytest

from semquant.site import toc_pages
from smoke import ROOT

PAGES = [pytest.param(page, marks=pytest.mark.xdist_group(page)) for page in toc_pages(ROOT)]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole(open_page, page):
    opened = open_page(page)
    assert opened.locator("article h1").first.is_visible()
