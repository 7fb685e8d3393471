"""Trials as Optuna and our tables know them together, and studies found by name."""

import dataclasses
import json
import subprocess
import sys
import uuid

import optuna
import pytest

from flatselect.errors import StoreError
from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE, StudyReader, find_study, list_studies
from flatselect.store.study_writer import StudyWriter

PREDICTION = Prediction(0.1, (0.05, 0.15), 0.8, (0.75, 0.85))


@pytest.fixture
def storage(database_url):
    storage = make_optuna_storage(database_url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def make_study(engine, storage):
    def make(name):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
        writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], name, {}, {})
        return study, writer, writer.start_run("host", 1, "inline", {}, {})

    return make


@pytest.fixture
def find(engine):
    """Finds a study, and closes its reader's connections after the test."""
    found = []

    def find(name):
        found.append(find_study(engine, name))
        return found[-1]

    yield find
    for reader in found:
        reader.close()


def _measure(epoch, flatness=1.0, **values):
    return EpochMeasurement(
        epoch=epoch,
        train_score=0.8 + epoch / 100,
        train_loss=0.5,
        n_train_images=100,
        n_parameters=10,
        relative_gap_flatness=flatness,
        train_seconds=1.0,
        measure_seconds=0.25,
        **values,
    )


def test_trials_of_every_state(make_study, find):
    study, writer, run = make_study("digits")
    for number in range(4):
        trial = study.ask()
        trial.suggest_float("learning_rate", 0.1, 0.2)
        trial.suggest_categorical("norm", ["batch", "none"])
        writer.start_attempt(number, 1, run, is_calibration=number == 0, candidate={}, model=f"cnn {number}")
    study.enqueue_trial({"learning_rate": 0.15})  # WAITING: it has not begun
    old, new = writer.add_calibrator({}, {}), writer.add_calibrator({}, {})

    writer.add_measurements(0, 1, [_measure(1), _measure(2), _measure(3, flatness=None)])
    writer.add_predictions(old, {(0, 2): dataclasses.replace(PREDICTION, predicted_test_gap=0.9)})
    writer.add_predictions(new, {(0, 1): dataclasses.replace(PREDICTION, predicted_test_gap=0.3), (0, 2): PREDICTION})
    study.tell(0, 0.8)
    writer.end_attempt(0, 1, "complete")
    writer.add_audit(0, 0.77, 1.0, 100)

    writer.end_attempt(1, 1, "lost", failure=Failure("WorkerLost", "signal 9"))
    writer.start_attempt(1, 2, run, is_calibration=False, candidate={}, model="cnn 1")
    writer.add_measurements(1, 2, [_measure(1, flatness=None)])
    study.tell(1, state=optuna.trial.TrialState.FAIL)
    writer.end_attempt(1, 2, "fail", failure=Failure("NonFiniteError", "the loss is nan"))

    study.tell(2, state=optuna.trial.TrialState.PRUNED)
    writer.end_attempt(2, 1, "pruned", pruned_because="too sharp")

    reader = find("digits")
    complete, failed, pruned, running = reader.trials(include_audits=True)
    assert [trial.number for trial in reader.trials(include_audits=True)] == [0, 1, 2, 3]
    assert complete.params == study.trials[0].params
    assert (complete.state, complete.attempts, complete.epochs, complete.model) == ("COMPLETE", 1, 3, "cnn 0")
    assert complete.measurement == _measure(2), "the last epoch was not measured"
    assert complete.prediction == PREDICTION
    assert (complete.is_calibration, complete.audit_test_score, complete.failure) == (True, 0.77, None)
    assert complete.seconds == pytest.approx(3.75)
    assert (failed.state, failed.attempts, failed.epochs) == ("FAIL", 2, 1)
    assert failed.failure == "NonFiniteError: the loss is nan"
    assert failed.measurement == _measure(1, flatness=None)
    assert failed.prediction is None
    assert (pruned.state, pruned.epochs, pruned.measurement, pruned.seconds) == ("PRUNED", 0, None, 0.0)
    assert (running.state, running.attempts, running.failure) == ("RUNNING", 1, None)
    assert all(json.dumps(trial.to_json(), allow_nan=False) for trial in reader.trials(include_audits=True))


