"""One training loop for performers and explainers: mixed precision, checkpoints, resume, progress."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from semquant.checks import InputError, number, one_of
from semquant.files import read_checked, write_checked
from semquant.networks.performers import Performer, performer_loss
from semquant.rows import Computed, Rows

__all__ = ["TensorBatches", "choose_device", "cpu_threads", "fit", "preparation",
           "seed_everything", "seed_of", "train_performer"]

RECIPES = ("one_cycle", "predecessor")
Step = Callable[[tuple, int], dict[str, Tensor]]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device a run uses.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "cuda:<index>"}
        ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    InputError
        If the name is none of these, or CUDA is asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    one_of("device", str(name).split(":")[0], ("auto", "cpu", "cuda"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: {name!r} is not one of auto, cpu, cuda, cuda:<index>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: {name!r} asked for, but torch sees {torch.cuda.device_count()} CUDA devices; "
            "accepted here: auto, cpu"
        )
    return device


def seed_of(*numbers: int | str) -> int:
    """Return a seed that stands for a tuple.

    The tuple is hashed, so that (seed 0, epoch 1) and (seed 1, epoch 0) share nothing.
    """
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

    Called with an epoch, it yields tuples of tensors on `device`. The order is drawn from a
    generator, which `fit` seeds before each epoch; it doesn't depend on where the rows are, nor on
    the number of workers.

    Parameters
    ----------
    *tensors : Tensor or Rows, (N, ...)
        Of equal length; the first is the one that `flip` turns.
    batch_size : int
        Images a step. The last, smaller batch of an epoch is kept unless it has a single image,
        for which batch norm is undefined.
    device : torch.device
        Where batches go; on CUDA through pinned memory, so that the copy doesn't hold up the step.
    flip : bool
        Mirror each first tensor left to right with probability 1/2.
    workers : int
        Processes that fetch batches ahead, where not everything is in memory; 0 fetches them here.
    generator : torch.Generator, optional
        On the CPU; torch's own by default.
    """

    def __init__(
        self,
        *tensors: Tensor | Rows,
        batch_size: int,
        device: torch.device | str = "cpu",
        flip: bool = False,
        workers: int = 0,
        generator: torch.Generator | None = None,
    ):
        if len({len(t) for t in tensors}) != 1:
            raise InputError(f"tensors: lengths {[len(t) for t in tensors]} are not equal")
        number("batch_size", batch_size, 1, integer=True)
        number("workers", workers, 0, integer=True)
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
        self._order: list[Tensor] = []
        self._loader = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.sources[0]), self.batch_size)
        return full + (rest > 1 or (full == 0 and rest == 1))

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        order = torch.randperm(len(self.sources[0]), generator=self.generator)
        self._order[:] = [order[start : start + self.batch_size]
                          for start in range(0, len(self) * self.batch_size, self.batch_size)]
        for fetched in self._fetched():
            batch = [t.to(self.device, non_blocking=True) for t in fetched]
            if self.flip:
                turned = torch.rand(len(batch[0]), generator=self.generator) < 0.5
                turned = turned.to(self.device).view(-1, *[1] * (batch[0].dim() - 1))
                batch[0] = torch.where(turned, batch[0].flip(-1), batch[0])
            yield tuple(compute(t) if compute else t for compute, t in zip(self.compute, batch))

    def _fetched(self) -> Iterator[tuple[Tensor, ...]]:
        if self.workers == 0:
            for chosen in self._order:
                batch = (t[chosen.to(t.device)] if isinstance(t, Tensor) else t[chosen]
                         for t in self.sources)
                yield tuple(t.pin_memory() if self.pin and not t.is_cuda else t for t in batch)
            return
        if self._loader is None:
            self._loader = DataLoader(
                _Fetch(self.sources), batch_size=None, sampler=_Order(self._order),
                num_workers=self.workers, pin_memory=self.pin, persistent_workers=True,
                generator=torch.Generator())  # of its own: torch's stays what `fit` seeded
        try:
            yield from self._loader
        except InputError as error:  # a worker's error comes with its traceback
            line = error.args[0].strip().splitlines()[-1]
            raise InputError(line.rpartition("InputError: ")[2]) from None


