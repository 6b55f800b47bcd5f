"""Explainers with other optimisers and starts of b, on a smoke performer: options, records, tables."""

from dataclasses import replace

import pandas as pd
import pytest

from semquant.checks import InputError
from semquant.distillation import distill_measured
from semquant.explainers import BIASES as METHOD_BIASES
from semquant.networks.interpretable import Mask
from semquant.training import OPTIMIZERS as METHOD_OPTIMIZERS
from semquant_book.datasets.names import BIASES, OPTIMIZERS
from semquant_book.study import animal_performers, experiment1, records, tables
from semquant_book.study.replicates import pairs


@pytest.fixture(scope="module")
def both(run):
    """The run with an SGD arm."""
    return replace(run, settings=replace(run.settings, explainer_optimizers=("adamw", "sgd"), explainer_seeds=1))


def test_the_names_are_the_methods():
    assert set(OPTIMIZERS) == set(METHOD_OPTIMIZERS) and set(BIASES) == {*METHOD_BIASES, "zero"}


def test_scale_start_of_b_and_optimiser_are_chosen_apart(run):
    usual = experiment1.options(run.settings, scale="literal")
    assert (usual["explainer"].scale, usual["explainer"].bias, usual["fit"].optimizer) == ("literal", 0.0, "adamw")
    assert experiment1.options(run.settings, scale="scaled")["explainer"].bias == "min"
    lower = replace(run.settings, explainer_bias_literal="min")
    assert experiment1.options(lower) == usual | {"explainer": replace(usual["explainer"], bias="min")}
    assert experiment1.options(lower, scale="scaled") == experiment1.options(run.settings, scale="scaled")
    fit = replace(usual["fit"], optimizer="sgd", learning_rate=run.settings.explainer_sgd_lr)
    assert experiment1.options(run.settings, optimizer="sgd") == usual | {"fit": fit}
    first = replace(run.settings, explainer_optimizers=("sgd", "adamw"))
    assert experiment1.options(first)["fit"] == fit
    assert experiment1.options(first, optimizer="adamw") == usual
    with pytest.raises(InputError, match="^scale: 'small' is not one of literal, scaled"):
        experiment1.options(run.settings, scale="small")


def test_each_arm_is_fitted_and_recorded(both):
    assert ": 6 explainers in " in both.make_explainers()
    kept = {which: both.explainer_record("ours", "literal", 0, which) for which in ("adamw", "sgd")}
    for optimizer, about in kept.items():
        assert (about["optimizer"], about["bias_start"], about["scale"]) == (optimizer, "zero", "literal")
    assert both.explainer_record("ours", "scaled")["bias_start"] == "min"
    assert kept["adamw"]["history"] != kept["sgd"]["history"]
    fitted = both.explainer("ours", "literal", 0, "sgd")
    assert kept["sgd"]["metrics"]["bias"] == fitted.g.bias.item()
    again = distill_measured(both.measured("train"), **experiment1.options(both.settings, optimizer="sgd"))
    assert again.history == kept["sgd"]["history"]


def test_another_optimiser_is_a_reading_of_its_own_in_every_table(both):
    frame = tables.explainer_frame(both.settings)
    assert list(frame.scale) == 2 * ["literal"] + 2 * ["scaled"] + 2 * ["literal, SGD"]
    assert list(frame.optimizer) == 4 * ["adamw"] + 2 * ["sgd"]
    assert len(pairs(frame, "entropy")) == 3
    assert set(tables.history_frame(both.settings).scale) == {"literal", "scaled", "literal, SGD"}
    again = tables.arms(pd.DataFrame(frame.to_dict("records")))
    assert list(again.scale) == list(frame.scale)  # what is named once is not named twice


def test_where_sgd_comes_first_adamw_is_the_other():
    frame = pd.DataFrame({"scale": ["literal", "literal"], "optimizer": ["sgd", "adamw"], "bias_start": "min"})
    assert list(tables.arms(frame).scale) == ["literal", "literal, AdamW"]


def test_older_records_are_of_adamw_with_the_starts_of_their_time():
    for frame in (records.networks()["explainers"], records.explainer_frame(records.photographs("dog"))):
        assert set(frame.scale) == {"literal", "scaled"} and set(frame.optimizer) == {"adamw"}
        assert set(zip(frame.scale, frame.bias_start)) == {("literal", "zero"), ("scaled", "min")}


def test_a_performer_with_two_interpretable_layers_is_another(run):
    two = replace(run, settings=replace(run.settings, interpretable_layers=2))
    nets = [animal_performers.start(each.settings, "alexnet") for each in (run, two)]
    assert [sum(isinstance(m, Mask) for m in net.modules()) for net in nets] == [1, 2]
    assert two.path != run.path
