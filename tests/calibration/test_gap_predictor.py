import dataclasses
import json
import math

import numpy as np
import pytest

from flatselect.calibration.estimators import CANDIDATE_NAMES, ESTIMATOR_NAMES
from flatselect.calibration.features import FEATURE_NAMES, FLATNESS_FEATURES, make_features
from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor, make_calibration_row
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement


def make_rows(curves):
    return [make_calibration_row(group, measurement) for group, curve in curves.items() for measurement in curve]


@pytest.fixture(scope="module")
def rows(make_curves):
    return make_rows(make_curves(8, seed=0))


@pytest.fixture(scope="module")
def predictor(rows):
    return GapPredictor.fit(rows, metadata={"data": "none at all"})


@pytest.fixture(scope="module")
def new_measurements(make_curves):
    return [measurement for curve in make_curves(30, seed=1).values() for measurement in curve]


def test_predicts_new_trials_better_than_the_mean_gap(predictor, rows, new_measurements):
    gaps = np.array([measurement.test_gap for measurement in new_measurements])
    predicted = np.array([predictor.predict(m).predicted_test_gap for m in new_measurements])
    mean = np.mean([row.test_gap for row in rows])
    assert np.abs(predicted - gaps).mean() < 0.75 * np.abs(mean - gaps).mean()


def test_score_is_training_score_less_gap_and_its_interval_is_the_gaps_mirrored(predictor, new_measurements):
    for measurement in new_measurements:
        prediction = predictor.predict(measurement)
        (low, high), score = prediction.predicted_test_gap_interval, measurement.train_score
        assert low <= prediction.predicted_test_gap <= high
        assert prediction.predicted_test_score == min(1, max(0, score - prediction.predicted_test_gap))
        assert prediction.predicted_test_score_interval == (min(1, max(0, score - high)), min(1, max(0, score - low)))


def test_score_stays_a_fraction(predictor, new_measurements):
    prediction = predictor.predict(dataclasses.replace(new_measurements[0], train_score=0.0))
    assert prediction.predicted_test_score == 0
    assert 0 <= prediction.predicted_test_score_interval[0] <= prediction.predicted_test_score_interval[1] <= 1


def test_training_on_more_images_than_the_calibration_trials_is_no_extrapolation(predictor, new_measurements):
    flags = [predictor.predict(dataclasses.replace(m, n_train_images=1000)) for m in new_measurements]
    assert flags == [predictor.predict(m) for m in new_measurements]
    assert sum(p.extrapolation for p in flags) < len(flags) / 2


@pytest.mark.parametrize(
    "change", [{"relative_gap_flatness": 1e9}, {"relative_gap_flatness": math.inf}, {"companions": {}}]
)
def test_what_was_never_seen_is_flagged(predictor, rows, new_measurements, change):
    usual = next(m for m in new_measurements if not predictor.predict(m).extrapolation)
    assert predictor.predict(dataclasses.replace(usual, **change)).extrapolation


def test_an_epoch_without_flatness_is_refused(predictor, new_measurements):
    with pytest.raises(CalibrationError, match="epoch 1 has no relative GAP flatness"):
        predictor.predict(dataclasses.replace(new_measurements[0], relative_gap_flatness=None))


@pytest.mark.parametrize("lacking", ["holdout_score", "relative_gap_flatness"])
def test_a_row_needs_a_held_out_score_and_flatness(new_measurements, lacking):
    with pytest.raises(CalibrationError, match="trial 7, epoch 1: a calibration row needs"):
        make_calibration_row("7", dataclasses.replace(new_measurements[0], **{lacking: None}))


def test_without_one_trial_is_a_fit_to_the_others(predictor, rows, make_curves):
    others = GapPredictor.fit([row for row in rows if row.group != "3"])
    own = make_curves(8, seed=0)["3"]
    without = predictor.without("3")
    assert [without.predict(m) for m in own] == [others.predict(m) for m in own]
    assert [without.predict(m) for m in own] != [predictor.predict(m) for m in own]
    assert predictor.without("no such trial") is predictor


