"""Experiment 2: a network of 40 face attributes; four of them explained by the other outputs.

``Run(settings, "Attractive")`` is used as that of `experiment1`; w is that of section 3.1, Case 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant import metrics, priors
from semquant.checks import InputError, number, one_of
from semquant.concepts import Measured, OutputConcepts, Outputs
from semquant.distillation import FittedExplainer, distill_measured
from semquant.explainers import ExplainerOptions
from semquant.explanation import Explanation
from semquant.losses import Objective
from semquant.measure import survey
from semquant.networks.performers import Performer
from semquant.rows import Computed, Rows
from semquant.training import choose_device, cpu_threads
from semquant_book.datasets.drawn import faces
from semquant_book.datasets.names import ATTRIBUTES, CONTROLS, SPLITS
from semquant_book.files import load_or_make
from semquant_book.study import face_performers, store
from semquant_book.study.evaluation import evaluate_attribute
from semquant_book.study.performing import at_once, depth_of, input_of, options_of, scores
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings

__all__ = ["Run", "change", "concepts_of", "flips", "make_flips", "make_surveys", "options",
           "outputs", "survey_of", "target_index"]

#: The shared feature x is the first FC layer's output, before or after its ReLU.
CONCEPTS = {side: OutputConcepts(layer, "mask", list(ATTRIBUTES))
            for side, layer in (("before", "head.3"), ("after", "head.4"))}
#: Standard deviation of the initial weights of g's last layer.
LAST_STD = {"near_zero": 1e-3, "default": None}


def target_index(target: str) -> int:
    """Return the position of a target among the 40 outputs; InputError for an attribute there is
    not.
    """
    return ATTRIBUTES.index(one_of("target", target, ATTRIBUTES))


def concepts_of(target: str, concepts: int | list[str] | None = None, seed: int = 0) -> list[int]:
    """Return which outputs explain a target, as positions among the 40, in CelebA's order.

    So many of the others, drawn at random by `seed`, a larger number containing those of a smaller
    one; or the named ones; or all 39. InputError for an attribute that there is not, the target
    among its own concepts, or more concepts than there are.
    """
    own = target_index(target)
    others = [i for i in range(len(ATTRIBUTES)) if i != own]
    if concepts is None:
        return others
    if isinstance(concepts, int):
        number(f"concepts of {target}", concepts, 1, len(others), integer=True)
        generator = torch.Generator().manual_seed(1000 * own + seed)  # each target has its own
        drawn = torch.randperm(len(others), generator=generator)
        return sorted(others[i] for i in drawn[:concepts].tolist())
    found = {target_index(name) for name in concepts}
    if own in found:
        raise InputError(f"concepts: {target} is the target itself; accepted: the other 39")
    if not found or len(found) < len(concepts):
        raise InputError(f"concepts: {', '.join(concepts) or 'none'}: accepted are one or more "
                         "attributes, each once")
    return sorted(found)


def survey_of(net: Performer, images: Tensor | Rows, settings: Settings,
              keep_x: bool = True) -> Outputs:
    """Return x, all scores and what all targets' priors need, of images (N, 3, S, S) uint8."""
    return survey(CONCEPTS[settings.shared], net, images, keep_x=keep_x,
                  batch_size=at_once(net.input_size, 128),
                  prepare=input_of(net, settings.channels_last))


def outputs(settings: Settings, split: str, seed: int = 0) -> Outputs:
    """Return `survey_of` all faces of a split, kept; x with it, where it fits into memory."""
    return _outputs(store.survey_path(settings, seed, split), settings, split, seed)


@lru_cache(maxsize=len(SPLITS))
def _outputs(path: Path, settings: Settings, split: str, seed: int) -> Outputs:

    def make() -> dict[str, Tensor]:
        keep_x, net = _keep_x(settings), face_performers.performer(settings, seed)
        found = survey_of(net, faces_of(settings, split).images, settings, keep_x)
        return {"scores": found.scores, "products": found.products} | (
            {"x": found.x.contiguous()} if keep_x else {"shape": torch.tensor(found.x.shape)})

    kept = load_or_make(path, load_file, make, save_file)
    if "x" not in kept:
        net = face_performers.performer(settings, seed)
        prepare = input_of(net, settings.channels_last)
        kept["x"] = Computed(
            faces_of(settings, split).images, lambda batch: net.maps(prepare(batch))[1],
            kept["shape"].tolist(), choose_device(settings.device))
    return Outputs(kept["x"], kept["scores"], kept["products"])


def _keep_x(settings: Settings) -> bool:
    """Whether x of all faces is kept, the same for all splits; the rest always is."""
    net = face_performers.start(replace(settings, weights="fresh"))
    count = sum(len(faces_of(settings, split)) for split in SPLITS)
    size = 4 * count * (net.n * net.map_size**2 + len(ATTRIBUTES) * (1 + len(ATTRIBUTES)))
    return store.in_memory(settings.cache, size, f"x, scores and products of {count:,} faces")


