"""Each loss against loops from the definition, and its gradient against finite differences."""

import math
from functools import partial

import pytest
import torch

from semquant.checks import InputError
from semquant.losses import distillation_loss, prior_cross_entropy, prior_l2, prior_weight


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    w = draw(3, 4)
    w[0, 1] = w[2, 3] = 0.0  # as clipping leaves them
    return {"alpha": draw(3, 4) + 0.1, "w": w, "y": draw(3, 4) * 4 - 1, "yhat": draw(3) * 8 - 4}


def slow_distillation(yhat, alpha, y, b):
    total = 0.0
    for j in range(len(yhat)):
        explained = float(b)
        for i in range(alpha.shape[1]):
            explained += float(alpha[j, i]) * float(y[j, i])
        total += (float(yhat[j]) - explained) ** 2
    return total / len(yhat)


def slow_cross_entropy(alpha, w, direction):
    total = 0.0
    for a, v in zip(alpha.tolist(), w.tolist()):
        if sum(v) == 0:
            continue
        for ai, vi in zip(a, v):
            q, p = ai / sum(a), vi / sum(v)
            total -= p * math.log(q) if direction == "log_alpha" else q * math.log(p + 1e-8)
    return total / len(alpha)


def slow_l2(alpha, w):
    total = 0.0
    for a, v in zip(alpha.tolist(), w.tolist()):
        if not any(v):
            continue
        size_a, size_v = math.sqrt(sum(i * i for i in a)), math.sqrt(sum(i * i for i in v))
        total += sum((i / size_a - j / size_v) ** 2 for i, j in zip(a, v))
    return total / len(alpha)


def test_distillation_loss(data):
    b = torch.tensor(0.7, dtype=torch.float64)
    found = distillation_loss(data["yhat"], data["alpha"], data["y"], b)
    expected = slow_distillation(data["yhat"], data["alpha"], data["y"], b)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("direction", ["log_alpha", "log_w"])
def test_prior_cross_entropy(data, direction):
    found = prior_cross_entropy(data["alpha"], data["w"], direction)
    expected = slow_cross_entropy(data["alpha"], data["w"], direction)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("direction", ["log_alpha", "log_w"])
def test_prior_cross_entropy_does_not_depend_on_scales(data, direction):
    found = prior_cross_entropy(7 * data["alpha"], 0.01 * data["w"], direction)
    assert float(found) == pytest.approx(
        float(prior_cross_entropy(data["alpha"], data["w"], direction)), rel=1e-9
    )


def test_the_default_direction_is_lowest_at_alpha_like_w(data):
    """CE(p, log q) >= H(p), with equality only at q = p."""
    w = data["w"] + 0.05
    p = w / w.sum(1, keepdim=True)
    assert float(prior_cross_entropy(3 * w, w)) == pytest.approx(
        float(-(p * p.log()).sum(1).mean()), rel=1e-12
    )
    for _ in range(20):
        other = w * (1 + 0.2 * torch.rand_like(w))
        assert prior_cross_entropy(other, w) > prior_cross_entropy(w, w)


def test_prior_l2(data):
    alpha = data["alpha"] - 0.5  # any sign
    found = prior_l2(alpha, data["w"] - 0.3)
    assert float(found) == pytest.approx(slow_l2(alpha, data["w"] - 0.3), rel=1e-9)


@pytest.mark.parametrize(
    "loss", [prior_cross_entropy, partial(prior_cross_entropy, direction="log_w"), prior_l2]
)
def test_an_image_without_prior_counts_zero(data, loss):
    w = data["w"].clone()
    w[1] = 0.0
    others = torch.tensor([0, 2])
    expected = float(loss(data["alpha"][others], w[others])) * 2 / 3
    assert float(loss(data["alpha"], w)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(data["alpha"], torch.zeros_like(w))) == 0.0
    alpha = data["alpha"].clone().requires_grad_(True)
    loss(alpha, w).backward()
    assert (alpha.grad[1] == 0).all() and (alpha.grad[0] != 0).all()


@pytest.mark.parametrize("direction", ["log_alpha", "log_w"])
def test_gradient_of_the_cross_entropy(data, direction):
    alpha = data["alpha"].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a: prior_cross_entropy(a, data["w"], direction), alpha)


def test_gradients_of_the_other_losses(data):
    alpha = data["alpha"].requires_grad_(True)
    b = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: prior_l2(a, data["w"]), alpha)
    assert torch.autograd.gradcheck(
        lambda a, b: distillation_loss(data["yhat"], a, data["y"], b), (alpha, b)
    )


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12])
@pytest.mark.parametrize("loss", [prior_cross_entropy, prior_l2])
def test_finite_where_alpha_is_nearly_zero(loss, size):
    alpha = torch.full((2, 5), size, requires_grad=True)
    value = loss(alpha, torch.tensor([[1.0, 0, 2, 0, 3], [0, 0, 0, 0, 0]]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(alpha.grad).all()


def test_prior_l2_of_small_weights_is_not_distorted():
    alpha = torch.rand(4, 6)
    w = torch.randn(4, 6)
    assert float(prior_l2(1e-4 * alpha, 1e-9 * w)) == pytest.approx(
        float(prior_l2(alpha, w)), rel=1e-3
    )


def test_prior_weight():
    assert prior_weight(1, 10.0) == 10.0
    assert prior_weight(25, 10.0) == pytest.approx(2.0)
    for epoch in (2, 3, 17):
        assert prior_weight(epoch, 0.2) == pytest.approx(0.2 / epoch**0.5)
    with pytest.raises(InputError, match="^epoch: 0 is not a whole number of at least 1"):
        prior_weight(0, 10.0)
    with pytest.raises(InputError, match="^beta: -1 is not"):
        prior_weight(1, -1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a: distillation_loss(torch.zeros(4), a, a, 0.0), "^alpha: shape"),
        (lambda a: distillation_loss(torch.zeros(3), a, a[:, :3], 0.0), "^y: shape"),
        (lambda a: distillation_loss(torch.zeros(3, 1), a, a, 0.0), "^yhat: shape"),
        (lambda a: prior_cross_entropy(a, a[:, 0]), "^w: shape"),
        (lambda a: prior_cross_entropy(a, a - 1), "^w: smallest value -1"),
        (lambda a: prior_cross_entropy(a - 1, a), "^alpha: smallest value -1"),
        (lambda a: prior_cross_entropy(a, a * float("nan")), "^w: smallest value nan"),
        (lambda a: prior_cross_entropy(a, a, "both"), "^direction: 'both'"),
        (lambda a: prior_l2(a, a[:2]), "^w: shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call(torch.zeros(3, 4))
    assert "\n" not in str(error.value)
