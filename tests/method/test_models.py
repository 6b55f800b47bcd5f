"""Models in wrappers, precisions, contexts and threads: what is measured is what a plain pass gives."""

import copy
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from semquant import FilterConcepts, ModelConcepts, OutputConcepts, distill
from semquant.checks import InputError
from semquant.explanation import grad_cam
from semquant.models import layer_of, picked, unwrapped
from semquant.training import FitOptions


class Net(nn.Module):
    """conv -> in-place ReLU -> average -> dropout -> linear, as `change` gives its 4 scores."""

    def __init__(self, change=lambda scores: scores):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.relu = nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True)
        self.pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Linear(5, 4)
        self.change = change

    def forward(self, images):
        return self.change(self.fc(self.drop(self.pool(self.relu(self.layer(images))).flatten(1))))


@dataclass
class Found:
    loss: object
    logits: torch.Tensor


def drawn(count=6, seed=1):
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(seed))


def same(found, expected, **tolerance):
    for name in ("x", "y", "yhat", "w"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **tolerance)


EXACT = dict(rtol=0, atol=0)
ONCE = FitOptions(epochs=1, device="cpu")
Pair = namedtuple("Pair", "logits aux")
CONCEPTS = FilterConcepts("layer", rectified=True, clip=False)


@pytest.mark.parametrize("change, output", [
    (lambda s: {"logits": s, "loss": None}, None), (lambda s: {"out": s, "aux": s + 1}, None),
    (lambda s: Found(None, s), None), (lambda s: Pair(s, s + 1), None),
    (lambda s: (s, s[:, :, None]), None),
    (lambda s: [s, None], None), (lambda s: {"scores": s}, "scores"), (lambda s: (None, s), 1),
    (lambda s: (s + 1, s), -1), (lambda s: Found(s, s + 1), "loss"),
    (lambda s: {"a": [s]}, lambda o: o["a"][0]),
    (lambda s: s[:, :, None, None], lambda o: o.flatten(1)),
])
def test_outputs_are_picked(change, output):
    model, images = Net(change), drawn()
    expected = CONCEPTS.measure(Net(), images, 2)
    concepts = FilterConcepts("layer", True, clip=False, output=output)
    same(concepts.measure(model, images, 2), expected, **EXACT)
    others = OutputConcepts("pool", "layer", output=output).measure(model, images, 2)
    same(others, OutputConcepts("pool", "layer").measure(Net(), images, 2), **EXACT)
    torch.testing.assert_close(concepts.scores(model, images, 2, torch.ones(6, 5)), expected.yhat)


@pytest.mark.parametrize("output, pick, message", [
    ({"a": torch.zeros(2, 3), "b": None}, None,
     r"^output: a dict of a: \(2, 3\), b: NoneType is not \(B, K\) logits; accepted: output= as a key"),
    ((torch.zeros(2, 3), torch.zeros(2, 3)), None, r"^output: a tuple of 0: \(2, 3\), 1: \(2, 3\) is not"),
    ((torch.zeros(()), torch.zeros(2, 3)), None, r"^output: a tuple of 0: \(\), 1: \(2, 3\) is not"),
    (Found(1, None), None, "^output: a Found of loss: int, logits: NoneType is not"),
    ({"a": torch.zeros(2, 3)}, "b", "^output: a dict of a"),
    ((torch.zeros(2, 3),), 1, "^output: a tuple of 0"), (3, None, "^output: a int is not"),
    (torch.zeros(2, 3, 4, 4), None, r"^output: shape \(2, 3, 4, 4\) is not"),
])
def test_outputs_that_can_not_be_picked(output, pick, message):
    with pytest.raises(InputError, match=message):
        picked(output, pick)


@pytest.mark.parametrize("output", [True, 1.5, [0]])
def test_what_picks_nothing_is_told_at_once(output):
    with pytest.raises(InputError, match="^output: .* is not a key, an index or a function$"):
        FilterConcepts("layer", output=output)


def compiled_inside(model):
    model.layer = torch.compile(model.layer, backend="eager")
    return model


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("wrap, prefix", [
    (nn.DataParallel, "module."), (lambda m: torch.compile(m, backend="eager"), "_orig_mod."),
    (lambda m: torch.compile(nn.DataParallel(m), backend="eager"), "_orig_mod.module."),
    (compiled_inside, ""), (compiled_in_place, "")])
