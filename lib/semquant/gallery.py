"""What a filter is: the images in which it fires most, cropped around its peak."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semquant.checks import InputError, needed, number, one_of
from semquant.concepts import FilterConcepts
from semquant.images import Images, image_batches, input_by
from semquant.names import in_full, read_names
from semquant.shown import pictures, said
from semquant.training import home_of
from semquant.views import page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Gallery", "Peak", "gallery"]

CROP, WHOLE = 96, 112  # pixels that a crop and the longer side of a picture are kept at
CELLS, SHARE = 3, 3  # a crop is as wide as 3 cells of the map, and at least a third of the picture
HALF = 0.5  # of the peak: a filter is said to fire where its map is above this


@dataclass(frozen=True)
class Peak:
    """Where a filter fires in an image."""

    image: int  # its place among the images, from 0
    value: float  # the map's largest value there
    place: tuple[int, int]  # row and column of it in the map
    box: tuple[int, int, int, int]  # the crop's upper and left edge, height and width, in pixels
    crop: np.ndarray  # (h, w, 3) uint8, made small
    whole: np.ndarray  # (h, w, 3) uint8, all of the image made small
    map: np.ndarray  # (H, W), the filter's map by its peak, 0 to 1
    size: tuple[int, int]  # height and width of the image

    def close(self) -> np.ndarray:
        """The crop with a line around where the filter fires, (h, w, 3) uint8."""
        top, left, height, width = self.box
        there = _enlarged(self.map, self.size)[top : top + height, left : left + width]
        return _outlined(self.crop, _enlarged(there, self.crop.shape[:2]) >= HALF)

    def far(self) -> np.ndarray:
        """All of the image, pale where the filter doesn't fire, with a frame around the crop."""
        shape = self.whole.shape[:2]
        weight = 1 / (1 + np.exp(-20 * (_enlarged(self.map, shape) - HALF)))[..., None]
        pale = 178 + 0.3 * self.whole.mean(axis=2, keepdims=True)
        inside = np.zeros(shape, dtype=bool)
        corners = np.array([self.box[:2], np.add(self.box[:2], self.box[2:])])
        (top, left), (bottom, right) = (corners * shape / self.size).round().astype(int)
        inside[top:bottom, left:right] = True
        picture = self.whole * weight + pale * (1 - weight)
        return _outlined(picture.round().clip(0, 255).astype(np.uint8), inside)


