"""Where a run's results are kept, and its records.

Imports nothing heavy, so that the workflow can ask for paths without loading torch.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from semquant.checks import InputError, one_of
from semquant_book.datasets.names import (
    CONTROLS, LAST_LAYERS, METHODS, OPTIMIZERS, SCALES, SPLITS, VARIANTS)
from semquant_book.files import write_atomic
from semquant_book.folders import build_root, data_root, real
from semquant_book.study.presets import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike
    from torch import Tensor

__all__ = [
    "TRIAL_FIELDS", "attribute_path", "attribute_runs", "birds_path", "data_record", "explainer_path",
    "explainer_runs", "face_performer_path", "faces_record", "factorial_path", "flips_path",
    "folder_digest", "gigabytes", "in_memory",
    "pack", "performer_path", "read_record", "record", "record_of", "reference_path",
    "selection_path", "survey_path", "tensor_digest", "trial_path", "unpack", "write_record"]

DATA_FIELDS = ("images", "size", "train_images", "val_images", "test_images", "data_seed",
               "photo_shares")
PERFORMER_FIELDS = (*DATA_FIELDS, "width", "interpretable_layers", "batch_norm", "dropout", "weights", "recipe",
                    "performer_epochs", "performer_batch", "performer_lr", "weight_decay", "amp",
                    "channels_last")
EXPLAINER_FIELDS = (*PERFORMER_FIELDS, "filter_loss", "explainer", "explainer_epochs",
                    "explainer_batch")
TRIAL_FIELDS = (*PERFORMER_FIELDS, "filter_loss", "explainer", "explainer_batch", "beta")

FACE_FIELDS = ("faces", "face_size", "face_train_images", "face_val_images", "face_test_images",
               "data_seed")
FACE_PERFORMER_FIELDS = (*FACE_FIELDS, "face_width", "face_fc", "weights", "recipe",
                         "face_epochs", "face_batch", "face_lr", "batch_norm", "dropout",
                         "weight_decay", "amp", "channels_last")
SURVEY_FIELDS = (*FACE_PERFORMER_FIELDS, "shared")
ATTRIBUTE_FIELDS = (*SURVEY_FIELDS, "explainer", "attribute_epochs", "attribute_batch",
                    "attribute_lr", "flip_faces")

#: What is read of the folder of real data, by the setting that says so.
READ = {"images": ("VOC2010", "neg"), "faces": ("celeba*", "img_align_celeba", "list_*.txt", "list_*.csv"),
        "weights": ("imagenet-*.mat", "imagenet/imagenet-*.mat")}
#: Kinds of numbers that `pack` packs: little-endian, so many bytes.
KINDS = ("f4", "u1", "u2", "i2")


def data_record(settings: Settings, category: str) -> Path:
    """Return where the record of a category's drawn images is kept."""
    return _place(settings, f"data/{category}.json", *DATA_FIELDS)


def performer_path(settings: Settings, architecture: str, category: str, seed: int,
                   filter_loss: bool = True, fading: bool = True) -> Path:
    """Return where a performer's weights are kept; its record is beside, ending in ``.json``."""
    name = f"{architecture}-{category}-s{seed}{_constant(fading)}"
    name += "" if filter_loss else "-without-filter-loss"
    return _place(settings, f"performers/{name}.safetensors", *PERFORMER_FIELDS,
                  filter_loss=settings.filter_loss if filter_loss else 0.0)


def _constant(fading: bool) -> str:
    return "" if fading else "-constant-filter-loss"


def explainer_path(settings: Settings, architecture: str, category: str, performer_seed: int,
                   method: str, scale: str, seed: int, optimizer: str = "") -> Path:
    """Return where an explainer's weights are kept; its record is beside, ending in ``.json``.

    The optimiser is the settings' first if none is named.
    """
    one_of("method", method, METHODS)
    one_of("scale", scale, SCALES)
    optimizer = one_of("optimizer", optimizer or settings.explainer_optimizers[0], (*OPTIMIZERS,))
    by, rate = ("", "explainer_lr") if optimizer == "adamw" else ("-sgd", "explainer_sgd_lr")
    name = f"{architecture}-{category}-p{performer_seed}-{method}-{scale}{by}-s{seed}"
    return _place(settings, f"explainers/{name}.safetensors", *EXPLAINER_FIELDS, rate,
                  f"explainer_bias_{scale}", beta=settings.beta if method == "ours" else 0.0)


