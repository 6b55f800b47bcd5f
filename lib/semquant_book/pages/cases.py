"""What pages put into the explanation explorer: cases of both experiments, from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from semquant.checks import one_of
from semquant.explanation import Explanation, grad_cam
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.images import Images
from semquant_book.datasets.names import ATTRIBUTES, METHODS, PHRASES, label
from semquant_book.pages import comparison
from semquant_book.study import experiment2, inspection
from semquant_book.study.pictures import animals_of
from semquant_book.study.portraits import faces_of, portraits
from semquant_book.study.presets import Settings
from semquant_book.views import explorer

__all__ = ["again", "of_attribute", "of_case", "pictures_of"]

EXPERIMENT_1 = "Experiment 1: parts of an animal"
EXPERIMENT_2 = "Experiment 2: attributes of a face"
FINE = 192  # pixels that drawn animals and faces are shown at


def of_case(shown: inspection.Case, settings: Settings, architecture: str, category: str,
            chosen: Sequence[int] = range(8), scale: str = "") -> dict:
    """Return the explorer's case of a network of Experiment 1, as a page has gathered it.

    Of the `chosen` positive test images those that there are not are left out. The reader can
    switch from `scale`, by default that of `shown`, to the other reading of y's scale where the
    page has gathered it too.
    """
    some, pictures, common = _of_images(shown, settings, architecture, category, chosen)
    found = {shown.scale: {method: getattr(shown, method) for method in METHODS}, **shown.others}
    found = {reading: {method: e[some] for method, e in methods.items()}
             for reading, methods in found.items()}
    scale = scale or shown.scale
    note = f"Preset {settings.preset}, explainers with seed 0; test images."
    if len(found) > 1:
        note += (" The literal reading takes y as it is; in the scaled one the contributions start "
                 "as large as the scores vary.")
    elif scale:
        note += f" y {scale}."
    return explorer.case(
        images=pictures, methods=found.pop(one_of("scale", scale, found)), reading=scale, others=found,
        assignment=shown.assignment, maps=shown.measured.x[some], note=note,
        coalitions=shown.coalitions(some), **common)


def _of_images(shown: inspection.Case, settings: Settings, architecture: str, category: str,
               chosen: Sequence[int]) -> tuple[list[int], np.ndarray | Tensor, dict]:
    """Positions, pictures, and what `explorer.case` takes that no explanation changes."""
    some = [i for i in chosen if i < len(shown.images)]
    pictures = pictures_of(shown.images.subset(torch.tensor(some)), settings)
    word = "drawn" if settings.images == "drawn" else "photographed"
    return some, pictures, dict(
        title=comparison.paper()["labels"][architecture], experiment=EXPERIMENT_1,
        says=(f"“{category}”", f"“no {category}”"), groups=shown.groups,
        masks=shown.images.subset(torch.tensor(some)).group_masks(),
        heatmaps=shown.heatmaps(some), labels=[f"{word} {category} {i + 1}" for i in some])


def pictures_of(images: Images, settings: Settings) -> np.ndarray | Tensor:
    """Return images as they are shown: drawn ones finer than the network sees them."""
    if settings.images != "drawn":
        return images.images
    return np.stack([animals.render(*animals.parse_id(name), size=FINE)[0] for name in images.ids])


def again(shown: inspection.Case, settings: Settings, architecture: str, category: str,
          chosen: Sequence[int] = range(8)) -> Callable[[Explanation], dict]:
    """Return what turns results of `live.of_filters` into the explanation explorer's data.

    It takes an Explanation of all test images by some or all filters, named as there (``"ear
    filter 12"``); the arguments are those of `of_case`.
    """
    some, pictures, common = _of_images(shown, settings, architecture, category, chosen)
    positive = animals_of(settings, category, "test", architecture).positive
    where = torch.nonzero(positive)[some, 0]

    def pack(explanation: Explanation) -> dict:
        filters = [int(name.rpartition(" ")[2]) for name in explanation.names]
        return explorer.together(explorer.case(
            images=pictures, methods={"this run": explanation[where]},
            assignment=shown.assignment[filters], maps=shown.measured.x[some][:, filters],
            note=f"Preset {settings.preset}, the last run; test images.", **common))

    return pack


def of_attribute(settings: Settings, target: str, seed: int = 0, last_layer: str | None = None,
                 chosen: Sequence[int] | None = None, share: float = 0.5, drawn: int = 10) -> dict:
    """Return the explorer's case of a target of Experiment 2.

    Shown are the `chosen` test faces, by default the first four that the network finds to have
    the attribute and the first four that it doesn't; ``last_layer`` is how g's last layer
    starts, by default the settings' first. What the performer says of a face with one attribute
    flipped comes along where that was drawn; `drawn` attributes of each such face, those that
    contribute most, are shown flipped.
    """
    run = experiment2.Run(settings, target, seed)
    found = {method: run.explain(method, last_layer) for method in METHODS}
    yhat = found["ours"].yhat
    if chosen is None:
        chosen = [*torch.nonzero(yhat > 0)[:4, 0].tolist(), *torch.nonzero(yhat <= 0)[:4, 0].tolist()]
    chosen = list(chosen)
    net = run.performer()
    images = faces_of(settings, "test").images[chosen].to(next(net.parameters()).device)
    heat = grad_cam(net, "mask", net.prepare(images), experiment2.target_index(target))
    face = "drawn face" if settings.faces == "drawn" else "photographed face"
    there, absent = PHRASES[target]
    flipped = run.flipped(chosen) if settings.faces == "drawn" else None
    return explorer.case(
        label(target), portraits(settings, chosen),
        {method: e[chosen] for method, e in found.items()},
        experiment=EXPERIMENT_2, says=(f"“{there}”", f"“{absent}”"),
        phrases=[PHRASES[name] for name in found["ours"].names], heatmaps=heat.cpu(),
        labels=[f"{face} {i + 1}" for i in chosen], share=share, reasons=len(found["ours"].names),
        flipped=flipped, drawings=None if flipped is None else [
            _drawings(settings, i, found["ours"][[i]], drawn) if here.isfinite().all() else {}
            for i, here in zip(chosen, flipped)],
        note=f"Preset {settings.preset}, explainers with seed 0; test faces. A bar to the right "
             "speaks for the attribute, one to the left against it."
             + (" A photograph's attributes can't be flipped." if flipped is None else ""))


def _drawings(settings: Settings, face: int, explanation: Explanation, most: int) -> dict:
    """One test face with one attribute flipped, by concept: words and picture."""
    has = faces_of(settings, "test").attributes[face].tolist()
    shown = explanation.contributions[0].abs().argsort(descending=True)[:most].tolist()
    names = {k: explanation.names[k] for k in shown}
    return {k: (PHRASES[name][int(has[ATTRIBUTES.index(name)])],
                faces.render(settings.data_seed, "test", face, 96, (name,))) for k, name in names.items()}
