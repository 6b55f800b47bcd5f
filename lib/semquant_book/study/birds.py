"""FunnyBirds: a performer's scores of birds without some parts, and what the protocols say of each way."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from semquant import metrics, truth
from semquant.networks.performers import Performer
from semquant_book.datasets import funnybirds
from semquant_book.datasets.funnybirds import PARTS, Birds
from semquant_book.folders import data_root
from semquant_book.study import bird_performers, bird_ways, store
from semquant_book.study.bird_protocols import THRESHOLDS, Scored, background_independence, protocols
from semquant_book.study.bird_ways import WAYS, Case
from semquant_book.study.performing import scores
from semquant_book.study.presets import Settings
from semquant_book.study.ranking import measures, truths_of

__all__ = ["EXAMPLE", "LEARNT", "case_of", "collect", "row_of", "survey"]

LEARNT = 1200  # training images that g and the prior's factor learn from, evenly taken
#: Ways whose importances of one bird are kept.
EXAMPLE = ("shapley", "removals", "ours", "baseline", "gradient_times_input", "pixel_gradient_times_input")


def survey(net: Performer, birds: Birds, settings: Settings) -> Scored:
    """Score the test images, each with every subset of its parts, and without each object behind it."""
    test, size = birds.birds["test"], net.input_size
    most, classes = max(bird.objects for bird in test), len(birds.names)
    renders, objects = [], torch.full((len(test), most, classes), float("nan"))
    for i, bird in enumerate(test):
        renders.append(scores(net, birds.decoded(birds.renders(bird), size), settings))
        without = birds.without_objects(bird)
        if without:
            objects[i, : len(without)] = scores(net, birds.decoded(without, size), settings)
    return Scored(birds.labels("test"), scores(net, birds.images("test", size), settings),
                  torch.stack(renders), objects, birds.models)


def case_of(net: Performer, birds: Birds, settings: Settings) -> Case:
    """Return what ways are asked about: the test images, and the maps of some training images."""
    test, scored = birds.images("test", net.input_size), survey(net, birds, settings)
    net, train = net.to("cpu").eval(), birds.images("train", net.input_size)
    some = train.take(torch.arange(0, len(train), max(1, len(train) // LEARNT)))
    return Case(net, test[:], birds.part_maps("test", net.input_size), scored, _maps(net, test), _maps(net, some))


@torch.inference_mode()
def _maps(net: Performer, images: Tensor) -> Tensor:
    return torch.cat([net.maps(net.prepare(batch))[1] for batch in images.split(256)]).clone()


def row_of(way: str, case: Case) -> tuple[dict, Tensor]:
    """Return what the protocols say of a way, how far its importances are from both truths, as
    `ranking.measures`, and its importances of the labels (N, P)."""
    explain = partial(WAYS[way], case)
    every, labels = torch.arange(len(case.images)), case.scored.labels
    start = time.perf_counter()
    found = explain(every, labels)
    seconds = time.perf_counter() - start
    row = {"method": way, "seconds": round(seconds / len(every), 5)} | {
        name: None if value != value else round(value, 5) for name, value in protocols(case.scored, explain, found).items()}
    yhat = case.scored.of(case.scored.scores, labels)
    for name, right in truths_of(case.scored.of(case.scored.renders, labels)).items():
        row |= {f"{measure} {name}": value for measure, value in measures(found.parts, right, yhat).items()}
    return row, found.parts


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Ask all `WAYS` of the trained performer, and return the record.

    ``rows``: one for each way, see `row_of`; ``seconds`` for an image, with fitting g. ``truth``: of the
    label's score, the mean Shapley value of each part, the share below 0, how far scores are from a sum
    over parts, and how the two truths agree. ``example``: importances of the first bird that is
    classified correctly. ``performer``: its accuracies, size and training.
    """
    birds = funnybirds.read(data_root())
    with store.record(settings, experiment="FunnyBirds", performer_seed=0) as content:
        net = bird_performers.performer(settings, birds)
        about = store.read_record(store.record_of(store.birds_path(0)))
        case = case_of(net, birds, settings)
        scored, labels, rows, said = case.scored, case.scored.labels, [], {}
        for way in WAYS:
            row, said[way] = row_of(way, case)
            rows.append(row)
            say(f"{way}: " + ", ".join(f"{name} {row[name]}" for name in (
                "csdc", "pc", "dc", "distractibility", "sd", "ts", "rank_agreement shapley")))
        values = scored.of(scored.renders, labels)
        right = truths_of(values)
        first = int((scored.predicted == labels).nonzero()[0, 0])
        content |= {
            "rows": rows,
            "performer": {**about["metrics"], "parameters": about["parameters"], "seconds": about["seconds"],
                          "epochs": len(about["history"]), "side": net.input_size, "filters": net.n},
            "data": {"classes": len(birds.names), "suffix": birds.suffix,
                     **{split: len(some) for split, some in birds.birds.items()},
                     "with_objects": int((~scored.objects[:, 0, 0].isnan()).sum())},
            "accuracy": float((scored.predicted == labels).double().mean()),
            "background_independence": round(background_independence(scored), 5),
            "fits": {"epochs": bird_ways.EPOCHS, "images": len(case.train_x), "steps": bird_ways.STEPS},
            "truth": {"parts": list(PARTS), "mean": _rounded(right["shapley"].mean(dim=0)),
                      "negative": float((right["shapley"] < 0).double().mean()),
                      "nonlinearity": float(truth.nonlinearity(values).mean()),
                      "agreement": float(metrics.rank_agreement(*right.values()).nanmean())},
            "example": {"index": first, "label": int(labels[first]),
                        "score": float(scored.scores[first, labels[first]]),
                        "importances": {way: _rounded(said[way][first]) for way in EXAMPLE}}}
    return content


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