def reference_path(settings: Settings, architecture: str, category: str,
                   performer_seed: int) -> Path:
    """Return where the record of what stands beside a performer's explainers is kept."""
    return _place(settings, f"references/{architecture}-{category}-p{performer_seed}.json",
                  *PERFORMER_FIELDS, "filter_loss")


def trial_path(settings: Settings, architecture: str, category: str, performer_seed: int) -> Path:
    """Return where a performer's trial is kept, see `semquant_book.study.trials`."""
    return _place(settings, f"trials/{architecture}-{category}-p{performer_seed}.json", *TRIAL_FIELDS)


def factorial_path(settings: Settings, architecture: str, category: str, fading: bool) -> Path:
    """Return where a performer's fits are kept, see `semquant_book.study.factorial`."""
    name = f"{architecture}-{category}{_constant(fading)}"
    return _place(settings, f"factorial/{name}.json", *TRIAL_FIELDS)


def explainer_runs(settings: Settings) -> list[tuple[str, str, int, str]]:
    """Return (method, scale, seed, optimiser) of every explainer that is fitted to one performer.

    With other optimisers than the first once, in the first reading of y's scale.
    """
    first, *others = settings.explainer_optimizers
    runs = [(method, scale, seed, first) for scale in settings.scales
            for seed in range(settings.explainer_seeds) for method in METHODS]
    return runs + [(method, settings.scales[0], 0, other) for other in others for method in METHODS]


def _digest(settings: Settings, *names: str, **extra: object) -> str:
    """As `Settings.digest`; what is read of the folder of real data is part of it."""
    for kind, folders in READ.items():
        if kind in names and getattr(settings, kind) not in ("drawn", "fresh"):
            extra[f"{kind}_found"] = folder_digest(data_root(), folders)
    return settings.digest(*names, **extra)


def _place(settings: Settings, name: str, *fields: str, **extra: object) -> Path:
    """A file in the store; the digest of what determines its content is put into its name."""
    path = build_root() / "store" / name
    return path.with_stem(f"{path.stem}-{_digest(settings, *fields, **extra)}")


