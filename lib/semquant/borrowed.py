"""Concepts borrowed from another model: its outputs explain the scores of the first (Case 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from semquant import models, priors
from semquant.checks import InputError, check_finite
from semquant.concepts import Measured
from semquant.layouts import Reading, Reshape
from semquant.losses import Objective
from semquant.models import Pick, forward_from, layer_of, passing, single, unwrapped
from semquant.training import home_of

__all__ = ["ModelConcepts"]


class ModelConcepts(Reading):
    """Case 2 with another model: its outputs, on the same images, are the concepts.

    For a network of one's own that detects concepts, e.g. the lower half of a concept bottleneck.

    Parameters
    ----------
    other : Module
        images (B, C, H, W) -> concepts (B, n), scores before any softmax or sigmoid; or, with `on`, a
        head: the output of that layer -> (B, n). It is run in evaluation mode, where it is.
    layer : str
        Name of the performer's layer whose map (B, C, H, W) the explainer reads.
    names : list of str, optional
        Names of the n concepts.
    on : str, optional
        Name of the performer's layer that `other` is a head on.
    reshape, output
        As for `FilterConcepts`, of the performer; `output` of `other` as well, unless it gives a tensor.

    Notes
    -----
    Section 3.1 takes the prior's derivatives by a feature that score and concepts share. With `on`
    there is one. Otherwise there is none, w is None, and the objective has no prior.
    """

    def __init__(self, other: nn.Module, layer: str, names: Sequence[str] | None = None,
                 on: str | None = None, reshape: Reshape = None, output: Pick = None) -> None:
        super().__init__(layer, reshape, output)
        self.other, self.concepts, self.on = other, names, on
        self.objective = Objective("measured" if on else "none", "l2", 0.2)

    def names(self, n: int, target: int | None = None) -> list[str]:
        """What the concepts are called."""
        return [f"concept {i}" for i in range(n)] if self.concepts is None else list(self.concepts)

    def check(self, model: nn.Module) -> None:
        """As `FilterConcepts.check`, of both models."""
        super().check(model)
        models.check_usable(self.other, "other")
        layer_of(model, self.on or self.layer, "on")

    def measure(self, model: nn.Module, images: Tensor, target: int, prior: bool = True) -> Measured:
        """As `FilterConcepts.measure`; y are the other model's scores (B, n), w is None without `on`."""
        self.check(model)
        model, other = unwrapped(model), unwrapped(self.other)
        leaf, read = ((self.on, "on"), self.layer) if self.on else ((self.layer, "layer"), None)
        with passing(model):
            found = forward_from(model, images, leaf, read, self.output)
            yhat, w = found.score(target), None
            x = single(self.layout(model, found.read, images).map(found.read.detach()))
        with passing(other), torch.set_grad_enabled(bool(self.on and prior)):
            given = found.leaf * 1 if self.on else models.input_of(other, images)
            given = models.run(other, given.to(home_of(other)), "other")
            y = models.picked(given, None if isinstance(given, Tensor) else self.output).to(x.device)
            n = y.shape[1] if self.concepts is None else len(self.concepts)
            if y.shape != (len(images), n):
                raise InputError(f"other: scores of shape {tuple(y.shape)} are not ({len(images)}, {n})")
            check_finite(**{"the other model's output": y})
            if y.requires_grad:
                rows = replace(found, scores=y).rows(torch.arange(n, device=x.device))
                w = priors.taylor_from_rows(found.gradient(yhat), rows)
                check_finite(w=w)
        return Measured(x, single(y.detach()), single(yhat.detach()), w)
