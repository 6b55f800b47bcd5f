"""The CNNs to be explained: AlexNet, VGG-M, VGG-S and VGG-16 with interpretable top filters.

Each is the published list of layers up to its last conv layer, one more 3x3 conv layer with the
same number of channels (the interpretable one), the mask, and a head that begins with the ReLU::

    images -> features -> z -> mask -> x -> ReLU, pool5, FC, FC, FC -> logits

At the paper's input size, width 1 and without batch norm these are the published networks exactly;
smaller inputs take a stem with smaller steps (see `build`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semquant.checks import InputError, number, one_of
from semquant.networks.interpretable import Mask, filter_loss

__all__ = ["ARCHITECTURES", "PAPER_SIZE", "Performer", "build", "initialise", "interpretable_top",
           "load_weights", "normalise", "performer_loss"]

PAPER_SIZE = {"alexnet": 227, "vgg_m": 224, "vgg_s": 224, "vgg16": 224}
ARCHITECTURES = tuple(PAPER_SIZE)
SMALLEST_PAPER_STEM = 160  # input sizes from here on take the published stem


class Conv(NamedTuple):
    """A convolution and its ReLU."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    groups: int = 1


class Norm(NamedTuple):
    """Local response normalisation over 5 channels, in torch's terms: alpha is divided by 5."""

    alpha: float
    k: float


class Pool(NamedTuple):
    """Max pooling; a window may hang over the right and bottom edge (ceil mode)."""

    kernel: int
    stride: int


class LRN(nn.LocalResponseNorm):
    """Local response normalisation in single precision, also under automatic mixed precision.

    Squares of activations above 255 overflow in float16: the strongest would turn into 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in (torch.float16, torch.bfloat16):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Table(NamedTuple):
    """A network from its input to its last pooling."""

    stem: tuple  # at the paper's input size
    small_stem: tuple  # for small inputs: the top map is an eighth as wide as the image
    body: tuple
    pool5: Pool


_CAFFE_NORM, _VGG_NORM = Norm(1e-4, 1.0), Norm(5e-4, 2.0)

_VGG16 = (Conv(64), Conv(64), Pool(2, 2), Conv(128), Conv(128), Pool(2, 2),
          *[Conv(256)] * 3, Pool(2, 2), *[Conv(512)] * 3)

TABLES = {
    "alexnet": Table(
        stem=(Conv(96, 11, 4, 0), _CAFFE_NORM, Pool(3, 2),
              Conv(256, 5, 1, 2, groups=2), _CAFFE_NORM, Pool(3, 2)),
        small_stem=(Conv(96, 7, 2, 3), _CAFFE_NORM, Pool(3, 2),
                    Conv(256, 5, 1, 2, groups=2), _CAFFE_NORM, Pool(3, 2)),
        body=(Conv(384), Conv(384, groups=2), Conv(256, groups=2)), pool5=Pool(3, 2)),
    "vgg_m": Table(
        stem=(Conv(96, 7, 2, 0), _VGG_NORM, Pool(3, 2),
              Conv(256, 5, 2, 1), _VGG_NORM, Pool(3, 2)),
        small_stem=(Conv(96, 7, 2, 3), _VGG_NORM, Pool(3, 2),
                    Conv(256, 5, 1, 2), _VGG_NORM, Pool(3, 2)),
        body=(Conv(512),) * 3, pool5=Pool(3, 2)),
    "vgg_s": Table(
        stem=(Conv(96, 7, 2, 0), _VGG_NORM, Pool(3, 3), Conv(256, 5, 1, 0), Pool(2, 2)),
        small_stem=(Conv(96, 7, 2, 3), _VGG_NORM, Pool(3, 2), Conv(256, 5, 1, 2), Pool(2, 2)),
        body=(Conv(512),) * 3, pool5=Pool(3, 3)),
    "vgg16": Table(stem=(*_VGG16, Pool(2, 2)), small_stem=_VGG16, body=(Conv(512),) * 3,
                   pool5=Pool(2, 2)),
}


class Performer(nn.Module):
    """A CNN cut where its interpretable filters are: features, mask, head.

    Parameters
    ----------
    features : Module
        images (B, 3, S, S) -> z (B, n, H, W), the map before mask and ReLU.
    mask : Module
        z -> x, same shape: an `interpretable.Mask`, or ``nn.Identity()`` for ordinary filters.
    head : Module
        x -> logits (B, K), beginning with the ReLU.
    n, map_size, input_size : int
        Number of filters; H = W; S.
    """

    def __init__(self, features: nn.Module, mask: nn.Module, head: nn.Module, *, n: int,
                 map_size: int, input_size: int) -> None:
        super().__init__()
        self.features, self.mask, self.head = features, mask, head
        self.n, self.map_size, self.input_size = n, map_size, input_size
        #: What `prepare` does; weights trained by others bring their own.
        self.preparation = normalise

    def prepare(self, images: Tensor) -> Tensor:
        """Turn pixels (B, 3, S, S), uint8, into the network's input, float32."""
        return self.preparation(images)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and x, the maps before and after the mask; both (B, n, H, W), both signed."""
        z = self.features(images)
        return z, self.mask(z)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (B, K), also for a single image and a single output."""
        return self.head(self.maps(images)[1])


