"""Truths made in the picture, not in the network: what is in it is taken away, and the score asked again.

The players of a picture are its part groups, or six attributes of a face. For each coalition there is
a picture in which its players are as they are and all others are not: parts of a drawn animal are not
drawn, so that what lies behind them appears; a drawn face's attributes are flipped; boxes around the
parts of a photographed animal are blurred or have the picture's mean colour. From the scores of all
2^P pictures follow exact Shapley values, single removals and interactions of pairs, as in `ranking`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from semquant import peers, truth
from semquant.checks import one_of
from semquant.explanation import Explanation
from semquant.training import cpu_threads
from semquant_book.datasets import Images
from semquant_book.datasets.drawn import animals, faces
from semquant_book.datasets.drawn.shading import blurred
from semquant_book.datasets.names import ATTRIBUTES, GROUPS, METHODS, TRUNK
from semquant_book.study import experiment1, experiment2, face_performers, frozen_trunk, ranking
from semquant_book.study.performing import scores
from semquant_book.study.presets import Settings
from semquant_book.study.store import record

__all__ = ["FACES", "FACE_WAYS", "FLIPPED", "HIDDEN", "MEASURED", "PHOTOGRAPHS", "SHOWN", "TARGETS",
           "collect", "erased", "erasing", "falls", "filters_of", "flipped", "flipping", "hidden", "hiding", "photographs",
           "players_of"]

SHOWN, FACES, PHOTOGRAPHS = 24, 40, 24  # test images whose coalitions are all run
#: Attributes that are drawn independently of each other; each changes every face.
FLIPPED = ("Bushy_Eyebrows", "Eyeglasses", "No_Beard", "Rosy_Cheeks", "Smiling", "Wearing_Lipstick")
TARGETS = ("Attractive", "Male")  # the attributes whose logits are asked
FACE_WAYS = (*METHODS, "prior", "ridge", "nonnegative", "mean_share", "equal_share")
HIDDEN = ("blurred", "mean")  # what a photograph's hidden boxes show
MERGED = {"eye": "head"}  # on photographs, for at most six players
BLUR = 6.0  # how far the box that blurs reaches, in 64ths of the side
#: Of `ranking.measures`, what is kept of every way.
MEASURED = ("error", "rescaled_error", "rank_agreement", "sign_agreement")


def players_of(category: str, merged: Mapping[str, str] = {}) -> list[str]:
    """Return the part groups that a category can have, some of them `merged` into others."""
    there = {animals.GROUP_OF[part] for part in animals.PARTS_OF[category]}
    return [group for group in GROUPS if group in there and group not in merged]


def _coalitions(players: Sequence[str]) -> list[list[str]]:
    """The players that are absent from each coalition, in the order of `truth.coalition_values`."""
    return [[name for p, name in enumerate(players) if not mask >> p & 1] for mask in range(2 ** len(players))]


def _stacked(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (k, S, S, 3) -> (k, 3, S, S)


@lru_cache(maxsize=2 * SHOWN)
def erased(name: str, size: int) -> Tensor:
    """Return a drawn animal, by its name in `Images.ids`, with each coalition of its players:
    (2^P, 3, size, size) uint8, in the order of `truth.coalition_values`; the last is the whole one."""
    kind, *which = animals.parse_id(name)
    parts = animals.PARTS_OF[kind]
    return _stacked([animals.render(kind, *which, size, [p for p in parts if animals.GROUP_OF[p] in absent])[0]
                     for absent in _coalitions(players_of(kind))])


def erasing(run: experiment1.Run, numbers: Tensor) -> Tensor:
    """Return the scores of a run's drawn test images, by their numbers, with each coalition of parts:
    (B, 2^P)."""
    test, net, size = run.images("test"), run.performer(), run.settings.pixels(run.architecture)
    return torch.stack([scores(net, erased(test.ids[i], size), run.settings)[:, 0] for i in numbers.tolist()])


@torch.no_grad()
def falls(run: experiment1.Run, numbers: Tensor) -> Tensor:
    """Return the share of y that the filters of each player (columns) lose when each player (rows) is
    erased, of y summed over filters and images: (P, P), NaN for a player without filters."""
    test, net, players = run.images("test"), run.performer(), players_of(run.category)
    whole, groups = 2 ** len(players) - 1, filters_of(run, players)
    shown = [whole, *(whole ^ 1 << p for p in range(len(players)))]
    summed = torch.zeros(len(shown), len(players))
    for i in numbers.tolist():
        pictures = erased(test.ids[i], run.settings.pixels(run.architecture))[shown]
        y = net.maps(net.prepare(pictures.to(next(net.parameters()).device)))[1].sum(dim=(2, 3)).cpu()
        summed += torch.stack([y[:, groups == p].sum(dim=1) for p in range(len(players))], dim=1)
    return 1 - summed[1:] / summed[0]


def flipped(settings: Settings, face: int) -> Tensor:
    """Return a drawn test face in which each coalition of `FLIPPED` is as it is and the others are
    flipped, (64, 3, S, S) uint8."""
    return _stacked([faces.render(settings.data_seed, "test", face, settings.face_size, absent)
                     for absent in _coalitions(FLIPPED)])


def flipping(settings: Settings, count: int, seed: int = 0) -> Tensor:
    """Return all 40 logits of the first test faces with each coalition of `FLIPPED`, (F, 64, 40)."""
    net = face_performers.performer(settings, seed)
    return torch.stack([scores(net, flipped(settings, face), settings) for face in range(count)])


def hidden(images: Images, players: Sequence[str], reference: str) -> Tensor:
    """Return one photograph, of images with packed masks, with each coalition of its players:
    (2^P, 3, S, S) uint8. Boxes around the parts of the absent ones are blurred or have its mean colour."""
    picture, side = images.images[0], images.images.shape[-1]
    if one_of("reference", reference, HIDDEN) == "mean":
        other = picture.double().mean(dim=(1, 2), keepdim=True).round().to(torch.uint8).expand_as(picture)
    else:
        other = torch.from_numpy(blurred(picture.permute(1, 2, 0).numpy(), BLUR)).permute(2, 0, 1)
    masks = torch.from_numpy(np.unpackbits(images.masks[0].numpy(), axis=-1, count=side)).bool()
    boxes = torch.zeros(len(players), side, side, dtype=torch.bool)
    for part, mask in zip(images.parts, masks):
        player = players.index(MERGED.get(images.group_of[part], images.group_of[part]))
        rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
        if len(rows):
            boxes[player, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    absent = torch.tensor([[name in gone for name in players] for gone in _coalitions(players)])
    there = torch.stack([boxes[gone].any(dim=0) for gone in absent])  # (2^P, S, S)
    return torch.where(there[:, None], other, picture)


def hiding(run: experiment1.Run, numbers: Tensor, players: Sequence[str], reference: str) -> Tensor:
    """Return the scores of a run's test photographs with each coalition of their parts' boxes, (B, 2^P)."""
    test, net = run.images("test"), run.performer()
    return torch.stack([scores(net, hidden(test.subset([i]), players, reference), run.settings)[:, 0]
                        for i in numbers.tolist()])


def filters_of(run: experiment1.Run, players: Sequence[str], merged: Mapping[str, str] = {}) -> Tensor:
    """Return the player of each filter by its name (n,), -1 for a filter without a name."""
    groups = [merged.get(group, group) for group in run.images("test").groups]
    return torch.tensor([players.index(groups[p]) if p >= 0 else -1 for p in run.naming()[0].tolist()])


def collect(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Compare explanations with truths made in the picture, and return the record.

    ``animals``: ``rows``, one for each performer and way of `ranking.WAYS`, of contributions summed
    over the same part groups by the filters' names, and of both truths in the network as two more
    ways; with `MEASURED` as ``<measure> <truth> <where>``, where it is ``picture`` or ``network``.
    ``truths``: for each performer the players, how many filters each has, how many images, and of
    each place what `ranking.described` says, and ``falls``, as `falls` says. Filters without a name are left out of the explanations,
    and are a player of their own of the truth in the network.

    ``faces``: for each of `TARGETS` rows of `FACE_WAYS` and ``truth`` likewise; of each pair the mean
    interaction and its mean size, and the mean size of ``single`` flips. ``photographs``: as
    ``animals``, of the first category through the pretrained trunk, with each of `HIDDEN` for
    ``picture``. Photographed faces can't be flipped, and without a folder of photographs there are
    none: then it is None. InputError for settings whose animals are not drawn.
    """
    one_of("images", settings.images, ("drawn",))
    cpu_threads(settings.threads)
    with record(settings) as content:
        content["animals"] = {"rows": [], "truths": []}
        for category, architecture, seed in product(settings.categories, settings.architectures,
                                                    range(settings.performer_seeds)):
            run = experiment1.Run(settings, architecture, category, seed)
            numbers, players = ranking.recognised(run, SHOWN), players_of(category)
            _add(content["animals"], run, numbers, players, {"picture": erasing(run, numbers)}, say)
            lost = falls(run, numbers).tolist()
            content["animals"]["truths"][-1]["falls"] = [
                [None if share != share else round(share, 4) for share in row] for row in lost]
        content["faces"] = _faces(settings, say) if settings.faces == "drawn" else None
        content["photographs"] = photographs(settings, say) if os.environ.get("SEMQUANT_DATA") else None
    return content


