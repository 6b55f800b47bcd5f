"""Experiment 1: a network that recognises an animal, explained by its interpretable filters.

A run is one frozen object: whatever it is asked for is loaded from the place that belongs to its
settings, or computed and kept there::

    run = Run(settings, "alexnet", "dog")
    net = run.performer()                                   # a CNN with interpretable filters
    train, test = run.measured("train"), run.measured("test")   # x, y, yhat and w of equation (5)
    ours = run.fit(train, prior="measured")                 # equation (3)
    baseline = run.fit(train, prior="none")                 # equation (2) alone
    explanation = ours.explain_measured(test)               # alpha_i y_i, b, residual
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from semquant import parts
from semquant.checks import one_of
from semquant.concepts import FilterConcepts, Measured
from semquant.distillation import FittedExplainer, distill_measured
from semquant.explainers import ExplainerOptions
from semquant.losses import Objective
from semquant.measure import measure
from semquant.networks.performers import Performer
from semquant.rows import Rows
from semquant.training import choose_device, cpu_threads, placed
from semquant_book.datasets import Images
from semquant_book.datasets.names import SCALES, SPLITS, TRUNK
from semquant_book.files import load_or_make
from semquant_book.study import animal_performers, frozen_trunk, store
from semquant_book.study.evaluation import evaluate, evaluate_reference
from semquant_book.study.performing import at_once, depth_of, input_of, options_of
from semquant_book.study.pictures import animals_of
from semquant_book.study.presets import Settings, build_root

__all__ = ["Run", "options"]

CONCEPTS = FilterConcepts("mask")  # x is the mask's output
#: What an explainer is called by the prior it is fitted with, and the other way round.
METHOD_OF = {"measured": "ours", "none": "baseline"}
PRIOR_OF = {method: prior for prior, method in METHOD_OF.items()}


def options(settings: Settings, prior: str = "measured", scale: str = "literal",
            seed: int = 0, optimizer: str = "") -> dict:
    """Return ``objective``, ``explainer`` and ``fit`` of `distill_measured`, as the settings want
    them.

    `prior` is "measured", "uniform", "permuted" or "none"; `scale` "literal", y as it is, or
    "scaled", so that the contributions start as large as the scores vary; `seed` that of g's
    weights and of the order of its batches; `optimizer` "adamw" or "sgd", by default the settings'
    first.
    """
    optimizer = optimizer or settings.explainer_optimizers[0]
    start = getattr(settings, f"explainer_bias_{one_of('scale', scale, SCALES)}")
    rate = settings.explainer_lr if optimizer == "adamw" else settings.explainer_sgd_lr
    return dict(
        objective=Objective(prior, "cross_entropy", settings.beta),
        explainer=ExplainerOptions(depth=depth_of(settings), scale=scale,
                                   bias=0.0 if start == "zero" else start),
        # b is one number in score units: at g's rate it would never get there
        fit=options_of(settings, epochs=settings.explainer_epochs, seed=seed, bias_rate=30.0,
                       batch_size=settings.explainer_batch, learning_rate=rate, optimizer=optimizer))


@dataclass(frozen=True)
class Run:
    """One performer of Experiment 1, and all that is made from it.

    `architecture` is one of the paper's, or ``"efficientnet_lite0"``, whose pretrained trunk is
    frozen (`frozen_trunk`); its training images are measured mirrored as well. `seed` is that of
    the performer's weights and of the order of its batches. `filter_loss` False is the control that
    was trained without the filter loss (the mask stays); with `fading` False its weight stayed what it
    was in the first epoch. Of neither are explainers kept.
    """

    settings: Settings
    architecture: str
    category: str
    seed: int = 0
    filter_loss: bool = True
    fading: bool = True

    @property
    def name(self) -> str:
        """What the run is called in a line."""
        control = "" if self.filter_loss else " (no filter loss)"
        control += "" if self.fading else f" (filter loss {self.settings.filter_loss:g} throughout)"
        return f"{self.architecture} {self.category} seed {self.seed}{control}"

    @property
    def path(self) -> Path:
        """Where the performer's weights belong."""
        return store.performer_path(self.settings, self.architecture, self.category, self.seed,
                                    self.filter_loss, self.fading)

    def images(self, split: str) -> Images:
        """Return the pictures of a split, with their labels and part masks."""
        return animals_of(self.settings, self.category, split, self.architecture)

    def performer(self) -> Performer:
        """Return the trained performer, on the settings' device and in evaluation mode."""
        return _performer(self, build_root())

    def record(self) -> dict:
        """Return the performer's record: accuracy, loss of each epoch, seconds."""
        return store.read_record(store.record_of(self.path))

    def measured(self, split: str, prior: bool | None = None) -> Measured:
        """Return x, y, yhat and w of a split's images; w by default of the training images only."""
        return _measured(self, split, split == "train" if prior is None else prior, build_root())

    def measure(self, images: Images, prior: bool = False, keep_x: bool = True) -> Measured:
        """Measure x, y, yhat and, with `prior`, w of other images."""
        return self._measure(self.performer(), images.images, prior, keep_x)

    def _measure(self, net: Performer, inputs: Tensor | Rows, prior: bool, keep_x: bool) -> Measured:
        return measure(CONCEPTS, net, inputs, 0, prior, keep_x=keep_x,
                       prepare=input_of(net, self.settings.channels_last),
                       batch_size=at_once(net.input_size, 128))

    def keep_x(self) -> bool:
        """Whether x of all images is kept in memory, or else computed anew in every epoch."""
        net = self.performer()
        count = sum(len(self.images(split)) for split in SPLITS)
        return store.in_memory(self.settings.cache, 4 * count * net.n * net.map_size**2,
                               f"{self.architecture} {self.category}: x of all images")

    def naming(self) -> tuple[Tensor, Tensor]:
        """Return each filter's part group (n,), -1 for none, and how well each group fits (n, P).

        Named from the part masks of positive validation images; on a pretrained trunk, where the
        masks are few, those of training images have a say as well.
        """
        return _naming(self, build_root())

    def drops(self, measured: Measured) -> Tensor:
        """Score drops (B, P + 1) when a group's filters are removed; the last: unassigned."""
        net, device = self.performer(), choose_device(self.settings.device)
        assignment, groups = self.naming()[0], len(self.images("test").groups)
        with placed(net, device):
            return torch.cat([parts.drops(lambda x: net.head(x)[:, 0], x.to(device), assignment,
                                          groups).cpu() for x in measured.x.split(256)])

    def fit(self, train: Measured, prior: str = "measured", scale: str = "literal",
            seed: int = 0, optimizer: str = "") -> FittedExplainer:
        """Fit an explainer to measured images: equation (3); with prior "none", equation (2) alone.

        Of ``run.measured("train")`` it is kept, and loaded where it is there; of other images, or
        with a uniform or permuted prior, nothing is kept. See `options`.
        """
        cpu_threads(self.settings.threads)
        how = options(self.settings, prior, scale, seed, optimizer)
        if prior not in METHOD_OF or train is not self.measured("train"):
            return distill_measured(train, **how)
        path = self.explainer_path(METHOD_OF[prior], scale, seed, optimizer)
        about = {"optimizer": how["fit"].optimizer,
                 "bias_start": getattr(self.settings, f"explainer_bias_{scale}")}

        def make() -> FittedExplainer:
            with self._record(method=METHOD_OF[prior], scale=scale, seed=seed, **about) as content:
                fitted = distill_measured(train, **how)
                content["history"] = fitted.history
                content["metrics"] = self.judge(fitted) | {"without_prior": fitted.without_prior}
                content["g"] = {**fitted.g.settings, "parameters": sum(
                    p.numel() for p in fitted.g.parameters())}
            store.write_record(store.record_of(path), content)
            return fitted

        return load_or_make(path, FittedExplainer.load, make, FittedExplainer.save)

    def explainer(self, method: str = "ours", scale: str = "literal", seed: int = 0,
                  optimizer: str = "") -> FittedExplainer:
        """Return a kept explainer by its name: ours, with the prior loss, or the baseline."""
        path = self.explainer_path(method, scale, seed, optimizer)
        if not path.exists():
            self.make_explainers()
        return load_or_make(path, FittedExplainer.load, lambda: self.fit(
            self.measured("train"), PRIOR_OF[method], scale, seed, optimizer), FittedExplainer.save)

    def explainer_path(self, method: str, scale: str, seed: int, optimizer: str = "") -> Path:
        """Where an explainer's weights belong."""
        return store.explainer_path(self.settings, self.architecture, self.category, self.seed,
                                    method, scale, seed, optimizer)

    def explainer_record(self, method: str = "ours", scale: str = "literal", seed: int = 0,
                         optimizer: str = "") -> dict:
        """Return an explainer's record: its measures, the losses of each epoch, seconds."""
        return store.read_record(store.record_of(self.explainer_path(method, scale, seed, optimizer)))

    def _record(self, **about: object) -> AbstractContextManager[dict]:
        return store.record(self.settings, architecture=self.architecture, category=self.category,
                            performer_seed=self.seed, **about)

    def judge(self, fitted: FittedExplainer) -> dict:
        """Return the measures of an explainer of this run's performer, see `evaluation.evaluate`."""
        test, val = self.images("test"), self.images("val")
        return evaluate(fitted.explain_measured(self.measured("test")), test.positive,
                        fitted.explain_measured(self.measured("val")), val.positive,
                        _drops(self, build_root()), self.naming()[0], test.groups)

    def references(self) -> dict:
        """Return the record of what needs no explainer, on the positive test images.

        ``prior``: w_i y_i, the prior weights alone; ``gradient_times_input``: the sum over
        positions of the map times its gradient; ``uniform``: the same weight for every filter. None
        of them has b; `evaluation.evaluate_reference` gives each one factor for all images.
        """
        path = store.reference_path(self.settings, self.architecture, self.category, self.seed)
        if not path.exists():
            store.write_record(path, self._compare())
        return store.read_record(path)

    def _compare(self) -> dict:
        net, test, products = self.performer(), self.images("test"), []
        measured = self.measure(test.subset(test.positive), prior=True)
        for x in measured.x.split(256):
            leaf = x.to(choose_device(self.settings.device)).requires_grad_()
            (gradient,) = torch.autograd.grad(net.head(leaf).sum(), leaf)
            products.append((gradient * leaf.detach()).sum(dim=(2, 3)).cpu())
        contributions = {"prior": measured.w * measured.y,
                         "gradient_times_input": torch.cat(products), "uniform": measured.y}
        assignment = self.naming()[0]
        with self._record() as content:
            drops = _drops(self, build_root())
            content["references"] = {
                name: evaluate_reference(values, measured.yhat, drops, assignment, test.groups)
                for name, values in contributions.items()}
        return content

    def make_performer(self) -> str:
        """Train the performer, and say what came out."""
        self.performer()
        about = self.record()
        return f"{self.name}: accuracy {about['metrics']['accuracy']:.1%} in {about['seconds']:.0f} s"

    def make_explainers(self) -> str:
        """Fit all explainers of the performer, and say how long it took.

        One job fits them all, since they share what costs most: the performer's maps of all images.
        """
        self.references()
        train, seconds, runs = self.measured("train"), 0.0, store.explainer_runs(self.settings)
        for method, *which in runs:
            self.fit(train, PRIOR_OF[method], *which)
            seconds += self.explainer_record(method, *which)["seconds"]
        return f"{self.name}: {len(runs)} explainers in {seconds:.0f} s"


