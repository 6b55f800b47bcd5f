"""Layers of every layout, against the same numbers read by hand and against networks people have."""

from functools import cache

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops.misc import Permute

from semquant.checks import InputError
from semquant.concepts import FilterConcepts, OutputConcepts
from semquant.corrected import of_model
from semquant.layouts import Layout, layout_of


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Last(nn.Module):
    """conv -> a layer of one layout -> its numbers squared and summed -> linear."""

    def __init__(self, layout):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.out = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)
        self.layer, self.layout = nn.Identity(), layout
        self.token = nn.Parameter(torch.randn(5))

    def forward(self, images):
        x = self.conv(images)
        if self.layout == "channels_last":
            x = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        elif self.layout == "tokens":
            tokens = x.flatten(2).transpose(1, 2)
            x = self.layer(torch.cat([self.token.expand(len(x), 1, 5), tokens], dim=1))
            return self.out(x.square().sum(dim=1))
        else:
            x = self.layer(x)
        return self.out(x.square().sum(dim=(2, 3)) + self.token.square() * (self.layout == "token"))


def shifted(x):  # tokens as a function, with a copy in between
    return x[:, 1:].transpose(1, 2).contiguous().reshape(len(x), 5, 6, 6)


@pytest.mark.parametrize("layout, reshape", [
    ("channels_last", "channels_last"), ("channels_last", lambda x: x.permute(0, 3, 1, 2).contiguous()),
    ("tokens", "tokens"), ("tokens", shifted)])
def test_filters_are_the_same_wherever_they_are(layout, reshape):
    images, target = drawn(3, 3, 8, 8), 2
    plain = Last("token" if layout == "tokens" else "channels_first")
    expected = FilterConcepts("layer", positions="weighted", clip=False).measure(plain, images, target)
    concepts = FilterConcepts("layer", positions="weighted", clip=False, reshape=reshape)
    found = concepts.measure(Last(layout), images, target)
    for name in ("x", "y", "yhat", "w"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-4)
    # filters that are removed: the class token stays
    present = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]) > 0
    scores = of_model(Last(layout), concepts, target)(images)(present)
    left = plain.conv(images).square().sum((2, 3)) * present
    left = left + (plain.token.square() if layout == "tokens" else 0)
    torch.testing.assert_close(scores, plain.out(left)[:, target].detach(), atol=1e-4, rtol=1e-4)


def test_a_layer_without_positions_has_maps_of_one():
    model, images = Last("channels_first"), drawn(4, 3, 8, 8)
    model.head = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    model.forward = lambda images: model.head(model.conv(images).mean((2, 3)))
    found = FilterConcepts("head.1", clip=False).measure(model, images, 1)
    units = model.head[:2](model.conv(images).mean((2, 3))).detach()
    assert torch.equal(found.x, units[:, :, None, None]) and torch.equal(found.y, units)
    torch.testing.assert_close(found.w, model.head[2].weight[1].expand(4, -1).detach())
    without = of_model(model, "head.1", 1)(images)(torch.zeros(4, 6))
    torch.testing.assert_close(without, model.head[2].bias[1].expand(4).detach())


NETWORKS = [  # the layer, images' size, n and size of the map
    ("resnet18", "layer4", 64, 512, 2), ("convnext_tiny", "features", 64, 768, 2),
    ("convnext_tiny", "features.7.2.block.3", 64, 3072, 2), ("swin_t", "features", 64, 768, 2),
    ("swin_t", "norm", 64, 768, 2), ("swin_t", "permute", 64, 768, 2),
    ("swin_t", "features.7.1.mlp.1", 64, 3072, 2),
    ("densenet121", "features", 64, 1024, 2), ("efficientnet_b0", "features", 64, 1280, 2),
    ("mobilenet_v3_small", "features", 64, 576, 2), ("googlenet", "inception5b", 64, 1024, 2),
    ("inception_v3", "Mixed_7c", 96, 2048, 1), ("squeezenet1_1", "features", 64, 512, 3),
    ("shufflenet_v2_x1_0", "conv5", 64, 1024, 2), ("regnet_y_400mf", "trunk_output", 64, 440, 2),
    ("mnasnet0_5", "layers", 64, 1280, 2)]


@cache
def network(name):
    torch.manual_seed(0)
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision.models, name)(num_classes=4, **settings).eval()


@pytest.mark.parametrize("name, layer, size, n, side", NETWORKS)
def test_networks_that_people_have(name, layer, size, n, side):
    model, images = network(name), drawn(2, 3, size, size)
    concepts = FilterConcepts(layer, positions="weighted", clip=False)
    target = int(model(images).mean(dim=0).argmax())  # SqueezeNet's scores are rectified
    found = concepts.measure(model, images, target)
    assert found.x.shape == (2, n, side, side)
    kept, module = [], model.get_submodule(layer)
    hook = module.register_forward_hook(lambda m, i, o: kept.append(o) or o * 1)
    scores = model(images)[:, target]
    hook.remove()
    (gradient,) = torch.autograd.grad(scores.sum(), kept[0])
    last = kept[0].shape[1] != n
    product = (gradient * kept[0]).sum((1, 2) if last else (2, 3)).detach()  # of each filter, by hand
    torch.testing.assert_close(found.w * found.y, product, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(of_model(model, concepts, target)(images)(torch.ones(2, n)), scores.detach())


def test_a_vision_transformer_is_read_by_its_tokens():
    model = torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
                                                 num_classes=3)
    nn.init.normal_(model.heads.head.weight)
    images, layer = drawn(2, 3, 32, 32), "encoder.layers.encoder_layer_0"
    found = FilterConcepts(layer, reshape="tokens", clip=False).measure(model, images, 0)
    assert found.x.shape == (2, 8, 4, 4) and bool(found.w.any())
    with pytest.raises(InputError, match=r'shape \(2, 17, 8\) is not .*; accepted: reshape="tokens"$'):
        FilterConcepts(layer).measure(model, images, 0)
    # of the last layer the class token alone is read
    with pytest.warns(UserWarning, match="derivative is 0 at every filter of 'encoder'; .* its last block"):
        FilterConcepts("encoder", reshape="tokens").measure(model, images, 0)


