"""What MLflow is to know of a study's trials: each a run with parameters, metrics by epoch, and tags."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flatselect.ranking import rank_trials
from flatselect.records import EpochMeasurement, Prediction, TrialRecord
from flatselect.search.stored_config import read_stored_config
from flatselect.search_space import make_candidate
from flatselect.store.study_reader import AttemptRecord, RunRecord, StudyReader

STUDY_TAG, TRIAL_TAG, RANK_TAG = "flatselect.study_uid", "flatselect.trial", "flatselect.rank"
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "RUNNING"}
_MOST_CHARACTERS = 5000  # of a value
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


class MetricPoint(NamedTuple):
    """A metric at one epoch; `timestamp` in milliseconds since 1970."""

    key: str
    step: int
    value: float
    timestamp: int


@dataclass(frozen=True)
class TrialRun:
    """What MLflow is to know of a trial; times in milliseconds since 1970."""

    number: int
    status: str
    started_at: int
    ended_at: int | None
    params: dict[str, str]
    tags: dict[str, str]
    points: list[MetricPoint]

    @property
    def digest(self) -> str:
        """Of the metrics: what has changed since it was written is found without reading every point again."""
        return hashlib.sha256(json.dumps(self.points).encode()).hexdigest()


def read_trial_runs(reader: StudyReader) -> Iterator[TrialRun]:
    """What MLflow is to know of each trial, by number. Raises StoreError."""
    config, name, data = read_stored_config(reader), reader.name(), reader.data()
    trials = reader.trials(include_audits=True)
    rank = {number: position for position, number in enumerate(rank_trials(trials), 1)}
    curves, predictions = reader.measurements(), reader.latest_predictions()
    of_optuna = {trial.number: trial for trial in reader.optuna_trials()}
    attempts = {attempt.trial_number: attempt for attempt in reader.attempts()}
    runs = {run.uid: run for run in reader.runs()}
    of_study = {"flatselect.study": name, STUDY_TAG: reader.study_uid, "flatselect.data": str(data["name"])}
    of_study["flatselect.data_fingerprint"] = str(data["fingerprint"])
    for trial in trials:
        attempt, curve = attempts.get(trial.number), curves.get(trial.number, [])
        run = runs.get(attempt.run_uid) if attempt else None
        candidate = make_candidate(config, trial.params)
        params = {
            "model": candidate.model,
            **candidate.model_args,
            **candidate.training.model_dump(exclude_none=True),
            "augmentation": candidate.augmentation,
            "seed": config.study.seed,
            **trial.params,
        }
        started_at = _to_milliseconds(of_optuna[trial.number].started_at) or 0
        ended_at = _to_milliseconds(of_optuna[trial.number].ended_at)
        points = [
            point
            for measured in _with_times(curve, started_at)
            for point in _list_points(measured, predictions.get((trial.number, measured.measurement.epoch)))
        ]
        if trial.audit_test_score is not None:
            points.append(MetricPoint("audit_test_score", trial.epochs, trial.audit_test_score, ended_at or started_at))
        yield TrialRun(
            number=trial.number,
            status=_STATUS[trial.state],
            started_at=started_at,
            ended_at=ended_at,
            params={_make_name(key): str(value)[:_MOST_CHARACTERS] for key, value in params.items()},
            tags=of_study | _make_tags(trial, attempt, run, rank.get(trial.number)),
            points=[point for point in points if math.isfinite(point.value)],
        )


class _Timed(NamedTuple):
    measurement: EpochMeasurement
    timestamp: int


def _with_times(curve: Sequence[EpochMeasurement], started_at: int) -> Iterator[_Timed]:
    seconds = 0.0
    for measurement in curve:
        seconds += (measurement.train_seconds or 0) + (measurement.measure_seconds or 0)
        yield _Timed(measurement, started_at + round(1000 * seconds))


def _list_points(timed: _Timed, prediction: Prediction | None) -> Iterator[MetricPoint]:
    """Names are those of `flatselect query --epochs`."""
    measured = timed.measurement
    values: dict[str, float | None] = {
        name: getattr(measured, name)
        for name in (
            "train_score", "train_loss", "relative_gap_flatness", "flatness_standard_error", "hessian_trace",
            "holdout_score", "holdout_loss", "test_gap", "n_parameters", "latency_ms", "train_seconds",
            "measure_seconds",
        )
    }  # fmt: skip
    if prediction is not None:
        for name in ("predicted_test_gap", "predicted_test_score"):
            low, high = getattr(prediction, f"{name}_interval")
            values |= {name: getattr(prediction, name), f"{name}_low": low, f"{name}_high": high}
    for name, value in values.items():
        if value is not None:
            yield MetricPoint(name, measured.epoch, float(value), timed.timestamp)


def _make_tags(
    trial: TrialRecord, attempt: AttemptRecord | None, run: RunRecord | None, rank: int | None
) -> dict[str, str]:
    tags: dict[str, Any] = {
        TRIAL_TAG: trial.number,
        "flatselect.state": trial.state,
        "flatselect.architecture": trial.model,
        "flatselect.is_calibration": str(trial.is_calibration).lower(),
        "flatselect.attempts": trial.attempts,
        RANK_TAG: rank,
        "flatselect.retrains": trial.retrains,
        "flatselect.retries": trial.retries,
        "flatselect.failure": trial.failure,
        "flatselect.pruned_because": attempt and attempt.pruned_because,
        "flatselect.layer": trial.measurement and trial.measurement.layer,
        "flatselect.exactness": trial.measurement and trial.measurement.exactness,
        "flatselect.extrapolation": trial.prediction and str(trial.prediction.extrapolation).lower(),
        **{f"flatselect.version.{name}": version for name, version in (run.versions if run else {}).items()},
    }
    return {_make_name(key): str(value)[:_MOST_CHARACTERS] for key, value in tags.items() if value is not None}


def _make_name(text: str) -> str:
    """A name that MLflow takes: of letters, digits and `_-. :/`, at most 250 of them."""
    return _NOT_IN_NAMES.sub("_", text)[:250]


def _to_milliseconds(moment: datetime | None) -> int | None:
    """Of a UTC time without a zone."""
    return None if moment is None else round(1000 * moment.replace(tzinfo=UTC).timestamp())
