"""Steps against what drawn faces tell, on a smoke performer: each truth and measure by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semquant import steps as method
from semquant.checks import InputError
from semquant_book.datasets.drawn import faces
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.study import experiment2, interventions, steps
from semquant_book.study.performing import scores
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import load_settings
from semquant_book.study.record_book import RECORDS

FEW, TARGET = 3, "Male"
OWN = ATTRIBUTES.index(TARGET)
OTHERS = [i for i in range(40) if i != OWN]


@pytest.fixture(scope="module")
def settings(run):
    return replace(run.settings, face_train_images=60, face_val_images=16, face_test_images=8, flip_faces=FEW,
                   targets=(TARGET, "Young"))


@pytest.fixture(scope="module")
def record(settings):
    said = []
    content = steps.collect(settings, said.append)
    assert len(said) == 2
    return content


def row(record, way):
    return next(r for r in record["rows"] if (r["target"], r["method"]) == (TARGET, way))


def test_the_record_has_a_row_for_each_target_and_way(record):
    assert set(RECORDS["steps"].fields) <= set(record)
    assert [(r["target"], r["method"]) for r in record["rows"]] == [
        (target, way) for target in (TARGET, "Young") for way in steps.WAYS]
    assert all(f"{m} {t}" in r for r in record["rows"] for m in steps.MEASURED for t in steps.TRUTHS)
    assert record["truths"][0]["faces"] == {"flips": FEW, "shapley": FEW, "moves": FEW}


def hidden(net, layer, pictures, settings):
    """The shared feature, by running the layers before it."""
    seen = []
    hook = dict(net.named_modules())[layer].register_forward_hook(lambda module, given, x: seen.append(x.clone()))
    scores(net, pictures, settings)
    hook.remove()
    return torch.cat(seen)


def test_a_step_and_a_move_are_what_the_network_says_from_there(settings, record):
    run = experiment2.Run(settings, TARGET)
    net, layer = run.performer(), experiment2.CONCEPTS[settings.shared].shared
    train, test = faces_of(settings, "train"), faces_of(settings, "test")
    x, known = hidden(net, layer, test.images[:FEW], settings), hidden(net, layer, train.images, settings)
    tail = net.head[int(layer.split(".")[1]) + 1 :]
    design = np.column_stack([np.ones(len(known)), train.attributes.numpy()])
    towards = torch.tensor(np.linalg.lstsq(design, known.double().numpy(), rcond=None)[0][1:]).float()
    moved, place = [], 4
    with torch.no_grad():
        for b in range(FEW):
            sign = 1 if test.attributes[b, OTHERS[place]] else -1
            moved.append((tail(x[[b]]) - tail(x[[b]] - sign * towards[OTHERS[place]]))[0, OWN].item())
    found = steps.moves(tail, x, test.attributes[:FEW, OTHERS], towards[OTHERS], OWN)
    np.testing.assert_allclose(found[:, place], moved, atol=1e-3)
    assert record["truths"][0]["size"]["moves"] == pytest.approx(found.abs().mean().item(), abs=2e-3)
    said = steps.contributions(run, FEW, known, towards)
    y, train_scores = run.outputs("test").scores[:FEW, OTHERS], run.outputs("train").scores
    reached = np.linalg.lstsq(design, train_scores.double().numpy(), rcond=None)[0][1:].diagonal()[OTHERS]
    lengths = (2 * y.sigmoid() - 1) * torch.tensor(reached).float()
    torch.testing.assert_close(said["steps"], method.finite_steps(tail, x, OWN, lengths), atol=1e-3, rtol=1e-2)
    w = run.measured("test").w[:FEW]
    torch.testing.assert_close(said["derivative"], w * lengths, atol=1e-3, rtol=1e-2)
    factor = said["prior"][0, 0] / (w * y)[0, 0]  # as on other pages, one for all, fitted to training faces
    torch.testing.assert_close(said["prior"], factor * w * y, atol=1e-4, rtol=1e-4)
    assert list(said) == list(steps.WAYS)
    torch.testing.assert_close(said["to_zero"], method.finite_steps(tail, x, OWN, y), atol=1e-4, rtol=1e-3)
    mean = train_scores[:, OTHERS].mean(dim=0)
    torch.testing.assert_close(said["to_mean"], method.finite_steps(tail, x, OWN, y - mean), atol=1e-4, rtol=1e-3)


def test_with_all_others_held_a_derivative_is_that_of_least_squares():
    """The score is a sum of logits along directions that aren't orthogonal: each has its own weight."""
    generator = torch.Generator().manual_seed(0)
    rows, weights = torch.randn(1, 4, 9, generator=generator), torch.tensor([2.0, -1.0, 0.0, 0.5])
    jacobian = torch.cat([rows, (weights[:, None] * rows[0]).sum(dim=0)[None, None]], dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "DAMPING", 0.0)
        found = steps._held(jacobian @ jacobian.transpose(1, 2), 4, [0, 1, 2, 3])
    torch.testing.assert_close(found[0], weights, atol=1e-4, rtol=1e-4)


def test_a_correction_learns_from_moves_of_all_that_are_absent():
    tail = torch.nn.Linear(5, 3)
    x, towards = torch.randn(4, 5), torch.randn(2, 5)
    with torch.no_grad():
        found = steps._alone(tail, towards, [0, 2], 1)(x)(torch.tensor([[True, False]] * 4))
        y = tail(x)[:, 2]
        expected = tail(x - (2 * y.sigmoid() - 1)[:, None] * towards[1])[:, 1]
    torch.testing.assert_close(found, expected)


def test_the_flips_are_the_drawings(settings, record):
    run = experiment2.Run(settings, TARGET)
    net, fell = run.performer(), []
    for face in range(FEW):
        pictures = np.stack([faces.render(0, "test", face, 32, flip) for flip in ((), (ATTRIBUTES[OTHERS[7]],))])
        as_is, flipped = scores(net, torch.from_numpy(pictures).permute(0, 3, 1, 2), settings)
        fell.append(((as_is - flipped)[OWN].item(), (as_is - flipped)[OTHERS[7]].item()))
    np.testing.assert_allclose(run.change_of_score()[:, 7], [score for score, _ in fell], atol=1e-4)
    np.testing.assert_allclose(steps._own_changes(run, OTHERS)[:, 7], [own for _, own in fell], atol=1e-4)
    said = steps.peers.explain("prior", None, run.measured("test")[:FEW], background=run.measured("train")).contributions
    right = run.change_of_score()
    error = float((said - right).abs().sum() / right.abs().sum())
    assert row(record, "prior")["error flips"] == pytest.approx(error, abs=1e-4)
    shapley = interventions.truth.shapley(interventions.flipping(settings, FEW)[:, :, OWN])
    six = said[:, [OTHERS.index(ATTRIBUTES.index(name)) for name in interventions.FLIPPED]]
    error = float((six - shapley).abs().sum() / shapley.abs().sum())
    assert row(record, "prior")["error shapley"] == pytest.approx(error, abs=1e-4)


def test_one_factor_for_all_is_forgiven_by_the_scaled_error_alone():
    right = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]])
    found = steps.measures(4 * right, right)
    assert found["scaled_error"] == 0 and found["error"] == 3 and found["rank_agreement"] == 1
    assert list(found) == list(steps.MEASURED)
    turned = steps.measures(torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, -1.0]]), right)
    assert turned["sign_agreement"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-5)


def test_photographs_in_place_of_drawings_are_refused():
    with pytest.raises(InputError, match="^faces: 'celeba' is not one of drawn"):
        steps.collect(load_settings("celeba"))
