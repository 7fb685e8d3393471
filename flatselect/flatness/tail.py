"""One forward pass that records gradients from the measured layers on, and nowhere before them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError
from torch.utils.hooks import RemovableHandle

from flatselect.errors import ModelError, UnsupportedHeadError
from flatselect.flatness.model_state import run_model


@dataclass(frozen=True)
class LayerCall:
    """One run of a measured layer.

    Attributes:
        input: What it was given; a copy, as a residual may be added to it in place.
        output: What it gave, in the graph from the measured layers to the logits.
    """

    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class TailPass:
    """One batch between its measured layers and its logits.

    Attributes:
        calls: The runs of each measured layer, in the order of the layers.
        features: Input h of the classifier, (n_images, n_features), with the tail's graph; the logits where the network
            has no classifier of its own.
        logits: z, (n_images, n_classes), with the tail's graph.
        output: Output of the model.
    """

    calls: tuple[tuple[LayerCall, ...], ...]
    features: Tensor
    logits: Tensor
    output: object

    @property
    def layer_outputs(self) -> list[Tensor]:
        """The outputs of all calls of all layers, flat."""
        return [call.output for calls in self.calls for call in calls]

    @property
    def end(self) -> Tensor:
        """The features; the logits where no measured layer is upstream of the features."""
        return self.features if self.features.requires_grad else self.logits

    def differentiate(self, values: Tensor, cotangent: Tensor) -> list[list[Tensor]]:
        """∂⟨cotangent, values⟩/∂output for every call of every layer; zeros where there is no way; the graph stays.

        Args:
            values: Features or logits.
            cotangent: Of the same shape; or several, one after the other on an axis in front, which the derivatives
                then have too.

        Raises:
            ModelError: Something in the tail cannot be differentiated (an activation checkpoint).
        """
        is_batched = cotangent.ndim > values.ndim
        try:
            with _operations_without_batching_rule_ignored() if is_batched else nullcontext():
                derivatives = torch.autograd.grad(
                    values,
                    self.layer_outputs,
                    cotangent,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                    is_grads_batched=is_batched,
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise refuse_derivative("its measured layers and its output", error) from error
        flat = iter(derivatives)
        return [[next(flat) for _ in calls] for calls in self.calls]


def run_tail(
    model: nn.Module,
    layers: Sequence[nn.Module],
    classifier: nn.Module | None,
    images: Tensor,
    handles: list[RemovableHandle],
    perturb: Callable[[Tensor], Tensor] | None = None,
    inspect: Callable[[nn.Module, Tensor, Tensor], None] | None = None,
    gives_probabilities: bool | None = None,
) -> TailPass:
    """Runs the model with a graph from the first measured layer's output on: nothing before it asks for gradients.

    Args:
        model: Undisturbed: in evaluation mode, its parameters not asking for gradients, under `torch.no_grad`.
        layers: The measured layers.
        classifier: Whose input and output are wanted; None where the model's output is all there is.
        images: (n_images, channels, *size).
        handles: Receives the hooks, so that they go also after an exception.
        perturb: Changes the output of the layers that begin the tail, to see it elsewhere than the images put it.
        inspect: Is shown every run of a measured layer and of the classifier: the layer, its input and its own output.
        gives_probabilities: Of a model without a classifier, whether its output is read as probabilities; None: as the
            output looks.

    Raises:
        UnsupportedHeadError: A layer does not run, or the classifier not exactly once.
    """
    calls: list[list[LayerCall]] = [[] for _ in layers]
    classified: list[tuple[Tensor, Tensor]] = []

    def watch(runs: list[LayerCall], layer: nn.Module) -> RemovableHandle:
        def note_call(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
            if inspect is not None:
                inspect(layer, first_input(args, kwargs).detach(), output.detach())
            if not output.requires_grad or not any(calls):  # here the tail begins
                output = output.detach() if perturb is None else perturb(output.detach())
                output.requires_grad_()
            given = first_input(args, kwargs).detach().clone(memory_format=torch.contiguous_format)
            runs.append(LayerCall(given, output))
            # A copy, so that an activation working in place does not work on what was recorded.
            return output.clone()

        return layer.register_forward_hook(note_call, with_kwargs=True)

    def note_classifier(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        if inspect is not None and classifier is not None and classifier not in layers:  # then it has been shown
            inspect(classifier, first_input(args, kwargs).detach(), output.detach())
        # A copy, as the model may go on to work in place on its features.
        classified.append((first_input(args, kwargs).clone(), output))
        return output.clone()

    own = [watch(runs, layer) for runs, layer in zip(calls, layers, strict=True)]
    if classifier is not None:
        own.append(classifier.register_forward_hook(note_classifier, with_kwargs=True))
    handles.extend(own)
    # Not from the first layer's hook on, as that may run in a context of the model's own, which ends.
    with torch.enable_grad():
        output = run_model(model, images)
    for handle in own:
        handle.remove()
        handles.remove(handle)
    if not all(calls):
        raise UnsupportedHeadError("a measured layer does not run on some images; expected it to run on all")
    if classifier is not None and len(classified) != 1:
        raise UnsupportedHeadError(f"the classifier ran {len(classified)} times in one forward pass; expected once")
    with torch.enable_grad():
        if classifier is None:
            features = logits = read_logits(output, gives_probabilities)
        else:
            features, logits = (tensor.flatten(1) for tensor in classified[0])
    return TailPass(tuple(map(tuple, calls)), features, logits, output)


@contextmanager
def _operations_without_batching_rule_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield


def refuse_derivative(where: str, error: RuntimeError) -> ModelError:
    """For what autograd raised between two places of the model, named in words."""
    message = f"the model cannot be differentiated between {where}"
    if isinstance(error, CheckpointError):
        return ModelError(
            f"{message}: a part of it that an activation checkpoint runs (torch.utils.checkpoint) computes otherwise "
            "when it runs again; switch checkpointing off while flatness is measured"
        )
    return ModelError(f"{message}: {error}")


def choose_slope_factor(n_positions: int, dtype: torch.dtype) -> int:
    """What features are multiplied by before they are differentiated in a map of P positions: P, or nearly.

    ∂h/∂a is of the size of 1/P: multiplied before rather than after, half precision keeps it. There it is a power of
    two, which is exact, and one that half precision can hold.
    """
    if torch.finfo(dtype).eps < 1e-4:
        return n_positions
    return int(min(2 ** (n_positions.bit_length() - 1), 2**15))


def first_input(args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Tensor:
    """A layer's input, given by position or by any name."""
    return args[0] if args else next(iter(kwargs.values()))


