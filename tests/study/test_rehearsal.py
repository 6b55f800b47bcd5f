"""The dry run of a preset, at a size that takes seconds."""

import json

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant_book.datasets.names import ARCHITECTURES
from semquant_book.press.cli import main
from semquant_book.study import rehearsal
from semquant_book.study.presets import load_settings

SMALL = dict(size=64, face_size=32, width=0.0625, face_width=0.0625, face_fc=16, batch_norm=True,
             weights="fresh", explainer="small", workers=0, threads=1)


@pytest.fixture(scope="module")
def content():
    said = []
    found = rehearsal.rehearse(load_settings("paper", **SMALL), say=said.append)
    assert said[0].startswith("no folder of photographs")
    return found


def test_every_network_of_both_experiments_takes_a_step(content):
    steps = [rehearsal.Step(**step) for step in content["steps"]]
    assert [(s.experiment, s.network) for s in steps] == [
        *((1, name) for a in ARCHITECTURES for name in (a, f"g ({a})")), (2, "vgg16"), (2, "g (vgg16)")]
    assert all(s.flops > 0 and s.parameters > 0 and s.step_memory > 12 * s.parameters for s in steps)
    assert steps[0].input == [3, 64, 64] and steps[0].maps == [16, 8, 8]
    assert steps[1].input == [16, 8, 8] and steps[1].output == [16]
    assert steps[-2].output == [40] and steps[-1].output == [39]


def test_the_full_size_networks_have_as_many_parameters_as_published():
    found = {a: rehearsal._published(a) for a in ARCHITECTURES}
    assert found["alexnet"]["published"] == found["alexnet"]["counted"] == 60_965_224
    assert found["vgg16"]["published"] == found["vgg16"]["counted"] == 138_357_544
    # no count is published of these two: the table of layers, added up by hand
    vgg = (7 * 7 * 3 * 96 + 96) + (5 * 5 * 96 * 256 + 256) + (9 * 256 * 512 + 512) \
        + 2 * (9 * 512 * 512 + 512) + (36 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) \
        + (4096 * 1000 + 1000)
    assert [found[a]["counted"] for a in ("vgg_m", "vgg_s")] == [vgg, vgg]
    assert found["vgg_m"]["published"] is None
    with torch.device("meta"):
        assert rehearsal._size(rehearsal._whole_resnet()) == rehearsal.PUBLISHED["resnet152"]


def test_operations_and_memory_are_those_of_a_step_counted_by_hand():
    """Forward 2 B i o, backward the same twice, but once for the first layer."""
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    with rehearsal._watched() as found:
        net(torch.randn(3, 10)).sum().backward()
    assert found["flops"] == 3 * (2 * (2 * 10 * 20) + 3 * (2 * 20 * 5))
    # kept: both layers' inputs, of which the second is the ReLU's output; the second's weights
    assert found["kept"] == 4 * (3 * 10 + 3 * 20 + 20 * 5)


def test_operations_of_a_grouped_convolution_are_counted_by_group():
    """An output number takes 3 x 3 x (8 / 2) products; backward that for input and weights."""
    conv = nn.Conv2d(8, 6, 3, padding=1, groups=2)
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    with rehearsal._watched() as found:
        conv(x).sum().backward()
    assert found["flops"] == 3 * (2 * 2 * 6 * 25 * 9 * 4)


def test_hours_follow_from_passes_and_operations(content):
    first = rehearsal.Step(**content["steps"][0])
    assert first.hours(1.0) == pytest.approx(first.passes * first.flops / 1e12 / 3600)
    # six categories, with and without filter loss; 80 % of 1,000 negatives and 3,000 positives
    assert first.passes == pytest.approx(6 * 2 * 50 * 0.8 * 4000)
    settings = load_settings("paper", **SMALL)
    text = rehearsal.report(content, settings, 40.0)
    assert "60965224 / 60965224" in text and "- / 102908520" in text
    assert "x of all images, vgg16, experiment 2: " in text
    half = rehearsal.report(content, settings, 80.0)
    hours = [float(t.partition("all training: ")[2].split()[0]) for t in (text, half)]
    assert hours[0] == pytest.approx(2 * hours[1], abs=0.1)


def test_celeba_at_full_size_takes_81_gigabytes():
    assert 4 * sum(rehearsal.FACES) * 512 * 14 * 14 == pytest.approx(81.3e9, rel=1e-3)


def test_a_preset_of_drawings_is_refused(capsys):
    assert main(["check", "--preset", "quick"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("semquant: preset: quick is one of drawings; accepted:")
    assert main(["check", "--tflops", "0"]) == 1
    with pytest.raises(InputError, match="^data: .*nowhere"):
        rehearsal.rehearse(load_settings("paper", **SMALL), "/nowhere")


def test_the_record_is_plain(content):
    assert json.loads(json.dumps(content))["photographs"] is False
