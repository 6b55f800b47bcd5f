"""A performer on a trunk that others trained: EfficientNet-Lite0, frozen, below an interpretable top.

The trunk's maps of every picture are computed once and kept. What is trained is what Zhang et al.
(2018) put afresh on their ImageNet networks: the inserted conv layer with mask and filter loss, and
the fully-connected head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semquant.networks.performers import Performer, initialise, interpretable_top, normalise
from semquant.training import choose_device, placed
from semquant_book.datasets.names import SPLITS, TRUNK
from semquant_book.files import load_or_make
from semquant_book.study.code import digest
from semquant_book.study.pictures import animals_of
from semquant_book.study.presets import Settings, build_root, load_settings
from semquant_book.study.pretrained import EfficientNetLite0, efficientnet_lite0
from semquant_book.study.store import tensor_digest

__all__ = ["TOP", "Top", "maps_of", "photograph_settings", "top", "with_trunk", "without_trunk"]


@dataclass(frozen=True)
class Top:
    """What stands above the trunk, and presets have no say in."""

    filters: int = 128  # the trunk has 1280 channels; so many filters would outnumber the photos
    fc: int = 128  # units of the hidden fully-connected layers
    pool: tuple[int, int] = (4, 3)  # kernel and stride of pool5 on the 7x7 map: 2x2 is left
    named_by: tuple[str, ...] = ("train", "val")  # splits whose masks name filters: few have masks


TOP = Top()


def photograph_settings(preset: str = "quick", category: str = "dog", seed: int = 0,
                        device: str | None = None) -> Settings:
    """Return a preset's settings with what a run of the trunk on photographs has in other ways.

    The preset gives the explainer, how many are fitted, beta, threads, and bounds the epochs;
    `seed` is that of the split by photo.
    """
    given = load_settings(preset)
    return load_settings(
        preset, device=device, categories=[category], architectures=[TRUNK], images="pascal_part",
        data_seed=seed, size=224, weights="fresh", recipe="one_cycle", batch_norm=True, dropout=0.2,
        filter_loss=0.1, weight_decay=1e-4, performer_seeds=1, control_without_filter_loss=[],
        performer_epochs=min(given.performer_epochs, 6), performer_batch=32, performer_lr=5e-4,
        # few photos: smaller batches and more epochs than the preset's, for enough steps
        explainer_batch=32, explainer_epochs=min(3 * given.explainer_epochs, 36))


def top(trunk: EfficientNetLite0, dropout: float) -> Performer:
    """Return what is trained: a performer that reads the trunk's maps (B, 1280, 7, 7)."""
    conv, mask, head = interpretable_top(trunk.channels, TOP.filters, trunk.map_size, fc=TOP.fc,
                                         dropout=dropout, pool=TOP.pool)
    net = Performer(conv, mask, head, n=TOP.filters, map_size=trunk.map_size, input_size=trunk.map_size)
    net.preparation = Tensor.float  # kept maps are in half precision
    return initialise(net)


def with_trunk(top: Performer, trunk: EfficientNetLite0) -> Performer:
    """Return a performer that reads pictures (B, 3, 224, 224); it shares all weights."""
    whole = Performer(nn.Sequential(trunk, top.features), top.mask, top.head, n=top.n,
                      map_size=top.map_size, input_size=trunk.input_size)
    return whole.to(next(top.parameters()).device).eval()


def without_trunk(whole: Performer) -> Performer:
    """Return the top of a performer that `with_trunk` made; it shares all weights."""
    net = Performer(whole.features[1], whole.mask, whole.head, n=whole.n, map_size=whole.map_size,
                    input_size=whole.map_size)
    net.preparation = Tensor.float
    return net.eval()


def maps_of(settings: Settings, category: str, split: str) -> Tensor:
    """Return the trunk's maps of pictures and mirrored ones, (2, N, 1280, 7, 7), float16."""
    ids, maps = _kept(settings, category, build_root())
    place = {name: i for i, name in enumerate(ids)}
    return maps[:, [place[name] for name in animals_of(settings, category, split, TRUNK).ids]]


@lru_cache(maxsize=1)
def _kept(settings: Settings, category: str, build: Path) -> tuple[list[str], Tensor]:
    """Names and maps of all pictures, in an order that no split changes."""
    parts = [animals_of(settings, category, split, TRUNK) for split in SPLITS]
    ids = sorted(name for images in parts for name in images.ids)
    place = {name: i for i, name in enumerate(ids)}
    pictures = parts[0].images.new_empty(len(ids), *parts[0].images.shape[1:])
    for images in parts:
        pictures[[place[name] for name in images.ids]] = images.images
    name = f"{TRUNK}-{category}-{tensor_digest(pictures)[:10]}"
    code = digest("semquant_book.study.pretrained")
    path = build / "store" / "features" / f"{name}-{code}.safetensors"
    maps = load_or_make(path, load_file, lambda: {"maps": _computed(pictures, settings.device)},
                        save_file)["maps"]
    return ids, maps.unflatten(0, (2, len(ids)))


@torch.inference_mode()
def _computed(pictures: Tensor, device: str) -> Tensor:
    trunk, device = efficientnet_lite0(), choose_device(device)
    with placed(trunk, device):
        return torch.cat([trunk(normalise(batch.to(device))).half().cpu().contiguous()
                          for turned in (pictures, pictures.flip(-1)) for batch in turned.split(32)])
