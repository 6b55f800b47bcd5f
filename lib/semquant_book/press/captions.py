"""Figures of the built pages get a number and a caption that everybody sees.

A cell's figure takes its caption from the cell's metadata, ``caption`` (a sentence, or a list of
one for each figure), else from the first sentence of its alternative text; a view's still figure
brings its own. Figures are numbered within a page, "Figure 6.3", other than the paper's. This is a
Sphinx extension; Sphinx's own ``numfig`` leaves out figures in outputs that are HTML.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from semquant_book.views.widgets import first_sentence

__all__ = ["Captions", "setup"]


class Captions(SphinxPostTransform):
    """Give a page's figures captions and numbers, when it is known which outputs it shows."""

    default_priority = 10  # after MyST-NB has chosen one form of each output
    formats = ("html",)

    def run(self, **options: object) -> None:
        """Wrap pictures that cells leave in figures; number all figures in their order."""
        from semquant_book.press.site import toc_pages
        pages = toc_pages(Path(self.app.srcdir))
        page = pages.index(self.env.docname) + 1 if self.env.docname in pages else 0
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") == "cell_code":
                _wrap(cell)
        numbers = (f"{page}.{count}" if page else f"{count}" for count in itertools.count(1))
        for node in list(self.document.findall(_is_figure)):
            if isinstance(node, nodes.raw):  # HTML may hold several
                text = re.sub(r"(?s)<figure([^>]*)>(.*?)</figure>",
                              lambda found: _numbered(found, next(numbers)), node.astext())
                node.children, node.rawsource = [], ""
                node += nodes.Text(text)
            else:
                number = next(numbers)
                if not node["ids"]:
                    node["ids"].append(_place(number))
                caption = next(node.findall(nodes.caption))
                caption.insert(0, nodes.inline("", f"Figure {number}. ", classes=["caption-number"]))


def _place(number: str) -> str:
    """The address of a figure within its page."""
    return f"figure-{number.rpartition('.')[2]}"


def _numbered(found: re.Match, number: str) -> str:
    """A figure in HTML with its number and address, if it has a caption."""
    about, inside = found.groups()
    inside = inside.replace("<figcaption>", '<figcaption><span class="caption-number">'
                                            f"Figure {number}. </span>", 1)
    return f'<figure{about} id="{_place(number)}">{inside}</figure>'





def _is_figure(node: nodes.Node) -> bool:
    """Whether a node is a figure with a caption: Sphinx's, or one that stands in an output as HTML."""
    if isinstance(node, nodes.raw):
        return "<figure " in node.astext() and "<figcaption>" in node.astext()
    return isinstance(node, nodes.figure) and any(node.findall(nodes.caption))


def _wrap(cell: nodes.container) -> None:
    """Put each picture of a cell's outputs into a figure with its caption, if it has none."""
    given = cell.get("cell_metadata", {}).get("caption", "")
    pictures = [image for image in cell.findall(nodes.image)
                if not isinstance(image.parent, (nodes.figure, nodes.inline))]
    for k, image in enumerate(pictures):
        caption = given if isinstance(given, str) else given[min(k, len(given) - 1)] if given else ""
        caption = caption or first_sentence(image.get("alt", ""))
        if not caption:
            continue
        figure = nodes.figure("", classes=["drawn-by-cell"])
        image.replace_self(figure)
        figure += [image, nodes.caption(caption, caption)]


def setup(app: Sphinx) -> dict:
    """Register the transform with Sphinx, and end its own numbers, which Jupyter Book asks for."""
    app.add_post_transform(Captions)
    app.connect("config-inited", lambda app, config: setattr(config, "numfig", False), priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
