"""What `measure` returns."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from flatselect.records import Exactness


@dataclass(frozen=True)
class Measurement:
    """Relative GAP flatness of one layer over a set of images.

    Attributes:
        relative_gap_flatness: κ, mean over the images.
        hessian_trace: Tr H, mean over the images; of the Gauss-Newton part where `exactness` says so.
        n_images: Images measured.
        layer: Name of the measured convolution in the model.
        exactness: "hessian" where κ and the trace are the Hessian's; "gauss_newton" where the tail is smooth, and the
            term that needs labels is left out.
        standard_error: Of κ, images being the units: standard deviation / √n_images; nan for one image.
        method: "closed_form" where the tail acts on each channel by itself, else "tail_jacobian".
        companions: Label-free measures of the same forward pass, by the names of `flatselect.measures`.
        per_image_flatness: κ of every image in order, (n_images,) float64; None unless asked for.
        per_image_trace: Tr H of every image in order, (n_images,) float64; None unless asked for.
    """

    relative_gap_flatness: float
    hessian_trace: float
    n_images: int
    layer: str
    exactness: Exactness
    standard_error: float
    method: Literal["closed_form", "tail_jacobian"]
    companions: dict[str, float]
    per_image_flatness: Tensor | None = field(default=None, compare=False, repr=False)
    per_image_trace: Tensor | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold: a number that is not finite becomes None; per-image values become lists."""
        values: dict[str, Any] = {
            "relative_gap_flatness": _finite(self.relative_gap_flatness),
            "hessian_trace": _finite(self.hessian_trace),
            "n_images": self.n_images,
            "layer": self.layer,
            "exactness": self.exactness,
            "standard_error": _finite(self.standard_error),
            "method": self.method,
            "companions": {name: _finite(value) for name, value in self.companions.items()},
        }
        if self.per_image_flatness is not None and self.per_image_trace is not None:
            values["per_image_flatness"] = self.per_image_flatness.tolist()
            values["per_image_trace"] = self.per_image_trace.tolist()
        return values


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
