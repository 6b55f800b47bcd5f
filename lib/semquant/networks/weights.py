"""Weights trained on ImageNet by others, put into the performers::

    public = matconvnet("imagenet-vgg-m.mat", "vgg_m")
    net = performers.build("vgg_m", size=224, width=1, batch_norm=False)
    into(net, public)                     # the conv layers; the inserted one and the FC stay fresh
    logits = net(net.prepare(images))     # pixels minus the public network's mean image

MatConvNet publishes all four networks: imagenet-caffe-alex, imagenet-vgg-m, imagenet-vgg-s and
imagenet-vgg-verydeep-16. torchvision has VGG-16 and another AlexNet, which fits no table of the
paper (`torchvision_alexnet`). No code in a file is run, and a file that is not the network it is
said to be is refused with the first layer that differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.io import loadmat
from torch import Tensor, nn

from semquant.checks import InputError, number, one_of
from semquant.networks.performers import (
    ARCHITECTURES,
    PAPER_SIZE,
    Performer,
    build,
    initialise,
    interpretable_top,
)

__all__ = [
    "Preparation",
    "Public",
    "Put",
    "into",
    "matconvnet",
    "preparation",
    "torchvision_alexnet",
    "torchvision_weights",
]

# fc6 and fc7: their places in a performer's head, and in torchvision's classifier
_CLASSIFIER = {"vgg16": {"3": "0", "6": "3"}, "torchvision_alexnet": {"3": "1", "6": "4"}}
_IMAGENET_COLOUR = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean, std of pixels / 255


@dataclass(frozen=True)
class Public:
    """Weights of a public network, checked, and named as in the performer they are for.

    Parameters
    ----------
    architecture : str
        One of `performers.ARCHITECTURES`, or ``"torchvision_alexnet"``.
    source : str
        The file.
    state : dict of Tensor
        ``features.*``: published conv layers, (Cout, Cin / groups, H, W) and (Cout,). ``head.*``:
        fc6 and fc7, (Cout, Cin) with Cin in the order C, H, W, and (Cout,). float32.
    layers : tuple of str
        The layers up to the last conv, as torch prints them; LRN's alpha thus in torch's terms.
    mean, std : Tensor, (3, h, w) and (3, 1, 1)
        In pixel units 0 .. 255, RGB: the network takes ``(pixels - mean) / std``. h = w = 1 for a
        mean colour.
    size : int
        Width of the square input the network was trained with, pixels.
    """

    architecture: str
    source: str
    state: dict[str, Tensor] = field(repr=False)
    layers: tuple[str, ...] = field(repr=False)
    mean: Tensor = field(repr=False)
    std: Tensor = field(repr=False)
    size: int


class Put(NamedTuple):
    """Names of the performer's tensors: those that were set and those that stay fresh."""

    set: tuple[str, ...]
    fresh: tuple[str, ...]


