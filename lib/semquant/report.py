"""What an explanation is worth: beside cheaper ones, on held-out images, where concepts are removed."""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace

import torch
from torch import Tensor, nn

from semquant.checks import InputError
from semquant.concepts import FilterConcepts, Measured
from semquant.corrected import AROUND, CorrectionOptions, Removals, coalitions, of_model, scored
from semquant.explanation import Explanation
from semquant.gathered import Gathered, gathered, some_of
from semquant.images import Images
from semquant.measure import measure
from semquant.metrics import rank_agreement, relative_deviation
from semquant.models import undisturbed
from semquant.rows import Computed
from semquant.training import FitOptions, seed_of

__all__ = ["Report", "Row", "Seen", "judge", "look"]

BATCH = 64  # images that are run at once where they come in no batches
HANDFUL = 8  # images that are held out at least, if there are twice as many
CHECKED, SETS, SINGLES = 32, 16, 16  # images, sets of concepts and single concepts that are removed
LEAST = (50, 20)  # images of a fit and of a report: with fewer its numbers are rough
THIS, PRIOR, GRADIENT = "this explanation", "prior alone", "gradient times input"
EQUAL, MEAN, CONSTANT = "equal share", "mean score", "concepts at their means"
COLUMNS = {"r2": "R2", "deviation": "deviation", "sets": "sets removed", "one": "one removed",
           "rank": "rank"}


@dataclass
class Row:
    """How good one explanation is; None where a measure has no value."""

    name: str
    r2: float | None = None  # share of the scores' variance that it explains
    deviation: float | None = None  # mean |yhat - explained score| over the scores' range
    sets: float | None = None  # error of what it says that removing sets of concepts does
    one: float | None = None  # the same for single concepts, the largest ones
    rank: float | None = None  # rank correlation with what removing them does, mean over images
    adds_up: bool = False  # made to add up to the score: R2 is no evidence