# what a run has computed is remembered for a while; with the folder that it was kept in


@lru_cache(maxsize=2)
def _performer(run: Run, build: Path) -> Performer:
    return animal_performers.performer(run.settings, run.architecture, run.category, run.seed,
                                       run.filter_loss, run.fading)


@lru_cache(maxsize=6)
def _measured(run: Run, split: str, prior: bool, build: Path) -> Measured:
    if run.architecture != TRUNK:
        return run.measure(run.images(split), prior, run.keep_x())
    inputs = animal_performers.inputs_of(run.settings, TRUNK, run.category, split)
    return run._measure(frozen_trunk.without_trunk(run.performer()), inputs, prior, run.keep_x())


@lru_cache(maxsize=4)
def _naming(run: Run, build: Path) -> tuple[Tensor, Tensor]:
    splits = frozen_trunk.TOP.named_by if run.architecture == TRUNK else ("val",)
    images = [run.images(split) for split in splits]
    named = [some.subset(some.positive) for some in images]
    if run.architecture == TRUNK:  # the mirrored ones come last in what was measured
        x = [run.measured(split).x[: len(some)][some.positive]
             for split, some in zip(splits, images)]
    else:
        x = [run.measure(named[0]).x]
    masks = [some.group_masks(run.performer().map_size) for some in named]
    return parts.name_filters(torch.cat(x), torch.cat(masks))


@lru_cache(maxsize=4)
def _drops(run: Run, build: Path) -> Tensor:
    """Of the positive test images."""
    return run.drops(run.measured("test")[run.images("test").positive])
