"""The runs of a network's convolutions and linear layers in one forward pass, as the search for its head needs them."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from flatselect.errors import ModelError, NonFiniteError, UnsupportedHeadError
from flatselect.flatness.model_state import check_finite, run_model
from flatselect.flatness.patches import CONVOLUTIONS, LayerGeometry
from flatselect.flatness.separability import find_tolerance
from flatselect.flatness.tail import first_input
from flatselect.flatness.tail_graph import find_weights_used_outside

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYER_TYPES = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True)
class RecordedCall:
    """One run of a convolution or linear layer.

    Attributes:
        name: Of the layer in the model.
        module: The layer.
        input_shape: Of what it was given.
        input_node: The autograd node that made the input; None where nothing recorded is upstream.
        output_shape: Of what it gave.
        first_output: The first row of what it gave.
        features: What it gave, (n_rows, n_features), where that has no positions; else None.
        node: The autograd node that stands for its output.
    """

    name: str
    module: nn.Module
    input_shape: torch.Size
    input_node: Node | None
    output_shape: torch.Size
    first_output: Tensor
    features: Tensor | None
    node: Node

    def __str__(self) -> str:
        return f"{self.name or '(the model itself)'!r} ({type(self.module).__name__})"

    @property
    def is_convolution(self) -> bool:
        """Whether it works on a map, position by position: a linear layer on (n, height, width, channels) does too."""
        if isinstance(self.module, nn.Linear):
            return len(self.input_shape) == 4
        return isinstance(self.module, (*CONVOLUTIONS, *TRANSPOSED))

    @property
    def is_linear_of_features(self) -> bool:
        """Whether it maps features without positions: a linear layer on rows, or a 1×1 convolution on 1×1 maps."""
        if isinstance(self.module, nn.Linear):
            return len(self.input_shape) == 2
        sizes = (*self.input_shape[2:], *self.output_shape[2:])
        return (
            isinstance(self.module, CONVOLUTIONS)
            and self.module.groups == 1
            and math.prod(sizes) == self.module.weight[0, 0].numel() == 1
        )

    @property
    def n_channels(self) -> int:
        return self.output_shape[-1 if isinstance(self.module, nn.Linear) else 1]

    @property
    def n_positions(self) -> int:
        """Where a kernel row acts in one image."""
        return math.prod(self.output_shape[1:]) // self.n_channels


@dataclass(frozen=True)
class RecordedRun:
    """One forward pass.

    Attributes:
        calls: The layers' runs in order.
        output: The model's.
        n_images: How many images the model was given.
        producer: In words, what made the output.
        used_outside: Names of layers whose weight acts elsewhere too.
    """

    calls: list[RecordedCall]
    output: object
    n_images: int
    producer: str
    used_outside: frozenset[str]

    def of_module(self, module: nn.Module) -> list[RecordedCall]:
        return [call for call in self.calls if call.module is module]

    @contextmanager
    def repeated(self, names: Sequence[str], n_images: int) -> Iterator[None]:
        """Inside, convolutions upstream of some layers give again what they gave for the first image, uncomputed.

        So most of every other pass over it is saved. Those compute that work on other rows than images, that run again
        after the first of the named layers, or that have hooks or a forward method of their own.

        Args:
            names: Of the layers.
            n_images: How many copies of the first image the model is given inside.
        """
        begin = min(i for i, call in enumerate(self.calls) if call.name in names)
        computing = {call.module for call in self.calls[begin:]}
        computing |= {call.module for call in self.calls if call.output_shape[0] != self.n_images}
        outputs: dict[nn.Module, list[Tensor]] = {}
        for call in self.calls[:begin]:
            module = call.module
            is_changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
            if call.is_convolution and module not in computing and not is_changed:
                outputs.setdefault(module, []).append(call.first_output)
        try:
            for module, values in outputs.items():
                vars(module)["forward"] = partial(_give_next, itertools.cycle(values), n_images)
            yield
        finally:
            for module in outputs:
                del vars(module)["forward"]


def _give_next(values: Iterator[Tensor], n_images: int, *_: Any, **__: Any) -> Tensor:
    value = next(values)
    return value.expand(n_images, *value.shape[1:]).clone()


def record_run(model: nn.Module, images: Tensor, handles: list[RemovableHandle]) -> RecordedRun:
    """Runs the undisturbed model once, with a graph from its first layer on that is only good for walking.

    Raises:
        ModelError: The model fails, or uses `torch.inference_mode`.
        NonFiniteError: The output is NaN or infinite.
    """
    calls: list[RecordedCall] = []
    outputs: list[tuple[str, Tensor | None]] = []

    def record(name: str, module: nn.Module) -> None:
        def check_mode(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], *output: object) -> None:
            tensors = [value for value in (*args, *kwargs.values(), *output) if isinstance(value, Tensor)]
            if torch.is_inference_mode_enabled() or any(tensor.is_inference() for tensor in tensors):
                raise _refuse_inference_mode(f"{name!r} ({type(module).__name__}) takes or gives")

        def mark_output(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
            given = first_input(args, kwargs)
            if not isinstance(output, Tensor) or not isinstance(given, Tensor):  # a forward pass of a subclass's own
                return output
            # A copy has a node of its own in the graph, and lets what follows work in place on it.
            with torch.enable_grad():
                marked = (output if output.requires_grad else output.detach().requires_grad_()).clone()
            assert marked.grad_fn is not None
            features = output.detach().flatten(1) if output.ndim > 1 and output[0].numel() == output.shape[1] else None
            first = output.detach()[:1].clone()
            calls.append(
                RecordedCall(name, module, given.shape, given.grad_fn, output.shape, first, features, marked.grad_fn)
            )
            return marked

        handles.append(module.register_forward_pre_hook(check_mode, with_kwargs=True))
        handles.append(module.register_forward_hook(check_mode, with_kwargs=True))
        handles.append(module.register_forward_hook(mark_output, with_kwargs=True))

    def remember(name: str, module: nn.Module) -> None:
        def note_output(_: nn.Module, args: Any, output: object) -> None:
            if isinstance(output, Tensor):
                value = output.detach().clone() if output.ndim == 2 else None
                outputs.append((f"{name!r} ({type(module).__name__})", value))

        handles.append(module.register_forward_hook(note_output))

    weights: dict[Tensor, set[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LAYER_TYPES):
            record(name, module)
            for own in _find_own_weights(module):
                if own.is_floating_point():
                    weights.setdefault(own, set()).add(name)
        if next(module.children(), None) is None:
            remember(name, module)
    # All parameters ask for gradients, as a kernel that is no layer's may be one. Nothing is saved for a backward pass
    # that never comes: all activations together are many.
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: torch.empty(0)):
            output = run_model(model, images)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    for handle in handles:
        handle.remove()
    handles.clear()
    producer = f"an operation after {outputs[-1][0]}" if outputs else "no module"
    if isinstance(output, Tensor):
        if output.is_inference():
            raise _refuse_inference_mode(f"the model's output, which {producer} made, is among")
        if not bool(output.isfinite().all()):
            check_finite(images, "the images")
            raise NonFiniteError(
                "the model's output holds NaN or infinite values although weights and images hold none"
            )
        for name_of_leaf, value in reversed(outputs):
            if value is not None and value.shape == output.shape and torch.equal(value, output):
                producer = name_of_leaf
                break
    root = output.grad_fn if isinstance(output, Tensor) else None
    used = find_weights_used_outside(root, weights, [(call.name, call.node, call.input_node) for call in calls])
    return RecordedRun(calls, output, len(images), producer, used)


def _refuse_inference_mode(what: str) -> ModelError:
    return ModelError(
        f"{what} tensors made under torch.inference_mode inside the model's forward pass, which cannot be "
        "differentiated through: use torch.no_grad there, or neither"
    )


def check_call(model: nn.Module, call: RecordedCall, n_images: int) -> None:
    """Refuses a layer that is not covered, as far as shapes say.

    Raises:
        UnsupportedHeadError: Names the layer and the reason.
    """
    module = call.module
    if not isinstance(module, (*CONVOLUTIONS, nn.Linear)):
        raise UnsupportedHeadError(
            f"{call} is not an nn.Conv1d, nn.Conv2d, nn.Conv3d or nn.Linear; only those are covered"
        )
    if not module.weight.is_floating_point():
        raise UnsupportedHeadError(f"{call} has weights of {module.weight.dtype}; expected real numbers")
    weights, own = _find_own_weights(module), set(module.modules())
    users = [name for name, other in model.named_modules() if other not in own and _holds(other, weights)]
    if users:
        raise UnsupportedHeadError(f"{call} shares its weight with {users[0]!r}: not covered")
    geometry = LayerGeometry.of(module)
    n_axes = len(call.input_shape)
    if n_axes != (geometry.n_input_axes or max(n_axes, 2)):
        raise UnsupportedHeadError(
            f"{call} works on an input of shape {tuple(call.input_shape)}; expected a batch, one row an image"
        )
    check_rows(call.name, module, [call.output_shape[0]], n_images)


def check_rows(name: str, layer: nn.Module, rows: Sequence[int], n_images: int) -> None:
    """Refuses a layer that works on other rows than images in any of its runs.

    Raises:
        UnsupportedHeadError: Names the layer.
    """
    if set(rows) == {n_images}:
        return
    message = (
        f"{name!r} ({type(layer).__name__}) works on {' + '.join(map(str, rows))} rows for {n_images} images (views, "
        "crops, windows, positions or parts of a batch as rows?); expected one row an image"
    )
    if len(rows) > 1 and sum(rows) == n_images:
        message += f": if the model runs batches in parts, give batches of at most {max(rows)} images"
    raise UnsupportedHeadError(message)


def check_own_output(name: str, layer: nn.Module, given: Tensor, output: Tensor) -> None:
    """Refuses a layer whose output is not its own weight's.

    Raises:
        UnsupportedHeadError: Names the layer.
    """
    assert isinstance(layer, (*CONVOLUTIONS, nn.Linear))
    # Under autocast the layer casts its input, its weight and its bias by itself.
    try:
        own = LayerGeometry.of(layer).apply(layer, given.to(layer.weight.dtype))
    except RuntimeError:  # a subclass that adds channels to its input, or uses a part of its weight
        own = None
    if own is None or own.shape != output.shape or not is_close(own, output):
        kind = "W·h + b" if isinstance(layer, nn.Linear) else "the convolution"
        hooks = [hook for hook in layer._forward_hooks.values() if hook.__module__ != first_input.__module__]
        why = "weight standardisation, normalised weight or features?"
        if hooks:
            named = ", ".join(getattr(hook, "__qualname__", type(hook).__name__) for hook in hooks)
            why = f"it has a forward hook, {named}, that may change its output: remove it, or make it a module after it"
        raise UnsupportedHeadError(
            f"{name!r} ({type(layer).__name__}) does not compute {kind} with its own weight ({why}): flatness in that "
            "weight is not covered"
        )


def _find_own_weights(layer: nn.Module) -> list[Tensor]:
    """A layer's weight, or the parameters that hooks (weight_g, weight_orig) or a parametrisation compute it from."""
    holders = [layer]
    if parametrize.is_parametrized(layer, "weight"):
        holders.append(layer.get_submodule("parametrizations.weight"))
    named = [pair for holder in holders for pair in holder.named_parameters(recurse=False)]
    return [parameter for name, parameter in named if name.startswith(("weight", "original"))]


def _holds(module: nn.Module, weights: Sequence[Tensor]) -> bool:
    own = list(module.parameters(recurse=False))
    # Two parameters may have their values at one place.
    return any(one is other or (one.data_ptr() == other.data_ptr() != 0) for one in own for other in weights)


def is_close(given: Tensor, expected: Tensor, least_tolerance: float = 0.0) -> bool:
    """Whether two ways to the same numbers agree, relative to the largest of them."""
    tolerance = max(find_tolerance(expected.dtype), least_tolerance)
    if expected.is_cuda and expected.dtype == torch.float32:
        tolerance = 1e-2  # TF32
    error = (given.double() - expected.double()).abs().max()
    return bool(error <= tolerance * expected.double().abs().max())
