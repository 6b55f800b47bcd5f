"""Images from wherever people keep them, as batches of tensors: arrays, lists, loaders, folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler
from tqdm.auto import tqdm

from semquant.checks import InputError, check_shapes, needed, number, one_of
from semquant.rows import Computed, Rows

__all__ = ["Images", "batch_of", "image_batches", "input_by"]

ENTRIES = ("pixel_values", "image", "images")  # what a dict's images are called, unless `key` says it
CHANNELS = (1, 3, 4)  # of an array's images: what tells them from rows and columns
LEFT = ("thumbs.db", "desktop.ini", "__macosx")  # by file managers, in folders of images
TURNED = 0x0112  # EXIF's entry for how the camera was held; from 5 on rows are columns
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")  # PIL's modes


@dataclass(eq=False)
class Images:
    """Images, wherever they are, and what has to be known to read them.

    Taken as ``images`` everywhere; what needs none of the options is taken as it is.

    Parameters
    ----------
    source : tensor, array, list, Dataset, loader or folder
        A tensor (N, C, H, W) or rows; one image (C, H, W) of 1, 3 or 4 channels. A NumPy array
        (N, H, W, C) or (N, C, H, W) of 1, 3 or 4 channels, or one image. A list of single images:
        tensors (C, H, W), arrays, PIL images, paths. A ``Dataset`` with a length, whose items are
        single images. A ``DataLoader`` or another iterable of batches or of single images. A path: of
        an image, or of a folder whose files are all images, in the order of their names, those of
        folders within it included; hidden ones and what file managers leave there are left out.
        Batches and items may be dicts or tuples, also within each other: of a tuple the first member
        is taken, of a dict ``pixel_values``, ``image`` or ``images``, or the only entry that can be
        images.
    key : str or int, optional
        The entry of the dict, or the place in the tuple, that is taken instead.
    size : int or (int, int), optional
        Height and width, one number for both. Each image is scaled with its proportions kept, until
        it covers this, bilinear and antialiased by torchvision, and cut to it around its middle.
    max_images : int, optional
        No more than so many, the first ones; an endless loader is left after them.
    progress : str, optional
        Label of a progress bar over the images, on stderr, in a terminal or a notebook.

    Notes
    -----
    Files become RGB, turned as their EXIF entry says. PIL images stay grey or RGB, and others become RGB; alpha is dropped. 16 bits a
    channel are refused. Arrays of doubles become float32, and tensors keep their type.

    Examples
    --------
    >>> distill(model, concepts, Images("photos", size=224), target="tabby")
    >>> distill(model, concepts, Images(loader, key="image", max_images=2000), target=281)
    """

    source: object
    key: str | int | None = None
    size: int | tuple[int, int] | None = None
    max_images: int | None = None
    progress: str | None = None

    def __post_init__(self) -> None:
        if self.max_images is not None:
            number("max_images", self.max_images, 1, integer=True)
        if self.size is not None:
            pair = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
            if len(pair) != 2:
                raise InputError(f"size: {self.size!r} is not a number or (height, width)")
            self.size = tuple(number("size", length, 1, integer=True) for length in pair)
        self._key = self.key
        self._found = self._opened(self.source)

    @classmethod
    def of(cls, images: Images | object) -> Images:
        """Images as they are, or made from a source."""
        return images if isinstance(images, cls) else cls(images)

    def rows(self) -> Tensor | Rows | None:
        """All images as a tensor or rows, which are read by number; None where they only pass by."""
        return self._found if isinstance(self._found, Tensor | Rows) else None

    def expected(self) -> int | None:
        """How many images there are; None where nobody knows, and of a loader at most so many."""
        found = self._found
        if isinstance(found, DataLoader):  # its own sampler's length, or None for one without
            plain = isinstance(found.batch_sampler, torch.utils.data.BatchSampler | None)
            sampler = found.sampler if plain else None
            count = len(sampler) if hasattr(sampler, "__len__") else None
        elif isinstance(found, list):
            count = sum(map(len, found))
        else:
            count = len(found) if self.rows() is not None else None
        return count if None in (count, self.max_images) else min(count, self.max_images)

    def drawn(self) -> bool:
        """Whether a loader gives them in another order than they have."""
        return isinstance(getattr(self._found, "sampler", None),
                          RandomSampler | SubsetRandomSampler | WeightedRandomSampler)

    def batches(self, batch_size: int = 64) -> Iterator[Tensor]:
        """The images (B, C, H, W), in their order; a loader's batches are as large as it makes them.

        An InputError if there are none, if their sizes vary, or if one of them can't be read.
        """
        number("batch_size", batch_size, 1, integer=True)
        found, shape = self.rows(), None  # the first's alone: the batch need not be kept
        if found is not None and not len(found):
            raise InputError("images: none were given")
        with tqdm(total=self.expected(), desc=self.progress, unit="image",
                  disable=True if self.progress is None else None) as bar:
            for batch in self._passing(batch_size) if found is None else found.split(batch_size):
                shape = batch.shape[1:] if shape is None else shape
                _check_alike([shape, batch.shape[1:]])
                yield batch
                bar.update(len(batch))
        if shape is None:
            raise InputError("images: none were given")

    def _opened(self, source: object) -> Tensor | Rows | Iterable:
        """What can be read by number as a tensor or rows; what passes by as it is."""
        if isinstance(source, Mapping):
            source, self._key = _picked(source, self.key), None
        if isinstance(source, str | Path):
            source = _files(Path(source))
        if _is_picture(source):
            source = [source]
        if isinstance(source, np.ndarray):  # each image is copied when it is asked for: it may be in a file
            array = _channels_first(_picked(source, self._key))
            source = array if array.ndim == 4 else array[None]
            return _Items(source, self._single, min(len(source), self.max_images or len(source)))
        if isinstance(source, Tensor) and source.ndim == 3 and len(source) in CHANNELS:
            source = source[None]
        if isinstance(source, Tensor | Rows):
            return self._limited(_picked(source, self._key))
        if isinstance(source, list | tuple):
            items = [_picked(item, self._key) for item in source]
            batches = {_dimensions(item, f"item {i}") > 3 for i, item in enumerate(items)}
            if len(batches) > 1:
                raise InputError("images: single images and batches are mixed; accepted: one kind")
            if True in batches:
                return items
            _check_singles(items, self.size)
            return _Items(items, self._single, min(len(items), self.max_images or len(items)))
        if isinstance(source, Iterable):
            return source
        if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
            raise InputError(f"images: {type(source).__name__} is neither a tensor nor a loader; accepted: "
                             "also an array, a list, a Dataset with a length, a folder")
        return _Items(source, self._of_item, min(len(source), self.max_images or len(source)))

    def _limited(self, images: Tensor | Rows) -> Tensor | Rows:
        if self.max_images is not None and self.max_images < len(images):
            images = (images[: self.max_images] if isinstance(images, Tensor)
                      else _Items(images, None, self.max_images))
        if self.size is not None and len(images):
            images = Computed(images, partial(_resized, size=self.size),
                              (len(images), *images.shape[1:-2], *self.size))
        return images

    def _of_item(self, item: object) -> Tensor:
        return self._single(_picked(item, self._key))

    def _single(self, item: object) -> Tensor:
        image = _stacked(list(map(_tensor, item))) if isinstance(item, list) else _tensor(item)
        if image.ndim == 4 and len(image) == 1:  # with a batch axis of its own
            image = image[0]
        if image.ndim > 3:
            raise InputError(f"images: an item of shape {tuple(image.shape)} is not one image (C, H, W)")
        return _resized(image, self.size)

    def _passing(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of what is no rows: batches pass, single images are put together."""
        left, waiting = self.max_images or math.inf, []
        batched = isinstance(self._found, DataLoader) and self._found.batch_sampler is not None
        for item in self._found:
            item = _picked(item, self._key)
            if isinstance(item, list):
                batch = _stacked([self._single(image) for image in item])
            elif batched or _dimensions(item, "an item") > 3:
                batch = _resized(_tensor(item), self.size)
            else:
                waiting.append(self._single(item))
                if len(waiting) < min(batch_size, left):
                    continue
                batch, waiting = _stacked(waiting), []
            if waiting:
                raise InputError("images: single images and batches are mixed; accepted: one kind")
            yield batch if len(batch) <= left else batch[:left]
            left -= len(batch)
            if left <= 0:  # before one more is asked for: there may be no end
                return
        if waiting:
            yield _stacked(waiting)


