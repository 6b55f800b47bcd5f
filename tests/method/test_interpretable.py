"""Templates, mask and filter loss against slow float64 loops, and mistakes of public ports."""

import math

import numpy as np
import pytest
import torch

from semquant.checks import InputError
from semquant.networks.interpretable import Mask, filter_loss, mutual_information, peaks, templates


def slow_template(size, row, column, decay, amplitude):
    """The definition, one cell at a time."""
    t = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            distance = abs(i - row) + abs(j - column)
            t[i, j] = amplitude * max(1 - decay * distance / size, -1)
    return t


def slow_terms(maps, size, decay, tau):
    """log p(x|T), p(T) and T for one filter's maps (B, H, W), the negative template last."""
    every = [slow_template(size, m // size, m % size, decay, tau) for m in range(size * size)]
    every.append(np.full((size, size), -tau))
    share = size**2 / (1 + size**2)  # alpha of the CVPR paper
    prior = [share / size**2] * size**2 + [1 - share]
    given = np.empty((len(maps), len(every)))
    for k, t in enumerate(every):
        scores = [np.trace(x @ t.T) for x in maps]
        log_z = math.log(sum(math.exp(s) for s in scores))
        given[:, k] = [s - log_z for s in scores]
    return given, np.array(prior), every


def slow_information(maps, size, decay, tau):
    """sum_T p(T) sum_x p(x|T) log(p(x|T) / p(x)), term by term."""
    given, prior, _ = slow_terms(maps, size, decay, tau)
    total = 0.0
    for b in range(len(maps)):
        p_x = sum(prior[k] * math.exp(given[b, k]) for k in range(len(prior)))
        for k in range(len(prior)):
            total += prior[k] * math.exp(given[b, k]) * (given[b, k] - math.log(p_x))
    return total


def some_maps(images=6, filters=3, size=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(images, filters, size, size, generator=g, dtype=torch.float64)


SOME_POSITIVE = torch.tensor([True, False, True, True, False, False])


# templates


@pytest.mark.parametrize(("size", "decay", "amplitude"), [(1, 4, 1), (4, 4, 1), (7, 2.5, 0.3)])
def test_templates_are_the_definition(size, decay, amplitude):
    t = templates(size, decay, amplitude)
    assert t.shape == (size * size, size, size)
    for m in range(size * size):
        slow = slow_template(size, m // size, m % size, decay, amplitude)
        np.testing.assert_allclose(t[m].numpy(), slow, rtol=1e-6, atol=1e-6)


def test_every_template_peaks_at_its_own_place_the_last_one_too():
    # a mistake of public ports: the last template all zeros
    t = templates(5).flatten(1)
    assert t.argmax(1).tolist() == list(range(25))
    assert t.amax(1).tolist() == [1.0] * 25
    assert t.amin() == -1


@pytest.mark.parametrize("arguments", [(0,), (2.5,), (True,), (4, 0), (4, -1), (4, 4, 0), (4, "4")])
def test_templates_say_what_they_accept(arguments):
    with pytest.raises(InputError, match=r"^(map size|template)"):
        templates(*arguments)


# mask


@pytest.mark.parametrize("centre", ["peak", "centroid"])
def test_mask_is_the_definition(centre):
    z = some_maps(size=5)
    x = Mask(5, centre=centre)(z)
    for b in range(6):
        for f in range(3):
            values = z[b, f].numpy()
            row, column = np.unravel_index(values.argmax(), values.shape)
            if centre == "centroid":
                a = values.clip(min=0)
                row = round((a * np.arange(5)[:, None]).sum() / a.sum())
                column = round((a * np.arange(5)).sum() / a.sum())
            slow = values * slow_template(5, row, column, 4, 1).clip(min=0)
            np.testing.assert_allclose(x[b, f].numpy(), slow, rtol=1e-6)


def test_mask_before_the_relu_is_mask_after_it():
    z = some_maps()
    mask = Mask(4)
    torch.testing.assert_close(mask(z).relu(), mask(z.relu()).relu(), rtol=0, atol=0)


def test_mask_leaves_the_peak_as_it_is():
    # a mistake of public ports: the mask scaled by tau, so that activations all but vanish
    z = some_maps()
    assert torch.equal(Mask(4)(z).amax((2, 3)), z.amax((2, 3)))


def test_negative_values_never_turn_positive():
    # a mistake of public ports: a negative value times a template's negative value
    z = some_maps()
    assert (Mask(4)(z)[z < 0] <= 0).all()
    silent = -1 - some_maps().abs()
    assert (Mask(4)(silent) <= 0).all()


def test_a_silent_filter_is_centred_on_its_largest_value_not_in_a_corner():
    z = torch.full((1, 1, 4, 4), -2.0)
    z[0, 0, 2, 1] = -1.0
    for centre in ("peak", "centroid"):
        assert peaks(z, centre).item() == 2 * 4 + 1


def test_the_mask_passes_gradients_through_z_only():
    z = some_maps().requires_grad_()
    mask = Mask(4)
    weights = some_maps(seed=1)
    (mask(z) * weights).sum().backward()
    kept = templates(4).clamp(min=0)[peaks(z.detach())].double()
    torch.testing.assert_close(z.grad, weights * kept)
    torch.testing.assert_close(Mask(4)(z.detach()), z.detach() * kept)


def test_the_mask_takes_one_image_any_type_and_memory_format():
    mask = Mask(4)
    z = some_maps().float()
    assert torch.equal(mask(z[:1]), mask(z)[:1])
    last = z.contiguous(memory_format=torch.channels_last)
    assert torch.equal(mask(last), mask(z))
    assert mask(last).is_contiguous(memory_format=torch.channels_last)
    assert mask(z.bfloat16()).dtype == torch.bfloat16
    assert list(mask.state_dict()) == []  # the table follows from the settings


def test_the_mask_leaves_its_input_unchanged():
    z = some_maps()
    before = z.clone()
    Mask(4)(z)
    assert torch.equal(z, before)


def test_the_mask_says_what_it_accepts():
    with pytest.raises(InputError, match="mask: maps of shape"):
        Mask(4)(torch.zeros(1, 2, 5, 5))
    with pytest.raises(InputError, match="template centre"):
        Mask(4, centre="middle")


# filter loss


def test_mutual_information_of_known_cases():
    assert mutual_information(torch.zeros(5, 2, 9)).tolist() == [0, 0]  # all images alike
    sure = 100 * torch.eye(9)[:, None, :].double()  # each template has an image of its own
    torch.testing.assert_close(mutual_information(sure), torch.tensor([math.log(9)]).double())


def slow_peaks(a, positive):
    """Mean peak of each filter over the images chosen."""
    chosen = [b for b in range(len(a)) if positive[b]]
    return [np.mean([a[b, f].max() for b in chosen]) for f in range(a.shape[1])]


@pytest.mark.parametrize("amplitude", [None, 0.5 / 16, 2.0])
def test_plain_filter_loss_is_the_definition(amplitude):
    a = some_maps().relu()
    loss = filter_loss(a, SOME_POSITIVE, amplitude=amplitude, normalised=False, contrast=0)
    tau = 0.5 / 16 if amplitude is None else amplitude
    slow = np.mean([slow_information(a[:, f].numpy(), 4, 4, tau) for f in range(3)])
    assert loss.item() == pytest.approx(-slow, rel=1e-5)


@pytest.mark.parametrize("contrast", [0.0, 0.5, 1.0])
def test_filter_loss_is_the_definition(contrast):
    a = some_maps().relu()
    r = slow_peaks(a.numpy(), SOME_POSITIVE)
    others = slow_peaks(a.numpy(), ~SOME_POSITIVE)
    slow = [
        contrast * others[f] / r[f] - slow_information(a[:, f].numpy() / r[f], 4, 4, 1)
        for f in range(3)
    ]
    loss = filter_loss(a, SOME_POSITIVE, contrast=contrast)
    assert loss.item() == pytest.approx(np.mean(slow), rel=1e-5)
    torch.testing.assert_close(filter_loss(7 * a, SOME_POSITIVE, contrast=contrast), loss)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_gradient_of_the_filter_loss_by_finite_differences(normalised, contrast):
    a = some_maps().relu() + 0.01
    settings = {"amplitude": 1.0, "normalised": normalised, "contrast": contrast}
    torch.autograd.gradcheck(
        lambda maps: filter_loss(maps, SOME_POSITIVE, **settings), a.requires_grad_()
    )


def published_gradient(maps, positive, size, tau):
    """p(T^)/Z_T^ * t^_ij * exp(tr(x T^)) * (tr(x T^) - log Z_T^ - log p(x)), image by image."""
    given, prior, every = slow_terms(maps, size, 4, tau)
    gradient = np.empty_like(maps)
    for b in range(len(maps)):
        k = int(maps[b].argmax()) if positive[b] else size * size
        p_x = sum(prior[m] * math.exp(given[b, m]) for m in range(len(prior)))
        gradient[b] = (
            prior[k] * math.exp(given[b, k]) * every[k] * (given[b, k] - math.log(p_x))
        )
    return gradient


def test_matched_gradient_is_minus_the_published_one():
    a = some_maps().relu().requires_grad_()
    settings = {"amplitude": 0.5, "normalised": False, "contrast": 0}
    loss = filter_loss(a, SOME_POSITIVE, gradient="matched", **settings)
    assert loss.item() == pytest.approx(filter_loss(a, SOME_POSITIVE, **settings).item())
    loss.backward()
    for f in range(3):
        slow = published_gradient(a[:, f].detach().numpy(), SOME_POSITIVE, 4, 0.5)
        # the loss is the mean of three filters, and minus the mutual information
        np.testing.assert_allclose(3 * a.grad[:, f].numpy(), -slow, rtol=1e-4, atol=1e-9)


def test_exact_gradient_is_the_published_one_summed_over_templates_with_z_moving():
    """By hand: d(-MI)/dx = -sum_T p(T) t p(x|T) (d - sum_x' p(x'|T) d'), d = log p(x|T) / p(x)."""
    a = some_maps().relu().requires_grad_()
    filter_loss(a, SOME_POSITIVE, amplitude=0.5, normalised=False, contrast=0).backward()
    for f in range(3):
        given, prior, every = slow_terms(a[:, f].detach().numpy(), 4, 4, 0.5)
        d = given - np.log((np.exp(given) * prior).sum(1, keepdims=True))
        centred = d - (np.exp(given) * d).sum(0)
        slow = np.einsum("bk,kij->bij", prior * np.exp(given) * centred, np.array(every))
        np.testing.assert_allclose(3 * a.grad[:, f].numpy(), -slow, rtol=1e-4, atol=1e-9)


def test_descending_the_loss_gives_single_peaks_on_positive_images_only():
    a = some_maps(size=5).relu().requires_grad_()
    optimizer = torch.optim.Adam([a], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        filter_loss(a.relu(), SOME_POSITIVE).backward()
        optimizer.step()
    after, before = a.detach().relu(), some_maps(size=5).relu()

    def outside(maps):  # share of the activation that the mask removes, on positive images
        maps = maps[SOME_POSITIVE]
        return 1 - (Mask(5)(maps).gt(0) * maps).sum() / maps.sum()

    assert outside(after) < 0.7 * outside(before)
    peak = [maps.amax((2, 3)) for maps in (before, after)]
    ratio = [p[~SOME_POSITIVE].mean() / p[SOME_POSITIVE].mean() for p in peak]
    assert ratio[1] < 0.5 * ratio[0]


def test_the_loss_sees_what_the_mask_hides():
    # a mistake of public ports: the loss computed on the masked map
    z = some_maps()
    raw = filter_loss(z.relu(), SOME_POSITIVE)
    masked = filter_loss(Mask(4)(z).relu(), SOME_POSITIVE)
    assert abs(raw.item() - masked.item()) > 0.01


def test_the_loss_is_finite_for_silent_filters_one_image_and_no_positive():
    for a in (torch.zeros(4, 2, 3, 3), torch.rand(1, 2, 3, 3), 1e4 * torch.rand(4, 2, 3, 3)):
        for positive in (torch.ones(len(a)).bool(), torch.zeros(len(a)).bool()):
            a = a.detach().requires_grad_()
            for normalised in (True, False):
                loss = filter_loss(a, positive, normalised=normalised)
                loss.backward()
                assert torch.isfinite(loss) and torch.isfinite(a.grad).all()
    assert filter_loss(torch.rand(1, 2, 3, 3), torch.tensor([True])).item() == pytest.approx(0)


def test_the_loss_is_computed_in_float32_under_autocast():
    a = some_maps().relu().float()
    plain = filter_loss(a, SOME_POSITIVE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert filter_loss(a, SOME_POSITIVE) == plain
        half = filter_loss(a.bfloat16(), SOME_POSITIVE)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(plain.item(), rel=0.02)


def test_the_loss_leaves_its_input_unchanged_and_repeats():
    a = some_maps().relu()
    before = a.clone()
    first = filter_loss(a, SOME_POSITIVE)
    assert torch.equal(a, before)
    assert torch.equal(first, filter_loss(a, SOME_POSITIVE))


def test_the_loss_says_what_it_accepts():
    a = some_maps()
    with pytest.raises(InputError, match="square"):
        filter_loss(a[..., :3], SOME_POSITIVE)
    with pytest.raises(InputError, match="positive"):
        filter_loss(a, SOME_POSITIVE[:2])
    with pytest.raises(InputError, match="positive"):
        filter_loss(a, SOME_POSITIVE.float())
    with pytest.raises(InputError, match="gradient"):
        filter_loss(a, SOME_POSITIVE, gradient="published")
    with pytest.raises(InputError, match="contrast"):
        filter_loss(a, SOME_POSITIVE, contrast=-1)
    with pytest.raises(InputError, match="amplitude"):
        filter_loss(a, SOME_POSITIVE, amplitude=0)
