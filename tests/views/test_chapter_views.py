"""What the explorers of the chapters pack, and their still figures."""

import base64
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from semquant.checks import InputError
from semquant.networks import interpretable
from semquant_book.figures.style import METHOD_COLOURS, PART_COLOURS
from semquant_book.pages import recorded
from semquant_book.views import chapters
from semquant_book.views.chapters import Watched


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]),
                         "<" + packed["dtype"]).reshape(packed["shape"])


def watched(parts=("ear", "leg", "unassigned"), loss="cross_entropy", **changes):
    """Two strengths, two seeds, three epochs, two images, three concepts."""
    random = np.random.default_rng(0)
    fits = (2, 2, 3)
    given = dict(
        title="AlexNet", betas=[0.0, 10.0], seeds=[0, 1], epochs=[0, 1, 2], names=["a", "b", "c"],
        yhat=random.normal(size=2), y=random.normal(size=(2, 3)), w=random.random((2, 3)),
        alpha=random.random((*fits, 2, 3)), bias=random.normal(size=fits),
        entropy=random.random(fits), deviation=random.random(fits) + 0.1,
        accuracy=random.random(fits), loss=loss, pictures=random.random((2, 8, 8, 3)),
        labels=["one", "two"], parts=parts, usual=10.0, unit="filters", note="A note.")
    return Watched(**(given | changes))


def test_the_bias_explorer_holds_what_it_was_given():
    one, other = watched(), watched(None, "l2", phrases=[("A", "no A"), ("B", "no B"), ("C", "no C")])
    data = chapters.explore_bias(one, other).data
    json.dumps(data)  # plain values only
    assert len(data["runs"]) == 2 and data["colours"]["methods"] == METHOD_COLOURS
    assert data["colours"]["parts"] == {p: PART_COLOURS[p] for p in ("ear", "leg", "unassigned")}
    assert data["parts"] == ["ear", "leg", "unassigned"]
    assert chapters.explore_bias(watched(("wing", "hoof", "eye"))).data["parts"] == ["eye", "wing", "hoof"]
    for run, given in zip(data["runs"], (one, other)):
        for name in ("alpha", "bias", "y", "yhat", "entropy", "deviation", "accuracy"):
            np.testing.assert_allclose(unpacked(run[name]), getattr(given, name), rtol=1e-6)
        assert run["betas"] == [0.0, 10.0] and run["note"] == "A note." and len(run["pictures"]) == 2
    assert data["runs"][0]["phrases"] is None and data["runs"][1]["phrases"][1] == ["B", "no B"]


def test_the_prior_explorer_holds_the_first_seed():
    one = watched()
    run = chapters.explore_prior(one).data["runs"][0]
    assert run["alpha"]["shape"] == [2, 3, 2, 3] and run["loss"] == "cross_entropy"
    np.testing.assert_allclose(unpacked(run["alpha"]), one.alpha[:, 0], rtol=1e-6)
    np.testing.assert_allclose(unpacked(run["w"]), one.w, rtol=1e-6)


@pytest.mark.parametrize("changes, message", [
    (dict(w=np.zeros((2, 2))), "w: shape (2, 2) is not (2, 3)"),
    (dict(alpha=np.zeros((2, 2, 3, 2, 4))), "alpha: shape (2, 2, 3, 2, 4) is not (2, 2, 3, 2, 3)"),
    (dict(entropy=np.zeros((2, 2))), "entropy: shape (2, 2) is not (2, 2, 3)"),
    (dict(names=["a"]), "names: 1 do not fit 3"),
    (dict(parts=["ear"]), "parts: 1 do not fit 3"),
    (dict(labels=["one"]), "labels: 1 do not fit 2"),
    (dict(betas=[1.0, 10.0]), "betas: 1.0 is first; accepted: 0, the baseline"),
    (dict(loss="l1"), "loss: 'l1' is not one of cross_entropy, l2"),
])
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(InputError) as error:
        watched(**changes)
    assert message in str(error.value)


def points():
    rows = [dict(target=target, size=size, weights=kind, deviation=0.1 / size + 0.001 * draw,
                 accuracy_loss=0.02 - 0.001 * draw)
            for target in ("male", "young") for size in (1, 10, 39)
            for kind, draws in (("linear", 12), ("learned", 2))
            for draw in range(1 if size == 39 else draws)]
    return pd.DataFrame(rows)


