"""Gradient times input, put right by what removing concepts does: this book's own, not the paper's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from semquant.checkpoints import OwnCheckpoint
from semquant.checks import InputError, check_finite, check_shapes, number
from semquant.concepts import FilterConcepts, Measured
from semquant.gathered import Columns
from semquant.images import input_by
from semquant.models import hooked, input_of, layer_of, passing, picked, single, undisturbed, unwrapped
from semquant.targets import scores_of
from semquant.training import (
    OPTIMIZERS, Descent, FitOptions, TensorBatches, choose_device, cosine, evaluation_mode, home_of)

__all__ = ["FIT", "Correction", "CorrectionOptions", "Removals", "coalitions", "correct", "enough",
           "of_head", "of_model", "remove", "scored", "tried"]

#: Images or maps (B, ...) -> which concepts are present (B, n) -> scores (B,).
Score = Callable[[Tensor], Callable[[Tensor], Tensor]]
#: How the correction is fitted by default.
FIT = FitOptions(epochs=12, batch_size=128, learning_rate=5e-3, weight_decay=1.0)
STEPS = 1000  # that a correction of few images takes
AROUND = 0.1  # of the scores' spread; if scores without concepts differ by more, a path goes around these


def enough(images: int, asked: FitOptions = FitOptions()) -> FitOptions:
    """What was asked for, with `FIT` for what is as in any fit, and as many epochs as few images need."""
    epochs = max(FIT.epochs, round(STEPS * FIT.batch_size / max(images, FIT.batch_size)))
    own = {"epochs": epochs, "batch_size": FIT.batch_size, "learning_rate": FIT.learning_rate,
           "weight_decay": FIT.weight_decay}
    return replace(asked, **{name: value for name, value in own.items()
                             if getattr(asked, name) == getattr(FitOptions, name)})


@dataclass(frozen=True)
class CorrectionOptions:
    """How concepts are removed, and how large the correction is."""

    coalitions: int = 16  # sets of concepts that each training image keeps, half of them complements
    hidden: int = 64  # units of the correction's hidden layer

    def __post_init__(self) -> None:
        number("coalitions", self.coalitions, 2, integer=True)
        number("hidden", self.hidden, 1, integer=True)
        if self.coalitions % 2:
            raise InputError(f"coalitions: {self.coalitions} is odd; accepted: an even number, each "
                             "set comes with its complement")


@dataclass
class Removals(Columns):
    """What N images score with some of their n concepts alone.

    present (N, K, n), bool, says which; scores (N, K) are the scores, empty (N,) those without any.
    """

    present: Tensor
    scores: Tensor
    empty: Tensor


class Correction(nn.Module):
    r"""Contributions :math:`\alpha_i y_i = w_i y_i + y_i c_i(y)`, made to add up to the score.

    c is a network of one hidden layer that starts at 0. What is left of
    :math:`\hat y - b` is handed out in proportion to the contributions' size, unless a path goes
    around the concepts: what comes along it is none of theirs, and stays unexplained.

    There are n concepts, and `hidden` units of c; `complete` says whether what is left is handed out.
    The buffer ``bias`` is b, the mean score without any concept.
    """

    reads_prior = True

    def __init__(self, n: int, hidden: int, complete: bool = True) -> None:
        super().__init__()
        self.settings = {"n": n, "hidden": hidden, "complete": complete}
        self.net = nn.Sequential(nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, n))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)
        for name, value in (("mean", torch.zeros(n)), ("spread", torch.ones(n)),
                            ("size", torch.ones(n)), ("unit", torch.ones(())), ("bias", torch.zeros(()))):
            self.register_buffer(name, value)

    @classmethod
    def of(cls, n: int, hidden: int, complete: bool = True) -> Correction:
        """A correction from its `settings`."""
        return cls(n, hidden, complete)

    def begin(self, measured: Measured, empty: Tensor) -> None:
        """Take the units of y and yhat from training images, and b from their scores without concepts."""
        y = measured.y.float()
        tiny = torch.finfo(y.dtype).tiny
        for name, value in (("mean", y.mean(dim=0)), ("spread", y.std(dim=0).clamp_min(tiny)),
                            ("size", y.square().mean(dim=0).sqrt().clamp_min(tiny)),
                            ("unit", measured.yhat.std()), ("bias", empty.mean())):
            getattr(self, name).copy_(value)
        self.spread[self.spread <= tiny] = 1  # a concept that never changes
        self.size[self.size <= tiny] = 1

    def leave_out(self) -> None:
        """Make c 0 everywhere: gradient times input, made to add up, is left."""
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, y: Tensor, w: Tensor, yhat: Tensor) -> Tensor:
        """Contributions (B, n), in score units."""
        y, w, yhat = (t.to(self.bias.dtype) for t in (y, w, yhat))
        change = self.net((y - self.mean) / self.spread) * y / self.size * self.unit / y.shape[1]
        found = w * y + change
        if not self.settings["complete"]:
            return found
        left = yhat - self.bias - found.sum(dim=1)
        size = found.abs()
        shares = size / size.sum(dim=1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
        return found + left[:, None] * shares

    @torch.no_grad()
    def weigh(self, measured: Measured, batch_size: int = 256) -> Tensor:
        """alpha (B, n) of measured images; 0 where y is 0, since nothing is contributed there."""
        check_shapes(mean=(self.mean, "n"), y=(measured.y, "B n"), yhat=(measured.yhat, "B"))
        w, device, found = measured.prior("the correction"), self.bias.device, []
        for b in torch.arange(len(measured)).split(batch_size):
            some = (t[b].to(device) for t in (measured.y, w, measured.yhat))
            found.append(self(*some).to(measured.y))
        y = measured.y
        return torch.where(y == 0, 0, torch.cat(found) / torch.where(y == 0, 1, y))


@undisturbed()
def coalitions(images: int, count: int, n: int, generator: torch.Generator) -> Tensor:
    r"""Draw sets of concepts as Shapley values weigh them, bool (images, count, n).

    A size s is drawn with probability proportional to :math:`(n - 1) / (s (n - s))`, from 1 to
    n - 1, and then one of all sets of that size; the second half are the complements of the first.
    With sets so drawn, the contributions of an image that minimise the expected squared error of
    `correct` and add up to its score less that without any concept are its Shapley values
    (Charnes and others 1988; Lundberg and Lee 2017).
    """
    number("n", n, 2, integer=True)
    sizes = torch.arange(1, n)
    weights = 1.0 / (sizes * (n - sizes)).double()
    drawn = sizes[torch.multinomial(weights, images * count // 2, True, generator=generator)]
    places = torch.rand(images * count // 2, n, generator=generator).argsort(dim=1).argsort(dim=1)
    half = (places < drawn[:, None]).view(images, count // 2, n)
    return torch.cat([half, ~half], dim=1)


def remove(score: Score, batches: Iterable[Tensor], n: int,
           options: CorrectionOptions = CorrectionOptions(), seed: int = 0) -> Removals:
    """Score batches of all training images, or of their maps, with sets of concepts alone, and with none.

    `score`, images or maps (B, ...) -> a function of present (B, n) that gives their scores (B,), is what
    `of_head` and `of_model` give; n is at least 2; `options` and `seed` are of the sets.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [scored(score, batch, coalitions(len(batch), options.coalitions, n, generator))
             for batch in batches]
    if not parts:
        raise InputError("images: none were given")
    return Removals.join(parts)


