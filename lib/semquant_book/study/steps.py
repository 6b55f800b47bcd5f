"""Steps of other attributes against truths that drawn faces give: is a whole step better than a derivative?

Three truths for one attribute's score. ``flips``: a face is drawn again with each other attribute
flipped. ``shapley``: exact Shapley values of six of them, from all 64 faces. ``moves``: the network's
shared feature x is moved as it differs between training faces with an attribute and without, all other
attributes equal, and the network run from there: another direction than a derivative. The first two no
way of explaining sees; of the third a learned correction does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from semquant import corrected, peers, steps, truth
from semquant.checks import one_of
from semquant.concepts import Measured
from semquant.training import cpu_threads
from semquant_book.datasets.names import ATTRIBUTES, METHODS
from semquant_book.study import experiment2, face_performers, interventions, ranking
from semquant_book.study.performing import input_of
from semquant_book.study.portraits import faces_of
from semquant_book.study.presets import Settings
from semquant_book.study.store import record

__all__ = ["CHOSEN", "MEASURED", "TRUTHS", "WAYS", "collect", "contributions", "measures", "moves"]

#: Targets on which the form of a step was chosen; of the others nothing was seen before.
CHOSEN = ("Young", "Male")
#: Ways: whole steps; the same with a reach measured without labels; steps of that length by the
#: derivative alone; that with a correction learned from moves of many concepts at once; whole steps to 0
#: and to the mean logit; the derivative with all other concepts held; the paper's prior; and others.
WAYS = ("steps", "unlabelled", "derivative", "corrected", "to_zero", "to_mean", "held", "prior",
        *METHODS, "ridge", "nonnegative", "mean_share", "equal_share")
TRUTHS = ("flips", "shapley", "moves")
MEASURED = ("error", "scaled_error", "rank_agreement", "sign_agreement")
MOST = 3000  # training faces from which directions are measured, and a correction learns
DAMPING = 0.1  # of the derivatives' inner products, whose rank is lower than their number


def _features(settings: Settings, split: str, seed: int, count: int) -> Tensor:
    """The shared feature of the first faces of a split, (count, d)."""
    net, found = face_performers.performer(settings, seed), []
    prepare, layer = input_of(net, settings.channels_last), dict(net.named_modules())[_shared(settings)]
    hook = layer.register_forward_hook(lambda module, given, x: found.append(x.cpu().clone()))
    try:
        with torch.no_grad():
            for batch in faces_of(settings, split).images[:count].split(128):
                net(prepare(batch.to(next(net.parameters()).device)))
    finally:
        hook.remove()
    return torch.cat(found)


def _shared(settings: Settings) -> str:
    return experiment2.CONCEPTS[settings.shared].shared


def _sign(there: Tensor) -> Tensor:
    return 2.0 * there - 1


@torch.no_grad()
def moves(tail: Callable[[Tensor], Tensor], x: Tensor, there: Tensor, towards: Tensor,
          target: int) -> Tensor:
    """How far the score falls when each concept is flipped in the shared feature, (B, n).

    x (B, d) moves to where it would be without a concept that is there (B, n), bool, or with one that is
    not, by its direction in `towards` (n, d).
    """
    fell = [tail(x)[:, target] - tail(x - _sign(there[:, [i]]) * direction)[:, target]
            for i, direction in enumerate(towards)]
    return torch.stack(fell, dim=1)


def measures(said: Tensor, right: Tensor) -> dict[str, float | None]:
    """`MEASURED` of contributions (B, n) against a truth (B, n).

    Those of `ranking.measures`, and the error after one factor for all of them, by least squares.
    """
    factor = (said * right).sum() / said.square().sum()
    found = ranking.measures(said, right, right.sum(dim=1))
    scaled = ranking.known_mean((factor * said - right).abs().sum() / right.abs().sum())
    return {name: scaled if name == "scaled_error" else found[name] for name in MEASURED}


def contributions(run: experiment2.Run, count: int, known: Tensor,
                  towards: Tensor) -> dict[str, Tensor]:
    """Return what each of `WAYS` says of the first test faces, (count, 39).

    `known` (N, d) are features of training faces, `towards` (40, d) as for `moves`.
    """
    target, among = experiment2.target_index(run.target), experiment2.concepts_of(run.target)
    train, settings = run.outputs("train"), run.settings
    tail = steps.tail_of(run.performer(), _shared(settings))
    x = _features(settings, "test", run.seed, count)
    shown, learned = run.measured("test")[:count], run.measured("train")[: len(known)]
    labelled = steps.reach(train.scores, faces_of(settings, "train").attributes)[among]
    sign = _sign(shown.y.sigmoid())
    lengths = {"steps": sign * labelled, "unlabelled": sign * steps.reach(train.scores)[among],
               "to_zero": shown.y, "to_mean": shown.y - train.scores[:, among].mean(dim=0)}
    found = {way: steps.finite_steps(tail, x, target, length) for way, length in lengths.items()}
    found["derivative"] = shown.w * sign * labelled
    found["held"] = _held(run.outputs("test").products[:count], target, among) * shown.y
    removals = corrected.remove(_alone(tail, towards[among], among, target), known.split(256), len(among))
    net, _ = corrected.correct(_stepped(learned, labelled), removals)
    found["corrected"] = net.weigh(_stepped(shown, labelled)) * shown.y
    for way in WAYS[len(found):]:  # the prior and what follows
        said = (run.explainer(way).explain_measured(shown) if way in METHODS else
                peers.explain(way, None, shown, background=run.measured("train")))
        found[way] = said.contributions
    return {way: found[way] for way in WAYS}


def _held(products: Tensor, target: int, among: list[int]) -> Tensor:
    """The score's derivatives by each concept while all others stay, (B, n), of `semquant.priors.gram`."""
    gram = products[:, among][:, :, among]
    size = DAMPING * gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    damped = gram + size[:, None, None] * torch.eye(len(among))
    return torch.linalg.solve(damped, products[:, among, target])