class Preparation(nn.Module):
    """Turns pixels into the input of a public network.

    Call it with images (B, 3, H, W), uint8, RGB; returns (B, 3, H, W), float32. A mean image of
    another size is resized to theirs, bilinearly; the images themselves keep their size. Raises
    InputError for images of another shape or type.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)  # no weights: kept out of state dicts
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise InputError(f"images: {images.dtype} of shape {tuple(images.shape)} is not uint8 "
                             "of shape (B, 3, H, W), RGB")
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        if mean.shape[1:] not in {(1, 1), images.shape[2:]}:
            mean = F.interpolate(mean[None], images.shape[2:], mode="bilinear")[0]
        return (images.to(torch.float32) - mean) / std


def preparation(public: Public) -> Preparation:
    """What images go through for these weights, in place of `performers.normalise`.

    Notes
    -----
    The mean is that of the public network's training images; the predecessor subtracted the mean
    of its own.
    """
    return Preparation(public.mean, public.std)


def matconvnet(path: str | Path, architecture: str, *, width: float = 1.0) -> Public:
    """Read a network published by MatConvNet, of the old or the new style of file.

    Parameters
    ----------
    path : path
        A .mat file of MATLAB's format 5 with ``layers``, and the mean image in ``meta`` (new) or
        ``normalization`` (old).
    architecture : {"alexnet", "vgg_m", "vgg_s", "vgg16"}
        What it should hold.
    width : float
        Times the published number of channels, as in `performers.build`; 1 for the public files.

    Returns
    -------
    Public

    Raises
    ------
    InputError
        If the file can't be read, is of another format, or holds another network.

    Notes
    -----
    Checked for every layer up to fc7: name, type, kernel, channels, groups, stride, padding, the
    width of the map behind a pooling, and the four numbers of an LRN, of which the sum over the
    window is not divided by its size there: torch's alpha is theirs times 5. Filters are stored as
    (H, W, Cin / groups, Cout) and applied without a flip, to RGB pixels minus the mean.

    scipy's reader runs no code, but a file whose bytes were changed on purpose can crash it: take
    the files from their publisher, and compare checksums.
    """
    one_of("architecture", architecture, ARCHITECTURES)
    net = _published(architecture, width)
    variables = _mat(path)
    variables = variables.get("net", variables)  # saved as one variable, or as its fields
    layers = variables.get("layers") if isinstance(variables, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise InputError(f"weights: {path} holds no MatConvNet network (no list of layers)")
    state = _fit([layer for layer in layers if layer.get("type") != "dropout"], net, path)
    meta = variables.get("meta", variables)
    normalization = meta.get("normalization") if isinstance(meta, dict) else None
    mean = _mean_image(normalization, net.input_size, path)
    return _public(architecture, path, state, net, mean, torch.ones(3, 1, 1))


def torchvision_weights(path: str | Path, architecture: str, *, width: float = 1.0) -> Public:
    """Read a state dict of torchvision's VGG-16 or AlexNet.

    Parameters
    ----------
    path : path
        A .safetensors file, or one for ``torch.load``; of VGG-16 IMAGENET1K_V1, since
        IMAGENET1K_FEATURES has no FC weights and was made for other inputs.
    architecture : {"vgg16", "torchvision_alexnet"}
        What it should hold. torchvision's AlexNet is not the paper's: 64, 192, 384, 256 and 256
        channels, no groups, no LRN, 224 px. `torchvision_alexnet` builds a performer for it.
    width : float
        Times the published number of channels, as in `performers.build`.

    Returns
    -------
    Public

    Raises
    ------
    InputError
        If the file can't be read, holds anything beside weights, or another network's.
    """
    if architecture == "alexnet":
        raise InputError("architecture: torchvision's AlexNet is not the paper's (other channels, "
                         "no groups, no LRN); 'torchvision_alexnet' reads it for a performer "
                         "built by weights.torchvision_alexnet")
    full = _CLASSIFIER[one_of("architecture", architecture, tuple(_CLASSIFIER))]
    net = _published(architecture, width)
    there, state = _tensors(path), {}
    for key, own in net.state_dict().items():
        part, index, kind = key.split(".")
        name = key if part == "features" else f"classifier.{full.get(index)}.{kind}"
        if part == "head" and index not in full:
            continue
        if name not in there or there[name].shape != own.shape:
            found = f"has shape {tuple(there[name].shape)}" if name in there else "is missing"
            raise InputError(f"weights: {path} is not torchvision's {architecture} ({name} {found} "
                             f"there and has shape {tuple(own.shape)} here)")
        state[key] = there[name].to(torch.float32)
    for name in there:
        if name.startswith("features.") and name not in state:
            raise InputError(f"weights: {path} is not torchvision's {architecture} ({name} is "
                             "there and not here)")
    mean, std = (255 * torch.tensor(colour).reshape(3, 1, 1) for colour in _IMAGENET_COLOUR)
    return _public(architecture, path, state, net, mean, std)


def torchvision_alexnet(
    *, width: float = 1.0, outputs: int = 1, dropout: float = 0.5, interpretable: bool = True
) -> Performer:
    """Build a performer of torchvision's AlexNet, for 224 px, with fresh weights.

    Its layers up to the last conv, then what every performer here ends in
    (`performers.interpretable_top`). Not a network of the paper.

    Parameters
    ----------
    width, outputs, dropout, interpretable
        As in `performers.build`.

    Returns
    -------
    Performer
    """
    number("width", width, 1 / 16, 2)
    layers, channels = [], 3
    for conv in ((64, 11, 4, 2), None, (192, 5, 1, 2), None, (384, 3, 1, 1), (256, 3, 1, 1),
                 (256, 3, 1, 1)):
        if conv is None:
            layers.append(nn.MaxPool2d(3, 2))
            continue
        made = max(8, round(conv[0] * width / 8) * 8)
        layers += [nn.Conv2d(channels, made, *conv[1:]), nn.ReLU(inplace=True)]
        channels = made
    inserted, mask, head = interpretable_top(
        channels, channels, 13, fc=round(4096 * width**2), outputs=outputs, dropout=dropout,
        batch_norm=False,
    )
    if interpretable:
        features = nn.Sequential(*layers, inserted)
    else:
        features, mask = nn.Sequential(*layers[:-1]), nn.Identity()
    return initialise(Performer(features, mask, head, n=channels, map_size=13, input_size=224))


def into(performer: Performer, public: Public, *, fc: bool = False) -> Put:
    """Put public weights into a performer, in place, and what images have to go through for them.

    The inserted conv layer and the last FC layer stay as they are, as in the predecessor.

    Parameters
    ----------
    performer : Performer
        Without batch norm and with the published stem; its input may be smaller than the paper's.
    public : Public
    fc : bool
        Also fc6 and fc7; for a performer without the inserted conv layer, whose output they were
        not trained on.

    Returns
    -------
    Put

    Raises
    ------
    InputError
        If the weights are of another network; it names the first layer or tensor that doesn't
        fit, and nothing has been set then.
    """
    here = [str(layer) for layer in performer.features]
    for index, layer in enumerate(public.layers):
        own = here[index] if index < len(here) else "missing"
        if own != layer:
            own = " ".join(own.split())  # a module with parts prints several lines
            raise InputError(f"weights: {public.source} is of another network (features.{index} "
                             f"is {layer} there and {own} here)")
    if fc and len(here) > len(public.layers):
        raise InputError("fc: the FC weights belong right behind the last published conv layer, "
                         "and this performer has a fresh one between (unless interpretable=False)")
    own, set_ = performer.state_dict(), []
    for key, value in public.state.items():
        if not fc and key.startswith("head."):
            continue
        if key not in own or own[key].shape != value.shape:
            shape = f"shape {tuple(own[key].shape)}" if key in own else "nothing"
            raise InputError(f"weights: {public.source} is of another network ({key} has shape "
                             f"{tuple(value.shape)} there and {shape} here)")
        set_.append(key)
    with torch.no_grad():
        for key in set_:
            own[key].copy_(public.state[key])
    performer.preparation = preparation(public)
    return Put(tuple(set_), tuple(key for key in own if key not in set_))


def _published(architecture: str, width: float) -> Performer:
    """The public network, its shapes only."""
    with torch.device("meta"):
        if architecture == "torchvision_alexnet":
            return torchvision_alexnet(width=width, interpretable=False)
        return build(architecture, size=PAPER_SIZE[architecture], width=width, batch_norm=False,
                     interpretable=False)


def _public(
    architecture: str, path: str | Path, state: dict[str, Tensor], net: Performer, mean: Tensor,
    std: Tensor,
) -> Public:
    for key, value in state.items():
        if not value.isfinite().all():  # torchvision's IMAGENET1K_FEATURES: no FC, other inputs
            raise InputError(f"weights: {path} has values that are not numbers ({key})")
    layers = tuple(str(layer) for layer in net.features)
    return Public(architecture, str(path), state, layers, mean, std, net.input_size)


def _unreadable(path: str | Path, error: Exception, otherwise: str) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else None
    reason = f"can't be read ({reason})" if reason else otherwise
    return InputError(f"weights: {path} {reason}")


def _tensors(path: str | Path) -> Mapping[str, Tensor]:
    try:
        if Path(path).suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may fail anywhere in the readers
        raise _unreadable(path, error, "is damaged or holds something beside weights (no code in "
                          "it was run)") from error
    if not isinstance(found, Mapping) or not all(
            isinstance(name, str) and isinstance(t, Tensor) and t.layout == torch.strided
            and t.device.type == "cpu" and not t.is_quantized for name, t in found.items()):
        raise InputError(f"weights: {path} holds no state dict (names and their tensors)")
    return found


def _mat(path: str | Path) -> dict:
    """The variables of a .mat file, as dicts, lists, strings and arrays."""
    names = ("layers", "meta", "normalization", "net")
    try:
        with open(path, "rb") as file:
            start = file.read(520)
            if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
                raise InputError(f"weights: {path} is of MATLAB's format 7.3 (HDF5); save it again "
                                 "in MATLAB with '-v7'")
            if start[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):  # version and byte order
                raise InputError(f"weights: {path} is no .mat file of MATLAB's format 5")
            file.seek(0)
            found = loadmat(file, variable_names=names)
            return {name: _plain(found[name]) for name in names if name in found}
    except InputError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in the reader
        raise _unreadable(path, error, "is damaged or cut off") from error


def _plain(value: object) -> object:
    """MATLAB's struct as a dict, cell array as a list, string as a str; arrays as they are."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        structs = [{name: _plain(one[name]) for name in value.dtype.names} for one in value.flat]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [_plain(one) for one in value.flat]
    if value.dtype.kind in "US":
        return str(value.flat[0]) if value.size else ""
    return value