@dataclass
class Gallery:
    """The images in which filters fire most.

    Of each filter that was asked for, by number, its highest peaks above 0, highest first; of equal ones
    that with the larger sum over the map.
    """

    layer: str
    names: list[str]  #: of all n filters of the layer
    peaks: dict[int, list[Peak]]
    fires: dict[int, int]  #: in how many of the images each of them has a peak above 0
    count: int  #: of images
    note: str = ""  #: what can't be shown as it is, '' where all can

    def named(self, names: str | Path | Mapping[int, str]) -> Gallery:
        """The same with names, from a dict by number or from a file, see `semquant.names`."""
        n = len(self.names)
        names = names if isinstance(names, Mapping) else read_names(names, n, self.layer)
        return replace(self, names=in_full(names, n))

    def about(self, filter: int) -> str:
        """One line: what the filter is called and how often it fires."""
        one_of("filter", filter, self.peaks)
        return f"{self.names[filter]}: fires in {self.fires[filter]} of {self.count} images"

    def figure(self, filter: int) -> Figure:
        """Draw a filter's highest peaks as a matplotlib Figure: crops above, whole images below.

        The line in a crop goes around where the map is above half of its peak; in a whole image the
        rest is pale, and the frame is the crop's.
        """
        Figure = needed("matplotlib.figure", "figure").Figure
        needed("matplotlib.pyplot", "figure")  # so that a notebook shows it
        title, peaks = self.about(filter), self.peaks[filter]
        columns = max(len(peaks), 4)
        drawn = Figure(figsize=(1.06 * columns, 2.75 if peaks else 0.7), layout="constrained")
        drawn.get_layout_engine().set(hspace=0, wspace=0.01, h_pad=0.02, w_pad=0.02)
        drawn.suptitle(title + ("; " + self.note if self.note else ""), x=0.01, ha="left", fontsize=9.5)
        for k, peak in enumerate(peaks):
            for row, picture in enumerate((peak.close(), peak.far())):
                ax = drawn.add_subplot(2, columns, row * columns + k + 1)
                ax.imshow(picture)
                ax.set_axis_off()
                if row == 0:
                    ax.set_title(f"peak {peak.value:#.3g}", fontsize=8.5, pad=2)
                else:
                    ax.text(0.5, -0.04, f"image {peak.image}", transform=ax.transAxes, fontsize=8,
                            ha="center", va="top")
        return drawn

    def save_html(self, path: str | Path) -> Path:
        """Write one file with all these filters, in which they can be looked through and named.

        It needs no network, and gives the names typed in as a file for `semquant.names.read_names`.
        """
        title = f"Filters of {self.layer}"
        return page.save(path, "gallery", title, {
            "layer": self.layer, "title": title, "count": self.count, "note": self.note, "how": HOW,
            "filters": [self._packed(i) for i in self.peaks]})

    def _packed(self, i: int) -> dict:
        name = "" if self.names[i] == f"filter {i}" else self.names[i].removesuffix(f" ({i})")
        return {"index": i, "name": name, "fires": self.fires[i], "peaks": [
            {"image": p.image, "value": p.value, "close": page.picture(p.close()),
             "far": page.picture(p.far())} for p in self.peaks[i]]}

    def _repr_html_(self) -> str:
        """The first filters, for a notebook."""
        few = list(self.peaks)[:6]
        rows = [f"<p>{page.escape(self.about(i))}<br>" + "".join(
            f'<img src="{page.picture(p.close())}" width="72" height="72" style="margin:2px" '
            f'alt="image {p.image}, peak {p.value:#.3g}">' for p in self.peaks[i]) + "</p>" for i in few]
        left = len(self.peaks) - len(few)
        more = f"{left} more filters: " * (left > 0) + "figure(filter) draws one, save_html(path) all"
        return "".join(rows) + f"<p>{page.escape('; '.join(filter(None, (more, self.note))))}</p>"


HOW = ("A crop is as wide as 3 cells of the filter's map around its peak, and at least a third of the "
       "picture; the line goes around where the map is above half of the peak. In the whole pictures the "
       "rest is pale, and the frame is the crop's.")


def gallery(concepts: FilterConcepts, model: nn.Module, images: Images | object,
            filters: int | str | Sequence[int | str] | None = None, top: int = 9,
            undo: Callable[[Tensor], Tensor] | Sequence | None = None,
            prepare: Callable[[Tensor], Tensor] | None = None, batch_size: int = 64) -> Gallery:
    """Find the images in which filters fire most, see `Gallery`.

    Parameters
    ----------
    concepts, model, images, prepare, batch_size
        As in `semquant.measure.measure`. Each image is run once, and shown as it was before `prepare`.
        Of the pictures only crops and small copies of those that are shown are kept.
    filters : int, str, or a sequence of them, optional
        Which, by number or by name; all by default.
    top : int
        Peaks of each.
    undo : (mean, std), transform or callable, optional
        How the images are shown as they were before normalisation, see `semquant.shown.shown`.

    Notes
    -----
    A filter's receptive field is taken to be the part of the image that lies under its cell of the
    map. It is really larger; so a crop is grown to 3 cells, and to a third of the picture, where
    something can be recognised.
    """
    number("top", top, 1, integer=True)
    if not isinstance(concepts, FilterConcepts):
        raise InputError(f"concepts: {type(concepts).__name__} has no filters, FilterConcepts has")
    best, count, n, ready = None, 0, 0, input_by(prepare)
    stretched, outside = 0, 0.0
    for batch in image_batches(images, batch_size):
        x = concepts.measure(model, ready(batch.to(home_of(model))), 0, prior=False).x  # of any target
        x = x.float().cpu()
        if best is None:
            n = x.shape[1]
            best = _Best(_chosen(filters, concepts.names(n)), top)
        there = pictures(batch, undo)
        best.see(x, there.pixels, count)
        count += len(batch)
        stretched, outside = stretched + int(there.stretched.sum()), outside + float(there.outside.sum())
    return Gallery(concepts.layer, concepts.names(n), dict(zip(best.filters, best.peaks)),
                   dict(zip(best.filters, best.fires.tolist())), count,
                   said(stretched, count, outside / count))


