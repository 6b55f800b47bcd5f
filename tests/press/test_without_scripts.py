"""Formulas as MathML and style sheets for pages without scripts."""

import re

import pytest

from semquant_book.press import without_scripts

PAGE = """<html data-content_root="../"><head>
  <script data-cfasync="false">first()</script>
  <script>second()</script>
  </head><body>{}</body></html>"""


def test_a_page_gets_a_store_before_its_first_script_and_a_style_sheet_for_the_rest():
    page = without_scripts.mend(PAGE.format(""))
    assert re.findall(r"<script([^>]*)>", page)[0] == ' src="../_static/storage.js"'
    assert '<noscript><link rel="stylesheet" href="../_static/without-scripts.css"></noscript>\n  </head>' in page


def test_a_page_that_only_leads_to_another_stays():
    page = '<html><head><meta http-equiv="Refresh" content="0; url=intro.html"></head></html>'
    assert without_scripts.mend(page) == page


@pytest.mark.parametrize("before, tex, after, display", [
    ('<span class="math notranslate nohighlight">', r"\(a &lt; \alpha_1\)", "</span>", "inline"),
    ('<div class="math notranslate nohighlight">\n', r"\[a &lt; \alpha_1\]", "</div>", "block"),
    ('<div class="math notranslate nohighlight" id="equation-x">\n<span class="eqno">(1)<a href="#x">#</a></span>',
     "\\[\na &lt; \\alpha_1\n\\]", "\n</div>", "block")])
def test_beside_its_tex_a_formula_stands_as_mathml(before, tex, after, display):
    page = without_scripts.mend(PAGE.format(f"<p>{before}{tex}{after}</p>"))
    math, = re.findall(r"<noscript>(<math.*?</math>)</noscript>", page)
    assert f'{before}<span class="tex">{tex}</span><noscript>{math}</noscript>{after}' in page
    assert f'display="{display}"' in math
    assert re.sub(r"<[^>]*>", "", math) == "a&#x0003C;&#x003B1;1"


def test_letters_of_sets_are_letters():
    page = without_scripts.mend(PAGE.format(r'<span class="math notranslate nohighlight">\(\mathbb E_S, \mathbb R\)</span>'))
    assert "<mi>𝔼</mi>" in page


def test_what_is_code_stays(tmp_path):
    text = PAGE.format(r'<pre>\(a\)</pre><code class="docutils">\[b\]</code>')
    assert "<math" not in without_scripts.mend(text)


def test_rules_for_light_and_dark_hold_for_auto(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "one.css").write_text("""@charset "utf-8"; /* { */
html[data-theme="light"] { --a: 1; }
html[data-theme=dark] { --a: url("data:,}{;") }
body, html[data-theme="dark"] p:is(.x, .y), html[data-theme="light"] p { color: var(--a) }
@media print { html[data-theme="dark"] b { color: red } i { color: blue } }
@font-face { font-family: x; src: url(y) }
u { color: green }""")
    (tmp_path / "_static" / "two.css").write_text('html[data-theme="light"]{--a:2}')
    (tmp_path / "page.html").write_text('<link rel="stylesheet" href="_static/one.css?v=1" />'
                                        '<link href="_static/two.css" rel="stylesheet"/>')
    without_scripts.styles(tmp_path)
    text = (tmp_path / "_static" / without_scripts.STYLES).read_text()
    light, dark = re.fullmatch(r"(?s).*@media print, \(prefers-color-scheme: light\) \{\n(.*)\}\n"
                               r"@media screen and \(prefers-color-scheme: dark\) \{\n(.*)\}\n", text).groups()
    auto = 'html[data-theme="auto"]'
    assert light == f"{auto} {{--a: 1;}}\n{auto} p {{color: var(--a)}}\n{auto} {{--a:2}}\n"
    assert dark == (f'{auto} {{--a: url("data:,}}{{;")}}\n{auto} p:is(.x, .y) {{color: var(--a)}}\n'
                    f"@media print {{\n{auto} b {{color: red}}\n}}\n")