def test_audits_are_left_out_when_not_asked_for(make_study, find):
    study, writer, _ = make_study("digits")
    study.ask()
    writer.add_audit(0, 0.77, 1.0, 100)
    reader = find("digits")
    assert [trial.audit_test_score for trial in reader.trials(include_audits=False)] == [None]
    assert [trial.audit_test_score for trial in reader.trials(include_audits=True)] == [0.77]


def test_reader_sees_what_came_after_it_was_opened(make_study, find):
    study, writer, _ = make_study("digits")
    reader = find("digits")
    assert reader.trials(include_audits=False) == []
    study.ask()
    writer.add_measurements(0, 1, [_measure(1)])
    assert [trial.epochs for trial in reader.trials(include_audits=False)] == [1]
    writer.add_measurements(0, 1, [_measure(2)])
    study.tell(0, 0.5)
    assert [(trial.epochs, trial.state) for trial in reader.trials(include_audits=False)] == [(2, "COMPLETE")]


def test_study_deleted_and_made_again_starts_with_nothing(make_study, storage, engine, find):
    study, writer, _ = make_study("digits")
    study.ask()
    writer.add_measurements(0, 1, [_measure(1)])
    writer.add_audit(0, 0.5, 1.0, 100)
    former = find("digits")
    optuna.delete_study(study_name="digits", storage=storage)
    with pytest.raises(StoreError, match="none that flatselect made"):
        find_study(engine, "digits")
    with pytest.raises(StoreError, match="the Optuna study of 'digits' was deleted"):
        former.trials(include_audits=True)

    study, writer, _ = make_study("digits")
    study.ask()
    (trial,) = find("digits").trials(include_audits=True)
    assert (trial.measurement, trial.audit_test_score, trial.epochs) == (None, None, 0)
    assert find("digits").measurements() == {}
    assert StudyReader(engine, former.study_uid).measurements() == {0: [_measure(1)]}


def test_list_studies(make_study, storage, engine):
    study, _, _ = make_study("second")
    study.ask()
    study.ask()
    make_study("first")
    optuna.create_study(study_name="optuna's alone", storage=storage)
    assert [(s.name, s.n_trials) for s in list_studies(engine)] == [("second", 2), ("first", 0)]
    assert list_studies(engine)[0].uid == study.user_attrs[UID_ATTRIBUTE]


def test_unknown_study_names_the_nearest_first(make_study, engine):
    for name in ("mnist", "digits-2", "fashion"):
        make_study(name)
    with pytest.raises(StoreError, match="no study 'digits'; there is digits-2, mnist, fashion"):
        find_study(engine, "digits")


def test_database_without_our_tables(engine, storage):
    assert list_studies(engine) == []
    optuna.create_study(study_name="digits", storage=storage)
    with pytest.raises(StoreError, match="none that flatselect made"):
        find_study(engine, "digits")


def test_reading_while_another_process_writes(make_study, database_url, find):
    study, writer, _ = make_study("digits")
    study.ask()
    script = (
        "import sys\n"
        "from flatselect.records import EpochMeasurement\n"
        "from flatselect.store.engine import make_engine\n"
        "from flatselect.store.study_writer import StudyWriter\n"
        "writer = StudyWriter(make_engine(sys.argv[1]), sys.argv[2])\n"
        "for epoch in range(1, 151):\n"
        "    writer.add_measurements(0, 1, [EpochMeasurement(epoch, 0.5, 0.5, 10, 10, 1.0)])\n"
        "    if epoch == 75: sys.stdin.readline()\n"  # so that the reader is sure to come by in the middle
    )
    process = subprocess.Popen([sys.executable, "-c", script, database_url, writer.study_uid], stdin=subprocess.PIPE)
    assert process.stdin is not None
    reader = find("digits")
    seen = []
    while process.poll() is None:
        curve = reader.measurements().get(0, [])
        assert [measurement.epoch for measurement in curve] == list(range(1, len(curve) + 1))
        (trial,) = reader.trials(include_audits=True)
        assert trial.epochs >= len(curve)
        seen.append(len(curve))
        if len(curve) == 75 and not process.stdin.closed:
            process.stdin.close()
    assert process.returncode == 0
    assert len(reader.measurements()[0]) == 150
    assert any(0 < n < 150 for n in seen), "never read in the middle"
    assert seen == sorted(seen)


def test_reader_of_a_second_process_needs_no_writer(make_study, database_url):
    make_study("digits")
    engine = make_engine(database_url, create=False)
    reader = find_study(engine, "digits")
    assert reader.trials(include_audits=True) == []
    reader.close()
