"""What an explanation costs, in forward passes of the network: python benchmarks/explaining.py

Each line is the median over pairs run in turn on this machine, on one thread. g's own cost is taken
off, since it is as large as one chooses; a correction's is in.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import LayerIntegratedGradients
from torch import nn
from torchvision.models import alexnet, mobilenet_v3_small, resnet18

from semquant import FilterConcepts, distill
from semquant.measure import measure
from semquant.peers import explain
from semquant.training import FitOptions, cpu_threads

NETWORKS = {"AlexNet": (alexnet, "features.10"), "ResNet-18": (resnet18, "layer4.1.conv2"),
            "MobileNetV3": (mobilenet_v3_small, "features.12.0")}


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratio(run: Callable[[], object], forward: Callable[[], object], less: Callable[[], object] = lambda: None,
          pairs: int = 7) -> float:
    """Median of (time(run) - time(less)) / time(forward) over calls in turn, after one of each."""
    run(), forward(), less()
    return statistics.median((seconds(run) - seconds(less)) / seconds(forward) for _ in range(pairs))


class _Pick(nn.Module):
    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs[:, 1]


def main() -> None:
    """Print one line for each network and way."""
    cpu_threads(1)
    warnings.simplefilter("ignore")
    for name, (build, layer) in NETWORKS.items():
        torch.manual_seed(0)
        model = build(weights=None, num_classes=10).eval()
        images = torch.randn(16, 3, 128, 128)

        def forward():
            with torch.no_grad():
                model(images)

        fit = FitOptions(epochs=1, device="cpu")
        corrected, ours = (distill(model, FilterConcepts(layer, rectified=True), images, 1, method=method, fit=fit)
                           for method in ("corrected", "paper"))
        measured = measure(ours.concepts, model, images, 1)
        print(f"{name}: explain, without g: {ratio(lambda: ours.explain(images), forward, lambda: ours.g.weigh(measured)):.2f}; "
              f"with a correction {ratio(lambda: corrected.explain(images), forward):.2f}", flush=True)
        few = images[:2]

        def some():
            with torch.no_grad():
                model(few)

        for module in model.modules():  # Captum's gradients don't pass a layer that works in place
            if isinstance(module, nn.ReLU | nn.Hardswish):
                module.inplace = False
        captums = LayerIntegratedGradients(model, model.get_submodule(layer))
        print(f"{name}: Captum's integrated gradients, 50 steps of the whole network: "
              f"{ratio(lambda: captums.attribute(few, target=1, n_steps=50), some, pairs=3):.0f}", flush=True)
        if name == "AlexNet":
            head = nn.Sequential(*model.features[11:], model.avgpool, nn.Flatten(), *model.classifier, _Pick()).eval()
            first = measure(ours.concepts, model, images[:1], 1)
            took = ratio(lambda: explain("shapley_sampling", head, first, samples=1),
                         lambda: model(images[:1]), pairs=1)
            print(f"{name}: Captum's Shapley sampling, 10 orders (one timed) of {first.y.shape[1]} filters, the layers after alone: "
                  f"{10 * took:.0f}", flush=True)


if __name__ == "__main__":
    main()
