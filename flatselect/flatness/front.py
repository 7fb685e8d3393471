"""A network's classifier, and the convolutions that feed it without another in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from flatselect.errors import UnsupportedHeadError
from flatselect.flatness.layer_calls import RecordedCall, RecordedRun
from flatselect.flatness.layer_choice import say_how_to_name
from flatselect.flatness.tail import is_output_of_classifier, read_logits
from flatselect.flatness.tail_graph import (
    ANONYMOUS_CONVOLUTION,
    HIDDEN_PART,
    TailGraph,
    is_upstream,
    read_tail_graph,
    walk_to_layers,
)

# What may stand between a 1×1 convolution as classifier and the model's output.
_RESHAPES = ("View", "Reshape", "UnsafeView", "Squeeze", "Select", "Slice", "Alias", "Clone", "Softmax", "LogSoftmax")
_OTHER_WAY = "layer=NAME measures any convolution or linear layer exactly, at the price of one backward pass a class"


def find_classifier(run: RecordedRun) -> RecordedCall | None:
    """The last linear layer, or 1×1 convolution of 1×1 maps, whose output is the model's, or whose softmax is.

    Raises:
        UnsupportedHeadError: It runs several times, or the output is not one tensor (n_images, n_classes).
    """
    read_logits(run.output)
    assert isinstance(run.output, Tensor)
    found = [
        call
        for call in run.calls
        if call.is_linear_of_features
        and call.features is not None
        and is_output_of_classifier(run.output, call.features)
        # Another may give the same values: after a ReLU that has nothing to cut, or initialised to zero as this one.
        and (
            is_upstream(call.node, run.output.grad_fn)
            if len(call.output_shape) == 2
            else _is_reshaped(run.output, call.node)
        )
    ]
    if not found:
        return None
    n_calls = len(run.of_module(found[-1].module))
    if n_calls > 1:
        raise UnsupportedHeadError(
            f"{found[-1]} runs several times ({n_calls}) in one forward pass; expected one classification"
        )
    return found[-1]


def _is_reshaped(output: Tensor, node: Node) -> bool:
    current = output.grad_fn
    while current is not None and current is not node:
        if not current.name().startswith(_RESHAPES):
            return False
        current = current.next_functions[0][0]
    return current is node


@dataclass(frozen=True)
class Front:
    """The convolutions that feed the classifier.

    Attributes:
        depth: Of those none of which is upstream of another, by name, in the order they run: the most convolutions on
            one way from the images, the convolution included.
        concatenated: Pairs of these whose ways to the classifier meet in a concatenation.
        candidates: Names of all convolutions met first, the deepest first (of equals: the larger kernel, then the
            later).
    """

    depth: Mapping[str, int]
    concatenated: frozenset[frozenset[str]]
    candidates: tuple[str, ...]


def find_front(run: RecordedRun, classifier: RecordedCall | None, *, is_needed: bool) -> Front:
    """The convolutions that feed the classifier, none of them upstream of another.

    The autograd graph is walked from the classifier's input (or the logits) to the convolutions met first.

    Args:
        run: The recorded pass.
        classifier: Its classifier; None where there is none.
        is_needed: Whether to refuse a network without.

    Raises:
        UnsupportedHeadError: There is none, or something else comes first.
    """
    calls = run.calls
    pooled = _find_linear_of_pooled(calls)
    convolutions = frozenset(
        i for i, call in enumerate(calls) if call.is_convolution and call is not classifier and call.node not in pooled
    )
    assert isinstance(run.output, Tensor)
    root = classifier.input_node if classifier else run.output.grad_fn
    graph = read_tail_graph(root, {call.node: i for i, call in enumerate(calls)}, convolutions)
    front = [i for i in graph.front if i in convolutions]

    def rank(i: int) -> tuple[int, int, int]:
        kernel_size = getattr(calls[i].module, "kernel_size", ())
        return graph.depth[i], int(torch.tensor(kernel_size).prod()), i

    front.sort(key=rank, reverse=True)
    if is_needed:
        _check_front(run, classifier, graph, front, pooled)
    elif graph.front & {ANONYMOUS_CONVOLUTION, HIDDEN_PART}:
        return Front({}, frozenset(), ())
    last = [i for i in front if not any(i in graph.upstream[other] for other in front if other != i)]
    return Front(
        {calls[i].name: graph.depth[i] for i in sorted(last)},
        frozenset(frozenset(calls[i].name for i in pair) for pair in graph.concatenated if pair <= set(last)),
        tuple(dict.fromkeys(calls[i].name for i in front)),
    )


def _find_linear_of_pooled(calls: Sequence[RecordedCall]) -> set[Node]:
    """The nodes of 1×1 convolutions that run on what is already pooled: linear layers, only written as convolutions.

    MobileNetV3, GhostNet and their like pool before a last "conv_head". On a map of one position that nothing pooled (a
    small image's) a convolution stays one.
    """
    own = {call.node for call in calls}
    found: set[Node] = set()
    for call in calls:  # in the order they run: those upstream first
        if not call.is_linear_of_features or call.input_node is None:
            continue
        nearest, is_pooled = walk_to_layers(call.input_node, own)
        if is_pooled or (nearest and nearest <= found):
            found.add(call.node)
    return found


def _check_front(
    run: RecordedRun, classifier: RecordedCall | None, graph: TailGraph, front: list[int], pooled: set[Node]
) -> None:
    end = f"the classifier {classifier}" if classifier else "the model's output"
    convolutions = [call.name for call in run.calls if call.is_convolution and call is not classifier]
    of_maps = [call.name for call in run.calls if call.name in convolutions and call.node not in pooled]
    nearest = run.calls[front[0]].name if front else of_maps[-1] if of_maps else None
    other_way = _OTHER_WAY if nearest is None else say_how_to_name(nearest)
    blocking = [
        i
        for i in graph.front
        if i >= 0
        and i not in front
        # A linear layer on tokens is met with the patch embedding, to which shortcuts lead past all of them (ViT).
        and (len(run.calls[i].input_shape) == 3 or not any(i in graph.upstream[other] for other in front))
    ]
    if classifier is None and (not front or blocking):
        assert isinstance(run.output, Tensor)
        raise UnsupportedHeadError(
            f"the model's output, shape {tuple(run.output.shape)}, was made by {run.producer}; expected the output of "
            "an nn.Linear on pooled features, or its softmax, or a pooled convolution: flatness of the last "
            f"convolution needs a network that ends so; {other_way}",
            nearest,
        )
    if HIDDEN_PART in graph.front:
        raise UnsupportedHeadError(
            f"a part of the model inside a reentrant activation checkpoint feeds {end}, and hides its layers: give "
            "torch.utils.checkpoint.checkpoint use_reentrant=False, or switch checkpointing off"
        )
    if ANONYMOUS_CONVOLUTION in graph.front:
        raise UnsupportedHeadError(
            f"a convolution that is no module of torch.nn (a functional or deformable one?) feeds {end}; expected an "
            f"nn.Conv2d module, whose weight can be found; {other_way}",
            nearest,
        )
    if blocking:
        raise UnsupportedHeadError(
            f"{run.calls[max(blocking)]} stands between the last convolution and {end}; several linear layers after "
            f"the pooling are not covered: expected convolution, pooling, one linear classifier; {other_way}",
            nearest,
        )
    if not front and convolutions:  # which naming them would not help
        raise UnsupportedHeadError(
            f"no convolution feeds {end} by a way that gradients can go (torch.no_grad, detach or a "
            f"reentrant activation checkpoint, at or after {convolutions[-1]!r}?): expected a network whose output can "
            "be differentiated in its convolutions"
        )
    if not front:
        raise UnsupportedHeadError(f"no convolution feeds {end}; expected a convolutional network; {other_way}")
