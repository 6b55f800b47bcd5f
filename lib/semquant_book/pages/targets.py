"""What the pages of Experiment 2's four targets show of one attribute that is explained by the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor, nn

from semquant.concepts import Measured
from semquant.explanation import Explanation
from semquant_book import figures
from semquant_book.datasets.names import label, phrase
from semquant_book.figures import signed
from semquant_book.pages import cases, comparison, scores
from semquant_book.pages.findings import percent
from semquant_book.study import tables
from semquant_book.study.experiment2 import Run
from semquant_book.study.portraits import faces_of, portraits
from semquant_book.views import explorer, widgets

__all__ = ["bars", "explore", "faces_to_show", "left_where", "more_faces", "one_concept", "outline", "performer", "place",
           "share_bars", "shares", "side_by_side", "what_the_prior_does", "worst", "yardsticks"]


def performer(run: Run, own: str) -> str:
    """Say what the performer is, and how often right; warn of another target than `own`."""
    settings, about = run.settings, run.record()
    found, drawn = about["metrics"], settings.faces == "drawn"
    balanced = found["balanced_accuracy"][run.target]
    warning = f"**This page was run for another target than its own: {label(run.target)}.**\n\n"
    return (warning * (run.target != own)
            + f"{about['parameters']:,} parameters, {comparison.beginning(settings)} in "
            f"{about['seconds']:.0f} s on {len(faces_of(settings, 'train')):,} "
            f"{'drawn faces' if drawn else 'photographs'} of "
            f"{settings.face_size}x{settings.face_size} pixels. On {found['test_images']:,} test "
            f"faces, of which {percent(found['rate'][run.target])} have this attribute, it is "
            f"right in **{percent(found['accuracy'][run.target], 1)}**"
            + (f" (balanced over both answers {percent(balanced, 1)})." if balanced is not None else "."))


def outline(net: nn.Module, test: Measured, explanation: Explanation, left: Tensor) -> str:
    """Say how large the maps are, how many concepts there are, and how much of the scores is left unexplained."""
    return (f"{net.n} maps of {net.map_size}x{net.map_size}, {len(explanation.names)} concepts; "
            f"mean size of yhat {test.yhat.abs().mean():.2f}, of what is left {left.abs().mean():.2f}")


def left_where(left: Tensor, found: Tensor) -> str:
    """Say how much is left unexplained where an attribute was found, and elsewhere."""
    return (f"mean size of what is left where y > 0: {left[found].abs().mean():.2f}, "
            f"elsewhere: {left[~found].abs().mean():.2f}")


def place(explanation: Explanation, name: str) -> int:
    """Return an attribute's place among the concepts; if it is the target, that of the strongest one."""
    if name in explanation.names:
        return explanation.names.index(name)
    return int(explanation.shares.mean(dim=0).argmax())


def faces_to_show(explanation: Explanation, labels: Tensor, each: int = 2) -> list[int]:
    """Return faces that the network finds to have the attribute, and not to; right ones first."""
    found, chosen = explanation.yhat > 0, []
    for answer in (True, False):
        same = torch.nonzero(found == answer)[:, 0]
        right_first = same[(labels[same] != answer).int().argsort(stable=True)]
        chosen += right_first[:each].tolist()
    return chosen


def explore(run: Run, explanation: Explanation, chosen: Sequence[int], keep: int,
            share: float = 0.5, last_layer: str | None = None) -> None:
    """Display Figure 6 for chosen test faces, and the explorer with these and a few more.

    `explanation` is of all test faces, by ours; `keep` is the place of an attribute that has a
    bar in any case.
    """
    more = [i for i in range(len(explanation)) if i not in chosen]
    view = explorer.explore(cases.of_attribute(run.settings, run.target, run.seed, last_layer,
                                               [*chosen, *more][:8], share))
    widgets.show(view, bars(run, explanation, chosen, keep, share),
                 "Test faces with their scores, and beside each the signed contributions of the "
                 "attributes that matter most, by ours, as bars.", keep=True)


def bars(run: Run, explanation: Explanation, chosen: Sequence[int], keep: int,
         share: float = 0.5) -> Figure:
    """Draw Figure 6, signed contributions of chosen test faces, a row each."""
    return figures.signed_bars(portraits(run.settings, chosen), explanation[torch.tensor(chosen)],
                               run.target, share=share, keep=keep)


