"""All that a preset's runs and the recorded ones measured, as tables."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from semquant_book.study import records, spot_checks, tables
from semquant_book.study.presets import Settings, project_root
from semquant_book.study.store import read_record

__all__ = ["DOGS", "FIVE", "Results"]

DOGS, FIVE = "dog photographs, four networks from scratch", "photographs, EfficientNet-Lite0"
CATEGORIES = ("cat", "cow", "dog", "horse", "sheep")  # of the recorded photographs


class Results:
    """The tables of a run, each read or computed when it is first asked for, and then kept.

    Parameters
    ----------
    settings : Settings
        Their jobs have run; what is missing of them is computed.
    """

    def __init__(self, settings: Settings):
        self.settings = settings

    @cached_property
    def explainers(self) -> pd.DataFrame:
        """As `tables.explainer_frame`."""
        return tables.explainer_frame(self.settings)

    @cached_property
    def performers(self) -> pd.DataFrame:
        """As `tables.performer_frame`."""
        return tables.performer_frame(self.settings)

    @cached_property
    def references(self) -> pd.DataFrame:
        """As `tables.reference_frame`."""
        return tables.reference_frame(self.settings)

    @cached_property
    def history(self) -> pd.DataFrame:
        """As `tables.history_frame`."""
        return tables.history_frame(self.settings)

    @cached_property
    def attributes(self) -> pd.DataFrame:
        """As `tables.attribute_frame`."""
        return tables.attribute_frame(self.settings)

    @cached_property
    def yardsticks(self) -> pd.DataFrame:
        """As `tables.yardstick_frame`."""
        return tables.yardstick_frame(self.settings)

    @cached_property
    def selections(self) -> pd.DataFrame:
        """As `tables.selection_frame`."""
        return tables.selection_frame(self.settings)

    @cached_property
    def dogs(self) -> dict[str, pd.DataFrame]:
        """The recorded dog photographs: ``explainers`` and ``references``."""
        content = read_record(project_root() / "book" / "records" / "photographs-dog.json")
        return {name: tables.normalised(pd.DataFrame(content[name]))
                for name in ("explainers", "references")}

    @cached_property
    def experiment_1(self) -> dict[str, pd.DataFrame]:
        """Explainers of animals by what they were run on: this run's, and the recorded ones."""
        five = pd.concat([records.explainer_frame(records.photographs(c)) for c in CATEGORIES])
        here = "drawn animals" if self.settings.images == "drawn" else "photographs, this run"
        return {here: self.explainers, DOGS: self.dogs["explainers"], FIVE: five}

    @cached_property
    def experiment_2(self) -> dict[str, pd.DataFrame]:
        """Explainers of attributes by what they were run on: this run's, and the recorded CelebA's."""
        here = "drawn faces" if self.settings.faces == "drawn" else "CelebA, this run"
        recorded = tables.normalised(records.recorded("celeba").explainers)
        return {here: self.attributes, "CelebA, recorded": recorded}

    @cached_property
    def mask_order(self) -> float:
        """As `spot_checks.mask_order`."""
        return spot_checks.mask_order(self.settings)

    @cached_property
    def grad_cam(self) -> pd.DataFrame:
        """As `spot_checks.grad_cam_agreement`."""
        return spot_checks.grad_cam_agreement(self.settings)

    @cached_property
    def alpha_between_images(self) -> dict[str, float]:
        """As `spot_checks.alpha_between_images`."""
        return spot_checks.alpha_between_images(self.settings)

    @cached_property
    def variance_explained(self) -> pd.DataFrame:
        """As `spot_checks.variance_explained`."""
        return spot_checks.variance_explained(self.settings)
