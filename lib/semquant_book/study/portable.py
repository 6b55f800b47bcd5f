"""A trained network and its explainers as plain values, for a page that computes them itself.

What is packed is read by ``views/scripts/engine.mjs``: a performer as a list of layers, with batch norm
in the weights of the convolution before it, and explainers likewise.

Weights are whole numbers of 16 bits, times a unit for each output of a layer: as many bytes as half
precision, and an eighth of its error. Two kinds have 24 bits. Those before a mask: where two places of a
map are nearly as high as each other, a small error moves the peak, and with it all that the mask keeps.
And those of small layers, which add as much to the error as large ones and take few bytes. Where a page
would be too heavy, `coarser` leaves the others 12 bits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from semquant.checks import InputError, check_finite
from semquant.corrected import Correction
from semquant.explainers import Explainer
from semquant.networks.interpretable import Mask
from semquant.networks.performers import Performer
from semquant_book.datasets.names import ATTRIBUTES, METHODS
from semquant_book.study import experiment1, experiment2, ranking
from semquant_book.study.store import pack, unpack

__all__ = ["coarser", "correction_of", "explainer", "layers", "of_animals", "of_faces", "performer"]

SMALL = 2**14  # weights of a layer that has 24 bits in any case
ACCEPTED = ("convolutions with batch norm, ReLU, max pooling, masks at the peak, flattening, linear layers "
            "and residual blocks")


def layers(module: nn.Module, fine: bool = False) -> list[dict]:
    """Return a module's layers in order, each as plain values; InputError for one that is not known.

    `fine` gives all weights 24 bits; biases are in single precision.
    """
    found: list[dict] = []
    conv: tuple | None = None  # weights and bias that a batch norm may still change
    for part in _parts(module):
        if isinstance(part, nn.BatchNorm2d):
            if conv is None:
                raise _unknown(part, "without a convolution before it")
            weight, bias, settings = conv
            factor = part.weight.double() / (part.running_var.double() + part.eps).sqrt()
            conv = (weight.double() * factor[:, None, None, None],
                    (bias - part.running_mean) * factor + part.bias, settings)
            continue
        if conv:
            found.append(_conv(*conv, fine))
        conv = _taken(part) if isinstance(part, nn.Conv2d) else None
        if conv is None:
            found.append(_layer(part, fine))
    return found + ([_conv(*conv, fine)] if conv else [])


def _parts(module: nn.Module) -> list[nn.Module]:
    """The modules of a chain in order, without those that do nothing in evaluation."""
    if isinstance(module, nn.Sequential):
        return [part for child in module for part in _parts(child)]
    return [] if isinstance(module, nn.Identity | nn.Dropout) else [module]


def _taken(conv: nn.Conv2d) -> tuple[Tensor, Tensor, dict]:
    same = [getattr(conv, name) for name in ("stride", "padding", "dilation")]
    if any(isinstance(pair, str) or pair[0] != pair[1] for pair in same) or conv.dilation[0] != 1:
        raise _unknown(conv, "with unlike sides, or dilated")
    if conv.padding_mode != "zeros":
        raise _unknown(conv, "padded with other than zeros")
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    return conv.weight, bias, {"stride": conv.stride[0], "padding": conv.padding[0], "groups": conv.groups}


def _conv(weight: Tensor, bias: Tensor, settings: dict, fine: bool) -> dict:
    return {"kind": "conv", **settings, "weight": _packed(weight, fine), "bias": pack(bias)}


def _layer(part: nn.Module, fine: bool) -> dict:
    match part:
        case nn.ReLU():
            return {"kind": "relu"}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return {"kind": "flatten"}
        case nn.Linear():
            bias = torch.zeros(part.out_features) if part.bias is None else part.bias
            return {"kind": "linear", "weight": _packed(part.weight, fine), "bias": pack(bias)}
        case nn.MaxPool2d(kernel_size=int(kernel), stride=int(stride), padding=0, dilation=1):
            return {"kind": "pool", "kernel": kernel, "stride": stride, "ceil": part.ceil_mode}
        case Mask(centre="peak"):
            return {"kind": "mask", "decay": part.decay, "amplitude": part.amplitude}
        case BasicBlock():
            main = [part.conv1, part.bn1, part.relu, part.conv2, part.bn2]
        case Bottleneck():
            main = [part.conv1, part.bn1, part.relu, part.conv2, part.bn2, part.relu, part.conv3, part.bn3]
        case _:
            raise _unknown(part)
    return {"kind": "block", "main": layers(nn.Sequential(*main), fine),
            "shortcut": layers(part.downsample or nn.Identity(), fine)}


def _unknown(part: nn.Module, what: str = "") -> InputError:
    words = f"{type(part).__name__} {what}".strip()
    return InputError(f"layer: {words} can't be packed; accepted: {ACCEPTED}")


def _packed(weight: Tensor, fine: bool) -> dict:
    """Weights (outputs, ...) as ``whole`` numbers, of 24 bits the lower 8 as ``rest``, times ``unit``."""
    check_finite(weights=weight)
    bits = 24 if fine or weight.numel() <= SMALL else 16
    rows, most = weight.flatten(1).double(), 2 ** (bits - 1) - 1
    largest = rows.abs().amax(dim=1)
    unit = torch.where(largest == 0, 1, largest / most).float()
    levels = (rows / unit.double()[:, None]).round().clamp(-most, most).to(torch.int32).view(weight.shape)
    if bits == 16:
        return {"whole": pack(levels, "i2"), "unit": pack(unit)}
    return {"whole": pack(levels >> 8, "i2"), "rest": pack(levels & 255, "u1"), "unit": pack(unit)}


def coarser(packed: object) -> object:
    """Return layers, or what holds some, with weights of 12 bits in the place of 16: a ``whole`` number of
    the upper 8, from 0, and the lower 4 in ``half`` a byte."""
    if isinstance(packed, list):
        return [coarser(one) for one in packed]
    if not isinstance(packed, dict):
        return packed
    if "whole" not in packed or "rest" in packed:
        return {name: coarser(one) for name, one in packed.items()}
    most = 2**11 - 1
    levels = np.clip(np.round(unpack(packed["whole"]) / 16), -most, most).astype(int)
    lower = np.pad(levels.ravel() & 15, (0, levels.size % 2))
    return {"whole": pack(levels // 16 + 128, "u1"), "half": pack(lower[::2] | lower[1::2] << 4, "u1"),
            "unit": pack(16 * unpack(packed["unit"]))}


@torch.no_grad()
def performer(net: Performer) -> dict:
    """Return ``size``, ``pixels``, ``trunk`` (up to x) and ``head`` of a performer.

    InputError for layers that are not known, and for pixels prepared other than each channel by a factor
    and a summand.
    """
    net.eval()
    trunk = nn.Sequential(net.features, net.mask)
    masked = any(isinstance(part, Mask) for part in trunk.modules())
    levels = torch.tensor([0, 255], dtype=torch.uint8)
    at = net.prepare(levels[:, None, None, None].expand(2, 3, net.input_size, net.input_size))
    shift = at[0].mean(dim=(1, 2))
    scale = (at[1] - at[0]).mean(dim=(1, 2)) / 255
    noise = torch.randint(256, (1, 3, net.input_size, net.input_size), dtype=torch.uint8,
                          generator=torch.Generator().manual_seed(0))
    again = noise * scale[:, None, None] + shift[:, None, None]
    if not torch.allclose(again, net.prepare(noise), atol=1e-4, rtol=1e-4):
        raise InputError("pixels: what prepares them is not a factor and a summand for each channel")
    return {"size": net.input_size, "pixels": {"scale": scale.tolist(), "shift": shift.tolist()},
            "trunk": layers(trunk, masked), "head": layers(net.head)}


@torch.no_grad()
def explainer(g: Explainer) -> dict:
    """Return ``layers`` of g, whose outputs' means over positions give alpha, and ``positive``, ``scale``
    and ``bias``."""
    return {"layers": layers(nn.Sequential(g.body, g.last)), "positive": g.positive,
            "scale": float(g.scale), "bias": float(g.bias)}


@torch.no_grad()
def correction_of(net: Correction) -> dict:
    """Return ``layers`` of the correction's network, the units it reads and writes, and ``bias``."""
    return {"layers": layers(net.net), "unit": float(net.unit), "bias": float(net.bias),
            "complete": net.settings["complete"],
            **{name: pack(getattr(net, name)) for name in ("mean", "spread", "size")}}


