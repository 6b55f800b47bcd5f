"""The study of FunnyBirds on a tiny folder made here: ways, the performer, the record."""

import json
from functools import partial

import pytest
import torch
from birds import OBJECTS, SIDE, folder

from semquant import truth
from semquant_book.datasets import funnybirds
from semquant_book.datasets.funnybirds import COLOURS, OBJECT, PARTS
from semquant_book.folders import data_root
from semquant_book.study import bird_performers, bird_ways, birds as study
from semquant_book.study.bird_ways import WAYS
from semquant_book.study.presets import load_settings
from semquant_book.study.record_book import RECORDS
from semquant_book.study.store import birds_path, read_record, record_of

SMALL = partial(bird_performers.build, filters=6, side=SIDE, trunk=((8, 3, 2), None))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_DATA", str(folder(tmp_path_factory.mktemp("data"), False)))
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        patch.setattr(bird_performers, "build", SMALL)
        patch.setattr(bird_performers, "SIDE", SIDE)
        patch.setattr(bird_performers, "EPOCHS", 2)
        yield funnybirds.read(data_root())


@pytest.fixture(scope="module")
def settings():
    return load_settings("quick")


@pytest.fixture(scope="module")
def record(place, settings):
    said = []
    content = study.collect(settings, said.append)
    assert len(said) == len(WAYS)
    return content


@pytest.fixture(scope="module")
def case(record, place, settings):
    return study.case_of(bird_performers.performer(settings, place), place, settings)


def part_of(code: int) -> int | None:
    """The place of a code among parts and objects."""
    if code >= OBJECT:
        return len(PARTS) + code - OBJECT
    return PARTS.index(list(COLOURS.values())[code - 1]) if code else None


def test_the_performers_maps_are_masked_and_its_head_reads_their_sums():
    net = SMALL(4).eval()
    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    z, x = net.maps(net.prepare(images))
    assert z.shape == (3, 6, 8, 8) == (3, net.n, net.map_size, net.map_size)
    assert (x == 0).float().mean() > 0.2 and net(net.prepare(images)).shape == (3, 4)
    moved = x.roll(2, 2)  # where a filter fires makes no difference
    assert torch.allclose(net.head(moved), net.head(x), atol=1e-5)


