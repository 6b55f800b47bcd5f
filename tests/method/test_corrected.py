"""Gradient times input with a learned correction: against planted truths and slow definitions."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from semquant import FilterConcepts, FittedExplainer, OutputConcepts, corrected, distill
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.corrected import Correction, CorrectionOptions
from semquant.measure import measure
from semquant.training import FitOptions
from semquant.truth import KINDS, coalition_values, planted, shapley

N = 4


class Net(nn.Module):
    """A conv layer, and a planted head on its rectified maps."""

    def __init__(self, kind="linear"):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.relu = nn.Conv2d(3, N, 3), nn.ReLU(inplace=True)
        self.head = planted(kind, N).head

    def forward(self, images):
        score = self.head(self.relu(self.layer(images)))
        return torch.stack([torch.zeros_like(score), score], dim=1)


def images(count=64, seed=1):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def maps(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, N, 2, 2, generator=generator) * torch.rand(count, N, 1, 1, generator=generator)


def of_maps(head, x):
    """y, yhat and the w with which w y is gradient times input."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf).sum(), leaf)
    y = x.sum((2, 3))
    return Measured(x, y, head(x).detach(), (gradient * x).sum((2, 3)) / y)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    """A correction for a planted head, with measured maps it has not seen, and their truth."""
    known = planted(request.param, N)
    train, test = of_maps(known.head, maps(2000)), of_maps(known.head, maps(200, seed=1))
    removals = corrected.remove(corrected.of_head(known.head), train.x.split(100), N)
    epochs = corrected.FIT.epochs if request.param == "linear" else 100
    net, history = corrected.correct(train, removals, fit=replace(corrected.FIT, epochs=epochs, device="cpu"))
    return request.param, net, test, known.shapley(test.x), history


def test_it_is_nearer_to_the_truth_than_gradient_times_input(fitted):
    kind, net, test, true, history = fitted
    found, before = net.weigh(test) * test.y, test.w * test.y
    error, was = (float((c - true).abs().sum() / true.abs().sum()) for c in (found, before))
    if kind == "linear":  # nothing is to be put right
        assert error < 1e-4 and was < 1e-4
        assert history[-1]["loss"] < 1e-8
    else:
        assert error < 0.55 * was, (kind, error, was)
    torch.testing.assert_close(found.sum(1) + net.bias, test.yhat, atol=1e-4, rtol=1e-4)


def test_coalitions_are_drawn_as_shapley_values_weigh_them():
    n, count = 5, 40_000
    drawn = corrected.coalitions(count, 2, n, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], ~drawn[:, 1])
    weights = [1 / (s * (n - s)) for s in range(1, n)]
    expected = [w / sum(weights) for w in weights]
    sizes = torch.bincount(drawn[:, 0].sum(1), minlength=n + 1)[1:n] / count
    torch.testing.assert_close(sizes, torch.tensor(expected), atol=0.01, rtol=0)
    for s in (1, 2):  # of a size, each set as often
        kinds = drawn[:, 0][drawn[:, 0].sum(1) == s].unique(dim=0, return_counts=True)[1]
        assert len(kinds) == math.comb(n, s) and kinds.min() > 0.85 * kinds.max()


