"""What every data set of Experiment 1 gives: images, which are positive, and where the parts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

__all__ = ["Images"]


@dataclass(frozen=True)
class Images:
    """Images (N, 3, S, S) uint8 of one binary task; which are `positive`, (N,) bool; what each
    shows, e.g. ``"dog"`` or ``"background"``; an id for each, unique within its data set.

    Where parts do not overlap, `labels` (N, S, S) uint8 has the topmost visible one at each pixel,
    its position in `parts` plus 1, 0 for none. Where they may, `masks` (N, P, S, S) bool has one
    for each of `parts`, or the same packed, eight pixels to a byte along the last axis as
    `numpy.packbits` does: (N, P, S, ceil(S / 8)) uint8. At most one of both is given. Parts that
    `group_of` lacks are in no group.
    """

    images: torch.Tensor
    positive: torch.Tensor
    kinds: list[str]
    ids: list[str]
    labels: torch.Tensor | None = None
    masks: torch.Tensor | None = None
    parts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    group_of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("positive", "kinds", "ids", "labels", "masks"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.images):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.images)} images")
        if self.labels is not None and self.masks is not None:
            raise ValueError("labels and masks are both given; one of them is enough")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | torch.Tensor) -> Images:
        """Return the images at `indices` (whole numbers, or a (N,) bool tensor), in that order."""
        chosen = torch.as_tensor(indices)
        chosen = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.long()
        tensors = {name: getattr(self, name)[chosen] for name in
                   ("images", "positive", "labels", "masks") if getattr(self, name) is not None}
        return replace(self, kinds=[self.kinds[i] for i in chosen.tolist()],
                       ids=[self.ids[i] for i in chosen.tolist()], **tensors)

    def group_masks(self, size: int | tuple[int, int] | None = None) -> torch.Tensor:
        """Return where the P part groups are: (N, P, H, W) float32, the share of each cell's area
        that the union of the group's parts covers. `size` is H and W, the images' own if not given.
        All zero for data without parts."""
        height, width = self.images.shape[-2:]
        out = (height, width) if size is None else (size, size) if isinstance(size, int) else size
        result = torch.zeros(len(self), len(self.groups), *out)
        if self.labels is None and self.masks is None:
            return result
        members = torch.zeros(len(self.groups), len(self.parts) + 1, dtype=torch.bool)
        for value, part in enumerate(self.parts, start=1):
            if part in self.group_of:
                members[self.groups.index(self.group_of[part]), value] = True
        for start in range(0, len(self), 64):  # a few at a time: full-size masks are large
            chunk = slice(start, start + 64)
            if self.labels is not None:
                fine = members[:, self.labels[chunk].long()].transpose(0, 1)  # (n, P, S, S)
            else:
                masks = self.masks[chunk]
                if masks.dtype == torch.uint8:
                    unpacked = np.unpackbits(masks.numpy(), axis=-1, count=width)
                    masks = torch.from_numpy(unpacked).bool()
                fine = torch.stack([masks[:, group[1:]].any(dim=1) for group in members], dim=1)
            fine = fine.float()
            result[chunk] = fine if out == (height, width) else adaptive_avg_pool2d(fine, out)
        return result
