"""The page of live views as it is built, without a kernel: results, and what the controls need."""

import json
import re

import nbformat
from browser.reading import views

PAGE = "book/reproduce/live"
COLUMNS = {"entropy": ".3f", "H / ln n": ".3f", "deviation": ".4f", "accuracy": ".3f"}


def test_the_built_page_says_what_it_needs_and_shows_the_runs_it_was_built_with(open_page):
    page = open_page(PAGE)
    needs = page.get_by_text("The controls of this view need a kernel: run make lab in a copy").all()
    assert len(needs) == 3 and all(one.is_visible() for one in needs)
    # nothing that would not answer
    assert page.locator("article .jupyter-widgets :is(input, select, button)").count() == 0
    tables = page.locator("article table.dataframe").all()
    assert len(tables) == 2
    for table, varied in zip(tables, (["prior"], ["concepts"]), strict=True):
        names, *columns = zip(*(row.locator("th, td").all_inner_texts()
                                for row in table.locator("tr").all()), strict=True)
        rows = [dict(zip(names, column, strict=True)) for column in columns]
        assert [row["run"] for row in rows] == ["1", "2"]
        assert [name for name in ("prior", "beta", "seed", "scale", "concepts")
                if rows[0][name] != rows[1][name]] == varied
        for row in rows:
            for name, form in COLUMNS.items():
                assert row[name] == format(float(row[name]), form)
            assert 0 < float(row["H / ln n"]) <= 1 and 0 <= float(row["accuracy"]) <= 1
    captions = page.locator("article figure.sq-results figcaption").all_inner_texts()
    assert len(captions) == 2 and all("on a logarithmic axis" in one for one in captions)
    command = page.locator("article pre").filter(has_text="semquant notebook").inner_text()
    assert re.search(r"notebook book/experiment1/alexnet.ipynb \S+alexnet.ipynb -p preset quick", command)


def test_the_explorer_beside_them_works_without_a_kernel_and_shows_the_last_run(open_page):
    (view,) = views(open_page(PAGE), "explanation")
    assert "the last run" in view.inner_text()


def test_the_page_carries_no_widget_that_it_does_not_show(built):
    nb = nbformat.read(built / "smoke" / "site" / f"{PAGE}.ipynb", as_version=4) \
        if (built / "smoke" / "site").exists() else None
    html = (built / "smoke" / "html" / f"{PAGE}.html").read_text()
    state = json.loads(re.search(r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>',
                                 html, re.S)[1])["state"]
    kinds = {model["model_name"] for model in state.values()}
    assert "AnyModel" in kinds and not kinds & {"DropdownModel", "FloatLogSliderModel", "SelectMultipleModel"}
    assert nb is None or len(nb.cells) > 5
