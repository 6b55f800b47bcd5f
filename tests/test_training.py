"""The training loop: same seed same numbers, also when it was stopped in between."""

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.training import TensorBatches, choose_device, fit, seed_everything


def run(epochs, checkpoint=None, key="", seed=0, stop_after=None, amp=False, lr=1e-2):
    """Train a tiny regression with dropout; returns its weights and history."""
    torch.manual_seed(1)
    x, y = torch.randn(50, 4), torch.randn(50, 1)
    seed_everything("net", seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    batches = TensorBatches(x, y, batch_size=8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=6 * len(batches))

    def step(batch, epoch):
        return {"loss": nn.functional.mse_loss(net(batch[0]), batch[1]),
                "epoch": torch.tensor(float(epoch))}

    stop = (lambda epoch, _: epoch == stop_after) if stop_after else None
    history = fit(net, step, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule,
                  seed=seed, checkpoint=checkpoint, key=key, on_epoch=stop, amp=amp)
    return torch.cat([p.detach().flatten() for p in net.parameters()]), history


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
    with pytest.raises(InputError, match="^loss: became nan in epoch 1"):
        fit(net, lambda b, e: {"loss": net(b[0]).sum() * float("nan")},
            TensorBatches(torch.ones(4, 1), batch_size=2), epochs=2,
            optimizer=torch.optim.SGD(net.parameters(), 0.1), checkpoint=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


def test_mixed_precision_on_the_cpu_stays_near_full_precision():
    full, half = run(3)[1], run(3, amp=True)[1]
    assert abs(full[-1]["loss"] - half[-1]["loss"]) < 0.05


def test_batches_cover_every_image_once_and_leave_the_data_alone():
    x = torch.arange(10.0).reshape(10, 1, 1, 1).repeat(1, 1, 1, 2)
    x[..., 1] += 100
    before = x.clone()
    torch.manual_seed(0)
    seen = torch.cat([b[0] for b in TensorBatches(x, batch_size=4, flip=True)(1)])
    assert sorted(seen.amin(dim=3).flatten().tolist()) == list(range(10))
    turned = seen[:, 0, 0, 0] > 50
    assert 0 < int(turned.sum()) < 10  # some are mirrored, some not
    assert torch.equal(x, before)


def test_a_last_batch_of_one_image_is_left_out_since_batch_norm_needs_two():
    sizes = [len(b[0]) for b in TensorBatches(torch.zeros(9, 1), batch_size=4)(1)]
    assert sizes == [4, 4]
    assert [len(b[0]) for b in TensorBatches(torch.zeros(1, 1), batch_size=4)(1)] == [1]


def test_devices_are_checked():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", "cpu:x"):
        with pytest.raises(InputError, match="^device: "):
            choose_device(name)
