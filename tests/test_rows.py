"""Rows that are not in memory give the same numbers as those that are."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from semquant import rows
from semquant.checks import InputError
from semquant.concepts import FilterConcepts, OutputConcepts, measure_batches, survey_batches
from semquant.distillation import distill_measured
from semquant.training import TensorBatches


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


def kinds(tmp_path):
    """The same maps in memory, in a file and computed."""
    net, shown = Net().eval(), images()
    maps = net.layer(shown).detach()
    mapped = rows.Mapped(tmp_path / "x", maps.shape)
    for some in maps.split(10):
        mapped.append(some)
    return maps, mapped, rows.Computed(shown, net.layer, maps.shape)


def test_any_index_gives_what_it_gives_of_a_tensor(tmp_path):
    maps, *others = kinds(tmp_path)
    odd = torch.arange(len(maps)) % 2 == 1
    for other in others:
        assert len(other) == len(maps) and other.shape == tuple(maps.shape)
        for index in (slice(3, 20, 4), torch.tensor([7, 0, 7]), odd, slice(0, 0), [4, 1]):
            torch.testing.assert_close(other[index], maps[index], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(torch.cat(list(other.split(7))), maps, rtol=1e-5, atol=1e-6)


def test_a_file_is_read_again_and_its_size_is_checked(tmp_path):
    maps, *_ = kinds(tmp_path)
    assert torch.equal(rows.Mapped(tmp_path / "x", maps.shape)[:], maps)
    with pytest.raises(InputError, match=r"x has 7360 bytes; accepted: 7040, of shape \(22, 5, 4, 4\)"):
        rows.Mapped(tmp_path / "x", (22, *maps.shape[1:]))
    with pytest.raises(InputError, match="can't be written"):
        rows.Mapped(tmp_path / "no" / "x", maps.shape)


def test_pictures_are_decoded_when_asked_for(pictures):
    decoded = rows.Decoded(pictures, 4, read)
    whole = torch.stack([torch.from_numpy(read(p, 4)).permute(2, 0, 1) for p in pictures])
    assert torch.equal(decoded[:], whole) and decoded[:].dtype == torch.uint8
    chosen = torch.tensor([5, 2])
    assert torch.equal(rows.subset(decoded, chosen)[:], whole[chosen])
    assert torch.equal(rows.join([decoded, rows.subset(decoded, chosen)])[:],
                       rows.join([whole, rows.subset(whole, chosen)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_wherever_the_rows_are(tmp_path, workers):
    maps, mapped, _ = kinds(tmp_path)
    y = torch.arange(len(maps))

    def epochs(x, workers):
        torch.manual_seed(4)
        batches = TensorBatches(x, y, batch_size=6, flip=True, workers=workers)
        return [batch for epoch in (1, 2) for batch in batches(epoch)], torch.rand(1)

    expected, after = epochs(maps, 0)
    # 23 = 6 + 6 + 6 + 5; flips are drawn behind the order, whoever fetches
    assert [len(x) for x, _ in expected] == [6, 6, 6, 5] * 2
    found, left = epochs(mapped, workers)
    assert torch.equal(left, after)  # no number was drawn beside
    for (x, i), (x_expected, i_expected) in zip(found, expected, strict=True):
        assert torch.equal(i, i_expected) and torch.equal(x, x_expected)


def test_computed_rows_reach_batches_by_way_of_their_images(tmp_path):
    maps, _, computed = kinds(tmp_path)
    for workers in (0, 2):
        torch.manual_seed(4)
        for x, i in TensorBatches(computed, torch.arange(len(maps)), batch_size=6,
                                  workers=workers)(1):
            torch.testing.assert_close(x, maps[i], rtol=1e-5, atol=1e-6)


def test_a_picture_that_a_worker_cannot_read_is_one_line(pictures):
    def refuse(path, size):
        raise InputError("not readable: truncated")

    for workers in (0, 1):
        batches = TensorBatches(rows.Decoded(pictures, 4, refuse), batch_size=11, workers=workers)
        with pytest.raises(InputError) as error:
            list(batches(1))
        assert "can't be used (not readable: truncated)" in str(error.value)
        assert str(error.value).startswith("data: ") and "\n" not in str(error.value)


def test_no_worker_outlives_its_batches(tmp_path):
    _, mapped, _ = kinds(tmp_path)

    def workers():
        return {process.pid for process in multiprocessing.active_children()}

    for _ in range(3):
        before = workers()
        batches = TensorBatches(mapped, batch_size=6, workers=1)
        assert len(list(batches(1))) == 4
        (mine,) = workers() - before
        del batches  # not the garbage collector's work: a run makes many fits
        assert mine not in workers()


@pytest.mark.parametrize("way", ["disk", "recompute"])
def test_an_explainer_is_the_same_wherever_x_was(tmp_path, way):
    concepts, net = FilterConcepts("layer"), Net()
    settings = dict(epochs=2, batch_size=8, device="cpu", seed=3)
    expected = measure_batches(concepts, net, images(), 1, batch_size=10)
    found = measure_batches(concepts, net, images(), 1, batch_size=10,
                            x_to=tmp_path / "x" if way == "disk" else way)
    assert isinstance(found.x, rows.Mapped if way == "disk" else rows.Computed)
    for name in ("y", "yhat", "w"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    said = [distill_measured(m, **settings).explain_measured(m) for m in (expected, found)]
    torch.testing.assert_close(said[1].contributions, said[0].contributions, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[torch.tensor([2, 5])].y, expected.y[[2, 5]])


@pytest.mark.parametrize("way", ["disk", "recompute"])
def test_a_survey_is_the_same_wherever_x_is(tmp_path, way):
    concepts, net = OutputConcepts("head.2", "layer"), Net()
    expected = survey_batches(concepts, net, images(), batch_size=10)
    found = survey_batches(concepts, net, images(), batch_size=10,
                           x_to=tmp_path / "x" if way == "disk" else way)
    torch.testing.assert_close(found.about(0).x[:], expected.x)
    assert torch.equal(found.about(0).w, expected.about(0).w)


def test_a_loader_of_unknown_length_needs_memory(tmp_path):
    with pytest.raises(InputError, match="^x_to: recompute needs images whose number is known"):
        measure_batches(FilterConcepts("layer"), Net(), iter([images()]), 0, x_to="recompute")


def test_the_rule_is_memory_then_disk_then_again(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "free_memory", lambda: 1000)
    monkeypatch.setattr(rows, "free_disk", lambda folder: 5000)
    assert [rows.choose("auto", n, tmp_path) for n in (500, 501, 4000, 4001)] == [
        "memory", "disk", "disk", "recompute"]
    assert rows.choose("memory", 10**15, tmp_path) == "memory"  # whoever says so gets it
    with pytest.raises(InputError, match="^cache: 'ram' is not one of"):
        rows.choose("ram", 1, tmp_path)
    line = rows.describe("x", 81_300_000_000, "disk", tmp_path)
    assert line.startswith("x: 81.3 GB, kept in files in ") and "0.0 MB of memory" in line


def test_a_group_above_ours_may_have_the_limit(tmp_path, monkeypatch):
    """As on a cluster: the job's group has the limit, the process's own, two below, has none."""
    files = {"job/memory.max": "5000", "job/memory.current": "4000",
             "job/memory.stat": "anon 3000\ninactive_file 700\n",
             "job/step/memory.max": "max", "job/step/memory.current": "4000",
             "job/step/memory.stat": "inactive_file 700\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text("0::/job/step\n")
    monkeypatch.setattr(rows, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(rows, "GROUPS", tmp_path)
    assert rows.free_memory() == 5000 - 4000 + 700
    monkeypatch.setattr(rows, "OWN_GROUP", tmp_path / "none")
    assert rows.free_memory() > 2**20


def test_what_is_free_is_what_the_machine_says(tmp_path):
    assert 2**20 < rows.free_memory() < 2**50
    assert rows.free_disk(tmp_path / "not" / "there") > 0
