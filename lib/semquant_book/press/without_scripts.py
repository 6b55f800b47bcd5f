"""What pages need where a browser runs no scripts, or lets them keep nothing: colours, formulas, a store.

The theme learns from a script whether a reader wants it light or dark, and MathJax is one. Where
scripts are off, a page takes a style sheet made here from the theme's own, and each formula stands
beside its TeX as MathML, which browsers set by themselves. All of it is in ``<noscript>``: who has
scripts loads and sees nothing of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from unicodedata import lookup

from latex2mathml.converter import convert

from semquant_book.files import write_atomic

__all__ = ["STYLES", "mend", "styles"]

STYLES = "without-scripts.css"
STORE = "storage.js"
# the picture for dark pages, which is the same, is shown by a script
ALWAYS = """.math > .tex { display: none !important; }
math[display="block"] { margin: 1rem 0; }
html[data-theme] .logo__image.only-light { display: inline !important; }
"""
FORMULA = re.compile(r'(<(span|div) class="math notranslate nohighlight"[^>]*>\s*(?:<span class="eqno">.*?</span>)?)'
                     r"(\\[(\[].*?\\[)\]])(\s*</\2>)", re.DOTALL)
# browsers no longer know this way to write such a letter; C, H, N, P, Q, R and Z have older names
DOUBLE = re.compile('<mi mathvariant="double-struck">([ABD-GI-MOS-Y])</mi>')
PIECES = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{};]|[^{};\"'/]+|/", re.DOTALL)


def mend(page: str) -> str:
    """Add to a page what it needs without scripts, and, before the first one, what stores for it."""
    root = re.search(r'data-content_root="([^"]*)"', page)
    if not root:  # only leads to another
        return page
    static = root[1] + "_static/"
    page = FORMULA.sub(_with_mathml, page)
    page = page.replace('<script data-cfasync="false">', f'<script src="{static}{STORE}"></script>\n  '
                        '<script data-cfasync="false">', 1)
    return page.replace("</head>", f'<noscript><link rel="stylesheet" href="{static}{STYLES}"></noscript>\n  </head>', 1)


def _with_mathml(found: re.Match) -> str:
    before, kind, tex, after = found.groups()
    formula = convert(html.unescape(tex)[2:-2].strip(), display="block" if kind == "div" else "inline")
    formula = DOUBLE.sub(lambda one: f"<mi>{lookup(f'MATHEMATICAL DOUBLE-STRUCK CAPITAL {one[1]}')}</mi>", formula)
    return f'{before}<span class="tex">{tex}</span><noscript>{formula}</noscript>{after}'


def styles(folder: Path) -> None:
    """Write `STYLES`: the rules for light and dark of all style sheets of a book, in the pages' order.

    They hold where a page's theme is ``auto``, which a script would replace: the light ones on a light
    screen and on paper, the dark ones on a dark screen.
    """
    sheets = {}  # in order
    for page in sorted(folder.rglob("*.html")):
        for link in re.findall(r'<link [^>]*href="([^"?]*\.css)[^>]*>', page.read_text(encoding="utf-8")):
            sheets[(page.parent / link).resolve()] = None
    text = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.is_file() and sheet.name != STYLES)
    write_atomic(folder / "_static" / STYLES,
                 f"/* made from the other style sheets when the book was built */\n{ALWAYS}"
                 f"@media print, (prefers-color-scheme: light) {{\n{_rules_for('light', text)}}}\n"
                 f"@media screen and (prefers-color-scheme: dark) {{\n{_rules_for('dark', text)}}}\n")


def _rules_for(scheme: str, text: str) -> str:
    """The rules for one scheme, as rules for ``auto``."""
    wanted, kept = re.compile(rf'\[data-theme="?{scheme}"?\]'), []
    for before, body in _rules(text):
        if before.startswith("@media"):
            if inner := _rules_for(scheme, body):
                kept.append(f"{before} {{\n{inner}}}\n")
        elif not before.startswith("@"):
            selectors = [wanted.sub('[data-theme="auto"]', one) for one in _selectors(before) if wanted.search(one)]
            if selectors:
                kept.append(f"{', '.join(selectors)} {{{body}}}\n")
    return "".join(kept)


def _rules(text: str) -> Iterator[tuple[str, str]]:
    """What stands before the braces, and in them."""
    depth, before, body = 0, "", ""
    for piece in PIECES.findall(text):
        if piece.startswith("/*"):
            continue
        depth -= piece == "}"
        if depth == 0 and piece == "}":
            yield before.strip(), body.strip()
            before = body = ""
        elif depth == 0 and piece == ";":  # @import, @charset
            before = ""
        elif depth == 0 and piece != "{":
            before += piece
        elif depth or piece != "{":
            body += piece
        depth += piece == "{"


def _selectors(text: str) -> list[str]:
    """The selectors between commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
