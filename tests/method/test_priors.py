"""Each prior against finite differences, loops from the definition, or a closed form."""

import pytest
import torch
from torch import nn

from semquant import priors
from semquant.checks import InputError


@pytest.fixture
def head():
    """ReLU -> conv -> tanh -> linear, in float64: smooth apart from the ReLU, and not linear."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.ReLU(), nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 2, 1)
    )
    return lambda x, net=layers.double(): net(x)[:, 0]


@pytest.fixture
def x():
    return torch.randn(2, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def slow_jacobian(head, x, clip, step=1e-6):
    """Sum of central differences, one position at a time."""
    w = torch.zeros(x.shape[:2], dtype=torch.float64)
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            for h in range(x.shape[2]):
                for v in range(x.shape[3]):
                    up, down = x[b : b + 1].clone(), x[b : b + 1].clone()
                    up[0, i, h, v] += step
                    down[0, i, h, v] -= step
                    w[b, i] += (head(up) - head(down)).item() / (2 * step)
            if clip:
                w[b, i] = max(w[b, i].item(), 0.0)
    return w


@pytest.mark.parametrize("clip", [True, False])
def test_jacobian_prior_is_the_summed_derivative(head, x, clip):
    w = priors.jacobian_prior(head, x, clip=clip)
    torch.testing.assert_close(w, slow_jacobian(head, x, clip), rtol=1e-6, atol=1e-8)
    assert not w.requires_grad
    assert (w < 0).any() != clip  # so that clipping is seen


def test_jacobian_prior_of_a_linear_head():
    """yhat = sum_i v_i sum_hw max(x_hwi, 0): w_i = v_i times the number of positive positions."""
    v = torch.tensor([2.0, -1.0, 0.5])
    x = torch.randn(4, 3, 5, 5)
    w = priors.jacobian_prior(lambda x: (x.relu().sum((2, 3)) * v).sum(1), x, clip=False)
    torch.testing.assert_close(w, v * (x > 0).sum((2, 3)))


def test_positions_after_a_relu():
    """Of the rectified map, 'active' gives what the signed map gives, 'all' every position."""
    v = torch.tensor([2.0, 1.0, 0.5])

    def above(a):
        return (a.sum((2, 3)) * v).sum(1)

    x = torch.randn(4, 3, 5, 5)
    signed = priors.jacobian_prior(lambda x: above(x.relu()), x)
    torch.testing.assert_close(
        priors.jacobian_prior(above, x.relu(), positions="active"), signed
    )
    torch.testing.assert_close(
        priors.jacobian_prior(above, x.relu(), positions="all"), (v * 25).expand(4, 3)
    )
    with pytest.raises(InputError, match="positions: 'some' is not one of all, active"):
        priors.jacobian_prior(above, x, positions="some")


def test_jacobian_prior_of_one_image_is_that_of_the_batch(head, x):
    one = priors.jacobian_prior(head, x[:1])
    torch.testing.assert_close(one, priors.jacobian_prior(head, x)[:1])


def test_an_in_place_head_leaves_x_unchanged():
    head = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 1))
    x = torch.randn(2, 3, 2, 2)
    before = x.clone()
    with torch.no_grad():
        priors.jacobian_prior(lambda x: head(x)[:, 0], x)
    assert torch.equal(x, before)
    assert all(p.grad is None for p in head.parameters())


def slow_taylor(head, x, target):
    """From the definition, with one call of autograd an output."""
    w = []
    for b in range(len(x)):
        gradients = []
        for k in range(head(x * 1).shape[1]):
            row = x[b : b + 1].clone().requires_grad_(True)
            gradients.append(torch.autograd.grad(head(row * 1)[0, k], row)[0].flatten())
        w.append([
            sum(float(t) * float(g) for t, g in zip(gradients[target], gradient))
            / sum(float(g) ** 2 for g in gradient)
            for k, gradient in enumerate(gradients) if k != target
        ])  # fmt: skip
    return torch.tensor(w, dtype=torch.float64)


@pytest.mark.parametrize("target", [0, 2])
def test_taylor_prior(target):
    torch.manual_seed(0)
    layers = nn.ReLU(inplace=True), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)
    head = nn.Sequential(*layers).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    before = x.clone()
    w = priors.taylor_prior(head, x, target)
    assert torch.equal(x, before) and w.shape == (3, 3) and not w.requires_grad
    torch.testing.assert_close(w, slow_taylor(head, x.clone(), target), rtol=1e-5, atol=0)


def test_taylor_prior_closed_form():
    """yhat and y through V max(U x, 0): the derivative is V D U with D the active units."""
    torch.manual_seed(0)
    u, v = torch.randn(7, 5, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    x = torch.randn(4, 5, dtype=torch.float64)
    w = priors.taylor_prior(lambda x: (x @ u.T).relu() @ v.T, x, target=1)
    for b in range(4):
        jacobian = v @ torch.diag((u @ x[b] > 0).double()) @ u
        for column, k in enumerate([0, 2]):
            expected = jacobian[1] @ jacobian[k] / (jacobian[k] @ jacobian[k])
            torch.testing.assert_close(w[b, column], expected, rtol=1e-5, atol=0)


def test_a_concept_without_derivative_gets_weight_zero():
    w = priors.taylor_prior(lambda x: torch.stack([x[:, 0], x[:, 0] * 0, 2 * x[:, 0]], 1),
                            torch.ones(2, 1), target=0)
    torch.testing.assert_close(w, torch.tensor([[0.0, 0.5]] * 2))


def test_controls():
    w = torch.rand(5, 7)
    assert torch.equal(priors.uniform(w), torch.ones(5, 7))
    mixed = priors.permuted(w, seed=3)
    assert torch.equal(mixed, priors.permuted(w, seed=3))
    assert not torch.equal(mixed, priors.permuted(w, seed=4))
    assert torch.equal(mixed.sort(dim=1).values, w.sort(dim=1).values)
    assert (mixed != w).all()  # no concept keeps its own
    assert priors.control("none", w) is None
    assert priors.control("measured", w) is w
    with pytest.raises(InputError, match="^prior: 'uniform' needs measured"):
        priors.control("uniform", None)
    with pytest.raises(InputError, match="did you mean uniform"):
        priors.control("uniforn", w)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: priors.jacobian_prior(lambda x: x.sum((1, 2, 3)), torch.zeros(2, 3)), "^x: shape"),
        (lambda: priors.jacobian_prior(lambda x: x.sum((2, 3)), torch.zeros(2, 3, 4, 4)), "^yhat:"),
        (lambda: priors.jacobian_prior(lambda x: x.sum((1, 2, 3)),
                                       torch.full((2, 3, 4, 4), float("nan"))), "^x: 96 of 96"),
        (lambda: priors.taylor_prior(lambda x: x, torch.zeros(2, 3), 3), "^target: 3 is not"),
        (lambda: priors.taylor_prior(lambda x: x, torch.zeros(2, 3), -1), "^target: -1 is not"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.fixture
def linear_head():
    """Three linear layers, as a performer's head behind its first FC layer."""
    torch.manual_seed(4)
    return torch.nn.Sequential(
        torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(12, 9), torch.nn.ReLU(),
        torch.nn.Dropout(0.5), torch.nn.Linear(9, 5),
    ).double().eval()


