"""Prior weights w: a rough relation between the score and each concept (section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from semquant.checks import InputError, check_finite, check_shapes, number, one_of

__all__ = ["CONTROLS", "POSITIONS", "control", "gram", "jacobian_autograd", "jacobian_closed_form",
           "jacobian_from_gradient", "jacobian_prior", "linear_layers", "permuted",
           "taylor_from_gram", "taylor_from_rows", "taylor_prior", "uniform"]

#: Where the sum of a Jacobian prior runs.
POSITIONS = ("all", "active", "weighted")
#: What can be put in the place of a measured prior.
CONTROLS = ("measured", "uniform", "permuted", "none")


def jacobian_from_gradient(gradient: Tensor, x: Tensor, clip: bool = True,
                           positions: str = "all") -> Tensor:
    """Sum a gradient over the positions of each filter's map (equation (5)).

    Parameters
    ----------
    gradient : tensor (B, n, H, W)
        Derivative of each image's score with respect to its map x.
    x : tensor (B, n, H, W)
        The map itself; read only where `positions` is ``"active"``.
    clip : bool
        Whether negative weights become 0, as in section 4.1: max(w, 0).
    positions : {"all", "active", "weighted"}
        Where the sum runs: over the whole map, or only where x > 0. On a map before its ReLU the
        two agree, since the gradient is 0 wherever x <= 0; on a map after its ReLU ``"active"``
        gives what the map before it gives. ``"weighted"`` sums the gradient times x.

    Returns
    -------
    tensor (B, n)
        w, in score units per unit of activation; not normalised, since the losses of equation (4)
        do that.
    """
    one_of("positions", positions, POSITIONS)
    if positions == "active":
        gradient = gradient * (x > 0)
    elif positions == "weighted":
        gradient = gradient * x
    w = gradient.sum(dim=(2, 3))  # (B, n, H, W) -> (B, n)
    return w.clamp_min(0) if clip else w


def jacobian_prior(head: Callable[[Tensor], Tensor], x: Tensor, clip: bool = True,
                   positions: str = "all") -> Tensor:
    r"""Prior weights of Case 1, :math:`w_i = \sum_{h,w} \partial\hat y / \partial x_{hwi}`.

    Parameters
    ----------
    head : callable
        x (B, n, H, W) -> yhat (B,): everything above the layer, beginning with its ReLU. The images
        of a batch must not influence each other (batch norm in evaluation mode).
    x : tensor (B, n, H, W)
        The signed map, e.g. the mask's output. Left unchanged.
    clip, positions
        As in `jacobian_from_gradient`.

    Returns
    -------
    tensor (B, n)
        w, detached.

    Raises
    ------
    InputError
        If the shapes don't fit, or x or the gradient holds NaN or infinity.

    Notes
    -----
    Equation (5) has a factor 1/Z that equation (4) cancels; it is left out here as in the paper.
    """
    check_shapes(x=(x, "B n H W"))
    check_finite(x=x)
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        yhat = head(leaf * 1)  # the product: a head may start with an in-place ReLU
        check_shapes(x=(x, "B n H W"), yhat=(yhat, "B"))
        (gradient,) = torch.autograd.grad(yhat.sum(), leaf)
    check_finite(gradient=gradient)
    return jacobian_from_gradient(gradient, leaf.detach(), clip, positions)


def gram(jacobian: Tensor) -> Tensor:
    """Inner products of all outputs' derivatives, (B, K, d) -> (B, K, K): what `taylor_from_gram` needs."""
    check_shapes(jacobian=(jacobian, "B K d"))
    return jacobian @ jacobian.transpose(1, 2)


def taylor_from_gram(products: Tensor, target: int) -> Tensor:
    r"""Prior weights of Case 2 from the inner products of all outputs' derivatives.

    .. math:: w_i = \frac{\Delta\hat y}{\Delta y_i}
              = \frac{\langle \partial\hat y/\partial x, \partial y_i/\partial x\rangle}
                     {\|\partial y_i/\partial x\|_F^2}

    Of the products (B, K, K) that `gram` gives; output `target` is yhat, the others are the
    concepts, in their order. Returns w (B, K - 1), signed; 0 for a concept whose own derivative is 0.
    """
    outputs = check_shapes(products=(products, "B K K"))["K"]
    number("target", target, 0, outputs - 1, integer=True)
    square = products.diagonal(dim1=1, dim2=2)  # (B, K)
    w = products[:, target] / torch.where(square > 0, square, torch.ones_like(square))  # 0 / 1
    return w[:, [k for k in range(outputs) if k != target]]