@dataclass
class Report:
    r"""An explanation beside cheaper ones.

    Printed as a table, shown in notebooks as one. Errors of removal are
    :math:`\sqrt{E(\text{said} - \text{happened})^2 / E\,\text{happened}^2}`: 0 is right, 1 is what
    saying "nothing changes" has.
    """

    rows: list[Row]  #: the first is the explanation's
    images: int  #: that it was judged on
    fitted: int  #: images that it was fitted to
    held_out: bool  #: whether the fit has not seen the former
    warnings: list[str] = field(default_factory=list)  #: what speaks against it, worst first
    notes: list[str] = field(default_factory=list)  #: how to read the numbers
    caveats: list[str] = field(default_factory=list)  #: in what a cheaper one is better, and not as a whole

    @property
    def verdict(self) -> str:
        """One line: the worst that speaks against the explanation."""
        return [*self.warnings, *self.caveats, "no cheaper explanation is better"][0]

    def to_dict(self) -> dict:
        """Plain values, as `of` reads them."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict) -> Report:
        """The report of `to_dict`."""
        return cls(**{**values, "rows": [Row(**row) for row in values["rows"]]})

    @property
    def heading(self) -> str:
        """What it was judged on."""
        if self.held_out:
            return f"On {self.images} held-out images; fitted to {self.fitted} others."
        return f"On the {self.images} training images themselves: none were held out."

    def cells(self) -> list[list[str]]:
        """The table with its head; columns without any value are left out."""
        kept = [name for name in COLUMNS if any(getattr(row, name) is not None for row in self.rows)]
        table = [["", *(COLUMNS[name] for name in kept)]]
        for row in self.rows:
            star = "*" if row.adds_up else ""
            values = {name: _short(getattr(row, name)) for name in kept}
            table.append([row.name, *(v + star * (name == "r2") for name, v in values.items())])
        return table

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(cell.rjust(width) if i else cell.ljust(width)
                           for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in cells]
        told = [*self._told(), *(f"Warning: {text}" for text in self.warnings)]
        return "\n".join([self.heading, *lines, *told])

    def _told(self) -> list[str]:
        return [*self.notes, *(f"{text[0].upper()}{text[1:]}." for text in self.caveats)]

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head, *body = self.cells()
        rows = line(head, "th") + "".join(line(cells, "td") for cells in body)
        told = "".join(f"<p>{html.escape(text)}</p>" for text in self._told())
        told += "".join(f"<p><strong>Warning: {html.escape(text)}</strong></p>" for text in self.warnings)
        return f"<table><caption>{html.escape(self.heading)}</caption>{rows}</table>{told}"


def _short(value: float | None) -> str:
    """Three digits, with a true minus sign and without a negative zero."""
    if value is None:
        return "—"
    text = f"{round(value, 3) + 0.0:.3f}" if abs(value) < 100 else f"{value:.3g}"
    return text.replace("-", "−") if value < 0 else text


@dataclass
class Seen:
    """What one pass over N images gives a fit and its report."""

    concepts: object  #: as they were measured
    measured: Measured  #: what the fit reads
    cheap: dict[str, Tensor]  #: contributions (N, n) of explanations that need no fit, up to a factor
    removals: Removals | None  #: what a correction learns from
    order: Tensor  #: (N,), the images in a drawn order; the first of them are held out
    some: list[Tensor]  #: the first few images (1, C, H, W) of that order
    hides: bool = True  #: whether alpha comes from a network that sees the map, and may hide the score in it

    def split(self, share: float) -> tuple[Tensor, Tensor]:
        """The numbers of the images to fit, and of those held out, if any."""
        count = len(self.order)
        held = max(round(share * count), min(HANDFUL, count // 2)) if share else 0
        held = held if count - held > 1 else 0
        return self.order[held:].sort().values, self.order[:held]

    def of(self, index: Tensor) -> Measured:
        """What was measured of some images; maps that are not in memory stay so."""
        measured = self.measured
        if not isinstance(measured.x, Computed):
            return measured[index]
        return replace(replace(measured, x=measured.yhat)[index], x=some_of(measured.x, index))


@undisturbed()
def look(model: nn.Module, concepts: FilterConcepts, images: Images | object, target: int, *,
         prepare: Callable[[Tensor], Tensor] | None = None, corrects: bool = False,
         fit: FitOptions = FitOptions()) -> Seen:
    """Measure each batch of images once, with all that a fit and its report need.

    With `corrects` what is measured is gradient times input, concepts are removed too, and x is not
    kept. Of the fit only its seed and whether it keeps x are read.
    """
    images, ways, own = Images.of(images), _ways(concepts, corrects), GRADIENT if corrects else PRIOR
    drawn, keys = (torch.Generator().manual_seed(s) for s in (fit.seed, seed_of("held out", fit.seed)))
    beside, order, some = Gathered(images.expected()), [], []

    def parts() -> Iterator[dict]:
        nonlocal some
        for batch in images.batches(BATCH):
            found = {name: measure(way, model, batch, target, prepare=prepare, batch_size=max(1, len(batch)))
                     for name, way in ways.items()}
            beside.add({name: part.w * part.y for name, part in found.items() if part.w is not None})
            part = found[own]
            if corrects:
                beside.add(vars(_removals(model, concepts, target, prepare, batch, part.y.shape[1], drawn)))
                part.x = part.x.new_empty(len(part), 0)
            start = len(order)
            order.extend(torch.rand(len(batch), generator=keys, dtype=torch.float64).tolist())
            some += [(order[start + i], start + i, image) for i, image in enumerate(batch.split(1))]
            some = [(key, place, image.clone() if place >= start else image)  # the batch is not kept
                    for key, place, image in sorted(some, key=lambda entry: entry[:2])[:CHECKED]]
            yield vars(part)

    measured = Measured(**gathered(
        parts(), lambda batch: ways[own].measure(model, batch, target, False).x, model, images, prepare,
        fit.keep_x or corrects))
    kept = beside.whole()
    removals = Removals(*(kept.pop(f.name) for f in fields(Removals))) if corrects else None
    return Seen(ways[own], measured, kept, removals, torch.tensor(order, dtype=torch.float64).argsort(stable=True),
                [image for *_, image in some], hides=not corrects)


def _removals(model: nn.Module, concepts: FilterConcepts, target: int, prepare: Callable | None,
              batch: Tensor, n: int, generator: torch.Generator) -> Removals:
    """What a correction learns from these images."""
    if n < 2:
        raise InputError(f"layer: {concepts.layer!r} has one filter; accepted: two at least, or "
                         "method='paper'")
    present = coalitions(len(batch), CorrectionOptions().coalitions, n, generator)
    return scored(of_model(model, concepts, target, prepare), batch, present)


def _ways(concepts: FilterConcepts, corrects: bool) -> dict[str, FilterConcepts]:
    """The concepts with each prior whose contributions stand in a report."""
    if not isinstance(concepts, FilterConcepts):
        return {PRIOR: concepts}
    prior, gradient = copy.copy(concepts), copy.copy(concepts)
    gradient.positions, gradient.clip = "weighted", False
    if corrects:  # nothing is known to speak for the class
        prior.clip = False
        prior.positions = "all" if prior.positions == "weighted" else prior.positions
    return {PRIOR: prior, GRADIENT: gradient}


@undisturbed()
def judge(explain: Callable[[Measured], Explanation], seen: Seen, share: float, model: nn.Module,
          concepts: FilterConcepts, target: int, *, prepare: Callable[[Tensor], Tensor] | None = None,
          without_prior: int = 0) -> Report:
    """Set an explanation beside cheaper ones.

    `seen` is what `look` gave of the model, concepts and target; `share` of its images were held out,
    and of the others' prior weights those of `without_prior` were all 0.
    """
    train, test = seen.split(share)
    held_out = len(test) > 0
    test = test if held_out else seen.order
    yhat, test_yhat = (seen.measured.yhat[index] for index in (train, test))
    found = explain(seen.of(test))
    ways = {THIS: (found.contributions, found.total)}
    for name, parts in seen.cheap.items():
        scale, b = _line(parts[train].sum(dim=1), yhat, scaled=name == PRIOR)
        ways[name] = (scale * parts[test], scale * parts[test].sum(dim=1) + b)
    removed, empty = None, 0.0
    if isinstance(concepts, FilterConcepts) and found.y.shape[1] > 1:
        removed = _removed(model, concepts, target, prepare, seen.some[: len(test)], list(ways.values()))
        empty = float(removed.empty.mean())
    n = found.y.shape[1]
    equal = ((test_yhat - empty) / n)[:, None].expand(-1, n)
    ways[EQUAL] = (equal, test_yhat)
    ways[MEAN] = (torch.zeros_like(found.y), yhat.mean().expand(len(test)))
    rows = [_row(name, test_yhat, *way, removed) for name, way in ways.items()]
    rows[0].adds_up = bool(((found.total - found.yhat).abs() <= 1e-3 * found.yhat.std()).all())
    next(row for row in rows if row.name == EQUAL).adds_up = True
    if seen.hides:
        some = train[:512]
        before, y = explain(seen.of(some)), seen.measured.y[train].mean(dim=0)
        scale, b = _line(before.alpha @ y.to(before.alpha), seen.measured.yhat[some])
        rows.append(_row(CONSTANT, test_yhat, None, scale * (found.alpha @ y.to(found.alpha)) + b, None))
    report = Report(rows, len(test), len(train), held_out)
    report.notes, report.caveats = _notes(report, removed), _caveats(report)
    report.warnings = _warnings(report, without_prior, removed, float(yhat.std()))
    return report


def _line(said: Tensor, yhat: Tensor, scaled: bool = True) -> tuple[float, float]:
    """The scale, 1 unless `scaled`, and b with which what was said comes nearest to the scores."""
    said, yhat = said.double(), yhat.double()
    away = said - said.mean()
    spread = float(away.square().sum())
    scale = float(away @ yhat) / spread if scaled and spread > 0 else float(not scaled)
    return scale, float(yhat.mean() - scale * said.mean())


@torch.no_grad()
def _removed(model: nn.Module, concepts: FilterConcepts, target: int, prepare: Callable | None,
             images: list[Tensor], ways: list[tuple[Tensor, Tensor]]) -> Removals:
    """Remove sets of concepts from each image, and singly the concepts that any of the ways calls large."""
    generator, score = torch.Generator().manual_seed(0), of_model(model, concepts, target, prepare)
    found = []
    for i, image in enumerate(images):
        each = torch.stack([parts[i].abs() for parts, _ in ways])
        tiny = torch.finfo(each.dtype).tiny
        large = (each / each.sum(dim=1, keepdim=True).clamp_min(tiny)).amax(dim=0)
        n = len(large)
        single = torch.eye(n, dtype=torch.bool)[large.topk(min(SINGLES, n)).indices]
        sets, none = coalitions(1, SETS, n, generator)[0], torch.zeros(1, n, dtype=torch.bool)
        present = torch.cat([sets, ~single, none])
        *scores, empty = score(image.expand(len(present), -1, -1, -1))(present).cpu().double()
        found.append((present[:-1], torch.stack(scores), empty))
    return Removals(*(torch.stack(column) for column in zip(*found)))


def _row(name: str, yhat: Tensor, parts: Tensor | None, total: Tensor, removed: Removals | None) -> Row:
    """What an explanation's contributions (B, n) and explained scores (B,) are worth."""
    yhat, total, row = yhat.double(), total.double(), Row(name)
    spread = float((yhat - yhat.mean()).square().sum())
    if spread > 0:
        row.r2 = 1 - float((yhat - total).square().sum()) / spread
        row.deviation = float(relative_deviation(yhat, total).mean())
    if removed is None or parts is None:
        return row
    parts, fall = parts[: len(removed.empty)].double(), yhat[: len(removed.empty), None] - removed.scores
    said = torch.einsum("mkn,mn->mk", (~removed.present).double(), parts)
    row.sets, row.one = _error(said[:, :SETS], fall[:, :SETS]), _error(said[:, SETS:], fall[:, SETS:])
    rank = float(rank_agreement(said[:, SETS:], fall[:, SETS:]).nanmean())
    row.rank = rank if rank == rank else None
    return row


