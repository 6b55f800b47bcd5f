"""The ranking of explanations, on a smoke performer: what is asked, and each measure by hand."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats

from semquant import peers
from semquant.explanation import UNASSIGNED
from semquant_book.study import ranking
from semquant_book.study.record_book import RECORDS


@pytest.fixture(scope="module")
def record(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SHOWN", 6)
        patch.setattr(ranking, "BACKGROUND", 30)
        patch.setattr(ranking.peers, "explain", fewer_samples(peers.explain))
        said = []
        content = ranking.collect(run.settings, said.append)
        assert len(said) == len(content["rows"])
        return content


def fewer_samples(explain):
    sampling = {"shapley_sampling": 2, "kernel_shap": 40, "lime": 40}
    return lambda method, *args, **how: explain(method, *args, samples=sampling.get(method), **how)


CONTRIBUTIONS = torch.tensor([[2.0, -1.0, 3.0, 0.5], [1.0, 0.0, 2.0, -4.0], [4.0, 1.0, 0.5, 0.5]])
RIGHT = torch.tensor([[1.0, 0.5, 2.0, 0.01], [3.0, -1.0, 1.0, -2.0], [2.0, 3.0, 1.0, 0.2]])
YHAT = torch.tensor([3.0, 1.5, 5.0])


@pytest.fixture
def found():
    return ranking.measures(CONTRIBUTIONS, RIGHT, YHAT)


def far(said, right):
    """The mean over images of the summed distances, over that of the summed sizes."""
    distances = [sum(abs(a - b) for a, b in zip(*rows)) for rows in zip(said, right)]
    sizes = [sum(abs(b) for b in row) for row in right]
    return np.mean(distances) / np.mean(sizes)


def test_the_error_counts_a_wrong_sum(found):
    assert found["error"] == pytest.approx(far(CONTRIBUTIONS.tolist(), RIGHT.tolist()), abs=1e-5)
    assert ranking.measures(2 * RIGHT, RIGHT, YHAT)["error"] == 1


def test_the_rescaled_error_does_not(found):
    said = [[c * sum(right) / sum(row) for c in row]
            for row, right in zip(CONTRIBUTIONS.tolist(), RIGHT.tolist())]
    assert found["rescaled_error"] == pytest.approx(far(said, RIGHT.tolist()), abs=1e-5)
    assert ranking.measures(2 * RIGHT, RIGHT, YHAT)["rescaled_error"] == 0


def test_an_image_whose_contributions_add_up_to_nothing_has_no_rescaled_error():
    said = torch.cat([CONTRIBUTIONS, torch.tensor([[1.0, -1.0, 0.0, 0.0]])])
    right, yhat = torch.cat([RIGHT, RIGHT[:1]]), torch.cat([YHAT, YHAT[:1]])
    assert (ranking.measures(said, right, yhat)["rescaled_error"]
            == ranking.measures(CONTRIBUTIONS, RIGHT, YHAT)["rescaled_error"])


def test_the_papers_error_is_against_the_truth_scaled_to_the_score(found):
    right = [[t * y / sum(row) for t in row] for row, y in zip(RIGHT.tolist(), YHAT.tolist())]
    distances = np.abs(CONTRIBUTIONS.numpy() - np.array(right)).mean(axis=0)
    assert found["paper_error"] == pytest.approx(np.mean(distances) / YHAT.numpy().mean(), abs=1e-5)
    # the hygiene rule leaves out an image whose truth adds up to nothing, or with a score below 0
    left_out = ranking.measures(torch.cat([CONTRIBUTIONS] * 2), torch.cat([RIGHT] * 2),
                                torch.cat([YHAT, -YHAT]))
    assert left_out["paper_error"] == found["paper_error"]
    assert ranking.measures(CONTRIBUTIONS, RIGHT, -YHAT)["paper_error"] is None


def test_ranks_and_signs_are_compared_within_an_image(found):
    each = [stats.spearmanr(a, b).statistic for a, b in zip(CONTRIBUTIONS, RIGHT)]
    assert found["rank_agreement"] == pytest.approx(np.mean(each), abs=1e-5)
    # 0.01 is below a twentieth of 2, so it isn't asked for; 0 has neither sign
    assert found["sign_agreement"] == pytest.approx(np.mean([2 / 3, 3 / 4, 1]), abs=1e-5)


def test_entropies_are_compared_over_groups(found):
    def entropy(row):
        return stats.entropy(np.abs(row))

    each = [abs(entropy(a) - entropy(b)) for a, b in zip(CONTRIBUTIONS.numpy(), RIGHT.numpy())]
    assert found["entropy"] == pytest.approx(np.mean(each), abs=1e-5)


GROUPS = 4
SCORES = torch.randn(3, 2**GROUPS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SCORES[:, -1] += 5.0


def on_the_way(order, scores, insert):
    """The scores of coalitions while groups come in an order, or go from all of them, of one image."""
    here = set() if insert else set(range(GROUPS))
    found = [scores[sum(2**p for p in here)]]
    for p in order:
        here = here | {p} if insert else here - {p}
        found.append(scores[sum(2**p for p in here)])
    return sum(found) / len(found)


def share(means):
    """Of one number for each image: what of the score of all groups it is, over that of none."""
    scores = SCORES.tolist()
    return (sum(m - s[0] for m, s in zip(means, scores))) / sum(s[-1] - s[0] for s in scores)


def test_deletion_and_insertion_follow_the_order_of_the_contributions():
    contributions = torch.tensor([[2.0, -1.0, 3.0, 0.5], [1.0, 0.0, 2.0, -4.0], [4.0, 1.0, 0.5, 0.25]])
    found = ranking.paths(contributions, SCORES)
    largest_first = [[2, 0, 3, 1], [2, 0, 1, 3], [0, 1, 2, 3]]
    for name, insert in (("deletion", False), ("insertion", True)):
        means = [on_the_way(order, s, insert) for order, s in zip(largest_first, SCORES.tolist())]
        assert found[name] == pytest.approx(share(means), abs=1e-5)


def test_the_best_order_and_random_ones_are_those_of_all_orders():
    found = ranking.orders(SCORES)
    for name, insert, best in (("deletion", False, min), ("insertion", True, max)):
        each = [[on_the_way(order, s, insert) for order in permutations(range(GROUPS))]
                for s in SCORES.tolist()]
        assert found[f"best_{name}"] == pytest.approx(share([best(means) for means in each]), abs=1e-5)
        assert found["random"] == pytest.approx(share([np.mean(means) for means in each]), abs=1e-5)


def test_of_a_score_that_adds_up_the_contributions_are_the_best_order():
    right = torch.tensor([[3.0, 2.0, 1.0, -1.0], [0.5, 4.0, 1.0, 2.0]], dtype=torch.float64)
    masks = torch.arange(2**GROUPS)[:, None] >> torch.arange(GROUPS) & 1
    values = right @ masks.double().T + 7
    found, best = ranking.paths(right, values), ranking.orders(values)
    assert found == {name: best[f"best_{name}"] for name in ("deletion", "insertion")}
    assert ranking.paths(-right, values)["deletion"] == best["best_insertion"]
    assert best["random"] == 0.5


def test_what_can_not_be_told_is_none():
    found = ranking.measures(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2))
    assert found["rescaled_error"] is found["rank_agreement"] is found["entropy"] is None
    assert found["error"] == 1 and found["sign_agreement"] == 0


def test_groups_are_those_with_filters(run):
    assignment, groups = run.naming()[0], run.images("test").groups
    numbers, names = ranking.groups_of(run)
    said = [groups[p] if p >= 0 else UNASSIGNED for p in assignment.tolist()]
    assert [names[k] for k in numbers.tolist()] == said
    assert set(names) == set(said) and UNASSIGNED not in names[:-1]


def test_the_first_positive_images_that_are_recognised_are_explained(run, monkeypatch):
    positive, test = run.images("test").positive, run.measured("test")
    of = [i for i in range(len(test)) if positive[i] and test.yhat[i] > 0]
    of = of or [i for i in range(len(test)) if positive[i]]
    assert ranking.recognised(run, 3).tolist() == of[:3]
    half = (torch.arange(len(test)) % 4 < 2).float() - 0.5
    monkeypatch.setattr(test, "yhat", half)
    assert ranking.recognised(run, 99).tolist() == [
        i for i in range(len(test)) if positive[i] and half[i] > 0]
    monkeypatch.setattr(test, "yhat", -half.abs())
    assert ranking.recognised(run, 2).tolist() == positive.nonzero()[:2, 0].tolist()


def test_every_way_is_a_row_of_each_performer(record):
    assert [row["method"] for row in record["rows"]] == list(ranking.WAYS)
    assert set(ranking.WAYS) >= {"ours_literal", "baseline_scaled", "lime", "prior"}
    assert set(RECORDS["ranking"].fields) <= set(record)
    assert {f"{m} {t}" for m in ranking.measures(CONTRIBUTIONS, RIGHT, YHAT)
            for t in ranking.TRUTHS} <= set(record["rows"][0])
    assert all(row["seconds"] > 0 for row in record["rows"])
    assert {"deletion", "insertion"} <= set(record["rows"][0])
    assert {"best_deletion", "best_insertion", "random"} <= set(record["truths"][0])


def games(run, numbers, groups):
    """The score of each coalition of groups, by setting all other filters to 0, one at a time."""
    x, head = run.measured("test").x[numbers], run.performer().head
    scores = {}
    with torch.no_grad():
        for mask in range(2 ** (int(groups.max()) + 1)):
            present = torch.tensor([bool(mask >> g & 1) for g in groups.tolist()])
            scores[mask] = head(x * present[None, :, None, None])[:, 0]
    return scores


def test_the_truth_is_that_of_coalitions_of_groups(run, record):
    numbers, (groups, names) = ranking.recognised(run, 6), ranking.groups_of(run)
    scores, players = games(run, numbers, groups), range(len(names))
    shapley = torch.zeros(len(numbers), len(names))
    orders = list(permutations(players))
    for order in orders:
        mask = 0
        for p in order:
            shapley[:, p] += (scores[mask | 1 << p] - scores[mask]) / len(orders)
            mask |= 1 << p
    everyone = 2 ** len(names) - 1
    removals = torch.stack([scores[everyone] - scores[everyone ^ 1 << p] for p in players], dim=1)
    about = record["truths"][0]
    assert about["groups"] == names and about["images"] == len(numbers)
    assert about["filters"] == [groups.tolist().count(k) for k in players]
    for name, right in (("shapley", shapley), ("removals", removals)):
        assert about[f"mean {name}"] == pytest.approx(right.mean(dim=0).tolist(), abs=2e-5)
        assert about[f"negative {name}"] == pytest.approx((right < 0).double().mean().item(), abs=1e-5)
        # the nearest contributions of one sign with the truth's sum keep to the larger side of it
        near = [[max(v, 0) if sum(row) > 0 else min(v, 0) for v in row] for row in right.tolist()]
        near = [[v * sum(row) / sum(kept) for v in kept] for kept, row in zip(near, right.tolist())]
        assert about[f"floor {name}"] == pytest.approx(far(near, right.tolist()), abs=1e-4)
        entropies = [stats.entropy(row.abs().numpy()) for row in right]
        assert about[f"entropy {name}"] == pytest.approx(np.mean(entropies), abs=1e-3)


@pytest.mark.parametrize("way", ["ours_scaled", "baseline_literal", "gradient_times_input"])
def test_a_row_is_of_contributions_that_are_summed_over_groups(run, record, way):
    row = next(row for row in record["rows"] if row["method"] == way)
    numbers, (groups, names) = ranking.recognised(run, 6), ranking.groups_of(run)
    shown, head = run.measured("test")[numbers], run.performer().head
    if way == "gradient_times_input":
        x = shown.x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(head(x.clone()).sum(), x)
        said, bias = (gradient * x.detach()).sum(dim=(2, 3)), head(torch.zeros_like(x[:1]))[0, 0].item()
    else:
        fitted = run.explainer(*way.split("_"))
        with torch.no_grad():
            said, bias = fitted.g(shown.x) * shown.y, fitted.g.bias.item()
    merged = torch.stack([said[:, groups == k].sum(dim=1) for k in range(len(names))], dim=1)
    scores = games(run, numbers, groups)
    everyone = 2 ** len(names) - 1
    removals = torch.stack([scores[everyone] - scores[everyone ^ 1 << p] for p in range(len(names))], dim=1)
    assert row["error removals"] == pytest.approx(far(merged.tolist(), removals.tolist()), rel=1e-2)
    left = (said.sum(dim=1) + bias - shown.yhat).abs().mean() / shown.yhat.abs().mean()
    assert row["completeness"] == pytest.approx(float(left), abs=1e-4)