def _mean_image(normalization: object, size: int, path: str | Path) -> Tensor:
    """The mean image or colour, (3, h, w), of a network for images of a size."""
    try:
        across = np.ravel(normalization["imageSize"])[:2].tolist()
        image = np.asarray(normalization["averageImage"], dtype=np.float32)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"weights: {path} lacks the mean image or the input size "
                         "(normalization.averageImage, imageSize)") from error
    if across != [size, size]:
        raise InputError(f"weights: {path} is for images of size {across}, not [{size}, {size}]")
    if image.size == 3:
        image = image.reshape(1, 1, 3)
    fits = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    if not fits or not (image.min() >= 0 and image.max() <= 255):
        raise InputError(f"weights: {path} has a mean image of shape {image.shape}, not (H, W, 3) "
                         "with values from 0 to 255")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _fit(layers: list[dict], net: Performer, path: str | Path) -> dict[str, Tensor]:
    """Compare a file's layers with a network's, up to fc7, and return the weights."""
    state, size = {}, net.input_size
    for place, (key, name, module) in enumerate(_steps(net)):
        line, after = _line(module, size)
        here = f"{name}: {line}" if name else line
        if place == len(layers):
            raise InputError(f"weights: {path} ends before layer {place + 1}, {here}")
        try:
            called = " ".join(str(layers[place].get("name") or name).split())
            found, tensors = _found(layers[place], size)
        except Exception as error:  # a field may hold anything
            raise InputError(f"weights: {path}: layer {place + 1}, {here}, can't be understood "
                             "there") from error
        if found != line or (tensors and called != name):
            there = f"{called}: {found}" if called else found
            raise InputError(f"weights: {path} is of another network (layer {place + 1} is {there} "
                             f"there and {here} here)")
        for kind, tensor in tensors.items():
            own = net.get_parameter(f"{key}.{kind}")
            if tensor.numel() != own.numel():
                raise InputError(f"weights: {path} is of another network ({name} has "
                                 f"{tensor.numel()} biases there and {len(own)} here)")
            state[f"{key}.{kind}"] = tensor.reshape(own.shape)
        size = after
    return state


