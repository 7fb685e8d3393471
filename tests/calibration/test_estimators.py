"""The regressors one by one, on standardised features."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge
from sklearn.svm import SVR

from flatselect.calibration.ensemble import EnsembleEstimator
from flatselect.calibration.estimators import CANDIDATE_NAMES
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.gradient_boosting import BoostingEstimator
from flatselect.calibration.intervals import make_folds
from flatselect.calibration.isotonic import IsotonicEstimator
from flatselect.calibration.ridge import RidgeEstimator
from flatselect.config import CalibrationSection

MONOTONE = {"isotonic": IsotonicEstimator(0.1), "gradient_boosting": BoostingEstimator(20, is_monotone=True)}


def make_rows(seed, n_rows=60):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_rows, 4))
    return (
        Z,
        0.1 * np.tanh(3 * Z[:, 0]) + 0.05 * Z[:, 1] + 0.02 * rng.normal(size=n_rows),
        rng.uniform(0.5, 1.5, n_rows),
    )


def test_one_column_alone_is_scikit_learns_isotonic_regression():
    Z, y, weights = make_rows(0)
    Z = np.round(Z[:, :1], 1)  # ties
    expected = IsotonicRegression(out_of_bounds="clip").fit(Z[:, 0], y, sample_weight=weights)
    new = np.linspace(-4, 4, 50)[:, None]
    fitted = IsotonicEstimator(0.1).fit(Z, y, weights)
    np.testing.assert_allclose(fitted.predict(new), expected.predict(new[:, 0]), atol=1e-12)


def test_isotonic_part_and_linear_part_each_fit_what_the_other_leaves():
    """A minimum in each block of a convex problem is the minimum."""
    Z, y, weights = make_rows(1)
    Z[:, 1] += 0.7 * Z[:, 0]  # correlated, as the features of a calibration are
    fitted = IsotonicEstimator(0.1).fit(Z, y, weights)
    ridge = Ridge(alpha=0.1 * weights.sum(), fit_intercept=True)
    monotone = fitted.predict(np.column_stack([Z[:, 0], np.zeros_like(Z[:, 1:])]))
    linear = fitted.predict(Z) - monotone
    of_rest = ridge.fit(Z[:, 1:], y - monotone, sample_weight=weights)
    np.testing.assert_allclose(of_rest.predict(Z[:, 1:]) - of_rest.intercept_, linear, atol=1e-5)
    of_flatness = IsotonicRegression().fit(Z[:, 0], y - linear, sample_weight=weights)
    np.testing.assert_allclose(of_flatness.predict(Z[:, 0]), monotone, atol=1e-5)


@pytest.mark.parametrize("name", MONOTONE)
def test_prediction_never_falls_as_flatness_grows(name):
    Z, y, weights = make_rows(2)
    fitted = MONOTONE[name].fit(Z, y + 0.1 * np.cos(9 * Z[:, 0]), weights)
    new = np.repeat(make_rows(3, n_rows=20)[0], 30, axis=0)
    new[:, 0] = np.tile(np.linspace(-5, 5, 30), 20)
    rises = np.diff(fitted.predict(new).reshape(20, 30), axis=1)
    assert rises.min() >= -1e-12
    assert rises.max() > 0.01


@pytest.mark.parametrize("name", MONOTONE)
def test_rows_against_theory_leave_flatness_without_a_part(name):
    Z, _, weights = make_rows(4)
    fitted = MONOTONE[name].fit(Z, -0.1 * Z[:, 0], weights)
    new = np.zeros((9, 4))
    new[:, 0] = np.linspace(-3, 3, 9)
    assert np.ptp(fitted.predict(new)) < 0.02


@pytest.mark.parametrize("name", CANDIDATE_NAMES)
def test_a_row_of_more_weight_counts_for_more(name):
    Z, y, _ = make_rows(5, n_rows=40)
    groups = np.arange(40)
    groups[1:4] = 40  # of one group: a third of a group each
    one, other = (GapCalibrator(estimator=name).fit(Z, y + 0.5 * (groups == g), groups) for g in (0, 40))
    base = GapCalibrator(estimator=name).fit(Z, y, groups)
    np.testing.assert_allclose(
        one.predict(Z).mean() - base.predict(Z).mean(), other.predict(Z).mean() - base.predict(Z).mean(), atol=0.012
    )


def test_without_the_flatness_column_isotonic_is_ridge():
    Z, y, _ = make_rows(6)
    Z[:, 0] = np.nan
    isotonic, ridge = (GapCalibrator(estimator=name).fit(Z, y) for name in ("isotonic", "ridge"))
    np.testing.assert_array_equal(isotonic.predict(Z), ridge.predict(Z))


@pytest.mark.parametrize("name", ["isotonic", "gradient_boosting"])
def test_a_gap_that_bends_is_learned_better_than_by_ridge(name):
    errors = []
    for seed in range(5):
        Z, y, _ = make_rows(seed, n_rows=120)
        new_Z, new_y, _ = make_rows(100 + seed, n_rows=200)
        errors.append(
            [np.abs(GapCalibrator(estimator=e).fit(Z, y).predict(new_Z) - new_y).mean() for e in (name, "ridge")]
        )
    own, ridges = np.mean(errors, axis=0)
    assert own < 0.9 * ridges


@pytest.mark.parametrize("name", CANDIDATE_NAMES)
def test_a_study_file_may_name_it(name):
    assert CalibrationSection(estimator=name).estimator == name


def test_the_ensemble_is_the_mean_of_its_three_regressors():
    Z, y, weights = make_rows(4)
    folds = make_folds(np.arange(len(y)), 5)
    ensemble = EnsembleEstimator.choose(Z, y, weights, folds)
    new = make_rows(5)[0]
    ridge = RidgeEstimator.choose(Z, y, weights, folds).fit(Z, y, weights)
    vectors = SVR(kernel="rbf", C=1.0, gamma=0.003, epsilon=0.01).fit(Z, y, weights)
    trees = ExtraTreesRegressor(n_estimators=200, min_samples_leaf=2, max_features=0.5, random_state=0)
    expected = sum(fitted.predict(new) for fitted in (ridge, vectors, trees.fit(Z, y, weights))) / 3
    np.testing.assert_allclose(ensemble.fit(Z, y, weights).predict(new), expected, rtol=1e-12)


def test_the_ensemble_bends_where_a_line_does_not():
    """Gaps that open only as the training score nears 1: the line is wrong on both sides."""
    rng = np.random.default_rng(6)
    Z = rng.normal(size=(300, 4))
    y = 0.1 * np.maximum(Z[:, 0], 0) + 0.01 * rng.normal(size=300)
    weights, folds = np.ones(300), make_folds(np.arange(300), 5)
    new = rng.normal(size=(300, 4))
    error = {}
    for estimator in (RidgeEstimator, EnsembleEstimator):
        fitted = estimator.choose(Z, y, weights, folds).fit(Z, y, weights)
        error[estimator] = np.abs(fitted.predict(new) - 0.1 * np.maximum(new[:, 0], 0)).mean()
    assert error[EnsembleEstimator] < 0.8 * error[RidgeEstimator], "a third of it is that line"
