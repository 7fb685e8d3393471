"""The order of networks that were trained elsewhere: by predicted test score, with the chance to be the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.ranking.prediction_order import interval_width, order_prediction
from flatselect.ranking.probability_best import compute_probability_best
from flatselect.ranking.uncalibrated import order_uncalibrated
from flatselect.records import EpochMeasurement, Interval, Prediction


@dataclass(frozen=True)
class Candidate:
    """A network to be ranked: measured, or with the reason why it could not be.

    Attributes:
        path: Its file, or the name it was given.
        measurement: None where there is an error.
        error: Why it could not be measured, in words.
        group: Of the predictor's rows, those that were measured on this very network; None where there are none.
    """

    path: str
    measurement: EpochMeasurement | None = None
    error: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class RankedCandidate:
    """A network and its place.

    Attributes:
        path: Its file, or the name it was given.
        rank: From 1, the best; None where there is an error.
        measurement: What was measured of it.
        prediction: What the calibrator says; None without a calibrator.
        probability_best: That its test score is the highest; None without a calibrator. See `compute_probability_best`.
        error: Why it could not be measured, in words.
    """

    path: str
    rank: int | None = None
    measurement: EpochMeasurement | None = None
    prediction: Prediction | None = None
    probability_best: float | None = None
    error: str | None = None

    @property
    def predicted_test_score(self) -> float | None:
        return None if self.prediction is None else _finite(self.prediction.predicted_test_score)

    @property
    def predicted_test_score_interval(self) -> Interval | None:
        return None if self.prediction is None else self.prediction.predicted_test_score_interval

    @property
    def predicted_test_gap(self) -> float | None:
        return None if self.prediction is None else _finite(self.prediction.predicted_test_gap)

    @property
    def train_score(self) -> float | None:
        return None if self.measurement is None else _finite(self.measurement.train_score)

    @property
    def relative_gap_flatness(self) -> float | None:
        return None if self.measurement is None else _finite(self.measurement.relative_gap_flatness)

    @property
    def extrapolation(self) -> bool | None:
        return None if self.prediction is None else self.prediction.extrapolation

    def to_json(self) -> dict[str, Any]:
        """Its object in `--json` output. Programs rely on these names."""
        interval = self.predicted_test_score_interval
        return {
            "path": self.path,
            "rank": self.rank,
            "predicted_test_score": self.predicted_test_score,
            "predicted_test_score_interval": interval and [_finite(bound) for bound in interval],
            "predicted_test_gap": self.predicted_test_gap,
            "train_score": self.train_score,
            "relative_gap_flatness": self.relative_gap_flatness,
            "probability_best": self.probability_best,
            "extrapolation": self.extrapolation,
            "error": self.error,
        }


def rank_candidates(candidates: Sequence[Candidate], predictor: GapPredictor | None) -> list[RankedCandidate]:
    """Ranks networks, best first; those that could not be measured follow as they came, without a rank.

    Each is predicted by itself; one that the predictor has rows of without them, as a search does with its calibration
    trials.
    With a predictor the higher predicted test score is better; of two that tie at 0 or 1, the one with the higher
    training score − predicted gap, then the one with the narrower interval, then the one that came first. Without one,
    `order_uncalibrated` decides and nothing is predicted.
    """
    measured = [candidate for candidate in candidates if candidate.measurement is not None]
    broken = [RankedCandidate(c.path, error=c.error) for c in candidates if c.measurement is None]
    ranked = _order_uncalibrated(measured) if predictor is None else _order_by_prediction(measured, predictor)
    return [replace(candidate, rank=rank) for rank, candidate in enumerate(ranked, 1)] + broken


def _order_uncalibrated(candidates: Sequence[Candidate]) -> list[RankedCandidate]:
    # For the type checker: `measured` holds no others.
    pairs = [(order_uncalibrated(c.measurement), c) for c in candidates if c.measurement is not None]
    return [RankedCandidate(c.path, measurement=c.measurement) for _, c in sorted(pairs, key=lambda pair: pair[0])]


def _order_by_prediction(candidates: Sequence[Candidate], predictor: GapPredictor) -> list[RankedCandidate]:
    measurements = [c.measurement for c in candidates if c.measurement is not None]
    predictions = _predict(candidates, measurements, predictor)
    probabilities = compute_probability_best(
        predictions, [measurement.train_score for measurement in measurements], predictor.calibrator.coverage
    )
    ranked = [
        (
            (*order_prediction(prediction, measurement.train_score), interval_width(prediction)),
            RankedCandidate(candidate.path, None, measurement, prediction, probability),
        )
        for candidate, measurement, prediction, probability in zip(
            candidates, measurements, predictions, probabilities, strict=True
        )
    ]
    return [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])]


def _predict(
    candidates: Sequence[Candidate], measurements: Sequence[EpochMeasurement], predictor: GapPredictor
) -> list[Prediction]:
    others = iter(predictor.predict_many([m for c, m in zip(candidates, measurements, strict=True) if c.group is None]))
    return [
        next(others) if candidate.group is None else predictor.without(candidate.group).predict(measurement)
        for candidate, measurement in zip(candidates, measurements, strict=True)
    ]


def _finite(value: float | None) -> float | None:
    """JSON knows no NaN and no infinity: both become null."""
    return None if value is None or not math.isfinite(value) else value
