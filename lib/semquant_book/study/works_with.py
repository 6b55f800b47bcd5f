"""Every family of CNNs that torchvision has, explained: what it takes, and what it costs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.maxvit import MaxVit

from semquant import FilterConcepts, distill
from semquant.corrected import of_model
from semquant.training import FitOptions, cpu_threads
from semquant_book.study.presets import Settings

__all__ = ["FEW", "Family", "Row", "run", "run_all"]

#: Three of them, for a preset of tests.
FEW = ("squeezenet1_1", "resnet18", "swin_t")
TARGET, IMAGES, TIMES = 3, 4, 3  # an output; images that are explained; runs that a time is the median of


@dataclass(frozen=True)
class Family:
    """One small member of a family, with random weights."""

    name: str
    layer: str
    build: Callable[..., nn.Module] | None = None  # by default torchvision's function of that name
    given: dict = field(default_factory=dict)  # what it is built with
    size: int = 64  # pixels
    options: dict = field(default_factory=dict)  # of FilterConcepts

    @property
    def passed(self) -> str:
        """What FilterConcepts is given beside the layer, as it is written."""
        return ", ".join(f"{key}={value!r}".replace("'", '"') for key, value in self.options.items())

    def model(self) -> nn.Module:
        """Build it, always with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = (self.build or getattr(models, self.name))(**self.given).eval()
            for layer in model.modules():  # a vision transformer's head starts at 0: all scores alike
                if isinstance(layer, nn.Linear) and not bool(layer.weight.any()):
                    nn.init.normal_(layer.weight, std=0.02)
            # untrained, a deep network's signal fades to rounding unless batch norms know its size
            norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
            for norm in norms:
                norm.train().momentum = None  # the mean of all batches: of the one that follows
            if norms:
                with torch.no_grad():
                    model(torch.randn(8, 3, self.size, self.size))
            return model.eval()


SIGNED = {"rectified": True}  # a ReLU that is no layer of its own stands behind the layer
# In the order of their years.
FAMILIES = (
    Family("alexnet", "features"),
    Family("vgg11", "features"),
    Family("googlenet", "inception5b", given={"init_weights": False}),
    Family("inception_v3", "Mixed_7c", given={"init_weights": False}, size=96),
    Family("resnet18", "layer4"),
    Family("squeezenet1_1", "features"),
    Family("wide_resnet50_2", "layer4"),
    Family("densenet121", "features", options=SIGNED),
    Family("resnext50_32x4d", "layer4"),
    Family("mobilenet_v2", "features"),
    Family("shufflenet_v2_x0_5", "conv5"),
    Family("mnasnet0_5", "layers"),
    Family("mobilenet_v3_small", "features"),
    Family("efficientnet_b0", "features"),
    Family("efficientnet_v2_s", "features"),
    Family("regnet_y_400mf", "trunk_output"),
    Family("convnext_tiny", "features"),
    Family("vit_b_16", "encoder.layers.encoder_layer_10", given={"image_size": 64},
           options={"reshape": "tokens"}),
    Family("swin_t", "features"),
    Family("maxvit_t", "blocks.3", MaxVit, size=64, given={  # torchvision's own is for 224 pixels
        "input_size": (64, 64), "stem_channels": 64, "partition_size": 2, "head_dim": 32,
        "stochastic_depth_prob": 0.0, "block_channels": [64, 128, 256, 512], "block_layers": [2, 2, 5, 2]}),
)


@dataclass(frozen=True)
class Row:
    """What came out for a family; only `error` says something where it can't be explained."""

    name: str
    layer: str
    passed: str
    size: int
    concepts: int = 0
    map: tuple[int, int] = (0, 0)
    ratio: float = float("nan")  # seconds of an explanation by those of a forward pass of the same images
    off: float = float("nan")  # the score explained, and that with every filter in place, against the
    # network's own, at most, by its spread
    moved: float = float("nan")  # how far the score goes with no filter in place, at least, by its spread
    error: str = ""


def run(family: Family) -> Row:
    """Fit to a few random images, explain them, and ask the network itself with all filters and with none."""
    about = (family.name, family.layer, family.passed, family.size)
    try:
        return Row(*about, **_explained(family))
    except Exception as error:  # whatever it is, the table says so
        return Row(*about, error=f"{type(error).__name__}: {error}".splitlines()[0])


def _explained(family: Family) -> dict:
    images = torch.randn(IMAGES, 3, family.size, family.size, generator=torch.Generator().manual_seed(1))
    model, concepts = family.model(), FilterConcepts(family.layer, **family.options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few images are few
        explainer = distill(model, concepts, images, TARGET, fit=FitOptions(epochs=1))
    with torch.no_grad():
        score = model(images)[:, TARGET]
        x = concepts.measure(model, images[:1], TARGET, prior=False).x
        forward = _seconds(lambda: model(images))
    found, there = explainer.explain(images), torch.ones(IMAGES, x.shape[1], dtype=torch.bool)
    whole, none = (of_model(model, concepts, TARGET)(images)(present) for present in (there, ~there))
    return {"concepts": x.shape[1], "map": tuple(x.shape[2:]),
            "off": max(_off(found.yhat, score), _off(whole, score)),
            "moved": float((none - score).abs().min() / score.std()),
            "ratio": _seconds(lambda: explainer.explain(images)) / forward}


def _off(found: Tensor, score: Tensor) -> float:
    return float((found - score).abs().max() / score.std().clamp_min(torch.finfo(score.dtype).tiny))


def _seconds(call: Callable[[], object]) -> float:
    found = []
    for _ in range(TIMES):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return median(found)


def run_all(settings: Settings) -> list[Row]:
    """One row for each family; for a few in presets of tests."""
    cpu_threads(settings.threads)
    few = settings.train_images < 100
    return [run(family) for family in FAMILIES if family.name in FEW or not few]
