"""What the method's chapters show beside their own code: their tables, explorers and sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from IPython.display import Markdown, display
from pandas.io.formats.style import Styler
from torch import Tensor, nn

from semquant.concepts import Measured
from semquant.explanation import UNASSIGNED, Explanation
from semquant.losses import prior_weight
from semquant.metrics import contribution_entropy, rank_agreement, relative_deviation
from semquant.priors import taylor_prior
from semquant_book.datasets import Images
from semquant_book.datasets.names import METHODS
from semquant_book.figures.style import signed
from semquant_book.pages.comparison import fit_words, paper
from semquant_book.study import experiment1, trajectories, trials
from semquant_book.study.hypotheses import OPTIMIZERS
from semquant_book.study.presets import Settings, project_root
from semquant_book.study.store import read_record
from semquant_book.views import chapters as views
from semquant_book.views import fitting
from semquant_book.views.chapters import Watched
from semquant_book.views.widgets import show

__all__ = ["agreement_said", "agreement_table", "clipping_said", "cosines_said", "deviations_said",
           "directions_said", "entropy", "equation", "fading_said", "fit_said", "fits_said", "fits_table",
           "median_positive", "part_names", "performer_said", "readings_table", "real_steps_table",
           "show_bias", "show_fit", "show_prior", "spread_said", "sweeps_said", "toy_said", "toy_table"]


def _shown(table: pd.DataFrame, formats: Mapping[str, Callable] | str | None = None) -> Styler:
    """A table in the book's looks; relative deviations have three decimals, if nothing else is said."""
    if formats is None:
        formats = {c: "{:.3f}".format if c == "relative deviation" else signed for c in table}
    return table.style.format(formats, na_rep="\N{EM DASH}").set_table_attributes('class="dataframe"')


def entropy(contributions: Tensor) -> float:
    """Mean entropy of contributions (B, n), as a share of its largest value, ln n."""
    mean = float(contribution_entropy(contributions).nanmean())
    return mean / math.log(contributions.shape[1]) + 0.0  # no negative zero


def part_names(run: experiment1.Run) -> list[str]:
    """Return the part that each filter of a performer is named after."""
    groups = [*run.images("val").groups, UNASSIGNED]
    return [groups[part] for part in run.naming()[0].tolist()]  # -1, no part, is the last


