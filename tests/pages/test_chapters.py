"""What the method's chapters show: drawings, tables and sentences with hand-worked numbers."""

import math
from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import nbformat  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from semquant.concepts import Measured  # noqa: E402
from semquant.explanation import Explanation  # noqa: E402
from semquant.losses import prior_weight  # noqa: E402
from semquant.priors import taylor_prior  # noqa: E402
from semquant_book import figures  # noqa: E402
from semquant_book.datasets import Images  # noqa: E402
from semquant_book.pages import chapters, filters  # noqa: E402
from semquant_book.study.presets import load_settings, project_root  # noqa: E402

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def toy():
    """Two concepts; a performer that uses both alike, and a fit that ends at one of them."""
    y, w = torch.tensor([[1.0, 3.0], [3.0, 1.0]]), torch.full((2, 2), 0.5)
    yhat = torch.tensor([2.0, 2.5])
    start = torch.ones(2, 2)
    one = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    names = ("SGD", "fitting", "AdamW", "cured", "AdamW, prior", "permuted")
    ends = one, w, w, w, torch.tensor([[0.75, 0.25]] * 2), one
    return {name: torch.stack([start, end]) for name, end in zip(names, ends)}, y, yhat, w


# ---- pages -----------------------------------------------------------------------------------------


def test_the_equation_adds_up_as_it_is_printed():
    one = Explanation(torch.tensor([3.0049]), torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 1.0]]), -1.5049)
    text = chapters.equation(one)
    shown = [float(t.replace(MINUS, "-")) for t in
             (part.partition("}")[0] for part in text.split(r"\underbrace{")[1:])]
    assert shown == [3.0, 3.5, -1.5, 1.0] and shown[0] == pytest.approx(sum(shown[1:]))
    assert "{+1.00}" in text and f"{{{MINUS}1.50}}" in text


def test_the_median_positive_is_positive():
    images = Images(torch.zeros(5, 3, 2, 2, dtype=torch.uint8), torch.tensor([True, False, True, True, False]),
                    ["a"] * 5, list("abcde"))
    measured = Measured(torch.zeros(5, 1, 1, 1), torch.zeros(5, 1), torch.tensor([9.0, 5.0, 1.0, 4.0, 4.5]))
    assert chapters.median_positive(images, measured) == 3


def test_entropy_is_a_share_of_ln_n():
    assert chapters.entropy(torch.ones(3, 7)) == pytest.approx(1)
    assert chapters.entropy(torch.tensor([[1.0, -1.0, 0.0, 0.0]])) == pytest.approx(0.5)  # ln 2 of ln 4
    empty = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # an image without contributions has no entropy
    assert chapters.entropy(empty) == 0


def test_the_toys_table_has_what_each_fit_ended_at():
    ways, y, yhat, w = toy()
    table = chapters.toy_table(ways, y, yhat, w).data
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(2)
    assert table.loc["SGD", "H / ln n"] == 0
    assert table.loc["the performer itself, w y", "H / ln n"] == pytest.approx(quarter)
    assert table.loc["cured", "relative deviation"] == pytest.approx((0 + 0.5) / 2 / 0.5)
    assert table.loc["cured", "rank correlation of α y with w y"] == pytest.approx(1)
    # alpha y of the collapsed fit is (2, 0), (6, 0); w y is (.5, 1.5), (1.5, .5)
    assert table.loc["SGD", "rank correlation of α y with w y"] == pytest.approx(0)


def test_the_toys_sentences_have_its_numbers():
    ways, y, yhat, w = toy()
    said = chapters.toy_said(ways, y, yhat, w)
    assert "here 2 times the score" in said  # sums of 4 against a mean score of 2.25
    assert "1 of 2 concepts carry nine tenths of the sum and H / ln n falls to 0.00" in said
    assert "(its own is 0.81)" in said and "brings it to 0.00" in said
    ways["SGD"][-1] = w  # shares of a half each: one is not enough for nine tenths
    assert "2 of 2 concepts carry nine tenths of the sum and H / ln n falls to 0.81" in chapters.toy_said(ways, y, yhat, w)