def make_surveys(settings: Settings, seed: int = 0) -> str:
    """Survey all splits."""
    return f"surveyed {sum(len(outputs(settings, split, seed).scores) for split in SPLITS)} faces"


def change(found: Outputs, target: str, control: str = "none", among: list[int] | None = None,
           centre: Tensor | None = None, seed: int = 0) -> Measured:
    """Return the measurements of one target, as they are or spoilt in a controlled way.

    ``"shuffled"``: each image gets the y of another one. ``"constant"``: a single concept that is 1
    in every image, without prior. ``"permuted"``: each concept gets another one's prior weights.
    ``"centred"``: y minus `centre` (n,), the training images' mean, or minus its own mean over the
    images. `among`: which outputs are the concepts, see `concepts_of`.
    """
    one_of("control", control, ("none", *CONTROLS))
    found = found.about(target_index(target), among)
    if control == "shuffled":
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
        found.y = found.y[order]
    elif control == "constant":
        found.y, found.w = torch.ones_like(found.yhat)[:, None], None
    elif control == "permuted":
        found.w = priors.control("permuted", found.w, seed)
    elif control == "centred":
        found.y = found.y - (found.y.mean(dim=0) if centre is None else centre)
    return found


def options(settings: Settings, method: str = "ours", last_layer: str | None = None,
            seed: int = 0) -> dict:
    """Return ``objective``, ``explainer`` and ``fit`` of `distill_measured`, as a method means them.

    alpha may have any sign, y is taken as it is, b starts at the mean score.
    """
    prior = "none" if method in ("baseline", "constant") else "measured"
    last_layer = settings.last_layers[0] if last_layer is None else last_layer
    return dict(
        objective=Objective(prior, "l2", settings.attribute_beta,
                            divide_by_variance=method == "relative"),
        explainer=ExplainerOptions(depth=depth_of(settings), positive=False, scale="literal",
                                   bias="mean", last_std=LAST_STD[last_layer]),
        fit=options_of(settings, epochs=settings.attribute_epochs, seed=seed,
                       batch_size=settings.attribute_batch, learning_rate=settings.attribute_lr))


