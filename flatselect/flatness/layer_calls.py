"""The runs of a network's convolutions and linear layers in one forward pass, as the search for its head needs them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from flatselect.errors import NonFiniteError, UnsupportedHeadError
from flatselect.flatness.model_state import check_finite, run_model
from flatselect.flatness.patches import CONVOLUTIONS, LayerGeometry
from flatselect.flatness.separability import find_tolerance
from flatselect.flatness.tail import first_input

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class RecordedCall:
    """One run of a convolution or linear layer.

    Attributes:
        name: Of the layer in the model.
        module: The layer.
        input: What it was given; a copy.
        input_node: The autograd node that made the input; None where nothing recorded is upstream.
        output: What it gave.
        node: The autograd node that stands for its output.
    """

    name: str
    module: nn.Module
    input: Tensor
    input_node: Node | None
    output: Tensor
    node: Node

    def __str__(self) -> str:
        return f"{self.name or '(the model itself)'!r} ({type(self.module).__name__})"

    @property
    def is_convolution(self) -> bool:
        """Whether it works on a map, position by position: a linear layer on (n, height, width, channels) does too."""
        if isinstance(self.module, nn.Linear):
            return self.input.ndim == 4
        return isinstance(self.module, (*CONVOLUTIONS, *TRANSPOSED))

    @property
    def is_linear_of_features(self) -> bool:
        """Whether it maps features without positions: a linear layer on rows, or a 1×1 convolution on 1×1 maps."""
        if isinstance(self.module, nn.Linear):
            return self.input.ndim == 2
        return (
            isinstance(self.module, CONVOLUTIONS)
            and self.module.groups == 1
            and self.input[0, 0].numel() == self.output[0, 0].numel() == self.module.weight[0, 0].numel() == 1
        )


@dataclass(frozen=True)
class RecordedRun:
    """One forward pass: the layers' runs in order, the model's output, and in words what made that."""

    calls: list[RecordedCall]
    output: object
    producer: str

    def of_module(self, module: nn.Module) -> list[RecordedCall]:
        return [call for call in self.calls if call.module is module]


def record_run(model: nn.Module, images: Tensor, handles: list[RemovableHandle]) -> RecordedRun:
    """Runs the undisturbed model once, with gradients from its first layer on.

    Raises:
        NonFiniteError: The output is NaN or infinite.
    """
    calls: list[RecordedCall] = []
    outputs: list[tuple[str, Tensor]] = []

    def record(name: str, module: nn.Module) -> None:
        def mark_output(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
            given = first_input(args, kwargs)
            # A copy has a node of its own in the graph, and lets what follows work in place on it.
            with torch.enable_grad():
                marked = (output if output.requires_grad else output.detach().requires_grad_()).clone()
            assert marked.grad_fn is not None
            calls.append(
                RecordedCall(name, module, given.detach().clone(), given.grad_fn, output.detach(), marked.grad_fn)
            )
            return marked

        handles.append(module.register_forward_hook(mark_output, with_kwargs=True))

    def remember(name: str, module: nn.Module) -> None:
        def note_output(_: nn.Module, args: Any, output: object) -> None:
            if isinstance(output, Tensor):
                outputs.append((f"{name!r} ({type(module).__name__})", output.detach()))

        handles.append(module.register_forward_hook(note_output))

    for name, module in model.named_modules():
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
            record(name, module)
        if next(module.children(), None) is None:
            remember(name, module)
    with torch.enable_grad():
        output = run_model(model, images)
    for handle in handles:
        handle.remove()
    handles.clear()
    producer = f"an operation after {outputs[-1][0]}" if outputs else "no module"
    if isinstance(output, Tensor):
        if not bool(output.isfinite().all()):
            check_finite(images, "the images")
            raise NonFiniteError(
                "the model's output holds NaN or infinite values although weights and images hold none"
            )
        for name_of_leaf, value in reversed(outputs):
            if value.shape == output.shape and torch.equal(value, output):
                producer = name_of_leaf
                break
    return RecordedRun(calls, output, producer)


def check_call(model: nn.Module, call: RecordedCall, n_images: int) -> None:
    """Refuses a layer whose output is not its own weight's, applied image by image.

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
    users = [name for name, other in model.named_modules() if other is not module and _holds(other, module.weight)]
    if users:
        raise UnsupportedHeadError(f"{call} shares its weight with {users[0]!r}: not covered")
    geometry = LayerGeometry.of(module)
    if call.input.ndim != (geometry.n_input_axes or max(call.input.ndim, 2)):
        raise UnsupportedHeadError(
            f"{call} works on an input of shape {tuple(call.input.shape)}; expected a batch, one row an image"
        )
    if len(call.output) != n_images:
        raise UnsupportedHeadError(
            f"{call} works on {len(call.output)} rows for {n_images} images (views, crops, windows or positions as "
            "rows of a batch?); expected one row an image"
        )
    own = geometry.apply(module, call.input)
    if own.shape != call.output.shape or not is_close(own, call.output):
        kind = "W·h + b" if isinstance(module, nn.Linear) else "the convolution"
        raise UnsupportedHeadError(
            f"{call} does not compute {kind} with its own weight (weight standardisation, normalised weight or "
            "features?): flatness in that weight is not covered"
        )


def _holds(module: nn.Module, weight: Tensor) -> bool:
    return any(own is weight for own in module.parameters(recurse=False))


def is_close(given: Tensor, expected: Tensor, least_tolerance: float = 0.0) -> bool:
    """Whether two ways to the same numbers agree, relative to the largest of them."""
    tolerance = max(find_tolerance(expected.dtype), least_tolerance)
    if expected.is_cuda and expected.dtype == torch.float32:
        tolerance = 1e-2  # TF32
    error = (given.double() - expected.double()).abs().max()
    return bool(error <= tolerance * expected.double().abs().max())