def test_wrapped_models(wrap, prefix):
    images, expected = drawn(), CONCEPTS.measure(Net(), drawn(), 2)
    model = wrap(Net()).eval()
    with torch.no_grad():
        model(images)  # compiled as it will run, without hooks
    for name in ("layer", f"{prefix}layer"):
        same(FilterConcepts(name, True, clip=False).measure(model, images, 2), expected, **EXACT)
    names = {"", *(n for n, _ in model.named_modules())}
    assert all(isinstance(layer_of(model, name), nn.Module) for name in names)
    outputs = OutputConcepts(f"{prefix}pool", f"{prefix}layer")
    expected = OutputConcepts("pool", "layer").measure(Net(), images, 2)
    same(outputs.measure(model, images, 2), expected, **EXACT)
    assert outputs.survey(model, images).products.shape == (6, 4, 4)
    assert isinstance(unwrapped(model), Net)


@pytest.mark.parametrize("dtype, tolerance", [
    (torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_precisions(dtype, tolerance):
    model, images = Net().to(dtype), drawn()
    kept = copy.deepcopy(model.state_dict())
    for concepts in (CONCEPTS, OutputConcepts("pool", "layer")):
        found, expected = (concepts.measure(m, images, 2) for m in (model, Net()))
        for name in ("x", "y", "yhat", "w"):
            value = getattr(found, name)
            assert value.dtype == torch.promote_types(dtype, torch.float32)
            torch.testing.assert_close(value.float(), getattr(expected, name), atol=tolerance,
                                       rtol=tolerance)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    rounded = images.to(dtype)  # images are brought to the model's precision
    same(CONCEPTS.measure(Net(), rounded.double(), 2), CONCEPTS.measure(Net(), rounded, 2), **EXACT)
    for method in ("paper", "corrected"):
        fitted = distill(model, FilterConcepts("layer", True), drawn(8), 2, method=method, fit=ONCE)
        assert bool(fitted.explain(images).contributions.isfinite().all())


@contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", ["paper", "corrected"])
@pytest.mark.parametrize("around", [
    torch.no_grad, torch.inference_mode, double_by_default, lambda: torch.device("meta"),
    lambda: torch.autocast("cpu", torch.bfloat16)])
def test_whatever_torch_was_told(method, around):
    model, train, images = Net(), drawn(8), drawn()

    def explained():
        fitted = distill(model, FilterConcepts("layer", True), train, 2, method=method, fit=ONCE)
        found = fitted.explain(images)
        return found.yhat, found.y, found.alpha, found.bias

    def told():
        return (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))

    expected, before = explained(), told()
    with around():
        now = told()
        found = explained()
        assert told() == now != before
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, **EXACT)


def meta():
    with torch.device("meta"):
        return Net()


def quantised():
    with pytest.warns(Warning):
        return torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear})


def scripted():
    return torch.jit.trace(Net().eval(), drawn())


def of_inference():
    with torch.inference_mode():
        return Net()


def batch_statistics():
    model = Net()
    model.relu = nn.BatchNorm2d(5, track_running_stats=False)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make, message", [
    (meta, "^model: its weights are on the meta device .*load_state_dict"),
    (quantised, r"^model: 'fc' is quantised \(Linear\).* before that$"),
    (scripted, "^model: it is scripted or traced .* give the Python model"),
    (of_inference, "^model: its weights were made inside torch.inference_mode"),
    (batch_statistics, r"^model: 'relu' \(BatchNorm2d\) has no running statistics"),
    (lambda: nn.DataParallel(batch_statistics()), "^model: 'relu'"), (lambda: len, "^model: builtin_"),
])
def test_models_that_can_not_be_explained_are_told_before_a_pass(make, message):
    model = make()
    for concepts in (CONCEPTS, OutputConcepts("pool", "layer"), ModelConcepts(Net(), "layer")):
        for call in (lambda: concepts.check(model), lambda: concepts.measure(model, drawn(), 2)):
            with pytest.raises(InputError, match=message) as error:
                call()
            assert "\n" not in str(error.value) and len(str(error.value)) < 250
    with pytest.raises(InputError, match=message.replace("model:", "other:")):
        ModelConcepts(model, "layer").check(Net())


def test_a_layer_has_all_its_names():
    model = Net()
    model.again = model.layer  # named_modules gives the first name alone
    assert "again" not in dict(model.named_modules())
    expected = CONCEPTS.measure(Net(), drawn(), 1)
    same(FilterConcepts("again", True, clip=False).measure(model, drawn(), 1), expected, **EXACT)


