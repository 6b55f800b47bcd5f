"""What an explanation is worth: against planted truths, slow definitions, and explanations known to be wrong."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from semquant import FilterConcepts, OutputConcepts, corrected, distill, own
from semquant.checks import InputError
from semquant.corrected import FIT as QUICK
from semquant.corrected import correct
from semquant.distillation import distill_measured
from semquant.explainers import ExplainerOptions
from semquant.explanation import Explanation
from semquant.losses import Objective
from semquant.measure import measure
from semquant.report import CONSTANT, EQUAL, GRADIENT, MEAN, PRIOR, Report, Row, judge, look
from semquant.training import FitOptions
from semquant.truth import KINDS, coalition_values, planted, removals

N = 4
CPU = FitOptions(device="cpu", epochs=2)
FIT = replace(QUICK, device="cpu", epochs=2)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


class Net(nn.Module):
    """A conv layer, and a planted head on its rectified maps; output 1 is a times its score plus c."""

    def __init__(self, kind="linear", a=1.0, c=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.relu = nn.Conv2d(3, N, 3), nn.ReLU(inplace=True)
        self.head, self.a, self.c = planted(kind, N).head, a, c

    def forward(self, images):
        score = self.head(self.relu(self.layer(images))) * self.a + self.c
        return torch.stack([torch.zeros_like(score), score], dim=1)


def images(count=160, seed=1):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


CONCEPTS = FilterConcepts("layer", rectified=True)


def rows(report):
    return {row.name: row for row in report.rows}


@pytest.mark.parametrize("kind, a, c", [*((kind, 1.0, 0.0) for kind in KINDS), ("cancelling", 1.0, 30.0),
                                        ("saturating", 1.0, -500.0), ("product", 1000.0, 0.0), ("linear", -1.0, -30.0)])
def test_without_options_it_is_as_near_to_the_truth_as_what_is_cheaper_or_says_so(kind, a, c):
    model, test = Net(kind, a, c), images(100, seed=7)
    fitted = distill(model, CONCEPTS, images(), 1)
    x = model.layer(test).relu().detach()
    alone = removals(coalition_values(model.head, x, torch.arange(N)))
    told = " ".join(fitted.report.warnings + fitted.report.caveats).lower()
    explained = fitted.explain(test).contributions
    gradient = measure(FilterConcepts("layer", True, "weighted", clip=False), model, test, 1)
    prior = measure(FilterConcepts("layer", True, clip=False), model, images(), 1)
    slope, _ = np.polyfit((prior.w * prior.y).sum(1).double(), prior.yhat.double(), 1)
    prior = measure(FilterConcepts("layer", True, clip=False), model, test, 1)
    for true in (a * planted(kind, N).shapley(x), a * alone):  # what all sets do, and what each filter does alone
        for name, cheaper in ((GRADIENT, gradient.w * gradient.y), (PRIOR, slope * prior.w * prior.y)):
            found, other = (float((c - true).norm() / true.norm()) for c in (explained, cheaper))
            assert found <= 1.02 * other + 0.01 or name in told, (name, found, other, str(fitted.report))
    assert fitted.report.held_out and fitted.report.images == 32 and fitted.report.fitted == 128


def seen_and_fit(kind="saturating", share=0.25):
    model = Net(kind)
    seen = look(model, CONCEPTS, images(), 1, corrects=True)
    train, test = seen.split(share)
    g, _ = corrected.correct(seen.measured[train], seen.removals[train], fit=replace(corrected.FIT, device="cpu"))

    def explain(measured):
        return Explanation(measured.yhat, measured.y, g.weigh(measured), float(g.bias))

    return model, seen, train, test, explain, judge(explain, seen, share, model, CONCEPTS, 1)


def test_the_numbers_from_their_definitions():
    model, seen, train, test, explain, report = seen_and_fit()
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(160)) and len(test) == 40
    x = model.layer(images()).relu().detach()
    fall = removals(coalition_values(model.head, x, torch.arange(N)))  # (N images, N filters)
    yhat = model(images())[:, 1].detach().double().numpy()
    prior = measure(FilterConcepts("layer", True, clip=False), model, images(), 1)
    prior = (prior.w * prior.y).double().numpy()
    slope, b = np.polyfit(prior[train].sum(1), yhat[train], 1)
    for name, parts, total in ((PRIOR, slope * prior[test], slope * prior[test].sum(1) + b),
                               (MEAN, 0 * prior[test], np.full(len(test), yhat[train].mean())),
                               ("this explanation", explain(seen.measured[test]).contributions.double().numpy(), None)):
        row = rows(report)[name]
        total = parts.sum(1) if total is None else total  # this kind's score is 0 without filters
        y = yhat[test]
        assert row.r2 == pytest.approx(1 - ((y - total) ** 2).sum() / ((y - y.mean()) ** 2).sum(), abs=1e-4)
        assert row.deviation == pytest.approx(abs(y - total).mean() / (y.max() - y.min()), abs=1e-5)
        some, happened = parts[:32], fall[test[:32]].double().numpy()  # all four filters are among the largest
        assert row.one == pytest.approx(np.sqrt(((some - happened) ** 2).mean() / (happened**2).mean()), abs=1e-4)
    assert rows(report)[MEAN].sets == rows(report)[MEAN].one == 1.0


def test_what_sets_do_is_what_the_model_says_without_them():
    """Of a linear head gradient times input foretells all removals, an equal share not."""
    *_, report = seen_and_fit("linear")
    assert rows(report)[GRADIENT].sets < 1e-5 and rows(report)[GRADIENT].rank > 0.999
    assert rows(report)[EQUAL].sets > 0.2


def test_each_image_is_gone_through_once_in_whatever_order():
    model, some = Net("product"), images(128)
    whole = distill(model, CONCEPTS, some, 1, fit=CPU)
    once = distill(model, CONCEPTS, (batch for batch in some.split(64)), 1, fit=CPU)
    for name, tensor in whole.g.state_dict().items():
        assert torch.equal(tensor, once.g.state_dict()[name]), name
    assert whole.report == once.report
    shuffled = DataLoader(TensorDataset(some), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(3))
    seen = look(model, CONCEPTS, shuffled, 1, corrects=True)
    y, kept = seen.measured.y, seen.removals
    expected = y[:, 0] * y[:, 1]  # of sets with both filters the product, of others 0
    both = kept.present[:, :, 0] & kept.present[:, :, 1]
    torch.testing.assert_close(kept.scores, torch.where(both, expected[:, None], 0))
    assert seen.measured.x.numel() == 0
    for image, place in zip(seen.some, seen.order):
        torch.testing.assert_close(model(image)[0, 1].detach(), seen.measured.yhat[place])


def test_what_is_held_out_has_no_part_in_the_fit():
    some, model = images(80), Net("saturating")
    _, test = look(model, CONCEPTS, some, 1, corrects=True).split(CPU.held_out)
    changed = some.clone()
    changed[test] = 0.5 * torch.randn(len(test), 3, 6, 6)
    a, b = (distill(model, CONCEPTS, which, 1, fit=CPU) for which in (some, changed))
    assert all(torch.equal(tensor, b.g.state_dict()[name]) for name, tensor in a.g.state_dict().items())
    assert a.report != b.report and len(test) == 16


@pytest.mark.parametrize("count, share, held", [(100, 0.2, 20), (20, 0.2, 8), (10, 0.2, 5), (3, 0.2, 1), (2, 0.2, 0), (100, 0, 0)])
def test_how_many_are_held_out(count, share, held):
    seen = look(Net(), CONCEPTS, images(count), 1)
    train, test = seen.split(share)
    assert len(test) == held and len(train) == count - held


def test_the_papers_method_is_the_papers_on_all_images():
    model, fit = Net(), replace(CPU, held_out=0.0)
    fitted = distill(model, CONCEPTS, images(40), 1, method="paper", fit=fit)
    plain = distill_measured(measure(CONCEPTS, model, images(40), 1), objective=CONCEPTS.objective, fit=fit)
    assert all(torch.equal(tensor, plain.g.state_dict()[name]) for name, tensor in fitted.g.state_dict().items())
    assert fitted.history == plain.history and fitted.g.positive and not fitted.report.held_out
    assert str(fitted.report).startswith("On the 40 training images themselves: none were held out.")
    assert rows(fitted.report)[CONSTANT].r2 is not None and not fitted.report.rows[0].adds_up


class Attributes(nn.Module):
    def __init__(self, a=1.0, c=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.top, self.shared, self.a, self.c = nn.Conv2d(3, 6, 3), nn.Linear(96, 8), a, c
        self.out = nn.Linear(8, 5)

    def forward(self, images):
        return self.out(self.shared(self.top(images).relu().flatten(1)).relu()) * self.a + self.c


def test_outputs_by_default():
    """Alpha of either sign, b from the data; scores a thousand times as large and shifted change little."""
    concepts, fit = OutputConcepts("shared", "top", list("abcde")), replace(CPU, epochs=3)
    plain, large = (distill(Attributes(a, c), concepts, images(), 1, fit=fit) for a, c in ((1.0, 0.0), (1000.0, 0.0)))
    alpha, other = (fitted.explain(images(9)).alpha for fitted in (plain, large))
    assert bool((alpha < 0).any()) and not plain.g.positive
    torch.testing.assert_close(alpha, other, atol=2e-3, rtol=2e-2)
    assert float(large.g.bias) == pytest.approx(1000 * float(plain.g.bias), rel=0.1)
    assert "Concepts were not removed" in str(plain.report) and plain.report.rows[0].sets is None
    shifted = distill(Attributes(1.0, 30.0), concepts, images(), 1, fit=fit)
    assert 29 < shifted.g.bias < 31 and shifted.explain(images(9)).names == ["a", "c", "d", "e"]


def worth(explain):
    model = Net("linear")
    seen = look(model, CONCEPTS, images(), 1)
    return judge(explain(seen.measured), seen, 0.25, model, CONCEPTS, 1)


def test_what_speaks_against_it_is_said_in_words():
    def hidden(measured):  # all of the score in alpha
        middle = measured.y.mean(0)
        return lambda m: Explanation(m.yhat, m.y, 0.9 * m.yhat[:, None] / (N * middle), 0.1)

    assert any(warning.startswith("alpha explains the score without the concepts: with each concept at its mean R2 is 1.000")
               for warning in worth(hidden).warnings)
    wrong = worth(lambda measured: lambda m: Explanation(m.yhat, m.y, torch.ones_like(m.y), 200.0))
    assert wrong.warnings[0].startswith("it explains the scores no better than the mean score does (R2 −")
    assert any(warning.startswith(f"removing sets of concepts: {GRADIENT} foretells it better (error 0.000 against ")
               or warning.startswith(f"removing sets of concepts: {PRIOR} foretells it better (error 0.000 against ")
               for warning in wrong.warnings)
    assert any(" explains more of the scores (R2 1.000 against −" in warning for warning in wrong.warnings)
    right = worth(lambda measured: lambda m: Explanation(m.yhat, m.y, Net("linear").head.layer.weight.detach() + 0 * m.y,
                                                         float(Net("linear").head.layer.bias)))
    assert right.warnings == [] and right.verdict == "no cheaper explanation is better"


class Around(Net):
    def forward(self, images):
        return super().forward(images) + 50 * images.mean(dim=(1, 2, 3))[:, None]


def test_a_path_around_the_layer_is_told_and_none_of_the_concepts():
    """What comes along it is left unexplained, and so the contributions are right."""
    model, test = Around("linear"), images(30, seed=7)
    fitted = distill(model, CONCEPTS, images(), 1)
    assert any("a path goes around the layer" in warning for warning in fitted.report.warnings)
    assert not fitted.report.rows[0].adds_up and fitted.report.rows[0].sets < 0.01
    found = fitted.explain(test)
    true = planted("linear", N).shapley(model.layer(test).relu().detach())
    torch.testing.assert_close(found.contributions, true, atol=0.02, rtol=0.02)
    path = 50 * test.mean(dim=(1, 2, 3))
    torch.testing.assert_close(found.residual - found.residual.mean(), path - path.mean(), atol=0.1, rtol=0.02)


def test_few_images_are_told():
    report = distill(Net(), CONCEPTS, images(40), 1, fit=CPU).report
    assert report.warnings[-1] == "few images, 32 fitted and 8 judged: all numbers are rough"
    assert any("its R2 is no evidence" in note for note in report.notes) and report.rows[0].adds_up


def test_images_without_a_prior_are_counted():
    seen = look(Net(), CONCEPTS, images(), 1)
    report = judge(lambda m: Explanation(m.yhat, m.y, m.w, 0.0), seen, 0.25, Net(), CONCEPTS, 1, without_prior=13)
    assert "13 of 120 images have no prior: all their weights are 0" in report.warnings


def test_the_worst_is_a_warning_too():
    with pytest.warns(UserWarning, match="^semquant: it explains the scores no better .*report$") as caught:
        fitted = distill(Net(c=900.0), CONCEPTS, images(), 1, method="paper", fit=CPU)
    assert len(caught) == 1 and fitted.report.verdict in repr(fitted) and len(repr(fitted)) < 250
    assert "4 concepts of 'layer', target 1" in repr(fitted)


def test_as_text_html_and_plain_values():
    report = Report([Row("a <b>", 0.5, None, 0.25, rank=-0.125, adds_up=True), Row("other", -1234.5, None, 1.0)], 9, 30,
                    True, ["x & y"], ["* note"])
    assert str(report) == ("On 9 held-out images; fitted to 30 others.\n"
                           "              R2  sets removed    rank\n"
                           "a <b>     0.500*         0.250  −0.125\n"
                           "other  −1.23e+03         1.000       —\n"
                           "* note\nWarning: x & y")
    shown = report._repr_html_()
    assert "<td>a &lt;b&gt;</td><td>0.500*</td>" in shown and "Warning: x &amp; y" in shown and "<b>" not in shown
    assert Report.of(json.loads(json.dumps(report.to_dict()))) == report and report.verdict == "x & y"


def test_nothing_leaks_and_the_same_seed_gives_the_same():
    model, found = Net("product").train(), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        found.append(distill(model, CONCEPTS, images(60), 1, fit=CPU))
        assert torch.equal(state, torch.get_rng_state())
    assert found[0].report == found[1].report and model.training and not model.layer._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert distill(model, CONCEPTS, images(60), 1, fit=replace(CPU, seed=1)).report != found[0].report


class Loud(Net):
    def forward(self, images):
        raise AssertionError("the model was run")


@pytest.mark.parametrize("settings, message", [
    ({"method": "papr"}, "^method: 'papr' is not one of auto, paper, corrected .did you mean paper"),
    ({"method": 3}, "^method: 3 is not one of auto"),
    ({"fit": {"epochs": 3}}, "^fit: dict is not FitOptions, or None"),
    ({"explainer": FitOptions()}, "^explainer: FitOptions is not ExplainerOptions, or None"),
    ({"method": Objective(), "fit": Objective()}, "^fit: Objective is not FitOptions, or None"),
    ({"method": Objective(), "explainer": ExplainerOptions(positive=False)}, "^positive: False does not go"),
    ({"method": "paper", "fit": FitOptions(epochs=0)}, "^epochs: 0 is not a whole number of at least 1"),
    ({"prepare": "normalise"}, "^prepare: str is not a function"),
    ({"target": -1}, "^target: -1 is not a whole number of at least 0"),
    ({"target": 1.5}, "^target: 1.5 is not a whole number"),
    ({"target": 5, "concepts": OutputConcepts("layer", "layer", ["a", "b"])}, "^target: 5 is not a whole number from 0 to 1"),
    ({"concepts": FilterConcepts("layr")}, "^layer: 'layr' is not one of"),
    ({"concepts": "layer"}, "^concepts: str is not FilterConcepts or OutputConcepts"),
    ({"images": 3}, "^images: int is neither a tensor nor a loader"),
    ({"explainer": ExplainerOptions()}, "^explainer: a correction reads no"),
])
def test_what_can_be_checked_is_checked_before_the_model_is_run(settings, message):
    with pytest.raises(InputError, match=message) as error:
        distill(**{"model": Loud(), "concepts": CONCEPTS, "images": images(8), "target": 1, **settings})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings, message", [
    ({"held_out": 1.0}, "^held_out: 1.0 is not a number from 0 to 0.9"), ({"seed": 0.5}, "^seed: 0.5"),
    ({"device": "tpu"}, "^device: 'tpu'"), ({"amp": "yes"}, "^amp: 'yes'"), ({"channels_last": 2}, "^channels_last: 2"),
    ({"progress": True}, "^progress: True is not a label"), ({"checkpoint": "c.pt"}, "^checkpoint: str has no load")])
def test_options_of_a_fit_are_checked_at_once(settings, message):
    with pytest.raises(InputError, match=message):
        FitOptions(**settings)


def test_a_layer_of_one_filter_is_one_line():
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(InputError, match="^layer: '0' has one filter; accepted: two at least, or method='paper'"):
        distill(model, FilterConcepts("0"), images(20), 1)
    assert distill(model, FilterConcepts("0", True), images(20), 1, method="paper", fit=CPU).report.rows[0].sets is None


def test_what_a_correction_does_is_tried_on_images_that_it_has_not_seen():
    measured = measure(FilterConcepts("layer", True, "weighted", clip=False), Net("product"), images(), 1)
    score, some = corrected.of_model(Net("product"), "layer", 1), images()
    seen = corrected.remove(score, [some], N)
    with_it, without = corrected.tried(measured, seen, FIT)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(FIT.seed))
    test, train = order[: len(some) // 5], order[len(some) // 5 :]
    g, _ = correct(measured[train], seen[train], fit=FIT)

    def error(parts):
        wrong = right = 0.0
        for i, each in zip(test.tolist(), parts):
            for present, score in zip(seen.present[i], seen.scores[i]):
                happened = float(score - seen.empty[i])
                wrong += (sum(float(v) for v, there in zip(each, present) if there) - happened) ** 2
                right += happened**2
        return (wrong / right) ** 0.5

    assert with_it == pytest.approx(error(g.weigh(measured[test]) * measured.y[test]), rel=1e-4)
    plain = (measured.w * measured.y)[test]
    left = measured.yhat[test] - seen.empty[train].mean() - plain.sum(dim=1)
    assert without == pytest.approx(error(plain + left[:, None] * plain.abs() / plain.abs().sum(dim=1, keepdim=True)), rel=1e-4)
    assert corrected.tried(measured[:4], seen[:4], FIT) is None


def test_a_correction_that_does_harm_is_left_out_by_default(monkeypatch):
    asked = []

    def harmful(*args, **options):
        g, history = correct(*args, **options)
        with torch.no_grad():
            g.net[-1].bias += 5 * torch.randn(N, generator=torch.Generator().manual_seed(0))
        asked.append(len(args[0]))
        return g, history

    monkeypatch.setattr(own, "correct", harmful)
    monkeypatch.setattr(corrected, "correct", harmful)
    forced = distill(Net("linear"), CONCEPTS, images(), 1, method="corrected", fit=CPU)
    default = distill(Net("linear"), CONCEPTS, images(), 1, fit=CPU)
    assert not any("left out" in note for note in forced.report.notes) and forced.report.rows[0].sets > 0.05
    assert default.report.notes[-1].startswith("The correction is left out: tried on a fifth of the images of the fit it did harm")
    assert default.report.rows[0].sets < 1e-3 and not any(p.any() for p in default.g.net[-1].parameters())
    assert asked[-1] == asked[-2] - asked[-2] // 5  # none of those that the report is of


def test_a_correction_that_helps_is_kept():
    fitted = distill(Net("product"), CONCEPTS, images(), 1)
    assert fitted.g.net[-1].weight.any() and not any("left out" in note for note in fitted.report.notes)


def test_a_few_images_have_no_correction():
    report = distill(Net("product"), CONCEPTS, images(8), 1, fit=CPU).report
    assert "The correction is left out: there are too few images to try one." in report.notes


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_called_best_that_the_table_has_a_better_one_of(kind):
    report = distill(Net(kind), CONCEPTS, images(), 1).report
    own, *others = report.rows
    better = [row.name for row in others for name in ("sets", "one") if getattr(row, name) is not None
              and getattr(own, name) > 1.02 * getattr(row, name) + 0.005]
    better += [row.name for row in others if row.rank is not None and own.rank is not None and own.rank < row.rank - 0.05]
    assert (report.verdict == "no cheaper explanation is better") == (not better), (better, str(report))


class Faint(Net):
    def __init__(self, share):
        super().__init__("linear")
        self.share = share

    def forward(self, images):
        return super().forward(images) + self.share * 50 * images.mean(dim=(1, 2, 3))[:, None]


def test_a_faint_path_around_the_layer_is_told_wherever_nothing_is_handed_out():
    shares = (0.001, 0.1, 0.3, 1.0)
    fitted = [distill(Faint(share), CONCEPTS, images(), 1, fit=CPU) for share in shares]
    told = [any("a path goes around" in text for text in one.report.warnings) for one in fitted]
    assert told == [not one.g.settings["complete"] for one in fitted] and told[0] is False and told[-1] is True
