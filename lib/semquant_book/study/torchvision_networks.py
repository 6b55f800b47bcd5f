"""torchvision's VGG-16 and AlexNet, trained on ImageNet; not used by the experiments.

Its AlexNet is not the paper's: 64, 192, 384, 256 and 256 channels, no groups, no LRN, 224 px. What
is read here goes into a performer by `pretrained.into`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from semquant.checks import InputError, number, one_of
from semquant.networks.performers import PAPER_SIZE, Performer, build, initialise, interpretable_top
from semquant_book.study.pretrained import Public, reading

__all__ = ["torchvision_alexnet", "torchvision_weights"]

# torchvision's names of fc6 and fc7, a performer's head.3 and head.6
_CLASSIFIER = {"vgg16": ("classifier.0", "classifier.3"),
               "torchvision_alexnet": ("classifier.1", "classifier.4")}
_IMAGENET_COLOUR = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean, std of pixels / 255


def torchvision_weights(path: str | Path, architecture: str, *, width: float = 1.0) -> Public:
    """Read a state dict of torchvision's VGG-16 or AlexNet (``"torchvision_alexnet"``).

    A .safetensors file, or one for ``torch.load``; of VGG-16 IMAGENET1K_V1, since
    IMAGENET1K_FEATURES has no FC weights and was made for other inputs. `width`: times the
    published number of channels. InputError if the file can't be read, holds anything beside
    weights, or another network's.
    """
    if architecture == "alexnet":
        raise InputError("architecture: torchvision's AlexNet is not the paper's (other channels, no "
                         "groups, no LRN); 'torchvision_alexnet' reads it for a performer built by "
                         "torchvision_networks.torchvision_alexnet")
    names = _CLASSIFIER[one_of("architecture", architecture, tuple(_CLASSIFIER))]
    with torch.device("meta"):  # its shapes only
        net = (torchvision_alexnet(width=width, interpretable=False) if architecture != "vgg16"
               else build("vgg16", size=PAPER_SIZE["vgg16"], width=width, batch_norm=False,
                          interpretable=False))
    with reading(path, "is damaged or holds something beside weights (no code in it was run)"):
        there = (load_file(path) if Path(path).suffix == ".safetensors"
                 else torch.load(path, map_location="cpu", weights_only=True))
    if not isinstance(there, Mapping) or not all(
            isinstance(name, str) and isinstance(t, Tensor) and t.layout == torch.strided
            and t.device.type == "cpu" and not t.is_quantized for name, t in there.items()):
        raise InputError(f"weights: {path} holds no state dict (names and their tensors)")
    other, state = f"weights: {path} is not torchvision's {architecture}", {}
    for key, own in net.state_dict().items():
        name = key.replace("head.3", names[0]).replace("head.6", names[1])
        if name.startswith("head"):  # fc8: the classes of ImageNet
            continue
        if name not in there or there[name].shape != own.shape:
            found = f"has shape {tuple(there[name].shape)}" if name in there else "is missing"
            raise InputError(f"{other} ({name} {found} there and has shape {tuple(own.shape)} here)")
        state[key] = there[name].to(torch.float32)
    for name in there:
        if name.startswith("features.") and name not in state:
            raise InputError(f"{other} ({name} is there and not here)")
    mean, std = (255 * torch.tensor(colour).reshape(3, 1, 1) for colour in _IMAGENET_COLOUR)
    return Public(str(path), state, tuple(map(str, net.features)), mean, std, net.input_size)


def torchvision_alexnet(*, width: float = 1.0, outputs: int = 1, dropout: float = 0.5,
                        interpretable: bool = True) -> Performer:
    """Build a performer of torchvision's AlexNet, for 224 px, with fresh weights.

    Its layers up to the last conv, then what every performer here ends in
    (`performers.interpretable_top`). The parameters are those of `performers.build`; InputError for
    a width out of range.
    """
    number("width", width, 1 / 16, 2)
    layers, n = [], 3
    for made, *conv in (64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1):
        pool = [nn.MaxPool2d(3, 2)] if made < 256 else []
        before, n = n, max(8, round(made * width / 8) * 8)
        layers += [nn.Conv2d(before, n, *conv), nn.ReLU(inplace=True), *pool]
    inserted, mask, head = interpretable_top(
        n, n, 13, fc=round(4096 * width**2), outputs=outputs, dropout=dropout, batch_norm=False)
    layers, mask = ([*layers, inserted], mask) if interpretable else (layers[:-1], nn.Identity())
    return initialise(Performer(nn.Sequential(*layers), mask, head, n=n, map_size=13, input_size=224))
