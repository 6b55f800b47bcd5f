"""Experiment 2's jobs: one network with 40 face attributes, and what explains four of them.

As in `experiment1`, a job is a pair: ``performer(...)`` gives the thing itself, from the store where
it is there; ``make_performer(...)`` is what the workflow runs, and returns a line that says what came
out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant import metrics, priors, rows
from semquant.networks import performers
from semquant_book.study import store
from semquant.checks import InputError, number, one_of
from semquant.concepts import Measured, OutputConcepts, Outputs, survey_batches
from semquant_book.datasets import celeba
from semquant_book.datasets.drawn import faces
from semquant_book.datasets.drawn.faces import Faces
from semquant.distillation import FittedExplainer, distill_measured
from semquant_book.study.evaluation import evaluate_attribute
from semquant.explanation import Explanation
from semquant.files import load_or_make, read_checked, write_checked
from semquant_book.study.jobs import at_once, begin, kept_performer, recipe_of
from semquant.networks.performers import Performer
from semquant_book.study.presets import SPLITS, Settings, build_root, data_root, hardware
from semquant_book.study.store import read_record, record, record_of, tensor_digest, write_record
from semquant.training import (
    choose_device, cpu_threads, preparation, seed_everything, train_performer,
)
from semquant_book.datasets.names import ATTRIBUTES

__all__ = [
    "celeba_folders",
    "change",
    "change_of_score",
    "concepts_of",
    "data",
    "explain",
    "explainer",
    "explainer_record",
    "explainer_settings",
    "flips",
    "make_data",
    "make_explainers",
    "make_flips",
    "make_performer",
    "make_surveys",
    "measured",
    "performer",
    "performer_record",
    "photographs",
    "portraits",
    "scores",
    "start",
    "survey",
    "survey_of",
    "target_index",
]

#: The shared feature x has d numbers: the first FC layer's output, before or after its ReLU.
CONCEPTS = {side: OutputConcepts(layer, "mask", list(ATTRIBUTES))
            for side, layer in (("before", "head.3"), ("after", "head.4"))}
#: Standard deviation of the initial weights of g's last layer.
LAST_STD = {"near_zero": 1e-3, "default": None}


def target_index(target: str) -> int:
    """Return the position of a target among the 40 outputs.

    Raises
    ------
    InputError
        For an attribute that there is not.
    """
    return ATTRIBUTES.index(one_of("target", target, ATTRIBUTES))


def concepts_of(target: str, concepts: int | list[str] | None = None, seed: int = 0) -> list[int]:
    """Return which outputs explain a target.

    Parameters
    ----------
    target : str
        An attribute.
    concepts : int or list of str, optional
        So many of the others, drawn at random; or these; all 39 by default.
    seed : int
        Of the draw. A larger number of concepts contains those of a smaller one.

    Returns
    -------
    list of int
        Positions among the 40 outputs, in CelebA's order.

    Raises
    ------
    InputError
        For an attribute that there is not, the target among its own concepts, or more concepts than
        there are.
    """
    own = target_index(target)
    others = [i for i in range(len(ATTRIBUTES)) if i != own]
    if concepts is None:
        return others
    if isinstance(concepts, int):
        number(f"concepts of {target}", concepts, 1, len(others), integer=True)
        generator = torch.Generator().manual_seed(1000 * own + seed)  # each target has its own
        drawn = torch.randperm(len(others), generator=generator)
        return sorted(others[i] for i in drawn[:concepts].tolist())
    found = {target_index(name) for name in concepts}
    if own in found:
        raise InputError(f"concepts: {target} is the target itself; accepted: the other 39")
    if not found or len(found) < len(concepts):
        raise InputError(f"concepts: {', '.join(concepts) or 'none'}: accepted are one or more "
                         "attributes, each once")
    return sorted(found)


# --- data ---------------------------------------------------------------------------------------


def data(settings: Settings, split: str) -> Faces:
    """Return a split of the faces: drawn ones, or CelebA's official one."""
    count = getattr(settings, f"face_{split}_images")
    if settings.faces == "celeba":
        return _photographs(data_root(), split, settings.face_size, count, settings.data_seed,
                            settings.cache)
    return faces.load(split, count, size=settings.face_size, seed=settings.data_seed,
                      root=build_root() / "data" / "faces")


