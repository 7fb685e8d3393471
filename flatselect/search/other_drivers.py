"""The drivers that a study has besides this one, on a database that they share."""

import math
import time

from flatselect.config import StudyConfig
from flatselect.search.liveness import is_alive
from flatselect.search.recovery import adopt_running_trials
from flatselect.search.running_trial import RunningTrial
from flatselect.search.study_identity import OpenStudy
from flatselect.store.study_reader import RunRecord

_LOOK_SECONDS = 1.0


class OtherDrivers:
    """What they run, and what the dead ones among them have left.

    Attributes:
        may_exist: Whether the database is one that drivers share.
    """

    def __init__(self, config: StudyConfig, opened: OpenStudy, run_uid: str) -> None:
        self._config = config
        self._opened = opened
        self._run_uid = run_uid
        self._looked = -math.inf
        self.may_exist = opened.writer.is_shared

    def take_from_dead(self) -> list[RunningTrial]:
        """The trials that nobody alive runs any more; called under the study's lock, they are this driver's now."""
        if not self.may_exist or time.monotonic() - self._looked < _LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        self._opened.writer.end_dead_runs(lambda run: run.uid == self._run_uid or is_alive(run))
        return adopt_running_trials(self._config, self._opened, self._run_uid)

    def find_trials(self) -> dict[int, RunRecord]:
        """The trials that others run now, by number, and the run that has each."""
        if not self.may_exist:
            return {}
        runs = {run.uid: run for run in self._opened.reader.runs() if run.ended_at is None and run.uid != self._run_uid}
        running = (attempt for attempt in self._opened.reader.attempts() if attempt.outcome == "running")
        return {attempt.trial_number: runs[attempt.run_uid] for attempt in running if attempt.run_uid in runs}