@pytest.mark.parametrize("target", range(5))
def test_closed_form_and_autograd_agree(linear_head, target):
    x = torch.randn(7, 12).double()
    closed = priors.jacobian_closed_form(linear_head, x)
    anyhow = priors.jacobian_autograd(linear_head, x)
    assert closed.shape == (7, 5, 12)
    torch.testing.assert_close(closed, anyhow, rtol=1e-5, atol=1e-12)
    w, again = (priors.taylor_from_gram(priors.gram(j), target) for j in (closed, anyhow))
    torch.testing.assert_close(w, again, rtol=1e-5, atol=0)
    torch.testing.assert_close(w, slow_taylor(linear_head, x, target), rtol=1e-5, atol=0)
    assert torch.equal(w, priors.taylor_prior(linear_head, x, target))


def test_closed_form_by_finite_differences(linear_head):
    x, step = torch.randn(3, 12).double(), 1e-6
    slow = torch.stack([(linear_head(x + step * e) - linear_head(x - step * e)) / (2 * step)
                        for e in torch.eye(12).double()], dim=2)
    torch.testing.assert_close(priors.jacobian_closed_form(linear_head, x), slow, rtol=1e-6, atol=1e-8)


def test_closed_form_reads_dropout_as_in_evaluation(linear_head):
    x = torch.randn(3, 12).double()
    expected = priors.jacobian_closed_form(linear_head, x)
    assert torch.equal(priors.jacobian_closed_form(linear_head.train(), x), expected)


def test_a_head_with_other_layers_goes_through_autograd(linear_head):
    x = torch.randn(3, 12).double()
    head = torch.nn.Sequential(*linear_head, torch.nn.Tanh())
    torch.testing.assert_close(priors.taylor_prior(head, x, 1), slow_taylor(head, x, 1),
                               rtol=1e-5, atol=1e-10)
    with pytest.raises(InputError, match="^head: not a Sequential of linear layers"):
        priors.jacobian_closed_form(head, x)


def test_gram_by_loops():
    jacobian = torch.randn(2, 3, 4).double()
    products = priors.gram(jacobian)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                expected = sum(float(jacobian[b, i, k] * jacobian[b, j, k]) for k in range(4))
                assert float(products[b, i, j]) == pytest.approx(expected)


def test_rows_give_what_all_products_give():
    jacobian = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobian[1, 2] = 0  # a concept that doesn't change
    others = jacobian[:, [0, 1, 2, 3, 5]]
    rows = (some.unflatten(2, (2, 2)) for some in others.split(2, dim=1))
    found = priors.taylor_from_rows(jacobian[:, 4].view(3, 2, 2), rows)
    torch.testing.assert_close(found, priors.taylor_from_gram(priors.gram(jacobian), 4))
    assert float(found[1, 2]) == 0
    half = priors.taylor_from_rows(jacobian[:, 4].half(), [others.half()])
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, found.float(), rtol=0.02, atol=0.02)
