"""Networks as people bring them: a small DenseNet trained here on animals, EfficientNet-Lite0 as it is published."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from semquant.checks import number
from semquant.training import cpu_threads, evaluation_mode
from semquant_book.folders import project_root
from semquant_book.study.pictures import animals_of
from semquant_book.study.presets import Settings
from semquant_book.study.pretrained import efficientnet_lite0

__all__ = ["MEAN", "STD", "Classifier", "Trained", "crops", "photographs", "pretrained", "size_of_demonstration",
           "trained"]

#: What torchvision's own networks are given: pixels from 0 to 1, minus a mean, over a standard deviation.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST, EPOCHS, BATCH, RATE = 2400, 3, 32, 5e-3  # training images; half a minute of one core
SIDE = 128  # pixels of a crop: a third of the work of 224


@dataclass(frozen=True)
class Trained:
    """A network of two outputs, with its images as it is given them, (N, 3, H, W)."""

    model: nn.Module
    train: Tensor
    test: Tensor
    positive: Tensor  # (N,), bool: which test images show the category
    accuracy: float  # on the test images


def trained(settings: Settings, category: str, seed: int = 0) -> Trained:
    """Train a small DenseNet of torchvision's to tell a category from all else, on the preset's drawn animals."""
    cpu_threads(settings.threads)
    splits = {split: animals_of(settings, category, split) for split in ("train", "test")}
    splits = {split: images.subset(range(min(MOST, len(images)))) for split, images in splits.items()}
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    train, test = ((images.images / 255 - mean) / std for images in splits.values())
    labels, positive = (images.positive for images in splits.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torchvision.models.DenseNet(16, (4, 4, 4), 32, num_classes=2)
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        steps = EPOCHS * -(-len(train) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(EPOCHS):
            for chosen in torch.randperm(len(train)).split(BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(model(train[chosen]), labels[chosen].long()).backward()
                optimizer.step()
                schedule.step()
    with evaluation_mode(model), torch.no_grad():
        found = torch.cat([model(some).argmax(dim=1) for some in test.split(128)]) == 1
    return Trained(model.eval(), train, test, positive, float((found == positive).float().mean()))


class Classifier(nn.Module):
    """EfficientNet-Lite0 with its 1,000 scores: images (B, 3, S, S), from 0 to 1, to logits (B, 1000).

    S is a multiple of 32, since its padding was made for such sizes.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images * 255 - 127) / 128)


def pretrained() -> Classifier:
    """Load EfficientNet-Lite0 with the weights of its package, see `pretrained.efficientnet_lite0`."""
    return Classifier(efficientnet_lite0().net)


def photographs() -> list[np.ndarray]:
    """Return three photographs that may be handed on, (H, W, 3) bytes: a cat, a temple and a flower.

    The cat is by Stefan van der Walt (CC0), the others come with scikit-learn (CC BY 2.0).
    """
    theirs = resources.files("sklearn.datasets.images")
    files = [project_root() / "book" / "assets" / "chelsea.jpg", theirs / "china.jpg", theirs / "flower.jpg"]
    found = []
    for file in files:
        with file.open("rb") as opened:
            found.append(np.asarray(Image.open(opened).convert("RGB")))
    return found


def crops(count: int, seed: int = 0) -> Tensor:
    """Cut squares at random from the `photographs`, in turn: (count, 3, S, S) from 0 to 1, half mirrored."""
    number("count", count, 1, integer=True)
    draw, pictures, found = np.random.default_rng(seed), photographs(), []
    for k in range(count):
        picture = pictures[k % len(pictures)]
        side = round(min(picture.shape[:2]) * draw.uniform(0.4, 1))
        top, left = (int(draw.integers(0, length - side + 1)) for length in picture.shape[:2])
        square = Image.fromarray(picture[top : top + side, left : left + side]).resize((SIDE, SIDE))
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255
        found.append(pixels.flip(2) if draw.random() < 0.5 else pixels)
    return torch.stack(found)


def size_of_demonstration(settings: Settings) -> int:
    """Return how many crops a preset's demonstration takes: 16 in tests, 100 at most."""
    return min(100, max(16, settings.train_images // 20))
