"""The protocols of FunnyBirds against loops over images and sets, and on explanations made by hand."""

from itertools import combinations

import numpy as np
import pytest
import torch
from birds import MODELS
from scipy import stats

from semquant_book.study import bird_protocols as bp
from semquant_book.study.bird_protocols import Importances, Scored

P, IMAGES, OBJECTS = 5, 24, 3
MODELS = torch.tensor(MODELS)
K = len(MODELS)


def drawn(seed: int = 0) -> tuple[Scored, Importances]:
    """Scores and importances at random; every third image has no images without its objects."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(IMAGES) % K
    renders = torch.randn(IMAGES, 2**P, K, generator=g) + 1
    scores = renders[:, -1] + 0.05 * torch.randn(IMAGES, K, generator=g)
    objects = scores[:, None] + 0.1 * torch.randn(IMAGES, OBJECTS, K, generator=g)
    objects[::3] = torch.nan
    objects[1::3, -1] = torch.nan
    return (Scored(labels, scores, renders, objects, MODELS),
            Importances(torch.randn(IMAGES, P, generator=g), torch.randn(IMAGES, OBJECTS, generator=g),
                        torch.randn(IMAGES, generator=g) + 1))


def named(found: Importances, image: int, threshold: float, objects: bool = False) -> set:
    said = {p: found.parts[image, p] for p in range(P)}
    said |= {("object", n): found.objects[image, n] for n in range(OBJECTS)} if objects else {}
    return {name for name, value in said.items() if float(value) > float(found.total[image]) * threshold}


def mask(parts) -> int:
    return sum(1 << p for p in parts)


def sufficient(label: int) -> list[set]:
    """As published: every subset that no other class has, and of these those that hold none of the others."""
    rows, every = MODELS.tolist(), [set(c) for r in range(1, P + 1) for c in combinations(range(P), r)]
    enough = [s for s in every if not any(all(rows[k][p] == rows[label][p] for p in s)
                                          for k in range(K) if k != label)]
    return [s for s in enough if not any(other < s for other in enough)]


def test_sufficient_sets_are_the_smallest_that_no_other_class_has():
    for label in range(K):
        found = bp.sufficient(MODELS, label)
        assert sorted(map(sorted, found)) == sorted(map(sorted, sufficient(label)))
    # the first class shares beak and eye with one, foot and tail with another, only the wing with the last
    assert {0, 2} in bp.sufficient(MODELS, 0) and {0, 1} not in bp.sufficient(MODELS, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_completeness_is_that_of_loops(seed):
    scored, found = drawn(seed)
    csdc, pc, dc = (check(scored, found) for check in (bp.controlled_check, bp.preservation_check, bp.deletion_check))
    for t in (0, 11, 79):
        threshold, shares, kept, gone = bp.THRESHOLDS[t], [], [], []
        for i in range(IMAGES):
            chosen, predicted = named(found, i, threshold), int(scored.scores[i].argmax())
            if predicted == int(scored.labels[i]):
                shares.append(max(len(s & chosen) / len(s) for s in sufficient(predicted)))
            kept.append(int(scored.renders[i, mask(chosen)].argmax()) == predicted)
            gone.append(int(scored.renders[i, mask(set(range(P)) - chosen)].argmax()) != predicted)
        assert 0 < len(shares) < IMAGES
        assert [float(c[t]) for c in (csdc, pc, dc)] == pytest.approx([np.mean(shares), np.mean(kept), np.mean(gone)])


@pytest.mark.parametrize("seed", [0, 1])
def test_distractibility_and_background_independence_are_those_of_loops(seed):
    scored, found = drawn(seed)
    curve, t, shares, relevant = bp.distractibility(scored, found), 7, [], []
    for i in range(IMAGES):
        if scored.objects[i].isnan().all():
            continue
        label = int(scored.labels[i])
        score = float(scored.scores[i, label])
        after = {p: float(scored.renders[i, 31 ^ 1 << p, label]) for p in range(P)}
        behind = {("object", n): float(scored.objects[i, n, label]) for n in range(OBJECTS)
                  if not scored.objects[i, n, 0].isnan()}
        relevant += [abs(score - value) >= abs(0.05 * score) and score > value for value in behind.values()]
        irrelevant = {name for name, value in (after | behind).items()
                      if abs(score - value) < abs(0.05 * score) or score < value}
        if irrelevant:
            shares.append(len(named(found, i, bp.THRESHOLDS[t], True) & irrelevant) / len(irrelevant))
    assert float(curve[t]) == pytest.approx(1 - np.mean(shares))
    assert bp.background_independence(scored) == pytest.approx(1 - np.mean(relevant))


def test_single_deletion_is_spearmans_from_0_to_1():
    scored, found = drawn()
    found.parts[5] = 1.0  # says nothing: left out
    each = []
    for i in range(IMAGES):
        label = int(scored.labels[i])
        drop = [float(scored.scores[i, label] - scored.renders[i, 31 ^ 1 << p, label]) for p in range(P)]
        if i != 5:
            each.append(stats.spearmanr(drop, found.parts[i]).statistic / 2 + 0.5)
    assert bp.single_deletion(scored, found) == pytest.approx(np.mean(each))
    right = torch.stack([scored.scores[torch.arange(IMAGES), scored.labels]
                         - scored.renders[torch.arange(IMAGES), 31 ^ 1 << p, scored.labels] for p in range(P)], dim=1)
    assert bp.single_deletion(scored, found._replace(parts=right)) == pytest.approx(1)
    assert bp.single_deletion(scored, found._replace(parts=-right)) == pytest.approx(0)


def test_rivals_share_two_parts_each_and_none_of_the_same():
    assert bp.rivals(MODELS).tolist()[0] == [1, 2]
    lonely = torch.tensor([[0] * P, [1] * P, [2] * P])
    assert bp.rivals(lonely).tolist() == [[-1, -1]] * 3


def test_target_sensitivity_is_that_of_loops():
    scored, _ = drawn(3)
    of_class = torch.randn(IMAGES, K, P, generator=torch.Generator().manual_seed(4))

    def explain(rows, target):
        parts = of_class[rows, target]
        return Importances(parts, parts, parts.sum(dim=1))

    answers, rows = [], MODELS.tolist()
    for i in range(IMAGES):
        label, pair = int(scored.labels[i]), bp.rivals(MODELS)[int(scored.labels[i])].tolist()
        if pair == [-1, -1]:
            continue
        same = [{p for p in range(P) if rows[k][p] == rows[label][p]} for k in pair]
        after = [scored.renders[i, 31 ^ mask(s)] for s in same]
        if not (after[0][pair[0]] < after[1][pair[0]] and after[1][pair[1]] < after[0][pair[1]]):
            continue
        said = [[sum(float(of_class[i, k, p]) for p in s) for s in same] for k in pair]
        answers += [said[0][0] > said[1][0], said[0][1] < said[1][1]]
    value, asked = bp.target_sensitivity(scored, explain)
    assert 0 < asked == len(answers) / 2 < IMAGES and value == pytest.approx(np.mean(answers))
    alone = Scored(scored.labels * 0, scored.scores, scored.renders, scored.objects, torch.arange(K)[:, None].expand(-1, P))
    assert bp.target_sensitivity(alone, explain)[1] == 0


def additive(weights: torch.Tensor) -> Scored:
    """A network that adds a weight (K, P) for each part that a bird of class 0 has."""
    present = torch.tensor([[s >> p & 1 for p in range(P)] for s in range(2**P)]).float()
    renders = (present @ weights.T)[None].expand(4, -1, -1)
    objects = renders[:, -1:].expand(-1, OBJECTS, -1)
    return Scored(torch.zeros(4, dtype=torch.long), renders[:, -1], renders, objects, MODELS)


def test_a_perfect_explanation_has_the_best_scores_and_its_opposite_the_worst():
    weights = torch.zeros(K, P)
    weights[0] = torch.tensor([2.0, 0.0, 3.0, 0.0, 0.0])  # beak and foot: a sufficient set of class 0
    weights[1] = torch.tensor([1.0, 1.0, -2.0, -2.0, 0.5])
    weights[2] = torch.tensor([-2.0, -2.0, 1.0, 1.5, 1.0])
    scored = additive(weights)

    def explain(rows, target, sign=1.0):
        parts = sign * weights[target]
        return Importances(parts, torch.zeros(len(rows), OBJECTS), weights[target].sum(dim=1))

    def worst(rows, target):
        found = explain(rows, target, -1.0)
        behind = found.parts.new_full((len(rows), OBJECTS), 9.0)
        return Importances(torch.where(weights[target] == 0, 9.0, found.parts), behind, found.total)

    every = torch.arange(4)
    best = bp.protocols(scored, explain, explain(every, scored.labels))
    assert {name: best[name] for name in ("csdc", "pc", "dc", "distractibility", "ts")} == dict.fromkeys(
        ("csdc", "pc", "dc", "distractibility", "ts"), 1.0)
    assert best["sd"] == pytest.approx(1) and best["ts_images"] == 4
    found = worst(every, scored.labels)
    poor = bp.protocols(scored, worst, found)
    assert poor["distractibility"] == poor["dc"] == poor["ts"] == 0 and poor["sd"] < 0.5
    assert bp.background_independence(scored) == 1


def test_the_threshold_is_the_one_with_the_largest_sum_and_a_wrong_class_is_explained_anew():
    scored, found = drawn(2)
    asked = []

    def explain(rows, target):
        asked.append((rows.tolist(), target.tolist()))
        return Importances(-found.parts[rows], found.objects[rows], found.total[rows])

    row = bp.protocols(scored, explain, found)
    wrong = [i for i in range(IMAGES) if int(scored.scores[i].argmax()) != int(scored.labels[i])]
    assert asked[0] == (wrong, [int(scored.scores[i].argmax()) for i in wrong])
    parts = found.parts.clone()
    parts[wrong] *= -1
    of_predicted = found._replace(parts=parts)
    curves = [bp.controlled_check(scored, found), bp.preservation_check(scored, of_predicted),
              bp.deletion_check(scored, of_predicted), bp.distractibility(scored, found)]
    sums = [float(a / 3 + b / 3 + c / 3 + d) for a, b, c, d in zip(*curves)]
    best = int(np.argmax(sums))
    assert row["threshold"] == bp.THRESHOLDS[best]
    assert [row[n] for n in ("csdc", "pc", "dc", "distractibility")] == pytest.approx([float(c[best]) for c in curves])
