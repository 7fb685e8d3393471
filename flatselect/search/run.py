"""A whole search: data, study, workers, trials, audit, result."""

import contextlib
import dataclasses
import importlib.util
import signal
import sys
from pathlib import Path
from types import FrameType

import optuna
import torch

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset
from flatselect.data.loading import load_audit_set, load_training_set
from flatselect.errors import ModelError, SearchError, StoreError
from flatselect.flatness.head_search import find_head
from flatselect.search.audit import audit_trials, find_unaudited
from flatselect.search.checkpoint_folder import FolderToken, get_checkpoint_folder
from flatselect.search.driver import Driver
from flatselect.search.events import SearchObserver, SilentObserver
from flatselect.search.heartbeat import Heartbeat
from flatselect.search.inline_backend import InlineBackend
from flatselect.search.logs import LoggingObserver, keep_log
from flatselect.search.protocol import Backend, SearchImages, WorkerSettings
from flatselect.search.recovery import adopt_running_trials, start_run
from flatselect.search.result import SearchResult, read_result
from flatselect.search.retraining import choose_retraining
from flatselect.search.retrying import has_waiting_retry
from flatselect.search.signal_handling import handle_signals
from flatselect.search.study_calibration import StudyCalibration
from flatselect.search.study_identity import OpenStudy, open_or_create_study
from flatselect.search.study_images import load_unlabeled_sample
from flatselect.search_space import suggest
from flatselect.store.engine import list_passwords
from flatselect.store.optuna_storage import translate_optuna_errors
from flatselect.training.building import build_candidate

_TRIED_CANDIDATES = 3


def run_search(config: StudyConfig, observer: SearchObserver | None = None) -> SearchResult:
    """Runs a study, or goes on with it where a former run stopped.

    Args:
        config: A study, as `load_study_file` reads it.
        observer: Is shown the progress.

    Returns:
        The study's trials and their ranking. `interrupted` is set where SIGINT or SIGTERM stopped it: the running
        trials are then kept, and the same call goes on with them.

    Raises:
        FlatselectError: The data, the model, the database or Ray cannot be used as the study asks.
    """
    observer = observer or SilentObserver()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert config.study.storage is not None, "load_study_file fills in the storage"
    dataset = load_training_set(config.data, config.study.seed)
    # Loaded now so that a missing audit set is found before hours of search; nothing below sees it before the audit.
    audit_set = load_audit_set(config.data, dataset, config.study.seed) if config.data.audit else None
    observer = LoggingObserver(observer)
    images = SearchImages(dataset, load_unlabeled_sample(config, dataset))
    _check_candidates(config, dataset)
    _check_metrics(config)
    with (
        translate_optuna_errors(config.study.storage),
        contextlib.closing(open_or_create_study(config, dataset)) as opened,
        keep_log(config.study, opened.uid),
    ):
        return _go_on(config, images, audit_set, opened, observer)


