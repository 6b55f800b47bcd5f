"""What the page on the drawn faces shows: flips, rates and correlations beside CelebA's."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from sklearn.linear_model import LogisticRegression

from semquant_book import figures
from semquant_book.datasets.drawn import attributes, faces
from semquant_book.datasets.drawn.faces import Faces
from semquant_book.datasets.names import ATTRIBUTES, TARGETS, label
from semquant_book.figures import signed
from semquant_book.pages.findings import percent
from semquant_book.study.presets import project_root

__all__ = ["correlation_map", "differences", "flips", "given_away", "pairs", "rates", "sheet"]

#: Pairs of attributes that the page compares.
PAIRS = (("Heavy_Makeup", "Wearing_Lipstick"), ("Male", "Wearing_Lipstick"), ("Male", "Heavy_Makeup"),
         ("Attractive", "Heavy_Makeup"), ("Young", "Gray_Hair"))


def sheet(seed: int, count: int = 24, size: int = 192) -> Figure:
    """Draw the first test faces, finer than a run does."""
    return figures.sample_sheet(np.stack([faces.render(seed, "test", i, size=size) for i in range(count)]), columns=8)


def flips(seed: int, size: int = 128) -> Figure:
    """Draw for each attribute a new face that has it, where it is not too rare, and flip it."""
    shown: list[int] = []
    for k in range(len(ATTRIBUTES)):
        shown.append(next((i for i in range(60) if i not in shown
                           and faces.attributes_of(seed, "test", i)[k]), k))
    return figures.flipped_pairs(
        np.stack([faces.render(seed, "test", i, size=size) for i in shown]),
        np.stack([faces.render(seed, "test", i, size=size, flip=(name,)) for i, name in zip(shown, ATTRIBUTES)]),
        ATTRIBUTES, columns=5)


def rates(drawn: Faces) -> Figure:
    """Draw how often each attribute is there, beside CelebA's rates."""
    return figures.rate_dots(_rates(drawn), attributes.RATES)


def _rates(drawn: Faces) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, drawn.attributes.float().mean(dim=0).tolist()))


@lru_cache(maxsize=1)
def _published() -> np.ndarray:
    """CelebA's correlations (40, 40), recorded from its first 10,000 images; 0 on the diagonal."""
    known = json.loads((project_root() / "book" / "records" / "celeba-attributes.json").read_text(encoding="utf-8"))
    found = np.zeros((len(ATTRIBUTES), len(ATTRIBUTES)))
    for i, row in enumerate(known["correlations_below_diagonal"]):
        found[i, :i] = found[:i, i] = row
    return found


def _correlations(drawn: Faces) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # an attribute that a very small run has none of
        return np.nan_to_num(np.corrcoef(drawn.attributes.numpy().T.astype(float)))


def correlation_map(drawn: Faces) -> Figure:
    """Draw the correlations of all pairs of attributes, the drawings' above the diagonal."""
    return figures.correlation_maps(_correlations(drawn), _published(), ATTRIBUTES)


def differences(drawn: Faces) -> str:
    """Say how far rates and correlations are from CelebA's."""
    found = _rates(drawn)
    rate = {name: abs(found[name] - attributes.RATES[name]) for name in ATTRIBUTES}
    gap = np.abs(_correlations(drawn) - _published())[np.tril_indices(len(ATTRIBUTES), -1)]
    most = max(rate, key=rate.get)
    return (f"Rates differ from CelebA's by {np.mean([*rate.values()]):.3f} on average, at most "
            f"{rate[most]:.3f} ({label(most).lower()}); correlations by {gap.mean():.3f} on "
            f"average, at most {gap.max():.2f}.")


def pairs(drawn: Faces) -> Styler:
    """Return the correlations of a few pairs, the drawings' and CelebA's."""
    here, published, at = _correlations(drawn), _published(), ATTRIBUTES.index
    table = {f"{label(a)}, {label(b).lower()}": {"drawn": signed(here[at(a), at(b)]),
                                                 "CelebA": signed(published[at(a), at(b)])} for a, b in PAIRS}
    return pd.DataFrame(table).T.style.set_table_attributes('class="dataframe"').set_caption("Correlations")


def given_away(train: Faces, test: Faces) -> Styler:
    """Return how well the targets can be told from the other attributes as they were drawn.

    By logistic regression on the truth, not on scores: fitted on training faces, judged on test
    faces.
    """
    rows = {}
    local = [k for k, name in enumerate(ATTRIBUTES) if name not in TARGETS]
    for target in TARGETS:
        k = ATTRIBUTES.index(target)
        own, truth = train.attributes[:, k].numpy(), test.attributes[:, k].numpy()

        def right(among: list[int], own=own, truth=truth) -> str:
            fitted = LogisticRegression(max_iter=1000).fit(train.attributes[:, among].numpy(), own)
            return percent(fitted.score(test.attributes[:, among].numpy(), truth), 1)

        rows[label(target)] = {
            "always the likelier answer": percent(max(truth.mean(), 1 - truth.mean()), 1),
            f"from the {len(local)} local attributes": right(local),
            "from all 39 others": right([i for i in range(len(ATTRIBUTES)) if i != k])}
    return pd.DataFrame(rows).T.style.set_table_attributes('class="dataframe"').set_caption(
        "Right answers on test faces, from attributes as drawn")
