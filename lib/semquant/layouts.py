"""Where the filters and positions are in a layer's output, to read any layer as maps (B, n, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision.ops.misc import Permute

from semquant.checks import InputError, one_of
from semquant.models import Pick, check_pick, check_usable, layer_of

if TYPE_CHECKING:
    from semquant.concepts import Measured

__all__ = ["LAYOUTS", "Layout", "Reading", "Reshape", "check_reshape", "layout_of"]

#: What a layer's output may be, and its dimensions. A square of T = H W tokens may have one more
#: before it, a class token.
LAYOUTS = {"channels_first": ("(B, n, H, W) or (B, n)", (2, 4)), "channels_last": ("(B, H, W, n)", (4,)),
           "tokens": ("(B, T, n) with T a square, or one more", (3,))}
Reshape = str | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Layout:
    """One of `LAYOUTS`; or, where a function moves numbers, the place in the output of each in the map."""

    kind: str
    places: Tensor | None = None  # (B, n, H, W), whole numbers

    def map(self, x: Tensor) -> Tensor:
        """A layer's output as a map (B, n, H, W)."""
        return self._view(x) if self.places is None else x.flatten()[self.places]

    def kept(self, x: Tensor, present: Tensor) -> Tensor:
        """A layer's output with 0 for each filter that is not present, (B, n).

        What belongs to no filter, like a class token, stays.
        """
        each, x = present.to(x.device)[:, :, None, None], x.clone()
        if self.places is None:
            self._view(x).mul_(each)
            return x
        flat = x.flatten()
        flat[self.places] *= each
        return flat.view(x.shape)

    def _view(self, x: Tensor) -> Tensor:
        """The map as a view, so that what is done to it is done to the output."""
        if self.kind == "channels_last":
            return x.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            side = math.isqrt(x.shape[1])
            return x[:, x.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
        return x if x.ndim == 4 else x[:, :, None, None]


def _places(reshape: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a function makes of the numbered places of x: how it moves numbers, which is all it may do."""
    numbers, each = torch.arange(x.numel(), device=x.device).view(x.shape), x[:1].numel()
    used = torch.zeros(x.numel(), dtype=torch.bool, device=x.device)
    try:
        places, found = reshape(numbers), reshape(x)
        used[places] = True
        moved = (places.ndim == 4 and int(used.sum()) == places.numel()
                 and torch.equal(x.flatten()[places], found)
                 and bool((places.flatten(1) // each == numbers.flatten(1)[:, :1] // each).all()))
    except (AttributeError, IndexError, RuntimeError, TypeError):
        moved = False
    if not moved:
        raise InputError(f"reshape: the function does not make (B, n, H, W) of {tuple(x.shape)} by moving "
                         "numbers alone, each at most once and within its image")
    return places


def check_reshape(reshape: Reshape) -> Reshape:
    """Return what may be said of a layout: None, one of `LAYOUTS`, or a function."""
    return reshape if reshape is None or callable(reshape) else one_of("reshape", reshape, LAYOUTS)


def layout_of(model: nn.Module, layer: str, x: Tensor, size: tuple[int, int],
              reshape: Reshape = None) -> Layout:
    """How the output x of a layer is laid out, for images of a size (height, width).

    With `reshape` None it is recognised; an InputError where it can't be told for sure, or where
    what was said doesn't fit x.
    """
    shape = tuple(x.shape)
    if callable(reshape):
        return Layout("moved", _places(reshape, x.detach()))
    if reshape is None and x.ndim == 4:
        return Layout(_recognised(model, layer, shape, size))
    words, dimensions = LAYOUTS[reshape or "channels_first"]
    square = x.ndim != 3 or math.isqrt(shape[1]) ** 2 in (shape[1], shape[1] - 1)
    if x.ndim not in dimensions or not square:
        tokens = reshape is None and x.ndim == 3 and square
        raise InputError(f"output of {layer}: shape {shape} is not {words}; accepted: "
                         + ('reshape="tokens"' if tokens else "reshape= as a function of it"))
    return Layout(reshape or "channels_first")


def _recognised(model: nn.Module, layer: str, shape: tuple[int, ...], size: tuple[int, int]) -> str:
    """Where the filters are in a layer's output of four dimensions."""
    module, (height, width) = layer_of(model, layer), size
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        return "channels_first"
    # these work on the last dimension; a LayerNorm of three works on a whole map, which may be either
    if isinstance(module, nn.Linear) or type(module) is nn.LayerNorm and len(module.normalized_shape) == 1:
        return "channels_last"
    # a map has the images' proportions, rounded
    first, last = (abs(h * width - w * height) < max(height, width) for h, w in (shape[2:], shape[1:3]))
    by_last = any(isinstance(m, Permute) or "LayerNorm" in type(m).__name__ for m in model.modules())
    if first and not last or first == last and not by_last:
        return "channels_first"
    if last and not first and by_last:
        return "channels_last"
    raise InputError(f"output of {layer}: filters may come first or last in shape {shape}; accepted: "
                     'reshape="channels_first" or reshape="channels_last"')


class Reading:
    """How a model is read, the same for all concepts: the layer of x, its layout, where the scores are.

    Concepts have a `measure` of their own, or a `measure_many`.
    """

    def __init__(self, layer: str, reshape: Reshape, output: Pick) -> None:
        self.layer, self.reshape, self.output = layer, check_reshape(reshape), check_pick(output)

    def check(self, model: nn.Module) -> None:
        """Check before any pass that the model can be explained by these concepts (InputError)."""
        check_usable(model)
        layer_of(model, self.layer)

    def measure(self, model: nn.Module, images: Tensor, target: int, prior: bool = True) -> Measured:
        """Measure x, y, yhat and w in one pass; model and images are left as they were.

        Several threads may measure one model; they take turns.

        Parameters
        ----------
        model : Module
            images (B, C, H, W) -> logits (B, K) or (B,), or what `output` picks them from. It is run
            in evaluation mode, in its own precision, whatever torch was told to do around it.
        images : tensor (B, C, H, W)
            On the model's device.
        target : int, str, or one of them for each image
            Which output is yhat, see `semquant.targets`.
        prior : bool
            False saves the backward pass: w is None then.

        Returns
        -------
        Measured
            Detached tensors, y, yhat and w in at least single precision.

        Raises
        ------
        InputError
            If the layer is unknown, doesn't run exactly once or gives no map, if the target is no
            output, or an output is NaN.
        """
        return self.measure_many(model, images, [target], prior)[0]

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `measure`, for several targets."""
        return [self.measure(model, images, target, prior) for target in wanted]

    def layout(self, model: nn.Module, x: Tensor, images: Tensor) -> Layout:
        """How the layer's output x of such images is laid out."""
        return layout_of(model, self.layer, x, images.shape[2:], self.reshape)
