"""The regressor from features of a measurement to its test gap, with intervals and a warning of extrapolation."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from flatselect.calibration.estimator_choice import EstimatorChoice, choose_estimator_name, tune_estimator
from flatselect.calibration.estimators import ESTIMATOR_NAMES, Array, EstimatorName
from flatselect.calibration.intervals import (
    count_independent_rows,
    cross_validate,
    make_cluster_folds,
    make_folds,
    make_group_weights,
)
from flatselect.calibration.support import TrainingSupport

# A column that varies by less than this part of its largest value carries rounding, not information.
_CONSTANT = 1e-10


class GapCalibrator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regressor of test gaps on features of measurements: several rows (epochs) of several groups (trials).

    Column 0 is log flatness, in which some estimators are monotone. Constant columns, and columns of nothing but NaN,
    are dropped; the others are standardised and a missing value is their mean. Every group counts the same, however
    many rows it has. Predictions leave the range of the fitted gaps by at most `range_tolerance` of it: a line through
    few trials leads anywhere. Intervals are clipped to [-1, 1], where a difference of two accuracies lies (or to the
    range of `y`, where that is wider).

    **Intervals** are CV+ (Barber et al. 2021) with whole groups held out, at most `n_folds` folds, and wider away from
    the fitted rows (`Leverage`). With one row a group, exchangeable groups, and at least coverage / (1 − coverage) of
    them (9 for 0.9), a new row is covered with a probability of at least 2·coverage − 1 in theory and of about
    `coverage` in practice. With several rows a group that is an approximation: they count as `count_independent_rows`
    says; on curves of 6-20 small CNNs 0.90-0.95 of the rows of new ones were covered for 0.9. With `clusters` given to
    `fit`, whole clusters (data sets, say) are held out instead, for intervals that speak for one not seen: that is
    wider, and no guarantee where clusters are few (docs/prediction.md has what three are worth). *Not* guaranteed: with
    few groups (fewer than 5) the largest residual is used, whatever that covers; the coverage is over all rows, not at
    each epoch or for each kind of network; nothing is promised where `is_extrapolation` says so, or for trials chosen
    by what the calibration said of them. The regressor of "auto" and the hyper-parameters (penalty, kernel or number of
    trees) are chosen on all rows, not in each fold anew. The interval is for a *measured* gap: it holds the held-out
    part's sampling error, so it is wide for the gap on endless test images.

    Args:
        estimator: "ridge" (penalty by grouped cross-validation), "isotonic" (non-decreasing in column 0, ridge in the
            others), "gaussian_process" (linear + squared-exponential kernel with one length a feature, by marginal
            likelihood), "gradient_boosting" (small trees, non-decreasing in column 0), "auto": of these, the simplest
            within one standard error of the least held-out error, and ridge where there are fewer than 24 groups; or
            "ensemble" (the mean of ridge, support vectors and random trees, for hundreds of networks). All are
            deterministic.
        coverage: Wanted probability that an interval holds the measured gap, in (0, 1).
        n_folds: Largest number of folds, at least 2.
        range_tolerance: By what part of its fitted range a feature may leave it before that is an extrapolation, and
            a prediction may leave that of the gaps at all.

    Attributes:
        used_features_: Indices of the columns used, (n_used,).
        groups_: The number of each row's group, (n_rows,).
        n_groups_: Groups seen; rows where `groups` was not given, or is one group only.
        choice_: Which regressor is used, and why (`EstimatorChoice`).
        estimator_scores_: Held-out mean absolute error of each regressor that "auto" tried, by name; else empty.
        estimator_: The regressor with its chosen hyper-parameters.
        n_independent_: What the rows are worth as independent ones, for the intervals.
        cross_validated_: The regressors without each fold and their held-out residuals.
        bounds_: (lowest, highest) prediction.
        interval_bounds_: (lowest, highest) end of an interval.
        n_features_in_, feature_names_in_: As in scikit-learn.
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 - scikit-learn's own form
        "estimator": [StrOptions(set(ESTIMATOR_NAMES))],
        "coverage": [Interval(Real, 0, 1, closed="neither")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "range_tolerance": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        estimator: EstimatorName = "ridge",
        coverage: float = 0.9,
        n_folds: int = 10,
        range_tolerance: float = 0.5,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.n_folds = n_folds
        self.range_tolerance = range_tolerance

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        clusters: Sequence[str | None] | None = None,
    ) -> Self:
        """Fits to measured gaps.

        Args:
            X: Features of shape (n_rows, n_features); NaN is a missing value.
            y: Measured test gaps, (n_rows,).
            groups: The group (trial) of each row, (n_rows,). None, or one group only: each row by itself.
            clusters: What each row's group belongs to, (n_rows,), such as a data set; None for a group of none. Folds
                of the intervals are then whole clusters (and the groups of none, as without clusters), so that they
                hold for clusters not seen; the hyper-parameters are chosen as without.

        Raises:
            ValueError: Fewer than two rows, an infinite feature, a gap that is not finite, or unequal lengths.
        """
        features: Array
        features, targets = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2, y_numeric=True
        )
        gaps: Array = targets.astype(np.float64)
        self.groups_ = _encode_groups(groups, gaps)
        self.n_groups_ = len(np.unique(self.groups_))
        self.n_independent_ = count_independent_rows(self.groups_)
        weights = make_group_weights(self.groups_)
        folds = make_folds(self.groups_, self.n_folds)

        self.used_features_ = _find_varying_columns(features)
        used = features[:, self.used_features_]
        missing = np.isnan(used)
        self.means_, self.scales_ = _find_moments(used, missing, weights)
        Z = np.where(missing, 0.0, (used - self.means_) / self.scales_)
        has_flatness = 0 in self.used_features_
        if self.estimator == "auto":
            self.choice_ = choose_estimator_name(Z, gaps, weights, self.groups_, has_flatness=has_flatness)
        else:
            self.choice_ = EstimatorChoice(self.estimator, {}, "asked for")
        self.estimator_scores_ = self.choice_.scores
        self.estimator_ = tune_estimator(self.choice_.name, Z, gaps, weights, folds, has_flatness=has_flatness)
        if clusters is not None:
            check_consistent_length(clusters, gaps)
            folds = make_cluster_folds(self.groups_, clusters, self.n_folds)
        self.cross_validated_ = cross_validate(self.estimator_, Z, gaps, weights, folds, self.groups_)
        self.support_ = TrainingSupport.of_rows(Z, missing, weights, self.range_tolerance)
        self.interval_bounds_ = (min(-1.0, float(gaps.min())), max(1.0, float(gaps.max())))
        self.bounds_ = self.find_bounds(gaps)
        return self

    def find_bounds(self, gaps: Array) -> tuple[float, float]:
        """The (lowest, highest) prediction after a fit to some of the gaps, (n,)."""
        beyond = self.range_tolerance * float(np.ptp(gaps))
        lowest, highest = self.interval_bounds_
        return max(lowest, float(gaps.min()) - beyond), min(highest, float(gaps.max()) + beyond)

    def predict(self, X: npt.ArrayLike) -> Array:
        """Predicted test gaps, (n,), of features (n, n_features)."""
        return self.predict_all(X)[0]

    def predict_interval(self, X: npt.ArrayLike) -> Array:
        """Lower and upper ends of the gap's interval, (n, 2); lower ≤ predict(X) ≤ upper."""
        return self.predict_all(X)[1]

    def is_extrapolation(self, X: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each row (n,) lies outside what was fitted.

        That is: a used feature leaves its fitted range by more than `range_tolerance` of it; or the row is farther
        from the mean (Mahalanobis, each direction's variance + 0.01) than every fitted row, by the same tolerance; or
        it lacks a feature that no fitted row lacked. A column that was constant is not used and does not count.
        """
        return self.predict_all(X)[2]

    def predict_all(self, X: npt.ArrayLike) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """`predict`, `predict_interval` and `is_extrapolation` of the same rows, in one pass."""
        check_is_fitted(self)
        return self.predict_valid(validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False))

    def predict_valid(self, X: Array) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """`predict_all` of features that are known to be as it asks: for one row, the check takes longer than the rest.

        Args:
            X: float64 (n, n_features), finite or NaN.
        """
        Z = self.standardise(X)
        ends = self.cross_validated_.predict_interval(Z, self.coverage, self.n_independent_)
        gaps, intervals = self.clip(self.cross_validated_.fitted.predict(Z), np.stack(ends, axis=1))
        return gaps, intervals, self.support_.is_outside(Z, np.isnan(X[:, self.used_features_]))

    def clip(self, gaps: Array, intervals: Array) -> tuple[Array, Array]:
        """Gaps (n,) and their intervals (n, 2) within their bounds; each interval holds its clipped gap."""
        gaps = np.clip(gaps, *self.bounds_)
        held = np.stack([np.minimum(intervals[:, 0], gaps), np.maximum(intervals[:, 1], gaps)], axis=1)
        return gaps, np.clip(held, *self.interval_bounds_)

    def standardise(self, X: Array) -> Array:
        """The used columns of features (n, n_features), standardised, missing values 0: (n, n_used)."""
        used = X[:, self.used_features_]
        return np.where(np.isnan(used), 0.0, (used - self.means_) / self.scales_)


def _encode_groups(groups: npt.ArrayLike | None, y: Array) -> npt.NDArray[np.intp]:
    """The groups as numbers from 0, (n_rows,); each row its own where none, or only one, is given."""
    if groups is not None:
        groups = column_or_1d(groups)
        check_consistent_length(groups, y)
        codes = np.unique(groups, return_inverse=True)[1]
        if codes.max() > 0:
            return np.asarray(codes, dtype=np.intp)
    return np.arange(len(y))


def _find_varying_columns(X: Array) -> npt.NDArray[np.intp]:
    """Indices of the columns with two different values that are not NaN."""
    missing = np.isnan(X)
    high = np.where(missing, -np.inf, X).max(axis=0)
    low = np.where(missing, np.inf, X).min(axis=0)
    size = np.where(missing, 0.0, np.abs(X)).max(axis=0)
    return np.flatnonzero(high - low > _CONSTANT * size)


def _find_moments(used: Array, missing: npt.NDArray[np.bool_], weights: Array) -> tuple[Array, Array]:
    """Weighted mean and standard deviation of each column, (n_used,) each, missing values left out."""
    # In units of the largest value, so that no square overflows or vanishes.
    size = np.where(missing, 0.0, np.abs(used)).max(axis=0)
    values = np.where(missing, 0.0, used) / size
    shares = np.where(missing, 0.0, weights[:, None])
    shares = shares / shares.sum(axis=0)
    means = (shares * values).sum(axis=0)
    scales = np.sqrt((shares * np.where(missing, 0.0, values - means) ** 2).sum(axis=0))
    return means * size, scales * size