def photographs(settings: Settings, say: Callable[[str], object] = print) -> dict:
    """Return the record's part on photographs, of the folder of real data."""
    category, found = settings.categories[0], {"rows": [], "truths": []}
    run = experiment1.Run(frozen_trunk.photograph_settings(settings.preset, category), TRUNK, category)
    numbers, players = ranking.recognised(run, PHOTOGRAPHS), players_of(category, MERGED)
    _add(found, run, numbers, players,
         {reference: hiding(run, numbers, players, reference) for reference in HIDDEN}, say, MERGED)
    return found


def _add(to: dict, run: experiment1.Run, numbers: Tensor, players: list[str], games: dict[str, Tensor],
         say: Callable[[str], object], merged: Mapping[str, str] = {}) -> None:
    """Compare all ways for one performer with the truths of games (B, 2^P), and that of its network."""
    head, groups, train = ranking.head_of(run), filters_of(run, players, merged), run.images("train")
    shown = run.measure(run.images("test").subset(numbers), prior=True)
    background = run.measure(train.subset(torch.arange(len(train))[: ranking.BACKGROUND]), prior=True)
    network = truth.coalition_values(head, shown.x, groups, parts=len(players))
    games = games | {"network": network}
    right = {f"{name} {where}": values[:, : len(players)] for where, game in games.items()
             for name, values in ranking.truths_of(game).items()}
    ways = {way: _of(ranking.explained_in(run, way, head, shown, background)[0], groups, players)
            for way in ranking.WAYS}
    ways |= {f"filters_{name}": right[f"{name} network"] for name in ranking.TRUTHS}
    about = {"architecture": run.architecture, "category": run.category, "performer_seed": run.seed}
    to["rows"] += [about | {"method": way, **_measures(said, right, shown.yhat)} for way, said in ways.items()]
    to["truths"].append(about | {
        "images": len(shown), "groups": players,
        "filters": [int((groups == p).sum()) for p in range(len(players))],
        **{where: ranking.described(game, shown.yhat) for where, game in games.items()}})
    say(f"{run.name}: {len(ways)} ways, {len(shown)} images with {len(next(iter(games.values()))[0])} pictures each")


