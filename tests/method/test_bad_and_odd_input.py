"""What people hand over by mistake is one line before anything else; what is only odd is taken."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from semquant import FilterConcepts, Images, ModelConcepts, OutputConcepts, distill
from semquant.checks import InputError, number
from semquant.explanation import grad_cam
from semquant.measure import measure
from semquant.training import FitOptions

FIT = FitOptions(device="cpu", epochs=1)
CONCEPTS = FilterConcepts("1")

pytestmark = pytest.mark.filterwarnings("ignore:semquant", "ignore:the score's derivative is 0")


def network(bias=0.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4))
    net[0].bias.data += bias
    return net


def drawn(count=24):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def lazy():
    return nn.Sequential(nn.LazyConv2d(6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


@pytest.mark.parametrize("change, message", [
    ({"images": (255 * drawn()).long()}, "^images: numbers of torch.int64; accepted: bytes"),
    ({"images": drawn()[:, :1]}, r"^images: the model can't take \(24, 1, 8, 8\) of torch.float32"),
    ({"images": torch.zeros(24, 3, 8, 8)}, "^yhat: all 24 are .* there is nothing to explain"),
    ({"model": network(-100)}, "^yhat: all 24 are .* there is nothing to explain"),
    ({"model": lazy()}, "^model: it has lazy layers that have not run; run it once"),
    ({"concepts": ModelConcepts(nn.Linear(6, 3), "1", on="1")}, r"^other: the model can't take \(24, 6, 8, 8\)"),
    ({"concepts": CONCEPTS.with_names({17: "x"})}, "^names: 17 is not a whole number from 0 to 5"),
    ({"prepare": lambda batch: batch[1:]}, "^prepare: it makes 23 images of 24; accepted: a tensor of as many"),
    ({"prepare": lambda batch: None}, "^prepare: it makes NoneType of 24"),
    ({"concepts": OutputConcepts("2", "1"), "method": "corrected"}, r"^shared: '2' gives \(24, 6, 2, 2\); steps need \(B, d\)"),
    ({"concepts": OutputConcepts("3", "1", among=[1]), "method": "corrected"}, "^among: steps are those of all other outputs"),
    ({"concepts": OutputConcepts("inner.conv", "inner.conv"), "method": "corrected",
      "model": nn.Sequential()}, "^layer: 'inner.conv' is not one of|^shared: 'inner.conv' is not one of"),
])
def test_what_cannot_be_explained_is_one_line(change, message):
    given = {"model": network(), "concepts": CONCEPTS, "images": drawn(), "target": 1, "fit": FIT} | change
    with pytest.raises(InputError, match=message) as error:
        distill(**given)
    assert "\n" not in str(error.value)


def test_steps_want_a_sequential_that_ends_the_model_before_it_is_run():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, images):
            raise AssertionError("it was run")

    with pytest.raises(InputError, match="^shared: 'fc' is in no Sequential"):
        distill(Net(), OutputConcepts("fc", "conv"), drawn(), 1, method="corrected", fit=FIT)


def test_names_of_outputs_need_outputs():
    with pytest.raises(InputError, match="^among: names are given, but outputs= has none; accepted: numbers"):
        OutputConcepts("3", "1", among=["a"])


@pytest.mark.parametrize("target, images, message", [
    ([0] * 24, DataLoader(TensorDataset(drawn()), 8, shuffle=True), "^target: one for each image, but the loader draws"),
    ([0] * 23, iter(drawn().split(8)), "^target: 23 were given for 24 images or more"),
    ([0] * 25, iter(drawn().split(8)), "^target: 25 were given for 24 images"),
])
def test_a_target_for_each_image_needs_images_in_their_order(target, images, message):
    with pytest.raises(InputError, match=message):
        measure(CONCEPTS, network(), images, target)


def test_a_loader_in_order_has_a_target_for_each_image():
    target = [i % 4 for i in range(24)]
    found = measure(CONCEPTS, network(), DataLoader(TensorDataset(drawn()), 7), target)
    torch.testing.assert_close(found.yhat, network()(drawn()).detach().gather(1, torch.tensor(target)[:, None])[:, 0])


@pytest.mark.parametrize("value", [np.int64(3), np.uint8(3), torch.tensor(3), np.array(3), 3])
def test_whole_numbers_of_other_packages_are_whole_numbers(value):
    assert number("epochs", value, 0, integer=True) == 3
    assert FitOptions(epochs=value).epochs == 3


@pytest.mark.parametrize("value", [np.float32(3), np.bool_(True), torch.tensor(2.5), np.array([3]), torch.tensor(True), "3", None])
def test_what_is_none_is_refused(value):
    with pytest.raises(InputError, match="^epochs: .* is not a whole number of at least 0"):
        FitOptions(epochs=value)


@pytest.fixture(scope="module")
def explanation():
    return distill(network(), CONCEPTS, drawn(), 1, fit=FIT).explain(drawn())


def pil(images):
    return [Image.fromarray((255 * x.permute(1, 2, 0)).byte().numpy()) for x in images]


def shown_in(figure):
    return figure.axes[0].images[0].get_array()


def test_one_image_of_an_explanation(explanation):
    for index in (0, 5, -1):
        assert torch.equal(explanation[index].yhat, explanation.yhat[[index]]) and explanation[index].y.shape == (1, 6)
    assert [float(one.yhat) for one in explanation] == explanation.yhat.tolist()
    with pytest.raises(IndexError):
        explanation[24]


def test_pictures_may_come_from_wherever_images_do(explanation, tmp_path):
    pictures, folder = pil(drawn()), tmp_path / "photos"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i:03}.png")
    expected = np.asarray(pictures[2])
    loader = DataLoader(TensorDataset(torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures])), 5)
    for source in (pictures, folder, str(folder), Images(folder), loader, pictures[2], folder / "002.png"):
        np.testing.assert_array_equal(shown_in(explanation.plot(2, images=source)), expected)
    for source in (pictures[:3], Images(folder, max_images=3), [*pictures, pictures[0]]):
        with pytest.raises(InputError, match=r"^images: (3|25) don't fit an explanation of 24"):
            explanation.plot(2, images=source)
    pages = [explanation.save_html(tmp_path / f"{i}.html", images=source).read_text(encoding="utf-8")
             for i, source in enumerate((pictures, folder, loader))]
    assert len(set(pages)) == 1 and pages[0].count("data:image/webp") == 24
    assert explanation[2].save_html(tmp_path / "one.html", images=pictures[2]).read_text(encoding="utf-8").count("data:image/webp") == 1


@pytest.mark.parametrize("path", [".", "", None, 3])
def test_what_is_no_files_path_is_one_line(explanation, path):
    with pytest.raises(InputError, match="^path: .* is no file's path"):
        explanation.save_html(path)


def test_filters_of_a_gallery_by_number_and_name():
    concepts = CONCEPTS.with_names({2: "ear"})
    for filters, expected in ((3, [3]), ("ear", [2]), ([1, "ear", np.int64(4)], [1, 2, 4]), (torch.tensor(5), [5])):
        assert list(concepts.gallery(network(), drawn(), filters=filters).peaks) == expected
    for filters, message in ((1.5, "^filters: 1.5 is not a whole number from 0 to 5"), ("eye", "^filters: 'eye' is not one of"),
                             ([6], "^filters: 6 is not")):
        with pytest.raises(InputError, match=message):
            concepts.gallery(network(), drawn(), filters=filters)


def test_heat_maps_whatever_torch_was_told():
    net, images = network(), drawn()
    expected = grad_cam(net, "1", images, 1)
    with torch.inference_mode():
        torch.testing.assert_close(grad_cam(net, "1", images, 1), expected)
        made = network()
    with pytest.raises(InputError, match="^model: its weights were made inside torch.inference_mode"):
        grad_cam(made, "1", images, 1)
    with torch.no_grad(), torch.autocast("cpu"):
        torch.testing.assert_close(grad_cam(net, "1", images, 1), expected)
    half = grad_cam(copy.deepcopy(net).bfloat16(), "1", images, 1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.05 * float(expected.max()), rtol=0.1)
    with pytest.raises(InputError, match="^target: 9 is no output of this model"):
        grad_cam(network(), "1", drawn(), 9)


def test_a_photo_is_turned_as_the_camera_was_held(tmp_path):
    picture = Image.fromarray(np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3))  # 8 wide, 6 high
    exif = Image.Exif()
    exif[0x0112] = 6  # held to the right
    picture.save(tmp_path / "turned.png", exif=exif)
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.rotate(-90, expand=True).save(tmp_path / "upright.png")
    turned, upright = (next(iter(Images(tmp_path / f"{name}.png").batches())) for name in ("turned", "upright"))
    assert torch.equal(turned, upright) and upright.shape == (1, 3, 8, 6)
    assert next(iter(Images(tmp_path).batches())).shape == (3, 3, 8, 6)  # sizes are told by the upright ones


def test_a_folder_is_looked_through_once(tmp_path, monkeypatch):
    for i, picture in enumerate(pil(drawn())):
        picture.save(tmp_path / f"{i:03}.png")
    opened, of = [], Images._opened
    monkeypatch.setattr(Images, "_opened", lambda self, source: opened.append(source) or of(self, source))
    distill(network(), CONCEPTS, Images(tmp_path), 1, fit=FIT)
    assert sum(source == tmp_path for source in opened) == 1
