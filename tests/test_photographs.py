"""The run on photographs, on made-up maps: splits, balance, records, the store."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.networks.performers import normalise
from semquant_book.datasets import Images, pascal_part
from semquant_book.files import write_atomic
from semquant_book.study import photographs
from semquant_book.study.photographs import (
    Photographs, accuracies, example, explainer_frame, fit_performer, recipe, recorded, run,
    with_trunk,
)
from semquant_book.study.tables import TABLE_3_PARTS

SIZE = 14


class Trunk(nn.Module):
    """Stands for the pretrained one: a 14 px picture becomes a 7x7 map of its colours."""

    channels, input_size, map_size = 3, SIZE, 7

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return nn.functional.avg_pool2d(images, 2)


def pictures(count=60, seed=0):
    """Dogs have a red square in one corner, their torso; every photo of a dog has two of them."""
    random = np.random.default_rng(seed)
    images = random.integers(100, 156, (count, 3, SIZE, SIZE)).astype(np.uint8)
    masks = np.zeros((count, len(pascal_part.PARTS["dog"]), SIZE, SIZE), np.uint8)
    positive = np.arange(count) < count // 3
    for i in np.flatnonzero(positive):
        top, left = random.integers(0, SIZE - 6, 2)
        images[i, 0, top : top + 6, left : left + 6] = 255
        masks[i, pascal_part.PARTS["dog"].index("torso"), top : top + 6, left : left + 6] = 1
    ids = [f"photo{i // 2}#{i % 2}" if yes else f"other{i}" for i, yes in enumerate(positive)]
    return Images(
        images=torch.from_numpy(images), positive=torch.from_numpy(positive),
        kinds=["dog" if yes else "background" for yes in positive], ids=ids,
        masks=torch.from_numpy(masks).bool(), parts=pascal_part.PARTS["dog"],
        groups=pascal_part.GROUPS,
        group_of={part: pascal_part.GROUP_OF[part] for part in pascal_part.PARTS["dog"]})


@pytest.fixture
def photos():
    images, trunk = pictures(), Trunk()
    maps = [trunk(normalise(p)).half() for p in (images.images, images.images.flip(-1))]
    counts = Counter(objects=20, photos=10, negatives=40)
    return Photographs(pascal_part.Index("dog", [], "neg/", counts), images, torch.stack(maps),
                       trunk)


@pytest.fixture
def settings():
    return recipe("smoke", "dog", 0, filters=8, fc=8, performer_epochs=30, performer_lr=5e-3,
                  explainer_epochs=2)


def test_recipe_takes_the_presets_part():
    made = recipe("smoke", "cat", 3, device="cpu", beta=None)
    assert (made.preset, made.category, made.seed, made.device) == ("smoke", "cat", 3, "cpu")
    assert made.performer_epochs == 1 and made.explainer_epochs == 3 and made.beta == 10
    with pytest.raises(InputError, match="preset: 'quik'"):
        recipe("quik")
    with pytest.raises(InputError, match="'dgo' is not one of"):
        recipe("quick", "dgo")


def test_split_is_whole_and_by_photo(photos):
    for seed in range(3):
        split = photos.split(seed)
        assert sorted(torch.cat(list(split.values())).tolist()) == list(range(60))
        names = [{photos.images.ids[i].partition("#")[0] for i in chosen.tolist()}
                 for chosen in split.values()]
        assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


def test_training_sees_training_photos_only_both_ways_and_balanced(photos, settings, monkeypatch):
    seen = {}

    def train(top, maps, labels, **_):
        seen["maps"], seen["labels"] = maps, labels
        return []

    monkeypatch.setattr(photographs, "train_performer", train)
    fit_performer(photos, settings)
    training = photos.split(0)["train"]
    expected = photos.features[:, training].flatten(0, 1)
    known = {m.numpy().tobytes() for m in expected}
    assert {m.numpy().tobytes() for m in seen["maps"]} == known
    positive = float(seen["labels"].float().mean())
    assert 0.4 < positive < 0.6 < 1 - float(photos.images.positive[training].float().mean())
    half = len(seen["maps"]) // 2
    assert torch.equal(seen["maps"][:half].flip(-1), seen["maps"][half:])


def test_run_measures_and_records(photos, settings, tmp_path):
    before = photos.features.clone()
    result = run(photos, settings, other_seeds=[1])
    assert torch.equal(photos.features, before)
    record = json.loads(json.dumps(result.record))  # plain numbers and text
    m = record["metrics"]
    assert m["accuracy"] > 0.9 and set(record["other_splits"]) == {"1"}
    test = photos.split(0)["test"]
    positive = photos.images.positive[test]
    assert m["photos"]["test"] == {"positive": int(positive.sum()),
                                   "negative": int((~positive).sum())}
    assert len(m["wrong"]) == round((1 - m["accuracy"]) * len(test)) == len(result.wrong_images)
    assert [(e["method"], e["scale"], e["seed"]) for e in record["explainers"]] == [
        (method, scale, seed) for scale in ("literal", "scaled") for seed in (0, 1)
        for method in ("ours", "baseline")]
    assert all(e["metrics"]["performer_accuracy"] == pytest.approx(m["accuracy"])
               for e in record["explainers"])
    shown = result.shown
    assert len(shown.images) == int(positive.sum()) and bool(shown.images.positive.all())
    # the case's performer reads pictures, and gives what was measured on the kept maps
    with torch.no_grad():
        yhat = shown.net(normalise(shown.images.images))[:, 0]
    assert torch.allclose(yhat, shown.measured.yhat, atol=0.02)  # maps are kept in half precision
    assert shown.heatmaps([0]).shape == (1, SIZE, SIZE)
    first = [shown.images.ids.index(i) for i in record["examples"]["ids"]]
    recognised = (shown.measured.yhat > 0).nonzero()[:3, 0].tolist()
    assert first[: len(recognised)] == recognised
    for method in ("ours", "baseline"):
        kept, whole = example(record, method), getattr(shown, method)
        assert kept.names == whole.names and kept.bias == whole.bias
        assert torch.allclose(kept.contributions, whole.contributions[first], atol=1e-4)
        assert torch.allclose(kept.total, whole.total[first], atol=1e-2)
    frame = explainer_frame(record)
    measured = record["explainers"][0]["metrics"]
    assert len(frame) == 8 and frame.loc[0, "entropy"] == measured["entropy"]
    known = [frame.loc[0, f"error {part}"] for part in TABLE_3_PARTS]
    known = [value for value in known if value is not None]
    if known:
        assert frame.loc[0, "error average"] == pytest.approx(sum(known) / len(known))
    again = run(photos, settings).record
    assert again["metrics"] == result.record["metrics"]
    assert again["explainers"] == result.record["explainers"]


def test_other_seeds_change_the_split(photos, settings):
    found = accuracies(photos, settings, [1, 2])
    assert found[1]["photos"] != found[2]["photos"]


def test_performer_for_one_picture(photos, settings):
    whole = with_trunk(fit_performer(photos, settings)[0], photos.trunk)
    assert whole(normalise(photos.images.images[:1])).shape == (1, 1)


def test_maps_are_computed_once(tmp_path, monkeypatch, settings):
    images, trunk = pictures(), Trunk()
    index = pascal_part.Index("dog", [], "neg/", Counter())
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    monkeypatch.setattr(pascal_part, "scan", lambda *_, **__: index)
    monkeypatch.setattr(pascal_part, "load", lambda *_, **__: images)
    monkeypatch.setattr(photographs, "efficientnet_lite0", lambda: trunk)
    first = photographs.photographs("folder", settings)
    assert trunk.seen == 120 and first.features.shape == (2, 60, 3, 7, 7)
    assert torch.equal(first.features[1], first.features[0].flip(-1))
    second = photographs.photographs("folder", settings)
    assert trunk.seen == 120 and torch.equal(first.features, second.features)
    kept = next((tmp_path / "store" / "features").glob("*.safetensors"))
    write_atomic(kept, kept.read_bytes()[:-5])  # damaged
    assert torch.equal(photographs.photographs("folder", settings).features, first.features)
    assert trunk.seen == 240
    changed = images.subset(torch.arange(60).flip(0))  # other pictures are other maps
    monkeypatch.setattr(pascal_part, "load", lambda *_, **__: changed)
    photographs.photographs("folder", settings)
    assert trunk.seen == 360


def test_recorded_run_is_complete_and_holds_no_picture():
    record = recorded("dog")
    assert record["metrics"]["accuracy"] >= 0.95  # what the page claims
    assert len(record["other_splits"]) >= 4
    assert {e["method"] for e in record["explainers"]} == {"ours", "baseline"}
    assert len(example(record, "ours")) == 3
    assert len(json.dumps(record)) < 200_000
    with pytest.raises(InputError, match="no run on 'unicorn' is recorded; accepted .*: .*dog"):
        recorded("unicorn")


def test_test_photos_name_no_filter(photos, settings, monkeypatch):
    seen, real = [], photographs.parts.name_filters

    def name_filters(activation, group_masks, *args, **kwargs):
        seen.append(group_masks)
        return real(activation, group_masks, *args, **kwargs)

    monkeypatch.setattr(photographs.parts, "name_filters", name_filters)
    monkeypatch.setattr(photographs, "_judge", lambda *_: {"wrong": []})  # it asks for test photos'
    run(photos, settings)
    split, positive = photos.split(0), photos.images.positive
    named = torch.cat([split["train"], split["val"]])
    expected = photos.images.subset(named[positive[named]]).group_masks(7)
    assert len(seen) == 1 and torch.equal(seen[0], expected)
