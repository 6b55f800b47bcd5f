"""The run over families of CNNs: sums that hold, and failures that are said."""

import pytest
import torch
from torch import nn
from torchvision import models

from semquant_book.study import works_with
from semquant_book.study.presets import load_settings
from semquant_book.study.works_with import FAMILIES, FEW, Family


def tiny():
    return nn.Sequential(nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5))


def test_a_family_is_explained_and_its_sums_hold():
    row = works_with.run(Family("tiny", "0", tiny, size=17, options={"rectified": True}))
    assert (row.error, row.concepts, row.map, row.passed) == ("", 6, (4, 4), "rectified=True")
    assert row.off < 1e-4 and row.ratio > 0
    model, images = Family("tiny", "0", tiny).model(), torch.randn(4, 3, 17, 17, generator=torch.Generator().manual_seed(1))
    score = model(images)[:, 3].detach()
    assert row.moved == pytest.approx(float((model[3].bias[3] - score).abs().min() / score.std()), rel=1e-4)


def test_a_score_that_is_not_the_networks_own_is_seen(monkeypatch):
    def wrong(model, concepts, target):
        def of(images):
            score = model(images)[:, target].detach()
            return lambda present: score + (0.5 * score.std() if present.all() else 0)
        return of

    monkeypatch.setattr(works_with, "of_model", wrong)
    row = works_with.run(Family("tiny", "0", tiny, size=17, options={"rectified": True}))
    assert row.off == pytest.approx(0.5, rel=1e-3) and row.moved == 0


def test_a_sum_that_does_not_hold_is_seen():
    score = torch.tensor([1.0, 2.0, 4.0])
    assert works_with._off(score, score) == 0
    assert works_with._off(score + torch.tensor([0.0, 0.0, 0.5]), score) == pytest.approx(0.5 / float(score.std()))


def test_a_family_that_fails_stays_with_one_line():
    def broken():
        raise RuntimeError("no such weights\nand more")

    row = works_with.run(Family("broken", "0", broken))
    assert row.error == "RuntimeError: no such weights" and row.concepts == 0
    assert works_with.run(Family("tiny", "nowhere", tiny)).error.startswith("InputError: layer: 'nowhere'")


def test_the_same_weights_each_time_and_no_random_number_is_taken():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    family = Family("tiny", "0", tiny)
    assert torch.equal(family.model()[0].weight, family.model()[0].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_deep_network_with_random_weights_has_scores_that_differ():
    row = works_with.run(next(family for family in FAMILIES if family.name == "inception_v3"))
    assert row.error == "" and row.off < 1e-4 and row.moved > 1e-3


def test_a_head_that_starts_at_0_is_given_weights():
    def silent():
        model = tiny()
        nn.init.zeros_(model[3].weight)
        return model

    assert works_with.run(Family("silent", "0", silent, size=17, options={"rectified": True})).error == ""


def test_every_family_of_torchvision_is_there():
    def module(name):
        return models.get_model_builder(name).__module__

    assert {module(f.name) for f in FAMILIES} == {module(name) for name in models.list_models(module=models)}
    assert len({f.name for f in FAMILIES}) == len(FAMILIES) and set(FEW) <= {f.name for f in FAMILIES}


@pytest.mark.parametrize("preset, names", [("smoke", FEW), ("quick", [f.name for f in FAMILIES])])
def test_tests_run_a_few(preset, names, monkeypatch):
    monkeypatch.setattr(works_with, "run", lambda family: family.name)
    assert sorted(works_with.run_all(load_settings(preset))) == sorted(names)
