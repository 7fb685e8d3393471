"""Using a model and leaving nothing behind on it, also after an exception."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import is_not
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flatselect.errors import FlatselectError, ModelError, NonFiniteError

# Exact types only: what others do when they are cleared and filled is not known. By identity, as a class may refuse to
# be hashed or compared.
_CONTAINER_IDS = frozenset(map(id, (dict, OrderedDict, defaultdict, Counter, list, set, deque)))
# By these, networks of timm and of transformers are told to recompute activations in the backward pass.
_CHECKPOINTING_SWITCHES = ("grad_checkpointing", "gradient_checkpointing")


@contextmanager
def undisturbed_evaluation(
    model: nn.Module, device: torch.device, *, freeze: bool = True
) -> Iterator[list[RemovableHandle]]:
    """Evaluation mode, no gradients, no autocast; what this changes on the model is put back after.

    That is: hooks, modes, buffers, the modules' own attributes and what plain containers among them hold (a feature map
    kept for later would hold a graph), which buffers, parameters and modules there are, which parameters ask for
    gradients, and torch's random state. A parameter whose `data` is replaced (a norm held below a bound) gets the old
    one back; not one that is written into, of which there is no copy. The modes are set module by module: a model's own
    `train()` may freeze, merge or convert weights. Activation checkpointing is switched off where a module has a switch
    for it: it computes the same, and would run layers again when hooks and modes are others.

    Args:
        model: Any module.
        device: Where it is.
        freeze: Whether none of its tensors asks for gradients, so that a graph begins where the caller begins it and
            holds nothing for weights.

    Yields:
        A list to which every hook put on the model must be added.
    """
    training = {module: module.training for module in model.modules()}
    # Not where a backward pass is still to come, through what was replaced.
    parameters = [(parameter, parameter.data) for parameter in model.parameters() if freeze]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    attributes = [(module, dict(vars(module))) for module in training]
    containers = _copy_containers(was.values() for _, was in attributes)
    # Some keep tensors that they train as plain attributes (architecture search by gradients).
    kept = (value for _, was in attributes for value in was.values() if isinstance(value, Tensor) and value.is_leaf)
    trained = [tensor for tensor in (*model.parameters(), *kept) if tensor.requires_grad and freeze]
    handles: list[RemovableHandle] = []
    cuda_devices = [device] if device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng(cuda_devices),
        without_backward_hooks(training),
    ):
        try:
            for module in training:
                module.training = False
                for name in _CHECKPOINTING_SWITCHES:
                    if vars(module).get(name) is True:
                        setattr(module, name, False)
            for tensor in trained:
                tensor.requires_grad_(False)
            yield handles
        finally:
            for tensor in trained:
                tensor.requires_grad_(True)
            for handle in handles:
                handle.remove()
            for module, was in attributes:
                for name in vars(module).keys() - was.keys():
                    del vars(module)[name]
                vars(module).update(was)
            for module, was_training in training.items():
                module.training = was_training
            for parameter, data in parameters:
                if parameter.data_ptr() != data.data_ptr():
                    parameter.data = data
            for buffer, value in buffers:
                if not _is_same(buffer, value):  # by value: fused operations change buffers unseen
                    buffer.copy_(value)
            _put_back(containers)


@contextmanager
def without_backward_hooks(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Sets aside the backward hooks of modules, and those of all modules: the gradients they give are not the model's.

    Guided backpropagation clips them, others count what flows by.
    """
    of_all = vars(torch.nn.modules.module)
    registers = [(vars(module), name) for module in modules for name in ("_backward_hooks", "_backward_pre_hooks")]
    registers += [(of_all, "_global_backward_hooks"), (of_all, "_global_backward_pre_hooks")]
    kept = [(place, name, place[name]) for place, name in registers if place.get(name)]
    for place, name, _ in kept:
        place[name] = OrderedDict()
    try:
        yield
    finally:
        for place, name, hooks in kept:
            place[name] = hooks


def _copy_containers(values: Iterable[Iterable[object]]) -> list[tuple[Any, Any]]:
    """The plain containers among the values and within each other, each with a copy; None for an empty one.

    A module's own registers of parameters, buffers, modules and hooks are among them.
    """
    empty: list[tuple[Any, Any]] = []
    filled: dict[int, tuple[Any, Any]] = {}
    stack: list[Any] = list(values)
    while stack:
        for value in stack.pop():
            if type(value) is tuple:
                stack.append(value)
            if id(type(value)) not in _CONTAINER_IDS:
                continue
            if not value:  # nearly all: the registers of hooks
                empty.append((value, None))
            elif id(value) not in filled:
                filled[id(value)] = (value, value.copy())
                stack.append(value.values() if isinstance(value, dict) else value)
    return empty + list(filled.values())


