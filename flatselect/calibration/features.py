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
    }
)
FEATURE_NAMES: tuple[str, ...] = tuple(FEATURE_DEFINITIONS)
FLATNESS_FEATURES: tuple[str, ...] = ("log_relative_gap_flatness", "log_temperature_flat_ratio")


def make_features(measurement: EpochMeasurement) -> dict[str, float]:
    """The features of one measurement, by name, in the order of `FEATURE_NAMES`.

    Returns:
        One float for each of `FEATURE_NAMES`; NaN where the measurement does not hold it or holds no finite number.
        Logarithms are of max(value, 1e-12).
    """
    companions = measurement.companions
    values = {
        "log_relative_gap_flatness": _log10(measurement.relative_gap_flatness),
        "log_temperature_flat_ratio": _log10(companions.get("temperature_flat_ratio")),
        "log_train_loss": _log10(measurement.train_loss),
        "train_score": _finite(measurement.train_score),
        "train_score_power_8": _finite(measurement.train_score) ** 8,
        "mean_confidence": _finite(companions.get("mean_confidence")),
        "confidence_q10": _finite(companions.get("confidence_q10")),
        "log_gini": _log10(companions.get("gini")),
        "log_logit_variance": _log10(companions.get("logit_variance")),
        "margin_q10": _finite(companions.get("margin_q10")),
        "margin_q50": _finite(companions.get("margin_q50")),
        "log_head_frobenius_norm": _log10(companions.get("head_frobenius_norm")),
        "log_feature_norm": _log10(companions.get("feature_norm")),
        "log_n_train_images": _log10(measurement.n_train_images),
        "log_n_parameters": _log10(measurement.n_parameters),
    }
    return {name: values[name] for name in FEATURE_NAMES}


def _finite(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else float(value)


def _log10(value: float | None) -> float:
    value = _finite(value)
    return value if math.isnan(value) else math.log10(max(value, SMALLEST_LOGGED))
