"""Everything that is read of a study, also while a search writes it."""

import difflib
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, Row, func, inspect, select

from flatselect.errors import StoreError
from flatselect.records import EpochMeasurement, Failure, Prediction, TrialRecord, TrialState
from flatselect.store.engine import open_transaction, run_transaction, show_url
from flatselect.store.migrate import ensure_schema, has_schema
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.optuna_trials import (
    FAILURE_ATTRIBUTE,
    RETRAINS_ATTRIBUTE,
    RETRIES_ATTRIBUTE,
    UID_ATTRIBUTE,
    OptunaTrial,
    count_trials,
    read_distributions,
    read_study_ids,
    read_trials,
)
from flatselect.store.patience import IMPATIENT, Patience, Result
from flatselect.store.row_conversion import make_attempt, make_measurement, make_prediction, make_run, select_runs
from flatselect.store.run_records import AttemptRecord, CheckpointRecord, RunRecord, StudySummary
from flatselect.store.tables import (
    PREDICTED,
    AttemptRow,
    AuditRow,
    CalibratorRow,
    CheckpointRow,
    MeasurementRow,
    PredictionRow,
    RunRow,
    StandingRow,
    StudyRow,
)

__all__ = [
    "FAILURE_ATTRIBUTE",
    "RETRAINS_ATTRIBUTE",
    "RETRIES_ATTRIBUTE",
    "UID_ATTRIBUTE",
    "AttemptRecord",
    "CheckpointRecord",
    "OptunaTrial",
    "RunRecord",
    "StudyReader",
    "StudySummary",
    "find_study",
    "list_studies",
]


