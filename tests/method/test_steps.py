"""Steps of other outputs: against planted networks, a slow definition, and least squares by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from semquant import FittedExplainer, OutputConcepts, distill
from semquant.checks import InputError
from semquant.measure import measure
from semquant.priors import taylor_prior
from semquant.report import CONSTANT, PRIOR, look
from semquant.steps import StepConcepts, directions, finite_steps, reach, steps_of, tail_of
from semquant.training import FitOptions

CPU = FitOptions(held_out=0, device="cpu")
K = 4  # outputs


class Score(nn.Module):
    """Outputs: three logits, features 0 to 2 of x, and a score that is a formula of them."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return torch.cat([x[:, :3], self.formula(x[:, :3])[:, None]], dim=1)


FORMULAS = {
    "linear": lambda y: 2 * y[:, 0] - 3 * y[:, 1] + 0.5 * y[:, 2] + 1,
    "product": lambda y: y[:, 0] * y[:, 1],
    "saturating": lambda y: y[:, 0].clamp_min(0)}


class Net(nn.Module):
    """A map of 5 filters, shared features that are its means, and a tail."""

    def __init__(self, tail):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 3)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *tail)

    def forward(self, images):
        return self.head(self.layer(images))


def images(count=32, seed=1):
    return 4 * torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def concepts(**more):
    return OutputConcepts("head.1", "layer", ["a", "b", "c", "score"], **more)


def explained(formula, reached):
    """A planted network's explanation, and the steps that its logits take."""
    net = Net([Score(FORMULAS[formula])])
    own = StepConcepts("head.1", "layer", ["a", "b", "c", "score"], reached=torch.tensor([*reached, 9.0]))
    found = distill(net, own, images(), 3, method="corrected", fit=CPU).explain(images(20, seed=2))
    return found, (2 * found.y.sigmoid() - 1) * torch.tensor(reached)


def test_in_a_planted_linear_network_a_step_counts_by_its_weight():
    found, lengths = explained("linear", [1.0, 2.0, 0.0])
    torch.testing.assert_close(found.contributions, lengths * torch.tensor([2.0, -3.0, 0.5]), atol=1e-4, rtol=1e-4)
    assert found.names == ["a", "b", "c"] and found.contributions[:, 0].abs().min() > 0


def test_in_a_product_a_step_counts_by_the_other_factor():
    found, lengths = explained("product", [1.0, 2.0, 3.0])
    expected = torch.stack([lengths[:, 0] * found.y[:, 1], lengths[:, 1] * found.y[:, 0], torch.zeros(20)], dim=1)
    torch.testing.assert_close(found.contributions, expected, atol=1e-4, rtol=1e-4)


def test_beyond_a_bend_the_network_itself_is_asked():
    found, lengths = explained("saturating", [50.0, 1.0, 1.0])
    y = found.y[:, 0]
    torch.testing.assert_close(found.contributions[:, 0], y.clamp_min(0) - (y - lengths[:, 0]).clamp_min(0),
                               atol=1e-4, rtol=1e-4)
    assert ((y > 0) != (y - lengths[:, 0] > 0)).any()  # there a derivative is wrong
    torch.testing.assert_close(found.contributions[:, 1:], torch.zeros(20, 2))


def mlp():
    torch.manual_seed(3)
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, K)).train()


def test_a_step_is_newtons_one_image_and_one_concept_at_a_time():
    tail, x = mlp(), torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    lengths = 0.3 * torch.randn(6, K - 1, generator=torch.Generator().manual_seed(5))
    kept = x.clone()
    found = finite_steps(tail, x, 1, lengths)
    assert torch.equal(x, kept) and tail.training and all(p.grad is None for p in tail.parameters())
    tail.eval()
    for b in range(6):
        for place, k in enumerate([0, 2, 3]):
            moved, goal = x[b].clone(), tail(x[[b]].clone())[0, k].item() - lengths[b, place].item()
            for _ in range(2):
                y = tail(moved[None].clone())[0, k].item()
                slope = torch.autograd.functional.jacobian(lambda v: tail(v[None] * 1)[0, k], moved)
                if slope.norm() > 0:
                    moved = moved - (y - goal) * slope / slope.norm() ** 2
            fell = tail(x[[b]].clone())[0, 1] - tail(moved[None].clone())[0, 1]
            assert found[b, place].item() == pytest.approx(fell.item(), abs=1e-4)


