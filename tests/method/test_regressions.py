"""Scores regressed on concepts, against scikit-learn, scipy and functions that are known."""

import pytest
import torch
from scipy.optimize import nnls
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.tree import DecisionTreeRegressor

from semquant import regressions
from semquant.checks import InputError
from semquant.regressions import boosted, concept_head, nonnegative, ridge


def problem(images, n, seed=0, noise=0.5):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(images, n, generator=generator, dtype=torch.float64)
    y = (y + 0.3 * y[:, :1]) * torch.logspace(-1, 1, n, dtype=torch.float64) + 3
    v = torch.randn(n, generator=generator, dtype=torch.float64)
    return y, y @ v - 2 + noise * torch.randn(images, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("images, n", [(60, 8), (200, 40), (20, 30), (5, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_nonnegative_least_squares_is_scipy_s(images, n, seed):
    y, yhat = problem(images, n, seed)
    alpha, bias = nonnegative(y, yhat)
    right, _ = nnls((y - y.mean(0)).numpy(), (yhat - yhat.mean()).numpy())
    assert float(alpha.min()) >= 0
    found = (yhat - y @ alpha - bias).square().sum()
    centred = (yhat - yhat.mean() - (y - y.mean(0)) @ torch.tensor(right)).square().sum()
    assert float(found) == pytest.approx(float(centred), rel=1e-9, abs=1e-9)
    if images > n:  # else others are as good
        torch.testing.assert_close(alpha, torch.tensor(right), rtol=1e-7, atol=1e-9)
        assert 0 < int((alpha > 0).sum()) < n or n < 3


def test_nonnegative_least_squares_of_hard_columns():
    y, yhat = problem(50, 6, noise=0.0)
    y = torch.cat([y, y[:, :1], torch.full((50, 1), 2.0, dtype=torch.float64), -y[:, 1:2]], dim=1)
    alpha, bias = nonnegative(y, yhat)
    right, norm = nnls((y - y.mean(0)).numpy(), (yhat - yhat.mean()).numpy())
    assert float((yhat - y @ alpha - bias).norm()) == pytest.approx(norm, rel=1e-9, abs=1e-9)
    assert float(alpha[7]) == 0  # never varies
    alpha, bias = nonnegative(y, torch.full((50,), 3.0))
    assert alpha.tolist() == [0] * 9 and bias == 3


@pytest.mark.parametrize("images, n", [(60, 8), (200, 40), (20, 30), (7, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_ridge_is_scikit_learn_s(images, n, seed):
    """The strength as well, which RidgeCV chooses by leaving out one image at a time."""
    y, yhat = problem(images, n, seed, noise=20.0)
    alpha, bias = ridge(y, yhat)
    spread, mean = y.std(0, correction=0), y.mean(0)
    strengths = [strength * images for strength in regressions.STRENGTHS]
    model = RidgeCV(strengths).fit(((y - mean) / spread).numpy(), yhat.numpy())
    torch.testing.assert_close(alpha, torch.tensor(model.coef_) / spread, rtol=1e-6, atol=1e-9)
    assert bias == pytest.approx(float(model.intercept_ - alpha @ mean), rel=1e-6)


def test_a_concept_that_never_varies():
    y, yhat = problem(50, 4, noise=0.0)
    third = torch.full((50, 1), 1 / 3, dtype=torch.float64)  # its mean is rounded
    y = torch.cat([y, third], dim=1)
    for fit in (ridge, nonnegative, concept_head):
        alpha, _ = fit(y, yhat)
        assert alpha[4] == 0 and bool(alpha.isfinite().all())
    parts, _ = boosted(y, yhat)
    assert not parts(y)[:, 4].any() and bool(parts(y).isfinite().all())


@pytest.mark.parametrize("images, n", [(300, 5), (60, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_the_concept_head_is_scikit_learn_s_logistic_regression_times_one_factor(images, n, seed):
    y, yhat = problem(images, n, seed, noise=20.0)
    alpha, bias = concept_head(y, yhat)
    unit = y.std(0, correction=0)
    model = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(
        ((y - y.mean(0)) / unit).numpy(), (yhat > 0).numpy())
    logit = torch.tensor(model.decision_function(((y - y.mean(0)) / unit).numpy()))
    factor = float(torch.linalg.lstsq(logit[:, None], yhat[:, None]).solution)
    torch.testing.assert_close(alpha, factor * torch.tensor(model.coef_[0]) / unit, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(y @ alpha + bias, factor * logit, rtol=1e-4, atol=1e-4 * float(yhat.std()))


def test_the_concept_head_learns_decisions_and_not_scores():
    y, yhat = problem(200, 4)
    doubled = torch.where(yhat > 0, 2 * yhat, yhat)  # the same decisions
    (first, _), (second, _) = concept_head(y, yhat), concept_head(y, doubled)
    torch.testing.assert_close(second / second.norm(), first / first.norm())
    assert float(second.norm()) > float(first.norm())
    alpha, bias = concept_head(y, yhat.abs() + 1)  # all decided alike
    assert not alpha.any() and bias == pytest.approx(float(yhat.abs().mean() + 1))


def additive(images=500, seed=0):
    """Scores that are a sum of a step, a parabola and nothing, and the three functions."""
    y = torch.rand(images, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    parts = torch.stack([3.0 * (y[:, 0] > 0.25), 4 * y[:, 1].square(), 0 * y[:, 2]], dim=1)
    return y, parts, parts.sum(dim=1)


def test_boosting_finds_the_functions_of_an_additive_score():
    y, right, yhat = additive()
    parts, bias = boosted(y, yhat)
    at_mean = torch.stack([3.0 * (y[:, 0].mean() > 0.25), 4 * y[:, 1].mean().square(), torch.tensor(0.0)])
    error = (parts(y) - (right - at_mean)).abs().mean(dim=0)
    assert float(error.max()) < 0.15 and float(error[2]) < 0.05
    fresh, right, yhat = additive(200, seed=1)
    left = yhat - parts(fresh).sum(dim=1) - bias
    assert float(left.square().mean()) < 0.05 * float(yhat.var())


def test_contributions_of_boosting_are_what_its_score_loses_at_a_concepts_mean():
    y, _, yhat = additive(100)
    parts, bias = boosted(y, yhat)
    for i in range(3):
        there = y.clone()
        there[:, i] = y[:, i].mean()
        lost = parts(y).sum(dim=1) - parts(there).sum(dim=1)
        torch.testing.assert_close(parts(y)[:, i], lost)
    assert float(parts(y.mean(dim=0, keepdim=True)).abs().max()) < 1e-12


def test_each_step_adds_the_stump_that_explains_the_residual_best():
    """As a slow version adds it: a tree of one split, on bins, its values times the step."""
    y, _, yhat = additive(60)
    share = torch.arange(1, regressions.BINS, dtype=y.dtype) / regressions.BINS
    thresholds = torch.quantile(y, share, dim=0).T.contiguous()
    bins = torch.searchsorted(thresholds, y.T.contiguous()).T.numpy()
    residual, slow = (yhat - yhat.mean()).numpy(), 0.0
    steps = regressions._boosting(y, yhat - yhat.mean(), thresholds)
    for _ in range(40):
        tree = DecisionTreeRegressor(max_depth=1).fit(bins, residual)
        residual = residual - regressions.STEP * tree.predict(bins)
        slow = slow + regressions.STEP * torch.tensor(tree.predict(bins))
        found = regressions._parts(y, next(steps), thresholds).sum(dim=1)
    torch.testing.assert_close(found, slow, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_boosting_explains_as_well_as_scikit_learn_s_without_interactions(seed):
    y, yhat = problem(400, 6, seed, noise=1.0)
    fresh, right = problem(2000, 6, seed, noise=1.0)
    fresh, right = fresh[400:], right[400:]
    model = HistGradientBoostingRegressor(interaction_cst="no_interactions", early_stopping=True,
                                          random_state=0, max_iter=2000).fit(y.numpy(), yhat.numpy())
    theirs = (right - torch.tensor(model.predict(fresh.numpy()))).square().mean()
    parts, bias = boosted(y, yhat)
    mine = (right - parts(fresh).sum(dim=1) - bias).square().mean()
    assert float(mine) < 1.2 * float(theirs)


def test_too_few_images_to_leave_any_out_are_explained_by_their_mean():
    y, _, yhat = additive(3)
    parts, bias = boosted(y, yhat)
    assert not parts(y).any() and bias == pytest.approx(float(yhat.mean()))
    with pytest.raises(InputError, match="^images: 1 given"):
        boosted(y[:1], yhat[:1])
