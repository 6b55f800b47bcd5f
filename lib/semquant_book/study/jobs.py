"""What the jobs of both experiments share: performers that are kept, where x goes, where to begin."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant import rows
from semquant.networks import performers, weights
from semquant.checks import InputError
from semquant.files import check_writable, load_or_make
from semquant.networks.performers import Performer
from semquant_book.study import code
from semquant_book.study.presets import Settings, build_root, data_root
from semquant_book.study.store import record, record_of, write_record
from semquant.training import choose_device

__all__ = ["PREDECESSOR", "at_once", "begin", "imagenet", "kept_maps", "kept_performer",
           "recipe_of"]

#: Batch size, and factor on the learning rates, of each network in Zhang et al. (2018), their code.
PREDECESSOR = {"alexnet": (512, 30.0), "vgg_m": (196, 30.0), "vgg_s": (128, 10.0),
               "vgg16": (32, 1.0)}
#: MatConvNet's names of the networks that the original experiments began with.
IMAGENET = {"alexnet": "imagenet-caffe-alex", "vgg_m": "imagenet-vgg-m", "vgg_s": "imagenet-vgg-s",
            "vgg16": "imagenet-vgg-verydeep-16"}


def recipe_of(settings: Settings, architecture: str, batch: int,
              rate: float) -> tuple[int, float]:
    """Return the batch size and largest learning rate that the settings' recipe means for a network."""
    if settings.recipe == "one_cycle":
        return batch, rate
    own, factor = PREDECESSOR[architecture]
    return min(own, batch), factor * rate


def at_once(side: int, small: int) -> int:
    """Return how many images go through a network at once: fewer of the paper's size."""
    return small if side < 160 else 32


@torch.no_grad()
def begin(net: Performer, architecture: str, settings: Settings, *, fc: bool = False) -> Performer:
    """Put ImageNet weights into a performer, if the settings say so; returns it.

    Layers that are not in the file begin with small weights, standard deviation 0.01: behind
    activations of pixels from 0 to 255, He's would be far too large for the predecessor's rates.
    """
    if settings.weights == "imagenet":
        put = weights.into(net, imagenet(architecture), fc=fc)
        own = net.state_dict()
        for key in put.fresh:
            if key.endswith(".weight"):
                torch.nn.init.normal_(own[key], std=0.01)
    return net


def imagenet(architecture: str) -> weights.Public:
    """Read the ImageNet weights of a network from the folder of real data.

    Raises
    ------
    InputError
        If they are not there, or are of another network.
    """
    name = f"{IMAGENET[architecture]}.mat"
    root = data_root()
    found = [path for path in (root / "imagenet" / name, root / name) if path.is_file()]
    if not found:
        raise InputError(f"weights: {name} is neither in {root / 'imagenet'} nor in {root}; "
                         f"semquant data --fetch {IMAGENET[architecture]} --to {root} fetches it")
    status = found[0].stat()
    return _imagenet(found[0], architecture, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _imagenet(path: Path, architecture: str, changed: int) -> weights.Public:
    return weights.matconvnet(path, architecture)


@contextmanager
def kept_maps(settings: Settings, what: str, size: int) -> Iterator[Callable[[str], str | Path]]:
    """Decide where maps of some size go while a job lasts, and say so.

    Yields a function that turns a name into what `semquant.concepts.measure_batches` takes as `x_to`. Files
    are removed at the end.
    """
    folder = build_root() / "scratch"
    where = rows.choose(settings.cache, size, folder)
    print(f"semquant: {rows.describe(what, size, where, folder)}", file=sys.stderr, flush=True)
    if where != "disk":
        yield lambda name: where
        return
    prefix = what.partition(":")[0].replace(" ", "-") + "-"
    own = Path(tempfile.mkdtemp(prefix=prefix, dir=check_writable(folder)))
    try:
        yield lambda name: own / f"{name}.x"
    finally:
        shutil.rmtree(own, ignore_errors=True)  # on a network's disk files in use stay a while


def kept_performer(
    net: Performer,
    path: Path,
    settings: Settings,
    train: Callable[..., list[dict[str, float]]],
    judge: Callable[[], dict],
    module: str,
    **about: object,
) -> Performer:
    """Give a performer its weights: those kept at a path, or, where there are none, trained ones.

    Parameters
    ----------
    net : Performer
        With fresh weights.
    path : Path
        Where its weights belong; its record is written beside.
    settings : Settings
    train : callable
        Trains `net` and returns its history; takes ``checkpoint``, ``key`` and ``progress``.
    judge : callable
        Measures the trained `net` and returns the metrics of its record.
    module : str
        What decides what training does, with all that it imports: a checkpoint of other code is not
        gone on with.
    **about
        What the record says of this performer.

    Returns
    -------
    Performer
        `net`, on the settings' device and in evaluation mode.

    Raises
    ------
    InputError
        If the kept weights are of another architecture.
    """

    def make() -> dict[str, Tensor]:
        checkpoint = build_root() / "checkpoints" / f"{path.stem}.pt"
        with record(settings, **about) as content:
            content["history"] = train(checkpoint=checkpoint, progress=path.stem,
                                       key=f"{path.stem}-{code.digest(module)}")
            content["parameters"] = sum(p.numel() for p in net.parameters())
            content["metrics"] = judge()
        write_record(record_of(path), content)
        checkpoint.unlink(missing_ok=True)
        checkpoint.with_name(checkpoint.name + ".sha256").unlink(missing_ok=True)
        return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}

    performers.load_weights(net, load_or_make(path, load_file, make, save_file), path.name)
    if settings.channels_last:
        net.to(memory_format=torch.channels_last)
    return net.to(choose_device(settings.device)).eval()
