"""Peers of the method: what else explains a score by the same concepts, in the same form."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semquant import truth
from semquant.checks import InputError, check_assignment, check_finite, check_shapes, number, one_of
from semquant.concepts import Measured
from semquant.explanation import UNASSIGNED, Explanation
from semquant.regressions import boosted, concept_head, nonnegative, ridge
from semquant.training import evaluation_mode, home_of

__all__ = ["PEERS", "exact_shapley", "explain"]

BATCH = 64  # maps that a head is given at a time
Attribution = tuple[Tensor, Tensor, float]  # y (B, n), alpha (B, n), b


@dataclass(frozen=True)
class _Case:
    """What a peer is asked; fields as the parameters of `explain`."""

    head: Callable[[Tensor], Tensor] | None
    measured: Measured
    background: Measured | None
    reference: str
    samples: int | None
    seed: int

    def __post_init__(self) -> None:
        for of, images in (("measured", self.measured), ("background", self.background)):
            if images is not None or of == "measured":
                _check(of, images, self.measured)

    @property
    def home(self) -> torch.device:
        """Where the head is run: where a module is, and where the scores are for a function."""
        if not callable(self.head):
            kind = type(self.head).__name__
            raise InputError(f"head: {kind} is not a function of x, or a module")
        return home_of(self.head) if isinstance(self.head, nn.Module) else self.measured.yhat.device

    def training(self, method: str) -> Measured:
        """The training images."""
        if self.background is None:
            raise InputError(f"background: none was given, {method} needs measured training images")
        return self.background


def explain(method: str, head: Callable[[Tensor], Tensor] | None, measured: Measured, *,
            background: Measured | None = None, reference: str = "zero",
            samples: int | None = None, seed: int = 0,
            names: Sequence[str] | None = None) -> Explanation:
    r"""Explain measured scores by one of the `PEERS`.

    Parameters
    ----------
    method : str
        Three kinds, each giving B scores as :math:`\hat y \approx \sum_i \alpha_i y_i + b`:

        - of the head, where the concepts are the filters of x: ``gradient_times_input``,
          ``integrated_gradients``, ``deeplift``, ``feature_ablation``, ``shapley_sampling``,
          ``kernel_shap`` and ``lime``, computed by Captum, and ``exact_shapley`` for up to 16
          filters (for more see `exact_shapley`). What they say of a filter at all positions is
          summed and stands as y, with alpha 1; b is the reference's score.
        - of the training images: ``ridge``, ``nonnegative`` (least squares) and ``concept_head``
          (logistic regression of the decision), with one alpha and b for all images; ``boosted``, a
          sum of one learned function of each concept, with alpha 1; see `semquant.regressions`.
          ``mean_share``, yhat times a concept's mean share under the prior alone.
        - of neither: ``equal_share``, yhat / n, and ``random``, yhat times drawn shares, with b 0
          as the mean share; ``prior``, w as alpha, with b 0. As w is only known up to a factor (1/Z
          of equation (5) is left out), background images, if given, fit one factor of at least 0
          and b.

    head : callable
        x (B, n, H, W) -> yhat (B,), run in evaluation mode; a Module for ``deeplift``. Only methods
        of the head read it, others take None.
    measured : Measured
        The images to explain. Left unchanged.
    background : Measured, optional
        Training images: for the methods that need them, and for the reference ``"mean"``.
    reference : {"zero", "mean"}
        The map that contributions of the head are counted from: 0, or the mean over the background
        images, at each position.
    samples : int, optional
        Steps of ``integrated_gradients`` (by default 50), orders of ``shapley_sampling`` (25),
        coalitions of ``kernel_shap`` and ``lime`` (2048 + 2 n).
    seed : int
        Of what is drawn.
    names : sequence of str, optional
        What the n concepts are called.

    Returns
    -------
    Explanation
        An InputError if the method is unknown or lacks what it needs, or the tensors don't fit each
        other or hold NaN.

    Notes
    -----
    LIME and KernelSHAP are fitted by weighted least squares with an intercept: Captum's lasso for
    LIME has a strength that depends on the score's unit. DeepLIFT has the Rescale rule alone. It
    takes nonlinearities that are no modules for linear. Where the windows of a max-pooling overlap,
    as in AlexNet, it adds up for a pooling right behind a ReLU and the reference ``"zero"`` only:
    look at the residual.
    """
    one_of("method", method, PEERS)
    one_of("reference", reference, ("zero", "mean"))
    number("seed", seed, 0, integer=True)
    if samples is not None:
        number("samples", samples, 1, integer=True)
    y, alpha, bias = _PEERS[method](_Case(head, measured, background, reference, samples, seed))
    return Explanation(measured.yhat, y, alpha, bias, names)


def _check(of: str, images: Measured, first: Measured) -> None:
    """Check what was measured of some images, and that their concepts are those of the first."""
    if not isinstance(images, Measured):
        raise InputError(f"{of}: {type(images).__name__} is not what `measure` gives")
    check_shapes(y=(images.y, "B n"), yhat=(images.yhat, "B"))
    check_finite(y=images.y, yhat=images.yhat)
    if images.w is not None:
        check_shapes(y=(images.y, "B n"), w=(images.w, "B n"))
        check_finite(w=images.w)
    if len(images) == 0:
        raise InputError(f"{of}: no images were given")
    if images.y.shape[1] != first.y.shape[1]:
        raise InputError(f"{of}: {images.y.shape[1]} concepts, not {first.y.shape[1]}")


def _reference_map(case: _Case) -> Tensor:
    """The map (1, n, H, W) that contributions are counted from."""
    shape = case.measured.x.shape[1:]
    if case.reference == "zero":
        return torch.zeros_like(case.measured.x[:1])
    x = case.training("reference 'mean'").x
    if tuple(x.shape[1:]) != tuple(shape):
        raise InputError(f"background: maps of shape {tuple(x.shape[1:])}, not {tuple(shape)}")
    total = sum(batch.double().sum(dim=0, keepdim=True) for batch in x.split(BATCH))
    return (total / len(x)).to(case.measured.x[:1].dtype)


def _by_filters(attribute: Callable[..., Tensor], perturbs: bool = False) -> Callable:
    """The peer of a Captum method: `attribute`(score, x, reference, case) -> (B, n, H, W).

    One that perturbs whole filters gives the same value at each of a filter's positions.
    """
    def peer(case: _Case) -> Attribution:
        head, measured, home = case.head, case.measured, case.home
        check_shapes(x=(measured.x, "B n H W"), y=(measured.y, "B n"))

        def score(x: Tensor) -> Tensor:
            yhat = head(x.clone())  # a copy: a head may start with an in-place ReLU
            check_shapes(x=(x, "B n H W"), yhat=(yhat, "B"))
            check_finite(**{"the head's score": yhat})
            return yhat

        zero = _reference_map(case).to(home)
        found = []
        with (evaluation_mode(head), warnings.catch_warnings(), torch.enable_grad(),
              torch.random.fork_rng(devices=[home] if home.type == "cuda" else [])):
            warnings.simplefilter("ignore")  # of hooks that DeepLIFT sets, and fits per image
            torch.manual_seed(case.seed)
            bias = score(zero).detach()
            for x in measured.x.split(BATCH):
                check_finite(x=x)
                x = x.detach().to(home).clone()
                values = attribute(score, x, zero, case).detach()
                values = values.flatten(2)[..., 0] if perturbs else values.sum(dim=(2, 3))
                found.append(values.to(measured.y))
        contributions = torch.cat(found)
        check_finite(contributions=contributions)
        return contributions, torch.ones_like(contributions), float(bias)

    return peer


def _filters(x: Tensor) -> Tensor:
    """A feature mask by filter, (1, n, 1, 1)."""
    return torch.arange(x.shape[1], device=x.device)[None, :, None, None]


def _gradient_times_input(score, x, zero, case) -> Tensor:
    from captum.attr import InputXGradient  # takes a second to import

    return InputXGradient(lambda step: score(zero + step)).attribute(x - zero)


def _integrated_gradients(score, x, zero, case) -> Tensor:
    from captum.attr import IntegratedGradients

    return IntegratedGradients(score).attribute(x, baselines=zero, n_steps=case.samples or 50,
                                                internal_batch_size=BATCH)


def _deeplift(score, x, zero, case) -> Tensor:
    from captum.attr import DeepLift
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    if not isinstance(case.head, nn.Module):
        raise InputError("head: deeplift needs a torch.nn.Module, whose nonlinearities are modules")
    hooks = [module.register_forward_pre_hook(_apart) for module in case.head.modules()
             if type(module) in SUPPORTED_NON_LINEAR and not _overlapping(module)]
    try:
        return DeepLift(case.head).attribute(x, baselines=zero.expand_as(x))
    finally:
        for hook in hooks:
            hook.remove()


def _apart(module: nn.Module, inputs: tuple) -> tuple:
    """Copies of a module's inputs.

    Where a ReLU's output is itself a max-pooling's input, Captum's DeepLIFT would give the ReLU the
    pooling's gradient and not its multiplier.
    """
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs)


def _overlapping(module: nn.Module) -> bool:
    """Whether it is a max-pooling with overlapping windows.

    Captum's multiplier for it counts one window alone at each position. Behind a ReLU and with
    reference 0 the gradient is right, so there it is left as it is.
    """
    pools = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d
    return isinstance(module, pools) and bool(
        (torch.as_tensor(module.kernel_size) > torch.as_tensor(module.stride)).any())


def _feature_ablation(score, x, zero, case) -> Tensor:
    from captum.attr import FeatureAblation

    return FeatureAblation(score).attribute(x, baselines=zero, feature_mask=_filters(x))


def _shapley_sampling(score, x, zero, case) -> Tensor:
    from captum.attr import ShapleyValueSampling

    return ShapleyValueSampling(score).attribute(x, baselines=zero, feature_mask=_filters(x),
                                                 n_samples=case.samples or 25)


class _LeastSquares:
    """What Captum fits to scores of coalitions: weighted least squares with an intercept."""

    def fit(self, batches) -> None:
        """Fit the one batch of coalitions (S, n), scores (S,) and weights (S,)."""
        members, scores, weights = (t.double().cpu() for t in next(iter(batches)))
        root = weights.sqrt()[:, None]
        design = torch.cat([members, torch.ones_like(root)], dim=1)
        solved = torch.linalg.lstsq(root * design, root * scores[:, None], driver="gelsd").solution
        self.coefficients = solved[:-1, 0]

    def representation(self) -> Tensor:
        """The coefficients, (n,)."""
        return self.coefficients


def _of_coalitions(method, x, zero, case) -> Tensor:
    n = x.shape[1]
    with torch.no_grad():
        rows = [method.attribute(one, baselines=zero, feature_mask=_filters(x),
                                 n_samples=case.samples or 2048 + 2 * n,
                                 perturbations_per_eval=BATCH, return_input_shape=False)
                for one in x.split(1)]
    return torch.stack([row.flatten() for row in rows])[:, :, None, None]


def _kernel_shap(score, x, zero, case) -> Tensor:
    from captum.attr import KernelShap

    if x.shape[1] < 2:
        raise InputError("x: kernel_shap needs at least 2 filters")
    method = KernelShap(score)
    method.interpretable_model = _LeastSquares()  # Captum's own needs scikit-learn
    return _of_coalitions(method, x, zero, case)


def _lime(score, x, zero, case) -> Tensor:
    from captum.attr import Lime

    return _of_coalitions(Lime(score, interpretable_model=_LeastSquares()), x, zero, case)


def _exact(case: _Case) -> Attribution:
    measured = case.measured
    check_shapes(x=(measured.x, "B n H W"), y=(measured.y, "B n"))
    found, bias = _of_groups(case, torch.arange(measured.y.shape[1]), measured.y.shape[1])
    return found, torch.ones_like(found), bias


def _of_groups(case: _Case, groups: Tensor, parts: int) -> tuple[Tensor, float]:
    """Shapley values of groups (B, P), and the reference's score."""
    home, found, bias = case.home, [], 0.0
    if case.reference == "resampled":
        background = case.training("reference 'resampled'").x[:]
    else:
        background = _reference_map(case)
    # the mean of one map is that map
    name = "resampled" if case.reference == "resampled" else "mean"
    for x in case.measured.x.split(BATCH):
        values = truth.coalition_values(case.head, x.to(home), groups, name, background.to(home),
                                        parts=parts)
        bias = float(values[0, 0])
        found.append(truth.shapley(values).to(case.measured.y))
    return torch.cat(found), bias


