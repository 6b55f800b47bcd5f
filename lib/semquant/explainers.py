"""The network g that estimates the concepts' weights alpha from a feature map (equation (2))."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from semquant.checks import InputError, check_finite, check_shapes, number, one_of
from semquant.concepts import Measured

__all__ = ["DEPTHS", "REDUCTIONS", "Explainer", "ExplainerOptions", "starting_scale"]

#: Sizes of g; the paper's is 152.
DEPTHS = ("small", 18, 34, 50, 101, 152)
#: What is done where g's body doesn't end in a single position.
REDUCTIONS = ("mean", "conv")

SCALES = ("literal", "scaled")
BIASES = ("mean", "min")


@dataclass(frozen=True)
class ExplainerOptions:
    """What g and b are, and how they start. The paper gives the depth, and nothing else of this."""

    depth: str | int = "small"  # small: two residual blocks; or a ResNet's, the paper's is 152
    positive: bool | None = None  # alpha = softplus(.) >= 0; by default with the cross-entropy
    scale: str | float = "scaled"  # fixed factor on alpha: literal is 1; scaled lets the sum of
    # contributions start as large as the scores vary (`starting_scale`); or a number
    bias: str | float = 0.0  # where b starts: a number, or the mean or the smallest (min) yhat
    reduction: str = "mean"  # where the body ends in more than one position (a 17 x 17 map ends
    # 2 x 2): mean averages the last layer's outputs, conv gives it a kernel as large as what is left
    stem_stride: int = 2  # of the first convolution; ResNet's is 2, a 4 x 4 map wants 1
    last_std: float | None = None  # of the last layer's initial weights; by default as torch does
    last_bias: float = 0.0  # of its units: alpha starts from softplus of this, or this

    def __post_init__(self) -> None:
        one_of("depth", self.depth, DEPTHS)
        one_of("positive", self.positive, (None, True, False))
        if isinstance(self.scale, str):
            one_of("scale", self.scale, SCALES)
        elif not number("scale", self.scale, 0) > 0:
            raise InputError(f"scale: {self.scale!r} is not above 0")
        if isinstance(self.bias, str):
            one_of("bias", self.bias, BIASES)
        else:
            number("bias", self.bias)
        one_of("reduction", self.reduction, REDUCTIONS)
        one_of("stem_stride", self.stem_stride, (1, 2))
        number("last_std", self.last_std or 0, 0)
        number("last_bias", self.last_bias)


_BLOCKS = {18: (BasicBlock, [2, 2, 2, 2]),
           34: (BasicBlock, [3, 4, 6, 3]),
           50: (Bottleneck, [3, 4, 6, 3]),
           101: (Bottleneck, [3, 4, 23, 3]),
           152: (Bottleneck, [3, 8, 36, 3])}


def _resnet(channels: int, depth: int, stem_stride: int) -> tuple[nn.Sequential, int]:
    """torchvision's ResNet on a map: neither its first max-pool nor its last average-pool."""
    block, layers = _BLOCKS[depth]
    net = ResNet(block, layers)
    stem = nn.Conv2d(channels, 64, kernel_size=7, stride=stem_stride, padding=3, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    body = nn.Sequential(stem, net.bn1, net.relu, net.layer1, net.layer2, net.layer3, net.layer4)
    return body, 512 * block.expansion


def _small(channels: int, stem_stride: int, width: int = 32) -> tuple[nn.Sequential, int]:
    """Two residual blocks, cheap enough for a CPU."""

    def block(inputs: int, outputs: int, stride: int) -> BasicBlock:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                 nn.BatchNorm2d(outputs))
        return BasicBlock(inputs, outputs, stride, shortcut)

    body = nn.Sequential(
        nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        block(width, width, 2), block(width, 2 * width, 2))
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, 2 * width


