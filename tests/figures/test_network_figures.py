"""The figures show the numbers they are given, leave them alone, and keep their colours."""

import itertools

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import Wedge  # noqa: E402

from semquant_book import figures  # noqa: E402
from semquant_book.figures import style  # noqa: E402
from semquant.checks import InputError  # noqa: E402
from semquant.explanation import Explanation  # noqa: E402

PARTS = ["eye", "ear", "torso", "unassigned"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def explained(contributions, bias=-0.5, yhat=3.0):
    c = torch.tensor(contributions)
    return Explanation(torch.full((len(c),), yhat), c, torch.ones_like(c), bias, PARTS)


def photos(*shape):
    return torch.randint(0, 256, (*shape, 3, 16, 16), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(0))


def words(figure):
    return " | ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("values", [[1, 1, 1], [0.1, 99, 0.9], [5, 0, 0, 3, 2.5], [1e-9, 1e9],
                                    np.full(7, 1 / 7)])
def test_shares_sum_to_100(values):
    found = style.shares(values)
    exact = 100 * np.array(values) / np.sum(values)
    assert found.sum() == 100
    assert (np.abs(found - exact) < 1).all()


def test_shares_count_positive_values_only():
    assert style.shares([3, -5, 1]).tolist() == [75, 0, 25]
    assert style.shares([0, -5]).tolist() == [0, 0]


def test_signed_never_writes_a_negative_zero():
    assert style.signed(-0.001) == "0.00"
    assert style.signed(-0.25) == "\N{MINUS SIGN}0.25"
    assert style.signed(0.25, plus=True) == "+0.25"