def test_augmented_images_are_others_of_the_same_birds():
    torch.manual_seed(0)
    flat = torch.full((4, 3, SIDE, SIDE), 100, dtype=torch.uint8)
    shown = bird_performers.augmented(flat)
    assert shown.std(dim=(1, 2, 3)).max() < 1e-3 and ((shown - 100).abs() <= 20.001).all()
    spot = torch.zeros(4, 3, SIDE, SIDE)
    spot[..., SIDE // 2, SIDE // 2] = 200
    moved = bird_performers.augmented(spot).sum(dim=1).flatten(1).argmax(dim=1)
    assert len(set(moved.tolist())) > 1
    assert max(abs(m // SIDE - SIDE // 2) + abs(m % SIDE - SIDE // 2) for m in moved.tolist()) < SIDE // 4


def test_a_trained_performer_is_kept_with_its_record(record, place, settings):
    about = read_record(record_of(birds_path(0)))
    assert len(about["history"]) == 2 and set(about["metrics"]) == {"val", "test"}
    net = bird_performers.performer(settings, place)
    right = [int(net(net.prepare(image[None])).argmax()) == label for image, label
             in zip(place.images("test", SIDE)[:], place.labels("test").tolist())]
    assert about["metrics"]["test"] == pytest.approx(sum(right) / len(right))


def test_pixels_are_summed_over_parts_with_an_edge(case):
    heat = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    codes = case.codes[:2].clone()
    codes[0, 3:5, 20:22] = list(COLOURS).index((255, 255, 254)) + 1  # the other eye
    found = bird_ways.by_pixels(heat, codes, OBJECTS)
    for i in range(2):
        sums = [0.0] * (len(PARTS) + OBJECTS)
        for code in codes[i].unique().tolist():
            for row in range(SIDE):
                for column in range(SIDE):
                    near = codes[i, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                    if code and (near == code).any():
                        sums[part_of(code)] += float(heat[i, row, column])
        assert torch.cat([found.parts[i], found.objects[i]]).tolist() == pytest.approx(sums, abs=1e-4)
    assert torch.allclose(found.total, heat.sum(dim=(1, 2)))


def test_a_filter_belongs_to_the_parts_where_it_fires(case):
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    x[0, 1] = -1.0  # never fires
    found, cell = bird_ways.by_positions(x, case.codes[:2], OBJECTS), SIDE // 8
    for i in range(2):
        for f in range(3):
            shares = [0.0] * (len(PARTS) + OBJECTS)
            total = sum(max(float(v), 0) for v in x[i, f].flatten())
            for row in range(8):
                for column in range(8):
                    some = case.codes[i, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].flatten()
                    places = [part_of(code) for code in some.tolist()]
                    cover = {p: places.count(p) / len(places) for p in set(places) - {None}}
                    parts = [p for p in cover if p < len(PARTS) and cover[p] >= 0.05]
                    fires = max(float(x[i, f, row, column]), 0) / total if total else 0.0
                    for p in parts:
                        shares[p] += fires / len(parts)
                    for p in cover if not parts else ():
                        shares[p] += fires * cover[p] * (p >= len(PARTS))
            assert found[i, f].tolist() == pytest.approx(shares, abs=1e-5)


def test_the_truths_are_of_the_scores_of_renders(case, place):
    rows, target = torch.tensor([1, 6]), torch.tensor([0, 2])
    net, found = case.net, WAYS["shapley"](case, rows, target)
    for k, (row, label) in enumerate(zip(rows.tolist(), target.tolist())):
        shown = place.decoded(place.renders(place.birds["test"][row]), SIDE)[:]
        values = net(net.prepare(shown))[:, label].detach()
        assert torch.allclose(found.parts[k], truth.shapley(values[None])[0], atol=1e-4)
        removed = WAYS["removals"](case, rows, target)
        assert removed.parts[k].tolist() == pytest.approx(
            [float(values[31] - values[31 ^ 1 << p]) for p in range(5)], abs=1e-4)
    assert found.objects[0].abs().sum() > 0 and found.objects[1].abs().sum() == 0  # no such images


@pytest.mark.parametrize("way", ["pixel_gradient_times_input", "gradient_times_input", "ours", "baseline_positive"])
def test_a_way_explains_the_class_that_it_is_asked_for(case, way):
    rows, target = torch.tensor([0, 3, 5]), torch.tensor([2, 2, 1])
    found = WAYS[way](case, rows, target)
    for k, (row, label) in enumerate(zip(rows.tolist(), target.tolist())):
        image = case.images[[row]].float() / 255
        if way.startswith("pixel"):
            image.requires_grad_()
            (gradient,) = torch.autograd.grad(case.net((image - 0.5) / 0.25)[0, label], image)
            total = float((gradient * image).sum().detach())
        else:
            x = case.net.maps((image - 0.5) / 0.25)[1].detach()
            y, leaf = x.clamp_min(0).sum(dim=(2, 3)), x.clone().requires_grad_()
            if way == "gradient_times_input":
                (gradient,) = torch.autograd.grad(case.net.head(leaf)[0, label], leaf)
                said = (gradient * x).sum(dim=(2, 3))
            else:
                said = case.fitted(way, label).g(x).detach() * y
                assert (said >= 0).all() or "positive" not in way
            total = float(said.sum())
            parts = (said[0, :, None] * case.shares[row, :, : len(PARTS)]).sum(dim=0)
            assert found.parts[k].tolist() == pytest.approx(parts.tolist(), rel=1e-3, abs=1e-4)
        assert float(found.total[k]) == pytest.approx(total, rel=1e-3, abs=1e-3)


def test_a_further_way_is_one_more_entry(case, monkeypatch):
    monkeypatch.setitem(WAYS, "opposite", lambda *asked: type(WAYS["shapley"](*asked))(
        *(-values for values in WAYS["shapley"](*asked))))
    row = study.row_of("opposite", case)[0]
    assert row["error shapley"] == 2 and row["rank_agreement shapley"] == pytest.approx(-1)
    assert row["rescaled_error shapley"] == 0


def test_the_record_has_every_way_beside_the_truth(record):
    assert [row["method"] for row in record["rows"]] == list(WAYS)
    assert record["rows"][0]["error shapley"] == 0 == record["rows"][1]["error removals"]
    assert set(RECORDS["funnybirds"].fields) <= set(record)
    assert record["data"] == {"classes": 4, "suffix": ".jpg", "train": 8, "val": 4, "test": 8, "with_objects": 4}
    assert len(json.dumps(record)) < 20_000
