"""Models of any kind: unwrapped, checked, run once in peace, and which of what they give are scores."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from semquant.checks import InputError, check_finite, check_shapes, one_of
from semquant.targets import scores_of
from semquant.training import evaluation_mode, home_of

__all__ = ["Pass", "Pick", "check_pick", "check_usable", "forward_from", "hooked", "input_of", "layer_of",
           "passing", "picked", "run", "single", "undisturbed", "unwrapped"]

#: Which part of what a model gives are its scores, see `picked`.
Pick = str | int | Callable[[object], Tensor] | None
#: What `torch.compile` and `nn.DataParallel` put before the names of layers.
WRAPPERS = ("_orig_mod.", "module.")
#: Steps between a sigmoid and a score that leave a probability what it is.
VIEWS = ("Alias", "Clone", "Reshape", "Select", "Slice", "Squeeze", "ToCopy", "Unsqueeze", "View")
#: Numbers of the derivatives that are computed at once: 64 MB.
AT_ONCE = 2**24

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_GUARD = threading.Lock()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside `nn.DataParallel`, `DistributedDataParallel` and `torch.compile`."""
    while isinstance(model, nn.Module):
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._orig_mod
        else:
            break
    return model


def layer_of(model: nn.Module, name: str, field: str = "layer") -> nn.Module:
    """The layer of a name in ``model.named_modules()``; `field` is what an error calls it.

    A second name of the same layer is right as well, and so is a name with or without what
    `nn.DataParallel` or `torch.compile` puts before it.
    """
    _check_module(model, "model")
    model, short = unwrapped(model), name
    while isinstance(short, str):
        try:
            return model.get_submodule(short)
        except AttributeError:
            if not f"{short}.".startswith(WRAPPERS):
                break
            short = short.partition(".")[2]
    return one_of(field, name, [n.replace(WRAPPERS[0], "") for n, _ in model.named_modules() if n])


def _check_module(model: object, field: str) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"{field}: {type(model).__name__} is not a torch.nn.Module")


def check_usable(model: nn.Module, field: str = "model") -> None:
    """Check without a pass that a model has values, layers, derivatives, and images that don't mix."""
    _check_module(model, field)
    model = unwrapped(model)
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_meta and not is_lazy(tensor) for tensor in tensors):
        raise InputError(f"{field}: its weights are on the meta device and have no values; load them, e.g. "
                         "model.to_empty(device='cpu') and model.load_state_dict(weights)")
    if any(map(is_lazy, tensors)):
        raise InputError(f"{field}: it has lazy layers that have not run; run it once on a batch of images")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{field}: it is scripted or traced (torch.jit), its layers can't be looked into; "
                         "give the Python model that it was made from")
    if any(tensor.is_inference() for tensor in tensors):
        raise InputError(f"{field}: its weights were made inside torch.inference_mode and have no "
                         "derivatives; give copy.deepcopy(model), copied outside of it")
    for name, module in model.named_modules():
        kind = type(module)
        if ".quantized" in kind.__module__:
            raise InputError(f"{field}: {name!r} is quantised ({kind.__name__}) and has no derivatives; "
                             "give the model as it was before that")
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise InputError(f"{field}: {name!r} ({kind.__name__}) has no running statistics, so images "
                             "of a batch change each other's scores; train with track_running_stats=True")


