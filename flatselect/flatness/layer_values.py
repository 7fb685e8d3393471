"""What is computed of one layer, image by image, and the parts of it that only some ask for."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Quantity = Literal["input_channel_flatness", "max_eigenvalue_flatness", "block_traces"]
# Well inside float32's range, so that no factor of a value above it has lost digits to underflow.
_LEAST_IN_FLOAT32 = 1e-25
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


@dataclass
class LayerValues:
    """Values of one layer over a batch, each (n_images,) float64 unless said otherwise.

    With H the Hessian of one image in the layer's weight, H_jj' its d×d block of kernel rows k_j and k_j':

    Attributes:
        flatness: κ = Σ_jj' ⟨k_j, k_j'⟩ Tr H_jj'.
        trace: Tr H.
        diagonal: Σ_j ‖k_j‖² Tr H_jj.
        input_channel: Σ_i Σ_jj' ⟨k_j^i, k_j'^i⟩ Tr H^i_jj', over input channels i: coordinates of different input
            channels are not paired. None unless asked for.
        max_eigenvalue: ‖K‖_F² · λ_max(H). None unless asked for.
        block_traces: Σ_images Tr H_jj', (J, J). None unless asked for.
    """

    flatness: Tensor
    trace: Tensor
    diagonal: Tensor
    input_channel: Tensor | None = None
    max_eigenvalue: Tensor | None = None
    block_traces: Tensor | None = None

    @classmethod
    def zeros(cls, n_images: int, kernel: Tensor, quantities: frozenset[Quantity]) -> "LayerValues":
        """Values of a flat layer."""

        def make(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=kernel.device)

        return cls(
            make(n_images),
            make(n_images),
            make(n_images),
            make(n_images) if "input_channel_flatness" in quantities else None,
            make(n_images) if "max_eigenvalue_flatness" in quantities else None,
            make(len(kernel), len(kernel)) if "block_traces" in quantities else None,
        )

    def scale(self, by: Tensor) -> "LayerValues":
        """The same of every image times a number; `block_traces`, a sum, must have it in already."""
        # Rounding may leave a sum of squares a little below 0.
        return LayerValues(
            (self.flatness * by).clamp_min_(0),
            self.trace * by,
            self.diagonal * by,
            None if self.input_channel is None else self.input_channel * by,
            None if self.max_eigenvalue is None else self.max_eigenvalue * by,
            self.block_traces,
        )

    def is_finite(self) -> bool:
        return bool((self.flatness + self.trace + self.diagonal).isfinite().all())

    def is_in_range(self, rest: Tensor) -> bool:
        """Whether what was computed in float32 neither overflowed nor came near underflow.

        Args:
            rest: 1 − p_top of every image, a factor that came in late.
        """
        least = _LEAST_IN_FLOAT32 * rest
        return self.is_finite() and bool(((self.flatness > least) & (self.trace > least)).all())

    def cpu(self) -> "LayerValues":
        return dataclasses.replace(
            self, **{name: value.cpu() for name, value in vars(self).items() if value is not None}
        )

    @classmethod
    def join(cls, parts: Sequence["LayerValues"]) -> "LayerValues":
        """The parts' images, one part after the other."""

        def cat(name: str) -> Tensor | None:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else torch.cat(values)

        blocks = [part.block_traces for part in parts if part.block_traces is not None]
        flatness, trace, diagonal = cat("flatness"), cat("trace"), cat("diagonal")
        assert flatness is not None
        assert trace is not None
        assert diagonal is not None
        return cls(
            flatness,
            trace,
            diagonal,
            cat("input_channel"),
            cat("max_eigenvalue"),
            torch.stack(blocks).sum(0) if blocks else None,
        )
