"""Figures on a dark page: letters become light, the ground goes, what shows data stays."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from semquant_book.figures import dark
from semquant_book.figures.style import INK, METHOD_COLOURS, use_style


@pytest.fixture
def figure():
    with plt.rc_context():
        use_style()
        figure, (left, right) = plt.subplots(1, 2, figsize=(4, 2))
        left.set_title("a title")
        left.plot([0, 1], [0, 1], "o-", color=METHOD_COLOURS["ours"], markerfacecolor="white")
        left.text(0.5, 0.5, "on a bar", color="white")
        left.pie([1, 2], wedgeprops={"edgecolor": "white"}, colors=["#332288", "#eeeeee"])
        right.scatter([0, 1], [0, 1], edgecolors="white", color="#117733")
        right.scatter([0, 1], [1, 0], c=[0.0, 1.0])
        right.imshow(np.ones((2, 2, 3)))
        yield figure
        plt.close(figure)


def colours(figure):
    """All colours of a figure's parts, as text."""
    return [str(getattr(artist, f"get_{name}")()) for artist in figure.findobj()
            for name in dark.PROPERTIES if hasattr(artist, f"get_{name}")]


def test_letters_are_light_and_data_and_pictures_stay(figure):
    left, right = figure.axes
    with dark.on_dark(figure):
        assert to_hex(left.title.get_color()) != INK
        assert to_hex(left.xaxis.label.get_color()) == dark.COLOURS[INK]
        line = left.lines[0]
        assert to_hex(line.get_color()) == METHOD_COLOURS["ours"].lower()
        assert to_hex(line.get_markerfacecolor()) == dark.GROUND
        assert left.texts[0].get_color() == "white"  # it is written on a colour
        assert to_hex(left.patches[0].get_facecolor()) == "#332288"
        assert to_hex(left.patches[0].get_edgecolor()) == dark.GROUND
        assert to_hex(right.collections[0].get_edgecolor()[0]) == dark.GROUND
        assert to_hex(right.collections[0].get_facecolor()[0]) == "#117733"
        assert right.images[0].get_array().min() == 1


def test_afterwards_the_figure_is_as_it_was(figure):
    figure.canvas.draw()
    before = colours(figure)
    with pytest.raises(ZeroDivisionError):
        with dark.on_dark(figure):
            assert colours(figure) != before
            raise ZeroDivisionError
    figure.canvas.draw()
    assert colours(figure) == before


def test_the_picture_has_no_ground_and_the_size_of_the_usual_one(figure):
    with Image.open(io.BytesIO(base64.b64decode(dark.webp(figure)))) as picture:
        assert picture.format == "WEBP" and picture.size == (800, 400)
        assert picture.getpixel((0, 0))[3] == 0


def test_a_figure_without_a_layout_keeps_its_places(figure):
    """Saving it twice would lay it out anew."""
    with plt.rc_context():
        use_style()
        bare = plt.figure(layout="none")
        ax = bare.add_axes((0, 0, 0.5, 0.5))
        plt.close(bare)
        dark.picture(bare)
        assert bare.get_layout_engine() is None
        assert ax.get_position().bounds == (0, 0, 0.5, 0.5)
