"""What the pages about networks of one's own show: tables of reports and of families, a saved file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML
from pandas.io.formats.style import Styler
from torch import Tensor

from semquant import peers
from semquant.distillation import FittedExplainer
from semquant.measure import measure
from semquant.report import EQUAL, GRADIENT, PRIOR, THIS, Report, Row
from semquant_book.pages.comparison import styled
from semquant_book.study import works_with
from semquant_book.study.own_networks import EPOCHS, Trained

__all__ = ["closeness", "closeness_said", "families", "families_said", "framed", "peers_beside", "trained_said"]

SAMPLES = {"shapley_sampling": 5}

#: Rows of a table of closeness: of which fit's report, and which row of it.
WAYS = {"default": ("auto", THIS), "ours, method=\"paper\"": ("paper", THIS), "prior alone": ("auto", PRIOR),
        "gradient times input": ("auto", GRADIENT), "equal share": ("auto", EQUAL)}
MEASURES = {"sets": "sets removed", "one": "one removed", "rank": "rank"}


def trained_said(own: Trained) -> str:
    """Say how a network was trained and how often it is right."""
    often = max(float(own.positive.float().mean()), 1 - float(own.positive.float().mean()))
    return (f"Trained for {EPOCHS} epochs on {len(own.train)} drawn images of {own.train.shape[2]} pixels. Of "
            f"{len(own.test)} test images it gets **{own.accuracy:.1%}** right; always the more frequent answer, {often:.1%}.")


def framed(path: Path, title: str, height: int = 620) -> HTML:
    """Show a saved file in a frame of the page, which holds all of it."""
    return HTML(f'<div><iframe title="{escape(title)}" srcdoc="{escape(path.read_text(encoding="utf-8"))}" loading="lazy" '
                f'style="width: 100%; height: {height}px; border: 1px solid #8A8A8A"></iframe></div>')


PEERS = {"gradient_times_input": "gradient times input", "integrated_gradients": "integrated gradients",
         "feature_ablation": "removal of one at a time", "shapley_sampling": "Shapley sampling",
         "equal_share": "equal share", "random": "random shares"}


def peers_beside(head: Callable[[Tensor], Tensor], explainer: FittedExplainer, images: Tensor,
                 weight: Tensor) -> Styler:
    """Put an explanation and some peers beside the exact contributions of a layer whose mean map a linear layer reads.

    Given are the rest of the network, from the maps x (B, n, H, W) on, and the linear layer's `weight` (n,)
    of the score.
    """
    measured = measure(explainer.concepts, explainer.model, images, explainer.target, prepare=explainer.prepare)
    exact = measured.x.relu().mean(dim=(2, 3)) * weight.detach()
    rows = {}
    for name, words in ((None, "the default"), *PEERS.items()):
        start = time.perf_counter()
        found = (explainer.explain_measured(measured) if name is None else
                 peers.explain(name, head, measured, samples=SAMPLES.get(name)))
        seconds = time.perf_counter() - start
        off = (found.contributions - exact).abs().mean() / exact.abs().mean()
        rows[words] = {"mean distance, by the exact ones' mean size": f"{float(off):.3f}",
                       "ms an image, beyond measuring": f"{1000 * seconds / len(measured):.1f}"}
    return styled(pd.DataFrame(rows).T, f"{len(measured)} test images, {exact.shape[1]} filters; Shapley values from "
                  f"{SAMPLES['shapley_sampling']} orders of the filters")


def _row(reports: Mapping[str, Report], way: str) -> Row:
    method, name = WAYS[way]
    return next(row for row in reports[method].rows if row.name == name)


def closeness(reports: Mapping[str, Mapping[str, Report]]) -> Styler:
    """Put the default, ours and cheaper ways beside what removing concepts does, for each layer."""
    cells = {(layer, words): [_written(getattr(_row(each, way), key)) for way in WAYS]
             for layer, each in reports.items() for key, words in MEASURES.items()}
    return styled(pd.DataFrame(cells, index=list(WAYS)), "Error of what was foretold of removing concepts (0 is right, "
                  "1 as good as foretelling no change), and rank correlation for single ones")


def _written(value: float | None) -> str:
    return "\N{EM DASH}" if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def closeness_said(reports: Mapping[str, Mapping[str, Report]]) -> str:
    """Say for each layer which way comes nearest, and what the report of the default holds against it."""
    lines = []
    for layer, each in reports.items():
        nearest = [f"{words}: {min(WAYS, key=lambda way: _size(_row(each, way), key))}" for key, words in
                   list(MEASURES.items())[:2]]
        against = f"The report's verdict on the default: {each['auto'].verdict}."
        lines.append(f"- `{layer}`, {each['auto'].images} crops held out. Nearest for {'; for '.join(nearest)}. {against}")
    return "\n".join(lines)


def _size(row: Row, key: str) -> float:
    value = getattr(row, key)
    return float("inf") if value is None else value


def families(rows: Sequence[works_with.Row]) -> Styler:
    """Show what each family takes and costs; of one that fails, its error."""
    table = pd.DataFrame({row.name: {
        "layer": row.layer, "passed beside it": row.passed or "nothing",
        "concepts": row.concepts or "", "map": "" if row.error else "{} × {}".format(*row.map),
        "time": row.error or f"{row.ratio:.1f}"} for row in rows}).T
    return styled(table, None, sentences=True).set_properties(**{"text-align": "left"})


def families_said(rows: Sequence[works_with.Row]) -> str:
    """Say how many families work, what the network says with all filters and none, and what explaining costs."""
    found, failed = [r for r in rows if not r.error], [r.name for r in rows if r.error]
    text = f"**{len(found)} of {len(rows)}** are explained; not: {', '.join(failed)}." if failed else (
        f"All **{len(found)}** are explained.")
    if not found:
        return text
    ratios = pd.Series([row.ratio for row in found])
    off = max(row.off for row in found)
    close = f"to within {off:.1g} of the scores' spread" if off else "exactly"
    moved = min(row.moved for row in found)
    return (f"{text} The score that is explained, and that with every filter in place, is the network's own {close}, in all "
            f"of them; with no filter in place each image's score moves by at least {moved:.1g} of the spread. Explaining "
            f"{works_with.IMAGES} images takes {ratios.min():.1f} to {ratios.max():.1f} times as long as a forward pass of them, "
            f"{ratios.median():.1f} in the median.")
