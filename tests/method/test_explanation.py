import re
from decimal import Decimal

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.explanation import Explanation, grad_cam


@pytest.fixture
def explanation():
    return Explanation(
        yhat=torch.tensor([5.0, -1.0]),
        y=torch.tensor([[1.0, 2.0, 0.0, -4.0], [0.0, 0.0, 0.0, 1.0]]),
        alpha=torch.tensor([[1.0, 3.0, 9.0, 0.5], [1.0, 1.0, 1.0, 2.0]]),
        bias=-0.5,
        names=["ear", "eye", "leg", "tail"],
    )


def test_the_sums(explanation):
    assert explanation.contributions.tolist() == [[1, 6, 0, -2], [0, 0, 0, 2]]
    assert explanation.total.tolist() == [4.5, 1.5]
    assert explanation.residual.tolist() == [0.5, -2.5]
    torch.testing.assert_close(
        explanation.contributions.sum(1) + explanation.bias + explanation.residual,
        explanation.yhat,
    )
    assert explanation.shares.tolist()[0] == pytest.approx([1 / 9, 6 / 9, 0, 2 / 9])
    assert len(explanation) == 2


def test_some_of_the_images(explanation):
    for index in (slice(1, 2), torch.tensor([1]), torch.tensor([False, True])):
        one = explanation[index]
        assert one.contributions.tolist() == [[0, 0, 0, 2]] and one.residual.tolist() == [-2.5]
        assert one.names == explanation.names and one.bias == explanation.bias


def test_top(explanation):
    first, second = explanation.top()
    assert [(r.name, r.contribution) for r in first] == [("eye", 6), ("tail", -2), ("ear", 1)]
    assert [r.index for r in second] == [3]
    assert [[r.name for r in top] for top in explanation.top(2)] == [["eye", "tail"], ["tail"]]
    # the fewest that reach the share: 6/9 alone, then 8/9
    assert [r.name for r in explanation.top(share=0.6)[0]] == ["eye"]
    assert [r.name for r in explanation.top(share=6 / 9)[0]] == ["eye"]
    assert [r.name for r in explanation.top(share=0.7)[0]] == ["eye", "tail"]
    assert len(explanation.top(k=1, share=0.9)[0]) == 1


def test_top_reaches_a_share_exactly():
    """Six of ten equal reasons are 60 %, whatever the sum of six tenths rounds to."""
    ten = Explanation(torch.zeros(1), torch.ones(1, 10), torch.ones(1, 10), 0.0)
    for k in range(1, 11):
        assert len(ten.top(share=k / 10)[0]) == k


def test_top_of_nothing():
    nothing = Explanation(torch.zeros(1), torch.zeros(1, 3), torch.ones(1, 3), 0.0)
    assert nothing.top(share=0.5) == [[]]
    assert nothing.shares.tolist() == [[0, 0, 0]]


def test_merge(explanation):
    parts = explanation.merge([0, 0, 1, -1], ["head", "leg", "wing"])
    assert parts.names == ["head", "leg", "wing", "unassigned"]
    assert parts.contributions.tolist() == [[7, 0, 0, -2], [0, 0, 0, 2]]
    torch.testing.assert_close(parts.total, explanation.total)
    torch.testing.assert_close(parts.residual, explanation.residual)
    for group in range(3):  # from the definition
        omega = [i for i, g in enumerate([0, 0, 1, -1]) if g == group]
        expected = [sum(float(explanation.contributions[b, i]) for i in omega) for b in range(2)]
        assert parts.contributions[:, group].tolist() == expected


def test_reasons(explanation):
    first, _ = explanation.reasons(k=1)
    assert first == (
        "score 5.00: eye +6.00 (67%), other concepts −1.00, bias −0.50, not explained +0.50"
    )


def test_reasons_add_up_as_printed():
    generator = torch.Generator().manual_seed(0)
    alpha, y = torch.randn(40, 6, generator=generator), torch.randn(40, 6, generator=generator)
    names = ["left-ear", "left-ear", "{eye}", "leg", "tail", "torso"]  # a name is printed as it is
    made = Explanation(torch.randn(40, generator=generator), y, alpha, -0.0049, names)
    for b, sentence in enumerate(made.reasons(k=3)):
        score, *terms = [Decimal(v.replace("−", "-")) for v in re.findall(r"[+−]?\d+\.\d\d", sentence)]
        assert len(terms) == 6 and sum(terms) == score == round(Decimal(float(made.yhat[b])), 2)
        assert "−0.00" not in sentence
        assert abs(float(terms[-1]) - float(made.residual[b])) < 0.016  # a half of a digit, thrice
        for reason in made.top(3)[b]:
            assert reason.name in sentence


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.ReLU(inplace=True)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(4 * 16, 2)

    def forward(self, images):
        return self.out(self.drop(self.relu(self.conv(images))).flatten(1))


@pytest.mark.parametrize("count", [1, 3])
def test_grad_cam_from_its_definition(count):
    """ReLU of the maps weighted by their mean gradient, enlarged."""
    net, images = Net().train(), torch.randn(count, 3, 8, 8)
    before, modes = images.clone(), [m.training for m in net.modules()]
    found = grad_cam(net, "relu", images, target=1, batch_size=2)
    a = net.conv(images).relu().detach()
    mean_gradient = net.out.weight[1].detach().view(4, 16).mean(1)
    heat = torch.einsum("bnhw,n->bhw", a, mean_gradient).relu()
    expected = nn.functional.interpolate(heat[:, None], size=(8, 8), mode="bilinear")[:, 0]
    torch.testing.assert_close(found, expected)
    assert found.shape == (count, 8, 8) and found.max() > 0
    assert torch.equal(images, before) and not images.requires_grad
    assert [m.training for m in net.modules()] == modes
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda e: Explanation(e.yhat, e.y, e.alpha[:, :2], 0.0), "^alpha: shape"),
        (lambda e: Explanation(e.yhat, e.y, e.alpha, 0.0, ["a"]), "^names: 1 names for 4"),
        (lambda e: e.merge([0, 0], ["a"]), "^assignment: shape"),
        (lambda e: e.merge([0, 0, 0, 1], ["a"]), "^assignment: 1 is not .* -1 to 0"),
        (lambda e: e.top(0), "^k: 0"),
        (lambda e: e.top(share=1.5), "^share: 1.5"),
        (lambda e: grad_cam(Net(), "cnv", torch.zeros(1, 3, 8, 8), 0), "^layer: 'cnv'"),
    ],
)
def test_bad_input(explanation, call, message):
    with pytest.raises(InputError, match=message) as error:
        call(explanation)
    assert "\n" not in str(error.value)
