"""The features of one measurement that a calibration may use: label-free but for the training images' own labels.

Column 0 is the logarithm of relative GAP flatness. Its confidence-free form κ / (mean gini · mean Var z) follows: κ
alone falls to zero as logits grow, right or wrong, and of the two it is the ratio that keeps its meaning elsewhere.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

from flatselect.records import EpochMeasurement

# A κ, a loss or a gini below float32's reach is rounding; one floor keeps exact zeros (a dead layer) finite.
SMALLEST_LOGGED = 1e-12

FEATURE_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "log_relative_gap_flatness": "log10 of the mean relative GAP flatness κ of the probe images",
        "log_temperature_flat_ratio": "log10 of κ / (mean gini · mean logit variance)",
        "log_train_loss": "log10 of the mean cross-entropy (nats) on the training images",
        "train_score": "accuracy on the training images",
        "train_score_power_8": "its 8th power: the gap opens as a network nears 1 and begins to memorise",
        "mean_confidence": "mean of the largest class probability",
        "confidence_q10": "10 % quantile of the largest class probability",
        "log_gini": "log10 of the mean of 1 - sum of squared class probabilities",
        "log_logit_variance": "log10 of the mean variance of an image's logits",
        "margin_q10": "10 % quantile of the two largest logits' difference",
        "margin_q50": "median of the two largest logits' difference",
        "log_head_frobenius_norm": "log10 of the Frobenius norm of the linear classifier's weight",
        "log_feature_norm": "log10 of the mean norm of the pooled features",
        "log_n_train_images": "log10 of the number of images trained on",
        "log_n_parameters": "log10 of the number of trainable parameters",
        "log_n_classes": "log10 of the number of classes",
        "relative_margin_q10": "margin_q10 / standard deviation of an image's logits",
        "relative_margin_q50": "margin_q50 / standard deviation of an image's logits",
        "log_davies_bouldin": "log10 of the Davies-Bouldin index of the pooled features by label",
        "log_head_soft_rank": "log10 of the soft rank of the classifier's curvature",
        "log_head_tic": "log10 of Takeuchi's penalty of the classifier",
        "log_last_linear_ratio": "log10 of last_linear_flatness_normalized / (mean gini · mean logit variance)",
        "augmentation_agreement": "share of predictions that stay when images are turned, scaled and moved",
        "augmentation_accuracy": "accuracy on training images turned, scaled and moved",
        "log_augmentation_loss": "log10 of the cross-entropy (nats) on training images turned, scaled and moved",
        "mixup_agreement": "share of predictions that stay when images are mixed with another, in shares 0.6 to 1",
        "mixup_accuracy": "accuracy on training images mixed with another, of the larger share's label",
        "log_mixup_loss": "log10 of the cross-entropy (nats) on mixed training images, labels mixed alike",
        "noise_agreement": "share of predictions that stay under Gaussian noise of 0.25 standard deviations",
        "noise_accuracy": "accuracy on training images under Gaussian noise of 0.25 standard deviations",
        "log_noise_loss": "log10 of the cross-entropy (nats) under Gaussian noise of 0.25 standard deviations",
        "pixel_kernel_accuracy": "leave-one-out accuracy of kernel ridge regression on the training images' pixels",
        "pixel_kernel_squared_error": "leave-one-out squared error of kernel ridge regression on pixels",
        "train_score_over_pixel_kernel": "train_score - pixel_kernel_accuracy",
        "unlabeled_confidence": "mean of the largest class probability on unlabelled images",
        "log_unlabeled_gini": "log10 of the mean gini on unlabelled images",
        "unlabeled_nuclear_norm": "nuclear norm of the class probabilities of unlabelled images, at most 1",
        "unlabeled_threshold_score": "share of unlabelled images surer than the least sure training images (ATC)",
        "unlabeled_agreement": "mean share of unlabelled images on which another candidate predicts the same class",
        "unlabeled_agreement_lead": "unlabeled_agreement less its mean over all candidates",
    }
)
FEATURE_NAMES: tuple[str, ...] = tuple(FEATURE_DEFINITIONS)
FLATNESS_FEATURES: tuple[str, ...] = ("log_relative_gap_flatness", "log_temperature_flat_ratio")
# What they mean depends on who the other candidates are: a fit on some lists of candidates is wrong about others.
AGREEMENT_FEATURES: tuple[str, ...] = ("unlabeled_agreement", "unlabeled_agreement_lead")

# Features that are a companion as it is, and those that are its logarithm.
_COMPANIONS = (
    *("mean_confidence", "confidence_q10", "margin_q10", "margin_q50"),
    *(f"{extra}_{value}" for extra in ("augmentation", "mixup", "noise") for value in ("agreement", "accuracy")),
    *("pixel_kernel_accuracy", "pixel_kernel_squared_error"),
    *("unlabeled_confidence", "unlabeled_nuclear_norm", "unlabeled_threshold_score"),
    *AGREEMENT_FEATURES,
)
_LOGARITHMS = (
    *("temperature_flat_ratio", "gini", "logit_variance", "head_frobenius_norm", "feature_norm", "n_classes"),
    *("davies_bouldin", "head_soft_rank", "head_tic", "augmentation_loss", "mixup_loss", "noise_loss"),
    "unlabeled_gini",
)


def make_features(measurement: EpochMeasurement) -> dict[str, float]:
    """The features of one measurement, by name, in the order of `FEATURE_NAMES`.

    Returns:
        One float for each of `FEATURE_NAMES`; NaN where the measurement does not hold it or holds no finite number.
        Logarithms are of max(value, 1e-12).
    """
    companions = measurement.companions
    spread = _finite(companions.get("logit_variance")) ** 0.5
    train_score = _finite(measurement.train_score)
    values = {
        "log_relative_gap_flatness": _log10(measurement.relative_gap_flatness),
        "log_train_loss": _log10(measurement.train_loss),
        "train_score": train_score,
        "train_score_power_8": train_score**8,
        "train_score_over_pixel_kernel": train_score - _finite(companions.get("pixel_kernel_accuracy")),
        "log_n_train_images": _log10(measurement.n_train_images),
        "log_n_parameters": _log10(measurement.n_parameters),
        "relative_margin_q10": _divide(_finite(companions.get("margin_q10")), spread),
        "relative_margin_q50": _divide(_finite(companions.get("margin_q50")), spread),
        "log_last_linear_ratio": _log10(
            _divide(
                _finite(companions.get("last_linear_flatness_normalized")),
                _finite(companions.get("gini")) * spread**2,
            )
        ),
        **{name: _finite(companions.get(name)) for name in _COMPANIONS},
        **{f"log_{name}": _log10(companions.get(name)) for name in _LOGARITHMS},
    }
    return {name: values[name] for name in FEATURE_NAMES}


def _finite(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else float(value)


def _log10(value: float | None) -> float:
    value = _finite(value)
    return value if math.isnan(value) else math.log10(max(value, SMALLEST_LOGGED))


def _divide(value: float, by: float) -> float:
    return value / by if by > 0 else math.nan
