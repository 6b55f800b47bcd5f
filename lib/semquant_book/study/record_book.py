"""The records in ``book/records``: for each the command that makes it again, and what it holds.

``semquant record NAME`` runs what is missing and writes the record into the build folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from semquant.checks import InputError, one_of
from semquant_book.datasets import celeba
from semquant_book.datasets.names import ATTRIBUTES, CATEGORIES, SCALES, TRUNK
from semquant_book.folders import build_root, data_root
from semquant_book.study import (birds, experiment1, factorial, frozen_trunk, interventions, ranking,
                                 records, regimes, rehearsal, steps, sweeps, trajectories, trials)
from semquant_book.study.portraits import celeba_folders
from semquant_book.study.presets import Settings, load_settings
from semquant_book.study.store import write_record

__all__ = ["RECORDS", "Recorded", "attribute_rates", "remake"]

RUN = ("settings", "versions", "seconds", "peak_memory_mb")
SWEEP = (*RUN, "experiment", "architecture", "performer_seed", "loss", "betas", "seeds", "epochs",
         "metrics", "alpha", "bias", "names", "images")


@dataclass(frozen=True)
class Recorded:
    """A record: what makes it, from which preset by default, and the fields that it has."""

    make: Callable[[Settings], dict]
    preset: str
    fields: tuple[str, ...]


def attribute_rates(settings: Settings) -> dict:
    """Return how often CelebA's attributes are there, and their correlations, of 10,000 images."""
    tables = [celeba.attribute_table(folder) for folder in celeba_folders(data_root())]
    whole = next((table for table in tables if len(_first(table)) == 10_000), None)
    if whole is None:
        found = ", ".join(str(len(_first(table))) for table in tables)
        raise InputError(f"data: {data_root()} lists {found} of CelebA's images 000001 to 010000; "
                         "accepted: a list of attributes with all of them")
    values = _first(whole).to_numpy(float)
    correlations = np.corrcoef(values.T)
    return {
        "source": "CelebA (Liu, Luo, Wang, Tang, ICCV 2015), list_attr_celeba.txt, images 000001 to 010000",
        "images": len(values), "attributes": list(ATTRIBUTES),
        "rates": np.round(values.mean(axis=0), 4).tolist(),
        "correlations_below_diagonal": [np.round(row[:i], 3).tolist()
                                        for i, row in enumerate(correlations)],
    }


def _first(table):
    """The rows of images 000001 to 010000."""
    return table[table.index.str.removesuffix(".jpg").astype(int) <= 10_000]


def _trunk(category: str, settings: Settings) -> dict:
    run = experiment1.Run(frozen_trunk.photograph_settings(settings.preset, category), TRUNK, category)
    return records.collect_photographs(run, other_seeds=(1, 2, 3, 4) if category == "dog" else (1, 2))


def _photograph(settings: Settings) -> dict:
    cats = frozen_trunk.photograph_settings(settings.preset, "cat")
    return records.collect_photograph(experiment1.Run(cats, TRUNK, "cat"))


#: By name, without ``.json``.
#:
#: :meta hide-value:
RECORDS = {
    **{f"beta-alexnet-{scale}": Recorded(partial(sweeps.network, scale=scale), "quick",
                                         (*SWEEP, "scale", "category", "parts")) for scale in SCALES},
    "beta-attractive": Recorded(sweeps.attribute, "quick", (*SWEEP, "target")),
    "celeba": Recorded(records.collect, "celeba", (
        *RUN, "experiment", "performer_seed", "data", "performer", "explainers", "yardsticks",
        "selection", "examples")),
    "celeba-attributes": Recorded(attribute_rates, "celeba", (
        "source", "images", "attributes", "rates", "correlations_below_diagonal")),
    "interventions": Recorded(interventions.collect, "quick", (*RUN, "animals", "faces", "photographs")),
    "photographs-dog": Recorded(partial(records.collect_networks, category="dog"), "photographs", (
        *RUN, "experiment", "category", "data", "performers", "explainers", "references", "examples")),
    "funnybirds": Recorded(birds.collect, "quick", (
        *RUN, "experiment", "performer_seed", "rows", "performer", "data", "accuracy",
        "background_independence", "fits", "truth", "example")),
    records.PHOTOGRAPH: Recorded(_photograph, "quick", (
        *RUN, "architecture", "category", "seed", "metrics", "groups", "assignment", "yhat", "readings",
        "maps", "heat")),
    "paper-check": Recorded(lambda settings: rehearsal.rehearse(settings, data_root()), "paper", (
        *RUN, "steps", "maps", "photographs", "weights")),
    "ranking": Recorded(ranking.collect, "quick", (*RUN, "experiment", "rows", "truths", "images")),
    "regimes": Recorded(regimes.collect, "quick", (
        *RUN, "experiment", "rows", "rates", "weights", "references")),
    "steps": Recorded(steps.collect, "quick", (*RUN, "experiment", "rows", "truths", "chosen", "players")),
    trajectories.RECORD: Recorded(trajectories.collect, "quick", (
        *RUN, "experiment", "architecture", "category", "performer_seed", "n", "fits")),
    "trials": Recorded(trials.gather, "cpu", (*RUN, "experiment", "performers", "regimes", "ways", "columns",
                                              "planned")),
    factorial.RECORD: Recorded(factorial.collect, "cpu", (*RUN, "experiment", "performers", "fits",
                                                          "columns", "planned")),
    **{f"{TRUNK}-{category}": Recorded(partial(_trunk, category), "quick", (
        *RUN, "architecture", "category", "seed", "data", "metrics", "history", "parameters",
        "explainers", "other_splits", "examples")) for category in CATEGORIES if category != "bird"},
}


def remake(name: str, preset: str = "") -> str:
    """Make a record of ``book/records`` again, into the build folder, and say where it is.

    By default with the preset that it was made with. InputError for a name that is not in
    `RECORDS`, or where the preset or the folder of real data can't be used.
    """
    about = RECORDS[one_of("record", name, tuple(RECORDS))]
    content = about.make(load_settings(preset or about.preset))
    return f"wrote {write_record(Path(build_root()) / 'records' / f'{name}.json', content)}"
