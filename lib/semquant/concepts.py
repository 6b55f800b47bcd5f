"""Visual concepts and their values y: a layer's filters (Case 1) or other outputs (Case 2)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from semquant import priors, targets
from semquant.checks import InputError, check_finite, number, one_of
from semquant.gathered import Columns
from semquant.layouts import Reading, Reshape
from semquant.losses import Objective
from semquant.models import Pass, Pick, forward_from, layer_of, passing, single, unwrapped
from semquant.names import checked_names, in_full, read_names
from semquant.rows import Rows
from semquant.training import evaluation_mode

__all__ = ["FilterConcepts", "Measured", "OutputConcepts", "Outputs", "layer_of"]


@dataclass
class Measured(Columns):
    """What one pass over B images gives."""

    x: Tensor | Rows  #: (B, C, H, W), the map that the explainer reads
    y: Tensor  #: (B, n), values of the concepts
    yhat: Tensor  #: (B,), the performer's scores (logits)
    w: Tensor | None = None  #: (B, n), prior weights; None where none were asked for

    def __len__(self) -> int:
        return len(self.yhat)

    def prior(self, who: str) -> Tensor:
        """w; an InputError says who needs it where there is none."""
        if self.w is None:
            raise InputError(f"w: {who} needs measured prior weights, there are none")
        return self.w


class FilterConcepts(Reading):
    """Case 1: each filter of a layer is a concept (section 3.1, equation (5)).

    Parameters
    ----------
    layer : str
        Name of the layer in ``model.named_modules()`` whose output is x (B, n, H, W), e.g.
        ``"mask"`` for the book's performers or ``"features.10"`` for torchvision's AlexNet. A layer
        of (B, n) is one of maps of a single position.
    rectified : bool
        Whether y sums max(x, 0) rather than the signed x. A layer that is neither masked nor
        rectified has large negative sums that never reach the score: take True there.
    positions : {"all", "active", "weighted"}
        Where the prior's sum runs, see `semquant.priors.jacobian_from_gradient`; ``"weighted"`` gives
        the w that makes w y gradient times input.
    clip : bool
        Whether negative prior weights become 0 (section 4.1).
    reshape : {"channels_first", "channels_last", "tokens"} or callable, optional
        Where the filters are in the layer's output: (B, n, H, W), (B, H, W, n), or (B, T, n) with
        T = H W positions of a square, and a class token before them if there is one more. A
        function brings it to (B, n, H, W) by moving numbers alone. By default it is recognised,
        with an error where it can't be told.
    output : str, int or callable, optional
        Where the logits (B, K) are in what the model gives: a key or attribute, the index in a
        tuple, or a function of it. By default a tensor as it is, ``logits`` or ``out``, or the first
        of a tuple if no other is (B, K).

    Notes
    -----
    The supplement puts the mask between conv layer and ReLU and takes the mask's output as x: so x
    is signed here, and g reads it signed whatever `rectified` says.
    """

    #: What people call some of the filters, by number; see `with_names`.
    named: Mapping[int, str] = {}
    #: The paper's for these concepts (Experiment 1).
    objective = Objective("measured", "cross_entropy", 10.0)

    def __init__(self, layer: str, rectified: bool = False, positions: str = "all", clip: bool = True,
                 reshape: Reshape = None, output: Pick = None) -> None:
        super().__init__(layer, reshape, output)
        self.rectified = bool(rectified)
        self.positions = one_of("positions", positions, priors.POSITIONS)
        self.clip = bool(clip)

    def names(self, n: int, target: int | None = None) -> list[str]:
        """What the concepts are called: by people (`with_names`), the others by number."""
        return in_full(self.named, n)

    def with_names(self, names: Mapping[int, str] | str | Path) -> FilterConcepts:
        """The same with names for some filters, from a dict or a YAML file, see `semquant.names`."""
        found = copy.copy(self)
        found.named = (checked_names(names) if isinstance(names, Mapping)
                       else read_names(names, layer=self.layer))
        return found

    def gallery(self, model: nn.Module, images, **options):
        """Show the images in which filters fire most: `semquant.gallery.gallery`, with its options."""
        from semquant.gallery import gallery  # which builds on this module
        return gallery(self, model, images, **options)

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `measure`, for several targets: one forward pass, and a backward pass for each."""
        self.check(model)
        model = unwrapped(model)
        with passing(model):
            found = forward_from(model, images, (self.layer, "layer"), output=self.output)
            layout = self.layout(model, found.leaf, images)
            scores = [targets.scores_of(found.scores, target, model) for target in wanted]
            x = single(layout.map(found.leaf.detach()))
            y = (x.clamp_min(0) if self.rectified else x).sum(dim=(2, 3))  # (B, n, H, W) -> (B, n)
            checked_names(self.named, y.shape[1])
            weights = [None] * len(scores)
            if prior:
                gradients = (found.gradient(yhat, again=len(scores) > 1) for yhat in scores)
                weights = [self._prior(single(layout.map(gradient)), x, y) for gradient in gradients]
        return [Measured(x, y, single(yhat.detach()), w) for yhat, w in zip(scores, weights)]

    def _prior(self, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """w (B, n) of the score's derivative by x."""
        if not bool(gradient.any()):
            warnings.warn(f"the score's derivative is 0 at every filter of {self.layer!r}; choose "
                          "a layer below, in a transformer one before its last block", stacklevel=4)
        w = priors.jacobian_from_gradient(gradient, x, self.clip, self.positions)
        check_finite(w=w)
        if self.positions == "weighted":
            w = torch.where(y == 0, 0, w / torch.where(y == 0, 1, y))  # so that w y is the sum
        return w


@dataclass
class Outputs(Columns):
    """What one pass over B images gives to explain any of a model's K outputs by the others.

    x (B, C, H, W) is the map that the explainer reads, a tensor or Rows; scores (B, K) are all
    outputs (logits); products (B, K, K) or None the inner products of their derivatives, see
    `semquant.priors.gram`.
    """

    x: Tensor | Rows
    scores: Tensor
    products: Tensor | None = None

    def about(self, target: int, among: Sequence[int] | None = None) -> Measured:
        """Return the measurements for one target, explained by some outputs or by all others.

        Raises
        ------
        InputError
            If an output doesn't exist, is there twice, or is the target itself.
        """
        k = self.scores.shape[1]
        target = number("target", targets.resolve(target), 0, k - 1, integer=True)
        others = [i for i in range(k) if i != target]
        among = others if among is None else list(among)
        for i in among:
            number("concepts", i, 0, k - 1, integer=True)
            if i == target:
                raise InputError(f"concepts: {i} is the target itself")
        if not among or len(set(among)) < len(among):
            raise InputError("concepts: none were given" if not among else
                             "concepts: one of them is given twice")
        w = None
        if self.products is not None:
            w = priors.taylor_from_gram(self.products, target)[:, [others.index(i) for i in among]]
            check_finite(w=w)
        return Measured(self.x, self.scores[:, among], self.scores[:, target], w)


class OutputConcepts(Reading):
    """Case 2: the other outputs of a model are the concepts that explain one of them.

    Parameters
    ----------
    shared : str
        Name of the layer whose output (B, d) all outputs share; the prior's derivatives are taken
        there. The paper's is the first fully connected layer. Any other shape is flattened: in a
        residual network take the average pooling.
    layer : str
        Name of the layer whose map (B, C, H, W) the explainer reads.
    outputs : list of str, optional
        Names of all K outputs.
    among : list of str or int, optional
        Which outputs are the concepts, in this order; by default all but the target.
    reshape, output
        As for `FilterConcepts`; `reshape` is for `layer`.

    Notes
    -----
    The derivatives have a closed form where everything behind `shared` is linear layers, ReLUs and
    dropout of one Sequential (which is checked by running them); otherwise autograd computes them.
    """

    #: The paper's for these concepts (Experiment 2).
    objective = Objective("measured", "l2", 0.2)

    def __init__(self, shared: str, layer: str, outputs: list[str] | None = None,
                 among: Sequence[str | int] | None = None, reshape: Reshape = None,
                 output: Pick = None) -> None:
        super().__init__(layer, reshape, output)
        self.shared, self.outputs = shared, outputs
        known = list(outputs or [])
        if not known and any(isinstance(i, str) for i in among or ()):
            raise InputError("among: names are given, but outputs= has none; accepted: numbers")
        self.among = among if among is None else [
            known.index(one_of("among", i, known)) if isinstance(i, str) else i for i in among]

    def names(self, n: int, target: int | None = None) -> list[str]:
        """What the concepts are called, the target left out."""
        if self.among is not None:
            return [self.outputs[i] if self.outputs else f"output {i}" for i in self.among]
        names = self.outputs or [f"output {k}" for k in range(n + 1)]
        return [name for k, name in enumerate(names) if k != target][:n]

    def check(self, model: nn.Module) -> None:
        """As `FilterConcepts.check`."""
        super().check(model)
        layer_of(model, self.shared, "shared")

    def survey(self, model: nn.Module, images: Tensor, prior: bool = True) -> Outputs:
        """Measure x, all outputs and, with `prior`, what the priors of all targets need."""
        with self._pass(model, images) as (found, x):
            products = None
            if prior:
                products = single(priors.gram(self._jacobian(unwrapped(model), found)))
                check_finite(products=products)
        return Outputs(x, single(found.scores.detach()), products)

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `measure`, for several targets from one pass."""
        with self._pass(model, images) as (found, x):
            return [self._about(found, x, targets.resolve(target, unwrapped(model), self), prior)
                    for target in wanted]

    def _about(self, found: Pass, x: Tensor, target: int, prior: bool) -> Measured:
        measured = Outputs(x, single(found.scores.detach())).about(target, self.among)
        if prior:
            others = [k for k in range(found.scores.shape[1]) if k != target]
            chosen = torch.tensor(self.among or others, device=x.device)
            own = found.gradient(found.score(target), again=True)
            measured.w = priors.taylor_from_rows(own, found.rows(chosen))
            check_finite(w=measured.w)
        return measured

    @contextmanager
    def _pass(self, model: nn.Module, images: Tensor) -> Iterator[tuple[Pass, Tensor]]:
        """What a pass gives, with its x, while nobody else uses the model."""
        self.check(model)
        model = unwrapped(model)
        with passing(model):
            found = forward_from(model, images, (self.shared, "shared"), self.layer, self.output)
            k = found.scores.shape[1]
            if self.outputs is not None and len(self.outputs) != k:
                raise InputError(f"outputs: {len(self.outputs)} names for {k} outputs")
            yield found, single(self.layout(model, found.read, images).map(found.read))

    def _jacobian(self, model: nn.Module, found: Pass) -> Tensor:
        """Derivatives of all outputs by the shared layer's output, (B, K, d)."""
        leaf, outputs = found.leaf, found.scores
        parent, _, position = self.shared.rpartition(".")
        tail = layer_of(model, parent)
        if isinstance(tail, nn.Sequential) and position.isdigit():
            tail = tail[int(position) + 1 :]
            if priors.linear_layers(tail) and leaf.ndim == 2:
                with torch.no_grad(), evaluation_mode(tail):
                    same = torch.equal(tail(leaf), outputs)
                if same:
                    return priors.jacobian_closed_form(tail, leaf.detach())
        images, k = outputs.shape
        each = torch.eye(k, device=outputs.device, dtype=outputs.dtype)[:, None, :]
        jacobian = found.gradient(outputs, each.expand(k, images, k))  # (K, B, ...)
        return jacobian.flatten(2).transpose(0, 1)
