"""Which trial starts next: one that was left or lost, or a new one that Optuna suggests."""

import time
from collections import deque
from collections.abc import Iterable

from flatselect.config import StudyConfig
from flatselect.pruning import CALIBRATION_ATTRIBUTE
from flatselect.search.calibrator_fitting import CalibratorFitting
from flatselect.search.checkpoint_folder import get_checkpoint_folder, make_checkpoint_path
from flatselect.search.events import SearchObserver
from flatselect.search.other_drivers import OtherDrivers
from flatselect.search.recovery import enter_attempt
from flatselect.search.retrying import has_waiting_retry
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_sampler
from flatselect.search.stopping import ImprovementStop
from flatselect.search.study_identity import OpenStudy
from flatselect.search.trial_book import TrialBook
from flatselect.search_space import suggest
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE


class TrialQueue:
    """The trials that are still to begin, or to begin again.

    Attributes:
        again: Those that a former run left, a dead driver had, or a lost worker; they go first.
        n_to_retrain: Of the best, waiting in Optuna's queue.
    """

    def __init__(
        self,
        config: StudyConfig,
        opened: OpenStudy,
        book: TrialBook,
        fitting: CalibratorFitting,
        others: OtherDrivers,
        run_uid: str,
        observer: SearchObserver,
        left: Iterable[RunningTrial],
    ) -> None:
        self._config = config
        self._opened = opened
        self._book = book
        self._fitting = fitting
        self._others = others
        self._run_uid = run_uid
        self._observer = observer
        self._stop = ImprovementStop(config)
        self._folder = get_checkpoint_folder(config, opened.uid)
        self._started = time.monotonic()
        self.again = deque(left)
        self.n_to_retrain = 0

    @property
    def enough_because(self) -> str | None:
        """Why no more trials were started though there were to be more."""
        return self._stop.because

    @property
    def n_searches_left(self) -> int:
        """Trials of `study.trials` that have not begun, if it is not enough."""
        return 0 if self.enough_because else max(0, self._config.study.trials - self._book.n_searched)

    def count_startable(self) -> int:
        """Trials that would start now if there were workers enough."""
        return len(self.again) + self._count_to_come()

    def take(self) -> RunningTrial | None:
        """The next trial, entered as an attempt of this run; None if there is none now."""
        if not self.again:
            with self._opened.writer.lock():
                self._fitting.learn()
                for running in self._others.take_from_dead():
                    self._observer.say(f"trial {running.number}: its driver died; attempt {running.attempt} follows")
                    self.again.append(running)
                if not self.again:
                    return self._ask() if self._count_to_come() else None
        running = self.again.popleft()
        enter_attempt(self._opened, running, self._run_uid)
        return running

    def _count_to_come(self) -> int:
        """Trials that may still begin, those to be trained again included."""
        options = self._config.study
        if options.timeout is not None and time.monotonic() - self._started > options.timeout:
            return 0
        if self.n_to_retrain:
            return self.n_to_retrain
        if self._book.n_searched >= options.trials or self._is_enough():
            return int(has_waiting_retry(self._opened.study))
        return options.trials - self._book.n_searched

    def _is_enough(self) -> bool:
        was_enough = self._stop.because is not None
        is_enough = self._stop.is_enough(self._book.params, self._book.predicted)
        if is_enough and not was_enough:
            self._observer.say(f"no new trial starts: {self._stop.because}")
        return is_enough

    def _ask(self) -> RunningTrial:
        """A trial that is new."""
        study = self._opened.study
        study.sampler = make_sampler(self._config.study, len(self._book.states))
        trial = study.ask()
        retrains = trial.user_attrs.get(RETRAINS_ATTRIBUTE)
        is_calibration = retrains is None and self._fitting.needs_trial()
        trial.set_user_attr(CALIBRATION_ATTRIBUTE, is_calibration)
        candidate = suggest(trial, self._config)
        is_repetition = retrains is not None or RETRIES_ATTRIBUTE in trial.user_attrs
        self._book.add(trial.number, trial.params, is_calibration=is_calibration, is_repetition=is_repetition)
        self.n_to_retrain -= retrains is not None and self.n_to_retrain > 0
        checkpoint = make_checkpoint_path(self._folder, trial.number)
        running = RunningTrial(trial, candidate, is_calibration, checkpoint, retrains=retrains)
        enter_attempt(self._opened, running, self._run_uid)
        return running