def test_the_objective_is_least_at_shapley_values():
    """Over all coalitions with those weights, by solving the least squares in double precision."""
    values = torch.randn(1, 2**N, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rows, gained, weights = [], [], []
    for members in itertools.product((0, 1), repeat=N):
        if 0 < sum(members) < N:
            rows.append(members)
            column = sum(bit << p for p, bit in enumerate(members))
            gained.append(values[0, column] - values[0, 0])
            size = sum(members)
            weights.append(1 / (size * (N - size) * math.comb(N, size)))
    rows = torch.tensor(rows, dtype=torch.float64)
    # the sum is fixed: the last contribution is what the others leave
    total = values[0, -1] - values[0, 0]
    root = torch.tensor(weights, dtype=torch.float64).sqrt()[:, None]
    free, target = rows[:, :-1] - rows[:, -1:], torch.stack(gained) - rows[:, -1] * total
    solved = torch.linalg.lstsq(root * free, root * target[:, None]).solution[:, 0]
    found = torch.cat([solved, (total - solved.sum())[None]])
    torch.testing.assert_close(found, shapley(values)[0])


def test_scores_of_removals_are_those_of_the_head_one_by_one():
    head = planted("saturating", N).head
    x = maps(6)
    found = corrected.remove(corrected.of_head(head), x.split(4), N, CorrectionOptions(coalitions=4))
    for i, k in itertools.product(range(6), range(4)):
        kept = torch.stack([x[i, f] if found.present[i, k, f] else torch.zeros(2, 2) for f in range(N)])
        torch.testing.assert_close(found.scores[i, k], head(kept[None])[0])
    torch.testing.assert_close(found.empty, head(torch.zeros_like(x)))


def test_a_model_is_run_without_filters_and_left_as_it_was():
    model = Net("cancelling").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    present = torch.rand(5, N) < 0.5
    score = corrected.of_model(model, "layer", 1)
    x = model.layer(images(5)).detach()
    values = coalition_values(lambda maps: model.head(maps.relu()), x, torch.arange(N))
    columns = (present * (2 ** torch.arange(N))).sum(1)
    torch.testing.assert_close(score(images(5))(present).detach(), values[torch.arange(5), columns])
    assert model.training and not model.layer._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_few_images_get_more_epochs():
    steps = {count: corrected.enough(count).epochs * math.ceil(count / corrected.FIT.batch_size) for count in (20, 300, 900)}
    assert all(900 <= found <= 1400 for found in steps.values()), steps
    assert corrected.enough(10**6) == corrected.FIT
    asked = corrected.enough(20, FitOptions(seed=3, learning_rate=0.1, epochs=5))
    assert asked == replace(corrected.FIT, seed=3, learning_rate=0.1, epochs=5)


def test_distill_with_this_method(tmp_path):
    model, concepts = Net("product"), FilterConcepts("layer", rectified=True)
    fitted = distill(model, concepts, images(200), 1, method="corrected", fit=FitOptions(epochs=3, device="cpu"))
    explained = fitted.explain(images(20, seed=2))
    assert explained.names == [f"filter {i}" for i in range(N)]
    torch.testing.assert_close(explained.residual, torch.zeros(20), atol=1e-3, rtol=0)
    fitted.save(tmp_path / "correction.safetensors")
    again = FittedExplainer.load(tmp_path / "correction.safetensors")
    measured = measure(fitted.concepts, model, images(20, seed=2), 1)
    assert torch.equal(again.explain_measured(measured).contributions, explained.contributions)
    assert len(fitted.history) == 3 and fitted.g.bias == 0


def test_weights_of_the_concepts_make_gradient_times_input():
    model, concepts = Net("product"), FilterConcepts("layer", True, positions="weighted", clip=False)
    found = measure(concepts, model, images(8), 1)
    x = model.layer(images(8)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.head(x.relu()).sum(), x)
    torch.testing.assert_close(found.w * found.y, (gradient * x.detach()).sum((2, 3)))


def test_a_concept_that_is_never_there_contributes_nothing():
    net = Correction(N, 8)
    y = torch.rand(10, N)
    y[:, 2] = 0
    measured = Measured(y, y, y.sum(1) + 1, torch.ones_like(y))
    net.begin(measured, torch.zeros(10))
    nn.init.normal_(net.net[-1].weight)
    alpha = net.weigh(measured)
    assert bool(torch.isfinite(alpha).all()) and bool((alpha[:, 2] == 0).all())


def alone_nan(x):
    return lambda present: torch.where(present.any(dim=1), 1.0, torch.nan)


def few(**changes):
    y = torch.rand(4, N)
    return Measured(y, **({"y": y, "yhat": y.sum(1), "w": y} | changes))


def without(measured):
    present = torch.ones(4, 2, N, dtype=torch.bool)
    return corrected.correct(measured, corrected.Removals(present, torch.zeros(4, 2), torch.zeros(4)))


@pytest.mark.parametrize("call, message", [
    (lambda: CorrectionOptions(coalitions=3), "^coalitions: 3 is odd; accepted: an even number"),
    (lambda: CorrectionOptions(hidden=0), "^hidden: 0"),
    (lambda: corrected.coalitions(2, 2, 1, torch.Generator()), "^n: 1"),
    (lambda: corrected.remove(lambda x: lambda present: x, [], N), "^images: none were given"),
    (lambda: corrected.remove(lambda x: lambda present: x[:, 0] / 0, [torch.zeros(2, 1)], N), "^the scores without"),
    (lambda: corrected.remove(alone_nan, [torch.zeros(2, 1)], N), "^the score without any concept"),
    (lambda: without(few(w=None)), "^w: the correction needs measured prior weights"),
    (lambda: without(few(yhat=torch.ones(4))), "^images: a correction needs at least 2, whose scores differ"),
    (lambda: Correction(3, 8).weigh(few()), "^y: shape"),
    (lambda: Correction(N, 8).weigh(few(w=None)), "^w: the correction needs"),
    (lambda: distill(Net(), OutputConcepts("layer", "layer"), images(4), 0, method="corrected"),
     "^method: 'corrected' removes filters, it can't remove OutputConcepts; accepted for these: 'auto', 'paper'"),
    (lambda: distill(Net(), FilterConcepts("layer"), images(4), 0, method="shap"),
     "^method: 'shap' is not one of auto, paper, corrected"),
])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
