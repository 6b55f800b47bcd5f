"""Sweeps: a small one against the library's own explainers, and those that come with the project."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from semquant import metrics
from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant_book.pages.recorded import read, recorded
from semquant_book.press.cli import main
from semquant_book.study import experiment1, experiment2, sweeps
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import load_settings, project_root
from semquant_book.study.sweeps import epochs_kept


@pytest.mark.parametrize("epochs, kept", [
    (1, [0, 1]), (2, [0, 1, 2]), (6, [0, 1, 2, 4, 6]), (8, [0, 1, 2, 4, 8]),
    (20, [0, 1, 2, 4, 8, 16, 20]),
])
def test_epochs_that_are_kept(epochs, kept):
    assert epochs_kept(epochs) == kept


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Settings of the smoke preset with two epochs, two strengths and one seed; and the records."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
    patch.setattr(sweeps, "BETAS", {1: (0.0, 10.0), 2: (0.0, 0.2)})
    patch.setattr(sweeps, "SEEDS", (1,))
    settings = replace(load_settings("smoke"), explainer_epochs=2, attribute_epochs=2)
    said = []
    records = {
        "literal": sweeps.network(settings, "literal", say=said.append),
        "attractive": sweeps.attribute(settings, say=said.append),
    }
    assert len(said) == 4 and said[1].startswith("alexnet dog, y literal, beta 10, seed 1: entropy ")
    yield settings, records
    patch.undo()


def explainers(settings, name, k):
    """The library's own explainer that the sweep's k-th strength repeats; its record's metrics."""
    method = ("baseline", "ours")[k]
    run, start = ((experiment1.Run(settings, "alexnet", "dog"), "literal") if name == "literal"
                  else (experiment2.Run(settings, "Attractive"), "near_zero"))
    which = (method, start, 1)
    return run.explainer(*which), run.explainer_record(*which)["metrics"]


@pytest.mark.parametrize("name", ["literal", "attractive"])
def test_a_sweep_ends_where_the_experiments_own_explainers_do(small, name):
    settings, records = small
    content = records[name]
    found = read(json.loads(json.dumps(content)))
    assert found.epochs == [0, 1, 2] and found.seeds == [1] and found.betas[0] == 0
    for k in (0, 1):
        fitted, metrics_ = explainers(settings, name, k)
        for measure in ("entropy", "deviation", "accuracy"):
            assert getattr(found, measure)[k, 0, -1] == pytest.approx(metrics_[measure], abs=1e-5)
        assert found.bias[k, 0, -1] == pytest.approx(float(fitted.g.bias.detach()), rel=1e-6)
    assert not np.allclose(found.alpha[0, 0, -1], found.alpha[1, 0, -1], rtol=1e-4)
    np.testing.assert_array_equal(found.alpha[0, 0, 0], found.alpha[1, 0, 0])  # the same start


def test_images_of_a_network(small):
    """y, yhat, w and alpha belong to the images that are named; these are what comes first."""
    settings, records = small
    found = read(records["literal"])
    run = experiment1.Run(settings, "alexnet", "dog")
    test = run.images("test")
    ids = records["literal"]["images"]["ids"]
    measured = run.measure(test.subset([test.ids.index(i) for i in ids]), prior=True)
    for name in ("y", "w", "yhat"):
        np.testing.assert_allclose(getattr(found, name), getattr(measured, name), rtol=1e-4, atol=1e-5)
    fitted, _ = explainers(settings, "literal", 1)
    np.testing.assert_allclose(found.alpha[1, 0, -1], fitted.explain_measured(measured).alpha,
                               rtol=1e-4, atol=1e-6)
    every = run.measure(test).yhat
    best = (test.positive & (every > 0)).tolist()
    order = sorted(range(len(test)), key=lambda i: not best[i])[:3]
    assert ids == [test.ids[i] for i in order]
    assert found.pictures.shape == (3, 160, 160, 3) and len(found.parts) == len(found.names)


def test_images_of_an_attribute(small):
    settings, records = small
    found = read(records["attractive"])
    test = faces_of(settings, "test")
    at = [test.ids.index(i) for i in records["attractive"]["images"]["ids"]]
    measured = experiment2.Run(settings, "Attractive").measured("test")[torch.tensor(at)]
    for name in ("y", "w", "yhat"):
        np.testing.assert_allclose(getattr(found, name), getattr(measured, name), rtol=1e-5, atol=1e-6)
    assert len(found.names) == len(found.phrases) == 39 and found.parts is None
    assert found.names[0] == "5 o'clock shadow" and found.phrases[3] == ("Bald", "Not bald")


def test_a_preset_of_photographs_is_refused():
    with pytest.raises(InputError, match="preset: celeba has faces: celeba"):
        sweeps.make(load_settings("celeba"))


def test_the_command_says_what_it_can_not_use(capsys):
    assert main(["sweep", "--preset", "photographs"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("semquant: preset: photographs has images: pascal_part")


def test_a_sweep_that_there_is_not():
    with pytest.raises(InputError, match="sweep: 'alexnet' is not one of alexnet-literal"):
        recorded("alexnet")


# ---- those that come with the project --------------------------------------------------------------


@pytest.mark.parametrize("name", sweeps.NAMES)
def test_a_recorded_sweep(name):
    path = project_root() / "book" / "records" / f"beta-{name}.json"
    assert path.stat().st_size < 400_000
    found = recorded(name, 64)
    n = found.y.shape[1]
    assert len(found.betas) == 6 and len(found.seeds) == 3 and found.betas[0] == 0
    assert found.usual in found.betas and found.epochs == epochs_kept(found.epochs[-1])
    assert (0 < found.entropy).all() and (found.entropy <= math.log(n) + 1e-4).all()
    assert (found.deviation > 0).all() and (found.accuracy <= 1).all()
    if found.loss == "cross_entropy":
        assert (found.alpha >= 0).all() and (found.w >= 0).all()
    # the few images are explained about as well as the test set
    last = [Explanation(torch.tensor(found.yhat), torch.tensor(found.y),
                        torch.tensor(found.alpha[k, s, -1]), found.bias[k, s, -1])
            for k in range(6) for s in range(3)]
    size = max(abs(float(e.residual.abs().mean())) for e in last)
    assert size < 0.25 * float(np.ptp(found.yhat) + np.abs(found.yhat).max())
    assert all(float(metrics.contribution_entropy(e.contributions).min()) > 0.5 for e in last)
