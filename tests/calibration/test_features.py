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
    "n_classes": 10.0,
    "davies_bouldin": 0.1,
    "head_soft_rank": 10.0,
    "head_tic": 100.0,
    "last_linear_flatness_normalized": 0.01,
    "augmentation_agreement": 0.9,
    "augmentation_accuracy": 0.85,
    "augmentation_loss": 0.1,
    "mixup_agreement": 0.95,
    "mixup_accuracy": 0.92,
    "mixup_loss": 1.0,
    "noise_agreement": 0.99,
    "noise_accuracy": 0.94,
    "noise_loss": 0.01,
    "pixel_kernel_accuracy": 0.75,
    "pixel_kernel_squared_error": 0.3,
    "unlabeled_confidence": 0.7,
    "unlabeled_gini": 0.01,
    "unlabeled_nuclear_norm": 0.6,
    "unlabeled_threshold_score": 0.8,
    "unlabeled_agreement": 0.75,
    "unlabeled_agreement_lead": -0.05,
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
        "log_n_classes": 1.0,
        "relative_margin_q10": 0.05,
        "relative_margin_q50": 0.25,
        "log_davies_bouldin": -1.0,
        "log_head_soft_rank": 1.0,
        "log_head_tic": 2.0,
        "log_last_linear_ratio": -3.0,
        "augmentation_agreement": 0.9,
        "augmentation_accuracy": 0.85,
        "log_augmentation_loss": -1.0,
        "mixup_agreement": 0.95,
        "mixup_accuracy": 0.92,
        "log_mixup_loss": 0.0,
        "noise_agreement": 0.99,
        "noise_accuracy": 0.94,
        "log_noise_loss": -2.0,
        "pixel_kernel_accuracy": 0.75,
        "pixel_kernel_squared_error": 0.3,
        "train_score_over_pixel_kernel": 0.2,
        "unlabeled_confidence": 0.7,
        "log_unlabeled_gini": -2.0,
        "unlabeled_nuclear_norm": 0.6,
        "unlabeled_threshold_score": 0.8,
        "unlabeled_agreement": 0.75,
        "unlabeled_agreement_lead": -0.05,
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


def test_confidence_free_features_do_not_change_when_logits_grow():
    """Under z → 10·z, logits' variance is a hundredfold, margins and the spread tenfold."""
    grown = COMPANIONS | {"logit_variance": 10_000.0, "margin_q10": 5.0, "margin_q50": 25.0}
    before, after = (
        make_features(EpochMeasurement(1, 0.9, 0.1, 10, 5, companions=values)) for values in (COMPANIONS, grown)
    )
    for name in ("relative_margin_q10", "relative_margin_q50"):
        assert after[name] == pytest.approx(before[name])


def test_ratios_of_a_network_that_gives_every_image_the_same_logits_are_missing():
    companions = COMPANIONS | {"logit_variance": 0.0, "gini": 0.9}
    features = make_features(EpochMeasurement(1, 0.1, 2.3, 10, 5, companions=companions))
    assert math.isnan(features["relative_margin_q10"])
    assert math.isnan(features["log_last_linear_ratio"])
