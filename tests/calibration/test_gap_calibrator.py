import math

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

from flatselect.calibration.estimators import ESTIMATOR_NAMES
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.intervals import count_independent_rows, make_folds, make_group_weights
from flatselect.calibration.ridge import RIDGE_PENALTIES

ESTIMATORS = ESTIMATOR_NAMES


def make_rows(seed, n_groups=8, n_rows=6, n_features=4, noise=0.01, of_group=0.01):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), n_rows)
    X = rng.normal(size=(n_groups, 1, n_features)) + 0.3 * rng.normal(size=(n_groups, n_rows, n_features))
    X = X.reshape(-1, n_features)
    y = 0.1 + X @ [0.03, -0.02, 0.01, 0.0][:n_features]
    return X, y + of_group * rng.normal(size=n_groups)[groups] + noise * rng.normal(size=len(y)), groups


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "gradient_boosting"])
def test_learns_a_linear_gap_of_new_groups(estimator):
    """Trees, which draw a line in steps, need more groups: see test_estimators.py."""
    X, y, groups = make_rows(0, n_groups=12)
    calibrator = GapCalibrator(estimator=estimator).fit(X, y, groups)
    new_X, new_y, _ = make_rows(1, n_groups=50, noise=0, of_group=0)
    error = np.abs(calibrator.predict(new_X) - new_y).mean()
    assert error < 0.01
    assert np.abs(new_y - y.mean()).mean() > 0.02


def test_ridge_is_scikit_learns_on_standardised_real_data():
    X, y = load_diabetes(return_X_y=True)
    y = y / 500
    groups = np.arange(len(y)) % 9
    weights = make_group_weights(groups)
    calibrator = GapCalibrator().fit(X, y, groups)
    mean = np.average(X, axis=0, weights=weights)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    penalty = calibrator.estimator_.describe()["penalty"]
    ridge = Ridge(alpha=penalty * weights.sum()).fit((X - mean) / scale, y, sample_weight=weights)
    np.testing.assert_allclose(calibrator.predict(X), ridge.predict((X - mean) / scale), atol=1e-10)
    assert np.corrcoef(calibrator.predict(X), y)[0, 1] > 0.6


