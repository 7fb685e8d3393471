"""Everything a search writes about its study. Only drivers write."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine, Executable, bindparam, insert, update

from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.clock import make_clock, read_clock
from flatselect.store.datasets import insert_dataset
from flatselect.store.driver_lock import hold_lock
from flatselect.store.engine import is_shared, run_transaction
from flatselect.store.finite_json import hash_json, replace_non_finite
from flatselect.store.migrate import ensure_schema
from flatselect.store.patience import IMPATIENT, Patience
from flatselect.store.row_conversion import (
    make_failure_columns,
    make_measurement_columns,
    make_prediction_columns,
    make_run,
    replace_nan,
    select_runs,
)
from flatselect.store.run_records import AttemptOutcome, RunRecord
from flatselect.store.standings import make_refresh
from flatselect.store.tables import (
    AttemptRow,
    AuditRow,
    Base,
    CalibratorRow,
    CheckpointRow,
    MeasurementRow,
    PredictionRow,
    RunRow,
    StudyRow,
)
from flatselect.store.upserts import GatheredRows, make_upsert

# Built once: building a statement takes longer than running it.
_END_COLUMNS = ("ended_at", "outcome", "failure_kind", "failure_message", "failure_traceback", "pruned_because")
_END_ATTEMPT = (
    update(AttemptRow.metadata.tables[AttemptRow.__tablename__])
    .where(
        AttemptRow.study_uid == bindparam("of_study"),
        AttemptRow.trial_number == bindparam("of_trial"),
        AttemptRow.attempt == bindparam("of_attempt"),
        AttemptRow.outcome.in_(("running", "interrupted")),
    )
    .values({name: bindparam(name) for name in _END_COLUMNS})
)


class StudyWriter:
    """Writes one study; every call is one short transaction of its own, and comes to the same when it is done twice.

    Every method raises StoreError when the database cannot do it, after `patience` has come to its end.
    """

    def __init__(self, engine: Engine, study_uid: str, patience: Patience = IMPATIENT) -> None:
        self._engine = engine
        self._patience = patience
        self._gathered: list[GatheredRows] | None = None
        self.study_uid = study_uid

    @classmethod
    def create(
        cls, engine: Engine, study_uid: str, name: str, config: Mapping[str, Any], data: Mapping[str, Any]
    ) -> Self:
        """Enters a study, after making our tables where they are missing; one that is there already stays as it is."""
        ensure_schema(engine)
        writer = cls(engine, study_uid)
        values = {
            "uid": study_uid,
            "name": name,
            "created_at": read_clock(),
            "config": dict(config),
            "data": dict(data),
        }
        writer._insert(StudyRow, [values])
        run_transaction(engine, lambda connection: insert_dataset(connection, data))
        return writer

    def without_patience(self) -> Self:
        """The same, for whoever would rather hear at once that the database does not answer."""
        return type(self)(self._engine, self.study_uid)

    @contextmanager
    def gathered(self) -> Iterator[list[GatheredRows]]:
        """Rows that are added in such a block are not written but gathered: for a transaction of the caller's."""
        gathered: list[GatheredRows] = []
        self._gathered = gathered
        try:
            yield gathered
        finally:
            self._gathered = None
        gathered += self._refresh_standings(gathered)

    @property
    def is_shared(self) -> bool:
        """Whether the study may have several drivers at once."""
        return is_shared(self._engine)

    def lock(self) -> AbstractContextManager[None]:
        """Keeps the study's other drivers from entering such a block; see `hold_lock`."""
        return hold_lock(self._engine, self.study_uid, self._patience)

    def start_run(
        self,
        host: str,
        pid: int,
        backend: str,
        versions: Mapping[str, Any],
        config: Mapping[str, Any],
        is_alive: Callable[[RunRecord], bool] = lambda run: True,
        *,
        machine: str = "",
        data_fingerprint: str | None = None,
        host_kind: str | None = None,
    ) -> str:
        """Enters this process as a driver of the study; returns the run's uid.

        Of two processes that try at the same time, one sees the other's run.

        Args:
            host: This machine's name.
            pid: This process.
            backend: "ray" or "inline".
            versions: Of the packages.
            config: The study's plain values.
            is_alive: Is asked of every run that has not ended; one that is not is ended as "died". It may raise, and
                then nothing is entered.
            machine: What tells this machine from others of the same name.
            data_fingerprint: Of the training images.
            host_kind: What this machine is.
        """
        run_uid = uuid.uuid4().hex

        def enter(connection: Connection) -> None:
            self._end_dead_runs(connection, is_alive)
            now = make_clock(self._engine)
            values = {
                "uid": run_uid,
                "study_uid": self.study_uid,
                "started_at": now,
                "heartbeat_at": now,
                "host": host,
                "machine": machine,
                "pid": pid,
                "backend": backend,
                "versions": dict(versions),
                "config": dict(config),
                "config_sha256": hash_json(config) if config else None,
                "data_fingerprint": data_fingerprint,
                "host_kind": host_kind,
            }
            connection.execute(insert(RunRow).values(values))
            # A driver of an older version may have gone on after a newer one had upgraded its database.
            refresh = make_refresh(self._engine.dialect.name, of_all_trials=True)
            connection.execute(refresh, {"of_study": self.study_uid})

        run_transaction(self._engine, enter)
        return run_uid

    def end_dead_runs(self, is_alive: Callable[[RunRecord], bool]) -> int:
        """Ends as "died" every run that has not ended and is not alive; returns how many this call ended."""
        return run_transaction(
            self._engine, lambda connection: self._end_dead_runs(connection, is_alive), self._patience
        )

    def _end_dead_runs(self, connection: Connection, is_alive: Callable[[RunRecord], bool]) -> int:
        # Changes nothing, but from here to the transaction's end the row is locked.
        connection.execute(update(StudyRow).where(StudyRow.uid == self.study_uid).values(name=StudyRow.name))
        is_open = (RunRow.study_uid == self.study_uid) & RunRow.ended_at.is_(None)
        open_runs = [make_run(row) for row in connection.execute(select_runs(self._engine).where(is_open)).all()]
        dead = [run.uid for run in open_runs if not is_alive(run)]
        if dead:
            ended = {"ended_at": make_clock(self._engine), "outcome": "died"}
            connection.execute(update(RunRow).where(RunRow.uid.in_(dead)).values(**ended))
        return len(dead)

    def heartbeat(self, run_uid: str) -> bool:
        """Says that the run is alive; False if another process has declared it dead."""
        return self._update_open_run(run_uid, {"heartbeat_at": make_clock(self._engine)})

    def end_run(self, run_uid: str, outcome: str) -> None:
        """Ends the run, unless it has been ended before; attempts that it leaves running are interrupted with it."""
        left = update(AttemptRow).where(AttemptRow.run_uid == run_uid, AttemptRow.outcome == "running")
        self._execute(left.values(outcome="interrupted", ended_at=read_clock()))
        now = make_clock(self._engine)
        self._update_open_run(run_uid, {"heartbeat_at": now, "ended_at": now, "outcome": outcome})

    def _update_open_run(self, run_uid: str, values: Mapping[str, Any]) -> bool:
        is_open = (RunRow.uid == run_uid) & RunRow.ended_at.is_(None)
        return bool(self._execute(update(RunRow).where(is_open).values(**values)))

    def start_attempt(
        self,
        trial_number: int,
        attempt: int,
        run_uid: str,
        *,
        is_calibration: bool,
        candidate: Mapping[str, Any],
        model: str,
    ) -> None:
        """Enters one start of a trial; the same attempt entered twice stays as it was first."""
        values = {
            **self._key(trial_number),
            "attempt": attempt,
            "run_uid": run_uid,
            "started_at": read_clock(),
            "outcome": "running",
            "is_calibration": is_calibration,
            "candidate": dict(candidate),
            "model": model,
        }
        self._insert(AttemptRow, [values])

    def end_attempt(
        self,
        trial_number: int,
        attempt: int,
        outcome: AttemptOutcome,
        *,
        failure: Failure | None = None,
        pruned_because: str | None = None,
    ) -> None:
        """Says how an attempt ended; one that has come to its end before stays as it is."""
        values = {
            "ended_at": read_clock(),
            "outcome": outcome,
            **make_failure_columns(failure),
            "pruned_because": pruned_because,
        }
        key = {"of_study": self.study_uid, "of_trial": trial_number, "of_attempt": attempt}
        self._execute(_END_ATTEMPT, {**key, **values})

    def add_measurements(self, trial_number: int, attempt: int, measurements: Sequence[EpochMeasurement]) -> None:
        """Adds epochs of a trial; an epoch that is there already stays as it is, whichever attempt sent it."""
        values = [
            {**self._key(trial_number), "attempt": attempt, **make_measurement_columns(measurement)}
            for measurement in measurements
        ]
        self._insert(MeasurementRow, values)

    def add_calibrator(self, artifact: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
        """Adds a fitted calibrator, from now on the latest; returns its uid.

        The uid is made of the content: drivers that fit the same one at the same time mean the same.
        """
        content = json.dumps([self.study_uid, replace_non_finite(dict(artifact))], sort_keys=True)
        calibrator_uid = hashlib.sha256(content.encode()).hexdigest()[:32]
        values = {
            "uid": calibrator_uid,
            "study_uid": self.study_uid,
            "created_at": read_clock(),
            "artifact": dict(artifact),
            "summary": dict(summary),
            "n_rows": summary.get("n_rows"),
        }
        self._insert(CalibratorRow, [values])
        return calibrator_uid

    def add_predictions(self, calibrator_uid: str, predictions: Mapping[tuple[int, int], Prediction]) -> None:
        """Adds what a calibrator says, by (trial number, epoch); what it said before of the same is replaced."""
        values = [
            {
                **self._key(trial_number),
                "epoch": epoch,
                "calibrator_uid": calibrator_uid,
                **make_prediction_columns(prediction),
            }
            for (trial_number, epoch), prediction in predictions.items()
        ]
        self._insert(PredictionRow, values, replace=True)

    def set_checkpoint(self, trial_number: int, epoch: int, path: str, sha256: str, size: int) -> None:
        """Says where the trial's last checkpoint lies; one trial has one."""
        file = {"epoch": epoch, "path": path, "sha256": sha256, "size": size, "deleted_at": None}
        self._insert(CheckpointRow, [self._key(trial_number) | file], replace=True)

    def set_checkpoints_deleted(self, trial_numbers: Iterable[int]) -> None:
        """Says that the files of these trials' checkpoints are there no more."""
        numbers = CheckpointRow.trial_number.in_(sorted(trial_numbers))
        of_trials = (CheckpointRow.study_uid == self.study_uid) & numbers
        self._execute(update(CheckpointRow).where(of_trials).values(deleted_at=read_clock()))

    def add_audit(
        self, trial_number: int, score: float, loss: float | None, n_images: int, data_fingerprint: str | None = None
    ) -> None:
        """Adds a trial's score on the audit split, whose images the fingerprint tells; an earlier one is replaced."""
        values = {
            "score": score,
            "loss": loss,
            "n_images": n_images,
            "audited_at": read_clock(),
            "data_fingerprint": data_fingerprint,
        }
        self._insert(AuditRow, [{**self._key(trial_number), **replace_nan(values)}], replace=True)

    def _key(self, trial_number: int) -> dict[str, Any]:
        return {"study_uid": self.study_uid, "trial_number": trial_number}

    def _insert(self, row: type[Base], values: Sequence[Mapping[str, Any]], *, replace: bool = False) -> None:
        """Inserts rows; one whose key is there already is replaced, or else left as it is."""
        if not values:
            return
        key = tuple(column.name for column in row.__table__.primary_key) if replace else ()
        replaced = tuple(name for name in values[0] if name not in key) if replace else ()
        table = row.metadata.tables[row.__tablename__]
        rows: list[GatheredRows] = [(make_upsert(table, self._engine.dialect.name, key, replaced), values)]
        if self._gathered is not None:
            self._gathered += rows
            return
        rows += self._refresh_standings(rows)

        def write(connection: Connection) -> None:
            for statement, written in rows:
                connection.execute(statement, list(written))

        run_transaction(self._engine, write, self._patience)

    def _refresh_standings(self, rows: Sequence[GatheredRows]) -> list[GatheredRows]:
        """To be executed after rows were written, in the same transaction: what follows of them."""
        changed = {
            value["trial_number"]
            for statement, values in rows
            for value in values
            if statement.table in (MeasurementRow.__table__, PredictionRow.__table__)
        }
        keys = [{"of_study": self.study_uid, "of_trial": number} for number in sorted(changed)]
        return [(make_refresh(self._engine.dialect.name), keys)] if keys else []

    def _execute(self, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
        """Executes one statement in a transaction of its own; returns the number of rows it changed."""
        return run_transaction(
            self._engine, lambda connection: int(connection.execute(statement, values).rowcount), self._patience
        )
