"""What `measure` returns."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from torch import Tensor

from flatselect.records import Exactness

Method = Literal["closed_form", "class_jacobians"]


@dataclass(frozen=True)
class LayerFlatness:
    """Relative flatness of one layer over a set of images; every number a mean over the images.

    With k_j the layer's kernel rows and H_jj' the blocks of the Hessian of one image's cross-entropy in them:

    Attributes:
        layer: Name in the model.
        relative_flatness: κ = Σ_jj' ⟨k_j, k_j'⟩ Tr H_jj' (Petzka et al. 2021).
        hessian_trace: Tr H = Σ_j Tr H_jj; of the Gauss-Newton part where `exactness` says so.
        diagonal_flatness: Σ_j ‖k_j‖² Tr H_jj: rows paired with themselves only.
        standard_error: Of κ, images being the units: standard deviation / √n_images; nan for one image.
        exactness: "hessian" where all of these are the Hessian's; "gauss_newton" where the network is smooth after the
            layer, and the term that needs labels is left out.
        method: "closed_form" where the tail acts on each channel by itself, else "class_jacobians": one backward pass a
            class.
        input_channel_flatness: Σ_i Σ_jj' ⟨k_j^i, k_j'^i⟩ Tr H^i_jj' over input channels i: weights on different input
            channels are not paired, so that it does not change when input channels are rescaled against the kernel
            either. None unless asked for, as the following two.
        max_eigenvalue_flatness: ‖K‖_F² λ_max(H), with λ_max of every image's own Hessian; their mean is at least λ_max
            of the mean Hessian.
        block_traces: Tr H_jj', (J, J) float64.
        per_image_flatness: κ of every image in order, (n_images,) float64; None unless asked for.
        per_image_trace: Tr H of every image in order, (n_images,) float64; None unless asked for.
    """

    layer: str
    relative_flatness: float
    hessian_trace: float
    diagonal_flatness: float
    standard_error: float
    exactness: Exactness
    method: Method
    input_channel_flatness: float | None = None
    max_eigenvalue_flatness: float | None = None
    block_traces: Tensor | None = field(default=None, compare=False, repr=False)
    per_image_flatness: Tensor | None = field(default=None, compare=False, repr=False)
    per_image_trace: Tensor | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, those that were not asked for left out."""
        return _to_dict(self)


@dataclass(frozen=True)
class Measurement:
    """Relative GAP flatness over a set of images.

    Where several layers are measured (convolutions that feed one pooling side by side, or layers asked for by name),
    flatness, trace and diagonal are sums over them: each has its own weights, and the blocks between two are left out.

    Attributes:
        relative_gap_flatness: κ, mean over the images.
        hessian_trace: Tr H, mean over the images; of the Gauss-Newton part where `exactness` says so.
        n_images: Images measured.
        layer: Name of the measured layer in the model; of several, joined by " + ".
        exactness: "hessian" where κ and the trace are the Hessian's in every layer; "gauss_newton" where one's tail is
            smooth, and the term that needs labels is left out.
        standard_error: Of κ, images being the units: standard deviation / √n_images; nan for one image.
        method: "closed_form" where the tails act on each channel by itself, else "class_jacobians".
        companions: Measures of the same forward pass, by the names of `flatselect.measures`.
        diagonal_flatness: Σ_j ‖k_j‖² Tr H_jj, mean over the images.
        layers: Each layer's own numbers.
        refused: Why layers were not measured, by name; only where all were asked for.
        per_image_flatness: κ of every image in order, (n_images,) float64; None unless asked for.
        per_image_trace: Tr H of every image in order, (n_images,) float64; None unless asked for.
    """

    relative_gap_flatness: float
    hessian_trace: float
    n_images: int
    layer: str
    exactness: Exactness
    standard_error: float
    method: Method
    companions: dict[str, float]
    diagonal_flatness: float = math.nan
    layers: tuple[LayerFlatness, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    per_image_flatness: Tensor | None = field(default=None, compare=False, repr=False)
    per_image_trace: Tensor | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold: a number that is not finite becomes None; tensors become lists."""
        return _to_dict(self)


def _to_dict(record: LayerFlatness | Measurement) -> dict[str, Any]:
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {name: _to_plain(value) for name, value in values.items() if value is not None}


def _to_plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [item.to_dict() for item in value]
    return value
