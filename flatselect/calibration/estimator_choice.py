"""Which regressor a calibration uses: the one asked for, or the one that predicts held-out groups best."""

from typing import Any, NamedTuple

import numpy as np

from flatselect.calibration.ensemble import EnsembleEstimator
from flatselect.calibration.estimators import (
    CANDIDATE_NAMES,
    Array,
    Estimator,
    Folds,
    MeanEstimator,
    RegressorName,
)
from flatselect.calibration.gaussian_process import ProcessEstimator
from flatselect.calibration.gradient_boosting import BoostingEstimator
from flatselect.calibration.intervals import make_folds
from flatselect.calibration.isotonic import IsotonicEstimator
from flatselect.calibration.ridge import RidgeEstimator

# With fewer, the differences of four estimators are luck, and the intervals would be those of the luckiest.
FEWEST_GROUPS_TO_CHOOSE = 24

# Every fold chooses all hyper-parameters anew: five keep that to seconds.
_N_CHOICE_FOLDS = 5

# Differences of accuracies that differ by less differ by rounding.
CONSTANT_GAP = 1e-12


class EstimatorChoice(NamedTuple):
    """What "auto" came to.

    Attributes:
        name: The regressor.
        scores: Held-out mean absolute error of each that was tried; empty where there was nothing to choose.
        reason: Why this one, in words.
    """

    name: RegressorName
    scores: dict[str, float]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return self._asdict()


def tune_estimator(
    name: RegressorName, Z: Array, y: Array, weights: Array, folds: Folds, *, has_flatness: bool
) -> Estimator:
    """Chooses the hyper-parameters of the named regressor on these rows.

    No features, or a constant target, leave nothing to choose: the weighted mean predicts. Without flatness there is
    nothing to be monotone in, and the isotonic regressor is ridge.

    Args:
        name: The regressor.
        Z, y, weights: The rows, as in `estimators`.
        folds: The fold of each row, (n_rows,), as in `make_folds`.
        has_flatness: Whether column 0 of Z is log flatness.
    """
    if Z.shape[1] == 0 or np.ptp(y) <= CONSTANT_GAP:
        return MeanEstimator()
    if name == "ensemble":
        return EnsembleEstimator.choose(Z, y, weights, folds)
    if name == "gaussian_process":
        return ProcessEstimator.choose(Z, y, weights)
    if name == "gradient_boosting":
        return BoostingEstimator.choose(Z, y, weights, folds, is_monotone=has_flatness)
    if name == "isotonic" and has_flatness:
        return IsotonicEstimator.choose(Z, y, weights, folds)
    return RidgeEstimator.choose(Z, y, weights, folds)


def choose_estimator_name(Z: Array, y: Array, weights: Array, groups: Folds, *, has_flatness: bool) -> EstimatorChoice:
    """Takes the simplest regressor whose held-out mean absolute error is within one standard error of the least.

    The standard error is that of the groups' differences from the best. All hyper-parameters are chosen without the
    fold that is predicted, so that the flexible ones have no advantage.

    Args:
        Z, y, weights: The rows, as in `estimators`.
        groups: The group of each row, (n_rows,), numbered from 0.
        has_flatness: Whether column 0 of Z is log flatness.
    """
    n_groups = int(groups.max()) + 1
    if n_groups < FEWEST_GROUPS_TO_CHOOSE:
        reason = f"{n_groups} groups are too few to choose by (fewer than {FEWEST_GROUPS_TO_CHOOSE})"
        return EstimatorChoice("ridge", {}, reason)
    if Z.shape[1] == 0 or np.ptp(y) <= CONSTANT_GAP:
        return EstimatorChoice("ridge", {}, "nothing varies: the mean predicts")
    names = [name for name in CANDIDATE_NAMES if has_flatness or name != "isotonic"]
    folds = make_folds(groups, _N_CHOICE_FOLDS)
    held_out = [predict_without_fold(name, Z, y, weights, groups, folds, has_flatness=has_flatness) for name in names]
    errors = np.stack([average_by_group(np.abs(y - predicted), groups) for predicted in held_out])
    means = errors.mean(axis=1)
    best = int(means.argmin())
    excess = errors - errors[best]
    is_as_good = excess.mean(axis=1) <= excess.std(axis=1, ddof=1) / np.sqrt(n_groups)
    chosen = int(is_as_good.argmax())
    reason = "the least error" if chosen == best else f"the simplest within one standard error of {names[best]}"
    return EstimatorChoice(names[chosen], dict(zip(names, means.tolist(), strict=True)), reason)


def predict_without_fold(
    name: RegressorName, Z: Array, y: Array, weights: Array, groups: Folds, folds: Folds, *, has_flatness: bool
) -> Array:
    """The prediction of each row, (n_rows,), by the named regressor tuned and fitted without the row's fold.

    Args:
        name: The regressor.
        Z, y, weights, groups: The rows, as in `choose_estimator_name`.
        folds: The fold of each row, (n_rows,), at least two of them and whole groups in each.
        has_flatness: Whether column 0 of Z is log flatness.
    """
    predicted = np.empty(len(y))
    n_folds = int(folds.max()) + 1
    for fold in range(n_folds):
        held = folds == fold
        rest = (Z[~held], y[~held], weights[~held])
        groups_left = groups[~held]
        if (groups_left == groups_left[0]).all():
            groups_left = np.arange(len(groups_left))  # as in a calibration of one group only
        tuned = tune_estimator(name, *rest, make_folds(groups_left, n_folds), has_flatness=has_flatness)
        predicted[held] = tuned.fit(*rest).predict(Z[held])
    return predicted


def average_by_group(values: Array, groups: Folds) -> Array:
    """The mean of each group's values, (n_groups,); groups are numbered from 0."""
    return np.asarray(np.bincount(groups, values) / np.bincount(groups))
