import math

import pytest

from flatselect.calibration.features import FEATURE_NAMES, FLATNESS_FEATURES, make_features
from flatselect.records import EpochMeasurement

COMPANIONS = {
    "mean_confidence": 0.8,
    "confidence_q10": 0.3,
    "gini": 0.1,
    "logit_variance": 100.0,
    "margin_q10": 0.5,
    "margin_q50": 2.5,
    "temperature_flat_ratio": 0.01,
    "head_frobenius_norm": 10.0,
    "feature_norm": 1000.0,
}
MEASUREMENT = EpochMeasurement(
    epoch=3,
    train_score=0.95,
    train_loss=0.001,
    n_train_images=1000,
    n_parameters=10_000,
    relative_gap_flatness=100.0,
    companions=COMPANIONS,
)


def test_every_feature_of_a_whole_measurement():
    expected = {
        "log_relative_gap_flatness": 2.0,
        "log_temperature_flat_ratio": -2.0,
        "log_train_loss": -3.0,
        "train_score": 0.95,
        "train_score_power_8": 0.6634204312890625,
        "mean_confidence": 0.8,
        "confidence_q10": 0.3,
        "log_gini": -1.0,
        "log_logit_variance": 2.0,
        "margin_q10": 0.5,
        "margin_q50": 2.5,
        "log_head_frobenius_norm": 1.0,
        "log_feature_norm": 3.0,
        "log_n_train_images": 3.0,
        "log_n_parameters": 4.0,
    }
    assert make_features(MEASUREMENT) == pytest.approx(expected)
    assert tuple(expected) == FEATURE_NAMES == tuple(make_features(MEASUREMENT))


def test_column_0_is_flatness():
    assert FEATURE_NAMES[0] == FLATNESS_FEATURES[0] == "log_relative_gap_flatness"
    assert set(FLATNESS_FEATURES) < set(FEATURE_NAMES)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_missing_or_not_finite_is_nan(value):
    features = make_features(
        EpochMeasurement(
            1, train_score=0.5, train_loss=1.0, n_train_images=10, n_parameters=5, relative_gap_flatness=value
        )
    )
    assert math.isnan(features["log_relative_gap_flatness"])
    assert math.isnan(features["mean_confidence"])
    assert features["train_score"] == 0.5


@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-9])
def test_a_dead_layer_has_a_finite_logarithm(value):
    features = make_features(EpochMeasurement(1, 0.1, 2.3, 10, 5, relative_gap_flatness=value))
    assert features["log_relative_gap_flatness"] == pytest.approx(-12)


def test_held_out_results_are_no_features():
    """A feature that knew the held-out part would look fine in calibration and be absent, or a leak, afterwards."""
    values = MEASUREMENT.to_dict() | {"holdout_score": 0.2, "holdout_loss": 9.0, "n_holdout_images": 77}
    assert make_features(EpochMeasurement.from_dict(values)) == make_features(MEASUREMENT)
