"""Public ImageNet weights: read, refused, and the same numbers as by MatConvNet's definitions."""

import json
import pickle
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from scipy.io import savemat
from torch import nn

from semquant.checks import InputError
from semquant.distillation import FittedExplainer
from semquant.explainers import Explainer
from semquant.networks.performers import ARCHITECTURES, PAPER_SIZE, build
from semquant_book.files import Checkpoint, write_checked
from semquant_book.study import torchvision_networks
from semquant_book.study.performing import kept_performer
from semquant_book.study.presets import load_settings
from semquant_book.study.pretrained import Normalisation, efficientnet_lite0, into, matconvnet
from semquant_book.study.torchvision_networks import torchvision_alexnet, torchvision_weights

NARROW = 1 / 16  # of the published channels, rounded to multiples of 8
FC = 16  # of 4096

# The public files' layers, written down once more: conv (name, width of the kernel, channels here,
# groups, stride, pad), LRN [N kappa alpha beta], pooling (width, stride, [top bottom left right]).
CAFFE, OXFORD = [5, 1, 2e-5, 0.75], [5, 2, 1e-4, 0.75]
NETS = {
    "alexnet": [
        ("conv1", 11, 8, 1, 4, 0), CAFFE, (3, 2, [0, 0, 0, 0]),
        ("conv2", 5, 16, 2, 1, 2), CAFFE, (3, 2, [0, 0, 0, 0]),
        ("conv3", 3, 24, 1, 1, 1), ("conv4", 3, 24, 2, 1, 1), ("conv5", 3, 16, 2, 1, 1),
        (3, 2, [0, 0, 0, 0]),
    ],
    "vgg_m": [
        ("conv1", 7, 8, 1, 2, 0), OXFORD, (3, 2, [0, 0, 0, 0]),
        ("conv2", 5, 16, 1, 2, 1), OXFORD, (3, 2, [0, 1, 0, 1]),
        ("conv3", 3, 32, 1, 1, 1), ("conv4", 3, 32, 1, 1, 1), ("conv5", 3, 32, 1, 1, 1),
        (3, 2, [0, 0, 0, 0]),
    ],
    "vgg_s": [
        ("conv1", 7, 8, 1, 2, 0), OXFORD, (3, 3, [0, 2, 0, 2]),
        ("conv2", 5, 16, 1, 1, 0), (2, 2, [0, 1, 0, 1]),
        ("conv3", 3, 32, 1, 1, 1), ("conv4", 3, 32, 1, 1, 1), ("conv5", 3, 32, 1, 1, 1),
        (3, 3, [0, 1, 0, 1]),
    ],
    "vgg16": [
        layer
        for block, (channels, count) in enumerate([(8, 2), (8, 2), (16, 3), (32, 3), (32, 3)], 1)
        for layer in [*((f"conv{block}_{i + 1}", 3, channels, 1, 1, 1) for i in range(count)),
                      (2, 2, [0, 0, 0, 0])]
    ],
}  # fmt: skip
TOP = {"alexnet": 13, "vgg_m": 13, "vgg_s": 17, "vgg16": 14}


def conv_layer(name, filters, biases, stride, pad, old):
    weights = {"filters": filters, "biases": biases} if old else {"weights": cell(filters, biases)}
    return {"type": "conv", "name": name, "stride": float(stride), "pad": float(pad), **weights}


def cell(*items):
    made = np.empty((1, len(items)), dtype=object)
    made[0, :] = items
    return made