@pytest.mark.parametrize("seed", [0, 1])
def test_bias_interpreting_happens_in_the_page(seed):
    """By plain gradient descent from a high start, and not otherwise; the prior loss cures it."""
    page = nbformat.read(project_root() / "book" / "method" / "bias_interpreting.ipynb", as_version=4)
    source = {cell.id: cell.source for cell in page.cells}
    here = {"seed": seed}
    for cell in ("import-inspect-import-torch", "def-descend-start-w", "toy-of-n-concepts"):
        exec(source[cell].partition("\nfigures.")[0], here)
    h = [chapters.entropy(way[-1] * here["y"]) for way in here["ways"].values()]
    own = chapters.entropy(here["w"] * here["y"])
    crushed, fitting, adam, cured, adam_prior, _ = h
    assert crushed < 0.65 and min(fitting, adam) > 0.9
    assert cured == pytest.approx(own, abs=0.05)
    assert own < adam_prior < adam - 0.02  # pulled towards the prior's own entropy
    strongest = here["ways"]["SGD,\ntoo high a start"][-1].mean(0)[-3:]
    assert float(strongest.max()) < 0.02  # of weights that begin at 0.69


def test_the_loop_of_the_page_is_the_library_s():
    page = nbformat.read(project_root() / "book" / "method" / "bias_interpreting.ipynb", as_version=4)
    sources = [cell.source for cell in page.cells if cell.cell_type == "code"]
    assert sum("inspect.getsource(fit_explainer)" in source for source in sources) == 1
    assert not any("TensorBatches" in source or "AdamW(g" in source for source in sources)


def fits():
    y, w = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([[3.0, 1.0], [3.0, 1.0]])
    yhat = torch.tensor([2.0, 0.0])
    alphas = {"baseline": [1.0, 1.0], "ours": [1.5, 0.5], "permuted prior": [0.5, 1.5]}
    explained = {name: Explanation(yhat, y, torch.tensor([alpha, alpha[::-1]]), 0.0)  # the other way on the negative
                 for name, alpha in alphas.items()}
    return explained, Measured(torch.zeros(2, 2, 1, 1), y, yhat, w), torch.tensor([True, False])


def test_fits_are_compared_on_positive_images_beside_the_prior_alone():
    explained, test, positive = fits()
    table = chapters.fits_table(explained, test, positive)
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert table.data.loc["baseline", "H"] == pytest.approx(math.log(2))
    assert table.data.loc["ours", "H"] == pytest.approx(quarter)
    assert table.data.loc["prior weights alone, w y", "H / ln n"] == pytest.approx(quarter / math.log(2))
    assert table.data.loc["permuted prior", "rank correlation with w y"] == pytest.approx(-1)
    assert table.data.loc["ours", "relative deviation"] == pytest.approx(0.5)  # 0 and 2 of a range of 2
    assert "\N{EM DASH}" in table.to_html()  # the prior alone has no b and no scale
    said = chapters.fits_said(explained, test, positive, "literal")
    assert f"baseline ends at H / ln n = 1.00, *ours* at 0.81 ({MINUS}0.19)" in said
    assert "have 0.81: the loss pulls towards weights that are themselves more concentrated" in said
    assert "moved the other way" not in said and "*literal* reading" in said


def test_an_entropy_that_moves_away_from_the_prior_s_is_told():
    explained, test, positive = fits()
    explained["baseline"], explained["ours"] = explained["ours"], explained["baseline"]
    test.w = torch.tensor([[9.0, 1.0], [1.0, 1.0]])
    assert "yet it moved the other way here" in chapters.fits_said(explained, test, positive, "literal")


