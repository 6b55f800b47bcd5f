"""What the jobs of both experiments share: a performer that is loaded, or trained and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semquant import performers
from semquant.files import load_or_make
from semquant.performers import Performer
from semquant.settings import Settings, build_root
from semquant.store import record, record_of, source_digest, write_record
from semquant.training import choose_device

__all__ = ["kept_performer"]


def kept_performer(
    net: Performer,
    path: Path,
    settings: Settings,
    train: Callable[..., list[dict[str, float]]],
    judge: Callable[[], dict],
    code: tuple[str, ...],
    **about: object,
) -> Performer:
    """Give a performer its weights: those kept at a path, or, where there are none, trained ones.

    Parameters
    ----------
    net : Performer
        With fresh weights.
    path : Path
        Where its weights belong; its record is written beside.
    settings : Settings
    train : callable
        Trains `net` and returns its history; takes ``checkpoint``, ``key`` and ``progress``.
    judge : callable
        Measures the trained `net` and returns the metrics of its record.
    code : tuple of str
        The modules that decide what training does: a checkpoint of other code is not gone on with.
    **about
        What the record says of this performer.

    Returns
    -------
    Performer
        `net`, on the settings' device and in evaluation mode.

    Raises
    ------
    InputError
        If the kept weights are of another architecture.
    """

    def make() -> dict[str, Tensor]:
        checkpoint = build_root() / "checkpoints" / f"{path.stem}.pt"
        with record(settings, **about) as content:
            content["history"] = train(checkpoint=checkpoint, progress=path.stem,
                                       key=f"{path.stem}-{source_digest(*code)}")
            content["parameters"] = sum(p.numel() for p in net.parameters())
            content["metrics"] = judge()
        write_record(record_of(path), content)
        checkpoint.unlink(missing_ok=True)
        checkpoint.with_name(checkpoint.name + ".sha256").unlink(missing_ok=True)
        return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}

    performers.load_weights(net, load_or_make(path, load_file, make, save_file), path.name)
    if settings.channels_last:
        net.to(memory_format=torch.channels_last)
    return net.to(choose_device(settings.device)).eval()
