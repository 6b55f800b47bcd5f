"""A run's settings, and the presets they come from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args

import yaml
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.names import (
    ARCHITECTURES, ATTRIBUTES, BIASES, CATEGORIES, LAST_LAYERS, OPTIMIZERS, SCALES, TRUNK)
from semquant_book.folders import build_root, data_root, project_root, real

__all__ = ["Settings", "build_root", "data_root", "load_settings", "preset_names", "project_root"]


def _only(good: Callable[[Any], bool], words: str) -> AfterValidator:
    """Let only good values through; of others say in words what is accepted."""
    def check(value: Any) -> Any:
        if not good(value):
            raise InputError(f"{list(value) if isinstance(value, tuple) else value} is {words}")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1)]
Batch = Annotated[int, Field(ge=2)]
Half = Annotated[int, Field(ge=4), _only(
    lambda n: n % 2 == 0, "odd; accepted: even numbers, half of the images are positive")]
Side = Annotated[int, Field(ge=32, le=512), _only(
    lambda n: n >= 160 or n % 8 == 0, "not accepted; below 160 a multiple of 8 is")]
Rate = Annotated[float, Field(ge=0)]
Width = Annotated[float, Field(ge=1 / 16, le=1)]
Bias = Literal[(*BIASES,)]
Item = TypeVar("Item")
Each = Annotated[tuple[Item, ...], _only(
    lambda them: 0 < len(them) == len(set(them)),
    "empty or names something twice; accepted: one or more, each once")]
#: Values of keys that came later, with which a result is what it was, and where it was, without them.
BEFORE = {"explainer_bias_literal": "zero", "explainer_bias_scaled": "min", "interpretable_layers": 1}
Shares = Annotated[tuple[float, ...], _only(
    lambda them: len(them) == 3 and min(them) > 0 and abs(sum(them) - 1) <= 1e-6,
    "not accepted; three numbers above 0 that add up to 1 are, for training, validation and test")]


def _in_one_line(cls: type) -> type:
    """Let a class take lists for tuples, and say in one line what it doesn't accept."""
    build = cls.__init__

    def __init__(self, **values: object) -> None:
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        try:
            return build(self, **values)
        except ValidationError as error:
            first = error.errors()[0]
        _refuse(cls, first)

    cls.__init__ = __init__
    return cls


def _refuse(cls: type, error: Mapping[str, Any]) -> NoReturn:
    """Say in one line which field's value is wrong, and what is accepted."""
    about, value = error.get("ctx", {}), error["input"]
    if not error["loc"]:  # of several fields together
        raise about["error"]
    name = error["loc"][0]
    if error["type"] in ("missing", "unexpected_keyword_argument"):
        raise TypeError(f"{name}: {error['msg']}")
    if "error" in about:
        raise InputError(f"{name}: {about['error']}")
    field = cls.__pydantic_fields__[name]
    kind, limits = field.annotation, [*field.metadata]
    while inner := get_args(kind):  # of a list the kind of its items
        kind = type(inner[0]) if isinstance(inner[0], str) else inner[0]
        limits += getattr(inner[-1], "metadata", ())
    if "expected" in about and isinstance(value, str):
        one_of(name, value, re.findall("'(.*?)'", about["expected"]))
    if error["type"].endswith("than_equal"):
        bounds = {b: getattr(limit, b) for limit in limits for b in ("ge", "le") if hasattr(limit, b)}
        number(name, kind(value), bounds.get("ge"), bounds.get("le"), integer=kind is int)
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
    of = "a list of " if error["type"] == "tuple_type" else ""
    raise InputError(f"{name}: {value!r} is not {of}{words}")