def test_maps_that_are_not_square():
    model, images = network("swin_t"), drawn(1, 3, 64, 96)
    assert FilterConcepts("features").measure(model, images, 0).x.shape == (1, 768, 2, 3)
    assert FilterConcepts("layer4").measure(network("resnet18"), images, 0).x.shape == (1, 512, 2, 3)
    found = OutputConcepts("avgpool", "features").measure(model, images, 0)
    assert found.x.shape == (1, 768, 2, 3) and found.w.shape == (1, 3)


@pytest.mark.parametrize("layers, shape, kind", [
    ([nn.ReLU()], (2, 4, 4, 4), "channels_first"),  # nothing works on the last dimension here
    ([nn.ReLU()], (2, 7, 3, 5), "channels_first"),
    ([nn.ReLU(), nn.LayerNorm(4)], (2, 4, 4, 4), None),
    ([nn.ReLU(), nn.LayerNorm(4)], (2, 9, 4, 4), "channels_first"),
    ([nn.ReLU(), nn.LayerNorm(4)], (2, 4, 4, 9), "channels_last"),
    ([nn.ReLU(), Permute([0, 3, 1, 2])], (2, 4, 4, 9), "channels_last"),
    ([nn.ReLU()], (2, 4, 4, 9), None),  # by its shape yes, but by nothing else
    ([nn.LayerNorm(4)], (2, 4, 4, 4), "channels_last"),
    ([nn.Linear(4, 4)], (2, 4, 4, 4), "channels_last"),
    ([nn.Conv2d(4, 4, 1), nn.LayerNorm(4)], (2, 4, 4, 4), "channels_first"),
])
def test_what_is_recognised(layers, shape, kind):
    model, x = nn.Sequential(*layers), torch.zeros(shape)
    if kind is not None:
        assert layout_of(model, "0", x, (16, 16)) == Layout(kind)
        return
    message = (r'^output of 0: filters may come first or last in shape .*; accepted: '
               r'reshape="channels_first" or reshape="channels_last"$')
    with pytest.raises(InputError, match=message):
        layout_of(model, "0", x, (16, 16))
    assert layout_of(model, "0", x, (16, 16), "channels_first") == Layout("channels_first")


@pytest.mark.parametrize("count, first", [(16, 0), (17, 1)])
def test_a_class_token_is_left_out(count, first):
    x = drawn(2, count, 3)
    found = layout_of(nn.Sequential(nn.ReLU()), "0", x, (8, 8), "tokens").map(x)
    for h in range(4):
        for w in range(4):
            assert torch.equal(found[:, :, h, w], x[:, first + 4 * h + w])


@pytest.mark.parametrize("shape, reshape, message", [
    ((2, 18, 3), "tokens", r"18, 3\) is not \(B, T, n\) with T a square, or one more; accepted: reshape="),
    ((2, 3, 4, 4), "tokens", r"shape \(2, 3, 4, 4\) is not \(B, T, n\)"),
    ((2, 16, 3), "channels_last", r"is not \(B, H, W, n\)"),
    ((2, 16, 3), "channels_first", r"is not \(B, n, H, W\) or \(B, n\)"),
    ((2, 18, 3), None, r"is not \(B, n, H, W\) or \(B, n\); accepted: reshape= as a function of it$"),
    ((2, 3, 4, 4), lambda x: x.mean((2, 3), keepdim=True), "^reshape: the function does not make"),
    ((2, 3, 4, 4), lambda x: x.relu(), "^reshape: the function"),
    ((2, 3, 4, 4), lambda x: x.flatten(1), "^reshape: the function"),
    ((2, 3, 4, 4), lambda x: x[:, :1].expand(-1, 3, -1, -1), "^reshape: the function"),
    ((2, 3, 4, 4), lambda x: x.flip(0), "^reshape: the function"),
    ((2, 3, 4, 4), lambda x: None, "^reshape: the function"),
])
def test_layouts_that_do_not_fit(shape, reshape, message):
    with pytest.raises(InputError, match=message):
        layout_of(nn.Sequential(nn.ReLU()), "0", drawn(*shape), (8, 8), reshape)


def test_layouts_that_are_none():
    with pytest.raises(InputError, match="^reshape: 'last' is not one of channels_first, channels_last"):
        FilterConcepts("layer", reshape="last")


def test_a_norm_over_whole_maps_is_not_one_over_the_last_dimension():
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LayerNorm([6, 8, 8]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(6, 2))
    found = FilterConcepts("1").measure(net, drawn(4, 3, 8, 8), 1)
    torch.testing.assert_close(found.x, net[:2](drawn(4, 3, 8, 8)).detach())
    assert found.y.shape == (4, 6)
