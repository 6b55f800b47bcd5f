"""What the explanation explorer is given: arrays of the library's explanations."""

import base64
import io

import numpy as np
import pytest
import torch
from packed import unpacked
from PIL import Image

from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant_book.views.explorer import MASK_SIZE, case, explore

GROUPS = ("ear", "leg", "tail")
ASSIGNMENT = [0, 1, -1, 0]  # no filter of the tail


def made(seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    names = ["ear 0", "leg 1", "none 2", "ear 3"]
    yhat, y = draw(count), draw(count, 4)
    return {name: Explanation(yhat, y, draw(count, 4).abs(), 0.25, names)
            for name in ("ours", "baseline")}


def images(count=2):
    return (torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(7)) * 255).byte()


def test_contributions_and_bias_are_the_explanations():
    methods = made()
    packed = case("net", images(), methods)
    assert [m["name"] for m in packed["methods"]] == list(methods)
    for kept, explanation in zip(packed["methods"], methods.values()):
        found = unpacked(kept["alpha"]) * unpacked(packed["y"])
        assert np.array_equal(found, explanation.contributions.numpy())
        total = found.sum(1) + kept["bias"]
        assert np.allclose(unpacked(packed["yhat"]) - total, explanation.residual.numpy(), atol=1e-6)


def test_explanations_with_values_of_their_own_keep_them():
    merged = {name: e.merge(ASSIGNMENT, GROUPS) for name, e in made().items()}  # alpha is 1
    packed = case("net", images(), merged)
    ours, baseline = packed["methods"]
    assert ours["y"] is None and np.array_equal(unpacked(packed["y"]), merged["ours"].y.numpy())
    assert np.array_equal(unpacked(baseline["y"]), merged["baseline"].y.numpy())


def test_other_readings_of_the_same_images_come_along():
    literal, scaled = made(), made(1)
    for name, e in scaled.items():
        e.yhat, e.y = literal[name].yhat, literal[name].y
    packed = case("net", images(), literal, reading="literal", others={"scaled": scaled})
    assert packed["reading"] == "literal"
    (other,) = packed["others"]
    assert other["name"] == "scaled" and [m["name"] for m in other["methods"]] == list(scaled)
    for kept, explanation in zip(other["methods"], scaled.values()):
        assert kept["y"] is None  # shared with the first
        assert np.array_equal(unpacked(kept["alpha"]) * unpacked(packed["y"]),
                              explanation.contributions.numpy())


def test_groups_without_concepts_are_left_out_and_unassigned_comes_last():
    packed = case("net", images(), made(), assignment=ASSIGNMENT, groups=GROUPS)
    assert packed["groups"] == ["ear", "leg", "unassigned"]
    assert unpacked(packed["part"]).tolist() == [0, 1, 2, 0]
    assert explore(packed).data["colours"]["parts"].keys() == {"ear", "leg", "unassigned"}


def test_maps_and_heat_come_back_to_half_a_step():
    maps = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    packed = case("net", images(), made(), maps=maps)["maps"]
    back = unpacked(packed["values"]) * unpacked(packed["peak"])[..., None, None] / 255
    wanted = maps.clamp_min(0).numpy()
    assert np.abs(back - wanted).max() <= wanted.max() / 510 + 1e-6
    nothing = case("net", images(), made(), heatmaps=torch.zeros(2, 3, 3))["heat"]
    assert unpacked(nothing["values"]).max() == 0


def test_masks_are_one_bit_a_group_in_the_order_of_the_groups():
    masks = torch.zeros(2, 3, 8, 8)
    masks[0, 0, 0, 0] = 1  # ear: bit 0
    masks[1, 1, 7, 7] = 1  # leg: bit 1
    masks[:, 2] = 1  # the tail has no filters, so it has no bit
    bits = unpacked(case("net", images(), made(), assignment=ASSIGNMENT, groups=GROUPS,
                         masks=masks)["masks"])
    wanted = np.zeros((2, MASK_SIZE, MASK_SIZE))
    wanted[0, :8, :8], wanted[1, -8:, -8:] = 1, 2
    assert np.array_equal(bits, wanted)


def test_pictures_are_shown_without_their_normalisation_or_it_is_said():
    plain = images() / 255
    normalised = (plain - 0.5) / 0.25
    wanted = case("net", images(), made())
    undone = case("net", normalised, made(), undo=(0.5, 0.25), note="Test images.")
    assert undone["pictures"] == wanted["pictures"] and undone["note"] == "Test images."
    stretched = case("net", normalised, made(), note="Test images.")
    assert stretched["note"].startswith("Test images. Pictures: ")
    assert stretched["note"].endswith("2 of 2 pictures are stretched to be seen.")
    back = [np.asarray(Image.open(io.BytesIO(base64.b64decode(a.partition(",")[2])))).astype(int)
            for a in (stretched["pictures"][0], wanted["pictures"][0])]
    assert np.abs(back[0] - back[1]).mean() < 12  # not cut off at 0 and 1


