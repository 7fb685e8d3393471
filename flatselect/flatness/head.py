"""Finding a network's head: its last convolution, its linear classifier, and what lies between."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from flatselect.errors import NonFiniteError, UnsupportedHeadError
from flatselect.flatness.model_state import (
    check_finite,
    check_weights_finite,
    find_device,
    find_dtype,
    run_model,
    undisturbed_evaluation,
    unwrap_compiled,
)
from flatselect.flatness.patches import ConvolutionGeometry
from flatselect.flatness.separability import find_channel_features, find_exactness, find_tolerance, perturb_activations
from flatselect.flatness.slopes import first_input, is_output_of_classifier, run_tail
from flatselect.flatness.tail_graph import ANONYMOUS_CONVOLUTION, read_tail_graph
from flatselect.records import Exactness

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """The end of a network, as flatness sees it.

    Attributes:
        layer: Name of the last convolution in the model.
        convolution: The last convolution.
        classifier_name: Name of the classifier.
        classifier: The linear layer whose output is the model's (or whose softmax or log-softmax is).
        channel_features: The classifier's input feature that each channel feeds, (J,) int64; None where the tail mixes
            channels.
        exactness: "hessian" where the tail is piecewise linear, else "gauss_newton".
        candidates: Names of the convolutions that feed the classifier without another in between; `layer` is one.
        overwrites_images: Whether the model works in place on the images it is given.
    """

    layer: str
    convolution: nn.Conv2d
    classifier_name: str
    classifier: nn.Linear
    channel_features: Tensor | None
    exactness: Exactness
    candidates: tuple[str, ...]
    overwrites_images: bool


@dataclass(frozen=True)
class _LayerCall:
    """One run of a convolution or linear layer in the forward pass that finds the head."""

    name: str
    module: nn.Module
    input: Tensor
    input_node: Node | None
    output: Tensor
    node: Node

    def __str__(self) -> str:
        return f"{self.name or '(the model itself)'!r} ({type(self.module).__name__})"


def find_head(
    model: nn.Module, images: Tensor, layer: str | None = None, device: torch.device | str | None = None
) -> Head:
    """Finds the last convolution and the classifier, by running the model on a few images.

    The classifier is the `nn.Linear` whose output is the model's. From its input the autograd graph is walked back to
    the convolutions met first; the last convolution is the one with the most convolutions upstream of it (of equals:
    the larger kernel, then the later). So a projection shortcut, which skips convolutions, is not taken for it, nor is
    a convolution that computes a gate (squeeze-and-excitation).

    Args:
        model: Any module; it is evaluated in eval mode and left as it was.
        images: A batch, (n_images, channels, height, width); at most two images are used.
        layer: Another of the convolutions met first, by name.
        device: Where the model must be; default: where it is.

    Raises:
        UnsupportedHeadError: Closed-form flatness does not cover this network's end; names the layer and the reason.
        NonFiniteError: A weight or an output is NaN or infinite.
        ModelError: The model is on another device or cannot be differentiated.
    """
    model = unwrap_compiled(model)
    place = find_device(model, device)
    check_weights_finite(model)
    with undisturbed_evaluation(model, place) as handles:
        first = images[:1].detach()
        # Beside it a much fainter copy: in its company, batch statistics are other than in the first one's own.
        batch = torch.cat([first, (first / 8).to(first.dtype)])
        batch = batch.to(place, find_dtype(model) if batch.is_floating_point() else None)
        version = batch._version
        calls, output, producer = _run_recording_layers(model, batch, handles)
        overwrites_images = batch._version != version
        classifier = _find_classifier(calls, output, producer)
        chosen, candidates = _find_last_convolution(calls, classifier, layer)
        _check_convolution(model, calls, chosen)
        assert isinstance(chosen.module, nn.Conv2d)
        assert isinstance(classifier.module, nn.Linear)
        for call in (chosen, classifier):
            if len(call.output) != len(batch):
                raise UnsupportedHeadError(
                    f"{call} works on {len(call.output)} rows for {len(batch)} images (views, crops or positions as "
                    "rows of a batch?); expected one row an image"
                )
        batch = images[:2].detach().to(batch)
        _check_output_of_one_image(output, run_model(model, batch[:1].clone()))
        # Few positions show little of the noise: then each image is run under more than one.
        batch = torch.cat([batch] * (1 if len(batch) >= 2 and chosen.output[0, 0].numel() >= 16 else 2))
        tail = run_tail(model, chosen.module, classifier.module, batch, handles, perturb_activations)
        channel_features = find_channel_features(tail, chosen.name)
        return Head(
            chosen.name,
            chosen.module,
            classifier.name,
            classifier.module,
            channel_features,
            find_exactness(tail),
            candidates,
            overwrites_images,
        )


def _run_recording_layers(
    model: nn.Module, images: Tensor, handles: list[RemovableHandle]
) -> tuple[list[_LayerCall], object, str]:
    """Runs the model once with gradients; returns its layers' runs, its output and what produced that."""
    calls: list[_LayerCall] = []
    last_leaf = "no module"
    outputs: list[tuple[str, Tensor]] = []

    def record(name: str, module: nn.Module) -> None:
        def mark_output(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
            given = first_input(args, kwargs)
            # A copy has a node of its own in the graph, and lets what follows work in place on it.
            with torch.enable_grad():
                marked = (output if output.requires_grad else output.detach().requires_grad_()).clone()
            assert marked.grad_fn is not None
            calls.append(
                _LayerCall(name, module, given.detach().clone(), given.grad_fn, output.detach(), marked.grad_fn)
            )
            return marked

        handles.append(module.register_forward_hook(mark_output, with_kwargs=True))

    def remember(name: str, module: nn.Module) -> None:
        def note_output(_: nn.Module, args: Any, output: object) -> None:
            if isinstance(output, Tensor):
                outputs.append((f"{name!r} ({type(module).__name__})", output.detach()))

        handles.append(module.register_forward_hook(note_output))

    for name, module in model.named_modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            record(name, module)
        if next(module.children(), None) is None:
            remember(name, module)
    with torch.enable_grad():
        output = run_model(model, images)
    for handle in handles:
        handle.remove()
    handles.clear()
    if outputs:
        last_leaf = f"an operation after {outputs[-1][0]}"
    if isinstance(output, Tensor):
        if not bool(output.isfinite().all()):
            check_finite(images, "the images")
            raise NonFiniteError(
                "the model's output holds NaN or infinite values although weights and images hold none"
            )
        for name_of_leaf, value in reversed(outputs):
            if value.shape == output.shape and torch.equal(value, output):
                return calls, output, name_of_leaf
    return calls, output, last_leaf


def _find_classifier(calls: list[_LayerCall], output: object, producer: str) -> _LayerCall:
    if not isinstance(output, Tensor):
        raise UnsupportedHeadError(
            f"the model returns {type(output).__name__}, expected one tensor of logits (n_images, n_classes): "
            "wrap it in a module that returns the logits"
        )
    linear = [call for call in calls if isinstance(call.module, nn.Linear)]
    found = [call for call in linear if call.output.ndim == 2 and is_output_of_classifier(output, call.output)]
    if not found:
        raise UnsupportedHeadError(
            f"the model's output, shape {tuple(output.shape)}, was made by {producer}; expected the output of an "
            "nn.Linear on pooled features, or its softmax: flatness needs a network that ends in a linear classifier"
        )
    classifier = found[-1]
    if sum(call.module is classifier.module for call in calls) > 1:
        raise UnsupportedHeadError(f"{classifier} runs several times in one forward pass; expected one classification")
    module = classifier.module
    assert isinstance(module, nn.Linear)
    if not _is_close(F.linear(classifier.input, module.weight, module.bias), classifier.output):
        raise UnsupportedHeadError(
            f"{classifier} does not compute W·h + b of its own weight (normalised weight or features?); expected a "
            "plain linear classifier"
        )
    return classifier


def _find_last_convolution(
    calls: list[_LayerCall], classifier: _LayerCall, layer: str | None
) -> tuple[_LayerCall, tuple[str, ...]]:
    """The convolution to measure and the names of all candidates."""
    convolutions = frozenset(i for i, call in enumerate(calls) if isinstance(call.module, _CONVOLUTIONS))
    graph = read_tail_graph(classifier.input_node, {call.node: i for i, call in enumerate(calls)}, convolutions)
    if ANONYMOUS_CONVOLUTION in graph.front:
        raise UnsupportedHeadError(
            f"a functional or transposed convolution without an nn.Conv2d feeds the classifier {classifier}; expected "
            "an nn.Conv2d module, whose weight can be found"
        )
    front = [i for i in graph.front if i in convolutions]
    linear = [i for i in graph.front if i not in convolutions]

    def rank(i: int) -> tuple[int, int, int]:
        kernel_size = getattr(calls[i].module, "kernel_size", ())
        return graph.depth[i], int(torch.tensor(kernel_size).prod()), i

    front.sort(key=rank, reverse=True)
    blocking = [i for i in linear if not front or graph.depth[i] > graph.depth[front[0]]]
    if blocking:
        raise UnsupportedHeadError(
            f"{calls[blocking[-1]]} stands between the last convolution and the classifier {classifier}; several "
            "linear layers after the pooling are not covered: expected convolution, pooling, one linear classifier"
        )
    if not front:
        raise UnsupportedHeadError(
            f"no convolution feeds the classifier {classifier}; expected a convolutional network"
        )
    names = tuple(dict.fromkeys(calls[i].name for i in front))
    if layer is None:
        return calls[front[0]], names
    for i in front:
        if calls[i].name == layer:
            return calls[i], names
    raise UnsupportedHeadError(
        f"layer={layer!r} is not a convolution that feeds the classifier directly; these do: {', '.join(names)}"
    )


def _check_convolution(model: nn.Module, calls: list[_LayerCall], chosen: _LayerCall) -> None:
    """Refuses a last convolution whose output is not F.conv2d of its own weight, once."""
    module = chosen.module
    if not isinstance(module, nn.Conv2d):
        raise UnsupportedHeadError(f"the last convolution {chosen} is not an nn.Conv2d; only those are covered so far")
    if not module.weight.is_floating_point():
        raise UnsupportedHeadError(f"the last convolution {chosen} has weights of {module.weight.dtype}; expected real")
    n_calls = sum(call.module is module for call in calls)
    if n_calls > 1:
        raise UnsupportedHeadError(
            f"the last convolution {chosen} runs {n_calls} times in one forward pass: its weight acts in several "
            "places, which closed-form flatness does not cover"
        )
    users = [name for name, other in model.named_modules() if other is not module and _holds(other, module.weight)]
    if users:
        raise UnsupportedHeadError(f"the last convolution {chosen} shares its weight with {users[0]!r}: not covered")
    if chosen.input.ndim != 4:
        raise UnsupportedHeadError(
            f"the last convolution {chosen} works on an input of shape {tuple(chosen.input.shape)}"
        )
    geometry = ConvolutionGeometry.of(module)
    padded = geometry.pad(chosen.input)
    own = F.conv2d(padded, module.weight, module.bias, module.stride, 0, module.dilation, module.groups)
    if own.shape != chosen.output.shape or not _is_close(own, chosen.output):
        raise UnsupportedHeadError(
            f"the last convolution {chosen} does not compute the convolution with its own weight (weight "
            "standardisation?): flatness in that weight is not covered"
        )


def _check_output_of_one_image(together: object, alone: object) -> None:
    """Refuses a model whose output for the first image differs when that is the only one of its batch."""
    assert isinstance(together, Tensor)
    assert isinstance(alone, Tensor)
    if not _is_close(alone[:1], together[:1], least_tolerance=1e-2):
        raise UnsupportedHeadError(
            "the model's output for one image changes with the other images of its batch, or from run to run (a batch "
            "norm with track_running_stats=False, or dropout, in evaluation mode?): flatness is defined image by image"
        )


def _holds(module: nn.Module, weight: Tensor) -> bool:
    return any(own is weight for own in module.parameters(recurse=False))


def _is_close(given: Tensor, expected: Tensor, least_tolerance: float = 0.0) -> bool:
    tolerance = max(find_tolerance(expected.dtype), least_tolerance)
    if expected.is_cuda and expected.dtype == torch.float32:
        tolerance = 1e-2  # TF32
    error = (given.double() - expected.double()).abs().max()
    return bool(error <= tolerance * expected.double().abs().max())