def celeba_folders(root: Path) -> list[Path]:
    """Return the folders of CelebA's images in the folder of real data.

    These are ``celeba`` and any other whose name begins so (copies of more images, perhaps
    smaller), or the folder itself.
    """
    inner = sorted(path for path in root.glob("celeba*") if path.is_dir())
    return inner or [root]


@lru_cache(maxsize=len(SPLITS))
def _photographs(root: Path, split: str, size: int, count: int, seed: int, cache: str) -> Faces:
    """A split of all CelebA folders together, at most `count` faces; an image is taken once.

    They are decoded once, if all splits' images take no more memory than the rule for x allows, or
    each time they are needed.
    """
    indices = [_scanned(folder) for folder in celeba_folders(root)]
    images = sum(sum(index.present.values()) for index in indices)
    folder, found = build_root() / "data" / "celeba", []
    decode = rows.choose(cache, 3 * size**2 * images, folder) == "memory"
    for index in indices:
        if index.files[split]:
            found.append(celeba.load(index, split, size=size, cache=folder, decode=decode))
    if not found:
        raise InputError(f"data: {root} has no CelebA image of the split {split}")
    whole = celeba.join(*found)
    if len(whole) <= count:
        return whole
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    return whole.subset(order[:count].sort().values)


@lru_cache(maxsize=4)
def _scanned(folder: Path) -> celeba.Index:
    return celeba.scan(folder)


def portraits(settings: Settings, chosen: Sequence[int], size: int = 192) -> np.ndarray:
    """Return chosen test faces finer than the network sees them: (k, size, size, 3) uint8."""
    if settings.faces == "celeba":
        ids = data(settings, "test").ids
        return photographs([ids[int(i)] for i in chosen], size)
    return np.stack([faces.render(settings.data_seed, "test", int(i), size) for i in chosen])


def photographs(ids: Sequence[str], size: int = 192) -> np.ndarray:
    """Return photographs from the folder of real data by their names: (k, size, size, 3) uint8."""
    folders = celeba_folders(data_root())
    found = [next((path for folder in folders
                   for path in (folder / "img_align_celeba" / name,) if path.is_file()), None)
             for name in ids]
    missing = [name for name, path in zip(ids, found) if path is None]
    if missing:
        raise InputError(f"data: {len(missing)} of {len(ids)} photographs are not in {data_root()}: "
                         f"{', '.join(missing[:3])}")
    shown, problems = [], []
    for path in found:
        try:
            shown.append(celeba.square(path, size))
        except InputError as error:
            problems.append(f"{path} ({error})")
    if problems:
        raise InputError(f"data: {len(problems)} photographs can't be used: "
                         f"{', '.join(problems[:3])}{', ...' if len(problems) > 3 else ''}")
    return np.stack(shown)


def make_data(settings: Settings) -> str:
    """Draw or decode all splits of the faces, and write their record."""
    with record(settings) as about:
        for split in SPLITS:
            drawn = data(settings, split)
            about["metrics"][split] = {
                "images": len(drawn),
                "rates": dict(zip(ATTRIBUTES, drawn.attributes.float().mean(dim=0).tolist())),
                "sha256": (celeba.digest if isinstance(drawn.images, rows.Decoded)
                           else tensor_digest)(drawn.images),
            }
        if settings.faces == "celeba":  # and what was left out
            about["found"] = {folder.name: str(_scanned(folder))
                              for folder in celeba_folders(data_root())}
    write_record(store.faces_record(settings), about)
    said = f"faces: {sum(m['images'] for m in about['metrics'].values())} images " \
           f"in {about['seconds']:.0f} s"
    return "; ".join([said, *(f"{k}: {v}" for k, v in about.get("found", {}).items())])


