"""The calibrator of one search: which it is, and what the study file may say of one that is given."""

import math
from typing import Any

import pytest

from flatselect.calibration.features import FEATURE_NAMES
from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.config import CalibrationSection
from flatselect.records import EpochMeasurement
from flatselect.search.study_calibration import StudyCalibration


class Books:
    """Writer and reader of a study that has no database."""

    study_uid = "u1"

    def __init__(self) -> None:
        self.calibrators: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def add_calibrator(self, artifact: dict[str, Any], summary: dict[str, Any]) -> str:
        self.calibrators.append((f"c{len(self.calibrators)}", artifact, summary))
        return self.calibrators[-1][0]

    def latest_calibrator(self) -> Any:
        return self.calibrators[-1] if self.calibrators else None

    def name(self) -> str:
        return "tiny"

    def data(self) -> dict[str, Any]:
        return {"fingerprint": "f" * 16}


def make_calibration(options: CalibrationSection, books: Books) -> StudyCalibration:
    return StudyCalibration(options, books, books)  # type: ignore[arg-type]


@pytest.fixture
def artifact(tmp_path):
    rows = [CalibrationRow(str(n), 1, {"log_relative_gap_flatness": n * (-1) ** n}, 0.1 + 0.01 * n) for n in range(9)]
    GapPredictor.fit(rows, estimator="isotonic", coverage=0.8).save(tmp_path / "calibrator.json")
    return str(tmp_path / "calibrator.json")


def test_a_given_calibrator_keeps_what_the_study_file_does_not_name(artifact):
    books = Books()
    predictor = make_calibration(CalibrationSection(artifact=artifact), books).predictor
    assert (predictor.calibrator.estimator, predictor.calibrator.coverage) == ("isotonic", 0.8)
    given, stored = GapPredictor.load(artifact).to_dict(), books.calibrators[0][1]
    assert stored | {"rows": []} == given | {"rows": []}
    assert [row["test_gap"] for row in stored["rows"]] == [row["test_gap"] for row in given["rows"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"coverage": 0.6}, ("isotonic", 0.6)),
        ({"estimator": "ridge"}, ("ridge", 0.8)),
        ({"estimator": "ridge", "coverage": 0.9}, ("ridge", 0.9)),
    ],
)
def test_a_given_calibrator_is_refitted_with_what_the_study_file_names(artifact, options, expected):
    books = Books()
    predictor = make_calibration(CalibrationSection(artifact=artifact, **options), books).predictor
    assert (predictor.calibrator.estimator, predictor.calibrator.coverage) == expected
    assert books.calibrators[0][1]["specification"] == dict(zip(("estimator", "coverage"), expected, strict=True))


def test_its_own_calibrator_says_where_its_rows_come_from():
    books = Books()
    curves = {
        number: [EpochMeasurement(1, 0.9, 0.1, 80, 10, relative_gap_flatness=1.0 + number, holdout_score=0.8)]
        for number in range(3)
    }
    make_calibration(CalibrationSection(), books).fit(curves)
    source = {"kind": "study", "name": "tiny", "uid": "u1", "data_fingerprint": "f" * 16, "n_rows": 3, "n_groups": 3}
    assert books.calibrators[0][1]["metadata"] == {"sources": [source]}


def curve_of(number: int, holdout: bool = True) -> list[EpochMeasurement]:
    score = 0.8 - 0.01 * number if holdout else None
    return [EpochMeasurement(1, 0.9, 0.1, 80, 10, relative_gap_flatness=1.0 + number, holdout_score=score)]


def test_rows_of_trials_that_end_later_are_added(artifact):
    """Beside a calibrator that was given; its rows stay, and a trial 0 of its own is another than this study's."""
    books = Books()
    calibration = make_calibration(CalibrationSection(artifact=artifact, artifact_trials=2), books)
    assert calibration.n_trials_wanted == 2
    assert calibration.may_grow
    for n_own in (1, 2):
        curves = {number: curve_of(number) for number in range(n_own)}
        assert calibration.lacks_any(curves)
        calibration.fit(curves)
        assert not calibration.lacks_any(curves)
        groups = [row.group for row in calibration.predictor.rows]
        assert groups == [f"given/{n}" for n in range(9)] + [str(n) for n in range(n_own)]
    assert books.calibrators[-1][1]["specification"] == {"estimator": "isotonic", "coverage": 0.8}
    assert [source["n_groups"] for source in books.calibrators[-1][1]["metadata"]["sources"]] == [2]
    again = make_calibration(CalibrationSection(artifact=artifact, artifact_trials=2), books)
    assert not again.lacks_any(curves), "what the database holds is not fitted twice"


@pytest.mark.parametrize("order", ["one", "all"])
def test_features_that_this_study_does_not_measure_are_left_out_of_a_given_calibrator(tmp_path, order):
    rows = [
        CalibrationRow(
            str(n), 1, {"log_relative_gap_flatness": n * (-1) ** n, "augmentation_accuracy": 0.03 * n}, 0.1 + 0.01 * n
        )
        for n in range(9)
    ]
    GapPredictor.fit(rows).save(tmp_path / "rich.json")
    books = Books()
    books.add_predictions = lambda *_: None
    calibration = make_calibration(CalibrationSection(artifact=str(tmp_path / "rich.json")), books)
    measurement = EpochMeasurement(1, 0.9, 0.1, 10, 10, relative_gap_flatness=100.0)
    if order == "one":
        assert not calibration.predict(0, measurement).extrapolation
        calibration.predict(1, measurement)
    else:
        calibration.predict_all({0: [measurement, measurement]})
    assert [set(artifact["features"]) for _, artifact, _ in books.calibrators] == [
        {"log_relative_gap_flatness", "augmentation_accuracy"},
        {"log_relative_gap_flatness"},
    ]
    # Another driver goes on with what is stored.
    again = make_calibration(CalibrationSection(artifact=str(tmp_path / "rich.json")), books)
    again.predict(2, measurement)
    assert len(books.calibrators) == 2


def test_a_first_network_of_which_something_is_not_defined_costs_the_others_no_feature(tmp_path):
    """Only what the study does not measure, here unlabelled images, is left out of a calibrator that is given."""
    names = ("log_relative_gap_flatness", "log_temperature_flat_ratio", "unlabeled_confidence")
    rows = [
        CalibrationRow(str(n), 1, {name: (n * k) % 7 for k, name in enumerate(names, 1)}, 0.01 * n) for n in range(9)
    ]
    GapPredictor.fit(rows).save(tmp_path / "calibrator.json")
    books = Books()
    books.add_predictions = lambda uid, predictions: None
    calibration = make_calibration(CalibrationSection(artifact=str(tmp_path / "calibrator.json")), books)
    dead = {"gini": 0.0, "logit_variance": 0.0, "temperature_flat_ratio": math.nan}
    calibration.predict(0, EpochMeasurement(1, 0.1, 2.3, 99, 9, relative_gap_flatness=0.0, companions=dead))
    used = [FEATURE_NAMES[column] for column in calibration.predictor.calibrator.used_features_]
    assert used == ["log_relative_gap_flatness", "log_temperature_flat_ratio"]
