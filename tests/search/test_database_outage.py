"""A PostgreSQL server that goes away in the middle of a search, and comes back."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing

import optuna
import psycopg
import pytest
from searching import Listener, MakeStudy, Undisturbed, comparable, open_reader, read_weights
from sqlalchemy.exc import OperationalError

from flatselect.errors import StoreError
from flatselect.search.events import SearchStatus
from flatselect.search.run import run_search
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.patience import Patience, is_passing
from flatselect.store.study_reader import StudyReader

pytestmark = pytest.mark.postgresql
Outage = Callable[[float], None]


class StopServer(Listener):
    """Stops the server at some of the driver's rounds."""

    def __init__(self, outage: Outage, at_epochs: list[int], seconds: float) -> None:
        super().__init__()
        self.outage, self.at_epochs, self.seconds = outage, at_epochs, seconds

    def show(self, status: SearchStatus) -> None:
        if self.at_epochs and status.n_epochs_run >= self.at_epochs[0]:
            self.at_epochs.pop(0)
            self.outage(self.seconds)


def assert_same_weights(one: StudyReader, other: StudyReader) -> None:
    weights = read_weights(one)
    for number, state in read_weights(other).items():
        assert all(tensor.equal(weights[number][name]) for name, tensor in state.items()), number
    assert weights.keys() == read_weights(other).keys()


def test_a_search_outlives_the_server(
    make_study: MakeStudy, undisturbed: Undisturbed, postgresql_url: str, outage: Outage
) -> None:
    config = make_study(f"study.storage={postgresql_url}")
    observer = StopServer(outage, [2, 11, 17], 3.0)
    result = run_search(config, observer)
    assert observer.at_epochs == []
    assert sum("does not answer" in message for message in observer.messages) == 3
    assert sum("answers again" in message for message in observer.messages) == 3
    assert comparable(result) == comparable(undisturbed[1])
    assert all(trial.attempts == 1 for trial in result.trials)
    with (
        closing(open_reader(postgresql_url)) as disturbed,
        closing(open_reader(str(undisturbed[0].study.storage))) as reader,
    ):
        assert_same_weights(disturbed, reader)


def test_patience_has_an_end_and_the_next_run_goes_on(
    make_study: MakeStudy, undisturbed: Undisturbed, postgresql_url: str, outage: Outage
) -> None:
    config = make_study(f"study.storage={postgresql_url}", "study.storage_timeout=1")
    with pytest.raises(StoreError, match="is the server running"):
        run_search(config, StopServer(outage, [8], 5.0))
    Patience(30).call(lambda: psycopg.connect(postgresql_url).close(), lambda error: _as_refused(error))
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")


def test_a_stop_is_heard_while_the_server_is_away(
    make_study: MakeStudy, postgresql_url: str, outage: Outage, undisturbed: Undisturbed
) -> None:
    class StopBoth(StopServer):
        def say(self, message: str) -> None:
            super().say(message)
            if "does not answer" in message:
                threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    config = make_study(f"study.storage={postgresql_url}")
    with pytest.raises(StoreError):
        run_search(config, StopBoth(outage, [8], 6.0))
    Patience(30).call(lambda: psycopg.connect(postgresql_url).close(), lambda error: _as_refused(error))
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")


def _as_refused(error: Exception) -> Exception | None:
    return OperationalError("connect", None, error) if isinstance(error, psycopg.OperationalError) else None


def test_an_end_whose_answer_was_lost_is_an_end(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = make_optuna_storage(postgresql_url, patience=Patience(10))
    study = optuna.create_study(storage=storage, study_name="lost")
    trial = study.ask()
    set_values = optuna.storages.RDBStorage.set_trial_state_values
    lost = []

    def lose_the_answer(self: object, *arguments: object) -> object:
        answer = set_values(self, *arguments)
        if not lost:
            lost.append(answer)
            gone = psycopg.errors.AdminShutdown("terminating connection due to administrator command")
            raise optuna.exceptions.StorageInternalError from OperationalError("COMMIT", None, gone)
        return answer

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_state_values", lose_the_answer)
    study.tell(trial, 2.0)
    assert (study.trials[0].state.name, study.trials[0].value) == ("COMPLETE", 2.0)
    with pytest.raises(ValueError, match="Cannot tell a COMPLETE trial"):
        study.tell(trial.number, 3.0)
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (psycopg.errors.AdminShutdown, True),
        (psycopg.errors.CannotConnectNow, True),
        (psycopg.errors.ConnectionFailure, True),
        (psycopg.errors.TooManyConnections, True),
        (psycopg.errors.DeadlockDetected, True),
        (psycopg.OperationalError, True),
        (psycopg.errors.UndefinedTable, False),
        (psycopg.errors.InvalidPassword, False),
        (psycopg.errors.UniqueViolation, False),
        (psycopg.DataError, False),
    ],
)
def test_what_passes_by_itself(kind: type[psycopg.Error], expected: bool) -> None:
    assert is_passing(OperationalError("SELECT", None, kind("reason"))) == expected
    assert not is_passing(kind("not in SQLAlchemy's hands"))
