"""Real photographs of faces: CelebA in its official layout (Liu, Luo, Wang and Tang, ICCV 2015).

The folder that a reader gives, or the folder ``celeba`` in it (as torchvision makes it), holds::

    img_align_celeba/*.jpg      the aligned photos of 178 x 218 px, or copies in those proportions
    list_attr_celeba.txt        the number of images; the 40 attributes' names; a row for each image
    list_eval_partition.txt     for each image 0 (train), 1 (val) or 2 (test)

or the same as Kaggle gives it out: lists with commas that end in ``.csv``, the photos in
``img_align_celeba/img_align_celeba``. Only some of the images need to be there. Other files beside the lists are not looked at.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from semquant.checks import InputError, number, one_of
from semquant_book.datasets.decoded import Decoded, join as joined
from semquant_book.datasets.drawn.faces import LARGEST, Faces
from semquant_book.datasets.names import ATTRIBUTES, SPLITS
from semquant_book.datasets.parallel import in_chunks, kept, processes
from semquant_book.datasets.photos import first, opened, report
from semquant_book.folders import of_a_system

__all__ = ["HEIGHT", "WIDTH", "Index", "digest", "join", "load", "repeated", "scan", "square"]

IMAGES = "img_align_celeba"
ATTRIBUTE_LIST, PARTITION_LIST = "list_attr_celeba.txt", "list_eval_partition.txt"
LISTS = (ATTRIBUTE_LIST, PARTITION_LIST), ("list_attr_celeba.csv", "list_eval_partition.csv")
#: What people have in the place of the images' folder.
BESIDE = {f"{IMAGES}.zip": ", not unpacked", f"{IMAGES}_png": " (the PNG files of other size and names)",
          "archive.zip": ", not unpacked"}
#: Size of the official images in pixels. Other sizes need the same proportions, see `square`.
WIDTH, HEIGHT = 178, 218
NARROWEST = 32
_VERSION = 1  # of crop and resizing; part of the key, so that no cache outlives a change of them
_BLOCK = 2**28  # bytes decoded between two copies into the result


@dataclass(frozen=True, eq=False)
class Index:
    """What a folder holds, read from its lists and its file names."""

    images: Path  #: The images' folder.
    files: dict[str, list[str]]  #: For each split the names of the images that are there, sorted.
    #: For each split (N, 40) bool, a row for each of `files`, columns as `names.ATTRIBUTES`.
    attributes: dict[str, torch.Tensor]
    listed: dict[str, int]  #: For each split the number of images in the lists.
    strays: list[str]  #: Names in the images' folder that neither list has, sorted. Left out.

    @property
    def present(self) -> dict[str, int]:
        """For each split the number of images that are there."""
        return {split: len(names) for split, names in self.files.items()}

    def summary(self) -> str:
        """Return the counts of the splits, and of what was left out if there is any, as lines."""
        present, listed = sum(self.present.values()), sum(self.listed.values())
        lines = [f"{present} of {listed} listed images",
                 *(f"{s}: {self.present[s]} of {self.listed[s]}" for s in SPLITS)]
        if present < listed:
            lines.append(f"listed without an image, left out: {listed - present}")
        if self.strays:
            lines += [f"files in neither list, left out: {len(self.strays)} ({first(self.strays)})"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary().replace("\n", "; ")


def scan(root: str | Path) -> Index:
    """Read the lists and the images' names in a folder, described at the top of this module. A
    listed image that is not there is left out and counted, and so is a file that neither list
    names; the order of columns and Windows line ends do not matter. InputError, with file and line,
    for anything else that is missing, doubled or not as published."""
    folder, attribute_list, partition_list = _places(Path(root))
    table = _read_attributes(attribute_list)
    parts = _read_partition(partition_list, table.index)
    try:
        names = {name for name in os.listdir(folder) if not of_a_system(name)}
    except OSError as error:
        raise InputError(f"data: {folder} can't be read ({error.strerror})") from error
    strays = sorted(names.difference(table.index))
    if len(strays) == len(names):
        found = f"{len(strays)} other files ({first(strays)})" if strays else "nothing"
        raise InputError(f"data: {folder} holds none of the {len(table)} listed images but "
                         f"{found}")
    own = {split: parts.index[parts == digit] for digit, split in zip("012", SPLITS, strict=True)}
    files = {split: sorted(names.intersection(listed)) for split, listed in own.items()}
    attributes = {split: torch.tensor(table.loc[some].to_numpy()) for split, some in files.items()}
    return Index(folder, files, attributes, {s: len(listed) for s, listed in own.items()}, strays)


def load(root: str | Path | Index, split: str, size: int = 64, count: int | None = None,
         seed: int = 0, cache: str | Path | None = None, workers: int | None = None,
         decode: bool = True) -> Faces:
    """Decode the images of one split, sorted by name, or say which they are. The side is 1 to 512
    px, see `square`. Which `count` images are drawn is decided by a hash of the seed and the
    image's name: a smaller draw is part of a larger one, and the same on every machine.

    Decoded images are kept in the folder `cache` under a key of their names, sizes in bytes and
    times; the attributes are read from the lists each time. Without `decode` the images stay in
    their files, nothing is kept or checked before, see `digest`: for more of them than fit into
    memory.

    InputError as from `scan`; for an argument out of range; if the split has fewer images than
    `count`, or none; for images that can't be decoded or have another size; if nothing can be kept.
    """
    one_of("split", split, SPLITS)
    number("size", size, 1, LARGEST, integer=True)
    number("seed", seed, 0, integer=True)
    workers = processes(workers)
    index = root if isinstance(root, Index) else scan(root)
    chosen = _drawn(index, split, count, seed)
    names = [index.files[split][i] for i in chosen]
    paths = [index.images / name for name in names]
    if not decode:
        images = Decoded(paths, size, square)
    elif cache is None:
        images = _decode(paths, size, workers)
    else:
        key = f"celeba-v{_VERSION}-{split}-{len(paths)}-{size}px-{_digest(paths)}.safetensors"
        tensors = kept(Path(cache) / key, lambda: {"images": _decode(paths, size, workers)})
        images = tensors["images"]
    return Faces(images, index.attributes[split][chosen], names)


def join(*faces: Faces) -> Faces:
    """Put several data sets together, in the order given, such as one split of several folders. An
    image that several have is taken once, from the first, see `repeated`. InputError if nothing is
    given, if image sizes or attributes' names differ, or if a repeated image has other attributes
    there."""
    kinds = {(tuple(f.images.shape[1:]), f.names) for f in faces}
    if len(kinds) != 1:
        shapes = " and ".join(sorted(str(shape) for shape, _ in kinds)) or "nothing"
        raise InputError(f"faces: {shapes}; accepted: images of one size, the same attributes")
    known, parts, differing = {}, [], []
    for one in faces:
        fresh = []
        for i, (name, row) in enumerate(zip(one.ids, one.attributes.numpy(), strict=True)):
            if name not in known:
                known[name] = row.tobytes()
                fresh.append(i)
            elif known[name] != row.tobytes():
                differing.append(name)
        parts.append(one if len(fresh) == len(one) else one.subset(fresh))  # spare a copy
    report(differing, "images have other attributes in another data set")
    return Faces(joined([f.images for f in parts]), torch.cat([f.attributes for f in parts]),
                 [name for f in parts for name in f.ids], faces[0].names)


def repeated(*faces: Faces) -> list[str]:
    """Return the ids that an earlier data set has too, once for each repetition, in order."""
    seen = set()
    return [name for one in faces for name in one.ids if name in seen or seen.add(name)]


def square(path: Path, size: int) -> np.ndarray:
    """Decode the central square of an image's full width, resized bilinearly (antialiased): (size,
    size, 3) uint8. Of 178 x 218 px rows 20 to 197 are taken; others need at least 32 px width and,
    within a pixel of height, those proportions. InputError, which does not name the file, for
    another size or a file that can't be decoded as a whole."""
    photo = opened(path)
    width, height = photo.size
    if width < NARROWEST or abs(height - width * HEIGHT / WIDTH) > 1:
        raise InputError(f"{width} x {height} px")
    top = (height - width) // 2
    cut = photo.crop((0, top, width, top + width))  # first: nothing outside may shine in
    return np.array(cut.resize((size, size), Image.Resampling.BILINEAR))


