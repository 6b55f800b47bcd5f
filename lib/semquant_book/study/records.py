"""What a run on photographs leaves behind: a record without any picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from semquant import metrics
from semquant.checks import InputError
from semquant.explanation import Explanation, grad_cam
from semquant_book.datasets import Images
from semquant_book.datasets.names import ATTRIBUTES, METHODS, SPLITS, TRUNK
from semquant_book.folders import real
from semquant_book.study import (
    experiment1, experiment2, face_performers, frozen_trunk, inspection, store, tables)
from semquant_book.study.concept_choice import selection_record
from semquant_book.study.inspection import rounded
from semquant_book.study.pictures import animals_of, scanned
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings, data_root, project_root
from semquant_book.study.store import read_record, record

__all__ = ["Evidence", "collect", "collect_networks", "collect_photograph", "collect_photographs",
           "explainer_frame", "networks", "photographs", "read_photograph", "recorded",
           "shown_photograph", "unpacked"]

EXAMPLES = 4  # faces a target whose contributions a record holds


@dataclass
class Evidence:
    """A run's record, and its tables as `tables.attribute_frame` and its like return them."""

    record: dict
    explainers: pd.DataFrame
    yardsticks: pd.DataFrame
    selection: pd.DataFrame

    @classmethod
    def of(cls, content: dict) -> Evidence:
        """Read a record that `collect` made."""
        return cls(content, *(pd.DataFrame(content[name])
                              for name in ("explainers", "yardsticks", "selection")))

    def example(self, target: str, method: str = "ours") -> tuple[list[str], Explanation]:
        """Return a few test faces' names, and their explanations by ``"ours"`` or ``"baseline"``.
        """
        kept = self.record["examples"][target]
        yhat, y, alpha = map(torch.tensor, (kept["yhat"], kept["y"], kept[method]["alpha"]))
        names = [name for name in ATTRIBUTES if name != target]
        return kept["ids"], Explanation(yhat, y, alpha, kept[method]["bias"], names)


def collect(settings: Settings, performer_seed: int = 0) -> dict:
    """Run what is missing of Experiment 2, and return its record.

    The examples of a target are the first test faces with and without it that the performer
    recognises, two of each.
    """
    with record(settings, experiment=2, performer_seed=performer_seed) as content:
        content["data"] = {split: len(faces_of(settings, split)) for split in SPLITS}
        face_performers.performer(settings, performer_seed)
        content["performer"] = face_performers.record(settings, performer_seed)
        content["examples"], points = {}, []
        for target in settings.targets:
            experiment2.Run(settings, target, performer_seed).make_explainers()
            content["examples"][target] = _examples(settings, target, performer_seed)
            found = selection_record(settings, target, performer_seed)["points"]
            points += [{**point, "target": target.lower()} for point in found]
        content["explainers"] = _rows(tables.attribute_frame(settings, None, [performer_seed]))
        content["yardsticks"] = _rows(tables.yardstick_frame(settings, [performer_seed]))
        content["selection"] = _rows(pd.DataFrame(points))
    return content


