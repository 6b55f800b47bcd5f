"""Filters that each stand for one object part: templates, mask layer, filter loss.

After "Interpretable Convolutional Neural Networks" (Zhang, Wu, Zhu, CVPR 2018), which the
explainer paper's Case 1 builds on. For a map of size n x n and a peak at mu, the positive template
is::

    t+_ij = tau * max(1 - beta * |[i, j] - mu|_1 / n, -1)

and the negative template is -tau everywhere. Here beta is `decay` and tau is `amplitude`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from semquant.checks import InputError, number, one_of

__all__ = ["CENTRES", "GRADIENTS", "Mask", "filter_loss", "mutual_information", "peaks",
           "templates"]

CENTRES = ("peak", "centroid")
GRADIENTS = ("exact", "matched")


def templates(size: int, decay: float = 4.0, amplitude: float = 1.0) -> Tensor:
    """Positive templates, one for each place a filter's peak can be.

    Parameters
    ----------
    size : int
        Width n of the square map.
    decay : float
        How fast a template falls with the L1 distance from its peak (beta of the CVPR paper).
    amplitude : float
        The value at the peak (tau of the CVPR paper, there 0.5 / n^2; its public code uses 1).

    Returns
    -------
    Tensor, (size * size, size, size)
        ``[i * size + j]`` is the template with its peak at row i, column j. Every one of them
        reaches `amplitude` at its peak, and none falls under ``-amplitude``.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or a value is not above 0.
    """
    number("map size", size, 1, integer=True)
    _positive("template decay", decay)
    _positive("template amplitude", amplitude)
    along = torch.arange(size, dtype=torch.float32)
    offset = (along[:, None] - along).abs()  # (mu, i): |i - mu| along one axis
    distance = offset[:, None, :, None] + offset[None, :, None, :]  # (mu_i, mu_j, i, j)
    values = amplitude * (1 - decay * distance / size).clamp(min=-1)
    return values.reshape(size * size, size, size)


def peaks(z: Tensor, centre: str = "peak") -> Tensor:
    """Where each filter's map is centred, muhat.

    Parameters
    ----------
    z : Tensor, (B, n, H, W)
        Maps before the ReLU, so that the peak of a filter that is silent everywhere is still its
        largest value and not a corner.
    centre : {"peak", "centroid"}
        The strongest activation (as published), or the activations' centroid, rounded (as in the
        authors' public code).

    Returns
    -------
    Tensor, (B, n), int64
        Row times W plus column.
    """
    if one_of("template centre", centre, CENTRES) == "peak":
        return z.flatten(2).argmax(2)
    height, width = z.shape[-2:]
    a = z.detach().relu().to(torch.promote_types(z.dtype, torch.float32))
    # a silent filter has no centroid: it takes its peak
    total = a.sum((2, 3))
    rows = (a.sum(3) * torch.arange(height, device=z.device)).sum(2) / total.clamp(min=1e-12)
    columns = (a.sum(2) * torch.arange(width, device=z.device)).sum(2) / total.clamp(min=1e-12)
    middle = rows.round().long() * width + columns.round().long()
    return torch.where(total > 1e-12, middle, z.flatten(2).argmax(2))


class Mask(nn.Module):
    """Keep what lies near each filter's peak: x = z * max(T_muhat, 0).

    Parameters
    ----------
    size : int
        Width of the square map.
    decay, amplitude : float
        beta and tau of the template.
    centre : {"peak", "centroid"}
        See `peaks`.

    Notes
    -----
    Published: max(x * T_muhat, 0) on the map after the ReLU, with the peak at the strongest
    activation and amplitude tau = 0.5 / n^2. Here the mask stands before the ReLU, in the order of
    the explainer paper's supplement. As the template is clipped at 0 the two orders give the same
    rectified map; unclipped, a negative z under a negative template would pass the ReLU. The
    amplitude is 1, as in the authors' public code: times tau, activations would all but vanish.
    That code also adapts the width of each filter's template, and masks twice; this does neither.

    The mask acts on every image, positive or not, in training and in use. Gradients flow through
    z, not through the template.
    """

    def __init__(self, size: int, decay: float = 4.0, *, amplitude: float = 1.0,
                 centre: str = "peak") -> None:
        super().__init__()
        self.size, self.decay, self.amplitude = size, decay, amplitude
        self.centre = one_of("template centre", centre, CENTRES)
        clipped = templates(size, decay, amplitude).clamp(min=0)
        self.register_buffer("table", clipped.flatten(1), persistent=False)  # (H * W, H * W)

    def forward(self, z: Tensor) -> Tensor:
        """x (B, n, size, size) of maps z before the ReLU, in z's shape, type and memory format."""
        if z.dim() != 4 or z.shape[-2:] != (self.size, self.size):
            raise InputError(f"mask: maps of shape {tuple(z.shape)} are not (images, filters, "
                             f"{self.size}, {self.size})")
        # (B, n, H * W): one row of the table for each map; the choice of row has no gradient
        kept = self.table.to(z.dtype)[peaks(z, self.centre)]
        return z * kept.reshape(z.shape)

    def extra_repr(self) -> str:
        return f"{self.size}, decay={self.decay}, amplitude={self.amplitude}, centre={self.centre}"


