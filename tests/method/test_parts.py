"""Naming filters and removing them, against loops from the definitions."""

import math

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.parts import drops, hit_rates, name_filters, part_specificity


def scene(images=6, size=4):
    """Part 0 is one corner cell, part 1 the left half, part 2 nowhere.

    Filters: 0 peaks on the corner, 1 on the left half away from it, 2 on the right, 3 is dead,
    4 peaks on the corner in a third of the images and on the right in the others.
    """
    masks = torch.zeros(images, 3, size, size)
    masks[:, 0, 0, 0] = 0.4
    masks[:, 1, :, : size // 2] = 0.6
    x = -torch.ones(images, 5, size, size)
    x[:, 0, 0, 0] = x[:, 1, 2, 1] = x[:, 2, 1, 3] = 1.0
    x[: images // 3, 4, 0, 0] = x[images // 3 :, 4, 2, 2] = 1.0
    return x, masks


def slow_rates(x, masks, cover, strongest=1.0):
    images, n, height, width = x.shape
    rates = torch.zeros(n, masks.shape[1], dtype=torch.float64)
    chance = torch.zeros(masks.shape[1], dtype=torch.float64)
    for p in range(masks.shape[1]):
        on = [
            [[masks[j, p, h, v] >= cover and masks[j, p, h, v] > 0 for v in range(width)]
             for h in range(height)] for j in range(images)
        ]  # fmt: skip
        chance[p] = sum(cell for image in on for row in image for cell in row) / masks[:, 0].numel()
        for i in range(n):
            peaks = []
            for j in range(images):
                value, h, v = max(
                    (float(x[j, i, h, v]), h, v) for h in range(height) for v in range(width)
                )
                peaks += [(value, bool(on[j][h][v]))] if value > 0 else []
            peaks.sort(key=lambda peak: -peak[0])
            peaks = peaks[: math.ceil(strongest * len(peaks))]
            rates[i, p] = sum(hit for _, hit in peaks) / len(peaks) if peaks else 0.0
    return rates, chance


@pytest.mark.parametrize("strongest", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("cover", [0.0, 0.1, 0.5])
def test_hit_rates(cover, strongest):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 6, 3, 4, generator=generator) - 1.5  # not every filter fires everywhere
    masks = torch.rand(7, 3, 3, 4, generator=generator) * (
        torch.rand(7, 3, 3, 4, generator=generator) > 0.5
    )
    rates, chance, counted = hit_rates(x, masks, cover, strongest)
    slow = slow_rates(x, masks, cover, strongest)
    torch.testing.assert_close(rates, slow[0])
    torch.testing.assert_close(chance, slow[1], rtol=1e-6, atol=0)
    fired = [sum(x[j, i].max() > 0 for j in range(7)) for i in range(6)]
    assert counted.tolist() == [math.ceil(strongest * count) for count in fired]


def test_names():
    x, masks = scene()
    assignment, scores = name_filters(x, masks, threshold=0.5, strongest=1.0)
    assert assignment.tolist() == [0, 1, -1, -1, -1]
    rates, chance = slow_rates(x, masks, 0.1)
    for i in range(5):
        for p in range(3):
            lift = float(rates[i, p] / chance[p]) if chance[p] else 0.0
            assert float(scores[i, p]) == pytest.approx(float(rates[i, p]) * math.sqrt(lift))
    assert name_filters(x, masks, threshold=0.3, strongest=1.0)[0].tolist() == [0, 1, -1, -1, 0]
    assert name_filters(x, masks, threshold=0.0, strongest=1.0)[0].tolist() == [0, 1, -1, -1, 0]
    assert name_filters(x, masks, 0.5, 0.5, 1.0)[0].tolist() == [1, 1, -1, -1, -1]
    x[0, 4, 0, 0] = x[1, 4, 0, 0] = 9.0  # a filter is named by where it is strong
    assert name_filters(x, masks, threshold=0.6, strongest=1 / 3)[0].tolist() == [0, 1, -1, -1, 0]
    assert name_filters(x[:1], masks[:1])[0].tolist() == [0, 1, -1, -1, 0]  # one image


def test_part_specificity():
    x, masks = scene()
    assert part_specificity(x, masks) == pytest.approx(2 / 5)
    assert part_specificity(x, masks, share=0.3) == pytest.approx(3 / 5)
    assert part_specificity(x, torch.zeros_like(masks)) == 0.0


def test_drops_of_a_linear_head():
    """yhat = sum_i v_i y_i + c: the drop of a part is the sum of its filters' v_i y_i."""
    v, x = torch.tensor([1.0, -2.0, 0.5, 3.0]), torch.rand(3, 4, 2, 2)
    found = drops(lambda x: (x.sum((2, 3)) * v).sum(1) + 7, x, torch.tensor([1, -1, 1, 0]), 3)
    terms = v * x.sum((2, 3))
    expected = torch.stack(
        [terms[:, 3], terms[:, 0] + terms[:, 2], torch.zeros(3), terms[:, 1]], dim=1
    )
    torch.testing.assert_close(found, expected)
    assert found[:, 2].tolist() == [0, 0, 0]  # a part without filters: exactly 0


@pytest.mark.parametrize("count", [1, 4])
def test_drops_from_the_definition(count):
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(20, 6), nn.Tanh(),
                        nn.Dropout(0.5), nn.Linear(6, 1), nn.Flatten(0)).double().train()
    x, assignment = torch.randn(count, 5, 2, 2).double(), torch.tensor([0, 1, 0, -1, 1])
    before = x.clone()
    found = drops(net, x, assignment, 2)
    assert torch.equal(x, before) and net.training and net[4].training
    net.eval()
    for b in range(count):
        for column, part in enumerate([0, 1, -1]):
            without = x[b : b + 1].clone()
            for i in range(5):
                if assignment[i] == part:
                    without[0, i] = 0.0
            expected = (net(x[b : b + 1].clone()) - net(without)).item()
            assert float(found[b, column]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


X, MASKS = scene()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: name_filters(X, MASKS[:2]), "^group_masks: shape"),
        (lambda: name_filters(X, MASKS[..., :2]), "^group_masks: shape"),
        (lambda: name_filters(X * float("nan"), MASKS), "^activation: "),
        (lambda: name_filters(X[:0], MASKS[:0]), "^activation: no images"),
        (lambda: name_filters(X, MASKS, threshold=2), "^threshold: 2"),
        (lambda: name_filters(X, MASKS, strongest=0), "^strongest: 0"),
        (lambda: part_specificity(X, MASKS, cover=-1), "^cover: -1"),
        (lambda: drops(lambda x: x.sum((1, 2, 3)), X, torch.zeros(3).long(), 2), "^assignment: sh"),
        (lambda: drops(lambda x: x.sum((1, 2, 3)), X, torch.full((5,), 2), 2), "^assignment: 2 "),
        (lambda: drops(lambda x: x.sum((2, 3)), X, torch.zeros(5).long(), 2), "^yhat: shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
