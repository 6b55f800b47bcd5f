"""The fit of equation (3) in the page: a small g, by an optimiser and from a start that the reader chooses."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from semquant.checks import InputError, check_shapes
from semquant.concepts import Measured
from semquant_book.figures.style import METHOD_COLOURS, WIDTH
from semquant_book.study.hypotheses import OPTIMIZERS
from semquant_book.study.trials import EPOCHS
from semquant_book.views.widgets import View, colours, pack

__all__ = ["IMAGES", "FitExplorer", "explore", "figure"]

IMAGES = 256  # that a page carries: all are in every step
POSITIONS = 4  # the maps are averaged to so many positions by as many
HIDDEN = 24
#: Steps of an epoch: as many as the trial takes, of 3,000 images in batches of 64.
STEPS = 47
BETAS = (0, 0.3, 1, 3, 10, 30, 100)
SEEDS = 5
#: As in the library's fits, whose g is larger.
FIXED = {"biasRate": 30.0, "decay": 1e-4}


class FitExplorer(View, script="charts descent fit"):
    """A small g that is fitted in the page: entropy, contributions by rank and weights while it learns."""


def explore(measured: Measured, positive: Tensor, record: Mapping, note: str = "") -> FitExplorer:
    """Return the fit of a small g to at most `IMAGES` measured images, w among what was measured.

    What g reads are x's parts above 0, averaged to 4 x 4 positions, in 256 steps of each filter's largest;
    `positive` (B,) are the images that measures are of. Of a record of `semquant_book.study.trajectories`
    the recorded fits of the same regimes are the background.
    """
    measured, positive = measured[:IMAGES], positive[:IMAGES]
    if measured.w is None:
        raise InputError("measured: has no w; accepted: measured with the prior")
    check_shapes(x=(measured.x, "B n H W"), y=(measured.y, "B n"), w=(measured.w, "B n"), positive=(positive, "B"))
    if not bool(positive.any()):
        raise InputError("positive: no image is; accepted: at least one")
    pooled = adaptive_avg_pool2d(measured.x.float().clamp_min(0), POSITIONS)  # (B, n, 4, 4)
    most = pooled.amax(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
    shades = (255 * pooled / most).round()
    size = shades.square().mean(dim=(0, 2, 3)).sqrt().clamp_min(1e-12)  # (n,): every filter counts alike
    flat = shades.flatten(1)  # (B, 16 n), most of it 0
    rows, places = flat.nonzero(as_tuple=True)
    return FitExplorer(data={
        "N": len(flat), "n": measured.y.shape[1], "d": flat.shape[1], "hidden": HIDDEN, "epochs": EPOCHS, "perEpoch": STEPS,
        "counts": pack(torch.bincount(rows, minlength=len(flat)), "u2"), "places": pack(places, "u2"),
        "shades": pack(flat[rows, places], "u1"), "unit": pack(1 / size),
        **{name: pack(getattr(measured, name)) for name in ("y", "yhat", "w")}, "positive": pack(positive.int(), "u1"),
        "betas": list(BETAS), "seeds": SEEDS, "recorded": list(record["fits"]), "optimizers": OPTIMIZERS,
        "colours": colours()["methods"], "note": note} | FIXED)


def figure(record: Mapping) -> Figure:
    """Draw the recorded fits, one rate of each regime: evenness over epochs, without the prior loss and with it."""
    fits = [row for row in record["fits"] if row["chosen"]]
    regimes = list(dict.fromkeys((row["optimizer"], row["start"]) for row in fits))
    drawn, axes = plt.subplots(1, len(regimes), sharey=True, figsize=(WIDTH, 2.6), squeeze=False)
    for ax, (optimizer, start) in zip(axes[0], regimes):
        for row in fits:
            if (row["optimizer"], row["start"]) == (optimizer, start):
                ours = row["prior"] != "none"
                ax.plot(row["normalised_entropy"], color=METHOD_COLOURS["ours" if ours else "baseline"],
                        linestyle="-" if ours else (0, (4, 2)), label="β = 10" if ours else "β = 0, the baseline")
        ax.set(title=f"{OPTIMIZERS[optimizer]},\n{start} start", xlabel="epoch")
    axes[0, 0].set_ylabel("H / ln n")
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawn
