"""Measuring a frozen CNN over many images: images in, x, y, yhat and w out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_finite
from semquant.concepts import FilterConcepts, Measured, OutputConcepts, Outputs, layer_of
from semquant.images import Images, input_by
from semquant.rows import Computed, Rows
from semquant.targets import resolve, resolve_each
from semquant.training import home_of

__all__ = ["measure", "measure_many", "measured_batches", "survey"]

Part = TypeVar("Part")


def measure(concepts: FilterConcepts | OutputConcepts, model: nn.Module, images: Images | object,
            target: int | str | Sequence, prior: bool = True, *,
            prepare: Callable[[Tensor], Tensor] | None = None, batch_size: int = 64,
            keep_x: bool = True) -> Measured:
    """Measure many images, a batch at a time.

    Parameters
    ----------
    concepts, model, prior
        As in `FilterConcepts.measure`. The model runs where it is, see `semquant.training.placed`.
    images : Images, or what they can be made from
        A tensor (N, C, H, W), a loader and more, see `semquant.Images`.
    target : int, str, or one of them for each image
        See `semquant.targets`; one for each image goes with filters only.
    prepare : callable, optional
        Applied to each batch on the device, e.g. the normalisation of images stored as bytes. Without
        it bytes become numbers from 0 to 1.
    batch_size : int
        For what comes in no batches; a loader has its own.
    keep_x : bool
        Whether x is kept in memory, once. Otherwise it is computed from the images whenever rows of it
        are asked for, in every epoch of a fit: the model must then stay as it is and where it is, and
        the images be such that they can be read by number, not a loader.

    Returns
    -------
    Measured
        Of all images, in their order, on the CPU.
    """
    kept, parts = _Kept(concepts, model, images, prepare, keep_x), []
    for _, part in measured_batches(concepts, model, kept.images, target, prior, prepare=prepare,
                                    batch_size=batch_size):
        parts.append(kept.without(part))
    found = Measured.join(parts)
    found.x = kept.whole()
    return found


def measure_many(concepts: FilterConcepts | OutputConcepts, model: nn.Module, images: Images | object,
                 targets: Sequence[int | str], prior: bool = True, *,
                 prepare: Callable[[Tensor], Tensor] | None = None, batch_size: int = 64,
                 keep_x: bool = True) -> dict[int | str, Measured]:
    """As `measure` for each of several targets, from one forward pass; they share x.

    The keys are names as they were given, and the numbers of other targets.
    """
    wanted = [resolve(target, model, concepts) for target in targets]
    if not wanted:
        raise InputError("targets: none were given")
    kept, parts = _Kept(concepts, model, images, prepare, keep_x), []
    for _, each in _passes(lambda batch, _: concepts.measure_many(model, batch, wanted, prior), concepts,
                           model, kept.images, prepare, batch_size):
        x = kept.without(each[0]).x
        parts.append([Measured(x, one.y, one.yhat, one.w).to("cpu") for one in each])
    found, x = [Measured.join(column) for column in zip(*parts)], kept.whole()
    return {target if isinstance(target, str) else number: replace(one, x=x)
            for target, number, one in zip(targets, wanted, found)}


def measured_batches(concepts: FilterConcepts | OutputConcepts, model: nn.Module, images: Images | object,
                     target: int | str | Sequence, prior: bool = True, *,
                     prepare: Callable[[Tensor], Tensor] | None = None,
                     batch_size: int = 64) -> Iterator[tuple[Tensor, Measured]]:
    """Each batch of images as it was given, and what was measured of it, on the CPU: as `measure`.

    For what needs no memory of the batches before. The images are read once.
    """
    target, images = resolve_each(target, model, concepts), Images.of(images)
    each, count = isinstance(target, Tensor), images.expected()
    if each and isinstance(concepts, OutputConcepts):
        raise InputError("target: one for each image goes with filters, others explain one output; accepted: "
                         "one target")
    if each and images.rows() is not None and len(target) != count:
        raise InputError(f"target: {len(target)} were given for {count} images")
    done = 0
    for batch, part in _passes(
            lambda batch, start: concepts.measure(
                model, batch, target[start : start + len(batch)] if each else target, prior),
            concepts, model, images, prepare, batch_size):
        done += len(batch)
        yield batch, part.to("cpu")
    if each and done != len(target):
        raise InputError(f"target: {len(target)} were given for {done} images")


def survey(concepts: OutputConcepts, model: nn.Module, images: Images | object,
           prior: bool = True, *, prepare: Callable[[Tensor], Tensor] | None = None,
           batch_size: int = 64, keep_x: bool = True) -> Outputs:
    """Measure all outputs of many images: one pass serves every target. Parameters as in `measure`."""
    kept, parts = _Kept(concepts, model, images, prepare, keep_x), []
    for _, part in _passes(lambda batch, _: concepts.survey(model, batch, prior), concepts, model,
                           kept.images, prepare, batch_size):
        parts.append(kept.without(part).to("cpu"))
    products = torch.cat([part.products for part in parts]) if prior else None
    return Outputs(kept.whole(), torch.cat([part.scores for part in parts]), products)


def _passes(run: Callable[[Tensor, int], Part], concepts: FilterConcepts | OutputConcepts, model: nn.Module,
            images: Images, prepare: Callable[[Tensor], Tensor] | None,
            batch_size: int) -> Iterator[tuple[Tensor, Part]]:
    """Each batch as it was given, and what `run` makes of it and of the number of its first image."""
    layer_of(model, concepts.layer)  # a wrong name is told before anything runs
    ready, start = input_by(prepare), 0
    for batch in images.batches(batch_size):
        yield batch, run(ready(batch.to(home_of(model))), start)
        start += len(batch)


class _Kept:
    """x of all images: in memory once, or computed again whenever it is asked for."""

    def __init__(self, concepts: FilterConcepts | OutputConcepts, model: nn.Module, images: Images | object,
                 prepare: Callable[[Tensor], Tensor] | None, keep_x: bool) -> None:
        self.images, self.device, ready = Images.of(images), home_of(model), input_by(prepare)
        self.compute = None if keep_x else lambda batch: concepts.measure(model, ready(batch), 0, False).x
        if not keep_x and self.images.rows() is None:
            raise InputError("keep_x: False needs images whose number is known and that are read by it: a "
                             "tensor, rows, an array, a list, a Dataset, a folder")
        self.room, self.parts, self.done, self.shape = None, [], 0, ()

    def without(self, part: Measured | Outputs) -> Measured | Outputs:
        """The part with no rows of x, which are put away."""
        x = part.x
        if self.compute is not None:
            check_finite(x=x)  # nobody looks at all of it later
        else:
            self._put(x)
        self.done, self.shape = self.done + len(x), x.shape[1:]
        return replace(part, x=x.new_empty(0, *self.shape))  # a slice would hold all of it in memory

    def _put(self, x: Tensor) -> None:
        count = self.images.expected()
        if not self.done and count is not None:  # where the number is known, nothing has to be joined
            self.room = _room(count, x)
        if self.room is not None and self.done + len(x) <= len(self.room):
            self.room[self.done : self.done + len(x)] = x
        else:
            self.parts.append(x.cpu())

    def whole(self) -> Tensor | Rows:
        """x (N, ...) of all parts."""
        if self.compute is not None:
            return Computed(self.images.rows(), self.compute, (self.done, *self.shape), self.device)
        parts, self.parts = self.parts, []
        if self.room is not None:
            parts.insert(0, self.room[: self.done - sum(map(len, parts))])
        if len(parts) == 1:
            return parts[0]
        found, end = _room(self.done, parts[0]), self.done
        while parts:  # the last first, each let go when it is copied: so memory is given back
            part = parts.pop()
            found[end - len(part) : end] = part
            end -= len(part)
        return found


def _room(count: int, x: Tensor) -> Tensor:
    """An empty tensor for so many rows, laid out as those of x are."""
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(count, *x.shape[1:], dtype=x.dtype,
                       memory_format=torch.channels_last if last else torch.contiguous_format)
