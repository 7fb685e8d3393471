"""The driver's storage beside Optuna's own on the same database: what one writes the other reads."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import optuna
import psycopg
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from flatselect.store.driver_storage import ASKED_ATTRIBUTE, DriverStorage
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.patience import Patience


@pytest.fixture
def storage(database_url: str) -> Iterator[DriverStorage]:
    with closing(DriverStorage(make_optuna_storage(database_url))) as opened:
        yield opened


@pytest.fixture
def elsewhere(storage: DriverStorage, database_url: str) -> Iterator[RDBStorage]:
    """Optuna's own storage, as another process would open it."""
    opened = make_optuna_storage(database_url)
    yield opened
    close_optuna_storage(opened)


@pytest.fixture
def study(storage: DriverStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="shared", sampler=optuna.samplers.RandomSampler(seed=0))


def read(elsewhere: RDBStorage) -> list[FrozenTrial]:
    return elsewhere.get_all_trials(elsewhere.get_study_id_from_name("shared"))


def run_trial(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    trial.suggest_int("width", 2, 8)
    trial.suggest_categorical("block", ["plain", None, 3])
    trial.set_user_attr("role", {"is": [1, "two"]})
    trial.set_user_attr("role", {"is": "changed"})
    for step, value in enumerate([0.5, math.inf, -math.inf, math.nan]):
        trial.report(value, step)
    return trial


def test_times_are_optunas_wherever_the_driver_stands(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        storage.run_uid = "one"
        study.tell(study.ask().number, 0.5)
        (known,), (written,) = study.trials, read(elsewhere)
        assert (written.datetime_start, written.datetime_complete) == (known.datetime_start, known.datetime_complete)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_database_has_what_was_set_once_it_is_flushed_and_once_the_trial_ends(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage
) -> None:
    first, second = run_trial(study), study.ask()
    second.report(0.25, 7)
    storage.flush()
    written = read(elsewhere)
    assert str(written) == str(study.trials)  # NaN, which is in the reports, equals nothing
    assert written[0].params == first.params
    assert written[0].distributions["rate"] == FloatDistribution(1e-3, 1.0, log=True)
    assert written[0].user_attrs["role"] == {"is": "changed"}
    first.report(0.125, 9)
    assert 9 not in read(elsewhere)[0].intermediate_values
    study.tell(first.number, 0.75)
    study.tell(second.number, state=TrialState.PRUNED)
    assert str(read(elsewhere)) == str(study.trials)
    assert [(t.state.name, t.value) for t in study.trials] == [("COMPLETE", 0.75), ("PRUNED", 0.25)]
    assert study.trials[0].intermediate_values[9] == 0.125


def test_a_successor_reads_what_its_predecessor_wrote(study: optuna.Study, database_url: str) -> None:
    study.tell(run_trial(study), 1.0)
    study.ask().set_user_attr("waits", "to be written")
    with closing(DriverStorage(make_optuna_storage(database_url))) as opened:
        again = optuna.load_study(storage=opened, study_name="shared")
        assert str(again.trials[0]) == str(study.trials[0])
        assert again.trials[1].state == TrialState.RUNNING
        assert "waits" not in again.trials[1].user_attrs


def test_what_other_processes_add_run_and_end_is_seen(study: optuna.Study, elsewhere: RDBStorage) -> None:
    assert study.trials == []
    other = optuna.load_study(storage=elsewhere, study_name="shared")
    trial = other.ask()
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    assert study.trials[0].params == trial.params
    other.enqueue_trial({"rate": 0.5})
    own = study.ask()
    assert own.number == 1
    assert own.suggest_float("rate", 1e-3, 1.0, log=True) == 0.5
    other.tell(trial, 1.0)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert study.trials[0].value == 1.0


def test_a_trial_that_another_process_ended_is_not_written_to(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage
) -> None:
    trial, goes_on = study.ask(), study.ask()
    elsewhere.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    trial.report(0.5, 1)
    goes_on.report(0.25, 1)
    storage.flush()
    storage.check_is_running(goes_on._trial_id)
    with pytest.raises(UpdateFinishedTrialError):
        storage.check_is_running(trial._trial_id)
    assert [t.intermediate_values for t in read(elsewhere)] == [{}, {1: 0.25}]
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(0.5, 2)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.RUNNING]


def test_a_trial_that_another_process_ended_is_not_ended_again(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage
) -> None:
    trial = study.ask()
    elsewhere.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    trial.report(0.5, 1)
    with pytest.raises(UpdateFinishedTrialError):
        study.tell(trial.number, 1.0, skip_if_finished=True)  # what is known of it does not say so yet
    storage.flush()
    written = read(elsewhere)
    assert [(t.state, t.values, t.intermediate_values) for t in written] == [(TrialState.FAIL, None, {})]
    assert str(study.trials) == str(written)
    study.tell(trial.number, 1.0, skip_if_finished=True)
    assert study.trials[0].state == TrialState.FAIL


def test_a_step_whose_write_fails_is_written_whole_later(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage, database_url: str
) -> None:
    trial = study.ask()
    storage.flush()
    trial.set_user_attr("one", 1)
    trial.report(0.5, 1)
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE trial_intermediate_values RENAME TO hidden")
    with pytest.raises(Exception, match="trial_intermediate_values"):
        storage.flush()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO trial_intermediate_values")
    engine.dispose()
    assert read(elsewhere)[0].user_attrs == {}
    storage.flush()
    written = read(elsewhere)[0]
    assert (written.user_attrs, written.intermediate_values) == ({"one": 1}, {1: 0.5})


def test_what_was_committed_though_its_answer_was_lost_is_not_done_twice(
    study: optuna.Study, storage: DriverStorage, elsewhere: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits and dies before it says so: injected, as the moment cannot be met from outside."""
    storage.run_uid = "run"
    storage.backend.patience = Patience(10)
    begin, lost = storage.backend.engine.begin, []

    @contextmanager
    def lose_every_other_answer() -> Iterator[Connection]:
        with begin() as connection:
            yield connection
        lost.append(len(lost) % 2 == 0)
        if lost[-1]:
            gone = psycopg.OperationalError("server closed the connection unexpectedly")
            raise OperationalError("COMMIT", None, gone)

    assert study.trials == []
    monkeypatch.setattr(storage.backend.engine, "begin", lose_every_other_answer)
    trial_id = storage.create_new_trial(study._study_id)
    storage.set_trial_intermediate_value(trial_id, 1, 0.25)
    storage.flush()
    storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])
    assert lost == [True, False] * 3
    monkeypatch.undo()
    (written,) = read(elsewhere)
    assert (written.number, written.intermediate_values, written.values) == (0, {1: 0.25}, [0.5])
    assert written.user_attrs[ASKED_ATTRIBUTE].startswith("run/")
    assert str(study.trials) == str([written])
