"""Views for someone with a kernel: distill again with other settings, run a notebook from a form.

What takes long happens beside the notebook, in a thread or a process of its own.

>>> from semquant_book.pages import live
>>> live.of_filters(settings, "alexnet", "dog")
>>> live.Redistill(train, test, names=names)  # of anything that was measured
>>> live.NotebookForm("book/experiment1/alexnet.ipynb")
"""

from __future__ import annotations

from semquant.explanation import UNASSIGNED
from semquant_book.datasets.names import ATTRIBUTES, label
from semquant_book.pages import comparison
from semquant_book.pages.form import NotebookForm
from semquant_book.study import experiment1, experiment2
from semquant_book.study.presets import SPLITS, Settings
from semquant_book.views.redistill import Redistill

__all__ = ["NotebookForm", "Redistill", "of_attribute", "of_filters"]


def of_filters(settings: Settings, architecture: str, category: str, performer_seed: int = 0,
               **more: object) -> Redistill:
    """Return the view of Experiment 1: a performer's score by its filters.

    Parts of the animal can be left out, that is the filters named after them; g goes on to see the
    whole map. The performer comes from the store, or is trained.

    Parameters
    ----------
    settings : Settings
    architecture, category : str
    performer_seed : int
    **more
        Further arguments of `Redistill`: shows, pack, on_result.
    """
    net = experiment1.performer(settings, architecture, category, performer_seed)
    images = {split: experiment1.data(settings, category, split, architecture) for split in SPLITS}
    measured = {split: experiment1.measure(net, images[split], settings,
                                           "jacobian" if split == "train" else "none")
                for split in SPLITS}
    assignment = experiment1.assign_filters(net, images["val"], settings).tolist()
    names = [*images["val"].groups, UNASSIGNED]
    groups = {name: [i for i, p in enumerate(assignment) if p == index]
              for name, index in zip(names, [*range(len(names) - 1), -1])}
    positive = {split: images[split].positive for split in SPLITS}
    return Redistill(
        measured["train"], measured["test"], validation=measured["val"],
        labels=positive["test"], validation_labels=positive["val"], counted=positive["test"],
        title=f"Distill {comparison.paper()['labels'][architecture]}'s score for {category} again",
        about=f"The concepts are the {len(assignment)} filters of its top map; g is fitted to "
              f"{len(images['train']):,} images.",
        names=[f"{names[p]} filter {i}" for i, p in enumerate(assignment)],
        groups={name: members for name, members in groups.items() if members},
        settings=lambda scale: experiment1.explainer_settings(
            settings, "ours", scale if isinstance(scale, str) else "scaled"),
        **more)


def of_attribute(settings: Settings, target: str, performer_seed: int = 0,
                 **more: object) -> Redistill:
    """Return the view of Experiment 2: the score of a face attribute by the other 39.

    Parameters
    ----------
    settings : Settings
    target : str
        The attribute.
    performer_seed : int
    **more
        Further arguments of `Redistill`: shows, pack, on_result.
    """
    others = experiment2.concepts_of(target)
    own = experiment2.target_index(target)
    measured = {split: experiment2.measured(settings, target, split, performer_seed=performer_seed)
                for split in SPLITS}
    labels = {split: experiment2.data(settings, split).attributes[:, own]
              for split in ("val", "test")}
    last_layer = settings.last_layers[0]
    return Redistill(
        measured["train"], measured["test"], validation=measured["val"],
        labels=labels["test"], validation_labels=labels["val"],
        title=f"Distill the score of '{label(target)}' again",
        about=f"The concepts are the other {len(others)} attributes; g is fitted to "
              f"{len(measured['train']):,} faces.",
        names=[label(ATTRIBUTES[i]) for i in others],
        draw=lambda count, seed: [others.index(i)
                                  for i in experiment2.concepts_of(target, count, seed)],
        settings=lambda scale: experiment2.explainer_settings(settings, "ours", last_layer),
        **more)
