"""All that a preset's runs and the recorded ones measured, as tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import pandas as pd

from semquant_book.study import records, spot_checks, tables
from semquant_book.study.presets import Settings

__all__ = ["DOGS", "FIVE", "Results"]

DOGS, FIVE = "dog photographs, four networks from scratch", "photographs, EfficientNet-Lite0"
CATEGORIES = ("cat", "cow", "dog", "horse", "sheep")  # of the recorded photographs


def _kept(measure: Callable[[Settings], object]) -> cached_property:
    """What a function makes of the settings, made when it is first asked for."""
    return cached_property(lambda results: measure(results.settings))


class Results:
    """The tables of a run, each read or computed when it is first asked for, and then kept.

    The settings' jobs have run; what is missing of them is computed.
    """

    def __init__(self, settings: Settings):
        self.settings = settings

    explainers, performers = _kept(tables.explainer_frame), _kept(tables.performer_frame)
    references, history = _kept(tables.reference_frame), _kept(tables.history_frame)
    attributes, yardsticks = _kept(tables.attribute_frame), _kept(tables.yardstick_frame)
    selections, mask_order = _kept(tables.selection_frame), _kept(spot_checks.mask_order)
    grad_cam = _kept(spot_checks.grad_cam_agreement)
    alpha_between_images = _kept(spot_checks.alpha_between_images)
    variance_explained = _kept(spot_checks.variance_explained)

    @cached_property
    def experiment_1(self) -> dict[str, pd.DataFrame]:
        """Explainers of animals by what they were run on: this run's, and the recorded ones."""
        five = pd.concat([records.explainer_frame(records.photographs(c)) for c in CATEGORIES])
        here = "drawn animals" if self.settings.images == "drawn" else "photographs, this run"
        return {here: self.explainers, DOGS: records.networks()["explainers"], FIVE: five}

    @cached_property
    def experiment_2(self) -> dict[str, pd.DataFrame]:
        """Explainers of attributes by what they were run on: this run's, and the recorded CelebA's."""
        here = "drawn faces" if self.settings.faces == "drawn" else "CelebA, this run"
        recorded = tables.normalised(records.recorded("celeba").explainers)
        return {here: self.attributes, "CelebA, recorded": recorded}