def attribute_table(root: str | Path) -> pd.DataFrame:
    """Return (N, 40) bool, a row for each image of a folder's list of attributes, by its name."""
    return _read_attributes(_places(Path(root))[1])


def is_home(folder: Path) -> bool:
    """Whether a folder has one of the lists, or the images' folder."""
    return folder.is_dir() and any((folder / name).exists() for pair in LISTS for name in (*pair, IMAGES))


def _places(root: Path) -> tuple[Path, Path, Path]:
    """Return the images' folder and both lists, in the folder given, or in ``celeba`` in it."""
    wanted = f"a folder that holds {IMAGES}, {ATTRIBUTE_LIST} and {PARTITION_LIST}, or both as .csv"
    if not root.is_dir():
        raise InputError(f"data: {root} is not a folder; accepted: {wanted}")
    folder = root / "celeba" if not is_home(root) and (root / "celeba").is_dir() else root
    lists = [next((folder / name for name in pair if (folder / name).is_file()), None)
             for pair in zip(*LISTS)]
    images = folder / IMAGES
    if (images / IMAGES).is_dir() and not any(images.glob("*.jpg")):  # as Kaggle's archive unpacks
        images = images / IMAGES
    there = dict(zip((IMAGES, *LISTS[0]), (images.is_dir(), *lists)))
    if missing := [name for name, found in there.items() if not found]:
        beside = [f"{name} is there{words}" for name, words in BESIDE.items()
                  if IMAGES in missing and (folder / name).exists()]
        raise InputError(f"data: {folder} has no {' and no '.join(missing)}{''.join(f', but {b}' for b in beside)}; "
                         f"accepted: {wanted}")
    return images, *lists