def run_of(records, scales=("literal", "scaled"), seeds=2):
    """A run whose records are known."""
    settings = SimpleNamespace(scales=scales, explainer_seeds=seeds, explainer_optimizers=("adamw", "sgd"),
                               explainer_bias_literal="zero", explainer_bias_scaled="min")
    return SimpleNamespace(
        settings=settings, performer=lambda: SimpleNamespace(n=4), explainer=lambda *which: None,
        explainer_record=lambda method, scale, seed: {"metrics": records[method, scale][seed]})


def test_both_readings_stand_beside_each_other_with_seeds_averaged():
    half = math.log(4) / 2
    records = {(method, scale): [{"entropy": half - d, "deviation": 0.1}, {"entropy": half + d, "deviation": 0.3}]
               for method in ("ours", "baseline") for scale, d in (("literal", 0.1), ("scaled", 0.2))}
    table = chapters.readings_table(run_of(records))
    assert list(table.data.index) == [("literal", "baseline"), ("literal", "ours"), ("scaled", "baseline"),
                                      ("scaled", "ours")]
    assert set(table.data["H / ln n"]) == {"0.50"} and set(table.data["relative deviation"]) == {"0.200"}
    assert table.data["fitted by"].tolist() == 2 * ["AdamW, b from 0"] + 2 * ["AdamW, b from the smallest score"]
    assert "mean over 2 seeds of g, one performer, no interval" in table.to_html()
    one = Explanation(torch.tensor([0.0, 2.0]), torch.ones(2, 1), torch.ones(2, 1), 0.0)
    said = chapters.deviations_said(run_of(records), one, "scaled")
    assert "On these 2 images it is 0.500" in said and "*scaled* reading" in said
    assert said.count("0.200 with the prior loss and 0.200 without") == 2


def test_sweeps_are_told_with_their_share_of_ln_n():
    run = SimpleNamespace(title="AlexNet, y scaled", names=list("abcd"), betas=[0, 10, 100], usual=10,
                          entropy=np.array([[[0.0, 1.0]], [[0.0, 0.5]], [[0.0, 0.25]]]) * math.log(4),
                          deviation=np.full((3, 1, 2), 0.02), w=np.array([[1.0, 0.0]]),
                          alpha=np.array([[[[[0.0, 1.0]]]], [[[[1.0, 1.0]]]], [[[[2.0, 0.0]]]]]))
    said = chapters.sweeps_said([run])
    assert "*AlexNet, y scaled*: 1.39 (1.00 of ln n, deviation 0.020) with β = 0" in said
    assert "(0.50 of ln n, deviation 0.020) with β = 10" in said
    assert "0.00 without the prior loss, 0.71 with β = 10, 1.00 with β = 100" in chapters.cosines_said([run])


def test_what_clipping_takes_away_is_counted():
    w = torch.tensor([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]])
    said = chapters.clipping_said(w, torch.tensor([True, False, False]))
    assert "mean positive image 50%" in said and "mean negative one 50%" in said and "In 1 of 3 images" in said


def test_guesses_are_ranked_against_the_falls():
    falls = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    guesses = {"a": falls * 2, "b": -falls, "c": falls.flip(0), "d": falls**3, "e": torch.zeros(2, 3)}
    table = chapters.agreement_table(guesses, falls).data["rank correlation with the true fall"]
    assert table[["a", "b", "c", "d"]].tolist() == pytest.approx([1, -1, -1, 1]) and np.isnan(table["e"])
    assert f"agrees with the falls to {MINUS}1.00" in chapters.agreement_said(guesses, falls)