@cache
def network(architecture, old=False):
    """The layers of a synthetic file, as dicts, with random weights of He's size."""
    rng = np.random.default_rng(ARCHITECTURES.index(architecture))

    def filters(k, taken, made):
        scale = np.sqrt(2 / (k * k * taken))
        return (rng.standard_normal((k, k, taken, made)) * scale).astype(np.float32)

    def biases(made):
        return rng.standard_normal((1, made)).astype(np.float32)

    layers, channels = [], 3
    for layer in NETS[architecture]:
        if isinstance(layer, list):
            layers.append({"type": "normalize" if old else "lrn", "name": f"norm{len(layers)}",
                           "param": np.array([layer], float)})
        elif len(layer) == 3:
            layers.append({"type": "pool", "name": f"pool{len(layers)}", "method": "max",
                           "pool": np.array([[layer[0]] * 2], float), "stride": float(layer[1]),
                           "pad": np.array([layer[2]], float)})
        else:
            name, k, made, groups, stride, pad = layer
            layers.append(conv_layer(name, filters(k, channels // groups, made), biases(made),
                                     stride, pad, old))
            layers.append({"type": "relu", "name": f"relu{len(layers)}"})
            channels = made
    k = 7 if architecture == "vgg16" else 6
    for name, k, made in (("fc6", k, FC), ("fc7", 1, FC), ("fc8", 1, 10)):
        layers.append(conv_layer(name, filters(k, channels, made), biases(made), 1, 0, old))
        layers.append({"type": "relu", "name": f"relu{name[2:]}"})
        channels = made
    layers[-1] = {"type": "softmax", "name": "prob"}
    return layers


def mean_image(architecture):
    side = PAPER_SIZE[architecture]
    if architecture == "vgg16":  # a colour
        return np.array([123.7, 116.8, 103.9], np.float32).reshape(1, 1, 3)
    rows, columns = np.mgrid[:side, :side]
    image = np.stack([100 + rows / 10, 90 + columns / 10, 80 + 0 * rows], axis=2)
    return image.astype(np.float32)


def write(path, architecture, layers=None, old=False, mean=None, size=None, compress=True):
    size = size or PAPER_SIZE[architecture]
    layers = network(architecture, old) if layers is None else layers
    normalization = {
        "averageImage": mean_image(architecture) if mean is None else mean,
        "imageSize": np.array([[size, size, 3, 10]], float),
        "interpolation": "bicubic",
    }
    classes = {"name": cell("n01440764", "n01443537"), "description": cell("tench", "goldfish")}
    rest = {"normalization": normalization, "classes": classes}
    savemat(path, {"layers": cell(*layers), **(rest if old else {"meta": rest})},
            do_compression=compress)
    return path


def narrow(architecture, **settings):
    torch.manual_seed(5)
    settings = {"size": PAPER_SIZE[architecture], **settings}
    return build(architecture, width=NARROW, batch_norm=False, **settings).eval()


def changed(architecture, called, **fields):
    """The layers of a synthetic file with one of them changed."""
    return [{**layer, **fields} if layer["name"] == called else layer
            for layer in network(architecture)]


# MatConvNet's definitions: maps (H, W, C), correlation, LRN without a division by N, padding
# [top bottom left right], maximum over the part of a window that is within the map


def convolve(x, layer):
    filters, biases = layer["weights"].flat if "weights" in layer else (
        layer["filters"], layer["biases"])
    pad, stride = int(layer["pad"]), int(layer["stride"])
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    k, _, taken, made = filters.shape
    groups = x.shape[2] // taken
    after = (x.shape[0] - k) // stride + 1
    y = np.zeros((after, after, made)) + biases.reshape(-1)
    for g in range(groups):
        own = slice(g * made // groups, (g + 1) * made // groups)
        for i in range(k):
            for j in range(k):
                part = x[i:, j:, g * taken : (g + 1) * taken]
                part = part[: stride * after : stride, : stride * after : stride][:after, :after]
                y[:, :, own] += part @ filters[i, j, :, own].astype(float)
    return y


def normalize(x, layer):
    n, kappa, alpha, beta = layer["param"].reshape(-1)
    y = np.empty_like(x)
    for q in range(x.shape[2]):
        window = x[:, :, max(0, q - int(n - 1) // 2) : q + int(n - 1) // 2 + 1]
        y[:, :, q] = x[:, :, q] / (kappa + alpha * (window**2).sum(axis=2)) ** beta
    return y


def pool(x, layer):
    k, stride = int(layer["pool"].flat[0]), int(layer["stride"])
    top, bottom, left, right = layer["pad"].reshape(-1).astype(int)
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=-np.inf)
    after = (x.shape[0] - k) // stride + 1
    return np.array([[x[i * stride : i * stride + k, j * stride : j * stride + k].max(axis=(0, 1))
                      for j in range(after)] for i in range(after)])


def evaluate(layers, pixels, mean, last):
    """pixels (H, W, 3), RGB, through the layers up to the one named `last`; (H', W', C)."""
    x = pixels.astype(float) - mean
    for layer in layers:
        if layer["type"] == "conv":
            x = convolve(x, layer)
        elif layer["type"] in ("normalize", "lrn"):
            x = normalize(x, layer)
        elif layer["type"] == "pool":
            x = pool(x, layer)
        else:
            x = np.maximum(x, 0)
        if layer["name"] == last:
            return x
    raise AssertionError(last)


def pixels(side, count=1):
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 3, 16, 16)).astype(np.float32)
    images = F.interpolate(torch.from_numpy(coarse), (side, side), mode="bilinear")
    noise = torch.from_numpy(rng.integers(-20, 21, images.shape).astype(np.float32))
    return (images + noise).clamp(0, 255).to(torch.uint8)


def close(found, expected, tolerance=1e-4):
    """Compare (C, H, W) with (H, W, C), relative to the largest value."""
    expected = expected.transpose(2, 0, 1)
    assert found.shape == expected.shape
    return np.abs(found.numpy() - expected).max() < tolerance * np.abs(expected).max()


# the same numbers


@pytest.mark.parametrize("old", [True, False], ids=["old", "new"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_map_and_fc7_are_those_of_the_definitions(architecture, old, tmp_path):
    layers = network(architecture, old)
    path = write(tmp_path / "net.mat", architecture, old=old, compress=old)
    public = matconvnet(path, architecture, width=NARROW)
    images = pixels(PAPER_SIZE[architecture])
    inputs = Normalisation(public)(images)
    last = NETS[architecture][-2][0]
    top = evaluate(layers, images[0].numpy().transpose(1, 2, 0), mean_image(architecture), last)
    assert top.shape[0] == TOP[architecture] and np.abs(top).max() > 1

    # the interpretable performer: what the inserted conv layer is given
    performer = narrow(architecture)
    into(performer, public)
    with torch.no_grad():
        below = performer.features[:-1](inputs)[0]
    assert close(below, np.maximum(top, 0))

    # the ordinary one, with FC layers
    ordinary = narrow(architecture, interpretable=False)
    into(ordinary, public, fc=True)
    with torch.no_grad():
        z = ordinary.features(inputs)
        fc7 = ordinary.head[:7](z)[0, :, None, None]
    assert close(z[0], top)
    at = [layer["name"] for layer in layers].index(last)
    assert close(fc7, evaluate(layers[at + 1 :], top, 0, "fc7"))


def test_ungrouped_weights_would_give_other_numbers(tmp_path):
    # a mistake of public ports: the halves' filters in an ungrouped layer, each seeing both halves
    layers = network("alexnet")
    public = matconvnet(write(tmp_path / "net.mat", "alexnet"), "alexnet", width=NARROW)
    performer = narrow("alexnet")
    into(performer, public)
    grouped = performer.features[4]
    assert grouped.groups == 2 and grouped.weight.shape == (16, 4, 5, 5)
    maps = np.random.default_rng(0).standard_normal((9, 9, 8))
    expected = convolve(maps, layers[4])
    inputs = torch.from_numpy(maps.transpose(2, 0, 1)).float()[None]
    with torch.no_grad():
        ungrouped = nn.Conv2d(8, 16, 5, padding=2)
        ungrouped.weight.copy_(torch.cat([grouped.weight, grouped.weight], dim=1))
        ungrouped.bias.copy_(grouped.bias)
        assert close(grouped(inputs)[0], expected)
        assert not close(ungrouped(inputs)[0], expected, 0.1)


@pytest.mark.parametrize("architecture", ["alexnet", "vgg_m", "vgg_s"])
def test_the_lrn_of_the_files_is_the_performers(architecture):
    # alpha is not divided by N in these files and is divided by it in torch
    x = 100 * np.random.default_rng(0).random((2, 2, 9))
    norm = next(m for m in narrow(architecture).features if isinstance(m, nn.LocalResponseNorm))
    layer = next(m for m in network(architecture) if m["type"] == "lrn")
    found = norm(torch.from_numpy(x.transpose(2, 0, 1))[None])[0]
    assert close(found, normalize(x, layer))
    param = layer["param"] * [1, 1, 5, 1]
    assert not close(found, normalize(x, {"param": param}), 1e-2)


def test_padding_that_never_matters_is_accepted(tmp_path):
    # later converted files pad every pooling by stride - 1 at the bottom and on the right
    layers = [{**m, "pad": np.array([[0, 1, 0, 1.0]])} if m["type"] == "pool" else m
              for m in network("alexnet")]
    path = write(tmp_path / "net.mat", "alexnet", layers)
    assert matconvnet(path, "alexnet", width=NARROW).size == 227


@pytest.mark.parametrize("style", ["defaults", "dropout", "single", "net"])
def test_other_ways_to_write_the_same_network(style, tmp_path):
    layers, path = network("vgg16"), tmp_path / "net.mat"
    if style == "defaults":  # pad 0, stride 1 and the name may be left out
        layers = [{k: v for k, v in m.items() if k not in ("stride", "name", "method")
                   or m["type"] == "pool" and k == "stride"} for m in layers]
        layers = [{**m, "pad": np.zeros((0, 0))} if m["type"] == "pool" else m for m in layers]
    elif style == "dropout":
        layers = [*layers[:-4], {"type": "dropout", "name": "d", "rate": 0.5}, *layers[-4:]]
    elif style == "single":
        layers = [{**m, "biases": m["biases"].T.astype(float)} if "biases" in m else m
                  for m in network("vgg16", old=True)]
    write(path, "vgg16", layers)
    if style == "net":
        meta = {"normalization": {"averageImage": mean_image("vgg16").reshape(3, 1),
                                  "imageSize": np.array([[224.0, 224, 3]])}}
        savemat(path, {"net": {"layers": cell(*layers), "meta": meta}})
    public = matconvnet(path, "vgg16", width=NARROW)
    expected = matconvnet(write(path, "vgg16", old=style == "single"), "vgg16", width=NARROW)
    assert public.state.keys() == expected.state.keys() and len(public.state) == 2 * 15
    for key, value in public.state.items():
        assert torch.equal(value, expected.state[key]) and value.dtype == torch.float32
    assert torch.equal(public.mean, expected.mean)


# what is set


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_set_and_what_stays_fresh(architecture, tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", architecture), architecture, width=NARROW)
    performer = narrow(architecture)
    before = {key: value.clone() for key, value in performer.state_dict().items()}
    put = into(performer, public)
    after = performer.state_dict()
    assert set(put.set) | set(put.fresh) == set(after) and not set(put.set) & set(put.fresh)
    convs = 13 if architecture == "vgg16" else 5
    assert len(put.set) == 2 * convs
    inserted = len(performer.features) - 1
    heads = [f"head.{i}.{kind}" for i in (3, 6, 9) for kind in ("weight", "bias")]
    fresh = [key for key in put.fresh if not key.startswith("mask.")]
    assert fresh == [f"features.{inserted}.weight", f"features.{inserted}.bias", *heads]
    for key in put.fresh:
        assert torch.equal(after[key], before[key])
    for key in put.set:
        assert torch.equal(after[key], public.state[key]) and not torch.equal(
            after[key], before[key])
    assert all(p.requires_grad for p in performer.parameters())

    ordinary = narrow(architecture, interpretable=False)
    assert into(ordinary, public, fc=True).fresh == ("head.9.weight", "head.9.bias")
    assert torch.equal(ordinary.head[3].weight, public.state["head.3.weight"])


def test_a_smaller_input_keeps_the_published_stem(tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "vgg_m"), "vgg_m", width=NARROW)
    performer = narrow("vgg_m", size=160)
    assert len(into(performer, public).set) == 10
    with torch.no_grad():
        z, _ = performer.maps(Normalisation(public)(pixels(160, 2)))
    assert z.shape[:2] == (2, 32) and bool(z.isfinite().all())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"architecture": "vgg_s"}, r"features\.3 is MaxPool2d\(kernel_size=3, stride=2,"),
        ({"architecture": "vgg16"}, r"features\.0 is Conv2d\(3, 8, kernel_size=\(7, 7\)"),
        ({"size": 64}, r"features\.0 is Conv2d\(3, 8.*padding=\(3, 3\)\) here"),
        ({"width": 0.25}, r"features\.0 is Conv2d\(3, 8.*Conv2d\(3, 24"),
        ({"batch_norm": True}, r"features\.0 is Conv2d\(.*bias=False\) here"),
    ],
)
def test_weights_of_another_network_are_not_set(settings, text, tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "vgg_m"), "vgg_m", width=NARROW)
    settings = {"architecture": "vgg_m", "size": 224, "width": NARROW, "batch_norm": False,
                **settings}
    performer = build(**settings)
    before = {key: value.clone() for key, value in performer.state_dict().items()}
    with pytest.raises(InputError, match=text) as error:
        into(performer, public)
    assert "\n" not in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in performer.state_dict().items())