class Explainer(nn.Module):
    r"""g and b of the additive explainer, :math:`\hat y \approx \sum_i \alpha_i y_i + b`.

    A ResNet reads the performer's map x; its last layer is a convolution with n outputs.

    Parameters
    ----------
    channels : int
        Channels of the map x.
    n : int
        Number of concepts.
    map_size : int or (int, int)
        Height and width of x.
    options : ExplainerOptions
        With ``scale="scaled"`` the factor is 1 until `starting_scale` has been asked; b starts at 0
        where the options want a mean or smallest score.

    Raises
    ------
    InputError
        If a setting is not one of those accepted.
    """

    def __init__(self, channels: int, n: int, map_size: int | tuple[int, int],
                 options: ExplainerOptions = ExplainerOptions()) -> None:
        super().__init__()
        number("channels", channels, 1, integer=True)
        number("n", n, 1, integer=True)
        height, width = map_size if isinstance(map_size, (tuple, list)) else (map_size, map_size)
        number("map_size", height, 1, integer=True)
        number("map_size", width, 1, integer=True)
        self.channels, self.n, self.map_size, self.options = channels, n, (height, width), options
        self.positive = options.positive is not False
        if options.depth == "small":
            self.body, features = _small(channels, options.stem_stride)
        else:
            self.body, features = _resnet(channels, options.depth, options.stem_stride)
        left = (1, 1)
        if options.reduction == "conv":
            with torch.no_grad():  # the size that the body leaves of such a map
                one = torch.zeros(1, channels, height, width)
                left = tuple(copy.deepcopy(self.body).eval()(one).shape[2:])
        self.last = nn.Conv2d(features, n, kernel_size=left)
        if options.last_std is not None:
            nn.init.normal_(self.last.weight, std=options.last_std)
        nn.init.constant_(self.last.bias, options.last_bias)
        scale = 1.0 if isinstance(options.scale, str) else float(options.scale)
        bias = 0.0 if isinstance(options.bias, str) else float(options.bias)
        self.register_buffer("scale", torch.tensor(scale))
        self.bias = nn.Parameter(torch.tensor(bias))

    reads_prior = False

    @property
    def settings(self) -> dict:
        """What builds this module again, as plain values: see `Explainer.of`."""
        options = asdict(self.options) | {"scale": float(self.scale)}
        return {"channels": self.channels, "n": self.n, "map_size": self.map_size} | options

    @classmethod
    def of(cls, channels: int, n: int, map_size: tuple[int, int], **options: object) -> Explainer:
        """A fresh one with the settings of another."""
        return cls(channels, n, map_size, ExplainerOptions(**options))

    def forward(self, x: Tensor) -> Tensor:
        """alpha (B, n) for maps x (B, channels, H, W), at least single precision."""
        if x.ndim != 4 or tuple(x.shape[1:]) != (self.channels, *self.map_size):
            wanted = ", ".join(map(str, (self.channels, *self.map_size)))
            raise InputError(f"x: shape {tuple(x.shape)} is not (B, {wanted})")
        x = x.to(self.last.weight.dtype)  # of a model in double precision
        out = self.last(self.body(x)).mean(dim=(2, 3))  # (B, n, h, w) -> (B, n)
        out = out.float() if out.dtype in (torch.float16, torch.bfloat16) else out
        return self.scale * (F.softplus(out) if self.positive else out)

    @torch.no_grad()
    def weigh(self, measured: Measured, batch_size: int = 256) -> Tensor:
        """alpha (B, n) of measured images; of what was measured only x is read."""
        return torch.cat([self(x.to(self.bias.device)).to(measured.y.device)
                          for x in measured.x.split(batch_size)])


def starting_scale(explainer: Explainer, x: Tensor, y: Tensor, yhat: Tensor) -> float:
    r"""The scale at which the sum of contributions starts as large as the scores vary.

    .. math:: s = \mathrm{std}(\hat y) / \sqrt{\mathrm{mean}\,(\sum_i \alpha^0_i y_i)^2}

    with :math:`\alpha^0` what the freshly initialised g gives at scale 1, on these images.

    x is (B, channels, H, W), y (B, n), yhat (B,). The explainer is left unchanged, its running
    statistics included. An InputError if there are fewer than two images, all scores are equal, or
    the sums are all 0.
    """
    check_shapes(x=(x, "B C H W"), y=(y, "B n"), yhat=(yhat, "B"))
    check_finite(x=x, y=y, yhat=yhat)
    if len(yhat) < 2:
        raise InputError(f"yhat: {len(yhat)} images, at least 2 are needed")
    with torch.no_grad():
        alpha = copy.deepcopy(explainer).train()(x) / explainer.scale
        size = float((alpha * y).sum(dim=1).square().mean().sqrt())
    spread = float(yhat.std())
    if spread == 0 or size == 0:
        what = "yhat: all scores are equal" if spread == 0 else "y: the contributions sum to 0"
        raise InputError(f"{what} on these images, no scale can be chosen")
    return spread / size