def _stepped(measured: Measured, reached: Tensor) -> Measured:
    """The same with prior weights such that w y is the derivative times the step."""
    lengths = _sign(measured.y.sigmoid()) * reached
    return replace(measured, w=torch.where(measured.y == 0, 0, measured.w * lengths / measured.y))


def _alone(tail: Callable[[Tensor], Tensor], towards: Tensor, among: list[int],
           target: int) -> corrected.Score:
    """x (B, d) -> the score with all but some concepts flipped in x, as `corrected.remove` asks for it."""
    def score(x: Tensor) -> Callable[[Tensor], Tensor]:
        sign = _sign(tail(x)[:, among].sigmoid())
        return lambda present: tail(x - (sign * ~present) @ towards)[:, target]

    return score


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Compare `WAYS` with `TRUTHS` for each target and performer, and return the record.

    ``rows``: one for each performer, target and way, with `MEASURED` as ``<measure> <truth>``.
    ``truths``: of each performer and target how many ``faces`` each truth has, their mean ``size``, the
    performer's ``accuracy``; and of the concepts' own logits, when they are flipped in the drawing, the
    mean size of that ``change``, of ``y`` and of a ``step``, and the cosine of the real change with each
    of the two. ``players``: the attributes of ``shapley``. InputError for faces that are not drawn.
    """
    one_of("faces", settings.faces, ("drawn",))
    cpu_threads(settings.threads)
    with record(settings, experiment=2) as content:
        content |= {"rows": [], "truths": [], "chosen": list(CHOSEN),
                    "players": list(interventions.FLIPPED)}
        for seed in range(settings.performer_seeds):
            few = min(interventions.FACES, settings.flip_faces)
            logits = interventions.flipping(settings, few, seed)
            x, labels = _features(settings, "train", seed, MOST), faces_of(settings, "train").attributes
            towards = steps.directions(x, labels[: len(x)])
            for target in settings.targets:
                run = experiment2.Run(settings, target, seed)
                about = {"performer_seed": seed, "target": target}
                rows, described = _target(run, logits, x, towards)
                content["rows"] += [about | row for row in rows]
                content["truths"].append(about | described)
                say(f"{target}, seed {seed}: {len(rows)} ways against {len(TRUTHS)} truths")
    return content


def _target(run: experiment2.Run, logits: Tensor, known: Tensor,
            towards: Tensor) -> tuple[list[dict], dict]:
    """The rows of a target, and what its truths are."""
    own, among = experiment2.target_index(run.target), experiment2.concepts_of(run.target)
    names, test = [ATTRIBUTES[i] for i in among], run.outputs("test").scores
    players = [names.index(name) for name in interventions.FLIPPED]
    flipped = run.change_of_score()
    there = faces_of(run.settings, "test").attributes[: len(flipped), among]
    tail = steps.tail_of(run.performer(), _shared(run.settings))
    x = _features(run.settings, "test", run.seed, len(flipped))
    right = {"flips": flipped, "shapley": truth.shapley(logits[:, :, own]),
             "moves": moves(tail, x, there, towards[among], own)}
    said = contributions(run, len(flipped), known, towards)
    rows = []
    for way, values in said.items():
        near = {which: measures(values[: len(true), players] if which == "shapley" else values, true)
                for which, true in right.items()}
        rows.append({"method": way} | {f"{name} {which}": value for which, found in near.items()
                                       for name, value in found.items()})
    y, change = test[: len(flipped), among], _own_changes(run, among)
    length = _sign(y.sigmoid()) * steps.reach(run.outputs("train").scores, faces_of(
        run.settings, "train").attributes)[among]
    own_steps = {"change": change, "y": y, "step": length}
    return rows, {
        "faces": {which: len(true) for which, true in right.items()},
        "size": {which: ranking.known_mean(true.abs()) for which, true in right.items()},
        "accuracy": run.record()["metrics"]["accuracy"][run.target],
        **{name: ranking.known_mean(values.abs()) for name, values in own_steps.items()},
        **{f"cosine {name}": ranking.known_mean(torch.nn.functional.cosine_similarity(
            change.flatten(), own_steps[name].flatten(), dim=0)) for name in ("y", "step")}}


def _own_changes(run: experiment2.Run, among: list[int]) -> Tensor:
    """How far each concept's own logit falls when the concept is flipped in the drawing, (F, n)."""
    flipped = experiment2.flips(run.settings, run.seed)
    as_is = run.outputs("test").scores[: len(flipped)]
    return torch.stack([as_is[:, i] - flipped[:, i, i] for i in among], dim=1)
