"""Where a reader takes pictures apart: the studio of a network that recognises an animal."""

from __future__ import annotations

import torch

from semquant_book.datasets.names import CATEGORIES
from semquant_book.pages import interventions
from semquant_book.pages.comparison import paper
from semquant_book.study import experiment1, portable
from semquant_book.study.presets import Settings
from semquant_book.study.ranking import recognised
from semquant_book.views import studio, widgets

__all__ = ["MOST", "chosen", "fits", "show"]

MOST = 1_000_000  # weights of a network that still travels in a page
OWN, OTHERS = 4, 4  # pictures of the category, and of others


def fits(settings: Settings) -> bool:
    """Whether the studio can be shown: the animals are drawn, and the network is small."""
    if settings.images != "drawn":
        return False
    net = experiment1.Run(settings, settings.architectures[0], settings.categories[0]).performer()
    return sum(weight.numel() for weight in net.parameters()) <= MOST


def chosen(run: experiment1.Run) -> list[str]:
    """Return the names of the test images that are shown: the first of the category that are recognised,
    and the first of other animals, one of each kind."""
    test = run.images("test")
    first = [test.ids[i] for i in recognised(run, OWN).tolist()]
    others = {test.kinds[i]: test.ids[i] for i in reversed(torch.nonzero(~test.positive)[:, 0].tolist())}
    return first + [others[kind] for kind in CATEGORIES if kind in others][:OTHERS]


def show(settings: Settings, category: str) -> None:
    """Show the studio of the settings' first network; in print, a picture without each of its parts."""
    run = experiment1.Run(settings, settings.architectures[0], category)
    title = paper()["labels"][run.architecture]
    scale = "scaled" if "scaled" in settings.scales else settings.scales[0]
    note = (f"Preset {settings.preset}, performer and explainers with seed 0, y {scale}; test images, as they come: the first "
            f"{category}s that the network recognises, and other animals.")
    if settings.preset == "smoke":
        note = "A smoke run: its numbers mean nothing. " + note
    view = studio.animal_studio(title, category, portable.of_animals(run, scale), chosen(run), note)
    widgets.show(view, interventions.strip(run), f"A drawn {category} as it is, then without each of its part groups, and without "
                 "all of them; above each picture the network's score.")