def taylor_from_rows(own: Tensor, rows: Iterable[Tensor]) -> Tensor:
    """Prior weights as of `taylor_from_gram`, without the products of concepts with each other.

    `own` (B, ...) is yhat's derivative by x, `rows` are those of the concepts, a few (B, c, ...) at a
    time. Returns w (B, n) in at least single precision.
    """
    dtype = torch.promote_types(own.dtype, torch.float32)
    own, parts = own.flatten(1).to(dtype)[:, :, None], []
    for some in rows:
        some = some.flatten(2).to(dtype)  # (B, c, d)
        square = some.square().sum(dim=2)
        parts.append((some @ own)[..., 0] / torch.where(square > 0, square, torch.ones_like(square)))
    return torch.cat(parts, dim=1)


def linear_layers(head: object) -> list[nn.Linear | nn.ReLU] | None:
    """The layers of a head whose derivative has a closed form, or None for any other head.

    These are the linear layers and ReLUs of a Sequential; dropout, which does nothing in
    evaluation mode, is left out.
    """
    if not isinstance(head, nn.Sequential):
        return None
    layers = [m for m in head if not isinstance(m, nn.Dropout | nn.Identity)]
    return layers if all(type(m) in (nn.Linear, nn.ReLU) for m in layers) else None


def jacobian_closed_form(head: nn.Sequential, x: Tensor) -> Tensor:
    r"""Derivatives of all outputs of a head of linear layers, as a product of matrices.

    :math:`W_m D_{m-1} W_{m-1} \cdots D_1 W_1`, where the diagonal matrix D_l holds 1 for each unit
    whose ReLU lets its input through: (B, K, d) for x (B, d). The head, a Sequential of linear
    layers, ReLUs and dropout, is read as in evaluation mode; an InputError if it has other layers.
    """
    check_shapes(x=(x, "B d"))
    layers = linear_layers(head)
    if layers is None:
        raise InputError("head: not a Sequential of linear layers, ReLUs and dropout; "
                         "accepted for any head: jacobian_autograd")
    with torch.no_grad():
        gates, value = [], x
        for layer in layers:  # forwards: which units let their input through
            gates.append(value > 0 if isinstance(layer, nn.ReLU) else None)
            value = layer(value)
        outputs = value.shape[1]
        jacobian = torch.eye(outputs, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        for layer, gate in zip(reversed(layers), reversed(gates)):  # backwards: (B, K, units)
            jacobian = jacobian @ layer.weight if gate is None else jacobian * gate[:, None]
    return jacobian


def jacobian_autograd(head: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Derivatives by torch.func of any head's outputs, (B, K, d), whose images don't influence each other."""
    check_shapes(x=(x, "B d"))
    one_image = torch.func.jacrev(lambda row: head(row[None] * 1)[0])  # (d,) -> (K, d)
    return torch.func.vmap(one_image)(x.detach()).detach()


def taylor_prior(head: Callable[[Tensor], Tensor], x: Tensor, target: int) -> Tensor:
    """Prior weights of Case 2 (section 3.1), w (B, K - 1), signed, detached; see `taylor_from_gram`.

    `head` turns x (B, d), the feature that target and concepts share, into scores before any sigmoid
    (B, K), of which `target` is yhat. In closed form where it is made of linear layers, else by
    torch.func.
    """
    check_shapes(x=(x, "B d"))
    check_finite(x=x)
    linear = linear_layers(head) is not None
    jacobian = jacobian_closed_form(head, x) if linear else jacobian_autograd(head, x)
    return taylor_from_gram(gram(jacobian), target)


def uniform(w: Tensor) -> Tensor:
    """A prior that knows nothing: the same weight for every concept, in the shape of `w` (B, n)."""
    return torch.ones_like(w)


def permuted(w: Tensor, seed: int = 0) -> Tensor:
    """A wrong prior with the right values: one permutation of the concepts for all images.

    No concept keeps its own weights (for n > 1): the permutation is one random cycle.
    """
    n = check_shapes(w=(w, "B n"))["n"]
    cycle = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    source = torch.empty_like(cycle)
    source[cycle] = cycle.roll(1)
    return w[:, source.to(w.device)]


def control(name: str, w: Tensor | None, seed: int = 0) -> Tensor | None:
    """What a fit uses in the place of the measured prior w (B, n): one of `CONTROLS`.

    ``"none"``, None, is the paper's baseline: the distillation loss alone. `seed` is for
    ``"permuted"``.
    """
    one_of("prior", name, CONTROLS)
    if name == "none":
        return None
    if w is None:
        raise InputError(f"prior: {name!r} needs measured prior weights, there are none")
    return {"measured": lambda: w, "uniform": lambda: uniform(w),
            "permuted": lambda: permuted(w, seed)}[name]()