@dataclass(frozen=True)
class Run:
    """One attribute of Experiment 2 as one performer scores it, and all that explains it.

    `seed` is the performer's. Methods are ``"ours"``, ``"baseline"``, ``"relative"`` (ours, with
    the distillation loss divided by the scores' variance), and the controls of `change`.
    ``last_layer`` is how g's last layer starts, the settings' first by default; ``seed`` of a
    method is that of g's weights, of the order of its batches, and of a control.
    """

    settings: Settings
    target: str
    seed: int = 0

    def performer(self) -> Performer:
        """Return the trained performer, on the settings' device and in evaluation mode."""
        return face_performers.performer(self.settings, self.seed)

    def record(self) -> dict:
        """Return the performer's record: accuracies of all attributes, loss of each epoch."""
        return face_performers.record(self.settings, self.seed)

    def outputs(self, split: str) -> Outputs:
        """Return the measurements of a split that serve all targets."""
        return outputs(self.settings, split, self.seed)

    def labels(self, split: str) -> Tensor:
        """Return which faces of a split have the attribute, (N,) bool."""
        return faces_of(self.settings, split).attributes[:, target_index(self.target)]

    def measured(self, split: str, method: str = "ours", seed: int = 0) -> Measured:
        """Return x, y, yhat and w of a split, as a method's explainer is fitted to or explains them.

        A control's explainer is judged on concepts that are spoilt as in its training.
        """
        control = method if method in CONTROLS else "none"
        centre = None
        if control == "centred":
            centre = self.outputs("train").about(target_index(self.target)).y.mean(dim=0)
        return change(self.outputs(split), self.target, control, centre=centre, seed=seed)

    def fit(self, train: Measured, prior: str = "measured", last_layer: str | None = None,
            seed: int = 0) -> FittedExplainer:
        """Fit an explainer to measured faces: equation (3); with prior "none", equation (2) alone.

        Of ``run.measured("train")`` it is kept, and loaded where it is there; of other faces, other
        values, or with a uniform or permuted prior nothing is kept.
        """
        if prior not in ("measured", "none") or not self._is_own(train):
            how = options(self.settings, "ours", last_layer, seed)
            how["objective"] = replace(how["objective"], prior=prior)
            names = [ATTRIBUTES[i] for i in concepts_of(self.target)]
            names = names if len(names) == train.y.shape[1] else None
            return distill_measured(train, names=names, **how)
        method = "ours" if prior == "measured" else "baseline"
        return self.explainer(method, last_layer, seed, train)

    def _is_own(self, train: Measured) -> bool:
        """Whether these are all training faces as they are, which kept explainers are fitted to."""
        own = self.outputs("train").about(target_index(self.target))
        return train.x is own.x and torch.equal(train.y, own.y) and torch.equal(train.yhat, own.yhat)

    def explainer(self, method: str = "ours", last_layer: str | None = None, seed: int = 0,
                  train: Measured | None = None) -> FittedExplainer:
        """Return a method's explainer, kept or fitted now (to `train`, if it has been measured)."""
        last_layer = self.settings.last_layers[0] if last_layer is None else last_layer
        path = self.explainer_path(method, last_layer, seed)

        def make() -> FittedExplainer:
            cpu_threads(self.settings.threads)
            measured = self.measured("train", method, seed) if train is None else train
            several = measured.y.shape[1] > 1
            names = [ATTRIBUTES[i] for i in concepts_of(self.target)] if several else ["one"]
            with store.record(self.settings, target=self.target, performer_seed=self.seed,
                              method=method, last_layer=last_layer, seed=seed) as content:
                fitted = distill_measured(measured, names=names,
                                          **options(self.settings, method, last_layer, seed))
                content["history"] = fitted.history
                content["metrics"] = self._judge(fitted, method, seed)
            store.write_record(store.record_of(path), content)
            return fitted

        return load_or_make(path, FittedExplainer.load, make, FittedExplainer.save)

    def explainer_path(self, method: str, last_layer: str, seed: int) -> Path:
        """Where an explainer's weights belong."""
        return store.attribute_path(self.settings, self.target, self.seed, method, last_layer, seed)

    def explainer_record(self, method: str = "ours", last_layer: str | None = None,
                         seed: int = 0) -> dict:
        """Return an explainer's record: its measures, the losses of each epoch, seconds."""
        last_layer = self.settings.last_layers[0] if last_layer is None else last_layer
        path = store.record_of(self.explainer_path(method, last_layer, seed))
        if not path.exists():
            self.explainer(method, last_layer, seed)
        return store.read_record(path)

    def explain(self, method: str = "ours", last_layer: str | None = None,
                seed: int = 0) -> Explanation:
        """Return the explanations of all test faces."""
        test = self.measured("test", method, seed)
        return self.explainer(method, last_layer, seed).explain_measured(test)

    def _judge(self, fitted: FittedExplainer, method: str, seed: int) -> dict:
        test, val = (fitted.explain_measured(self.measured(split, method, seed))
                     for split in ("test", "val"))
        found = evaluate_attribute(test, self.labels("test"), val, self.labels("val"))
        if method != "constant" and self.settings.faces == "drawn":
            drops = self.change_of_score()
            found["agreement"] = float(
                metrics.rank_agreement(test.contributions[: len(drops)], drops).nanmean())
        return found

    def change_of_score(self) -> Tensor:
        """Return how far the score falls when each other attribute is flipped, (F, 39).

        The truth that drawings give: positive where the attribute as it is speaks for the target.
        Photographs have none: then F = 0.
        """
        own = target_index(self.target)
        if self.settings.faces != "drawn":
            return torch.empty(0, len(ATTRIBUTES) - 1)
        flipped = flips(self.settings, self.seed)[:, :, own]  # (F, 40)
        as_is = self.outputs("test").scores[: len(flipped), own]
        return (as_is[:, None] - flipped)[:, concepts_of(self.target)]

    def flipped(self, chosen: Sequence[int]) -> Tensor:
        """Return the scores of chosen test faces with each other attribute flipped, (k, 39).

        NaN for faces that were not drawn again: all but the first F.
        """
        found = flips(self.settings, self.seed)[:, concepts_of(self.target), target_index(self.target)]
        nothing = torch.full_like(found[0], torch.nan)
        return torch.stack([found[i] if i < len(found) else nothing for i in chosen])

    def make_explainers(self) -> str:
        """Fit all explainers, the controls' included, and say how long it took."""
        seconds, runs = 0.0, store.attribute_runs(self.settings)
        for run in runs:
            self.explainer(*run)
            seconds += self.explainer_record(*run)["seconds"]
        return f"{self.target}: {len(runs)} explainers in {seconds:.0f} s"


def flips(settings: Settings, seed: int = 0) -> Tensor:
    """Return the scores of the first F test faces with each attribute flipped, (F, 40, 40).

    The middle axis is the attribute that is flipped, the last one that of the logits.
    """

    def make() -> dict[str, Tensor]:
        net, rows = face_performers.performer(settings, seed), []
        for face in range(settings.flip_faces):
            pictures = np.stack([faces.render(settings.data_seed, "test", face, settings.face_size,
                                              (name,)) for name in ATTRIBUTES])
            pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2)
            rows.append(scores(net, pictures, settings))
        return {"scores": torch.stack(rows)}

    return load_or_make(store.flips_path(settings, seed), load_file, make, save_file)["scores"]


def make_flips(settings: Settings, seed: int = 0) -> str:
    """Draw faces again with each attribute flipped, and score them."""
    if settings.faces != "drawn":
        return "photographs have no truth by flipping"
    count, attributes, _ = flips(settings, seed).shape
    return f"scored {count} faces with each of {attributes} attributes flipped"