# --- performer ----------------------------------------------------------------------------------


def performer(settings: Settings, seed: int = 0) -> Performer:
    """Return VGG-16 with 40 outputs, trained, on the settings' device and in evaluation mode.

    Parameters
    ----------
    settings : Settings
    seed : int
        Seed of its weights and of the order of its batches.
    """
    cpu_threads(settings.threads)
    seed_everything("performer", "faces", seed)
    net = start(settings)
    batch, rate = recipe_of(settings, "vgg16", settings.face_batch, settings.face_lr)

    def train(**kept) -> list[dict[str, float]]:
        shown = data(settings, "train")
        return train_performer(
            net, shown.images, shown.attributes, epochs=settings.face_epochs, batch_size=batch,
            learning_rate=rate, weight_decay=settings.weight_decay, recipe=settings.recipe,
            workers=settings.workers, seed=seed, **kept, **hardware(settings),
        )

    return kept_performer(net, store.face_performer_path(settings, seed), settings, train,
                          lambda: _judge_performer(net, settings), __name__, architecture="vgg16",
                          seed=seed)


def start(settings: Settings) -> Performer:
    """Return the untrained performer: fresh, or with ImageNet weights but for its last layer."""
    return begin(performers.build(
        "vgg16", size=settings.face_size, width=settings.face_width, outputs=len(ATTRIBUTES),
        batch_norm=settings.batch_norm, dropout=settings.dropout, interpretable=False,
        fc=settings.face_fc,
    ), "vgg16", settings, fc=True)


@torch.inference_mode()
def scores(net: Performer, images: Tensor | rows.Rows, settings: Settings) -> Tensor:
    """Return the 40 logits of images (B, 3, S, S) uint8: (B, 40), on the CPU."""
    device, prepare = choose_device(settings.device), preparation(net, settings.channels_last)
    return torch.cat([net(prepare(batch.to(device))).cpu()
                      for batch in images.split(at_once(net.input_size, 256))])


def _judge_performer(net: Performer, settings: Settings) -> dict:
    """Accuracy and balanced accuracy of each attribute on the test faces."""
    test = data(settings, "test")
    found = scores(net.eval(), test.images, settings) > 0
    right = found == test.attributes
    there = test.attributes
    balanced = [metrics.balanced_accuracy(found[:, k], there[:, k]) for k in range(len(ATTRIBUTES))]
    return {
        "accuracy": dict(zip(ATTRIBUTES, right.float().mean(dim=0).tolist())),
        "balanced_accuracy": dict(zip(ATTRIBUTES, balanced)),
        "rate": dict(zip(ATTRIBUTES, there.float().mean(dim=0).tolist())),
        "test_images": len(test),
    }


def performer_record(settings: Settings, seed: int = 0) -> dict:
    """Return the record of a trained performer."""
    return read_record(record_of(store.face_performer_path(settings, seed)))


def make_performer(settings: Settings, seed: int = 0) -> str:
    """Train the performer, and say what came out."""
    performer(settings, seed)
    about = performer_record(settings, seed)
    accuracy = about["metrics"]["accuracy"]
    balanced = [b for b in about["metrics"]["balanced_accuracy"].values() if b is not None]
    mean = sum(accuracy.values()) / len(accuracy)
    return (f"40 attributes, seed {seed}: mean accuracy {mean:.1%}, balanced accuracy of at least "
            f"0.6 for {sum(b >= 0.6 for b in balanced)}, in {about['seconds']:.0f} s")


# --- what the explainers are fitted to ----------------------------------------------------------


def survey(settings: Settings, split: str, seed: int = 0) -> Outputs:
    """Return x, all scores and what the priors of all targets need, of a split; from one pass."""
    return _survey(store.survey_path(settings, seed, split), settings, split, seed)


