"""Options of a fit, and what every loop of training stands on: batches, precision, checkpoints, progress."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from semquant.checks import InputError, number, one_of
from semquant.rows import Computed, Rows

__all__ = ["OPTIMIZERS", "Checkpoint", "Descent", "Diverged", "FitOptions", "OwnCheckpoint",
           "TensorBatches", "choose_device", "cosine", "cpu_threads", "evaluation_mode", "home_of",
           "placed", "seed_everything", "seed_of"]

#: What an explainer can be fitted with; sgd has a momentum of 0.9.
OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}


class Diverged(InputError):
    """A fit whose loss is no longer a finite number."""


class Checkpoint(Protocol):
    """Where the state of a fit is kept."""

    def load(self) -> dict | None:
        """What was saved last, with all tensors on the CPU; None if there is nothing to go on from."""

    def save(self, state: dict) -> None:
        """Keep a state, whole or not at all."""


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted, a performer or an explainer."""

    epochs: int = 12  # passes over the data
    batch_size: int = 64  # images a step
    learning_rate: float = 1e-3  # the largest; schedules lower it
    weight_decay: float = 1e-4  # not of b
    optimizer: str = "adamw"  # of g and b, see `OPTIMIZERS`; it decides how even the contributions get
    bias_rate: float = 1.0  # b's learning rate in units of g's; at 1 AdamW leaves b near its start
    seed: int = 0  # of initial weights, of the order of images, of a permuted prior
    device: str = "auto"  # CUDA where there is one
    amp: bool = False  # mixed precision: bfloat16, or float16 with loss scaling where a GPU lacks it
    channels_last: bool = False  # memory layout of the network and its input
    workers: int = 0  # processes that fetch what is not in memory
    keep_x: bool = True  # maps of all images in memory; else `distill` computes them in every epoch anew
    progress: str | None = None  # label of a progress bar, in a terminal or a notebook
    checkpoint: Checkpoint | None = None  # keeps the state after each epoch; a run goes on from there
    held_out: float = 0.2  # share of images that `semquant.distill` keeps from the fit for its report

    def __post_init__(self) -> None:
        number("epochs", self.epochs, 0, integer=True)
        number("batch_size", self.batch_size, 1, integer=True)
        number("workers", self.workers, 0, integer=True)
        number("seed", self.seed, integer=True)
        for name in ("learning_rate", "weight_decay", "bias_rate"):
            number(name, getattr(self, name), 0)
        number("held_out", self.held_out, 0, 0.9)
        one_of("optimizer", self.optimizer, tuple(OPTIMIZERS))
        one_of("device", str(self.device).split(":")[0], ("auto", "cpu", "cuda"))
        for name in ("amp", "channels_last"):
            one_of(name, getattr(self, name), (True, False))
        if not isinstance(self.progress, str | None):
            raise InputError(f"progress: {self.progress!r} is not a label, or None")
        if self.checkpoint is not None and not all(hasattr(self.checkpoint, n) for n in ("load", "save")):
            raise InputError(f"checkpoint: {type(self.checkpoint).__name__} has no load() and save(state)")


class OwnCheckpoint:
    """A `Checkpoint` that is taken for one fit only; that of another is an InputError.

    `words` are the fit's settings, which must be the same; of its `data`, tensors (N, ...), a random
    projection is kept, which must be the same up to rounding.
    """

    def __init__(self, kept: Checkpoint, words: str, *data: Tensor) -> None:
        self.kept, self.words = kept, words
        self.sketch = [_projection(tensor) for tensor in data]

    def load(self) -> dict | None:
        state = self.kept.load()
        if state is None:
            return None
        words, sketch = state.pop("words", None), state.pop("sketch", [])
        if words != self.words or not _alike(sketch, self.sketch):
            other = "settings" if words != self.words else "images, or another model or target"
            raise InputError(f"checkpoint: it is of another fit, with other {other}; remove it, or name "
                             "another")
        return state

    def save(self, state: dict) -> None:
        self.kept.save({**state, "words": self.words, "sketch": self.sketch})