def _put_back(containers: Iterable[tuple[Any, Any]]) -> None:
    for container, was in containers:
        if was is None:
            if container:
                container.clear()
        elif not _holds_the_same(container, was):
            container.clear()
            if isinstance(container, (list, deque)):
                container.extend(was)
            else:
                container.update(was)


def _holds_the_same(container: Any, was: Any) -> bool:
    """Whether the very same objects are in two containers, in the same order."""
    if isinstance(container, set):
        return set(map(id, container)) == set(map(id, was))
    if len(container) != len(was) or any(map(is_not, container, was)):
        return False
    return not isinstance(container, dict) or not any(map(is_not, container.values(), was.values()))


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether all values are equal, NaN being equal to NaN."""
    if torch.equal(one, other) or not one.is_floating_point():
        return torch.equal(one, other)
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())


def run_model(model: nn.Module, images: Tensor) -> object:
    """The model's output on the images.

    Raises:
        ModelError: The model raised; says on what.
    """
    try:
        return model(images)
    except (FlatselectError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"the model fails on images of shape {tuple(images.shape)}, {str(images.dtype).removeprefix('torch.')}: "
            f"{type(error).__name__}: {error}"
        ) from error


def unwrap_compiled(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` wrapped: hooks work on it."""
    # Its own child, not an attribute: a wrapper that hands on attributes has those of a compiled module inside.
    return dict(model.named_children()).get("_orig_mod", model) if isinstance(model, nn.Module) else model


def find_device(model: nn.Module, given: torch.device | str | None) -> torch.device:
    """The device of the model's tensors, which `given` must agree with.

    Raises:
        ModelError: The model is none, lies elsewhere, or its tensors cannot be differentiated through.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is {type(model).__name__}; expected a torch.nn.Module")
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{name or 'the model'!r} is a TorchScript module, which cannot be looked into: measure the Python "
                "module that it was made of"
            )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        if torch.nn.parameter.is_lazy(tensor):
            raise ModelError(f"parameter {name!r} is lazy and has no shape yet: run the model once before measuring it")
        if tensor.is_meta:
            raise ModelError(f"{name!r} is on the meta device and holds no values: load the model's weights first")
        if tensor.is_inference():
            raise ModelError(
                f"{name!r} was made under torch.inference_mode and cannot be differentiated through: "
                "build or load the model outside of it"
            )
    try:
        wanted = None if given is None else torch.device(given)
    except RuntimeError as error:
        raise ModelError(f"device={given!r} is not a device: {error}") from error
    if not tensors:
        return wanted or torch.device("cpu")
    device = tensors[0][1].device
    is_other = wanted is not None and device.type != "cpu" and wanted.index not in (None, device.index)
    if wanted is not None and (wanted.type != device.type or is_other):
        raise ModelError(f"device={wanted} was asked for but the model is on {device}: move it with model.to({wanted})")
    return device


def find_dtype(model: nn.Module) -> torch.dtype:
    """The floating type of the model's first parameter; images are converted to it."""
    return next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)


def check_weights_finite(model: nn.Module) -> None:
    """Refuses NaN and infinite parameters and buffers.

    Raises:
        NonFiniteError: Names the first such tensor.
    """
    named = [(n, t) for n, t in (*model.named_parameters(), *model.named_buffers()) if t.is_floating_point()]
    if not named:
        return
    # A finite sum proves a tensor finite in one pass and, together, with one wait for the device.
    sums = torch.stack([tensor.detach().sum(dtype=torch.float32).cpu() for _, tensor in named])
    for (name, tensor), is_suspect in zip(named, (~sums.isfinite()).tolist(), strict=True):
        if is_suspect:
            check_finite(tensor, f"weight {name!r} of the model")


def check_finite(tensor: Tensor, description: str) -> None:
    """Raises NonFiniteError, with the tensor's description and where its first NaN or infinity stands."""
    # A finite sum proves all finite, in one pass and without an array; large finite numbers may overflow it.
    if bool(tensor.detach().sum(dtype=torch.float32 if tensor.is_floating_point() else None).isfinite()):
        return
    finite = tensor.detach().isfinite()
    if not bool(finite.all()):
        n_bad = int((~finite).sum())
        first = (~finite).nonzero()[0].tolist()
        raise NonFiniteError(
            f"{description}, shape {tuple(tensor.shape)}, holds {n_bad} NaN or infinite "
            f"value{'s' * (n_bad > 1)}, the first at {first}: flatness needs finite numbers"
        )