def survey_of(net: Performer, images: Tensor | rows.Rows, settings: Settings,
              x_to: str | Path = "memory") -> Outputs:
    """Survey images (N, 3, S, S) uint8; for `x_to` see `semquant.concepts.measure_batches`."""
    return survey_batches(
        CONCEPTS[settings.shared], net, images, batch_size=at_once(net.input_size, 128),
        prepare=preparation(net, settings.channels_last), device=choose_device(settings.device),
        x_to=x_to)


@lru_cache(maxsize=len(SPLITS))
def _survey(path: Path, settings: Settings, split: str, seed: int) -> Outputs:
    """The scores and products are in one file; x is there as well, or beside, or nowhere."""
    maps = path.with_suffix(".x")

    def take(x_to: str | Path) -> Outputs:
        return survey_of(performer(settings, seed), data(settings, split).images, settings, x_to)

    def make() -> dict[str, Tensor]:
        where = _place_of_maps(settings, seed)
        if where == "disk":
            for part in maps.parent.glob(f".{maps.name}.*.part"):  # of a job that was killed
                part.unlink(missing_ok=True)
            taken: list[Outputs] = []
            write_checked(maps, lambda beside: taken.append(take(beside)))
            found = taken[0]
        else:
            found = take(where)
        kept = {"scores": found.scores, "products": found.products}
        if where == "memory":
            return kept | {"x": found.x.contiguous()}
        return kept | {"shape": torch.tensor(found.x.shape),
                       "on_disk": torch.tensor(where == "disk")}

    kept = load_or_make(path, load_file, make, save_file)
    if "x" in kept:
        return Outputs(kept["x"], kept["scores"], kept["products"])
    shape = kept["shape"].tolist()
    if not kept["on_disk"]:
        net = performer(settings, seed)
        prepare = preparation(net, settings.channels_last)
        x = rows.Computed(data(settings, split).images, lambda batch: net.maps(prepare(batch))[1],
                          shape, choose_device(settings.device))
        return Outputs(x, kept["scores"], kept["products"])
    x = read_checked(maps, lambda file: rows.Mapped(file, shape))
    if x is None:  # it was damaged
        path.unlink()
        return _survey.__wrapped__(path, settings, split, seed)
    return Outputs(x, kept["scores"], kept["products"])


def _place_of_maps(settings: Settings, seed: int) -> str:
    """Decide where x of all faces goes, the same for all splits, and say so."""
    net = start(replace(settings, weights="fresh"))
    count = sum(len(data(settings, split)) for split in SPLITS)
    size = 4 * count * (net.n * net.map_size**2 + len(ATTRIBUTES) * (1 + len(ATTRIBUTES)))
    folder = store.survey_path(settings, seed, "train").parent
    return _chosen(settings.cache, f"x, scores and products of {count:,} faces", size, folder)


@lru_cache  # decided and told once for all splits: what is free changes as files are written
def _chosen(cache: str, what: str, size: int, folder: Path) -> str:
    where = rows.choose(cache, size, folder)
    if cache == "auto" and where == "memory" and size > rows.DISK_SHARE * rows.free_disk(folder):
        where = "recompute"  # what is in memory is kept in the store as well
    print(f"semquant: {rows.describe(what, size, where, folder)}", file=sys.stderr, flush=True)
    return where


def make_surveys(settings: Settings, seed: int = 0) -> str:
    """Survey all splits."""
    count = sum(len(survey(settings, split, seed).scores) for split in SPLITS)
    return f"surveyed {count} faces"