def median_positive(images: Images, measured: Measured) -> int:
    """Return the positive image whose score is the median: neither the easiest nor the hardest."""
    positives = images.positive.nonzero()[:, 0]
    return int(positives[measured.yhat[positives].argsort()[len(positives) // 2]])


def performer_said(measured: Measured, chosen: int, names: Sequence[str]) -> str:
    """Say what one pass gave: the chosen image's score, the maps, how many filters have a name."""
    n, size = measured.x.shape[1:3]
    return (f"Its score is $\\hat y$ = {signed(float(measured.yhat[chosen]))}. The top map has {n} "
            f"filters on {size} × {size} positions; {sum(name != UNASSIGNED for name in names)} of "
            "them could be named after a part.")


def equation(one: Explanation) -> str:
    """Write the explanation of one image as an equation in Markdown that adds up as it is printed."""
    yhat, total, bias = (round(float(v), 2) for v in (one.yhat, one.contributions.sum(), one.bias))
    terms = [(signed(yhat), r"\hat y"), (signed(total), r"\sum_i \alpha_i y_i"), (signed(bias, plus=True), "b"),
             (signed(yhat - total - bias, plus=True), r"\text{residual}")]
    first, *rest = [rf"\underbrace{{{value}}}_{{{name}}}" for value, name in terms]
    return f"$$\n{first} \\;=\\; {' '.join(rest)}\n$$"


def spread_said(alpha: Tensor) -> str:
    """Say how much the median filter's weight, of alpha (B, n), varies over images."""
    spread = float((alpha.std(0) / alpha.mean(0)).median())
    return ("Dots are medians over the positive images, lines run from the 5th to the 95th "
            "percentile. For the median filter, the standard deviation of its weight over images "
            f"is {spread:.0%} of its mean.")


def deviations_said(run: experiment1.Run, explanation: Explanation, scale: str) -> str:
    """Say how far explained scores are from the performer's, here and in the records of both readings."""
    here = float(relative_deviation(explanation.yhat, explanation.total).mean())
    recorded = []
    for reading in run.settings.scales:
        ours, baseline = (_recorded(run, method, reading)["deviation"] for method in METHODS)
        recorded.append(f"*{reading}*, {ours:.3f} with the prior loss and {baseline:.3f} without")
    return (f"On these {len(explanation)} images it is {here:.3f} on average. All numbers above "
            f"are of the *{scale}* reading of $y$'s scale, which the paper leaves open. Taken "
            "*literally*, $y$ is the sum over positions; *scaled*, a constant factor on $\\alpha$ "
            "lets the contributions start as large as the scores vary. On all test images, by "
            f"reading, mean over seeds of $g$: {'; '.join(recorded)}. These are fits to one "
            "performer, so there is no interval.")


def _recorded(run: experiment1.Run, method: str, scale: str) -> dict[str, float]:
    """Measures of a run's explainers, averaged over seeds of g; they are fitted if they aren't in the store."""
    found = []
    for seed in range(run.settings.explainer_seeds):
        run.explainer(method, scale, seed)
        found.append(run.explainer_record(method, scale, seed)["metrics"])
    return {key: sum(each[key] for each in found) / len(found) for key in ("entropy", "deviation")}


def toy_table(ways: Mapping[str, Tensor], y: Tensor, yhat: Tensor, w: Tensor) -> Styler:
    """Compare where fits of alpha (T, B, n) to a linear performer, yhat = sum of w y, ended."""
    found = {name: _toy_row(way[-1], y, yhat, w) for name, way in ways.items()}
    found["the performer itself, w y"] = _toy_row(w, y, yhat, w)
    return _shown(pd.DataFrame(found).T)


def _toy_row(alpha: Tensor, y: Tensor, yhat: Tensor, w: Tensor) -> dict[str, float]:
    return {"H / ln n": entropy(alpha * y),
            "relative deviation": float(relative_deviation(yhat, (alpha * y).sum(1)).mean()),
            "rank correlation of α with y": float(rank_agreement(alpha, y).nanmean()),
            "rank correlation of α y with w y": float(rank_agreement(alpha * y, w * y).nanmean())}


def toy_said(ways: Mapping[str, Tensor], y: Tensor, yhat: Tensor, w: Tensor) -> str:
    """Say when bias-interpreting appeared in the toy, and when not."""
    h = {name: entropy(way[-1] * y) for name, way in ways.items()}
    crushed, fitting, adam, cured, adam_prior, wrong = h
    times = float((ways[crushed][0] * y).sum(1).mean() / yhat.mean())
    c = (ways[crushed][-1] * y).mean(0)
    order = c.argsort(descending=True)
    few = int((c[order].cumsum(0) < 0.9 * c.sum()).sum()) + 1
    return (
        "It appears with two things together: plain gradient descent, and a sum that starts far "
        f"too high, here {times:.0f} times the score. Then {few} of {len(c)} concepts carry nine "
        f"tenths of the sum and H / ln n falls to {h[crushed]:.2f}, although the performer uses "
        f"all of them (its own is {entropy(w * y):.2f}). It does not appear when the sum starts "
        f"where the scores are ({h[fitting]:.2f}), nor with AdamW from the same high start "
        f"({h[adam]:.2f}). Where it appears, the prior loss cures it ({h[cured]:.2f}). Where it "
        "doesn't, the prior loss has nothing to cure and pulls towards its own entropy: with AdamW "
        f"from {h[adam]:.2f} to {h[adam_prior]:.2f}. And entropy alone can't tell a cure from an "
        "accident: a prior that gives each concept another one's weight brings it to "
        f"{h[wrong]:.2f}.")


def fits_table(fits: Mapping[str, Explanation], test: Measured, positive: Tensor) -> Styler:
    """Compare fits to one performer, and the prior alone, by the paper's measures on test images.

    Entropies and correlations are means over the `positive` (B,), as in the paper; deviations
    over all.
    """
    prior = (test.w * test.y)[positive]
    rows = {name: _fit_row(e.contributions[positive], prior) | {
        "relative deviation": float(relative_deviation(e.yhat, e.total).mean())} for name, e in fits.items()}
    rows["prior weights alone, w y"] = _fit_row(prior, prior)
    return _shown(pd.DataFrame(rows).T)


def _fit_row(contributions: Tensor, prior: Tensor) -> dict[str, float]:
    return {"H": float(contribution_entropy(contributions).nanmean()), "H / ln n": entropy(contributions),
            "rank correlation with w y": float(rank_agreement(contributions, prior).nanmean())}


def fits_said(fits: Mapping[str, Explanation], test: Measured, positive: Tensor, scale: str) -> str:
    """Say what the prior loss does to the entropy here, and why; of "baseline", "ours" and "permuted prior"."""
    h = {name: entropy(e.contributions[positive]) for name, e in fits.items()}
    w = entropy((test.w * test.y)[positive])
    change, wrong = h["ours"] - h["baseline"], h["permuted prior"] - h["baseline"]
    towards = (change < 0) == (w < h["baseline"])
    why = (f"The prior's own contributions, $w_i y_i$, have {w:.2f}: the loss pulls towards "
           "weights that are themselves "
           f"{'more concentrated' if w < h['baseline'] else 'more even'} than what distillation "
           f"alone finds{'' if towards else ', yet it moved the other way here'}")
    cure = "With AdamW the baseline has little to cure, as in the toy. " if h["baseline"] > 0.85 else ""
    return (
        f"In the *{scale}* reading, with seed 0 of $g$, the baseline ends at H / ln n = "
        f"{h['baseline']:.2f}, *ours* at {h['ours']:.2f} ({signed(change, plus=True)}). {why}. "
        f"{cure}The paper's baselines are at .65 to .80, and *ours* there at .93 to .95.\n\nA "
        "control: with each prior weight given to another filter, the values of $w$ are the same "
        f"and their meaning is gone. It moves the entropy by {signed(wrong, plus=True)}. Entropy "
        "says how evenly contributions are spread, not whether they are right; how far they are "
        "from the truth by removal is measured in [the summary of Experiment "
        "1](../experiment1/summary).")


def readings_table(run: experiment1.Run) -> Styler:
    """Compare ours and the baseline in each reading of y's scale, from the run's records."""
    ln_n, settings = math.log(run.performer().n), run.settings
    rows = []
    for scale in settings.scales:
        for method in ("baseline", "ours"):
            found = _recorded(run, method, scale)
            rows.append({"reading of y": scale, "method": method, "H": f"{found['entropy']:.2f}",
                         "H / ln n": f"{found['entropy'] / ln_n:.2f}",
                         "relative deviation": f"{found['deviation']:.3f}",
                         "fitted by": fit_words(settings.explainer_optimizers[0],
                                                getattr(settings, f"explainer_bias_{scale}"))})
    seeds = settings.explainer_seeds
    return _shown(pd.DataFrame(rows).set_index(["reading of y", "method"]), {}).set_caption(
        "H of positive test images, deviation of all; "
        f"mean over {seeds} seed{'s' * (seeds > 1)} of g, one performer, no interval")


def show_bias(runs: Sequence[Watched]) -> None:
    """Show the bias-interpreting explorer of recorded sweeps."""
    show(views.explore_bias(*runs), views.bias_figure(runs[0]),
         "Bars of every filter's contribution to one image's score with the paper's beta, in the "
         "colour of its part, and outlines of the baseline's; beside them entropy and relative "
         "deviation over epochs for six strengths of the prior.")


def _trajectories() -> dict:
    return read_record(project_root() / "book" / "records" / f"{trajectories.RECORD}.json")


def show_fit(run: experiment1.Run) -> None:
    """Show the fit of a small g in the page, to a performer's first training images, over recorded fits,
    and before it where those ended."""
    record, labels = _trajectories(), paper()["labels"]
    train, positive = run.measured("train"), run.images("train").positive
    note = (f"In the page: {min(fitting.IMAGES, len(train.y))} training images, all in every step; {labels[run.architecture]}, "
            f"{run.category}, seed {run.seed}, preset {run.settings.preset}; g has one layer of {fitting.HIDDEN} units with batch norm "
            f"and reads the maps averaged to {fitting.POSITIONS} × {fitting.POSITIONS}; {trials.EPOCHS} epochs of {fitting.STEPS} "
            "steps, as many as the trial takes. Measures are of the positive ones of these images. Recorded: the library’s g, fitted "
            f"as in the trial to {trials.IMAGES:,} images; {labels[record['architecture']]}, {record['category']}, preset "
            f"{record['settings']['preset']}, measured on {trajectories.IMAGES:,} test images. That is another g on other "
            "images: compare directions, not heights.")
    display(Markdown(fit_said()))
    show(fitting.explore(train, positive, record, note), fitting.figure(record),
         "Small charts, one for each optimiser and start, of the evenness of contributions over the epochs of recorded "
         "fits, without the prior loss and with beta 10. The list before has where they ended.")


def fit_said() -> str:
    """Say where the recorded fits behind the one in the page ended, without the prior loss and with it."""
    fits, ends = _trajectories()["fits"], {}
    for row in fits:
        regime = f"{OPTIMIZERS[row['optimizer']]} from a {row['start']} start, rate {_decimal(row['rate'])}"
        ends.setdefault(regime, {})[row["prior"]] = row["normalised_entropy"][-1]
    said = [f"{regime}: {signed(end['none'], 3)} without the prior loss, {signed(end['measured'], 3)} with it"
            for regime, end in ends.items() if len(end) == 2]
    high = [row for row in fits if (row["optimizer"], row["start"], row["prior"]) == ("sgd", "high", "none")]
    far = min(high, key=lambda row: row["normalised_entropy"][-1])["rate"]
    taken = next(row["rate"] for row in high if row["chosen"])
    return ("Where the recorded fits ended, H / ln n on test images, β = 10:\n\n- " + "\n- ".join(said) + "\n\nWith SGD from a "
            f"high start it depends on the rate how far the baseline collapses: furthest at {_decimal(far)}. The rate that explains "
            f"the training scores best, which is what the trial would take, is {_decimal(taken)}; the view begins with it.")


def _decimal(value: float) -> str:
    return f"{value:f}".rstrip("0")


def sweeps_said(runs: Sequence[Watched]) -> str:
    """Say where recorded sweeps ended, each with its title: which reading it is of."""
    lines = []
    for run in runs:
        ln_n = math.log(len(run.names))
        h, deviation = (getattr(run, name)[:, :, -1].mean(1) for name in ("entropy", "deviation"))  # (strengths,)
        usual = list(run.betas).index(run.usual)
        said = [f"{h[k]:.2f} ({h[k] / ln_n:.2f} of ln n, deviation {deviation[k]:.3f}) with β = {run.betas[k]:g}"
                for k in (0, usual, len(run.betas) - 1)]
        lines.append(f"- *{run.title}*: {', '.join(said)}.")
    return ("Entropies after the last epoch, means over three seeds of $g$, each sweep of one "
            "performer, so that there is no interval:\n\n" + "\n".join(lines))


def clipping_said(w: Tensor, positive: Tensor) -> str:
    """Say how many of the prior weights (B, n) are negative."""
    below, empty = (w < 0).float().mean(1), (w <= 0).all(1)
    return (f"Clipping matters: in the mean positive image {float(below[positive].mean()):.0%} of "
            "the weights are negative, in the mean negative one "
            f"{float(below[~positive].mean()):.0%}. In {int(empty.sum())} of {len(w)} images "
            "nothing is left; the prior loss says nothing about such an image.")


def agreement_table(guesses: Mapping[str, Tensor], falls: Tensor) -> Styler:
    """Compare guesses (B, n) with the true falls of the score, by the rank correlation within an image."""
    found = {name: float(rank_agreement(guess, falls).nanmean()) for name, guess in guesses.items()}
    return _shown(pd.Series(found, name="rank correlation with the true fall").to_frame())


def agreement_said(guesses: Mapping[str, Tensor], falls: Tensor) -> str:
    """Say what `agreement_table` shows, of five guesses in its order."""
    rho = [float(rank_agreement(guess, falls).nanmean()) for guess in guesses.values()]
    return (f"Spearman's rank correlation, mean of {len(falls)} positive images. The prior's order "
            f"of filters agrees with the falls to {signed(rho[2])}. Multiplying derivative and "
            f"activation position by position, before summing, gives {signed(rho[4])}; clipping "
            f"negative weights, as Experiment 1 does, {signed(rho[3])}. Correlations this high are "
            "consistent with a performer whose top is close to linear in its maps, and need not "
            "hold for a deeper one.")


def real_steps_table(outputs: nn.Module, place: Tensor, steps: Sequence[float] = (1.0, 0.1, 0.01, 0.001)) -> Styler:
    r"""Compare :math:`\Delta\hat y / \Delta y_i` of real steps with w_i of Case 2.

    The steps begin at `place` (1, d), along each concept's derivative; `outputs` gives the
    score first: (1, n + 1).
    """
    w = taylor_prior(outputs, place, target=0)[0]
    jacobian = torch.func.jacrev(outputs)(place[0])  # (n + 1, d)
    found = {}
    for step in steps:
        moved = torch.stack([outputs(place + step * slope)[0] - outputs(place)[0] for slope in jacobian[1:]])
        ratio = moved[:, 0] / moved[:, 1:].diagonal()  # a row for each concept pushed
        found[f"ε = {step:g}"] = float((ratio - w).abs().max().detach())
    return _shown(pd.Series(found, name="largest difference").to_frame().T, "{:.1e}")


def directions_said(share: Tensor, entropic: Mapping[str, Sequence[float]], angle: Tensor,
                    squared: Sequence[float]) -> str:
    """Say where both directions of the cross-entropy are lowest; arguments as in `figures.prior_losses`."""
    lowest = {direction: float(share[torch.tensor(values).argmin()]) for direction, values in entropic.items()}
    gap = float((torch.tensor(squared) - (2 - 2 * angle.cos())).abs().max())
    return ("The paper does not say which of the two distributions of the cross-entropy is inside "
            "the logarithm. It matters: one way the loss is lowest at the prior itself (share "
            f"{lowest['log_alpha']:.2f}), the other way at the edge of what is drawn "
            f"({lowest['log_w']:.2f}), with all weight on the largest $w$, which is just what the "
            "prior is to prevent. The first is used here. The curve on the right is $2 - 2\\cos$ "
            f"to {gap:.0e}.")


def fading_said(settings: Settings) -> str:
    """Say how far the prior loss has faded when this preset's fits stop."""
    stop = settings.explainer_epochs
    return ("The limit is 0, as the paper asks, but the way there is long: with β = 10, λ is "
            f"{prior_weight(25, 10):.1f} at epoch 25 and {prior_weight(100, 10):.1f} at epoch 100. "
            f"The explainers of this preset stop at epoch {stop}, with λ = "
            f"{prior_weight(stop, settings.beta):.2f}. In runs of this length the prior guides "
            "learning to the end, not in early epochs only.")


def show_prior(runs: Sequence[Watched]) -> None:
    """Show the prior explorer of recorded sweeps."""
    show(views.explore_prior(*runs), views.prior_figure(runs[0]),
         "Three scatter plots of learned weights against prior weights: before training, after it "
         "without the prior loss, and after it with the paper's beta.")


def cosines_said(runs: Sequence[Watched]) -> str:
    """Say how near recorded sweeps, each with its title, came to the prior's direction."""
    lines = []
    for run in runs:
        w, alpha = torch.tensor(run.w), torch.tensor(run.alpha[:, 0, -1])  # (images, n), (strengths, images, n)
        cosine = torch.cosine_similarity(alpha, w[None], dim=2).mean(dim=1).tolist()
        usual = list(run.betas).index(run.usual)
        lines.append(f"- *{run.title}*: {signed(cosine[0])} without the prior loss, "
                     f"{signed(cosine[usual])} with β = {run.usual:g}, {signed(cosine[-1])} with β "
                     f"= {run.betas[-1]:g}.")
    return "The cosine between α and w after the last epoch, mean of the images shown:\n\n" + "\n".join(lines)