def test_using_some_features_is_a_fit_to_rows_that_have_no_others(predictor, rows, new_measurements):
    names = ["log_relative_gap_flatness", "train_score", "log_train_loss"]
    fewer = [dataclasses.replace(row, features={name: row.features[name] for name in names}) for row in rows]
    using, expected = predictor.using([*names, "log_n_classes"]), GapPredictor.fit(fewer)
    assert [using.predict(m) for m in new_measurements] == [expected.predict(m) for m in new_measurements]
    assert set(using.describe()["features"]) == set(names)
    assert predictor.using(FEATURE_NAMES) is predictor
    assert any(math.isnan(value) for value in rows[0].features.values())
    measured = [name for name, value in rows[0].features.items() if not math.isnan(value)]
    assert predictor.using(measured) is predictor


def test_what_a_measurement_lacks_is_no_extrapolation_for_a_predictor_without_it(predictor, new_measurements):
    bare = [dataclasses.replace(m, companions={}) for m in new_measurements]
    assert all(predictor.predict(m).extrapolation for m in bare)
    using = predictor.using([name for name, value in make_features(bare[0]).items() if math.isfinite(value)])
    assert not all(using.predict(m).extrapolation for m in bare)


def test_using_none_of_its_features_is_refused(predictor):
    with pytest.raises(CalibrationError, match="none of the calibrator's features is given"):
        predictor.using(["phase_of_moon"])


def test_refitted_with_another_coverage_or_estimator_is_a_fit_with_it(predictor, rows, new_measurements):
    measurement = new_measurements[0]
    for options in ({"coverage": 0.5}, {"estimator": "isotonic"}):
        refitted = predictor.refit(**options)
        assert refitted.predict(measurement) == GapPredictor.fit(rows, **options).predict(measurement)
        assert refitted.predict(measurement) != predictor.predict(measurement)
        assert refitted.metadata == predictor.metadata
    assert predictor.refit() is predictor.refit(estimator="ridge", coverage=0.9) is predictor
    with pytest.raises(CalibrationError, match="expected one of ridge"):
        predictor.refit(estimator="forest")


@pytest.mark.parametrize("estimator", ESTIMATOR_NAMES)
def test_saved_and_loaded_predicts_the_same(tmp_path, rows, new_measurements, estimator):
    predictor = GapPredictor.fit(rows, estimator=estimator, coverage=0.8, metadata={"fingerprint": "abc"})
    path = tmp_path / "calibrator.json"
    predictor.save(path)
    loaded = GapPredictor.load(path)
    assert loaded.predict(new_measurements[0]) == predictor.predict(new_measurements[0])
    assert loaded.to_dict() == predictor.to_dict() == json.loads(path.read_text())
    assert loaded.metadata == {"fingerprint": "abc"}
    assert [p.name for p in tmp_path.iterdir()] == ["calibrator.json"]


def test_the_file_is_strict_json_though_features_are_missing(tmp_path, rows):
    assert any(math.isnan(value) for value in rows[0].features.values())
    GapPredictor.fit(rows).save(tmp_path / "calibrator.json")
    json.loads((tmp_path / "calibrator.json").read_text(), parse_constant=pytest.fail)


def test_a_file_of_a_former_release_and_one_that_says_more_are_read(predictor, new_measurements):
    """Version 1 had neither "estimator_choice" nor sources; what is added to it later is no reason to refuse it."""
    document = json.loads(json.dumps(predictor.to_dict()))
    assert set(document) == {"schema", "schema_version", "specification", "features", "metadata", "rows"}
    del document["metadata"]
    document["note"] = document["specification"]["note"] = document["rows"][0]["note"] = "added later"
    loaded = GapPredictor.from_dict(document)
    assert loaded.predict(new_measurements[0]) == predictor.predict(new_measurements[0])