def change(outputs: Outputs, target: str, control: str = "none", among: list[int] | None = None,
           centre: Tensor | None = None, seed: int = 0) -> Measured:
    """Return the measurements of one target, as they are or spoilt in a controlled way.

    Parameters
    ----------
    outputs : Outputs
    target : str
    control : {"none", "shuffled", "constant", "permuted", "centred"}
        ``"shuffled"``: each image gets the y of another one. ``"constant"``: a single concept that
        is 1 in every image, without prior. ``"permuted"``: each concept gets another one's prior
        weights. ``"centred"``: y minus its mean over the images, or minus `centre`.
    among : list of int, optional
        Which outputs are the concepts, see `concepts_of`.
    centre : Tensor (n,), optional
        For ``"centred"``: the training images' mean.
    seed : int
        Of the shuffling and the permutation.
    """
    one_of("control", control, ("none", *store.CONTROLS))
    found = outputs.about(target_index(target), among)
    if control == "shuffled":
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
        found.y = found.y[order]
    elif control == "constant":
        found.y, found.w = torch.ones_like(found.yhat)[:, None], None
    elif control == "permuted":
        found.w = priors.control("permuted", found.w, seed)
    elif control == "centred":
        found.y = found.y - (found.y.mean(dim=0) if centre is None else centre)
    return found


# --- explainers ---------------------------------------------------------------------------------


def explainer_settings(settings: Settings, method: str, last_layer: str) -> dict:
    """Return the arguments of `distill_measured` that a method means.

    alpha may have any sign, y is taken as it is, b starts at the mean score.
    """
    depth = settings.explainer if settings.explainer == "small" else int(settings.explainer)
    return dict(
        prior="none" if method in ("baseline", "constant") else "measured",
        loss="l2",
        positive=False,
        beta=settings.attribute_beta,
        epochs=settings.attribute_epochs,
        batch_size=settings.attribute_batch,
        learning_rate=settings.attribute_lr,
        depth=depth,
        scale="literal",
        bias="mean",
        bias_rate=1.0,
        last_std=LAST_STD[last_layer],
        divide_by_variance=method == "relative",
        workers=settings.workers,
        **hardware(settings),
    )


def measured(settings: Settings, target: str, split: str, method: str = "ours",
             performer_seed: int = 0, seed: int = 0) -> Measured:
    """Return the measurements of a split that a method's explainer is fitted to, or explains.

    A control's explainer is judged on concepts that are spoilt as in its training.
    """
    control = method if method in store.CONTROLS else "none"
    centre = None
    if control == "centred":
        centre = survey(settings, "train", performer_seed).about(target_index(target)).y.mean(dim=0)
    return change(survey(settings, split, performer_seed), target, control, centre=centre, seed=seed)


def explainer(settings: Settings, target: str, performer_seed: int = 0, method: str = "ours",
              last_layer: str | None = None, seed: int = 0) -> FittedExplainer:
    """Return a fitted explainer of one attribute.

    Parameters
    ----------
    settings : Settings
    target : str
        The attribute.
    performer_seed : int
        Which performer.
    method : str
        ``"ours"``, ``"baseline"``, ``"relative"`` (ours, with the distillation loss divided by the
        scores' variance), or a control, see `change`.
    last_layer : {"near_zero", "default"}, optional
        How g's last layer starts; the settings' first by default.
    seed : int
        Seed of g's weights, of the order of its batches, and of a control.
    """
    last_layer = settings.last_layers[0] if last_layer is None else last_layer
    path = store.attribute_path(settings, target, performer_seed, method, last_layer, seed)

    def make() -> FittedExplainer:
        cpu_threads(settings.threads)
        train = measured(settings, target, "train", method, performer_seed, seed)
        names = [ATTRIBUTES[i] for i in concepts_of(target)] if train.y.shape[1] > 1 else ["one"]
        about = dict(target=target, performer_seed=performer_seed, method=method,
                     last_layer=last_layer, seed=seed)
        with record(settings, **about) as content:
            fitted = distill_measured(train, seed=seed, names=names,
                                      **explainer_settings(settings, method, last_layer))
            content["history"] = fitted.history
            content["metrics"] = _judge(settings, fitted, target, method, performer_seed, seed)
        write_record(record_of(path), content)
        return fitted

    return load_or_make(path, FittedExplainer.load, make, FittedExplainer.save)


def _judge(settings: Settings, fitted: FittedExplainer, target: str, method: str,
           performer_seed: int, seed: int) -> dict:
    """Compute the metrics of one explainer on the test faces."""
    said, truth = [], []
    for split in ("test", "val"):
        said.append(fitted.explain_measured(
            measured(settings, target, split, method, performer_seed, seed)))
        truth.append(data(settings, split).attributes[:, target_index(target)])
    found = evaluate_attribute(said[0], truth[0], said[1], truth[1])
    if method != "constant" and settings.faces == "drawn":
        drops = change_of_score(settings, target, performer_seed)
        found["agreement"] = float(
            metrics.rank_agreement(said[0].contributions[: len(drops)], drops).nanmean())
    return found


def explain(settings: Settings, target: str, performer_seed: int = 0, method: str = "ours",
            last_layer: str | None = None, seed: int = 0) -> Explanation:
    """Return the explanations of all test faces."""
    fitted = explainer(settings, target, performer_seed, method, last_layer, seed)
    return fitted.explain_measured(measured(settings, target, "test", method, performer_seed, seed))


def explainer_record(settings: Settings, target: str, performer_seed: int = 0,
                     method: str = "ours", last_layer: str | None = None, seed: int = 0) -> dict:
    """Return the record of a fitted explainer."""
    last_layer = settings.last_layers[0] if last_layer is None else last_layer
    return read_record(record_of(store.attribute_path(
        settings, target, performer_seed, method, last_layer, seed)))


def make_explainers(settings: Settings, target: str, performer_seed: int = 0) -> str:
    """Fit all explainers of an attribute, the controls' included, and say how long it took."""
    seconds, runs = 0.0, store.attribute_runs(settings)
    for run in runs:
        explainer(settings, target, performer_seed, *run)
        seconds += explainer_record(settings, target, performer_seed, *run)["seconds"]
    return f"{target}: {len(runs)} explainers in {seconds:.0f} s"


# --- a truth: the same face with one attribute flipped -------------------------------------------


def flips(settings: Settings, performer_seed: int = 0) -> Tensor:
    """Return the scores of the first test faces, drawn again with each attribute flipped.

    Returns
    -------
    Tensor (F, 40, 40)
        All logits (last axis) of each of F faces with one attribute flipped (middle axis).
    """
    path = store.flips_path(settings, performer_seed)

    def make() -> dict[str, Tensor]:
        net = performer(settings, performer_seed)
        rows = []
        for face in range(settings.flip_faces):
            pictures = [faces.render(settings.data_seed, "test", face, settings.face_size, (name,))
                        for name in ATTRIBUTES]
            pictures = torch.stack([torch.from_numpy(p) for p in pictures]).permute(0, 3, 1, 2)
            rows.append(scores(net, pictures, settings))
        return {"scores": torch.stack(rows)}

    return load_or_make(path, load_file, make, save_file)["scores"]


def make_flips(settings: Settings, performer_seed: int = 0) -> str:
    """Draw faces again with each attribute flipped, and score them."""
    if settings.faces != "drawn":
        return "photographs have no truth by flipping"
    found = flips(settings, performer_seed)
    return f"scored {found.shape[0]} faces with each of {found.shape[1]} attributes flipped"


def change_of_score(settings: Settings, target: str, performer_seed: int = 0) -> Tensor:
    """Return how far a target's score falls when each other attribute is flipped, (F, 39).

    The truth that drawings give: positive where the attribute as it is speaks for the target.
    """
    own = target_index(target)
    flipped = flips(settings, performer_seed)[:, :, own]  # (F, 40)
    as_is = survey(settings, "test", performer_seed).scores[: len(flipped), own]
    return (as_is[:, None] - flipped)[:, concepts_of(target)]
