"""`--verify`: the closed form against brute-force autograd, on a few images, in float64."""

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flatselect.cli.step_progress import StepProgress
from flatselect.flatness.measure import measure
from flatselect.flatness.reference import reference_by_gradients

RTOL = 1e-6


@dataclass(frozen=True)
class LayerVerification:
    """One layer measured twice on the same images.

    Attributes:
        layer: Its name.
        relative_flatness: As `measure` has it.
        brute_force: The same by one backward pass for each class.
        relative_difference: Between the two, of the larger.
        hessian_trace: As `measure` has it.
        brute_force_trace: By the same backward passes.
        trace_relative_difference: Between the two, of the larger.
    """

    layer: str
    relative_flatness: float
    brute_force: float
    relative_difference: float
    hessian_trace: float
    brute_force_trace: float
    trace_relative_difference: float


@dataclass(frozen=True)
class Verification:
    """What was verified, and whether everything agrees."""

    n_images: int
    layers: tuple[LayerVerification, ...]

    @property
    def agrees(self) -> bool:
        return all(
            layer.relative_difference <= RTOL and layer.trace_relative_difference <= RTOL for layer in self.layers
        )

    def to_dict(self) -> dict[str, Any]:
        layers = [asdict(layer) for layer in self.layers]
        return {
            "agrees": self.agrees,
            "n_images": self.n_images,
            "dtype": "float64",
            "rtol": RTOL,
            "layers": layers,
        }


def verify(model: nn.Module, images: Tensor, options: dict[str, Any]) -> Verification:
    """Measures a float64 copy of the model on the images, and each of its layers by brute force.

    Args:
        model: What was measured.
        images: A few of the images it was measured on, on its device.
        options: Which layers: keyword arguments of `measure`.

    Raises:
        ModelError: A layer has no weight of its own.
    """
    if images.device.type == "mps":  # has no float64
        images = images.cpu()
    model = copy.deepcopy(model).to(images.device, torch.float64)
    images = images.double()
    measured = measure(model, images, **options)
    verified = []
    for layer in measured.layers:
        with StepProgress(f"verifying {layer.layer}", "backward passes") as progress:
            reference = reference_by_gradients(model, images, layer.layer, progress.show)
        verified.append(
            LayerVerification(
                layer.layer,
                layer.relative_flatness,
                reference.gauss_newton_flatness,
                _compare(layer.relative_flatness, reference.gauss_newton_flatness),
                layer.hessian_trace,
                reference.gauss_newton_trace,
                _compare(layer.hessian_trace, reference.gauss_newton_trace),
            )
        )
    return Verification(len(images), tuple(verified))


def _compare(one: float, other: float) -> float:
    if one == other:
        return 0.0
    difference = abs(one - other) / max(abs(one), abs(other))
    return math.inf if math.isnan(difference) else difference