def image_batches(images: Images | object, batch_size: int = 64) -> Iterator[Tensor]:
    """Batches (B, C, H, W) of `Images`, or of anything that they can be made from."""
    yield from Images.of(images).batches(batch_size)


def batch_of(images: Images | object, most: int) -> Tensor | np.ndarray:
    """At most so many images (B, C, H, W) of whatever `Images` reads; (C, H, W) of a picture or its path.

    Tensors and arrays are returned as they are.
    """
    if isinstance(images, Tensor | np.ndarray):
        return images
    alone = _is_picture(images) or (isinstance(images, str | Path) and Path(images).is_file())
    batches, count = [], 0
    for batch in image_batches(images):
        batches.append(batch)
        count += len(batch)
        if count >= most:
            break
    return batches[0][0] if alone else torch.cat(batches)[:most]


def input_by(prepare: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """What turns a batch into a model's input: `prepare`, or bytes to 0..1 where there is none.

    The function that is returned raises an InputError for what is no batch (B, C, H, W), and for one
    with its channels last: its last axis has length 3 or 4, and the two before it are longer than 4.
    """
    if prepare is not None and not callable(prepare):
        raise InputError(f"prepare: {type(prepare).__name__} can't be called; accepted: a function")

    def ready(batch: Tensor) -> Tensor:
        if prepare is not None:
            count, batch = len(batch), prepare(batch)
            if not isinstance(batch, Tensor) or len(batch) != count:
                got = f"{len(batch)} images" if isinstance(batch, Tensor) else type(batch).__name__
                raise InputError(f"prepare: it makes {got} of {count}; accepted: a tensor of as many")
        elif batch.dtype == torch.uint8:
            batch = batch.to(torch.get_default_dtype()) / 255
        elif not batch.is_floating_point():
            raise InputError(f"images: numbers of {batch.dtype}; accepted: bytes (uint8), floats, or prepare=")
        check_shapes(images=(batch, "B C H W"))
        if batch.shape[3] in (3, 4) and min(batch.shape[1:3]) > 4:
            raise InputError(f"images: shape {tuple(batch.shape)} has the channels last; accepted: "
                             "(B, C, H, W), as images.permute(0, 3, 1, 2) gives it")
        return batch

    return ready


class _Items(Rows):
    """Single images that are fetched by number, each turned into a tensor when it is asked for."""

    def __init__(self, items: Sequence, single: Callable[[object], Tensor] | None, count: int) -> None:
        self.items, self.single, self.count = items, single, count

    def __len__(self) -> int:
        return self.count

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self._take(torch.tensor([0])).shape[1:])

    def _take(self, chosen: Tensor) -> Tensor:
        if not len(chosen):
            return torch.empty(0, *self.shape[1:])
        if isinstance(self.items, Rows):
            return self.items[chosen]
        return _stacked([self.single(self.items[i]) for i in chosen.tolist()])


