"""Measuring a frozen CNN over many images: images in, x, y, yhat and w out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_finite, number
from semquant.concepts import FilterConcepts, Measured, OutputConcepts, Outputs, layer_of
from semquant.rows import Computed, Rows
from semquant.training import home_of

__all__ = ["image_batches", "measure", "survey"]


def measure(concepts: FilterConcepts | OutputConcepts, model: nn.Module,
            images: Tensor | Rows | Iterable, target: int, prior: bool = True, *,
            prepare: Callable[[Tensor], Tensor] | None = None, batch_size: int = 64,
            keep_x: bool = True) -> Measured:
    """Measure many images, a batch at a time.

    Parameters
    ----------
    concepts, model, target, prior
        As in `FilterConcepts.measure`. The model runs where it is, see `semquant.training.placed`.
    images : tensor or Rows (N, C, H, W), or loader
        See `image_batches`.
    prepare : callable, optional
        Applied to each batch on the device, e.g. the normalisation of images stored as bytes.
    batch_size : int
        For a tensor of images; a loader has its own.
    keep_x : bool
        Whether x is kept in memory. Otherwise it is computed from the images whenever rows of it are
        asked for, in every epoch of a fit: the model must then stay as it is and where it is, and
        the images be a tensor or rows.

    Returns
    -------
    Measured
        Of all images, in their order, on the CPU.
    """
    parts = _each_batch(lambda batch: concepts.measure(model, batch, target, prior), concepts.layer,
                        model, images, prepare, batch_size, keep_x)
    found = Measured.join(parts)
    if not keep_x:
        found.x = _again(images, model, prepare, parts,
                         lambda batch: concepts.measure(model, batch, target, False).x)
    return found


def survey(concepts: OutputConcepts, model: nn.Module, images: Tensor | Rows | Iterable,
           prior: bool = True, *, prepare: Callable[[Tensor], Tensor] | None = None,
           batch_size: int = 64, keep_x: bool = True) -> Outputs:
    """Measure all outputs of many images: one pass serves every target. Parameters as in `measure`."""
    parts = _each_batch(lambda batch: concepts.survey(model, batch, prior), concepts.layer, model,
                        images, prepare, batch_size, keep_x)
    x = torch.cat([part.x for part in parts]) if keep_x else _again(
        images, model, prepare, parts, lambda batch: concepts.survey(model, batch, False).x)
    products = torch.cat([part.products for part in parts]) if prior else None
    return Outputs(x, torch.cat([part.scores for part in parts]), products)


def image_batches(images: Tensor | Rows | Iterable, batch_size: int = 64) -> Iterator[Tensor]:
    """Batches of images from a tensor or rows (N, C, H, W), or from a loader.

    A loader gives batches, or tuples whose first item they are, in the same order each time.
    """
    number("batch_size", batch_size, 1, integer=True)
    if isinstance(images, Tensor | Rows):
        yield from images.split(batch_size)
        return
    if not isinstance(images, Iterable):
        raise InputError(f"images: {type(images).__name__} is neither a tensor nor a loader")
    for batch in images:
        yield batch[0] if isinstance(batch, (tuple, list)) else batch


def _each_batch(measured: Callable[[Tensor], Measured | Outputs], layer: str, model: nn.Module,
                images: Tensor | Rows | Iterable, prepare: Callable[[Tensor], Tensor] | None,
                batch_size: int, keep_x: bool) -> list:
    """What `measured` gives for each batch; of x only the shape, unless it is kept."""
    layer_of(model, layer)  # a wrong name is told before anything runs
    if not keep_x and not isinstance(images, Tensor | Rows):
        raise InputError("keep_x: False needs images whose number is known, a tensor or rows")
    parts = []
    for batch in image_batches(images, batch_size):
        batch = batch.to(home_of(model))
        part = measured(prepare(batch) if prepare is not None else batch).to("cpu")
        if not keep_x:
            check_finite(x=part.x)  # nobody looks at all of it later
            part.x = part.x[:0]
        parts.append(part)
    if not parts:
        raise InputError("images: none were given")
    return parts


def _again(images: Tensor | Rows, model: nn.Module, prepare: Callable[[Tensor], Tensor] | None,
           parts: list, x_of: Callable[[Tensor], Tensor]) -> Computed:
    """x of all images, computed from them whenever some of it is asked for."""
    shape = (len(images), *parts[0].x.shape[1:])
    return Computed(images, lambda batch: x_of(prepare(batch) if prepare is not None else batch), shape,
                    home_of(model))