def test_real_steps_come_to_the_taylor_weights_as_they_shrink():
    torch.manual_seed(0)
    outputs = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh()).double()
    place = torch.randn(1, 3, dtype=torch.float64)
    found = chapters.real_steps_table(outputs, place, (0.1, 1e-4)).data.loc["largest difference"]
    assert found["ε = 0.1"] > found["ε = 0.0001"] and found["ε = 0.0001"] < 1e-3
    w, off = taylor_prior(outputs, place, target=0)[0], []
    for i, slope in enumerate(torch.func.jacrev(outputs)(place[0]).detach()[1:], 1):
        moved = (outputs(place + 0.1 * slope) - outputs(place))[0].detach()
        off.append(float(abs(moved[0] / moved[i] - w[i - 1])))
    assert found["ε = 0.1"] == pytest.approx(max(off))


def test_directions_and_fading_are_told():
    share = torch.tensor([0.25, 0.5, 0.75])
    angle = torch.tensor([0.0, math.pi])
    said = chapters.directions_said(share, {"log_alpha": [1.0, 0.5, 2.0], "log_w": [3.0, 2.0, 1.0]}, angle, [0.0, 4.0])
    assert "(share 0.50)" in said and "(0.75)" in said and r"$2 - 2\cos$ to 0e+00" in said
    settings = load_settings("smoke")
    assert f"λ = {prior_weight(settings.explainer_epochs, settings.beta):.2f}" in chapters.fading_said(settings)


# ---- filters ---------------------------------------------------------------------------------------


def test_named_filters_come_from_the_best_fitting_down():
    assignment = torch.tensor([0, -1, 1, 0])
    scores = torch.tensor([[0.5, 0.1], [0.9, 0.9], [0.2, 0.7], [0.6, 0.0]])
    assert filters.best(assignment, scores) == [2, 3, 0]


def test_the_images_that_excite_a_filter_most():
    x = torch.zeros(3, 2, 2, 2)
    x[:, 0, 0, 1] = torch.tensor([1.0, 3.0, 2.0])
    x[:, 1, 1, 0] = torch.tensor([5.0, 4.0, 6.0])
    assert filters.strongest(x, [1, 0], 2).tolist() == [[2, 0], [1, 2]]
    assert filters.strongest(x, [], 2).shape == (0, 2)


def test_what_the_mask_leaves_and_what_the_order_changes():
    z = torch.tensor([[[[2.0, -1.0]], [[1.0, 1.0]]]])
    x = torch.tensor([[[[2.0, 0.0]], [[1.0, 0.0]]]])
    assert "Filter 1, named *ear*. For the median filter, 50% of" in filters.mask_said(1, "ear", z, x)
    unclipped = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])
    said = filters.orders_said(x, x + 0.5, unclipped, z)
    assert "at most 0.5" in said and "75% of what is left" in said


def test_specificity_is_told_by_pairs_of_networks():
    def about(part_specificity, accuracy):
        return {"part_specificity": part_specificity, "accuracy": accuracy}

    found = {"with the filter loss": [about(0.5, 0.9), about(0.25, 0.7)],
             "without": [about(0.25, 0.8), about(0.25, 0.8)]}
    table = filters.specificity_table(found).data
    assert table.loc[("accuracy", "with the filter loss"), :].tolist() == pytest.approx([0.9, 0.7, 0.8])
    said = filters.specificity_said(found)
    assert "In 1 of 2 pairs" in said and "(37.5% against 25.0%)" in said and "no interval" in said
    four = {label: each * 2 for label, each in found.items()}
    assert "no interval" not in filters.specificity_said(four)
    del found["without"]
    assert "no performer without" in filters.specificity_said(found)


# ---- figures ---------------------------------------------------------------------------------------


def test_weights_over_images_come_in_the_order_of_their_medians():
    alpha = torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    (dots,) = figures.weights_over_images(alpha).axes[0].lines
    assert dots.get_ydata().tolist() == [6.0, 2.0]


def test_valleys_show_every_way_and_the_prior_s_line():
    ways = [torch.tensor([[0.1, 1.0], [0.5, 1.5]])]
    left, right = figures.valleys(ways, ways, torch.tensor([2.0, 1.0])).axes
    assert left.lines[1].get_xydata().tolist() == ways[0].double().numpy().tolist()
    assert right.lines[-1].get_xydata().tolist() == [[0, 0], [2, 1]]


