"""The studios' pages: which pictures are shown, when there is a studio, and what stands in its place."""

from dataclasses import replace

import pytest
import torch

from semquant_book.datasets.drawn import animals
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.pages import studio
from semquant_book.study import experiment1, experiment2
from semquant_book.study.interventions import FLIPPED
from semquant_book.study.presets import load_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        yield replace(load_settings("smoke", device="cpu"), architectures=("alexnet",), explainer_seeds=1)


@pytest.fixture
def displayed(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    monkeypatch.setattr(studio, "display", found.append)
    return found


def test_shown_are_the_first_recognised_ones_and_one_of_each_other_kind(settings):
    run = experiment1.Run(settings, "alexnet", "dog")
    kinds = [animals.parse_id(name)[0] for name in studio.chosen(run)]
    own = kinds.count("dog")
    assert 1 <= own <= studio.OWN and kinds[:own] == ["dog"] * own
    others = kinds[own:]
    assert len(set(others)) == len(others) == studio.OTHERS and "background" not in others
    test = run.images("test")
    for name in studio.chosen(run)[own:]:  # the first of its kind
        assert test.ids.index(name) == test.kinds.index(animals.parse_id(name)[0])


def test_the_studio_comes_with_a_figure_and_its_network(settings, displayed):
    assert studio.fits(settings)
    studio.show(settings, "dog")
    figure, view = displayed
    assert "<figure" in figure.data and "without each of its part groups" in figure.data
    run = experiment1.Run(settings, "alexnet", "dog")
    assert view.data["network"]["groups"] == run.naming()[0].tolist()
    assert "A smoke run" in view.data["note"] and len(view.data["pictures"]) == len(studio.chosen(run))


def test_photographs_and_large_networks_have_none(settings, displayed, monkeypatch):
    assert not studio.fits(replace(settings, images="pascal_part"))
    monkeypatch.setattr(studio, "MOST", 10)
    assert not studio.fits(settings)
    studio.show_faces(settings, "Male")
    (figure,) = displayed
    assert "<figure" in figure.data and "one attribute flipped" in figure.data
    displayed.clear()
    studio.show_faces(replace(settings, faces="celeba"), "Male")
    assert "can't be flipped" in displayed[0].data and len(displayed) == 1


def test_faces_of_both_answers_with_what_contributes_most(settings, displayed):
    studio.show_faces(settings, "Male")
    _, view = displayed
    run = experiment2.Run(settings, "Male")
    yhat = run.measured("test").yhat
    first = [int(torch.nonzero(side)[0]) for side in (yhat > 0, yhat <= 0) if bool(side.any())]
    assert len(view.data["pictures"]) == len(first)
    explained = run.explain("ours")[first]
    names = [ATTRIBUTES[i] for i in experiment2.concepts_of("Male")]
    sizes = explained.contributions.abs().mean(dim=0)[[names.index(name) for name in FLIPPED]]
    assert view.data["lead"] == [FLIPPED[int(sizes.argmax())]]
