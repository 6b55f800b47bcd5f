"""Pages of one file: a script, its data and its look together, which ask nobody for anything."""

from __future__ import annotations

import base64
import io
import json
import re
from html import escape
from pathlib import Path

import numpy as np

from semquant.checks import needed
from semquant.files import write_whole

__all__ = ["escape", "pack", "picture", "save"]

HERE = Path(__file__).parent


def save(path: str | Path, kind: str, title: str, data: dict) -> Path:
    """Write the page of a kind (``<kind>.js`` beside this file) that shows data."""
    # in a script element nothing but "<" can end the data early
    parts = {"TITLE": escape(title), "STYLE": _text("page.css"),
             "SCRIPT": _text("page.js") + _text(f"{kind}.js"),
             "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c")}
    return write_whole(path, re.sub(r"/\*([A-Z]+)\*/", lambda found: parts[found[1]], _text("page.html")))


def pack(values: np.ndarray) -> dict:
    """Numbers in single precision, as the script's `unpack` reads them."""
    values = np.ascontiguousarray(values, dtype="<f4")
    return {"shape": list(values.shape), "base64": base64.b64encode(values.tobytes()).decode()}


def picture(pixels: np.ndarray, most: int = 0) -> str:
    """A picture (h, w, 3) uint8 as a data: address, made smaller where a side is above `most` pixels."""
    Image = needed("PIL.Image", "save_html", "pillow")
    image = Image.fromarray(pixels)
    if most:
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
    tiny = max(image.size) <= 64  # every pixel is seen
    with io.BytesIO() as file:
        image.save(file, format="webp", lossless=tiny, quality=78, method=4)
        return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
