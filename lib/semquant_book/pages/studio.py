"""Where a reader takes pictures apart: the studios of a network that recognises an animal, and of one of faces."""

from __future__ import annotations

import torch
from IPython.display import HTML, Markdown, display

from semquant.networks.performers import Performer
from semquant_book import figures
from semquant_book.datasets.names import ATTRIBUTES, CATEGORIES, label
from semquant_book.figures.style import signed
from semquant_book.pages import interventions
from semquant_book.pages.comparison import paper
from semquant_book.study import experiment1, experiment2, portable
from semquant_book.study.interventions import FLIPPED, flipped
from semquant_book.study.performing import scores
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings, load_settings
from semquant_book.study.ranking import recognised
from semquant_book.views import studio, widgets

__all__ = ["MOST", "chosen", "fits", "show", "show_faces"]

MOST = 1_000_000  # weights of a network that still travels in a page
OWN, OTHERS = 4, 4  # pictures of the category, and of others


def fits(settings: Settings) -> bool:
    """Whether the studio can be shown: the animals are drawn, and the network is small."""
    if settings.images != "drawn":
        return False
    return _small(experiment1.Run(settings, settings.architectures[0], settings.categories[0]).performer())


def _small(net: Performer) -> bool:
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
    view = studio.animal_studio(title, category, portable.of_animals(run, scale), chosen(run), _meant(settings) + note)
    widgets.show(view, interventions.strip(run), f"A drawn {category} as it is, then without each of its part groups, and without "
                 "all of them; above each picture the network's score.")


def _meant(settings: Settings) -> str:
    return "A smoke run: its numbers mean nothing. " if settings.preset == "smoke" else ""


def show_faces(preset: str | Settings, target: str = "Male") -> None:
    """Show the studio of a preset's network of faces: the first test face that it finds to have the target, and the
    first that it doesn't. In print, and where the network is too large for a page, each with one attribute
    flipped after the other. Photographed faces can't be flipped.

    The tour flips the attribute that contributes most to the shown faces by ours.
    """
    settings = load_settings(preset) if isinstance(preset, str) else preset
    if settings.faces != "drawn":
        display(Markdown("These settings' faces are photographs, whose attributes can't be flipped."))
        return
    run = experiment2.Run(settings, target)
    measured, test = run.measured("test"), faces_of(settings, "test")
    numbers = [int(found[0]) for side in (measured.yhat > 0, measured.yhat <= 0) if len(found := torch.nonzero(side)[:, 0])]
    flips = [name for name in FLIPPED if name != target]
    pictures = {face: flipped(settings, face) for face in numbers}
    single = [2 ** len(FLIPPED) - 1 - (2 ** FLIPPED.index(name) if name else 0) for name in (None, *flips)]
    shown = torch.cat([pictures[face][single] for face in numbers])
    said = scores(run.performer(), shown, settings)[:, experiment2.target_index(target)].tolist()
    words = ["as it is", *(f"{label(name).lower()} flipped" for name in flips)] * len(numbers)
    drawn = figures.sample_sheet(shown, [f"{word}: {signed(score)}" for word, score in zip(words, said)], columns=1 + len(flips))
    described = (f"A row for each of {len(numbers)} drawn faces: as it is, then with one attribute flipped; above each picture the "
                 f"network's score of {label(target).lower()}.")
    if not _small(run.performer()):
        display(HTML(widgets.still(drawn, described, "sq-still sq-kept")))
        return
    explained = run.explain("ours")[numbers]
    sizes = {name: float(explained.contributions[:, explained.names.index(name)].abs().mean()) for name in flips}
    given = [(pictures[face], test.attributes[face][[ATTRIBUTES.index(name) for name in FLIPPED]].tolist()) for face in numbers]
    note = (f"Preset {settings.preset}, performer and explainers with seed 0. A flipped attribute is drawn as its opposite, "
            "with all else as it was; something may hide it, as a hat hides bangs.")
    view = studio.face_studio(paper()["labels"]["vgg16"], target, portable.of_faces(run), given, FLIPPED,
                              max(sizes, key=sizes.get), _meant(settings) + note)
    widgets.show(view, drawn, described)
