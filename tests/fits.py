"""Options of a fit by their names alone: which of the three they belong to is looked up."""

from dataclasses import fields

from semquant import distillation
from semquant.explainers import ExplainerOptions
from semquant.losses import Objective
from semquant.training import FitOptions

KINDS = {"objective": Objective, "explainer": ExplainerOptions, "fit": FitOptions}


def options(**settings) -> dict:
    """Return ``objective``, ``explainer`` and ``fit``, each with those of the settings it has."""
    names = {name: {f.name for f in fields(kind)} for name, kind in KINDS.items()}
    unknown = set(settings) - set().union(*names.values())
    assert not unknown, unknown
    return {name: kind(**{k: v for k, v in settings.items() if k in names[name]})
            for name, kind in KINDS.items()}


def distill_measured(measured, names=None, on_epoch=None, **settings):
    """`semquant.distillation.distill_measured` with options by their names."""
    return distillation.distill_measured(measured, names=names, on_epoch=on_epoch,
                                         **options(**settings))
