"""Where the filters and positions are in a layer's output, so that any layer can be read as maps (B, n, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops.misc import Permute

from semquant.checks import InputError, one_of
from semquant.models import layer_of

__all__ = ["LAYOUTS", "Layout", "Reshape", "check_reshape", "layout_of"]

#: What a layer's output may be, and its dimensions. A square of T = H W tokens may have one more
#: before it, a class token.
LAYOUTS = {"channels_first": ("(B, n, H, W) or (B, n)", (2, 4)), "channels_last": ("(B, H, W, n)", (4,)),
           "tokens": ("(B, T, n) with T a square, or one more", (3,))}
Reshape = str | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Layout:
    """One of `LAYOUTS`, or a function that makes (B, n, H, W) of a layer's output by moving numbers alone."""

    kind: str | Callable[[Tensor], Tensor]

    def map(self, x: Tensor) -> Tensor:
        """A layer's output as a map (B, n, H, W)."""
        return x.flatten()[self._places(x)] if callable(self.kind) else self._view(x)

    def kept(self, x: Tensor, present: Tensor) -> Tensor:
        """A layer's output with 0 for each filter that is not present, (B, n).

        What belongs to no filter, like a class token, stays.
        """
        each, x = present.to(x.device)[:, :, None, None], x.clone()
        if callable(self.kind):
            places, flat = self._places(x), x.flatten()
            flat[places] *= each
            return flat.view(x.shape)
        self._view(x).mul_(each)
        return x

    def _view(self, x: Tensor) -> Tensor:
        """The map as a view, so that what is done to it is done to the output."""
        if self.kind == "channels_last":
            return x.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            side = math.isqrt(x.shape[1])
            return x[:, x.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
        return x if x.ndim == 4 else x[:, :, None, None]

    def _places(self, x: Tensor) -> Tensor:
        """For each number of the map its place in the output: what the function makes of numbered places."""
        numbers = torch.arange(x.numel(), device=x.device).view(x.shape)
        image = numbers.flatten(1)[:, :1] // max(1, x[:1].numel())  # (B, 1)
        try:
            places, found = self.kind(numbers), self.kind(x)
            moved = (places.ndim == 4 and len(places.unique()) == places.numel()
                     and torch.equal(places.flatten(1) // x[:1].numel(), image.expand(-1, places[0].numel()))
                     and torch.equal(x.flatten()[places], found))
        except (AttributeError, IndexError, RuntimeError, TypeError):
            moved = False
        if not moved:
            raise InputError(f"reshape: the function does not make (B, n, H, W) of {tuple(x.shape)} by moving numbers "
                             "alone, each at most once and within its image")
        return places


def check_reshape(reshape: Reshape) -> Reshape:
    """Return what may be said of a layout: None, one of `LAYOUTS`, or a function."""
    return reshape if reshape is None or callable(reshape) else one_of("reshape", reshape, LAYOUTS)


def layout_of(model: nn.Module, layer: str, x: Tensor, size: tuple[int, int], reshape: Reshape = None) -> Layout:
    """How the output x of a layer is laid out, for images of a size (height, width).

    With `reshape` None it is recognised; an InputError where it can't be told for sure, or where
    what was said doesn't fit x.
    """
    shape = tuple(x.shape)
    if callable(reshape):
        return Layout(reshape)
    if reshape is None and x.ndim == 4:
        return Layout(_recognised(model, layer, shape, size))
    words, dimensions = LAYOUTS[reshape or "channels_first"]
    square = x.ndim != 3 or math.isqrt(shape[1]) ** 2 in (shape[1], shape[1] - 1)
    if x.ndim not in dimensions or not square:
        advice = 'reshape="tokens"' if reshape is None and x.ndim == 3 and square else "reshape= as a function of it"
        raise InputError(f"output of {layer}: shape {shape} is not {words}; accepted: {advice}")
    return Layout(reshape or "channels_first")


def _recognised(model: nn.Module, layer: str, shape: tuple[int, ...], size: tuple[int, int]) -> str:
    """Where the filters are in a layer's output of four dimensions."""
    module, (height, width) = layer_of(model, layer), size
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        return "channels_first"
    if isinstance(module, nn.Linear) or type(module) is nn.LayerNorm:  # these work on the last dimension
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