def test_fc_weights_fit_or_are_refused(tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "vgg_m"), "vgg_m", width=NARROW)
    with pytest.raises(InputError, match="fc: the FC weights belong right behind"):
        into(narrow("vgg_m"), public, fc=True)
    other = narrow("vgg_m", interpretable=False, fc=24)
    before = other.features[0].weight.clone()
    with pytest.raises(InputError, match=r"head\.3\.weight has shape \(16, 1152\) there"):
        into(other, public, fc=True)
    assert torch.equal(other.features[0].weight, before)
    assert len(into(other, public).set) == 10


# preparation


def test_preparation_subtracts_the_mean_image(tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "alexnet"), "alexnet", width=NARROW)
    images = pixels(227, 2)
    before = images.clone()
    found = Normalisation(public)(images)
    mean = mean_image("alexnet")
    assert found.dtype == torch.float32 and found.shape == (2, 3, 227, 227)
    for b, c, row, column in [(0, 0, 0, 0), (1, 0, 200, 3), (0, 1, 5, 210), (1, 2, 100, 100)]:
        expected = float(images[b, c, row, column]) - mean[row, column, c]
        assert found[b, c, row, column].item() == pytest.approx(expected, abs=1e-4)
    assert torch.equal(images, before)


def test_a_mean_image_of_another_size_is_resized(tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "alexnet"), "alexnet", width=NARROW)
    images = pixels(160)
    mean = images.float() - Normalisation(public)(images)
    assert mean.shape == (1, 3, 160, 160)
    # a ramp stays a ramp: the centre of row r lies at (r + 0.5) / 160 of the height
    rows = (torch.arange(2, 158) + 0.5) / 160 * 227 - 0.5
    torch.testing.assert_close(mean[0, 0, 2:158, 80], 100 + rows / 10, atol=1e-3, rtol=0)


