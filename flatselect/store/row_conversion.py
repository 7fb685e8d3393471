"""Records to columns and back.

NaN becomes NULL in both databases (SQLite would do so by itself, PostgreSQL not) and is read back as NaN where a record
must have a number, as None where it may be missing. The infinities stay what they are.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import DateTime, Engine, Row, Select, select, type_coerce

from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.clock import make_clock
from flatselect.store.run_records import AttemptRecord, RunRecord
from flatselect.store.tables import RunRow


def make_measurement_columns(measurement: EpochMeasurement) -> dict[str, Any]:
    fields = dataclasses.fields(measurement)
    return replace_nan({field.name: getattr(measurement, field.name) for field in fields})


def make_measurement(row: Row[Any]) -> EpochMeasurement:
    return EpochMeasurement(
        epoch=row.epoch,
        train_score=_read_float(row.train_score),
        train_loss=_read_float(row.train_loss),
        n_train_images=row.n_train_images,
        n_parameters=row.n_parameters,
        relative_gap_flatness=row.relative_gap_flatness,
        hessian_trace=row.hessian_trace,
        layer=row.layer,
        exactness=row.exactness,
        n_probe_images=row.n_probe_images,
        flatness_standard_error=row.flatness_standard_error,
        companions={name: _read_float(value) for name, value in row.companions.items()},
        holdout_score=row.holdout_score,
        holdout_loss=row.holdout_loss,
        n_holdout_images=row.n_holdout_images,
        train_seconds=_read_float(row.train_seconds),
        measure_seconds=_read_float(row.measure_seconds),
    )


def make_prediction_columns(prediction: Prediction) -> dict[str, Any]:
    return replace_nan(
        {
            "gap": prediction.predicted_test_gap,
            "gap_low": prediction.predicted_test_gap_interval[0],
            "gap_high": prediction.predicted_test_gap_interval[1],
            "score": prediction.predicted_test_score,
            "score_low": prediction.predicted_test_score_interval[0],
            "score_high": prediction.predicted_test_score_interval[1],
            "extrapolation": prediction.extrapolation,
        }
    )


def make_prediction(row: Row[Any]) -> Prediction:
    return Prediction(
        predicted_test_gap=_read_float(row.gap),
        predicted_test_gap_interval=(_read_float(row.gap_low), _read_float(row.gap_high)),
        predicted_test_score=_read_float(row.score),
        predicted_test_score_interval=(_read_float(row.score_low), _read_float(row.score_high)),
        extrapolation=row.extrapolation,
    )


def make_failure_columns(failure: Failure | None) -> dict[str, str | None]:
    if failure is None:
        return {"failure_kind": None, "failure_message": None, "failure_traceback": None}
    # PostgreSQL refuses the character NUL in a text, and a foreign error message may hold anything.
    return {
        "failure_kind": failure.kind,
        "failure_message": failure.message.replace("\x00", "\ufffd"),
        "failure_traceback": failure.traceback.replace("\x00", "\ufffd"),
    }


def select_runs(engine: Engine) -> Select[Any]:
    """Every run, with the time of day by the clock that its times were written by."""
    return select(RunRow.__table__, type_coerce(make_clock(engine), DateTime).label("now"))


def make_run(row: Row[Any]) -> RunRecord:
    values = {name: value for name, value in row._mapping.items() if name not in ("study_uid", "now")}
    return RunRecord(**values, silent_seconds=(row.now - row.heartbeat_at).total_seconds())


def make_attempt(row: Row[Any]) -> AttemptRecord:
    failure = None
    if row.failure_kind is not None:
        failure = Failure(row.failure_kind, row.failure_message, row.failure_traceback)
    return AttemptRecord(
        trial_number=row.trial_number,
        attempt=row.attempt,
        run_uid=row.run_uid,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        failure=failure,
        pruned_because=row.pruned_because,
        is_calibration=row.is_calibration,
        candidate=row.candidate,
        model=row.model,
    )


def replace_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _read_float(value: float | None) -> float:
    return math.nan if value is None else float(value)