def read_logits(output: object, gives_probabilities: bool | None = None) -> Tensor:
    """A model's output as logits: the output itself, or its logarithm where it is probabilities.

    softmax(log p) = p, and log p differs from the logits by one number an image, which no formula here sees.

    Args:
        output: The model's.
        gives_probabilities: Whether it is probabilities; None: where it looks like them. A few images' logits may.

    Raises:
        UnsupportedHeadError: The output is not one tensor (n_images, n_classes).
    """
    if not isinstance(output, Tensor) or output.ndim != 2 or not output.is_floating_point():
        given = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UnsupportedHeadError(
            f"the model returns {given}, expected one tensor of logits (n_images, n_classes): "
            "wrap it in a module that returns the logits"
        )
    if gives_probabilities is None:
        gives_probabilities = _are_probabilities(output.detach())
    return output.clamp_min(torch.finfo(output.dtype).tiny).log() if gives_probabilities else output


def _are_probabilities(output: Tensor) -> bool:
    sums = output.double().sum(1)
    tolerance = min(output.shape[1] * 4 * torch.finfo(output.dtype).eps, 0.05)
    return output.shape[1] > 1 and bool((output >= 0).all()) and bool(((sums - 1).abs() <= tolerance).all())


def is_output_of_classifier(output: object, logits: Tensor) -> bool:
    """Whether a model's output is the logits, or their softmax or log-softmax, by value.

    Each number is held against what it should be, relative to its own size and to what rounding makes of it: a part of
    the largest one would hide a temperature where logits are small or precision is low.
    """
    if not isinstance(output, Tensor) or output.shape != logits.shape:
        return False
    if torch.equal(output, logits):
        return True
    found, z = output.detach().double(), logits.detach().double()
    types = [torch.finfo(tensor.dtype) for tensor in (output, logits) if tensor.is_floating_point()]
    eps = max(kind.eps for kind in types)
    probabilities, logarithms = z.softmax(1), z.log_softmax(1)
    # exp(z − max z) is as sure as what it is the exponential of.
    rounding = eps * (8 + (z.amax(1, keepdim=True) - z) + logarithms.abs())
    smallest = max(kind.smallest_normal for kind in types)
    for expected, tolerance in (
        (z, eps * z.abs()),
        (probabilities, rounding * probabilities + smallest),
        (logarithms, rounding),
    ):
        if bool(((found - expected).abs() <= tolerance).all()):
            return True
    return False
