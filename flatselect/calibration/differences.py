"""How the gaps of several networks on the same data differ: what all of them share is not in it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flatselect.calibration.estimators import Array, Fitted
from flatselect.calibration.intervals import Indices, make_folds
from flatselect.calibration.ridge import RidgeEstimator

# Of fewer, how networks differ is not learned.
LEAST_SETS = 10
_N_FOLDS = 10


@dataclass(frozen=True)
class GapDifferences:
    """A ridge regression of gaps on features, both less their mean over the networks of the same data.

    How hard a set of images is moves the gaps and the features of all its networks. A regression over many sets spends
    its coefficients on that; this one only on what tells networks of one set apart, which is what choosing needs. It is
    the "within" part of a regression between and within groups (Mundlak 1978).
    """

    fitted: Fitted

    @classmethod
    def fit(cls, Z: Array, gaps: Array, sets: Indices) -> Self | None:
        """Fits to networks of several sets of images; None if fewer than `LEAST_SETS` have two networks or more.

        Args:
            Z: Standardised features without NaN, (n, n_features).
            gaps: Measured, (n,).
            sets: The number of each network's set of images, (n,).
        """
        _, codes, counts = np.unique(sets, return_inverse=True, return_counts=True)
        is_used = counts[codes] > 1
        if np.count_nonzero(counts > 1) < LEAST_SETS:
            return None
        codes = np.asarray(codes[is_used], dtype=np.intp)
        features, targets = _centre(Z[is_used], codes), _centre(gaps[is_used, None], codes)[:, 0]
        weights = np.ones(len(targets))
        estimator = RidgeEstimator.choose(features, targets, weights, make_folds(codes, _N_FOLDS))
        return cls(estimator.fit(features, targets, weights))

    def predict(self, Z: Array) -> Array:
        """Each gap less the mean gap, (n,), of networks on the same data; their mean is 0."""
        differences = self.fitted.predict(Z - Z.mean(axis=0))
        return np.asarray(differences - differences.mean(), dtype=np.float64)

    def predict_around(self, Z: Array, gaps: Array, is_outside: npt.NDArray[np.bool_]) -> Array:
        """Each gap, (n,), of networks on the same data: their differences, around what is said of each by itself.

        What they share is the mean of gap − difference over the networks that are no extrapolations: one that is unlike
        all others, such as a diverged or a dead one among good ones, differs from them by anything, and would move all.
        Where all are extrapolations it is the median.

        Args:
            Z: As in `predict`.
            gaps: Predicted of each network by itself, (n,).
            is_outside: Whether each is an extrapolation, (n,).
        """
        differences = self.predict(Z)
        levels = gaps - differences
        shared = np.median(levels) if is_outside.all() else levels[~is_outside].mean()
        return np.asarray(shared + differences, dtype=np.float64)


def _centre(values: Array, codes: Indices) -> Array:
    """(n, k) less the mean of the rows of the same code."""
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    counts = np.bincount(codes, minlength=len(sums))
    return np.asarray(values - (sums / np.maximum(counts, 1)[:, None])[codes], dtype=np.float64)
