"""A dry run of a preset: every network built, one training step of each, and what the whole would take.

On files in the real data's formats: those of a folder, or drawn specimens. It runs on the CPU in
single precision, whatever the preset says.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet152_Weights, VGG16_Weights

from semquant.checks import InputError, number
from semquant.concepts import Measured
from semquant.distillation import distill_measured
from semquant.explainers import Explainer, ExplainerOptions
from semquant.measure import measure
from semquant.networks import performers
from semquant.networks.performers import Performer
from semquant.training import FitOptions
from semquant_book.datasets import Images, celeba, pascal_part, specimens
from semquant_book.datasets.names import ATTRIBUTES
from semquant_book.folders import real
from semquant_book.study import animal_performers, experiment1, experiment2, face_performers, store
from semquant_book.study.performing import input_of, recipe_of, train_performer
from semquant_book.study.portraits import celeba_folders
from semquant_book.study.presets import Settings, build_root

__all__ = ["PUBLISHED", "Step", "again_hours", "rehearse", "report", "save"]

#: Parameters of the published networks, with their 1,000 outputs; of VGG-M and VGG-S no count is
#: published that we know of. AlexNet's is that of Caffe's model, with groups.
PUBLISHED = {
    "alexnet": 60_965_224,
    "vgg16": VGG16_Weights.IMAGENET1K_V1.meta["num_params"],
    "resnet152": ResNet152_Weights.IMAGENET1K_V1.meta["num_params"],
}
#: Images of the whole data sets. A category's positives are those of Zhang et al. (2018), who have
#: 1,000 negatives to each; CelebA's are its training, validation and test faces.
POSITIVES = {"bird": 388, "cat": 559, "cow": 194, "dog": 681, "horse": 293, "sheep": 263}
NEGATIVES = 1000
FACES = (162_770, 19_867, 19_962)
BATCH = 4  # images of the step here, half of them positive
STATE = {"one_cycle": 2, "predecessor": 1}  # numbers an optimiser keeps of each weight


@dataclass(kw_only=True)
class Step:
    """One training step of one network, and what all its training would take."""

    experiment: int
    network: str  # an architecture, or ``g (architecture)``
    input: list[int]  # shape for one image, as the next one
    output: list[int]
    parameters: int  # trained here
    seconds: float  # of the step on this machine, with `images` images
    flops: float  # floating-point operations of a training step, per image
    batch: int  # images a step of the preset
    #: Bytes of a step at that batch size: weights, gradients, the optimiser's state and what is
    #: kept for the backward pass, in single precision.
    step_memory: float
    passes: float  # images that all training of this network sees in the preset
    images: int = BATCH
    maps: list[int] | None = None  # shape of a performer's x
    published: int | None = None  # parameters of the published network
    counted: int | None = None  # ... and of the same network built here

    def hours(self, tflops: float) -> float:
        """Hours at so many sustained 10^12 operations a second."""
        return self.passes * self.flops / (tflops * 1e12) / 3600


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Count a step's operations, and the bytes kept for its backward pass."""
    kept: dict[int, int] = {}
    found: dict[str, float] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_of_conv})
    started = time.perf_counter()
    with counter, saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found
    found |= {"seconds": time.perf_counter() - started, "flops": counter.get_total_flops(),
              "kept": sum(kept.values())}


def _backward_of_conv(out: tuple, x: tuple, weight: tuple, *others, out_shape: tuple) -> int:
    """Operations of a convolution's backward pass; torch's own count is too high with groups."""
    wanted = others[-1]  # derivatives by the input, the weights, the biases
    forward = 2 * out[0] * math.prod(out[2:]) * math.prod(weight)
    return forward * (bool(wanted[0]) + bool(wanted[1]))


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _step(module: nn.Module, found: dict[str, float], images: int, batch: int, state: int,
          **about) -> Step:
    """Put together what was watched; `state`: numbers of the optimiser for each parameter."""
    parameters = _size(module)
    kept = max(0.0, found["kept"] - 4 * parameters)  # weights are kept for the backward pass too
    return Step(parameters=parameters, seconds=round(found["seconds"], 2), batch=batch,
                flops=found["flops"] / images, images=images,
                step_memory=4 * parameters * (2 + state) + kept / images * batch, **about)


def _performer_step(settings: Settings, experiment: int, architecture: str, net: Performer,
                    batch: int, found: dict[str, float], images: int, outputs: int,
                    passes: float) -> Step:
    return _step(
        net, found, images, batch, STATE[settings.recipe], experiment=experiment,
        network=architecture, input=[3, net.input_size, net.input_size], output=[outputs],
        maps=[net.n, net.map_size, net.map_size], passes=passes, **_published(architecture))