def _picked(item: object, key: str | int | None = None) -> object:
    """The images in what a source gives, be it in dicts and tuples; a list of single images whole."""
    if isinstance(item, Mapping):
        return _picked(item[_entry(item, key)])
    if not isinstance(item, list | tuple):
        if key is not None:
            raise InputError(f"key: {key!r} given, but the images come in no dict or tuple")
        return item
    if isinstance(key, int):
        if not -len(item) <= key < len(item):
            raise InputError(f"key: {key} is no place in a tuple of {len(item)}")
        return _picked(item[key])
    if not item:
        raise InputError("images: an empty list in place of images")
    files = isinstance(item[0], str | Path)  # names beside other images are no images
    singles = [_is_single(member) and isinstance(member, str | Path) == files for member in item]
    if isinstance(item, list) and all(singles):
        return item
    if singles[0] and sum(singles) > 1:
        raise InputError(f"images: which of {sum(singles)} images side by side? accepted: key=0 for the "
                         "first, or a list of nothing but images")
    return _picked(item[0], key)


def _entry(item: Mapping, key: str | int | None) -> object:
    """Which entry of a dict holds the images."""
    if key is not None:
        return one_of("key", key, list(item))
    named = [name for name in ENTRIES if name in item]
    found = named or [name for name, value in item.items()
                      if _is_single(value) or getattr(value, "ndim", 0) > 3]
    if not named and len(found) != 1:
        raise InputError("images: which entry of the dict? accepted: key=, one of "
                         + ", ".join(map(str, item)))
    return found[0]


def _is_picture(item: object) -> bool:
    """Whether it is PIL's, a package that need not be there."""
    return hasattr(item, "getbands") and hasattr(item, "convert")


def _is_single(item: object) -> bool:
    return _is_picture(item) or isinstance(item, str | Path) or (
        isinstance(item, Tensor | np.ndarray) and item.ndim == 3)


def _dimensions(item: object, what: str) -> int:
    """How many axes it has as a tensor; an InputError for what is no image."""
    if isinstance(item, list) and item:
        return 4
    if _is_picture(item) or isinstance(item, str | Path):
        return 3
    if not isinstance(item, Tensor | np.ndarray) or item.ndim < 2:
        shape = f" of shape {tuple(item.shape)}" if hasattr(item, "shape") else ""
        raise InputError(f"images: {what} is a {type(item).__name__}{shape}, not an image")
    return item.ndim