def exact_shapley(head: Callable[[Tensor], Tensor], measured: Measured,
                  assignment: Tensor | Sequence[int], groups: Sequence[str], *,
                  background: Measured | None = None, reference: str = "zero") -> Explanation:
    """Explain measured scores by exact Shapley values of groups of filters.

    Parameters
    ----------
    head, measured, background
        As in `explain`.
    assignment, groups
        As in `Explanation.merge`; with one of filters that belong to none, at most 16 groups.
    reference : {"zero", "mean", "resampled"}
        What an absent filter's map is, see `semquant.truth.coalition_values`.

    Returns
    -------
    Explanation
        As of `Explanation.merge`; b is the reference's score, and nothing is left unexplained.
    """
    one_of("reference", reference, truth.REFERENCES)
    assignment, parts = torch.as_tensor(assignment), len(groups)
    case = _Case(head, measured, background, reference, None, 0)
    check_shapes(y=(measured.y, "B n"), assignment=(assignment, "n"))
    check_assignment(assignment, parts)
    found, bias = _of_groups(case, assignment, parts)
    if found.shape[1] == parts:  # each filter has a group
        found = torch.cat([found, found.new_zeros(len(found), 1)], dim=1)
    return Explanation(measured.yhat, found, torch.ones_like(found), bias, [*groups, UNASSIGNED])


