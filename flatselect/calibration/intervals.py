"""CV+ prediction intervals over groups: a regressor on all rows, one without each fold, and the held-out residuals.

Residuals are in units of `Leverage`: an interval is wider where there are few rows, which leaves its coverage as it is.

Source: Barber, Candès, Ramdas, Tibshirani, "Predictive inference with the jackknife+" (2021), section 3; rows weighted
by group as in Lee, Barber, Willett, "Distribution-free inference with hierarchical data" (2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flatselect.calibration.distance import SquaredDistance
from flatselect.calibration.estimators import Array, Estimator, Fitted

Indices = npt.NDArray[np.intp]

# Between 0.1 and 1 it makes little difference to which networks are covered; without, fewer of those ranked first are.
LEVERAGE_PENALTY = 0.3

# Between the errors of one trial at its epochs: 0.46 and 0.57 on 60 and 48 small CNNs (digits, Fashion-MNIST).
ROW_CORRELATION = 0.5


def make_folds(groups: Indices, n_folds: int) -> Indices:
    """The fold of each row, from 0: whole groups together, dealt in turn to at most `n_folds` folds."""
    _, codes = np.unique(groups, return_inverse=True)
    return np.asarray(codes % n_folds, dtype=np.intp)


def make_cluster_folds(groups: Indices, clusters: Sequence[str | None], n_folds: int) -> Indices:
    """The fold of each row, from 0: one for each cluster, and then `make_folds` of the rows of none.

    A single cluster is as good as none: with it held out, nothing would be left.
    """
    names = sorted({name for name in clusters if name is not None})
    is_free = np.array([name is None for name in clusters])
    if not names or (len(names) == 1 and not is_free.any()):
        return make_folds(groups, n_folds)
    folds = np.array([names.index(name) if name is not None else 0 for name in clusters], dtype=np.intp)
    if is_free.any():
        folds[is_free] = len(names) + make_folds(groups[is_free], n_folds)
    return folds


def make_group_weights(groups: Indices) -> Array:
    """Weights of the rows that make every group count the same; they sum to n_rows."""
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / (len(counts) * counts[codes]), dtype=np.float64)


def count_independent_rows(groups: Indices) -> float:
    """How many independent rows the rows are worth: Σ over groups of m / (1 + (m − 1) · 0.5), m its rows.

    Kish's design effect with a correlation of 0.5 between the errors of one group's rows; it lies between the number of
    groups, which it is for groups of one row, and twice that.
    """
    _, counts = np.unique(groups, return_counts=True)
    return float((counts / (1 + (counts - 1) * ROW_CORRELATION)).sum())


@dataclass(frozen=True)
class Leverage:
    """How much less a linear fit knows at z than amid its rows: √(1 + (z − z̄)ᵀ(C + 0.3·I)⁻¹(z − z̄) / n_groups).

    Attributes:
        distance: (z − z̄)ᵀ(C + 0.3·I)⁻¹(z − z̄) from the rows.
        n_groups: Groups among the rows.
    """

    distance: SquaredDistance
    n_groups: int

    @classmethod
    def of_rows(cls, Z: Array, weights: Array, n_groups: int) -> "Leverage":
        return cls(SquaredDistance.of_rows(Z, weights, LEVERAGE_PENALTY), n_groups)

    def at(self, Z: Array) -> Array:
        """(n,) of standardised features (n, n_features); at least 1."""
        return np.asarray(np.sqrt(1 + self.distance.at(Z) / self.n_groups))


@dataclass(frozen=True)
class CrossValidated:
    """A regressor fitted on all rows, and one without each fold.

    Attributes:
        fitted: The regressor on all rows.
        without_fold: The regressor without each fold.
        leverages: Of the rows without each fold.
        folds: The fold of each row, (n_rows,).
        weights: Of the rows, (n_rows,), summing to n_rows.
        held_out: The prediction of each row by the regressor without its fold, (n_rows,).
        residuals: |y − held_out| / leverage of the row by the rows without its fold, (n_rows,).
    """

    fitted: Fitted
    without_fold: tuple[Fitted, ...]
    leverages: tuple[Leverage, ...]
    folds: Indices
    weights: Array
    held_out: Array
    residuals: Array

    def predict_interval(self, Z: Array, coverage: float, n_independent: float) -> tuple[Array, Array]:
        """Lower and upper ends, each (n,): weighted quantiles over the rows of prediction ∓ residual · leverage.

        The quantile's level is coverage · (n_independent + 1) / n_independent, at most 1. The interval is widened
        where it does not hold the prediction itself.
        """
        level = min(1.0, coverage * (n_independent + 1) / n_independent)
        of_folds = np.stack([fitted.predict(Z) for fitted in self.without_fold])  # (n_folds, n)
        centres = of_folds[self.folds]  # (n_rows, n)
        leverages = np.stack([leverage.at(Z) for leverage in self.leverages])[self.folds]
        distances = self.residuals[:, None] * leverages
        upper = _find_weighted_quantile(centres + distances, self.weights, level)
        lower = -_find_weighted_quantile(-(centres - distances), self.weights, level)
        middle = self.fitted.predict(Z)
        return np.minimum(lower, middle), np.maximum(upper, middle)


def cross_validate(
    estimator: Estimator, Z: Array, y: Array, weights: Array, folds: Indices, groups: Indices
) -> CrossValidated:
    """Fits `estimator` to all rows and without each of the folds 0, 1, ...; there must be at least two."""
    held_out, leverage_of_row = np.empty(len(y)), np.empty(len(y))
    without_fold, leverages = [], []
    for fold in range(folds.max() + 1):
        held = folds == fold
        fitted = estimator.fit(Z[~held], y[~held], weights[~held])
        held_out[held] = fitted.predict(Z[held])
        without_fold.append(fitted)
        leverage = Leverage.of_rows(Z[~held], weights[~held], len(np.unique(groups[~held])))
        leverage_of_row[held] = leverage.at(Z[held])
        leverages.append(leverage)
    return CrossValidated(
        fitted=estimator.fit(Z, y, weights),
        without_fold=tuple(without_fold),
        leverages=tuple(leverages),
        folds=folds,
        weights=weights,
        held_out=held_out,
        residuals=np.abs(y - held_out) / leverage_of_row,
    )


def _find_weighted_quantile(values: Array, weights: Array, level: float) -> Array:
    """The smallest value of each column of `values` (n_rows, n) at which the weights up to it reach `level` of all."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0)
    # The last partial sum is the whole but for rounding.
    index = np.argmax(reached >= level * weights.sum() * (1 - 1e-12), axis=0)
    chosen = np.take_along_axis(order, index[None], axis=0)
    return np.asarray(np.take_along_axis(values, chosen, axis=0)[0], dtype=np.float64)
