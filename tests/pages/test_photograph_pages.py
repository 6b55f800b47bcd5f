"""What the pages of photographs and of drawn animals say, from small made-up records and from the kept ones."""

import pandas as pd
import pytest
import torch

from semquant_book.datasets import Images
from semquant_book.pages import animals, photographs
from semquant_book.pages.comparison import paper_frame
from semquant_book.study import records
from semquant_book.study.presets import load_settings


def record(**changes):
    """A run of three filters on two photos."""
    photos = {split: {"positive": 2 + i, "negative": 4 + i} for i, split in enumerate(("train", "val", "test"))}
    metrics = {"accuracy": 0.9, "majority": 0.6, "recall": 0.8, "specificity": 1.0, "part_specificity": 0.5,
               "photos": photos, "wrong": [{"id": "a#0", "score": -0.5}]}
    said = {"scale": "literal", "bias": -1.0, "contributions": [[2.0, 1.0, 0.5], [1.0, 1.0, 1.0]]}
    return {"category": "dog", "seed": 0, "settings": {"preset": "quick"}, "parameters": 1234, "metrics": metrics,
            "data": {"negatives_from": "neg/"}, "other_splits": {"1": metrics | {"accuracy": 0.7}},
            "examples": {"ids": ["b#0", "c#0"], "yhat": [2.4, 2.1], "groups": ["eye", "torso"],
                         "assignment": [1, 1, -1], "ours": said, "baseline": said},
            "explainers": [{"method": m, "scale": s, "seed": k, "history": [f"{m} {s} {k}"]}
                           for m in ("ours", "baseline") for s in ("literal", "scaled") for k in (0, 1)]} | changes


def test_a_page_says_whose_run_it_shows():
    assert "recorded numbers**, of a run on dog photographs with seed 0" in photographs.source(record())
    assert "`records/mine.json`" in photographs.source(record(), "mine.json")


def test_pictures_are_counted_and_the_performer_is_judged():
    table = photographs.counts(record())
    assert table.loc["crops of a dog"].tolist() == [2, 3, 4, 9]
    assert table.loc["photos of neg/"].tolist() == [4, 5, 6, 15]
    said = photographs.judged(record())
    assert "**90.0%** (10 pictures; always saying no would be right in 60.0%)" in said
    assert "2 of its 3 filters" in said and "Over 2 splits" in said and "**80.0%** on average, from 70.0% to 90.0%" in said
    assert "Over" not in photographs.judged(record(other_splits={}))
    assert photographs.splits(record()).data.accuracy.tolist() == [0.9, 0.7]
    assert photographs.misjudged(record()) == "Misjudged test pictures: a#0 (score −0.50)."
    assert "torso 2, unassigned 1" in photographs.named(record())


def test_examples_are_explained_by_part():
    said = photographs.explained(record()["examples"])
    assert said["ours"].contributions.tolist() == [[2.0, 1.0, 0.5], [1.0, 1.0, 1.0]]
    assert "torso +3.00" in photographs.reasons(record()["examples"])
    assert photographs.histories(record()) == {"ours": ["ours literal 0"], "baseline": ["baseline literal 0"]}


def test_figures_on_demand_are_closed_and_described():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    html = photographs.folded("More", {"Cat": record()["examples"]}, bars_too=True).data
    assert html.startswith("<details><summary>More</summary>") and html.count("<figure") == 2
    assert 'alt="Cat: pies' in html and 'alt="Cat: every filter' in html
    assert plt.get_fignums() == before


def test_the_shown_photograph_is_explained_from_its_record():
    kept = records.shown_photograph()
    picture, maps = records.read_photograph(), records.unpacked(kept["maps"])
    assert picture.shape == (3, 224, 224) and maps.shape == (len(kept["assignment"]), 7, 7) and float(maps.min()) == 0
    for scale in ("literal", "scaled"):
        said = photographs.shown_said(scale)
        assert f"score {kept['yhat'][0]:.2f}" in said.replace("+", "") and f"(y {scale}, ours)" in said
        by_part = {}
        for a, v in zip(kept["assignment"], kept["readings"][scale]["ours"]["contributions"][0]):
            by_part[a] = by_part.get(a, 0) + v
        hidden = sum(by_part.get(kept["groups"].index(p), 0) for p in ("torso", "leg", "tail"))
        assert f"make up {hidden / sum(by_part.values()):.0%} of the sum" in said


def test_categories_stand_beside_the_mean_of_the_papers_networks():
    five = pd.concat([records.explainer_frame(records.photographs(c)) for c in ("cat", "dog")])
    entropy, normalised, accuracy, _ = photographs.supplement(five, "literal")
    four = [paper_frame("supplement_entropy", a).dog.ours for a in ("alexnet", "vgg_m", "vgg_s", "vgg16")]
    assert entropy.data.loc["dog", ("Ours", "paper")] == f"{sum(four) / 4:.3f}"
    assert 0.5 < float(normalised.data.loc["dog", ("Ours", "paper")]) <= 1
    assert float(accuracy.data.loc["cat", ("Ours", "this run")]) > 80


def test_networks_from_scratch_stand_beside_the_papers():
    dogs = records.networks("dog")
    entropy = next(photographs.supplement(dogs["explainers"], "literal", "architecture"))
    assert entropy.data.loc["VGG-S", ("Ours", "paper")] == f"{paper_frame('supplement_entropy', 'vgg_s').dog.ours:.3f}"
    assert "115 crops of dogs and 260 negatives" in photographs.from_scratch(dogs)
    assert list(photographs.trained_from_scratch(dogs).data) == ["AlexNet", "VGG-M", "VGG-S", "VGG-16"]


def test_other_categories_errors_are_on_demand():
    five = pd.concat([records.explainer_frame(records.photographs(c)) for c in ("cat", "dog", "sheep")])
    html = photographs.part_tables(five, "scaled").data
    shown, rest = html.split("<details>")
    assert "dog, y scaled" in shown and "cat, y scaled" not in shown
    assert "cat, y scaled" in rest and "sheep, y scaled" in rest


def test_without_a_folder_there_are_no_pictures(tmp_path, capsys):
    assert photographs.pictures_of(record()) is None
    assert photographs.pictures_of(record(), str(tmp_path)) is None
    assert capsys.readouterr().out.startswith("Without pictures: data: ")


@pytest.mark.parametrize("category, second", [("dog", "no ears"), ("bird", "no head")])  # a bird has no ears
def test_drawn_animals_are_shown_whole_and_without_a_part(category, second):
    figure = animals.left_out(load_settings("smoke", categories=[category]), category)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == [label for label in ("complete", "no eyes", second, "no tail") for _ in range(8)]


def test_negatives_are_counted():
    kinds = ["dog", "cat", "background", "cat"]
    images = Images(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([True, False, False, False]), kinds,
                    list("abcd"))
    assert animals.negatives_said(images) == "Negatives of the test images: background 1, cat 2."
