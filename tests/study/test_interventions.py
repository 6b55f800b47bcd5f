"""Truths made in the picture: what changes in it, and what is asked of the scores, on smoke performers."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from semquant.checks import InputError
from semquant_book.datasets import Images
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.drawn.shading import blurred
from semquant_book.datasets.names import ATTRIBUTES, CATEGORIES
from semquant_book.study import experiment2, interventions, ranking
from semquant_book.study.performing import scores
from semquant_book.study.presets import load_settings
from semquant_book.study.record_book import RECORDS

ALL = 2**7 - 1  # of a dog's parts


@pytest.fixture(scope="module")
def shown(run):
    numbers = ranking.recognised(run, 2)
    return run, numbers, [run.images("test").ids[i] for i in numbers.tolist()]


def owned(name, group):
    """The pixels of which any of the four finer ones shows a part of a group."""
    parts = [animals.PARTS.index(p) + 1 for p in animals.PARTS_OF["dog"] if animals.GROUP_OF[p] == group]
    own = np.isin(animals._paint(*animals.parse_id(name), 64, frozenset())[1], parts)
    return own.reshape(64, 2, 64, 2).any(axis=(1, 3))


def test_with_every_part_the_picture_is_the_data_sets_to_the_bit(shown):
    run, numbers, names = shown
    for i, name in zip(numbers.tolist(), names):
        assert torch.equal(interventions.erased(name, 64)[ALL], run.images("test").images[i])


def test_without_a_part_only_its_own_pixels_change(shown):
    players = interventions.players_of("dog")
    assert players == ["eye", "mouth & nose", "ear", "head", "torso", "leg", "tail"]
    for name in shown[2]:
        pictures = interventions.erased(name, 64).permute(0, 2, 3, 1).numpy()
        total = 0
        for p, group in enumerate(players):
            changed = (pictures[ALL ^ 1 << p] != pictures[ALL]).any(axis=2)
            assert not (changed & ~owned(name, group)).any()
            total += changed.any()
        assert total >= 5  # a tail may be hidden
        bare = animals.render(*animals.parse_id(name), without=animals.PARTS_OF["dog"])[0]
        assert np.array_equal(pictures[0], bare)


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_part_of_a_category_is_a_players(category):
    players = interventions.players_of(category)
    assert {animals.GROUP_OF[part] for part in animals.PARTS_OF[category]} == set(players)
    assert len(players) <= 8 and len(interventions.players_of(category, interventions.MERGED)) <= 6


def test_each_coalition_is_scored_with_its_own_parts(shown):
    run, numbers, names = shown
    values = interventions.erasing(run, numbers)
    players, net = interventions.players_of("dog"), run.performer()
    assert values.shape == (2, ALL + 1)
    assert torch.allclose(values[:, ALL], run.measured("test").yhat[numbers], atol=1e-4)
    kept = {"head", "leg"}
    mask = sum(1 << players.index(group) for group in kept)
    gone = [p for p in animals.PARTS_OF["dog"] if animals.GROUP_OF[p] not in kept]
    picture = animals.render(*animals.parse_id(names[1]), without=gone)[0]
    score = scores(net, torch.from_numpy(picture).permute(2, 0, 1)[None], run.settings)[0, 0]
    assert values[1, mask].item() == pytest.approx(score.item(), abs=1e-4)


def test_a_filter_belongs_to_the_player_of_its_name(run, monkeypatch):
    monkeypatch.setattr(type(run), "naming", lambda self: (torch.tensor([0, -1, 3, 6, 5]), None))
    assert run.images("test").groups[:7] == ("eye", "mouth & nose", "ear", "head", "torso", "leg", "tail")
    found = interventions.filters_of(run, interventions.players_of("dog"))
    assert found.tolist() == [0, -1, 3, 6, 5]
    merged = interventions.filters_of(run, interventions.players_of("dog", interventions.MERGED),
                                      interventions.MERGED)
    assert merged.tolist() == [2, -1, 2, 5, 4]  # an eye is part of the head


def test_filters_lose_what_they_no_longer_see(shown):
    run, numbers, names = shown
    found, assignment = interventions.falls(run, numbers), run.naming()[0]
    torso = [p for p in animals.PARTS_OF["dog"] if animals.GROUP_OF[p] == "torso"]
    bare = np.stack([animals.render(*animals.parse_id(name), without=torso)[0] for name in names])
    images = Images(torch.from_numpy(bare).permute(0, 3, 1, 2), torch.ones(2, dtype=torch.bool), ["dog"] * 2, names)
    before, after = run.measured("test").y[numbers], run.measure(images).y
    for p in range(7):
        own = assignment == p
        if not own.any():
            assert found[4, p].isnan()
            continue
        assert found[4, p].item() == pytest.approx(1 - (after[:, own].sum() / before[:, own].sum()).item(), abs=1e-4)


@pytest.fixture(scope="module")
def settings(run):
    return replace(run.settings, face_train_images=40, face_val_images=16, face_test_images=8)


def test_a_face_is_drawn_with_every_coalition_of_attributes(settings):
    pictures = interventions.flipped(settings, 3)
    assert pictures.shape == (64, 3, 32, 32)
    assert len({picture.numpy().tobytes() for picture in pictures}) == 64  # none hides another
    as_is = faces.render(0, "test", 3, 32)
    assert np.array_equal(pictures[63].permute(1, 2, 0), as_is)
    two = faces.render(0, "test", 3, 32, flip=[interventions.FLIPPED[0], interventions.FLIPPED[4]])
    assert np.array_equal(pictures[63 - 1 - 16].permute(1, 2, 0), two)


def test_single_flips_are_those_of_experiment_2(settings):
    logits = interventions.flipping(settings, settings.flip_faces)
    single = experiment2.flips(settings)  # (F, 40, 40)
    for p, name in enumerate(interventions.FLIPPED):
        assert torch.allclose(logits[:, 63 ^ 1 << p], single[:, ATTRIBUTES.index(name)], atol=1e-4)


def photograph(side=64):
    """A left and a right ear, which are one player, an eye, and a head that holds the eye."""
    masks = torch.zeros(1, 4, side, side, dtype=torch.bool)
    masks[0, 0, 2:6, 3:5] = masks[0, 1, 2:6, 40:50] = True
    masks[0, 2, 20:22, 30:33] = True
    masks[0, 3, 10:30, 20] = masks[0, 3, 15, 10:40] = True  # a cross: its box is larger
    picture = torch.randint(0, 256, (1, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Images(picture, torch.tensor([True]), ["dog"], ["a"], masks=torch.from_numpy(
        np.packbits(masks.numpy(), axis=-1)), parts=("lear", "rear", "leye", "head"), groups=("ear", "head"),
        group_of={"lear": "ear", "rear": "ear", "leye": "eye", "head": "head"})


@pytest.mark.parametrize("reference", interventions.HIDDEN)
def test_the_boxes_of_absent_parts_are_hidden_in_a_photograph(reference):
    images = photograph()
    picture, found = images.images[0], interventions.hidden(images, ["ear", "head"], reference)
    other = (torch.from_numpy(blurred(picture.permute(1, 2, 0).numpy(), interventions.BLUR)).permute(2, 0, 1)
             if reference == "blurred" else
             picture.float().mean(dim=(1, 2)).round().to(torch.uint8)[:, None, None].expand(3, 64, 64))
    ears, head = picture.clone(), picture.clone()
    for rows, columns in ((slice(2, 6), slice(3, 5)), (slice(2, 6), slice(40, 50))):
        ears[:, rows, columns] = other[:, rows, columns]
    head[:, 10:30, 10:40] = other[:, 10:30, 10:40]
    assert torch.equal(found[3], picture)
    assert torch.equal(found[2], ears) and torch.equal(found[1], head)
    both = torch.where(ears != picture, ears, head)
    assert torch.equal(found[0], both)


def test_a_reference_that_there_is_not_is_one_line():
    with pytest.raises(InputError, match="^reference: 'blured' is not one of blurred, mean"):
        interventions.hidden(photograph(), ["ear", "head"], "blured")


@pytest.fixture(scope="module")
def record(run, settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_DATA", "")
        for name, value in {"SHOWN": 2, "FACES": 3}.items():
            patch.setattr(interventions, name, value)
        patch.setattr(ranking, "BACKGROUND", 30)
        patch.setattr(ranking, "WAYS", ("ours_scaled", "gradient_times_input", "equal_share"))
        said = []
        content = interventions.collect(settings, said.append)
        assert len(said) == 1 + len(interventions.TARGETS)
        return content


def test_the_record_has_a_row_for_each_way_and_both_truths_of_the_network(record):
    assert set(RECORDS["interventions"].fields) <= set(record) and record["photographs"] is None
    rows = record["animals"]["rows"]
    assert [row["method"] for row in rows] == ["ours_scaled", "gradient_times_input", "equal_share",
                                               "filters_shapley", "filters_removals"]
    for row in rows[:3]:
        assert {f"{m} {t} {where}" for m in interventions.MEASURED for t in ranking.TRUTHS
                for where in ("picture", "network")} <= set(row)
    assert rows[3]["error shapley network"] == rows[4]["error removals network"] == 0
    assert set(record["faces"]["targets"]) == set(interventions.TARGETS)
    for about in record["faces"]["targets"].values():
        assert [row["method"] for row in about["rows"]] == list(interventions.FACE_WAYS)


def shapley(values, players):
    """Over all orders in which the players join: values (B, 2^P) -> (B, P)."""
    found = torch.zeros(len(values), players)
    orders = list(permutations(range(players)))
    for order in orders:
        mask = 0
        for p in order:
            found[:, p] += (values[:, mask | 1 << p] - values[:, mask]) / len(orders)
            mask |= 1 << p
    return found


def test_a_way_is_compared_with_the_pictures_truth_by_its_named_filters(shown, record):
    run, numbers, _ = shown
    right = shapley(interventions.erasing(run, numbers), 7)
    measured = run.measured("test")[numbers]
    with torch.no_grad():
        said = run.explainer("ours", "scaled").g(measured.x) * measured.y
    assignment = run.naming()[0]
    named = torch.stack([said[:, assignment == p].sum(dim=1) for p in range(7)], dim=1)
    error = float((named - right).abs().sum() / right.abs().sum())
    assert record["animals"]["rows"][0]["error shapley picture"] == pytest.approx(error, rel=1e-3)
    about = record["animals"]["truths"][0]
    assert about["picture"]["mean shapley"] == pytest.approx(right.mean(dim=0).tolist(), abs=2e-4)
    assert about["filters"] == [int((assignment == p).sum()) for p in range(7)]


def test_pairs_of_attributes_interact_by_what_both_flips_miss(settings, record):
    target, attributes = "Male", interventions.FLIPPED
    own, about = ATTRIBUTES.index(target), record["faces"]["targets"][target]
    net, missed, single = experiment2.Run(settings, target).performer(), [], []
    for face in range(3):
        def score(*flip):
            picture = torch.from_numpy(faces.render(0, "test", face, 32, flip)).permute(2, 0, 1)
            return scores(net, picture[None], settings)[0, own].item()
        missed.append(score() - score(attributes[1]) - score(attributes[5]) + score(attributes[1], attributes[5]))
        single.append(abs(score() - score(attributes[1])))
    assert about["pairs"][1][5] == about["pairs"][5][1] == pytest.approx(np.mean(missed), abs=2e-4)
    assert about["sizes"][1][5] == pytest.approx(np.mean(np.abs(missed)), abs=2e-4)
    assert about["single"][1] == pytest.approx(np.mean(single), abs=2e-4)
    assert about["pairs"][1][1] == 0


def test_photographs_in_place_of_drawings_are_refused():
    with pytest.raises(InputError, match="^images: 'pascal_part' is not one of drawn"):
        interventions.collect(load_settings("photographs"))