def _error(said: Tensor, happened: Tensor) -> float | None:
    size = float(happened.square().mean())
    return (float((said - happened).square().mean()) / size) ** 0.5 if size > 0 else None


def _notes(report: Report, removed: Removals | None) -> list[str]:
    """How the table is to be read."""
    own, *others = report.rows
    notes = []
    if own.adds_up:
        notes.append("* adds up to the score by construction: its R2 is no evidence, removing concepts is.")
    if removed is None:
        return [*notes, "Concepts were not removed from any image: R2 is the only evidence."]
    notes.append(f"{len(removed.empty)} images had concepts removed, {SETS} sets and up to {SINGLES} "
                 "single ones each: the error of what was foretold, 0 right, 1 no better than no change.")
    return notes


def _caveats(report: Report) -> list[str]:
    """In what a cheaper explanation is better that is not better as a whole."""
    own, *others = report.rows
    found, best = [], _nearest(others, "one")
    if _worse(own.one, best.one) and not _worse(own.sets, best.sets):
        found.append(f"of removing one concept from the whole {best.name} foretells more (error {_short(best.one)} "
                     f"against {_short(own.one)}); a sum that is right for sets of all sizes can't always be right for one")
    ranked = max(others, key=lambda row: -math.inf if row.rank is None else row.rank)
    if own.rank is not None and ranked.rank is not None and own.rank < ranked.rank - 0.05:
        found.append(f"{ranked.name} is nearer in the order of single concepts (rank correlation {_short(ranked.rank)} "
                     f"against {_short(own.rank)})")
    equal = next(row for row in others if row.name == EQUAL)
    if _worse(own.sets, equal.sets) and not _worse(own.one, equal.one):
        found.append(f"of sets an equal share foretells more (error {_short(equal.sets)} against {_short(own.sets)}): "
                     "what they do depends on how many concepts they have more than on which")
    return found