def _go_on(
    config: StudyConfig, images: SearchImages, audit_set: Dataset | None, opened: OpenStudy, observer: SearchObserver
) -> SearchResult:
    assert config.study.storage is not None
    if not _is_anything_left(config, opened, audit_set):
        return read_result(opened, config.study)
    # Before Ray starts: a broken calibrator file and a search that is already running are found at once.
    calibration = StudyCalibration(config.calibration, opened.writer, opened.reader)
    run_uid = start_run(config, opened)
    opened.patience.say = observer.say
    try:
        dead_runs = [run.uid for run in opened.reader.runs() if run.outcome == "died"]
        with (
            Heartbeat(opened.writer, run_uid) as heartbeat,
            contextlib.closing(FolderToken(get_checkpoint_folder(config, opened.uid), run_uid, dead_runs)) as token,
            contextlib.closing(_make_backend(config, opened.uid, images, token, observer)) as backend,
        ):
            observer = _meter(config, observer)
            with opened.writer.lock():
                adopted = adopt_running_trials(config, opened, run_uid)
            driver = Driver(config, opened, calibration, adopted, backend, observer, heartbeat)
            with _stop_on_signals(driver, opened, observer):
                driver.run()
                if audit_set is not None and not driver.stop_requested:
                    _audit(config, opened, backend, audit_set, driver, observer)
    except BaseException as error:
        # What went wrong says more than that a database is away, which it then may be.
        with contextlib.suppress(StoreError):
            opened.writer.end_run(run_uid, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    outcome = "interrupted" if driver.stop_requested else "failed" if driver.stopped_because else "complete"
    opened.writer.end_run(run_uid, outcome)
    return read_result(
        opened,
        config.study,
        enough_because=driver.enough_because,
        stopped_because=driver.stopped_because,
        interrupted=driver.stop_requested,
    )


def _audit(
    config: StudyConfig,
    opened: OpenStudy,
    backend: Backend,
    audit_set: Dataset,
    driver: Driver,
    observer: SearchObserver,
) -> None:
    """Audits what has ended, unless another driver goes on: the last one audits all."""
    if others := driver.others.find_trials():
        runs = {run.uid: f"process {run.pid} on {run.host}" for run in others.values()}
        observer.say(
            f"trials {', '.join(map(str, sorted(others)))} are still run by {' and '.join(runs.values())}, "
            "which will audit all"
        )
        return
    if (keep := config.study.keep_checkpoints) is not None:
        observer.say(f"only trials whose checkpoints are kept are audited (study.keep_checkpoints = {keep})")
    limit = config.study.trial_timeout
    audit_trials(opened, backend, audit_set, observer, driver.status, lambda: driver.stop_requested, limit)


def _is_anything_left(config: StudyConfig, opened: OpenStudy, audit_set: Dataset | None) -> bool:
    trials = opened.reader.trials(include_audits=False)
    is_unfinished = [t.state == "RUNNING" or (t.state == "COMPLETE" and t.prediction is None) for t in trials]
    n_searched = sum(not trial.is_repetition for trial in trials)
    if n_searched < config.study.trials or any(is_unfinished) or choose_retraining(trials, config.study.retrain_top):
        return True
    if has_waiting_retry(opened.study):
        return True
    return audit_set is not None and bool(find_unaudited(opened, audit_set))


def _check_candidates(config: StudyConfig, dataset: Dataset) -> None:
    """Builds a few random candidates, so that a study none of whose models can be measured ends before it starts."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=config.study.seed))
    sys.path[:0] = [path for path in _python_path() if path not in sys.path]
    errors = []
    for _ in range(_TRIED_CANDIDATES):
        candidate = suggest(study.ask(), config)
        try:
            model = build_candidate(candidate, dataset, seed=config.study.seed)
            images, _ = next(iter(dataset.batches(2, "cpu")))
            find_head(model, images, config.measure.layer)
        except ModelError as error:
            errors.append(error)
        else:
            return
    raise SearchError(f"no candidate can be searched; the last one tried: {errors[-1]}") from errors[-1]


def _meter(config: StudyConfig, observer: SearchObserver) -> SearchObserver:
    """Counts what the observer is shown, where that is wanted; once Ray runs."""
    if config.ray.backend != "ray" or not config.ray.metrics:
        return observer
    from flatselect.search.ray_metrics import MeteredObserver

    return MeteredObserver(observer, config.study.name)


def _check_metrics(config: StudyConfig) -> None:
    """The machines of a cluster have their own packages; on this one a Ray without its extra ones serves nothing."""
    if (
        config.ray.metrics
        and config.ray.find_address() == "local"
        and importlib.util.find_spec("prometheus_client") is None
    ):
        raise SearchError(
            "ray.metrics = true: this Ray has no metrics endpoint; pip install 'flatselect[metrics]', or leave it out"
        )


def _make_backend(
    config: StudyConfig, study_uid: str, images: SearchImages, token: FolderToken, observer: SearchObserver
) -> Backend:
    settings = WorkerSettings(config.to_dict(), study_uid, python_path=_python_path())
    if config.ray.backend == "inline":
        return InlineBackend(dataclasses.replace(settings, device=_choose_inline_device(config)), images)
    # Imported here: Ray takes a second to import, and not every search needs it.
    from flatselect.search.ray_backend import RayBackend

    observer.say("starting Ray")
    assert config.study.storage is not None
    backend = RayBackend(
        config.ray,
        settings,
        images,
        token,
        passwords=list_passwords(config.study.storage),
        say=observer.say,
    )
    observer.say(f"room for {backend.info.n_workers} workers on {backend.info.device}")
    for note in backend.info.notes:
        observer.say(note)
    return backend


def _choose_inline_device(config: StudyConfig) -> str:
    wanted = config.ray.gpus_per_trial
    if wanted and not torch.cuda.is_available():
        raise SearchError(f"gpus_per_trial = {wanted:g}, but torch finds no GPU here; use 0 to train on the CPU")
    return "cuda" if wanted != 0 and torch.cuda.is_available() else "cpu"


def _python_path() -> tuple[str, ...]:
    """Where `module:function` factories are imported from: as for `python -m`, the working folder too."""
    return (str(Path.cwd()),)


def _stop_on_signals(
    driver: Driver, opened: OpenStudy, observer: SearchObserver
) -> contextlib.AbstractContextManager[None]:
    """The first SIGINT or SIGTERM asks the driver to stop, the second SIGINT stops at once."""

    def request_stop(number: int, frame: FrameType | None) -> None:
        if driver.stop_requested:
            raise KeyboardInterrupt
        driver.stop_requested = True
        opened.patience.give_up()
        observer.say("stopping; running trials are kept, the same command goes on with them")

    return handle_signals(request_stop, signal.SIGINT, signal.SIGTERM)
