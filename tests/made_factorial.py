"""A record of the factorial made by hand, with numbers that can be followed."""

from dataclasses import asdict

from semquant_book.study.factorial import DECISIVE, DEEPER, EVERY, SEEDS, Fit, Made
from semquant_book.study.hypotheses import REGIMES
from semquant_book.study.trials import HIGH_RATES, REGIME_FIELDS

#: What the prior loss adds to H / ln n, and to every other measure, by regime.
GAINS = dict(zip(REGIMES, ((0.2, -0.1), (-0.1, -0.2), (0.02, 0.02), (-0.05, 0.1))))
SHARES = {"none": 0, "measured": 1, "uniform": 0.75, "permuted": 0.5}
#: How large gains are, in parts of those, of an arm: a dog, a dog of the strong filter loss, a cat.
SIZES = (1, 0.5, 2)


def record(lost=()) -> dict:
    """Dogs and cats of AlexNet; the baseline has 0.6 of H / ln n and 0.5 of all else. A start of b at the mean adds
    a tenth to gains, seed k a hundredth times k; with a ResNet-18 they have the other sign. Fits in `lost` diverged."""
    performers = [asdict(made) | {
        "performer_seed": 0, "filter_loss": 0.1 if made.fading else 0.3, "accuracy": 0.99 - k / 100, "yhat_std": 5.0, "speaking": 0.5 + k / 10,
        "entropy shapley": 1 + k / 10, "groups": ["ear", "leg", "unassigned"][k == 1:], "filters": [3, 4, 5][k == 1:],
        "ways": {way: dict.fromkeys(("error shapley", "rescaled_error shapley", "entropy shapley"), value + k / 100)
                 for way, value in (("gradient_times_input", 0.02), ("prior", 0.45))}}
        for k, made in enumerate((Made("alexnet", "dog"), Made("alexnet", "dog", False), Made("alexnet", "cat")))]
    more = [Fit(*which, seed=seed) for seed in SEEDS for which in DECISIVE] + [Fit(*which, depth=DEEPER) for which in DECISIVE]
    names = [*asdict(EVERY[0]), "rate", "chosen", *REGIME_FIELDS, "seconds"]
    rows = []
    for k in range(3):
        for fit in EVERY + (more if k == 0 else []):
            tried = HIGH_RATES if fit == Fit(*REGIMES[0], "none") else (3e-5 if (fit.optimizer, fit.start) == REGIMES[0] else 1e-2,)
            for rate in tried:
                even, other = GAINS[fit.optimizer, fit.start]
                size = SHARES[fit.prior] * (SIZES[k] + (fit.bias == "mean") / 10 + fit.seed / 100) * (-1 if fit.depth != "small" else 1)
                row = dict.fromkeys(REGIME_FIELDS, 0.5 + other * size) | {"normalised_entropy": 0.6 + even * size}
                if (k, fit) in lost:
                    row = dict.fromkeys(REGIME_FIELDS)
                row |= asdict(fit) | {"rate": rate, "chosen": rate in (3e-5, 1e-2), "seconds": 1.0}
                rows.append([k, *(row[name] for name in names)])
    return {"performers": performers, "fits": rows, "columns": {"fits": ["performer", *names]},
            "planned": {"performers": 6, "fits": 236}}
