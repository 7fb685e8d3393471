"""Accumulating flatness over batches and workers."""

import math
from typing import Literal, Self

import torch
from torch import Tensor

from flatselect.errors import DataError, NonFiniteError
from flatselect.flatness.class_jacobians import compute_from_class_jacobians
from flatselect.flatness.closed_form import compute_closed_form
from flatselect.flatness.head import Head
from flatselect.flatness.measurement import Measurement
from flatselect.flatness.model_state import check_finite
from flatselect.flatness.patches import ConvolutionGeometry
from flatselect.flatness.slopes import TailPass
from flatselect.measures import ImageCompanions, split_softmax, summarise_companions
from flatselect.measures.softmax_split import SoftmaxSplit

# Well inside float32's range, so that no factor of a value above it has lost digits to underflow.
_LEAST_IN_FLOAT32 = 1e-25


class GapFlatness:
    """Relative GAP flatness over any number of batches: update, merge, compute.

    Per-image values are kept, so that batches, workers and one go give the same numbers.
    """

    def __init__(self, head: Head):
        """Starts without images, for the head that `find_head` found."""
        self.head = head
        self._geometry = ConvolutionGeometry.of(head.convolution)
        self._dtype = torch.float64 if head.convolution.weight.dtype == torch.float64 else torch.float32
        self._kernel_grams: dict[torch.dtype, Tensor] = {}
        self._classifier_weight = head.classifier.weight.detach()  # (n_classes, n_features)
        self._flatness: list[Tensor] = []
        self._trace: list[Tensor] = []
        self._companions: list[ImageCompanions] = []

    @property
    def method(self) -> Literal["closed_form", "tail_jacobian"]:
        """How: "closed_form" where the tail acts on each channel by itself, else "tail_jacobian"."""
        return "tail_jacobian" if self.head.channel_features is None else "closed_form"

    def update(self, tail: TailPass) -> None:
        """Adds the images of one forward pass.

        Raises:
            NonFiniteError: The convolution's input or the logits are NaN or infinite, or a value overflows float64.
        """
        layer = self.head.layer
        check_finite(tail.images, f"the input of layer {layer!r}")
        check_finite(tail.logits, f"the logits, output of layer {self.head.classifier_name!r}")
        split = split_softmax(tail.logits)
        flatness, trace = self._compute_batch(tail, split, self._dtype)
        if self._dtype == torch.float32 and not _is_in_range(flatness, trace, split):
            flatness, trace = self._compute_batch(tail, split, torch.float64)
        if not bool((flatness + trace).isfinite().all()):
            raise NonFiniteError(f"flatness of layer {layer!r} overflows: its weights or activations are too large")
        self._flatness.append(flatness.cpu())
        self._trace.append(trace.cpu())
        self._companions.append(ImageCompanions.of(tail.logits, tail.features, split))

    def _compute_batch(self, tail: TailPass, split: SoftmaxSplit, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """κ and Tr H of every image, (n_images,) float64, computed in `dtype`."""
        images = tail.images.to(dtype)
        if self.head.channel_features is None:
            return compute_from_class_jacobians(
                self._kernel_gram(dtype), split, tail.logits, tail.activations, self._geometry, images
            )
        n_positions = tail.activations[0, 0].numel()
        slopes = tail.differentiate_features(torch.full_like(tail.features, n_positions))
        return compute_closed_form(
            self._kernel_gram(dtype),
            self._classifier_weight[:, self.head.channel_features].to(dtype),
            split,
            slopes.flatten(2).to(dtype),
            self._geometry,
            images,
        )

    def _kernel_gram(self, dtype: torch.dtype) -> Tensor:
        """KKᵀ of the kernel rows, (J, J)."""
        if dtype not in self._kernel_grams:
            kernel = self.head.convolution.weight.detach().to(dtype).flatten(1)  # (J, d)
            self._kernel_grams[dtype] = kernel @ kernel.mT
        return self._kernel_grams[dtype]

    def merge(self, other: Self) -> None:
        """Adds another accumulator's images, of the same head, after the own ones."""
        self._flatness.extend(other._flatness)
        self._trace.extend(other._trace)
        self._companions.extend(other._companions)

    def compute(self, *, per_image: bool = False) -> Measurement:
        """The measurement over all images so far.

        Args:
            per_image: Whether to return every image's value too.

        Raises:
            DataError: There was no image.
        """
        if not self._flatness:
            raise DataError("no images were given to measure flatness on; expected at least one")
        flatness, trace = torch.cat(self._flatness), torch.cat(self._trace)
        n_images, mean = len(flatness), flatness.mean().item()
        return Measurement(
            relative_gap_flatness=mean,
            hessian_trace=trace.mean().item(),
            n_images=n_images,
            layer=self.head.layer,
            exactness=self.head.exactness,
            standard_error=flatness.std().item() / math.sqrt(n_images) if n_images > 1 else math.nan,
            method=self.method,
            companions=summarise_companions(ImageCompanions.join(self._companions), mean, self._classifier_weight),
            per_image_flatness=flatness if per_image else None,
            per_image_trace=trace if per_image else None,
        )


def _is_in_range(flatness: Tensor, trace: Tensor, split: SoftmaxSplit) -> bool:
    """Whether what was computed in float32 neither overflowed nor came near underflow; 1 − p_top is a late factor."""
    least = _LEAST_IN_FLOAT32 * split.rest
    return bool(((flatness + trace).isfinite() & (flatness > least) & (trace > least)).all())
