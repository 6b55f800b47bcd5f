"""Distilling toy networks whose right explanation is known."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from semquant.checks import InputError
from fits import distill_measured, options
from semquant import distillation
from semquant.concepts import FilterConcepts, Measured, OutputConcepts
from semquant.distillation import FittedExplainer
from semquant.explanation import Explanation
from semquant.losses import distillation_loss, prior_cross_entropy, prior_l2
from semquant.measure import measure
from semquant.training import FitOptions
from semquant_book.files import Checkpoint


class Linear(nn.Module):
    """yhat = sum_i v_i sum_hw max(x_hwi, 0) + 1: alpha = v and b = 1 explain it perfectly."""

    v = torch.tensor([2.0, 1.0, 0.5, 0.0])

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.relu = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(inplace=True)

    def forward(self, images):
        score = (self.relu(self.layer(images)).sum((2, 3)) * self.v).sum(1) + 1
        return torch.stack([score, -score], dim=1)


def images(count=96):
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1))


CPU = dict(device="cpu", seed=0)


def distill(model, concepts, images, target, prior="measured", **settings):
    """With the paper's objective for the concepts, and options by their names."""
    found = options(**{"held_out": 0.0} | settings)  # all images, as in the paper
    found.pop("objective")
    found["method"] = replace(concepts.objective, prior=prior)
    return distillation.distill(model, concepts, images, target, **found)


def test_the_known_explanation_is_found():
    """With b starting at its true value, alpha goes to v and the residual to 0.

    Summed over all positions of the rectified map, the prior is exactly proportional to v here.
    """
    model = Linear()
    concepts = FilterConcepts("relu")
    before = copy.deepcopy(model.state_dict())
    rectified = model.relu(model.layer(images(256))).detach()
    truth = model.v * rectified.sum((2, 3))
    error = {}
    for prior in ("measured", "none"):
        fitted = distill(
            model, concepts, images(256), 0, prior=prior, epochs=24, bias=1.0, learning_rate=2e-2,
            **CPU,
        )  # fmt: skip
        found = fitted.explain(images(256))
        torch.testing.assert_close(truth.sum(1) + 1, found.yhat)
        assert found.residual.std() < 0.1 * found.yhat.std()
        error[prior] = float((found.contributions - truth).abs().mean() / truth.mean())
    assert error["measured"] < 0.2 < 2 * error["measured"] < error["none"], error
    assert all(torch.equal(a, before[name]) for name, a in model.state_dict().items())
    assert found.names == ["filter 0", "filter 1", "filter 2", "filter 3"]


def random_measured(count=40, n=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, n, 4, 4, generator=generator)
    w = torch.rand(count, n, generator=generator)
    w[:5] = 0.0
    return Measured(x, x.sum((2, 3)), torch.randn(count, generator=generator), w)


