"""A search seen from outside, by what its database says: what runs, how far it is, and whether anybody drives it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flatselect.search.liveness import is_alive
from flatselect.store.patience import IMPATIENT, Patience
from flatselect.store.run_records import RunRecord
from flatselect.store.study_progress import ProgressReader, TrialCounts, TrialProgress
from flatselect.store.study_reader import StudyReader

_BEST_SECONDS = 30.0
_N_ENDED = 5


@dataclass(frozen=True)
class WatchedStudy:
    """A study as it stands at one moment.

    Attributes:
        study: Its name.
        n_wanted: Trials it is to have, those that repeat others not counted.
        n_to_come: Trials that have not begun, repetitions that wait among them.
        counts: Trials by state.
        running: Those that Optuna has as running, by number.
        n_workers: As the last run's configuration limits them; None where it leaves that to what there is.
        living: The runs that drive it now.
        last_run: The one that began last; None before the first.
        best: The trial that is ranked first; None while nothing is predicted.
        ended: The trials that ended last, the latest first: at least those that have ended since the look before.
        seconds_left: Estimate; None where nothing speaks for one. See `estimate_seconds_left`.
        minimized: Costs that are objectives beside the predicted test score.
    """

    study: str
    n_wanted: int
    n_to_come: int
    counts: TrialCounts
    running: tuple[TrialProgress, ...]
    n_workers: int | None
    living: tuple[RunRecord, ...]
    last_run: RunRecord | None
    best: TrialProgress | None
    ended: tuple[TrialProgress, ...]
    seconds_left: float | None
    minimized: tuple[str, ...] = ()

    @property
    def n_busy(self) -> int:
        """Workers that a living run has given a trial."""
        uids = {run.uid for run in self.living}
        return sum(trial.run_uid in uids for trial in self.running)

    @property
    def is_complete(self) -> bool:
        """Whether the last search came to its end, and nothing is left running."""
        return bool(self.last_run and self.last_run.outcome == "complete") and not self.living and not self.running

    @property
    def over_because(self) -> str | None:
        """Why nothing more is to be seen; None while the study is searched."""
        if self.living:
            return None
        if self.last_run is None:
            return "no search has run yet"
        run = self.last_run
        driver = f"process {run.pid} on {run.host}"
        if self.is_complete and not self.n_to_come:
            return f"the study has all its {self.n_wanted} trials"
        match run.outcome:
            case None | "died":
                return (
                    f"its driver is gone: {driver} gave its last sign of life {run.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"
                )
            case "complete":
                return f"the search ended with {self.counts.searched} of {self.n_wanted} trials"
            case outcome:
                return f"the search was ended as {outcome}, by {driver}"


class StudyWatch:
    """Looks at a study again and again. What costs more than a moment is read only where it may have changed."""

    def __init__(self, reader: StudyReader, patience: Patience = IMPATIENT) -> None:
        self._reader = StudyReader(reader.engine, reader.study_uid, patience)
        self._progress = ProgressReader(reader.engine, reader.study_uid, patience)
        self._name, self._config = reader.name(), reader.config()
        self._best: TrialProgress | None = None
        self._ended: list[TrialProgress] = []
        self._n_ended = -1
        self._looked = 0.0

    def look(self) -> WatchedStudy:
        """The study as it is now.

        Raises:
            StoreError: The database cannot be read, or no longer holds the study.
        """
        # Before the trials: a run that ends in between then still counts as living, and nothing is missed.
        runs = [run for run in self._reader.runs() if run.is_search]
        living = tuple(run for run in runs if is_alive(run))
        running = tuple(self._progress.find_running())
        counts = self._read_ended()
        config = runs[-1].config if runs and runs[-1].config else self._config
        study = config.get("study", {})
        n_wanted = int(study.get("trials", counts.searched))
        n_to_come = max(0, n_wanted - counts.searched) + counts.waiting_repetitions
        return WatchedStudy(
            study=self._name,
            n_wanted=n_wanted,
            n_to_come=n_to_come,
            counts=counts,
            running=running,
            n_workers=_read_workers(config),
            living=living,
            last_run=runs[-1] if runs else None,
            best=self._best,
            ended=tuple(self._ended),
            seconds_left=self._estimate(living, running, n_to_come),
            minimized=tuple(study.get("minimize", ())),
        )

    def _read_ended(self) -> TrialCounts:
        """Reads what has ended, until none ends meanwhile: a trial listed but not counted would be told twice."""
        counts = self._progress.count_trials()
        while counts.ended != self._n_ended:
            n_new = 0 if self._n_ended < 0 else counts.ended - self._n_ended
            self._ended = self._progress.find_last_ended(max(n_new, _N_ENDED))
            again = self._progress.count_trials()
            if again.ended == counts.ended:
                break
            counts = again
        # A calibrator that was fitted anew says something else of trials that have ended before.
        if counts.ended != self._n_ended or time.monotonic() - self._looked > _BEST_SECONDS:
            self._best = self._progress.find_best()
            self._looked = time.monotonic()
        self._n_ended = counts.ended
        return counts

    def _estimate(self, living: Sequence[RunRecord], running: Sequence[TrialProgress], n_to_come: int) -> float | None:
        first = self._progress.find_first_start([run.uid for run in living]) if living else None
        if first is None:
            return None
        # By the clock that wrote the runs' times, which the machines' clocks are near.
        now = living[0].heartbeat_at + timedelta(seconds=living[0].silent_seconds)
        n_ended = self._progress.count_ended_since(first)
        return estimate_seconds_left((now - first).total_seconds(), n_ended, running, n_to_come)


def estimate_seconds_left(
    seconds: float, n_ended: int, running: Sequence[TrialProgress], n_to_come: int
) -> float | None:
    """How long a search will take, by the pace of what it has done.

    A trial that runs counts as the share f of its planned epochs that it has trained. With n trials ended and those f
    done in t seconds, and m trials that have not begun,

        seconds left = t · (m + Σ (1 − f)) / (n + Σ f),

    or what the running trial that needs longest has left by its own seconds an epoch, if that is more.

    Args:
        seconds: t, since the first attempt of the runs that are alive was started.
        n_ended: n, trials that have ended since.
        running: The trials that run.
        n_to_come: m.

    Returns:
        None until a trial has ended.
    """
    if not n_ended:
        return None
    shares = [min(1.0, trial.epochs / trial.planned_epochs) for trial in running if trial.planned_epochs]
    n_left = n_to_come + sum(1 - share for share in shares) + len(running) - len(shares)
    longest = max((_find_seconds_left(trial) for trial in running), default=0.0)
    return max(seconds * n_left / (n_ended + sum(shares)), longest)


def _find_seconds_left(trial: TrialProgress) -> float:
    if trial.planned_epochs is None or trial.seconds_an_epoch is None:
        return 0.0
    return max(0, trial.planned_epochs - trial.epochs) * trial.seconds_an_epoch


def _read_workers(config: dict[str, Any]) -> int | None:
    ray = config.get("ray", {})
    if ray.get("backend") == "inline":
        return 1
    workers: int | None = ray.get("workers")
    return workers