def test_a_score_says_yes_or_no_only_where_that_is_known():
    assert case("net", images(), made())["says"] is None
    assert case("net", images(), made(), says=("a dog", "no dog"))["says"] == ["a dog", "no dog"]


def test_pictures_that_cases_share_are_kept_once():
    data = explore(case("a", images(), made()), case("b", images(), made(1))).data
    assert len(data["pictures"]) == 2
    assert [c["pictures"] for c in data["cases"]] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("wrong, said", [
    ({"maps": torch.zeros(2, 3, 5, 5)}, r"maps: \(2, 3\) does not fit \(2, 4\)"),
    ({"heatmaps": torch.zeros(1, 5, 5)}, "heatmaps: 1 does not fit 2"),
    ({"labels": ["one"]}, "labels: 1 does not fit 2"),
    ({"phrases": [("a", "b")]}, "phrases: 1 does not fit 4"),
    ({"assignment": [0, 1], "groups": GROUPS}, r"assignment: shape \(2,\) is not \(4,\)"),
    ({"assignment": ASSIGNMENT, "groups": GROUPS, "masks": torch.zeros(2, 2, 8, 8)},
     r"masks: \(2, 2\) does not fit \(2, 3\)"),
])
def test_what_does_not_fit_is_named(wrong, said):
    with pytest.raises(InputError, match=said):
        case("net", images(), made(), **wrong)


def test_wrong_counts_of_images_and_methods_are_named():
    with pytest.raises(InputError, match="images: 3 does not fit 2"):
        case("net", images(3), made())
    with pytest.raises(InputError, match="methods: none is given"):
        case("net", images(), {})
    with pytest.raises(InputError, match="baseline.*does not fit"):
        case("net", images(), {"ours": made()["ours"], "baseline": made(count=1)["baseline"]})
    with pytest.raises(InputError, match=r"others\['scaled'\]\['ours'\].*does not fit"):
        case("net", images(), made(), reading="literal", others={"scaled": made(count=1)})
    with pytest.raises(InputError, match=r"others\['scaled'\]: \['ours'\] does not fit"):
        case("net", images(), made(), reading="literal", others={"scaled": {"ours": made()["ours"]}})
    with pytest.raises(InputError, match="reading: '' is empty"):
        case("net", images(), made(), others={"scaled": made()})
    with pytest.raises(InputError, match="cases: none is given"):
        explore()


def test_photographs_that_may_not_be_shown_leave_the_numbers():
    packed = case("net", None, made(), assignment=ASSIGNMENT, groups=GROUPS,
                  masks=torch.ones(2, 3, 8, 8), maps=torch.ones(2, 4, 3, 3))
    assert packed["pictures"] is packed["maps"] is packed["masks"] is None
    data = explore(packed).data
    assert data["pictures"] == [] and data["cases"][0]["groups"] == ["ear", "leg", "unassigned"]


def test_what_the_network_says_without_a_part_comes_along():
    scores = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))  # ear, leg, unassigned
    packed = case("net", images(), made(), assignment=ASSIGNMENT, groups=GROUPS, coalitions=scores)
    assert np.array_equal(unpacked(packed["coalitions"]), scores.numpy())
    assert case("net", images(), made())["coalitions"] is None
    assert len(packed["coalitions"]["base64"]) < 100


def test_what_the_network_says_of_a_drawing_with_one_concept_flipped_comes_along():
    flipped = torch.tensor([[1.0, 2.0, 3.0, 4.0], [torch.nan] * 4])
    drawn = [{2: ("No ear", np.zeros((8, 8, 3), np.uint8))}, {}]
    packed = case("net", images(), made(), flipped=flipped, drawings=drawn)
    assert np.array_equal(unpacked(packed["flipped"]), flipped.numpy(), equal_nan=True)
    ((k, words, address),), nothing = packed["drawings"]
    assert (k, words, nothing) == (2, "No ear", []) and address.startswith("data:image/webp")


@pytest.mark.parametrize("wrong, said", [
    ({"coalitions": torch.zeros(2, 16), "assignment": ASSIGNMENT, "groups": GROUPS},
     r"coalitions: \(2, 16\) does not fit \(2, 8\), all coalitions of \['ear', 'leg', 'unassigned'\]"),
    ({"coalitions": torch.zeros(2, 1)}, "coalitions: .* of no groups"),
    ({"flipped": torch.zeros(2, 3)}, r"flipped: \(2, 3\) does not fit \(2, 4\)"),
    ({"drawings": [{}]}, "drawings: 1 does not fit 2")])
def test_scores_that_do_not_fit_are_named(wrong, said):
    with pytest.raises(InputError, match=said):
        case("net", images(), made(), **wrong)
