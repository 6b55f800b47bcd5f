"""Layer tables at the paper's size, reduced networks, and the training loss by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semquant.checks import InputError
from semquant.networks.interpretable import Mask, filter_loss
from semquant.networks.performers import (
    load_weights,
    ARCHITECTURES,
    PAPER_SIZE,
    Performer,
    build,
    interpretable_top,
    normalise,
    performer_loss,
)

# map widths behind each conv and pooling layer at the paper's size, as published
WIDTHS = {
    "alexnet": [55, 27, 27, 13, 13, 13, 13],
    "vgg_m": [109, 54, 26, 13, 13, 13, 13],
    "vgg_s": [109, 37, 33, 17, 17, 17, 17],
    "vgg16": [224] * 2 + [112] * 3 + [56] * 4 + [28] * 4 + [14] * 4,
}
# filters, width of the top map, width behind pool5
TOPS = {
    "alexnet": (256, 13, 6),
    "vgg_m": (512, 13, 6),
    "vgg_s": (512, 17, 6),
    "vgg16": (512, 14, 7),
}
# parameters of the published networks with 1000 outputs
PARAMETERS = {
    "alexnet": 60_965_224,
    "vgg_m": 102_908_520,
    "vgg_s": 102_908_520,
    "vgg16": 138_357_544,
}
POSITIVE = torch.tensor([True, False, True, False])


def paper(architecture, **settings):
    """The published network, its shapes only."""
    with torch.device("meta"):
        return build(
            architecture, size=PAPER_SIZE[architecture], width=1, batch_norm=False, **settings
        )


def small(architecture="alexnet", seed=0, **settings):
    torch.manual_seed(seed)
    return build(architecture, **{"size": 32, "width": 0.125, **settings})


def some_images(count=4, size=32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


# the published networks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_map_widths_at_the_papers_size(architecture):
    performer = paper(architecture)
    maps, widths = torch.zeros(1, 3, *[PAPER_SIZE[architecture]] * 2, device="meta"), []
    for layer in performer.features[:-1]:
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            widths.append(maps.shape[-1])
    n, top, pooled = TOPS[architecture]
    assert widths == WIDTHS[architecture]
    assert performer.features[-1](maps).shape == (1, n, top, top)  # the inserted conv
    assert (performer.n, performer.map_size) == (n, top)
    assert performer.input_size == PAPER_SIZE[architecture]
    assert performer.head[3].in_features == n * pooled**2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_the_published_ones_and_the_inserted_conv(architecture):
    performer = paper(architecture, outputs=1000)
    n = performer.n
    inserted = n * n * 9 + n
    total = sum(p.numel() for p in performer.parameters())
    assert total == PARAMETERS[architecture] + inserted
    assert performer.features[-1].weight.numel() + n == inserted


def test_grouped_layers_have_grouped_weights():
    # a mistake of public ports: the two halves concatenated into an ungrouped layer
    convs = [m for m in paper("alexnet").features if isinstance(m, nn.Conv2d)]
    assert [c.groups for c in convs] == [1, 2, 1, 2, 2, 1]
    assert convs[1].weight.shape == (256, 48, 5, 5)
    assert convs[3].weight.shape == (384, 192, 3, 3)
    assert convs[4].weight.shape == (256, 192, 3, 3)


@pytest.mark.parametrize(
    ("architecture", "alpha", "k", "count"),
    [("alexnet", 1e-4, 1, 2), ("vgg_m", 5e-4, 2, 2), ("vgg_s", 5e-4, 2, 1), ("vgg16", 0, 0, 0)],
)
def test_local_response_normalisation(architecture, alpha, k, count):
    # a mistake of public ports: alpha off by the window's size, by which torch divides it
    norms = [m for m in paper(architecture).features if isinstance(m, nn.LocalResponseNorm)]
    assert len(norms) == count
    a = 100 * torch.rand(1, 9, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    for norm in norms:
        for c in range(9):
            window = a[0, max(0, c - 2) : c + 3, 0, 0]
            slow = a[0, c, 0, 0] / (k + alpha / 5 * (window**2).sum()) ** 0.75
            torch.testing.assert_close(norm(a)[0, c, 0, 0], slow)


def test_strong_activations_survive_the_normalisation_in_half_precision():
    """Squares above 65,504 are infinite in float16; pixels from 0 to 255 lead to such maps."""
    norm = next(m for m in paper("alexnet").features if isinstance(m, nn.LocalResponseNorm))
    strong = torch.full((1, 9, 1, 1), 300.0)
    torch.testing.assert_close(norm(strong.half()).float(), norm(strong), rtol=1e-3, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_published_head(architecture):
    head = paper(architecture, dropout=0.5).head
    kinds = [type(m).__name__ for m in head]
    full = ["Linear", "ReLU", "Dropout"]
    assert kinds == ["ReLU", "MaxPool2d", "Flatten", *full, *full, "Linear"]
    assert [m.out_features for m in head if isinstance(m, nn.Linear)] == [4096, 4096, 1]


def test_the_published_alexnet_runs_on_an_image():
    torch.manual_seed(0)
    performer = build("alexnet", size=227, width=1, batch_norm=False).eval()
    with torch.no_grad():
        assert performer(torch.randn(1, 3, 227, 227)).shape == (1, 1)


# reduced networks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [32, 64, 96])
def test_the_small_stem_ends_in_an_eighth_of_the_input(architecture, size):
    performer = small(architecture, size=size, outputs=3).eval()
    z, x = performer.maps(some_images(1, size))
    assert z.shape == x.shape == (1, performer.n, size // 8, size // 8)
    assert performer.map_size == size // 8
    assert performer(some_images(1, size)).shape == (1, 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reduced_networks_have_the_published_number_of_layers(architecture):
    def convs(performer):
        return [m for m in performer.features.modules() if isinstance(m, nn.Conv2d)]

    reduced = convs(small(architecture, width=0.25))
    published = convs(paper(architecture))
    assert len(reduced) == len(published)
    for a, b in zip(reduced, published, strict=True):
        assert (a.out_channels, a.groups) == (b.out_channels // 4, b.groups)


def test_the_four_reduced_networks_differ_in_structure():
    lists = {
        str([str(m) for m in small(architecture).modules() if not list(m.children())])
        for architecture in ARCHITECTURES
    }
    assert len(lists) == 4


@pytest.mark.parametrize("size", [160, 200, 224, 227])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_size_from_160_on_takes_the_published_stem(architecture, size):
    with torch.device("meta"):
        performer = build(architecture, size=size, batch_norm=False)
        z, _ = performer.maps(torch.zeros(1, 3, size, size))
        assert z.shape[2:] == (performer.map_size, performer.map_size)
        assert performer(torch.zeros(2, 3, size, size)).shape == (2, 1)


# what every performer does


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_forward_is_features_mask_head(architecture):
    performer = small(architecture).eval()
    images = some_images()
    before = images.clone()
    z = performer.features(images)
    x = performer.mask(z)
    assert torch.equal(performer(images), performer.head(x))
    assert torch.equal(performer.maps(images)[1], x)
    assert (z < 0).any()  # z is taken before the ReLU
    assert torch.equal(performer.head(x.relu()), performer.head(x))  # which opens the head
    assert torch.equal(images, before)


def test_the_head_leaves_x_unchanged():
    performer = small().eval()
    _, x = performer.maps(some_images())
    before = x.clone()
    performer.head(x)
    assert torch.equal(x, before)


def test_one_image_gives_one_row():
    # a mistake of public ports: squeeze() drops the batch axis of a single image
    performer = small().eval()
    images = some_images()
    assert performer(images[:1]).shape == (1, 1)
    torch.testing.assert_close(performer(images[:1]), performer(images)[:1])
    loss = performer_loss(performer, images[:1], POSITIVE[:1], 1)["loss"]
    assert loss.shape == () and torch.isfinite(loss)


@pytest.mark.parametrize("architecture, convs",
                         [("alexnet", 5), ("vgg_m", 5), ("vgg_s", 5), ("vgg16", 13)])
def test_without_interpretable_filters_it_is_the_published_list_of_layers(architecture, convs):
    def count(performer):
        return sum(isinstance(m, torch.nn.Conv2d) for m in performer.modules())

    performer = small(architecture, interpretable=False).eval()
    assert count(performer) == convs and count(small(architecture)) == convs + 1
    z, x = performer.maps(some_images())
    assert x is z and bool((z < 0).any())  # the head's ReLU is the last conv layer's
    assert isinstance(small(architecture).mask, Mask)


def test_there_is_one_mask():
    # a mistake of public ports: a second mask, behind which negative values turn positive
    for architecture in ARCHITECTURES:
        assert sum(isinstance(m, Mask) for m in small(architecture).modules()) == 1


def test_same_seed_same_numbers():
    first, again, other = small(seed=3), small(seed=3), small(seed=4)
    images = some_images()
    torch.manual_seed(0)
    a = performer_loss(first, images, POSITIVE, 1)["loss"]
    torch.manual_seed(0)
    assert torch.equal(a, performer_loss(again, images, POSITIVE, 1)["loss"])
    assert not torch.equal(first.eval()(images), other.eval()(images))


def test_channels_last_gives_the_same_numbers():
    performer = small().eval()
    images = some_images()
    plain = performer(images)
    performer.to(memory_format=torch.channels_last)
    last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(performer(last), plain, rtol=1e-4, atol=1e-5)


def test_first_weights_are_hes():
    torch.manual_seed(0)
    performer = build("vgg_m", size=64, width=0.5, batch_norm=False)
    convs = [m for m in performer.features if isinstance(m, nn.Conv2d)]
    for layer in [*convs[1:], performer.head[3]]:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
        assert not layer.bias.any()


def test_a_trunk_of_ones_own():
    trunk = nn.Conv2d(3, 20, 3, stride=4, padding=1)
    conv, mask, head = interpretable_top(20, 12, 7, fc=16, outputs=2, batch_norm=False)
    performer = Performer(
        nn.Sequential(trunk, conv), mask, head, n=12, map_size=7, input_size=28
    ).eval()
    z, x = performer.maps(torch.randn(5, 3, 28, 28))
    assert z.shape == x.shape == (5, 12, 7, 7)
    assert performer(torch.randn(5, 3, 28, 28)).shape == (5, 2)


def test_normalise():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    expected = torch.tensor([-2.0, (0.2 - 0.5) / 0.25, 2.0])
    torch.testing.assert_close(normalise(pixels), expected)
    assert normalise(pixels).dtype == torch.float32
    assert pixels.tolist() == [0, 51, 255]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"architecture": "vgg-16"}, "architecture: 'vgg-16' .*did you mean vgg16"),
        ({"size": 31}, "input size"),
        ({"size": 60}, "input size: 60 is not a multiple of 8"),
        ({"size": 64.0}, "input size"),
        ({"width": 0}, "width"),
        ({"width": "1"}, "width"),
        ({"outputs": 0}, "outputs"),
        ({"dropout": 1}, "dropout"),
        ({"interpretable": 3}, "interpretable: 3 is not one of 0, 1, 2"),
    ],
)
def test_build_says_what_it_accepts(settings, field):
    with pytest.raises(InputError, match=field) as error:
        build(**{"architecture": "vgg16", **settings})
    assert "\n" not in str(error.value)


# training loss


@pytest.mark.parametrize("epoch", [1, 4])
def test_the_training_loss_by_hand(epoch):
    performer = small().eval()
    images = some_images()
    parts = performer_loss(performer, images, POSITIVE, epoch, filter_weight=0.3)
    sign = torch.where(POSITIVE, 1.0, -1.0)
    logistic = (1 + (-sign * performer(images)[:, 0]).exp()).log().mean()  # on labels +-1
    filters = filter_loss(performer.features(images).relu(), POSITIVE)
    torch.testing.assert_close(parts["logistic"], logistic)
    torch.testing.assert_close(parts["filter"], filters)
    torch.testing.assert_close(parts["loss"], logistic + 0.3 / epoch * filters)


# the predecessor's two interpretable layers


def test_two_interpretable_layers_are_the_top_conv_layer_and_the_inserted_one():
    """The same layers and weights as with one, and a mask between the two."""
    for architecture in ARCHITECTURES:
        one, two = small(architecture).eval(), small(architecture, interpretable=2).eval()
        kept = [layer for layer in two.features if not isinstance(layer, Mask)]
        assert len(kept) == len(one.features) == len(two.features) - 1
        assert isinstance(two.features[-2], Mask) and two.n == one.n
        assert [p.shape for p in one.parameters()] == [p.shape for p in two.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
        a = nn.Sequential(*two.features[:-2])(some_images())  # behind the ReLU of the top conv layer
        z, x = two.maps(some_images())
        torch.testing.assert_close(z, two.features[-1](Mask(two.map_size)(a)))
        torch.testing.assert_close(x, two.mask(z))  # the concepts are the inserted layer's
        assert not torch.allclose(z, one.maps(some_images())[0])


def test_the_filter_loss_sees_both_layers():
    performer = small(interpretable=2).eval()
    images = some_images()
    a = nn.Sequential(*performer.features[:-2])(images)
    expected = filter_loss(a, POSITIVE) + filter_loss(performer.maps(images)[0].relu(), POSITIVE)
    parts = performer_loss(performer, images, POSITIVE, 2, filter_weight=0.3)
    torch.testing.assert_close(parts["filter"], expected)
    torch.testing.assert_close(parts["loss"], parts["logistic"] + 0.15 * expected)
    assert not any(module._forward_pre_hooks for module in performer.modules())


def test_the_gradient_of_both_filter_losses_is_that_of_finite_differences():
    performer = small(interpretable=2, batch_norm=False, dropout=0.0).double().eval()
    images = some_images().double()

    def loss():
        return performer_loss(performer, images, POSITIVE, 1, filter_weight=0.5)["loss"]

    below, inserted = (m for m in performer.features if isinstance(m, nn.Conv2d)
                       and m.weight.shape[0] == performer.n and m.weight.shape[2] == 3
                       and m in [*performer.features][-4:])
    loss().backward()
    for layer in (below, inserted):
        place = int(layer.weight.grad.abs().argmax())
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                layer.weight.view(-1)[place] += step
                ends.append(loss())
                layer.weight.view(-1)[place] -= step
        slope = float(ends[0] - ends[1]) / 2e-6
        assert float(layer.weight.grad.view(-1)[place]) == pytest.approx(slope, rel=1e-4)


def test_a_pass_that_fails_leaves_the_performer_as_it_was():
    performer = small(interpretable=2)
    with pytest.raises(RuntimeError):
        performer_loss(performer, some_images()[:, :2], POSITIVE, 1)
    assert not any(m._forward_pre_hooks for m in performer.modules())


def test_without_weight_there_is_no_filter_loss():
    parts = performer_loss(small(), some_images(), POSITIVE, 1, filter_weight=0)
    assert "filter" not in parts
    assert torch.equal(parts["loss"], parts["logistic"])


def test_many_outputs_without_filter_loss():
    performer = small(outputs=3, interpretable=False).eval()
    labels = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]]).bool()
    loss = performer_loss(performer, some_images(), labels, 1, filter_weight=0)["loss"]
    expected = F.binary_cross_entropy(performer(some_images()).sigmoid(), labels.float())
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_learns(architecture):
    performer = small(architecture)
    performer_loss(performer, some_images(), POSITIVE, 1)["loss"].backward()
    assert all(p.grad.abs().sum() > 0 for p in performer.parameters())


def test_the_training_loss_says_what_it_accepts():
    performer = small()
    with pytest.raises(InputError, match="positive"):
        performer_loss(performer, some_images(), POSITIVE[:2], 1)
    with pytest.raises(InputError, match="epoch"):
        performer_loss(performer, some_images(), POSITIVE, 0)
    with pytest.raises(InputError, match="filter weight"):
        performer_loss(performer, some_images(), POSITIVE, 1, -1)


def test_vgg16_at_full_size_is_the_published_network():
    """Experiment 2's performer at the paper's size: torchvision's VGG-16 with the same weights."""
    from torchvision.models import vgg16

    published = vgg16(num_classes=40).eval()
    own = build("vgg16", size=224, width=1, outputs=40, batch_norm=False, dropout=0.5,
                interpretable=False).eval()
    theirs = [t for name, t in published.state_dict().items()]
    assert [t.shape for t in own.state_dict().values()] == [t.shape for t in theirs]
    own.load_state_dict(dict(zip(own.state_dict(), theirs)))
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(own(image), published(image))


def test_weights_of_another_network_are_one_line():
    with pytest.raises(InputError, match="^weights: mine is of another") as e:
        load_weights(small("alexnet"), small("vgg_m").state_dict(), "mine")
    assert "\n" not in str(e.value)
    state = small().state_dict()
    state.pop(next(iter(state)))
    with pytest.raises(InputError, match="is missing there"):
        load_weights(small(), state)