@pytest.mark.parametrize("images", [
    torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8),
    torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
])
def test_preparation_says_what_it_takes(images, tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "vgg16"), "vgg16", width=NARROW)
    with pytest.raises(InputError, match=r"images: .* is not uint8 of shape \(B, 3, H, W\)"):
        Normalisation(public)(images)


def test_preparation_goes_to_the_processes_of_a_loader(tmp_path):
    public = matconvnet(write(tmp_path / "net.mat", "vgg16"), "vgg16", width=NARROW)
    again = pickle.loads(pickle.dumps(Normalisation(public)))
    assert torch.equal(again(pixels(16)), Normalisation(public)(pixels(16)))


# files that are refused


class Malicious:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def refused(path, architecture="vgg_m", read=matconvnet, **settings):
    with pytest.raises(InputError) as error:
        read(path, architecture, width=NARROW, **settings)
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    return message.replace(str(path), "FILE")


@pytest.mark.parametrize("read", [matconvnet, torchvision_weights])
def test_a_missing_file_and_a_folder(read, tmp_path):
    missing = refused(tmp_path / "none.mat", "vgg16", read)
    assert missing == "weights: FILE can't be read (No such file or directory)"
    assert refused(tmp_path, "vgg16", read) == "weights: FILE can't be read (Is a directory)"
    # scipy would try another name
    write(tmp_path / "net.mat", "vgg16")
    assert "can't be read" in refused(tmp_path / "net", "vgg16", read)


