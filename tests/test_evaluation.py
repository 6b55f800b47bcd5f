"""The evaluation of an explainer, against the definitions worked out slowly."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from semquant.explanation import Explanation
from semquant_book.study.evaluation import evaluate, evaluate_attribute, part_errors

GROUPS = ("eye", "ear", "leg")


@pytest.fixture
def case():
    """40 images, 6 filters of two named parts (ear has none) and two unassigned filters."""
    torch.manual_seed(0)
    n = 40
    y, alpha = torch.randn(n, 6).double() + 0.5, torch.rand(n, 6).double()
    yhat = (alpha * y).sum(1) + 0.3 + 0.2 * torch.randn(n).double()
    positive = torch.arange(n) % 2 == 0
    drops = torch.rand(n // 2, 4).double()
    drops[:, 1] = 0
    return Explanation(yhat, y, alpha, 0.3), positive, drops, torch.tensor([0, 0, 2, 2, -1, -1])


def test_part_errors_by_loops(case):
    explanation, positive, drops, assignment = case
    e = explanation[positive]
    merged = e.merge(assignment, GROUPS).contributions
    found = part_errors(merged, e.yhat, drops, assignment, GROUPS)
    kept, error, shares, scores = 0, np.zeros(4), np.zeros(4), 0.0
    for b in range(len(e)):
        score, total = float(e.yhat[b]), float(drops[b].sum())
        if not (score > 0 and total > 0.1 * abs(score)):
            continue
        kept, scores = kept + 1, scores + score
        mine = [0.0] * 4
        for i, part in enumerate(assignment.tolist()):
            mine[part if part >= 0 else 3] += float(e.alpha[b, i] * e.y[b, i])
        for p in range(4):
            truth = score * float(drops[b, p]) / total
            error[p] += abs(mine[p] - truth)
            shares[p] += abs(mine[p] * score / sum(mine) - truth)
    assert 0 < kept < len(e)
    names = (*GROUPS, "unassigned")
    for p, name in enumerate(names):
        if name == "ear":
            assert found["error"][name] is None and found["error_of_shares"][name] is None
            continue
        assert found["error"][name] == pytest.approx(error[p] / scores)
        assert found["error_of_shares"][name] == pytest.approx(shares[p] / scores)
    assert found["kept"] == pytest.approx(kept / len(e))
    assert found["filters"] == {"eye": 2, "ear": 0, "leg": 2, "unassigned": 2}


def test_what_is_said_of_the_concepts_by_loops(case):
    explanation, positive, drops, assignment = case
    found = evaluate(explanation, positive, explanation, positive, drops, assignment, GROUPS)
    e = explanation[positive]
    entropies, active, ignored, positives, parts = [], [], [], [], []
    for y, alpha in zip(e.y.numpy(), e.alpha.numpy()):
        c = [abs(a * v) for a, v in zip(alpha, y)]
        shares = [v / sum(c) for v in c]
        entropies.append(-sum(v * math.log(v) for v in shares))
        reached, count = 0.0, 0
        for v in sorted(shares, reverse=True):
            reached, count = reached + v, count + 1
            if reached >= 0.9:
                break
        active.append(count)
        ignored.append(int(np.argmax(y)) != int(np.argmax(c)))  # a tenth of 6 filters is one
        eye, leg = sum(alpha[:2] * y[:2]), sum(alpha[2:4] * y[2:4])
        positives.append(eye > 0 and leg > 0)
        parts.append([eye, 0.0, leg, sum(alpha[4:] * y[4:])])
    pairs = [np.corrcoef(a, b)[0, 1] for a, b in combinations(parts, 2)]
    assert found["entropy"] == pytest.approx(np.mean(entropies))
    assert found["active_concepts"] == pytest.approx(np.mean(active))
    assert found["ignored_active"] == pytest.approx(np.mean(ignored))
    assert found["positive_parts"] == pytest.approx(np.mean(positives))
    assert found["similarity"] == pytest.approx(np.mean(pairs))


def test_mistakes_are_counted_and_compared(case):
    explanation, positive, drops, assignment = case
    found = evaluate(explanation, positive, explanation, positive, drops, assignment, GROUPS)
    wrong = [bool(s > 0) != bool(p) for s, p in zip(explanation.yhat, positive)]
    said = [bool(t > found["threshold"]) for t in explanation.total]
    same = [a == bool(s > 0) for a, s in zip(said, explanation.yhat)]
    assert found["mistakes"] == sum(wrong)
    assert found["mistakes_repeated"] == pytest.approx(np.mean([s for s, w in zip(same, wrong) if w]))
    assert found["right_repeated"] == pytest.approx(
        np.mean([s for s, w in zip(same, wrong) if not w]))
    spread = float(explanation.yhat.max() - explanation.yhat.min())
    assert found["deviation"] == pytest.approx(
        np.mean([abs(float(r)) / spread for r in explanation.residual]))


def test_a_performer_without_mistakes_has_no_share_of_them(case):
    explanation, positive, drops, assignment = case
    right = explanation.yhat > 0
    drops = torch.rand(int(right.sum()), 4).double()
    found = evaluate(explanation, right, explanation, right, drops, assignment, GROUPS)
    assert found["mistakes"] == 0 and found["mistakes_repeated"] is None


def test_an_attributes_explainer_by_loops(case):
    test, labels, *_ = case
    val = test[20:]
    found = evaluate_attribute(test, labels, val, labels[20:])
    entropy, square, deviation = 0.0, 0.0, 0.0
    span = float(test.yhat.max() - test.yhat.min())
    for b in range(len(test)):
        sizes = [abs(float(test.alpha[b, i] * test.y[b, i])) for i in range(6)]
        entropy -= sum(s / sum(sizes) * math.log(s / sum(sizes)) for s in sizes)
        left = float(test.yhat[b]) - float((test.alpha[b] * test.y[b]).sum()) - test.bias
        square, deviation = square + left**2, deviation + abs(left) / span
    assert found["entropy"] == pytest.approx(entropy / len(test))
    assert found["deviation"] == pytest.approx(deviation / len(test))
    assert found["r2"] == pytest.approx(1 - square / len(test) / float(test.yhat.var(correction=0)))
    said = test.total > found["threshold"]
    assert found["accuracy"] == pytest.approx(float((said == labels).double().mean()))
