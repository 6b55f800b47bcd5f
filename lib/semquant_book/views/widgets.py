"""The book's interactive views: they compute in the browser, with or without a kernel.

A view is an anywidget whose script stands in ``views/<name>.mjs``, after ``views/common.mjs``; its
look is in ``views/style.css`` and, if there is one, ``views/<name>.css``. All
that it shows is in its trait ``data``, which a built page carries, so that a reader needs no kernel
and no network. In JupyterLab the same view follows when ``data`` is set again.
"""

from __future__ import annotations

import base64
import io
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
from semquant_book.figures.style import METHOD_COLOURS, SIGN_COLOURS, part_colour, resize, rgb
from semquant_book.study.store import pack

__all__ = ["View", "pack", "picture", "show"]

VIEWS = Path(__file__).parent / "scripts"


def picture(image: ArrayLike | Tensor, size: int = 192, quality: int = 82) -> str:
    """Return a picture, (3, S, S) or (S, S, 3), as a ``data:`` address of a WebP of `size` pixels."""
    number("size", size, 8, 1024, integer=True)
    pixels = (resize(rgb(image)[:1], size)[0] * 255).round().astype(np.uint8)
    return _address(Image.fromarray(pixels), "webp", quality=quality, method=6)


def _address(image: Image.Image, form: str, **options: object) -> str:
    with io.BytesIO() as file:
        image.save(file, format=form, **options)
        return f"data:image/{form};base64," + base64.b64encode(file.getvalue()).decode()


@lru_cache
def _together(ending: str, *names: str) -> str:
    """The text of files in ``views``, one after the other; those that there are not add nothing."""
    files = [VIEWS / f"{name}.{ending}" for name in names]
    return "\n".join(file.read_text() for file in files if file.exists())


class View(anywidget.AnyWidget):
    """A view; subclasses name their script, after those it builds on: ``script="charts bias"``.

    Attributes
    ----------
    data : dict
        All that is shown, as the subclass's function packs it. Setting it again redraws.
    """

    _esm = "export default {render() {}};"
    _css = _together("css", "style")
    data = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, script: str = "", **options: object) -> None:
        if script:  # none: a class that anywidget makes of one of ours, to add traits
            cls._esm = _together("mjs", "common", *script.split())
            cls._css = _together("css", "style", *script.split())
        super().__init_subclass__(**options)


def show(view: View, figure: Figure, description: str, keep: bool = False) -> None:
    """Display a view, and before it the still figure that stands in its place in print.

    Pages without scripts show the figure too. Where the view works, its script hides the figure,
    unless it is to be kept.

    Parameters
    ----------
    view : View
    figure : Figure
        It is closed, so that it does not appear a second time.
    description : str
        The figure in words, for those who can't see it.
    keep : bool
        Whether the figure stays beside the view where that works: a figure of the paper, say.
    """
    from IPython.display import HTML, display

    if not description.strip():
        raise InputError("description: '' is empty; accepted: the figure in words")
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=130, facecolor="white")
        still = Image.open(file).convert("RGB")
    plt.close(figure)
    display(HTML(f'<figure class="sq-still{" sq-kept" * keep}"><img src="{_address(still, "webp", quality=80, method=6)}" '
                 f'width="{still.width * 100 // 130}" alt="{escape(description)}"></figure>'))
    display(view)


def colours(parts: Sequence[str] = ()) -> dict:
    """Return the colours of methods, signs and the named parts: the same as in all figures."""
    return {"methods": METHOD_COLOURS, "signs": SIGN_COLOURS,
            "parts": {name: part_colour(name) for name in parts}}