def test_interval_is_cv_plus_computed_the_long_way():
    X, y, groups = make_rows(2, n_groups=20, n_rows=3)
    calibrator = GapCalibrator(coverage=0.8).fit(X, y, groups)
    penalty = calibrator.estimator_.describe()["penalty"]
    new = make_rows(3, n_groups=5)[0]
    mean, scale = X.mean(axis=0), X.std(axis=0)
    Z, new_Z = (X - mean) / scale, (new - mean) / scale
    low, high = [], []
    for fold in range(10):
        held = groups % 10 == fold
        ridge = Ridge(alpha=penalty * (~held).sum()).fit(Z[~held], y[~held])
        spread = np.cov(Z[~held], rowvar=False, bias=True) + 0.3 * np.eye(Z.shape[1])

        def unsure(rows, rest=Z[~held], spread=spread):
            away = rows - rest.mean(axis=0)
            return np.array([np.sqrt(1 + one @ np.linalg.solve(spread, one) / 18) for one in away])

        for residual in np.abs(y[held] - ridge.predict(Z[held])) / unsure(Z[held]):
            low.append(ridge.predict(new_Z) - residual * unsure(new_Z))
            high.append(ridge.predict(new_Z) + residual * unsure(new_Z))
    n_independent = 20 * 3 / (1 + 2 * 0.5)
    rank = math.ceil(0.8 * (n_independent + 1) / n_independent * len(y) - 1e-9)
    expected = np.stack([-np.sort(-np.array(low), axis=0)[rank - 1], np.sort(high, axis=0)[rank - 1]], axis=1)
    np.testing.assert_allclose(calibrator.predict_interval(new), expected, atol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_prediction_lies_in_its_interval_and_both_in_bounds(estimator):
    X, y, groups = make_rows(4, n_groups=6)
    calibrator = GapCalibrator(estimator=estimator).fit(X, y, groups)
    for far in (1, 30, 1e4):
        new = far * make_rows(5)[0]
        predicted, interval = calibrator.predict(new), calibrator.predict_interval(new)
        assert (interval[:, 0] <= predicted).all()
        assert (predicted <= interval[:, 1]).all()
        assert (np.abs(interval) <= 1).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("tolerance", [0.0, 0.5, 2.0])
def test_predictions_stay_near_the_fitted_gaps(estimator, tolerance):
    X, y, groups = make_rows(4, n_groups=6)
    new = np.concatenate([1e4 * make_rows(5)[0], -1e4 * make_rows(5)[0]])
    calibrator = GapCalibrator(estimator=estimator, range_tolerance=tolerance).fit(X, y, groups)
    beyond = tolerance * (y.max() - y.min())
    predicted = calibrator.predict(new)
    assert predicted.min() >= max(-1, y.min() - beyond) - 1e-15
    assert predicted.max() <= min(1, y.max() + beyond) + 1e-15
    if estimator == "ridge":  # which is a line: it would go on for ever
        assert predicted.max() == pytest.approx(min(1, y.max() + beyond))


def test_gaps_that_are_all_alike_are_predicted_for_all():
    X, y, groups = make_rows(4, n_groups=6)
    calibrator = GapCalibrator().fit(X, np.full_like(y, 0.1), groups)
    np.testing.assert_allclose(calibrator.predict(1e4 * X), 0.1, atol=1e-12)


def test_a_weak_trial_is_not_lifted_to_the_top_by_a_line_through_few_trials():
    """Four trials of an epoch, whose gaps fell with their training score, once gave one of 0.45 a gap of -1."""
    score = np.array([0.80, 0.84, 0.88, 0.92])
    gap = np.array([-0.02, 0.01, 0.03, 0.06])
    predicted = GapCalibrator().fit(score[:, None], gap).predict([[0.45]])
    assert predicted == pytest.approx([-0.02 - 0.5 * 0.08])


@pytest.mark.parametrize(("n_groups", "n_rows"), [(10, 1), (8, 10), (20, 6)])
def test_intervals_cover_about_the_stated_share_of_new_groups(n_groups, n_rows):
    covered, widths = [], []
    for seed in range(200):
        X, y, groups = make_rows(seed, n_groups, n_rows, noise=0.01, of_group=0.02)
        calibrator = GapCalibrator(coverage=0.8).fit(X, y, groups)
        new_X, new_y, _ = make_rows(1000 + seed, 20, 2, noise=0.01, of_group=0.02)
        interval = calibrator.predict_interval(new_X)
        covered.append(((interval[:, 0] <= new_y) & (new_y <= interval[:, 1])).mean())
        widths.append((interval[:, 1] - interval[:, 0]).mean())
    # Noise of sd sqrt(0.01² + 0.02²) needs ± 0.029 for 80 %, if all else were known.
    assert 0.75 < np.mean(covered) < 0.92
    assert 0.04 < np.mean(widths) < 0.13


def test_higher_coverage_means_wider_intervals():
    X, y, groups = make_rows(6, n_groups=20)
    width = [np.ptp(GapCalibrator(coverage=c).fit(X, y, groups).predict_interval(X), axis=1) for c in (0.5, 0.8, 0.95)]
    assert (width[0] < width[1]).all()
    assert (width[1] < width[2]).all()


def test_a_group_counts_the_same_however_many_rows_it_has():
    X, y, groups = make_rows(7)
    copies = np.where(groups == 0, 5, 1)
    once = GapCalibrator().fit(X, y, groups)
    often = GapCalibrator().fit(np.repeat(X, copies, axis=0), np.repeat(y, copies), np.repeat(groups, copies))
    np.testing.assert_allclose(often.predict(X), once.predict(X), atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_fits_are_bit_identical(estimator):
    X, y, groups = make_rows(8)
    first, second = (GapCalibrator(estimator=estimator).fit(X, y, groups).predict_all(X) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_of_groups_do_not_matter():
    X, y, groups = make_rows(9)
    named = np.array([f"trial {number}" for number in groups])
    np.testing.assert_array_equal(
        GapCalibrator().fit(X, y, named).predict(X), GapCalibrator().fit(X, y, groups).predict(X)
    )


def test_intervals_are_wider_away_from_the_rows():
    X, y, groups = make_rows(14)
    calibrator = GapCalibrator().fit(X, y, groups)
    away = X.mean(axis=0) + np.array([[0.0], [2.0], [4.0]]) * X.std(axis=0)
    assert (np.diff(np.ptp(calibrator.predict_interval(away), axis=1)) > 0).all()


def test_features_that_say_nothing_are_shrunk_most():
    """With the least cross-validated error instead, noise would be followed here."""
    chosen = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = rng.normal(0.1, 0.05, size=8)
        chosen.append(GapCalibrator().fit(rng.normal(size=(8, 6)), y).estimator_.describe()["penalty"])
    assert np.mean(np.array(chosen) == RIDGE_PENALTIES.max()) > 0.6


def test_constant_and_empty_columns_are_dropped_and_never_an_extrapolation():
    X, y, groups = make_rows(10)
    n = len(X)
    wide = np.column_stack([np.full(n, 2.9), X, np.full(n, np.nan), np.full(n, 0.1)])
    calibrator = GapCalibrator().fit(wide, y, groups)
    assert calibrator.used_features_.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(calibrator.predict(wide), GapCalibrator().fit(X, y, groups).predict(X), atol=1e-12)
    changed = wide.copy()
    changed[:, 0], changed[:, 5], changed[:, 6] = 3.0, 7.0, np.nan
    assert not calibrator.is_extrapolation(changed).any()


def test_extrapolation():
    X, y, groups = make_rows(11)
    calibrator = GapCalibrator(range_tolerance=0.1).fit(X, y, groups)
    assert not calibrator.is_extrapolation(X).any()
    centre = X.mean(axis=0)
    low, high = X[:, 0].min(), X[:, 0].max()
    inside, outside = centre.copy(), centre.copy()
    inside[0], outside[0] = high, high + 0.11 * (high - low)
    lacking = centre.copy()
    lacking[2] = np.nan
    assert calibrator.is_extrapolation([inside, outside, lacking]).tolist() == [False, True, True]


def test_what_fitted_rows_lacked_too_is_no_extrapolation():
    X, y, groups = make_rows(12)
    X[::5, 2] = np.nan
    calibrator = GapCalibrator().fit(X, y, groups)
    row = np.nanmean(X, axis=0)
    filled = calibrator.predict([row])
    row[2] = np.nan
    assert not calibrator.is_extrapolation([row])[0]
    assert calibrator.predict([row]) == pytest.approx(filled, abs=1e-3)


def test_a_combination_never_seen_is_an_extrapolation_though_each_feature_is_in_range():
    rng = np.random.default_rng(13)
    line = rng.uniform(-1, 1, size=40)
    X = np.column_stack([line, line + 0.01 * rng.normal(size=40)])
    calibrator = GapCalibrator().fit(X, 0.1 * line)
    assert calibrator.is_extrapolation([[0.8, 0.8], [0.8, -0.8]]).tolist() == [False, True]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_gap_is_predicted_with_no_width(estimator):
    X, _, groups = make_rows(14)
    calibrator = GapCalibrator(estimator=estimator).fit(X, np.full(len(X), 0.07), groups)
    np.testing.assert_allclose(calibrator.predict(X), 0.07)
    np.testing.assert_allclose(calibrator.predict_interval(X), 0.07)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_features_predict_the_mean_of_groups(estimator):
    y = np.array([0.1, 0.1, 0.1, 0.4])
    calibrator = GapCalibrator(estimator=estimator).fit(np.ones((4, 3)), y, ["a", "a", "a", "b"])
    np.testing.assert_allclose(calibrator.predict(np.zeros((2, 3))), 0.25)
    assert not calibrator.is_extrapolation(np.zeros((2, 3))).any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n_rows", [2, 3])
def test_hardly_any_rows_still_predict_something_finite(estimator, n_rows):
    X, y, _ = make_rows(15)
    calibrator = GapCalibrator(estimator=estimator).fit(X[:n_rows], y[:n_rows])
    assert np.isfinite(calibrator.predict_interval(X)).all()


def test_one_group_is_left_out_row_by_row():
    X, y, _ = make_rows(16)
    one = GapCalibrator().fit(X, y, np.zeros(len(X)))
    none = GapCalibrator().fit(X, y)
    np.testing.assert_array_equal(one.predict_interval(X), none.predict_interval(X))
    assert one.n_groups_ == len(X)


@pytest.mark.parametrize(
    ("X", "y", "groups", "message"),
    [
        ([[1.0, 2.0]], [0.1], None, "1 sample"),
        (np.empty((0, 2)), [], None, "0 sample"),
        ([[1.0], [np.inf]], [0.1, 0.2], None, "infinity"),
        ([[1.0], [2.0]], [0.1, np.nan], None, "NaN"),
        ([[1.0], [2.0]], [0.1, 0.2], ["a"], "inconsistent numbers of samples"),
    ],
)
def test_refuses_what_no_calibration_follows_from(X, y, groups, message):
    with pytest.raises(ValueError, match=message):
        GapCalibrator().fit(X, y, groups)


@pytest.mark.parametrize(
    "options", [{"estimator": "forest"}, {"coverage": 1.0}, {"coverage": 0}, {"n_folds": 1}, {"range_tolerance": -1}]
)
def test_refuses_unknown_options(options):
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter"):
        GapCalibrator(**options).fit([[1.0], [2.0]], [0.1, 0.2])


def test_folds_keep_groups_together_and_weights_make_them_equal():
    groups = np.repeat(np.arange(13), np.arange(1, 14))
    folds, weights = make_folds(groups, 10), make_group_weights(groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(13))
    assert sorted(set(folds)) == list(range(10))
    np.testing.assert_allclose([weights[groups == group].sum() for group in range(13)], len(groups) / 13)


def test_rows_of_a_group_are_worth_fewer_than_they_are():
    assert count_independent_rows(np.arange(7)) == 7
    assert 7 < count_independent_rows(np.repeat(np.arange(7), 10)) < 14


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("seed", range(10))
def test_garbage_gives_finite_numbers_in_order(estimator, seed):
    rng = np.random.default_rng(seed)
    n, p = rng.integers(2, 30), rng.integers(1, 8)
    X = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-300, 300, size=p)
    if seed % 2:
        X = rng.integers(0, 2, size=(n, p)).astype(float)
    X[rng.random((n, p)) < rng.choice([0, 0.3, 0.9])] = np.nan
    y = np.clip(rng.normal(size=n) * 10.0 ** rng.integers(-310, 0), -1, 1)
    calibrator = GapCalibrator(estimator=estimator).fit(X, y, rng.integers(0, 4, size=n))
    predicted, interval, _ = calibrator.predict_all(np.vstack([X, -1000 * X, np.full((1, p), np.nan)]))
    assert np.isfinite(interval).all()
    assert (interval[:, 0] <= predicted).all()
    assert (predicted <= interval[:, 1]).all()
