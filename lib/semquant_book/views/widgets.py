"""The book's interactive views: they compute in the browser, with or without a kernel.

A view is an anywidget whose script stands in ``scripts/<name>.mjs``, after ``scripts/common.mjs``,
its look in ``style.css`` and ``<name>.css`` there. All that it shows is in its trait ``data``, which
a built page carries; in JupyterLab the same view follows when ``data`` is set again.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from semquant.checks import InputError, number
from semquant_book.figures import dark
from semquant_book.figures.style import METHOD_COLOURS, SIGN_COLOURS, part_colour, resize, rgb
from semquant_book.study.store import pack

__all__ = ["View", "address", "first_sentence", "pack", "picture", "show", "still"]

VIEWS = Path(__file__).parent / "scripts"


def picture(image: ArrayLike | Tensor, size: int = 192, quality: int = 82) -> str:
    """Return a picture, (3, S, S) or (S, S, 3), as a ``data:`` address of a WebP of `size` pixels."""
    number("size", size, 8, 1024, integer=True)
    pixels = (resize(rgb(image)[:1], size)[0] * 255).round().astype(np.uint8)
    return address(Image.fromarray(pixels), "webp", quality=quality, method=6)


def address(image: Image.Image, form: str, **options: object) -> str:
    """Return an image as a ``data:`` address, in a form of Pillow's with its options."""
    with io.BytesIO() as file:
        image.save(file, format=form, **options)
        return f"data:image/{form};base64," + base64.b64encode(file.getvalue()).decode()


@lru_cache
def _together(ending: str, *names: str) -> str:
    """The text of files in ``views``, one after the other; those that there are not add nothing."""
    files = [VIEWS / f"{name}.{ending}" for name in names]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())


class View(anywidget.AnyWidget):
    """A view; subclasses name their script, after those it builds on: ``script="charts bias"``.

    `data` is all that it shows, as the subclass's function packs it; setting it again redraws.
    `caption` stands below.
    """

    caption = ""
    _esm = "export default {render() {}};"
    _css = _together("css", "style")
    data = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, script: str = "", **options: object) -> None:
        if script:  # none: a class that anywidget makes of one of ours, to add traits
            cls.caption = vars(cls).get("caption", cls.__doc__)
            cls._esm = _together("mjs", "common", *script.split())
            cls._css = _together("css", "style", *script.split())
        super().__init_subclass__(**options)


def first_sentence(text: str) -> str:
    """Return the first sentence of a text.

    >>> first_sentence("Two charts: one is left. The sentence below has the mean.")
    'Two charts: one is left.'
    """
    text = " ".join(text.split())
    return re.match(r".*?[.!?](?=\s+[^a-z]|$)|.*", text)[0]


def show(view: View, figure: Figure, description: str, keep: bool = False,
         caption: str = "") -> None:
    """Display a view, and before it the still figure that stands in its place in print.

    Pages without scripts show the figure too. Where the view works, its script hides the
    picture, unless it is to be kept beside it (a figure of the paper, say), and the caption
    stands below the view: by default the view's own, or, of a figure that is kept, the first
    sentence of the description, which is for those who can't see it.
    """
    from IPython.display import HTML, display
    caption = caption or (not keep and view.caption) or first_sentence(description)
    display(HTML(still(figure, description, "sq-still" + " sq-kept" * keep, caption, keep)))
    display(view)


def still(figure: Figure, description: str, look: str, caption: str = "", dark_too: bool = False) -> str:
    """Return a figure, which is closed, as HTML, with its description and a class of the style sheet.

    With `dark_too` a second drawing of it comes along, for dark pages.
    """
    if not description.strip():
        raise InputError("description: '' is empty; accepted: the figure in words")
    night = dark.picture(figure, 130) if dark_too else None
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=130, facecolor="white")
        drawn = Image.open(file).convert("RGB")
    plt.close(figure)
    size = f'width="{drawn.width * 100 // 130}" alt="{escape(description)}"'
    picture = f'<img src="{address(drawn, "webp", quality=80, method=6)}" {size}>'
    if night:
        picture += ('<img hidden class="for-dark" '
                    f'src="{address(night, "webp", quality=80, method=6)}" {size}>')
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="{look}">{picture}{words}</figure>'


def colours(parts: Sequence[str] = ()) -> dict:
    """Return the colours of methods, signs and the named parts: the same as in all figures."""
    return {"methods": METHOD_COLOURS, "signs": SIGN_COLOURS,
            "parts": {name: part_colour(name) for name in parts}}
