"""What became of every trial, attempt by attempt."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flatselect.search.liveness import is_alive, read_clock
from flatselect.store.study_reader import AttemptRecord, OptunaTrial, RunRecord, StudyReader


@dataclass(frozen=True)
class AttemptHistory:
    """One start of a trial.

    Attributes:
        attempt: From 1.
        outcome: running, complete, pruned, fail, lost (its worker or its run died) or interrupted.
        epochs: Measured epochs that the trial had when the attempt ended, or has now.
        run: The process that drove it.
        seconds: From its start to its end, to now, or to the last sign of life of a run that died.
        reason: Why it was pruned, failed, was lost or does not go on; None where there is nothing to say.
        traceback: The end of the candidate's own traceback, else empty.
    """

    attempt: int
    outcome: str
    epochs: int
    run: RunRecord
    started_at: datetime
    seconds: float
    reason: str | None
    traceback: str


@dataclass(frozen=True)
class TrialHistory:
    """A trial and its attempts; one that waits in Optuna's queue, or was never started, has none.

    Attributes:
        state: Optuna's: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        reason: Why it failed, waits or does not go on, where no attempt says so.
        retrains: The trial whose candidate it trains again, as one of the best.
        retries: The failed trial whose candidate it tries again.
        retried_as: The trial that tries its candidate again.
    """

    number: int
    state: str
    params: dict[str, Any]
    model: str
    is_calibration: bool
    reason: str | None
    retrains: int | None
    retries: int | None
    retried_as: int | None
    attempts: tuple[AttemptHistory, ...]


def read_history(reader: StudyReader) -> list[TrialHistory]:
    """The history of every trial of a study, those that wait to be started too, by number.

    Raises:
        StoreError: The database cannot be used.
    """
    runs = {run.uid: run for run in reader.runs()}
    living = {uid for uid, run in runs.items() if is_alive(run)}
    sent = reader.epochs_by_attempt()
    attempts: dict[int, list[AttemptRecord]] = {}
    for attempt in reader.attempts():
        attempts.setdefault(attempt.trial_number, []).append(attempt)
    trials = reader.optuna_trials()
    retried_as = {trial.retries: trial.number for trial in trials if trial.retries is not None}
    histories = []
    for trial in trials:
        number, own = trial.number, attempts.get(trial.number, [])
        histories.append(
            TrialHistory(
                number=number,
                state=trial.state,
                params=trial.params or trial.queued_params,
                model=own[-1].model if own else "",
                is_calibration=bool(own and own[-1].is_calibration),
                reason=None if own else _explain_unstarted(trial, is_searched=bool(living)),
                retrains=trial.retrains,
                retries=trial.retries,
                retried_as=retried_as.get(number),
                attempts=tuple(
                    _describe_attempt(
                        attempt,
                        max(sent.get((number, earlier.attempt), 0) for earlier in own[: position + 1]),
                        runs[attempt.run_uid],
                        # Nobody goes on with it unless a search is started.
                        is_left=trial.state == "RUNNING" and attempt is own[-1] and not living,
                    )
                    for position, attempt in enumerate(own)
                ),
            )
        )
    return histories


def _describe_attempt(attempt: AttemptRecord, epochs: int, run: RunRecord, *, is_left: bool) -> AttemptHistory:
    failure = attempt.failure
    reason = attempt.pruned_because if failure is None else str(failure)
    if is_left:
        what = "its run died" if attempt.outcome == "running" else reason
        reason = "; ".join(filter(None, [what, "the next search goes on with it"]))
    ended_at = attempt.ended_at or (run.heartbeat_at if is_left else read_clock())
    return AttemptHistory(
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        epochs=epochs,
        run=run,
        started_at=attempt.started_at,
        seconds=max(0.0, (ended_at - attempt.started_at).total_seconds()),
        reason=reason,
        traceback=failure.traceback if failure else "",
    )


def _explain_unstarted(trial: OptunaTrial, *, is_searched: bool) -> str | None:
    if trial.state == "WAITING":
        return "waits for the running search" if is_searched else "waits for the next search"
    if trial.state == "RUNNING" and not is_searched:
        return "its run died before it started; the next search goes on with it"
    return trial.failure
