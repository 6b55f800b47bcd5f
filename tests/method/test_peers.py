"""Each peer on heads whose right answer is known, and against slow versions from definitions."""

import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.concepts import FilterConcepts, Measured
from semquant.explanation import Explanation
from semquant.measure import measure
from semquant.peers import PEERS, exact_shapley, explain
from semquant.regressions import boosted, concept_head, nonnegative, ridge
from semquant.truth import coalition_values, planted, shapley

OF_THE_HEAD = ("gradient_times_input", "integrated_gradients", "deeplift", "feature_ablation",
               "shapley_sampling", "kernel_shap", "lime", "exact_shapley")
COMPLETE = ("deeplift", "shapley_sampling", "exact_shapley", "mean_share", "equal_share", "random")


def measured(head, images=4, n=6, seed=0, prior=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, n, 4, 4, generator=generator)
    y, yhat = x.sum((2, 3)), head(x.clone()).detach()
    leaf = x.clone().requires_grad_()
    w = torch.autograd.grad(head(leaf * 1).sum(), leaf)[0].sum((2, 3)) if prior else None
    return Measured(x, y, yhat, w)


def linear(n=6):
    head = planted("linear", n).head
    return head, head.layer.weight[0].detach(), head.layer.bias.item()


def cnn(pool=nn.MaxPool2d(2), hidden=5, n=6):
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), pool, nn.Flatten(), nn.LazyLinear(hidden),
                        nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(hidden, 1), nn.Flatten(0))
    net(torch.zeros(1, n, 4, 4))
    return net.eval()


@pytest.mark.parametrize("reference", ["zero", "mean"])
@pytest.mark.parametrize("method", OF_THE_HEAD)
def test_methods_of_a_linear_head(method, reference):
    """v_i (y_i - its value at the reference), by LIME and KernelSHAP as well: all within 1e-4."""
    head, v, c = linear()
    images, background = measured(head), measured(head, 30, seed=1)
    found = explain(method, head, images, background=background, reference=reference)
    start = background.y.mean(0) if reference == "mean" else torch.zeros(6)
    torch.testing.assert_close(found.contributions, v * (images.y - start), rtol=0, atol=2e-5)
    assert found.bias == pytest.approx(float(v @ start) + c, abs=1e-5)
    assert float(found.residual.abs().max()) < 2e-5
    assert bool((found.alpha == 1).all()) and found.yhat is images.yhat


def test_the_others_of_a_linear_head():
    head, v, c = linear()
    images, background = measured(head), measured(head, 30, seed=1)
    for method in ("ridge", "prior"):
        found = explain(method, None, images, background=background)
        torch.testing.assert_close(found.alpha, v.expand(4, 6), rtol=0, atol=1e-5)
        assert torch.equal(found.y, images.y) and found.bias == pytest.approx(c, abs=1e-5)
    found = explain("prior", None, images)
    torch.testing.assert_close(found.alpha, 16 * v.expand(4, 6))  # a sum over 16 positions
    assert found.bias == 0
    opposed = Measured(background.x, background.y, background.yhat, -background.w)
    assert not explain("prior", None, images, background=opposed).alpha.any()
    with torch.no_grad():
        head.layer.weight.abs_()
    images, background = measured(head), measured(head, 30, seed=1)
    found = explain("nonnegative", None, images, background=background)
    torch.testing.assert_close(found.alpha, v.abs().expand(4, 6), rtol=0, atol=1e-5)
    assert found.bias == pytest.approx(c, abs=1e-5)


@pytest.mark.parametrize("reference", ["zero", "mean"])
@pytest.mark.parametrize("method", COMPLETE)
def test_complete_methods_leave_nothing_of_a_network(method, reference):
    net = cnn()
    images, background = measured(net), measured(net, 30, seed=1)
    background.w.clamp_min_(0)
    found = explain(method, net, images, background=background, reference=reference)
    assert float(found.residual.abs().max()) < 1e-6
    assert float(found.contributions.abs().max()) > 1e-3


