"""Our numbers beside the paper's, and sentences that several pages share."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import yaml

from semquant_book import figures
from semquant_book.study.pictures import animals_of
from semquant_book.study.presets import Settings, project_root

__all__ = ["animals_shown", "beginning", "cells", "comparison", "paper", "paper_frame"]


def paper() -> dict:
    """Return the paper's numbers, ``book/paper.yml``."""
    return yaml.safe_load((project_root() / "book" / "paper.yml").read_text())


def paper_frame(table: str, *keys: str) -> pd.DataFrame:
    """Return a table of the paper, or the part of it that `keys` lead to.

    Parameters
    ----------
    table : str
        A name under ``tables`` in ``book/paper.yml``.
    *keys : str
        Where in its values to begin, e.g. ``"experiment_1"``.

    Returns
    -------
    DataFrame
        A row for each series (``ours``, ``baseline``, ``performer``), a column for each item.
    """
    values = paper()["tables"][table]["values"]
    for key in keys:
        values = values[key]
    return pd.DataFrame(values).T


def cells(frame: pd.DataFrame, value: str, *, rows: str = "method",
          columns: str = "architecture") -> pd.DataFrame:
    """Gather a metric's values over seeds in the cells of a table.

    Returns
    -------
    DataFrame
        A cell is the list of values of its row and column, as `figures.comparison_table` takes it.
    """
    found = frame.dropna(subset=[value]).groupby([rows, columns], sort=False)[value].agg(list)
    return found.unstack(columns).map(lambda v: v if isinstance(v, list) else [])


def comparison(frame: pd.DataFrame, metric: str, published: pd.DataFrame, *,
               rows: Sequence[str] = ("baseline", "ours"), columns: str = "architecture",
               digits: int = 3, caption: str | None = None):
    """Put a metric of the explainers beside the paper's numbers.

    Parameters
    ----------
    frame : DataFrame
        As `explainer_frame` returns it.
    metric : str
        One of its columns.
    published : DataFrame
        A row for each method, a column for each value of `columns`, as `paper_frame` returns it.
    rows : sequence of str
        The methods shown, in their order.
    columns : str
        The column of `frame` whose values become columns.
    digits : int
        Decimals.
    caption : str, optional
        Title of the table.

    Returns
    -------
    pandas Styler
        A row for each value of `columns`, a column for each method. Where the paper prints an average
        and all that it is of has been measured, it gets a row: the mean for each seed.
    """
    if "average" in published and set(published) <= {*frame[columns], "average"}:
        frame = pd.concat([frame, _averages(frame, metric, columns)])
    measured = cells(frame, metric, columns=columns)
    shown = [c for c in frame[columns].unique() if c in measured or c in published]
    labels = paper()["labels"]
    names = {"index": lambda r: labels.get(r, r), "columns": lambda c: labels.get(c, c)}
    return figures.comparison_table(
        measured.reindex(index=rows, columns=shown).rename(**names).T,
        published.reindex(index=rows, columns=shown).rename(**names).T,
        digits=digits, caption=caption,
    )


def _averages(frame: pd.DataFrame, metric: str, columns: str) -> pd.DataFrame:
    """Rows called "average": a metric's mean over the values of `columns`, where all are there."""
    seeds = [name for name in ("performer_seed", "seed") if name in frame]
    groups = frame.dropna(subset=[metric]).groupby(["method", *seeds], sort=False, dropna=False)
    each = groups[metric].agg(["mean", "count"]).reset_index().rename(columns={"mean": metric})
    return each[each["count"] == frame[columns].nunique()].assign(**{columns: "average"})


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
