"""Recorded sweeps as the chapters' views take them; their images are drawn again."""

from __future__ import annotations

import numpy as np

from semquant.checks import one_of
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.names import PHRASES, label, phrase
from semquant_book.figures.style import signed
from semquant_book.study.presets import project_root
from semquant_book.study.store import read_record, unpack
from semquant_book.study.sweeps import MEASURES, NAMES
from semquant_book.views.chapters import Watched

__all__ = ["read", "recorded"]


def recorded(name: str, size: int = 160) -> Watched:
    """Return a sweep of `NAMES` that comes with the project, with pictures of `size` pixels."""
    one_of("sweep", name, NAMES)
    return read(read_record(project_root() / "book" / "records" / f"beta-{name}.json"), size)


def read(content: dict, size: int = 160) -> Watched:
    """Return a sweep from its record; its images are drawn again."""
    kept, settings = content["images"], content["settings"]
    ids = kept["ids"]
    yhat = unpack(kept["yhat"])
    if content["experiment"] == 1:
        title = f"AlexNet, {content['category']}, y {content['scale']}"
        pictures = [animals.render(*animals.parse_id(i), size)[0] for i in ids]
        labels = [f"{content['category']} {k + 1}, ŷ = {signed(v)}" for k, v in enumerate(yhat)]
        names, phrases = content["names"], None
        about = {"unit": "filters", "averaged": "positive test images", "usual": settings["beta"]}
    else:
        title = label(content["target"])
        pictures = [faces.render(*faces.parse_id(i), size) for i in ids]
        labels = [f"face {k + 1}, {phrase(content['target'], v)}, ŷ = {signed(v)}"
                  for k, v in enumerate(yhat.tolist())]
        names = [label(name) for name in content["names"]]
        about = {"unit": "attributes", "averaged": "test faces", "usual": settings["attribute_beta"]}
        phrases = [PHRASES[name] for name in content["names"]]
    return Watched(
        title=title, betas=content["betas"], seeds=content["seeds"], epochs=content["epochs"],
        names=names, parts=content.get("parts"), phrases=phrases, yhat=yhat, y=unpack(kept["y"]),
        w=unpack(kept["w"]), alpha=unpack(content["alpha"]), bias=unpack(content["bias"]),
        loss=content["loss"], note=_note(content), pictures=np.stack(pictures), labels=labels, **about,
        **{measure: np.array(content["metrics"][measure]) for measure in MEASURES})


def _note(content: dict) -> str:
    settings, first = content["settings"], content["experiment"] == 1
    train = settings["train_images" if first else "face_train_images"]
    return (f"Recorded run: preset {settings['preset']}, {train:,} training images, one performer; "
            f"{len(content['betas']) * len(content['seeds'])} explainers, {content['epochs'][-1]} "
            "epochs each. β = 0 is the baseline, β = "
            f"{settings['beta' if first else 'attribute_beta']:g} the paper's value.")