@pytest.mark.parametrize("loss", ["cross_entropy", "l2"])
@pytest.mark.parametrize("divide", [True, False])
def test_the_loss_of_a_step_from_its_parts(loss, divide):
    """Without learning, each epoch's loss is L / var + beta / sqrt(t) times the prior loss."""
    measured = random_measured()
    fitted = distill_measured(
        measured, loss=loss, epochs=3, batch_size=40, learning_rate=0.0, beta=5.0,
        divide_by_variance=divide, **CPU,
    )  # fmt: skip
    alpha = copy.deepcopy(fitted.g).train()(measured.x)
    prior = {"cross_entropy": prior_cross_entropy, "l2": prior_l2}[loss](alpha, measured.w)
    distillation = distillation_loss(measured.yhat, alpha, measured.y, fitted.g.bias)
    distillation = distillation / (measured.yhat.var() if divide else 1.0)
    for t, epoch in enumerate(fitted.history, start=1):
        expected = float((distillation + 5.0 / t**0.5 * prior).detach())
        assert epoch["loss"] == pytest.approx(expected, rel=1e-4)
        assert epoch["prior_weight"] == pytest.approx(5.0 / t**0.5)
        assert epoch["prior"] == pytest.approx(float(prior.detach()), rel=1e-4)
    assert fitted.without_prior == 5


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_steps_of_an_optimiser_by_hand(optimizer):
    """Three steps on all images at once: momentum SGD's and AdamW's recursions, written out.

    The rate falls along half a cosine; b has a rate of its own and no weight decay.
    """
    measured, rate, decay, bias_rate = random_measured(), 1e-2, 0.1, 7.0
    how = dict(batch_size=40, weight_decay=decay, bias_rate=bias_rate, optimizer=optimizer,
               prior="none", scale="literal", bias=1.5, **CPU)
    start = []
    fitted = distill_measured(measured, epochs=3, learning_rate=rate, **how,
                              on_epoch=lambda t, f, means: t == 0 and start.append(copy.deepcopy(f.g)) or None)
    [g] = start
    g.train()
    named = list(g.named_parameters())
    first, second = ([torch.zeros_like(p) for _, p in named] for _ in range(2))
    for t in range(3):
        alpha = g(measured.x)
        loss = (measured.yhat - (alpha * measured.y).sum(1) - g.bias).square().mean()
        gradients = torch.autograd.grad(loss, [p for _, p in named])
        with torch.no_grad():
            for (name, p), m, v, gradient in zip(named, first, second, gradients):
                mine = rate * (bias_rate if name == "bias" else 1) * (1 + np.cos(np.pi * t / 3)) / 2
                lost = 0.0 if name == "bias" else decay
                if optimizer == "sgd":
                    m.mul_(0.9).add_(gradient + lost * p)
                    p.sub_(mine * m)
                else:
                    m.mul_(0.9).add_(0.1 * gradient)
                    v.mul_(0.999).add_(0.001 * gradient**2)
                    p.mul_(1 - mine * lost)
                    p.sub_(mine * (m / (1 - 0.9 ** (t + 1)))
                           / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8))
    for (name, p), q in zip(named, fitted.g.parameters()):
        torch.testing.assert_close(q, p, rtol=2e-3, atol=2e-5, msg=lambda text: f"{name}: {text}")


def test_the_baseline_sees_no_prior():
    measured = random_measured()
    with_w = distill_measured(measured, prior="none", epochs=2, **CPU)
    without = distill_measured(Measured(measured.x, measured.y, measured.yhat), prior="none",
                               epochs=2, **CPU)
    assert with_w.history == without.history
    assert set(with_w.history[0]) == {"loss", "distillation"}
    assert with_w.without_prior == 0


@pytest.mark.parametrize("settings", [{}, {"prior": "permuted"}, {"amp": True}])
def test_same_seed_same_numbers(settings):
    measured = random_measured()
    state = torch.get_rng_state()
    runs = []
    for seed in (3, 3, 4):
        torch.rand(5)  # what happened before must not matter
        fitted = distill_measured(measured, epochs=2, seed=seed, device="cpu", **settings)
        runs.append(fitted.explain_measured(measured))
    torch.set_rng_state(state)
    assert torch.equal(runs[0].alpha, runs[1].alpha) and runs[0].bias == runs[1].bias
    assert not torch.equal(runs[0].alpha, runs[2].alpha)


def test_watching_changes_nothing():
    measured, seen, told = random_measured(), {}, []

    def watch(epoch, explainer, means):
        assert not explainer.g.training
        seen[epoch] = explainer.explain_measured(measured)
        told.append(means)

    alone = distill_measured(measured, epochs=3, **CPU)
    watched = distill_measured(measured, epochs=3, on_epoch=watch, **CPU)
    assert list(seen) == [0, 1, 2, 3] and told == [{}, *watched.history]
    assert alone.history == watched.history
    for name, tensor in alone.g.state_dict().items():
        assert torch.equal(tensor, watched.g.state_dict()[name]), name
    torch.testing.assert_close(seen[3].alpha, watched.explain_measured(measured).alpha)
    assert seen[3].bias == watched.explain_measured(measured).bias != seen[0].bias


def test_measured_tensors_are_left_unchanged():
    measured = random_measured()
    kept = copy.deepcopy(measured)
    distill_measured(measured, epochs=1, channels_last=True, **CPU)
    for name in ("x", "y", "yhat", "w"):
        assert torch.equal(getattr(measured, name), getattr(kept, name))


