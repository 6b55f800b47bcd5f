"""Each metric against loops from the definition."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from semquant import metrics
from semquant.checks import InputError
from semquant_book.study.face_performers import balanced_accuracy

D = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def test_contribution_entropy():
    contributions = draw(4, 6)
    contributions[1, 2] = 0.0
    for b, row in enumerate(contributions.tolist()):
        total = sum(abs(v) for v in row)
        expected = -sum(abs(v) / total * math.log(abs(v) / total) for v in row if v)
        found = float(metrics.contribution_entropy(contributions)[b])
        assert found == pytest.approx(expected, rel=1e-12)


def test_contribution_entropy_is_quantus_s_complexity():
    """As Quantus 0.6 computes `Complexity`, with its epsilon, and as scipy does without; run once, Quantus
    itself came to the same within 1e-10."""
    rows = draw(50, 64).numpy()
    shares = np.abs(rows) / np.abs(rows).sum(axis=-1, keepdims=True)
    found = metrics.contribution_entropy(torch.tensor(rows)).numpy()
    np.testing.assert_allclose(found, -(shares * np.log(shares + 1e-12)).sum(axis=-1), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found, stats.entropy(np.abs(rows), axis=-1), rtol=1e-12)


def test_contribution_entropy_at_its_ends():
    """ln n for equal sizes, 0 for a single one, undefined for none; at any scale."""
    rows = torch.tensor([[1.0, -1, 1, -1], [0, 3, 0, 0], [0, 0, 0, 0]], dtype=D)
    for scale in (1.0, 1e-200, 1e200):
        found = metrics.contribution_entropy(rows * scale)
        assert found[:2].tolist() == pytest.approx([math.log(4), 0.0])
        assert found[2].isnan()


def test_relative_deviation():
    yhat, explained = draw(5), draw(5, seed=1)
    found = metrics.relative_deviation(yhat, explained).tolist()
    spread = max(yhat.tolist()) - min(yhat.tolist())
    expected = [abs(a - b) / spread for a, b in zip(yhat.tolist(), explained.tolist())]
    assert found == pytest.approx(expected, rel=1e-12)
    given = metrics.relative_deviation(yhat[:1], explained[:1], yhat_range=spread)
    assert given.tolist() == pytest.approx(expected[:1], rel=1e-12)


def slow_best(scores, labels):
    best = -1.0
    for threshold in [min(scores) - 1, *scores]:
        right = sum((s > threshold) == l for s, l in zip(scores, labels))
        best = max(best, right / len(scores))
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_best_threshold(seed, dtype):
    scores = draw(30, seed=seed).to(dtype)
    scores = (scores * 4).round() / 4 if seed % 2 else scores  # with ties
    labels = (draw(30, seed=seed + 100) + scores) > 0
    threshold, accuracy = metrics.best_threshold(scores, labels)
    assert accuracy == pytest.approx(slow_best(scores.tolist(), labels.tolist()))
    assert metrics.accuracy(scores, labels, threshold) == pytest.approx(accuracy)
    assert metrics.best_threshold(scores, labels.long() * 2 - 1) == (threshold, accuracy)
    assert metrics.best_threshold(scores, labels.float()) == (threshold, accuracy)


@pytest.mark.parametrize(
    "scores, labels, threshold, accuracy",
    [
        ([1.0, 2, 3, 5], [0, 0, 1, 1], 2.5, 1.0),
        ([1.0, 2], [1, 1], 0.0, 1.0),
        ([1.0, 2], [0, 0], 3.0, 1.0),
        ([4.0], [1], 3.0, 1.0),
        ([2.0, 2, 2], [1, 0, 0], 3.0, 2 / 3),
    ],
)
def test_best_threshold_by_hand(scores, labels, threshold, accuracy):
    found = metrics.best_threshold(torch.tensor(scores), torch.tensor(labels))
    assert found == (threshold, pytest.approx(accuracy))


def test_best_threshold_between_neighbouring_numbers():
    """There is no number between them: their mean is rounded to one of them, up or down."""
    numbers = [torch.tensor(1.0, dtype=D)]
    for _ in range(2):
        numbers.append(torch.nextafter(numbers[-1], torch.tensor(2.0, dtype=D)))
    for pair in (numbers[:2], numbers[1:]):
        threshold, accuracy = metrics.best_threshold(torch.stack(pair), torch.tensor([0, 1]))
        assert accuracy == 1.0
        assert metrics.accuracy(torch.stack(pair), torch.tensor([0, 1]), threshold) == 1.0


def test_accuracy():
    scores = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    labels = torch.tensor([False, True, True, True])
    assert metrics.accuracy(scores, labels) == 0.75  # a score at the threshold is negative
    assert metrics.accuracy(scores, labels, 1.0) == 0.5


def test_true_contributions():
    yhat, drops = draw(6), draw(6, 3, seed=1)
    truth, keep = metrics.true_contributions(yhat, drops)
    for b in range(6):
        total = sum(drops[b].tolist())
        for p in range(3):
            expected = float(yhat[b]) * float(drops[b, p]) / total
            assert float(truth[b, p]) == pytest.approx(expected, rel=1e-12)
        assert bool(keep[b]) == (float(yhat[b]) > 0 and total > 0.1 * abs(float(yhat[b])))
    assert keep.any() and not keep.all()
    torch.testing.assert_close(truth.sum(dim=1), yhat)


def test_true_contributions_hygiene():
    yhat = torch.tensor([2.0, -2, 2, 2, 2])
    drops = torch.tensor([[1.0, 1], [-1, -1], [0.1, 0.05], [-3, 1], [0, 0]])
    truth, keep = metrics.true_contributions(yhat, drops)
    assert keep.tolist() == [True, False, False, False, False]
    assert truth[4].isnan().all() and truth[:4].isfinite().all()


def test_contribution_error():
    contributions, truth, yhat = draw(5, 3), draw(5, 3, seed=1), draw(5, seed=2).abs()
    found = metrics.contribution_error(contributions, truth, yhat)
    for p in range(3):
        error = sum(abs(float(contributions[b, p] - truth[b, p])) for b in range(5)) / 5
        assert float(found[p]) == pytest.approx(error / (sum(yhat.tolist()) / 5), rel=1e-12)
    assert metrics.contribution_error(truth, truth, yhat).tolist() == [0, 0, 0]


def test_rescaled_contributions_forget_the_bias():
    """Contributions that are the truth times a factor are right in their shares."""
    truth, yhat = draw(5, 3).abs(), draw(5, seed=2).abs()
    truth = truth / truth.sum(1, keepdim=True) * yhat[:, None]
    factor = 1 + draw(5, 1, seed=3).abs()
    assert metrics.contribution_error(factor * truth, truth, yhat).min() > 0.01
    rescaled = metrics.rescale(factor * truth, yhat)
    torch.testing.assert_close(rescaled, truth)
    torch.testing.assert_close(rescaled.sum(1), yhat)


def test_one_image():
    one = torch.tensor([2.0])
    found = metrics.contribution_error(torch.ones(1, 2), torch.zeros(1, 2), one)
    assert found.tolist() == [0.5, 0.5]
    assert metrics.relative_deviation(one, one + 1, yhat_range=4.0).tolist() == [0.25]


NAN = torch.tensor([1.0, float("nan")])
TWO = torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.contribution_entropy(TWO), "^contributions: shape"),
        (lambda: metrics.contribution_entropy(NAN[None]), "^contributions: 1 of 2"),
        (lambda: metrics.relative_deviation(TWO, TWO[:1]), "^explained: shape"),
        (lambda: metrics.relative_deviation(torch.ones(2), TWO), "^yhat_range: 0.0 is not above 0"),
        (lambda: metrics.relative_deviation(TWO, TWO, 0.0), "^yhat_range: 0.0 is not above 0"),
        (lambda: metrics.relative_deviation(TWO, NAN), "^explained: 1 of 2"),
        (lambda: metrics.relative_deviation(TWO[:0], TWO[:0]), "^yhat: no images"),
        (lambda: metrics.best_threshold(TWO, torch.tensor([0, 2])), "^labels: hold other"),
        (lambda: metrics.best_threshold(NAN, TWO > 1), "^scores: 1 of 2"),
        (lambda: metrics.best_threshold(TWO[:0], TWO[:0] > 1), "^scores: no images"),
        (lambda: metrics.accuracy(TWO, torch.tensor([True])), "^labels: shape"),
        (lambda: metrics.true_contributions(TWO, TWO), "^drops: shape"),
        (lambda: metrics.true_contributions(NAN, torch.ones(2, 2)), "^yhat: 1 of 2"),
        (lambda: metrics.contribution_error(NAN[None], TWO[None], TWO[:1]), "^contributions: 1"),
        (lambda: metrics.contribution_error(TWO[None], TWO[None], -TWO[:1]), "^yhat: its mean -1"),
        (lambda: metrics.contribution_error(torch.ones(0, 2), torch.ones(0, 2), TWO[:0]),
         "^yhat: no images"),
        (lambda: metrics.rescale(torch.tensor([[1.0, -1.0]]), TWO[:1]), "^contributions: add up"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_balanced_accuracy_by_hand():
    found = torch.tensor([1, 1, 0, 0, 0, 0]).bool()
    labels = torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    assert balanced_accuracy(found, labels) == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert balanced_accuracy(torch.ones(6).bool(), labels) == 0.5  # always the same answer
    assert balanced_accuracy(found, torch.zeros(6).bool()) is None


def test_rank_agreement_is_scipys_spearman():
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    a = torch.randn(6, 9).double().mul(2).round()  # with equal values
    b = torch.randn(6, 9).double()
    found = metrics.rank_agreement(a, b)
    for mine, u, v in zip(found, a, b):
        assert float(mine) == pytest.approx(stats.spearmanr(u.numpy(), v.numpy()).statistic)
    assert float(metrics.rank_agreement(b, b.exp())[0]) == pytest.approx(1)
    assert torch.isnan(metrics.rank_agreement(torch.zeros(1, 3), b[:1, :3]))[0]