def test_the_selection_explorer_holds_every_choice():
    data = chapters.explore_selection(points(), {"young": "Young", "male": "Male"}, "A note.").data
    json.dumps(data)
    assert data["sizes"] == [1, 10, 39] and [t["name"] for t in data["targets"]] == ["Young", "Male"]
    found = data["targets"][1]["points"]
    assert len(found["linear"][10]["deviation"]) == 12 and len(found["learned"][39]["deviation"]) == 1
    assert found["learned"][1]["accuracy_loss"] == [0.02, 0.019]
    assert len({t["colour"] for t in data["targets"]}) == 2


@pytest.mark.parametrize("frame, message", [
    (pd.DataFrame({"target": ["male"]}), "points: no column size, weights, deviation, accuracy_loss"),
    (points().iloc[:0], "points: no rows"),
])
def test_choices_that_are_none(frame, message):
    with pytest.raises(InputError, match=message):
        chapters.explore_selection(frame, {"male": "Male"})


def test_the_template_explorer_holds_the_maps():
    z = torch.randn(2, 8, 8)
    data = chapters.explore_templates(z, torch.rand(2, 3, 16, 16), ["a", "b"], ["x", "y"]).data
    json.dumps(data)
    np.testing.assert_allclose(unpacked(data["maps"][1]["z"]), z[1])
    assert data["size"] == 8 and data["decay"] == 4.0
    shades = unpacked(data["shades"])
    assert shades.shape == (256, 3)
    red, middle, blue = shades[30].tolist(), shades[127].tolist(), shades[225].tolist()
    assert red[0] > red[2] + 80 and blue[2] > blue[0] + 80 and min(middle) > 230


@pytest.mark.parametrize("maps, titles, message", [
    (torch.zeros(2, 8, 7), ["a", "b"], "maps: shape"), (torch.zeros(2, 8, 8), ["a"], "titles: 1 do not"),
])
def test_maps_that_do_not_fit(maps, titles, message):
    with pytest.raises(InputError, match=message):
        chapters.explore_templates(maps, torch.rand(2, 3, 8, 8), titles, ["x", "y"])


def test_weights_scaled_as_the_losses_compare_them():
    w = np.array([3.0, 4.0])
    np.testing.assert_allclose(chapters.scaled(w, "cross_entropy"), [3 / 7, 4 / 7])
    np.testing.assert_allclose(chapters.scaled(-w, "l2"), [-0.6, -0.8])
    np.testing.assert_allclose(chapters.scaled(0 * w, "l2"), [0, 0])


def test_still_figures_show_the_numbers():
    run = watched()
    figure = chapters.bias_figure(run, image=1)
    bars, entropy, _ = figure.axes
    heights = [patch.get_height() for patch in bars.patches]
    np.testing.assert_allclose(heights[:3], run.alpha[1, 0, -1, 1] * run.y[1])
    np.testing.assert_allclose(heights[3:], run.alpha[0, 0, -1, 1] * run.y[1])
    np.testing.assert_allclose(entropy.lines[0].get_ydata(), run.entropy[0].mean(0))

    figure = chapters.prior_figure(run)
    end = figure.axes[2].collections[0].get_offsets()
    np.testing.assert_allclose(end[:, 0], run.w[0] / run.w[0].sum())
    np.testing.assert_allclose(end[:, 1], run.alpha[1, 0, -1, 0] / run.alpha[1, 0, -1, 0].sum())

    figure = chapters.selection_figure(points(), {"male": "Male"})
    line = figure.axes[0].lines[-1]
    assert line.get_xdata().tolist() == [1, 10, 39]
    np.testing.assert_allclose(line.get_ydata()[0], 0.1 + 0.0055)

    z = torch.randn(8, 8)
    figure = chapters.template_figure(z, torch.rand(3, 16, 16))
    shown = figure.axes[3].images[0].get_array()
    np.testing.assert_allclose(shown, interpretable.Mask(8)(z[None, None])[0, 0], rtol=1e-5)
    plt.close("all")


@pytest.mark.parametrize("explore", [chapters.explore_bias, chapters.explore_prior])
def test_the_recorded_sweeps_are_small_enough_for_a_page(explore):
    view = explore(*map(recorded.recorded, ("alexnet-scaled", "alexnet-literal", "attractive")))
    assert len(json.dumps(view.data)) < 600_000