def _projection(tensor: Tensor) -> Tensor:
    """A tensor (N, ...) times N random numbers, always the same ones."""
    along = torch.randn(len(tensor), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return along @ tensor.detach().cpu().double().reshape(len(tensor), -1)


def _alike(these: list[Tensor], those: list[Tensor]) -> bool:
    return len(these) == len(those) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
        for a, b in zip(these, those))


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name: auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:<index>.

    An InputError if it is none of these, or CUDA is asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    one_of("device", str(name).split(":")[0], ("auto", "cpu", "cuda"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: {name!r} is not one of auto, cpu, cuda, cuda:<index>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {name!r} asked for, but torch sees {torch.cuda.device_count()} "
                         "CUDA devices; accepted here: auto, cpu")
    return device


@contextmanager
def placed(model: nn.Module, device: torch.device | str) -> Iterator[None]:
    """The model on a device for a while, and then where it was."""
    home = home_of(model)
    try:
        if torch.device(device) != home:
            model.to(device)
        yield
    finally:
        if torch.device(device) != home:
            model.to(home)


def home_of(model: object) -> torch.device:
    """The device that a model's parameters are on; the CPU for one without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in parameters), torch.device("cpu"))


@contextmanager
def evaluation_mode(model: object) -> Iterator[None]:
    """Evaluation mode for a while; afterwards each submodule is in the mode it was in.

    Anything that is no module is let through.
    """
    modes = [(m, m.training) for m in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def seed_of(*numbers: int | str) -> int:
    """Return a seed that stands for a tuple: (seed 0, epoch 1) and (seed 1, epoch 0) share nothing."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def seed_everything(*numbers: int | str) -> int:
    """Seed torch (all devices) and numpy from a tuple, and return the seed; see `seed_of`."""
    seed = seed_of(*numbers)
    torch.manual_seed(seed)
    np.random.seed(seed)
    return seed


class TensorBatches:
    """Shuffled batches of tensors in memory, or of rows that are fetched for each batch.

    Each iteration is an epoch of tuples of tensors on `device`. The order is drawn from a generator,
    which `Descent` seeds before each epoch; it doesn't depend on where the rows are, nor on the
    number of workers.

    Parameters
    ----------
    *tensors : Tensor or Rows, (N, ...)
        Of equal length; the first is the one that `flip` turns.
    batch_size : int
        Images a step. The last, smaller batch of an epoch is kept unless it has a single image,
        for which batch norm is undefined.
    device : torch.device
        Where batches go; on CUDA through pinned memory, so that the copy doesn't hold up the step.
    flip, channels_last : bool
        Mirror each first tensor left to right with probability 1/2; its memory layout.
    workers : int
        Processes that fetch batches ahead, where not everything is in memory; 0 fetches them here.
    generator : torch.Generator, optional
        On the CPU; torch's own by default.
    """

    def __init__(self, *tensors: Tensor | Rows, batch_size: int, device: torch.device | str = "cpu",
                 flip: bool = False, workers: int = 0, generator: torch.Generator | None = None,
                 channels_last: bool = False):
        if len({len(t) for t in tensors}) != 1:
            raise InputError(f"tensors: lengths {[len(t) for t in tensors]} are not equal")
        self.device = torch.device(device)
        self.pin = self.device.type == "cuda" and torch.cuda.is_available()
        in_memory = all(isinstance(t, Tensor) for t in tensors)
        self.workers = 0 if in_memory else workers
        # a worker can't compute on a GPU: it fetches images, and the rows are computed here
        self.compute = [t.compute if isinstance(t, Computed) else None for t in tensors]
        self.sources = tuple(t.images if isinstance(t, Computed) else t for t in tensors)
        self.batch_size = batch_size
        self.flip = flip
        self.generator = generator
        self.channels_last = channels_last
        self._order: list[Tensor] = []  # of the epoch at hand; one list, which the loader reads
        self._loader = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.sources[0]), self.batch_size)
        return full + (rest > 1 or (full == 0 and rest == 1))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(self.sources[0]), generator=self.generator)
        self._order[:] = [order[start : start + self.batch_size]
                          for start in range(0, len(self) * self.batch_size, self.batch_size)]
        for fetched in self._fetched():
            batch = [t.to(self.device, non_blocking=True) for t in fetched]
            if self.flip:
                turned = torch.rand(len(batch[0]), generator=self.generator).to(self.device) < 0.5
                turned = turned.view(-1, *[1] * (batch[0].dim() - 1))
                batch[0] = torch.where(turned, batch[0].flip(-1), batch[0])
            batch = [compute(t) if compute else t for compute, t in zip(self.compute, batch)]
            if self.channels_last:
                batch[0] = batch[0].contiguous(memory_format=torch.channels_last)
            yield tuple(batch)

    def _fetched(self) -> Iterator[tuple[Tensor, ...]]:
        if self.workers == 0:
            for chosen in self._order:
                batch = (t[chosen.to(t.device)] if isinstance(t, Tensor) else t[chosen]
                         for t in self.sources)
                yield tuple(t.pin_memory() if self.pin and not t.is_cuda else t for t in batch)
            return
        if self._loader is None:
            self._loader = DataLoader(
                _Fetch(self.sources), batch_size=None, sampler=self._order,
                num_workers=self.workers, pin_memory=self.pin, persistent_workers=True,
                generator=torch.Generator())  # of its own: torch's stays as `Descent` seeded it
        try:
            yield from self._loader
        except InputError as error:  # a worker's error comes with its traceback
            line = error.args[0].strip().splitlines()[-1]
            raise InputError(line.rpartition("InputError: ")[2]) from None