def test_how_far_the_sampled_methods_come():
    """Of a CNN: KernelSHAP and orders come to the Shapley values, integrated gradients to yhat."""
    net = cnn()
    images = measured(net, 2)
    truth = explain("exact_shapley", net, images).contributions
    size = float(truth.abs().max())
    for method, samples in (("kernel_shap", 20_000), ("shapley_sampling", 3000)):
        found = explain(method, net, images, samples=samples)
        assert float((found.contributions - truth).abs().max()) < 0.03 * size
        assert float(found.residual.abs().max()) < 5e-4 * size  # KernelSHAP's ends have weight 1e6
    rough, fine = (float(explain("integrated_gradients", net, images, samples=steps)
                         .residual.abs().max()) for steps in (5, 500))
    assert fine < rough / 5 and fine < 2e-3 * size


def test_gradient_times_input_by_autograd():
    net, images = cnn(), measured(cnn(), 5)
    leaf = images.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf * 1).sum(), leaf)
    found = explain("gradient_times_input", net, images)
    torch.testing.assert_close(found.contributions, (leaf * gradient).sum((2, 3)).detach(),
                               rtol=0, atol=1e-6)


def test_captum_called_directly_says_the_same():
    """Gradient times input, integrated gradients and ablation, also as the concepts of a whole model."""
    from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients, LayerGradientXActivation

    net, images = cnn(), measured(cnn(), 5)
    x, score = images.x.clone(), lambda maps: net(maps * 1)  # the first layer works in place
    filters = torch.arange(6)[None, :, None, None].expand(1, 6, 4, 4)
    directly = {"gradient_times_input": InputXGradient(score).attribute(x.clone().requires_grad_()),
                "integrated_gradients": IntegratedGradients(score).attribute(x, torch.zeros_like(x), n_steps=50),
                "feature_ablation": FeatureAblation(score).attribute(x, feature_mask=filters) / 16}
    for method, found in directly.items():
        torch.testing.assert_close(explain(method, net, images).contributions, found.detach().sum((2, 3)),
                                   rtol=0, atol=1e-6)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 5), nn.ReLU(), nn.Linear(5, 2))
    pictures = torch.randn(4, 3, 6, 6)
    own = FilterConcepts("0", positions="weighted", clip=False).measure(model, pictures, 1)
    theirs = LayerGradientXActivation(model, model[0]).attribute(pictures, target=1).sum((2, 3)).detach()
    torch.testing.assert_close(own.w * own.y, theirs, rtol=0, atol=1e-6)


def test_ablation_by_hand():
    net, images, background = cnn(), measured(cnn()), measured(cnn(), 9, seed=1)
    for reference, absent in (("zero", torch.zeros(6, 4, 4)), ("mean", background.x.mean(0))):
        found = explain("feature_ablation", net, images, background=background, reference=reference)
        for i in range(6):
            without = images.x.clone()
            without[:, i] = absent[i]
            fall = images.yhat - net(without).detach()
            torch.testing.assert_close(found.contributions[:, i], fall, rtol=0, atol=1e-6)
        assert found.bias == pytest.approx(net(absent[None].clone()).item(), abs=1e-6)


def test_integrated_gradients_by_a_sum():
    net, images = cnn(), measured(cnn(), 2)
    total = torch.zeros_like(images.x)
    for k in range(2000):
        leaf = (images.x * ((k + 0.5) / 2000)).requires_grad_()
        total += torch.autograd.grad(net(leaf * 1).sum(), leaf)[0] / 2000
    found = explain("integrated_gradients", net, images, samples=1000)
    by_hand = (images.x * total).sum((2, 3))
    torch.testing.assert_close(found.contributions, by_hand, rtol=0, atol=1e-3)


@pytest.mark.parametrize("pool, reference, whole", [
    (nn.AvgPool2d(2, 1), "mean", True), (nn.MaxPool2d(2), "mean", True),
    (nn.MaxPool2d(3, 1), "zero", True), (nn.MaxPool2d(3, 1), "mean", False)])
