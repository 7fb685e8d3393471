"""Trials that a dead run left running, ended as failed because a user asks for it."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from optuna.trial import TrialState

from flatselect.errors import SearchError
from flatselect.records import Failure
from flatselect.search.liveness import describe_living, identify_machine, is_alive, read_clock
from flatselect.search.study_identity import OpenStudy
from flatselect.search.versions import collect_versions
from flatselect.store.run_records import TIDYING
from flatselect.store.study_reader import FAILURE_ATTRIBUTE, AttemptRecord, OptunaTrial, RunRecord


@dataclass(frozen=True)
class LeftTrial:
    """A trial that is RUNNING in the database while no run of its study is alive.

    Attributes:
        trial_id: Optuna's own.
        last_attempt: None if its run died before it was started.
        last_sign: Of life, of the trial or of the run that had it; UTC, without a zone.
        run: That run; None where it is not known.
    """

    number: int
    trial_id: int
    last_attempt: int | None
    last_sign: datetime
    run: RunRecord | None

    def is_stale(self, age: timedelta) -> bool:
        """Whether it has shown no sign of life for so long."""
        return read_clock() - self.last_sign >= age

    def describe(self) -> str:
        """Why it is taken for dead."""
        run = "its run" if self.run is None else f"its run (process {self.run.pid} on {self.run.host})"
        return f"{run} is not alive; last sign of life {self.last_sign:%Y-%m-%d %H:%M:%S} UTC"


def find_left_trials(opened: OpenStudy) -> list[LeftTrial]:
    """The trials that no living run has, by number; the next search would go on with them.

    Raises:
        SearchError: A run of the study is alive: it has taken up what dead runs left.
    """
    for run in opened.reader.runs():
        _refuse_if_alive(opened, run)
    return _read_left_trials(opened)


def fail_stale_trials(opened: OpenStudy, age: timedelta) -> list[LeftTrial]:
    """Ends as failed the trials that no living run has and that have shown no sign of life for so long.

    Returns:
        Those that were ended, by number.

    Raises:
        SearchError: A run of the study is alive.
    """
    if not any(trial.is_stale(age) for trial in find_left_trials(opened)):
        return []
    # As a run of its own: until this is done no search can start and take these trials up.
    run_uid = opened.writer.start_run(
        socket.gethostname(),
        os.getpid(),
        TIDYING,
        collect_versions(),
        {},
        lambda run: _refuse_if_alive(opened, run),
        machine=identify_machine(),
    )
    outcome = "failed"
    try:
        stale = [trial for trial in _read_left_trials(opened) if trial.is_stale(age)]
        for trial in stale:
            _fail(opened, trial)
        outcome = "complete"
    finally:
        opened.writer.end_run(run_uid, outcome)
    return stale


def _refuse_if_alive(opened: OpenStudy, run: RunRecord) -> bool:
    """False: the run is dead."""
    if is_alive(run):
        raise SearchError(
            f"study {opened.study.study_name!r} {describe_living(run)}, which has its trials and goes on with those "
            "of dead runs; stop it first, to end trials as failed"
        )
    return False


def _read_left_trials(opened: OpenStudy) -> list[LeftTrial]:
    runs = {run.uid: run for run in opened.reader.runs()}
    attempts = {attempt.trial_number: attempt for attempt in opened.reader.attempts()}
    return [
        _make_left_trial(trial, attempts.get(trial.number), runs)
        for trial in opened.reader.optuna_trials()
        if trial.state == "RUNNING"
    ]


def _make_left_trial(trial: OptunaTrial, last: AttemptRecord | None, runs: dict[str, RunRecord]) -> LeftTrial:
    if last is None:
        assert trial.started_at is not None, "a running trial has begun"
        return LeftTrial(trial.number, trial.trial_id, None, trial.started_at, None)
    run = runs[last.run_uid]
    signs = [run.heartbeat_at, last.started_at, last.ended_at or last.started_at]
    return LeftTrial(trial.number, trial.trial_id, last.attempt, max(signs), run)


def _fail(opened: OpenStudy, trial: LeftTrial) -> None:
    failure = Failure("Stale", trial.describe())
    opened.storage.set_trial_user_attr(trial.trial_id, FAILURE_ATTRIBUTE, str(failure))
    if trial.last_attempt is not None:
        opened.writer.end_attempt(trial.number, trial.last_attempt, "fail", failure=failure)
    opened.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
