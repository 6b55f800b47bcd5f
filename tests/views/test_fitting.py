"""What the fit in the page packs, and the still figure before it."""

import json

import numpy as np
import pytest
import torch

from packed import unpacked
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant_book.pages import chapters
from semquant_book.views import fitting


def measured(images=7, n=5, prior=True):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(images, n, 8, 8, generator=draw)
    w = torch.rand(images, n, generator=draw) if prior else None
    return Measured(x, x.sum((2, 3)), torch.randn(images, generator=draw), w)


RECORD = {"fits": [{"optimizer": "sgd", "start": "high", "rate": rate, "prior": prior, "chosen": rate == 1e-5,
                    "normalised_entropy": [0.9, 0.8 + rate]} for rate in (1e-5, 1e-4) for prior in ("none", "measured")]}


def test_the_maps_can_be_put_together_again():
    given = measured()
    data = fitting.explore(given, torch.arange(7) < 3, RECORD, "a note").data
    json.dumps(data)  # plain values only
    counts, places, shades = (unpacked(data[name]) for name in ("counts", "places", "shades"))
    assert counts.sum() == len(places) == len(shades) and (shades > 0).all()
    found = np.zeros((7, data["d"]))
    found[np.repeat(np.arange(7), counts), places] = shades
    found = found.reshape(7, 5, 4, 4)
    wanted = given.x.clamp_min(0).reshape(7, 5, 4, 2, 4, 2).mean((3, 5))  # two by two
    for i in range(5):
        largest = float(wanted[:, i].max())
        np.testing.assert_allclose(found[:, i] / 255 * largest, wanted[:, i], atol=0.51 / 255 * largest)
        size = np.square(found[:, i] * unpacked(data["unit"])[i]).mean()
        assert size == pytest.approx(1, rel=1e-5)  # every filter counts alike
    for name in ("y", "yhat", "w"):
        np.testing.assert_array_equal(unpacked(data[name]), getattr(given, name))
    assert unpacked(data["positive"]).tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert data["recorded"] == RECORD["fits"] and 0 in data["betas"] and 10 in data["betas"]


def test_a_page_carries_so_many_images_and_no_more():
    data = fitting.explore(measured(fitting.IMAGES + 3), torch.ones(fitting.IMAGES + 3).bool(), RECORD).data
    assert data["N"] == fitting.IMAGES == len(unpacked(data["yhat"]))


@pytest.mark.parametrize("given, positive, message", [
    (measured(prior=False), torch.ones(7).bool(), "measured: has no w"),
    (measured(), torch.ones(6).bool(), "positive"), (measured(), torch.zeros(7).bool(), "positive: no image is")])
def test_what_can_not_be_fitted(given, positive, message):
    with pytest.raises(InputError) as error:
        fitting.explore(given, positive, RECORD)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_still_figure_has_the_chosen_fits():
    (ax,) = fitting.figure(RECORD).axes
    assert ax.get_title() == "SGD,\nhigh start"
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.9, 0.80001]] * 2


def test_the_page_says_where_the_recorded_fits_ended():
    said = chapters.fit_said()
    rows = {(r["optimizer"], r["start"], r["rate"], r["prior"]): r["normalised_entropy"][-1] for r in chapters._trajectories()["fits"]}
    for (optimizer, start, rate, prior), value in rows.items():
        if prior == "none":
            ours = rows[optimizer, start, rate, "measured"]
            assert f"{start} start, rate {rate:f}".rstrip("0") + f": {value:.3f} without the prior loss, {ours:.3f} with it" in said
    assert len(rows) == 2 * said.count("\n- ")
    assert "furthest at 0.0001. " in said and "is 0.00003; the view begins with it" in said