@lru_cache
def folder_digest(root: Path, patterns: tuple[str, ...]) -> str:
    """Return 10 digits for the names and sizes of files, and of all in folders, by patterns."""
    digest = hashlib.sha256()
    for place in real({path for pattern in patterns for path in root.glob(pattern)}):
        inside = real((path for path in place.rglob("*") if path.is_file()), place)
        for file in inside or [place]:
            digest.update(f"{file.relative_to(root)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:10]


def birds_path(seed: int) -> Path:
    """Return where the weights of the performer of FunnyBirds are kept; no setting decides them."""
    found = folder_digest(data_root(), ("FunnyBirds/*.json", "FunnyBirds/train"))
    return build_root() / f"store/performers/birds-s{seed}-{found}.safetensors"


def faces_record(settings: Settings) -> Path:
    """Return where the record of the drawn faces is kept."""
    return _place(settings, "data/faces.json", *FACE_FIELDS)


def face_performer_path(settings: Settings, seed: int) -> Path:
    """Return where the weights of the performer of 40 attributes are kept."""
    return _place(settings, f"performers/vgg16-faces-s{seed}.safetensors", *FACE_PERFORMER_FIELDS)


def survey_path(settings: Settings, performer_seed: int, split: str) -> Path:
    """Return where x, all scores and what the priors need are kept for a split of the faces."""
    name = f"faces-p{performer_seed}-{one_of('split', split, SPLITS)}"
    return _place(settings, f"surveys/{name}.safetensors", *SURVEY_FIELDS)


def attribute_path(settings: Settings, target: str, performer_seed: int, method: str,
                   last_layer: str, seed: int) -> Path:
    """Return where the weights of an explainer of an attribute are kept."""
    one_of("method", method, (*METHODS, *VARIANTS, *CONTROLS))
    one_of("last_layer", last_layer, LAST_LAYERS)
    name = f"faces-{target}-p{performer_seed}-{method}-{last_layer}-s{seed}"
    return _place(settings, f"explainers/{name}.safetensors", *ATTRIBUTE_FIELDS,
                  beta=0.0 if method in ("baseline", "constant") else settings.attribute_beta)


def attribute_runs(settings: Settings) -> list[tuple[str, str, int]]:
    """Return (method, last layer, seed) of every explainer of an attribute, controls included.

    Controls and variants are fitted once, with the first way of starting g's last layer.
    """
    runs = [(method, last, seed) for last in settings.last_layers
            for seed in range(settings.explainer_seeds) for method in METHODS]
    return runs + [(name, settings.last_layers[0], 0) for name in (*VARIANTS, *CONTROLS)]


def flips_path(settings: Settings, performer_seed: int) -> Path:
    """Return where the scores of faces with each attribute flipped are kept."""
    return _place(settings, f"surveys/faces-p{performer_seed}-flips.safetensors",
                  *FACE_PERFORMER_FIELDS, "flip_faces")


def selection_path(settings: Settings, target: str, performer_seed: int) -> Path:
    """Return where the record of random choices of concepts is kept (Figure 8)."""
    return _place(settings, f"selections/faces-{target}-p{performer_seed}.json", *ATTRIBUTE_FIELDS,
                  "attribute_beta", "last_layers", "selection_sizes", "selection_draws",
                  "selection_fits")


def record_of(path: Path) -> Path:
    """Return where the record beside a file of weights is kept."""
    return path.with_suffix(".json")


def tensor_digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's numbers."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


@contextmanager
def record(settings: Settings, **about: object) -> Iterator[dict]:
    """Collect a run's record: what was run, on what, what came out, how long it took.

    `about` tells this run from others, e.g. ``seed=0``. Yields a dict to put results in under
    ``"metrics"``; time and memory are added at the end.
    """
    packages = {}
    for name in ("torch", "torchvision", "numpy", "captum"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    started = time.perf_counter()
    content = {**about, "settings": asdict(settings), "metrics": {},
               "versions": {"python": platform.python_version(), **packages}}
    yield content
    content["seconds"] = round(time.perf_counter() - started, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    content["peak_memory_mb"] = round(peak / (1024**2 if sys.platform == "darwin" else 1024))


@lru_cache  # decided and told once: what is free changes as memory fills
def in_memory(cache: str, size: int, what: str) -> bool:
    """Whether something of so many bytes is kept in memory; otherwise it is made anew when needed.

    With ``cache: auto`` it is if it takes at most half of what is free (putting it together takes
    it twice for a moment). A line on standard error says what isn't kept, since that takes far
    longer.
    """
    import psutil  # here, so that asking for paths stays quick

    free = psutil.virtual_memory().available
    keep = cache == "memory" or (cache == "auto" and size <= free / 2)
    if not keep:
        print(f"semquant: {what}: {gigabytes(size)}, made anew whenever it is needed "
              f"(free: {gigabytes(free)})", file=sys.stderr, flush=True)
    return keep


def gigabytes(size: float) -> str:
    """A number of bytes in decimal gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"


def write_record(path: str | Path, content: dict) -> Path:
    """Write a record as JSON, whole or not at all."""
    return write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_record(path: str | Path) -> dict:
    """Read a record; InputError if there is none, or it isn't JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"record: {path} is not there") from error
    except json.JSONDecodeError as error:
        raise InputError(f"record: {path} is not JSON (line {error.lineno})") from error


def pack(values: ArrayLike | Tensor, dtype: str = "f4") -> dict:
    """Pack an array for a record or a view; `unpack`, and that of ``common.mjs``, read it.

    `dtype`: kind and bytes of a number, little-endian: "f4", "u1", "u2" or "i2". InputError for a
    value that the kind can't hold: whole numbers must fit.
    """
    import numpy as np  # here, so that asking for paths stays quick

    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    kind = np.dtype(one_of("dtype", dtype, KINDS)).newbyteorder("<")
    packed = np.ascontiguousarray(values.astype(kind))
    if kind.kind in "iu" and not np.array_equal(packed, values):
        raise InputError(f"values: not all are whole numbers that {dtype} holds "
                         f"({np.iinfo(kind).min} to {np.iinfo(kind).max})")
    return {"dtype": dtype, "shape": list(values.shape),
            "base64": base64.b64encode(packed.tobytes()).decode()}


def unpack(packed: dict) -> np.ndarray:
    """Return the array that `pack` packed."""
    import numpy as np

    kind = np.dtype(packed["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(packed["base64"]), kind).reshape(packed["shape"])
