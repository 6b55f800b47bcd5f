"""Training and keeping performers: what both experiments share."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant.checks import InputError, one_of
from semquant.networks import performers
from semquant.networks.performers import Performer, performer_loss
from semquant.rows import Rows
from semquant.training import Descent, FitOptions, TensorBatches, choose_device
from semquant_book.files import Checkpoint, load_or_make
from semquant_book.study import pretrained
from semquant_book.study.code import digest
from semquant_book.study.presets import Settings, build_root, data_root
from semquant_book.study.store import record, record_of, write_record

__all__ = ["PREDECESSOR", "at_once", "begin", "depth_of", "imagenet", "input_of", "kept_performer",
           "options_of", "predecessor_rate", "recipe_of", "scores", "train_performer"]

#: Batch size, and factor on the learning rates, of each network in Zhang et al. (2018), their code.
PREDECESSOR = {"alexnet": (512, 30.0), "vgg_m": (196, 30.0), "vgg_s": (128, 10.0),
               "vgg16": (32, 1.0)}
RECIPES = ("one_cycle", "predecessor")
#: MatConvNet's names of the networks that the original experiments began with.
IMAGENET = {"alexnet": "imagenet-caffe-alex", "vgg_m": "imagenet-vgg-m", "vgg_s": "imagenet-vgg-s",
            "vgg16": "imagenet-vgg-verydeep-16"}


def recipe_of(settings: Settings, architecture: str, batch: int, rate: float) -> tuple[int, float]:
    """Return the batch size and largest learning rate of a network by the settings' recipe."""
    if settings.recipe == "one_cycle":
        return batch, rate
    own, factor = PREDECESSOR[architecture]
    return min(own, batch), factor * rate


def options_of(settings: Settings, **more: object) -> FitOptions:
    """Return the options of a fit that any of the settings' fits has, and others by their names."""
    return FitOptions(device=settings.device, amp=settings.amp, channels_last=settings.channels_last,
                      workers=settings.workers, **more)


def depth_of(settings: Settings) -> str | int:
    """Return the settings' size of g as `ExplainerOptions` takes it."""
    return settings.explainer if settings.explainer == "small" else int(settings.explainer)


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
        own = net.state_dict()
        for key in pretrained.into(net, imagenet(architecture), fc=fc).fresh:
            if key.endswith(".weight"):
                torch.nn.init.normal_(own[key], std=0.01)
    return net


def imagenet(architecture: str) -> pretrained.Public:
    """Read a network's ImageNet weights from the folder of real data; InputError without them."""
    name, root = f"{IMAGENET[architecture]}.mat", data_root()
    for path in (root / "imagenet" / name, root / name):
        if path.is_file():
            return _imagenet(path, architecture, path.stat().st_mtime_ns)
    raise InputError(f"weights: {name} is neither in {root / 'imagenet'} nor in {root}; "
                     f"semquant data --fetch {IMAGENET[architecture]} --to {root} fetches it")


@lru_cache(maxsize=1)
def _imagenet(path: Path, architecture: str, changed: int) -> pretrained.Public:
    return pretrained.matconvnet(path, architecture)


def kept_performer(
    net: Performer, path: Path, settings: Settings, train: Callable[..., list[dict[str, float]]],
    judge: Callable[[], dict], code: str, **about: object) -> Performer:
    """Give a fresh performer its weights: those kept at a path, or, without any, trained ones.

    `train` trains `net` and returns its history; it takes ``checkpoint`` and ``progress`` of its
    `FitOptions`. `judge` measures the trained `net` for its record, which is written beside and
    says `about` of it. `code` is the module that decides what training does, with all that it
    imports: a checkpoint of other code is not gone on with. Returns `net` on the settings' device
    and in evaluation mode; InputError if the kept weights are of another architecture.
    """

    def make() -> dict[str, Tensor]:
        checkpoint = Checkpoint(build_root() / "checkpoints" / f"{path.stem}.pt",
                                f"{path.stem}-{digest(code)}")
        with record(settings, **about) as content:
            content["history"] = train(checkpoint=checkpoint, progress=path.stem)
            content["parameters"] = sum(p.numel() for p in net.parameters())
            content["metrics"] = judge()
        write_record(record_of(path), content)
        checkpoint.remove()
        return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}

    performers.load_weights(net, load_or_make(path, load_file, make, save_file), path.name)
    if settings.channels_last:
        net.to(memory_format=torch.channels_last)
    return net.to(choose_device(settings.device)).eval()


def input_of(net: Performer, channels_last: bool) -> Callable[[Tensor], Tensor]:
    """Return what turns uint8 images on a device into a performer's input, in that layout."""

    def prepare(images: Tensor) -> Tensor:
        images = net.prepare(images)
        return images.contiguous(memory_format=torch.channels_last) if channels_last else images

    return prepare


@torch.inference_mode()
def scores(net: Performer, images: Tensor | Rows, settings: Settings) -> Tensor:
    """Return the logits (B, K) of what a performer prepares, of images (B, ...), on the CPU."""
    device, prepare = choose_device(settings.device), input_of(net, settings.channels_last)
    return torch.cat([net(prepare(batch.to(device))).cpu()
                      for batch in images.split(at_once(net.input_size, 256))])


def train_performer(net: Performer, images: Tensor | Rows, labels: Tensor, options: FitOptions, *,
                    recipe: str = "one_cycle", filter_weight: float = 0.0, fading: bool = True,
                    flip: bool = True) -> list[dict[str, float]]:
    """Train a performer in place, on its device; returns what each epoch measured.

    `images` (N, ...) are what it prepares, `labels` (N,) or (N, K), bool. `flip` mirrors each image
    with probability 1/2. `filter_weight` is that of the filter loss in the first epoch, see
    `performers.performer_loss`; without `fading` it is that in every epoch.

    The recipe ``"one_cycle"``: AdamW, the learning rate rising and falling once. ``"predecessor"``:
    SGD with momentum 0.9, the learning rate falling tenfold, in equal ratios from epoch to epoch,
    over the first fifth of the epochs, and staying there (Zhang et al., 2018, their code).
    """
    device, prepare = choose_device(options.device), input_of(net, options.channels_last)
    net.to(device)
    if options.channels_last:
        net.to(memory_format=torch.channels_last)
    batches = TensorBatches(images, labels, batch_size=options.batch_size, device=device, flip=flip,
                            workers=options.workers)
    steps, rate, decay = len(batches), options.learning_rate, options.weight_decay
    if one_of("recipe", recipe, RECIPES) == "one_cycle":
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=options.epochs * steps)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: predecessor_rate(1 + t // steps, options.epochs))
    descent = Descent(net, optimizer, schedule, options)
    for epoch in descent.epochs():
        for shown, positive in batches:
            with descent.precision():
                found = performer_loss(net, prepare(shown), positive, epoch if fading else 1, filter_weight)
            descent.step(**found)
    return descent.history


def predecessor_rate(epoch: int, epochs: int) -> float:
    """Return the share of the largest learning rate in an epoch of the predecessor's, from 1 on.

    For 50 epochs that of Zhang et al. (2018): ``logspace(-4, -5, 10)``, then 1e-5.
    """
    falling = max(2, round(epochs / 5))
    return 10.0 ** -min(1.0, (epoch - 1) / (falling - 1))