def _chosen(filters: object, names: list[str]) -> list[int]:
    """The numbers of some filters, or of all of them."""
    if filters is None:
        return list(range(len(names)))
    several = isinstance(filters, Iterable) and not isinstance(filters, str) and getattr(filters, "ndim", 1)
    return [names.index(one_of("filters", i, names)) if isinstance(i, str)
            else number("filters", i, 0, len(names) - 1, integer=True) for i in (filters if several else [filters])]


class _Best:
    """The highest peaks so far of some filters."""

    def __init__(self, filters: list[int], top: int) -> None:
        self.filters, self.top = filters, top
        self.values = self.sums = torch.zeros(top, len(filters))  # 0 where there is none yet
        self.peaks: list[list[Peak]] = [[] for _ in filters]
        self.fires = torch.zeros(len(filters), dtype=torch.long)

    def see(self, x: Tensor, pixels: np.ndarray, first: int) -> None:
        """Look at the maps (B, n, H, W) and pictures (B, h, w, 3) of images, the first of that number."""
        x = x[:, self.filters]
        peaks, places = x.flatten(2).max(dim=2)  # (B, m)
        self.fires += (peaks > 0).sum(dim=0)
        # of equal peaks (a ReLU6 has many) the larger sum comes first, of equal sums the first image's
        sums = torch.cat([self.sums, x.clamp_min(0).sum(dim=(2, 3))])
        order = sums.argsort(dim=0, descending=True, stable=True)
        values, then = torch.cat([self.values, peaks]).gather(0, order).sort(
            dim=0, descending=True, stable=True)
        self.values, order = values[: self.top].clamp_min(0), order.gather(0, then)[: self.top]
        self.sums = sums.gather(0, order)
        small: dict[int, np.ndarray] = {}  # an image that several filters fire in is kept once
        for j in (order >= self.top).any(dim=0).nonzero().flatten().tolist():
            self.peaks[j] = [
                self.peaks[j][k] if k < self.top else self._peak(
                    k - self.top, x[k - self.top, j], int(places[k - self.top, j]), pixels, first, small)
                for k, value in zip(order[:, j].tolist(), self.values[:, j].tolist()) if value > 0]

    def _peak(self, b: int, map: Tensor, place: int, pixels: np.ndarray, first: int,
              small: dict[int, np.ndarray]) -> Peak:
        size, row, column = pixels.shape[1:3], *divmod(place, map.shape[1])
        box = crop_box((row, column), tuple(map.shape), size)
        top, left, height, width = box
        if b not in small:
            scale = WHOLE / max(size)
            small[b] = _resized(pixels[b], tuple(max(1, round(side * scale)) for side in size))
        crop = _resized(pixels[b, top : top + height, left : left + width], (CROP, CROP))
        value = float(map.max())
        part = (map / value).clamp_min(0).numpy()
        return Peak(first + b, value, (row, column), box, crop, small[b], part, size)


def crop_box(place: tuple[int, int], cells: tuple[int, int],
             size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Upper and left edge, height and width of the square of an image around a cell of its map."""
    side = max(CELLS * max(pixels / count for pixels, count in zip(size, cells)), min(size) / SHARE)
    side = min(round(side), *size)
    corner = [min(max(round((at + 0.5) * pixels / count - side / 2), 0), pixels - side)
              for at, count, pixels in zip(place, cells, size)]
    return (*corner, side, side)


def _enlarged(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    values = torch.from_numpy(np.ascontiguousarray(map))[None, None]
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, 3) of another size, smoothed where it becomes smaller."""
    values = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    values = F.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    return values[0].permute(1, 2, 0).round().byte().numpy()


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A picture with a line around a region: dark beside light, to be seen on any ground."""
    near = np.pad(inside, 1, mode="edge")
    around = [near[1:-1, :-2], near[1:-1, 2:], near[:-2, 1:-1], near[2:, 1:-1]]
    picture = picture.copy()
    picture[inside & ~np.logical_and.reduce(around)] = 255
    picture[~inside & np.logical_or.reduce(around)] = 20
    return picture