def more_faces(run: Run, explanation: Explanation, chosen: Sequence[int], share: float = 0.5) -> Figure:
    """Display the most important reasons of chosen test faces in words; return the faces, numbered."""
    rows = [f"| {k} | {phrase(run.target, score)}, {signed(score, 1)} | "
            f"{', '.join(figures.in_words(explanation, int(i), share))} |"
            for k, (i, score) in enumerate(zip(chosen, explanation.yhat[chosen].tolist()), 1)]
    display(Markdown("\n".join(["| | the network says | most important reasons |", "|---|---|---|", *rows])))
    return figures.sample_sheet(portraits(run.settings, chosen), [str(k + 1) for k in range(len(chosen))],
                                columns=8)


def _sizes(values: Tensor) -> Tensor:
    """Contributions or drops (B, n) of any sign as shares of their sizes within an image."""
    size = values.abs()
    return size / size.sum(dim=1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)


def shares(explained: Mapping[str, Explanation], drops: Tensor, keep: int, most: int = 16) -> pd.DataFrame:
    """Return the mean share that each of the first attributes has, in size, in all contributions.

    The first explanation orders them, `keep` is among them in any case; `drops` (F, n) are the
    truth by flipping, `Run.change_of_score`, and left out with F = 0.
    """
    first = next(iter(explained.values()))
    found = {method: e.shares.mean(dim=0).tolist() for method, e in explained.items()}
    if len(drops):
        found["flipping"] = _sizes(drops).mean(dim=0).tolist()
    table = pd.DataFrame(found, index=[label(name) for name in first.names])
    order = table[next(iter(explained))].to_numpy().argsort()[::-1].tolist()
    if keep not in order[:most]:
        order.insert(most - 1, keep)
    return table.iloc[order[:most]]


def share_bars(explained: Mapping[str, Explanation], drops: Tensor, keep: int) -> Figure:
    """Draw `shares`, with the name of one attribute bold."""
    return figures.share_bars(shares(explained, drops, keep),
                              label(next(iter(explained.values())).names[keep]))


def one_concept(explained: Mapping[str, Explanation], drops: Tensor, k: int) -> Styler:
    """Return what attribute k contributes, by each explanation and by flipping it.

    `drops` (F, n) are of the first F test faces; with F = 0 there is no truth.
    """
    names, rows = next(iter(explained.values())).names, {}
    values = {method: e.contributions for method, e in explained.items()}
    values |= {"flipping it in the drawing": drops} if len(drops) else {}
    for method, found in values.items():
        share = _sizes(found).mean(dim=0)
        same = (found[: len(drops), k].sign() == drops[:, k].sign()).float()
        rows[method] = {
            "mean contribution": signed(float(found[:, k].mean()), plus=True),
            "mean share": percent(float(share[k]), 1),
            f"place among {len(names)}": int((share > share[k]).sum()) + 1,
            "faces with the sign of flipping": percent(float(same.mean())) if len(drops) else "\N{EM DASH}",
        }
    return pd.DataFrame(rows).T.style.set_table_attributes('class="dataframe"').set_caption(
        f"{label(names[k])} as a reason")


def what_the_prior_does(run: Run, explained: Mapping[str, Explanation], w: Tensor, k: int,
                        last_layer: str | None = None) -> Figure:
    """Draw alpha against prior weights, with one attribute's dots lit, and the losses by epoch."""
    return figures.what_the_prior_does(
        {method: e.alpha[:300] for method, e in explained.items()}, w[:300],
        {method: run.explainer_record(method, last_layer)["history"] for method in explained},
        k, label(next(iter(explained.values())).names[k]))


def side_by_side(run: Run) -> Styler:
    """Return all that was fitted to the target, with what needs no fit and the paper's numbers."""
    frame = tables.attribute_frame(run.settings, [run.target], [run.seed])
    return scores.side_by_side(frame, yardsticks(run), f"{label(run.target)}, preset {run.settings.preset}")


def yardsticks(run: Run) -> pd.DataFrame:
    """Return what needs no fit of its own, see `tables.yardstick_frame`, of the run's target."""
    frame = tables.yardstick_frame(run.settings, [run.seed])
    return frame[frame.target == run.target.lower()]


def worst(run: Run, explanation: Explanation, k: int, count: int = 8) -> Figure:
    """Draw the test faces of which most is left unexplained: under each score, rest, and attribute k's y."""
    chosen = explanation.residual.abs().argsort(descending=True)[:count].tolist()
    labels = [f"ŷ {signed(score, 1)}, left {signed(left, 1, plus=True)}, y {signed(value, 1)}"
              for score, left, value in torch.stack([explanation.yhat, explanation.residual,
                                                     explanation.y[:, k]], dim=1)[chosen].tolist()]
    return figures.sample_sheet(portraits(run.settings, chosen), labels, columns=4)