def test_a_file_for_matlab_without_scipy(tmp_path, monkeypatch):
    path = write(tmp_path / "net.mat", "vgg_m")
    monkeypatch.setitem(sys.modules, "scipy.io", None)  # as if it were not installed
    assert refused(path) == "weights: FILE needs the package scipy, which is not installed"


@pytest.mark.parametrize("content", [b"", b"not a network", b"P" * 4096], ids=len)
def test_not_a_mat_file(content, tmp_path):
    path = tmp_path / "net.mat"
    path.write_bytes(content)
    assert refused(path) == "weights: FILE is no .mat file of MATLAB's format 5"


def test_format_7_3(tmp_path):
    path = tmp_path / "net.mat"
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(200))
    assert "is of MATLAB's format 7.3 (HDF5); save it again in MATLAB with '-v7'" in refused(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    assert "(HDF5)" in refused(path)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.9, 0.999])
def test_truncated(share, compress, tmp_path):
    path = write(tmp_path / "net.mat", "vgg_m", compress=compress, mean=np.zeros(3))
    whole = path.read_bytes()
    path.write_bytes(whole[: 128 + int(share * (len(whole) - 128))])
    message = refused(path)
    assert message == "weights: FILE is damaged or cut off" or share == 0 and "no list" in message


def test_a_pickle_is_not_run(tmp_path):
    path, made = tmp_path / "net.mat", tmp_path / "made"
    path.write_bytes(pickle.dumps(Malicious(made)))
    assert refused(path) == "weights: FILE is no .mat file of MATLAB's format 5"
    assert not made.exists()
    pickle.loads(path.read_bytes())  # it would have
    assert made.exists()


@pytest.mark.parametrize(
    ("there", "here", "text"),
    [
        ("alexnet", "vgg_m", "layer 1 is conv1: conv 11x11x3x8, stride 4, pad 0 there and conv1: "
                             "conv 7x7x3x8, stride 2, pad 0 here"),
        ("vgg_m", "vgg_s", "layer 4 is pool3: max pool 3x3, stride 2, to 54x54 there and "
                           "max pool 3x3, stride 3, to 37x37 here"),
        ("vgg16", "vgg_m", "layer 1 is conv1_1: conv 3x3x3x8"),
        ("vgg_s", "vgg_m", "layer 4 is pool3: max pool 3x3, stride 3, to 37x37 there"),
    ],
)
def test_another_architecture(there, here, text, tmp_path):
    message = refused(write(tmp_path / "net.mat", there), here)
    assert message.startswith(f"weights: FILE is of another network ({text}"), message


def swapped(layers, a, b):
    layers = list(layers)
    layers[a], layers[b] = layers[b], layers[a]
    return layers


