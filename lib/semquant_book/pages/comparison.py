"""Our numbers beside the paper's, and sentences that several pages share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd
import yaml
from IPython.display import HTML
from pandas.io.formats.style import Styler

from semquant_book import figures
from semquant_book.datasets.names import BIASES, METHODS, OPTIMIZERS
from semquant_book.study import tables
from semquant_book.study.pictures import animals_of
from semquant_book.study.presets import Settings, project_root
from semquant_book.study.replicates import LEAST, by_performer, estimate

__all__ = ["animals_shown", "beginning", "cells", "comparison", "entropy_table", "error_table", "fit_words",
           "fits_said", "paper", "paper_frame", "paper_normalised", "paper_of", "part_table", "per_category", "styled"]

#: What stands beside the explainers, in words.
REFERENCES = {"gradient_times_input": "gradient times input", "prior": "prior weights alone",
              "uniform": "equal weights"}
NO_INTERVAL = f"seeds of g averaged; fewer than {LEAST} performers in a cell, no interval"
INTERVAL = "seeds of g averaged; ± is half the 95% interval for the mean over performers"


@lru_cache
def paper() -> dict:
    """Return the paper's numbers, ``book/paper.yml``; read once, so not to be changed."""
    return yaml.safe_load((project_root() / "book" / "paper.yml").read_text(encoding="utf-8"))


def paper_frame(table: str, *keys: str) -> pd.DataFrame:
    """Return a table of ``book/paper.yml``, or the part of it that `keys` lead to.

    A row for each series (``ours``, ``baseline``, ``performer``), a column for each item.
    """
    values = paper()["tables"][table]["values"]
    for key in keys:
        values = values[key]
    return pd.DataFrame(values).T


def paper_normalised(table: str, *keys: str) -> pd.DataFrame:
    """Return a table of the paper's entropies as H / ln n, as `paper_frame` does in nats.

    In Experiment 1 n is the network's number of filters, in Experiment 2 that of the other
    attributes.
    """
    values, known = paper_frame(table, *keys), paper()["settings"]
    n = known["experiment_1"]["n"]
    network = next((n[key] for key in keys if key in n), None)
    logs = [math.log(network or n.get(column, known["experiment_2"]["n"])) for column in values]
    return values / logs


def paper_of(categories: Sequence[str]) -> pd.DataFrame:
    """Return Experiment 1's entropies in the paper as H / ln n, mean over some categories.

    Of all six it is Table 1, whose numbers are such means; of fewer, the supplement's, so that like
    stands beside like.
    """
    return pd.DataFrame({
        architecture: paper_normalised("supplement_entropy", architecture)[list(categories)].mean(axis=1)
        for architecture in paper()["settings"]["experiment_1"]["performers"]})


def cells(frame: pd.DataFrame, value: str, *, columns: str = "architecture") -> pd.DataFrame:
    """Gather a metric in a table whose cells list a mean over seeds of g for each performer."""
    found = {key: by_performer(group, value).tolist() for key, group in
             frame.dropna(subset=[value]).groupby(["method", columns], sort=False)}
    index = pd.MultiIndex.from_tuples(found, names=["method", columns])
    table = pd.Series(list(found.values()), index, dtype=object).unstack(columns)
    table = table.reindex(index=[r for r in frame.method.unique() if r in table.index],
                          columns=[c for c in frame[columns].unique() if c in table])
    return table.map(lambda v: v if isinstance(v, list) else [])


def comparison(frame: pd.DataFrame, metric: str, published: pd.DataFrame, *,
               rows: Sequence[str] = ("baseline", "ours"), columns: str = "architecture",
               digits: int = 3, caption: str | None = None):
    """Put a metric of the explainers beside `published` numbers as `paper_frame` has them.

    A row for each value of `columns`, a column for each method. Where the paper prints an
    average and all that it is of has been measured, it gets a row: the mean for each performer.
    The title says whether cells have an interval.
    """
    frame = _with_average(frame, metric, published, columns)
    measured = cells(frame, metric, columns=columns)
    shown = [c for c in frame[columns].unique() if c in measured or c in published]
    measured = measured.reindex(index=rows, columns=shown)
    return figures.comparison_table(
        _labelled(measured).T, _labelled(published.reindex(index=rows, columns=shown)).T,
        digits=digits, caption=_titled(caption, measured, frame))