def test_scale_and_start_of_b():
    measured = random_measured()
    literal = distill_measured(measured, epochs=1, scale="literal", learning_rate=0.0, **CPU)
    scaled = distill_measured(measured, epochs=1, scale="scaled", learning_rate=0.0, **CPU)
    given = distill_measured(measured, epochs=1, scale=0.3, learning_rate=0.0, bias="min", **CPU)
    assert float(literal.g.scale) == 1.0 and float(given.g.scale) == pytest.approx(0.3)
    total = (scaled.g.train()(measured.x) * measured.y).sum(1).detach()
    spread = float(measured.yhat.std())
    assert float(total.square().mean().sqrt()) == pytest.approx(spread, rel=0.01)
    assert given.g.bias.item() == pytest.approx(float(measured.yhat.min()))
    again = scaled.g.of(**scaled.g.settings)
    assert float(again.scale) == pytest.approx(float(scaled.g.scale))
    fast = distill_measured(measured, epochs=1, bias_rate=100.0, **CPU)
    slow = distill_measured(measured, epochs=1, bias_rate=0.0, **CPU)
    assert abs(fast.g.bias.item()) > 0.01 and slow.g.bias.item() == 0.0


def test_a_last_batch_of_one_image():
    fitted = distill_measured(random_measured(41), epochs=1, batch_size=8, **CPU)
    assert fitted.explain_measured(random_measured(1)).alpha.shape == (1, 3)


def test_goes_on_from_a_checkpoint(tmp_path):
    measured = random_measured()
    whole = distill_measured(measured, epochs=3, **CPU)

    path = tmp_path / "g.pt"
    with pytest.raises(KeyboardInterrupt):
        def stop(epoch, explainer, means):
            if epoch == 2:
                raise KeyboardInterrupt
        distill_measured(measured, epochs=3, checkpoint=Checkpoint(path), on_epoch=stop, **CPU)
    resumed = distill_measured(measured, epochs=3, checkpoint=Checkpoint(path), **CPU)
    assert resumed.history == whole.history
    for name, value in whole.g.state_dict().items():
        assert torch.equal(value, resumed.g.state_dict()[name])


@pytest.mark.parametrize("method", ["paper", "corrected"])
def test_a_checkpoint_of_another_fit_is_refused(method, tmp_path):
    model, concepts = Linear(), FilterConcepts("relu")

    def run(images=images(40), model=model, target=0, **settings):
        fit = FitOptions(**{"epochs": 2, "device": "cpu", "checkpoint": Checkpoint(tmp_path / "c.pt")} | settings)
        return distillation.distill(model, concepts, images, target, method=method, fit=fit)

    first, again = run(), run()
    assert first.history == again.history
    assert all(torch.equal(a, again.g.state_dict()[name]) for name, a in first.g.state_dict().items())
    other = Linear()
    other.v = torch.tensor([1.0, 1.0, 0.5, 0.5])
    for settings in ({"images": images(80)[40:]}, {"model": other}, {"target": 1}, {"epochs": 3}, {"seed": 1}):
        with pytest.raises(InputError, match="^checkpoint: it is of another fit, with other"):
            run(**settings)


def test_a_true_answer_ends_the_fit():
    measured = random_measured()
    fitted = distill_measured(measured, epochs=5, on_epoch=lambda epoch, *_: epoch == 2, **CPU)
    assert len(fitted.history) == 2 and not fitted.g.training


@pytest.mark.parametrize("positive", [False, True])
def test_free_weights(positive):
    fitted = distill_measured(random_measured(), loss="l2", positive=positive, epochs=1, **CPU)
    assert fitted.g.positive == positive


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.top, self.shared = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(96, 8)
        self.out = nn.Linear(8, 5)

    def forward(self, images):
        return self.out(self.shared(self.top(images).relu().flatten(1)).relu())


def test_outputs_explain_an_output():
    torch.manual_seed(0)
    concepts = OutputConcepts("shared", "top", ["a", "b", "c", "d", "e"])
    fitted = distill(Attributes(), concepts, images(), target=1, epochs=1, **CPU)
    found = fitted.explain(images(7))
    assert found.contributions.shape == (7, 4) and found.names == ["a", "c", "d", "e"]
    assert not fitted.g.positive and fitted.history[0]["prior_weight"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "name, layer", [("alexnet", "features.10"), ("resnet18", "layer4.1.conv2")]
)
def test_torchvisions_networks(name, layer):
    import torchvision

    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None, num_classes=7).train()
    some = torch.randn(6, 3, 64, 64)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(some, torch.zeros(6)), batch_size=3
    )
    fitted = distill(model, concepts=FilterConcepts(layer, rectified=True), images=loader, target=5,
                     epochs=1, depth="small", **CPU)
    found = fitted.explain(some[:2])
    assert isinstance(found, Explanation) and model.training
    assert found.contributions.shape[0] == 2 and found.contributions.isfinite().all()
    torch.testing.assert_close(found.yhat, model.eval()(some[:2])[:, 5].detach())
    assert fitted.explain(some[:1]).alpha.shape[0] == 1