def _tensor(item: object) -> Tensor:
    """A tensor of an image or of a batch; an array's channels are brought to the front."""
    if isinstance(item, str | Path):
        try:
            with _file(item) as picture:
                _check_mode(picture.mode, item)
                item = _upright(picture).convert("RGB")
        except InputError:
            raise
        except Exception as error:  # PIL's decoders raise what they like
            raise InputError(f"images: {item} can't be read ({error})") from error
    if _is_picture(item):
        _check_mode(item.mode, "a picture")
        array = np.array(item if item.mode in ("L", "RGB") else item.convert("RGB"))  # (H, W) or (H, W, C)
        item = torch.from_numpy(array).view(*array.shape[:2], -1).permute(2, 0, 1).contiguous()
    if isinstance(item, np.ndarray):
        array = _channels_first(item)
        double = array.dtype.kind == "f" and array.itemsize > 4
        kind = np.float32 if double else array.dtype.newbyteorder("=")
        item = torch.from_numpy(array.astype(kind, order="C"))  # a copy
    _dimensions(item, "an item")
    return item


def _channels_first(array: np.ndarray) -> np.ndarray:
    """A view (..., C, H, W) of bytes or floats, told by 1, 3 or 4 channels; a grey image gets an axis."""
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"images: an array of {array.dtype}; accepted: uint8 from 0 to 255, or floats")
    if array.ndim == 2:
        return array[None]
    first, last = (array.ndim in (3, 4) and array.shape[axis] in CHANNELS for axis in (-3, -1))
    if first == last:
        raise InputError(f"images: an array of shape {array.shape} doesn't tell where its channels are; "
                         "accepted: 1, 3 or 4 of them, first or last, or a tensor (N, C, H, W)")
    return array if first else np.moveaxis(array, -1, -3)


def _resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Scaled until they cover the size, and cut to it around the middle; (..., H, W)."""
    if size is None:
        return images
    from torchvision.transforms.v2 import functional  # takes a second to import

    scale = max(new / old for new, old in zip(size, images.shape[-2:]))
    covering = [max(new, round(old * scale)) for new, old in zip(size, images.shape[-2:])]
    return functional.center_crop(functional.resize(images, covering, antialias=True), list(size))


def _stacked(images: list[Tensor]) -> Tensor:
    _check_alike([image.shape for image in images])
    if len({image.dtype for image in images}) > 1:
        raise InputError("images: bytes and floats are mixed; accepted: one type")
    return torch.stack(images)


def _check_alike(shapes: Iterable[Sequence[int]]) -> None:
    found = list(dict.fromkeys(map(tuple, shapes)))
    if len(found) > 1:
        raise InputError(f"images: their sizes vary, {found[0]} and {found[1]} (C, H, W); accepted: one "
                         "size, as Images(source, size=224) makes it")


def _check_singles(items: list, size: tuple[int, int] | None) -> None:
    """Look at what is no image, and at sizes that vary, without decoding anything."""
    shapes, wrong = [], []
    for item in items:
        if isinstance(item, str | Path):
            try:
                with _file(item) as picture:
                    _check_mode(picture.mode, item)
                    sides = picture.height, picture.width
                    if picture.format != "PNG" or "exif" in picture.info:  # else a PNG would be decoded for it
                        sides = sides[::-1] if picture.getexif().get(TURNED, 1) > 4 else sides
                    shapes.append((3, *sides))
            except OSError:
                wrong.append(Path(item).name)
        elif _is_picture(item):
            shapes.append((1 if item.mode == "L" else 3, item.height, item.width))
        else:
            shapes.append((_channels_first(item) if isinstance(item, np.ndarray) else item).shape)
    if wrong:
        more = ", ..." if len(wrong) > 3 else ""
        raise InputError(f"images: {len(wrong)} of {len(items)} files are no images: "
                         f"{', '.join(wrong[:3])}{more}; accepted: images alone, or a list of paths")
    _check_alike(shapes if size is None else [shape[:-2] for shape in shapes])


def _files(path: Path) -> list[Path]:
    """A file itself, or all files in a folder and those within it but the hidden ones."""
    if not path.exists():
        raise InputError(f"images: {str(path)!r} is neither a file nor a folder")
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in found if not file.is_dir() and (file == path or not any(
        part.startswith(".") or part.lower() in LEFT for part in file.relative_to(path).parts))]


def _file(path: str | Path) -> object:
    """A picture that is open, of which only the head has been read."""
    return needed("PIL.Image", "images", "pillow").open(path)


def _upright(picture: object) -> object:
    """The picture as the camera was held."""
    return needed("PIL.ImageOps", "images", "pillow").exif_transpose(picture)


def _check_mode(mode: str, what: object) -> None:
    if mode not in EIGHT_BITS:
        raise InputError(f"images: {what} has not 8 bits a channel (PIL's mode {mode}); accepted: 8")