def _fitted(method: str, fit: Callable[[Tensor, Tensor], tuple[Tensor, float]]) -> Callable:
    def peer(case: _Case) -> Attribution:
        images, y = case.training(method), case.measured.y
        alpha, bias = fit(images.y, images.yhat)
        return y, alpha.to(y).expand_as(y), bias

    return peer


def _boosted(case: _Case) -> Attribution:
    images, y = case.training("boosted"), case.measured.y
    parts, bias = boosted(images.y, images.yhat)
    contributions = parts(y).to(y)
    return contributions, torch.ones_like(contributions), bias


def _prior(case: _Case) -> Attribution:
    w, images, factor, bias = case.measured.prior("prior"), case.background, 1.0, 0.0
    if images is not None:
        said = (images.prior("prior") * images.y).sum(dim=1, keepdim=True)
        fitted, bias = nonnegative(said, images.yhat)
        factor = float(fitted)
    return case.measured.y, w * factor, bias


def _shared(measured: Measured, shares: Tensor) -> Attribution:
    """The score handed out in shares (B, n) or (n,), which add up to 1."""
    contributions = measured.yhat[:, None] * shares.to(measured.y)
    return contributions, torch.ones_like(contributions), 0.0


def _mean_share(case: _Case) -> Attribution:
    images = case.training("mean_share")
    w = images.prior("mean_share")
    shares = Explanation(images.yhat, images.y, w, 0.0).shares.mean(dim=0)
    if not float(shares.sum()) > 0:
        raise InputError("w: all prior contributions of the background are 0, they have no shares")
    return _shared(case.measured, shares / shares.sum())


