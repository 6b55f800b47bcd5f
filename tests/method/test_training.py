"""The training loop: same seed same numbers, also when it was stopped in between."""

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.networks.performers import build
from semquant.training import (
    Diverged, Descent, FitOptions, OwnCheckpoint, TensorBatches, choose_device, seed_everything)
from semquant_book.files import Checkpoint
from semquant_book.study import performing
from semquant_book.study.performing import predecessor_rate, recipe_of, train_performer
from semquant_book.study.presets import load_settings


def run(epochs, checkpoint=None, key="", seed=0, stop_after=None, amp=False, lr=1e-2):
    """Train a tiny regression with dropout; returns its weights and history."""
    torch.manual_seed(1)
    x, y = torch.randn(50, 4), torch.randn(50, 1)
    seed_everything("net", seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    batches = TensorBatches(x, y, batch_size=8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=6 * len(batches))

    stop = (lambda epoch, _: epoch == stop_after) if stop_after else None
    options = FitOptions(epochs=epochs, seed=seed, amp=amp,
                         checkpoint=Checkpoint(checkpoint, key) if checkpoint else None)
    descent = Descent(net, optimizer, schedule, options, on_epoch=stop)
    for epoch in descent.epochs():
        for x, y in batches:
            with descent.precision():
                loss = nn.functional.mse_loss(net(x), y)
            descent.step(loss, epoch=float(epoch))
    return torch.cat([p.detach().flatten() for p in net.parameters()]), descent.history


def test_same_seed_same_numbers_and_another_seed_others():
    a, b, c = run(3), run(3), run(3, seed=1)
    assert torch.equal(a[0], b[0]) and a[1] == b[1]
    assert not torch.equal(a[0], c[0])
    assert [h["epoch"] for h in a[1]] == [1, 2, 3]


def test_a_stopped_run_ends_with_the_numbers_of_an_undisturbed_one(tmp_path):
    whole = run(6)
    run(6, tmp_path / "c.pt", stop_after=2)
    torch.manual_seed(99)  # whatever happened to the generator in between
    resumed = run(6, tmp_path / "c.pt")
    assert torch.equal(whole[0], resumed[0]) and whole[1] == resumed[1]


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path):
    run(6, tmp_path / "c.pt", key="a", stop_after=2)
    assert run(6, tmp_path / "c.pt", key="b")[1] == run(6)[1]


def test_a_damaged_checkpoint_is_set_aside(tmp_path, capsys):
    path = tmp_path / "c.pt"
    run(6, path, stop_after=2)
    path.write_bytes(path.read_bytes()[:-100])
    assert run(6, path)[1] == run(6)[1]
    assert (tmp_path / "c.pt.damaged").exists()
    assert "does not match its checksum" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    net = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    descent = Descent(net, optimizer, schedule,
                      FitOptions(epochs=2, checkpoint=Checkpoint(tmp_path / "c.pt")))
    with pytest.raises(Diverged, match="^loss: became nan in epoch 1"):
        for _ in descent.epochs():
            descent.step(net(torch.ones(2, 1)).sum() * float("nan"))
    assert not (tmp_path / "c.pt").exists()


def test_mixed_precision_on_the_cpu_stays_near_full_precision():
    full, half = run(3)[1], run(3, amp=True)[1]
    assert abs(full[-1]["loss"] - half[-1]["loss"]) < 0.05


def test_batches_cover_every_image_once_and_leave_the_data_alone():
    x = torch.arange(10.0).reshape(10, 1, 1, 1).repeat(1, 1, 1, 2)
    x[..., 1] += 100
    before = x.clone()
    torch.manual_seed(0)
    seen = torch.cat([b[0] for b in TensorBatches(x, batch_size=4, flip=True)])
    assert sorted(seen.amin(dim=3).flatten().tolist()) == list(range(10))
    turned = seen[:, 0, 0, 0] > 50
    assert 0 < int(turned.sum()) < 10  # some are mirrored, some not
    assert torch.equal(x, before)


def test_a_last_batch_of_one_image_is_left_out_since_batch_norm_needs_two():
    sizes = [len(b[0]) for b in TensorBatches(torch.zeros(9, 1), batch_size=4)]
    assert sizes == [4, 4]
    assert [len(b[0]) for b in TensorBatches(torch.zeros(1, 1), batch_size=4)] == [1]


def test_devices_are_checked():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", "cpu:x"):
        with pytest.raises(InputError, match="^device: "):
            choose_device(name)


