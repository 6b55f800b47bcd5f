"""One picture in several ways: the numbers are those of the ranking, by group, whatever is added."""

from dataclasses import replace

import pytest
import torch

from semquant import truth
from semquant.explanation import Explanation
from semquant_book.pages import one_picture
from semquant_book.study import experiment1, ranking
from semquant_book.study.presets import load_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        patch.setattr(ranking, "BACKGROUND", 20)
        settings = replace(load_settings("smoke", device="cpu"), architectures=("alexnet",), explainer_seeds=1)
        yield experiment1.Run(settings, "alexnet", settings.categories[0])


@pytest.fixture(scope="module")
def several(run):
    ones = lambda m: Explanation(m.yhat, torch.ones_like(m.y), torch.ones_like(m.y), 0.0)
    return one_picture.gathered(run, {"ones": ones}, count=3)


def test_every_way_is_asked_in_each_reading(several):
    assert list(several.ways) == [*one_picture.WAYS, "ones"]
    assert several.readings == ["literal", "scaled"] and several.reading == "scaled"
    asked = [way for readings in one_picture.WAYS.values() for way in readings.values()]
    assert set(asked) <= set(ranking.WAYS)


def test_contributions_are_summed_over_the_filters_of_a_group(run, several):
    groups, names = ranking.groups_of(run)
    shown = run.measured("test")[ranking.recognised(run, 3)]
    assert several.names == names and torch.allclose(several.yhat, shown.yhat)
    for scale in several.readings:
        by_filter = run.explainer("ours", scale).explain_measured(shown).contributions
        for p in range(len(names)):
            assert torch.allclose(several.ways["ours"][scale][:, p], by_filter[:, groups == p].sum(1), atol=1e-4)
    sizes = torch.bincount(groups, minlength=len(names)).float()
    assert torch.equal(several.ways["ones"][""], sizes.expand(3, -1))


def test_the_truth_is_the_shapley_values_of_the_groups(run, several):
    groups, _ = ranking.groups_of(run)
    x = run.measured("test").x[ranking.recognised(run, 3)]
    values = truth.coalition_values(ranking.head_of(run), x, groups)
    assert torch.allclose(several.right, truth.shapley(values), atol=1e-5)
    assert torch.allclose(several.right.sum(1), values[:, -1] - values[:, 0], atol=1e-4)


def test_the_view_stands_after_its_figure_with_words(run, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    one_picture.explore(run, count=2)
    still, view = shown
    assert "gradient × input, corrected, prior, ours, baseline" in still.data and len(view.data["labels"]) == 2
