"""Visual concepts and their values y: a layer's filters (Case 1) or other outputs (Case 2)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from semquant import priors, targets
from semquant.checks import InputError, check_finite, check_shapes, number, one_of
from semquant.losses import Objective
from semquant.names import checked_names, in_full, read_names
from semquant.rows import Rows
from semquant.training import evaluation_mode

__all__ = ["FilterConcepts", "Measured", "OutputConcepts", "Outputs", "layer_of"]


@dataclass
class Measured:
    """What one pass over B images gives.

    Attributes
    ----------
    x : tensor or Rows (B, C, H, W)
        The map that the explainer reads.
    y : tensor (B, n)
        Values of the concepts.
    yhat : tensor (B,)
        The performer's scores (logits).
    w : tensor (B, n) or None
        Prior weights; None where none were asked for.
    """

    x: Tensor | Rows
    y: Tensor
    yhat: Tensor
    w: Tensor | None = None

    def __len__(self) -> int:
        return len(self.yhat)

    def __getitem__(self, index) -> Measured:
        """The images of an index: a slice, or a tensor of numbers or of booleans."""
        return self._each(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Measured:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Measured:
        values = (getattr(self, field.name) for field in fields(self))
        return Measured(*(None if value is None else change(value) for value in values))

    @classmethod
    def join(cls, parts: list[Measured]) -> Measured:
        """One after the other."""
        columns = zip(*([getattr(part, field.name) for field in fields(cls)] for part in parts))
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))


def layer_of(model: nn.Module, name: str, field: str = "layer") -> nn.Module:
    """The layer of a name in ``model.named_modules()``; `field` is what an error calls it."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model: {type(model).__name__} is not a torch.nn.Module")
    return dict(model.named_modules())[one_of(field, name, [n for n, _ in model.named_modules()])]


