"""One pass over a toy network, against its pieces run one after the other."""

import copy

import pytest
import torch
from torch import nn

from semquant import ModelConcepts, distill, priors
from semquant.checks import InputError
from semquant.concepts import FilterConcepts, Measured, OutputConcepts
from semquant.images import image_batches
from semquant.measure import measure, survey
from semquant.training import FitOptions, evaluation_mode


class Toy(nn.Module):
    """conv -> BN -> conv (the layer) -> in-place ReLU -> dropout -> linear, 3 outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.below = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.layer = nn.Conv2d(4, 5, 3)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.shared = nn.Linear(5 * 4 * 4, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, images):
        top = self.dropout(self.relu(self.layer(self.below(images))))
        return self.out(torch.tanh(self.shared(top.flatten(1))))


@pytest.fixture
def model():
    model = Toy()
    model.train()
    model.dropout.eval()  # a mixture of modes, to be found again
    return model


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def by_hand(model, images, target):
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        x = model.layer(model.below(images))

    def head(x):
        return model.out(torch.tanh(model.shared(x.relu().flatten(1))))[:, target]

    with torch.no_grad():
        return x, head(x), priors.jacobian_prior(head, x)


def test_filters_in_one_pass(model, images):
    x, yhat, w = by_hand(model, images, 2)
    measured = FilterConcepts("layer").measure(model, images, 2)
    torch.testing.assert_close(measured.x, x)
    torch.testing.assert_close(measured.yhat, yhat)
    torch.testing.assert_close(measured.w, w)
    for b in range(6):
        for i in range(5):  # y_i is the sum over the signed map
            expected = sum(x[b, i].flatten().tolist())
            assert float(measured.y[b, i]) == pytest.approx(expected, abs=1e-4)
    for value in (measured.x, measured.y, measured.yhat, measured.w):
        assert not value.requires_grad
    rectified = FilterConcepts("layer", rectified=True).measure(model, images, 2)
    torch.testing.assert_close(rectified.y, x.clamp_min(0).sum((2, 3)))
    torch.testing.assert_close(rectified.x, x)


def test_after_the_relu(model, images):
    """The layer after it, summed where it is active, has the prior of the layer before it."""
    before = FilterConcepts("layer").measure(model, images, 0)
    after = FilterConcepts("relu", positions="active").measure(model, images, 0)
    everywhere = FilterConcepts("relu").measure(model, images, 0)
    torch.testing.assert_close(after.w, before.w)
    assert not torch.allclose(everywhere.w, before.w)


def test_nothing_is_changed(model, images):
    state, kept = copy.deepcopy(model.state_dict()), images.clone()
    modes = [m.training for m in model.modules()]
    model.out.weight.grad = torch.ones_like(model.out.weight)
    hooks = [len(m._forward_hooks) for m in model.modules()]
    for concepts in (FilterConcepts("layer"), OutputConcepts("shared", "layer")):
        concepts.measure(model, images, 1)
    with pytest.raises(InputError):
        FilterConcepts("layer").measure(model, images, 7)
    assert torch.equal(images, kept) and not images.requires_grad
    assert all(torch.equal(a, state[name]) for name, a in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert torch.equal(model.out.weight.grad, torch.ones_like(model.out.weight))
    assert all(p.grad is None for n, p in model.named_parameters() if n != "out.weight")
    assert all(p.requires_grad for p in model.parameters())


def test_under_no_grad_and_with_frozen_parameters(model, images):
    expected = FilterConcepts("layer").measure(model, images, 0)
    model.requires_grad_(False)
    with torch.no_grad():
        found = FilterConcepts("layer").measure(model, images, 0)
    torch.testing.assert_close(found.w, expected.w)


def test_batches_and_single_images_agree(model, images):
    concepts = FilterConcepts("layer")
    whole = concepts.measure(model, images, 0)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, torch.zeros(6)), batch_size=5
    )
    for given, size in ((images, 4), (images, 1), (loader, 64), (list(images.split(2)), 64)):
        found = measure(concepts, model, given, 0, batch_size=size)
        for name in ("x", "y", "yhat", "w"):
            torch.testing.assert_close(getattr(found, name), getattr(whole, name))
    bytes_ = (images * 10).byte()
    prepared = measure(concepts, model, bytes_, 0, prepare=lambda i: i.float() / 10)
    torch.testing.assert_close(
        prepared.yhat, concepts.measure(model, bytes_.float() / 10, 0).yhat
    )


def test_without_a_prior_and_unclipped(model, images):
    concepts = FilterConcepts("layer")
    assert concepts.measure(model, images, 0, False).w is None
    assert measure(concepts, model, images, 0, False).w is None
    clipped, signed = (FilterConcepts("layer", clip=clip).measure(model, images, 0).w
                       for clip in (True, False))
    assert (signed < 0).any() and torch.equal(clipped, signed.clamp_min(0))


def test_outputs_explained_by_outputs(model, images):
    measured = OutputConcepts("shared", "relu").measure(model, images, 1)
    one = copy.deepcopy(model).eval()
    with torch.no_grad():
        top = one.layer(one.below(images)).relu()
        logits = one(images)
        shared = one.shared(top.flatten(1))
    torch.testing.assert_close(measured.x, top)
    torch.testing.assert_close(measured.yhat, logits[:, 1])
    torch.testing.assert_close(measured.y, logits[:, [0, 2]])
    expected = priors.taylor_prior(lambda x: one.out(torch.tanh(x)), shared, 1)
    torch.testing.assert_close(measured.w, expected)
    signed = OutputConcepts("shared", "layer").measure(model, images, 1).x
    with torch.no_grad():  # as it was before the ReLU that works in place
        torch.testing.assert_close(signed, one.layer(one.below(images)))
    assert OutputConcepts("s", "l", ["a", "b", "c"]).names(2, 1) == ["a", "c"]


def test_one_output_without_an_axis(images):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True), nn.Flatten(0, 2))

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = model[0]

        def forward(self, images):
            return self.layer(images).relu().sum((1, 2, 3))  # (B,)

    measured = FilterConcepts("layer").measure(Sum(), images, 0)
    torch.testing.assert_close(measured.yhat, measured.x.relu().sum((1, 2, 3)))


def test_measured_is_indexed_and_joined():
    measured = Measured(torch.rand(4, 2, 3, 3), torch.rand(4, 2), torch.rand(4), None)
    joined = Measured.join([measured[:1], measured[torch.tensor([1, 2, 3])]])
    assert len(joined) == 4 and joined.w is None and torch.equal(joined.x, measured.x)
    assert len(measured[measured.yhat > 2]) == 0
    assert list(map(len, image_batches(torch.zeros(5, 1), 2))) == [2, 2, 1]


def test_evaluation_restores_after_an_error(model):
    modes = [m.training for m in model.modules()]
    with pytest.raises(RuntimeError), evaluation_mode(model):
        assert not any(m.training for m in model.modules())
        raise RuntimeError
    assert [m.training for m in model.modules()] == modes


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.pair = nn.LSTM(3, 3)

    def forward(self, images):
        out = self.conv(self.conv(images))
        return self.pair(out.mean(3).transpose(1, 2))[0].sum(1)


def nan_images(images):
    return torch.full_like(images, float("nan"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, i: FilterConcepts("layers").measure(m, i, 0), "^layer: 'layers' .* mean layer"),
        (lambda m, i: FilterConcepts("layer").measure(m, i, 3), "^target: 3 is not .* from 0 to 2"),
        (lambda m, i: FilterConcepts("layer").measure(m, i, True), "^target: True"),
        (lambda m, i: FilterConcepts("layer").measure(m, i[0], 0), "^images: shape .* is not"),
        (lambda m, i: FilterConcepts("layer").measure(m, nan_images(i), 0), "output: 18 of 18"),
        (lambda m, i: FilterConcepts("conv").measure(Twice(), i, 0), "^layer: 'conv' runs more"),
        (lambda m, i: FilterConcepts("unused").measure(Twice(), i, 0), "'unused' does not run"),
        (lambda m, i: FilterConcepts("pair").measure(Twice(), i, 0), "'pair' gives a tuple"),
        (lambda m, i: FilterConcepts("layer").measure(len, i, 0), "^model: builtin"),
        (lambda m, i: OutputConcepts("shared", "layer", ["a"]).measure(m, i, 0), "^outputs: 1 names for 3"),
        (lambda m, i: OutputConcepts("shared", "layer", ["a"], ["b"]), "^among: 'b' is not one of a"),
        (lambda m, i: OutputConcepts("shared", "layer", None, ["b"]), "^among: names are given, but outputs= has none"),
        (lambda m, i: OutputConcepts("shared", "layer", among=[0]).measure(m, i, 0), "^concepts: 0 is the"),
        (lambda m, i: OutputConcepts("shared", "layer", among=[3]).measure(m, i, 0), "^concepts: 3 is not"),
        (lambda m, i: ModelConcepts(Toy(), "layer", ["a"]).measure(m, i, 0), r"^other: .* not \(6, 1\)"),
        (lambda m, i: ModelConcepts(len, "layer").measure(m, i, 0), "^other: builtin"),
        (lambda m, i: ModelConcepts(Toy(), "layer").measure(m, nan_images(i), 0), "output: 18 of 18"),
        (lambda m, i: FilterConcepts("layer", positions="x"), "^positions: 'x'"),
        (lambda m, i: measure(FilterConcepts("layer"), m, [], 0), "^images: none"),
        (lambda m, i: measure(FilterConcepts("layer"), m, 3, 0), "^images: int is neither"),
        (lambda m, i: measure(FilterConcepts("layer"), m, i, 0, batch_size=0), "^batch_"),
    ],
)
def test_bad_input(model, images, call, message):
    with pytest.raises(InputError, match=message) as error:
        call(model, images)
    assert "\n" not in str(error.value)


class Faces(torch.nn.Module):
    """A map, and a head of linear layers in a Sequential with three outputs."""

    def __init__(self, last=None):
        super().__init__()
        torch.manual_seed(1)
        self.features = torch.nn.Conv2d(3, 2, 3, padding=1)
        layers = [torch.nn.Flatten(), torch.nn.Linear(2 * 16, 6), torch.nn.ReLU(),
                  torch.nn.Dropout(0.5), torch.nn.Linear(6, 5), torch.nn.ReLU(),
                  torch.nn.Linear(5, 3)]
        self.head = torch.nn.Sequential(*layers, *([last] if last else []))

    def forward(self, images):
        return self.head(self.features(images))


@pytest.mark.parametrize("last", [None, torch.nn.Tanh()])  # a closed form, and autograd
@pytest.mark.parametrize("shared", ["head.1", "head.2"])  # before and after the ReLU
def test_one_survey_serves_every_target(last, shared):
    model = Faces(last).double()
    images = torch.randn(4, 3, 4, 4).double()
    concepts = OutputConcepts(shared, "features", ["a", "b", "c"])
    found = concepts.survey(model, images)
    assert found.products.shape == (4, 3, 3)
    tail = model.head.eval()[int(shared[-1]) + 1 :]
    leaf = model.head[: int(shared[-1]) + 1](model.features(images)).detach()
    for target in range(3):
        measured = found.about(target)
        jacobian = torch.func.vmap(torch.func.jacrev(tail))(leaf).detach()
        for b in range(4):
            for column, k in enumerate(i for i in range(3) if i != target):
                top = float(jacobian[b, target] @ jacobian[b, k])
                assert float(measured.w[b, column]) == pytest.approx(
                    top / float(jacobian[b, k] @ jacobian[b, k]), rel=1e-5)
        whole = model.eval()(images).detach()
        torch.testing.assert_close(measured.yhat, whole[:, target])
        torch.testing.assert_close(measured.y, whole[:, [k for k in range(3) if k != target]])


def test_chosen_concepts_keep_their_weights():
    found = OutputConcepts("head.1", "features").survey(Faces(), torch.randn(4, 3, 4, 4))
    whole, some = found.about(1), found.about(1, among=[2])
    assert torch.equal(some.y[:, 0], whole.y[:, 1]) and torch.equal(some.w[:, 0], whole.w[:, 1])


@pytest.mark.parametrize("target, among, message", [
    (0, [0, 1], "^concepts: 0 is the target itself$"),
    (0, [3], "^concepts: 3 is not a whole number"),
    (3, None, "^target: 3 is not a whole number"),
    (0, [], "^concepts: none were given$"),
    (0, [1, 1], "^concepts: one of them is given twice$"),
])
def test_impossible_choices_of_concepts(target, among, message):
    found = OutputConcepts("head.1", "features").survey(Faces(), torch.randn(2, 3, 4, 4))
    with pytest.raises(InputError, match=message):
        found.about(target, among)


def test_surveying_in_batches_is_surveying_at_once():
    model, images = Faces(), torch.randn(5, 3, 4, 4)
    concepts = OutputConcepts("head.1", "features")
    whole, parts = concepts.survey(model, images), survey(concepts, model, images, batch_size=2)
    for name in ("x", "scores", "products"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name))
    assert survey(concepts, model, images, prior=False).products is None


class Residual(nn.Module):
    """A block with a shortcut, average pooling and one linear layer, as a residual network ends."""

    def __init__(self, outputs=5):
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.branch = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, outputs)

    def forward(self, images):
        x = self.stem(images)
        return self.fc(self.avgpool(self.relu(x + self.branch(x))).flatten(1))


def slow_taylor(scores, leaf, target, concepts):
    """Section 3.1 from one derivative of one image at a time: (B, n)."""
    rows = []
    for b in range(len(leaf)):
        each = [torch.autograd.grad(score, leaf, retain_graph=True)[0][b] for score in scores[b]]
        rows.append([float((each[target] * each[k]).sum() / each[k].square().sum()) for k in concepts])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("shared", ["avgpool", "relu", "branch"])
def test_residual_networks(shared, images):
    model, target, kept = Residual().double(), 3, []
    layer = model.get_submodule(shared)
    hook = layer.register_forward_hook(
        lambda m, i, o: kept.append(o.clone().detach().requires_grad_()) or kept[0] * 1)
    scores = model(images.double())
    hook.remove()
    concepts = OutputConcepts(shared, "stem")
    expected = slow_taylor(scores, kept[0], target, [0, 1, 2, 4])
    found = concepts.measure(model, images, target)
    torch.testing.assert_close(found.w, expected)
    torch.testing.assert_close(concepts.survey(model, images).about(target).w, expected)
    torch.testing.assert_close(found.y, scores[:, [0, 1, 2, 4]].detach())
    # some of them, in another order, by names or numbers
    for among in ([4, 1], ["e", "b"]):
        chosen = OutputConcepts(shared, "stem", list("abcde"), among)
        some = chosen.measure(model, images, target)
        torch.testing.assert_close(some.w, expected[:, [3, 1]])
        torch.testing.assert_close(some.y, scores[:, [4, 1]].detach())
        assert chosen.names(2, target) == ["e", "b"]
    assert OutputConcepts(shared, "stem", among=[4, 1]).names(2, target) == ["output 4", "output 1"]


@pytest.mark.parametrize("last", [None, nn.Tanh()])
@pytest.mark.parametrize("shared", ["head.1", "head.2"])
def test_one_target_is_as_of_all(last, shared, monkeypatch):
    model, pictures = Faces(last), torch.randn(4, 3, 4, 4)
    concepts = OutputConcepts(shared, "features")
    expected = [concepts.survey(model, pictures).about(target).w for target in range(3)]
    monkeypatch.setattr(priors, "gram", None)  # no products of all by all
    monkeypatch.setattr("semquant.models.AT_ONCE", 1)  # one concept at a time
    for target in range(3):
        torch.testing.assert_close(concepts.measure(model, pictures, target).w, expected[target])


def test_many_outputs_take_no_products_of_all_by_all(images):
    """600 outputs: all products would be 6 x 600 x 600 numbers."""
    model, largest = Residual(600), 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            found = function(*args, **(kwargs or {}))
            largest = max([largest, *(t.numel() for t in torch.utils._pytree.tree_leaves(found)
                                      if isinstance(t, torch.Tensor))])
            return found

    with Sizes():
        found = OutputConcepts("avgpool", "stem").measure(model, images, 7)
    weight = model.fc.weight.detach()
    expected = weight @ weight[7] / weight.square().sum(1)
    torch.testing.assert_close(found.w[0], expected[torch.arange(600) != 7])
    assert largest <= 600 * 600


def test_a_hook_on_the_last_layer_is_heeded(images):
    """Its weights are not the scores' derivatives then."""
    model = Residual()
    model.fc.register_forward_hook(lambda module, inputs, output: output.tanh())
    found = OutputConcepts("avgpool", "stem").measure(model, images, 1)
    torch.testing.assert_close(found.w, OutputConcepts("avgpool", "stem").survey(model, images).about(1).w)