def fit_words(optimizer: str, bias_start: str) -> str:
    """Say with what an explainer was fitted and where b started, in a few words."""
    return f"{OPTIMIZERS[optimizer]}, b from {BIASES[bias_start]}"


def fits_said(frame: pd.DataFrame) -> str:
    """Say the same of a table of explainers, by reading of y where it differs; of Experiment 2 nothing."""
    if "optimizer" not in frame:
        return ""
    how = {scale: fit_words(g.optimizer.iloc[0], g.bias_start.iloc[0])
           for scale, g in frame.groupby("scale", sort=False)}
    if len(set(how.values())) == 1:
        return next(iter(how.values()))
    return "; ".join(f"y {scale}: {words}" for scale, words in how.items())


def _with_average(frame: pd.DataFrame, metric: str, published: pd.DataFrame,
                  columns: str) -> pd.DataFrame:
    """Append rows called "average" where the paper has them, and all that they are of is there."""
    if "average" not in published or not set(published) <= {*frame[columns], "average"}:
        return frame
    seeds = [name for name in ("performer_seed", "seed") if name in frame]
    groups = frame.dropna(subset=[metric]).groupby(["method", *seeds], sort=False, dropna=False)
    each = groups[metric].agg(["mean", "count"]).reset_index().rename(columns={"mean": metric})
    whole = each[each["count"] == frame[columns].nunique()].assign(**{columns: "average"})
    return pd.concat([frame, whole])


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Name rows and columns as the paper prints them."""
    labels = paper()["labels"]
    return table.rename(index=lambda r: labels.get(r, r), columns=lambda c: labels.get(c, c))


def _titled(caption: str | None, measured: pd.DataFrame, frame: pd.DataFrame) -> str | None:
    """Add to a title how the explainers were fitted, and whether the cells have an interval."""
    most = max((len(v) for v in measured.to_numpy().ravel() if isinstance(v, list)), default=0)
    said = [*filter(None, [fits_said(frame)]), INTERVAL if most >= LEAST else NO_INTERVAL]
    return caption and f"{caption} ({'; '.join(said)})"


def entropy_table(frame: pd.DataFrame, table: str, *keys: str, columns: str = "architecture",
                  caption: str | None = None) -> Styler:
    """Put entropies of one reading beside the paper's, in nats and as H / ln n, since n differs.

    A row for each value of `columns`; `table` and `keys` say where the paper's are, as in
    `paper_frame`.
    """
    labels, found, said = paper()["labels"], {}, {}
    for metric, published in (("entropy", paper_frame(table, *keys)),
                              ("normalised_entropy", paper_normalised(table, *keys))):
        measured = cells(_with_average(frame, metric, published, columns), metric, columns=columns)
        found[metric] = measured, published
    rows = list(found["entropy"][0])
    for method in ("baseline", "ours"):
        for metric, unit, digits in (("entropy", "H", 3), ("normalised_entropy", "H / ln n", 2)):
            measured, published = found[metric]
            mine = [measured.get(row, {}).get(method, []) for row in rows]
            said[labels[method], f"{unit}, this run"] = [
                figures.with_interval(estimate(v), digits) if v else "\N{EM DASH}" for v in mine]
            said[labels[method], f"{unit}, paper"] = [
                figures.signed(published.at[method, row], digits) if row in published else "\N{EM DASH}"
                for row in rows]
    return styled(pd.DataFrame(said, index=[labels.get(r, r) for r in rows]),
                   _titled(caption, found["entropy"][0], frame))


def styled(table: pd.DataFrame, caption: str | None, sentences: bool = False) -> Styler:
    """Return a table of numbers as pages show it, with its title. With `sentences` its rows begin with
    such, and cells may be wrapped."""
    style = table.style.set_table_attributes(f'class="dataframe{" sentences" * sentences}"')
    style = style.set_properties(**{"text-align": "right"} | ({} if sentences else {"white-space": "nowrap"}))
    return style.set_caption(caption) if caption else style


def error_table(explainers: pd.DataFrame, references: pd.DataFrame, *,
                caption: str | None = None) -> Styler:
    """Put the paper's error of part contributions beside that of rescaled shares.

    Of one category: ours and the baseline in each reading of y, what needs no explainer, and
    the paper's two, which have no error of shares; from the smallest error of shares to the
    largest.
    """
    labels = paper()["labels"]
    groups = {f"{labels[method]}, y {scale}": g
              for (scale, method), g in explainers.groupby(["scale", "method"], sort=False)}
    groups |= {REFERENCES[method]: g for method, g in references.groupby("method", sort=False)}
    names = {"error average": "the paper's error", "error_of_shares average": "error of shares"}
    means = pd.DataFrame({words: {name: estimate(by_performer(g, metric)) for name, g in groups.items()}
                          for metric, words in names.items()})
    means = means.loc[means["error of shares"].map(lambda e: e.value).sort_values().index]
    most = pd.DataFrame({"performers": [list(e.values) for e in means["error of shares"]]})
    table = means.map(lambda e: figures.with_interval(e) if e.values else "\N{EM DASH}")
    printed = paper_frame("table_3").average
    for method in METHODS:
        table.loc[f"{labels[method]} in the paper, its dogs"] = [f"{printed[method]:.3f}", "\N{EM DASH}"]
    title = _titled(caption, most, explainers)
    if title and len(references):
        title += (". In the paper's error what needs no explainer has one factor for all images, fitted "
                  "to the scores")
    return styled(table, title)


def part_table(frame: pd.DataFrame, *, published: bool = True, caption: str | None = None) -> Styler:
    """Put the errors of Table 3's parts, of one category and reading, beside the paper's, of dogs."""
    parts = [*tables.TABLE_3_PARTS, "average"]
    measured = pd.DataFrame({
        method: [by_performer(frame[frame.method == method], f"error {part}").tolist()
                 for part in parts] for method in ("baseline", "ours")}, index=parts)
    theirs = paper_frame("table_3").T[["baseline", "ours"]] * (1 if published else float("nan"))
    return figures.comparison_table(_labelled(measured), _labelled(theirs),
                                    caption=_titled(caption, measured, frame))


def per_category(frame: pd.DataFrame, metric: str, table: str, *, factor: float = 1.0,
                 digits: int = 3, caption: str = "") -> HTML:
    """Show a supplementary table of one reading: what was run; the paper's others on demand."""
    labels, methods = paper()["labels"], ["baseline", "ours"]
    measured, published, others = {}, {}, {}
    for (architecture, category), g in frame.assign(value=factor * frame[metric]).groupby(
            ["architecture", "category"], sort=False):
        row = f"{labels[architecture]}, {category}"
        measured[row] = {m: by_performer(g[g.method == m], "value").tolist() for m in methods}
        published[row] = paper_frame(table, architecture).loc[methods].get(category)
    for architecture in frame.architecture.unique():
        printed = paper_frame(table, architecture).loc[methods]
        rest = printed.drop(columns=[*frame.category.unique(), "average"], errors="ignore")
        others |= {f"{labels[architecture]}, {labels[m].lower()}": row for m, row in rest.iterrows()}
    measured = pd.DataFrame(measured).T
    run = figures.comparison_table(_labelled(measured), _labelled(pd.DataFrame(published).T),
                                   digits=digits, caption=_titled(caption, measured, frame))
    rest = pd.DataFrame(others).T
    if rest.empty:
        return HTML(run.to_html())
    rest = styled(rest.map(lambda v: figures.signed(v, digits)), None)
    return HTML(f"{run.to_html()}<details><summary>The paper's numbers of the categories that were "
                f"not run here</summary>{rest.to_html()}</details>")


def beginning(settings: Settings) -> str:
    """Return how the performers were trained, as pages say it."""
    return ("trained from scratch" if settings.weights == "fresh"
            else "begun with ImageNet weights and trained")


def animals_shown(settings: Settings, category: str, split: str, architecture: str = "") -> str:
    """Return what the images of a split are, as pages say it."""
    side = f"{settings.pixels(architecture)}x{settings.pixels(architecture)}"
    if settings.images == "drawn":
        count = getattr(settings, f"{split}_images")
        return f"{count:,} drawn images of {side} pixels, half of them a {category}"
    found = animals_of(settings, category, split, architecture)
    return (f"{len(found):,} photographs of {side} pixels, {int(found.positive.sum()):,} of them "
            f"crops of a {category}")
