"""What the workflow's jobs make, and which of it a notebook needs: a few words in its metadata.

A notebook's metadata says under ``semquant``: ``needs``, words for what jobs have to make before it
is executed (`Results.meant`) and names of files in ``book``, such as ``records/beta-*.json``;
``parameters``, what it is executed with, where ``{preset}``, ``{category}`` and ``{data}`` stand for
the run's own and what comes out empty is not given; ``preset``, null, or, for a page about the
drawings, the one that it is executed with where the run's images are photographs.

Imports nothing heavy, so that the workflow can ask without loading torch.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

from semquant.checks import InputError, one_of
from semquant_book.datasets.names import ARCHITECTURES, ATTRIBUTES, SPLITS, TRUNK
from semquant_book.folders import project_root, real
from semquant_book.study import code, store
from semquant_book.study.presets import Settings

__all__ = ["Page", "Results"]

KEYS = ("needs", "parameters", "preset")
WORDS = ("performers", "controls", "explainers", "faces", "face_performers", "surveys", "attributes",
         "selections", "data", "trials", "results")
#: What may stand after a word.
NAMES = (dict.fromkeys(("performers", "controls", "explainers"), (*ARCHITECTURES, TRUNK))
         | dict.fromkeys(("attributes", "selections"), ATTRIBUTES))


def _with_records(*paths: Path) -> list[str]:
    return [str(file) for path in paths for file in (path, store.record_of(path))]


@dataclass(frozen=True)
class Results:
    """The files that the jobs of a run make. A name or seed may be a wildcard of the workflow."""

    settings: Settings

    @property
    def category(self) -> str:
        """The category of pages that show a single one."""
        return "dog" if "dog" in self.settings.categories else self.settings.categories[0]

    def data(self, category: str) -> list[str]:
        """The record of a category's images."""
        return [str(store.data_record(self.settings, category))]

    def performer(self, architecture: str, category: str, seed: int | str,
                  filter_loss: bool = True) -> list[str]:
        """The weights of a performer of Experiment 1, and their record."""
        return _with_records(store.performer_path(self.settings, architecture, category, seed,
                                                  filter_loss=filter_loss))

    def explainers(self, architecture: str, category: str, seed: int | str) -> list[str]:
        """All explainers of a performer, and the record of what stands beside them."""
        found = (store.explainer_path(self.settings, architecture, category, seed, *run)
                 for run in store.explainer_runs(self.settings))
        return [*_with_records(*found),
                str(store.reference_path(self.settings, architecture, category, seed))]

    def trial(self, architecture: str, category: str, seed: int | str) -> list[str]:
        """The record of a performer's trial; none of one that the preset's committed record has."""
        kept = project_root() / "book" / "records" / "trials.json"
        content = store.read_record(kept) if kept.exists() else {"performers": [], "settings": {"preset": ""}}
        there = [[p["architecture"], p["category"], p["performer_seed"]] for p in content["performers"]]
        if content["settings"]["preset"] == self.settings.preset and [architecture, category, seed] in there:
            return []
        return [str(store.trial_path(self.settings, architecture, category, seed))]

    def faces(self) -> list[str]:
        """The record of the faces."""
        return [str(store.faces_record(self.settings))]

    def face_performer(self, seed: int | str) -> list[str]:
        """The weights of a performer of 40 attributes, and their record."""
        return _with_records(store.face_performer_path(self.settings, seed))

    def surveys(self, seed: int | str) -> list[str]:
        """All scores and priors of a performer of 40 attributes; of drawn faces, flips too."""
        found = [store.survey_path(self.settings, seed, split) for split in SPLITS]
        if self.settings.faces == "drawn":
            found.append(store.flips_path(self.settings, seed))
        return [str(path) for path in found]

    def attribute(self, target: str, seed: int | str) -> list[str]:
        """All explainers of an attribute, and their records."""
        return _with_records(*(store.attribute_path(self.settings, target, seed, *run)
                               for run in store.attribute_runs(self.settings)))

    def selection(self, target: str, seed: int | str) -> list[str]:
        """The record of random choices of concepts for an attribute."""
        return [str(store.selection_path(self.settings, target, seed))]

    def meant(self, word: str) -> list[str]:
        """Return the files, of all seeds, that a word of `WORDS` stands for; else InputError.

        After ``performers``, ``controls`` and ``explainers`` a network may stand
        (``performers alexnet``): those for the pages' category then, or those of all
        networks and categories; after ``attributes`` and ``selections`` a target
        (``attributes Male``). ``results`` is all that is not data.
        """
        settings, (kind, *of) = self.settings, word.split()
        if kind == "results":
            return list(chain.from_iterable(map(self.meant, WORDS[:-3])))
        for name in of:
            one_of(f"needs {kind}", name, NAMES.get(kind, ()))
        seeds = range(settings.performer_seeds)
        networks, targets = of or settings.architectures, of or settings.targets
        categories = [self.category] if of or kind == "data" else settings.categories
        controls = [name for name in networks if name in settings.control_without_filter_loss]
        make, *axes = {
            "performers": (self.performer, networks, categories, seeds),
            "controls": (self.performer, controls, categories, seeds, [False]),
            "explainers": (self.explainers, networks, categories, seeds),
            "trials": (self.trial, networks, categories, seeds),
            "faces": (self.faces,),
            "face_performers": (self.face_performer, seeds),
            "surveys": (self.surveys, seeds),
            "attributes": (self.attribute, targets, seeds),
            "selections": (self.selection, targets, seeds),
            "data": (self.data, categories)}[one_of("needs", kind, WORDS)]
        return list(chain.from_iterable(make(*each) for each in product(*axes)))


