"""Speed and memory as ratios within one run: python benchmarks/ratios.py

Each line compares two ways to the same numbers, in turn, on this machine, and prints the median of
the ratio pair by pair. Seconds of one machine say little; ratios carry over.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from semquant.concepts import FilterConcepts, measure_batches
from semquant.distillation import distill_measured
from semquant.networks import performers
from semquant.networks.interpretable import templates
from semquant.training import cpu_threads


def ratio(slow, fast, pairs: int = 5) -> float:
    """Median of time(slow) / time(fast) over pairs run in turn, after one warm-up of each."""
    slow(), fast()
    found = []
    for _ in range(pairs):
        times = []
        for run in (slow, fast):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        found.append(times[0] / times[1])
    return statistics.median(found)


def main() -> None:
    """Print one line for each comparison."""
    cpu_threads(1)
    torch.manual_seed(0)
    net = performers.build("alexnet").eval()
    images = performers.normalise(torch.randint(0, 256, (256, 3, 64, 64), dtype=torch.uint8))
    concepts = FilterConcepts("mask")
    cached = measure_batches(concepts, net, images, 0)

    def fit(measured):
        distill_measured(measured, epochs=1, batch_size=128, device="cpu")

    print(f"an epoch of a small explainer, performer run anew / measured once: "
          f"{ratio(lambda: fit(measure_batches(concepts, net, images, 0)), lambda: fit(cached)):.1f}")

    computed = measure_batches(concepts, net, images, 0, x_to="recompute")
    print(f"the same epoch, x computed again / x in memory: "
          f"{ratio(lambda: fit(computed), lambda: fit(cached)):.1f}")
    with tempfile.TemporaryDirectory() as folder:
        mapped = measure_batches(concepts, net, images, 0, x_to=Path(folder) / "x")
        print(f"the same epoch, x in a mapped file / x in memory: "
              f"{ratio(lambda: fit(mapped), lambda: fit(cached)):.1f}")

    z = torch.randn(64, 128, 8, 8)
    table = templates(8).clamp(min=0)

    def dense():
        """The mask as a sum over all templates, one of them chosen by a one-hot weight."""
        where = torch.nn.functional.one_hot(z.flatten(2).argmax(2), 64).float()
        return z * torch.einsum("bnk,khw->bnhw", where, table)

    mask = performers.Mask(8)
    assert torch.equal(dense(), mask(z))
    print(f"the mask, one-hot sum over templates / row of a table: "
          f"{ratio(dense, lambda: mask(z)):.1f}")

    net.train()
    some, positive = images[:64], torch.arange(64) % 2 == 0

    def step(weight):
        performers.performer_loss(net, some, positive, 1, weight)["loss"].backward()

    print(f"a training step of AlexNet, with / without the filter loss: "
          f"{ratio(lambda: step(0.1), lambda: step(0.0)):.2f}")


if __name__ == "__main__":
    main()
