"""The run on a pretrained trunk, on made-up maps: splits, balance, the store, records."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.networks.performers import normalise
from semquant_book.datasets import Images, pascal_part
from semquant_book.datasets.names import SPLITS, TRUNK
from semquant_book.files import write_atomic
from semquant_book.study import (
    animal_performers, experiment1, frozen_trunk, inspection, pictures, records,
)
from semquant_book.study.frozen_trunk import Top, maps_of, photograph_settings, without_trunk
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


def drawn(count=60, seed=0):
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
def trunk(tmp_path, monkeypatch):
    """Made-up photographs, split as real ones are, and a trunk that counts what it sees."""
    whole, made = drawn(), Trunk()
    index = pascal_part.Index("dog", [], "neg/", Counter(objects=20, photos=10, negatives=40))

    def crops(root, category, split, size, seed, shares):
        return whole.subset([i for i, name in enumerate(whole.ids)
                             if pascal_part.split_of(name, seed, shares) == split])

    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("SEMQUANT_DATA", str(tmp_path))
    monkeypatch.setattr(pictures, "_crops", crops)
    monkeypatch.setattr(records, "scanned", lambda *_: index)
    for module in (frozen_trunk, animal_performers):
        monkeypatch.setattr(module, "efficientnet_lite0", lambda: made)
    monkeypatch.setattr(frozen_trunk, "TOP", Top(filters=8, fc=8))
    frozen_trunk._kept.cache_clear()
    return made


@pytest.fixture
def run(trunk):
    settings = replace(photograph_settings("smoke", "dog"), performer_epochs=30, performer_lr=5e-3,
                       explainer_epochs=2)
    return experiment1.Run(settings, TRUNK, "dog")


def at(run, seed):
    """The same run with another split."""
    return replace(run, seed=seed, settings=replace(run.settings, data_seed=seed))


def test_settings_are_the_presets_but_for_what_photographs_need():
    made = photograph_settings("smoke", "cat", 3, device="cpu")
    assert (made.preset, made.categories, made.data_seed, made.device) == ("smoke", ("cat",), 3, "cpu")
    assert made.performer_epochs == 1 and made.explainer_epochs == 3 and made.beta == 10
    made = photograph_settings("paper")
    assert made.performer_epochs == 6 and made.explainer_epochs == 36 and made.recipe == "one_cycle"
    assert made.pixels(TRUNK) == 224 and (made.images, made.architectures) == ("pascal_part", (TRUNK,))
    with pytest.raises(InputError, match="preset: 'quik'"):
        photograph_settings("quik")
    with pytest.raises(InputError, match="'dgo' is not one of"):
        photograph_settings("quick", "dgo")


def test_maps_are_of_the_splits_pictures_and_of_the_mirrored_ones(run, trunk):
    for seed in range(3):
        other = at(run, seed)
        for split in SPLITS:
            images, maps = other.images(split).images, maps_of(other.settings, "dog", split)
            assert torch.equal(maps[0], trunk(normalise(images)).half())
            assert torch.equal(maps[1], maps[0].flip(-1)) and maps.dtype == torch.float16


def test_training_sees_training_photos_only_both_ways_and_balanced(run, monkeypatch):
    seen = {}

    def train(top, maps, labels, options, **how):
        seen.update(maps=maps, labels=labels, how=how)
        return []

    monkeypatch.setattr(animal_performers, "train_performer", train)
    run.performer()
    expected = maps_of(run.settings, "dog", "train").flatten(0, 1)
    known = {m.numpy().tobytes() for m in expected}
    assert {m.numpy().tobytes() for m in seen["maps"]} == known
    positive = float(seen["labels"].float().mean())
    assert 0.4 < positive < 0.6 < 1 - float(run.images("train").positive.float().mean())
    half = len(seen["maps"]) // 2
    assert torch.equal(seen["maps"][:half].flip(-1), seen["maps"][half:])
    assert torch.equal(seen["labels"][:half], seen["labels"][half:]) and seen["how"]["flip"] is False


def test_the_fit_sees_mirrored_maps_as_images_of_their_own(run):
    train, images = run.measured("train"), run.images("train")
    assert len(train) == 2 * len(images) and train.w is not None
    top = without_trunk(run.performer())
    with torch.no_grad():
        yhat = top(top.prepare(maps_of(run.settings, "dog", "train").flatten(0, 1)))[:, 0]
    assert torch.allclose(train.yhat, yhat, atol=1e-5)
    assert len(run.measured("test")) == len(run.images("test"))


def test_performer_reads_pictures_and_gives_what_was_measured_on_maps(run):
    images, net = run.images("test"), run.performer()
    with torch.no_grad():
        yhat = net(net.prepare(images.images))[:, 0]
    measured = run.measured("test")
    assert torch.allclose(yhat, measured.yhat, atol=0.02)  # maps are kept in half precision
    assert torch.allclose(run.measure(images).yhat, measured.yhat, atol=0.02)
    assert net(normalise(images.images[:1])).shape == (1, 1)
    # what is kept are the weights that were trained, not the trunk's
    assert not any(name.startswith("features.0.net") for name in net.state_dict())


def test_test_photos_name_no_filter(run, monkeypatch):
    seen, real = [], experiment1.parts.name_filters
    run.performer()  # judging it names filters too

    def name_filters(activation, group_masks, *args, **kwargs):
        seen.append((activation, group_masks))
        return real(activation, group_masks, *args, **kwargs)

    monkeypatch.setattr(experiment1.parts, "name_filters", name_filters)
    experiment1._naming.cache_clear()
    run.naming()
    expected = [run.images(split) for split in ("train", "val")]
    expected = torch.cat([some.subset(some.positive).group_masks(7) for some in expected])
    (activation, masks), = seen
    assert torch.equal(masks, expected) and len(activation) == len(masks)


def test_maps_are_computed_once(run, trunk, tmp_path):
    first = maps_of(run.settings, "dog", "test")
    assert trunk.seen == 120 and first.shape[2:] == (3, 7, 7)
    frozen_trunk._kept.cache_clear()
    assert torch.equal(maps_of(run.settings, "dog", "test"), first) and trunk.seen == 120
    maps_of(at(run, 1).settings, "dog", "train")  # another split of the same pictures
    assert trunk.seen == 120
    kept = next((tmp_path / "build" / "store" / "features").glob("*.safetensors"))
    write_atomic(kept, kept.read_bytes()[:-5])  # damaged
    frozen_trunk._kept.cache_clear()
    assert torch.equal(maps_of(run.settings, "dog", "test"), first) and trunk.seen == 240


def test_other_pictures_are_other_maps(run, trunk, monkeypatch):
    maps_of(run.settings, "dog", "test")
    frozen_trunk._kept.cache_clear()
    before = pictures._crops
    monkeypatch.setattr(pictures, "_crops", lambda *which: replace(
        before(*which), images=255 - before(*which).images))
    maps_of(run.settings, "dog", "test")
    assert trunk.seen == 240


def test_run_measures_and_records(run):
    content = records.collect_photographs(run, other_seeds=[1, 2])
    record = json.loads(json.dumps(content))  # plain numbers and text
    m = record["metrics"]
    assert m["accuracy"] > 0.9 and set(record["other_splits"]) == {"1", "2"}
    assert record["other_splits"]["1"]["photos"] != record["other_splits"]["2"]["photos"]
    test = run.images("test")
    assert m["photos"]["test"] == {"positive": int(test.positive.sum()),
                                   "negative": int((~test.positive).sum())}
    assert len(m["wrong"]) == round((1 - m["accuracy"]) * len(test))
    assert [(e["method"], e["scale"], e["seed"]) for e in record["explainers"]] == [
        (method, scale, seed) for scale in ("literal", "scaled") for seed in (0, 1)
        for method in ("ours", "baseline")]
    assert all(e["metrics"]["performer_accuracy"] == pytest.approx(m["accuracy"])
               for e in record["explainers"])
    assert set(record["references"]) == {"prior", "gradient_times_input", "uniform"}
    frame = records.explainer_frame(record)
    measured = record["explainers"][0]["metrics"]
    assert len(frame) == 8 and frame.loc[0, "entropy"] == measured["entropy"]
    known = [value for value in (frame.loc[0, f"error {part}"] for part in TABLE_3_PARTS)
             if value is not None]
    if known:
        assert frame.loc[0, "error average"] == pytest.approx(sum(known) / len(known))
    # it has the fields of the records that come with the project
    kept = records.photographs("dog")
    assert set(kept) <= set(record) and set(kept["metrics"]) == set(m)
    assert set(kept["examples"]) == set(record["examples"]) and set(kept["data"]) - {
        "filled", "partless"} <= set(record["data"])
    assert set(record["explainers"][0]) - set(kept["explainers"][0]) <= {"optimizer", "bias_start"}
    assert set(kept["explainers"][0]) <= set(record["explainers"][0])


def test_examples_are_the_first_recognised_crops(run):
    shown = inspection.case(run.settings, TRUNK, "dog")
    examples = shown.examples("literal")
    assert len(shown.images) == int(run.images("test").positive.sum())
    assert bool(shown.images.positive.all()) and shown.heatmaps([0]).shape == (1, SIZE, SIZE)
    first = [shown.images.ids.index(i) for i in examples["ids"]]
    recognised = (shown.measured.yhat > 0).nonzero()[:3, 0].tolist()
    assert first[: len(recognised)] == recognised
    for method in ("ours", "baseline"):
        kept, whole = inspection.example(examples, method), getattr(shown, method)
        assert kept.names == whole.names and kept.bias == whole.bias
        assert torch.allclose(kept.contributions, whole.contributions[first], atol=1e-4)
        assert torch.allclose(kept.total, whole.total[first], atol=1e-2)


def test_runs_repeat(run, tmp_path, monkeypatch):
    first = records.collect_photographs(run)
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "again"))
    again = records.collect_photographs(run)
    assert (again["metrics"], again["explainers"]) == (first["metrics"], first["explainers"])


def test_recorded_run_is_complete_and_holds_no_picture():
    record = records.photographs("dog")
    assert record["metrics"]["accuracy"] >= 0.95  # what the page claims
    assert len(record["other_splits"]) >= 4
    assert {e["method"] for e in record["explainers"]} == {"ours", "baseline"}
    assert len(inspection.example(record["examples"], "ours")) == 3
    assert len(json.dumps(record)) < 200_000
    with pytest.raises(InputError, match="no run on 'unicorn' is recorded; accepted .*: .*dog"):
        records.photographs("unicorn")