def normalise(images: Tensor) -> Tensor:
    """Turn pixels 0 .. 255 into numbers from -2 to 2, (x / 255 - 0.5) / 0.25, as float32."""
    return (images.to(torch.float32) / 255 - 0.5) / 0.25


def build(architecture: str, *, size: int = 64, width: float = 0.25, outputs: int = 1,
          batch_norm: bool = True, dropout: float = 0.2, interpretable: bool | int = True,
          fc: int | None = None) -> Performer:
    """Build a performer with fresh weights.

    Parameters
    ----------
    architecture : {"alexnet", "vgg_m", "vgg_s", "vgg16"}
    size : int
        Width of the square input. From 160 on, the published stem, with the top map that follows
        (13, 13, 17 and 14 wide at 227, 224, 224 and 224). From 32 to 152, in steps of 8, the small
        stem, with a top map of ``size / 8``.
    width : float
        Times the published channels, in multiples of 8; its square times the FC layers' 4096 units.
    outputs : int
        K.
    batch_norm : bool
        Batch norm after each conv layer instead of LRN, which training from scratch needs.
    dropout : float
        Before the second and third FC layer (0.5 in the published networks).
    interpretable : bool or int
        How many interpretable layers there are. 1: the inserted conv layer, with the mask. 2, as in
        the CVPR paper: the last published one as well, with a mask of its own behind its ReLU. 0:
        none; the last published conv layer gives z, its ReLU being the head's first, and ``mask``
        is the identity.
    fc : int, optional
        Units of the two hidden FC layers, if not what `width` says.

    Raises
    ------
    InputError
        For an unknown architecture, or a number out of range.

    Notes
    -----
    The small stem keeps every conv layer, its channels and its groups, and halves the map three
    times. AlexNet, VGG-M, VGG-S: the first kernel is 7x7 in steps of 2, the second 5x5 in steps
    of 1, both padded to keep the width, and VGG-S's first pooling steps by 2 instead of 3. VGG-16:
    the fourth pooling is left out.
    """
    table = TABLES[one_of("architecture", architecture, ARCHITECTURES)]
    number("input size", size, 32, 1024, integer=True)
    if size < SMALLEST_PAPER_STEM and size % 8:
        raise InputError(f"input size: {size} is not a multiple of 8; only sizes from "
                         f"{SMALLEST_PAPER_STEM} on need not be")
    number("width", width, 1 / 16, 2)
    number("outputs", outputs, 1, integer=True)
    number("dropout", dropout, 0, 0.95)
    one_of("interpretable", interpretable, (0, 1, 2))

    stem = table.stem if size >= SMALLEST_PAPER_STEM else table.small_stem
    layers, channels, map_size = [], 3, size
    for layer in stem + table.body:
        map_size = _after(layer, map_size)
        if isinstance(layer, Conv):
            made, channels = _conv(channels, layer, width, batch_norm)
            layers += made
        elif isinstance(layer, Pool):
            layers.append(nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=True))
        elif not batch_norm:
            layers.append(LRN(5, layer.alpha, 0.75, layer.k))

    fc = round(4096 * width**2) if fc is None else number("fc", fc, 1, integer=True)
    inserted, mask, head = interpretable_top(channels, channels, map_size, fc=fc, outputs=outputs,
                                             dropout=dropout, batch_norm=batch_norm, pool=table.pool5)
    if interpretable:
        features = nn.Sequential(*layers, *[Mask(map_size)] * (interpretable - 1), inserted)
    else:
        features, mask = nn.Sequential(*layers[:-1]), nn.Identity()  # without the last ReLU
    performer = Performer(features, mask, head, n=channels, map_size=map_size, input_size=size)
    return initialise(performer)