@contextmanager
def passing(model: nn.Module) -> Iterator[None]:
    """A model for one thread alone, in evaluation mode, whatever torch was told to do around it.

    Gradients are on; inference mode, autocast and compiled layers are off.
    """
    with _GUARD:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock, evaluation_mode(model), _as_usual(home_of(model).type) as stack:
        if any(m._compiled_call_impl is not None or "_orig_mod" in m._modules for m in model.modules()):
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # hooks are for eager layers
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Torch as it starts: gradients on, no inference mode, no autocast, single precision, the CPU."""
    dtype = torch.get_default_dtype()
    with _as_usual("cpu", "cuda") as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextmanager
def _as_usual(*devices: str) -> Iterator[ExitStack]:
    with ExitStack() as stack, torch.inference_mode(False), torch.enable_grad():
        for device in devices:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield stack


@contextmanager
def hooked(*hooks: tuple[nn.Module, Callable]) -> Iterator[None]:
    """Forward hooks of layers for a while, called by what runs in this thread alone."""
    thread, handles = threading.get_ident(), []

    def here(hook: Callable) -> Callable:
        return lambda *call: hook(*call) if threading.get_ident() == thread else None

    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(here(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_of(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of images in the model's precision; whole numbers stay what they are."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), images.dtype)
    images = images.detach().clone()  # a model may work in place
    return images.to(dtype) if images.is_floating_point() else images


def run(model: nn.Module, x: Tensor, field: str = "images") -> object:
    """What a model gives of a batch; one line where it can't take it, and `field` is what is wrong then."""
    try:
        return model(x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(f"{field}: the model can't take {tuple(x.shape)} of {x.dtype} ({error})") from error


def single(tensor: Tensor) -> Tensor:
    """The same in at least single precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_pick(pick: Pick) -> Pick:
    """Return what may say where the scores are: None, a key, an index or a function."""
    if isinstance(pick, bool) or not (pick is None or isinstance(pick, str | int) or callable(pick)):
        raise InputError(f"output: {pick!r} is not a key, an index or a function")
    return pick


def picked(output: object, pick: Pick = None) -> Tensor:
    """The logits (B, K) in what a model gives; (B,) becomes (B, 1).

    `pick` is a key or attribute, the index in a tuple, or a function of the output. Without one it is
    ``logits`` or ``out``, else the first of a tuple if no other is (B, K). A tensor is taken as it is,
    unless there is a function.
    """
    found = pick(output) if callable(pick) else _part(output, pick)
    if isinstance(found, Tensor) and found.ndim in (1, 2):
        return found[:, None] if found.ndim == 1 else found
    what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else _described(output)
    raise InputError(f"output: {what} is not (B, K) logits; accepted: output= as a key or attribute, an "
                     "index, or a function of what the model gives")


def _part(output: object, pick: str | int | None) -> object:
    if isinstance(output, Tensor):
        return output
    if isinstance(pick, str):
        return output.get(pick) if isinstance(output, Mapping) else getattr(output, pick, None)
    if isinstance(pick, int):
        inside = isinstance(output, tuple | list) and -len(output) <= pick < len(output)
        return output[pick] if inside else None
    named = [part for part in (_part(output, "logits"), _part(output, "out")) if isinstance(part, Tensor)]
    if named or not isinstance(output, tuple | list):
        return named[0] if named else None
    tensors = [part for part in output if isinstance(part, Tensor)]
    matrices = [part.ndim == 2 for part in tensors]
    return tensors[0] if sum(matrices) == 1 and matrices[0] else None


def _described(output: object) -> str:
    """What is in an output, in words: names and kinds of its parts."""
    if isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    else:
        parts = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    kinds = [f"{name}: {tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__}"
             for name, part in parts.items()]
    return f"a {type(output).__name__}{' of ' * bool(kinds)}{', '.join(kinds)}"


@dataclass
class Pass:
    """What one pass over B images gives, with a graph that begins at one layer's output."""

    name: str  # of that layer
    scores: Tensor  # (B, K)
    leaf: Tensor  # what that layer gave, detached: the graph's only leaf
    read: Tensor  # what another layer gave, detached; the leaf where none was asked for
    linear: tuple[nn.Linear, Tensor] | None = None  # the layer that gave the scores, with its input

    def score(self, target: int) -> Tensor:
        """One output, (B,), or one for each image."""
        return scores_of(self.scores, target)

    def gradient(self, values: Tensor, grads: Tensor | None = None, *, again: bool = False) -> Tensor:
        """Derivative by the leaf of values (B,), or as grads (c, ...) weigh them; `again` keeps the graph.

        One backward pass serves all images, since they don't influence each other.
        """
        found = None
        if values.requires_grad:
            values = values if grads is not None else values.sum()
            (found,) = torch.autograd.grad(values, self.leaf, grads, retain_graph=again, allow_unused=True,
                                           is_grads_batched=grads is not None)
        if found is None:
            raise InputError(f"layer: the score does not depend on {self.name!r}")
        return found

    def rows(self, chosen: Tensor) -> Iterator[Tensor]:
        """Derivatives of the chosen scores by the leaf, a few scores (B, c, ...) at a time."""
        values, images = self.scores, len(self.leaf)
        each = torch.eye(values.shape[1], device=values.device, dtype=values.dtype)
        if self.linear is not None:
            layer, below = self.linear
            # where nothing changed what the layer gave, its weights are the scores' derivatives already
            if below.ndim == 2 and torch.equal(F.linear(below, layer.weight, layer.bias), values):
                values, each = below, layer.weight.detach()
        for some in each[chosen].split(max(1, AT_ONCE // self.leaf.numel())):
            yield self.gradient(values, some[:, None].expand(-1, images, -1), again=True).transpose(0, 1)


def forward_from(model: nn.Module, images: Tensor, leaf: tuple[str, str], read: str | None = None,
                 output: Pick = None) -> Pass:
    """Run an unwrapped model once with one layer's output replaced by a detached leaf.

    `leaf` is the layer's name and what an error calls it; `read` is a layer whose output is kept.
    Gradients are only recorded from the leaf on, so that no graph is built below it.
    """
    check_shapes(images=(images, "B C H W"))
    seen: dict[str, Tensor] = {}
    linear: list = [None]  # the linear layer that ran last, its input and its output

    def keep(name: str, field: str, replace: bool) -> Callable:
        def hook(module, inputs, output):
            if field in seen:
                raise InputError(f"{field}: {name!r} runs more than once in a pass, choose one "
                                 "that runs once")
            if not isinstance(output, Tensor):
                raise InputError(f"{field}: {name!r} gives a {type(output).__name__}, not a tensor")
            # copies: the next layer may work in place
            seen[field] = output.detach().clone().requires_grad_(replace)
            if not replace:
                return None
            torch.set_grad_enabled(True)  # until the end of the pass
            return seen[field] * 1

        return hook

    def last(module, inputs, output):
        linear[:] = module, *inputs[:1], output

    asked = [leaf] if read is None else [leaf, (read, "layer")]
    hooks = [(layer_of(model, *layer), keep(*layer, layer is leaf)) for layer in asked]
    hooks += [(module, last) for module in model.modules() if type(module) is nn.Linear]
    with hooked(*hooks), torch.no_grad():
        scores = picked(run(model, input_of(model, images)), output)
    for name, field in asked:
        if field not in seen:
            raise InputError(f"{field}: {name!r} does not run in a pass of this model")
    check_shapes(images=(images, "B C H W"), **{"the model's output": (scores, "B K")})
    check_finite(**{"the model's output": scores})
    name, field = leaf
    found = Pass(name, scores, seen[field], seen["layer"])
    if len(linear) == 3 and linear[2] is scores:
        found.linear = linear[0], linear[1]
    if scores.shape == found.leaf.shape and torch.equal(scores.to(found.leaf), found.leaf):
        raise InputError(f"{field}: {name!r} gives the scores themselves, choose a layer before it")
    _warn_of_probabilities(scores)
    return found


def _warn_of_probabilities(scores: Tensor) -> None:
    """Warn of scores (B, K) that come from a softmax or sigmoid: contributions add up to logits."""
    node = scores.grad_fn
    while node is not None and node.name().startswith(VIEWS):
        node = node.next_functions[0][0]
    squashed = node is not None and node.name() in ("SoftmaxBackward0", "SigmoidBackward0")
    values = scores.detach().float()
    shares = (values.shape[1] > 1 and bool((values >= 0).all())
              and bool(((values.sum(dim=1) - 1).abs() < 1e-3).all()))
    if squashed or shares:
        warnings.warn("the model's outputs look like probabilities; scores before the softmax or sigmoid "
                      "are meant, give a model without it", stacklevel=2)
