"""g: the shapes that the paper's maps lead to, alpha's range, scale and b."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, resnet152

from semquant import explainers
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.distillation import FittedExplainer
from semquant.explainers import ExplainerOptions, starting_scale


def Explainer(channels, n, map_size, **options):
    """With options by their names."""
    return explainers.Explainer(channels, n, map_size, ExplainerOptions(**options))


@pytest.mark.parametrize("size, end", [(13, 1), (14, 1), (17, 2)])
def test_where_the_body_ends_on_the_papers_maps(size, end):
    g = Explainer(6, 5, size, depth=18).eval()
    assert g.body(torch.zeros(1, 6, size, size)).shape == (1, 512, end, end)
    assert g(torch.zeros(1, 6, size, size)).shape == (1, 5)


@pytest.mark.parametrize("depth, reference", [(18, resnet18), (152, resnet152)])
def test_the_body_is_torchvisions_without_its_poolings(depth, reference):
    """Layer for layer the same parameters; the first and the last layer fit the map and n."""
    with torch.device("meta"):
        net = reference()
        g = Explainer(256, 96, 13, depth=depth)
    ours = [tuple(p.shape) for p in g.body.parameters()]
    theirs = [tuple(p.shape) for name, p in net.named_parameters() if not name.startswith("fc")]
    assert ours[0] == (64, 256, 7, 7) and theirs[0] == (64, 3, 7, 7)
    assert ours[1:] == theirs[1:]
    assert isinstance(g.last, nn.Conv2d)
    assert g.last.weight.shape == (96, net.fc.in_features, 1, 1)
    assert not any(isinstance(m, (nn.MaxPool2d, nn.AdaptiveAvgPool2d)) for m in g.modules())
    assert isinstance(g.body[0], nn.Conv2d) and isinstance(g.body[2], nn.ReLU)


def test_forward_is_the_body_and_then_a_mean():
    torch.manual_seed(0)
    g = Explainer(3, 4, 17, depth="small", scale=0.5).eval()
    x = torch.randn(2, 3, 17, 17)
    features = g.body(x)
    for b in range(2):
        for i in range(4):
            places = [
                ((g.last.weight[i, :, 0, 0] * features[b, :, h, v]).sum() + g.last.bias[i]).item()
                for h in range(features.shape[2]) for v in range(features.shape[3])
            ]  # fmt: skip
            expected = 0.5 * F.softplus(torch.tensor(sum(places) / len(places)))
            assert g(x)[b, i].item() == pytest.approx(expected.item(), rel=1e-4)


def test_one_kernel_over_what_is_left():
    g = Explainer(3, 4, 17, depth=18, reduction="conv").eval()
    assert g.last.weight.shape == (4, 512, 2, 2)
    assert g(torch.zeros(2, 3, 17, 17)).shape == (2, 4)


@pytest.mark.parametrize("depth", ["small", 18])
@pytest.mark.parametrize("size", [4, 7, 8, (6, 9)])
def test_small_maps_and_a_single_image(depth, size):
    g = Explainer(3, 4, size, depth=depth).eval()
    height, width = (size, size) if isinstance(size, int) else size
    x = torch.randn(3, 3, height, width)
    torch.testing.assert_close(g(x[:1]), g(x)[:1], rtol=1e-4, atol=1e-5)


def test_signs_start_and_scale():
    torch.manual_seed(0)
    x = torch.randn(8, 3, 8, 8)
    positive = Explainer(3, 50, 8, scale=0.25, last_std=0.0, last_bias=1.0)
    assert positive(x).flatten().tolist() == pytest.approx([0.25 * 1.3132617] * 400)
    free = Explainer(3, 50, 8, positive=False, last_std=1.0)
    assert (free(x) < 0).any() and (free(x) > 0).any()
    assert (Explainer(3, 50, 8, last_std=1.0)(x) >= 0).all()


def test_b_is_one_learned_scalar_and_the_scale_is_not_learned():
    g = Explainer(3, 4, 8, scale=0.5, bias=-2.0)
    assert g.bias.shape == () and float(g.bias.detach()) == -2.0
    assert any(p is g.bias for p in g.parameters())
    assert not any(p is g.scale for p in g.parameters()) and "scale" in g.state_dict()
    x, y = torch.randn(5, 3, 8, 8), torch.randn(5, 4)
    measured = Measured(x, y, torch.zeros(5))
    torch.testing.assert_close(g.eval().weigh(measured, batch_size=2), g(x).detach())
    total = FittedExplainer(g).explain_measured(measured).total
    torch.testing.assert_close(total, (g(x).detach() * y).sum(1) - 2.0)


def test_settings_build_it_again():
    g = Explainer(3, 4, 8, scale=0.5, bias=1.0, positive=False).eval()
    again = Explainer(**g.settings).eval()
    again.load_state_dict(g.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(g(x), again(x))


@pytest.mark.parametrize("positive", [True, False])
def test_starting_scale(positive):
    torch.manual_seed(0)
    g = Explainer(3, 6, 8, positive=positive)
    x, y, yhat = torch.randn(40, 3, 8, 8), 100 * torch.rand(40, 6), 4 * torch.randn(40)
    before = copy.deepcopy(g.state_dict())
    scale = starting_scale(g, x, y, yhat)
    assert all(torch.equal(a, before[name]) for name, a in g.state_dict().items())
    g.scale.fill_(scale)
    total = (g.train()(x) * y).sum(1).detach()
    assert float(total.square().mean().sqrt()) == pytest.approx(float(yhat.std()), rel=1e-4)


def test_the_small_one_is_small():
    assert sum(p.numel() for p in Explainer(128, 128, 8).parameters()) < 150_000


X, Y, S = torch.randn(4, 3, 8, 8), torch.rand(4, 2), torch.randn(4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Explainer(3, 4, 8, depth=20), "^depth: 20 is not one of small, 18"),
        (lambda: Explainer(3, 0, 8), "^n: 0"),
        (lambda: Explainer(3, 4, 8, scale=0), "^scale: 0 is not above 0"),
        (lambda: Explainer(3, 4, 8, reduction="max"), "^reduction: 'max'"),
        (lambda: Explainer(3, 4, 8, stem_stride=3), "^stem_stride: 3"),
        (lambda: Explainer(3, 4, 8)(torch.zeros(2, 3, 7, 7)), r"^x: shape \(2, 3, 7, 7\) is not"),
        (lambda: starting_scale(Explainer(3, 2, 8), X, Y, torch.ones(4)), "^yhat: all scores"),
        (lambda: starting_scale(Explainer(3, 2, 8), X, Y * 0, S), "^y: the contributions"),
        (lambda: starting_scale(Explainer(3, 2, 8), X[:1], Y[:1], S[:1]), "^yhat: 1 images"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
