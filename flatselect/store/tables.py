"""Our tables, beside Optuna's in one database.

No foreign key leads to Optuna's tables: SQLite gives the numbers of deleted rows away again. Each study has a random
uid, which the Optuna study carries as the user attribute `flatselect:uid`; rows are keyed by it and the trial's number,
so a study deleted and made again under the same name starts with nothing. Times are UTC, without a zone.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flatselect.store.finite_json import ExactJson, FiniteJson

TABLE_PREFIX = "flatselect_"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text, float: Double, dict[str, Any]: FiniteJson}  # noqa: RUF012 - SQLAlchemy's own


def _study_uid(**options: Any) -> Mapped[str]:
    return mapped_column(ForeignKey("flatselect_studies.uid", ondelete="CASCADE"), **options)


class PredictionColumns:
    """A predicted test gap and test score, each with its interval; `extrapolation` is the tables' own."""

    gap: Mapped[float | None]
    gap_low: Mapped[float | None]
    gap_high: Mapped[float | None]
    score: Mapped[float | None]
    score_low: Mapped[float | None]
    score_high: Mapped[float | None]


PREDICTED = (*PredictionColumns.__annotations__, "extrapolation")


class StudyRow(Base):
    """A study: its file and its data."""

    __tablename__ = "flatselect_studies"

    uid: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]
    config: Mapped[dict[str, Any]]
    data: Mapped[dict[str, Any]]


class RunRow(Base):
    """One process that drove a study; alive while `ended_at` is empty and `heartbeat_at` recent.

    The hashes are of `config` as JSON and of the training images, `host_kind` is its machine: system, CPUs, GPUs.
    """

    __tablename__ = "flatselect_runs"

    uid: Mapped[str] = mapped_column(primary_key=True)
    study_uid: Mapped[str] = _study_uid(index=True)
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    host: Mapped[str]
    machine: Mapped[str] = mapped_column(server_default="")
    pid: Mapped[int]
    backend: Mapped[str]
    versions: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any]]
    config_sha256: Mapped[str | None]
    data_fingerprint: Mapped[str | None]
    host_kind: Mapped[str | None]


