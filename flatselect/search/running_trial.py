"""One trial in the driver's hands, from ask to tell."""

from dataclasses import dataclass, field
from typing import Any

import optuna

from flatselect.records import EpochMeasurement, Prediction
from flatselect.search.protocol import TrialAssignment
from flatselect.search_space import Candidate

FLATNESS_ATTRIBUTE = "flatselect:relative_gap_flatness"


@dataclass
class RunningTrial:
    """A trial that was asked for and not yet told.

    Attributes:
        trial: Optuna's own handle.
        attempt: From 1; one more each time a worker took the trial up anew.
        n_failures: Workers that died under it in this run; preempted ones do not count.
        curve: Measured epochs so far, oldest first.
        reported: Epochs that Optuna has been told.
        prediction: Of the newest measured epoch.
        started: When the attempt was handed to a worker, by the monotonic clock.
        retrains: The trial whose candidate this one trains again.
    """

    trial: optuna.Trial
    candidate: Candidate
    is_calibration: bool
    checkpoint: str
    attempt: int = 1
    n_failures: int = 0
    epoch: int = 0
    curve: list[EpochMeasurement] = field(default_factory=list)
    reported: set[int] = field(default_factory=set)
    prediction: Prediction | None = None
    started: float = 0.0
    retrains: int | None = None

    @property
    def may_be_pruned(self) -> bool:
        """Neither a trial that the calibrator needs the end of, nor one of the best that is trained to the end."""
        return not self.is_calibration and self.retrains is None

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def epochs_left(self) -> int:
        return max(0, self.candidate.training.epochs - self.epoch)

    def make_assignment(self) -> TrialAssignment:
        return TrialAssignment(self.number, self.attempt, dict(self.trial.params), self.is_calibration, self.checkpoint)

    def add_to_curve(self, measurements: tuple[EpochMeasurement, ...]) -> None:
        """Adds epochs that are not there yet: after a resume a worker sends the whole curve again."""
        known = {measurement.epoch for measurement in self.curve}
        self.curve += [measurement for measurement in measurements if measurement.epoch not in known]

    def describe_params(self) -> dict[str, Any]:
        """The candidate as it is remembered in the database."""
        return {
            "model": self.candidate.model,
            "model_args": self.candidate.model_args,
            "training": self.candidate.training.model_dump(mode="json"),
            "augmentation": self.candidate.augmentation,
        }
