"""How far a row lies from the rows a calibration was fitted on."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from flatselect.calibration.estimators import Array


@dataclass(frozen=True)
class SquaredDistance:
    """Squared Mahalanobis distance (z − z̄)ᵀ(C + penalty · I)⁻¹(z − z̄), C the rows' weighted covariance.

    Attributes:
        mean: z̄, the weighted mean of the rows, (n_features,).
        precision: (C + penalty · I)⁻¹, (n_features, n_features).
    """

    mean: Array
    precision: Array

    @classmethod
    def of_rows(cls, Z: Array, weights: Array, penalty: float) -> Self:
        """Of rows (n_rows, n_features) without NaN; `penalty` > 0 is the variance of a direction nobody varied in."""
        shares = weights / weights.sum()
        mean = shares @ Z
        covariance = ((Z - mean).T * shares) @ (Z - mean)
        return cls(mean, np.linalg.inv(covariance + penalty * np.eye(Z.shape[1])))

    def at(self, Z: Array) -> Array:
        """(n,) of rows (n, n_features)."""
        difference = Z - self.mean
        return np.asarray(np.einsum("ni,ij,nj->n", difference, self.precision, difference), dtype=np.float64)