class Page:
    """A notebook as the book executes it; `data` is the run's folder of real photographs, or empty.

    InputError, if its metadata does not say what it needs, or not in the words above.
    """

    def __init__(self, path: str | Path, results: Results, data: str = ""):
        self.path, settings = Path(path), results.settings
        asked = json.loads(self.path.read_text(encoding="utf-8"))["metadata"].get("semquant", {})
        if sorted(asked) != sorted(KEYS):
            raise InputError(f"semquant: the metadata of {path} has {', '.join(asked) or 'none'}; "
                             f"accepted: {', '.join(KEYS)}")
        drawn = {"data": settings.images, "faces": settings.faces}
        other = asked["preset"] and any(drawn.get(word, "drawn") != "drawn" for word in asked["needs"])
        self._needs = [] if other else asked["needs"]  # of another preset nothing is made before
        self._results, self._parameters = results, asked["parameters"]
        self._run = {"preset": asked["preset"] if other else settings.preset,
                     "category": results.category, "data": data}

    @property
    def inputs(self) -> list[str]:
        """The files that it reads: itself, what it needs, and files in ``book`` that its code names."""
        book, found = project_root(self.path.parent) / "book", [self.path]
        for word in self._needs:
            files = "." in word and real(book.glob(word))
            if files == []:
                raise InputError(f"needs: {word!r} in {self.path} is no file in book")
            found += files or self._results.meant(word)
        own = real([*book.glob("*.yml"), *book.glob("records/*.json")])
        return list(dict.fromkeys(map(str, found + code.named(self.path, own))))

    @property
    def parameters(self) -> str:
        """The values that it is executed with, as arguments of ``semquant notebook``."""
        values = {}
        for name, value in self._parameters.items():
            try:
                values[name] = value.format_map(self._run) if isinstance(value, str) else value
            except (KeyError, ValueError) as error:
                raise InputError(f"parameters: {value!r} in {self.path} is not accepted; in braces "
                                 f"{', '.join(self._run)} are") from error
        return " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in values.items()
                        if value != "")

    @property
    def code(self) -> str:
        """What stands for all code of the project that executes it; see `code.digest`."""
        return code.digest("semquant_book.press.notebooks", *code.of_notebook(self.path))
