"""What the page on the paper preset shows: its settings and who says so, and the record of its rehearsal."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.display import HTML

from semquant_book.pages.comparison import paper
from semquant_book.pages.lists import worded
from semquant_book.study.presets import Settings, project_root
from semquant_book.study.rehearsal import Step, again_hours
from semquant_book.study.store import gigabytes, read_record

__all__ = ["MEANINGS", "hours_said", "maps_said", "maps_table", "networks_table", "recorded", "settings_table",
           "steps_of", "taken_said", "training_table"]

#: What keys of the preset mean, and who says so.
MEANINGS = {
    "categories": ("target categories", "the paper"),
    "size": ("pixels a side; AlexNet has 227", "the published networks"),
    "weights": ("what the layers below the inserted one begin with", "the paper's predecessor"),
    "recipe": ("SGD, momentum 0.9; rates fall tenfold over the first fifth of the epochs", "the predecessor's code"),
    "performer_epochs": ("passes over the training images", "the predecessor's code"),
    "performer_lr": ("times 30, 30, 10, 1 for AlexNet, VGG-M, VGG-S, VGG-16", "the predecessor's code"),
    "performer_batch": ("at most; 512, 196, 128, 32", "the predecessor's code"),
    "weight_decay": ("of SGD", "the predecessor's code"),
    "filter_loss": ("its weight in epoch 1, falling like 1/epoch", "the predecessor's code"),
    "dropout": ("in the fully-connected layers", "the published networks"),
    "photo_shares": ("training, validation, test", "the predecessor has 0.9 and 0.1; the validation part is ours"),
    "explainer": ("depth of g, a ResNet", "the paper"),
    "beta": ("in Experiment 1", "the paper"),
    "explainer_epochs": ("passes of g", "a reading"),
    "explainer_batch": ("images a step of g", "a reading"),
    "explainer_optimizers": ("of g; the second once for each performer, with y literal, where the paper's effect "
                             "appeared in the recorded regimes", "a reading"),
    "explainer_lr": ("AdamW's, falling as a cosine", "a reading"),
    "explainer_sgd_lr": ("SGD's, likewise; what is too much depends on how large y is", "a reading"),
    "explainer_bias_literal": ("where b starts with y literal", "a reading"),
    "explainer_bias_scaled": ("where b starts with y scaled: the smallest score", "a reading"),
    "explainer_seeds": ("explainers of each kind", "ours; the paper shows one"),
    "faces": ("official partition", "the paper"),
    "face_epochs": ("passes over CelebA", "a reading"),
    "face_lr": ("40 times the rate above, as the loss is a mean over 40 outputs", "a reading"),
    "attribute_beta": ("in Experiment 2", "the paper"),
    "attribute_epochs": ("passes of g", "a reading"),
    "shared": ("side of the ReLU on which the 4096-dimensional x of the prior is taken", "a reading"),
    "amp": ("mixed precision in training", "ours")}


def settings_table(settings: Settings) -> HTML:
    """Return the preset's settings that `MEANINGS` explains."""
    def words(value: object) -> object:
        return ", ".join(map(str, value)) if isinstance(value, tuple) else value

    return worded([{"key": key, "value": words(getattr(settings, key)), "meaning": what, "source": who}
                   for key, (what, who) in MEANINGS.items()])


def recorded() -> dict:
    """Return the record of a rehearsal that comes with the project; ``make paper-check`` makes another."""
    return read_record(project_root() / "book" / "records" / "paper-check.json")


def steps_of(record: dict) -> list[Step]:
    """Return the steps that a rehearsal took."""
    return [Step(**step) for step in record["steps"]]


def _name(step: Step) -> str:
    """E.g. AlexNet, or g of AlexNet."""
    whose = paper()["labels"][step.network.removeprefix("g (").removesuffix(")")]
    whose += " (faces)" if step.experiment == 2 else ""
    return f"g of {whose}" if step.network.startswith("g ") else whose


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def taken_said(record: dict) -> str:
    """Say on what the steps were taken."""
    on = "files of the real data" if record["photographs"] else "drawn specimens in the official formats"
    weights = "ImageNet" if record["weights"] == "imagenet" else "fresh"
    return (f"The steps below were taken on {on} with {weights} weights, on "
            f"{record['steps'][0]['images']} images each, on two cores in single precision. The "
            f"whole rehearsal took {record['seconds']:.0f} s and at most "
            f"{record['peak_memory_mb'] / 1000:.1f} GB of memory.")


def networks_table(steps: Sequence[Step]) -> HTML:
    """Return the shapes and parameters of every network, beside those of the published one."""
    return worded([{
        "network": _name(step), "input": _times(step.input), "x": _times(step.maps) if step.maps else "",
        "outputs": _times(step.output), "parameters": f"{step.parameters:,}",
        "published": f"{step.published:,}" if step.published else "none found",
        "built here": f"{step.counted:,}" if step.counted else ""} for step in steps], kind="narrow")


def training_table(steps: Sequence[Step], tflops: float) -> HTML:
    """Return what all training of every network takes, at so many sustained 10^12 operations a second."""
    return worded([{
        "network": _name(step), "GFLOP an image": f"{step.flops / 1e9:.1f}", "batch": step.batch,
        "memory of a step": gigabytes(step.step_memory), "images in all": f"{step.passes:,.0f}",
        "hours": f"{step.hours(tflops):.2f}"} for step in steps], kind="narrow")


def hours_said(steps: Sequence[Step], tflops: float) -> str:
    """Say what all training takes together."""
    return (f"Together {sum(step.hours(tflops) for step in steps):.1f} hours at {tflops:g} · 10¹² "
            "operations a second. That rate is assumed, not measured, and is too good for $g$, "
            "whose maps are small; reading data and measuring $x$, $y$ and $w$ once are not "
            "counted. Take it for a lower bound.")


def maps_table(record: dict) -> HTML:
    """Return the size of x of all images, by network."""
    labels = paper()["labels"]
    return worded([{"network": labels[where.split(",")[0]] + (" (faces)" if where.endswith("2") else ""),
                    "x of all images": gigabytes(size)} for where, size in record["maps"].items()], kind="narrow")


def maps_said(steps: Sequence[Step], tflops: float) -> str:
    """Say where x of all images is kept, and what it costs to compute it again."""
    again = sum(again_hours(steps, experiment, tflops) for experiment in (1, 2))
    return ("The performer doesn't change while it is explained, so $x$, $y$, $\\hat y$ and $w$ of "
            "each image are measured once. All but $x$ is small. With `cache: auto` $x$ is kept in "
            "memory if it takes at most half of what is free, else it is computed again in every "
            f"epoch, which for this preset would add {again:.0f} hours by the same count. `memory` "
            "or `recompute` choose one way; each job prints the size and the choice before it "
            "begins. CelebA's photographs themselves are decoded when they are needed, by "
            "`workers` processes, unless they fit into memory by the same rule.")