class StudyReader:
    """Reads one study; every call sees the database as it is then.

    Every method raises StoreError when the database cannot do it, after `patience` has come to its end, or no longer
    holds the study.
    """

    def __init__(self, engine: Engine, study_uid: str, patience: Patience = IMPATIENT) -> None:
        self._engine = engine
        self._patience = patience
        self.study_uid = study_uid

    def close(self) -> None:
        """Closes the connections, the engine's too."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """The database, for whoever writes to the study too."""
        return self._engine

    def name(self) -> str:
        return str(self._read_study().name)

    def config(self) -> dict[str, Any]:
        """The study file's plain values, as the study was made."""
        return dict(self._read_study().config)

    def data(self) -> dict[str, Any]:
        """What is known of the training images: fingerprint, number, class names."""
        return dict(self._read_study().data)

    def runs(self) -> list[RunRecord]:
        """Every process that drove the study, earliest first."""
        of_study = RunRow.study_uid == self.study_uid
        statement = select_runs(self._engine).where(of_study).order_by(RunRow.started_at)
        return [make_run(row) for row in self._read(statement)]

    def attempts(self) -> list[AttemptRecord]:
        """Every start of every trial, by trial and attempt."""
        statement = (
            select(AttemptRow.__table__)
            .where(AttemptRow.study_uid == self.study_uid)
            .order_by(AttemptRow.trial_number, AttemptRow.attempt)
        )
        return [make_attempt(row) for row in self._read(statement)]

    def epochs_by_attempt(self) -> dict[tuple[int, int], int]:
        """The last epoch that each attempt sent, by (trial number, attempt); one that sent none is left out."""
        row = MeasurementRow
        statement = (
            select(row.trial_number, row.attempt, func.max(row.epoch).label("epoch"))
            .where(row.study_uid == self.study_uid)
            .group_by(row.trial_number, row.attempt)
        )
        return {(r.trial_number, r.attempt): r.epoch for r in self._read(statement)}

    def measurements(self, trial_number: int | None = None) -> dict[int, list[EpochMeasurement]]:
        """The curve of each trial, or of one, in order of epoch; a trial without epochs is left out."""
        statement = (
            select(MeasurementRow.__table__)
            .where(MeasurementRow.study_uid == self.study_uid)
            .order_by(MeasurementRow.trial_number, MeasurementRow.epoch)
        )
        if trial_number is not None:
            statement = statement.where(MeasurementRow.trial_number == trial_number)
        curves: defaultdict[int, list[EpochMeasurement]] = defaultdict(list)
        for row in self._read(statement):
            curves[row.trial_number].append(make_measurement(row))
        return dict(curves)

    def latest_calibrator(self) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
        """(uid, artifact, summary) of the calibrator added last; None if there is none."""
        statement = (
            select(CalibratorRow.uid, CalibratorRow.artifact, CalibratorRow.summary)
            .where(CalibratorRow.study_uid == self.study_uid)
            .order_by(CalibratorRow.id.desc())
            .limit(1)
        )
        rows = self._read(statement)
        return (rows[0].uid, rows[0].artifact, rows[0].summary) if rows else None

    def predictions(self, calibrator_uid: str) -> dict[tuple[int, int], Prediction]:
        """What a calibrator says, by (trial number, epoch)."""
        statement = select(PredictionRow.__table__).where(
            PredictionRow.study_uid == self.study_uid, PredictionRow.calibrator_uid == calibrator_uid
        )
        return {(row.trial_number, row.epoch): make_prediction(row) for row in self._read(statement)}

    def latest_predictions(self) -> dict[tuple[int, int], Prediction]:
        """What the latest calibrator that has predicted anything says, by (trial number, epoch)."""
        calibrator = self._find_predicting_calibrator()
        return self.predictions(calibrator) if calibrator else {}

    def _find_predicting_calibrator(self) -> str | None:
        # One that was added a moment ago has said nothing yet: until it does, the one before it stands.
        statement = (
            select(CalibratorRow.uid)
            .where(
                CalibratorRow.study_uid == self.study_uid,
                select(PredictionRow.epoch).where(PredictionRow.calibrator_uid == CalibratorRow.uid).exists(),
            )
            .order_by(CalibratorRow.id.desc())
            .limit(1)
        )
        rows = self._read(statement)
        return str(rows[0].uid) if rows else None

    def checkpoint(self, trial_number: int) -> CheckpointRecord | None:
        """The trial's last checkpoint, deleted or not; None if it has written none."""
        return self.checkpoints().get(trial_number)

    def checkpoints(self) -> dict[int, CheckpointRecord]:
        """The last checkpoint of each trial that has written one, those that were deleted since included."""
        statement = select(
            CheckpointRow.trial_number,
            CheckpointRow.epoch,
            CheckpointRow.path,
            CheckpointRow.sha256,
            CheckpointRow.size,
            CheckpointRow.deleted_at,
        ).where(CheckpointRow.study_uid == self.study_uid)
        return {row.trial_number: CheckpointRecord(**row._mapping) for row in self._read(statement)}

    def kept_checkpoints(self) -> dict[int, CheckpointRecord]:
        """The last checkpoint of each trial, unless flatselect has deleted it."""
        return {number: file for number, file in self.checkpoints().items() if file.deleted_at is None}

    def audits(self) -> dict[int, float]:
        """Scores on the audit split, for reports only: nothing that decides may call this."""
        statement = select(AuditRow.trial_number, AuditRow.score).where(AuditRow.study_uid == self.study_uid)
        return {row.trial_number: row.score for row in self._read(statement)}

    def audited_on(self, data_fingerprint: str) -> set[int]:
        """The trials that were audited on these very images."""
        of_set = (AuditRow.study_uid == self.study_uid) & (AuditRow.data_fingerprint == data_fingerprint)
        return {row.trial_number for row in self._read(select(AuditRow.trial_number).where(of_set))}

    def trials(self, include_audits: bool) -> list[TrialRecord]:
        """Every trial that has begun, by number: Optuna's states and parameters with what is known of them here.

        `measurement` is the last epoch at which flatness was measured (the last epoch where there is none), and
        `prediction` is of that epoch.
        """
        optuna_trials = [trial for trial in self.optuna_trials() if trial.state != "WAITING"]
        attempts = self._read_last_attempts()
        summaries = self._read_last_epochs()
        checkpoints = self.checkpoints()
        audits = self.audits() if include_audits else {}
        trials = []
        for optuna_trial in optuna_trials:
            number = optuna_trial.number
            attempt = attempts.get(number)
            epochs, seconds, measurement, prediction = summaries.get(number, (0, 0.0, None, None))
            if checkpoint := checkpoints.get(number):  # written every epoch, measured or not
                epochs = max(epochs, checkpoint.epoch)
            failure = None
            if attempt and attempt.failure_kind is not None and optuna_trial.state == "FAIL":
                failure = str(Failure(attempt.failure_kind, attempt.failure_message))
            trials.append(
                TrialRecord(
                    number=number,
                    state=cast(TrialState, optuna_trial.state),
                    params=optuna_trial.params,
                    attempts=attempt.attempt if attempt else 0,
                    epochs=epochs,
                    is_calibration=attempt.is_calibration if attempt else False,
                    measurement=measurement,
                    prediction=prediction,
                    audit_test_score=audits.get(number),
                    failure=failure,
                    model=attempt.model if attempt else "",
                    seconds=seconds,
                    retrains=optuna_trial.retrains,
                    retries=optuna_trial.retries,
                )
            )
        return trials

    def optuna_trials(self) -> list[OptunaTrial]:
        """What Optuna holds of the trials, by number; those that wait to be started too."""
        return self._read_optuna(read_trials)

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws each parameter from, by name; of those that no trial has had, nothing is known."""
        return self._read_optuna(read_distributions)

    def _read(self, statement: Any) -> list[Row[Any]]:
        return run_transaction(self._engine, lambda connection: list(connection.execute(statement)), self._patience)

    def _read_study(self) -> Row[Any]:
        rows = self._read(select(StudyRow.__table__).where(StudyRow.uid == self.study_uid))
        if not rows:
            raise StoreError(f"{show_url(self._engine)}: holds no study with the uid {self.study_uid}")
        return rows[0]

    def _read_optuna(self, read: Callable[[Connection, int], Result]) -> Result:
        def read_study(connection: Connection) -> Result | None:
            study_id = read_study_ids(connection).get(self.study_uid)
            return None if study_id is None else read(connection, study_id)

        found = run_transaction(self._engine, read_study, self._patience)
        if found is None:
            raise StoreError(f"{show_url(self._engine)}: the Optuna study of {self.name()!r} was deleted")
        return found

    def _read_last_attempts(self) -> dict[int, Row[Any]]:
        """By trial: what a reader of trials wants to know of its last attempt, without what is long."""
        row = AttemptRow
        statement = (
            select(row.trial_number, row.attempt, row.is_calibration, row.model, row.failure_kind, row.failure_message)
            .where(row.study_uid == self.study_uid)
            .order_by(row.trial_number, row.attempt)
        )
        return {r.trial_number: r for r in self._read(statement)}

    def _read_last_epochs(self) -> dict[int, tuple[int, float, EpochMeasurement, Prediction | None]]:
        """By trial: epochs trained, seconds spent, the measurement that stands for it, and the prediction of that."""
        row, standing = MeasurementRow, StandingRow
        is_shown = (
            (row.study_uid == standing.study_uid)
            & (row.trial_number == standing.trial_number)
            & (row.epoch == standing.epoch)
        )
        statement = (
            select(
                row.__table__,
                *(getattr(standing, name) for name in ("epochs", "seconds", "calibrator_uid", *PREDICTED)),
            )
            .join(standing, is_shown)
            .where(standing.study_uid == self.study_uid)
        )
        calibrator = self._find_predicting_calibrator()
        # What an earlier calibrator said of a trial does not count.
        return {
            r.trial_number: (
                r.epochs,
                r.seconds,
                make_measurement(r),
                make_prediction(r) if r.calibrator_uid is not None and r.calibrator_uid == calibrator else None,
            )
            for r in self._read(statement)
        }


def list_studies(engine: Engine) -> list[StudySummary]:
    """The studies of a database, earliest first; those deleted in Optuna are left out."""
    if not has_schema(engine) or (storage := open_optuna_storage(engine)) is None:
        return []
    close_optuna_storage(storage)
    ensure_schema(engine)
    with open_transaction(engine) as connection:
        rows = list(connection.execute(select(StudyRow.__table__)))
        ids, counts = read_study_ids(connection), count_trials(connection)
    studies = [
        StudySummary(row.name, row.uid, row.created_at, counts.get(ids[row.uid], 0), row.data)
        for row in rows
        if row.uid in ids
    ]
    return sorted(studies, key=lambda study: study.created_at)


def find_study(engine: Engine, name: str) -> StudyReader:
    """Opens a study by its name.

    Raises:
        StoreError: There is none; the message names those that there are, the nearest first.
    """
    studies = list_studies(engine)
    for study in studies:
        if study.name == name:
            return StudyReader(engine, study.uid)
    names = [study.name for study in studies]
    near = difflib.get_close_matches(name, names, n=len(names) or 1)
    shown = [*near, *(other for other in names if other not in near)]
    raise StoreError(
        f"{show_url(engine)}: no study {name!r}; "
        + (f"there is {', '.join(shown)}" if shown else "there is none that flatselect made")
    )


def open_optuna_storage(engine: Engine) -> RDBStorage | None:
    """Optuna's half of the database, None where it has none; nothing is made.

    Raises:
        StoreError: Its tables are of another version of Optuna.
    """
    with open_transaction(engine) as connection:
        if not inspect(connection).has_table("studies"):
            return None
    return make_optuna_storage(engine.url.render_as_string(hide_password=False), create=False)