def set_key(*keys):
    def change(document, value):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (set_key("schema"), "other", "not a calibrator"),
        (set_key("schema_version"), 2, "schema_version is 2, this version of flatselect reads 1"),
        (set_key("schema_version"), None, "schema_version is None"),
        (set_key("specification", "estimator"), "forest", "expected one of ridge, isotonic, gaussian_process"),
        (set_key("specification", "coverage"), 2, "coverage = 2.0; expected a number between 0 and 1"),
        (set_key("specification", "coverage"), "most", "damaged"),
        (set_key("specification"), [], "damaged"),
        (set_key("features"), ["train_score"], "damaged"),
        (set_key("features", "phase_of_moon"), "full or not", "unknown feature 'phase_of_moon'"),
        (set_key("features", "train_score"), "loss", "feature 'train_score' means 'loss' there"),
        (set_key("rows"), 7, "damaged"),
        (set_key("rows"), [], "at least 2 rows"),
        (set_key("rows", 0), {}, "damaged"),
        (set_key("rows", 0, "epoch"), math.inf, "damaged"),
        (set_key("rows", 0, "test_gap"), 1.5, "test_gap = 1.5 is no difference of two accuracies"),
        (set_key("rows", 0, "test_gap"), math.nan, "test_gap = nan"),
        (set_key("rows", 0, "features", "train_score"), math.inf, "train_score is infinite"),
        (set_key("rows", 0, "features", "phase_of_moon"), 1, "unknown feature 'phase_of_moon'"),
        (set_key("rows", 0, "features"), None, "damaged"),
    ],
)
def test_a_damaged_artifact_is_refused(predictor, change, value, message):
    document = json.loads(json.dumps(predictor.to_dict()))
    change(document, value)
    with pytest.raises(CalibrationError, match=message):
        GapPredictor.from_dict(document)


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x04\x95", b"[1, 2]", b"null", b"[" * 100_000])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    path = tmp_path / "calibrator.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"calibrator\.json: not"):
        GapPredictor.load(path)


def test_a_missing_file_and_folder_are_named(tmp_path, predictor):
    with pytest.raises(CalibrationError, match="no such calibrator file"):
        GapPredictor.load(tmp_path / "none.json")
    with pytest.raises(CalibrationError, match="cannot be written"):
        predictor.save(tmp_path / "none" / "calibrator.json")


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path, rows, predictor):
    path = tmp_path / "calibrator.json"
    predictor.save(path)
    with pytest.raises(CalibrationError, match="metadata"):
        GapPredictor.fit(rows, metadata={"when": object()}).save(path)
    assert GapPredictor.load(path).metadata == predictor.metadata


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, predictor):
    with pytest.raises(CalibrationError, match=r"calibrator\.json: cannot be written \(No space left"):
        predictor.save(tmp_path / "calibrator.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"estimator": "forest"}, "expected one of ridge"), ({"coverage": 0.0}, "expected a number between 0 and 1")],
)
def test_unknown_options_are_refused(rows, options, message):
    with pytest.raises(CalibrationError, match=message):
        GapPredictor.fit(rows, **options)


@pytest.mark.parametrize("estimator", ESTIMATOR_NAMES)
@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows_are_refused(rows, n_rows, estimator):
    with pytest.raises(CalibrationError, match=f"at least 2 rows with a measured test gap, not {n_rows}"):
        GapPredictor.fit(rows[:n_rows], estimator=estimator)


@pytest.mark.parametrize("estimator", ESTIMATOR_NAMES)
def test_rows_that_hold_nothing_predict_the_mean_gap(new_measurements, estimator):
    empty = [CalibrationRow(str(trial), 1, {}, gap) for trial, gap in enumerate([0.1, 0.2, 0.3])]
    predictor = GapPredictor.fit(empty, estimator=estimator)
    assert predictor.predict(new_measurements[0]).predicted_test_gap == pytest.approx(0.2)
    description = json.loads(json.dumps(predictor.describe(), allow_nan=False))
    assert description["features"] == []
    assert description["flatness_lift"]["lift"] == 0
    assert description["flatness_lift"]["p_value"] is None


def test_description_is_json_with_held_out_quality(predictor):
    description = json.loads(json.dumps(predictor.describe(), allow_nan=False))
    assert (description["n_rows"], description["n_groups"], description["estimator"]) == (64, 8, "ridge")
    assert "log_relative_gap_flatness" in description["features"]
    assert "log_n_train_images" not in description["features"]
    quality = description["cross_validated"]
    assert 0 < quality["mae"] < 0.03
    assert quality["spearman"] > 0.9
    assert 0.7 < quality["coverage"] <= 1
    assert 0.7 < quality["kendall"] < quality["spearman"]
    assert [level["nominal"] for level in quality["reliability"]] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    observed = [level["observed"] for level in quality["reliability"]]
    assert observed == sorted(observed)
    assert observed[4] == quality["coverage"]
    assert quality["mae"] == description["flatness_lift"]["mae"]
    assert description["flatness_lift"]["n_groups"] == 8
    assert description["estimator_choice"] == {"name": "ridge", "scores": {}, "reason": "asked for"}


