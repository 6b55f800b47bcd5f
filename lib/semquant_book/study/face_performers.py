"""The performer of Experiment 2: VGG-16 with 40 outputs, trained and judged."""

from __future__ import annotations

from torch import Tensor

from semquant.checks import check_shapes
from semquant.networks import performers
from semquant.networks.performers import Performer
from semquant.training import cpu_threads, seed_everything
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.study import store
from semquant_book.study.performing import (
    begin, kept_performer, options_of, recipe_of, scores, train_performer)
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings

__all__ = ["balanced_accuracy", "make_performer", "performer", "record", "start"]


def start(settings: Settings) -> Performer:
    """Return the untrained performer: fresh, or with ImageNet weights but for its last layer."""
    return begin(performers.build(
        "vgg16", size=settings.face_size, width=settings.face_width, outputs=len(ATTRIBUTES),
        batch_norm=settings.batch_norm, dropout=settings.dropout, interpretable=False,
        fc=settings.face_fc), "vgg16", settings, fc=True)


def performer(settings: Settings, seed: int = 0) -> Performer:
    """Return VGG-16 with 40 outputs, trained, on the settings' device and in evaluation mode.

    The seed is that of its weights and of the order of its batches.
    """
    cpu_threads(settings.threads)
    seed_everything("performer", "faces", seed)
    net = start(settings)
    batch, rate = recipe_of(settings, "vgg16", settings.face_batch, settings.face_lr)

    def train(**kept) -> list[dict[str, float]]:
        shown = faces_of(settings, "train")
        options = options_of(settings, epochs=settings.face_epochs, batch_size=batch,
                             learning_rate=rate, weight_decay=settings.weight_decay, seed=seed, **kept)
        return train_performer(net, shown.images, shown.attributes, options, recipe=settings.recipe)

    return kept_performer(net, store.face_performer_path(settings, seed), settings, train,
                          lambda: _judge(net, settings), __name__, architecture="vgg16", seed=seed)


def _judge(net: Performer, settings: Settings) -> dict:
    """Accuracy and balanced accuracy of each attribute on the test faces."""
    test = faces_of(settings, "test")
    found, there = scores(net.eval(), test.images, settings) > 0, test.attributes
    balanced = [balanced_accuracy(found[:, k], there[:, k]) for k in range(len(ATTRIBUTES))]
    return {"accuracy": dict(zip(ATTRIBUTES, (found == there).float().mean(dim=0).tolist())),
            "balanced_accuracy": dict(zip(ATTRIBUTES, balanced)),
            "rate": dict(zip(ATTRIBUTES, there.float().mean(dim=0).tolist())),
            "test_images": len(test)}


def record(settings: Settings, seed: int = 0) -> dict:
    """Return the record of the trained performer."""
    return store.read_record(store.record_of(store.face_performer_path(settings, seed)))


def make_performer(settings: Settings, seed: int = 0) -> str:
    """Train the performer, and say what came out."""
    performer(settings, seed)
    about = record(settings, seed)
    accuracy = about["metrics"]["accuracy"]
    balanced = [b for b in about["metrics"]["balanced_accuracy"].values() if b is not None]
    mean = sum(accuracy.values()) / len(accuracy)
    return (f"40 attributes, seed {seed}: mean accuracy {mean:.1%}, balanced accuracy of at least "
            f"0.6 for {sum(b >= 0.6 for b in balanced)}, in {about['seconds']:.0f} s")


def balanced_accuracy(found: Tensor, labels: Tensor) -> float | None:
    """Mean of the shares that are right among the positive and among the negative of (B,) images.

    0.5 for an answer that is always the same; None where the images are all of one kind.
    """
    check_shapes(found=(found, "B"), labels=(labels, "B"))
    shares = [found[labels].double().mean(), 1 - found[~labels].double().mean()]
    return None if labels.all() or not labels.any() else float(sum(shares)) / 2
