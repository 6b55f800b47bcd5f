"""A run's settings, and the presets they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import yaml

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.folders import build_root, data_root, project_root

__all__ = ["Settings", "build_root", "data_root", "hardware", "load_settings", "preset_names", "project_root"]

ARCHITECTURES = ("alexnet", "vgg_m", "vgg_s", "vgg16")
TRUNK = "efficientnet_lite0"  # one more: pretrained and frozen, below an interpretable top
CATEGORIES = ("bird", "cat", "cow", "dog", "horse", "sheep")
SPLITS = ("train", "val", "test")
METHODS = ("ours", "baseline")
SCALES = ("literal", "scaled")
IMAGES = ("drawn", "pascal_part")
FACES = ("drawn", "celeba")
SIDES = ("before", "after")
LAST_LAYERS = ("near_zero", "default")
WEIGHTS = ("fresh", "imagenet")
RECIPES = ("one_cycle", "predecessor")
CACHES = ("auto", "memory", "recompute")


@dataclass(frozen=True)
class Settings:
    """All that decides the numbers of a run; one preset file holds a value for each field."""

    preset: str  # the preset these settings began as

    # data
    categories: tuple[str, ...]  # target categories; each has performers of its own
    images: str  # drawn, or pascal_part: photographs in the folder of real data
    size: int  # pixels a side; 224 means the paper's sizes, AlexNet then takes 227
    train_images: int  # half of them positive, as in every split
    val_images: int  # thresholds and names of filters are chosen on these
    test_images: int  # every reported number is measured on these
    data_seed: int  # seed of the drawn images
    photo_shares: tuple[float, ...]  # shares of photographs: training, validation, test

    # performers
    architectures: tuple[str, ...]
    width: float  # share of the paper's number of channels
    batch_norm: bool  # training from scratch needs it
    dropout: float  # in the fully-connected layers
    filter_loss: float  # weight of the filter loss in epoch 1
    weights: str  # what training starts from: fresh, or imagenet (in the folder of real data)
    recipe: str  # one_cycle (AdamW) or predecessor (SGD, its batch and rate for each network)
    performer_epochs: int
    performer_batch: int  # with the predecessor's recipe at most so many
    performer_lr: float  # the largest; the predecessor's recipe multiplies it for each network
    weight_decay: float
    performer_seeds: int
    control_without_filter_loss: tuple[str, ...]  # architectures also trained without that loss

    # explainers
    explainer: str  # body of g: small, or a ResNet's depth: 18, 34, 50, 101, 152
    explainer_epochs: int
    explainer_batch: int
    explainer_lr: float
    explainer_seeds: int
    scales: tuple[str, ...]  # literal: y as it is; scaled: sum(alpha y) starts near std(yhat)
    beta: float  # lambda(t) = beta / sqrt(t); the paper's Experiment 1 has 10
    method_beta: tuple[float, ...]  # values compared in the chapter on bias-interpreting

    # faces, the performer of Experiment 2
    targets: tuple[str, ...]  # attributes that are explained by the other 39
    faces: str  # drawn, or celeba: photographs in the folder of real data
    face_size: int  # pixels a side
    face_train_images: int  # of photographs, at most so many
    face_val_images: int
    face_test_images: int
    face_width: float  # share of VGG-16's number of channels
    face_fc: int  # units of the two hidden fully-connected layers
    face_epochs: int
    face_batch: int
    face_lr: float  # the largest

    # explainers of Experiment 2
    shared: str  # side of the first FC layer's ReLU on which x is taken: before, after
    last_layers: tuple[str, ...]  # how g's last layer starts: near_zero, default
    attribute_epochs: int
    attribute_batch: int
    attribute_lr: float
    attribute_beta: float  # the paper's Experiment 2 has 0.2
    selection_sizes: tuple[int, ...]  # how many concepts the points of Figure 8 have
    selection_draws: int  # random draws of concepts a point, with fixed linear weights
    selection_fits: int  # the same with g
    flip_faces: int  # test faces drawn again with each attribute flipped

    # how it runs
    device: str  # auto, cpu, cuda, cuda:<index>
    amp: bool  # automatic mixed precision
    channels_last: bool  # memory format of images and maps
    threads: int  # CPU threads a job; fixed, so that numbers repeat
    workers: int  # processes that fetch what is not in memory
    cache: str  # x of all images: in memory, or recompute (anew in every epoch); auto by what is free

    def __post_init__(self):
        _check_types(self)
        for name, accepted in (("categories", CATEGORIES), ("architectures", (*ARCHITECTURES, TRUNK)),
                               ("scales", SCALES),
                               ("control_without_filter_loss", ARCHITECTURES),
                               ("targets", ATTRIBUTES), ("last_layers", LAST_LAYERS)):
            for value in getattr(self, name):
                one_of(name, value, accepted)
        for name in ("categories", "architectures", "scales", "targets", "last_layers",
                     "selection_sizes"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name}: {list(values)} is empty or names something twice; "
                                 "accepted: one or more, each once")
        one_of("explainer", self.explainer, ("small", "18", "34", "50", "101", "152"))
        for name in ("train_images", "val_images", "test_images"):
            number(name, getattr(self, name), 4, integer=True)
            if getattr(self, name) % 2:
                raise InputError(f"{name}: {getattr(self, name)} is odd; accepted: even numbers, "
                                 "half of the images are positive")
        for name in ("performer_epochs", "performer_seeds", "explainer_epochs",
                     "explainer_seeds", "threads", "face_train_images", "face_val_images",
                     "face_test_images", "face_fc", "face_epochs", "attribute_epochs",
                     "selection_draws", "selection_fits", "flip_faces"):
            number(name, getattr(self, name), 1, integer=True)
        for name in ("performer_batch", "explainer_batch", "face_batch", "attribute_batch"):
            number(name, getattr(self, name), 2, integer=True)
        for name in ("performer_lr", "explainer_lr", "beta", "filter_loss", "weight_decay",
                     "face_lr", "attribute_lr", "attribute_beta"):
            number(name, getattr(self, name), 0)
        for name in ("size", "face_size"):
            size = number(name, getattr(self, name), 32, 512, integer=True)
            if size < 160 and size % 8:
                raise InputError(f"{name}: {size} is not accepted; below 160 a multiple of 8 is")
        for name in ("width", "face_width"):
            number(name, getattr(self, name), 1 / 16, 1)
        number("dropout", self.dropout, 0, 0.95)
        one_of("shared", self.shared, SIDES)
        one_of("faces", self.faces, FACES)
        one_of("images", self.images, IMAGES)
        one_of("weights", self.weights, WEIGHTS)
        one_of("recipe", self.recipe, RECIPES)
        one_of("cache", self.cache, CACHES)
        number("workers", self.workers, 0, integer=True)
        shares = self.photo_shares
        if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise InputError(f"photo_shares: {list(shares)} is not accepted; three numbers above 0 "
                             "that add up to 1 are, for training, validation and test")
        self._check_public_weights()
        for size in self.selection_sizes:
            number("selection_sizes", size, 1, len(ATTRIBUTES) - 1, integer=True)
        if self.flip_faces > self.face_test_images:
            raise InputError(f"flip_faces: {self.flip_faces} is more than the "
                             f"{self.face_test_images} test faces (face_test_images)")

    def _check_public_weights(self) -> None:
        """Weights from ImageNet fit the published networks only."""
        if self.weights == "fresh":
            return
        for name, wanted in (("size", 224), ("face_size", 224), ("width", 1), ("face_width", 1),
                             ("batch_norm", False), ("face_fc", 4096)):
            if getattr(self, name) != wanted:
                raise InputError(f"{name}: {getattr(self, name)} does not go with weights: imagenet; "
                                 f"accepted there: {wanted}")

    def pixels(self, architecture: str) -> int:
        """Return the side of a network's input: AlexNet has 227 where the others have 224.

        The pretrained trunk has 224 whatever the others have.
        """
        if architecture == TRUNK:
            return 224
        return 227 if architecture == "alexnet" and self.size == 224 else self.size

    def digest(self, *names: str, **extra: object) -> str:
        """Return 10 digits that stand for the values of the named fields and of `extra`."""
        chosen = {name: getattr(self, name) for name in names} | extra
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:10]


def hardware(settings: Settings) -> dict[str, object]:
    """What `training.train_performer` and `distillation.distill_measured` take of the settings."""
    return {name: getattr(settings, name) for name in ("device", "amp", "channels_last")}


def _check_types(settings: Settings) -> None:
    """Check each value against its annotation; whole numbers pass as numbers, lists as tuples."""
    hints = get_type_hints(Settings)
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        if get_origin(hint) is tuple:
            item = get_args(hint)[0]
            if not isinstance(value, (list, tuple)):
                raise InputError(f"{field.name}: {value!r} is not a list of {_NAMES[item]}")
            value = tuple(_as(field.name, v, item) for v in value)
        else:
            value = _as(field.name, value, hint)
        object.__setattr__(settings, field.name, value)


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _as(name: str, value: object, wanted: type) -> object:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise InputError(f"{name}: {value!r} is not {_NAMES[wanted]}")
    return value


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that can be chosen."""
    return tuple(sorted(p.stem for p in (project_root() / "book" / "presets").glob("*.yml")))


def load_settings(preset: str = "quick", **changes: object) -> Settings:
    """Read a preset and change some of its values.

    Parameters
    ----------
    preset : str
        The name of a file in ``book/presets``, without its ending.
    **changes
        Values to use instead of the preset's, by field name; None changes nothing.

    Raises
    ------
    InputError
        If the preset, a key or a value is not accepted, or a key is missing.
    """
    if not isinstance(preset, str):
        raise InputError(f"preset: {preset!r} is not text; accepted: {', '.join(preset_names())}")
    one_of("preset", preset, preset_names())
    path = project_root() / "book" / "presets" / f"{preset}.yml"
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"preset: {path.name} is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(values, Mapping):
        raise InputError(f"preset: {path.name} is not a list of 'key: value' lines")
    known = [field.name for field in fields(Settings) if field.name != "preset"]
    changes = {name: value for name, value in changes.items() if value is not None}
    for name in (*values, *changes):
        one_of(f"key in preset {preset}", name, known)
    missing = [name for name in known if name not in values]
    if missing:
        raise InputError(f"preset: {path.name} lacks {', '.join(missing)}")
    return replace(Settings(preset=preset, **values), **changes)