def interpretable_top(in_channels: int, n: int, map_size: int, *, fc: int, outputs: int = 1,
                      dropout: float = 0.2, batch_norm: bool = True,
                      pool: tuple[int, int] = (3, 2)) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The part that every performer ends in: inserted 3x3 conv, mask, head.

    For a trunk of one's own: ``Performer(nn.Sequential(trunk, conv), mask, head, ...)``.

    Parameters
    ----------
    in_channels, n, map_size : int
        Channels of the trunk's map, number of interpretable filters, width of the map.
    fc, outputs : int
        Units of the two hidden FC layers; K.
    dropout : float
        Before the second and third FC layer.
    batch_norm : bool
        Batch norm after the conv; it is then without a bias of its own.
    pool : (int, int)
        Kernel and stride of pool5.

    Returns
    -------
    conv : Module, (B, in_channels, H, W) -> z (B, n, H, W)
    mask : Module, z -> x
    head : Module, x -> logits (B, outputs)
    """
    pool = Pool(*pool)
    pooled = _after(pool, map_size)
    layer = nn.Conv2d(in_channels, n, 3, padding=1, bias=not batch_norm)
    conv = nn.Sequential(layer, nn.BatchNorm2d(n)) if batch_norm else layer
    mask = Mask(map_size)
    head = nn.Sequential(
        nn.ReLU(), nn.MaxPool2d(pool.kernel, pool.stride, ceil_mode=True),
        nn.Flatten(),  # (B, n, h, w) -> (B, n * h * w)
        nn.Linear(n * pooled**2, fc), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(fc, fc), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(fc, outputs))
    return conv, mask, head


def initialise(module: nn.Module) -> nn.Module:
    """Give every conv and linear layer He's normal weights and zero biases; returns the module."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def load_weights(performer: nn.Module, state: Mapping[str, Tensor],
                 name: str = "the file") -> nn.Module:
    """Put weights into a performer; returns it.

    If they are of another architecture, an InputError names the first tensor that doesn't fit.
    """
    own = performer.state_dict()
    for key in [*own, *state]:
        here, there = own.get(key), state.get(key)
        if here is None or there is None or here.shape != there.shape:
            shapes = ["is missing" if t is None else f"has shape {tuple(t.shape)}"
                      for t in (there, here)]
            raise InputError(f"weights: {name} is of another architecture ({key} {shapes[0]} "
                             f"there and {shapes[1]} here)")
    performer.load_state_dict(state)
    return performer


def performer_loss(performer: Performer, images: Tensor, positive: Tensor, epoch: int,
                   filter_weight: float = 0.1) -> dict[str, Tensor]:
    r"""Loss of one training step: logistic loss, and filter loss with a weight that fades.

    .. math:: \mathrm{mean}_k \log(1 + e^{-s_k \hat y_k}) + \frac{f}{t} \cdot \text{filter loss},
              \qquad s_k = \pm 1

    with f the filter weight and t the epoch; the filter loss of two interpretable layers is the sum.

    Parameters
    ----------
    performer : Performer
    images : Tensor, (B, 3, S, S)
        Normalised.
    positive : Tensor, (B,) or (B, K), bool
        Labels; (B,) for a single output and wherever the filter loss is used.
    epoch : int
        From 1.
    filter_weight : float
        f; at 0 the filter loss is not computed.

    Returns
    -------
    dict of scalars
        ``loss``, ``logistic``, and ``filter`` where it has a weight.

    Raises
    ------
    InputError
        If the labels don't fit the outputs, or a number is out of range.

    Notes
    -----
    The schedule 1 / epoch and the starting weight 0.1 are those of the authors' public code; the
    filter loss it multiplies differs (see `interpretable.filter_loss`).
    """
    number("epoch", epoch, 1, integer=True)
    number("filter weight", filter_weight, 0)
    below: list[Tensor] = []  # the maps, (B, n', H, W), of an interpretable layer below z's
    with ExitStack() as hooks:  # gone again also where the pass fails
        for mask in (m for m in performer.features.modules() if isinstance(m, Mask)):
            hooks.enter_context(mask.register_forward_pre_hook(lambda _, given: below.append(given[0])))
        z, x = performer.maps(images)
    logits = performer.head(x)  # (B, K)
    if positive.numel() != logits.numel() or len(positive) != len(logits):
        raise InputError(f"positive: labels of shape {tuple(positive.shape)} do not fit logits of "
                         f"shape {tuple(logits.shape)}")
    labels = positive.reshape(logits.shape).to(logits.dtype)
    logistic = F.binary_cross_entropy_with_logits(logits, labels)
    if filter_weight == 0:
        return {"loss": logistic, "logistic": logistic}
    filters = sum(filter_loss(a.relu(), positive) for a in (*below, z))
    return {"loss": logistic + filter_weight / epoch * filters, "logistic": logistic, "filter": filters}


def _after(layer: Conv | Norm | Pool, size: int) -> int:
    """Width of the map behind a layer, given the width before it."""
    if isinstance(layer, Norm):
        return size
    if isinstance(layer, Conv):
        return (size + 2 * layer.padding - layer.kernel) // layer.stride + 1
    return -(-(size - layer.kernel) // layer.stride) + 1


def _conv(in_channels: int, layer: Conv, width: float,
          batch_norm: bool) -> tuple[list[nn.Module], int]:
    channels = max(8, round(layer.channels * width / 8) * 8)
    conv = nn.Conv2d(in_channels, channels, layer.kernel, layer.stride, layer.padding,
                     groups=layer.groups, bias=not batch_norm)
    norm = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [conv, *norm, nn.ReLU(inplace=True)], channels