@lru_cache(maxsize=16)
def _all_templates(size: int, decay: float, amplitude: float) -> Tensor:
    """All templates side by side, the negative one last: (H * W, H * W + 1)."""
    positive = templates(size, decay, amplitude).flatten(1)
    return torch.cat([positive, torch.full((1, size * size), -amplitude)]).t().contiguous()


def mutual_information(scores: Tensor) -> Tensor:
    """Mutual information between a batch's maps and the templates, for each filter.

    With p(x|T) = exp(tr(x T)) / Z_T, Z_T summed over the batch, p(x) = sum_T p(T) p(x|T), and all
    templates equally likely:

        MI = sum_T p(T) sum_x p(x|T) log(p(x|T) / p(x))

    Parameters
    ----------
    scores : Tensor, (B, n, M)
        tr(x T) of each image, filter and template.

    Returns
    -------
    Tensor, (n,)
        In nats; between 0 and log(min(B, M)).

    Notes
    -----
    The priors of the CVPR paper, p(T_mu) = a / n^2 and p(T-) = 1 - a with a = n^2 / (1 + n^2), are
    all the same number, 1 / (1 + n^2) = 1 / M.
    """
    log_prior = -math.log(scores.shape[2])
    log_given = scores - scores.logsumexp(0)  # log p(x|T)
    log_any = (log_given + log_prior).logsumexp(2, keepdim=True)  # log p(x)
    return (log_given.exp() * (log_given - log_any)).sum((0, 2)) * math.exp(log_prior)


