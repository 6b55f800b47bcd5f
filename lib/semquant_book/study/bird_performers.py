"""The performer of FunnyBirds: a small network with interpretable filters, a score for each class."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semquant.networks.interpretable import Mask, filter_loss
from semquant.networks.performers import Performer, initialise
from semquant.rows import Rows
from semquant.training import Descent, FitOptions, TensorBatches, choose_device, cpu_threads, seed_everything
from semquant_book.datasets.funnybirds import Birds
from semquant_book.study import store
from semquant_book.study.performing import input_of, kept_performer, scores
from semquant_book.study.presets import Settings

__all__ = ["FILTERS", "SIDE", "accuracy", "augmented", "build", "performer", "train"]

SIDE, FILTERS = 96, 64  # pixels of the input, filters of the interpretable layer
EPOCHS, BATCH, RATE, DECAY, SMOOTHING, FILTER_LOSS = 26, 32, 3e-3, 0.05, 0.05, 0.1
TRUNK = ((24, 5, 2), (48, 3, 2), (64, 3, 1), None, (96, 3, 1), (128, 3, 1), (128, 3, 1))  # None: pooling
TURN, GROW, SHIFT, LIGHT = 0.2, 0.15, 0.12, 0.2  # the largest changes: radians, share, of half a side, share


def build(classes: int, filters: int = FILTERS, side: int = SIDE, trunk: tuple = TRUNK) -> Performer:
    """Return a fresh performer: conv layers, the interpretable one, and a head that reads each
    filter's sum over positions."""
    layers, channels, size = [], 3, side
    for made in (*trunk, (filters, 3, 1)):
        if made is None:
            layers, size = [*layers, nn.MaxPool2d(2)], size // 2
            continue
        wide, kernel, stride = made
        layers += [nn.Conv2d(channels, wide, kernel, stride, kernel // 2, bias=False),
                   nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
        channels, size = wide, size // stride
    head = nn.Sequential(nn.ReLU(), nn.AvgPool2d(size, divisor_override=size), nn.Flatten(),
                         nn.Linear(filters, filters), nn.ReLU(), nn.Linear(filters, classes))
    return initialise(Performer(nn.Sequential(*layers[:-1]), Mask(size), head, n=filters, map_size=size,
                                input_size=side))


def performer(settings: Settings, birds: Birds, seed: int = 0) -> Performer:
    """Return the trained performer, on the settings' device and in evaluation mode."""
    cpu_threads(settings.threads)
    seed_everything("performer", "birds", seed)
    net = build(len(birds.names))
    options = partial(FitOptions, epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, weight_decay=DECAY,
                      seed=seed, device=settings.device, amp=True, channels_last=True)

    def training(**kept) -> list[dict[str, float]]:
        images = birds.images("train", SIDE)
        if store.in_memory("auto", len(images) * 3 * SIDE**2, "images of birds"):
            images = images[:]
        return train(net, images, birds.possible("train"), options(**kept))

    return kept_performer(net, store.birds_path(seed), settings, training,
                          lambda: {split: accuracy(net.eval(), birds, split, settings)
                                   for split in ("val", "test") if birds.birds[split]},
                          __name__, seed=seed)


def accuracy(net: Performer, birds: Birds, split: str, settings: Settings) -> float:
    """The share of a split's images whose class has the highest score."""
    found = scores(net, birds.images(split, net.input_size), settings).argmax(dim=1)
    return float((found == birds.labels(split)).double().mean())


def train(net: Performer, images: Tensor | Rows, possible: Tensor, options: FitOptions) -> list[dict[str, float]]:
    """Train a performer in place by the filter loss and the cross-entropy with what classes (N, K) each
    image may show, as published; returns what each epoch measured."""
    device, prepare = choose_device(options.device), input_of(net, options.channels_last)
    net.to(device, memory_format=torch.channels_last if options.channels_last else torch.contiguous_format)
    batches = TensorBatches(images, possible, batch_size=options.batch_size, device=device, flip=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.learning_rate,
                                  weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate,
                                                   total_steps=options.epochs * len(batches))
    descent = Descent(net, optimizer, schedule, options)
    for epoch in descent.epochs():
        for shown, classes in batches:
            shown = prepare(augmented(shown))
            with descent.precision():
                z, x = net.maps(shown)
                logits = net.head(x)
            entropy = F.cross_entropy(logits.float(), classes, label_smoothing=SMOOTHING)
            every = torch.ones(len(shown), dtype=torch.bool, device=device)  # each image shows a bird
            filters = filter_loss(z.relu(), every, contrast=0.0)
            descent.step(entropy + FILTER_LOSS / epoch * filters, entropy=entropy, filter=filters,
                         right=(classes.gather(1, logits.argmax(dim=1, keepdim=True)) > 0).double().mean())
    return descent.history


def augmented(images: Tensor) -> Tensor:
    """Pixels (B, 3, S, S), each image turned, scaled, shifted and lit a little otherwise, at random."""
    images = images.to(torch.float32)
    draw = torch.rand(5, len(images), 1, 1, 1).mul(2).sub(1).to(images.device)
    turn, grow = draw[0, :, 0, 0, 0] * TURN, 1 + draw[1, :, 0, 0, 0] * GROW
    across, down = (draw[2:4, :, 0, 0, 0] * SHIFT).unbind()
    rows = [torch.stack(row, dim=1) for row in ((turn.cos() * grow, -turn.sin() * grow, across),
                                                (turn.sin() * grow, turn.cos() * grow, down))]
    grid = F.affine_grid(torch.stack(rows, dim=1), images.shape, align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return moved * (1 + LIGHT * draw[4])
