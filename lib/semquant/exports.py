"""What an explanation gives away: a frame, JSON, a file to load again, figures, a page of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from safetensors import safe_open
from torch import Tensor

from semquant.checks import InputError, check_finite, needed
from semquant.files import checksum, reading, write_tensors, write_whole
from semquant.images import batch_of
from semquant.names import in_full, read_names
from semquant.views import charts, explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame

    from semquant.images import Images

__all__ = ["Exports"]

FORMAT = "semquant explanation 1"  # of files; another number is another format


class Exports:
    """What `semquant.Explanation` has to take its numbers elsewhere."""

    def to_frame(self) -> DataFrame:
        """All numbers as a pandas frame, a row for each image and concept.

        Columns ``image``, ``index`` and ``concept`` (its number and name), ``y``, ``alpha``,
        ``contribution``, and what is an image's: ``score``, ``bias`` and ``residual``. An image's
        contributions, its bias and its residual add up to its score.
        """
        pandas = needed("pandas", "to_frame")
        count, n = self.y.shape
        columns = {"image": torch.arange(count).repeat_interleave(n),
                   "index": torch.arange(n).repeat(count), "concept": self.names * count,
                   "y": self.y.flatten(), "alpha": self.alpha.flatten(),
                   "contribution": self.contributions.flatten(),
                   "score": self.yhat.repeat_interleave(n), "bias": self.bias,
                   "residual": self.residual.repeat_interleave(n)}
        return pandas.DataFrame({key: _array(value) if isinstance(value, Tensor) else value
                                 for key, value in columns.items()})

    def to_json(self, path: str | Path | None = None) -> str:
        """All numbers as strict JSON, also written to a file where a path is given.

        ``names``, ``bias``, and for each of ``images`` its ``score``, ``explained`` score,
        ``residual``, and lists of ``y``, ``alpha`` and ``contributions``, with as many digits as give
        back the same number. InputError if one is NaN or infinite: JSON has no word for it.
        """
        check_finite(bias=torch.tensor(self.bias), **self._tensors())
        fields = {"score": self.yhat, "explained": self.total, "residual": self.residual, "y": self.y,
                  "alpha": self.alpha, "contributions": self.contributions}
        rows = zip(*(_shortest(values) for values in fields.values()))
        text = json.dumps({"format": FORMAT, "names": self.names, "bias": self.bias,
                           "images": [dict(zip(fields, row)) for row in rows]}, allow_nan=False)
        if path is not None:
            write_whole(path, text + "\n")
        return text

    def save(self, path: str | Path) -> None:
        """Write everything as a safetensors file, with a checksum, for `load`."""
        tensors = self._tensors() | {"bias": torch.tensor([self.bias], dtype=torch.float64)}
        write_tensors(path, "explanation", {"format": FORMAT, "names": self.names}, tensors)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, to the bit.

        InputError for any other file, a damaged one, or one that claims more than it holds: sizes
        are compared with the file's before anything is read. No code in a file is run.
        """
        with reading(path, "explanation", "explanation, or is damaged"):
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["explanation"])
                if about["format"] != FORMAT:
                    raise InputError(f"explanation: {path} is of the format {about['format']!r}, "
                                     f"not {FORMAT!r}")
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            if about.pop("sha256") != checksum(about, tensors):
                raise InputError(f"explanation: {path} is damaged, its checksum is another")
            bias = tensors.pop("bias").item()
            return cls(**tensors, bias=bias, names=about["names"])

    def _tensors(self) -> dict[str, Tensor]:
        return {"yhat": self.yhat, "y": self.y, "alpha": self.alpha}

    def plot(self, image_index: int = 0, images: Images | object = None,
             undo: Callable[[Tensor], Tensor] | Sequence | None = None, top: int = 10) -> Figure:
        """Draw one image's score as a waterfall: b, the `top` contributions, the others, the residual.

        Parameters
        ----------
        image_index : int
            Which of the B images.
        images : Images, or what they can be made from, optional
            All B images, to have the picture beside it; or that image alone.
        undo : (mean, std), transform or callable, optional
            Shows images as they were before normalisation, see `semquant.shown.shown`.
        top : int
            How many concepts have a bar of their own.

        Returns
        -------
        matplotlib Figure
            The numbers in it add up as they are printed.
        """
        return charts.waterfall(self, image_index, self._pictures(images), undo, top)

    def swarm(self, top: int = 12) -> Figure:
        """Draw the contributions of the `top` concepts over all images as a matplotlib Figure.

        A dot for each image, coloured by the concept's y from its lowest to its highest; the concept
        with the largest mean contribution in size is at the top.
        """
        return charts.swarm(self, top)

    def save_html(self, path: str | Path, images: Images | object = None,
                  undo: Callable[[Tensor], Tensor] | Sequence | None = None,
                  names: Sequence[str] | Mapping[int, str] | str | Path | None = None,
                  title: str = "What a score is made of") -> Path:
        """Write one file to look at the explanation in a browser, from disk and without a network.

        Images can be chosen and concepts switched off; the explained score follows, beside the
        network's own. Of more than 100 images the first 100 are in it, which it says.

        `images`, of all B, and `undo` as in `plot`; `names` are what the concepts are called, a list, a
        dict or a YAML file (see `semquant.names`), by default as here; `title` stands above, e.g. which
        network and score these are.
        """
        n = len(self.names)
        if isinstance(names, str | Path):
            names = read_names(names, n)
        if isinstance(names, Mapping):
            names = in_full(names, n)
        names = self.names if names is None else list(names)
        if len(names) != n:
            raise InputError(f"names: {len(names)} names for {n} concepts")
        return explained.write(self, path, self._pictures(images), undo, names, title)

    def _pictures(self, images: object) -> Tensor | ndarray | None:
        """One more than there are here, if there are more."""
        return None if images is None else batch_of(images, len(self) + 1)


def _array(values: Tensor):
    return (values.float() if values.dtype == torch.bfloat16 else values).detach().cpu().numpy()


def _shortest(values: Tensor) -> list:
    """The numbers with no more digits than their precision needs: single 0.1 is no 0.10000000149."""
    values = _array(values)
    return values.astype(str).astype(float).tolist() if values.dtype.itemsize < 8 else values.tolist()
