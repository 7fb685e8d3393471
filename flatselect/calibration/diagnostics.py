"""How well a calibration predicts rows it was not fitted on."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from flatselect.calibration.estimators import Array
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.intervals import count_independent_rows, cross_validate


@dataclass(frozen=True)
class Diagnostics:
    """Held-out quality of a calibration; None where it is not defined.

    Attributes:
        mae: Mean absolute error of the predicted gap, which is also that of the predicted test score (unclipped).
        r2: 1 − mean squared error / variance of the gap; None for a constant gap.
        spearman: Rank correlation of predicted with measured test score over all rows; None for constant ones.
        coverage: Part of the held-out rows inside the interval of the calibration without them; None with fewer than
            three groups.
        interval_width: Mean width of those intervals.
    """

    mae: float
    r2: float | None
    spearman: float | None
    coverage: float | None
    interval_width: float | None


def diagnose(calibrator: GapCalibrator, X: Array, gaps: Array, train_scores: Array) -> Diagnostics:
    """Cross-validates a fitted calibrator on the rows it was fitted on, whole groups held out.

    The hyper-parameters stay as chosen on all rows. In every mean each group counts the same.

    Args:
        calibrator: Fitted on (X, gaps).
        X: Features, (n_rows, n_features).
        gaps: Measured test gaps, (n_rows,).
        train_scores: Training scores of the same rows, (n_rows,).
    """
    validated = calibrator.cross_validated_
    shares = validated.weights / validated.weights.sum()
    predicted = np.clip(validated.held_out, *calibrator.bounds_)
    errors = gaps - predicted
    variance = float(shares @ (gaps - shares @ gaps) ** 2)
    intervals = _find_held_out_intervals(calibrator, X, gaps)
    inside = None if intervals is None else (intervals[:, 0] <= gaps) & (gaps <= intervals[:, 1])
    return Diagnostics(
        mae=float(shares @ np.abs(errors)),
        r2=1 - float(shares @ errors**2) / variance if variance > 0 else None,
        spearman=_find_rank_correlation(train_scores - predicted, train_scores - gaps),
        coverage=None if inside is None else float(shares @ inside),
        interval_width=None if intervals is None else float(shares @ (intervals[:, 1] - intervals[:, 0])),
    )


def _find_held_out_intervals(calibrator: GapCalibrator, X: Array, gaps: Array) -> Array | None:
    """The interval (n_rows, 2) of each row by the calibration without its fold; None with fewer than three folds."""
    validated = calibrator.cross_validated_
    if validated.folds.max() < 2:
        return None
    Z = calibrator.standardise(X)
    intervals = np.empty((len(gaps), 2))
    for fold in range(validated.folds.max() + 1):
        held = validated.folds == fold
        _, folds = np.unique(validated.folds[~held], return_inverse=True)
        rest = cross_validate(
            calibrator.estimator_, Z[~held], gaps[~held], validated.weights[~held], folds, calibrator.groups_[~held]
        )
        n_independent = count_independent_rows(calibrator.groups_[~held])
        intervals[held] = np.stack(rest.predict_interval(Z[held], calibrator.coverage, n_independent), axis=1)
    return np.clip(intervals, *calibrator.bounds_)


def _find_rank_correlation(predicted: Array, measured: Array) -> float | None:
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None
    return float(spearmanr(predicted, measured).statistic)
