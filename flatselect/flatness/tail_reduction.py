"""From passes through a network's tail to values of its layers, image by image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flatselect.errors import NonFiniteError
from flatselect.flatness.class_jacobians import LayerJacobian, add_classes
from flatselect.flatness.closed_form import compute_closed_form
from flatselect.flatness.head import Head
from flatselect.flatness.layer_calls import check_own_output, check_rows
from flatselect.flatness.layer_values import LayerValues, Quantity
from flatselect.flatness.layer_weights import LayerWeights
from flatselect.flatness.model_state import check_finite
from flatselect.flatness.separability import find_exactness, follow_features
from flatselect.flatness.tail import TailPass, choose_slope_factor
from flatselect.flatness.tail_structure import TailStructure
from flatselect.measures.softmax_split import SoftmaxSplit


@dataclass(frozen=True)
class TailRecord:
    """The numbers of one pass, or of several, that closed forms and companions are computed from; without their graph.

    Attributes:
        inputs: Of every run of every layer.
        slopes: ∂(f·h)/∂a of every layer with a closed form, f as below; None for other layers.
        logits: z, (n_images, n_classes).
        features: h, (n_images, n_features).
        slope_factor: f, by the most positions of any layer's output.
    """

    inputs: tuple[tuple[Tensor, ...], ...]
    slopes: tuple[Tensor | None, ...]
    logits: Tensor
    features: Tensor
    slope_factor: int

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, flat."""
        inputs = [given for calls in self.inputs for given in calls]
        return [*inputs, *(slopes for slopes in self.slopes if slopes is not None), self.logits, self.features]

    @property
    def shapes(self) -> list[torch.Size]:
        """Shapes for one image: records that have these in common can be joined."""
        return [tensor.shape[1:] for tensor in self.tensors]

    @classmethod
    def join(cls, records: Sequence["TailRecord"]) -> "TailRecord":
        """The records' images, one record after the other."""
        if len(records) == 1:
            return records[0]
        joined = iter([torch.cat(tensors) for tensors in zip(*(record.tensors for record in records), strict=True)])
        first = records[0]
        return cls(
            tuple(tuple(next(joined) for _ in calls) for calls in first.inputs),
            tuple(None if slopes is None else next(joined) for slopes in first.slopes),
            next(joined),
            next(joined),
            first.slope_factor,
        )