def test_concepts_of_another_model(model, images):
    other = Residual(4)
    concepts = ModelConcepts(other, "relu", ["w", "x", "y", "z"])
    found = concepts.measure(model, images, 2)
    expected = FilterConcepts("relu").measure(model, images, 2)
    assert torch.equal(found.x, expected.x) and torch.equal(found.yhat, expected.yhat)
    torch.testing.assert_close(found.y, other(images).detach())
    assert found.w is None and concepts.objective.prior == "none"
    assert concepts.names(4, 2) == ["w", "x", "y", "z"]
    assert ModelConcepts(other, "relu").names(2) == ["concept 0", "concept 1"]
    assert all(p.grad is None for p in other.parameters()) and other.training


@pytest.mark.parametrize("output", [None, "scores"])
def test_concepts_of_a_head_on_a_layer(images, output):
    torch.manual_seed(5)
    model = Residual().double()
    head = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            return {"scores": self.head(x)} if output else self.head(x)

    concepts = ModelConcepts(Named(), "stem", on="avgpool", output=output)
    found = concepts.measure(model, images, 1)
    with torch.no_grad():
        x = model.stem(images.double())
        feature = model.avgpool((x + model.branch(x)).relu())
    leaf = feature.requires_grad_()
    scores = torch.cat([model.fc(leaf.flatten(1))[:, 1:2], head(leaf)], dim=1)
    torch.testing.assert_close(found.w, slow_taylor(scores, leaf, 0, [1, 2, 3]))
    torch.testing.assert_close(found.y, head(feature).detach())
    torch.testing.assert_close(found.x, x)
    assert concepts.objective.prior == "measured"
    assert concepts.measure(model, images, 1, prior=False).w is None
    fitted = distill(model, concepts, torch.randn(8, 3, 8, 8), 1, fit=FitOptions(epochs=1, device="cpu"))
    assert fitted.explain(images).contributions.shape == (6, 3)
    without = distill(model, ModelConcepts(Residual(4), "stem"), torch.randn(8, 3, 8, 8), 1,
                      fit=FitOptions(epochs=1, device="cpu"))
    assert without.explain(images).names == [f"concept {i}" for i in range(4)]