def test_weights_through_the_epochs_of_each_fit():
    y = torch.tensor([1.0, 2.0, 3.0])
    fall, level = torch.tensor([3.0, 2.0, 1e-9]), torch.ones(3)
    fits = {"SGD": {0: level, 1: y, 2: fall}, "AdamW": {0: level, 1: level, 2: y}}
    axes = figures.weights_through(fits, y).axes
    assert [ax.get_title() for ax in axes] == [
        "start", "epoch 1: ρ = 1.00", "epoch 2: ρ = −1.00", "start", "epoch 1", "epoch 2: ρ = 1.00"]  # no rank at one level
    assert axes[2].lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axes[2].lines[0].get_ydata() == pytest.approx([3, 2, 3e-3])  # not below a thousandth
    assert len(figures.weights_through(fits, y, (0, -1)).axes) == 4
    plt.close("all")


def test_crushing_shows_weights_against_values_from_step_to_step():
    ways, y, yhat, w = toy()
    ways["SGD"][-1, :, 1] = 0.25
    figure = figures.crushing({"SGD": ways["SGD"]}, y * torch.tensor([3.0, 1.0]), w, steps=(0, -1))
    (ax,) = figure.axes
    start, end, own = ax.lines
    assert start.get_xydata().tolist() == [[2, 1], [6, 1]]  # from the weakest concept to the strongest
    assert end.get_xydata().tolist() == [[2, 0.25], [6, 2]] and own.get_ydata().tolist() == [0.5, 0.5]
    assert ax.get_yscale() == "log" and "H / ln n = " in ax.get_title() + ax.get_title("left")


def test_the_prior_is_drawn_with_the_sum_of_the_falls():
    ax = figures.prior_and_falls(torch.tensor([1.0, 3.0]), torch.tensor([5.0, 5.0]), ["ear", "leg"]).axes[0]
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [[1, 2], [3, 2]]


def test_fading_has_a_line_for_each_beta():
    ax = figures.fading({"one": 10, "two": 0.2}, 25).axes[0]
    assert ax.lines[0].get_ydata()[[0, 3]].tolist() == pytest.approx([10, 5])
    assert ax.lines[1].get_ydata()[99] == pytest.approx(0.02) and ax.get_yscale() == "log"


def test_templates_and_masks_are_what_they_are_given():
    table = torch.arange(8.0).view(2, 2, 2).repeat(2, 1, 1)
    shown = figures.template_row(table, [(0, 1), (1, 1)]).axes
    assert np.array_equal(shown[0].images[0].get_array(), table[1])
    assert np.array_equal(shown[1].images[0].get_array(), table[3])
    assert shown[2].images[0].get_array().max() == -1
    z = torch.tensor([[[2.0, -1.0], [0.0, 1.0]]])
    row = figures.masking(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), z, -z, z / 2).axes
    assert np.array_equal(row[1].images[0].get_array(), z[0].relu())
    assert np.array_equal(row[2].images[0].get_array(), (-z[0]).relu())
    assert np.array_equal(row[3].images[0].get_array(), (z[0] / 2).relu())


def test_scores_and_prior_losses_are_drawn_as_given():
    ax = figures.explained_scores(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.5]),
                                  torch.tensor([True, False]), "dog").axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[1, 1.5]] and ax.lines[1].get_xydata().tolist() == [[2, 2.5]]
    left, right = figures.prior_losses(torch.tensor([0.2, 0.8]), {"log_alpha": [1, 2], "log_w": [3, 4]}, 0.7,
                                       torch.tensor([0.0, math.pi]), [0.0, 4.0]).axes
    assert list(left.lines[0].get_ydata()) == [1, 2] and list(left.lines[1].get_ydata()) == [3, 4]
    assert right.lines[0].get_xdata().tolist() == pytest.approx([0, 180])
