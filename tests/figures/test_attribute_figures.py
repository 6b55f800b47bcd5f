"""The figures of Experiment 2 show the numbers and words they are given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from semquant_book.figures import attributes as figures  # noqa: E402
from semquant.explanation import Explanation  # noqa: E402
from semquant_book.datasets.names import ATTRIBUTES  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def explained():
    """Two faces: Goatee is absent and speaks for the target; Bald is there and speaks against it."""
    y = torch.tensor([[-2.0, 1.0, 0.5], [3.0, -1.0, 0.1]])
    alpha = torch.tensor([[-2.0, -3.0, 0.2], [1.0, 0.5, 0.0]])
    return Explanation(torch.tensor([1.6, 2.0]), y, alpha, 0.5, ["Goatee", "Bald", "Smiling"])


def texts(figure):
    return [t.get_text() for ax in figure.axes for t in (*ax.get_yticklabels(), *ax.texts, ax.title)]


def test_bars_are_named_after_what_was_found_and_show_contributions(explained):
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    figure = figures.signed_bars(images, explained, "Attractive", share=0.5)
    said = texts(figure)
    assert {"No goatee", "Bald", "Smiling", "Goatee", "Not bald"} <= set(said)
    bars = [p.get_width() for p in figure.axes[1].patches]
    assert bars == pytest.approx([4.0, -3.0, 0.1, 0.5])  # alpha y from the largest down, and b
    bold = [t.get_text() for t in figure.axes[1].get_yticklabels() if t.get_weight() == "bold"]
    assert bold == ["No goatee"]  # 4.0 of 7.1 is more than half
    assert "all and b: 1.60" in figure.axes[1].get_title()


def test_reasons_in_words(explained):
    assert figures.in_words(explained, 0, share=0.5) == ["No goatee"]
    assert figures.in_words(explained, 0, share=0.9) == ["No goatee", "Bald"]
    assert figures.in_words(explained, 1, share=1.0) == ["Goatee", "Not bald"]  # 0 is no reason


def test_curves_are_means_over_choices():
    points = pd.DataFrame([
        dict(size=s, weights=k, deviation=d, accuracy_loss=d / 2)
        for k in ("linear", "learned") for s in (1, 5) for d in 5 * (0.1 * s, 0.3 * s)])
    figure = figures.selection_curves(points)
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([0.2, 1.0])
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([0.1, 0.5])


def test_controls_have_a_line_at_the_mean_over_targets():
    table = pd.DataFrame([
        dict(method=m, target=t, entropy=e, deviation=0.1, accuracy=0.9,
             performer_accuracy=0.8, agreement=np.nan)
        for m, t, e in (("ours", "male", 2.0), ("ours", "young", 3.0), ("permuted", "male", 1.0))])
    figure = figures.agreement_dots(table)
    entropy = next(ax for ax in figure.axes if ax.get_title() == "entropy")
    marks = [line.get_xdata()[0] for line in entropy.lines if len(set(line.get_xdata())) == 1
             and line.get_marker() == "None"]
    assert marks == pytest.approx([2.5, 1.0])


def test_the_other_figures_are_drawn():
    rates = {name: 0.1 for name in ATTRIBUTES}
    assert len(figures.rate_dots(rates, rates).axes[0].get_yticklabels()) == 40
    drawn, known = np.full((40, 40), 0.5), np.full((40, 40), -0.5)
    mesh = figures.correlation_maps(drawn, known, ATTRIBUTES).axes[0].collections[0].get_array()
    assert mesh[0, 1] == 0.5 and mesh[1, 0] == -0.5 and np.ma.is_masked(mesh[3, 3])
    table = pd.DataFrame({"accuracy": 0.9, "balanced_accuracy": 0.7, "rate": 0.2},
                         index=list(ATTRIBUTES))
    assert len(figures.outcome_dots(table).axes) == 2
    shares = pd.DataFrame({"ours": [0.6, 0.4], "baseline": [0.9, 0.1]}, index=["Bald", "Bangs"])
    assert len(figures.share_bars(shares).axes[0].patches) == 4
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    assert len(figures.flipped_pairs(pictures, pictures, ATTRIBUTES[:3], columns=2).axes) == 4


def test_bars_keep_one_attribute_however_small_it_is(explained):
    figure = figures.signed_bars(None, explained, "Attractive", most=2, keep=2)
    names = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert names == ["No goatee", "Smiling", "1 others, net", "b"]
    widths = [p.get_width() for p in figure.axes[1].patches]
    assert widths == pytest.approx([4.0, 0.1, -3.0, 0.5])


def test_what_the_prior_does_has_directions_and_losses():
    torch.manual_seed(0)
    w, other = torch.randn(5, 4), torch.randn(5, 4)
    histories = {"ours": [{"distillation": 2.0, "prior": 0.5}, {"distillation": 1.0, "prior": 0.4}],
                 "baseline": [{"distillation": 3.0}, {"distillation": 2.0}]}
    left, right, distillation, prior = figures.what_the_prior_does(
        {"ours": 3 * w, "baseline": other}, w, histories, 2, "Bangs").axes
    assert "ours: cosine 1.00" in left.get_title()
    cosine = float(torch.nn.functional.cosine_similarity(other, w).mean())
    assert right.get_title() == f"baseline: cosine {cosine:.2f}".replace("-", "−")
    lit = left.lines[1]
    assert lit.get_xdata() == pytest.approx((w / w.norm(dim=1, keepdim=True))[:, 2].numpy())
    assert lit.get_label() == "Bangs"
    assert distillation.get_yscale() == "log" and prior.get_yscale() == "linear"
    assert [line.get_ydata().tolist() for line in distillation.lines] == [[2, 1], [3, 2]]
    assert [line.get_ydata().tolist() for line in prior.lines] == [[0.5, 0.4]]
