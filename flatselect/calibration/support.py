"""Where a calibration has seen data: the range of each feature, and how far the rows lie from their centre."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flatselect.calibration.distance import SquaredDistance
from flatselect.calibration.estimators import Array

# On standardised features: directions in which the rows hardly vary are as good as not seen, not infinitely far.
_SMALLEST_VARIANCE = 0.01


@dataclass(frozen=True)
class TrainingSupport:
    """Range and spread of the rows a calibration was fitted on, in standardised features Z.

    Attributes:
        low, high: Of each feature, widened by `tolerance` of its range; shape (n_features,).
        always_given: Whether no row lacked the feature; shape (n_features,).
        distance: Of any row from these.
        largest_distance: The largest squared distance of one of these rows, widened by `tolerance`.
    """

    low: Array
    high: Array
    always_given: npt.NDArray[np.bool_]
    distance: SquaredDistance
    largest_distance: float

    @classmethod
    def of_rows(cls, Z: Array, missing: npt.NDArray[np.bool_], weights: Array, tolerance: float) -> Self:
        """Z without NaN, (n_rows, n_features), centred; `missing` of the same shape says which were filled in."""
        low, high = Z.min(axis=0), Z.max(axis=0)
        distance = SquaredDistance.of_rows(Z, weights, _SMALLEST_VARIANCE)
        return cls(
            low=low - tolerance * (high - low),
            high=high + tolerance * (high - low),
            always_given=np.logical_not(missing.any(axis=0)),
            distance=distance,
            largest_distance=float(distance.at(Z).max(initial=0.0)) * (1 + tolerance) ** 2,
        )

    def is_outside(self, Z: Array, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether each row (n,) is out of a range, farther than any row fitted, or lacks what no such row lacked."""
        out_of_range = (np.less(Z, self.low) | np.greater(Z, self.high)).any(axis=1)
        # Rounding may put a fitted row itself a hair beyond its own distance.
        too_far = self.distance.at(Z) > self.largest_distance * (1 + 1e-9)
        lacking = (missing & self.always_given).any(axis=1)
        return np.asarray(out_of_range | too_far | lacking, dtype=np.bool_)
