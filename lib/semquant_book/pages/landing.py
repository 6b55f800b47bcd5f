"""What the landing page says first: the headline, the slopes, and what surrounds the three answers."""

from __future__ import annotations

import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure

from semquant_book import figures
from semquant_book.pages import cases, studio
from semquant_book.pages.comparison import paper, paper_frame, paper_of
from semquant_book.pages.findings import by_reading, number, spread
from semquant_book.press import preview
from semquant_book.study import inspection
from semquant_book.study.presets import Settings
from semquant_book.study.replicates import by_performer
from semquant_book.study.results import Results
from semquant_book.views import explorer, widgets

__all__ = ["aside", "headline", "opened", "preface", "shared_picture", "slopes"]


def preface(results: Results) -> str:
    """Return what a reader of a smoke run has to know first; nothing for other runs."""
    if results.settings.preset != "smoke":
        return ""
    return "**A smoke run: it is of a few images and one step, and its numbers mean nothing.**\n\n"


def _entropies(results: Results) -> dict[str, pd.DataFrame]:
    """H / ln n of baseline and ours for each network: the paper's, and this run's in each reading."""
    labels, table = paper()["labels"], {}
    table["the paper"] = paper_of(results.settings.categories).T
    for scale, frame in results.explainers.groupby("scale", sort=False):
        table[f"here, y {scale}"] = pd.DataFrame({
            method: by_performer(g, "normalised_entropy").groupby("architecture", sort=False).mean()
            for method, g in frame.groupby("method")})
    return {title: frame.rename(index=labels) for title, frame in table.items()}


def slopes(results: Results) -> Figure:
    """Draw the entropy from baseline to ours, per network: the paper's beside this run's."""
    return figures.entropy_slopes(_entropies(results))


def headline(results: Results) -> str:
    """Say what the slopes show, and why, in Markdown."""
    tables = _entropies(results)
    printed, (first, here), *others = tables.pop("the paper"), *tables.items()
    collapsed = here.baseline.min() <= printed.baseline.max()
    lead = ("The paper's collapsed baseline appears here too." if collapsed else
            "What does not appear here is the paper's collapsed baseline.")
    ours = ("*ours* is where the paper's is" if _meets(printed.ours, here.ours) else
            "*ours* is not where the paper's is")
    reading = first.removeprefix("here, ")
    more = "".join(f" With {title.removeprefix('here, ')} the baseline is at {spread(t.baseline)}, "
                   f"ours at {spread(t.ours)}." for title, t in others)
    prior = by_performer(results.references[results.references.method == "prior"], "normalised_entropy")
    why = (f"Why: the loss pulls towards prior weights that are themselves concentrated (H / ln n "
           f"{number(prior.mean(), 2)})" + ("." if collapsed else ", and the baseline here has nothing to cure."))
    return (f"**{lead}** As a share of the largest possible {{term}}`entropy <entropy of "
            f"contributions>`, ln n, by which networks of different size can be compared, {ours}: "
            f"{spread(here.ours)} with {reading}, {spread(printed.ours)} in the paper, of the "
            f"same categories. The baseline is at {spread(here.baseline)}, in the paper at "
            f"{spread(printed.baseline)}.{more} {why}")


def opened(settings: Settings, category: str) -> None:
    """Show what a reader can try at once: the studio; where the network is too large for a page, or its
    images are photographs, the explorer of its explanations."""
    if studio.fits(settings):
        studio.show(settings, category)
        return
    chosen, shown = [0, 1, 2, 3], _first_network(settings, category)
    pies = figures.explanation_pies(shown.images.images[chosen], shown.heatmaps(chosen),
                                    shown.by_part("ours")[chosen], shown.by_part("baseline")[chosen])
    widgets.show(explorer.explore(cases.of_case(shown, settings, settings.architectures[0], category)), pies,
                 "Four rows, a column for each of four test images: the picture with its score, its Grad-CAM heat map, "
                 "a pie of what each part contributes by ours, and one by the baseline, with sum and b below.")


def _first_network(settings: Settings, category: str) -> inspection.Case:
    return inspection.case(settings, settings.architectures[0], category, scale=settings.scales[0])


def shared_picture(settings: Settings, category: str) -> Image:
    """Draw the picture that other sites show when a page is shared, see `semquant_book.press.preview`."""
    three, shown = [0, 1, 2], _first_network(settings, category)
    drawn = preview.draw(shown.images.images[three], shown.heatmaps(three), shown.by_part("ours")[three],
                         "Explaining neural networks,\nsemantically and quantitatively",
                         "The paper re-implemented, run, and put beside its own numbers")
    return Image(preview.png(drawn), alt=f"Three images of a {category}, where the network looks, and how much each part "
                 "contributes to its score")


def _meets(a: pd.Series, b: pd.Series) -> bool:
    """Whether two ranges, each widened by a hundredth, touch."""
    return a.min() - 0.01 <= b.max() and b.min() - 0.01 <= a.max()


def aside(results: Results) -> str:
    """Say how accurate the performers and explainers are, beside the paper's, in Markdown."""
    plain = results.performers[results.performers.filter_loss]
    printed = paper_frame("table_2", "accuracy", "experiment_1") / 100
    ours = "; ".join(f"{name} {spread(by_performer(g[g.method == 'ours'], 'accuracy'), 1, percent=True)}"
                     for name, g in by_reading(results.explainers))
    here = spread(plain.accuracy, 1, percent=True), ours
    paper_s = (spread(printed.loc[who], 1, percent=True) for who in ("performer", "ours"))
    return ("The performers are right in {} of the test images, our explainers, by the reading of "
            "y, in {} (the paper's, on photographs, in {} and {}). The full-size networks "
            "with the paper's own settings have not been run; [the paper preset](reproduce/paper_preset) says what that "
            "takes.").format(*here, *paper_s)