@_in_one_line
@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Settings:
    """All that decides the numbers of a run; one preset file holds a value for each field."""

    preset: str  # the preset these settings began as

    # data
    categories: Each[Literal[CATEGORIES]]  # target categories; each has performers of its own
    images: Literal["drawn", "pascal_part"]  # pascal_part: photographs in the folder of real data
    size: Side  # pixels a side; 224 means the paper's sizes, AlexNet then takes 227
    train_images: Half  # half of them positive, as in every split
    val_images: Half  # thresholds and names of filters are chosen on these
    test_images: Half  # every reported number is measured on these
    data_seed: int  # seed of the drawn images
    photo_shares: Shares  # shares of photographs: training, validation, test

    # performers
    architectures: Each[Literal[(*ARCHITECTURES, TRUNK)]]
    width: Width  # share of the paper's number of channels
    batch_norm: bool  # training from scratch needs it
    dropout: Annotated[float, Field(ge=0, le=0.95)]  # in the fully-connected layers
    filter_loss: Rate  # weight of the filter loss in epoch 1
    interpretable_layers: Annotated[int, Field(ge=1, le=2)]  # 2: the last published conv layer as well, as the predecessor
    weights: Literal["fresh", "imagenet"]  # what training starts from; imagenet's are in the folder of real data
    recipe: Literal["one_cycle", "predecessor"]  # AdamW, or SGD with the predecessor's batch and rate for each network
    performer_epochs: Count
    performer_batch: Batch  # with the predecessor's recipe at most so many
    performer_lr: Rate  # the largest; the predecessor's recipe multiplies it for each network
    weight_decay: Rate
    performer_seeds: Count
    control_without_filter_loss: tuple[Literal[ARCHITECTURES], ...]  # architectures also trained without that loss

    # explainers
    explainer: Literal["small", "18", "34", "50", "101", "152"]  # body of g: small, or a ResNet's depth
    explainer_epochs: Count
    explainer_batch: Batch
    explainer_lr: Rate
    explainer_seeds: Count
    scales: Each[Literal[SCALES]]  # literal: y as it is; scaled: sum(alpha y) starts near std(yhat)
    explainer_bias_literal: Bias  # where b starts with y literal
    explainer_bias_scaled: Bias  # ... and with y scaled
    explainer_optimizers: Each[Literal[(*OPTIMIZERS,)]]  # the first for all; others once, with the first scale
    explainer_sgd_lr: Rate  # SGD's, in the place of explainer_lr
    beta: Rate  # lambda(t) = beta / sqrt(t); the paper's Experiment 1 has 10
    method_beta: tuple[float, ...]  # values compared in the chapter on bias-interpreting

    # faces, the performer of Experiment 2
    targets: Each[Literal[ATTRIBUTES]]  # attributes that are explained by the other 39
    faces: Literal["drawn", "celeba"]  # celeba: photographs in the folder of real data
    face_size: Side  # pixels a side
    face_train_images: Count  # of photographs, at most so many
    face_val_images: Count
    face_test_images: Count
    face_width: Width  # share of VGG-16's number of channels
    face_fc: Count  # units of the two hidden fully-connected layers
    face_epochs: Count
    face_batch: Batch
    face_lr: Rate  # the largest

    # explainers of Experiment 2
    shared: Literal["before", "after"]  # side of the first FC layer's ReLU on which x is taken
    last_layers: Each[Literal[LAST_LAYERS]]  # how g's last layer starts
    attribute_epochs: Count
    attribute_batch: Batch
    attribute_lr: Rate
    attribute_beta: Rate  # the paper's Experiment 2 has 0.2
    selection_sizes: Each[Annotated[int, Field(ge=1, le=len(ATTRIBUTES) - 1)]]  # how many concepts the points of Figure 8 have
    selection_draws: Count  # random draws of concepts a point, with fixed linear weights
    selection_fits: Count  # the same with g
    flip_faces: Count  # test faces drawn again with each attribute flipped

    # how it runs
    device: str  # auto, cpu, cuda, cuda:<index>
    amp: bool  # automatic mixed precision
    channels_last: bool  # memory format of images and maps
    threads: Count  # CPU threads a job; fixed, so that numbers repeat
    workers: Annotated[int, Field(ge=0)]  # processes that fetch what is not in memory
    cache: Literal["auto", "memory", "recompute"]  # x of all images; auto chooses by what is free

    @model_validator(mode="after")
    def _together(self) -> Settings:
        """Check what one value means for others: ImageNet's weights fit published networks only."""
        published = {"size": 224, "face_size": 224, "width": 1, "face_width": 1, "batch_norm": False,
                     "face_fc": 4096}
        for name, wanted in published.items() if self.weights == "imagenet" else ():
            if getattr(self, name) != wanted:
                raise InputError(f"{name}: {getattr(self, name)} does not go with weights: imagenet; "
                                 f"accepted there: {wanted}")
        if self.flip_faces > self.face_test_images:
            raise InputError(f"flip_faces: {self.flip_faces} is more than the "
                             f"{self.face_test_images} test faces (face_test_images)")
        return self

    def pixels(self, architecture: str) -> int:
        """Return the side of a network's input: of AlexNet 227 for 224, of the trunk always 224."""
        if architecture == TRUNK:
            return 224
        return 227 if architecture == "alexnet" and self.size == 224 else self.size

    def digest(self, *names: str, **extra: object) -> str:
        """Return 10 digits that stand for the values of the named fields and of `extra`.

        A field with its value in `BEFORE` has no say.
        """
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) != BEFORE.get(name)}
        chosen |= extra
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:10]


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that can be chosen."""
    return tuple(p.stem for p in real((project_root() / "book" / "presets").glob("*.yml")))


def load_settings(preset: str = "quick", **changes: object) -> Settings:
    """Read a preset of ``book/presets`` and change some of its values; None changes nothing.

    InputError if the preset, a key or a value is not accepted, or a key is missing.
    """
    if not isinstance(preset, str):
        raise InputError(f"preset: {preset!r} is not text; accepted: {', '.join(preset_names())}")
    one_of("preset", preset, preset_names())
    path = project_root() / "book" / "presets" / f"{preset}.yml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"preset: {path.name} is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(values, Mapping):
        raise InputError(f"preset: {path.name} is not a list of 'key: value' lines")
    known = [field.name for field in fields(Settings)][1:]
    changes = {name: value for name, value in changes.items() if value is not None}
    for name in (*values, *changes):
        one_of(f"key in preset {preset}", name, known)
    missing = [name for name in known if name not in values]
    if missing:
        raise InputError(f"preset: {path.name} lacks {', '.join(missing)}")
    return Settings(preset=preset, **(values | changes))
