"""When a study's calibrator is fitted, and what it says of trials that ended before."""

from optuna.trial import TrialState

from flatselect.config import StudyConfig
from flatselect.search.events import SearchObserver
from flatselect.search.other_drivers import OtherDrivers
from flatselect.search.retrying import has_waiting_retry
from flatselect.search.study_calibration import StudyCalibration
from flatselect.search.study_identity import OpenStudy
from flatselect.search.trial_book import TrialBook


class CalibratorFitting:
    """Fits the calibrator once every calibration trial has ended, and anew with every later one.

    What drivers that share the study have done is learned here too: their trials are calibrated and predicted alike.
    """

    def __init__(
        self,
        config: StudyConfig,
        opened: OpenStudy,
        calibration: StudyCalibration,
        book: TrialBook,
        others: OtherDrivers,
        observer: SearchObserver,
    ) -> None:
        self._n_trials = config.study.trials
        self._opened = opened
        self._calibration = calibration
        self._book = book
        self._others = others
        self._observer = observer

    def needs_trial(self) -> bool:
        """Whether the next trial holds out a part: those that failed before are replaced."""
        return self._calibration.may_grow and self._book.n_calibration_alive < self._calibration.n_trials_wanted

    @property
    def is_settled(self) -> bool:
        """Whether there is a calibrator, and no trial is to come with which it would be fitted anew."""
        if self._calibration.predictor is None:
            return False
        is_given = self._calibration.n_trials_wanted == 0
        return is_given or not self._calibration.may_grow or self._have_trials_ended()

    def learn(self) -> None:
        """Enters into the book what other drivers did, if there may be any; to be called under the study's lock."""
        if self._others.may_exist:
            self.catch_up()

    def catch_up(self) -> None:
        """Enters into the book what other processes did."""
        ended = self._book.update(self._opened.study.get_trials(deepcopy=False))
        for number in ended:
            self._book.curves.update(self._opened.reader.measurements(number))
        if ended and self._calibration.predictor is not None:
            self._predict_last(ended)

    def fit_if_due(self, *, is_final: bool) -> None:
        """Fits the calibrator if there are trials to fit it on that it lacks; to be called under the study's lock.

        Args:
            is_final: No more calibration trials will end here: the first fit is made with those there are.

        Raises:
            CalibrationError: There are too few.
        """
        if self._others.may_exist and self._calibration.reload():
            self.predict_ended()
        numbers = self._book.find_calibrated()
        # One that was ended by hand may have no epoch.
        curves = {number: self._book.curves.get(number, []) for number in numbers}
        if self._calibration.predictor is not None:
            if self._calibration.lacks_any(curves):
                self._calibration.fit(curves)
                self._observer.say(f"calibrator fitted anew, with {len(numbers)} trials of this study")
                # Of all that was said before; Optuna keeps what it was told.
                self._calibration.predict_all(self._book.curves)
                self.predict_ended()
        elif self._have_trials_ended() or (is_final and not self._others.find_trials()):
            self._calibration.fit(curves)
            self._observer.say(f"calibrator fitted on {len(numbers)} trials{self._describe_shortage(len(numbers))}")
            self._predict_last(numbers)

    def predict_ended(self) -> None:
        """What the calibrator says of the last measured epoch of every trial that has ended, if there is one."""
        if self._calibration.predictor is not None:
            self._predict_last(self._book.find(TrialState.COMPLETE, TrialState.PRUNED))

    def _predict_last(self, numbers: list[int]) -> None:
        for number in numbers:
            if (measurement := self._book.last_measured(number)) is not None:
                self._book.predict(number, self._calibration.predict(number, measurement))

    def _have_trials_ended(self) -> bool:
        if not self._book.all_calibration_ended():
            return False
        if not self.needs_trial():
            return True
        # A failed one that is to be tried again may still hold out its part.
        return self._book.n_searched >= self._n_trials and not has_waiting_retry(self._opened.study)

    def _describe_shortage(self, n_trials: int) -> str:
        wanted = self._calibration.n_trials_wanted
        return f" of the {wanted} that calibration.trials asks for" if n_trials < wanted else ""