def test_pies_have_a_wedge_for_each_positive_part_and_say_what_is_negative():
    ours = explained([[2.0, 1.0, 1.0, 0.5], [2.0, -0.4, 1.0, 0.5]])
    baseline = explained([[4.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    figure = figures.explanation_pies(photos(2), torch.rand(2, 4, 4), ours, baseline)
    wedges = [[w for w in ax.findobj(Wedge) if w.theta2 > w.theta1] for ax in figure.axes]
    assert [len(w) for w in wedges] == [0, 0, 0, 0, 4, 3, 1, 2]  # rows: image, heat, ours, baseline
    # an eighth of the circle is 45 degrees
    assert wedges[4][0].theta2 - wedges[4][0].theta1 == pytest.approx(360 * 2 / 4.5, abs=1e-3)
    assert "ear \N{MINUS SIGN}0.40" in words(figure)
    assert "3.10 \N{MINUS SIGN} 0.50 = 2.60" in words(figure)


def test_a_part_has_the_same_colour_everywhere():
    ours = explained([[2.0, 1.0, 1.0, 0.5]])
    pies = figures.explanation_pies(photos(1), torch.rand(1, 4, 4), ours, ours)
    wedges = pies.axes[2].findobj(Wedge)
    assert [to_hex(w.get_facecolor()).upper() for w in wedges] == [
        figures.PART_COLOURS[p] for p in PARTS]
    gallery = figures.filter_gallery(photos(2, 3), torch.rand(2, 3, 4, 4), ["torso", "eye"])
    assert [to_hex(p.get_facecolor()).upper() for p in gallery.axes[0].patches] == [
        figures.PART_COLOURS["torso"], figures.PART_COLOURS["eye"]]
    # a part that only real data has
    assert style.part_colour("horn") == style.part_colour("horn")
    assert style.part_colour("horn") not in figures.PART_COLOURS.values()


def test_colours_differ_also_for_the_colour_blind():
    """Simulated protanopia and deuteranopia (Vienot 1999): no two parts or methods look alike."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714],
                       [0.0299566, 0.184309, 1.46709]])
    blind = {
        "none": np.eye(3),
        "protanopia": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "deuteranopia": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }
    for palette in (figures.PART_COLOURS, figures.METHOD_COLOURS, figures.SIGN_COLOURS):
        colours = np.array([matplotlib.colors.to_rgb(c) for c in palette.values()]) ** 2.2
        for kind, change in blind.items():
            seen = colours @ to_lms.T @ change.T @ np.linalg.inv(to_lms).T
            seen = 255 * seen.clip(0, 1) ** (1 / 2.2)
            for a, b in itertools.combinations(range(len(palette)), 2):
                names = list(palette)
                assert np.linalg.norm(seen[a] - seen[b]) > 20, (kind, names[a], names[b])


def test_inputs_are_left_alone():
    images, maps, masks = photos(4), torch.rand(4, 4, 4) - 0.5, torch.rand(4, 4, 4, 4)
    ours, table = explained(torch.rand(4, 4).tolist()), pd.DataFrame({"a": [[1.0, 2.0]]})
    kept = [t.clone() for t in (images, maps, masks, ours.y, ours.alpha, ours.yhat)]
    figures.sample_sheet(images, ["dog"] * 4)
    figures.label_map(images, masks, PARTS, columns=3)
    figures.explanation_pies(images, maps, ours, ours)
    figures.contributions(ours, 1)
    figures.contribution_distribution(ours.contributions, ours.contributions, sort=True)
    figures.filter_gallery(images[:, None], maps[:, None], PARTS)
    figures.comparison_table(table, table.map(lambda v: v[0]))
    for before, after in zip(kept, (images, maps, masks, ours.y, ours.alpha, ours.yhat)):
        assert torch.equal(before, after)
    assert table.at[0, "a"] == [1.0, 2.0]


def test_images_are_taken_in_either_order_and_as_bytes_or_floats():
    images = photos(2)
    shown = style.rgb(images)
    assert shown.shape == (2, 16, 16, 3) and shown.min() >= 0 and shown.max() <= 1
    assert np.allclose(shown, style.rgb(images.permute(0, 2, 3, 1).numpy()))
    assert np.allclose(shown, style.rgb(images.float() / 255))
    with pytest.raises(InputError, match="images: shape"):
        style.rgb(np.zeros((2, 16, 16)))


def test_signed_bars_show_every_contribution_the_rest_and_b():
    values = torch.tensor([[0.5, -2.0, 1.0, 0.25, 0.125]])
    explanation = Explanation(torch.tensor([1.0]), values, torch.ones(1, 5), 0.75)
    figure = figures.contributions(explanation, most=3)
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([-2.0, 1.0, 0.5, 0.375, 0.75])
    assert sum(bars) == pytest.approx(float(explanation.total[0]))


def test_distribution_writes_the_entropy():
    figure = figures.contribution_distribution(torch.ones(1, 8), torch.eye(8)[:1])
    assert f"ours, H = {np.log(8):.2f}" in words(figure)
    assert "baseline, H = 0.00" in words(figure)
    with pytest.raises(InputError, match="baseline: shape"):
        figures.contribution_distribution(torch.ones(1, 8), torch.ones(2, 8))


def test_a_label_too_few_is_told():
    with pytest.raises(InputError, match="labels: 1 of them for 2 images"):
        figures.sample_sheet(photos(2), ["dog"])


def test_a_gallery_of_nothing_says_so():
    empty = figures.filter_gallery(torch.zeros(0, 4, 3, 1, 1), torch.zeros(0, 4, 1, 1), [])
    assert "no filter has a name" in words(empty)


def test_history_and_errors_draw_what_is_there():
    history = [{"loss": 2.0}, {"loss": 1.0}]
    figure = figures.training_history({"ours": history}, {"loss": "loss"})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [2.0, 1.0]
    errors = pd.DataFrame({"part": ["eye", "eye", "ear"], "method": ["ours", "ours", "baseline"],
                           "error": [0.1, 0.3, 0.2]})
    ax = figures.part_errors(errors, errors.iloc[:1]).axes[0]
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([0.2, 0.2])  # the mean of two, and one


def test_only_a_distillation_loss_has_a_logarithmic_axis():
    history = [{"distillation": 100.0, "prior": 3.0}, {"distillation": 1.0, "prior": 2.0}]
    left, right = figures.training_history({"ours": history, "baseline": history[:1]},
                                           {"distillation": "L", "prior": "prior loss"}).axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    given = plt.figure()
    assert figures.training_history({"ours": history}, {"prior": "prior loss"}, given) is given


class TestComparisonTable:
    measured = pd.DataFrame({"ours": [[3.0, 3.5], 2.0]}, index=["AlexNet", "own"])
    paper = pd.DataFrame({"ours": [5.136, 5.81], "baseline": [3.84, np.nan]},
                         index=["AlexNet", "VGG-M"])

    def cells(self):
        return figures.comparison_table(self.measured, self.paper, digits=2).data

    def test_mean_spread_and_difference(self):
        row = self.cells().loc["AlexNet", "ours"]
        assert row.tolist() == ["3.25", "5.14", "\N{MINUS SIGN}1.89"]  # two performers, no interval

    def test_four_performers_have_an_interval(self):
        # mean 3, deviation sqrt(14 / 3); t of 3 degrees at 97.5% is 3.182446, over sqrt(4)
        measured = self.measured.assign(ours=[[1.0, 2.0, 3.0, 6.0], [1.0]])
        cell = figures.comparison_table(measured, self.paper, digits=2).data.loc["AlexNet", "ours"]
        assert cell["this run"] == "3.00 ± 3.44"

    def test_what_is_missing_is_a_dash(self):
        cells = self.cells()
        assert cells.loc["VGG-M", "ours"].tolist() == ["—", "5.81", "—"]
        assert cells.loc["own", "ours"].tolist() == ["2.00", "—", "—"]
        assert cells.loc["VGG-M", "baseline"].tolist() == ["—", "—", "—"]

    def test_a_column_that_the_paper_does_not_have_is_measured_only(self):
        paper = self.paper.assign(baseline=np.nan)
        cells = figures.comparison_table(self.measured.assign(baseline=1.0), paper).data
        assert list(cells["ours"]) == ["this run", "paper", "difference"]
        assert list(cells["baseline"]) == ["this run"] and cells.loc["own", "baseline"].tolist() == ["1.000"]

    def test_rows_come_in_the_papers_order(self):
        assert list(self.cells().index) == ["AlexNet", "VGG-M", "own"]
