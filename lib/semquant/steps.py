r"""What other outputs add to a score, by the steps that they take: this book's, not the paper's.

The paper's prior of Case 2, :math:`w_i = \Delta\hat y / \Delta y_i`, is a derivative, and
:math:`w_i y_i` what would change if the logit :math:`y_i` went to 0. No logit goes to 0 when an
attribute appears or goes. One that the network can hardly see has much the same logit in all images,
far below 0 if it is rare, and gets a large contribution for it. Here the logit takes the step that it
takes between images with the concept and without,

.. math:: \alpha_i y_i = \hat y(x) - \hat y(x_i), \qquad
          y_i(x_i) = y_i(x) - (2\sigma(y_i) - 1)\, r_i,

with the shared feature moved from x to :math:`x_i` along the derivative of :math:`y_i`, the shortest
way there, and the network run again from there. The reach :math:`r_i` is measured once, on training
images; the logistic :math:`\sigma(y_i)`, the probability of the concept, says which way the step goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_finite, check_shapes, number
from semquant.concepts import Measured, OutputConcepts
from semquant.layouts import Reshape
from semquant.models import Pick, layer_of, unwrapped
from semquant.training import evaluation_mode, home_of

__all__ = ["SharedConcepts", "StepConcepts", "Steps", "directions", "finite_steps", "reach", "sharing", "stepped",
           "steps_of", "tail_of"]

BATCH = 256  # images whose steps are taken at once
NEWTON = 2  # steps to where a logit is to be: what is behind the shared layer is not linear


def reach(scores: Tensor, labels: Tensor | None = None) -> Tensor:
    r"""How far each output rises where its concept is there.

    Parameters
    ----------
    scores : tensor (N, K)
        Logits of training images.
    labels : tensor (N, K) of bool, optional
        Which concepts are there. With them it is the coefficient of concept i in the least-squares fit
        of output i by all labels: all other concepts stay. Without them each image counts as both, by
        :math:`\sigma(y_i)` and :math:`1 - \sigma(y_i)`, and it is the difference of the two means.

    Returns
    -------
    tensor (K,)
        In score units; 0 for a concept that all or no images have.
    """
    check_shapes(scores=(scores, "N K"))
    check_finite(scores=scores)
    if labels is not None:
        return directions(scores, labels).diagonal().clone()
    y = scores.double()
    high, low = ((share * y).sum(dim=0) / share.sum(dim=0) for share in (y.sigmoid(), (-y).sigmoid()))
    return (high - low).to(scores)


def directions(x: Tensor, labels: Tensor) -> Tensor:
    """How x changes where a concept is there and the others stay.

    The coefficients (K, d) of the least-squares fit of x (N, d) by labels (N, K), bool; 0 for a concept
    that all or no images have.
    """
    check_shapes(x=(x, "N d"), labels=(labels, "N K"))
    check_finite(x=x)
    if labels.dtype != torch.bool:
        raise InputError(f"labels: {labels.dtype} is not bool, which says whether a concept is there")
    there = labels.double().cpu()
    there = there - there.mean(dim=0)
    solved = torch.linalg.lstsq(there, (x - x.mean(dim=0)).double().cpu(), driver="gelsd").solution
    return solved.to(x)


def finite_steps(tail: Callable[[Tensor], Tensor], x: Tensor, target: int, lengths: Tensor) -> Tensor:
    r"""How far the score falls when each concept's logit alone falls by a length.

    Parameters
    ----------
    tail : callable
        x (B, d) -> outputs (B, K), logits. Images don't influence each other.
    x : tensor (B, d)
        The feature that all outputs share. Left unchanged.
    target : int
        The output that is the score; all others are the concepts.
    lengths : tensor (B, K - 1)
        How far each logit is to fall, of any sign.

    Returns
    -------
    tensor (B, K - 1)
        In score units. 0 for a concept whose derivative is 0.

    Notes
    -----
    x moves along the derivative of the logit, by Newton's steps; other logits may change on the way.
    Where the tail is linear it is the Taylor prior times the length.
    """
    images, n = len(x), check_shapes(x=(x, "B d"), lengths=(lengths, "B n"))["n"]
    number("target", target, 0, n, integer=True)
    others = torch.tensor([k for k in range(n + 1) if k != target], device=x.device)
    which = others.repeat(images)[:, None]  # each row of B n moves one concept
    moved, goal = x.detach().repeat_interleave(n, dim=0), None
    with torch.enable_grad(), evaluation_mode(tail):
        for _ in range(NEWTON):
            leaf = moved.clone().requires_grad_()
            outputs = tail(leaf * 1)  # the product: a tail may start with an in-place ReLU
            check_shapes(x=(x, "B d"), **{"the tail's outputs": (outputs, "R K")})
            y = outputs.gather(1, which)
            (slope,) = torch.autograd.grad(y.sum(), leaf)
            y = y.detach()
            if goal is None:
                goal, start = y - lengths.reshape(-1, 1), outputs[:, target].detach()
            square = slope.square().sum(dim=1, keepdim=True)
            moved = moved - (y - goal) * slope / torch.where(square > 0, square, 1)
    with torch.no_grad(), evaluation_mode(tail):
        fell = start - tail(moved)[:, target]
    check_finite(**{"the score after a step": fell})
    return fell.view(images, n)


def tail_of(model: nn.Module, shared: str) -> nn.Sequential:
    """What is behind a layer, x (B, d) -> all outputs (B, K): the rest of the Sequential it stands in.

    InputError for a layer in no Sequential.
    """
    model = unwrapped(model)
    layer_of(model, shared, "shared")
    parent, _, position = shared.rpartition(".")
    around = model.get_submodule(parent) if parent else model
    if not (isinstance(around, nn.Sequential) and position.isdigit()):
        raise InputError(f"shared: {shared!r} is in no Sequential; accepted: a layer of the one that ends "
                         "the model")
    return around[int(position) + 1 :]


class StepConcepts(OutputConcepts):
    """Other outputs whose w is the slope of their whole step, the fall of the score over that of the logit.

    Parameters
    ----------
    shared, layer, outputs, reshape, output
        As of `semquant.OutputConcepts`; the Sequential in which `shared` stands ends the model.
    reached : tensor or list (K,)
        How far each output rises where its concept is there, see `reach`.
    """

    def __init__(self, shared: str, layer: str, outputs: list[str] | None = None, *,
                 reached: Tensor | Sequence[float], reshape: Reshape = None, output: Pick = None) -> None:
        super().__init__(shared, layer, outputs, reshape=reshape, output=output)
        self.reached = torch.as_tensor(reached)
        check_finite(reached=self.reached)

    def without(self, target: int) -> Tensor:
        """The reach of the concepts that explain a target, (K - 1,)."""
        return torch.cat([self.reached[:target], self.reached[target + 1 :]])

    def lengths(self, y: Tensor, target: int) -> Tensor:
        """The step of each concept, of their logits y (B, K - 1)."""
        r = self.without(target)
        check_shapes(y=(y, "B n"), **{"reached, without the target": (r, "n")})
        return (2 * y.sigmoid() - 1) * r.to(y)

    def slopes(self, model: nn.Module, feature: Tensor, measured: Measured, target: int) -> Tensor:
        """The fall of the score over that of each logit (B, K - 1), of features (B, d) on the model's device."""
        tail, rounding = tail_of(model, self.shared), torch.finfo(feature.dtype).eps
        if feature.dtype in (torch.float16, torch.bfloat16):  # a difference of two scores would be rounding
            tail, feature = deepcopy(tail).float(), feature.float()
        with torch.no_grad(), evaluation_mode(tail):
            scores = tail(feature.clone())[:, target]
        if not torch.allclose(scores.to(measured.yhat), measured.yhat, atol=max(1e-4, 4 * rounding)):
            raise InputError(f"shared: more than the rest of its Sequential is behind {self.shared!r}; "
                             "accepted: a layer of the one that ends the model")
        lengths = self.lengths(measured.y.to(feature), target)
        fell = finite_steps(tail, feature, target, lengths)
        return torch.where(lengths == 0, 0, fell / torch.where(lengths == 0, 1, lengths))

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `semquant.OutputConcepts.measure_many`, with w the slope of the step."""
        with self._pass(model, images) as (found, x):
            each = [(target, self._about(found, x, target, prior=False)) for target in wanted]
            return [replace(part, w=self.slopes(model, found.leaf.detach(), part, target)) if prior else part
                    for target, part in each]


class SharedConcepts(OutputConcepts):
    """Other outputs, measured with the feature that all outputs share, (B, d), in the place of the map."""

    def measure_many(self, model: nn.Module, images: Tensor, wanted: Sequence[int],
                     prior: bool = True) -> list[Measured]:
        """As `semquant.OutputConcepts.measure_many`, but for x."""
        tail_of(model, self.shared)
        with self._pass(model, images) as (found, _):
            if found.leaf.ndim != 2:
                raise InputError(f"shared: {self.shared!r} gives {tuple(found.leaf.shape)}; steps need (B, d)")
            return [self._about(found, found.leaf.detach(), target, prior) for target in wanted]


class Steps(nn.Module):
    r"""Contributions :math:`\alpha_i y_i = w_i (2\sigma(y_i) - 1) r_i`, with w of `StepConcepts`.

    Attributes
    ----------
    reached : tensor (n,)
        r of the concepts.
    bias : tensor ()
        b, the mean over training images of what their scores are beyond the contributions. These are not
        made to add up: steps are not parts of a whole.
    """

    reads_prior = True

    def __init__(self, n: int, kind: str = "steps") -> None:
        super().__init__()
        self.settings = {"n": n, "kind": kind}
        self.register_buffer("reached", torch.zeros(n))
        self.register_buffer("bias", torch.zeros(()))

    @classmethod
    def of(cls, n: int, kind: str = "steps") -> Steps:
        """Steps from their `settings`."""
        return cls(n, kind)

    @torch.no_grad()
    def weigh(self, measured: Measured, batch_size: int = 256) -> Tensor:
        """alpha (B, n) of measured images; 0 where y is 0, since no step is taken there."""
        if measured.w is None:
            raise InputError("w: steps need the slopes of StepConcepts, there are none")
        y = measured.y
        check_shapes(reached=(self.reached, "n"), y=(y, "B n"), w=(measured.w, "B n"))
        found = measured.w * (2 * y.sigmoid() - 1) * self.reached.to(y)
        return torch.where(y == 0, 0, found / torch.where(y == 0, 1, y))


def sharing(concepts: OutputConcepts) -> SharedConcepts:
    """The concepts, read as `stepped` needs them."""
    if concepts.among is not None:
        raise InputError("among: steps are those of all other outputs; accepted: None")
    return SharedConcepts(concepts.shared, concepts.layer, concepts.outputs, reshape=concepts.reshape,
                          output=concepts.output)


def stepped(model: nn.Module, concepts: OutputConcepts, measured: Measured, train: Tensor,
            target: int) -> tuple[StepConcepts, Measured]:
    """Make steps of what `SharedConcepts` measured of N images.

    Returned are the concepts with their reach, that of the images `train` without labels where they are
    no `StepConcepts`, and what was measured with w the slopes of all images (N, K - 1).
    """
    y, yhat = measured.y, measured.yhat
    if not isinstance(concepts, StepConcepts):
        scores = torch.cat([y[:, :target], yhat[:, None], y[:, target:]], dim=1)
        concepts = StepConcepts(concepts.shared, concepts.layer, concepts.outputs, reached=reach(scores[train]),
                                reshape=concepts.reshape, output=concepts.output)
    parts = [measured[some] for some in torch.arange(len(yhat)).split(BATCH)]
    slopes = [concepts.slopes(model, part.x.to(home_of(model)), part, target).cpu() for part in parts]
    return concepts, replace(measured, w=torch.cat(slopes))


def steps_of(measured: Measured, concepts: StepConcepts, target: int) -> Steps:
    """The explainer of what was measured with `concepts`; nothing is fitted but b."""
    g = Steps(measured.y.shape[1])
    g.reached.copy_(concepts.without(target))
    g.bias.copy_((measured.yhat - (g.weigh(measured) * measured.y).sum(dim=1)).mean())
    return g.eval()
