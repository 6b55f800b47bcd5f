"""Views: packed arrays and pictures, scripts without imports, still figures."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from packed import unpacked
from PIL import Image

from semquant.checks import InputError
from semquant_book.figures.style import METHOD_COLOURS, SIGN_COLOURS, part_colour
from semquant_book.views import chapters, explorer, factorial, ways, widgets
from semquant_book.views.widgets import pack, picture, show


@pytest.mark.parametrize("dtype", ["f4", "u1", "u2", "i2"])
def test_an_array_comes_out_as_it_went_in(dtype):
    values = np.arange(24).reshape(2, 3, 4) % 7
    packed = pack(values, dtype)
    assert np.array_equal(unpacked(packed), values)
    assert np.array_equal(unpacked(pack(torch.tensor(values), dtype)), values)
    assert pack(values.transpose(2, 0, 1), dtype)["shape"] == [4, 2, 3]
    assert np.array_equal(unpacked(pack(values.transpose(2, 0, 1), dtype)), values.transpose(2, 0, 1))


@pytest.mark.parametrize("values", [[256], [-1], [0.5]])
def test_a_number_that_does_not_fit_is_refused(values):
    with pytest.raises(InputError, match="values: .*u1 holds"):
        pack(values, "u1")


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="dtype: 'f8'"):
        pack([1.0], "f8")


def test_a_picture_keeps_its_colours_and_gets_its_size():
    red = torch.zeros(3, 8, 8, dtype=torch.uint8)
    red[0] = 200
    for image in (red, red.permute(1, 2, 0), red / 255):
        form, _, data = picture(image, 32).partition(";base64,")
        assert form == "data:image/webp"
        back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert back.shape == (32, 32, 3)
        assert np.abs(back.reshape(-1, 3).mean(0) - [200, 0, 0]).max() < 6


KINDS = (explorer.ExplanationExplorer, chapters.BiasExplorer, chapters.PriorExplorer,
         chapters.SelectionExplorer, chapters.TemplateExplorer, ways.WaysExplorer,
         factorial.FactorialExplorer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_brings_its_script_and_look_and_asks_for_nothing(kind):
    script, look = str(kind._esm), str(kind._css)
    assert script.count("export default") == 1 and "function unpack" in script
    assert not re.search(r"^\s*import\b|\bimport\(|\bfetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)",
                         script, re.MULTILINE)
    assert ".sq-view" in look and "url(" not in look and "@import" not in look


def test_the_still_figure_comes_first_with_its_words(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    view = explorer.ExplanationExplorer()
    figure, ax = plt.subplots()
    show(view, figure, 'Bars of "ours" < baseline')
    still, live = shown
    assert 'alt="Bars of &quot;ours&quot; &lt; baseline"' in still.data
    assert "sq-kept" not in still.data
    assert live is view
    assert not plt.fignum_exists(figure.number)
    show(view, plt.figure(), "words", keep=True)
    assert "sq-kept" in shown[2].data


def test_a_figure_without_words_is_refused():
    with pytest.raises(InputError, match="description"):
        show(explorer.ExplanationExplorer(), plt.figure(), " ")


def test_colours_are_those_of_the_figures():
    found = widgets.colours(["ear", "torso"])
    assert found["parts"] == {"ear": part_colour("ear"), "torso": part_colour("torso")}
    assert (found["methods"], found["signs"]) == (METHOD_COLOURS, SIGN_COLOURS)
