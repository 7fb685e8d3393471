"""A study as an experiment of MLflow: one run a trial, written again at will without writing anything twice."""

import contextlib
import hashlib
import io
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from flatselect.errors import ExportError, FlatselectError
from flatselect.exporting.hub_folder import write_hub_folder
from flatselect.exporting.trial_model import TrialModel
from flatselect.ranking import rank_trials
from flatselect.records import EpochMeasurement, Prediction, TrialRecord
from flatselect.search.stored_config import read_stored_config
from flatselect.search_space import make_candidate
from flatselect.store.engine import hide_password
from flatselect.store.study_reader import AttemptRecord, RunRecord, StudyReader

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY_TAG, TRIAL_TAG = "flatselect.study_uid", "flatselect.trial"
_DIGEST_TAG, _MODEL_TAG = "flatselect.metrics_sha256", "flatselect.model_sha256"
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "RUNNING"}
# MLflow's own limits, of one request and of a value.
_MOST_METRICS, _MOST_PARAMS, _MOST_CHARACTERS = 1000, 100, 5000
_PAGE = 1000
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


class MlflowExport(NamedTuple):
    """What was written: runs by how they were found, and why the model was not, if so."""

    experiment: str
    n_new: int
    n_updated: int
    n_unchanged: int
    model_note: str | None


def export_to_mlflow(
    reader: StudyReader,
    uri: str,
    read_model: Callable[[], TrialModel],
    show: Callable[[int, int], None] = lambda n_done, n_trials: None,
) -> MlflowExport:
    """Writes a study's trials as runs of one experiment, and the model of one as an artifact of its run.

    Runs are found again by the study's uid and the trial's number: what stands there already stays, and only what is
    new is added. A prediction that has changed since, as the calibrator was fitted anew, is added as a later value of
    the same step, which then is the one that counts. Times are those of the trial; an epoch's is its trial's start and
    the seconds of the epochs up to it.

    Args:
        reader: Of the study.
        uri: As of `mlflow.set_tracking_uri`: a database (`sqlite:///mlflow.db`) or a server (`http://...`).
        read_model: Reads the model to be written; where that fails, everything else is written all the same.
        show: Is called after each trial with how many of how many are done.

    Raises:
        ExportError: MLflow is not installed, cannot be reached, or refuses.
        StoreError: The study cannot be read.
    """
    runs = list(read_trial_runs(reader))
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise ExportError(
            f"--mlflow needs {error.name}, which is not installed: pip install 'flatselect[mlflow]'"
        ) from None
    counts = {"new": 0, "updated": 0, "unchanged": 0}
    try:
        # It prints the address of each run on standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            client = MlflowClient(tracking_uri=uri)
            experiment_id, name = _ensure_experiment(client, reader)
            known = _find_runs(client, experiment_id)
            for n_done, run in enumerate(runs, 1):
                counts[_write_run(client, experiment_id, run, known.get(run.number))] += 1
                show(n_done, len(runs))
            note = _write_model(client, experiment_id, reader, read_model)
    except FlatselectError:
        raise
    except Exception as error:  # of MLflow, or of whatever it keeps its runs in
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ExportError(f"{hide_password(uri)}: MLflow cannot write there: {lines[0]}") from error
    return MlflowExport(name, counts["new"], counts["updated"], counts["unchanged"], note)


