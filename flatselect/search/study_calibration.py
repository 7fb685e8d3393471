"""The calibrator of one search: given beforehand, or fitted on the first trials' held-out parts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor, make_calibration_row
from flatselect.config import CalibrationSection
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement, Prediction
from flatselect.store.study_reader import StudyReader
from flatselect.store.study_writer import StudyWriter

Curves = Mapping[int, list[EpochMeasurement]]

# Before the groups of a calibrator that was given, so that no trial of this study is taken for one of another.
_GIVEN = "given/"


def read_calibration_rows(reader: StudyReader) -> list[CalibrationRow]:
    """The rows of a study's finished trials that held out a part; groups are trial numbers. No audit is looked at."""
    finished = {trial.number for trial in reader.trials(include_audits=False) if trial.state == "COMPLETE"}
    return _make_rows({number: curve for number, curve in reader.measurements().items() if number in finished})


def describe_study_source(reader: StudyReader) -> dict[str, Any]:
    """What a calibrator's file says of a study that its rows come from."""
    return {
        "kind": "study",
        "name": reader.name(),
        "uid": reader.study_uid,
        "data_fingerprint": reader.data().get("fingerprint"),
    }


def _apply_options(given: GapPredictor, options: CalibrationSection) -> GapPredictor:
    """A given calibrator with the estimator and coverage that the study file names; those it does not stay its own."""
    named = options.model_fields_set
    return given.refit(
        estimator=options.estimator if "estimator" in named else None,
        coverage=options.coverage if "coverage" in named else None,
    )


def _rename_groups(given: GapPredictor) -> GapPredictor:
    document = given.to_dict()
    return GapPredictor.from_dict(
        document | {"rows": [row | {"group": f"{_GIVEN}{row['group']}"} for row in document["rows"]]}
    )


def _make_rows(curves: Curves) -> list[CalibrationRow]:
    """A row for each epoch at which flatness and a held-out score were measured."""
    return [
        make_calibration_row(str(number), measurement)
        for number, curve in sorted(curves.items())
        for measurement in curve
        if measurement.test_gap is not None and measurement.is_measured
    ]


class StudyCalibration:
    """Holds the study's calibrator, fits it anew as calibration trials end, and predicts with it.

    A calibration trial is predicted by the calibrator fitted without that trial's own rows: what is said of it is then
    as honest as what is said of a trial that held out nothing.

    Attributes:
        predictor: None until there is one.
    """

    def __init__(self, options: CalibrationSection, writer: StudyWriter, reader: StudyReader) -> None:
        self._options = options
        self._writer = writer
        self._reader = reader
        self._uid: str | None = None
        self.predictor: GapPredictor | None = None
        self._without: dict[int, GapPredictor] = {}
        self._is_adapted = options.artifact is None
        self.reload()
        if self.predictor is None and options.artifact is not None:
            self._adopt(_rename_groups(_apply_options(GapPredictor.load(options.artifact), options)))

    def reload(self) -> bool:
        """Takes up the study's latest calibrator where another driver has added it; True if it did."""
        stored = self._reader.latest_calibrator()
        if stored is None or stored[0] == self._uid:
            return False
        self._uid, artifact, _ = stored
        self.predictor = GapPredictor.from_dict(artifact)
        self._without.clear()
        return True

    @property
    def n_trials_wanted(self) -> int:
        """Calibration trials the study needs; where a calibrator was given, only those asked for besides."""
        return self._options.n_trials

    @property
    def may_grow(self) -> bool:
        """Whether more calibration trials may start: before there is a calibrator, or beside one that was given."""
        return self.predictor is None or self._options.artifact is not None

    def lacks_any(self, curves: Curves) -> bool:
        """Whether any of these calibration trials, by number, has rows that the calibrator is not fitted on."""
        fitted = {row.group for row in self.predictor.rows} if self.predictor is not None else set()
        return bool(_make_rows({number: curve for number, curve in curves.items() if str(number) not in fitted}))

    def fit(self, curves: Curves) -> None:
        """Fits the calibrator on finished calibration trials, by number, and remembers it.

        The rows of a calibrator that was given stay among its rows.

        Raises:
            CalibrationError: There are too few.
        """
        rows = _make_rows(curves)
        n_groups = len({row.group for row in rows})
        given = self.predictor if self._options.artifact is not None else None
        if given is None and n_groups < 2:
            raise CalibrationError(
                f"{n_groups} calibration trials finished; at least 2 are needed to predict a test gap"
            )
        source = {**describe_study_source(self._reader), "n_rows": len(rows), "n_groups": n_groups}
        if given is None:
            estimator, coverage = self._options.estimator, self._options.coverage
            metadata = {"sources": [source]}
            self._adopt(GapPredictor.fit(rows, estimator=estimator, coverage=coverage, metadata=metadata))
            return
        given_rows = [row for row in given.rows if row.group.startswith(_GIVEN)]
        sources = [other for other in given.metadata.get("sources", []) if other.get("uid") != source["uid"]]
        metadata = {**given.metadata, "sources": [*sources, source]}
        specification = given.to_dict()["specification"]
        self._adopt(GapPredictor.fit([*given_rows, *rows], **specification, metadata=metadata))

    def predict(self, number: int, measurement: EpochMeasurement) -> Prediction:
        """Predicts one trial's test gap at one epoch, and remembers it."""
        self._adapt(measurement)
        assert self._uid is not None, "asked for a prediction before there is a calibrator"
        prediction = self._predictor_of(number, measurement).predict(measurement)
        self._writer.add_predictions(self._uid, {(number, measurement.epoch): prediction})
        return prediction

    def predict_all(self, curves: Curves) -> None:
        """Predicts every measured epoch of these trials, by number, and remembers all of them or none."""
        for measurement in (m for curve in curves.values() for m in curve if m.is_measured):
            self._adapt(measurement)
        assert self._uid is not None, "asked for a prediction before there is a calibrator"
        predictions = {
            (number, measurement.epoch): self._predictor_of(number, measurement).predict(measurement)
            for number, curve in curves.items()
            for measurement in curve
            if measurement.is_measured
        }
        self._writer.add_predictions(self._uid, predictions)

    def _adapt(self, measurement: EpochMeasurement) -> None:
        """Leaves out of a calibrator that was given what this study does not measure, such as `[measure] extras`."""
        if self.predictor is None or self._is_adapted:
            return
        # Measured, whatever came of it: one network's logits may have no variance, and the others' have.
        measured = replace(measurement, companions=dict.fromkeys(measurement.companions, 1.0))
        adapted = self.predictor.using_features_of([measured])
        if adapted is not self.predictor:
            self._adopt(adapted)
        self._is_adapted = True

    def _predictor_of(self, number: int, measurement: EpochMeasurement) -> GapPredictor:
        assert self.predictor is not None
        if measurement.test_gap is None:
            return self.predictor
        if number not in self._without:
            self._without[number] = self.predictor.without(str(number))
        return self._without[number]

    def _adopt(self, predictor: GapPredictor) -> None:
        self.predictor = predictor
        self._without.clear()
        self._uid = self._writer.add_calibrator(predictor.to_dict(), predictor.describe())
