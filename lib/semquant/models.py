"""Models of any kind: unwrapped, checked, run once in peace; which of what they give is a score, and which a map."""

from __future__ import annotations

import dataclasses
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.misc import Permute

from semquant.checks import InputError, one_of
from semquant.training import evaluation_mode, home_of

__all__ = ["LAYOUTS", "Layout", "check_usable", "hooked", "input_of", "layer_of", "layout_of", "passing", "picked",
           "single", "undisturbed", "unwrapped", "warn_of_probabilities"]

#: How a layer's output may be laid out: (B, n, H, W) or (B, n); (B, H, W, n); (B, T, n) with T = H W,
#: or T = H W + 1 where a class token comes first.
LAYOUTS = ("channels_first", "channels_last", "tokens")
#: What `torch.compile` and `nn.DataParallel` put before the names of layers.
WRAPPERS = ("_orig_mod.", "module.")
#: Steps between a sigmoid and a score that leave a probability what it is.
_VIEWS = ("Alias", "Clone", "Reshape", "Select", "Slice", "Squeeze", "ToCopy", "Unsqueeze", "View")

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
            if not short.startswith(WRAPPERS):
                break
            short = short.partition(".")[2]
    return one_of(field, name, [n.replace(WRAPPERS[0], "") for n, _ in model.named_modules() if n])


def _check_module(model: object, field: str) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"{field}: {type(model).__name__} is not a torch.nn.Module")


def check_usable(model: nn.Module, field: str = "model") -> None:
    """Check without a pass that a model has values, layers to look into, derivatives, and images that don't mix."""
    _check_module(model, field)
    model = unwrapped(model)
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise InputError(f"{field}: its weights are on the meta device and have no values; load them first, e.g. "
                         "model.to_empty(device='cpu') and model.load_state_dict(weights)")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{field}: it is scripted or traced (torch.jit), its layers can't be looked into; give the "
                         "Python model that it was made from")
    if any(tensor.is_inference() for tensor in tensors):
        raise InputError(f"{field}: its weights were made inside torch.inference_mode and have no derivatives; give "
                         "copy.deepcopy(model), copied outside of it")
    for name, module in model.named_modules():
        kind = type(module)
        if ".quantized" in kind.__module__:
            raise InputError(f"{field}: {name!r} is quantised ({kind.__name__}) and has no derivatives; give the "
                             "model as it was before that")
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise InputError(f"{field}: {name!r} ({kind.__name__}) has no running statistics, so that images of a "
                             "batch change each other's scores; give a model trained with track_running_stats=True")


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