def test_of_many_layers_the_nearest_are_told():
    model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()) for _ in range(200)))
    for call in (lambda: FilterConcepts("177.2").check(model), lambda: grad_cam(model, "177.2", drawn(), 0),
                 lambda: OutputConcepts("0.0", "177.2").check(model)):
        message = "^layer: '177.2' is not one of 600 names; the nearest are 17"
        with pytest.raises(InputError, match=message) as error:
            call()
        assert len(str(error.value)) < 100 and str(error.value).count(",") == 2
    with pytest.raises(InputError, match="^shared: 'poll' is not one of layer, relu, .*did you mean pool"):
        OutputConcepts("poll", "layer").check(Net())
    with pytest.raises(InputError, match="^on: 'poll' is not one of"):
        ModelConcepts(Net(), "layer", on="poll").check(Net())
    with pytest.raises(InputError, match="^layer: 3 is not one of"):
        layer_of(Net(), 3)


class Slow(Net):
    """Lets other threads in while it runs."""

    def forward(self, images):
        threading.Event().wait(0.002)
        found = super().forward(images)
        threading.Event().wait(0.002)
        return found


def test_threads_take_turns():
    model = Slow().train()
    batches = [drawn(seed=seed) for seed in range(8)]
    ways = (CONCEPTS, FilterConcepts("relu"), OutputConcepts("pool", "layer"),
            OutputConcepts("pool", "relu"))
    expected = {(w, b): way.measure(model, batch, 1)
                for w, way in enumerate(ways) for b, batch in enumerate(batches)}
    places = {name: p.data_ptr() for name, p in model.named_parameters()}
    weights = dict(model.named_parameters())
    calls = [(w, b) for b in range(8) for w in range(len(ways))] * 2
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda call: ways[call[0]].measure(model, batches[call[1]], 1), calls))
    for call, measured in zip(calls, found):
        same(measured, expected[call], **EXACT)
    assert {name: p.data_ptr() for name, p in model.named_parameters()} == places
    assert all(p is weights[name] and p.requires_grad and p.grad is None
               for name, p in model.named_parameters())
    assert all(m.training and not m._forward_hooks for m in model.modules())


def test_an_explainer_serves_threads():
    fitted = distill(Slow(), FilterConcepts("layer", True), drawn(8), 2, fit=ONCE)
    batches = [drawn(seed=seed) for seed in range(4)]
    expected = [fitted.explain(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: fitted.explain(batches[i % 4]), range(24)))
    for i, one in enumerate(found):
        assert torch.equal(one.alpha, expected[i % 4].alpha) and torch.equal(one.y, expected[i % 4].y)


def test_a_pass_of_another_thread_is_left_alone():
    """Someone else may run the model meanwhile: hooks and detached maps are not for them."""
    model, seen = Net().eval(), []

    def meanwhile(module, inputs):
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=lambda: seen.append(model(drawn(2, seed=9))))
            thread.start()
            thread.join()

    hook = model.relu.register_forward_pre_hook(meanwhile)
    measured = CONCEPTS.measure(model, drawn(), 2)
    hook.remove()
    same(measured, CONCEPTS.measure(model, drawn(), 2), **EXACT)
    torch.testing.assert_close(seen[0], model(drawn(2, seed=9)))
    assert seen[0].requires_grad


@pytest.mark.parametrize("change, warns", [
    (lambda s: s.softmax(1), True), (lambda s: s.sigmoid(), True), (nn.Softmax(1), True),
    (lambda s: s.sigmoid()[:, :3], True), (lambda s: {"logits": s.sigmoid().clone()}, True),
    (lambda s: s.softmax(1) * 1.0, True),  # by its values
    (lambda s: s, False), (lambda s: s.abs() / 100, False), (lambda s: s.sigmoid() * 3, False),
])
def test_probabilities_are_warned_of(change, warns, recwarn):
    CONCEPTS.measure(Net(change), drawn(), 2)
    lines = [str(w.message) for w in recwarn if w.category is UserWarning]
    assert len(lines) == warns
    assert not warns or "scores before the softmax or sigmoid are meant" in lines[0]


def test_the_layer_of_the_scores_is_no_concept():
    for concepts in (FilterConcepts("fc"), OutputConcepts("fc", "layer")):
        with pytest.raises(InputError, match="^(layer|shared): 'fc' gives the scores themselves, choose a"):
            concepts.measure(Net(), drawn(), 2)


def test_a_score_that_does_not_depend_on_the_layer():
    model = Net(lambda s: s.detach() + torch.ones(4, requires_grad=True))
    for concepts in (CONCEPTS, OutputConcepts("pool", "layer")):
        with pytest.raises(InputError, match="^layer: the score does not depend on '(layer|pool)'$"):
            concepts.measure(model, drawn(), 2)
    with pytest.raises(InputError, match="^layer: the score does not depend on 'pool'$"):
        OutputConcepts("pool", "layer").survey(model, drawn())
