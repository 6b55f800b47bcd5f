"""Several explanations of one picture, beside what is true: each with its error and its ranks.

``ways.explore(ways.Several("AlexNet", parts, right, {"prior": {"": values}}, yhat, pictures, labels))``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from semquant.checks import InputError, one_of
from semquant_book.figures.style import FAINT, INK, SIGN_COLOURS, WIDTH, named_rows, signed
from semquant_book.study.ranking import measures
from semquant_book.views.widgets import View, colours, pack, picture

__all__ = ["Several", "WaysExplorer", "explore", "figure"]


@dataclass
class Several:
    """Explanations of I images by P groups or attributes, in several ways, and the truth.

    `right` (I, P) and the contributions (I, P) of each way, by its reading of y, in score units; a
    way that reads y in one way only has one, under any name. `yhat` (I,), `pictures` (I, H, W, 3).
    `truth` is what the truth is called, `reading` the one to begin with.
    """

    title: str
    names: Sequence[str]
    right: Tensor
    ways: Mapping[str, Mapping[str, Tensor]]
    yhat: Tensor
    pictures: ArrayLike | Tensor
    labels: Sequence[str]
    truth: str = "truth"
    reading: str = ""
    unit: str = "part"
    note: str = ""

    def __post_init__(self) -> None:
        wanted = len(self.yhat), len(self.names)
        for name, got, fits in (
                ("right", tuple(self.right.shape), wanted),
                *((f"ways[{way!r}][{reading!r}]", tuple(values.shape), wanted)
                  for way, found in self.ways.items() for reading, values in found.items()),
                ("pictures", len(self.pictures), wanted[0]), ("labels", len(self.labels), wanted[0])):
            if got != fits:
                raise InputError(f"{name}: {got} does not fit {fits}")
        if not self.ways or not all(self.ways.values()):
            raise InputError("ways: there is none, or one without contributions; accepted: at least one")
        self.reading = one_of("reading", self.reading or next(iter(self.readings), ""), self.readings or ("",))

    @property
    def readings(self) -> list[str]:
        """The readings that some way has a choice of, in order."""
        return list(dict.fromkeys(r for found in self.ways.values() if len(found) > 1 for r in found))

    def of(self, way: str) -> Tensor:
        """Return a way's contributions in the reading to begin with, or in its only one."""
        return self.ways[way].get(self.reading, next(iter(self.ways[way].values())))


class WaysExplorer(View, script="charts ways"):
    """One picture explained in several ways beside the truth, each with its error."""


def explore(several: Several) -> WaysExplorer:
    """Return the view of explanations in several ways."""
    return WaysExplorer(data={
        **{name: getattr(several, name) for name in ("title", "truth", "reading", "readings", "unit", "note")},
        "names": list(several.names), "labels": list(several.labels), "yhat": pack(several.yhat),
        "pictures": [picture(image, 112) for image in several.pictures], "right": pack(several.right),
        "colours": colours(several.names),
        "ways": [{"name": way, "readings": [[name, pack(values)] for name, values in found.items()]}
                 for way, found in several.ways.items()]})


def figure(several: Several, image: int = 0) -> Figure:
    """Draw what the view shows first: bars of the truth, and of each way with a mark at the truth."""
    right, one = several.right[image], torch.tensor([image])
    columns = {several.truth: right} | {way: several.of(way)[image] for way in several.ways}
    drawn, axes = plt.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False,
                               figsize=(WIDTH, 1.1 + 0.26 * len(right)))
    places = range(len(right))
    for ax, (way, values) in zip(axes[0], columns.items()):
        shades = [SIGN_COLOURS["negative" if value < 0 else "positive"] for value in values.tolist()]
        ax.barh(places, values.tolist(), height=0.7, color=shades)
        ax.axvline(0, color=FAINT, linewidth=0.8)
        ax.tick_params(labelsize=8)
        said = "what is true"
        if way in several.ways:
            found = measures(several.of(way)[one], several.right[one], several.yhat[one])
            said = "\n".join(f"{word} {'–' if found[name] is None else signed(found[name])}" for name, word in
                             (("error", "error"), ("rank_agreement", "ranks")))
            ax.vlines(right.tolist(), [p - 0.42 for p in places], [p + 0.42 for p in places], color=INK, linewidth=1.4)
        ax.set_title(f"{way}\n{said}", fontsize=8.5)
    named_rows(axes[0, 0], several.names)
    for ax in axes[0, 1:]:
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    return drawn