def test_description_of_cross_validation_is_honest(rows, predictor):
    """The stated error is close to that of fitting without each trial and predicting it."""
    errors = []
    for group in sorted({row.group for row in rows}):
        calibrator = predictor.without(group).calibrator
        own = [row for row in rows if row.group == group]
        X = [[row.features.get(name, np.nan) for name in FEATURE_NAMES] for row in own]
        errors.append(np.abs(calibrator.predict(X) - [row.test_gap for row in own]).mean())
    assert predictor.describe()["cross_validated"]["mae"] == pytest.approx(np.mean(errors), rel=0.25)


@pytest.mark.parametrize("n_trials", [1, 2, 3])
def test_few_trials_are_described_too(make_curves, n_trials):
    description = GapPredictor.fit(make_rows(make_curves(n_trials, seed=2))).describe()
    json.dumps(description, allow_nan=False)
    assert description["n_groups"] == n_trials


def test_constant_gaps_are_described_without_numbers_that_are_not_defined(rows):
    constant = [dataclasses.replace(row, test_gap=0.05) for row in rows]
    quality = GapPredictor.fit(constant).describe()["cross_validated"]
    assert quality["r2"] is None
    assert all(level["observed"] == 1 for level in quality["reliability"])
    assert quality["mae"] == pytest.approx(0, abs=1e-12)


def test_flatness_lift_vanishes_when_flatness_is_shuffled(make_curves):
    lifts, shuffled = [], []  # (lift, p-value)
    for seed in range(20):
        rows = make_rows(make_curves(16, seed=seed, of_flatness=0.04, n_epochs=4))
        order = np.random.default_rng(seed).permutation(len(rows))
        mixed = [
            dataclasses.replace(
                row, features=row.features | {name: rows[other].features[name] for name in FLATNESS_FEATURES}
            )
            for row, other in zip(rows, order, strict=True)
        ]
        for found, given in ((lifts, rows), (shuffled, mixed)):
            lift = GapPredictor.fit(given).describe()["flatness_lift"]
            found.append((lift["lift"], lift["p_value"]))
    (true_lift, true_p), (no_lift, no_p) = np.transpose(lifts), np.transpose(shuffled)
    assert np.mean(true_lift) > 0.008
    assert np.mean(true_p < 0.05) > 0.9
    assert abs(np.mean(no_lift)) < 0.001
    assert np.mean(no_p < 0.05) <= 0.1
    assert np.median(no_p) > 0.4


@pytest.mark.parametrize("estimator", [name for name in CANDIDATE_NAMES if name != "ridge"])
def test_every_regressor_says_that_shuffled_flatness_adds_nothing(make_curves, estimator):
    found = []
    for seed in range(4):
        rows = make_rows(make_curves(8, seed=seed, of_flatness=0.04, n_epochs=3))
        order = np.random.default_rng(seed).permutation(len(rows))
        mixed = [
            dataclasses.replace(
                row, features=row.features | {name: rows[other].features[name] for name in FLATNESS_FEATURES}
            )
            for row, other in zip(rows, order, strict=True)
        ]
        lift = GapPredictor.fit(mixed, estimator=estimator).describe()["flatness_lift"]
        found.append((lift["lift"], 1.0 if lift["p_value"] is None else lift["p_value"]))
    lifts, p_values = np.transpose(found)
    assert abs(np.mean(lifts)) < 0.002
    assert np.median(p_values) > 0.2


def test_nothing_is_said_of_flatness_where_gaps_do_not_depend_on_it(make_curves):
    lifts = [
        GapPredictor.fit(make_rows(make_curves(8, seed=seed, of_flatness=0.0))).describe()["flatness_lift"]["lift"]
        for seed in range(20)
    ]
    assert abs(np.mean(lifts)) < 0.002


def test_rows_refuse_features_nobody_knows():
    with pytest.raises(CalibrationError, match="group 'a', epoch 2: unknown feature 'kappa'"):
        CalibrationRow("a", 2, {"kappa": 1.0}, 0.1)


def test_a_held_out_score_never_changes_the_prediction_of_its_own_measurement(predictor):
    measurement = EpochMeasurement(2, 0.9, 0.2, 800, 5000, relative_gap_flatness=0.5, holdout_score=0.1)
    assert predictor.predict(measurement) == predictor.predict(dataclasses.replace(measurement, holdout_score=None))
