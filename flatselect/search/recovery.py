"""Taking up what a former run of the same study left behind."""

import datetime
import os
import socket

import optuna
import psutil

from flatselect.config import StudyConfig
from flatselect.errors import SearchError
from flatselect.pruning import CALIBRATION_ATTRIBUTE, read_reports
from flatselect.records import Failure
from flatselect.search.checkpoint_folder import get_checkpoint_folder, make_checkpoint_path
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_sampler
from flatselect.search.study_identity import OpenStudy
from flatselect.search.versions import collect_versions
from flatselect.search_space import suggest
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RunRecord

STALE_SECONDS = 60.0


def start_run(config: StudyConfig, opened: OpenStudy) -> str:
    """Makes this process the study's one driver; returns the run's uid.

    Raises:
        SearchError: A run of this study is alive.
    """

    def refuse_if_alive(run: RunRecord) -> None:
        if _is_alive(run):
            raise SearchError(
                f"study {config.study.name!r} is being searched by process {run.pid} on {run.host} "
                f"(last sign of life {run.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC); wait for it, or stop it first"
            )

    return opened.writer.start_run(
        socket.gethostname(), os.getpid(), config.ray.backend, collect_versions(), config.to_dict(), refuse_if_alive
    )


def adopt_running_trials(config: StudyConfig, opened: OpenStudy) -> list[RunningTrial]:
    """The trials of dead or interrupted runs that are still to be finished, lowest number first, as next attempts."""
    attempts = {attempt.trial_number: attempt for attempt in opened.reader.attempts()}
    curves = opened.reader.measurements()
    adopted = []
    for frozen in opened.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        last = attempts.get(frozen.number)
        if last is not None and last.outcome == "running":
            opened.writer.end_attempt(frozen.number, last.attempt, "lost", failure=Failure("DriverLost", "run died"))
        opened.study.sampler = make_sampler(config.study, frozen.number)
        trial = optuna.trial.Trial(opened.study, frozen._trial_id)
        is_calibration = frozen.user_attrs.get(CALIBRATION_ATTRIBUTE)
        if is_calibration is None:  # the run died between asking for the trial and saying what it is
            is_calibration = frozen.number < config.calibration.n_trials and RETRAINS_ATTRIBUTE not in frozen.user_attrs
            trial.set_user_attr(CALIBRATION_ATTRIBUTE, is_calibration)
        adopted.append(
            RunningTrial(
                trial,
                suggest(trial, config),  # what was suggested stands; what the dead run did not get to is drawn now
                is_calibration,
                make_checkpoint_path(get_checkpoint_folder(config, opened.uid), frozen.number),
                attempt=last.attempt + 1 if last else 1,
                curve=list(curves.get(frozen.number, [])),
                reported=set(read_reports(frozen)),
                retrains=frozen.user_attrs.get(RETRAINS_ATTRIBUTE),
            )
        )
    return adopted


def _is_alive(run: RunRecord) -> bool:
    """On this machine the process itself tells; of another one only its heartbeat is known."""
    if run.host == socket.gethostname():
        try:
            started = datetime.datetime.fromtimestamp(psutil.Process(run.pid).create_time(), datetime.UTC)
        except psutil.NoSuchProcess:
            return False
        # A process younger than the run's last sign of life has only inherited its number.
        return started.replace(tzinfo=None) <= run.heartbeat_at
    age = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - run.heartbeat_at
    return age.total_seconds() < STALE_SECONDS
