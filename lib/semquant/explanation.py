"""An explanation of scores: what each concept contributes, and what is left unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_assignment, check_shapes, number
from semquant.exports import Exports
from semquant.images import Images, image_batches, input_by
from semquant.models import check_usable, input_of, layer_of, passing, single, unwrapped
from semquant.targets import resolve
from semquant.training import home_of

__all__ = ["UNASSIGNED", "Explanation", "Reason", "grad_cam"]

#: The name of the group of concepts that belong to no group.
UNASSIGNED = "unassigned"


class Reason(NamedTuple):
    """One concept's part in one image's score."""

    index: int
    name: str
    contribution: float  # alpha_i y_i, in score units
    share: float  # |alpha_i y_i| / sum_j |alpha_j y_j|


@dataclass
class Explanation(Exports):
    r"""An additive explanation of B scores, :math:`\hat y \approx \sum_i \alpha_i y_i + b` (eq. 1).

    Its frame, JSON, files and figures are in `semquant.exports`.
    """

    yhat: Tensor  #: (B,), the performer's scores
    y: Tensor  #: (B, n), values of the concepts
    alpha: Tensor  #: (B, n), their weights
    bias: float  #: b, the same for all images
    names: Sequence[str] | None = None  #: what the n concepts are called

    def __post_init__(self) -> None:
        n = check_shapes(yhat=(self.yhat, "B"), y=(self.y, "B n"), alpha=(self.alpha, "B n"))["n"]
        self.bias = float(self.bias)
        self.names = [f"concept {i}" for i in range(n)] if self.names is None else list(self.names)
        if len(self.names) != n:
            raise InputError(f"names: {len(self.names)} names for {n} concepts")

    def __len__(self) -> int:
        return len(self.yhat)

    def __getitem__(self, index) -> Explanation:
        """The images of an index: a number, a slice, or a tensor of numbers or of booleans."""
        if isinstance(index, int):
            index = [range(len(self))[index]]
        return Explanation(self.yhat[index], self.y[index], self.alpha[index], self.bias, self.names)

    @property
    def contributions(self) -> Tensor:
        """alpha_i y_i of each concept, (B, n), in score units."""
        return self.alpha * self.y

    @property
    def total(self) -> Tensor:
        """The explained score, sum_i alpha_i y_i + b, (B,)."""
        return self.contributions.sum(dim=1) + self.bias

    @property
    def residual(self) -> Tensor:
        """What the concepts don't explain, yhat minus the explained score, (B,)."""
        return self.yhat - self.total

    @property
    def shares(self) -> Tensor:
        r"""The paper's :math:`c_i = |\alpha_i y_i| / \sum_j |\alpha_j y_j|`, (B, n); 0 where nothing is."""
        size = self.contributions.abs()
        return size / size.sum(dim=1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)

    def top(self, k: int | None = None, share: float | None = None) -> list[list[Reason]]:
        """The most important reasons of each image, largest contribution in size first.

        At most `k`, and only as many as are needed to reach a `share` (0 to 1) of the sum of all
        contributions in size: the paper doesn't say which bars it calls the most important reasons.
        Contributions of exactly 0 are no reasons.
        """
        n = len(self.names)
        k = n if k is None else number("k", k, 1, integer=True)
        share = 1.0 if share is None else number("share", share, 0, 1)
        values = self.contributions.detach().double().cpu()
        shares = values.abs() / values.abs().sum(dim=1, keepdim=True).clamp_min(1e-300)
        order = shares.argsort(dim=1, descending=True, stable=True)
        reached = shares.gather(1, order).cumsum(dim=1)
        found = []
        for b in range(len(self)):
            # all that come before the share is reached, and the one that reaches it
            needed = n if share == 1.0 else int((reached[b] < share - 1e-9).sum()) + 1
            found.append([Reason(i, self.names[i], float(values[b, i]), float(shares[b, i]))
                          for i in order[b, : min(k, needed)].tolist()
                          if values[b, i] != 0])
        return found

    def merge(self, assignment: Tensor | Sequence[int], groups: Sequence[str]) -> Explanation:
        r"""Sum the concepts' contributions to those of groups (section 4.1).

        :math:`Contri_p = \sum_{i \in \Omega_p} \alpha_i y_i`.

        Parameters
        ----------
        assignment : (n,) whole numbers
            The group of each concept; -1 for none.
        groups : sequence of P str
            The groups' names.

        Returns
        -------
        Explanation
            Of P + 1 concepts, the last of them what belongs to no group. Its y are the summed
            contributions and its alpha are 1.
        """
        assignment = torch.as_tensor(assignment)
        p, n = len(groups), len(self.names)
        if assignment.shape != (n,):
            raise InputError(f"assignment: shape {tuple(assignment.shape)} is not ({n},)")
        check_assignment(assignment, p)
        column = torch.where(assignment < 0, p, assignment).long().to(self.y.device)
        merged = self.y.new_zeros(len(self), p + 1).index_add(1, column, self.contributions)
        names = [*groups, UNASSIGNED]
        return Explanation(self.yhat, merged, torch.ones_like(merged), self.bias, names)

    def reasons(self, k: int = 3, share: float | None = None) -> list[str]:
        """Each image's explanation in a sentence, with at most `k` reasons (see `top`).

        Two digits are printed, and what is printed adds up: rounding goes to what is not explained.
        """
        sentences = []
        for b, top in enumerate(self.top(k, share)):
            score, total, bias = (round(float(v), 2) for v in (
                self.yhat[b], self.contributions[b].sum(), self.bias))
            named = [round(r.contribution, 2) for r in top]
            text = [f"{r.name} {_signed(value)} ({r.share:.0%})" for r, value in zip(top, named)]
            text += [f"{name} {_signed(value)}" for name, value in (
                ("other concepts", total - sum(named)), ("bias", bias), ("not explained", score - total - bias))]
            sentences.append(f"score {_signed(score).lstrip('+')}: {', '.join(text)}")
        return sentences


def _signed(value: float) -> str:
    """Two digits, with a true minus sign and without a negative zero."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def grad_cam(model: nn.Module, layer: str, images: Images | object, target: int | str,
             batch_size: int = 64) -> Tensor:
    """Grad-CAM heat maps (B, H, W), at least 0, in the images' size (bilinear), not normalised; by Captum.

    The model, images (B, C, H, W) -> logits (B, K), is run in evaluation mode and left as it was;
    `layer` is the one in ``model.named_modules()`` whose maps are weighted. For `images` see
    `semquant.Images`, for `target` `semquant.targets`.
    """
    from captum.attr import LayerAttribution, LayerGradCam  # takes a second to import

    check_usable(model)
    found = layer_of(model, layer)
    target, ready = resolve(target, unwrapped(model)), input_by(None)
    cam = LayerGradCam(model, found)
    maps = []
    with passing(unwrapped(model)):
        for batch in image_batches(images, batch_size):
            batch = input_of(model, ready(batch.detach().to(home_of(model))))
            try:
                heat = cam.attribute(batch, target=target, relu_attributions=True).detach()
            except IndexError as error:
                raise InputError(f"target: {target} is no output of this model") from error
            heat = LayerAttribution.interpolate(single(heat), tuple(batch.shape[2:]), "bilinear")
            maps.append(heat[:, 0].cpu())  # (B, 1, H, W) -> (B, H, W)
    return torch.cat(maps)
