"""What every regressor of a calibration is: hyper-parameters chosen once, then fitted to any rows.

All take standardised features Z of shape (n_rows, n_features) without NaN, targets y of shape (n_rows,) and weights of
shape (n_rows,) that sum to n_rows.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

CandidateName = Literal["ridge", "isotonic", "gaussian_process", "gradient_boosting"]
RegressorName = Literal[CandidateName, "ensemble"]
EstimatorName = Literal[RegressorName, "auto"]

# The simplest first: "auto" leaves it only for one that predicts better. An ensemble is for hundreds of networks.
CANDIDATE_NAMES: tuple[CandidateName, ...] = ("ridge", "isotonic", "gaussian_process", "gradient_boosting")
ESTIMATOR_NAMES: tuple[EstimatorName, ...] = (*CANDIDATE_NAMES, "ensemble", "auto")

Array = npt.NDArray[np.float64]
Folds = npt.NDArray[np.intp]


class Fitted(Protocol):
    """A regressor fitted to some rows."""

    def predict(self, Z: Array) -> Array:
        """Predictions (n,) of standardised features (n, n_features)."""


class Estimator(Protocol):
    """A regressor whose hyper-parameters are chosen."""

    def fit(self, Z: Array, y: Array, weights: Array) -> Fitted:
        """Fits to the rows; the estimator itself does not change."""

    def describe(self) -> dict[str, Any]:
        """The chosen hyper-parameters, plain values."""


@dataclass(frozen=True)
class MeanEstimator:
    """Predicts the weighted mean of the targets."""

    def fit(self, Z: Array, y: Array, weights: Array) -> Fitted:
        return Linear(np.zeros(Z.shape[1]), float(np.average(y, weights=weights)))

    def describe(self) -> dict[str, Any]:
        return {"name": "mean"}


@dataclass(frozen=True)
class Linear:
    """z ↦ z·coefficients + intercept."""

    coefficients: Array
    intercept: float

    def predict(self, Z: Array) -> Array:
        return Z @ self.coefficients + self.intercept