class AttemptRow(Base):
    """One start of a trial on a worker."""

    __tablename__ = "flatselect_attempts"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    run_uid: Mapped[str] = mapped_column(ForeignKey("flatselect_runs.uid", ondelete="CASCADE"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str]
    failure_kind: Mapped[str | None]
    failure_message: Mapped[str | None]
    failure_traceback: Mapped[str | None]
    pruned_because: Mapped[str | None]
    is_calibration: Mapped[bool]
    candidate: Mapped[dict[str, Any]]
    model: Mapped[str]


class MeasurementRow(Base):
    """One epoch of a trial: the fields of `EpochMeasurement`, and the attempt that sent it."""

    __tablename__ = "flatselect_measurements"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    # NaN has no other form in SQLite than NULL.
    train_score: Mapped[float | None]
    train_loss: Mapped[float | None]
    n_train_images: Mapped[int]
    n_parameters: Mapped[int] = mapped_column(BigInteger)
    relative_gap_flatness: Mapped[float | None]
    hessian_trace: Mapped[float | None]
    layer: Mapped[str | None]
    exactness: Mapped[str | None]
    n_probe_images: Mapped[int]
    flatness_standard_error: Mapped[float | None]
    companions: Mapped[dict[str, Any]]
    holdout_score: Mapped[float | None]
    holdout_loss: Mapped[float | None]
    n_holdout_images: Mapped[int]
    train_seconds: Mapped[float | None]
    measure_seconds: Mapped[float | None]


class CalibratorRow(Base):
    """One fit of the map from measurements to the test gap; the highest `id` is the latest."""

    __tablename__ = "flatselect_calibrators"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    uid: Mapped[str] = mapped_column(unique=True)
    study_uid: Mapped[str] = _study_uid(index=True)
    created_at: Mapped[datetime]
    artifact: Mapped[dict[str, Any]] = mapped_column(ExactJson)
    summary: Mapped[dict[str, Any]]
    n_rows: Mapped[int | None]


class PredictionRow(PredictionColumns, Base):
    """What one calibrator says of one epoch of a trial."""

    __tablename__ = "flatselect_predictions"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    calibrator_uid: Mapped[str] = mapped_column(
        ForeignKey("flatselect_calibrators.uid", ondelete="CASCADE"), primary_key=True, index=True
    )
    extrapolation: Mapped[bool]


class StandingRow(PredictionColumns, Base):
    """What stands for a trial: its last epoch at which flatness was measured (the last, where none was).

    `seconds` and `epochs` are of all its measurements, the prediction is by the latest calibrator that has said
    something of this epoch. It holds nothing that the two tables above do not: `standings.py` makes it of them.
    """

    __tablename__ = "flatselect_standings"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    epochs: Mapped[int]
    seconds: Mapped[float]
    epoch: Mapped[int]
    n_train_images: Mapped[int]
    n_parameters: Mapped[int] = mapped_column(BigInteger)
    latency_ms: Mapped[float | None]
    train_score: Mapped[float | None]
    train_loss: Mapped[float | None]
    holdout_score: Mapped[float | None]
    relative_gap_flatness: Mapped[float | None]
    flatness_standard_error: Mapped[float | None]
    hessian_trace: Mapped[float | None]
    layer: Mapped[str | None]
    exactness: Mapped[str | None]
    calibrator_uid: Mapped[str | None]
    extrapolation: Mapped[bool | None]


class CheckpointRow(Base):
    """The last checkpoint of a trial; the file is kept while `deleted_at` is empty."""

    __tablename__ = "flatselect_checkpoints"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    path: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    deleted_at: Mapped[datetime | None]


class AuditRow(Base):
    """A trial's score on the audit split. A table of its own: nothing that decides ever reads it."""

    __tablename__ = "flatselect_audits"

    study_uid: Mapped[str] = _study_uid(primary_key=True)
    trial_number: Mapped[int] = mapped_column(primary_key=True)
    score: Mapped[float]
    loss: Mapped[float | None]
    n_images: Mapped[int]
    audited_at: Mapped[datetime]
    data_fingerprint: Mapped[str | None]


class DatasetRow(Base):
    """A set of images that a study or a ranking was made on."""

    __tablename__ = "flatselect_datasets"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    n_images: Mapped[int | None]
    n_classes: Mapped[int | None]
    details: Mapped[dict[str, Any]]


class CheckpointRankingRow(Base):
    """One call of `flatselect rank` that was to be remembered; `calibrator` is empty where nothing is predicted."""

    __tablename__ = "flatselect_checkpoint_rankings"

    uid: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    data_fingerprint: Mapped[str]
    unlabeled: Mapped[str | None]
    calibrator: Mapped[dict[str, Any] | None]
    versions: Mapped[dict[str, Any]]


class RankedCheckpointRow(PredictionColumns, Base):
    """A checkpoint and its place in such a ranking; without a rank where `error` says why it was not measured."""

    __tablename__ = "flatselect_ranked_checkpoints"

    ranking_uid: Mapped[str] = mapped_column(
        ForeignKey("flatselect_checkpoint_rankings.uid", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]
    rank: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(index=True)
    model: Mapped[str | None]
    n_train_images: Mapped[int | None]
    n_parameters: Mapped[int | None] = mapped_column(BigInteger)
    train_score: Mapped[float | None]
    train_loss: Mapped[float | None]
    relative_gap_flatness: Mapped[float | None]
    flatness_standard_error: Mapped[float | None]
    hessian_trace: Mapped[float | None]
    layer: Mapped[str | None]
    exactness: Mapped[str | None]
    extrapolation: Mapped[bool | None]
    probability_best: Mapped[float | None]
    error: Mapped[str | None]