def _steps(net: Performer) -> Iterator[tuple[str, str, nn.Module]]:
    """Key, MatConvNet's name and module of each of its layers up to the ReLU of fc7."""
    deep = sum(isinstance(layer, nn.Conv2d) for layer in net.features) > 5
    block, conv, full = 1, 0, 5
    for key, module in net.named_modules():
        name = ""
        if isinstance(module, nn.Conv2d):
            conv += 1
            name = f"conv{block}_{conv}" if deep else f"conv{conv}"
        elif isinstance(module, nn.MaxPool2d):
            block, conv = block + 1, 0 if deep else conv
        elif isinstance(module, nn.Linear):
            full += 1
            name = f"fc{full}"
        if name == "fc8":
            return
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d | nn.ReLU
                      | nn.LocalResponseNorm):
            yield key, name, module


def _line(module: nn.Module, size: int) -> tuple[str, int]:
    """What a layer does to a map of a size, in one line, and the size behind it."""
    if isinstance(module, nn.Conv2d):
        (k, _), (s, _), (p, _) = module.kernel_size, module.stride, module.padding
        made, taken = module.weight.shape[:2]
        return f"conv {k}x{k}x{taken}x{made}, stride {s}, pad {p}", (size + 2 * p - k) // s + 1
    if isinstance(module, nn.Linear):
        taken = module.in_features // size**2
        return f"conv {size}x{size}x{taken}x{module.out_features}, stride 1, pad 0", 1
    if isinstance(module, nn.MaxPool2d):
        k, s = module.kernel_size, module.stride
        after = -(-(size - k) // s) + 1
        return f"max pool {k}x{k}, stride {s}, to {after}x{after}", after
    if isinstance(module, nn.LocalResponseNorm):
        param = module.size, module.k, module.alpha / module.size, module.beta
        return "normalize " + " ".join(f"{v:.4g}" for v in param), size
    return "relu", size


def _found(layer: dict, size: int) -> tuple[str, dict[str, Tensor]]:
    """The same line for a layer of a file, and its weights in torch's order of axes."""
    def row(name: str, default: float, count: int) -> list[float]:
        values = np.ravel(layer.get(name, default)).tolist() or [default]
        return values * count if len(values) == 1 else values

    def short(values: list[float]) -> str:
        shown = [f"{v:.4g}" for v in values]
        return shown[0] if len(set(shown)) == 1 else f"[{' '.join(shown)}]"

    kind = layer["type"]
    stride, pad = row("stride", 1, 2), row("pad", 0, 4)
    if kind == "conv":
        filters, biases = layer.get("weights") or (layer["filters"], layer["biases"])
        h, w, taken, made = shape = (*filters.shape, 1, 1)[:4]  # MATLAB drops ones at the end
        dilate = short(row("dilate", 1, 2))
        line = f"conv {h}x{w}x{taken}x{made}, stride {short(stride)}, pad {short(pad)}"
        arrays = {"weight": filters.reshape(shape).transpose(3, 2, 0, 1), "bias": biases}
        return line + (f", dilate {dilate}" if dilate != "1" else ""), {
            name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
            for name, array in arrays.items()}
    if kind == "pool":
        pool, (top, bottom, left, right) = row("pool", 1, 2), pad
        after = [(size + around - k) // s + 1
                 for around, k, s in zip((top + bottom, left + right), pool, stride, strict=True)]
        line = (f"{layer.get('method', 'max')} pool {pool[0]:g}x{pool[1]:g}, stride "
                f"{short(stride)}, to {after[0]:g}x{after[1]:g}")
        return line + (f", pad {short(pad)}" if top or left else ""), {}
    if kind in ("normalize", "lrn"):
        return "normalize " + " ".join(f"{v:.4g}" for v in np.ravel(layer["param"])), {}
    leak = short(row("leak", 0, 1))
    return " ".join(str(kind).split()) + (f", leak {leak}" if leak != "0" else ""), {}