def test_where_the_tail_is_linear_it_is_the_papers_prior_times_the_step():
    torch.manual_seed(0)
    tail, x = nn.Sequential(nn.Linear(5, K)), torch.randn(7, 5)
    lengths = torch.randn(7, K - 1)
    torch.testing.assert_close(finite_steps(tail, x, 2, lengths), taylor_prior(tail, x, 2) * lengths, atol=1e-4, rtol=1e-4)


def test_a_concept_without_a_derivative_says_nothing():
    tail = nn.Linear(5, K)
    nn.init.zeros_(tail.weight[0].data)
    assert (finite_steps(tail, torch.ones(2, 5), 3, torch.ones(2, K - 1))[:, 0] == 0).all()


def test_the_reach_with_labels_is_a_coefficient_of_least_squares():
    generator = np.random.default_rng(0)
    labels = generator.random((200, 3)) < 0.5
    labels[:, 1] |= labels[:, 0]  # they go together
    scores = labels @ np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 0.5], [0.0, 0.0, -1.0]]) + generator.normal(size=(200, 3))
    design = np.column_stack([np.ones(200), labels])
    expected = np.linalg.lstsq(design, scores, rcond=None)[0][1:]
    x, bits = torch.tensor(scores, dtype=torch.float32), torch.tensor(labels)
    np.testing.assert_allclose(directions(x, bits), expected, atol=1e-4)
    np.testing.assert_allclose(reach(x, bits), np.diag(expected), atol=1e-4)
    always = torch.cat([bits, torch.ones(200, 1, dtype=torch.bool)], dim=1)
    found = directions(x, always)
    np.testing.assert_allclose(found[:3], expected, atol=1e-4)
    assert found[3].abs().max() < 1e-6


def test_the_reach_without_labels_is_the_difference_of_weighted_means():
    scores = torch.tensor([[3.0, -8.0], [-2.0, -8.0], [0.5, -8.0]])
    share = [1 / (1 + np.exp(-v)) for v in (3.0, -2.0, 0.5)]
    high = sum(s * v for s, v in zip(share, (3.0, -2.0, 0.5))) / sum(share)
    low = sum((1 - s) * v for s, v in zip(share, (3.0, -2.0, 0.5))) / (3 - sum(share))
    found = reach(scores)
    assert found[0].item() == pytest.approx(high - low, abs=1e-5)
    assert found[1].item() == pytest.approx(0, abs=1e-5)  # the same logit everywhere says nothing


def test_distill_measures_the_reach_and_a_bias_for_which_the_mean_is_right(tmp_path):
    net, state = Net(mlp()).train(), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fitted = distill(net, concepts(), images(), 1, method="corrected", fit=CPU)
    assert torch.equal(torch.get_rng_state(), state) and net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net.head[1]._forward_hooks and all(p.requires_grad and p.grad is None for p in net.parameters())
    net.eval()
    with torch.no_grad():
        expected = reach(net(images()))
    torch.testing.assert_close(fitted.concepts.reached, expected)
    found = fitted.explain(images())
    assert found.residual.mean().abs() < 1e-4 and found.names == ["a", "c", "score"]
    loader = [(images()[:20], None), (images()[20:], None)]
    other = distill(net, concepts(), loader, 1, method="corrected", fit=CPU)
    torch.testing.assert_close(other.g.bias, fitted.g.bias)
    fitted.save(tmp_path / "g.safetensors")
    again = FittedExplainer.load(tmp_path / "g.safetensors")
    measured = measure(fitted.concepts, net, images(5), 1)
    assert torch.equal(again.explain_measured(measured).contributions, fitted.explain(images(5)).contributions)
    assert fitted.concepts.measure(net, images(2), 1, prior=False).w is None


