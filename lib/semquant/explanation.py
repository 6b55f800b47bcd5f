"""An explanation of scores: what each concept contributes, and what is left unexplained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from semquant.checks import InputError, check_assignment, check_finite, check_shapes, needed, number
from semquant.files import write_whole
from semquant.images import Images, image_batches, input_by
from semquant.models import layer_of, unwrapped
from semquant.names import in_full, read_names
from semquant.targets import resolve
from semquant.training import evaluation_mode
from semquant.views import charts, explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["UNASSIGNED", "Explanation", "Reason", "grad_cam"]

#: The name of the group of concepts that belong to no group.
UNASSIGNED = "unassigned"

FORMAT = "semquant explanation 1"  # of files; another number is another format


class Reason(NamedTuple):
    """One concept's part in one image's score."""

    index: int
    name: str
    contribution: float  # alpha_i y_i, in score units
    share: float  # |alpha_i y_i| / sum_j |alpha_j y_j|


@dataclass
class Explanation:
    r"""An additive explanation of B scores, :math:`\hat y \approx \sum_i \alpha_i y_i + b` (eq. 1).

    Attributes
    ----------
    yhat : tensor (B,)
        The performer's scores.
    y, alpha : tensor (B, n)
        Values and weights of the concepts.
    bias : float
        b, the same for all images.
    names : list of str, optional
        What the n concepts are called.
    """

    yhat: Tensor
    y: Tensor
    alpha: Tensor
    bias: float
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        n = check_shapes(yhat=(self.yhat, "B"), y=(self.y, "B n"), alpha=(self.alpha, "B n"))["n"]
        self.bias = float(self.bias)
        self.names = [f"concept {i}" for i in range(n)] if self.names is None else list(self.names)
        if len(self.names) != n:
            raise InputError(f"names: {len(self.names)} names for {n} concepts")

    def __len__(self) -> int:
        return len(self.yhat)

    def __getitem__(self, index) -> Explanation:
        """The images of an index: a slice, or a tensor of numbers or of booleans."""
        return Explanation(self.yhat[index], self.y[index], self.alpha[index], self.bias, self.names)

    @property
    def contributions(self) -> Tensor:
        """alpha_i y_i of each concept, (B, n), in score units."""
        return self.alpha * self.y

    @property
    def total(self) -> Tensor:
        """The explained score, sum_i alpha_i y_i + b, (B,)."""
        return self.contributions.sum(dim=1) + self.bias

    @property
    def residual(self) -> Tensor:
        """What the concepts don't explain, yhat minus the explained score, (B,)."""
        return self.yhat - self.total

    @property
    def shares(self) -> Tensor:
        r"""The paper's :math:`c_i = |\alpha_i y_i| / \sum_j |\alpha_j y_j|`, (B, n); 0 where nothing is."""
        size = self.contributions.abs()
        return size / size.sum(dim=1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)

    def top(self, k: int | None = None, share: float | None = None) -> list[list[Reason]]:
        """The most important reasons of each image, largest contribution in size first.

        At most `k`, and only as many as are needed to reach a `share` (0 to 1) of the sum of all
        contributions in size: the paper doesn't say which bars it calls the most important reasons.
        Contributions of exactly 0 are no reasons.
        """
        n = len(self.names)
        k = n if k is None else number("k", k, 1, integer=True)
        share = 1.0 if share is None else number("share", share, 0, 1)
        values = self.contributions.detach().double().cpu()
        shares = values.abs() / values.abs().sum(dim=1, keepdim=True).clamp_min(1e-300)
        order = shares.argsort(dim=1, descending=True, stable=True)
        reached = shares.gather(1, order).cumsum(dim=1)
        found = []
        for b in range(len(self)):
            # all that come before the share is reached, and the one that reaches it
            needed = n if share == 1.0 else int((reached[b] < share - 1e-9).sum()) + 1
            found.append([Reason(i, self.names[i], float(values[b, i]), float(shares[b, i]))
                          for i in order[b, : min(k, needed)].tolist()
                          if values[b, i] != 0])
        return found

    def merge(self, assignment: Tensor | Sequence[int], groups: Sequence[str]) -> Explanation:
        r"""Sum the concepts' contributions to those of groups (section 4.1).

        :math:`Contri_p = \sum_{i \in \Omega_p} \alpha_i y_i`.

        Parameters
        ----------
        assignment : (n,) whole numbers
            The group of each concept; -1 for none.
        groups : sequence of P str
            The groups' names.

        Returns
        -------
        Explanation
            Of P + 1 concepts, the last of them what belongs to no group. Its y are the summed
            contributions and its alpha are 1.
        """
        assignment = torch.as_tensor(assignment)
        p, n = len(groups), len(self.names)
        if assignment.shape != (n,):
            raise InputError(f"assignment: shape {tuple(assignment.shape)} is not ({n},)")
        check_assignment(assignment, p)
        column = torch.where(assignment < 0, p, assignment).long().to(self.y.device)
        merged = self.y.new_zeros(len(self), p + 1).index_add(1, column, self.contributions)
        names = [*groups, UNASSIGNED]
        return Explanation(self.yhat, merged, torch.ones_like(merged), self.bias, names)

    def reasons(self, k: int = 3, share: float | None = None) -> list[str]:
        """Each image's explanation in a sentence, with at most `k` reasons (see `top`).

        Two digits are printed, and what is printed adds up: rounding goes to what is not explained.
        """
        sentences = []
        for b, top in enumerate(self.top(k, share)):
            score, total, bias = (round(float(v), 2) for v in (
                self.yhat[b], self.contributions[b].sum(), self.bias))
            named = [round(r.contribution, 2) for r in top]
            text = [f"{r.name} {_signed(value)} ({r.share:.0%})" for r, value in zip(top, named)]
            text += [f"{name} {_signed(value)}" for name, value in (
                ("other concepts", total - sum(named)), ("bias", bias), ("not explained", score - total - bias))]
            sentences.append(f"score {_signed(score).lstrip('+')}: {', '.join(text)}")
        return sentences

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
        tensors = {key: value.detach().cpu().contiguous() for key, value in self._tensors().items()}
        tensors["bias"] = torch.tensor([self.bias], dtype=torch.float64)
        about = {"format": FORMAT, "names": self.names}
        about["sha256"] = _checksum(about, tensors)
        # one entry: safetensors writes several in an order that changes from run to run
        write_whole(path, save(tensors, {"explanation": json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote, to the bit.

        InputError for any other file, a damaged one, or one that claims more than it holds: sizes
        are compared with the file's before anything is read. No code in a file is run.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["explanation"])
                if about["format"] != FORMAT:
                    raise InputError(f"explanation: {path} is of the format {about['format']!r}, "
                                     f"not {FORMAT!r}")
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            if about.pop("sha256") != _checksum(about, tensors):
                raise InputError(f"explanation: {path} is damaged, its checksum is another")
            bias = tensors.pop("bias").item()
            return cls(**tensors, bias=bias, names=about["names"])
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"explanation: {path} can't be read ({error.strerror or error})") from error
        except Exception as error:  # no such entry, no safetensors file
            raise InputError(f"explanation: {path} holds no explanation, or is damaged") from error

    def _tensors(self) -> dict[str, Tensor]:
        return {"yhat": self.yhat, "y": self.y, "alpha": self.alpha}

    def plot(self, image_index: int = 0, images: Tensor | None = None,
             undo: Callable[[Tensor], Tensor] | Sequence | None = None, top: int = 10) -> Figure:
        """Draw one image's score as a waterfall: b, the `top` contributions, the others, the residual.

        Parameters
        ----------
        image_index : int
            Which of the B images.
        images : tensor (B, C, H, W) or that image (C, H, W), optional
            To have the picture beside it.
        undo : (mean, std), transform or callable, optional
            Shows images as they were before normalisation, see `semquant.shown.shown`.
        top : int
            How many concepts have a bar of their own.

        Returns
        -------
        matplotlib Figure
            The numbers in it add up as they are printed.
        """
        return charts.waterfall(self, image_index, images, undo, top)

    def swarm(self, top: int = 12) -> Figure:
        """Draw the contributions of the `top` concepts over all images as a matplotlib Figure.

        A dot for each image, coloured by the concept's y from its lowest to its highest; the concept
        with the largest mean contribution in size is at the top.
        """
        return charts.swarm(self, top)

    def save_html(self, path: str | Path, images: Tensor | None = None,
                  undo: Callable[[Tensor], Tensor] | Sequence | None = None,
                  names: Sequence[str] | Mapping[int, str] | str | Path | None = None,
                  title: str = "What a score is made of") -> Path:
        """Write one file to look at the explanation in a browser, from disk and without a network.

        Images can be chosen and concepts switched off; the explained score follows, beside the
        network's own. Of more than 100 images the first 100 are in it, which it says.

        Parameters
        ----------
        path : path
        images, undo
            As in `plot`; images of all B.
        names : list of n str, dict or path of a YAML file, optional
            What the concepts are called, by default `names`; see `semquant.names`.
        title : str
            What stands above, e.g. which network and score these are.
        """
        n = len(self.names)
        if isinstance(names, str | Path):
            names = read_names(names, n)
        if isinstance(names, Mapping):
            names = in_full(names, n)
        names = self.names if names is None else list(names)
        if len(names) != n:
            raise InputError(f"names: {len(names)} names for {n} concepts")
        return explained.write(self, path, images, undo, names, title)


def _array(values: Tensor):
    return (values.float() if values.dtype == torch.bfloat16 else values).detach().cpu().numpy()


def _shortest(values: Tensor) -> list:
    """The numbers with no more digits than their precision needs: single 0.1 is no 0.10000000149."""
    values = _array(values)
    return values.astype(str).astype(float).tolist() if values.dtype.itemsize < 8 else values.tolist()


def _checksum(about: dict, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of what a file says and of its tensors, their names, types and shapes."""
    found = hashlib.sha256(json.dumps({key: about[key] for key in sorted(about)}).encode())
    for key in sorted(tensors):
        found.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        found.update(tensors[key].contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _signed(value: float) -> str:
    """Two digits, with a true minus sign and without a negative zero."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def grad_cam(model: nn.Module, layer: str, images: Images | object, target: int | str,
             batch_size: int = 64) -> Tensor:
    """Grad-CAM heat maps, computed by Captum.

    Parameters
    ----------
    model : Module
        images (B, C, H, W) -> logits (B, K). It is run in evaluation mode and left as it was.
    layer : str
        Name of the layer in ``model.named_modules()`` whose maps are weighted.
    images : Images, or what they can be made from
        A tensor (B, C, H, W), a loader and more, see `semquant.Images`.
    target : int or str
        Which output, by number or by name.

    Returns
    -------
    tensor (B, H, W)
        At least 0, in the images' size (bilinear), not normalised.
    """
    from captum.attr import LayerAttribution, LayerGradCam  # takes a second to import

    found = layer_of(model, layer)
    target, ready = resolve(target, unwrapped(model)), input_by(None)
    cam = LayerGradCam(model, found)
    maps = []
    with evaluation_mode(model), torch.enable_grad():
        for batch in image_batches(images, batch_size):
            batch = ready(batch.detach())
            heat = cam.attribute(batch.clone(), target=target, relu_attributions=True).detach()
            heat = LayerAttribution.interpolate(heat, tuple(batch.shape[2:]), "bilinear")
            maps.append(heat[:, 0])  # (B, 1, H, W) -> (B, H, W)
    return torch.cat(maps)