def test_the_predecessors_rates_are_those_of_its_code():
    """logspace(-4, -5, 10), then 1e-5, to 50 epochs, times 30, 30, 10 and 1."""
    rates = [1e-4 * predecessor_rate(epoch, 50) for epoch in range(1, 51)]
    expected = [*torch.logspace(-4, -5, 10, dtype=torch.float64).tolist(), *[1e-5] * 40]
    assert rates == pytest.approx(expected)
    assert predecessor_rate(1, 1) == 1.0
    paper, quick = load_settings("paper"), load_settings("quick")
    found = {a: recipe_of(paper, a, paper.performer_batch, paper.performer_lr)
             for a in paper.architectures}
    assert found == {"alexnet": (512, pytest.approx(3e-3)), "vgg_m": (196, pytest.approx(3e-3)),
                     "vgg_s": (128, pytest.approx(1e-3)), "vgg16": (32, pytest.approx(1e-4))}
    assert recipe_of(paper, "alexnet", 64, 1e-4)[0] == 64  # a smaller GPU
    assert recipe_of(quick, "alexnet", 64, 2e-3) == (64, 2e-3)


def test_the_predecessors_step_is_momentum_sgd():
    """Two steps on one batch, against the recursion v = 0.9 v + gradient + 5e-4 weight."""
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([True, False, True, False])
    net = build("alexnet", size=32, width=0.0625, batch_norm=False, dropout=0.0)
    other = build("alexnet", size=32, width=0.0625, batch_norm=False, dropout=0.0)
    other.load_state_dict(net.state_dict())
    options = FitOptions(epochs=2, batch_size=4, learning_rate=1e-2, weight_decay=5e-4, device="cpu")
    train_performer(net, images, labels, options, recipe="predecessor", flip=False)
    velocity = [torch.zeros_like(p) for p in other.parameters()]
    for rate in (1e-2, 1e-3):  # of two epochs the second has a tenth
        logits = other(other.prepare(images))[:, 0]
        loss = nn.functional.softplus(-logits * (2.0 * labels - 1)).mean()
        gradients = torch.autograd.grad(loss, list(other.parameters()))
        with torch.no_grad():
            for p, v, gradient in zip(other.parameters(), velocity, gradients):
                v.mul_(0.9).add_(gradient + 5e-4 * p)
                p.sub_(rate * v)
    for p, q in zip(net.parameters(), other.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_layers_without_public_weights_begin_small(monkeypatch):
    net = build("vgg_m", size=224, width=0.125, batch_norm=False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fresh = ("head.3.weight", "head.3.bias")
    monkeypatch.setattr(performing, "imagenet", lambda architecture: None)
    monkeypatch.setattr(performing.pretrained, "into",
                        lambda net, public, fc: performing.pretrained.Put(tuple(set(before) - {*fresh}), fresh))
    after = performing.begin(net, "vgg_m", load_settings("paper")).state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == [fresh[0]]
    assert float(after[fresh[0]].std()) == pytest.approx(0.01, rel=0.1)
    kept = performing.begin(net, "vgg_m", load_settings("quick")).state_dict()
    assert all(torch.equal(kept[name], after[name]) for name in kept)


@pytest.mark.parametrize("settings, message", [
    ({"epochs": -1}, "^epochs: -1 is not a whole number of at least 0$"),
    ({"batch_size": 0}, "^batch_size: 0 "), ({"workers": 1.5}, "^workers: 1.5 "),
    ({"optimizer": "sdg"}, r"^optimizer: 'sdg' is not one of adamw, sgd \(did you mean sgd\?\)$"),
    ({"learning_rate": -1.0}, "^learning_rate: -1.0 "), ({"bias_rate": "x"}, "^bias_rate: 'x' "),
])
def test_options_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        FitOptions(**settings)


class Memory:
    """A checkpoint in memory."""

    def __init__(self):
        self.state = None

    def load(self):
        return None if self.state is None else dict(self.state)

    def save(self, state):
        self.state = state


def test_a_checkpoint_is_taken_for_its_own_fit_only():
    data = torch.randn(30, 4), torch.randn(30)
    kept = Memory()
    OwnCheckpoint(kept, "settings", *data).save({"history": [1]})
    nearly = tuple(tensor * (1 + 1e-6) for tensor in data)  # as another processor rounds
    assert OwnCheckpoint(kept, "settings", *nearly).load() == {"history": [1]}
    assert OwnCheckpoint(Memory(), "settings", *data).load() is None
    for words, other in (("others", data), ("settings", data[:1]), ("settings", (data[0], data[1] * 1.01)),
                         ("settings", (data[0].flip(0), data[1])), ("settings", (data[0][:, :3], data[1]))):
        with pytest.raises(InputError, match="^checkpoint: it is of another fit, with other (settings|images, or another model)"):
            OwnCheckpoint(kept, words, *other).load()
    kept.state = {"history": []}  # of who knows what
    with pytest.raises(InputError, match="^checkpoint: it is of another fit"):
        OwnCheckpoint(kept, "settings", *data).load()
