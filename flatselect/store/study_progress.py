"""How far a study has come, for who looks on while it is searched: a few short questions, also among 10,000 trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, case, func, select

from flatselect.records import Interval
from flatselect.store.engine import run_transaction
from flatselect.store.patience import IMPATIENT, Patience
from flatselect.store.tables import AttemptRow
from flatselect.store.view_columns import OPTUNA_TRIALS, RANKING, TRIALS

_ENDED = ("COMPLETE", "PRUNED", "FAIL")
_COLUMNS = [
    TRIALS.c[name]
    for name in (
        *("number", "state", "model", "is_calibration", "attempts", "epochs", "seconds", "train_score"),
        *("predicted_test_score", "predicted_test_score_low", "predicted_test_score_high", "extrapolation"),
        *("pruned_because", "failure"),
    )
]


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state.

    Attributes:
        begun_repetitions: Of those that have begun, the ones that train another one's candidate again.
        waiting_repetitions: Of those that wait, alike.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    begun_repetitions: int = 0
    waiting_repetitions: int = 0

    @property
    def ended(self) -> int:
        return self.complete + self.pruned + self.failed

    @property
    def searched(self) -> int:
        """Trials that count among `study.trials`."""
        return self.ended + self.running - self.begun_repetitions


@dataclass(frozen=True)
class TrialProgress:
    """One trial as it stands now; scores are of its last measured epoch, None where there is none.

    Attributes:
        attempt: Its last start, from 1; 0 where it was never started.
        run_uid: The run that started it; None alike.
        planned_epochs: Those it is to train; None where that is not known.
        seconds: Spent training and measuring.
        reason: Why it was pruned or failed.
    """

    number: int
    state: str
    model: str
    is_calibration: bool
    attempt: int
    run_uid: str | None
    epochs: int
    planned_epochs: int | None
    seconds: float
    train_score: float | None
    predicted_test_score: float | None
    predicted_test_score_interval: Interval | None
    extrapolation: bool
    reason: str | None

    @property
    def seconds_an_epoch(self) -> float | None:
        return self.seconds / self.epochs if self.epochs and self.seconds else None


class ProgressReader:
    """Reads how far one study has come; every call sees the database as it is then.

    Every method raises StoreError when the database cannot do it, after `patience` has come to its end.
    """

    def __init__(self, engine: Engine, study_uid: str, patience: Patience = IMPATIENT) -> None:
        self._engine = engine
        self._patience = patience
        self._study_uid = study_uid

    def count_trials(self) -> TrialCounts:
        """How many trials are in which state."""
        t = OPTUNA_TRIALS.c
        repeats = case((t.retrains.is_not(None) | t.retries.is_not(None), 1), else_=0)
        statement = (
            select(t.state, func.count().label("n"), func.sum(repeats).label("n_repeated"))
            .where(t.study_uid == self._study_uid)
            .group_by(t.state)
        )
        found = {row.state: (int(row.n), int(row.n_repeated)) for row in self._read(statement)}
        n = {state: count for state, (count, _) in found.items()}
        return TrialCounts(
            complete=n.get("COMPLETE", 0),
            pruned=n.get("PRUNED", 0),
            failed=n.get("FAIL", 0),
            running=n.get("RUNNING", 0),
            waiting=n.get("WAITING", 0),
            begun_repetitions=sum(repeated for state, (_, repeated) in found.items() if state != "WAITING"),
            waiting_repetitions=found.get("WAITING", (0, 0))[1],
        )

    def find_running(self) -> list[TrialProgress]:
        """The trials that Optuna has as running, by number, whether or not anybody runs them."""
        return self._find(OPTUNA_TRIALS.c.state == "RUNNING")

    def find_last_ended(self, n: int) -> list[TrialProgress]:
        """The trials that ended last, the latest first."""
        return self._find(OPTUNA_TRIALS.c.state.in_(_ENDED), n)

    def count_ended_since(self, time: datetime) -> int:
        """Trials that have ended since a time (UTC, without a zone)."""
        t = OPTUNA_TRIALS.c
        statement = select(func.count()).where(t.study_uid == self._study_uid, t.state.in_(_ENDED), t.ended_at >= time)
        return int(self._read(statement)[0][0])

    def find_first_start(self, run_uids: Sequence[str]) -> datetime | None:
        """When the first attempt of some runs was started."""
        row = AttemptRow
        statement = select(func.min(row.started_at)).where(
            row.study_uid == self._study_uid, row.run_uid.in_(list(run_uids))
        )
        first: datetime | None = self._read(statement)[0][0]
        return first

    def find_best(self) -> TrialProgress | None:
        """The trial that is ranked first, if anything is predicted of it."""
        statement = (
            select(RANKING.c.number)
            .where(RANKING.c.study_uid == self._study_uid, RANKING.c.extrapolation.is_not(None))
            .order_by(RANKING.c.rank)
            .limit(1)
        )
        rows = self._read(statement)
        return self._find(OPTUNA_TRIALS.c.number == rows[0].number)[0] if rows else None

    def _find(self, condition: ColumnElement[bool], n_last: int | None = None) -> list[TrialProgress]:
        """The trials of which the condition holds, by number; or of these the last that ended."""
        # In two steps: which they are is told by Optuna's table alone, and the rest is made for these few only.
        t = OPTUNA_TRIALS.c
        chosen = select(t.number).where(t.study_uid == self._study_uid, condition)
        if n_last is None:
            chosen = chosen.order_by(t.number)
        else:
            chosen = chosen.order_by(t.ended_at.desc(), t.number.desc()).limit(n_last)

        def read(connection: Connection) -> list[TrialProgress]:
            numbers = [row.number for row in connection.execute(chosen)]
            if not numbers:
                return []
            of_these = TRIALS.c.number.in_(numbers)
            rows = connection.execute(select(*_COLUMNS).where(TRIALS.c.study_uid == self._study_uid, of_these))
            trials = {row.number: row for row in rows}
            attempts = {row.trial_number: row for row in connection.execute(self._select_attempts(numbers))}
            return [_make_trial(trials[number], attempts.get(number)) for number in numbers if number in trials]

        return run_transaction(self._engine, read, self._patience)

    def _select_attempts(self, numbers: Sequence[int]) -> Any:
        row = AttemptRow
        return (
            select(row.trial_number, row.attempt, row.run_uid, row.candidate)
            .where(row.study_uid == self._study_uid, row.trial_number.in_(numbers))
            .order_by(row.trial_number, row.attempt)
        )

    def _read(self, statement: Any) -> list[Row[Any]]:
        return run_transaction(self._engine, lambda connection: list(connection.execute(statement)), self._patience)


def _make_trial(row: Row[Any], attempt: Row[Any] | None) -> TrialProgress:
    planned = attempt.candidate.get("training", {}).get("epochs") if attempt else None
    low, high = row.predicted_test_score_low, row.predicted_test_score_high
    return TrialProgress(
        number=row.number,
        state=row.state,
        model=row.model,
        is_calibration=row.is_calibration,
        attempt=row.attempts,
        run_uid=attempt.run_uid if attempt else None,
        epochs=row.epochs,
        planned_epochs=planned,
        seconds=float(row.seconds),
        train_score=row.train_score,
        predicted_test_score=row.predicted_test_score,
        predicted_test_score_interval=None if low is None or high is None else (low, high),
        extrapolation=bool(row.extrapolation),
        reason=row.pruned_because if row.state == "PRUNED" else row.failure,
    )
