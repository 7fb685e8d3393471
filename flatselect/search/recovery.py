"""Taking up what a former run of the same study left behind."""

import os
import socket
from pathlib import Path

import optuna

from flatselect.config import StudyConfig
from flatselect.errors import SearchError
from flatselect.pruning import CALIBRATION_ATTRIBUTE, read_reports
from flatselect.records import Failure
from flatselect.search.liveness import describe_living, is_alive
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_sampler
from flatselect.search.study_identity import OpenStudy
from flatselect.search.versions import collect_versions
from flatselect.search_space import suggest
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RunRecord


def start_run(config: StudyConfig, opened: OpenStudy) -> str:
    """Makes this process the study's one driver; returns the run's uid.

    Raises:
        SearchError: A run of this study is alive.
    """

    def refuse_if_alive(run: RunRecord) -> None:
        if is_alive(run):
            raise SearchError(f"study {config.study.name!r} {describe_living(run)}; wait for it, or stop it first")

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
                make_checkpoint_path(get_checkpoint_folder(config, opened), frozen.number),
                attempt=last.attempt + 1 if last else 1,
                curve=list(curves.get(frozen.number, [])),
                reported=set(read_reports(frozen)),
                retrains=frozen.user_attrs.get(RETRAINS_ATTRIBUTE),
            )
        )
    return adopted


def get_checkpoint_folder(config: StudyConfig, opened: OpenStudy) -> Path:
    """A folder of the study's own: one made again under the same name never meets the old one's checkpoints."""
    assert config.study.checkpoints is not None, "load_study_file fills in the folder"
    return Path(config.study.checkpoints) / opened.uid[:8]


def make_checkpoint_path(folder: Path, number: int) -> str:
    return str(folder / f"trial-{number:05d}.pt")