def _fields(path: Path, width: int) -> tuple[list[str], pd.DataFrame]:
    """Return a list's lines, and the fields of those that are not blank by line number, from 1: a
    column more than there should be, with "" where a line has no field."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # turns Windows line ends into "\n"
    except UnicodeDecodeError as error:
        raise InputError(f"data: {path} is not a text file") from error
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({error.strerror})") from error
    if path.suffix == ".csv":
        text = _as_official(text)
    widest = "0 " * (width + 1) + "\n"  # line 0, from which pandas takes the number of columns
    fields = pd.read_csv(StringIO(widest + text), sep=r"\s+", header=None, usecols=range(width + 1),
                         dtype=str, na_filter=False, skip_blank_lines=False, quoting=csv.QUOTE_NONE)[1:]
    return text.split("\n"), fields[fields[0] != ""]


def _as_official(text: str) -> str:
    """A list with commas as an official one: the attributes' with the count above, one line more."""
    names, *rows = text.replace(",", " ").split("\n")
    count = sum(bool(row.strip()) for row in rows)
    first = f"{count}\n{names.partition(' ')[2]}" if len(names.split()) > 2 else ""
    return "\n".join([first, *rows])


def _bad(path: Path, line: int, what: str) -> InputError:
    line -= path.suffix == ".csv" and "attr" in path.name  # whose first line was made
    return InputError(f"data: {path}, line {line}: {what}")


def _read_attributes(path: Path) -> pd.DataFrame:
    """Return (N, 40) bool, a row for each image, by its name, in the order of the file."""
    lines, fields = _fields(path, 1 + len(ATTRIBUTES))
    at = next(iter(fields.index), 1)  # lines of the count and of the names
    below = next(iter(fields.index[1:]), at + 1)
    count = lines[at - 1].strip()
    if not (count.isascii() and count.isdigit()):
        raise _bad(path, at, f"{count[:40]!r} is not a whole number, the count of images")
    names = "".join(lines[below - 1 : below]).split()
    wrong = {"no column": [name for name in ATTRIBUTES if name not in names],
             "unknown column": [name for name in names if name not in ATTRIBUTES],
             "a second column": sorted(name for name in ATTRIBUTES if names.count(name) > 1)}
    if any(wrong.values()):
        problems = ", ".join(f"{what} {first(bad)}" for what, bad in wrong.items() if bad)
        raise _bad(path, below, f"{problems}; accepted: the 40 attributes of CelebA")
    rows = fields.iloc[2:]
    images, values, more = rows[0], rows.iloc[:, 1:-1], rows.iloc[:, -1]
    bad = ~values.isin(["1", "-1"]).all(axis=1) | (more != "") | images.duplicated()
    if bad.any():
        line = bad.idxmax()
        name, *values = lines[line - 1].split()
        if len(values) != len(names):
            raise _bad(path, line, f"{name} has {len(values)} values; accepted: {len(names)}")
        if value := next((v for v in values if v not in ("1", "-1")), None):
            raise _bad(path, line, f"{value[:40]!r} is not 1 or -1")
        raise _bad(path, line, f"{name} once more, as in line {(images == name).idxmax()}; accepted: "
                   "one row")
    if count != str(len(rows)):
        raise _bad(path, at, f"{count[:40]} images; the rows that follow are {len(rows)}")
    return pd.DataFrame((values == "1").to_numpy(), images, names)[list(ATTRIBUTES)]


