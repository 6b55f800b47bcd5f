"""The gallery of filters: which images, where, and what is kept of them."""

import weakref

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

from semquant import FilterConcepts, OutputConcepts
from semquant.checks import InputError
from semquant.gallery import crop_box, gallery
from semquant.names import write_names

matplotlib.use("agg")
N, TOP = 23, 4


class Net(nn.Module):
    """The map of filter 0 is the image's red, of 1 its green, of 2 minus its red, every 4 pixels."""

    def __init__(self):
        super().__init__()
        self.map, self.out = nn.Conv2d(3, 3, 4, stride=4, bias=False), nn.Linear(3, 2)
        weight = torch.zeros(3, 3, 4, 4)
        weight[0, 0], weight[1, 1], weight[2, 0] = 1, 1, -1
        self.map.weight = nn.Parameter(weight)

    def forward(self, images):
        return self.out(self.map(images).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().train()


@pytest.fixture
def images():
    return torch.rand(N, 3, 32, 24, generator=torch.Generator().manual_seed(1))


def test_the_peaks_are_the_highest_of_all_images(net, images):
    found = FilterConcepts("map").gallery(net, images, top=TOP, batch_size=5)
    x = net.map(images).detach()
    assert list(found.peaks) == [0, 1, 2] and found.count == N
    for i, peaks in found.peaks.items():
        highest = sorted(((float(x[k, i].max()), -k) for k in range(N)), reverse=True)
        wanted = [(-k, pytest.approx(value)) for value, k in highest if value > 0][:TOP]
        assert [(p.image, p.value) for p in peaks] == wanted
        for p in peaks:
            assert x[p.image, i][p.place] == x[p.image, i].max()
            assert np.allclose(p.map, (x[p.image, i] / p.value).clamp_min(0))
        assert found.fires[i] == sum(float(x[k, i].max()) > 0 for k in range(N))
    assert found.peaks[2] == [] and found.fires[2] == 0  # never above 0


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_size_of_batches_does_not_matter(net, images, size):
    images[5:9] = images[5]  # of equal peaks and sums the first images come first
    images[5:9, 0, 3, 3] = 30
    one = gallery(FilterConcepts("map"), net, images, top=3, batch_size=11)
    other = gallery(FilterConcepts("map"), net, [(b, None) for b in images.split(size)], top=3)
    assert [p.image for p in one.peaks[0]] == [5, 6, 7]
    for i in one.peaks:
        assert [(p.image, p.place, p.box) for p in one.peaks[i]] == [
            (p.image, p.place, p.box) for p in other.peaks[i]]
        assert all(np.array_equal(p.close(), q.close()) and np.array_equal(p.far(), q.far())
                   for p, q in zip(one.peaks[i], other.peaks[i]))


def test_of_equal_peaks_the_larger_sum_comes_first(net):
    images = torch.zeros(3, 3, 32, 24)
    images[:, 0, :4, :4] = 1  # a cell
    images[1, 0, 8:12, :12] = 1  # and three more
    images[2, 0, 8:12, :4] = 1
    found = gallery(FilterConcepts("map"), net, images, batch_size=1)
    assert [p.image for p in found.peaks[0]] == [1, 2, 0]


def test_a_crop_is_around_the_peak_and_inside_the_image(net):
    images = torch.zeros(1, 3, 36, 24)
    images[0, 0, 20:24, 8:12] = 1  # row 5, column 2 of the map
    (peak,) = gallery(FilterConcepts("map"), net, images).peaks[0]
    assert peak.place == (5, 2) and peak.box == (16, 4, 12, 12)  # 3 cells of 4 pixels around it
    assert peak.crop.shape == (96, 96, 3) and max(peak.whole.shape) == 112
    assert peak.crop[48, 48].tolist() == [255, 0, 0] and peak.crop[2, 2].tolist() == [0, 0, 0]
    for place in ((0, 0), (8, 5), (4, 3)):
        top, left, height, width = crop_box(place, (9, 6), (36, 24))
        assert 0 <= top <= 36 - height and 0 <= left <= 24 - width and height == width == 12
    assert crop_box((0, 0), (1, 1), (36, 24))[2:] == (24, 24)  # no map to speak of: all of it
    assert crop_box((10, 10), (56, 56), (224, 224))[2:] == (75, 75)  # small cells: a third


def test_lines_and_pale_parts_show_where_it_fires(net):
    images = torch.full((1, 3, 32, 32), 0.2)
    images[0, 0, 8:16, 8:16] = 1
    (peak,) = gallery(FilterConcepts("map"), net, images, filters=[0]).peaks[0]
    far = peak.far()
    scale = 112 / 32
    inside, outside = far[round(12 * scale), round(12 * scale)], far[100, 100]
    assert inside[0] >= 254 and inside[1:].tolist() == [51, 51] and outside.min() > 178
    changed = (peak.close() != peak.crop).any(axis=2)
    assert 0.01 < changed.mean() < 0.2  # a line


def test_images_are_shown_as_they_were(net, images):
    normalised = (images - 0.5) / 0.25
    plain = gallery(FilterConcepts("map"), net, normalised, undo=(0.5, 0.25))
    assert plain.note == ""
    # as bytes, normalised on the way to the network
    given = gallery(FilterConcepts("map"), net, (255 * images).round().byte(),
                    prepare=lambda b: (b / 255 - 0.5) / 0.25)
    for p, q in zip(plain.peaks[0], given.peaks[0]):
        assert p.image == q.image and np.abs(p.crop.astype(int) - q.crop).max() <= 2
    assert "23 of 23 pictures are stretched to be seen" in gallery(FilterConcepts("map"), net, normalised).note


def test_the_network_and_torch_stay_as_they_were(net, images):
    before, state = [p.clone() for p in net.parameters()], torch.get_rng_state()
    gallery(FilterConcepts("map"), net, images)
    assert net.training and all(p.grad is None for p in net.parameters())
    assert all(torch.equal(p, q) for p, q in zip(before, net.parameters()))
    assert not net.map._forward_hooks and torch.equal(state, torch.get_rng_state())


def test_what_is_kept_does_not_grow_with_the_number_of_images(net):
    seen, alive = [], []

    def loader(count):
        generator = torch.Generator().manual_seed(0)
        for _ in range(count):
            alive.append(sum(one() is not None for one in seen))
            batch = torch.rand(8, 3, 64, 64, generator=generator)
            seen.append(weakref.ref(batch))
            yield batch
            del batch

    for count in (2, 30):
        found = gallery(FilterConcepts("map"), net, loader(count), top=3)
        arrays = {id(a): a for peaks in found.peaks.values() for p in peaks for a in (p.crop, p.whole, p.map)}
        assert len(arrays) <= 3 * 3 * 2  # of two filters that fire
        for a in arrays.values():  # and none is a part of something larger
            assert torch.from_numpy(a).untyped_storage().nbytes() == a.nbytes <= 3 * 112 * 112
            base = a.base
            while isinstance(base, np.ndarray):
                base = base.base
            assert base is None or base.untyped_storage().nbytes() == a.nbytes
    assert max(alive) <= 1  # batch: the one before


def test_names_figure_and_notebook(net, images, tmp_path):
    found = gallery(FilterConcepts("map").with_names({1: "grass"}), net, images, top=TOP)
    assert found.names == ["filter 0", "grass", "filter 2"]
    named = found.named(write_names(tmp_path / "n.yml", {0: "<b>red</b>"}, "map"))
    assert named.names == ["<b>red</b>", "filter 1", "filter 2"]
    assert named.about(0) == f"<b>red</b>: fires in {N} of {N} images"
    figure = named.figure(0)
    figure.savefig(tmp_path / "a.png")
    assert len(figure.axes) == 2 * TOP and figure.get_suptitle() == named.about(0)
    assert [ax.get_title() for ax in figure.axes[::2]] == [f"peak {p.value:#.3g}" for p in found.peaks[0]]
    found.figure(2).savefig(tmp_path / "b.png")  # one that never fires
    text = named._repr_html_()
    assert text.count("<img") == 2 * TOP and "<b>" not in text and len(text) < 40_000


@pytest.mark.parametrize("change, said", [
    ({"concepts": OutputConcepts("out", "map")}, "^concepts: OutputConcepts has no filters"),
    ({"concepts": FilterConcepts("mop")}, "^layer: 'mop' .*did you mean map"),
    ({"filters": [3]}, "^filters: 3 is not a whole number from 0 to 2"),
    ({"top": 0}, "^top: 0"),
    ({"images": []}, "^images: none were given"),
    ({"images": torch.rand(2, 5, 8, 8), "prepare": lambda b: b[:, :3]}, "^images: 5 channels"),
])
def test_bad_input_is_one_line(net, images, change, said):
    given = {"concepts": FilterConcepts("map"), "model": net, "images": images} | change
    with pytest.raises(InputError, match=said) as error:
        gallery(**given)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="^filter: 7 is not one of 0, 1, 2"):
        gallery(FilterConcepts("map"), net, images[:2]).figure(7)