def broken(**values):
    measured = random_measured()
    for name, change in values.items():
        setattr(measured, name, change(getattr(measured, name)))
    return measured


NAN = float("nan")


@pytest.mark.parametrize(
    "measured, settings, message",
    [
        (broken(y=lambda y: y[:-1]), {}, "^y: shape"),
        (broken(w=lambda w: w[:, :2]), {}, "^w: shape"),
        (broken(w=lambda w: w - 1), {}, "^w: smallest value -1"),
        (broken(w=lambda w: w * NAN), {}, "^w: 120 of 120"),
        (broken(x=lambda x: x * NAN), {}, "^x: "),
        (broken(w=lambda w: None), {}, "^prior: 'measured' needs"),
        (broken(yhat=lambda s: s * 0), {}, "^yhat: all scores are equal"),
        (broken(yhat=lambda s: s * 0), {"scale": 1.0, "divide_by_variance": True}, "^yhat: all"),
        (random_measured(1), {}, "^images: 1 given"),
        (random_measured(), {"loss": "mse"}, "^loss: 'mse'"),
        (random_measured(), {"positive": False}, "^positive: False"),
        (random_measured(), {"scale": "auto"}, "^scale: 'auto'"),
        (random_measured(), {"bias": "max"}, "^bias: 'max'"),
        (random_measured(), {"epochs": 0}, "^epochs: 0"),
        (random_measured(), {"depth": 19}, "^depth: 19"),
        (random_measured(), {"direction": "x"}, "^direction: 'x'"),
        (random_measured(), {"device": "tpu"}, "^device: 'tpu'"),
    ],
)
def test_bad_input(measured, settings, message):
    with pytest.raises(InputError, match=message) as error:
        distill_measured(measured, **{"device": "cpu", "epochs": 1, **settings})
    assert "\n" not in str(error.value)


def test_a_wrong_layer_is_told_before_the_model_is_run():
    with pytest.raises(InputError, match="^layer: 'features.99'"):
        distill(Linear(), FilterConcepts("features.99"), images(4), 0, **CPU)
    with pytest.raises(InputError, match="^prior: 'taylor'"):
        distill(Linear(), FilterConcepts("layer"), images(4), 0, prior="taylor", **CPU)
    measured = measure(FilterConcepts("layer"), Linear(), images(4), 0)
    with pytest.raises(InputError, match="^model: none is known"):
        distill_measured(measured, epochs=1, **CPU).explain(images(4))


def test_a_saved_explainer_is_the_same_and_so_are_its_bytes(tmp_path):
    model, concepts = Linear(), FilterConcepts("relu")
    fitted = distill(model, concepts, images(16), 0, epochs=1, **CPU)
    written = set()
    for i in range(8):  # entries of a hash map would come in another order now and then
        fitted.save(tmp_path / f"{i}.safetensors")
        written.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(written) == 1
    read = FittedExplainer.load(tmp_path / "0.safetensors")
    assert read.names == fitted.names == ["filter 0", "filter 1", "filter 2", "filter 3"]
    measured = measure(concepts, model, images(16), 0, False)
    torch.testing.assert_close(read.explain_measured(measured).contributions,
                               fitted.explain_measured(measured).contributions, rtol=0, atol=0)


def test_a_file_of_something_else_is_no_explainer(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="other.safetensors holds no explainer"):
        FittedExplainer.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("settings", [{"scale": "scaled"}, {"scale": "literal", "depth": 18}])
def test_a_fit_neither_draws_from_the_global_generators_nor_seeds_them(settings):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 4, 8, 8, generator=generator), torch.rand(24, 5, generator=generator)
    measured = Measured(x, y, y.sum(dim=1), torch.rand(24, 5, generator=generator))
    states = []
    for seed in (1, 2):  # whatever they hold
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        fitted = distill_measured(measured, epochs=2, batch_size=8, device="cpu", **settings)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        states.append(torch.cat([t.flatten().float() for t in fitted.g.state_dict().values()]))
    assert torch.equal(*states)