def test_where_deeplift_adds_up(pool, reference, whole):
    net = cnn(pool)
    images, background = measured(net), measured(net, 30, seed=1)
    found = explain("deeplift", net, images, background=background, reference=reference)
    assert (float(found.residual.abs().max()) < 1e-6) == whole
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_exact_shapley_of_groups():
    net, images = cnn(), measured(cnn())
    background = measured(net, 5, seed=1)
    for assignment, groups in (([0, 1, 1, -1, 0, -1], ["ear", "eye"]),
                               ([0, 1, 1, 0, 0, 1], ["ear", "eye", "leg"])):
        for reference in ("zero", "mean", "resampled"):
            found = exact_shapley(net, images, assignment, groups, background=background,
                                  reference=reference)
            values = coalition_values(net, images.x, torch.tensor(assignment), reference,
                                      background.x, parts=len(groups))
            right = shapley(values)
            torch.testing.assert_close(found.contributions[:, : right.shape[1]], right)
            assert found.names == [*groups, "unassigned"]
            assert float(found.residual.abs().max()) < 1e-6
            if reference == "zero":
                assert found.bias == pytest.approx(net(torch.zeros(1, 6, 4, 4)).item(), abs=1e-6)
    assert found.contributions[:, 2:].tolist() == [[0, 0]] * 4  # a group without filters, and none
    merged = explain("exact_shapley", net, images).merge([0, 1, 1, 0, 0, 1], groups)
    assert merged.names == found.names and merged.y.shape == found.y.shape


def test_regressions_stand_in_the_form_of_all():
    images, background = measured(cnn()), measured(cnn(), 40, seed=1)
    found = explain("boosted", None, images, background=background)
    parts, bias = boosted(background.y, background.yhat)
    torch.testing.assert_close(found.contributions, parts(images.y).float())
    assert found.bias == bias and bool((found.alpha == 1).all())
    found = explain("concept_head", None, images, background=background)
    alpha, bias = concept_head(background.y, background.yhat)
    torch.testing.assert_close(found.alpha, alpha.float().expand(4, 6))
    assert found.bias == bias and found.y is images.y


def test_shares():
    head = linear()[0]
    images, background = measured(head), measured(head, 30, seed=1)
    shares = Explanation(background.yhat, background.y, background.w, 0.0).shares.mean(0)
    found = explain("mean_share", None, images, background=background)
    torch.testing.assert_close(found.contributions, images.yhat[:, None] * shares)
    found = explain("equal_share", None, images)
    torch.testing.assert_close(found.contributions, images.yhat[:, None].expand(4, 6) / 6)
    found = explain("random", None, images, seed=1)
    shares = found.contributions / images.yhat[:, None]
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    assert float(shares.min()) > 0 and len(set(shares.flatten().tolist())) == 24


