"""The redrawn Figures 1 to 3 show the numbers they are given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from semquant_book.figures import diagrams  # noqa: E402
from semquant.checks import InputError  # noqa: E402

IMAGE = torch.zeros(3, 16, 16, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def words(figure):
    return " | ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def test_additive_model_adds_up_as_written():
    y, alpha = torch.tensor([2.0, 1.0, 4.0, 1.0]), torch.tensor([0.5, 1.0, 0.5, 0.25])
    figure = diagrams.additive_model(IMAGE, y, alpha, -1.0, 3.0, ["ear", "leg", "eye", "tail"],
                                     most=2)
    text = words(figure)
    assert "contributions 4.25 \N{MINUS SIGN} 1.00 (b) = 3.25" in text
    assert "residual \N{MINUS SIGN}0.25" in text
    assert "2 other filters" in text
    pieces = [p.get_width() for p in figure.axes[-1].patches]  # largest first, then the rest
    assert pieces == pytest.approx([2.0, 1.0, 1.25])
    assert figure.axes[-1].patches[0].get_x() == pytest.approx(-1.0)  # they start at b
    assert sum(pieces) - 1.0 == pytest.approx(float((alpha * y).sum()) - 1.0)


def test_kinds_of_explanation_leaves_out_parts_without_contribution():
    figure = diagrams.kinds_of_explanation(IMAGE, np.eye(4), np.ones((4, 4, 4)), [1.0, 0.0, 2.0],
                                           ["ear", "wing", "leg"], 2.5, -0.5)
    bars = [p.get_width() for p in figure.axes[-1].patches]
    assert bars == pytest.approx([2.0, 1.0, -0.5])
    assert "wing" not in words(figure)


def test_case_one_shows_values_and_weights():
    maps = torch.rand(2, 4, 4)
    y, w = maps.sum((1, 2)), torch.tensor([0.5, -0.25])
    figure = diagrams.case_one(IMAGE, maps, y, w, [3, 7], ["ear", "leg"], 1.0)
    assert [p.get_width() for p in figure.axes[-2].patches] == pytest.approx(y.tolist())
    assert [p.get_width() for p in figure.axes[-1].patches] == pytest.approx([0.5, -0.25])
    with pytest.raises(InputError, match="maps: 2 of them"):
        diagrams.case_one(IMAGE, maps, y[:1], w, [3, 7], ["ear", "leg"], 1.0)


def test_case_two_drops_perpendiculars():
    target, gradients = np.array([1.0, 2.0]), np.array([[2.0, 0.0], [1.0, 1.0]])
    w = gradients @ target / (gradients**2).sum(1)
    figure = diagrams.case_two(target, gradients, w, ["a", "b"])
    dashed = [line for line in figure.axes[0].lines if line.is_dashed()]
    for line, gradient in zip(dashed, gradients):
        start, foot = line.get_xydata()
        assert (start - foot) @ gradient == pytest.approx(0)