class _Order(Sampler):
    """The batches of the epoch at hand, each as the numbers of its images.

    It holds their list, not the `TensorBatches`: in a cycle the workers would outlive the fit.
    """

    def __init__(self, order: list[Tensor]):
        self.order = order

    def __iter__(self) -> Iterator[Tensor]:
        return iter(list(self.order))

    def __len__(self) -> int:
        return len(self.order)


class _Fetch(Dataset):
    """What a worker does: one item is a whole batch."""

    def __init__(self, sources: tuple[Tensor | Rows, ...]):
        self.sources = sources

    def __getitem__(self, chosen: Tensor) -> tuple[Tensor, ...]:
        return tuple(t[chosen] for t in self.sources)


def fit(
    module: nn.Module,
    step: Step,
    batches: Callable[[int], Iterable[tuple]],
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    key: str = "",
    amp: bool = False,
    device: torch.device | str = "cpu",
    progress: str | None = None,
    on_epoch: Callable[[int, dict], object] | None = None,
    generator: torch.Generator | None = None,
) -> list[dict[str, float]]:
    """Train a module, and return what each epoch measured.

    Each epoch begins by seeding torch from (`seed`, epoch). A run that was stopped and goes on from
    its checkpoint therefore draws the same numbers as an undisturbed one.

    Parameters
    ----------
    module : nn.Module
        What is trained, on `device` already.
    step : callable
        ``step(batch, epoch)`` returns a dict of scalar tensors with ``"loss"`` among them; epochs
        count from 1.
    batches : callable
        ``batches(epoch)`` gives the batches of an epoch.
    epochs : int
        Passes over the data.
    optimizer : torch.optim.Optimizer
        Made once; its state lasts over all epochs and is part of the checkpoint.
    scheduler : LRScheduler, optional
        Stepped after every batch.
    seed : int
        Seed of the run.
    checkpoint : path, optional
        Where the state is written after each epoch, whole or not at all. If a checkpoint with the
        same `key` is there, training goes on from it; a damaged one is set aside.
    key : str
        Names the settings and code the checkpoint belongs to; one with another key is not used.
    amp : bool
        Automatic mixed precision: bfloat16, whose range is float32's; float16 with loss scaling on
        CUDA devices that have no bfloat16.
    device : torch.device
        Where `module` is.
    progress : str, optional
        Shows a progress bar with this label, in a terminal or a notebook.
    on_epoch : callable, optional
        Called with (epoch, measured) after each epoch; a true answer ends the training.
    generator : torch.Generator, optional
        Seeded before each epoch in the place of torch's and numpy's own, which are left alone then:
        for a fit beside other work. `batches` must draw from it, and nothing else may draw.

    Returns
    -------
    list of dict
        For each epoch the mean over its batches of every scalar that `step` returned.

    Raises
    ------
    InputError
        If the loss is not finite: the run names the epoch and stops before the weights are lost.
    """
    number("epochs", epochs, 0, integer=True)
    device = torch.device(device)
    half = _half(device)
    scaler = torch.amp.GradScaler(device.type, enabled=amp and half == torch.float16)
    state = _State(module, optimizer, scheduler, scaler, key)
    history = state.load(checkpoint, device)
    module.train()
    bar = tqdm(  # disable=None: only where a person looks, a terminal or a notebook
        total=epochs, initial=len(history), desc=progress, unit="epoch",
        disable=True if progress is None or len(history) == epochs else None,
    )
    for epoch in range(len(history) + 1, epochs + 1):
        if generator is None:
            seed_everything(seed, epoch)
        else:
            generator.manual_seed(seed_of(seed, epoch))
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in batches(epoch):
            context = torch.autocast(device.type, dtype=half) if amp else nullcontext()
            with context:
                measured = step(batch, epoch)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(measured["loss"]).backward()
            scaler.step(optimizer)
            scaler.update()
            if scheduler is not None:
                scheduler.step()
            for name, value in measured.items():  # summed on the device: no copy to the host a step
                sums[name] = sums.get(name, 0) + value.detach().float()
            count += 1
        means = {name: float(total) / count for name, total in sums.items()}
        if not np.isfinite(means["loss"]):
            raise InputError(
                f"loss: became {means['loss']} in epoch {epoch}; accepted: finite numbers "
                "(a lower learning rate, or amp off, may help)"
            )
        history.append(means)
        state.save(checkpoint, history)
        bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()})
        bar.update()
        if on_epoch is not None and on_epoch(epoch, means):
            break
    bar.close()
    module.eval()
    return history


