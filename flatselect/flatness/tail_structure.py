"""What the nodes of a tail's autograd graph say of the function that made it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

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


class NodeStructure(NamedTuple):
    """One operation.

    Attributes:
        name: Of the node, which tells apart operations of one name.
        operation: Its name, as `name_operation` gives it.
        layer: Whose output it stands for; None: no layer's.
        parents: Of each input, the place of the node that computed it; None: it was not computed.
        is_training: Of a batch norm, whether its statistics are the batch's.
        reduced_axes: Of a sum or a mean, the axes it goes over and how many there are.
    """

    name: str
    operation: str
    layer: int | None
    parents: tuple[int | None, ...]
    is_training: bool
    reduced_axes: tuple[frozenset[int], int] | None

    @property
    def is_plain(self) -> bool:
        if self.operation in _BATCH_NORMS:
            return self.is_linear
        if self.reduced_axes is not None:
            axes, n_axes = self.reduced_axes
            return n_axes > 0 and 1 not in axes
        return self.operation in _PLAIN

    @property
    def is_linear(self) -> bool:
        """Whether it is linear but for kinks."""
        is_computed = [parent is not None for parent in self.parents]
        if self.operation == "Div":  # by a constant; what is rounded then is flat
            return not any(is_computed[1:])
        if self.operation in _MULTIPLIED:
            return sum(is_computed[_MULTIPLIED[self.operation]]) <= 1 and not self.is_training
        return self.operation in _PIECEWISE_LINEAR


@dataclass(frozen=True)
class TailStructure:
    """Which operations follow which layers, and one another: equal where two passes went the same way.

    Attributes:
        nodes: Each after all that its input was computed by.
    """

    nodes: tuple[NodeStructure, ...]

    @classmethod
    def of(cls, root: Node | None, layer_outputs: Sequence[Tensor] = ()) -> "TailStructure":
        """Of what is upstream of a node, back to the outputs of layers."""
        nodes = order_nodes(root)
        place: dict[Node | None, int] = {node: i for i, node in enumerate(nodes)}
        layer_of: dict[Tensor | None, int] = {output: i for i, output in enumerate(layer_outputs)}

        def describe(node: Node) -> NodeStructure:
            operation = name_operation(node)
            return NodeStructure(
                node.name(),
                operation,
                layer_of.get(getattr(node, "variable", None)),
                tuple([place.get(parent) for parent, _ in node.next_functions]),
                operation in _BATCH_NORMS and getattr(node, "_saved_training", False),
                read_reduced_axes(node) if operation in ("Mean", "Sum") else None,
            )

        return cls(tuple(map(describe, nodes)))

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is linear but for kinks of single numbers, and keeps channels apart wherever it adds up.

        Nothing there multiplies or divides two computed tensors, so that no gate opens or closes with them, and nothing
        goes two ways, one of which a kink may close.
        """
        parents = [parent for node in self.nodes for parent in node.parents if parent is not None]
        return len(set(parents)) == len(parents) and all(node.is_plain for node in self.nodes)

    @cached_property
    def is_piecewise_linear(self) -> bool:
        """Whether it is linear but for kinks; False where the nodes do not tell."""
        return all(node.is_linear for node in self.nodes)
