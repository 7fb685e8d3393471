"""The order of networks without a calibrator: a rule of thumb, in this one place."""

import math

from flatselect.records import EpochMeasurement


def order_uncalibrated(measurement: EpochMeasurement) -> tuple[float, float, float]:
    """A sort key, best first, where nothing says how measurements map to test scores.

    By accuracy on augmented training images (`augmentation_accuracy`: turned, scaled and moved a little), of two that
    tie by accuracy on mixed-up ones (`mixup_accuracy`), then by the lower training loss. A network that learned its
    training images by heart holds on to them less when they are disturbed; training accuracy itself is often 1 for
    all. What was not measured counts as the worst.
    """
    companions = measurement.companions
    return (
        _descending(companions.get("augmentation_accuracy")),
        _descending(companions.get("mixup_accuracy")),
        math.inf if math.isnan(measurement.train_loss) else measurement.train_loss,
    )


def _descending(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else -value
