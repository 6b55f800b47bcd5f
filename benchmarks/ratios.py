"""Speed and memory as ratios within one run: python benchmarks/ratios.py

Each line compares two ways to the same numbers, in turn, on this machine, and prints the median of
the ratio pair by pair. Seconds of one machine say little; ratios carry over.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import torch

from semquant.concepts import FilterConcepts, Measured
from semquant.distillation import distill_measured
from semquant.measure import measure
from semquant.networks import performers
from semquant.networks.interpretable import Mask, templates
from semquant.training import FitOptions, cpu_threads


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


MEMORY = """
import resource, sys, torch
from torch import nn
from semquant.concepts import FilterConcepts
from semquant.corrected import Correction
from semquant.distillation import FittedExplainer
from semquant.measure import measure

def images(count):
    return (torch.randn(64, 3, 32, 32) for _ in range(count // 64))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

concepts, count = FilterConcepts("2"), int(sys.argv[2])
net = nn.Sequential(nn.Conv2d(3, 256, 3, 2, 1), nn.ReLU(), nn.Identity(), nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(), nn.Linear(256, 5)).eval()
explainer = FittedExplainer(Correction(256, 8), model=net, concepts=concepts, target=0)
explainer.explain(images(64))
start = peak()
explainer.explain(images(count)) if sys.argv[1] == "explain" else measure(concepts, net, images(count), 0)
print((peak() - start) / (count * 256 * 16 * 16 * 4))
"""


def memory(what: str, count: int) -> float:
    """Peak memory of measuring or explaining a stream of images, beyond a batch, over their maps'."""
    done = subprocess.run([sys.executable, "-c", MEMORY, what, str(count)], capture_output=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print one line for each comparison."""
    cpu_threads(1)
    torch.manual_seed(0)
    net = performers.build("alexnet").eval()
    images = performers.normalise(torch.randint(0, 256, (256, 3, 64, 64), dtype=torch.uint8))
    concepts = FilterConcepts("mask")
    cached = measure(concepts, net, images, 0)
    epoch = FitOptions(epochs=1, batch_size=128, device="cpu")

    def fit(measured: Measured) -> None:
        distill_measured(measured, fit=epoch)

    print(f"an epoch of a small explainer, performer run anew / measured once: "
          f"{ratio(lambda: fit(measure(concepts, net, images, 0)), lambda: fit(cached)):.1f}")

    computed = measure(concepts, net, images, 0, keep_x=False)
    print(f"the same epoch, x computed again / x in memory: "
          f"{ratio(lambda: fit(computed), lambda: fit(cached)):.1f}")

    for what, count in (("measure", 2048), ("explain", 512), ("explain", 2048)):
        print(f"peak memory to {what} a stream of {count} images / their maps: {memory(what, count):.2f}")

    z = torch.randn(64, 128, 8, 8)
    table = templates(8).clamp(min=0)

    def dense():
        """The mask as a sum over all templates, one of them chosen by a one-hot weight."""
        where = torch.nn.functional.one_hot(z.flatten(2).argmax(2), 64).float()
        return z * torch.einsum("bnk,khw->bnhw", where, table)

    mask = Mask(8)
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
