"""What the nodes of a tail's autograd graph say of the function that made it."""

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node

from flatselect.flatness.tail_graph import name_operation, order_nodes, read_reduced_axes

# What moves numbers or adds them up within a channel, and activations piece by piece linear in one number.
_PLAIN = frozenset((
    "torch::autograd::AccumulateGrad", "Add", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Alias", "AvgPool2D",
    "AvgPool3D", "Cat", "Clone", "Hardtanh", "LeakyRelu", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "Mean",
    "Relu", "ReshapeAlias", "Squeeze", "Sum", "Threshold", "UnsafeView", "View",
))  # fmt: skip
# What moves numbers too, but may move them elsewhere for other images; and more activations of that kind.
_PIECEWISE_LINEAR = _PLAIN | frozenset((
    "Abs", "Clamp", "ClampMax", "ClampMin", "ConstantPadNd", "Expand", "Flip", "Index", "IndexSelect", "Maximum",
    "Minimum", "Neg", "Permute", "ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D", "ReplicationPad1D",
    "ReplicationPad2D", "ReplicationPad3D", "Rsub", "Select", "Slice", "Split", "SplitWithSizes", "Stack", "Sub", "T",
    "ToCopy", "Transpose", "Unsqueeze",
))  # fmt: skip
_BATCH_NORMS = ("CudnnBatchNorm", "NativeBatchNorm")
# Linear in each of the operands at these places, by itself.
_MULTIPLIED = {
    **dict.fromkeys(("Bmm", "Convolution", "Mm", "Mul", "PreluKernel", *_BATCH_NORMS), slice(2)),
    "Addmm": slice(1, 3),
}


def is_plain(root: Node | None) -> bool:
    """Whether what is upstream is linear but for kinks of single numbers, and keeps channels apart wherever it adds up.

    Nothing there multiplies or divides two computed tensors, so that no gate opens or closes with them.
    """

    def is_plain_node(node: Node) -> bool:
        name = name_operation(node)
        if name in _BATCH_NORMS:
            return _is_linear(node)
        if name in ("Mean", "Sum"):
            axes, n_axes = read_reduced_axes(node)
            return n_axes > 0 and 1 not in axes
        return name in _PLAIN

    return all(map(is_plain_node, order_nodes(root)))


def is_piecewise_linear(root: Node | None) -> bool:
    """Whether what is upstream is linear but for kinks; False where the nodes do not tell."""
    return all(map(_is_linear, order_nodes(root)))


def describe_structure(root: Node | None, layer_outputs: Sequence[Tensor]) -> tuple[object, ...]:
    """Which operations follow which layers, and one another: equal where two passes went the same way."""
    nodes = order_nodes(root)
    place = {node: i for i, node in enumerate(nodes)}
    layer_of = {output: i for i, output in enumerate(layer_outputs)}
    return tuple(
        (node.name(), layer_of.get(getattr(node, "variable", None)), *(place.get(n) for n, _ in node.next_functions))  # type: ignore[arg-type]
        for node in nodes
    )


def _is_linear(node: Node) -> bool:
    name = name_operation(node)
    is_computed = [parent is not None for parent, _ in node.next_functions]
    if name == "Div":  # by a constant; what is rounded then is flat
        return not any(is_computed[1:])
    if name in _MULTIPLIED:
        return sum(is_computed[_MULTIPLIED[name]]) <= 1 and not getattr(node, "_saved_training", False)
    return name in _PIECEWISE_LINEAR
