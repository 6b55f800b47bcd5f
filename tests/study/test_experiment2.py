"""Experiment 2's jobs on a handful of faces: what is measured, and the controls."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from semquant import metrics
from semquant.checks import InputError
from semquant.concepts import Outputs
from semquant.networks import performers
from semquant.rows import Computed
from semquant_book.datasets.names import ATTRIBUTES, CONTROLS
from semquant_book.study import concept_choice, experiment2, face_performers, portraits, store
from semquant_book.study.presets import load_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        yield load_settings("smoke", targets=["Male"], face_train_images=40, face_val_images=24,
                            face_test_images=24, explainer_seeds=1, selection_sizes=[2, 39],
                            selection_draws=2, selection_fits=1, flip_faces=2)


def test_concepts_of_a_target():
    male = ATTRIBUTES.index("Male")
    assert experiment2.concepts_of("Male") == [i for i in range(40) if i != male]
    assert experiment2.concepts_of("Male", ["Young", "Bald"]) == [
        ATTRIBUTES.index("Bald"), ATTRIBUTES.index("Young")]
    drawn = [experiment2.concepts_of("Male", 5, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5 and male not in drawn[0] + drawn[2]


@pytest.mark.parametrize("target, concepts, message", [
    ("Mail", None, "^target: 'Mail' is not one of .*did you mean Male"),
    ("Male", ["Young", "Male"], "^concepts: Male is the target itself; accepted: the other 39$"),
    ("Male", 40, "^concepts of Male: 40 is not a whole number .*39"),
    ("Male", 0, "^concepts of Male: 0 is not"),
    ("Male", ["Yung"], "^target: 'Yung' is not one of"),
    ("Male", [], "^concepts: none"),
    ("Male", ["Young", "Young"], "^concepts: Young, Young"),
])
def test_impossible_concepts_are_one_line(target, concepts, message):
    with pytest.raises(InputError, match=message) as caught:
        experiment2.concepts_of(target, concepts)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_architecture_is_one_line(settings):
    face_performers.performer(settings)
    path = store.face_performer_path(settings, 0)
    other = performers.build("alexnet", size=64, width=0.0625, outputs=40)
    with pytest.raises(InputError, match=r"^weights: .* is of another architecture \(features\.0"):
        performers.load_weights(other, load_file(path), path.name)


@pytest.fixture
def outputs():
    torch.manual_seed(0)
    j = torch.randn(30, 40, 6)
    return Outputs(torch.randn(30, 3, 2, 2), torch.randn(30, 40), j @ j.transpose(1, 2))


def test_controls_spoil_what_they_say_and_nothing_else(outputs):
    as_is = experiment2.change(outputs, "Male")
    shuffled = experiment2.change(outputs, "Male", "shuffled")
    assert not torch.equal(shuffled.y, as_is.y)
    assert torch.equal(shuffled.y.sort(dim=0).values, as_is.y.sort(dim=0).values)
    assert torch.equal(shuffled.w, as_is.w) and torch.equal(shuffled.yhat, as_is.yhat)
    constant = experiment2.change(outputs, "Male", "constant")
    assert torch.equal(constant.y, torch.ones(30, 1)) and constant.w is None
    permuted = experiment2.change(outputs, "Male", "permuted")
    assert torch.equal(permuted.y, as_is.y)
    assert not torch.isclose(permuted.w, as_is.w).all(dim=0).any()
    assert torch.equal(permuted.w.sort(dim=1).values, as_is.w.sort(dim=1).values)
    centred = experiment2.change(outputs, "Male", "centred")
    torch.testing.assert_close(centred.y, as_is.y - as_is.y.mean(dim=0))
    with pytest.raises(InputError, match="^control: 'noise' is not one of"):
        experiment2.change(outputs, "Male", "noise")


def test_a_permuted_prior_is_the_same_permutation_on_every_split(outputs):
    first = experiment2.change(outputs, "Male", "permuted", seed=3).w
    again = experiment2.change(
        Outputs(outputs.x[:7], outputs.scores[:7], outputs.products[:7]), "Male", "permuted", seed=3)
    assert torch.equal(again.w, first[:7])


def test_linear_weights_are_least_squares():
    torch.manual_seed(1)
    y = torch.randn(50, 3).double()
    yhat = y @ torch.tensor([1.0, -2.0, 0.5]).double() + 4 + 0.1 * torch.randn(50).double()
    scores = torch.cat([yhat[:, None], torch.randn(50, 2).double(), y], dim=1)
    v = concept_choice.linear_weights(concept_choice.moments(scores), 0, [3, 4, 5])
    columns = torch.cat([y, torch.ones(50, 1).double()], dim=1)
    torch.testing.assert_close(v, torch.linalg.lstsq(columns, yhat[:, None]).solution[:, 0])


def test_the_whole_chain(settings):
    portraits.make_data(settings)
    assert "balanced accuracy" in face_performers.make_performer(settings)
    experiment2.make_surveys(settings)
    run = experiment2.Run(settings, "Male")
    net, test = run.performer(), portraits.faces_of(settings, "test")
    scores = face_performers.scores(net, test.images, settings)
    torch.testing.assert_close(run.outputs("test").scores, scores)
    assert torch.equal(run.labels("test"), test.attributes[:, ATTRIBUTES.index("Male")])
    # the priors come from the first FC layer, before its ReLU, by a closed form
    maps = net.maps((test.images[:3] / 255 - 0.5) / 0.25)[1]
    leaf = net.head[:4](maps).detach()
    from semquant import priors

    own = experiment2.target_index("Male")
    w = priors.taylor_from_gram(priors.gram(priors.jacobian_autograd(net.head[4:], leaf)), own)
    measured = run.measured("test")
    torch.testing.assert_close(measured.w[:3], w, rtol=1e-3, atol=1e-4)

    flipped = experiment2.flips(settings)
    assert flipped.shape == (2, 40, 40)
    drops = run.change_of_score()
    young = experiment2.concepts_of("Male").index(ATTRIBUTES.index("Young"))
    assert float(drops[1, young]) == pytest.approx(
        float(scores[1, own] - flipped[1, ATTRIBUTES.index("Young"), own]), abs=1e-5)

    run.make_explainers()
    records = {which: run.explainer_record(*which)["metrics"]
               for which in store.attribute_runs(settings)}
    assert {which[0] for which in records} == {"ours", "baseline", "relative", *CONTROLS}
    for which, found in records.items():
        explained = run.explain(*which)
        assert found["deviation"] == pytest.approx(
            float(metrics.relative_deviation(explained.yhat, explained.total).mean()), rel=1e-4)
        assert ("agreement" in found) == (which[0] != "constant")
    from semquant_book.study import tables

    beside = tables.yardstick_frame(settings).set_index("method")
    ours = run.explain()
    expected = {"prior": measured.w * measured.y, "mean_alpha": ours.alpha.mean(dim=0) * ours.y,
                "another_face": ours.contributions[[len(ours) - 1, *range(len(ours) - 1)]]}
    for method, values in expected.items():
        assert beside.entropy[method] == pytest.approx(
            float(metrics.contribution_entropy(values).mean()), rel=1e-4)
        assert beside.agreement[method] == pytest.approx(
            float(metrics.rank_agreement(values[:2], drops).mean()), abs=1e-6)
    concept_choice.make_selection(settings, "Male")
    points = concept_choice.selection_record(settings, "Male")["points"]
    assert sorted((p["size"], p["draw"], p["weights"]) for p in points) == [
        (2, 0, "learned"), (2, 0, "linear"), (2, 1, "linear"), (39, 0, "learned"), (39, 0, "linear")]


def test_faces_that_were_not_drawn_again_have_no_score_flipped(settings):
    run = experiment2.Run(settings, "Male")
    found, flips = run.flipped([1, 7, 0]), experiment2.flips(settings)
    assert found.shape == (3, 39) and found[1].isnan().all()
    male = ATTRIBUTES.index("Male")
    for k, face in ((0, 1), (2, 0)):
        for i, attribute in enumerate(experiment2.concepts_of("Male")):
            assert found[k, i] == flips[face, attribute, male]
    as_is = run.outputs("test").scores[:1, male]
    assert torch.allclose(as_is - found[2], run.change_of_score()[0])


def test_another_start_of_the_last_layer_is_another_explainer(settings):
    near, default = (experiment2.options(settings, "ours", last)["explainer"].last_std
                     for last in ("near_zero", "default"))
    assert near == 1e-3 and default is None


def test_methods_differ_in_what_their_names_say(settings):
    ours, baseline, relative, constant = (
        experiment2.options(settings, m)["objective"] for m in ("ours", "baseline", "relative", "constant"))
    assert (ours.prior, baseline.prior, relative.prior, constant.prior) == (
        "measured", "none", "measured", "none")
    assert relative.divide_by_variance and not ours.divide_by_variance
    assert {ours.loss, baseline.loss} == {"l2"} and ours.beta == settings.attribute_beta


def test_a_fit_by_its_prior_is_the_explainer_that_is_kept(settings):
    """What a page calls, against what the jobs have made; another prior is fitted and not kept."""
    run = experiment2.Run(settings, "Male")
    run.make_explainers()
    train, test = run.measured("train"), run.measured("test")
    for prior, method in (("measured", "ours"), ("none", "baseline")):
        fitted = run.fit(train, prior=prior).explain_measured(test)
        assert torch.equal(fitted.alpha, run.explain(method).alpha)
        assert torch.equal(fitted.y, test.y) and fitted.names == [n for n in ATTRIBUTES if n != "Male"]
    before = sorted(path.name for path in run.explainer_path("ours", "near_zero", 0).parent.iterdir())
    permuted = run.fit(train, prior="permuted").explain_measured(test)
    assert not torch.allclose(permuted.alpha, run.explain().alpha)
    assert before == sorted(p.name for p in run.explainer_path("ours", "near_zero", 0).parent.iterdir())


def test_other_faces_and_other_concepts_are_fitted_to_and_not_kept(settings):
    run = experiment2.Run(settings, "Male")
    train, test = run.measured("train"), run.measured("test")
    folder = run.explainer_path("ours", "near_zero", 0).parent
    run.fit(train)
    before = sorted(path.name for path in folder.iterdir())
    fewer = run.fit(train[:20]).explain_measured(test)
    assert not torch.allclose(fewer.alpha, run.explain().alpha) and fewer.names == run.explain().names
    few = [experiment2.change(run.outputs(split), "Male", among=[3, 7]) for split in ("train", "test")]
    assert run.fit(few[0]).explain_measured(few[1]).alpha.shape == (24, 2)
    shuffled = run.fit(run.measured("train", "shuffled")).explain_measured(test)
    assert not torch.allclose(shuffled.alpha, run.explain().alpha)
    assert before == sorted(path.name for path in folder.iterdir())


def test_what_a_record_is_asked_for_is_made(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    run = experiment2.Run(settings, "Male", seed=1)
    about = run.explainer_record("baseline", "default")
    assert (about["method"], about["last_layer"], about["performer_seed"]) == ("baseline", "default", 1)
    assert len(about["history"]) == settings.attribute_epochs
    assert concept_choice.selection_record(settings, "Male", 1)["performer_seed"] == 1


def test_a_control_is_judged_on_concepts_spoilt_as_in_training(settings):
    run = experiment2.Run(settings, "Male")
    train, test = run.measured("train"), run.measured("test")
    centred = run.measured("test", "centred")
    torch.testing.assert_close(centred.y, test.y - train.y.mean(dim=0))  # not by the test faces' mean
    assert torch.equal(run.measured("test", "constant").y, torch.ones(24, 1))
    for method in ("ours", "baseline", "relative"):
        assert torch.equal(run.measured("test", method).y, test.y)


def test_maps_that_are_not_kept_are_computed_anew_with_the_same_numbers(settings, tmp_path, monkeypatch, capsys):
    run = experiment2.Run(settings, "Male")
    kept, explained = run.outputs("test"), run.explain()
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    store.in_memory.cache_clear()
    again = experiment2.Run(replace(settings, cache="recompute"), "Male")
    found = again.outputs("test")
    assert isinstance(found.x, Computed) and not isinstance(kept.x, Computed)
    assert tuple(found.x.shape) == tuple(kept.x.shape)
    torch.testing.assert_close(found.x[:5], kept.x[:5])
    assert "x" not in load_file(store.survey_path(again.settings, 0, "test"))
    torch.testing.assert_close(again.explain().alpha, explained.alpha)
    assert "made anew whenever it is needed" in capsys.readouterr().err


def test_what_fits_into_half_of_the_free_memory_is_kept(monkeypatch, capsys):
    import psutil

    store.in_memory.cache_clear()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2000))
    found = [store.in_memory(cache, size, "x") for cache, size in
             (("auto", 1000), ("auto", 1001), ("memory", 1001), ("recompute", 1))]
    store.in_memory.cache_clear()
    assert found == [True, False, True, False]
    assert capsys.readouterr().err.count("made anew whenever it is needed") == 2
