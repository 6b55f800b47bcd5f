"""A record of the trial made by hand, with numbers that can be followed."""

from itertools import product

from semquant_book.study.hypotheses import REGIMES
from semquant_book.study.trials import HIGH_RATES, REGIME_FIELDS, WAY_FIELDS

NETWORKS = ("alexnet", "vgg_m")
#: What the prior loss adds, by regime: to H / ln n, and to every other measure.
GAINS = dict(zip(REGIMES, ((0.2, -0.1), (-0.1, -0.2), (0.0, 0.0), (-0.05, 0.1))))


def trial(categories=("bird", "cow", "dog"), diverged=()) -> dict:
    """Of AlexNet and VGG-M; in the k-th performer gains are 1 + k / 10 times `GAINS`. Fits of the
    performers, optimisers, starts and priors that are `diverged` have no measures."""
    fields = sorted({*REGIME_FIELDS, "optimizer", "start", "rate", "prior", "chosen"})
    ways = sorted({*WAY_FIELDS, "method"})
    performers = [{"architecture": a, "category": c, "performer_seed": 0, "accuracy": 0.9, "entropy shapley": 1 + k / 10}
                  for k, (c, a) in enumerate(product(categories, NETWORKS))]
    rows, explained = [], []
    for k, (which, (even, other)) in product(range(len(performers)), GAINS.items()):
        for rate, prior in product(HIGH_RATES if which == REGIMES[0] else (1e-2,), ("none", "measured", "permuted", "uniform")):
            chosen, more = rate in (3e-5, 1e-2), (prior != "none") * (1 + k / 10)
            if prior in ("permuted", "uniform") and which != REGIMES[0] or prior == "uniform" and not chosen:
                continue
            row = {name: 0.5 + other * more for name in REGIME_FIELDS} | {"normalised_entropy": 0.6 + even * more + (not chosen) / 10}
            if (k, *which, prior) in diverged:
                row = dict.fromkeys(REGIME_FIELDS)
            row |= dict(zip(("optimizer", "start"), which)) | {"rate": rate, "prior": prior, "chosen": chosen}
            rows.append([k, *(row[name] for name in fields)])
    for k, (j, method) in product(range(len(performers)), enumerate(("corrected", "gradient_times_input", "prior", "ridge"))):
        explained.append([k, *(method if name == "method" else (1 + j) * (0.1 + k / 100) for name in ways)])
    return {"performers": performers, "regimes": rows, "ways": explained, "planned": 72,
            "columns": {"regimes": ["performer", *fields], "ways": ["performer", *ways]}}
