"""Taking up what a former run of the same study left behind."""

import os
import socket

import optuna

from flatselect.config import StudyConfig
from flatselect.errors import SearchError
from flatselect.pruning import CALIBRATION_ATTRIBUTE, read_reports
from flatselect.records import Failure
from flatselect.search.checkpoint_folder import get_checkpoint_folder, make_checkpoint_path
from flatselect.search.liveness import describe_living, identify_machine, is_alive
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_sampler
from flatselect.search.study_identity import OpenStudy
from flatselect.search.versions import collect_versions, describe_host
from flatselect.search_space import suggest
from flatselect.store.driver_storage import ASKED_ATTRIBUTE
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RunRecord


def start_run(config: StudyConfig, opened: OpenStudy) -> str:
    """Makes this process a driver of the study; returns the run's uid.

    Raises:
        SearchError: A run of this study is alive, and the database is one that drivers cannot share.
    """

    def judge(run: RunRecord) -> bool:
        if is_alive(run) and not opened.writer.is_shared:
            raise SearchError(
                f"study {config.study.name!r} {describe_living(run)}; wait for it, or stop it first; "
                "several drivers can share a study on PostgreSQL: study.storage = postgresql://..."
            )
        return is_alive(run)

    run_uid = opened.writer.start_run(
        socket.gethostname(),
        os.getpid(),
        config.ray.backend,
        collect_versions(),
        config.to_dict(),
        judge,
        machine=identify_machine(),
        data_fingerprint=opened.reader.data().get("fingerprint"),
        host_kind=describe_host(),
    )
    opened.storage.run_uid = run_uid
    return run_uid


def adopt_running_trials(config: StudyConfig, opened: OpenStudy, run_uid: str) -> list[RunningTrial]:
    """The trials that nobody alive runs and that are still to be finished, lowest number first, as next attempts.

    To be called under the study's lock: on a database that drivers share, they are this run's from then on.
    """
    unfinished = opened.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    if not unfinished:
        return []
    attempts = {attempt.trial_number: attempt for attempt in opened.reader.attempts()}
    alive = {run.uid for run in opened.reader.runs() if run.ended_at is None}
    adopted = []
    for frozen in unfinished:
        last = attempts.get(frozen.number)
        if (last.run_uid if last else _find_asker(frozen)) in alive:
            continue
        if last is not None and last.outcome == "running":
            opened.writer.end_attempt(frozen.number, last.attempt, "lost", failure=Failure("DriverLost", "run died"))
        opened.study.sampler = make_sampler(config.study, frozen.number)
        trial = optuna.trial.Trial(opened.study, frozen._trial_id)
        is_calibration = frozen.user_attrs.get(CALIBRATION_ATTRIBUTE)
        if is_calibration is None:  # the run died between asking for the trial and saying what it is
            is_calibration = frozen.number < config.calibration.n_trials and RETRAINS_ATTRIBUTE not in frozen.user_attrs
            trial.set_user_attr(CALIBRATION_ATTRIBUTE, is_calibration)
        running = RunningTrial(
            trial,
            suggest(trial, config),  # what was suggested stands; what the dead run did not get to is drawn now
            is_calibration,
            make_checkpoint_path(get_checkpoint_folder(config, opened.uid), frozen.number),
            attempt=last.attempt + 1 if last else 1,
            curve=opened.reader.measurements(frozen.number).get(frozen.number, []),
            reported=set(read_reports(frozen)),
            retrains=frozen.user_attrs.get(RETRAINS_ATTRIBUTE),
        )
        if opened.writer.is_shared:
            enter_attempt(opened, running, run_uid)
        adopted.append(running)
    return adopted


def enter_attempt(opened: OpenStudy, running: RunningTrial, run_uid: str) -> None:
    """Writes that this run has the trial now, and before that what the trial is."""
    opened.storage.flush()
    opened.writer.start_attempt(
        running.number,
        running.attempt,
        run_uid,
        is_calibration=running.is_calibration,
        candidate=running.describe_params(),
        model=running.candidate.describe(),
    )


def _find_asker(frozen: optuna.trial.FrozenTrial) -> str | None:
    """The run that asked for a trial and may have died before it entered an attempt."""
    asked_by = frozen.user_attrs.get(ASKED_ATTRIBUTE)
    return None if asked_by is None else str(asked_by).partition("/")[0]