@torch.no_grad()
def scored(score: Score, batch: Tensor, present: Tensor) -> Removals:
    """Score a batch of images or maps (B, ...) with the sets `present` (B, K, n) alone, and with none."""
    of, nothing = score(batch), torch.zeros_like(present[:, :1])
    scores = [of(kept) for kept in torch.cat([present, nothing], dim=1).unbind(dim=1)]
    *each, empty = torch.stack(scores).cpu()
    found = Removals(present, torch.stack(each, dim=1), empty)
    check_finite(**{"the scores without some concepts": found.scores,
                    "the score without any concept": found.empty})
    return found


def tried(measured: Measured, removals: Removals, fit: FitOptions) -> tuple[float, float] | None:
    """What sets removed from a fifth of the images show of a correction fitted to the others, and of none.

    Parameters are those of `correct`. Returned are the errors of what either foretold,
    :math:`\\sqrt{E(\\text{said} - \\text{happened})^2 / E\\,\\text{happened}^2}`, both made to add up;
    None where there are too few images to try.
    """
    order = torch.randperm(len(measured), generator=torch.Generator().manual_seed(fit.seed))
    test, train = order.tensor_split([len(order) // 5])
    if not len(test) or float(measured.yhat[train].var()) == 0:
        return None
    g, _ = correct(measured[train], removals[train], fit=replace(fit, checkpoint=None, progress=None))
    seen, happened = measured[test], (removals.scores - removals.empty[:, None])[test]
    errors = []
    for without in (False, True):
        if without:
            g.leave_out()
        said = torch.einsum("bkn,bn->bk", removals.present[test].to(seen.y), g.weigh(seen) * seen.y)
        errors.append(float(((said - happened).square().mean() / happened.square().mean()).sqrt()))
    return errors[0], errors[1]


def of_head(head: Callable[[Tensor], Tensor]) -> Score:
    """A head x (B, n, H, W) -> yhat (B,) as `remove` asks for it; an absent filter is 0."""
    def score(x: Tensor) -> Callable[[Tensor], Tensor]:
        x = x.to(home_of(head))

        def of(present: Tensor) -> Tensor:
            with evaluation_mode(head):
                return head(x * present.to(x.device)[:, :, None, None])

        return of

    return score


def of_model(model: nn.Module, concepts: FilterConcepts | str, target: int,
             prepare: Callable[[Tensor], Tensor] | None = None) -> Score:
    """A model images (B, C, H, W) -> logits as `remove` asks for it; an absent filter is 0.

    The filters are those of the concepts, or of a layer.
    """
    concepts = FilterConcepts(concepts) if isinstance(concepts, str) else concepts
    inside = unwrapped(model)

    def score(images: Tensor) -> Callable[[Tensor], Tensor]:
        images = input_by(prepare)(images.to(home_of(model)))

        def of(present: Tensor) -> Tensor:
            def remove(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
                return concepts.layout(inside, output, images).kept(output, present)

            with passing(inside), torch.no_grad(), hooked((layer_of(inside, concepts.layer), remove)):
                outputs = picked(inside(input_of(inside, images)), concepts.output)
            return single(scores_of(outputs, target, inside))

        return of

    return score


@undisturbed()
def correct(measured: Measured, removals: Removals, options: CorrectionOptions = CorrectionOptions(),
            fit: FitOptions = FIT) -> tuple[Correction, list[dict[str, float]]]:
    r"""Fit a correction to what removals did.

    .. math:: \mathbb E_S \big(\hat y(x_S) - \hat y(x_\emptyset) - \sum_{i \in S} \alpha_i y_i\big)^2

    Of the training images `removals` are from `remove`, and of what was `measured` x is not read; w is
    without clipping, such that :math:`w_i y_i` is gradient times input (``positions="weighted"`` of
    `semquant.FilterConcepts`). Returned are the correction, in evaluation mode, and for each epoch the
    mean of the loss in units of the scores' variance.

    Notes
    -----
    Where the score is linear in x, w y is right already and the correction shrinks to 0. The
    objective is FastSHAP's (Jethani and others 2022), which learns the contributions themselves and
    not what a gradient leaves.
    """
    w = measured.prior("the correction")
    shapes = check_shapes(y=(measured.y, "B n"), yhat=(measured.yhat, "B"), w=(w, "B n"), present=(
        removals.present, "B K n"), scores=(removals.scores, "B K"), empty=(removals.empty, "B"))
    check_finite(y=measured.y, yhat=measured.yhat, w=w)
    if shapes["B"] < 2 or float(measured.yhat.var()) == 0:
        raise InputError("images: a correction needs at least 2, whose scores differ")
    around = float(removals.empty.std()) > AROUND * float(measured.yhat.std())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fit.seed)
        net = Correction(shapes["n"], options.hidden, complete=not around)
    net.begin(measured, removals.empty)
    net.to(choose_device(fit.device))
    generator = torch.Generator()
    batches = TensorBatches(measured.y, measured.w, measured.yhat, removals.present,
                            removals.scores - removals.empty[:, None], batch_size=fit.batch_size,
                            device=net.bias.device, generator=generator)
    optimizer = OPTIMIZERS[fit.optimizer](net.parameters(), lr=fit.learning_rate,
                                          weight_decay=fit.weight_decay)
    if fit.checkpoint is not None:
        words = repr((options, replace(fit, checkpoint=None, device="auto", progress=None)))
        own = OwnCheckpoint(fit.checkpoint, words, measured.y, measured.yhat, measured.w, removals.scores)
        fit = replace(fit, checkpoint=own)
    descent = Descent(net, optimizer, cosine(optimizer, max(1, fit.epochs * len(batches))), fit, generator)
    for _ in descent.epochs():
        for y, w, yhat, present, gained in batches:
            found = net(y, w, yhat)  # (B, n)
            said = torch.einsum("bkn,bn->bk", present.to(found), found)
            loss = (said - gained).square().mean() / net.unit.square()
            descent.step(loss)
    return net.eval(), descent.history
