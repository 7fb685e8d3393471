"""From a measurement to its predicted test score: the calibrator with its rows, its features and its file."""

import dataclasses
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from flatselect.calibration.artifact import (
    Artifact,
    check_coverage,
    check_estimator_name,
    make_document,
    parse_document,
    read_document,
    write_document,
)
from flatselect.calibration.calibration_row import CalibrationRow, check_clusters, make_calibration_row
from flatselect.calibration.diagnostics import diagnose, find_held_out_intervals, predict_held_out
from flatselect.calibration.estimator_choice import EstimatorChoice, average_by_group
from flatselect.calibration.estimators import Array
from flatselect.calibration.features import FEATURE_NAMES, FLATNESS_FEATURES, make_features
from flatselect.calibration.flatness_lift import compare_errors
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.held_out import HeldOut
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement, Prediction

__all__ = ["CalibrationRow", "GapPredictor", "make_calibration_row"]

_TRAIN_SCORE = FEATURE_NAMES.index("train_score")


class GapPredictor:
    """Predicts the test gap, and with it the test score, of a measurement.

    Made by `fit`, `load` or `from_dict`.

    Attributes:
        rows: What it is fitted on.
        calibrator: The fitted `GapCalibrator`; its columns are `FEATURE_NAMES`.
        choice: Which regressor is used, and why. What "auto" chose once is kept in the file and by `without`.
        metadata: Plain values kept with it, such as where the rows come from.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self.rows = artifact.rows
        self.metadata = artifact.metadata
        check_clusters(self.rows)
        if len(self.rows) < 2:
            raise CalibrationError(
                f"a calibrator needs at least 2 rows with a measured test gap, not {len(self.rows)}; "
                "let more calibration trials finish"
            )
        self._X, self._gaps, self._groups = _make_arrays(artifact.rows)
        if artifact.estimator == "auto" and artifact.choice is None:
            self._artifact = artifact._replace(choice=self.calibrator.choice_)

    @classmethod
    def fit(
        cls,
        rows: Sequence[CalibrationRow],
        *,
        estimator: str = "ridge",
        coverage: float = 0.9,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """Fits to rows with measured gaps.

        Args:
            rows: Several epochs of several trials (groups); at least two rows. With one group only, each row counts
                as a group of its own, and the intervals are too narrow.
            estimator: "ridge", "isotonic", "gaussian_process", "gradient_boosting", "ensemble" or "auto"; see
                `GapCalibrator`.
            coverage: Wanted probability that an interval holds the measured gap; see `GapCalibrator` for what of it
                is guaranteed.
            metadata: Plain values to keep in the file, such as the fingerprint of the data.

        Raises:
            CalibrationError: Too few rows, a group of two clusters, an unknown estimator, or a coverage outside (0, 1).
        """
        name = check_estimator_name(estimator, "calibrator")
        return cls(Artifact(tuple(rows), name, check_coverage(coverage, "calibrator"), dict(metadata or {}), None))

    @cached_property
    def calibrator(self) -> GapCalibrator:
        """Fitted when it is first asked: one that is read from its file is often fitted anew with fewer features."""
        return self._fit_calibrator(self._X)

    @property
    def choice(self) -> EstimatorChoice:
        return self._artifact.choice or self.calibrator.choice_

    @cached_property
    def known_features(self) -> frozenset[str]:
        """Names of the features that it predicts from."""
        # A feature that is missing in every row is none: a study's own rows name all, measured or not.
        return frozenset(name for row in self.rows for name, value in row.features.items() if not math.isnan(value))

    def predict(self, measurement: EpochMeasurement) -> Prediction:
        """Predicts one measurement.

        predicted_test_score = train_score − predicted_test_gap, clipped to [0, 1]; its interval is the gap's mirrored,
        clipped alike. A feature that is not finite, or that the calibration knows and the measurement lacks, makes the
        prediction an extrapolation.

        Raises:
            CalibrationError: Flatness was not measured at this epoch.
        """
        return self.predict_many([measurement])[0]

    def predict_many(self, measurements: Sequence[EpochMeasurement]) -> list[Prediction]:
        """`predict` of each, in one pass.

        Raises:
            CalibrationError: Flatness of one was not measured.
        """
        if not measurements:
            return []
        X = _make_measured_matrix(measurements)
        return list(map(_make_prediction, measurements, *self.calibrator.predict_valid(X)))

    def without(self, group: str) -> "GapPredictor":
        """The same, refitted without one group's rows: the honest prediction for a calibration trial.

        A group without rows changes nothing.

        Raises:
            CalibrationError: Too few rows are left.
        """
        rows = tuple(row for row in self.rows if row.group != group)
        return self if len(rows) == len(self.rows) else type(self)(self._artifact._replace(rows=rows))

    def using(self, names: Collection[str]) -> "GapPredictor":
        """The same, refitted with the named features only: for measurements that lack some of what it knows.

        A feature that a measurement lacks is otherwise taken for the mean of the rows, and its prediction is an
        extrapolation. Names that no row has change nothing.

        Raises:
            CalibrationError: None of its features is named.
        """
        known = self.known_features
        kept = known & set(names)
        if kept == known:
            return self
        if not kept:
            raise CalibrationError(
                f"none of the calibrator's features is given; expected some of {', '.join(sorted(known))}"
            )
        rows = tuple(
            dataclasses.replace(row, features={name: value for name, value in row.features.items() if name in kept})
            for row in self.rows
        )
        return type(self)(self._artifact._replace(rows=rows))

    def using_features_of(self, measurements: Iterable[EpochMeasurement]) -> "GapPredictor":
        """The same, refitted without the features that none of these measurements has; see `using`."""
        return self.using(
            {name for m in measurements for name, value in make_features(m).items() if math.isfinite(value)}
        )

    def refit(self, *, estimator: str | None = None, coverage: float | None = None) -> "GapPredictor":
        """The same rows with another estimator or coverage; what is None stays, with it what "auto" chose.

        Raises:
            CalibrationError: An unknown estimator, or a coverage outside (0, 1).
        """
        artifact = self._artifact
        if estimator is not None and estimator != artifact.estimator:
            artifact = artifact._replace(estimator=check_estimator_name(estimator, "calibrator"), choice=None)
        if coverage is not None:
            artifact = artifact._replace(coverage=check_coverage(coverage, "calibrator"))
        return self if artifact == self._artifact else type(self)(artifact)

    def describe(self) -> dict[str, Any]:
        """What it is and how well it predicts held-out groups: plain values for JSON, None where not defined.

        Keys: "estimator" (asked for), "estimator_choice" ("name" used, "scores" of all that were tried, "reason"),
        "coverage" (wanted), "n_rows", "n_groups", "features" (used columns), "hyper_parameters", "cross_validated"
        (see `Diagnostics`), and "flatness_lift" (see `FlatnessLift`; "features", the columns left out).
        """
        return dict(self._description)

    def to_dict(self) -> dict[str, Any]:
        """The artifact: a JSON object with schema version, specification, feature definitions, metadata and rows."""
        return make_document(self._artifact)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Refits what `to_dict` described; raises CalibrationError for anything else."""
        return cls(parse_document(document, "calibrator"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the artifact, whole or not at all; raises CalibrationError where that cannot be."""
        write_document(self.to_dict(), Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads an artifact and refits it; raises CalibrationError for anything else."""
        return cls(parse_document(read_document(Path(path)), str(path)))

    @cached_property
    def _predicted_held_out(self) -> Array:
        return predict_held_out(self.calibrator, self._X, self._gaps)

    @cached_property
    def held_out(self) -> HeldOut:
        """What is said of each of the rows when its group is held out."""
        intervals = find_held_out_intervals(self.calibrator, self._X, self._gaps, (self.calibrator.coverage,))
        return HeldOut(
            groups=tuple(self._groups),
            epochs=np.array([row.epoch for row in self.rows]),
            gaps=self._gaps,
            predicted=self._predicted_held_out,
            intervals=None if intervals is None else intervals[0],
        )

    @cached_property
    def _description(self) -> dict[str, Any]:
        train_scores = np.nan_to_num(self._X[:, _TRAIN_SCORE])
        others = self._X.copy()
        others[:, [FEATURE_NAMES.index(name) for name in FLATNESS_FEATURES]] = np.nan
        held_out = self._predicted_held_out
        held_out_without = predict_held_out(self._fit_calibrator(others), others, self._gaps)
        validated = diagnose(self.calibrator, self._X, self._gaps, train_scores, held_out)
        lift = compare_errors(self._find_group_errors(held_out), self._find_group_errors(held_out_without))
        used = [FEATURE_NAMES[column] for column in self.calibrator.used_features_]
        return {
            "estimator": self._artifact.estimator,
            "estimator_choice": self.choice.to_dict(),
            "coverage": self._artifact.coverage,
            "n_rows": len(self.rows),
            "n_groups": len(set(self._groups)),
            "features": used,
            "hyper_parameters": self.calibrator.estimator_.describe(),
            "cross_validated": dataclasses.asdict(validated),
            "flatness_lift": {
                **dataclasses.asdict(lift),
                "features": [name for name in FLATNESS_FEATURES if name in used],
            },
        }

    def _find_group_errors(self, held_out: Array) -> Array:
        return average_by_group(np.abs(self._gaps - held_out), self.calibrator.groups_)

    def _fit_calibrator(self, X: Array) -> GapCalibrator:
        choice = self._artifact.choice
        name = self._artifact.estimator if choice is None else choice.name
        calibrator = GapCalibrator(estimator=name, coverage=self._artifact.coverage)
        calibrator.fit(X, self._gaps, self._groups, clusters=[row.cluster for row in self.rows])
        return calibrator


def _make_arrays(rows: Sequence[CalibrationRow]) -> tuple[Array, Array, list[str]]:
    """Features (n_rows, n_features), gaps (n_rows,) and groups."""
    return _make_matrix([row.features for row in rows]), np.array([r.test_gap for r in rows]), [r.group for r in rows]


def _make_matrix(features: Sequence[Mapping[str, float]]) -> Array:
    """Features (n, n_features) in the order of `FEATURE_NAMES`, NaN where missing."""
    values = [[row.get(name, np.nan) for name in FEATURE_NAMES] for row in features]
    return np.array(values, dtype=np.float64).reshape(len(features), len(FEATURE_NAMES))


def _make_measured_matrix(measurements: Sequence[EpochMeasurement]) -> Array:
    for measurement in measurements:
        if not measurement.is_measured:
            raise CalibrationError(
                f"epoch {measurement.epoch} has no relative GAP flatness to predict from; predict a measured epoch"
            )
    return _make_matrix([make_features(measurement) for measurement in measurements])


def _make_prediction(measurement: EpochMeasurement, gap: float, interval: Array, outside: bool) -> Prediction:
    score, (low, high) = measurement.train_score, interval.tolist()
    return Prediction(
        predicted_test_gap=float(gap),
        predicted_test_gap_interval=(low, high),
        predicted_test_score=_clip(score - float(gap)),
        predicted_test_score_interval=(_clip(score - high), _clip(score - low)),
        extrapolation=bool(outside),
    )


def _clip(score: float) -> float:
    return min(1.0, max(0.0, score))
