"""Differences between the gaps of networks on the same data."""

import dataclasses

import numpy as np
import pytest

from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.differences import LEAST_SETS, GapDifferences
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.calibration.shipped import load_shipped_calibrator
from flatselect.records import EpochMeasurement

SLOPE = 0.04


def draw_sets(n_sets: int, n_networks: int = 5, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaps that rise with a feature among the networks of a set, and fall with it from set to set."""
    draw = np.random.default_rng(0)
    sets = np.repeat(np.arange(n_sets), n_networks)
    hardness = draw.normal(size=n_sets)[sets]
    within = draw.normal(size=len(sets))
    Z = np.stack([3 * hardness + within, draw.normal(size=len(sets))], axis=1)
    return Z, 0.2 - 0.1 * hardness + SLOPE * within + noise * draw.normal(size=len(sets)), sets


def test_differences_within_sets_are_found_whatever_lies_between_sets() -> None:
    Z, gaps, sets = draw_sets(40)
    differences = GapDifferences.fit(Z, gaps, sets)
    assert differences is not None
    one = Z[sets == 7]
    expected = SLOPE * (one[:, 0] - one[:, 0].mean())
    assert differences.predict(one) == pytest.approx(expected, abs=1e-3)
    assert np.corrcoef(Z[:, 0], gaps)[0, 1] < 0, "over all sets it looks the other way round"


def test_it_is_the_regression_on_centred_columns() -> None:
    Z, gaps, sets = draw_sets(30, noise=0.01)
    differences = GapDifferences.fit(Z, gaps, sets)
    assert differences is not None
    centre = np.eye(len(sets)) - (sets[:, None] == sets) / 5
    slopes, *_ = np.linalg.lstsq(centre @ Z, centre @ gaps, rcond=None)
    new = np.random.default_rng(1).normal(size=(4, 2))
    # The ridge's penalty shrinks a little.
    assert differences.predict(new) == pytest.approx((new - new.mean(0)) @ slopes, abs=0.15 * SLOPE)


def test_their_mean_is_nothing_and_a_shift_of_all_changes_nothing() -> None:
    Z, gaps, sets = draw_sets(20, noise=0.02)
    differences = GapDifferences.fit(Z, gaps, sets)
    assert differences is not None
    assert differences.predict(Z[:9]).mean() == pytest.approx(0, abs=1e-12)
    assert differences.predict(Z[:9] + 100) == pytest.approx(differences.predict(Z[:9]))
    assert differences.predict(Z[:1]) == pytest.approx([0])


def test_one_network_unlike_all_others_does_not_move_them() -> None:
    predictor = GapPredictor.fit(make_rows((1, 1, 1)))
    measurements = [make_measurement(1, kappa) for kappa in (0.5, 1.0, 3.0)]
    dead = make_measurement(1, 0.0)  # its logarithm is -12
    of_good = predictor.predict_together(measurements)
    with_dead = predictor.predict_together([*measurements, dead])
    assert [prediction.extrapolation for prediction in with_dead] == [False, False, False, True]
    for alone, beside in zip(of_good, with_dead, strict=False):
        assert dataclasses.astuple(beside)[0] == pytest.approx(dataclasses.astuple(alone)[0])
        assert beside.predicted_test_score_interval == pytest.approx(alone.predicted_test_score_interval)


def test_where_all_are_extrapolations_one_of_several_does_not_move_the_others_far() -> None:
    predictor = GapPredictor.fit(make_rows((1, 1, 1)))
    measurements = [make_measurement(1, 10.0**exponent) for exponent in (7.0, 7.02, 7.04, 7.06)]
    alone = predictor.predict_together(measurements)
    beside = predictor.predict_together([*measurements, make_measurement(1, 0.0)])
    assert all(prediction.extrapolation for prediction in beside)
    for one, other in zip(alone, beside, strict=False):
        assert other.predicted_test_gap == pytest.approx(one.predicted_test_gap, abs=0.02)


def test_few_sets_or_lone_networks_teach_no_differences() -> None:
    Z, gaps, sets = draw_sets(LEAST_SETS - 1)
    assert GapDifferences.fit(Z, gaps, sets) is None
    Z, gaps, sets = draw_sets(50, n_networks=1)
    assert GapDifferences.fit(Z, gaps, sets) is None


def make_measurement(epoch: int, kappa: float, train_score: float = 0.9) -> EpochMeasurement:
    return EpochMeasurement(epoch, train_score, 0.1, 100, 10, relative_gap_flatness=kappa)


def make_rows(epochs: tuple[int, ...], n_groups: int = 30) -> list[CalibrationRow]:
    draw = np.random.default_rng(0)
    return [
        CalibrationRow(f"{group:02d}", epoch, {"log_relative_gap_flatness": float(x), "train_score": 0.9}, float(gap))
        for group in range(n_groups)
        for shift in [draw.normal()]
        for epoch in epochs
        for x in [shift + 0.3 * draw.normal()]
        for gap in [0.2 - 0.03 * shift + 0.05 * (x - shift)]
    ]


def test_networks_of_one_group_and_epoch_teach_what_a_trials_epochs_do_not() -> None:
    measurements = [make_measurement(1, kappa) for kappa in (0.5, 1.0, 3.0)]
    trials = GapPredictor.fit(make_rows((1, 2, 3)))
    assert trials.predict_together(measurements) == [trials.predict(m) for m in measurements]
    settings = GapPredictor.fit(make_rows((1, 1, 1)))
    alone = [settings.predict(m) for m in measurements]
    together = settings.predict_together(measurements)
    assert np.mean([p.predicted_test_gap for p in together]) == pytest.approx(
        np.mean([p.predicted_test_gap for p in alone])
    )
    slope = (together[2].predicted_test_gap - together[0].predicted_test_gap) / np.log10(3.0 / 0.5)
    assert slope == pytest.approx(0.05, rel=0.1)
    for one, other in zip(alone, together, strict=True):
        (low, high), (moved_low, moved_high) = one.predicted_test_gap_interval, other.predicted_test_gap_interval
        moved = other.predicted_test_gap - one.predicted_test_gap
        assert (moved_low - low, moved_high - high) == pytest.approx((moved, moved))
        assert other.predicted_test_score == pytest.approx(0.9 - other.predicted_test_gap)
        assert other.extrapolation == one.extrapolation


def test_one_network_is_predicted_by_itself() -> None:
    predictor = GapPredictor.fit(make_rows((1, 1)))
    assert predictor.predict_together([make_measurement(1, 2.0)]) == [predictor.predict(make_measurement(1, 2.0))]
    assert predictor.predict_together([]) == []


def test_the_order_they_come_in_is_no_matter_and_intervals_stay_within_bounds() -> None:
    predictor = load_shipped_calibrator()
    measurements = [make_measurement(1, kappa, score) for kappa, score in ((0.01, 1.0), (5.0, 0.4), (300.0, 0.99))]
    there = predictor.predict_together(measurements)
    back = predictor.predict_together(measurements[::-1])[::-1]
    for one, other in zip(there, back, strict=True):
        assert dataclasses.astuple(one)[0] == pytest.approx(dataclasses.astuple(other)[0])
        assert (
            -1
            <= one.predicted_test_gap_interval[0]
            <= one.predicted_test_gap
            <= one.predicted_test_gap_interval[1]
            <= 1
        )