def _rows(frame: pd.DataFrame) -> list[dict]:
    """A table as plain numbers and text, rounded to six digits; what is missing is None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{name: round(value, 6) if isinstance(value, float) else value
             for name, value in row.items()} for row in rows]


def _examples(settings: Settings, target: str, performer_seed: int) -> dict:
    run, test = experiment2.Run(settings, target, performer_seed), faces_of(settings, "test")
    truth = run.labels("test")
    said = {method: run.explain(method) for method in METHODS}
    yhat, y = said["ours"].yhat, said["ours"].y
    chosen = torch.cat([torch.nonzero(both)[: EXAMPLES // 2, 0]
                        for both in ((yhat > 0) & truth, (yhat <= 0) & ~truth)])
    return {
        "ids": [test.ids[i] for i in chosen.tolist()],
        "yhat": rounded(yhat[chosen]), "y": rounded(y[chosen]),
        **{method: {"bias": explanation.bias, "alpha": rounded(explanation.alpha[chosen])}
           for method, explanation in said.items()},
    }


def recorded(name: str = "celeba") -> Evidence:
    """Return a run that comes with the project; InputError if there is none of this name."""
    path = _folder() / f"{name}.json"
    if not path.exists():
        raise InputError(f"record: no run named {name} is recorded")
    return Evidence.of(read_record(path))


def _folder() -> Path:
    return project_root() / "book" / "records"


def collect_networks(settings: Settings, category: str) -> dict:
    """Run what is missing of Experiment 1 for one category, and return its record.

    ``performers``, ``explainers`` and ``references``: the rows of `tables.performer_frame`,
    `tables.explainer_frame` and `tables.reference_frame`. ``examples``: by architecture, the
    explanations of a few test images, see `inspection.Case.examples`.
    """
    settings = replace(settings, categories=(category,))
    with record(settings, experiment=1, category=category) as content:
        content["data"] = {split: _counts(animals_of(settings, category, split))
                           for split in SPLITS}
        content["examples"], scale = {}, settings.scales[0]
        for architecture in settings.architectures:
            for seed in range(settings.performer_seeds):
                run = experiment1.Run(settings, architecture, category, seed)
                run.performer()
                if architecture in settings.control_without_filter_loss:
                    replace(run, filter_loss=False).performer()
                run.explainer(scale=scale)
            shown = inspection.case(settings, architecture, category, scale=scale)
            content["examples"][architecture] = shown.examples(scale)
        content["performers"] = _rows(tables.performer_frame(settings))
        content["explainers"] = _rows(tables.explainer_frame(settings))
        content["references"] = _rows(tables.reference_frame(settings))
    return content


def _counts(images: Images) -> dict:
    return {"positive": int(images.positive.sum()), "negative": int((~images.positive).sum())}


def collect_photographs(run: experiment1.Run, scale: str = "literal",
                        other_seeds: Iterable[int] = ()) -> dict:
    """Run what is missing of a category on the pretrained trunk, and return its record.

    `run` is of `frozen_trunk.photograph_settings`, `scale` that of the examples, and on the splits
    of `other_seeds` a performer, and nothing else, is trained and judged. The record has ``data``,
    ``metrics``, ``history`` and ``parameters`` of the performer; ``explainers``, a record each;
    ``references``, see `experiment1.Run.references`; ``other_splits``: the metrics by seed;
    ``examples``, see `inspection.Case.examples`.
    """
    settings = run.settings
    about = dict(architecture=run.architecture, category=run.category, seed=run.seed)
    with record(settings, **about) as content:
        content["settings"] |= asdict(frozen_trunk.TOP)
        index = scanned(data_root(), run.category)
        pictures = torch.cat([run.images(split).images for split in SPLITS])
        content["data"] = {
            "found": str(index), **index.counts, "negatives_from": index.negatives_from,
            "sha256": store.tensor_digest(pictures)}
        content["metrics"] = _judged(run)
        content |= {key: run.record()[key] for key in ("history", "parameters")}
        run.make_explainers()
        content["explainers"] = [
            {key: kept[key] for key in ("architecture", "category", "performer_seed", "method", "scale",
                                        "optimizer", "bias_start", "seed", "metrics", "history")
             if key in kept}  # a store from before there was a choice lacks two
            for kept in (run.explainer_record(*which) for which in store.explainer_runs(settings))]
        content["references"] = run.references()["references"]
        shown = inspection.case(settings, run.architecture, run.category, run.seed, scale=scale)
        content["examples"] = shown.examples(scale)
        content["other_splits"] = {
            str(seed): _judged(replace(run, seed=seed, settings=replace(settings, data_seed=seed)))
            for seed in other_seeds}
    return content


def _judged(run: experiment1.Run) -> dict:
    """A performer's accuracies, its mistakes, and how specific its filters are to parts."""
    images = {split: run.images(split) for split in SPLITS}
    found = {split: run.measured(split).yhat for split in ("val", "test")}
    test, scores = images["test"], found["test"]
    right, positive = (scores > 0) == test.positive, test.positive
    return {
        "accuracy": metrics.accuracy(scores, positive),
        "accuracy_val": metrics.accuracy(found["val"], images["val"].positive),
        "recall": float(right[positive].float().mean()),
        "specificity": float(right[~positive].float().mean()),
        "majority": float((~positive).float().mean()),
        "photos": {split: _counts(some) for split, some in images.items()},
        "wrong": [{"id": test.ids[i], "score": round(float(scores[i]), 2)}
                  for i in torch.nonzero(~right)[:, 0].tolist()],
        "part_specificity": run.record()["metrics"]["part_specificity"],
        "yhat_std": float(scores.std()),
    }