def _read_partition(path: Path, listed: pd.Index) -> pd.Series:
    """Return "0", "1" or "2" of each image, by its name, in the order of the file."""
    lines, fields = _fields(path, 2)
    images = fields[0]
    wrong, again = ~fields[1].isin(["0", "1", "2"]) | (fields[2] != ""), images.duplicated()
    if (wrong | again).any():
        line = (wrong | again).idxmax()
        name, *values = lines[line - 1].split()
        raise _bad(path, line, f"{' '.join(values)[:40]!r} is not 0, 1 or 2" if wrong[line] else
                   f"{name} once more; accepted: one row for each image")
    unknown = images[~images.isin(listed)]
    if len(unknown):
        raise _bad(path, unknown.index[0], f"{len(unknown)} images have no row in {ATTRIBUTE_LIST}: "
                   f"{first([*unknown])}; accepted: its images")
    report([*listed[~listed.isin(images)]], f"images of {ATTRIBUTE_LIST} have no row in {path}")
    return fields.set_index(0)[1]


def _drawn(index: Index, split: str, count: int | None, seed: int) -> list[int]:
    """Return which of a split's images are taken, as positions, in order."""
    names = index.files[split]
    if not names:
        accepted = ", ".join(s for s in SPLITS if index.files[s])
        raise InputError(f"split: no image of {split} in {index.images} (the lists have "
                         f"{index.listed[split]}); accepted: {accepted}")
    if count is None:
        return list(range(len(names)))
    number(f"count (of {split} in {index.images})", count, 1, len(names), integer=True)
    dice = [hashlib.sha256(f"celeba/{seed}/{name}".encode()).digest() for name in names]
    return sorted(sorted(range(len(names)), key=dice.__getitem__)[:count])


def _digest(paths: list[Path]) -> str:
    digest, problems = hashlib.sha256(), []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            problems.append(f"{path.name} (not readable: {error.strerror})")
            continue
        digest.update(f"{path.name}/{status.st_size}/{status.st_mtime_ns}\n".encode())
    report(problems, f"images of {paths[0].parent} can't be used" if paths else "")
    return digest.hexdigest()[:16]


def _decode_some(task: tuple[list[Path], int]) -> tuple[np.ndarray, list[str]]:
    """Return (n, 3, size, size) uint8 and what can't be used."""
    paths, size = task
    images, problems = np.zeros((len(paths), size, size, 3), np.uint8), []
    for image, path in zip(images, paths):
        try:
            image[:] = square(path, size)
        except InputError as error:
            problems.append(f"{path.name} ({error})")
    return images.transpose(0, 3, 1, 2), problems


def _blocks(paths: list[Path], size: int, workers: int) -> Iterator[np.ndarray]:
    """Yield (n, 3, size, size) uint8; all images are tried before the bad ones are reported."""
    problems, block = [], max(50, _BLOCK // (3 * size * size))
    for start in range(0, len(paths), block):
        for some, bad in in_chunks(_decode_some, paths[start : start + block], size, workers):
            yield some
            problems += bad
    report(problems, f"images can't be used (accepted: {WIDTH} x {HEIGHT} px or its proportions)")


def _decode(paths: list[Path], size: int, workers: int) -> torch.Tensor:
    """Return (N, 3, size, size) uint8."""
    images, done = torch.empty(len(paths), 3, size, size, dtype=torch.uint8), 0
    for some in _blocks(paths, size, workers):
        images[done : done + len(some)] = torch.from_numpy(some)
        done += len(some)
    return images


def digest(images: Decoded, workers: int | None = None) -> str:
    """Decode all images once, keeping none, and return the SHA-256 of their pixels. InputError
    counts the images that can't be decoded or are of another size, and names the first."""
    found = hashlib.sha256()
    for some in _blocks(images.paths, images.size, processes(workers)):
        found.update(np.ascontiguousarray(some).tobytes())
    return found.hexdigest()