def read_trial_runs(reader: StudyReader) -> Iterator[TrialRun]:
    """What MLflow is to know of each trial, by number. Raises StoreError."""
    config, name, data = read_stored_config(reader), reader.name(), reader.data()
    trials = reader.trials(include_audits=True)
    rank = {number: position for position, number in enumerate(rank_trials(trials), 1)}
    curves, predictions = reader.measurements(), reader.latest_predictions()
    frozen = {trial.number: trial for trial in reader.optuna_trials()}
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
        started_at = _to_milliseconds(frozen[trial.number].datetime_start)
        points = [
            point
            for measured in _with_times(curve, started_at or 0)
            for point in _list_points(measured, predictions.get((trial.number, measured.measurement.epoch)))
        ]
        if trial.audit_test_score is not None:
            ended_at = _to_milliseconds(frozen[trial.number].datetime_complete) or started_at or 0
            points.append(MetricPoint("audit_test_score", trial.epochs, trial.audit_test_score, ended_at))
        yield TrialRun(
            number=trial.number,
            status=_STATUS[trial.state],
            started_at=started_at or 0,
            ended_at=_to_milliseconds(frozen[trial.number].datetime_complete),
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
            "train_score", "train_loss", "relative_gap_flatness", "hessian_trace", "holdout_score", "holdout_loss",
            "test_gap", "n_parameters", "latency_ms", "train_seconds", "measure_seconds",
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
        "flatselect.rank": rank,
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


def _ensure_experiment(client: "MlflowClient", reader: StudyReader) -> tuple[str, str]:
    """Its id and name: the study's, or one of its own where another study's experiment has that name."""
    from mlflow.entities import ViewType

    uid, name = reader.study_uid, reader.name()
    found = client.search_experiments(view_type=ViewType.ALL, filter_string=f"tags.`{STUDY_TAG}` = '{uid}'")
    for experiment in found:
        if experiment.lifecycle_stage == "active":
            return experiment.experiment_id, experiment.name
    if found:
        raise ExportError(
            f"MLflow's experiment {found[0].name!r} of this study was deleted; restore it: mlflow experiments restore "
            f"--experiment-id {found[0].experiment_id}"
        )
    if client.get_experiment_by_name(name) is not None:
        name = f"{name} ({uid[:8]})"
    tags = {STUDY_TAG: uid, "flatselect.study": reader.name()}
    return client.create_experiment(name, tags=tags), name


def _find_runs(client: "MlflowClient", experiment_id: str) -> dict[int, "Run"]:
    runs: dict[int, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=_PAGE, page_token=token)
        runs |= {int(run.data.tags[TRIAL_TAG]): run for run in page if TRIAL_TAG in run.data.tags}
        if not (token := page.token):
            return runs


def _write_run(client: "MlflowClient", experiment_id: str, run: TrialRun, known: "Run | None") -> str:
    """Returns "new", "updated" or "unchanged"."""
    from mlflow.entities import Metric, Param, RunTag

    tags = run.tags
    if known is None:
        # With all that finds it again, should this be cut off before its end.
        written = client.create_run(experiment_id, run.started_at, tags=tags, run_name=f"trial {run.number}")
        params, points, new_tags = run.params, run.points, {}
    else:
        written = known
        params = {key: value for key, value in run.params.items() if key not in known.data.params}
        new_tags = {key: value for key, value in tags.items() if known.data.tags.get(key) != value}
        for gone in (key for key in ("flatselect.rank",) if key in known.data.tags and key not in tags):
            client.delete_tag(known.info.run_id, gone)
        is_same = known.data.tags.get(_DIGEST_TAG) == run.digest
        points = [] if is_same else list(_find_new_points(client, known, run.points))
    run_id = written.info.run_id
    for start in range(0, len(params), _MOST_PARAMS):
        chunk = list(params.items())[start : start + _MOST_PARAMS]
        client.log_batch(run_id, params=[Param(key, value) for key, value in chunk])
    for start in range(0, len(points), _MOST_METRICS):
        chunk_of_points = points[start : start + _MOST_METRICS]
        client.log_batch(run_id, [Metric(p.key, p.value, p.timestamp, p.step) for p in chunk_of_points])
    is_ended = run.ended_at is not None and run.status != "RUNNING"
    is_status_new = known is None or known.info.status != run.status
    if is_status_new and is_ended:
        client.set_terminated(run_id, run.status, run.ended_at)
    elif is_status_new:
        client.update_run(run_id, run.status)
    # Last: a run that has it is whole.
    if known is None or known.data.tags.get(_DIGEST_TAG) != run.digest:
        new_tags = {**new_tags, _DIGEST_TAG: run.digest}
    if new_tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in new_tags.items()])
    if known is None:
        return "new"
    return "updated" if params or points or new_tags or is_status_new else "unchanged"


def _find_new_points(client: "MlflowClient", known: "Run", points: Sequence[MetricPoint]) -> Iterator[MetricPoint]:
    """Points that are not there yet; one whose value has changed comes later than the one that is there."""
    now = round(1000 * time.time())
    there: dict[tuple[str, int], float] = {}
    for key in {point.key for point in points} & known.data.metrics.keys():
        history = client.get_metric_history(known.info.run_id, key)
        there |= {(key, metric.step): metric.value for metric in sorted(history, key=lambda m: m.timestamp)}
    for point in points:
        value = there.get((point.key, point.step))
        if value is None:
            yield point
        elif value != point.value:
            yield point._replace(timestamp=now)


def _write_model(
    client: "MlflowClient", experiment_id: str, reader: StudyReader, read_model: Callable[[], TrialModel]
) -> str | None:
    """Writes the model as the artifact `model/` of its trial's run; returns why not, if so."""
    try:
        model = read_model()
        run = _find_runs(client, experiment_id)[model.trial.number]
        checkpoint = reader.checkpoint(model.trial.number)
        sha256 = checkpoint.sha256 if checkpoint else ""
        if run.data.tags.get(_MODEL_TAG) == sha256:
            return None
        with tempfile.TemporaryDirectory(prefix="flatselect-") as folder:
            write_hub_folder(reader, model, folder)
            client.log_artifacts(run.info.run_id, folder, "model")
    except FlatselectError as error:
        return str(error)
    client.set_tag(run.info.run_id, _MODEL_TAG, sha256)
    return None


def _make_name(text: str) -> str:
    """A name that MLflow takes: of letters, digits and `_-. :/`, at most 250 of them."""
    return _NOT_IN_NAMES.sub("_", text)[:250]


def _to_milliseconds(moment: datetime | None) -> int | None:
    """Of a UTC time without a zone."""
    return None if moment is None else round(1000 * moment.replace(tzinfo=UTC).timestamp())