def filter_loss(a: Tensor, positive: Tensor, *, decay: float = 4.0, amplitude: float | None = None,
                normalised: bool = True, contrast: float = 1.0, gradient: str = "exact") -> Tensor:
    """Minus the mutual information between maps and templates, plus a contrast of the classes.

    For a filter with maps x, and r the mean over positive images of its peak max_ij x_ij:

        -MI(x / r; T) + contrast * (mean over negative images of max_ij x_ij) / r

    averaged over the filters. MI is estimated within the batch, see `mutual_information`.

    Parameters
    ----------
    a : Tensor, (B, n, H, H)
        Maps after the ReLU and not masked: from a masked map the loss could not see what lies
        away from the peak, which is what it has to suppress.
    positive : Tensor, (B,), bool
        Which images show the category.
    decay : float
        beta of the templates.
    amplitude : float, optional
        tau of the templates: how sharply p(x|T) tells maps apart. 1 for normalised maps, else the
        published 0.5 / n^2.
    normalised : bool
        Whether maps are divided by r; otherwise by 1 in the first term. Without it the loss moves
        with the scale of a filter.
    contrast : float
        Weight of the second term, which says what the first can't: that a filter is to respond to
        the category. 0 leaves it out.
    gradient : {"exact", "matched"}
        "exact" is autograd's gradient of minus the mutual information. "matched" is the published
        shortcut: of all templates only the one that matches an image (the one at the filter's
        peak for an image of the category, else the negative one), with Z_T and p(x) held fixed.

    Returns
    -------
    Tensor, scalar
        float32, also under autocast (float64 for float64 maps).

    Raises
    ------
    InputError
        If the maps are not square, `positive` is not one truth value for each image, or a setting
        is out of range.

    Notes
    -----
    Published: ``normalised=False, contrast=0, gradient="matched"``, with Z_T summed over all the
    training data; here over the batch. The mutual information itself does not know which images
    are positive: the labels enter the published gradient by the choice of the matching template,
    and without them filters settle on the background. The contrast takes that place here, and r
    keeps the scale of a network trained from scratch out of the estimate. The published gradient
    is not that of a bounded loss: with normalised maps and a weight of 1 training diverged.

    The authors' public code has an exponential surrogate gradient, positives and negatives weighted
    equally, around the activations' centroid (see `Mask`). A batch without positive images takes r
    over all images; one without negative images has no second term.
    """
    if a.dim() != 4 or a.shape[2] != a.shape[3]:
        raise InputError(f"filter loss: maps of shape {tuple(a.shape)} are not square, (images, "
                         "filters, n, n)")
    if positive.shape != a.shape[:1] or positive.dtype != torch.bool:
        raise InputError(f"positive: {positive.dtype} of shape {tuple(positive.shape)} is not one "
                         f"truth value for each of {len(a)} images")
    one_of("filter gradient", gradient, GRADIENTS)
    number("filter contrast", contrast, 0)
    size = a.shape[-1]
    if amplitude is None:
        amplitude = 1.0 if normalised else 0.5 / size**2
    with torch.autocast(a.device.type, enabled=False):
        maps = a.to(torch.promote_types(a.dtype, torch.float32)).flatten(2)  # (B, n, H * H)
        peak = maps.amax(2)  # (B, n)
        reference = peak[positive if positive.any() else ~positive].mean(0).clamp(min=1e-6)  # (n,), r
        if normalised:
            maps = maps / reference[:, None]
        table = _all_templates(size, decay, amplitude).to(maps.device, maps.dtype)
        scores = maps @ table  # (B, n, H * H + 1): tr(x T)
        if gradient == "exact":
            loss = -mutual_information(scores).mean()
        else:
            loss = _matched(scores, maps, positive)
        if contrast and not positive.all():
            loss = loss + contrast * (peak[~positive].mean(0) / reference).mean()
    return loss


def _matched(scores: Tensor, maps: Tensor, positive: Tensor) -> Tensor:
    """Minus the mutual information, mean of filters, with the published gradient.

    Published, for T^ the matching template and t^ its values:

        dMI / dx_ij = p(T^) / Z_T^ * t^_ij * exp(tr(x T^)) * (tr(x T^) - log Z_T^ - log p(x))
    """
    count = scores.shape[2]
    match = torch.where(positive[:, None], maps.argmax(2), count - 1)[:, :, None]  # (B, n, 1)
    with torch.no_grad():
        log_given = scores - scores.logsumexp(0)  # log p(x|T)
        log_any = log_given.logsumexp(2, keepdim=True) - math.log(count)  # log p(x)
        slope = ((log_given - log_any) * log_given.exp()).gather(2, match) / count
        value = -mutual_information(scores).mean()
    linear = -(slope * scores.gather(2, match)).sum() / scores.shape[1]
    return value + linear - linear.detach()


def _positive(field: str, value: float) -> None:
    if number(field, value, 0) == 0:
        raise InputError(f"{field}: {value!r} is not above 0")