def _equal_share(case: _Case) -> Attribution:
    y = case.measured.y
    return _shared(case.measured, torch.full_like(y, 1 / y.shape[1]))


def _random(case: _Case) -> Attribution:
    """Shares drawn uniformly from all that add up to 1, anew for each image."""
    generator = torch.Generator().manual_seed(case.seed)
    drawn = torch.empty(case.measured.y.shape, dtype=torch.float64)
    drawn.exponential_(generator=generator)
    return _shared(case.measured, drawn / drawn.sum(dim=1, keepdim=True))


_PEERS: dict[str, Callable[[_Case], Attribution]] = {
    "gradient_times_input": _by_filters(_gradient_times_input),
    "integrated_gradients": _by_filters(_integrated_gradients),
    "deeplift": _by_filters(_deeplift),
    "feature_ablation": _by_filters(_feature_ablation, perturbs=True),
    "shapley_sampling": _by_filters(_shapley_sampling, perturbs=True),
    "kernel_shap": _by_filters(_kernel_shap, perturbs=True),
    "lime": _by_filters(_lime, perturbs=True),
    "exact_shapley": _exact,
    "prior": _prior,
    "mean_share": _mean_share,
    "equal_share": _equal_share,
    "random": _random,
    "ridge": _fitted("ridge", ridge),
    "nonnegative": _fitted("nonnegative", nonnegative),
    "concept_head": _fitted("concept_head", concept_head),
    "boosted": _boosted,
}
#: The names of all peers.
PEERS = tuple(_PEERS)
