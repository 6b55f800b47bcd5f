"""The performers of Experiment 1: trained on a category against everything else, and judged."""

from __future__ import annotations

import torch

from semquant import parts
from semquant.networks import performers
from semquant.networks.performers import Performer
from semquant.training import choose_device, cpu_threads, seed_everything
from semquant_book.study import store
from semquant_book.study.performing import (
    at_once, begin, input_of, kept_performer, options_of, recipe_of, train_performer,
)
from semquant_book.study.pictures import animals_of, balanced
from semquant_book.study.presets import Settings

__all__ = ["performer", "start"]

CODE = ("semquant_book/datasets/drawn/animals", "semquant_book/datasets/drawn/anatomy",
        "semquant_book/datasets/drawn/bodies", "semquant_book/datasets/drawn/drawing",
        "semquant_book/datasets/drawn/heads", "semquant_book/datasets/pascal_part",
        "semquant_book/datasets/drawn/scenes", "semquant_book/study/animal_performers",
        "semquant/networks/interpretable", "semquant/networks/performers", "semquant/training",
        "semquant_book/study/pretrained")


def start(settings: Settings, architecture: str) -> Performer:
    """Return an untrained performer: fresh, or with ImageNet weights below the inserted layer."""
    return begin(performers.build(
        architecture, size=settings.pixels(architecture), width=settings.width,
        batch_norm=settings.batch_norm, dropout=settings.dropout,
    ), architecture, settings)


def performer(settings: Settings, architecture: str, category: str, seed: int,
              filter_loss: bool = True) -> Performer:
    """Return a trained performer, on the settings' device and in evaluation mode.

    Parameters
    ----------
    settings : Settings
    architecture, category : str
        Which performer.
    seed : int
        Seed of its weights and of the order of its batches.
    filter_loss : bool
        False gives the control that was trained without the filter loss (the mask stays).
    """
    cpu_threads(settings.threads)
    seed_everything("performer", architecture, category, seed)
    net = start(settings, architecture)
    batch, rate = recipe_of(settings, architecture, settings.performer_batch, settings.performer_lr)

    def train(**kept) -> list[dict[str, float]]:
        images = animals_of(settings, category, "train", architecture)
        images = images if settings.images == "drawn" else balanced(images, settings.recipe)
        options = options_of(settings, epochs=settings.performer_epochs, batch_size=batch,
                             learning_rate=rate, weight_decay=settings.weight_decay, seed=seed, **kept)
        return train_performer(net, images.images, images.positive, options, recipe=settings.recipe,
                               filter_weight=settings.filter_loss if filter_loss else 0.0)

    return kept_performer(
        net, store.performer_path(settings, architecture, category, seed, filter_loss), settings,
        train, lambda: _judge(net, settings, architecture, category), CODE,
        architecture=architecture, category=category, seed=seed, filter_loss=filter_loss)


@torch.inference_mode()
def _judge(net: Performer, settings: Settings, architecture: str, category: str) -> dict:
    """Accuracy on the test images, and how specific the filters are to parts."""
    device, prepare = choose_device(settings.device), input_of(net, settings.channels_last)
    test = animals_of(settings, category, "test", architecture)
    scores = torch.cat([net(prepare(batch.to(device))).cpu()[:, 0]
                        for batch in test.images.split(at_once(net.input_size, 256))])
    positives = test.subset(test.positive)
    maps = torch.cat([net.maps(prepare(batch.to(device)))[1].cpu()
                      for batch in positives.images.split(at_once(net.input_size, 256))])
    named = parts.part_specificity(maps, positives.group_masks(net.map_size))
    return {
        "accuracy": float(((scores > 0) == test.positive).float().mean()),
        "test_images": len(test),
        "part_specificity": float(named),
        "yhat_std": float(scores.std()),
    }
