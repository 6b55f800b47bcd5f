"""Coalitions and exact Shapley values, against loops over orders and Captum's."""

import itertools

import pytest
import torch
from captum.attr import ShapleyValues
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from semquant import truth
from semquant.checks import InputError
from semquant.parts import drops
from semquant.truth import coalition_values, interactions, nonlinearity, planted, removals, shapley


def cnn(n=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(n, 7, 2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Dropout(0.5), nn.Linear(7, 1), nn.Flatten(0))


def slow_shapley(values):
    """The mean over all orders of what a group adds when it joins."""
    images, players = len(values), values.shape[1].bit_length() - 1
    found, orders = torch.zeros(images, players), list(itertools.permutations(range(players)))
    for order in orders:
        mask = 0
        for p in order:
            found[:, p] += values[:, mask | 1 << p] - values[:, mask]
            mask |= 1 << p
    return found / len(orders)


def some(players, images=3, seed=0):
    return torch.randn(images, 2**players, generator=torch.Generator().manual_seed(seed))


def test_shapley_over_all_orders():
    torch.testing.assert_close(shapley(some(5)), slow_shapley(some(5)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [*truth.KINDS, "cnn"])
def test_shapley_is_captum_s(kind):
    net = cnn().eval() if kind == "cnn" else planted(kind, 5).head
    x, groups = torch.randn(3, 5, 3, 4).abs(), torch.tensor([0, 2, 1, 1, 0])
    mask = groups[None, :, None, None]
    theirs = ShapleyValues(lambda x: net(x.clone())).attribute(x, feature_mask=mask)
    theirs = theirs[:, [0, 2, 1], 0, 0]  # a filter of each group
    ours = shapley(coalition_values(net, x, groups))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", truth.KINDS)
@pytest.mark.parametrize("n", [2, 5])
def test_planted_heads(kind, n):
    x = torch.randn(20, n, 2, 3)  # sums of both signs
    head, formula = planted(kind, n, seed=3)
    values = coalition_values(head, x, torch.arange(n))
    torch.testing.assert_close(shapley(values), formula(x), rtol=0, atol=1e-5)
    assert float(formula(x).abs().max()) > 0.1
    again, other = planted(kind, n, seed=3), planted(kind, n, seed=4)
    assert torch.equal(again.head(x), head(x))
    assert torch.equal(other.head(x), head(x)) == (kind != "linear")


def test_what_the_planted_scores_are():
    x = torch.tensor([3.0, 2.0, -1.0])[None, :, None, None] / 4 * torch.ones(1, 3, 2, 2)
    for kind, score, values in (("product", 6, [3, 3, 0]), ("saturating", 3, [2, 1, 0]),
                                ("cancelling", 1, [2, -1, 0])):
        head, formula = planted(kind, 3)
        assert head(x).tolist() == [score] and formula(x).tolist() == [values]


def test_planting_leaves_torch_s_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    planted("linear", 4, 5), planted("cancelling")
    assert torch.equal(before, torch.get_rng_state())


def slow_values(head, x, groups, players, references):
    """One image, one coalition, one reference at a time; -1 is the last group."""
    values = torch.zeros(len(x), 2**players)
    for b, mask in itertools.product(range(len(x)), range(2**players)):
        for reference in references:
            image = x[b].clone()
            for i, group in enumerate(groups):
                if not mask >> (group if group >= 0 else players - 1) & 1:
                    image[i] = reference[i]
            values[b, mask] += head(image[None])[0].detach() / len(references)
    return values


@pytest.mark.parametrize("reference", truth.REFERENCES)
@pytest.mark.parametrize("groups, parts, players", [
    ([0, 1, 1, 0, 2], None, 3), ([1, -1, 0, -1, 1], None, 3), ([0, 0, 2, 0, 0], 4, 4),
    ([-1] * 5, None, 1)])
def test_values_from_the_definition(reference, groups, parts, players):
    net, x, background = cnn().train(), torch.randn(3, 5, 3, 4), torch.randn(4, 5, 3, 4)
    before, seen = x.clone(), background.clone()
    found = coalition_values(net, x, torch.tensor(groups), reference, background, parts=parts,
                             batch_size=7)
    assert torch.equal(x, before) and torch.equal(background, seen) and not found.requires_grad
    assert net.training and net[5].training
    net.eval()
    references = {"zero": torch.zeros(1, 5, 3, 4), "mean": background.mean(0, keepdim=True),
                  "resampled": background}[reference]
    torch.testing.assert_close(found, slow_values(net, x, groups, players, references))
    torch.testing.assert_close(found[:, -1], net(x.clone()).detach())


def test_removals_are_the_drops():
    net, x, groups = cnn(), torch.randn(3, 5, 3, 4), torch.tensor([1, -1, 0, 0, -1])
    found = removals(coalition_values(net, x, groups))
    torch.testing.assert_close(found, drops(net, x, groups, 2))
    assert float(found.min()) < 0 < float(found.max())


def test_interactions():
    head, _ = planted("product", 3)
    x = torch.randn(4, 3, 2, 2)
    found = interactions(coalition_values(head, x, torch.arange(3)))
    expected = torch.zeros(4, 3, 3)
    expected[:, 0, 1] = expected[:, 1, 0] = head(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    values = some(4)
    found, everyone = interactions(values), 15
    for p, q in itertools.permutations(range(4), 2):
        p_mask, q_mask = 1 << p, 1 << q
        by_hand = (values[:, 15] - values[:, everyone - p_mask] - values[:, everyone - q_mask]
                   + values[:, everyone - p_mask - q_mask])
        torch.testing.assert_close(found[:, p, q], by_hand)
    assert bool((found.diagonal(dim1=1, dim2=2) == 0).all())


def test_nonlinearity_by_least_squares():
    values = some(4, images=5)
    design = torch.tensor([[1.0, *(mask >> p & 1 for p in range(4))] for mask in range(16)])
    fitted = design @ torch.linalg.lstsq(design, values.T).solution
    left = (values.T - fitted).square().sum(0)
    total = (values - values.mean(1, keepdim=True)).square().sum(1)
    torch.testing.assert_close(nonlinearity(values), left / total)


def test_nonlinearity_of_planted_heads():
    x = torch.rand(4, 4, 2, 2) + 0.5
    found = {kind: nonlinearity(coalition_values(planted(kind).head, x, torch.arange(4)))
             for kind in truth.KINDS}
    assert float(found["linear"].max()) < 1e-6
    # y_0 y_1 is 0, 0, 0, 1 times the product: a third of its variance is not additive
    torch.testing.assert_close(found["product"], torch.full((4,), 1 / 3))
    assert float(found["saturating"].min()) > 0.1
    constant = torch.full((2, 8), 0.1) * torch.tensor([[1.0], [0.0]])
    assert nonlinearity(constant).tolist() == [0, 0]


numbers = st.integers(-1000, 1000).map(lambda v: v / 8)  # exact in float32


@given(st.integers(0, 4).flatmap(lambda p: st.lists(numbers, min_size=2**p, max_size=2**p)))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_shapley_values_add_up_and_know_a_null_player(one):
    values = torch.tensor([one], dtype=torch.float64)
    found = shapley(values)
    assert float(found.sum()) == pytest.approx(one[-1] - one[0], abs=1e-9)
    assert bool((nonlinearity(values) >= 0).all() and (nonlinearity(values) <= 1).all())
    null = torch.cat([values, values], dim=1)  # one more group, which changes nothing
    torch.testing.assert_close(shapley(null)[:, :-1], found)
    assert float(shapley(null)[0, -1]) == 0 == float(removals(null)[0, -1])
    assert not interactions(null)[0, -1].any()


@given(st.lists(numbers, min_size=5, max_size=5), st.permutations(range(4)))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_groups_that_add_the_same_have_the_same(of_size, order):
    members = [[mask >> p & 1 for p in range(4)] for mask in range(16)]
    alike = torch.tensor([[of_size[sum(m)] for m in members]], dtype=torch.float64)
    share = (of_size[4] - of_size[0]) / 4
    assert shapley(alike)[0].tolist() == pytest.approx([share] * 4, abs=1e-9)
    values = some(4, seed=int(1000 + of_size[0]))
    renamed = torch.empty_like(values)
    for mask in range(16):
        renamed[:, sum(1 << order[p] for p in range(4) if mask >> p & 1)] = values[:, mask]
    torch.testing.assert_close(shapley(renamed)[:, list(order)], shapley(values), rtol=0, atol=1e-5)


def test_as_many_groups_as_are_accepted():
    x = torch.randn(1, 16, 1, 1)
    head, formula = planted("linear", 16)
    values = coalition_values(head, x, torch.arange(16), batch_size=4096)
    assert values.shape == (1, 65536)
    torch.testing.assert_close(shapley(values), formula(x), rtol=0, atol=1e-4)


X = torch.zeros(2, 3, 2, 2)
HEAD = planted("linear", 3).head
G = torch.arange(3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: coalition_values(HEAD, X[0], G), "^x: shape"),
        (lambda: coalition_values(HEAD, X, G[:2]), r"^groups: shape \(2,\)"),
        (lambda: coalition_values(HEAD, X * float("nan"), G), "^x: 24 of 24 values are NaN"),
        (lambda: coalition_values(HEAD, X, G - 2), "^groups: -2 is not a whole number from -1"),
        (lambda: coalition_values(HEAD, X, G, parts=2), "^groups: 2 is not .* -1 to 1"),
        (lambda: coalition_values(HEAD, X, G + 0.5), "^groups: 0.5 is not a whole"),
        (lambda: coalition_values(HEAD, X, G, parts=17), "^groups: 17 are more than 16"),
        (lambda: coalition_values(HEAD, X, G - 1, parts=16), "^groups: 17 are more than 16"),
        (lambda: coalition_values(HEAD, X, G, "meen"), "^reference: 'meen' .*did you mean mean"),
        (lambda: coalition_values(HEAD, X, G, "mean"), "^background: none was given"),
        (lambda: coalition_values(HEAD, X, G, "mean", X[:0]), "^background: no images"),
        (lambda: coalition_values(HEAD, X, G, "mean", X[:, :2]), "^background: shape"),
        (lambda: coalition_values(HEAD, X, G, batch_size=0), "^batch_size: 0"),
        (lambda: coalition_values(lambda x: x.sum((2, 3)), X, G), "^yhat: shape"),
        (lambda: coalition_values(lambda x: x.sum((1, 2, 3)) / 0, X, G), "^the head's score: "),
        (lambda: shapley(torch.zeros(2, 6)), "^values: 6 columns are not 2"),
        (lambda: shapley(torch.zeros(2, 0)), "^values: 0 columns"),
        (lambda: removals(torch.zeros(4)), "^values: shape"),
        (lambda: interactions(torch.full((1, 4), float("nan"))), "^values: 4 of 4"),
        (lambda: nonlinearity([1]), "^values: list"),
        (lambda: planted("linaer"), "^kind: 'linaer' .*did you mean linear"),
        (lambda: planted("linear", 1), "^n: 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