class TailReduction:
    """Reduces passes to values of the head's layers, by the closed form where it holds.

    Attributes:
        is_closed: Of each layer, whether the closed form held for all images so far.
        exactness: Of each layer's values so far.
    """

    def __init__(self, head: Head, quantities: frozenset[Quantity], input_stds: Sequence[Tensor] | None):
        """Starts with what was found of the head.

        Args:
            head: What `find_head` found.
            quantities: What is wanted beside flatness, trace and diagonal.
            input_stds: For every layer, what its input channels are divided by and its kernel's multiplied with,
                (C_in,) float64; None: nothing.
        """
        self.is_closed = [layer.method == "closed_form" for layer in head.layers]
        self.exactness = [layer.exactness for layer in head.layers]
        self._head = head
        self._quantities = quantities
        self._layers = [
            LayerWeights(layer, None if input_stds is None else input_stds[i]) for i, layer in enumerate(head.layers)
        ]
        self._head_rows: dict[tuple[int, int, torch.dtype], Tensor] = {}
        self._shapes = [layer.input_shapes for layer in head.layers]
        self._structure = TailStructure(())

    def record(self, tail: TailPass) -> TailRecord:
        """Takes from a pass what its closed forms need, and holds what was found of the tail against its images.

        Raises:
            UnsupportedHeadError: A layer does not run once on every image, or not as it did where the head was found.
        """
        # Other images or another size may take another way, even through a tail that multiplies no numbers.
        is_changed = self._check_runs(tail) | self._follow_structure(tail)
        self._check_exactness(tail)
        slopes: list[Tensor | None] = [None for _ in self._layers]
        n_positions = max(output[0].numel() // output.shape[1] for output in tail.layer_outputs)
        factor = choose_slope_factor(n_positions, tail.features.dtype)
        if any(self.is_closed):
            of_all = tail.differentiate(tail.features, torch.full_like(tail.features, factor))
            if is_changed or not self._structure.is_plain:
                self._check_channels(tail, of_all, factor)
            for i, is_closed in enumerate(self.is_closed):
                if is_closed:
                    (slopes[i],) = of_all[i]
        return TailRecord(
            tuple(tuple(call.input for call in calls) for calls in tail.calls),
            tuple(slopes),
            tail.logits.detach().clone(),  # a copy, as a model without a classifier may use its output again
            tail.features.detach(),
            factor,
        )

    def reduce(self, record: TailRecord, tail: TailPass | None, split: SoftmaxSplit) -> list[LayerValues]:
        """The values of every layer.

        Args:
            record: Of one pass or of several.
            tail: The pass; None for several, or where no layer needs it as all have slopes.
            split: Of the record's logits.

        Raises:
            NonFiniteError: A layer's input or the logits are NaN or infinite, or a value overflows float64.
        """
        for layer, inputs in zip(self._head.layers, record.inputs, strict=True):
            for given in inputs:
                check_finite(given, f"the input of layer {layer.name!r}")
        check_finite(record.logits, f"the logits, output of layer {self._head.classifier_name!r}")
        found: dict[int, LayerValues] = {}

        def compute_closed_forms(wanted: list[int], least_dtype: torch.dtype) -> dict[int, LayerValues]:
            return {i: self._compute_closed_form(i, record, split, least_dtype) for i in wanted}

        def compute_by_classes(wanted: list[int], least_dtype: torch.dtype) -> dict[int, LayerValues]:
            assert tail is not None
            return self._compute_by_classes(tail, split, wanted, least_dtype)

        ways: list[tuple[bool, Callable[[list[int], torch.dtype], dict[int, LayerValues]]]] = [
            (True, compute_closed_forms),
            (False, compute_by_classes),
        ]
        for is_closed, compute in ways:
            wanted = [i for i, slopes in enumerate(record.slopes) if (slopes is not None) == is_closed]
            if not wanted:
                continue
            found |= compute(wanted, torch.float32)
            again = [
                i for i in wanted if not found[i].is_in_range(split.rest) and self._layers[i].dtype == torch.float32
            ]
            if again:
                found |= compute(again, torch.float64)
        for i, values in found.items():
            if not values.is_finite():
                raise NonFiniteError(
                    f"flatness of layer {self._head.layers[i].name!r} overflows: its weights or activations are too "
                    "large"
                )
        return [found[i] for i in range(len(self._layers))]

    def _check_runs(self, tail: TailPass) -> bool:
        """Whether a layer is given another shape than it last was; refuses what was not seen where the head was found.

        A layer may take another way for images of another size (padding by hand, windows as rows): its first image says
        whether its output is still its own weight's.
        """
        n_images, is_changed = len(tail.logits), False
        for i, (layer, calls) in enumerate(zip(self._head.layers, tail.calls, strict=True)):
            check_rows(layer.name, layer.module, [len(call.output) for call in calls], n_images)
            shapes = tuple(call.input.shape[1:] for call in calls)
            if shapes == self._shapes[i]:
                continue
            is_changed, self._shapes[i] = True, shapes
            for call in calls:
                check_own_output(layer.name, layer.module, call.input[:1], call.output[:1].detach())
            if len(calls) > 1:
                self.is_closed[i], self.exactness[i] = False, "gauss_newton"
        return is_changed

    def _follow_structure(self, tail: TailPass) -> bool:
        """Whether the tail is built otherwise than it last was."""
        structure = TailStructure.of(tail.end.grad_fn, tail.layer_outputs)
        if structure == self._structure:
            return False
        self._structure = structure
        return True

    def _check_exactness(self, tail: TailPass) -> None:
        """Holds it against these images that tails are piecewise linear, of which few were seen under noise."""
        claimed = [i for i, exactness in enumerate(self.exactness) if exactness == "hessian"]
        if claimed and not self._structure.is_piecewise_linear:
            self.exactness = find_exactness(tail, claimed)

    def _check_channels(self, tail: TailPass, slopes: list[list[Tensor]], factor: int) -> None:
        """Holds what was found of the tail against these images, and from here on believes only what holds.

        The head was found under noise around a few images. Features times numbers must give slopes times these where
        each channel feeds one of them. So a closed gate that opens for some images (or another way for images of
        another size) costs time, not the right number: κ is the same by class Jacobians.
        """
        maps = [
            self._head.layers[i].channel_features if is_closed else None for i, is_closed in enumerate(self.is_closed)
        ]
        geometries = [weights.geometry for weights in self._layers]
        for i, follows in enumerate(follow_features(tail, slopes, factor, geometries, maps)):
            if self.is_closed[i] and not follows:
                self.is_closed[i], self.exactness[i] = False, "gauss_newton"

    def _compute_closed_form(
        self, i: int, record: TailRecord, split: SoftmaxSplit, least_dtype: torch.dtype
    ) -> LayerValues:
        weights, (given,), slopes = self._layers[i], record.inputs[i], record.slopes[i]
        assert slopes is not None
        dtype = torch.promote_types(weights.dtype, least_dtype)
        slopes = weights.geometry.channels_first(slopes).flatten(2).to(dtype)
        return compute_closed_form(
            weights.kernel(dtype),
            weights.folded_gram(dtype),
            self._centered_head_rows(i, record.features.shape[1], dtype),
            split,
            slopes if slopes.shape[2] == record.slope_factor else slopes * (slopes.shape[2] / record.slope_factor),
            weights.geometry,
            weights.prepare_input(given, dtype),
            self._quantities,
        )

    def _compute_by_classes(
        self, tail: TailPass, split: SoftmaxSplit, wanted: Sequence[int], least_dtype: torch.dtype
    ) -> dict[int, LayerValues]:
        jacobians: dict[int, LayerJacobian] = {}
        for i in wanted:
            weights = self._layers[i]
            dtype = torch.promote_types(weights.dtype, least_dtype)
            inputs = [weights.prepare_input(call.input, dtype) for call in tail.calls[i]]
            jacobians[i] = LayerJacobian(
                weights.kernel(dtype),
                weights.kernel_gram(dtype),
                weights.geometry,
                inputs,
                split.rest,
                self._quantities,
            )
        add_classes(tail, split, [jacobians.get(i) for i in range(len(self._layers))])
        return {i: jacobian.compute() for i, jacobian in jacobians.items()}

    def _centered_head_rows(self, i: int, n_features: int, dtype: torch.dtype) -> Tensor:
        """The classifier's weight on the feature of each of a layer's channels, less its mean row, (n_classes, J).

        A vector common to all rows cancels in M: taken out first, it cannot drown the differences.
        """
        if (i, n_features, dtype) not in self._head_rows:
            features = self._head.layers[i].channel_features
            assert features is not None
            rows = self._head.classifier_weight(n_features)[:, features].double()
            self._head_rows[i, n_features, dtype] = (rows - rows.mean(0)).to(dtype)
        return self._head_rows[i, n_features, dtype]
