"""The order of networks without a calibrator: a rule of thumb, in this one place."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flatselect.records import EpochMeasurement

_AGREEMENT = "unlabeled_weighted_agreement"
_DISTURBANCES = ("augmentation", "mixup", "noise")


class Yardstick(NamedTuple):
    """What networks are ordered by, the higher the better.

    Attributes:
        name: In words.
        short_name: For the head of a column.
        values: A share of images for each network; None where it was not measured.
    """

    name: str
    short_name: str
    values: tuple[float | None, ...]


def order_uncalibrated(measurement: EpochMeasurement) -> tuple[float, float, float, float]:
    """A sort key, best first, where nothing says how measurements map to test scores.

    By the mean of two shares of images: accuracy on training images that are turned and moved, mixed up, and noisy, and
    agreement with the other networks on unlabelled images, in which those count most that fit their training images;
    where there are none of these, by the first alone. Then by the lower training loss. What was not measured counts as
    the worst.

    In 90 settings of five networks each (studies/zoo) the pick was 0.014 worse than the best by both, 0.010 by
    agreement alone, 0.017 by accuracy on disturbed images, 0.027 by training accuracy; among sixteen networks of which
    half are hardly trained (docs/prediction.md, E2) 0.009, 0.022, 0.009 and 0.009.
    """
    return (
        _descending(_average_both(measurement)),
        _descending(_average_disturbed_accuracy(measurement)),
        _descending(_find_agreement(measurement)),
        math.inf if math.isnan(measurement.train_loss) else measurement.train_loss,
    )


def find_yardstick(measurements: Sequence[EpochMeasurement]) -> Yardstick:
    """What `order_uncalibrated` orders these networks by, but for ties."""
    agreement = "weighted agreement with the others on unlabelled images"
    disturbed = "accuracy on disturbed training images"
    yardsticks = [
        (f"the mean of {agreement} and {disturbed}", "agreement, disturbed", _average_both),
        (disturbed, "on disturbed", _average_disturbed_accuracy),
        (agreement, "agreement", _find_agreement),
    ]

    def read_with(find: Callable[[EpochMeasurement], float]) -> tuple[float | None, ...]:
        return tuple(None if math.isnan(value) else value for value in map(find, measurements))

    found = [Yardstick(name, short_name, read_with(find)) for name, short_name, find in yardsticks]
    return next((yardstick for yardstick in found if any(v is not None for v in yardstick.values)), found[-1])


def _average_both(measurement: EpochMeasurement) -> float:
    return (_find_agreement(measurement) + _average_disturbed_accuracy(measurement)) / 2


def _find_agreement(measurement: EpochMeasurement) -> float:
    return measurement.companions.get(_AGREEMENT, math.nan)


def _average_disturbed_accuracy(measurement: EpochMeasurement) -> float:
    held = [measurement.companions.get(f"{name}_accuracy", math.nan) for name in _DISTURBANCES]
    return sum(held) / len(held)


def _descending(value: float) -> float:
    return math.inf if math.isnan(value) else -value
