"""A study as an experiment of MLflow: one run a trial, written again at will without writing anything twice."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flatselect.errors import ExportError, FlatselectError
from flatselect.exporting.hub_folder import write_hub_folder
from flatselect.exporting.trial_model import TrialModel
from flatselect.exporting.trial_runs import RANK_TAG, STUDY_TAG, TRIAL_TAG, MetricPoint, TrialRun, read_trial_runs
from flatselect.store.engine import hide_password
from flatselect.store.study_reader import StudyReader

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DIGEST_TAG, _MODEL_TAG = "flatselect.metrics_sha256", "flatselect.model_sha256"
# MLflow's own limits, of one request.
_MOST_METRICS, _MOST_PARAMS = 1000, 100
_PAGE = 1000


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
        raise ExportError(f"{hide_password(uri)}: MLflow cannot write there: {_first_line(error)}") from error
    return MlflowExport(name, counts["new"], counts["updated"], counts["unchanged"], note)


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
        if RANK_TAG in known.data.tags and RANK_TAG not in tags:
            client.delete_tag(known.info.run_id, RANK_TAG)
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
    except Exception as error:  # noqa: BLE001 - a server that takes no artifacts has the runs all the same
        return f"MLflow takes no artifact there: {_first_line(error)}"
    client.set_tag(run.info.run_id, _MODEL_TAG, sha256)
    return None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
