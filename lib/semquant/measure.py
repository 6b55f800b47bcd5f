"""Measuring a frozen CNN over many images: images in, x, y, yhat and w out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from torch import Tensor, nn

from semquant.checks import InputError
from semquant.concepts import FilterConcepts, Measured, OutputConcepts, Outputs
from semquant.gathered import gathered
from semquant.images import Images, input_by
from semquant.models import unwrapped
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
    images, target = Images.of(images), resolve_each(target, unwrapped(model), concepts)
    one = int(target[0]) if isinstance(target, Tensor) else target  # x is the same for each
    batches = measured_batches(concepts, model, images, target, prior, prepare=prepare,
                               batch_size=batch_size)
    return Measured(**gathered(
        (vars(part) for _, part in batches), lambda batch: concepts.measure(model, batch, one, False).x,
        model, images, prepare, keep_x))


def measure_many(concepts: FilterConcepts | OutputConcepts, model: nn.Module, images: Images | object,
                 targets: Sequence[int | str], prior: bool = True, *,
                 prepare: Callable[[Tensor], Tensor] | None = None, batch_size: int = 64,
                 keep_x: bool = True) -> dict[int | str, Measured]:
    """As `measure` for each of several targets, from one forward pass; they share x.

    The keys are names as they were given, and the numbers of other targets.
    """
    wanted = [resolve(target, unwrapped(model), concepts) for target in targets]
    if not wanted:
        raise InputError("targets: none were given")
    images = Images.of(images)
    batches = _passes(lambda batch, _: concepts.measure_many(model, batch, wanted, prior), concepts, model,
                      images, prepare, batch_size)
    names = ("y", "yhat", "w")
    parts = ({"x": each[0].x} | {(name, i): getattr(one, name) for i, one in enumerate(each)
                                 for name in names} for _, each in batches)
    found = gathered(parts, lambda batch: concepts.measure(model, batch, wanted[0], False).x, model,
                      images, prepare, keep_x)
    return {target if isinstance(target, str) else number: Measured(
        found["x"], *(found[name, i] for name in names))
        for i, (target, number) in enumerate(zip(targets, wanted))}


def measured_batches(concepts: FilterConcepts | OutputConcepts, model: nn.Module,
                     images: Images | object, target: int | str | Sequence, prior: bool = True, *,
                     prepare: Callable[[Tensor], Tensor] | None = None,
                     batch_size: int = 64) -> Iterator[tuple[Tensor, Measured]]:
    """Each batch of images as it was given, and what was measured of it, on the CPU: as `measure`.

    For what needs no memory of the batches before. The images are read once.
    """
    target, images = resolve_each(target, unwrapped(model), concepts), Images.of(images)
    each, count = isinstance(target, Tensor), images.expected()
    if each and isinstance(concepts, OutputConcepts):
        raise InputError("target: one for each image goes with filters; accepted with other outputs: one")
    if each and images.drawn():
        raise InputError("target: one for each image, but the loader draws the images' order; accepted: "
                         "shuffle=False")
    if each and images.rows() is not None and len(target) != count:
        raise InputError(f"target: {len(target)} were given for {count} images")
    done = 0

    def run(batch: Tensor, start: int) -> Measured:
        if each and start + len(batch) > len(target):
            raise InputError(f"target: {len(target)} were given for {start + len(batch)} images or more")
        return concepts.measure(model, batch, target[start : start + len(batch)] if each else target, prior)

    for batch, part in _passes(run, concepts, model, images, prepare, batch_size):
        done += len(batch)
        yield batch, part.to("cpu")
    if each and done != len(target):
        raise InputError(f"target: {len(target)} were given for {done} images")


def survey(concepts: OutputConcepts, model: nn.Module, images: Images | object,
           prior: bool = True, *, prepare: Callable[[Tensor], Tensor] | None = None,
           batch_size: int = 64, keep_x: bool = True) -> Outputs:
    """Measure all outputs of many images: one pass serves every target. Parameters as in `measure`."""
    images = Images.of(images)
    batches = _passes(lambda batch, _: concepts.survey(model, batch, prior), concepts, model, images,
                      prepare, batch_size)
    return Outputs(**gathered(
        (vars(part) for _, part in batches), lambda batch: concepts.survey(model, batch, False).x, model,
        images, prepare, keep_x))


def _passes(run: Callable[[Tensor, int], Part], concepts: FilterConcepts | OutputConcepts,
            model: nn.Module, images: Images, prepare: Callable[[Tensor], Tensor] | None,
            batch_size: int) -> Iterator[tuple[Tensor, Part]]:
    """Each batch as it was given, and what `run` makes of it and of the number of its first image."""
    concepts.check(model)  # what is wrong is told before anything runs
    ready, start = input_by(prepare), 0
    for batch in images.batches(batch_size):
        yield batch, run(ready(batch.to(home_of(model))), start)
        start += len(batch)
