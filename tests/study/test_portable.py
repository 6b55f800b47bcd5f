"""Networks as plain values: batch norm in the weights, how fine these are, what can't be packed."""

import json

import numpy as np
import pytest
import torch
from packed import unpacked
from torch import nn
from torch.nn import functional as F

from semquant.checks import InputError
from semquant.corrected import Correction
from semquant.explainers import Explainer, ExplainerOptions
from semquant.networks import performers
from semquant.networks.interpretable import Mask
from semquant_book.study import portable


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def used(module):
    """A module whose batch norms have seen something, in evaluation mode."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.2, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -1, 1)
    return module.eval()


def weights(packed):
    whole, unit = torch.tensor(unpacked(packed["whole"])).double(), torch.tensor(unpacked(packed["unit"])).double()
    if "rest" in packed:
        whole = 256 * whole + torch.tensor(unpacked(packed["rest"]))
    return whole * unit.view(-1, *[1] * (whole.dim() - 1))


def computed(layers, x):
    """What packed layers make of a batch, in double precision."""
    for layer in layers:
        kind, x = layer["kind"], x.double()
        if kind in ("conv", "linear"):
            weight, bias = weights(layer["weight"]), torch.tensor(unpacked(layer["bias"])).double()
        if kind == "conv":
            x = F.conv2d(x, weight, bias, layer["stride"], layer["padding"], groups=layer["groups"])
        elif kind == "linear":
            x = F.linear(x, weight, bias)
        elif kind == "pool":
            x = F.max_pool2d(x, layer["kernel"], layer["stride"], ceil_mode=layer["ceil"])
        elif kind == "mask":
            x = Mask(x.shape[-1], layer["decay"], amplitude=layer["amplitude"])(x)
        elif kind == "block":
            x = (computed(layer["main"], x) + computed(layer["shortcut"], x)).relu()
        else:
            x = {"relu": torch.relu, "flatten": lambda t: t.flatten(1)}[kind](x)
    return x


def test_batch_norm_is_folded_into_the_convolution_before_it():
    net = used(nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
                             nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)))
    packed, x = portable.layers(net, fine=True), torch.randn(5, 4, 9, 9)
    assert [layer["kind"] for layer in packed] == ["conv", "relu", "conv"]
    torch.testing.assert_close(computed(packed, x), net.double()(x.double()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("architecture", "interpretable"),
                         [("alexnet", 1), ("alexnet", 2), ("vgg_s", 1), ("vgg16", False)])
def test_a_performers_trunk_and_head_are_its_maps_and_outputs(architecture, interpretable):
    net = used(performers.build(architecture, size=64, width=0.0625, outputs=3, interpretable=interpretable))
    packed = portable.performer(net)
    images = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    scale, shift = (torch.tensor(packed["pixels"][name])[:, None, None] for name in ("scale", "shift"))
    x = computed(packed["trunk"], images * scale + shift)
    torch.testing.assert_close(x.float(), net.maps(net.prepare(images))[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(computed(packed["head"], x).float(), net(net.prepare(images)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [ExplainerOptions(), ExplainerOptions(18, positive=False, scale=0.3),
                                     ExplainerOptions(50, reduction="conv", bias=-2.0)])
def test_an_explainer_gives_the_same_weights(options):
    g = used(Explainer(6, 5, 8, options))
    packed, x = portable.explainer(g), torch.randn(3, 6, 8, 8)
    found = computed(packed["layers"], x).mean(dim=(2, 3))
    found = packed["scale"] * (F.softplus(found) if packed["positive"] else found)
    torch.testing.assert_close(found.float(), g(x), rtol=5e-3, atol=2e-3)
    assert packed["bias"] == float(g.bias.detach())


def test_a_correction_keeps_its_units():
    net = Correction(5, 7)
    net.mean.uniform_()
    net.unit.fill_(3.0)
    packed = portable.correction_of(net)
    assert packed["unit"] == 3 and packed["complete"]
    assert torch.equal(torch.tensor(unpacked(packed["mean"])), net.mean)
    x = torch.randn(2, 5)
    torch.testing.assert_close(computed(packed["layers"], x).float(), net.net(x))


@pytest.mark.parametrize(("inputs", "fine", "bits"), [(8, False, 24), (400, False, 16), (400, True, 24)])
def test_weights_are_as_near_as_their_bits_say(inputs, fine, bits):
    layer = nn.Linear(inputs, 64)
    layer.weight.data[3] = 0
    layer.weight.data[5] *= 1e-4
    packed = portable.layers(layer, fine)[0]["weight"]
    assert ("rest" in packed) == (bits == 24)
    largest = layer.weight.abs().amax(dim=1).double()
    far = (weights(packed) - layer.weight.double()).abs().amax(dim=1)
    assert bool((far <= 0.51 * largest / (2 ** (bits - 1) - 1) + 1e-7 * largest).all())
    assert float(weights(packed)[3].abs().max()) == 0


def test_coarser_weights_are_as_near_as_12_bits_say():
    layer = nn.Linear(181, 181)  # an odd number of weights
    fine, coarse = portable.layers(layer), portable.coarser(portable.layers(layer))
    whole, half, unit = (unpacked(coarse[0]["weight"][name]) for name in ("whole", "half", "unit"))
    lower = np.stack([half & 15, half >> 4], axis=1).ravel()[: whole.size].reshape(whole.shape)
    found = ((whole.astype(int) - 128) * 16 + lower) * unit[:, None]
    weight = layer.weight.detach().numpy()
    largest = np.abs(weight).max(axis=1, keepdims=True)
    assert (np.abs(found - weight) <= largest / 2**11).all()
    assert np.abs(found - weight).max() > np.abs(weight).max() / 2**14  # 16 bits would be nearer
    assert coarse[0]["bias"] == fine[0]["bias"]
    small = portable.layers(nn.Linear(10, 10))
    assert portable.coarser(small) == small  # of few weights each counts


def test_what_comes_before_a_mask_is_finer():
    bits = {}
    for interpretable in (True, False):
        net = performers.build("alexnet", size=64, width=0.25, interpretable=interpretable)
        packed = portable.performer(net)
        bits[interpretable] = {"rest" in layer["weight"] for layer in packed["trunk"] if layer["kind"] == "conv"}
        assert "rest" not in packed["head"][3]["weight"]  # the first linear layer
    assert bits == {True: {True}, False: {True, False}}


def test_a_network_of_the_quick_preset_is_small(record_property):
    net = performers.build("alexnet", size=64, width=0.25)
    g = portable.explainer(Explainer(net.n, net.n, net.map_size))
    size = len(json.dumps([portable.performer(net), g, g, portable.correction_of(Correction(net.n, 64))]))
    record_property("figure", f"bytes of AlexNet with three explainers: {size:,}")
    assert size < 2_350_000


class Centred(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(("module", "words"), [
    (performers.build("alexnet", size=64, width=0.0625, batch_norm=False).features, "LRN"),
    (Mask(4, centre="centroid"), "Mask"), (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), "BatchNorm2d without"),
    (nn.Conv2d(3, 3, 3, padding_mode="circular"), "Conv2d padded"), (nn.Conv2d(3, 3, (3, 1), (2, 1)), "Conv2d with"),
    (nn.Conv2d(3, 3, 3, padding="same"), "Conv2d with"), (nn.Conv2d(3, 3, 3, dilation=2), "Conv2d with"),
    (nn.MaxPool2d(3, 2, 1), "MaxPool2d"), (nn.Flatten(0), "Flatten"), (Centred(), "Centred")])
def test_what_cannot_be_packed_is_said_in_one_line(module, words):
    with pytest.raises(InputError, match=f"^layer: {words}.*can't be packed; accepted: convolutions.*$"):
        portable.layers(module)


def test_pixels_that_are_prepared_in_other_ways_are_refused():
    net = performers.build("alexnet", size=64, width=0.0625)
    net.preparation = lambda images: (images / 255.0) ** 2
    with pytest.raises(InputError, match="^pixels: .*a factor and a summand for each channel$"):
        portable.performer(net)
    net.preparation = lambda images: performers.normalise(images).flip(1)
    with pytest.raises(InputError, match="^pixels: "):
        portable.performer(net)


def test_a_weight_that_is_no_number_is_refused():
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = torch.inf
    with pytest.raises(InputError, match="^weights: "):
        portable.layers(layer)


def test_an_animals_run_is_packed_with_names_of_its_filters(run):
    packed = portable.of_animals(run)
    groups, n = run.naming()[0].tolist(), run.performer().n
    assert json.loads(json.dumps(packed)) == packed
    assert packed["kind"] == "filters" and packed["groups"] == groups and len(groups) == n
    assert packed["names"] == list(run.images("test").groups)
    assert list(packed["explainers"]) == ["ours", "baseline"]
    literal = portable.of_animals(run, "literal")["explainers"]["ours"]
    assert literal["scale"] == 1 != packed["explainers"]["ours"]["scale"]

