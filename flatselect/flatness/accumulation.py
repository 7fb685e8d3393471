"""Accumulating flatness over batches and workers."""

import math
from collections.abc import Collection, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor

from flatselect.errors import DataError, NonFiniteError
from flatselect.flatness.class_jacobians import LayerJacobian, add_classes
from flatselect.flatness.closed_form import compute_closed_form
from flatselect.flatness.head import Head
from flatselect.flatness.layer_values import QUANTITIES, LayerValues, Quantity
from flatselect.flatness.layer_weights import LayerWeights
from flatselect.flatness.measurement import LayerFlatness, Measurement
from flatselect.flatness.model_state import check_finite
from flatselect.flatness.separability import find_exactness, follow_features
from flatselect.flatness.tail import TailPass
from flatselect.flatness.tail_graph import is_plain
from flatselect.measures import (
    COMPANION_NAMES,
    LABEL_COMPANION_NAMES,
    SET_COMPANION_NAMES,
    ImageCompanions,
    compute_set_companions,
    split_softmax,
    summarise_companions,
)
from flatselect.measures.softmax_split import SoftmaxSplit


class GapFlatness:
    """Relative GAP flatness over any number of batches: update, merge, compute.

    Per-image values are kept, so that batches, workers and one go give the same numbers.
    """

    def __init__(
        self,
        head: Head,
        quantities: Collection[Quantity] = (),
        companions: Collection[str] = (),
        input_stds: Sequence[Tensor] | None = None,
    ):
        """Starts without images.

        Args:
            head: What `find_head` found.
            quantities: What is wanted beside flatness, trace and diagonal, of `QUANTITIES`.
            companions: More than the usual, of `SET_COMPANION_NAMES` and `LABEL_COMPANION_NAMES`.
            input_stds: For every layer, what its input channels are divided by and its kernel's multiplied with,
                (C_in,) float64; None: nothing.

        Raises:
            DataError: There is no such quantity or companion.
        """
        companions = (companions,) if isinstance(companions, str) else companions
        known = (*COMPANION_NAMES, *SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES)
        if unknown := set(companions) - set(known):
            raise DataError(f"companions={sorted(unknown)}: unknown; expected any of {', '.join(known)}")
        wanted: set[str] = {quantities} if isinstance(quantities, str) else set(quantities)
        if unknown := wanted - set(QUANTITIES):
            raise DataError(f"quantities={sorted(unknown)}: unknown; expected any of {', '.join(QUANTITIES)}")
        self.head = head
        self._quantities = frozenset(quantity for quantity in QUANTITIES if quantity in wanted)
        self._is_closed = [layer.method == "closed_form" for layer in head.layers]
        self._exactness = [layer.exactness for layer in head.layers]
        self._set_companions = frozenset(companions) - set(COMPANION_NAMES)
        self._layers = [
            LayerWeights(layer, None if input_stds is None else input_stds[i]) for i, layer in enumerate(head.layers)
        ]
        self._head_rows: dict[tuple[int, int, torch.dtype], Tensor] = {}
        self._shapes: list[torch.Size] | None = None
        self._values: list[list[LayerValues]] = [[] for _ in head.layers]
        self._companions: list[ImageCompanions] = []
        self._kept_logits: list[Tensor] = []
        self._kept_features: list[Tensor] = []
        self._kept_labels: list[Tensor] = []

    @property
    def n_images(self) -> int:
        """Images so far."""
        return sum(len(part.confidence) for part in self._companions)

    def update(self, tail: TailPass, labels: Tensor | None = None) -> None:
        """Adds the images of one forward pass, with their labels where a companion needs them.

        Raises:
            NonFiniteError: A layer's input or the logits are NaN or infinite, or a value overflows float64.
        """
        for layer, calls in zip(self.head.layers, tail.calls, strict=True):
            for call in calls:
                check_finite(call.input, f"the input of layer {layer.name!r}")
        check_finite(tail.logits, f"the logits, output of layer {self.head.classifier_name!r}")
        split = split_softmax(tail.logits)
        for i, values in enumerate(self._compute_batch(tail, split)):
            self._values[i].append(values.cpu())
        self._companions.append(ImageCompanions.of(tail.logits, tail.features, split))
        if self._set_companions:
            self._kept_logits.append(tail.logits.detach().cpu())
            self._kept_features.append(tail.features.detach().cpu())
            self._kept_labels += [] if labels is None else [labels.cpu()]

    def _compute_batch(self, tail: TailPass, split: SoftmaxSplit) -> list[LayerValues]:
        found: dict[int, LayerValues] = {}
        slopes: list[list[Tensor]] = []
        n_most = 1
        if any(self._is_closed):
            # ∂h/∂a is of the size of 1/P: multiplied by P before rather than after, half precision keeps it.
            n_most = max(output[0].numel() // output.shape[1] for output in tail.layer_outputs)
            slopes = tail.differentiate(tail.features, torch.full_like(tail.features, n_most))
            # Another size may take another way, even of a tail that does not depend on the numbers.
            shapes = [output.shape[1:] for output in tail.layer_outputs]
            if shapes != (self._shapes or shapes) or not is_plain(tail.features.grad_fn):
                self._check_tail(tail, slopes, n_most)
            self._shapes = shapes
        compute_closed_form = partial(self._compute_closed_form, slopes, n_most)
        for is_closed, compute in ((True, compute_closed_form), (False, self._compute_class_jacobians)):
            wanted = [i for i, is_so in enumerate(self._is_closed) if is_so == is_closed]
            if not wanted:
                continue
            found |= compute(tail, split, wanted, torch.float32)
            again = [
                i for i in wanted if not found[i].is_in_range(split.rest) and self._layers[i].dtype == torch.float32
            ]
            if again:
                found |= compute(tail, split, again, torch.float64)
        for i, values in found.items():
            if not values.is_finite():
                raise NonFiniteError(
                    f"flatness of layer {self.head.layers[i].name!r} overflows: its weights or activations are too "
                    "large"
                )
        return [found[i] for i in range(len(self.head.layers))]

    def _check_tail(self, tail: TailPass, slopes: list[list[Tensor]], factor: int) -> None:
        """Holds what was found of the tail against these images, and from here on believes only what holds.

        The head was found under noise around a few images. Features times ±1 must give slopes times ±1 where each
        channel feeds one of them; and a tail that is called piecewise linear must not be curved here. So a closed gate
        that opens for some images (or another way for images of another size) costs time, not the right number: κ is
        the same by class Jacobians.
        """
        if all(self._is_closed) and "hessian" in self._exactness:
            for i, exactness in enumerate(find_exactness(tail)):
                if exactness == "gauss_newton":
                    self._exactness[i] = exactness
        maps = [
            self.head.layers[i].channel_features if is_closed else None for i, is_closed in enumerate(self._is_closed)
        ]
        geometries = [weights.geometry for weights in self._layers]
        for i, follows in enumerate(follow_features(tail, slopes, factor, geometries, maps)):
            if self._is_closed[i] and not follows:
                self._is_closed[i], self._exactness[i] = False, "gauss_newton"

    def _compute_closed_form(
        self,
        all_slopes: list[list[Tensor]],
        factor: int,
        tail: TailPass,
        split: SoftmaxSplit,
        wanted: Sequence[int],
        least_dtype: torch.dtype,
    ) -> dict[int, LayerValues]:
        found: dict[int, LayerValues] = {}
        for i in wanted:
            weights, ((slopes,), (call,)) = self._layers[i], (all_slopes[i], tail.calls[i])
            dtype = torch.promote_types(weights.dtype, least_dtype)
            slopes = weights.geometry.channels_first(slopes).flatten(2).to(dtype)
            found[i] = compute_closed_form(
                weights.kernel(dtype),
                weights.folded_gram(dtype),
                self._centered_head_rows(i, tail.features.shape[1], dtype),
                split,
                slopes if slopes.shape[2] == factor else slopes * (slopes.shape[2] / factor),
                weights.geometry,
                weights.prepare_input(call.input, dtype),
                self._quantities,
            )
        return found

    def _compute_class_jacobians(
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
        add_classes(tail, split, [jacobians.get(i) for i in range(len(self.head.layers))])
        return {i: jacobian.compute() for i, jacobian in jacobians.items()}

    def _centered_head_rows(self, i: int, n_features: int, dtype: torch.dtype) -> Tensor:
        """The classifier's weight on the feature of each of a layer's channels, less its mean row, (n_classes, J).

        A vector common to all rows cancels in M: taken out first, it cannot drown the differences.
        """
        if (i, n_features, dtype) not in self._head_rows:
            features = self.head.layers[i].channel_features
            assert features is not None
            rows = self._classifier_weight(n_features)[:, features].double()
            self._head_rows[i, n_features, dtype] = (rows - rows.mean(0)).to(dtype)
        return self._head_rows[i, n_features, dtype]

    def _classifier_weight(self, n_features: int) -> Tensor:
        classifier = self.head.classifier
        if classifier is None:  # the features are the logits
            return torch.eye(n_features, device=self.head.layers[0].module.weight.device)
        return classifier.weight.detach().flatten(1)

    def merge(self, other: Self) -> None:
        """Adds another accumulator's images, of the same head, after the own ones.

        Raises:
            DataError: It is of another head, or of other quantities.
        """
        if (other.head.layer, other._quantities) != (self.head.layer, self._quantities):
            raise DataError(
                f"merge: the other accumulator is of {other.head.layer!r} with quantities {sorted(other._quantities)}; "
                f"expected {self.head.layer!r} with {sorted(self._quantities)}"
            )
        for i, others in enumerate(other._values):
            self._values[i].extend(others)
            self._is_closed[i] &= other._is_closed[i]
            self._exactness[i] = "hessian" if self._exactness[i] == other._exactness[i] == "hessian" else "gauss_newton"
        self._companions.extend(other._companions)
        self._kept_logits.extend(other._kept_logits)
        self._kept_features.extend(other._kept_features)
        self._kept_labels.extend(other._kept_labels)

    def relative_error(self) -> float:
        """Standard error of κ over κ itself, so far; infinite for fewer than two images."""
        if self.n_images < 2:
            return math.inf
        flatness = torch.stack([torch.cat([part.flatness for part in parts]) for parts in self._values]).sum(0)
        error, mean = _find_standard_error(flatness), flatness.mean().item()
        # Flat so far says nothing of the images to come.
        return error / mean if mean > 0 else math.inf

    def compute(self, *, per_image: bool = False) -> Measurement:
        """The measurement over all images so far.

        Args:
            per_image: Whether to return every image's value too.

        Raises:
            DataError: There was no image.
        """
        if not self._companions:
            raise DataError("no images were given to measure flatness on; expected at least one")
        layers = [LayerValues.join(parts) for parts in self._values]
        flatness, trace, diagonal = (
            torch.stack([getattr(values, name) for values in layers]).sum(0)
            for name in ("flatness", "trace", "diagonal")
        )
        companions = ImageCompanions.join(self._companions)
        classifier_weight = self._classifier_weight(companions.n_features)
        return Measurement(
            relative_gap_flatness=flatness.mean().item(),
            hessian_trace=trace.mean().item(),
            diagonal_flatness=diagonal.mean().item(),
            n_images=len(flatness),
            layer=self.head.layer,
            exactness="hessian" if set(self._exactness) == {"hessian"} else "gauss_newton",
            standard_error=_find_standard_error(flatness),
            method="closed_form" if all(self._is_closed) else "class_jacobians",
            companions={
                **summarise_companions(companions, flatness.mean().item(), classifier_weight),
                **self._compute_set_companions(classifier_weight),
            },
            layers=tuple(self._describe_layer(i, values, per_image) for i, values in enumerate(layers)),
            refused=dict(self.head.refused),
            per_image_flatness=flatness if per_image else None,
            per_image_trace=trace if per_image else None,
        )

    def _describe_layer(self, i: int, values: LayerValues, per_image: bool) -> LayerFlatness:
        def mean(of_images: Tensor | None) -> float | None:
            return None if of_images is None else of_images.mean().item()

        blocks = values.block_traces
        return LayerFlatness(
            layer=self.head.layers[i].name,
            relative_flatness=values.flatness.mean().item(),
            hessian_trace=values.trace.mean().item(),
            diagonal_flatness=values.diagonal.mean().item(),
            standard_error=_find_standard_error(values.flatness),
            exactness=self._exactness[i],
            method="closed_form" if self._is_closed[i] else "class_jacobians",
            input_channel_flatness=mean(values.input_channel),
            max_eigenvalue_flatness=mean(values.max_eigenvalue),
            block_traces=None if blocks is None else blocks / len(values.flatness),
            per_image_flatness=values.flatness if per_image else None,
            per_image_trace=values.trace if per_image else None,
        )

    def _compute_set_companions(self, classifier_weight: Tensor) -> dict[str, float]:
        if not self._set_companions:
            return {}
        return compute_set_companions(
            self._set_companions,
            torch.cat(self._kept_logits),
            torch.cat(self._kept_features),
            classifier_weight.cpu(),
            torch.cat(self._kept_labels) if self._kept_labels else None,
        )


def _find_standard_error(of_images: Tensor) -> float:
    return of_images.std().item() / math.sqrt(len(of_images)) if len(of_images) > 1 else math.nan
