"""Two drivers on one study, in one PostgreSQL database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from searching import Listener, MakeStudy, comparable, open_reader, read_weights, wait_until

from flatselect.config import StudyConfig
from flatselect.search.events import SearchStatus
from flatselect.search.run import run_search
from flatselect.search_space import Candidate, suggest
from flatselect.store.run_records import AttemptRecord

pytestmark = [pytest.mark.postgresql, pytest.mark.end_to_end]
# Which parameters a trial gets must not depend on who asks for it.
RANDOM = "study.sampler=random"


class Driver:
    """`flatselect search` in a process of its own."""

    def __init__(self, config: StudyConfig, url: str, *overrides: str) -> None:
        assert config.study.storage is not None
        assert config.study.checkpoints is not None
        folder = Path(config.study.checkpoints).parent
        settings = [f"study.storage={url}", f"study.checkpoints={config.study.checkpoints}", RANDOM, *overrides]
        command = [sys.executable, "-m", "flatselect", "search", str(folder / "tiny.toml"), "--json"]
        command += [part for setting in settings for part in ("--set", setting)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self) -> dict[str, Any]:
        output, self.messages = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, self.messages
        return dict(json.loads(output))


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    started: list[Driver] = []
    yield started
    for driver in started:
        driver.process.kill()
        driver.process.communicate()


def read_attempts(url: str) -> list[AttemptRecord]:
    with closing(open_reader(url)) as reader:
        return reader.attempts()


def wait_for_epochs(url: str, n_epochs: int) -> None:
    """Until the trials that run have so many epochs together."""
    count = (
        "SELECT count(*) FROM flatselect_measurements "
        "JOIN flatselect_attempts USING (study_uid, trial_number, attempt) WHERE outcome = 'running'"
    )

    def have_begun() -> bool:
        with psycopg.connect(url) as connection, contextlib.suppress(psycopg.errors.UndefinedTable):
            row = connection.execute(count).fetchone()
            return row is not None and row[0] >= n_epochs
        return False

    wait_until(have_begun)


def stop_between_transactions(driver: Driver, url: str) -> None:
    """In the middle of a trial. What it had locked in a transaction, others would get in two minutes only."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"

    def is_stopped() -> bool:
        driver.process.send_signal(signal.SIGSTOP)
        with psycopg.connect(url) as connection:
            row = connection.execute(busy).fetchone()
        if row == (1,) and any(a.outcome == "running" for a in read_attempts(url)):  # one: this question
            return True
        driver.process.send_signal(signal.SIGCONT)
        return False

    wait_until(is_stopped)


def test_two_drivers_share_the_trials(make_study: MakeStudy, postgresql_url: str, drivers: list[Driver]) -> None:
    alone = make_study(RANDOM, folder="alone")
    expected = run_search(alone)
    shared = make_study(folder="shared")
    drivers += [Driver(shared, postgresql_url) for _ in range(2)]
    results = [driver.finish() for driver in drivers]
    attempts = read_attempts(postgresql_url)
    assert [(a.trial_number, a.attempt) for a in attempts] == [(number, 1) for number in range(8)]
    assert {a.outcome for a in attempts} <= {"complete", "pruned"}
    assert len({a.run_uid for a in attempts}) == 2, "one of the two did nothing"
    with closing(open_reader(postgresql_url)) as reader:
        trials = reader.trials(include_audits=True)
        curves, weights = reader.measurements(), read_weights(reader)
        assert [run.outcome for run in reader.runs()] == ["complete", "complete"]
        assert all(trial.prediction is not None and trial.audit_test_score is not None for trial in trials)
    assert [t.params for t in trials] == [t.params for t in expected.trials]
    assert [t.is_calibration for t in trials] == [t.is_calibration for t in expected.trials]
    # Whether one is pruned depends on which trials had finished; what it trained up to there does not.
    with closing(open_reader(str(alone.study.storage))) as reader:
        for number, curve in reader.measurements().items():
            n_epochs = min(len(curve), len(curves[number]))
            assert [m.train_loss for m in curve[:n_epochs]] == [m.train_loss for m in curves[number][:n_epochs]]
        for number, state in read_weights(reader).items():
            if len(curves[number]) == len(reader.measurements(number)[number]):
                assert all(tensor.equal(weights[number][name]) for name, tensor in state.items())
    # One calibrator: the predictions of both drivers are of the same.
    assert results[0]["calibrator"] == results[1]["calibrator"] != None  # noqa: E711
    assert expected.calibrator is not None
    assert results[0]["calibrator"]["n_groups"] == expected.calibrator["n_groups"]


