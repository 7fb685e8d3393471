"""Everything a search writes about its study. The driver is the only writer."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Engine, insert, select, update

from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.engine import open_transaction
from flatselect.store.migrate import ensure_schema
from flatselect.store.row_conversion import (
    make_failure_columns,
    make_measurement_columns,
    make_prediction_columns,
    make_run,
    replace_nan,
)
from flatselect.store.run_records import AttemptOutcome, RunRecord
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
from flatselect.store.upserts import make_upsert


class StudyWriter:
    """Writes one study; every call is one short transaction of its own.

    Every method raises StoreError when the database cannot do it.
    """

    def __init__(self, engine: Engine, study_uid: str) -> None:
        self._engine = engine
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
            "created_at": _read_clock(),
            "config": dict(config),
            "data": dict(data),
        }
        writer._insert(StudyRow, [values])
        return writer

    def start_run(
        self,
        host: str,
        pid: int,
        backend: str,
        versions: Mapping[str, Any],
        config: Mapping[str, Any],
        check_open_run: Callable[[RunRecord], None] | None = None,
    ) -> str:
        """Enters this process as the driver of the study; returns the run's uid.

        Of two processes that try at the same time, one sees the other's run.

        Args:
            host: This machine's name.
            pid: This process.
            backend: "ray" or "inline".
            versions: Of the packages.
            config: The study's plain values.
            check_open_run: Is called with every run that has not ended, and raises if it is alive; else that run is
                ended as "died". None leaves them as they are.
        """
        run_uid, now = uuid.uuid4().hex, _read_clock()
        values = {
            "uid": run_uid,
            "study_uid": self.study_uid,
            "started_at": now,
            "heartbeat_at": now,
            "host": host,
            "pid": pid,
            "backend": backend,
            "versions": dict(versions),
            "config": dict(config),
        }
        with open_transaction(self._engine) as connection:
            # Changes nothing, but from here to the end the row is locked.
            connection.execute(update(StudyRow).where(StudyRow.uid == self.study_uid).values(uid=self.study_uid))
            is_open = (RunRow.study_uid == self.study_uid) & RunRow.ended_at.is_(None)
            if check_open_run is not None:
                for row in connection.execute(select(RunRow.__table__).where(is_open)).all():
                    check_open_run(make_run(row))
                connection.execute(update(RunRow).where(is_open).values(ended_at=now, outcome="died"))
            connection.execute(insert(RunRow).values(values))
        return run_uid

    def heartbeat(self, run_uid: str) -> bool:
        """Says that the run is alive; False if another process has declared it dead."""
        return self._update_open_run(run_uid, {"heartbeat_at": _read_clock()})

    def end_run(self, run_uid: str, outcome: str) -> None:
        """Ends the run, unless it has been ended before."""
        now = _read_clock()
        self._update_open_run(run_uid, {"heartbeat_at": now, "ended_at": now, "outcome": outcome})

    def _update_open_run(self, run_uid: str, values: Mapping[str, Any]) -> bool:
        is_open = (RunRow.uid == run_uid) & RunRow.ended_at.is_(None)
        with open_transaction(self._engine) as connection:
            return bool(connection.execute(update(RunRow).where(is_open).values(**values)).rowcount)

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
            "started_at": _read_clock(),
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
        values = {
            "ended_at": _read_clock(),
            "outcome": outcome,
            **make_failure_columns(failure),
            "pruned_because": pruned_because,
        }
        statement = update(AttemptRow).where(
            AttemptRow.study_uid == self.study_uid,
            AttemptRow.trial_number == trial_number,
            AttemptRow.attempt == attempt,
        )
        with open_transaction(self._engine) as connection:
            connection.execute(statement.values(values))

    def add_measurements(self, trial_number: int, attempt: int, measurements: Sequence[EpochMeasurement]) -> None:
        """Adds epochs of a trial; an epoch that is there already stays as it is, whichever attempt sent it."""
        values = [
            {**self._key(trial_number), "attempt": attempt, **make_measurement_columns(measurement)}
            for measurement in measurements
        ]
        self._insert(MeasurementRow, values)

    def add_calibrator(self, artifact: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
        """Adds a fitted calibrator, from now on the latest; returns its uid."""
        calibrator_uid = uuid.uuid4().hex
        values = {
            "uid": calibrator_uid,
            "study_uid": self.study_uid,
            "created_at": _read_clock(),
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
        values = {**self._key(trial_number), "epoch": epoch, "path": path, "sha256": sha256, "size": size}
        self._insert(CheckpointRow, [values], replace=True)

    def add_audit(
        self, trial_number: int, score: float, loss: float | None, n_images: int, data_fingerprint: str | None = None
    ) -> None:
        """Adds a trial's score on the audit split, whose images the fingerprint tells; an earlier one is replaced."""
        values = {
            "score": score,
            "loss": loss,
            "n_images": n_images,
            "audited_at": _read_clock(),
            "data_fingerprint": data_fingerprint,
        }
        self._insert(AuditRow, [{**self._key(trial_number), **replace_nan(values)}], replace=True)

    def _key(self, trial_number: int) -> dict[str, Any]:
        return {"study_uid": self.study_uid, "trial_number": trial_number}

    def _insert(self, row: type[Base], values: Sequence[Mapping[str, Any]], *, replace: bool = False) -> None:
        """Inserts rows; one whose key is there already is replaced, or else left as it is."""
        if not values:
            return
        key = tuple(column.name for column in row.__table__.primary_key)
        replaced = tuple(name for name in values[0] if name not in key) if replace else ()
        statement = make_upsert(row.metadata.tables[row.__tablename__], self._engine.dialect.name, key, replaced)
        with open_transaction(self._engine) as connection:
            connection.execute(statement, list(values))


def _read_clock() -> datetime:
    """Now, in UTC without a zone, as Optuna keeps its times."""
    return datetime.now(UTC).replace(tzinfo=None)
