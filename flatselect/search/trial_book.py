"""What a driver knows of every trial of its study. It is the only writer, so nothing else has to be asked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from flatselect.pruning import CALIBRATION_ATTRIBUTE
from flatselect.records import EpochMeasurement, Prediction
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE


class TrialBook:
    """States, roles, curves and last predictions of the trials that have begun, by number.

    Attributes:
        states: Optuna's; changed by `add` and `end`.
        counts: Trials in each state.
        params: What was suggested.
        curves: Measured epochs, oldest first.
        predicted: The latest predictions of complete and of pruned trials; changed by `predict`.
        calibration: The trials that hold out a part.
        repetitions: The trials that train another one's candidate again, one of the best or a failed one.
    """

    def __init__(self, trials: Iterable[FrozenTrial], curves: dict[int, list[EpochMeasurement]]) -> None:
        self.states: dict[int, TrialState] = {}
        self.counts: Counter[TrialState] = Counter()
        self.params: dict[int, Mapping[str, Any]] = {}
        self.curves = curves
        self.predicted: dict[int, Prediction] = {}
        self.calibration: set[int] = set()
        self.repetitions: set[int] = set()
        self._best: tuple[int, Prediction] | None = None
        self._n_ended, self._n_ended_epochs = 0, 0
        self.update(trials)

    def update(self, trials: Iterable[FrozenTrial]) -> list[int]:
        """Enters what Optuna has that is not here yet; returns the trials that have ended since."""
        ended = []
        for trial in trials:
            known = self.states.get(trial.number)
            if trial.state == TrialState.WAITING or (known is not None and known.is_finished()):
                continue
            self.add(
                trial.number,
                trial.params,
                is_calibration=bool(trial.user_attrs.get(CALIBRATION_ATTRIBUTE)),
                is_repetition=bool({RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE} & trial.user_attrs.keys()),
            )
            if trial.state.is_finished():
                self.end(trial.number, trial.state)
                ended.append(trial.number)
        return ended

    def add(self, number: int, params: Mapping[str, Any], *, is_calibration: bool, is_repetition: bool) -> None:
        """A trial that begins."""
        if number not in self.states:
            self.counts[TrialState.RUNNING] += 1
        self.states[number] = TrialState.RUNNING
        self.params[number] = params
        if is_calibration:
            self.calibration.add(number)
        if is_repetition:
            self.repetitions.add(number)

    def end(self, number: int, state: TrialState) -> None:
        """A trial that was told."""
        self.counts[self.states[number]] -= 1
        self.counts[state] += 1
        self.states[number] = state
        if curve := self.curves.get(number):
            self._n_ended += 1
            self._n_ended_epochs += curve[-1].epoch
        if self._best is not None and state == TrialState.COMPLETE and number in self.predicted:
            candidate = number, self.predicted[number]
            self._best = max(self._best, candidate, key=lambda item: item[1].predicted_test_score)

    def predict(self, number: int, prediction: Prediction) -> None:
        """What is said of a trial at its end, or of one that ended before."""
        self.predicted[number] = prediction
        if self.states[number] == TrialState.COMPLETE:
            self._best = None

    @property
    def n_searched(self) -> int:
        """Trials that have begun, less those that train another one's candidate again."""
        return len(self.states) - len(self.repetitions)

    @property
    def n_calibration_alive(self) -> int:
        """Calibration trials that have not failed."""
        return sum(self.states[number] != TrialState.FAIL for number in self.calibration)

    @property
    def best(self) -> tuple[int, Prediction] | None:
        """The complete trial of the highest predicted test score; of equal ones, the first to be predicted."""
        if self._best is None:
            complete = [item for item in self.predicted.items() if self.states[item[0]] == TrialState.COMPLETE]
            self._best = max(complete, key=lambda item: item[1].predicted_test_score, default=None)
        return self._best

    def find(self, *states: TrialState) -> list[int]:
        """The trials in one of these states."""
        return sorted(number for number, state in self.states.items() if state in states)

    def find_calibrated(self) -> list[int]:
        """The calibration trials that came to their end."""
        return sorted(number for number in self.calibration if self.states[number] == TrialState.COMPLETE)

    def all_calibration_ended(self) -> bool:
        """Whether there are calibration trials, and none of them runs."""
        return bool(self.calibration) and all(self.states[number].is_finished() for number in self.calibration)

    def last_measured(self, number: int) -> EpochMeasurement | None:
        """The newest epoch of a trial at which flatness was measured."""
        return next((m for m in reversed(self.curves.get(number, [])) if m.is_measured), None)

    def mean_epochs(self, default: float) -> float:
        """Epochs an ended trial took."""
        return self._n_ended_epochs / self._n_ended if self._n_ended else default