@pytest.mark.parametrize(
    ("architecture", "layers", "text"),
    [
        # pooling before LRN: the other of Caffe's two AlexNets
        ("alexnet", lambda: swapped(network("alexnet"), 2, 3),
         "layer 3 is pool3: max pool 3x3, stride 2, to 27x27 there and normalize 5 1 2e-05 0.75"),
        ("vgg16", lambda: swapped(network("vgg16"), 19, 21), "layer 20 is conv4_3: conv 3x3x32x32"),
        ("vgg_m", lambda: network("vgg_m")[:9], "ends before layer 10, relu"),
        ("vgg_m", lambda: network("vgg_m")[:10], "ends before layer 11, conv4: conv 3x3x32x32"),
        ("vgg_m", lambda: network("vgg_m")[:5] + network("vgg_m")[6:],
         "layer 6 is norm6: normalize 5 2 0.0001 0.75 there and relu here"),
        ("vgg_m", lambda: changed("vgg_m", "conv4", pad=0.0), "stride 1, pad 0 there and conv4"),
        ("vgg_m", lambda: changed("vgg_m", "conv4", stride=np.array([[1.0, 2]])), "stride [1 2]"),
        ("vgg_m", lambda: changed("vgg_m", "conv4", dilate=2.0), "dilate 2 there"),
        ("vgg_m", lambda: changed("vgg_m", "conv2", pad=np.array([[1.0, 1, 0, 1]])),
         "pad [1 1 0 1]"),
        ("vgg_m", lambda: changed("vgg_m", "pool7", pad=np.array([[1.0, 0, 1, 0]])),
         "max pool 3x3, stride 2, to 13x13, pad [1 0 1 0] there"),
        ("vgg_m", lambda: changed("vgg_m", "pool7", pad=0.0), "to 12x12 there"),
        ("vgg_m", lambda: changed("vgg_m", "pool7", method="avg"), "avg pool 3x3"),
        ("vgg_m", lambda: changed("vgg_m", "norm2", param=np.array([[5, 2, 5e-4, 0.75]])),
         "normalize 5 2 0.0005 0.75 there and normalize 5 2 0.0001 0.75 here"),
        ("vgg_m", lambda: changed("vgg_m", "relu1", leak=0.1), "relu, leak 0.1 there and relu"),
        ("vgg_m", lambda: changed("vgg_m", "relu1", type="bnorm"), "bnorm there and relu here"),
        ("vgg_m", lambda: changed("vgg_m", "relu1", type="bnorm", name=""), "2 is bnorm there"),
        ("alexnet", lambda: changed("alexnet", "conv2", weights=cell(
            np.zeros((5, 5, 8, 16), np.float32), np.zeros(16, np.float32))),
         "conv2: conv 5x5x8x16, stride 1, pad 2 there and conv2: conv 5x5x4x16"),
        ("vgg_m", lambda: changed("vgg_m", "conv3", weights=cell(
            np.zeros((3, 3, 16, 32)), np.zeros(31))), "conv3 has 31 biases there and 32 here"),
        ("vgg_m", lambda: changed("vgg_m", "conv3", weights=cell(np.zeros((3, 3, 16, 32)))),
         "layer 9, conv3: conv 3x3x16x32, stride 1, pad 1, can't be understood there"),
        ("vgg_m", lambda: changed("vgg_m", "conv3", weights="none"), "can't be understood"),
        ("vgg_m", lambda: changed("vgg_m", "fc7", weights=cell(
            np.zeros((1, 1, 16, 8)), np.zeros(8))), "fc7: conv 1x1x16x8"),
        ("vgg_m", lambda: changed("vgg_m", "conv3", weights=cell(
            np.full((3, 3, 16, 32), np.nan), np.zeros(32))), "not numbers (features.8.weight)"),
        ("vgg_m", lambda: [], "ends before layer 1"),
        ("vgg_m", lambda: ["a", "b"], "holds no MatConvNet network"),
    ],
)
def test_the_first_layer_that_differs_is_named(architecture, layers, text, tmp_path):
    layers = layers()
    message = refused(write(tmp_path / "net.mat", architecture, layers), architecture)
    assert text in message, message


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (np.full((224, 224), 100.0), "mean image of shape (224, 224), not (H, W, 3)"),
        (np.full((224, 224, 4), 100.0), "mean image of shape (224, 224, 4)"),
        (np.full((3, 224, 224), 100.0), "mean image of shape (3, 224, 224)"),
        (np.full(4, 100.0), "mean image of shape (1, 4)"),
        (np.full((1, 1, 3), -1.0), "values from 0 to 255"),
        (np.full((1, 1, 3), np.nan), "values from 0 to 255"),
        (np.zeros((0, 0)), "lacks the mean image"),
        (np.zeros((0, 0, 3)), "lacks the mean image"),
        ("a grey one", "lacks the mean image"),
    ],
)
def test_a_mean_image_that_is_none(mean, text, tmp_path):
    assert text in refused(write(tmp_path / "net.mat", "vgg_m", mean=mean))


def test_a_file_without_network_or_mean_or_of_another_size(tmp_path):
    path = tmp_path / "net.mat"
    savemat(path, {"anno": np.zeros(3)})
    assert "holds no MatConvNet network" in refused(path)
    savemat(path, {"layers": np.zeros(3)})
    assert "holds no MatConvNet network" in refused(path)
    savemat(path, {"layers": cell(*network("vgg_m"))})
    assert "lacks the mean image or the input size" in refused(path)
    savemat(path, {"layers": cell(*network("vgg_m")), "meta": {"normalization": 1.0}})
    assert "lacks the mean image or the input size" in refused(path)
    write(path, "vgg_m", size=227)
    assert "is for images of size [227.0, 227.0], not [224, 224]" in refused(path)
    assert "did you mean vgg_m" in refused(path, "vgg-m")


