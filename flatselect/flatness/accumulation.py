"""Accumulating flatness over batches and workers."""

import math
from collections.abc import Collection, Sequence
from typing import Self

import torch
from torch import Tensor

from flatselect.errors import DataError
from flatselect.flatness.full_precision import full_precision
from flatselect.flatness.head import Head
from flatselect.flatness.layer_values import QUANTITIES, LayerValues, Quantity
from flatselect.flatness.measurement import LayerFlatness, Measurement
from flatselect.flatness.tail import TailPass
from flatselect.flatness.tail_reduction import TailRecord, TailReduction
from flatselect.measures import (
    COMPANION_NAMES,
    LABEL_COMPANION_NAMES,
    SET_COMPANION_NAMES,
    ImageCompanions,
    compute_set_companions,
    split_softmax,
    summarise_companions,
)

# Numbers of passes that wait to be reduced together: 2 MiB in float32. What is left of a small network's pass is so
# little that calls cost more than what they compute.
_WAITING_ELEMENTS = 2**19


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
        wanted_companions = read_companions(companions)
        wanted = _read_names("quantities", quantities, QUANTITIES)
        self.head = head
        self._quantities = frozenset(quantity for quantity in QUANTITIES if quantity in wanted)
        self._input_stds = input_stds
        self._reduction = TailReduction(head, self._quantities, input_stds)
        self._set_companions = wanted_companions - set(COMPANION_NAMES)
        self._waiting: list[TailRecord] = []
        self._values: list[list[LayerValues]] = [[] for _ in head.layers]
        self._companions: list[ImageCompanions] = []
        self._kept_logits: list[Tensor] = []
        self._kept_features: list[Tensor] = []
        self._kept_labels: list[Tensor] = []

    @property
    def n_images(self) -> int:
        """Images so far."""
        return sum(len(part.confidence) for part in self._companions) + sum(len(r.logits) for r in self._waiting)

    def update(self, tail: TailPass, labels: Tensor | None = None) -> None:
        """Adds the images of one forward pass, with their labels where a companion needs them.

        Small passes are reduced several together: an error may come with a later pass than the one that holds the
        number, or with `compute`.

        Raises:
            NonFiniteError: A layer's input or the logits are NaN or infinite, or a value overflows float64.
        """
        record = self._reduction.record(tail)
        if self._set_companions:
            self._kept_logits.append(record.logits.cpu())
            self._kept_features.append(record.features.cpu())
            # A copy, as a loader may fill the same tensor again.
            self._kept_labels += [] if labels is None else [labels.to("cpu", copy=True)]
        if any(slopes is None for slopes in record.slopes):  # the graph of this pass is needed
            self._reduce_waiting()
            self._reduce(record, tail)
            return
        if self._waiting and self._waiting[0].shapes != record.shapes:
            self._reduce_waiting()
        self._waiting.append(record)
        if sum(tensor.numel() for waiting in self._waiting for tensor in waiting.tensors) >= _WAITING_ELEMENTS:
            self._reduce_waiting()

    def _reduce_waiting(self) -> None:
        if self._waiting:
            records, self._waiting = self._waiting, []
            self._reduce(TailRecord.join(records), None)

    @full_precision()
    def _reduce(self, record: TailRecord, tail: TailPass | None) -> None:
        split = split_softmax(record.logits)
        for parts, values in zip(self._values, self._reduction.reduce(record, tail, split), strict=True):
            parts.append(values.cpu())
        self._companions.append(ImageCompanions.of(record.logits, record.features, split))

    def merge(self, other: Self) -> None:
        """Adds another accumulator's images, of the same head, after the own ones.

        Raises:
            DataError: It is of another head, of other quantities or companions, or of inputs divided by other numbers.
        """
        if other._description != self._description:
            raise DataError(f"merge: the other accumulator is of {other._description}; expected {self._description}")
        if not _are_same(other._input_stds, self._input_stds):
            raise DataError("merge: the other accumulator divides the layers' inputs by other input_stds")
        self._reduce_waiting()
        other._reduce_waiting()
        own, others = self._reduction, other._reduction
        for i, values in enumerate(other._values):
            self._values[i].extend(values)
            own.is_closed[i] &= others.is_closed[i]
            own.exactness[i] = "hessian" if own.exactness[i] == others.exactness[i] == "hessian" else "gauss_newton"
        self._companions.extend(other._companions)
        self._kept_logits.extend(other._kept_logits)
        self._kept_features.extend(other._kept_features)
        self._kept_labels.extend(other._kept_labels)

    @property
    def _description(self) -> str:
        """What accumulators that are merged have in common."""
        return (
            f"{self.head.layer!r} with quantities {sorted(self._quantities)} and companions "
            f"{sorted(self._set_companions)}"
        )

    def relative_error(self) -> float:
        """Standard error of κ over κ itself, so far; infinite for fewer than two images."""
        if self.n_images < 2:
            return math.inf
        self._reduce_waiting()
        flatness = torch.stack([torch.cat([part.flatness for part in parts]) for parts in self._values]).sum(0)
        error, mean = _find_standard_error(flatness), flatness.mean().item()
        # Flat so far says nothing of the images to come.
        return error / mean if mean > 0 else math.inf

    @full_precision()
    def compute(self, *, per_image: bool = False) -> Measurement:
        """The measurement over all images so far.

        Args:
            per_image: Whether to return every image's value too.

        Raises:
            DataError: There was no image.
        """
        self._reduce_waiting()
        if not self._companions:
            raise DataError("no images were given to measure flatness on; expected at least one")
        layers = [LayerValues.join(parts) for parts in self._values]
        flatness, trace, diagonal = (
            torch.stack([getattr(values, name) for values in layers]).sum(0)
            for name in ("flatness", "trace", "diagonal")
        )
        companions = ImageCompanions.join(self._companions)
        classifier_weight = self.head.classifier_weight(companions.n_features)
        return Measurement(
            relative_gap_flatness=flatness.mean().item(),
            hessian_trace=trace.mean().item(),
            diagonal_flatness=diagonal.mean().item(),
            n_images=len(flatness),
            layer=self.head.layer,
            exactness="hessian" if set(self._reduction.exactness) == {"hessian"} else "gauss_newton",
            standard_error=_find_standard_error(flatness),
            method="closed_form" if all(self._reduction.is_closed) else "class_jacobians",
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
            exactness=self._reduction.exactness[i],
            method="closed_form" if self._reduction.is_closed[i] else "class_jacobians",
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


def read_companions(given: Collection[str]) -> frozenset[str]:
    """The companions asked for, by one name or several.

    Raises:
        DataError: There is no such companion, or these are no names.
    """
    return _read_names("companions", given, (*COMPANION_NAMES, *SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES))


def _read_names(option: str, given: Collection[str], known: Collection[str]) -> frozenset[str]:
    if not isinstance(given, Collection):
        raise DataError(f"{option}={given!r}; expected a list of names")
    names = frozenset((given,) if isinstance(given, str) else given)
    if unknown := names - set(known):
        raise DataError(f"{option}={sorted(unknown)}: unknown; expected any of {', '.join(known)}")
    return names


def _find_standard_error(of_images: Tensor) -> float:
    return of_images.std().item() / math.sqrt(len(of_images)) if len(of_images) > 1 else math.nan


def _are_same(one: Sequence[Tensor] | None, other: Sequence[Tensor] | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(map(torch.equal, one, other))
