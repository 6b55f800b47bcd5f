"""A record of the trial with known effects, made by hand."""

from itertools import product

from semquant_book.datasets.names import ARCHITECTURES
from semquant_book.study.trials import HIGH_RATES, REGIME_FIELDS, TRUTH_FIELDS, WAY_FIELDS, WAYS

CATEGORIES = ("bird", "cow", "horse")
HOME = ("sgd", "high")
REGIMES = (HOME, ("sgd", "fitting"), ("adamw", "high"), ("adamw", "fitting"))
EFFECTS = {
    "gains": (0.3, 0.0, 0.0, 0.0),  # of entropy by the prior loss, in the order of `REGIMES`
    "knowledge": -0.2,  # error with the measured prior minus with a permuted one
    "over_prior": 0.1,  # error of ours minus that of its prior
    "slope": 1,  # sign of the correlation of entropy with error over a performer's fits
    "rising": True,  # whether the error of gradient x input rises with the head's non-linearity
    "better": -0.05,  # error of the correction minus that of each of the three it is compared with
}


def record(categories=CATEGORIES, spread=0.001, diverged=(), **effects) -> dict:
    """A record of four networks for each category, and of a dog whose effects are 100 times the opposite.

    Each effect is less by `spread` in the first category and more by it in the last. Of the
    performers numbered in `diverged` all fits from SGD's high start diverged.
    """
    effects = EFFECTS | effects
    found = {"experiment": 1, "settings": {}, "seconds": 60, "planned": 72, "performers": [], "regimes": [], "ways": []}
    for k, (category, architecture) in enumerate([*product(categories, ARCHITECTURES), ("dog", "alexnet")]):
        factor = -100 if category == "dog" else 1
        change = 0 if category == "dog" else spread * (categories.index(category) - (len(categories) - 1) / 2)
        found["performers"].append({"architecture": architecture, "category": category, "performer_seed": 0,
                                    "accuracy": 0.99, "seconds": 5, **dict.fromkeys(TRUTH_FIELDS, 0.5),
                                    "nonlinearity": 0.001 * (k if effects["rising"] else 50 - k)})
        here = {name: factor * effects[name] + change for name in ("knowledge", "over_prior", "better")}
        gains = [factor * gain + change for gain in effects["gains"]]
        found["regimes"] += [[k, *row.values()] for row in _fits(gains, here, effects["slope"], k in diverged)]
        error = 0.3 + 0.01 * k
        errors = dict.fromkeys(WAYS, 0.6) | {"prior": 0.4, "corrected": error} | dict.fromkeys(
            ("gradient_times_input", "integrated_gradients", "ridge"), error - here["better"])
        found["ways"] += [[k, way, *(dict.fromkeys(WAY_FIELDS, 0.5) | {"rescaled_error shapley": errors[way]}).values()]
                          for way in WAYS]
    found["columns"] = {"regimes": ["performer", "optimizer", "start", "rate", "prior", "chosen", *REGIME_FIELDS],
                        "ways": ["performer", "method", *WAY_FIELDS]}
    return found


def _fits(gains, effects, slope, diverged):
    ours = 0.4 + effects["over_prior"]
    for which, gain in zip(REGIMES, gains):
        for rate in HIGH_RATES if which == HOME else (0.01,):
            chosen = rate == HIGH_RATES[1] or which != HOME
            for prior in ("none", "measured", "permuted")[:3 if chosen else 2]:
                row = {"optimizer": which[0], "start": which[1], "rate": rate, "prior": prior, "chosen": chosen}
                values = {"entropy": 3 + gain * (prior == "measured"),
                          "rescaled_error shapley": ours - effects["knowledge"] * (prior == "permuted")}
                if not chosen:  # far away, so that they alone order a performer's fits
                    far = 10 + 1000 * rate + 100 * (prior == "measured")
                    values = {"entropy": far, "rescaled_error shapley": slope * far}
                lost = diverged and which == HOME
                row["chosen"] = chosen and not lost
                yield row | (dict.fromkeys(REGIME_FIELDS) if lost else dict.fromkeys(REGIME_FIELDS, 0.5) | values)