def _published(architecture: str) -> dict[str, int | None]:
    """The published network's parameters, and those of the same network built here."""
    with torch.device("meta"):
        net = performers.build(architecture, size=performers.PAPER_SIZE[architecture], width=1,
                               outputs=1000, batch_norm=False, interpretable=False)
    return dict(published=PUBLISHED.get(architecture), counted=_size(net))


def _explainer_step(settings: Settings, experiment: int, name: str, measured: Measured,
                    fit: dict, passes: float) -> Step:
    """Fit g to a few images for one step."""
    fit = fit | {"fit": replace(fit["fit"], epochs=1, batch_size=len(measured), seed=0)}
    batch = settings.explainer_batch if experiment == 1 else settings.attribute_batch
    with _watched() as found:
        fitted = distill_measured(measured, **fit)
    own = {}
    if settings.explainer == "152":
        with torch.device("meta"):  # torchvision's, from pictures to 1,000 classes
            own = dict(published=PUBLISHED["resnet152"], counted=_size(_whole_resnet()))
    return _step(fitted.g, found, len(measured), batch, 2, experiment=experiment,
                 network=f"g ({name})", input=list(measured.x.shape[1:]),
                 output=[measured.y.shape[1]], passes=passes, **own)


def _whole_resnet() -> nn.Module:
    """Our g on pictures, with the layers that it leaves out: the published ResNet-152."""
    g = Explainer(3, 1000, 224, ExplainerOptions(depth=152))
    return nn.ModuleList([g.body, nn.Linear(2048, 1000)])


