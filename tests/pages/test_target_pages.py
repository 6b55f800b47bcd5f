"""What the pages of the targets show: hand-made explanations, and one small run."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from semquant.explanation import Explanation
from semquant_book import figures
from semquant_book.datasets.names import ATTRIBUTES, label
from semquant_book.pages import drawn_faces, targets
from semquant_book.study import experiment2
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import load_settings

NAMES = ["Bald", "Bangs", "Smiling"]


@pytest.fixture(autouse=True, scope="module")
def style():
    figures.use_style()
    yield
    plt.close("all")
    plt.rcdefaults()


@pytest.fixture
def explained():
    """Contributions (2, -1, 1) and (1, 1, 0) by ours; (0, 4, 0) and (0, -2, 2) by the baseline."""
    y = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, -1.0]])
    ours = torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 0.0]])
    other = torch.tensor([[0.0, -4.0, 0.0], [0.0, -2.0, -2.0]])
    return {name: Explanation(torch.tensor([1.0, -1.0]), y, alpha, 0.0, NAMES)
            for name, alpha in (("ours", ours), ("baseline", other))}


def test_faces_that_the_network_gets_right_come_first():
    yhat = torch.tensor([1.0, 2.0, -1.0, 3.0, -2.0, -3.0])
    labels = torch.tensor([False, True, True, True, False, False])
    shown = Explanation(yhat, torch.ones(6, 1), torch.ones(6, 1), 0.0)
    assert targets.faces_to_show(shown, labels) == [1, 3, 4, 5]
    assert targets.faces_to_show(shown, labels, each=3) == [1, 3, 0, 4, 5, 2]  # wrong ones fill up
    assert targets.faces_to_show(shown[:2], labels[:2]) == [1, 0]  # there is none without


def test_shares_by_hand(explained):
    drops = torch.tensor([[3.0, -1.0, 0.0]])
    table = targets.shares(explained, drops, keep=0)
    assert list(table.index) == ["Bald", "Bangs", "Smiling"]
    assert table.ours.tolist() == pytest.approx([0.5, 0.375, 0.125])
    assert table.baseline.tolist() == pytest.approx([0, 0.75, 0.25])
    assert table.flipping.tolist() == pytest.approx([0.75, 0.25, 0])
    assert "flipping" not in targets.shares(explained, torch.empty(0, 3), keep=0)
    assert list(targets.shares(explained, drops, keep=2, most=2).index) == ["Bald", "Smiling"]
    assert list(targets.shares(explained, drops, keep=1, most=2).index) == ["Bald", "Bangs"]


def test_one_attribute_as_a_reason_by_hand(explained):
    drops = torch.tensor([[3.0, -1.0, 0.0]])  # of the first face alone
    table = targets.one_concept(explained, drops, 1).data
    assert table.loc["ours"].tolist() == ["+0.00", "37.5%", 2, "100%"]  # of contributions -1 and 1
    assert table.loc["baseline"].tolist() == ["+1.00", "75.0%", 1, "0%"]
    assert table.loc["flipping it in the drawing"].tolist() == ["−1.00", "25.0%", 2, "100%"]
    without = targets.one_concept(explained, torch.empty(0, 3), 1).data
    assert list(without.index) == ["ours", "baseline"]
    assert without["faces with the sign of flipping"].tolist() == ["—", "—"]


def test_the_place_of_an_attribute(explained):
    assert targets.place(explained["ours"], "Smiling") == 2
    assert targets.place(explained["baseline"], "Male") == 1  # the target itself: the strongest reason


def test_names_marked_in_the_bars(explained):
    figure = targets.share_bars(explained, torch.empty(0, 3), 1)
    bold = [t.get_text() for t in figure.axes[0].get_yticklabels() if t.get_weight() == "bold"]
    assert bold == ["Bangs"]


def test_the_performer_in_words(monkeypatch):
    about = {"parameters": 1234, "seconds": 3.2, "metrics": {
        "test_images": 2000, "rate": {"Male": 0.42}, "accuracy": {"Male": 0.953},
        "balanced_accuracy": {"Male": None}}}
    settings = SimpleNamespace(faces="drawn", weights="fresh", face_size=64)
    monkeypatch.setattr(targets, "faces_of", lambda settings, split: range(12_000))
    run = SimpleNamespace(settings=settings, target="Male", record=lambda: about)
    said = targets.performer(run, "Male")
    assert said == ("1,234 parameters, trained from scratch in 3 s on 12,000 drawn faces of 64x64 "
                    "pixels. On 2,000 test faces, of which 42% have this attribute, it is right in **95.3%**.")
    about["metrics"]["balanced_accuracy"]["Male"] = 0.9
    assert targets.performer(run, "Young").startswith("**This page was run for another target than its own: Male.**")
    assert "(balanced over both answers 90.0%)" in targets.performer(run, "Male")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        settings = load_settings("smoke", targets=["Male"], face_train_images=40, face_val_images=24,
                                 face_test_images=24, explainer_seeds=1, flip_faces=2)
        yield experiment2.Run(settings, "Male")


def test_a_target_in_one_table_makes_what_is_missing(run):
    table = targets.side_by_side(run).data
    ours, equal = run.explainer_record("ours")["metrics"], run.measured("test").y
    assert table.at["ours, g started near zero", "relative deviation"] == f"{ours['deviation']:.3f}"
    assert table.at["baseline, g started as torch does", "H"] == \
        f"{run.explainer_record('baseline', 'default')['metrics']['entropy']:.3f}"
    shares = equal.abs() / equal.abs().sum(dim=1, keepdim=True)
    assert table.at["equal weights, y", "H"] == f"{float(-(shares * shares.log()).sum(dim=1).mean()):.3f}"
    assert {"concepts of another face", "one constant concept", "prior permuted"} <= set(table.index)


def test_the_worst_faces_and_what_the_prior_does_are_drawn(run):
    both = {method: run.explain(method) for method in ("ours", "baseline")}
    figure = targets.worst(run, both["ours"], 3, count=2)
    first = int(both["ours"].residual.abs().argmax())
    assert len(figure.axes[0].texts) == 2
    assert figure.axes[0].texts[0].get_text().endswith(f"y {float(both['ours'].y[first, 3]):.1f}".replace("-", "−"))
    w = run.measured("test").w
    drawn = targets.what_the_prior_does(run, both, w, 3)
    cosine = torch.nn.functional.cosine_similarity(both["ours"].alpha, w).mean()
    assert f"ours: cosine {float(cosine):.2f}".replace("-", "−") == drawn.axes[0].get_title(loc="left")
    assert drawn.axes[0].get_legend().get_texts()[0].get_text() == label(both["ours"].names[3])
    assert drawn.axes[2].get_yscale() == "log" and len(drawn.axes[2].lines) == 2 and len(drawn.axes[3].lines) == 1


def test_photographs_have_no_drops(run):
    photographed = replace(run, settings=replace(run.settings, faces="celeba"))
    assert photographed.change_of_score().shape == (0, 39)


def test_the_drawings_beside_celeba(run):
    drawn = faces_of(run.settings, "train")
    said = drawn_faces.differences(drawn)
    rates = drawn.attributes.float().mean(dim=0).tolist()
    gaps = [abs(rate - drawn_faces.attributes.RATES[name]) for rate, name in zip(rates, ATTRIBUTES)]
    assert f"by {sum(gaps) / 40:.3f} on average, at most {max(gaps):.3f}" in said
    pairs = drawn_faces.pairs(drawn).data
    male, lipstick = (drawn.attributes[:, ATTRIBUTES.index(n)].double() for n in ("Male", "Wearing_Lipstick"))
    here = float(torch.corrcoef(torch.stack([male, lipstick]))[0, 1])
    assert pairs.at["Male, wearing lipstick", "drawn"] == f"{here:.2f}".replace("-", "−")
    table = drawn_faces.given_away(drawn, faces_of(run.settings, "test")).data
    assert list(table.columns) == ["always the likelier answer", "from the 36 local attributes", "from all 39 others"]
    truth = faces_of(run.settings, "test").attributes[:, ATTRIBUTES.index("Male")].float().mean()
    assert table.at["Male", "always the likelier answer"] == f"{100 * max(float(truth), 1 - float(truth)):.1f}%"