def photographs(category: str = "dog") -> dict:
    """Return the recorded run of a category on the pretrained trunk; InputError if there is none.
    """
    known = {path.stem.removeprefix(f"{TRUNK}-"): path
             for path in real(_folder().glob(f"{TRUNK}-*.json"))}
    if category not in known:
        raise InputError(f"category: no run on {category!r} is recorded; accepted without a folder "
                         f"of photographs: {', '.join(known) or 'none'}")
    return read_record(known[category])


def networks(category: str = "dog") -> dict:
    """Return the record of `collect_networks`, with ``explainers`` and ``references`` as tables."""
    content = read_record(_folder() / f"photographs-{category}.json")
    explainers = tables.arms(pd.DataFrame(content["explainers"]))
    return content | {"explainers": tables.normalised(explainers),
                      "references": tables.normalised(pd.DataFrame(content["references"]))}


def explainer_frame(content: dict) -> pd.DataFrame:
    """Return the metrics of a record's explainers, one row each, as `tables.explainer_frame`."""
    rows = [tables.metrics_row(about) for about in content["explainers"]]
    return tables.normalised(tables.arms(pd.DataFrame(rows)))


#: In ``book/assets``: scikit-image's "chelsea", CC0 by its photographer; ``chelsea.txt`` says so.
PHOTOGRAPH = "chelsea"


def read_photograph() -> torch.Tensor:
    """Return the photograph that may be handed on, (3, 224, 224) uint8, squeezed as crops are."""
    path = project_root() / "book" / "assets" / f"{PHOTOGRAPH}.jpg"
    with Image.open(path) as photo:
        square = photo.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)  # (S, S, 3) -> (3, S, S)


def collect_photograph(run: experiment1.Run) -> dict:
    """Explain the photograph that may be shown, by a run of `frozen_trunk.photograph_settings` of
    cats.

    The record has ``yhat``, ``groups``, ``assignment``; ``readings``: by reading of y's scale the
    first seed's ours and baseline, as `inspection.example` takes them; ``maps`` of the filters and
    ``heat``, Grad-CAM, packed.
    """
    about = dict(architecture=run.architecture, category=run.category, seed=run.seed)
    with record(run.settings, **about) as content:
        content["settings"] |= asdict(frozen_trunk.TOP)
        net, picture = run.performer(), read_photograph()[None]
        measured = run.measure(Images(picture, torch.tensor([True]), [run.category], [PHOTOGRAPH]))
        content["metrics"] = run.record()["metrics"]
        content["groups"] = list(run.images("test").groups)
        content["assignment"] = run.naming()[0].tolist()
        content["yhat"] = rounded(measured.yhat)
        content["readings"] = {}
        for scale in run.settings.scales:
            said = {method: run.fit(run.measured("train"), prior, scale).explain_measured(measured)
                    for prior, method in experiment1.METHOD_OF.items()}
            content["readings"][scale] = {
                method: {"scale": scale, "bias": e.bias, "contributions": rounded(e.contributions)}
                for method, e in said.items()}
        device = next(net.parameters()).device
        heat = grad_cam(net, "mask", net.prepare(picture.to(device)), 0).cpu()[:, None]
        content["maps"] = _packed(measured.x[0].clamp_min(0))
        content["heat"] = _packed(adaptive_avg_pool2d(heat, 28)[0, 0])
    return content


def _packed(maps: torch.Tensor) -> dict:
    """Maps of at least 0 as whole numbers to 255, and what 255 stands for."""
    peak = float(maps.max())
    return {"peak": peak, "values": store.pack((255 * maps / (peak or 1)).round(), "u1")}


def unpacked(packed: dict) -> torch.Tensor:
    """Return maps that a record keeps as whole numbers."""
    return torch.from_numpy(store.unpack(packed["values"]).copy()).float() * (packed["peak"] / 255)


def shown_photograph() -> dict:
    """Return the record of the photograph that may be shown, see `collect_photograph`."""
    return read_record(_folder() / f"{PHOTOGRAPH}.json")