def _nearest(rows: list[Row], name: str) -> Row:
    """The row with the least error of a kind."""
    return min(rows, key=lambda row: math.inf if getattr(row, name) is None else getattr(row, name))


def _worse(own: float | None, other: float | None) -> bool:
    """Whether an error is larger than another by more than chance or rounding makes it."""
    return own is not None and other is not None and own > 1.02 * other + 0.005


def _warnings(report: Report, without_prior: int, removed: Removals | None, spread: float) -> list[str]:
    """What speaks against the explanation, worst first."""
    own, *others = report.rows
    found = []
    if own.r2 is not None and own.r2 <= 0:
        found.append(f"it explains the scores no better than the mean score does (R2 {_short(own.r2)})")
    for name, other, what in (("sets", "one", "sets of concepts"), ("one", "sets", "one concept")):
        rivals = [row for row in others if _worse(own.sets, row.sets) and row.name != EQUAL
                  or not _worse(getattr(row, other), getattr(own, other))]
        best = _nearest(rivals, name) if rivals else own
        if _worse(getattr(own, name), getattr(best, name)):
            found.append(f"removing {what}: {best.name} foretells it better (error "
                         f"{_short(getattr(best, name))} against {_short(getattr(own, name))})")
    rivals = [row for row in others if row.name in (PRIOR, GRADIENT) and row.r2 is not None]
    best = max(rivals, key=lambda row: row.r2, default=own)
    if not own.adds_up and best is not own and own.r2 < best.r2 - 0.01:
        found.append(f"{best.name} explains more of the scores (R2 {_short(best.r2)} against "
                     f"{_short(own.r2)})")
    constant = next((row for row in others if row.name == CONSTANT), Row(CONSTANT))
    if constant.r2 is not None and constant.r2 > max(0.1, 0.5 * own.r2):
        found.append("alpha explains the score without the concepts: with each concept at its mean R2 is "
                     f"{_short(constant.r2)}, with their values {_short(own.r2)}")
    apart = 0.0 if removed is None else float(removed.empty.std(correction=0)) / max(spread, 1e-30)
    if apart > AROUND:
        found.append(f"without these concepts the scores still differ between images, by {apart:.2f} of "
                     "their spread: a path goes around the layer, and what it brings is none of theirs")
    if without_prior > 0.1 * report.fitted:
        found.append(f"{without_prior} of {report.fitted} images have no prior: all their weights are 0")
    if report.fitted < LEAST[0] or report.images < LEAST[1]:
        found.append(f"few images, {report.fitted} fitted and {report.images} judged: all numbers are "
                     "rough")
    return found
