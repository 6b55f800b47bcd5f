"""Small fits for live views, in tests and in notebooks that tests write."""

import time

import torch

from semquant.concepts import Measured
from semquant.explainers import ExplainerOptions
from semquant.rows import Rows
from semquant.training import FitOptions
from semquant_book.pages.live import Redistill

N = 6
SETTINGS = {"explainer": ExplainerOptions(bias="mean"),
            "fit": FitOptions(batch_size=8, learning_rate=0.01, device="cpu")}


class Slow(Rows):
    """Rows that take their time, so that there is something to stop."""

    def __init__(self, rows, seconds):
        self.rows, self.seconds, self.shape = rows, seconds, tuple(rows.shape)

    def _take(self, chosen):
        time.sleep(self.seconds)
        return self.rows[chosen]


def measured(count=48, seed=0, seconds=0.0):
    """Scores that 6 concepts explain, with weights that depend on the map."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, 8, 8, generator=generator)
    y = torch.rand(count, N, generator=generator)
    w = torch.rand(count, N, generator=generator)
    yhat = (y * w).sum(dim=1) + 0.1 * x.mean(dim=(1, 2, 3))
    return Measured(Slow(x, seconds) if seconds else x, y, yhat, w)


def slow(seconds=0.05, **more):
    """A view whose fits last: 6 batches an epoch."""
    return Redistill(measured(seconds=seconds), measured(20, 1), options=SETTINGS, **more)
