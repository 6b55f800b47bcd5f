"""The performers of Experiment 1: trained on a category against everything else, and judged."""

from __future__ import annotations

import torch
from torch import Tensor

from semquant import parts
from semquant.networks import performers
from semquant.networks.performers import Performer
from semquant.rows import Rows
from semquant.training import choose_device, cpu_threads, seed_everything
from semquant_book.datasets.names import TRUNK
from semquant_book.study import frozen_trunk, store
from semquant_book.study.performing import (
    at_once, begin, input_of, kept_performer, options_of, recipe_of, scores, train_performer)
from semquant_book.study.pictures import animals_of, balanced
from semquant_book.study.presets import Settings
from semquant_book.study.pretrained import efficientnet_lite0

__all__ = ["inputs_of", "performer", "start"]


def start(settings: Settings, architecture: str) -> Performer:
    """Return an untrained performer: fresh, or with ImageNet weights below the inserted layer."""
    return begin(performers.build(
        architecture, size=settings.pixels(architecture), width=settings.width,
        batch_norm=settings.batch_norm, dropout=settings.dropout,
        interpretable=settings.interpretable_layers), architecture, settings)


def performer(settings: Settings, architecture: str, category: str, seed: int,
              filter_loss: bool = True, fading: bool = True) -> Performer:
    """Return a trained performer, on the settings' device and in evaluation mode.

    The seed is that of its weights and of the order of its batches. Without `filter_loss` it is the
    control that was trained without the filter loss (the mask stays); without `fading` the loss kept
    its weight in all epochs.
    """
    cpu_threads(settings.threads)
    trunk = efficientnet_lite0() if architecture == TRUNK else None
    seed_everything("photographs" if trunk else "performer", *(() if trunk else (architecture,)),
                    category, seed)
    net = frozen_trunk.top(trunk, settings.dropout) if trunk else start(settings, architecture)
    batch, rate = recipe_of(settings, architecture, settings.performer_batch, settings.performer_lr)

    def train(**kept) -> list[dict[str, float]]:
        inputs, positive = _training(settings, architecture, category)
        options = options_of(settings, epochs=settings.performer_epochs, batch_size=batch,
                             learning_rate=rate, weight_decay=settings.weight_decay, seed=seed, **kept)
        return train_performer(net, inputs, positive, options, recipe=settings.recipe, flip=not trunk,
                               filter_weight=settings.filter_loss if filter_loss else 0.0, fading=fading)

    net = kept_performer(
        net, store.performer_path(settings, architecture, category, seed, filter_loss, fading), settings,
        train, lambda: _judge(net, settings, architecture, category), __name__,
        architecture=architecture, category=category, seed=seed, filter_loss=filter_loss,
        **({} if fading else {"fading": False}))
    return frozen_trunk.with_trunk(net, trunk) if trunk else net


def inputs_of(settings: Settings, architecture: str, category: str, split: str) -> Tensor | Rows:
    """Return what a performer is measured on: a split's pictures, or the trunk's maps of them.

    Of the trunk's training pictures those that are mirrored come after the others, as pictures of
    their own; other networks mirror pictures themselves, at random.
    """
    if architecture != TRUNK:
        return animals_of(settings, category, split, architecture).images
    maps = frozen_trunk.maps_of(settings, category, split)  # (2, N, C, H, W)
    return maps.flatten(0, 1) if split == "train" else maps[0]


def _training(settings: Settings, architecture: str, category: str) -> tuple[Tensor | Rows, Tensor]:
    """The inputs that a performer is trained on, and which are positive; of photographs, balanced."""
    inputs = inputs_of(settings, architecture, category, "train")
    positive = animals_of(settings, category, "train", architecture).positive
    turns = len(inputs) // len(positive)  # 2 with mirrored maps
    if settings.images == "drawn":
        return inputs, positive.repeat(turns)
    order = balanced(positive, settings.recipe)
    chosen = torch.cat([order + turn * len(positive) for turn in range(turns)])
    return inputs[chosen], positive[order].repeat(turns)


@torch.inference_mode()
def _judge(net: Performer, settings: Settings, architecture: str, category: str) -> dict:
    """Accuracy on the test images, and how specific the filters are to parts."""
    device, prepare = choose_device(settings.device), input_of(net, settings.channels_last)
    test = animals_of(settings, category, "test", architecture)
    inputs = inputs_of(settings, architecture, category, "test")
    yhat, positives = scores(net, inputs, settings)[:, 0], test.subset(test.positive)
    maps = torch.cat([net.maps(prepare(batch.to(device)))[1].cpu()
                      for batch in inputs[test.positive].split(at_once(net.input_size, 256))])
    named = parts.part_specificity(maps, positives.group_masks(net.map_size))
    return {"accuracy": float(((yhat > 0) == test.positive).float().mean()),
            "test_images": len(test), "part_specificity": float(named),
            "yhat_std": float(yhat.std())}
