"""Measuring many images: from any source, for several targets, in little memory."""

import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from semquant import rows
from semquant.checks import InputError, check_finite
from semquant.concepts import FilterConcepts, OutputConcepts
from semquant.corrected import Correction
from semquant.distillation import FittedExplainer, distill
from semquant.explanation import grad_cam
from semquant.images import Images
from semquant.losses import Objective
from semquant.measure import measure, measure_many, measured_batches, survey
from semquant.rows import Gathered
from semquant.training import FitOptions


class Net(nn.Module):
    """Counts its passes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 3, stride=2)
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 6), nn.ReLU(),
                                  nn.Linear(6, 3))
        self.categories, self.passes, self.images = ["cat", "dog", "owl"], 0, 0

    def forward(self, images):
        self.passes, self.images = self.passes + 1, self.images + len(images)
        return self.head(self.layer(images))


FILTERS = FilterConcepts("layer", positions="weighted", clip=False)
OUTPUTS = OutputConcepts("head.2", "layer")
IMAGES = torch.rand(23, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def same(found, expected):
    for name in ("x", "y", "yhat", "w"):
        got, right = getattr(found, name), getattr(expected, name)
        assert (got is None and right is None) or torch.equal(got[:], right[:]), name


def test_sources_are_measured_as_their_tensor():
    net = Net()
    expected = measure(FILTERS, net, IMAGES, 1, batch_size=6)
    loader = DataLoader(TensorDataset(IMAGES), batch_size=6)
    for source in (loader, list(IMAGES.split(6)), iter(IMAGES.split(6)), list(IMAGES), IMAGES.numpy(),
                   Images({"image": IMAGES}), (batch for batch in loader)):
        same(measure(FILTERS, net, source, "dog", batch_size=6), expected)
    same(measure(FILTERS, net, IMAGES[0], 1), measure(FILTERS, net, IMAGES[:1], 1))
    same(measure(FILTERS, nn.DataParallel(net), IMAGES, "dog", batch_size=6), expected)
    pictures = (IMAGES * 255).byte()
    same(measure(FILTERS, net, pictures, 1), measure(FILTERS, net, pictures / 255, 1))
    assert grad_cam(net, "layer", loader, "owl").equal(grad_cam(net, "layer", IMAGES, 2, batch_size=6))


def test_rows_that_are_no_tensor_can_be_computed_anew():
    net = Net()
    expected = measure(FILTERS, net, IMAGES, 1)
    for source in (list(IMAGES), IMAGES.numpy(), TensorDataset(IMAGES), Images(IMAGES.numpy(), size=9)):
        found = measure(FILTERS, net, source, 1, keep_x=False)
        assert isinstance(found.x, rows.Computed)
        torch.testing.assert_close(found.x[3:5], expected.x[3:5])


EACH = [0, 2, 1, 1, 0, 2, 2, 0, 1, 0, 0, 2, 1, 2, 0, 1, 1, 2, 0, 2, 0, 1, 2]


@pytest.mark.parametrize("target", [EACH, torch.tensor(EACH), np.array(EACH), ["cat", "owl", *EACH[2:]]])
def test_each_image_may_have_its_own_target(target):
    net = Net()
    found = measure(FILTERS, net, IMAGES, target, batch_size=6)
    for k in range(3):
        its, whole = torch.tensor(EACH) == k, measure(FILTERS, net, IMAGES, k, batch_size=6)
        same(found[its], whole[its])


@pytest.mark.parametrize("concepts", [FILTERS, FilterConcepts("layer"), OUTPUTS])
@pytest.mark.parametrize("prior, keep_x", [(True, True), (False, True), (True, False)])
def test_several_targets_take_one_pass(concepts, prior, keep_x):
    net = Net()
    found = measure_many(concepts, net, IMAGES, [2, "cat", np.int64(1)], prior, batch_size=6, keep_x=keep_x)
    assert net.passes == 4 and list(found) == [2, "cat", 1]
    for target, measured in found.items():
        same(measured, measure(concepts, net, IMAGES, target, prior, batch_size=6, keep_x=keep_x))
        assert measured.x is found[2].x
        single, = concepts.measure_many(net, IMAGES, [target], prior)
        same(single, concepts.measure(net, IMAGES, target, prior))


def test_batches_are_measured_one_by_one():
    batches = list(measured_batches(FILTERS, Net(), IMAGES, 1, batch_size=6))
    assert [len(part) for _, part in batches] == [6, 6, 6, 5]
    assert torch.cat([batch for batch, _ in batches]).equal(IMAGES)


def no_pass():
    raise AssertionError("read before everything was checked")
    yield


@pytest.mark.parametrize("call, message", [
    (lambda net: measure(FILTERS, net, no_pass(), 1, prepare="half"), "^prepare: str can't be called"),
    (lambda net: measure(FILTERS, net, no_pass(), 1, batch_size=0), "^batch_size: 0"),
    (lambda net: measure(FILTERS, net, no_pass(), -1), "^target: -1"),
    (lambda net: measure(FILTERS, net, no_pass(), "lion"), "^target: 'lion' is not one of cat"),
    (lambda net: measure(FILTERS, net, no_pass(), 1, keep_x=False), "^keep_x: False needs images whose"),
    (lambda net: measure(FilterConcepts("x"), net, no_pass(), 1), "^layer: 'x' is not"),
    (lambda net: measure(FILTERS, net, IMAGES, [0, 1]), "^target: 2 were given for 23 images"),
    (lambda net: measure(OUTPUTS, net, no_pass(), [0, 1]), "^target: one for each image goes with filters"),
    (lambda net: measure_many(FILTERS, net, no_pass(), []), "^targets: none were given"),
    (lambda net: measure_many(FILTERS, net, no_pass(), [0, 1.5]), "^target: 1.5 is not"),
    (lambda net: distill(net, FILTERS, no_pass(), [0, 1]), "^target: 2 outputs is not a whole number"),
    (lambda net: distill(net, FILTERS, no_pass(), True), "^target: True"),
])
def test_what_can_be_checked_is_checked_before_a_pass(call, message):
    net = Net()
    with pytest.raises(InputError, match=message) as error:
        call(net)
    assert net.passes == 0 and "\n" not in str(error.value)


@pytest.mark.parametrize("count", [22, 24])
def test_targets_and_images_of_a_loader_are_counted(count):
    with pytest.raises(InputError, match=f"^target: (4 were given for 5 images|{count} were given for 23)"):
        measure(FILTERS, Net(), iter(IMAGES.split(6)), [0] * count)


def test_a_fit_takes_a_name_and_shows_its_progress_while_measuring(monkeypatch):
    seen = []
    monkeypatch.setattr(Images, "batches", lambda self, size=64, read=Images.batches: (
        seen.append(self.progress), read(self, size))[1])
    fit = FitOptions(epochs=1, device="cpu", progress="a fit")
    fitted = distill(Net(), FILTERS, IMAGES, "dog", method="corrected", fit=fit)
    assert fitted.target == 1 and seen.count("a fit") == 1  # the images are gone through once
    seen.clear()
    distill(Net(), FILTERS, IMAGES, 1, method="corrected", fit=FitOptions(epochs=1, device="cpu"))
    assert set(seen) == {None}


def test_a_fit_without_maps_in_memory_is_the_same():
    net, fitted, passes = Net(), [], []
    for keep_x in (True, False):
        before = net.images
        fit = FitOptions(epochs=2, batch_size=8, device="cpu", keep_x=keep_x)
        fitted.append(distill(net, FILTERS, list(IMAGES), 1, method=Objective(loss="l2"), fit=fit))
        passes.append(net.images - before)
    assert passes[1] - passes[0] >= 2 * 15  # two epochs of what is not held out
    found, expected = (one.explain(IMAGES).contributions for one in fitted)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_explaining_keeps_no_maps():
    """Of all maps that are measured no more than two batches are alive at once."""
    net, alive, most = Net(), weakref.WeakSet(), 0

    class Watched(FilterConcepts):
        def measure(self, *arguments):
            nonlocal most
            found = super().measure(*arguments)
            alive.add(found.x)
            most = max(most, len(alive))
            return found

    fitted = FittedExplainer(Correction(5, 4), model=net, concepts=Watched("layer"), target=1)
    found = fitted.explain(iter(IMAGES.split(2)))
    assert most <= 2
    whole = fitted.explain_measured(measure(fitted.concepts, net, IMAGES, 1, batch_size=2))
    torch.testing.assert_close(found.contributions, whole.contributions)
    assert found.names == whole.names and found.yhat.equal(whole.yhat)


@pytest.mark.parametrize("expected", [None, 9, 12, 5])
def test_gathered_is_what_was_added(expected, monkeypatch):
    monkeypatch.setattr(rows, "PIECE", 150)  # a piece holds a few rows
    parts = [torch.rand(n, 2, 4, 3) for n in (4, 1, 4)]
    last = [part.to(memory_format=torch.channels_last) for part in parts]
    gathered = Gathered(expected)
    for part, turned in zip(parts, last):
        gathered.add({"x": part, "turned": turned, "y": part[:, 0, 0, 0].half(), "w": None})
    found = gathered.whole()
    assert found["x"].equal(torch.cat(parts)) and found["w"] is None
    assert found["turned"].equal(found["x"]) and found["turned"].stride() == torch.cat(last).stride()
    assert found["y"].dtype == torch.float16 and found["y"].shape == (9,)


def test_finite_numbers_are_told_from_others():
    for good in (torch.ones(3), torch.zeros(0), torch.tensor(3), torch.ones(2, dtype=torch.bool)):
        check_finite(t=good)
    for bad in (float("nan"), float("inf"), -float("inf")):
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            with pytest.raises(InputError, match="^t: 1 of 3 values are NaN or infinite$"):
                check_finite(t=torch.tensor([1.0, bad, 2.0], dtype=dtype))


def test_a_survey_reads_any_source():
    net = Net()
    expected, found = survey(OUTPUTS, net, IMAGES), survey(OUTPUTS, net, list(IMAGES))
    assert all(getattr(found, name).equal(getattr(expected, name)) for name in ("x", "scores", "products"))
    same(found.about(np.int64(1)), expected.about(1))
