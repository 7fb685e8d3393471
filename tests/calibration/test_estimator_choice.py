"""`estimator="auto"`: which regressor it comes to, that files keep it, and that intervals stay honest."""

import json

import numpy as np
import pytest

from flatselect.calibration.estimator_choice import FEWEST_GROUPS_TO_CHOOSE
from flatselect.calibration.estimators import CANDIDATE_NAMES
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.gap_predictor import GapPredictor, make_calibration_row
from flatselect.config import CalibrationSection
from flatselect.errors import CalibrationError


def make_rows(seed, n_groups, n_rows, bend, noise=0.01):
    """Gaps linear in two features, or where `bend` is 1, a step in the first of them."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), n_rows)
    X = rng.normal(size=(n_groups, 3))[groups] + 0.3 * rng.normal(size=(len(groups), 3))
    y = 0.05 * (bend * np.tanh(5 * X[:, 0]) + (1 - bend) * X[:, 0]) + 0.02 * X[:, 1]
    return X, y + noise * rng.normal(size=n_groups)[groups] + noise * rng.normal(size=len(groups)), groups


@pytest.fixture(scope="module")
def rows(make_curves):
    curves = make_curves(FEWEST_GROUPS_TO_CHOOSE, seed=0, n_epochs=2)
    return [make_calibration_row(group, measurement) for group, curve in curves.items() for measurement in curve]


@pytest.fixture(scope="module")
def predictor(rows):
    return GapPredictor.fit(rows, estimator="auto")


def test_with_few_groups_there_is_no_choice_and_it_says_so():
    calibrator = GapCalibrator(estimator="auto").fit(*make_rows(0, FEWEST_GROUPS_TO_CHOOSE - 1, 4, bend=1))
    assert calibrator.choice_.name == "ridge"
    assert calibrator.estimator_scores_ == {}
    assert calibrator.choice_.reason == "23 groups are too few to choose by (fewer than 24)"


def test_a_linear_gap_takes_the_simplest_and_a_bent_one_does_not():
    linear = GapCalibrator(estimator="auto").fit(*make_rows(1, 30, 3, bend=0))
    assert linear.choice_.name == "ridge"
    bent = GapCalibrator(estimator="auto").fit(*make_rows(1, 30, 3, bend=1))
    assert bent.choice_.name != "ridge"
    for calibrator in (linear, bent):
        assert list(calibrator.estimator_scores_) == list(CANDIDATE_NAMES)
    assert bent.estimator_scores_[bent.choice_.name] < 0.9 * bent.estimator_scores_["ridge"]


def test_predicts_as_if_the_chosen_had_been_asked_for():
    X, y, groups = make_rows(2, 30, 2, bend=1)
    auto = GapCalibrator(estimator="auto").fit(X, y, groups)
    named = GapCalibrator(estimator=auto.choice_.name).fit(X, y, groups)
    for one, other in zip(auto.predict_all(X), named.predict_all(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_are_errors_on_groups_that_no_part_of_a_fit_has_seen():
    """On pure noise, what a flexible regressor learns by heart must show as an error, not as a gain."""
    rng = np.random.default_rng(3)
    y = 0.1 + 0.03 * rng.normal(size=40)
    calibrator = GapCalibrator(estimator="auto").fit(rng.normal(size=(40, 3)), y)
    scores = calibrator.estimator_scores_
    of_mean = np.abs(y - y.mean()).mean()
    assert all(score > 0.95 * of_mean for score in scores.values())
    assert calibrator.choice_.name == "ridge"


@pytest.mark.parametrize("bend", [0, 1])
def test_intervals_cover_about_the_stated_share_in_spite_of_the_choice(bend):
    covered = []
    for seed in range(5):
        X, y, groups = make_rows(10 + seed, 24, 2, bend=bend)
        calibrator = GapCalibrator(estimator="auto", coverage=0.8).fit(X, y, groups)
        new_X, new_y, _ = make_rows(1000 + seed, 200, 1, bend=bend)
        interval = calibrator.predict_interval(new_X)
        covered.append(((interval[:, 0] <= new_y) & (new_y <= interval[:, 1])).mean())
    assert 0.74 < np.mean(covered) < 0.92


def test_the_file_keeps_choice_and_scores(predictor, make_curves, tmp_path):
    predictor.save(tmp_path / "calibrator.json")
    loaded = GapPredictor.load(tmp_path / "calibrator.json")
    measurement = make_curves(1, seed=1)["0"][0]
    assert loaded.predict(measurement) == predictor.predict(measurement)
    assert loaded.to_dict() == predictor.to_dict()
    assert loaded.describe() == predictor.describe()
    choice = json.loads(json.dumps(loaded.describe()["estimator_choice"]))
    assert choice["name"] == predictor.choice.name
    assert set(choice["scores"]) == set(CANDIDATE_NAMES)


def test_what_was_chosen_once_is_not_chosen_anew(predictor):
    """Another release of scikit-learn may come to another choice; the file must not."""
    document = json.loads(json.dumps(predictor.to_dict()))
    document["estimator_choice"]["name"] = "isotonic"
    loaded = GapPredictor.from_dict(document)
    assert loaded.calibrator.estimator_.describe()["name"] == "isotonic"
    assert loaded.without("3").calibrator.estimator_.describe()["name"] == "isotonic"


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"name": "forest", "scores": {}, "reason": ""}, "expected one of ridge"), ({}, "damaged"), ([], "damaged")],
)
def test_a_damaged_choice_is_refused(predictor, choice, message):
    document = predictor.to_dict() | {"estimator_choice": choice}
    with pytest.raises(CalibrationError, match=message):
        GapPredictor.from_dict(document)


def test_a_study_file_may_ask_for_it():
    assert CalibrationSection(estimator="auto").estimator == "auto"