def of_animals(run: experiment1.Run, scale: str = "scaled") -> dict:
    """Return a performer of an animal and what explains it: ours and the baseline in a reading of y's
    `scale`, and the corrected gradient times input.

    ``names`` are those of part groups, and ``groups`` has each filter's place among them, -1 for none.
    """
    net = run.performer()
    return {"kind": "filters", "output": 0, **performer(net),
            "names": list(run.images("test").groups), "groups": run.naming()[0].tolist(),
            "explainers": {method: explainer(run.explainer(method, scale).g) for method in METHODS},
            "correction": correction_of(ranking.correction(run, ranking.head_of(run)))}


def of_faces(run: experiment2.Run) -> dict:
    """Return the performer of 40 attributes and what explains one of them by the others.

    ``concepts`` are the other outputs' numbers, and ``names`` what all 40 are called. Behind x the
    weights of large layers have 12 bits: with 16 the network and its explainers would not fit into a page.
    """
    net = performer(run.performer())
    return {"kind": "outputs", "output": experiment2.target_index(run.target),
            "concepts": experiment2.concepts_of(run.target), **net, "head": coarser(net["head"]),
            "names": list(ATTRIBUTES), "correction": None,
            "explainers": {method: explainer(run.explainer(method).g) for method in METHODS}}
