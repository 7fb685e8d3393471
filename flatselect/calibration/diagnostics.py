"""How well a calibration predicts rows it was not fitted on."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr

from flatselect.calibration.estimator_choice import average_by_group, predict_without_fold
from flatselect.calibration.estimators import Array
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.intervals import count_independent_rows, cross_validate

RELIABILITY_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Diagnostics:
    """Held-out quality of a calibration; None where it is not defined.

    Attributes:
        mae: Mean absolute error of the predicted gap, which is also that of the predicted test score (unclipped).
        r2: 1 − mean squared error / variance of the gap; None for a constant gap.
        spearman: Rank correlation of predicted with measured test score over all rows; None for constant ones.
        kendall: Kendall's τ_b of the same.
        coverage: Part of the held-out rows inside the interval of the calibration without them; None with fewer than
            three groups.
        interval_width: Mean width of those intervals.
        reliability: The coverage observed at each of `RELIABILITY_LEVELS`: objects of "nominal" and "observed".
    """

    mae: float
    r2: float | None
    spearman: float | None
    kendall: float | None
    coverage: float | None
    interval_width: float | None
    reliability: list[dict[str, float]] | None


def diagnose(calibrator: GapCalibrator, X: Array, gaps: Array, train_scores: Array, held_out: Array) -> Diagnostics:
    """Cross-validates a fitted calibrator on the rows it was fitted on, whole groups held out.

    The intervals are by the hyper-parameters chosen on all rows, as a new row's are. In every mean each group counts
    the same.

    Args:
        calibrator: Fitted on (X, gaps).
        X: Features, (n_rows, n_features).
        gaps: Measured test gaps, (n_rows,).
        train_scores: Training scores of the same rows, (n_rows,).
        held_out: The rows' `predict_held_out`, (n_rows,).
    """
    validated = calibrator.cross_validated_
    shares = validated.weights / validated.weights.sum()
    errors = gaps - held_out
    variance = float(shares @ (gaps - shares @ gaps) ** 2)
    intervals = find_held_out_intervals(calibrator, X, gaps, (calibrator.coverage, *RELIABILITY_LEVELS))
    coverage, width, reliability = None, None, None
    if intervals is not None:
        coverage, *observed = (float(shares @ _is_inside(gaps, of_level)) for of_level in intervals)
        width = float(shares @ (intervals[0, :, 1] - intervals[0, :, 0]))
        levels = zip(RELIABILITY_LEVELS, observed, strict=True)
        reliability = [{"nominal": nominal, "observed": value} for nominal, value in levels]
    is_ranked = np.ptp(train_scores - held_out) > 0 and np.ptp(train_scores - gaps) > 0
    scores = (train_scores - held_out, train_scores - gaps)
    return Diagnostics(
        mae=float(average_by_group(np.abs(errors), calibrator.groups_).mean()),
        r2=1 - float(shares @ errors**2) / variance if variance > 0 else None,
        spearman=float(spearmanr(*scores).statistic) if is_ranked else None,
        kendall=float(kendalltau(*scores).statistic) if is_ranked else None,
        coverage=coverage,
        interval_width=width,
        reliability=reliability,
    )


def predict_held_out(calibrator: GapCalibrator, X: Array, gaps: Array) -> Array:
    """The prediction of each fitted row, (n_rows,), by a regressor that no part of its fold had a say in."""
    validated = calibrator.cross_validated_
    held_out = predict_without_fold(
        calibrator.choice_.name,
        calibrator.standardise(X),
        gaps,
        validated.weights,
        calibrator.groups_,
        validated.folds,
        has_flatness=0 in calibrator.used_features_,
    )
    for fold in np.unique(validated.folds):
        held = validated.folds == fold
        # Nor in how far it may go.
        held_out[held] = np.clip(held_out[held], *calibrator.find_bounds(gaps[~held]))
    return held_out


def find_held_out_intervals(
    calibrator: GapCalibrator, X: Array, gaps: Array, coverages: tuple[float, ...]
) -> Array | None:
    """The intervals (n_coverages, n_rows, 2) of each row by the calibration without its fold.

    None with fewer than three folds: without one, nothing is left to hold out.
    """
    validated = calibrator.cross_validated_
    if validated.folds.max() < 2:
        return None
    Z = calibrator.standardise(X)
    intervals = np.empty((len(coverages), len(gaps), 2))
    for fold in range(validated.folds.max() + 1):
        held = validated.folds == fold
        _, folds = np.unique(validated.folds[~held], return_inverse=True)
        rest = cross_validate(
            calibrator.estimator_, Z[~held], gaps[~held], validated.weights[~held], folds, calibrator.groups_[~held]
        )
        n_independent = count_independent_rows(calibrator.groups_[~held])
        for index, coverage in enumerate(coverages):
            intervals[index, held] = np.stack(rest.predict_interval(Z[held], coverage, n_independent), axis=1)
    return np.clip(intervals, *calibrator.interval_bounds_)


def _is_inside(gaps: Array, intervals: Array) -> Array:
    return np.asarray((intervals[:, 0] <= gaps) & (gaps <= intervals[:, 1]), dtype=np.float64)