def _half(device: torch.device) -> torch.dtype:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


class _State:
    """All that a run needs to go on: weights, optimizer, schedule, loss scale, history."""

    def __init__(self, module, optimizer, scheduler, scaler, key: str):
        self.parts = {"module": module, "optimizer": optimizer, "scaler": scaler}
        if scheduler is not None:
            self.parts["scheduler"] = scheduler
        self.key = key

    def save(self, path: str | Path | None, history: list[dict]) -> None:
        if path is None:
            return
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {"key": self.key, "history": history}
        write_checked(path, lambda beside: torch.save(content, beside))

    def load(self, path: str | Path | None, device: torch.device) -> list[dict]:
        if path is None:
            return []
        content = read_checked(
            path, lambda p: torch.load(p, map_location=device, weights_only=True)
        )
        if content is None or content["key"] != self.key:
            return []
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        return content["history"]


def cpu_threads(count: int) -> None:
    """Fix the number of CPU threads a process computes with, so that its sums repeat bit by bit."""
    number("threads", count, 1, os.cpu_count() or 1, integer=True)
    torch.set_num_threads(count)


def preparation(net: Performer, channels_last: bool) -> Callable[[Tensor], Tensor]:
    """Return what turns uint8 images on a device into a performer's input, in that layout."""

    def prepare(images: Tensor) -> Tensor:
        images = net.prepare(images)
        return images.contiguous(memory_format=torch.channels_last) if channels_last else images

    return prepare


def train_performer(
    net: Performer,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 1e-4,
    recipe: str = "one_cycle",
    filter_weight: float = 0.0,
    flip: bool = True,
    prepare: Callable[[Tensor], Tensor] | None = None,
    device: str = "auto",
    channels_last: bool = True,
    workers: int = 0,
    seed: int = 0,
    **fit_settings,
) -> list[dict[str, float]]:
    """Train a performer on mirrored images; returns what `fit` returns.

    Parameters
    ----------
    net : Performer
        Moved to the device, and trained in place.
    images : Tensor or Rows, (N, ...)
        What `prepare` takes: by default (N, 3, S, S) uint8.
    labels : Tensor (N,) or (N, K), bool
    epochs, batch_size : int
    learning_rate : float
        The largest.
    weight_decay : float
    recipe : {"one_cycle", "predecessor"}
        ``"one_cycle"``: AdamW, the learning rate rising and falling once. ``"predecessor"``: SGD
        with momentum 0.9, the learning rate falling tenfold, in equal ratios from epoch to epoch,
        over the first fifth of the epochs, and staying there (Zhang et al., 2018, their code).
    filter_weight : float
        Weight of the filter loss in the first epoch, see `performers.performer_loss`.
    flip : bool
        Mirror each image with probability 1/2.
    prepare : callable, optional
        Applied to a batch of images on the device.
    device : str
    channels_last : bool
        Memory layout of the network and its input.
    workers : int
        See `TensorBatches`.
    seed : int
    **fit_settings
        Further settings of `fit`: checkpoint, key, amp, progress.
    """
    device = choose_device(device)
    prepare = preparation(net, channels_last) if prepare is None else prepare
    net.to(device)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    batches = TensorBatches(images, labels, batch_size=batch_size, device=device, flip=flip,
                            workers=workers)
    if one_of("recipe", recipe, RECIPES) == "one_cycle":
        optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=epochs * len(batches)
        )
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9,
                                    weight_decay=weight_decay)
        steps = len(batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: predecessor_rate(1 + t // steps, epochs)
        )

    def step(batch: tuple, epoch: int) -> dict[str, Tensor]:
        return performer_loss(net, prepare(batch[0]), batch[1], epoch, filter_weight)

    return fit(net, step, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule,
               seed=seed, device=device, **fit_settings)


def predecessor_rate(epoch: int, epochs: int) -> float:
    """Return the share of the largest learning rate in an epoch, from 1, of the predecessor's recipe.

    For 50 epochs that of Zhang et al. (2018): ``logspace(-4, -5, 10)``, then 1e-5.
    """
    falling = max(2, round(epochs / 5))
    return 10.0 ** -min(1.0, (epoch - 1) / (falling - 1))
