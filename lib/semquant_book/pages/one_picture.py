"""Pictures of one performer, each explained in several ways beside the truth over part groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from semquant.concepts import Measured
from semquant.explanation import Explanation
from semquant.training import home_of
from semquant.truth import coalition_values, shapley
from semquant_book.datasets.names import METHODS, SCALES
from semquant_book.pages.cases import pictures_of
from semquant_book.pages.comparison import paper
from semquant_book.study.experiment1 import Run
from semquant_book.study.ranking import asked, explained_in, groups_of, head_of, recognised
from semquant_book.views import ways, widgets

__all__ = ["WAYS", "explore", "gathered"]

#: What the ways are called, and what `study.ranking.WAYS` calls each reading of y.
WAYS = {"gradient × input": {"": "gradient_times_input"}, "corrected": {"": "corrected"}, "prior": {"": "prior"},
        **{method: {scale: f"{method}_{scale}" for scale in SCALES} for method in METHODS}}


def explore(run: Run, more: Mapping[str, Callable[[Measured], Explanation]] | None = None,
            count: int = 6) -> None:
    """Show `gathered`, with its still figure."""
    several = gathered(run, more, count)
    widgets.show(ways.explore(several), ways.figure(several),
                 "One picture: a column of bars for its Shapley values, and one for each of "
                 f"{', '.join(several.ways)}; a row for each part group, error and rank agreement above.")


def gathered(run: Run, more: Mapping[str, Callable[[Measured], Explanation]] | None = None,
             count: int = 6) -> ways.Several:
    """Explain the first `recognised` images by part groups in all `WAYS`, beside exact Shapley values.

    `more` explains the measured images in further ways, by filter.
    """
    head, (groups, names), (shown, background) = head_of(run), groups_of(run), asked(run, count)
    right = shapley(coalition_values(head, shown.x.to(home_of(head)), groups)).to(shown.x)
    found = {way: {scale: explained_in(run, name, head, shown, background)[0] for scale, name in readings.items()}
             for way, readings in WAYS.items()}
    found |= {way: {"": explain(shown)} for way, explain in (more or {}).items()}
    merged = {way: {scale: e.merge(groups, names).contributions[:, : len(names)]  # the rest is empty
                    for scale, e in readings.items()} for way, readings in found.items()}
    images = run.images("test").subset(recognised(run, count))
    return ways.Several(
        paper()["labels"][run.architecture], names, right, merged, shown.yhat, pictures_of(images, run.settings),
        [f"{run.category} {k + 1}" for k in range(len(images))], truth="Shapley values", reading="scaled",
        note=f"Preset {run.settings.preset}, explainers with seed 0; test images of a {run.category}, recognised "
        "ones if there are any. Error: the distance from the Shapley values over their size, both summed over "
        "groups; a line marks where they are. b and what is left over are in no bar. The literal reading takes y as "
        "it is; in the scaled one the contributions start as large as the scores vary.")
