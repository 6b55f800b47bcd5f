"""What the page on CelebA's photographs shows, of a record, or of a run on a folder that was given."""

from __future__ import annotations

import os

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from semquant.checks import InputError
from semquant_book import figures
from semquant_book.datasets.names import PHRASES, label
from semquant_book.study import records, tables
from semquant_book.study.portraits import photographs
from semquant_book.study.presets import build_root, load_settings
from semquant_book.study.store import write_record
from semquant_book.views import explorer, widgets

__all__ = ["evidence", "explore", "gallery", "origin", "what_was_run"]


def evidence(data: str, run: bool, preset: str, device: str) -> records.Evidence:
    """Return the recorded run, or run a preset on the folder `data` now and write its record.

    InputError, if it is to be run without a folder.
    """
    if data:
        os.environ["SEMQUANT_DATA"] = data
    if run and not data:
        raise InputError("run: True needs data, the folder with CelebA")
    found = records.recorded()
    if run:
        found = records.Evidence.of(records.collect(load_settings(preset, device=device)))
        write_record(build_root() / "records" / f"{preset}.json", found.record)
    found.explainers, found.yardsticks = tables.normalised(found.explainers), tables.normalised(found.yardsticks)
    return found


def origin(data: str, run: bool, preset: str) -> str:
    """Say whether the numbers are recorded, and why photographs are shown or not."""
    if run:
        return ("**This page shows a run on the folder that was given.** Its record was also "
                f"written to `records/{preset}.json` in the build folder.")
    shown = ("they are read from the folder that was given." if data else
             "none is shown; [how to get them](../reproduce/real_data.md).")
    return ("**This page shows recorded numbers** (`book/records/celeba.json`). CelebA's "
            "photographs may be used for research that is not commercial and may not be handed on, "
            f"so {shown}")


def what_was_run(found: records.Evidence, run: bool) -> str:
    """Say what the run's sizes are beside the whole of CelebA."""
    data, used, performer = found.record["data"], found.record["settings"], found.record["performer"]
    persons = (" The validation and test faces at hand are of few persons (about 230 in all three "
               "splits but for half-size "
               "copies), so that a difference of a point or two may be chance.")
    return (f"**What was run.** {data['train']:,} training, {data['val']:,} validation and "
            f"{data['test']:,} test faces of CelebA's official partition (CelebA has 162,770, "
            f"19,867 and 19,962). {used['face_size']} pixels a side; VGG-16 at "
            f"{used['face_width']:g} of the paper's width, {performer['parameters']:,} parameters, "
            f"{used['face_epochs']} epochs, {performer['seconds'] / 60:.0f} minutes; one "
            f"performer, explainers with {used['explainer_seeds']} seeds of g, ours with beta "
            f"{used['attribute_beta']:g}. Thresholds are chosen on the validation faces, "
            f"everything else is measured on the test faces.{'' if run else persons}")


def _pictures(names: list[str], data: str) -> np.ndarray | None:
    """Photographs by their names, or None where there is no folder or it lacks one of them."""
    try:
        return photographs(names) if data else None
    except InputError:
        display(Markdown(f"The folder does not hold {', '.join(names)}, all of which were "
                         "explained: without pictures."))
        return None


def gallery(found: records.Evidence, target: str, data: str, share: float = 0.5) -> Figure:
    """Draw Figure 6 of a target's recorded faces, with photographs where they are at hand."""
    if target not in found.record["examples"]:
        figure = plt.figure(figsize=(figures.WIDTH, 0.5))
        figure.text(0.5, 0.5, f"{label(target)} is no target of this run", ha="center", va="center")
        return figure
    names, ours = found.example(target)
    return figures.signed_bars(_pictures(names, data), ours, target, share=share, most=8)


def explore(found: records.Evidence, data: str, share: float = 0.5) -> None:
    """Display the explorer of all targets' recorded faces, with its still figure."""
    cases = []
    for target in found.record["examples"]:
        names, ours = found.example(target)
        pictures, (there, absent) = _pictures(names, data), PHRASES[target]
        heading = "a photograph that is not shown here," if pictures is None else "photograph"
        cases.append(explorer.case(
            label(target), pictures,
            {"ours": ours, "baseline": found.example(target, "baseline")[1]}, experiment="CelebA",
            says=(f"“{there}”", f"“{absent}”"), phrases=[PHRASES[n] for n in ours.names], share=share,
            reasons=len(ours.names), labels=[f"{heading} {name}" for name in names],
            note="A bar to the right speaks for the attribute, one to the left against it."))
    widgets.show(explorer.explore(*cases), gallery(found, next(iter(found.record["examples"])), data, share),
                 "The signed contributions of the attributes that matter most to the score of the "
                 "first target, for a few test faces, by ours.")
