"""Reading from the autograd graph which layers feed the classifier, without tracing or knowing the architecture."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

ANONYMOUS_CONVOLUTION = -1
HIDDEN_PART = -2
# PyTorch's own, and those of other packages, such as torchvision's deformable one.
_CONVOLUTION = re.compile("Convolution|[Cc]onv_?[123]d")

# Which input of an operation may be a gate, and on which other. Either factor of a product may be one on the other, but
# a divisor only on what it divides: c(y) / |y| is a convolution, and no gate on y.
_GATING = {
    **dict.fromkeys(("Mul", "Bmm", "Mm", "Mv", "Dot"), ((0, 1), (1, 0))),
    **dict.fromkeys(("Addcmul", "Addmm", "Addmv", "Baddbmm", "Addbmm"), ((1, 2), (2, 1))),
    "Div": ((1, 0),),
    "Addcdiv": ((2, 1),),
    "Lerp": ((2, 0), (2, 1)),
    "ScaledDotProduct": ((0, 1), (1, 0), (0, 2), (1, 2)),  # as where it is computed product by product
}
# Between 0 and 1: where one factor went through one of these and the other did not, it is no gate that the other is.
_SQUASHING = ("Hardsigmoid", "SafeSoftmax", "Sigmoid", "Softmax")


@dataclass(frozen=True)
class TailGraph:
    """What lies upstream of the classifier's input.

    Layers are called by their index in the order they ran.

    Attributes:
        front: Layers met first on the ways from the classifier back to the images, gates left out;
            `ANONYMOUS_CONVOLUTION` among them is a convolution that no module ran, `HIDDEN_PART` what runs without a
            graph and is computed again for a backward pass (a reentrant checkpoint).
        depth: For every layer upstream: the most convolutions on one way from the images to its output, itself
            included if it is one.
        upstream: For every layer upstream: all layers from it towards the images.
        concatenated: Pairs of layers whose ways to the classifier meet in a concatenation first.
    """

    front: frozenset[int]
    depth: Mapping[int, int]
    upstream: Mapping[int, frozenset[int]]
    concatenated: frozenset[frozenset[int]]


def read_tail_graph(root: Node | None, layers: Mapping[Node, int], convolutions: frozenset[int]) -> TailGraph:
    """Walks the autograd graph from the classifier's input to the images.

    Where two computed tensors are multiplied, number by number or as matrices, a layer on one side that is itself
    computed from a layer met on the other side only computes a gate (squeeze-and-excitation, spatial attention,
    attention pooling): it is left out of the front. So is one in a divisor that is computed from a layer in the
    dividend. Not so one whose other side alone went through a softmax or a sigmoid: the values that attention weighs.

    Args:
        root: The node that made the classifier's input; None if nothing upstream of it was recorded.
        layers: The node that stands for each layer's output, with the layer's index. All parameters asked for gradients
            when the graph was made.
        convolutions: Indices of the layers that are convolutions.
    """
    front: dict[Node, frozenset[int]] = {}  # layers met first from here towards the images
    upstream: dict[Node, frozenset[int]] = {}  # every layer from here towards the images
    depth: dict[Node, int] = {}
    layer_upstream: dict[int, frozenset[int]] = {}
    layer_depth: dict[int, int] = {}
    squashed: set[Node] = set()  # nodes with a softmax or a sigmoid after the layers met first
    met: dict[frozenset[int], bool] = {}  # pairs of layers, and whether in a concatenation
    for node in order_nodes(root):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        above = frozenset[int]().union(*(upstream[parent] for parent in parents))
        deepest = max((depth[parent] for parent in parents), default=0)
        layer = layers.get(node)
        if layer is None and _CONVOLUTION.search(node.name()) and not _is_fixed_filter(node):
            layer = ANONYMOUS_CONVOLUTION
        elif layer is None and node.name() == "CheckpointFunctionBackward":
            layer = HIDDEN_PART
        if layer is None:
            sides = [front[parent] if parent else frozenset[int]() for parent, _ in node.next_functions]
            whole = tuple(sides)
            squashes = [parent in squashed for parent, _ in node.next_functions]
            for gate, other in _find_gating(node):
                if squashes[gate] or not squashes[other]:
                    sides[gate] &= _drop_gates(whole[gate], whole[other], layer_upstream)
            for one_side, other_side in itertools.combinations(sides, 2):
                for pair in itertools.product(one_side, other_side):
                    met.setdefault(frozenset(pair), node.name().startswith(("Cat", "Stack")))
            front[node], upstream[node], depth[node] = frozenset[int]().union(*sides), above, deepest
            if name_operation(node) in _SQUASHING or (parents and squashed.issuperset(parents)):
                squashed.add(node)
        else:
            front[node] = frozenset({layer})
            upstream[node] = above | front[node] if layer >= 0 else above
            depth[node] = deepest + (layer in convolutions)
            layer_upstream[layer] = layer_upstream.get(layer, frozenset()) | above
            layer_depth[layer] = max(depth[node], layer_depth.get(layer, 0))
    concatenated = frozenset(pair for pair, is_concatenated in met.items() if is_concatenated)
    return TailGraph(frozenset() if root is None else front[root], layer_depth, layer_upstream, concatenated)


def _is_fixed_filter(node: Node) -> bool:
    """Whether it filters each channel by itself, with numbers that nothing is trained in (blur pooling)."""
    if name_operation(node) != "Convolution" or node.next_functions[1][0] is not None:
        return False
    n_channels = node._input_metadata[0].shape[1]
    return bool(node._saved_groups == n_channels)  # type: ignore[attr-defined]


def _find_gating(node: Node) -> Sequence[tuple[int, int]]:
    operation = name_operation(node)
    if operation.startswith("ScaledDotProduct"):  # of several kinds
        operation = "ScaledDotProduct"
    return [pair for pair in _GATING.get(operation, ()) if max(pair) < len(node.next_functions)]  # lerp by a constant


def _drop_gates(
    side: frozenset[int], other: frozenset[int], layer_upstream: Mapping[int, frozenset[int]]
) -> frozenset[int]:
    return frozenset(layer for layer in side if layer in other or not (layer_upstream[layer] & other))


def walk_to_layers(root: Node, layers: Collection[Node]) -> tuple[set[Node], bool]:
    """The layers met first on the ways from a node to the images, and whether a global pooling lies before them.

    Global is a pooling over every axis but images and channels, or an adaptive one; not one by windows that happen to
    be as large as the map.
    """
    nearest: set[Node] = set()
    seen = {root}
    stack = [root]
    is_pooled = False
    while stack:
        node = stack.pop()
        if node in layers:
            nearest.add(node)
            continue
        is_pooled |= _is_global_pooling(node)
        parents = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= parents
        stack.extend(parents)
    return nearest, is_pooled


def _is_global_pooling(node: Node) -> bool:
    name = node.name()
    if name.startswith(("AdaptiveAvgPool", "AdaptiveMaxPool")):
        return True
    if name.startswith("Amax"):  # which keeps no shape
        return len(node._saved_dim) > 1  # type: ignore[attr-defined]
    axes, n_axes = read_reduced_axes(node)
    return n_axes > 2 and axes >= set(range(2, n_axes))


def read_reduced_axes(node: Node) -> tuple[frozenset[int], int]:
    """The axes that a sum or a mean goes over, and how many there are; none where it is neither, or keeps no shape."""
    if not node.name().startswith(("MeanBackward1", "SumBackward1")):
        return frozenset(), 0
    n_axes = len(node._saved_self_sym_sizes)  # type: ignore[attr-defined]
    # Autograd keeps -1 as 2^64 - 1.
    axes = {axis - 2**64 * (axis >= 2**63) for axis in node._saved_dim}  # type: ignore[attr-defined]
    return frozenset(axis % n_axes for axis in axes), n_axes


def find_weights_used_outside(
    root: Node | None, weights: Mapping[Tensor, Collection[str]], calls: Sequence[tuple[str, Node, Node | None]]
) -> frozenset[str]:
    """The layers whose weights act in other places too, themselves or what a layer made of them.

    Args:
        root: The node that made the model's output.
        weights: Of layers, or what layers' weights are computed from, with the layers' names.
        calls: Each run's layer, and the nodes that stand for its output and input.
    """
    inside: set[Node] = set()
    for _, output, given in calls:
        stack = [output]
        while stack:
            node = stack.pop()
            inside.add(node)
            stack.extend(
                parent for parent, _ in node.next_functions if parent not in (None, given) and parent not in inside
            )
    layer_of = {output: name for name, output, _ in calls}
    made_of: dict[Node, frozenset[Tensor]] = {}
    used: set[str] = set()
    for node in order_nodes(root):
        variable = getattr(node, "variable", None)
        if variable is not None and variable in weights:
            made_of[node] = frozenset({variable})
            continue
        above = frozenset[Tensor]().union(*(made_of.get(parent, ()) for parent, _ in node.next_functions if parent))
        if node in inside and node not in layer_of:
            made_of[node] = above  # a weight that a parametrisation computed may be kept and used again
        else:
            used.update(*(weights[weight] for weight in above if layer_of.get(node) not in weights[weight]))
    return frozenset(used)


def is_upstream(node: Node, root: Node | None) -> bool:
    """Whether what a node made goes into what another made."""
    return node in order_nodes(root)


def name_operation(node: Node) -> str:
    """Of one of PyTorch's own operations; a function written in Python may have any name, and gets none."""
    return "" if isinstance(node, BackwardCFunction) else node.name().partition("Backward")[0]


def has_custom_function(root: Node | None) -> bool:
    """Whether a `torch.autograd.Function` written in Python lies upstream."""
    return any(isinstance(node, BackwardCFunction) for node in order_nodes(root))


def order_nodes(root: Node | None) -> list[Node]:
    """The graph's nodes, each after all that its input was computed by; without recursion, as graphs are deep."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [] if root is None else [(root, False)]
    while stack:
        node, is_expanded = stack.pop()
        if is_expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node.next_functions if parent is not None)
    return order