def _animals(settings: Settings, folder: Path, architecture: str) -> Images:
    """A few training pictures of the first category, half of them positive."""
    index = pascal_part.scan(folder, settings.categories[0])
    few = [crop for wanted in (True, False)
           for crop in [c for c in index.crops if c.positive == wanted][: BATCH // 2]]
    return pascal_part.load(replace(index, crops=few), size=settings.pixels(architecture))


def _one_step(settings: Settings, images: int, rate: float) -> FitOptions:
    return FitOptions(epochs=1, batch_size=images, learning_rate=rate, device="cpu",
                      weight_decay=settings.weight_decay, channels_last=settings.channels_last)


def _rehearse_animals(settings: Settings, folder: Path, say: Callable[[str], None]) -> list[Step]:
    steps = []
    for architecture in settings.architectures:
        net = animal_performers.start(settings, architecture)
        images = _animals(settings, folder, architecture)
        batch, rate = recipe_of(settings, architecture, settings.performer_batch,
                                settings.performer_lr)
        with _watched() as found:
            train_performer(net, images.images, images.positive,
                            _one_step(settings, len(images), rate), recipe=settings.recipe,
                            filter_weight=settings.filter_loss)
        controls = 1 + (architecture in settings.control_without_filter_loss)
        share, fits = settings.photo_shares[0], len(store.explainer_runs(settings))
        # positives are repeated to three for each negative, see `pictures.balanced`
        shown = (4 if settings.recipe == "predecessor" else 2) * NEGATIVES * share
        passes = shown * len(settings.categories) * settings.performer_seeds
        steps.append(_performer_step(settings, 1, architecture, net, batch, found, len(images), 1,
                                     passes * controls * settings.performer_epochs))
        say(f"{architecture}: a step of {len(images)} images in {steps[-1].seconds:.1f} s")
        measured = measure(experiment1.CONCEPTS, net.eval(), images.images, 0,
                           prepare=input_of(net, settings.channels_last))
        distinct = sum(POSITIVES[c] + NEGATIVES for c in settings.categories) * share
        steps.append(_explainer_step(
            settings, 1, architecture, measured,
            experiment1.options(settings, scale=settings.scales[0]),
            distinct * settings.performer_seeds * fits * settings.explainer_epochs))
        say(f"{steps[-1].network}: a step of {len(images)} images in {steps[-1].seconds:.1f} s")
    return steps


def _rehearse_faces(settings: Settings, folder: Path, say: Callable[[str], None]) -> list[Step]:
    net = face_performers.start(settings)
    images = celeba.load(celeba_folders(folder)[0], "train", size=settings.face_size, count=BATCH,
                         decode=False)
    batch, rate = recipe_of(settings, "vgg16", settings.face_batch, settings.face_lr)
    with _watched() as found:
        options = _one_step(settings, len(images), rate)
        train_performer(net, images.images, images.attributes,
                        replace(options, workers=min(1, settings.workers)), recipe=settings.recipe)
    train = min(FACES[0], settings.face_train_images)
    performer = _performer_step(settings, 2, "vgg16", net, batch, found, len(images),
                                len(ATTRIBUTES),
                                train * settings.face_epochs * settings.performer_seeds)
    say(f"vgg16, 40 attributes: a step of {len(images)} images in {performer.seconds:.1f} s")
    outputs = experiment2.survey_of(net.eval(), images.images, settings)
    fits = (len(store.attribute_runs(settings))
            + len(settings.selection_sizes) * settings.selection_fits)
    explainer = _explainer_step(
        settings, 2, "vgg16", outputs.about(experiment2.target_index(settings.targets[0])),
        experiment2.options(settings),
        train * fits * len(settings.targets) * settings.performer_seeds * settings.attribute_epochs)
    say(f"{explainer.network}, 39 concepts: a step of {len(images)} images in "
        f"{explainer.seconds:.1f} s")
    return [performer, explainer]


def rehearse(settings: Settings, data: str | Path = "",
             say: Callable[[str], None] = lambda line: None) -> dict:
    """Run one training step of every network of both experiments, and return the record.

    It holds ``steps`` (of `Step`), ``maps`` (bytes of x of all images, by network), ``photographs``
    and ``weights``. `data` is a folder of real photographs; without it drawn specimens in the same
    formats are written to a temporary one. `say` is told what has been done. InputError for a
    preset of drawings, or a folder that can't be used.
    """
    if settings.images != "pascal_part" or settings.faces != "celeba":
        raise InputError(f"preset: {settings.preset} is one of drawings; accepted: one with images: "
                         "pascal_part and faces: celeba, such as paper")
    here = replace(settings, device="cpu", amp=False)
    with tempfile.TemporaryDirectory() as scratch, store.record(settings) as content:
        folder = Path(data)
        if not data:
            folder = Path(scratch)
            specimens.write_pascal_part(folder, settings.categories[0], photos=6, negatives=4)
            specimens.write_celeba(folder, train=6, val=2, test=2)
            say("no folder of photographs (DATA=...): drawn specimens in the same formats")
        given = data and bool(real(folder.rglob("imagenet-*.mat"), folder))
        if settings.weights == "imagenet" and not given:
            say("no ImageNet weights in the folder: fresh ones")
            here = replace(here, weights="fresh")
        content["photographs"], content["weights"] = bool(data), here.weights
        steps = _rehearse_animals(here, folder, say) + _rehearse_faces(here, folder, say)
        content["steps"] = [asdict(step) for step in steps]
        animals = sum(POSITIVES.values()) / len(POSITIVES) + NEGATIVES
        content["maps"] = {
            f"{s.network}, experiment {s.experiment}": 4 * s.maps[0] * s.maps[1] * s.maps[2]
            * (animals if s.experiment == 1 else sum(FACES)) for s in steps if s.maps}
    return content


def report(content: dict, settings: Settings, tflops: float) -> str:
    """Return a rehearsal's record as a table with totals, for 10^12 `tflops` operations a second."""
    number("tflops", tflops, 0.001)
    steps = [Step(**step) for step in content["steps"]]
    lines = [f"{'network':<18}{'input':>12}{'output':>9}{'parameters':>14}{'published / built':>27}"
             f"{'s here':>8}{'GFLOP':>8}{'batch':>7}{'memory':>10}{'hours':>8}"]
    for step in steps:
        own = "" if step.counted is None else f"{step.published or '-'} / {step.counted}"
        lines.append(
            f"{step.experiment} {step.network:<16}{'x'.join(map(str, step.input)):>12}"
            f"{'x'.join(map(str, step.output)):>9}{step.parameters:>14,}{own:>27}"
            f"{step.seconds:>8.1f}{step.flops / 1e9:>8.1f}{step.batch:>7}"
            f"{store.gigabytes(step.step_memory):>10}{step.hours(tflops):>8.1f}")
    hours = sum(step.hours(tflops) for step in steps)
    for name, size in content["maps"].items():
        lines.append(f"x of all images, {name}: {store.gigabytes(size)}")
    again = sum(again_hours(steps, experiment, tflops) for experiment in (1, 2))
    lines.append(f"all training: {hours:.1f} hours at {tflops:g} TFLOP/s sustained, which is assumed "
                 "and too good for g, whose maps are small")
    lines.append(f"computing x again in every epoch would add {again:.1f} hours")
    lines.append(f"this dry run: {content['seconds']:.0f} s, {content['peak_memory_mb'] / 1000:.1f} GB "
                 "of memory at its peak")
    return "\n".join(lines)


def again_hours(steps: list[Step], experiment: int, tflops: float) -> float:
    """Hours that computing x in every epoch of all explainers would take.

    A pass through the performer is a third of the operations of its training step.
    """
    own = [s for s in steps if s.experiment == experiment]
    flops = {s.network: s.flops for s in own if s.maps}
    return (sum(s.passes * flops[s.network[3:-1]] / 3 for s in own if not s.maps)
            / (tflops * 1e12) / 3600)


def save(content: dict) -> Path:
    """Write a rehearsal's record into the build folder."""
    return store.write_record(build_root() / "paper-check.json", content)
