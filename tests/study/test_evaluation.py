"""The evaluation of an explainer, against the definitions worked out slowly."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from semquant.explanation import Explanation
from semquant_book.study.evaluation import (
    evaluate, evaluate_attribute, evaluate_reference, part_errors,
)

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


def test_the_truth_is_described_like_an_explanation(case):
    explanation, positive, drops, assignment = case
    drops[::3, 0] = -0.05  # the eye speaks against the score in a third of the images
    e = explanation[positive]
    found = part_errors(e.merge(assignment, GROUPS).contributions, e.yhat, drops, assignment, GROUPS)
    true, above = [], []
    for score, fall in zip(e.yhat.tolist(), drops.tolist()):
        if score > 0 and sum(fall) > 0.1 * score:
            true.append([score * f / sum(fall) for f in fall])
            above.append(fall[0] > 0 and fall[2] > 0)  # of the ear there is no filter
    assert 0 < np.mean(above) < 1
    assert found["true_positive_parts"] == pytest.approx(np.mean(above))
    pairs = [np.corrcoef(a, b)[0, 1] for a, b in combinations(true, 2)]
    assert found["true_similarity"] == pytest.approx(np.mean(pairs))


def test_no_kept_image_has_no_truth(case):
    explanation, positive, drops, assignment = case
    e = explanation[positive]
    found = part_errors(e.merge(assignment, GROUPS).contributions, e.yhat, -drops, assignment, GROUPS)
    assert found["kept"] == 0
    assert found["true_positive_parts"] is None and found["true_similarity"] is None


def test_a_reference_is_scaled_by_one_factor(case):
    explanation, positive, drops, assignment = case
    e = explanation[positive]
    values = e.y * torch.tensor([3.0, 1, 2, 1, 1, 1]).double()
    found = evaluate_reference(values, e.yhat, drops, assignment, GROUPS)
    total = values.sum(1).numpy()
    factor = float(np.linalg.lstsq(total[:, None], e.yhat.numpy(), rcond=None)[0][0])
    assert found["factor"] == pytest.approx(factor)
    merged = torch.zeros(len(values), 4).double()
    for i, part in enumerate(assignment.tolist()):
        merged[:, part] += factor * values[:, i]  # -1 is the last
    own = part_errors(merged, e.yhat, drops, assignment, GROUPS)
    assert found["error"] == pytest.approx(own["error"])
    again = evaluate_reference(values / 7, e.yhat, drops, assignment, GROUPS)  # its unit doesn't matter
    for name in ("error", "error_of_shares"):
        assert again[name] == pytest.approx(found[name])
    assert again["entropy"] == pytest.approx(found["entropy"])


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