def _forward(model: nn.Module, images: Tensor, leaf: str,
             read: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Run a model once with one layer's output replaced by a detached leaf.

    The parameters are replaced by detached ones for the pass, so that no graph is built below the
    leaf, and no gradient of theirs is computed above it. Returns the outputs (B, K), the leaf, and
    what the layer `read` gave (the leaf where it is None).
    """
    seen: dict[str, Tensor] = {}

    def keep(field: str, name: str, replace: bool):
        def hook(module, inputs, output):
            if field in seen:
                raise InputError(f"{field}: {name!r} runs more than once in a pass, choose one "
                                 "that runs once")
            if not isinstance(output, Tensor):
                raise InputError(f"{field}: {name!r} gives a {type(output).__name__}, not a tensor")
            # copies: the next layer may work in place
            seen[field] = output.detach().clone().requires_grad_(replace)
            return seen[field] * 1 if replace else None

        return hook

    hooks = []
    try:
        hooks.append(layer_of(model, leaf, "layer").register_forward_hook(keep("layer", leaf, True)))
        if read is not None:
            hook = keep("map", read, False)
            hooks.append(layer_of(model, read, "map").register_forward_hook(hook))
        state = {name: tensor.detach() for name, tensor in model.named_parameters()}
        with evaluation_mode(model), torch.enable_grad():
            outputs = torch.func.functional_call(model, state, (images.detach().clone(),))
    finally:
        for hook in hooks:
            hook.remove()
    for field, name in (("layer", leaf), ("map", read)):
        if name is not None and field not in seen:
            raise InputError(f"{field}: {name!r} does not run in a pass of this model")
    if isinstance(outputs, Tensor) and outputs.ndim == 1:
        outputs = outputs[:, None]  # (B,) -> (B, 1)
    check_shapes(images=(images, "B C H W"), **{"the model's output": (outputs, "B K")})
    check_finite(**{"the model's output": outputs})
    return outputs, seen["layer"], seen.get("map", seen["layer"])


class FilterConcepts:
    """Case 1: each filter of a layer is a concept (section 3.1, equation (5)).

    Parameters
    ----------
    layer : str
        Name of the layer in ``model.named_modules()`` whose output is x (B, n, H, W), e.g.
        ``"mask"`` for the book's performers or ``"features.10"`` for torchvision's AlexNet.
    rectified : bool
        Whether y sums max(x, 0) rather than the signed x. A layer that is neither masked nor
        rectified has large negative sums that never reach the score: take True there.
    positions : {"all", "active", "weighted"}
        Where the prior's sum runs, see `semquant.priors.jacobian_from_gradient`; ``"weighted"`` gives
        the w that makes w y gradient times input.
    clip : bool
        Whether negative prior weights become 0 (section 4.1).

    Notes
    -----
    The supplement puts the mask between conv layer and ReLU and takes the mask's output as x: so x
    is signed here, and g reads it signed whatever `rectified` says.
    """

    #: What people call some of the filters, by number; see `with_names`.
    named: Mapping[int, str] = {}
    #: The paper's for these concepts (Experiment 1).
    objective = Objective("measured", "cross_entropy", 10.0)

    def __init__(self, layer: str, rectified: bool = False, positions: str = "all",
                 clip: bool = True) -> None:
        self.layer = layer
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

    def measure(self, model: nn.Module, images: Tensor, target: int, prior: bool = True) -> Measured:
        """Measure x, y, yhat and w in one pass; model and images are left as they were.

        Parameters
        ----------
        model : Module
            images (B, C, H, W) -> logits (B, K) or (B,). It is run in evaluation mode.
        images : tensor (B, C, H, W)
            On the model's device.
        target : int, str, or one of them for each image
            Which output is yhat, see `semquant.targets`.
        prior : bool
            False saves the backward pass: w is None then.

        Returns
        -------
        Measured
            Detached tensors.

        Raises
        ------
        InputError
            If the layer is unknown, doesn't run exactly once or gives no map, if the target is no
            output, or an output is NaN.
        """
        return self.measure_many(model, images, [target], prior)[0]

    @torch.enable_grad()
    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `measure`, for several targets: one forward pass, and a backward pass for each."""
        outputs, x, _ = _forward(model, images, self.layer)
        check_shapes(images=(images, "B c h w"), **{f"output of {self.layer}": (x, "B n H W")})
        scores = [targets.scores_of(outputs, target, model) for target in wanted]
        weights = [self._prior(yhat, x, len(wanted) > 1) if prior else None for yhat in scores]
        x = x.detach()
        y = (x.clamp_min(0) if self.rectified else x).sum(dim=(2, 3))  # (B, n, H, W) -> (B, n)
        if prior and self.positions == "weighted":  # so that w y is the sum
            weights = [torch.where(y == 0, 0, w / torch.where(y == 0, 1, y)) for w in weights]
        return [Measured(x, y, yhat.detach(), w) for yhat, w in zip(scores, weights)]

    def _prior(self, yhat: Tensor, x: Tensor, again: bool) -> Tensor:
        """w (B, n), from one backward pass: images don't influence each other."""
        if not yhat.requires_grad:
            raise InputError(f"layer: the score does not depend on {self.layer!r}")
        (gradient,) = torch.autograd.grad(yhat.sum(), x, retain_graph=again)
        w = priors.jacobian_from_gradient(gradient, x.detach(), self.clip, self.positions)
        check_finite(w=w)
        return w


@dataclass
class Outputs:
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

    def to(self, device: torch.device | str) -> Outputs:
        """The same on another device."""
        values = (self.x, self.scores, self.products)
        return Outputs(*(None if value is None else value.to(device) for value in values))


class OutputConcepts:
    """Case 2: the other outputs of a model are the concepts that explain one of them.

    Parameters
    ----------
    shared : str
        Name of the layer whose output (B, d) all outputs share; the prior's derivatives are taken
        there. The paper's is the first fully connected layer.
    layer : str
        Name of the layer whose map (B, C, H, W) the explainer reads.
    outputs : list of str, optional
        Names of all K outputs.

    Notes
    -----
    The derivatives have a closed form where everything behind `shared` is linear layers, ReLUs and
    dropout of one Sequential (which is checked by running them); otherwise autograd computes them.
    """

    #: The paper's for these concepts (Experiment 2).
    objective = Objective("measured", "l2", 0.2)

    def __init__(self, shared: str, layer: str, outputs: list[str] | None = None) -> None:
        self.shared, self.layer, self.outputs = shared, layer, outputs

    def names(self, n: int, target: int | None = None) -> list[str]:
        """What the concepts are called, the target left out."""
        names = self.outputs or [f"output {k}" for k in range(n + 1)]
        return [name for k, name in enumerate(names) if k != target][:n]

    @torch.enable_grad()
    def survey(self, model: nn.Module, images: Tensor, prior: bool = True) -> Outputs:
        """Measure x, all outputs and, with `prior`, what the priors of all targets need."""
        outputs, leaf, x = _forward(model, images, self.shared, self.layer)
        check_shapes(images=(images, "B c h w"), **{f"output of {self.shared}": (leaf, "B d")},
                     **{f"output of {self.layer}": (x, "B C H W")})
        products = None
        if prior:
            products = priors.gram(self._jacobian(model, leaf, outputs))
            check_finite(products=products)
        return Outputs(x.detach(), outputs.detach(), products)

    def _jacobian(self, model: nn.Module, leaf: Tensor, outputs: Tensor) -> Tensor:
        """Derivatives of all outputs by the shared layer's output, (B, K, d)."""
        parent, _, position = self.shared.rpartition(".")
        tail = model.get_submodule(parent) if parent else model
        if isinstance(tail, nn.Sequential) and position.isdigit():
            tail = tail[int(position) + 1 :]
            if priors.linear_layers(tail) and leaf.ndim == 2:
                with torch.no_grad(), evaluation_mode(tail):
                    same = torch.equal(tail(leaf), outputs)
                if same:
                    return priors.jacobian_closed_form(tail, leaf.detach())
        images, k = outputs.shape
        each = torch.eye(k, device=outputs.device, dtype=outputs.dtype)[:, None, :]
        (jacobian,) = torch.autograd.grad(
            outputs, leaf, each.expand(k, images, k), is_grads_batched=True
        )  # (K, B, d)
        return jacobian.transpose(0, 1)

    def measure(self, model: nn.Module, images: Tensor, target: int, prior: bool = True) -> Measured:
        """As `FilterConcepts.measure`; y are the other outputs' logits (B, K - 1)."""
        return self.measure_many(model, images, [target], prior)[0]

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `measure`, for several targets from one pass."""
        found = self.survey(model, images, prior)
        return [found.about(targets.resolve(target, model, self)) for target in wanted]
