"""A line, support vectors and random trees, averaged: for hundreds of rows of many settings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.svm import SVR

from flatselect.calibration.estimators import Array, Fitted, Folds
from flatselect.calibration.ridge import RidgeEstimator

# Of the squared-exponential kernel, on standardised features: wide, nearly a plane.
_KERNEL_WIDTH = 0.003
_TUBE = 0.01  # what an error of a gap may be at no cost
_N_TREES = 200
_ROWS_IN_LEAF = 2
_SHARE_OF_FEATURES = 0.5


@dataclass(frozen=True)
class EnsembleEstimator:
    """The mean of three regressors that err in different ways.

    Ridge regression; support vectors with a squared-exponential kernel (C = 1, γ = 0.003, ε = 0.01), which bend the
    line a little; and extremely randomised trees (Geurts et al. 2006: 200 of them, half of the features tried at a
    split, at least two rows in a leaf), which say of a row what the most similar rows had. Only the penalty of the
    first is chosen on the rows. docs/prediction.md has what each is worth.
    """

    ridge: RidgeEstimator

    @classmethod
    def choose(cls, Z: Array, y: Array, weights: Array, folds: Folds) -> "EnsembleEstimator":
        return cls(RidgeEstimator.choose(Z, y, weights, folds))

    def fit(self, Z: Array, y: Array, weights: Array) -> Fitted:
        vectors = SVR(gamma=_KERNEL_WIDTH, epsilon=_TUBE).fit(Z, y, sample_weight=weights)
        trees = ExtraTreesRegressor(
            _N_TREES, min_samples_leaf=_ROWS_IN_LEAF, max_features=_SHARE_OF_FEATURES, random_state=0
        )
        return _Mean((self.ridge.fit(Z, y, weights), vectors, trees.fit(Z, y, sample_weight=weights)))

    def describe(self) -> dict[str, Any]:
        return {**self.ridge.describe(), "name": "ensemble", "kernel_width": _KERNEL_WIDTH, "n_trees": _N_TREES}


@dataclass(frozen=True)
class _Mean:
    of: tuple[Fitted | SVR | ExtraTreesRegressor, ...]

    def predict(self, Z: Array) -> Array:
        return np.asarray(np.mean([fitted.predict(Z) for fitted in self.of], axis=0), dtype=np.float64)
