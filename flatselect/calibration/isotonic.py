"""A gap that never falls as flatness grows: isotonic in column 0, linear in the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from flatselect.calibration.estimators import Array, Fitted, Folds
from flatselect.calibration.ridge import RidgeEstimator

_MOST_ROUNDS = 100
_TOLERANCE = 1e-6  # of the targets' spread


@dataclass(frozen=True)
class IsotonicEstimator:
    """Minimises Σ wᵢ (yᵢ − f(zᵢ₀) − Σⱼ βⱼ zᵢⱼ)² / Σ wᵢ + penalty · ‖β‖² over non-decreasing f and β, j ≥ 1.

    By backfitting, which on a convex problem goes to the minimum. Between the fitted rows f is interpolated, beyond
    them constant. Theory has the gap grow with relative flatness, all else equal; where the rows say otherwise, f is
    constant. The penalty is the one that ridge would take.
    """

    penalty: float

    @classmethod
    def choose(cls, Z: Array, y: Array, weights: Array, folds: Folds) -> "IsotonicEstimator":
        return cls(RidgeEstimator.choose(Z, y, weights, folds).penalty)

    def fit(self, Z: Array, y: Array, weights: Array) -> Fitted:
        shares = weights / weights.sum()
        levels, level_of_row = np.unique(Z[:, 0], return_inverse=True)
        level_shares = np.bincount(level_of_row, shares)
        others = Z[:, 1:]
        centre = shares @ others
        centred = others - centre
        covariance = (centred.T * shares) @ centred + self.penalty * np.eye(others.shape[1])
        solve = np.linalg.solve(covariance, centred.T * shares)  # (n_others, n_rows)

        steps, monotone = np.zeros(len(levels)), np.zeros(len(y))
        coefficients = np.zeros(others.shape[1])
        for _ in range(_MOST_ROUNDS):
            coefficients = solve @ (y - monotone)
            rest = y - centred @ coefficients
            steps = isotonic_regression(np.bincount(level_of_row, shares * rest) / level_shares, weights=level_shares).x
            change = np.abs(steps[level_of_row] - monotone).max()
            monotone = steps[level_of_row]
            if change <= _TOLERANCE * np.ptp(y):
                break
        return _Additive(levels, steps, centre, coefficients)

    def describe(self) -> dict[str, Any]:
        return {"name": "isotonic", "penalty": self.penalty}


@dataclass(frozen=True)
class _Additive:
    levels: Array
    steps: Array
    centre: Array
    coefficients: Array

    def predict(self, Z: Array) -> Array:
        monotone = np.interp(Z[:, 0], self.levels, self.steps)
        return np.asarray(monotone + (Z[:, 1:] - self.centre) @ self.coefficients, dtype=np.float64)