def single(tensor: Tensor) -> Tensor:
    """The same in at least single precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def picked(output: object, pick: str | int | Callable | None = None) -> Tensor:
    """The logits (B, K) in what a model gives; (B,) becomes (B, 1).

    `pick` is a key or attribute, the index in a tuple, or a function of the output. None takes a
    tensor as it is, else ``logits`` or ``out``, else the first of a tuple if no other is (B, K).
    """
    found = pick(output) if callable(pick) else _part(output, pick)
    if isinstance(found, Tensor) and found.ndim in (1, 2):
        return found[:, None] if found.ndim == 1 else found
    if isinstance(found, Tensor):
        raise InputError(f"output: shape {tuple(found.shape)} is not (B, K), one score a class; accepted: output= as a "
                         "function of what the model gives")
    raise InputError(f"output: the model gives {_described(output)}; say where the logits (B, K) are: output= as a key "
                     "or attribute, an index, or a function of it")


def _part(output: object, pick: str | int | None) -> object:
    if isinstance(pick, str):
        return output.get(pick) if isinstance(output, Mapping) else getattr(output, pick, None)
    if isinstance(pick, int):
        inside = isinstance(output, tuple | list) and -len(output) <= pick < len(output)
        return output[pick] if inside else None
    if isinstance(output, Tensor):
        return output
    named = [part for part in (_part(output, "logits"), _part(output, "out")) if isinstance(part, Tensor)]
    if named or not isinstance(output, tuple | list):
        return named[0] if named else None
    tensors = [part for part in output if isinstance(part, Tensor)]
    matrices = [part.ndim == 2 for part in tensors]
    return tensors[0] if sum(matrices) == 1 and matrices[0] else None


def _described(output: object) -> str:
    """What is in an output, for a line: names and kinds of its parts."""
    parts = None
    if isinstance(output, Mapping):
        parts = dict(output)
    elif dataclasses.is_dataclass(output):
        parts = {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    elif isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    if not parts:
        return f"a {type(output).__name__}"
    kinds = (f"{name}: {tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__}"
             for name, part in parts.items())
    return f"a {type(output).__name__} with {', '.join(kinds)}"


def warn_of_probabilities(scores: Tensor) -> None:
    """Warn of scores (B, K) that come from a softmax or sigmoid: what adds up to a logit says little of them."""
    node = scores.grad_fn
    while node is not None and node.name().startswith(_VIEWS):
        node = node.next_functions[0][0]
    squashed = node is not None and node.name() in ("SoftmaxBackward0", "SigmoidBackward0")
    values = scores.detach().float()
    shares = (values.shape[1] > 1 and bool(((values >= 0) & (values <= 1)).all())
              and bool(((values.sum(dim=1) - 1).abs() < 1e-3).all()))
    if squashed or shares:
        warnings.warn("the model's outputs look like probabilities; scores before the softmax or sigmoid are meant, "
                      "give a model without it", UserWarning, stacklevel=2)


@dataclass(frozen=True)
class Layout:
    """Where the filters and positions are in a layer's output: one of `LAYOUTS`, or a function.

    The function makes (B, n, H, W) of the output, and only moves numbers.
    """

    kind: str | Callable[[Tensor], Tensor]

    def map(self, x: Tensor) -> Tensor:
        """A layer's output as a map (B, n, H, W)."""
        return x.flatten()[self._places(x)] if callable(self.kind) else self._view(x)

    def kept(self, x: Tensor, present: Tensor) -> Tensor:
        """A layer's output with the filters that are not present (B, n) set to 0.

        What belongs to no filter, like a class token, stays.
        """
        each, x = present.to(x.device)[:, :, None, None], x.clone()
        if callable(self.kind):
            places, flat = self._places(x), x.flatten()
            flat[places] *= each
            return flat.view(x.shape)
        self._view(x).mul_(each)
        return x

    def _view(self, x: Tensor) -> Tensor:
        """The map as a view, so that what is done to it is done to the output."""
        if self.kind == "channels_last":
            return x.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            side = math.isqrt(x.shape[1])  # T and T - 1 can't both be squares
            return x[:, x.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
        return x if x.ndim == 4 else x[:, :, None, None]

    def _places(self, x: Tensor) -> Tensor:
        """For each number of the map its place in the output: what the function does to numbered places."""
        places, images = self.kind(torch.arange(x.numel(), device=x.device).view(x.shape)), len(x)
        if (isinstance(places, Tensor) and places.ndim == 4 and places.dtype == torch.int64 and len(places) == images
                and len(places.unique()) == places.numel() and bool((places >= 0).all())
                and bool((places < x.numel()).all()) and torch.equal(self.kind(x), x.flatten()[places])
                and bool((places.flatten(1) // (x.numel() // images) == torch.arange(images, device=x.device)[:, None]).all())):
            return places
        raise InputError(f"reshape: the function must make (B, n, H, W) of {tuple(x.shape)} by moving numbers alone, "
                         "each at most once and within its image")


def layout_of(model: nn.Module, layer: str, x: Tensor, size: tuple[int, int],
              reshape: str | Callable | None = None) -> Layout:
    """How the output x of a layer is laid out, for images of a size (height, width).

    With `reshape` None it is recognised; an InputError where it can't be told for sure, or where
    what was said doesn't fit x.
    """
    if callable(reshape):
        return Layout(reshape)
    shape = tuple(x.shape)
    if reshape is None and x.ndim in (2, 4):
        return Layout("channels_first" if x.ndim == 2 else _recognised(model, layer, shape, size))
    dimensions = {"channels_first": (2, 4), "channels_last": (4,), "tokens": (3,)}.get(reshape, ())
    square = x.ndim != 3 or math.isqrt(shape[1]) ** 2 in (shape[1], shape[1] - 1)
    if x.ndim in dimensions and square:
        return Layout(reshape)
    advice = ('say reshape="tokens" for (B, T, n)' if reshape is None and x.ndim == 3 and square
              else "give reshape= as a function of it")
    raise InputError(f"output of {layer}: shape {shape} is not {_WORDS[reshape]}; {advice}")


_WORDS = {None: "(B, n, H, W) or (B, n)", "channels_first": "(B, n, H, W) or (B, n)", "channels_last": "(B, H, W, n)",
          "tokens": "(B, T, n) with T a square, or one more for a class token"}


def _recognised(model: nn.Module, layer: str, shape: tuple[int, ...], size: tuple[int, int]) -> str:
    """Where the filters are in a layer's output of four dimensions."""
    module = layer_of(model, layer)
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        return "channels_first"
    if isinstance(module, nn.Linear) or type(module) is nn.LayerNorm:  # these work on the last dimension
        return "channels_last"
    # a map has the images' proportions, rounded
    height, width = size
    first, last = (abs(h * width - w * height) < max(height, width) for h, w in (shape[2:], shape[1:3]))
    by_last = any(isinstance(m, Permute) or "LayerNorm" in type(m).__name__ for m in model.modules())
    if first and not last or first == last and not by_last:
        return "channels_first"
    if last and not first and by_last:
        return "channels_last"
    raise InputError(f"output of {layer}: filters may come first or last in shape {shape}; say "
                     'reshape="channels_first" or reshape="channels_last"')
