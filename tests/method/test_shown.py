"""Images as they are shown: against the arithmetic, and with its words where it can't be done."""

import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms import v2

from semquant.checks import InputError
from semquant.shown import pictures, shown

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALIZE = transforms.Normalize(MEAN, STD)


@pytest.fixture
def plain():
    """Images from 0 to 1, whole bytes."""
    return torch.randint(0, 256, (4, 3, 6, 5), generator=torch.Generator().manual_seed(0)) / 255


def bytes_of(plain):
    return (255 * plain).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("undo", [
    (MEAN, STD), [torch.tensor(MEAN), np.array(STD)], NORMALIZE, v2.Normalize(MEAN, STD),
    transforms.Compose([transforms.Resize(4), NORMALIZE]),
    lambda x: x * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None],
    np.array([MEAN, STD]), torch.tensor([MEAN, STD])])
def test_the_normalisation_is_taken_back_to_the_byte(plain, undo, recwarn):
    found = shown(NORMALIZE(plain), undo)
    assert found.dtype == np.uint8 and np.array_equal(found, bytes_of(plain))
    assert not recwarn


def test_one_number_for_all_channels(plain):
    assert np.array_equal(shown((plain - 0.5) / 0.25, (0.5, 0.25)), bytes_of(plain))


@pytest.mark.parametrize("given", [
    lambda p: p, lambda p: p[0], lambda p: p.double(), lambda p: p.half().float(), lambda p: p.numpy(),
    lambda p: p.permute(0, 2, 3, 1), lambda p: (255 * p).round().byte(), lambda p: bytes_of(p),
    lambda p: p.clone().requires_grad_()])
def test_layouts_and_types(plain, given, recwarn):
    images = given(plain)
    wanted = bytes_of(plain)[: 1 if images.ndim == 3 else None]
    found = shown(images).astype(int)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() <= 1 and not recwarn


def test_grey_is_shown_grey(plain):
    found = shown(plain[:, :1])
    assert found.shape == (4, 6, 5, 3)
    assert all(np.array_equal(found[..., k], bytes_of(plain)[..., 0]) for k in range(3))


def test_what_cannot_be_shown_is_stretched_and_said(plain):
    images = NORMALIZE(plain)
    images[1] = plain[1]  # one can be shown
    outside = float(((images < -0.01) | (images > 1.01)).double().mean())
    with pytest.warns(UserWarning) as caught:
        found = shown(images)
    assert str(caught[0].message) == (
        f"images: {outside:.0%} of values lie outside 0 to 1: 3 of 4 pictures are stretched to be seen; "
        "undo=(mean, std) takes the normalisation back")
    for k, image in enumerate(images):
        low, high = (0, 1) if k == 1 else (float(image.min()), float(image.max()))
        wanted = 255 * (image.double() - low) / (high - low)
        assert np.abs(found[k] - wanted.permute(1, 2, 0).numpy()).max() <= 0.51
    assert pictures(images).stretched.tolist() == [True, False, True, True]
    with pytest.warns(UserWarning, match="undo doesn't bring them there"):
        shown(images, (0, 1))


def test_a_trace_outside_is_cut_off_without_a_word(recwarn):
    images = torch.full((1, 3, 40, 40), 0.5)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 1.3, -0.2  # 2 of 4800: overshoot at an edge
    images[0, 1] = 1.005
    found = shown(images)
    assert found[0, 0, :2, 0].tolist() == [255, 0] and found[0, 5, 5].tolist() == [128, 255, 128]
    assert not recwarn


def test_a_picture_of_one_value_stays_one():
    assert pictures(torch.full((1, 3, 2, 2), -4.0)).pixels.std() == 0


@pytest.mark.parametrize("images, undo, said", [
    (torch.rand(2, 5, 4, 4), None, r"^images: 5 channels can't be shown, 1 \(grey\) or 3"),
    (torch.rand(4, 4), None, r"^images: shape \(4, 4\) is not"),
    (torch.rand(0, 3, 4, 4), None, r"^images: shape \(0, 3, 4, 4\) is not"),
    ([1, 2], None, "^images: list is neither"),
    (torch.full((1, 3, 2, 2), torch.nan), None, "^images: 12 of 12 values are NaN"),
    (torch.rand(1, 3, 2, 2), (0.5, 0), "^undo: .* not 0, for 3 channels"),
    (torch.rand(1, 3, 2, 2), ([1, 2], [1, 2]), "^undo: .* for 3 channels"),
    (torch.rand(1, 3, 2, 2), 0.5, "^undo: 0.5 is not"),
    (torch.rand(1, 3, 2, 2), (1, 2, 3), "^undo: "),
    (torch.rand(1, 3, 2, 2), transforms.Compose([transforms.Resize(4)]), "^undo: Compose"),
    (torch.rand(1, 3, 2, 2), lambda x: x[0], "^undo: the function gives"),
])
def test_what_cannot_be_used_is_one_line(images, undo, said):
    with pytest.raises(InputError, match=said) as error:
        shown(images, undo)
    assert "\n" not in str(error.value)


def test_a_function_may_choose_channels():
    images = torch.rand(2, 5, 4, 4)
    assert np.array_equal(shown(images, lambda x: x[:, 1:4]), shown(images[:, 1:4]))