@pytest.mark.parametrize("call, message", [
    (lambda: tail_of(Net(mlp()), "layer"), "^shared: 'layer' is in no Sequential; accepted: a layer of the one that ends"),
    (lambda: tail_of(Net(mlp()), "head.9"), "^shared: 'head.9' is not one of"),
    (lambda: reach(torch.zeros(3)), "^scores: shape"),
    (lambda: reach(torch.full((3, 2), torch.nan)), "^scores: 6 of 6 values are NaN"),
    (lambda: directions(torch.zeros(3, 2), torch.zeros(3, 2)), "^labels: torch.float32 is not bool"),
    (lambda: directions(torch.zeros(3, 2), torch.zeros(4, 2, dtype=torch.bool)), "^labels: shape"),
    (lambda: finite_steps(mlp(), torch.zeros(2, 5), 4, torch.zeros(2, 3)), "^target: 4 is not a whole number from 0 to 3"),
    (lambda: finite_steps(mlp(), torch.zeros(2, 5), 0, torch.zeros(3, 3)), "^lengths: shape"),
    (lambda: distill(Net(mlp()), StepConcepts("head.1", "layer", reached=torch.ones(7)), images(3), 0,
                     method="corrected", fit=CPU), "^reached, without the target: shape"),
    (lambda: steps_of(measure(concepts(), Net(mlp()), images(2), 0, prior=False),
                      StepConcepts("head.1", "layer", reached=torch.ones(4)), 0), "^w: steps need the slopes"),
    (lambda: distill(Net(mlp()), OutputConcepts("head.1", "layer", among=[1]), images(4), 0, method="corrected",
                     fit=CPU), "^among: steps are those of all other outputs"),
])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_more_behind_the_shared_layer_than_its_sequential_is_refused():
    class More(Net):
        def forward(self, images):
            return 2 * super().forward(images)

    with pytest.raises(InputError, match="^shared: more than the rest of its Sequential is behind 'head.1'"):
        distill(More(mlp()), concepts(), images(4), 0, method="corrected", fit=CPU)


def test_what_is_held_out_has_no_part_in_the_reach():
    net, some, fit = Net(mlp()), images(80), FitOptions(device="cpu")
    _, test = look(net, concepts(), some, 1).split(fit.held_out)
    changed = some.clone()
    changed[test] = 9 * torch.randn(len(test), 3, 6, 6)
    a, b = (distill(net, concepts(), which, 1, method="corrected", fit=fit) for which in (some, changed))
    torch.testing.assert_close(a.g.reached, b.g.reached)
    torch.testing.assert_close(a.g.bias, b.g.bias)
    assert len(test) == 16 and a.report != b.report


def test_the_report_has_the_papers_prior_beside_the_steps_and_no_alpha_that_hides():
    net, some = Net(mlp()), images(80)
    steps, paper = (distill(net, concepts(), some, 1, method=method, fit=FitOptions(device="cpu", epochs=1)).report
                    for method in ("corrected", "paper"))
    prior = [next(row for row in report.rows if row.name == PRIOR) for report in (steps, paper)]
    assert prior[0].r2 == pytest.approx(prior[1].r2, abs=1e-6)
    assert CONSTANT in [row.name for row in paper.rows] and CONSTANT not in [row.name for row in steps.rows]
    assert not any("alpha explains" in warning for warning in steps.warnings)


def test_images_are_gone_through_once():
    some = images(20)
    once = distill(Net(mlp()), concepts(), iter(some.split(8)), 1, method="corrected", fit=CPU)
    assert torch.equal(once.g.bias, distill(Net(mlp()), concepts(), some.split(8), 1, method="corrected", fit=CPU).g.bias)


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.1), (torch.float64, 1e-4)])
def test_precisions(dtype, tolerance):
    found, expected = (distill(Net(mlp()).to(kind), concepts(), images(), 1, method="corrected", fit=CPU).explain(images(8))
                       .contributions for kind in (dtype, torch.float32))
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found.float(), expected, atol=tolerance * float(expected.abs().max()), rtol=0)
