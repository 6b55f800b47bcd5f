"""Images as they are shown: the normalisation taken back, and said where that can't be done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semquant.checks import InputError, check_finite

__all__ = ["Pictures", "pictures", "said", "shown"]

TRACE = 0.001  # of an image's values may lie outside 0 to 1: interpolation overshoots at edges
SLACK = 0.01  # and none counts that is outside by less: rounding


class Pictures(NamedTuple):
    """B images as they can be shown."""

    pixels: np.ndarray  # (B, H, W, 3) uint8
    stretched: np.ndarray  # (B,) bool: shown from an image's own smallest value to its largest
    outside: np.ndarray  # (B,) the share of an image's values outside 0 to 1

    @property
    def note(self) -> str:
        """What has to stand where they are shown, '' where all is well."""
        return said(int(self.stretched.sum()), len(self.pixels), float(self.outside.mean()))


def said(stretched: int, count: int, outside: float) -> str:
    """What has to stand where `count` images are shown of which some were stretched."""
    if not stretched:
        return ""
    share = "all values" if outside == 1 else f"{outside:.0%} of values"
    return f"{share} lie outside 0 to 1: {stretched} of {count} pictures are stretched to be seen"


def pictures(images: Tensor | np.ndarray,
             undo: Callable[[Tensor], Tensor] | Sequence | None = None) -> Pictures:
    """Make images that can be shown of those a network is given; parameters as in `shown`."""
    values = _channels_first(images)
    whole = not values.is_floating_point() and values.dtype != torch.bool
    values = values.detach().cpu().double()
    if whole:  # bytes
        values = values / 255
    if undo is not None:
        values = _undone(values, undo)
    if values.shape[1] not in (1, 3):
        raise InputError(f"images: {values.shape[1]} channels can't be shown, 1 (grey) or 3 (red, green, "
                         "blue) can; undo=function may choose them")
    check_finite(images=values)
    flat = values.flatten(1)  # (B, C H W)
    outside = ((flat < -SLACK) | (flat > 1 + SLACK)).double().mean(dim=1)
    stretched = outside > TRACE
    low, high = (torch.where(stretched, found, usual)[:, None, None, None] for found, usual in (
        (flat.amin(dim=1), 0.0), (flat.amax(dim=1), 1.0)))
    values = ((values - low) / torch.where(high > low, high - low, 1)).clamp(0, 1)
    pixels = (255 * values).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    return Pictures(pixels.contiguous().numpy(), stretched.numpy(), outside.numpy())


def shown(images: Tensor | np.ndarray,
          undo: Callable[[Tensor], Tensor] | Sequence | None = None) -> np.ndarray:
    """Return images as they can be shown, (B, H, W, 3) bytes.

    Parameters
    ----------
    images : tensor or array (B, C, H, W), (B, H, W, C), or one of them
        As the network is given them; grey or in colour; floats, or bytes from 0 to 255.
    undo : (mean, std), transform or callable, optional
        Takes the normalisation back: what was subtracted and divided by (a number, or one a
        channel), torchvision's ``Normalize`` or a transform that holds one, or a function of
        images (B, C, H, W) that returns values from 0 to 1.

    Returns
    -------
    array (B, H, W, 3) uint8
        An image with more than a trace of values outside 0 to 1 can't be shown as it is: it is
        stretched, its smallest value black and its largest white, and a UserWarning says so. An
        InputError if the shape, the number of channels or `undo` can't be used, or a value is NaN.
    """
    found = pictures(images, undo)
    if found.note:
        hint = ("undo doesn't bring them there" if undo is not None
                else "undo=(mean, std) takes the normalisation back")
        warnings.warn(f"images: {found.note}; {hint}", UserWarning, stacklevel=2)
    return found.pixels


def _channels_first(images: Tensor | np.ndarray) -> Tensor:
    """(B, C, H, W), whichever axis the channels are on; an image alone is a batch of one."""
    if not isinstance(images, Tensor | np.ndarray):
        raise InputError(f"images: {type(images).__name__} is neither a tensor nor an array")
    if isinstance(images, np.ndarray):
        images = torch.tensor(np.ascontiguousarray(images))  # a copy: it may not be writable
    shape = tuple(images.shape)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or 0 in shape:
        raise InputError(f"images: shape {shape} is not (B, C, H, W) or (B, H, W, C)")
    last = images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)
    return images.permute(0, 3, 1, 2) if last else images


def _undone(values: Tensor, undo: Callable[[Tensor], Tensor] | Sequence) -> Tensor:
    """Images without their normalisation."""
    for part in (undo, *reversed(getattr(undo, "transforms", ()))):  # of a Compose the last one
        if hasattr(part, "std") and not callable(part.std):  # an array's std is a method
            undo = (part.mean, part.std)
            break
    if callable(undo) and not hasattr(undo, "transforms"):
        # in single precision: a function of the user's may hold float tensors of its own
        found = undo(values.float())
        if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != len(values):
            shape = tuple(getattr(found, "shape", ())) or type(found).__name__
            raise InputError(f"undo: the function gives {shape}, not {len(values)} images (B, C, H, W)")
        return found.detach().double()
    try:
        mean, std = (torch.as_tensor(part, dtype=torch.float64).reshape(-1, 1, 1) for part in undo)
        given = {len(mean), len(std)}
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"undo: {undo!r} is not (mean, std), a transform that holds a Normalize, or a "
                         "function") from error
    if not given <= {1, values.shape[1]} or bool((std == 0).any()):
        raise InputError(f"undo: {undo!r} is not a mean and a std, not 0, for {values.shape[1]} channels")
    return values * std + mean