# torchvision


def shrunk(module, channels=3):
    """torchvision's own layers with NARROW times the channels."""
    layers = []
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            made = max(8, round(layer.out_channels * NARROW / 8) * 8)
            layer = nn.Conv2d(channels, made, layer.kernel_size, layer.stride, layer.padding)
            channels = made
        layers.append(layer)
    return nn.Sequential(*layers), channels


@cache
def torchvisions(architecture):
    """A narrow network with torchvision's modules and names."""
    with torch.device("meta"):
        model = {"vgg16": torchvision.models.vgg16,
                 "torchvision_alexnet": torchvision.models.alexnet}[architecture]()
    torch.manual_seed(2)
    model.features, channels = shrunk(model.features)
    across, place = (7 if architecture == "vgg16" else 6), 0
    taken, made = channels * across**2, [FC, FC, 10]
    for index, layer in enumerate(model.classifier):
        if isinstance(layer, nn.Linear):
            model.classifier[index] = nn.Linear(taken, made[place])
            taken, place = made[place], place + 1
    return model.eval()


def performer_of(architecture, **settings):
    if architecture == "vgg16":
        return narrow("vgg16", **settings)
    torch.manual_seed(5)
    return torchvision_alexnet(width=NARROW, **settings).eval()


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "old.pth"])
@pytest.mark.parametrize("architecture", ["vgg16", "torchvision_alexnet"])
def test_torchvisions_networks(architecture, suffix, tmp_path):
    model, path = torchvisions(architecture), tmp_path / f"net.{suffix}"
    if suffix == "safetensors":
        save_file(model.state_dict(), path)
    else:  # the public file of VGG-16 is of torch's older format
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=suffix == "pth")
    public = torchvision_weights(path, architecture, width=NARROW)
    images = pixels(224, 2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    inputs = Normalisation(public)(images)
    torch.testing.assert_close(inputs, expected, atol=1e-5, rtol=1e-5)

    performer = performer_of(architecture, interpretable=False)
    put = into(performer, public, fc=True)
    assert put.fresh == ("head.9.weight", "head.9.bias")
    performer.head[9] = model.classifier[6]
    with torch.no_grad():
        torch.testing.assert_close(performer(inputs), model(expected), atol=1e-4, rtol=1e-4)
        performer = performer_of(architecture)
        into(performer, public)
        depth = 30 if architecture == "vgg16" else 12
        torch.testing.assert_close(performer.features[:depth](inputs),
                                   model.features[:depth](expected), atol=1e-4, rtol=1e-4)
        assert performer(inputs).shape == (2, 1)
    assert len(performer.features) == depth + 1  # and the inserted conv layer


def test_torchvisions_alexnet_is_torchvisions():
    with torch.device("meta"):
        ours, theirs = torchvision_alexnet(outputs=1000), torchvision.models.alexnet()
    assert [str(m) for m in ours.features[:-1]] == [str(m) for m in theirs.features[:-1]]
    n = ours.n
    total = sum(p.numel() for p in ours.parameters()) - (n * n * 9 + n)
    assert total == sum(p.numel() for p in theirs.parameters()) == 61_100_840
    with pytest.raises(InputError, match="width"):
        torchvision_alexnet(width=0)


def test_torchvisions_colours_are_torchvisions():
    preset = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    assert [list(c) for c in torchvision_networks._IMAGENET_COLOUR] == [preset.mean, preset.std]


def test_torchvisions_alexnet_does_not_go_into_the_papers(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(torchvisions("torchvision_alexnet").state_dict(), path)
    message = refused(path, "alexnet", torchvision_weights)
    assert "torchvision's AlexNet is not the paper's" in message
    assert "torchvision_networks.torchvision_alexnet" in message
    public = torchvision_weights(path, "torchvision_alexnet", width=NARROW)
    with pytest.raises(InputError, match=r"of another network \(features\.0 is Conv2d"):
        into(narrow("alexnet"), public)
    message = refused(path, "vgg16", torchvision_weights)
    assert ("(features.0.weight has shape (8, 3, 11, 11) there and has shape (8, 3, 3, 3) here)"
            in message)
    assert "not one of vgg16" in refused(path, "vgg_m", torchvision_weights)


def test_torchvision_files_that_are_refused(tmp_path):
    state, path = torchvisions("vgg16").state_dict(), tmp_path / "net.pth"

    def message(content):
        torch.save(content, path)
        return refused(path, "vgg16", torchvision_weights)

    assert "features.10.bias is missing there" in message(
        {k: v for k, v in state.items() if k != "features.10.bias"})
    assert "features.1.running_mean is there and not here" in message(
        {**state, "features.1.running_mean": torch.zeros(8)})
    assert "classifier.0.weight has shape (16, 3)" in message(
        {**state, "classifier.0.weight": torch.zeros(16, 3)})
    # torchvision's IMAGENET1K_FEATURES: no FC weights, and made for other inputs
    assert "not numbers (head.3.weight)" in message(
        {**state, "classifier.0.weight": state["classifier.0.weight"] * torch.nan})
    assert "holds no state dict" in message([1, 2])
    assert "holds no state dict" in message({"state_dict": state})


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_torchvision_files(suffix, tmp_path):
    path, state = tmp_path / f"net.{suffix}", torchvisions("vgg16").state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"P" * 5000):
        path.write_bytes(content)
        assert "is damaged or holds something beside weights" in refused(
            path, "vgg16", torchvision_weights)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", ["pth", "bin", "safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_torch_file_is_not_run(zipped, suffix, tmp_path):
    path, made = tmp_path / f"net.{suffix}", tmp_path / "made"
    content = {"features.0.weight": Malicious(made)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    message = refused(path, "vgg16", torchvision_weights)
    assert message.endswith("holds something beside weights (no code in it was run)")
    assert not made.exists()


# the other files of weights: the trunk's, and those that the experiments keep


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_for_the_trunk_is_not_run(zipped, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    path, made = tmp_path / "net.pth", tmp_path / "made"
    content = {"_conv_stem.weight": Malicious(made)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=rf"^weights: {path} ") as error:
        efficientnet_lite0(path)
    assert "\n" not in str(error.value) and not made.exists()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """What both experiments load a performer with; returns it and how often it was trained."""
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    settings, trained = load_settings("smoke", device="cpu"), []

    def run(architecture="vgg_m"):
        def train(**kept):
            trained.append(architecture)
            return []

        net = build(architecture, size=64, width=NARROW)
        kept_performer(net, tmp_path / "kept.safetensors", settings, train, dict,
                       "semquant.networks.performers")
        return net, trained

    return run


def test_a_pickle_in_place_of_kept_weights_is_set_aside_and_not_run(kept, tmp_path, capsys):
    path, made = tmp_path / "kept.safetensors", tmp_path / "made"
    path.write_bytes(pickle.dumps({"head.9.weight": Malicious(made)}))
    net, trained = kept()
    assert trained == ["vgg_m"] and not made.exists()
    assert "does not match its checksum: set aside as kept.safetensors.damaged" in (
        capsys.readouterr().err)
    again, trained = kept()
    assert trained == ["vgg_m"]  # read, not trained once more
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in again.state_dict().items())


def test_kept_weights_of_another_network_are_one_line(kept):
    kept("vgg_m")
    with pytest.raises(InputError) as error:
        kept("vgg_s")
    assert str(error.value).startswith("weights: kept.safetensors is of another architecture (")
    assert str(error.value).count("there and") == 1 and "\n" not in str(error.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path, made = tmp_path / "c.pt", tmp_path / "made"
    write_checked(path, lambda beside: torch.save({"key": "", "module": Malicious(made)}, beside))
    with pytest.raises((InputError, pickle.UnpicklingError)):
        Checkpoint(path).load()
    assert not made.exists()


@pytest.mark.parametrize("content", [
    b"\x80\x02X\x05\x00\x00\x00\xff\xfe\xfd\xfc\xfb.", b"\x80\x02.", b"\x80\x02\x8a\x0al\xfc\x9c",
], ids=["text", "empty", "cut"])
def test_damaged_files_for_the_trunk(content, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^weights: {path} .*no code in the file was run") as error:
        efficientnet_lite0(path)
    assert "\n" not in str(error.value)


def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path):
    path, state = tmp_path / "net.pth", torchvisions("vgg16").state_dict()
    key = "features.0.weight"
    for change in ({5: torch.zeros(1)}, {key: state[key].to_sparse()}, {key: state[key].to("meta")}):
        torch.save({**state, **change}, path)
        assert "holds no state dict" in refused(path, "vgg16", torchvision_weights)


@pytest.mark.parametrize("content", ["pickle", "cut", "other tensors", "other settings", "none"])
def test_files_that_are_no_explainer_are_one_line(content, tmp_path):
    path, made = tmp_path / "g.safetensors", tmp_path / "made"
    fitted = FittedExplainer(Explainer(4, 3, 5))
    fitted.save(path)
    if content == "pickle":
        path.write_bytes(pickle.dumps(Malicious(made)))
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "other tensors":
        about = json.dumps({"settings": fitted.g.settings, "names": None})
        save_file({"last.bias": torch.zeros(3)}, path, metadata={"explainer": about})
    elif content == "other settings":
        save_file({"last.bias": torch.zeros(3)}, path, metadata={"explainer": "{}"})
    else:
        path.unlink()
    with pytest.raises(InputError, match=str(path)) as error:
        FittedExplainer.load(path)
    assert "\n" not in str(error.value) and not made.exists()
