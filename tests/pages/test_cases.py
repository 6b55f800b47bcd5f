"""What pages put into the explanation explorer, from the store of the smoke book."""

import numpy as np
import pytest
import torch
from packed import unpacked

from semquant_book.pages import cases

from semquant_book.study import inspection
from semquant_book.study import experiment2
from semquant.explanation import Explanation
from semquant_book.datasets.names import ATTRIBUTES, PHRASES
from semquant_book.study.pictures import animals_of
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import load_settings


@pytest.fixture(scope="module")
def settings(built):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(built))
        yield load_settings("smoke", architectures=["alexnet"], targets=["Male"])


@pytest.fixture(scope="module")
def shown(settings):
    return inspection.case(settings, "alexnet", "dog")


def test_a_networks_case_holds_the_chosen_images(settings, shown):
    packed = cases.of_case(shown, settings, "alexnet", "dog", [3, 1, 10_000])
    assert packed["labels"] == ["drawn dog 4", "drawn dog 2"]  # what there is not is left out
    assert np.allclose(unpacked(packed["yhat"]), shown.measured.yhat[[3, 1]])
    maps = unpacked(packed["maps"]["values"]) * unpacked(packed["maps"]["peak"])[..., None, None]
    wanted = shown.measured.x[[3, 1]].clamp_min(0)
    assert np.allclose(maps / 255, wanted, atol=float(wanted.max()) / 500)


def test_a_networks_case_holds_both_readings_of_the_same_images(settings, shown):
    packed = cases.of_case(shown, settings, "alexnet", "dog", [3, 1])
    assert packed["reading"] == "literal" and [o["name"] for o in packed["others"]] == ["scaled"]
    scaled = inspection.case(settings, "alexnet", "dog", scale="scaled")
    assert scaled.others.keys() == {"literal"}
    for kept, method in zip(packed["others"][0]["methods"], ("ours", "baseline")):
        assert kept["name"] == method
        y = packed["y"] if kept["y"] is None else kept["y"]
        assert np.allclose(unpacked(kept["alpha"]) * unpacked(y),
                           getattr(scaled, method).contributions[[3, 1]], atol=1e-5)
    assert cases.of_case(shown, settings, "alexnet", "dog", [3], "scaled")["reading"] == "scaled"


def test_a_result_by_some_filters_is_shown_with_their_maps(settings, shown):
    filters = [5, 2, 0]
    test = animals_of(settings, "dog", "test", "alexnet")
    values = torch.arange(3.0 * len(test)).reshape(len(test), 3)
    result = Explanation(values[:, 0], values, torch.ones_like(values), 0.5,
                         [f"mouth & nose filter {i}" for i in filters])
    (packed,) = cases.again(shown, settings, "alexnet", "dog", [0, 2])(result)["cases"]
    places = test.positive.nonzero()[[0, 2], 0]
    assert np.array_equal(unpacked(packed["y"]), values[places])
    peak = shown.measured.x[[0, 2]][:, filters].clamp_min(0).amax((2, 3))
    assert np.allclose(unpacked(packed["maps"]["peak"]), peak)


def test_faces_come_with_and_without_the_attribute(settings):
    packed = cases.of_attribute(settings, "Male")
    yhat = unpacked(packed["yhat"])
    found = experiment2.outputs(settings, "test").scores[:, experiment2.target_index("Male")]
    assert (yhat > 0).sum() == min(4, int((found > 0).sum()))
    assert (yhat <= 0).sum() == min(4, int((found <= 0).sum()))
    assert len(packed["phrases"]) == len(packed["names"]) == 39


def test_a_networks_case_holds_its_scores_without_parts(settings, shown):
    packed = cases.of_case(shown, settings, "alexnet", "dog", [3, 1])
    scores = unpacked(packed["coalitions"])
    assert scores.shape == (2, 2 ** len(packed["groups"]))
    assert np.allclose(scores[:, -1], shown.measured.yhat[[3, 1]], atol=1e-5)
    for k, name in enumerate(packed["groups"]):
        drops = shown.drops[[3, 1], [*shown.groups, "unassigned"].index(name)]
        assert np.allclose(scores[:, -1] - scores[:, -1 - 2**k], drops, atol=1e-5)


def test_faces_that_were_drawn_again_come_with_scores_and_drawings(settings):
    run = experiment2.Run(settings, "Male")
    last = settings.flip_faces
    packed = cases.of_attribute(settings, "Male", chosen=[1, last], drawn=3)
    flipped = unpacked(packed["flipped"])
    assert np.array_equal(flipped[0], run.flipped([1])[0]) and np.isnan(flipped[1]).all()
    drawings, nothing = packed["drawings"]
    top = run.explain("ours")[[1]].top(3)[0]
    assert [k for k, *_ in drawings] == [reason.index for reason in top] and nothing == []
    has = faces_of(settings, "test").attributes[1]
    for (_, words, address), reason in zip(drawings, top):
        assert words == PHRASES[reason.name][int(has[ATTRIBUTES.index(reason.name)])]
        assert address.startswith("data:image/webp")
    assert cases.of_attribute(settings, "Male", chosen=[1], drawn=0)["drawings"] == [[]]
