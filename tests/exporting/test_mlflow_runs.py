"""A study in MLflow, read back by MLflow's own client and compared with what the study's reader says."""

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import torch
from hostile_study import Searched
from mlflow import MlflowClient
from mlflow.entities import Run

import flatselect
from flatselect.errors import ExportError
from flatselect.exporting.mlflow_runs import MlflowExport, export_to_mlflow
from flatselect.exporting.trial_model import read_trial_model
from flatselect.exporting.trial_runs import read_trial_runs
from flatselect.ranking import rank_trials
from flatselect.records import Prediction
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_reader import StudyReader, find_study
from flatselect.store.study_writer import StudyWriter

# Of MLflow's own SQL, which has not followed SQLAlchemy 2.1 yet, and of its folders of runs.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

METRICS = ("train_score", "train_loss", "relative_gap_flatness", "hessian_trace", "holdout_score", "test_gap")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a database of MLflow's, with its tables."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return f"sqlite:///{path}"


@pytest.fixture
def database(url: str, tmp_path: Path) -> str:
    """A copy of it, as making its tables takes seconds."""
    shutil.copy(url.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def copied(searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyReader]:
    """The study in a database of its own, in a folder where MLflow may put its artifacts."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(searched.folder / "hostile.db", tmp_path / "hostile.db")
    with closing(find_study(make_engine(f"sqlite:///{tmp_path}/hostile.db"), "hostile")) as reader:
        yield reader


def write(reader: StudyReader, url: str, trial: int | None = None) -> MlflowExport:
    return export_to_mlflow(reader, url, lambda: read_trial_model(reader, trial))


def read_runs(url: str) -> dict[int, Run]:
    client = MlflowClient(tracking_uri=url)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    by_trial = {int(run.data.tags["flatselect.trial"]): run for run in runs}
    assert len(by_trial) == len(runs)
    return by_trial


def read_history(url: str, run: Run, key: str) -> dict[int, list[float]]:
    """The values of each step, in the order of their times."""
    history: dict[int, list[float]] = {}
    found = MlflowClient(tracking_uri=url).get_metric_history(run.info.run_id, key)
    for metric in sorted(found, key=lambda metric: metric.timestamp):
        history.setdefault(metric.step, []).append(metric.value)
    return history


def test_every_trial_is_a_run(copied: StudyReader, database: str) -> None:
    done = write(copied, database)
    trials = copied.trials(include_audits=True)
    assert done == MlflowExport("hostile", len(trials), 0, 0, None)
    runs, predictions, curves = read_runs(database), copied.latest_predictions(), copied.measurements()
    assert set(runs) == {trial.number for trial in trials}
    assert {trial.state for trial in trials} == {"COMPLETE", "PRUNED", "FAIL"}
    of_optuna, ranking = copied.optuna_trials(), rank_trials(trials)
    for trial in trials:
        run = runs[trial.number]
        assert run.info.run_name == f"trial {trial.number}"
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[trial.state]
        start, end = of_optuna[trial.number].started_at, of_optuna[trial.number].ended_at
        assert run.info.end_time - run.info.start_time == pytest.approx(1000 * (end - start).total_seconds(), abs=2)
        assert {name: run.data.params[name] for name in trial.params} == {k: str(v) for k, v in trial.params.items()}
        assert run.data.params["batch_size"] == "16"
        assert run.data.params["model"] == "cnn"
        tags = run.data.tags
        assert tags["flatselect.study"] == "hostile"
        assert tags["flatselect.study_uid"] == copied.study_uid
        assert tags["flatselect.state"] == trial.state
        assert tags["flatselect.data"] == copied.data()["name"]
        assert tags["flatselect.version.flatselect"] == flatselect.__version__
        assert tags.get("flatselect.failure") == trial.failure
        assert ("flatselect.pruned_because" in tags) == (trial.state == "PRUNED")
        rank = ranking.index(trial.number) + 1 if trial.number in ranking else None
        assert tags.get("flatselect.rank") == (rank and str(rank))
        curve = curves.get(trial.number, [])
        for name in METRICS:
            measured = {m.epoch: [getattr(m, name)] for m in curve if getattr(m, name) is not None}
            assert read_history(database, run, name) == measured, name
        for name, read in (
            ("predicted_test_score", lambda p: p.predicted_test_score),
            ("predicted_test_score_low", lambda p: p.predicted_test_score_interval[0]),
            ("predicted_test_score_high", lambda p: p.predicted_test_score_interval[1]),
            ("predicted_test_gap", lambda p: p.predicted_test_gap),
        ):
            expected = {epoch: [read(p)] for (number, epoch), p in predictions.items() if number == trial.number}
            assert read_history(database, run, name) == expected, name
        assert run.data.metrics.get("audit_test_score") == trial.audit_test_score
        if trial.measurement:
            assert run.data.metrics["train_score"] == trial.measurement.train_score


def test_times_are_utc(copied: StudyReader, database: str, searched: Searched) -> None:
    write(copied, database)
    first = min(run.info.start_time for run in read_runs(database).values())
    began = (searched.folder / "hostile.toml").stat().st_mtime
    ended = (searched.folder / "hostile.db").stat().st_mtime
    assert began - 1 < first / 1000 < ended + 1


def test_metrics_come_in_the_order_of_time(copied: StudyReader) -> None:
    for run in read_trial_runs(copied):
        times = [(point.step, point.timestamp) for point in run.points if point.key == "train_score"]
        assert times == sorted(times)
        assert all(run.started_at <= timestamp <= run.ended_at + 1000 for _, timestamp in times)


def test_the_best_model_is_an_artifact(copied: StudyReader, database: str, tmp_path: Path) -> None:
    write(copied, database)
    model = read_trial_model(copied, None)
    run = read_runs(database)[model.trial.number]
    client = MlflowClient(tracking_uri=database)
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "model")}
    assert names == {"model/README.md", "model/config.json", "model/model.safetensors"}
    folder = client.download_artifacts(run.info.run_id, "model", str(tmp_path))
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(flatselect.load(folder)(images), model.network(images))


def test_a_second_export_adds_nothing(copied: StudyReader, database: str) -> None:
    write(copied, database)
    before = read_runs(database)
    n_trials = len(before)
    assert write(copied, database) == MlflowExport("hostile", 0, 0, n_trials, None)
    assert {n: run.to_dictionary() for n, run in read_runs(database).items()} == {
        n: run.to_dictionary() for n, run in before.items()
    }


def test_what_is_new_is_added(copied: StudyReader, database: str) -> None:
    write(copied, database)
    writer = StudyWriter(copied.engine, copied.study_uid)
    trial = next(t for t in copied.trials(include_audits=False) if t.state == "PRUNED")
    last = trial.measurement
    writer.add_measurements(trial.number, 1, [dataclasses.replace(last, epoch=last.epoch + 1, train_loss=math.nan)])
    uid = copied.latest_calibrator()[0]
    old = trial.prediction.predicted_test_score
    new = Prediction(0.25, (0.2, 0.3), 0.5, (0.4, 0.6))
    writer.add_predictions(uid, {(trial.number, last.epoch): new, (trial.number, last.epoch + 1): trial.prediction})
    done = write(copied, database)
    assert (done.n_new, done.n_updated) == (0, 1)
    run = read_runs(database)[trial.number]
    assert read_history(database, run, "train_score") == {e: [last.train_score] for e in (last.epoch, last.epoch + 1)}
    assert read_history(database, run, "train_loss") == {last.epoch: [last.train_loss]}
    # A prediction that is another now comes after the one that was there.
    assert read_history(database, run, "predicted_test_score") == {last.epoch: [old, 0.5], last.epoch + 1: [old]}
    assert run.data.metrics["predicted_test_score"] == old
    assert write(copied, database)[1:4] == (0, 0, len(read_runs(database)))


def test_a_running_trial_is_a_running_run_until_it_ends(copied: StudyReader, database: str) -> None:
    storage = make_optuna_storage(copied.engine.url.render_as_string(hide_password=False), create=False)
    study = optuna.load_study(study_name="hostile", storage=storage)
    trial = study.ask()
    trial.suggest_int("width", 2, 6)
    n_trials = len(copied.trials(include_audits=False))
    assert write(copied, database).n_new == n_trials
    running = read_runs(database)[trial.number]
    assert (running.info.status, running.info.end_time) == ("RUNNING", None)
    assert running.data.params["width"] == str(trial.params["width"])
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    assert write(copied, database)[1:4] == (0, 1, n_trials - 1)
    ended = read_runs(database)[trial.number]
    assert (ended.info.run_id, ended.info.status) == (running.info.run_id, "FAILED")
    assert ended.info.end_time >= running.info.start_time
    assert ended.data.tags["flatselect.state"] == "FAIL"
    close_optuna_storage(storage)


def test_one_that_was_cut_off_is_made_whole(
    copied: StudyReader, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    log_batch: Callable[..., None] = MlflowClient.log_batch

    def interrupt(self: MlflowClient, *arguments: object, **options: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        log_batch(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(copied, database)
    n_cut = len(read_runs(database))
    n_trials = len(copied.trials(include_audits=False))
    assert 0 < n_cut < n_trials
    done = write(copied, database)
    assert done.n_new == n_trials - n_cut
    for number, run in read_runs(database).items():
        epochs = [m.epoch for m in copied.measurements().get(number, [])]
        assert [(e, len(v)) for e, v in read_history(database, run, "train_score").items()] == [(e, 1) for e in epochs]
        assert run.info.status != "RUNNING"


def test_another_study_of_that_name_has_its_own_experiment(copied: StudyReader, database: str) -> None:
    MlflowClient(tracking_uri=database).create_experiment("hostile")
    assert write(copied, database).experiment == f"hostile ({copied.study_uid[:8]})"
    assert write(copied, database).n_new == 0


def test_a_deleted_experiment_is_not_made_again(copied: StudyReader, database: str) -> None:
    write(copied, database)
    client = MlflowClient(tracking_uri=database)
    client.delete_experiment(client.get_experiment_by_name("hostile").experiment_id)
    with pytest.raises(ExportError, match="was deleted; restore it: mlflow experiments restore --experiment-id"):
        write(copied, database)


def test_without_its_checkpoint_all_but_the_model_is_written(copied: StudyReader, database: str) -> None:
    failed = next(t for t in copied.trials(include_audits=False) if t.state == "FAIL")
    done = write(copied, database, failed.number)
    assert done.n_new == len(copied.trials(include_audits=False))
    assert "has no checkpoint (NonFiniteError" in done.model_note


def test_a_place_without_artifacts_has_the_runs_all_the_same(copied: StudyReader, database: str) -> None:
    tags = {"flatselect.study_uid": copied.study_uid}
    MlflowClient(tracking_uri=database).create_experiment("elsewhere", "file:///dev/null/artifacts", tags=tags)
    done = write(copied, database)
    assert (done.experiment, done.n_new) == ("elsewhere", len(copied.trials(include_audits=False)))
    assert done.model_note.startswith("MLflow takes no artifact there: ")


def test_a_folder_of_runs_is_refused_in_mlflows_words(copied: StudyReader, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"sqlite:///mlflow\.db"):
        write(copied, str(tmp_path / "mlruns"))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:////dev/null/mlflow.db", "MLflow cannot write there"),
        ("http://127.0.0.1:9", "MLflow cannot write there"),
        ("gopher://x", "MLflow cannot write there"),
    ],
)
def test_a_place_that_cannot_be_reached_is_named(
    copied: StudyReader, uri: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ExportError, match=message) as caught:
        write(copied, uri)
    assert str(caught.value).startswith(uri)


def test_a_missing_package_is_named(copied: StudyReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ExportError, match=r"pip install 'flatselect\[mlflow\]'"):
        write(copied, "sqlite:///x.db")


def test_a_digest_changes_with_any_point(copied: StudyReader) -> None:
    run = next(run for run in read_trial_runs(copied) if run.points)
    changed = [*run.points[:-1], run.points[-1]._replace(value=run.points[-1].value + 1)]
    assert dataclasses.replace(run, points=changed).digest != run.digest == dataclasses.replace(run).digest
    assert json.loads(json.dumps(run.points)) == [list(point) for point in run.points]