@pytest.mark.parametrize("method", ["shapley_sampling", "kernel_shap", "lime", "random"])
def test_a_seed_gives_the_same_twice_and_torch_s_numbers_go_on(method):
    net, images = cnn(), measured(cnn(), 2)
    state = torch.get_rng_state()
    first, again, other = (explain(method, net, images, samples=20, seed=s).contributions
                           for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", PEERS)
def test_everything_is_left_as_it_was(method):
    net = cnn()
    images, background = measured(net, 1), measured(net, 8, seed=1)
    background.w.clamp_min_(0)
    before = [t.clone() for m in (images, background) for t in (m.x, m.y, m.yhat, m.w)]
    settings = dict(background=background, samples=9, reference="mean", names=list("abcdef"))
    right = explain(method, net, images, **settings).contributions
    net.train()
    with torch.no_grad():
        found = explain(method, net, images, **settings)
    assert torch.equal(found.contributions, right)  # dropout did nothing
    after = [t for m in (images, background) for t in (m.x, m.y, m.yhat, m.w)]
    assert all(torch.equal(a, b) and not b.requires_grad for a, b in zip(before, after))
    assert net.training and net[5].training and all(p.grad is None for p in net.parameters())
    assert isinstance(found, Explanation) and found.names == list("abcdef")
    assert found.contributions.shape == (1, 6) and not found.contributions.requires_grad
    assert found.contributions.dtype == torch.float32 and isinstance(found.bias, float)


def test_rows_that_are_not_in_memory_give_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    images, concepts = torch.randn(70, 3, 8, 8), FilterConcepts("0")
    head = nn.Sequential(*model[1:], nn.Flatten(0))
    with torch.no_grad():
        model[3].weight[0], model[3].bias[0] = model[3].weight[1], model[3].bias[1]
    head[2] = nn.Linear(4 * 36, 1)
    head[2].load_state_dict({"weight": model[3].weight[1:], "bias": model[3].bias[1:]})
    kept, computed = (measure(concepts, model, images, 1, keep_x=keep) for keep in (True, False))
    for method in ("integrated_gradients", "feature_ablation", "exact_shapley"):
        for reference in ("zero", "mean"):
            one, other = (explain(method, head, m, background=m, reference=reference)
                          for m in (kept, computed))
            torch.testing.assert_close(one.contributions, other.contributions)
            assert one.bias == pytest.approx(other.bias, abs=1e-6)


HEAD = linear()[0]
IMAGES = measured(HEAD)
BARE = Measured(IMAGES.x, IMAGES.y, IMAGES.yhat)
FEW = Measured(IMAGES.x, IMAGES.y[:, :5], IMAGES.yhat)
NAN = IMAGES.yhat * float("nan")
MANY = Measured(torch.zeros(2, 17, 1, 1), torch.zeros(2, 17), torch.zeros(2))
ONE = Measured(IMAGES.x[:, :1], IMAGES.y[:, :1], IMAGES.yhat)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: explain("deep_lift", HEAD, IMAGES), "^method: 'deep_lift' .*mean deeplift"),
        (lambda: explain("lime", HEAD, IMAGES, reference="resampled"), "^reference: 'resampled'"),
        (lambda: explain("lime", HEAD, IMAGES, samples=0), "^samples: 0"),
        (lambda: explain("lime", HEAD, IMAGES, seed=-1), "^seed: -1"),
        (lambda: explain("lime", HEAD, IMAGES.x), "^measured: Tensor is not what"),
        (lambda: explain("lime", HEAD, IMAGES[:0]), "^measured: no images"),
        (lambda: explain("lime", HEAD, IMAGES, reference="mean"), "^background: none was given"),
        (lambda: explain("lime", None, IMAGES), "^head: NoneType is not a function"),
        (lambda: explain("exact_shapley", None, IMAGES), "^head: NoneType is not a function"),
        (lambda: explain("lime", HEAD, FEW), "^y: shape"),
        (lambda: explain("exact_shapley", HEAD, FEW), "^y: shape"),
        (lambda: explain("lime", lambda x: x.sum((2, 3)), IMAGES), "^yhat: shape"),
        (lambda: explain("lime", lambda x: x.sum((1, 2, 3)) / 0, IMAGES), "^the head's score: "),
        (lambda: explain("ridge", None, Measured(IMAGES.x, IMAGES.y, NAN)), "^yhat: 4 of 4"),
        (lambda: explain("lime", HEAD, Measured(IMAGES.x * float("nan"), IMAGES.y, IMAGES.yhat)),
         "^x: 384 of 384"),
        (lambda: explain("deeplift", lambda x: x.sum((1, 2, 3)), IMAGES), "^head: deeplift needs"),
        (lambda: explain("kernel_shap", lambda x: x.sum((1, 2, 3)), ONE), "^x: kernel_shap needs"),
        (lambda: explain("exact_shapley", lambda x: x.sum((1, 2, 3)), MANY), "^groups: 17 are"),
        (lambda: explain("prior", None, BARE), "^w: prior needs measured prior weights"),
        (lambda: explain("mean_share", None, IMAGES, background=BARE), "^w: mean_share needs"),
        (lambda: explain("mean_share", None, IMAGES), "^background: none .* mean_share needs"),
        (lambda: explain("ridge", None, IMAGES), "^background: none was given, ridge needs"),
        (lambda: explain("ridge", None, IMAGES, background=FEW), "^background: 5 concepts, not 6"),
        (lambda: explain("ridge", None, IMAGES, background=IMAGES[:1]), "^images: 1 given"),
        (lambda: explain("equal_share", None, IMAGES, names=["a"]), "^names: 1 names for 6"),
        (lambda: exact_shapley(HEAD, IMAGES, [0] * 5, ["a"]), "^assignment: shape"),
        (lambda: exact_shapley(HEAD, IMAGES, [1] * 6, ["a"]), "^assignment: 1 is not a whole number"),
        (lambda: nonnegative(IMAGES.y, IMAGES.yhat[:2]), "^yhat: shape"),
        (lambda: ridge(IMAGES.y, NAN), "^yhat: 4 of 4"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
