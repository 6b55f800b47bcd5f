"""Rows that are not in memory give the same numbers as those that are."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fits import distill_measured
from semquant import rows
from semquant.checks import InputError
from semquant.concepts import FilterConcepts, OutputConcepts
from semquant.measure import measure, survey
from semquant.training import TensorBatches
from semquant_book.datasets import decoded


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 3, stride=2)
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 6), nn.ReLU(),
                                  nn.Linear(6, 3))

    def forward(self, images):
        return self.head(self.layer(images))


def images(count=23):
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def read(path, size):
    """A picture of one colour is enough."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB").resize((size, size)))


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for i in range(11):
        path = tmp_path / f"{i:02d}.png"
        Image.new("RGB", (8, 8), (20 * i, 5, 255 - i)).save(path)
        paths.append(path)
    return paths


def kinds():
    """The same maps in memory and computed."""
    net, shown = Net().eval(), images()
    maps = net.layer(shown).detach()
    return maps, rows.Computed(shown, net.layer, maps.shape)


def test_any_index_gives_what_it_gives_of_a_tensor():
    maps, other = kinds()
    odd = torch.arange(len(maps)) % 2 == 1
    assert len(other) == len(maps) and other.shape == tuple(maps.shape)
    for index in (slice(3, 20, 4), torch.tensor([7, 0, 7]), odd, slice(0, 0), [4, 1]):
        torch.testing.assert_close(other[index], maps[index], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.cat(list(other.split(7))), maps, rtol=1e-5, atol=1e-6)


def test_pictures_are_decoded_when_asked_for(pictures):
    shown = decoded.Decoded(pictures, 4, read)
    whole = torch.stack([torch.from_numpy(read(p, 4)).permute(2, 0, 1) for p in pictures])
    assert torch.equal(shown[:], whole) and shown[:].dtype == torch.uint8
    chosen = torch.tensor([5, 2])
    assert torch.equal(decoded.subset(shown, chosen)[:], whole[chosen])
    assert torch.equal(decoded.join([shown, decoded.subset(shown, chosen)])[:],
                       decoded.join([whole, decoded.subset(whole, chosen)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_wherever_the_rows_are(pictures, workers):
    shown = decoded.Decoded(pictures, 4, read)
    y = torch.arange(len(shown))

    def epochs(x, workers):
        torch.manual_seed(4)
        batches = TensorBatches(x, y, batch_size=3, flip=True, workers=workers)
        return [batch for _ in (1, 2) for batch in batches], torch.rand(1)

    expected, after = epochs(shown[:], 0)
    # 11 = 3 + 3 + 3 + 2; flips are drawn behind the order, whoever fetches
    assert [len(x) for x, _ in expected] == [3, 3, 3, 2] * 2
    found, left = epochs(shown, workers)
    assert torch.equal(left, after)  # no number was drawn beside
    for (x, i), (x_expected, i_expected) in zip(found, expected, strict=True):
        assert torch.equal(i, i_expected) and torch.equal(x, x_expected)


def test_computed_rows_reach_batches_by_way_of_their_images():
    maps, computed = kinds()
    for workers in (0, 2):
        torch.manual_seed(4)
        for x, i in TensorBatches(computed, torch.arange(len(maps)), batch_size=6, workers=workers):
            torch.testing.assert_close(x, maps[i], rtol=1e-5, atol=1e-6)


def test_a_picture_that_a_worker_cannot_read_is_one_line(pictures):
    def refuse(path, size):
        raise InputError("not readable: truncated")

    for workers in (0, 1):
        batches = TensorBatches(decoded.Decoded(pictures, 4, refuse), batch_size=11, workers=workers)
        with pytest.raises(InputError) as error:
            list(batches)
        assert "can't be used (not readable: truncated)" in str(error.value)
        assert str(error.value).startswith("data: ") and "\n" not in str(error.value)


def test_no_worker_outlives_its_batches(pictures):
    shown = decoded.Decoded(pictures, 4, read)

    def workers():
        return {process.pid for process in multiprocessing.active_children()}

    for _ in range(3):
        before = workers()
        batches = TensorBatches(shown, batch_size=3, workers=1)
        assert len(list(batches)) == 4
        (mine,) = workers() - before
        del batches  # not the garbage collector's work: a run makes many fits
        assert mine not in workers()


def test_an_explainer_is_the_same_when_x_is_computed_anew():
    concepts, net = FilterConcepts("layer"), Net()
    settings = dict(epochs=2, batch_size=8, device="cpu", seed=3)
    expected = measure(concepts, net, images(), 1, batch_size=10)
    found = measure(concepts, net, images(), 1, batch_size=10, keep_x=False)
    assert isinstance(found.x, rows.Computed)
    for name in ("y", "yhat", "w"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    said = [distill_measured(m, **settings).explain_measured(m) for m in (expected, found)]
    torch.testing.assert_close(said[1].contributions, said[0].contributions, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[torch.tensor([2, 5])].y, expected.y[[2, 5]])


def test_a_survey_is_the_same_when_x_is_computed_anew():
    concepts, net = OutputConcepts("head.2", "layer"), Net()
    expected = survey(concepts, net, images(), batch_size=10)
    found = survey(concepts, net, images(), batch_size=10, keep_x=False)
    torch.testing.assert_close(found.about(0).x[:], expected.x)
    assert torch.equal(found.about(0).w, expected.about(0).w)


def test_a_loader_of_unknown_length_needs_memory():
    with pytest.raises(InputError, match="^keep_x: False needs images whose number is known"):
        measure(FilterConcepts("layer"), Net(), iter([images()]), 0, keep_x=False)