class _Fetch(Dataset):
    """What a worker does: one item is a whole batch."""

    def __init__(self, sources: tuple[Tensor | Rows, ...]):
        self.sources = sources

    def __getitem__(self, chosen: Tensor) -> tuple[Tensor, ...]:
        return tuple(t[chosen] for t in self.sources)


class Descent:
    """An optimiser's way through the epochs: precision, loss scaling, schedule, checkpoints, progress.

    ::

        descent = Descent(net, optimizer, schedule, options)
        for epoch in descent.epochs():
            for batch in batches:
                with descent.precision():
                    loss = ...
                descent.step(loss, what=loss)
        descent.history

    Parameters
    ----------
    module : Module
        What is fitted, on its device already.
    optimizer : Optimizer
        Made once; its state lasts over all epochs and is part of the checkpoint.
    schedule : LRScheduler
        Stepped after every batch.
    options : FitOptions
        ``epochs``, ``seed``, ``amp``, ``progress`` and ``checkpoint`` are read.
    generator : torch.Generator, optional
        Seeded before each epoch in the place of torch's and numpy's own, which are left alone then:
        for a fit beside other work. Batches must draw from it, and nothing else may draw.
    on_epoch : callable, optional
        Called with (epoch, means) after each epoch; a true answer ends the training.

    Attributes
    ----------
    history : list of dict
        For each epoch the mean over its batches of every scalar that `step` was given.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer,
                 schedule: torch.optim.lr_scheduler.LRScheduler, options: FitOptions,
                 generator: torch.Generator | None = None,
                 on_epoch: Callable[[int, dict], object] | None = None) -> None:
        self.device = next(module.parameters()).device
        self.half = _half(self.device)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=options.amp and self.half == torch.float16)
        self.parts = {"module": module, "optimizer": optimizer, "scaler": self.scaler,
                      "scheduler": schedule}
        self.module, self.optimizer, self.schedule = module, optimizer, schedule
        self.options, self.generator, self.on_epoch = options, generator, on_epoch
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self.history: list[dict[str, float]] = self._resume()

    def epochs(self) -> Iterator[int]:
        """The epochs that are still to go, counted from 1.

        Each begins by seeding from (seed, epoch). A run that was stopped and goes on from its
        checkpoint therefore draws the same numbers as an undisturbed one. A loss that is not finite
        is an InputError that names the epoch; what was kept before stays.
        """
        options = self.options
        self.module.train()
        bar = tqdm(  # disable=None: only where a person looks, a terminal or a notebook
            total=options.epochs, initial=len(self.history), desc=options.progress, unit="epoch",
            disable=True if options.progress is None or len(self.history) == options.epochs else None)
        for epoch in range(len(self.history) + 1, options.epochs + 1):
            if self.generator is None:
                seed_everything(options.seed, epoch)
            else:
                self.generator.manual_seed(seed_of(options.seed, epoch))
            self._sums, self._count = {}, 0
            yield epoch
            means = {name: float(total) / self._count for name, total in self._sums.items()}
            if not np.isfinite(means["loss"]):
                raise Diverged(f"loss: became {means['loss']} in epoch {epoch}; accepted: finite "
                                 "numbers (a lower learning rate, or amp off, may help)")
            self.history.append(means)
            self._save()
            bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()})
            bar.update()
            if self.on_epoch is not None and self.on_epoch(epoch, means):
                break
        bar.close()
        self.module.eval()

    def precision(self) -> torch.autocast | nullcontext:
        """Automatic mixed precision, if the options ask for it, for what runs inside."""
        amp = self.options.amp
        return torch.autocast(self.device.type, dtype=self.half) if amp else nullcontext()

    def step(self, loss: Tensor, **measured: Tensor | float) -> None:
        """One step down the gradient of a loss; scalars are kept for the history."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        for name, value in {"loss": loss, **measured}.items():  # summed on the device: no copy a step
            self._sums[name] = self._sums.get(name, 0) + torch.as_tensor(value).detach().float()
        self._count += 1

    def _save(self) -> None:
        if self.options.checkpoint is not None:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            self.options.checkpoint.save(state | {"history": self.history})

    def _resume(self) -> list[dict]:
        state = self.options.checkpoint.load() if self.options.checkpoint is not None else None
        if state is None:
            return []
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state["history"]


def _half(device: torch.device) -> torch.dtype:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rates that fall to 0 over `steps` steps, along half a cosine."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * min(t / steps, 1.0))))


def cpu_threads(count: int) -> None:
    """Fix the number of CPU threads a process computes with, so that its sums repeat bit by bit."""
    number("threads", count, 1, os.cpu_count() or 1, integer=True)
    torch.set_num_threads(count)
