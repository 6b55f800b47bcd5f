"""What the pages of Experiment 2's four targets show of one attribute that is explained by the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from semquant.explanation import Explanation
from semquant_book import figures
from semquant_book.datasets.names import label, phrase
from semquant_book.figures import signed
from semquant_book.pages import cases, comparison, scores
from semquant_book.pages.findings import number, percent
from semquant_book.study import store, tables
from semquant_book.study.experiment2 import Run
from semquant_book.study.portraits import faces_of, portraits
from semquant_book.views import explorer, widgets

__all__ = ["another", "bars", "explore", "faces_to_show", "in_words", "learning", "numbered", "one_concept",
           "performer", "residuals", "shares", "side_by_side", "yardsticks"]


def another(target: str, own: str) -> str:
    """Return a warning where a page was run for another target than its own; else nothing."""
    return "" if target == own else f"**This page was run for another target than its own: {label(target)}.**"


def performer(run: Run) -> str:
    """Say what the performer is, what it was trained on, and how often it is right."""
    settings, about = run.settings, run.record()
    found, drawn = about["metrics"], settings.faces == "drawn"
    balanced = found["balanced_accuracy"][run.target]
    return (f"{about['parameters']:,} parameters, {comparison.beginning(settings)} in {about['seconds']:.0f} s on "
            f"{len(faces_of(settings, 'train')):,} {'drawn faces' if drawn else 'photographs'} of "
            f"{settings.face_size}x{settings.face_size} pixels. On {found['test_images']:,} test faces, of which "
            f"{percent(found['rate'][run.target])} have this attribute, it is right in "
            f"**{percent(found['accuracy'][run.target], 1)}**"
            + (f" (balanced over both answers {percent(balanced, 1)})." if balanced is not None else "."))


def faces_to_show(explanation: Explanation, labels: Tensor, each: int = 2) -> list[int]:
    """Return the first faces with the attribute and without it that the network gets right.

    Where it gets too few right, others of the same answer of the network fill up.

    Parameters
    ----------
    explanation : Explanation
        Of N faces.
    labels : Tensor (N,), bool
        Which have the attribute.
    each : int
        How many of each kind, if there are so many.
    """
    found, chosen = explanation.yhat > 0, []
    for answer in (True, False):
        same = torch.nonzero(found == answer)[:, 0]
        right_first = same[(labels[same] != answer).int().argsort(stable=True)]
        chosen += right_first[:each].tolist()
    return chosen


def explore(run: Run, chosen: Sequence[int], share: float = 0.5, last_layer: str | None = None) -> None:
    """Display Figure 6 for chosen test faces, and the explorer with these and a few more."""
    view = explorer.explore(cases.of_attribute(run.settings, run.target, run.seed, last_layer,
                                               [*chosen, *others(run, chosen)][:8], share))
    still = bars(run, run.explain("ours", last_layer), chosen, share)
    widgets.show(view, still, "Test faces with their scores, and beside each the signed contributions of the "
                 "attributes that matter most, by ours, as bars.", keep=True)


def others(run: Run, chosen: Sequence[int], count: int = 8) -> list[int]:
    """Return the first test faces that are not among the chosen ones."""
    return [i for i in range(len(faces_of(run.settings, "test"))) if i not in chosen][:count]


def bars(run: Run, explanation: Explanation, chosen: Sequence[int], share: float = 0.5) -> Figure:
    """Draw Figure 6, signed contributions of chosen test faces, a row each."""
    return figures.signed_bars(portraits(run.settings, chosen), explanation[torch.tensor(chosen)],
                               run.target, share=share)


def in_words(run: Run, explanation: Explanation, chosen: Sequence[int], share: float = 0.5) -> str:
    """Return a table of the most important reasons of chosen test faces, in words."""
    rows = [f"| {k} | {phrase(run.target, float(explanation.yhat[i]))}, {signed(float(explanation.yhat[i]), 1)} | "
            f"{', '.join(figures.in_words(explanation, i, share))} |" for k, i in enumerate(chosen, 1)]
    return "\n".join(["| | the network says | most important reasons |", "|---|---|---|", *rows])


def numbered(run: Run, chosen: Sequence[int]) -> Figure:
    """Draw chosen test faces in a row, numbered as in the table of `in_words`."""
    return figures.sample_sheet(portraits(run.settings, chosen), [str(k + 1) for k in range(len(chosen))],
                                columns=8)


def _sizes(values: Tensor) -> Tensor:
    """Contributions or drops (B, n) of any sign as shares of their sizes within an image."""
    size = values.abs()
    return size / size.sum(dim=1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)


def shares(explained: Mapping[str, Explanation], drops: Tensor, most: int = 16) -> pd.DataFrame:
    """Return the mean share that each attribute has, in size, in all contributions to a score.

    Parameters
    ----------
    explained : mapping of str to Explanation
        By method; the first orders the attributes.
    drops : Tensor (F, n)
        The truth by flipping, `Run.change_of_score`; with F = 0 it is left out.
    most : int
        How many attributes.
    """
    first = next(iter(explained.values()))
    found = {method: e.shares.mean(dim=0).tolist() for method, e in explained.items()}
    if len(drops):
        found["flipping"] = _sizes(drops).mean(dim=0).tolist()
    table = pd.DataFrame(found, index=[label(name) for name in first.names])
    return table.sort_values(next(iter(explained)), ascending=False).head(most)


def one_concept(explained: Mapping[str, Explanation], drops: Tensor, name: str) -> Styler | str:
    """Return what one attribute contributes, by each explanation and by the truth by flipping.

    Parameters
    ----------
    explained : mapping of str to Explanation
        By method, of the test faces.
    drops : Tensor (F, n)
        Of the first F test faces; with F = 0 there is no truth.
    name : str
        The attribute; for the target itself there is only a sentence.
    """
    names = next(iter(explained.values())).names
    if name not in names:
        return f"{label(name)} is the target itself."
    k, rows = names.index(name), {}
    values = {method: e.contributions for method, e in explained.items()}
    for method, found in values.items() if not len(drops) else {**values, "flipping": drops}.items():
        share = _sizes(found).mean(dim=0)
        same = found[: len(drops), k].sign() == drops[:, k].sign()
        rows["flipping it in the drawing" if method == "flipping" else method] = {
            "mean contribution": signed(float(found[:, k].mean()), plus=True),
            "mean share": percent(float(share[k]), 1),
            f"place among {len(names)}": int((share > share[k]).sum()) + 1,
            "faces with the sign of flipping": number(
                float(same.float().mean()), 0, percent=True) if len(drops) else "\N{EM DASH}",
        }
    return pd.DataFrame(rows).T.style.set_table_attributes('class="dataframe"').set_caption(
        f"{label(name)} as a reason")


def side_by_side(run: Run) -> Styler:
    """Return all that was fitted to the target, with what needs no fit and the paper's numbers."""
    run.make_explainers()  # what is not in the store yet
    frame = tables.attribute_frame(run.settings, [run.target], [run.seed])
    return scores.side_by_side(frame, yardsticks(run), f"{label(run.target)}, preset {run.settings.preset}")


def yardsticks(run: Run) -> pd.DataFrame:
    """Return what needs no fit of its own, see `tables.yardstick_frame`, of the run's target."""
    frame = tables.yardstick_frame(run.settings, [run.seed])
    return frame[frame.target == run.target.lower()]


def residuals(explanation: Explanation) -> list[str]:
    """Return a label for each face: its score, and what is left unexplained."""
    return [f"ŷ {signed(score, 1)}, left {signed(left, 1, plus=True)}"
            for score, left in zip(explanation.yhat.tolist(), explanation.residual.tolist())]


def learning(run: Run, last_layer: str | None = None) -> Figure:
    """Draw the losses of both explainers by epoch, the distillation loss on a logarithmic axis."""
    figure = figures.training_history(
        {method: run.explainer_record(method, last_layer)["history"] for method in store.METHODS},
        {"distillation": "distillation loss, equation (2)", "prior": "prior loss, equation (4)"})
    figure.axes[0].set_yscale("log")
    return figure
