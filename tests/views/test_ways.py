"""What the view of several explanations of one picture packs, and its still figure."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from packed import unpacked

from semquant.checks import InputError
from semquant_book.figures.style import PART_COLOURS
from semquant_book.views import ways

RIGHT = torch.tensor([[1.0, 0.5, -2.0], [0.0, 1.0, 3.0]])


def several(**changes):
    given = dict(
        title="AlexNet", names=["ear", "leg", "unassigned"], right=RIGHT,
        ways={"prior": {"": RIGHT + 1}, "ours": {"literal": 2 * RIGHT, "scaled": RIGHT.flip(1)}},
        yhat=torch.tensor([1.5, -4.0]), pictures=torch.rand(2, 3, 8, 8), labels=["one", "two"],
        truth="Shapley values", reading="scaled", note="A note.")
    return ways.Several(**(given | changes))


def test_the_view_holds_what_it_was_given():
    data = ways.explore(several()).data
    json.dumps(data)  # plain values only
    assert (data["readings"], data["reading"], data["truth"]) == (["literal", "scaled"], "scaled", "Shapley values")
    np.testing.assert_allclose(unpacked(data["right"]), RIGHT)
    prior, ours = data["ways"]
    assert (prior["name"], ours["name"]) == ("prior", "ours")
    np.testing.assert_allclose(unpacked(prior["readings"][0][1]), RIGHT + 1)
    assert [name for name, _ in ours["readings"]] == ["literal", "scaled"]
    np.testing.assert_allclose(unpacked(ours["readings"][0][1]), 2 * RIGHT)
    assert data["colours"]["parts"]["leg"] == PART_COLOURS["leg"] and len(data["pictures"]) == 2


def test_without_a_choice_there_is_no_reading():
    one = several(ways={"prior": {"": RIGHT}}, reading="")
    assert ways.explore(one).data["readings"] == [] and one.of("prior") is RIGHT
    assert several(reading="").reading == "literal"


@pytest.mark.parametrize("changes, message", [
    (dict(right=RIGHT[:, :2]), r"right: \(2, 2\) does not fit \(2, 3\)"),
    (dict(ways={"prior": {"": RIGHT[:1]}}, reading=""), r"ways\['prior'\]\[''\]: \(1, 3\) does not fit \(2, 3\)"),
    (dict(ways={}, reading=""), "ways: there is none"),
    (dict(ways={"prior": {}}, reading=""), "ways: there is none, or one without"),
    (dict(labels=["one"]), "labels: 1 does not fit 2"),
    (dict(pictures=torch.rand(3, 3, 8, 8)), "pictures: 3 does not fit 2"),
    (dict(reading="other"), "reading: 'other' is not one of literal, scaled"),
])
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        several(**changes)


def test_the_still_figure_shows_bars_and_errors_in_the_first_reading():
    drawn = ways.figure(several(), image=1)
    truth, prior, ours = drawn.axes
    for ax, values in ((truth, RIGHT[1]), (prior, RIGHT[1] + 1), (ours, RIGHT[1].flip(0))):
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], values)
    error = (3 + 0 + 3) / (0 + 1 + 3)
    assert ours.get_title() == f"ours\nerror {error:.2f}\nranks −1.00"
    assert prior.get_title() == "prior\nerror 0.75\nranks 1.00"
    marks = [line[0][0] for line in ours.collections[0].get_segments()]
    np.testing.assert_allclose(marks, RIGHT[1])
    plt.close("all")