def test_what_a_killed_driver_ran_goes_to_the_other_while_it_runs(
    make_study: MakeStudy, postgresql_url: str, drivers: list[Driver]
) -> None:
    config = make_study("study.trials=12", folder="shared")
    first, second = (Driver(config, postgresql_url, "study.trials=12", "training.epochs=12") for _ in range(2))
    drivers += [first, second]
    wait_for_epochs(postgresql_url, 2)
    wait_until(lambda: len({a.run_uid for a in read_attempts(postgresql_url) if a.outcome == "running"}) == 2)
    first.process.send_signal(signal.SIGKILL)
    second.finish()
    attempts = read_attempts(postgresql_url)
    lost = [attempt for attempt in attempts if attempt.outcome == "lost"]
    assert len(lost) == 1
    assert [a.outcome for a in attempts if a.trial_number == lost[0].trial_number and a.attempt == 2] != []
    assert f"trial {lost[0].trial_number}: its driver died; attempt 2 follows" in second.messages
    with closing(open_reader(postgresql_url)) as reader:
        assert sorted(run.outcome for run in reader.runs()) == ["complete", "died"]
        assert [t.state in ("COMPLETE", "PRUNED") for t in reader.trials(include_audits=False)] == [True] * 12


def test_a_driver_that_hung_leaves_its_trials_to_who_took_them(
    make_study: MakeStudy, postgresql_url: str, drivers: list[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatselect.search.liveness.STALE_SECONDS", 3.0)
    config = make_study(f"study.storage={postgresql_url}", RANDOM, "training.epochs=6", folder="shared")
    hung = Driver(config, postgresql_url, "training.epochs=6")
    drivers.append(hung)
    wait_for_epochs(postgresql_url, 2)
    stop_between_transactions(hung, postgresql_url)
    (taken,) = [a.trial_number for a in read_attempts(postgresql_url) if a.outcome == "running"]
    time.sleep(4)
    listener = Listener()
    result = run_search(config, listener)
    hung.process.send_signal(signal.SIGCONT)
    _, messages = hung.process.communicate(timeout=120)
    assert hung.process.returncode == 1
    assert "another process took this search for dead" in messages
    assert "Traceback" not in messages
    assert result.trials[taken].attempts == 2
    assert [t.attempts for t in result.trials if t.number != taken] == [1] * 7
    study = optuna.load_study(study_name="tiny", storage=postgresql_url.replace("postgresql:", "postgresql+psycopg:"))
    assert all(trial.state.is_finished() for trial in study.trials)
    study._storage._backend.engine.dispose()
    undisturbed = run_search(make_study(RANDOM, "training.epochs=6", folder="alone"))
    assert comparable(result, "attempts") == comparable(undisturbed, "attempts")


def test_a_calibration_trial_that_somebody_completed_by_hand_is_no_part_of_the_calibration(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no epoch, and is complete for Optuna."""
    config = make_study()

    def suggest_and_end(trial: optuna.Trial, config: StudyConfig) -> Candidate:
        candidate = suggest(trial, config)
        if trial.number == 1:
            study = optuna.load_study(study_name="tiny", storage=config.study.storage)
            study.tell(1, 0.5, skip_if_finished=True)
        return candidate

    monkeypatch.setattr("flatselect.search.trial_queue.suggest", suggest_and_end)
    result = run_search(config)
    assert result.trials[1].state == "COMPLETE"
    assert result.trials[1].epochs == 0
    assert result.trials[1].prediction is None
    with closing(open_reader(str(config.study.storage))) as reader:
        calibrator = reader.latest_calibrator()
    assert calibrator is not None
    assert {row["group"] for row in calibrator[1]["rows"]} == {"0", "2", "3"}
    assert all(trial.prediction for trial in result.trials if trial.number != 1)


def test_trials_that_somebody_ended_by_hand_are_left_to_them(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs no server: the driver hears of it when a worker reports.

    One is ended as it is asked for, a moment that cannot be met from outside; others in their second and last epoch.
    """
    config = make_study("pruner.margin=1")
    epochs_done = {5: 1, 6: 2}

    def end(number: int) -> None:
        study = optuna.load_study(study_name="tiny", storage=config.study.storage)
        study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def suggest_and_end(trial: optuna.Trial, config: StudyConfig) -> Candidate:
        candidate = suggest(trial, config)
        if trial.number == 4:
            end(4)
        return candidate

    class EndSome(Listener):
        def show(self, status: SearchStatus) -> None:
            for number, epoch in status.running.items():
                if epochs_done.get(number) == epoch:
                    end(number)

    monkeypatch.setattr("flatselect.search.trial_queue.suggest", suggest_and_end)
    listener = EndSome()
    result = run_search(config, listener)
    left = [f"trial {number}: was ended by another process, and is left to it" for number in (4, 5, 6)]
    assert [message for message in listener.messages if "ended by another" in message] == left
    assert [t.number for t in result.trials if t.state == "FAIL"] == [4, 5, 6]
    with closing(open_reader(str(config.study.storage))) as reader:
        outcomes = {a.trial_number: (a.outcome, a.failure and a.failure.kind) for a in reader.attempts()}
        curves = reader.measurements()
    assert [len(curves.get(number, [])) for number in (4, 5, 6)] == [0, 2, 3]
    assert [outcomes[number] for number in (4, 5, 6)] == [("lost", "EndedElsewhere")] * 3
    study = optuna.load_study(study_name="tiny", storage=config.study.storage)
    assert [len(trial.intermediate_values) for trial in study.trials[4:7]] == [0, 1, 2]