def _of(said: Explanation, groups: Tensor, players: list[str]) -> Tensor:
    """The contributions of the players (B, P), without those of filters that have no name."""
    return said.merge(groups, players).contributions[:, : len(players)]


def _measures(said: Tensor, right: dict[str, Tensor], yhat: Tensor) -> dict[str, float | None]:
    """How near contributions (B, P) come to each truth (B, P)."""
    found = {name: ranking.measures(said, values, yhat) for name, values in right.items()}
    return {f"{measure} {name}": found[name][measure] for name in right for measure in MEASURED}


def _faces(settings: Settings, say: Callable[[str], object]) -> dict:
    logits = flipping(settings, min(FACES, settings.face_test_images))
    found = {"attributes": list(FLIPPED), "faces": len(logits), "targets": {}}
    for target in TARGETS:
        run = experiment2.Run(settings, target)
        names = [ATTRIBUTES[i] for i in experiment2.concepts_of(target)]
        shown, values = run.measured("test")[: len(logits)], logits[:, :, experiment2.target_index(target)]
        right, players = ranking.truths_of(values), [names.index(name) for name in FLIPPED]
        rows = []
        for way in FACE_WAYS:
            said = (run.explainer(way).explain_measured(shown) if way in METHODS else
                    peers.explain(way, None, shown, background=run.measured("train")))
            rows.append({"method": way, **_measures(said.contributions[:, players], right, shown.yhat)})
        pairs = truth.interactions(values)
        found["targets"][target] = {
            "rows": rows, "truth": ranking.described(values, shown.yhat),
            "single": _rounded(right["removals"].abs().mean(dim=0)),
            "pairs": _rounded(pairs.mean(dim=0)), "sizes": _rounded(pairs.abs().mean(dim=0))}
        say(f"{target}: {len(rows)} ways, {len(logits)} faces with {values.shape[1]} pictures each")
    return found


def _rounded(values: Tensor) -> list:
    return np.round(values.double().numpy(), 4).tolist()
