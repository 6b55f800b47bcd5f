"""What other sites show of a page when somebody shares it: a title, a sentence or two, a picture.

The landing page draws the picture from its own run, in a cell with the tag ``preview`` that readers
don't see; `site.stage` takes it from there. The rest is a Sphinx extension that puts Open Graph tags
into a page's head. `sphinxext-opengraph` (0.13) cuts descriptions within a word, with the LaTeX of
formulas, and has wrong addresses in folders: mending that takes more than the few lines of `tags`.
"""

from __future__ import annotations

import base64
import io
import re
from html import escape, unescape
from typing import TYPE_CHECKING

import nbformat

from semquant.checks import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor
    from semquant.explanation import Explanation

__all__ = ["SIZE", "draw", "png", "sentences", "setup", "tags", "taken_from"]

#: Width and height of the picture, in pixels: what the large sites crop to.
SIZE = (1200, 630)
#: The tag of the notebook cell whose output is the picture.
TAG = "preview"
FILE = "preview.png"
LONGEST = 200  # characters of a description; the large sites cut off more


def draw(images: ArrayLike | Tensor, heatmaps: ArrayLike | Tensor, explanation: Explanation,
         title: str, subtitle: str) -> Figure:
    """Draw the picture: three images, where the network looks, and what each part contributes.

    Images (3, 3, S, S) or (3, S, S, 3), their heat maps (3, H, W), and an explanation merged to
    parts, whose positive contributions the bars hold; a title may have two lines. The figure
    has `SIZE` pixels at 100 dots an inch.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch
    from semquant_book.figures.style import INK, array, bare, overlay, part_colour, resize, rgb, signed
    pictures, heatmaps, values = rgb(images), array(heatmaps), array(explanation.contributions)
    if not len(pictures) == len(heatmaps) == len(values) == 3:
        raise InputError(f"images: {len(pictures)}, heat maps: {len(heatmaps)}, explanations: "
                         f"{len(values)}; accepted: three of each")
    width, height = SIZE
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100, layout="none",
                        facecolor="white")

    def axes(left: float, top: float, wide: float, high: float):
        """Axes at a place in pixels from the left upper corner."""
        return figure.add_axes((left / width, 1 - (top + high) / height,
                                wide / width, high / height))

    def words(left: float, top: float, text: str, **style) -> None:
        figure.text(left / width, 1 - top / height, text, **{"color": INK, "va": "top"} | style)

    words(60, 50, title, fontsize=30, fontweight="bold", linespacing=1.15)
    words(60, 158, subtitle, fontsize=17, color="#555555")
    values = values.clip(min=0)
    longest = max(float(values.sum(1).max()), 1e-9)
    for k, left in enumerate((60, 435, 810)):
        for column, picture in enumerate((resize(pictures[k : k + 1], 320)[0],
                                          overlay(pictures[k], heatmaps[k], 320))):
            ax = axes(left + 166 * column, 232, 160, 160)
            ax.imshow(picture, aspect="auto", interpolation="antialiased")
            bare(ax)
        ax = axes(left, 448, 326, 40)
        start = 0.0
        for name, value in zip(explanation.names, values[k]):
            ax.barh(0, value, left=start, color=part_colour(name), height=1)
            start += float(value)
        ax.set(xlim=(0, longest), ylim=(-0.5, 0.5))
        bare(ax)
        score = signed(float(explanation.yhat[k]), 1)
        words(left, 424, f"score {score}: what each part adds", fontsize=15, va="center")
    shown = [name for name, total in zip(explanation.names, values.sum(0)) if total > 0]
    figure.legend(handles=[Patch(color=part_colour(name), label=name) for name in shown],
                  loc="lower center", bbox_to_anchor=(0.5, 28 / height), ncols=max(len(shown), 1),
                  frameon=False, fontsize=15, handlelength=1, handleheight=1, handletextpad=0.4,
                  columnspacing=1.1)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG of `SIZE` pixels, whatever a notebook's settings; it is closed."""
    import matplotlib.pyplot as plt
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=100, bbox_inches=None)
        plt.close(figure)
        return file.getvalue()


def taken_from(notebook: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """Return an executed notebook's picture and the picture in words, or None if it has none."""
    for cell in notebook.cells:
        if TAG in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    about = output.get("metadata", {}).get("image/png", {})
                    return base64.b64decode(output["data"]["image/png"]), about.get("alt", "")
    return None


def sentences(text: str, longest: int = LONGEST) -> str:
    """Return the first whole sentences, as many as fit, without citations; or the first words."""
    text = re.sub(r"\s*\[[^\]]*\d{4}[^\]]*\]", "", " ".join(text.split()))
    kept = ""
    for sentence in re.findall(r".+?[.:!?](?=\s|$)|.+$", text):
        if kept and len(kept) + len(sentence) > longest:
            break
        kept += sentence
    if len(kept) <= longest:
        return kept.strip()
    return kept[: longest - 1].rpartition(" ")[0].rstrip(" ,;:") + "\N{HORIZONTAL ELLIPSIS}"


def tags(title: str, description: str, *, site: str = "", page: str = "", image: str = "",
         alternative: str = "", name: str = "") -> str:
    """Return a page's tags for its head; what is empty is left out.

    `site` is the book's public address with a slash at its end, `page` the page's within it.
    With `site` the picture's address has to be absolute, since the sites that read it accept no
    other; without, it is relative, and most of them leave it out. `alternative` is the picture
    in words, `name` the book's.
    """
    found = {"og:title": title, "og:type": "website", "og:site_name": name,
             "og:description": description, "og:url": site and site + page, "og:image": image}
    if image:
        found |= {"og:image:width": SIZE[0], "og:image:height": SIZE[1], "og:image:alt": alternative}
    named = {"description": description, "twitter:card": "summary_large_image" if image else "summary"}
    return "".join(f'<meta {kind}="{key}" content="{escape(str(value))}">\n'
                   for kind, each in (("property", found), ("name", named))
                   for key, value in each.items() if value)


def _description(doctree) -> str:
    """The first paragraph outside of boxes, up to its first formula of more than a letter."""
    from docutils import nodes
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section):
            continue
        text = ""
        for node in paragraph.findall(nodes.Text):
            inside = node.parent
            if isinstance(inside, nodes.math) and not re.fullmatch(r"[A-Za-z0-9]+", node):
                text = text[: text.rfind(". ") + 1]
                break
            text += node
        if text.strip():
            return sentences(text)
    return ""


def _add(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Put the tags into a page's head (Sphinx calls this for every page it writes)."""
    if doctree is None:  # search page, index
        return
    site = app.config.html_baseurl
    image = ""
    if app.config.semquant_preview:
        place = f"_static/{FILE}"
        image = site + place if site else context["pathto"](place, 1)
    title = unescape(re.sub(r"<[^>]+>", "", context["title"])).strip()
    context["metatags"] = (context.get("metatags") or "") + tags(
        title, _description(doctree) or app.config.semquant_summary, site=site,
        page=pagename + context["file_suffix"], image=image,
        alternative=app.config.semquant_preview_alt, name=app.config.project)


def setup(app) -> dict:
    """Register the extension with Sphinx.

    ``semquant_preview`` is whether there is a picture, ``semquant_preview_alt`` the picture in
    words; ``semquant_summary`` describes a page that begins with no sentence of its own.
    """
    app.add_config_value("semquant_preview", False, "html", bool)
    app.add_config_value("semquant_preview_alt", "", "html", str)
    app.add_config_value("semquant_summary", "", "html", str)
    app.connect("html-page-context", _add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
