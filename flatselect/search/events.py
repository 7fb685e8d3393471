"""What a search tells whoever watches it."""

from dataclasses import dataclass, field
from typing import Protocol

from flatselect.records import Prediction


@dataclass
class SearchStatus:
    """Where a search stands; the driver keeps one and shows it after every change.

    Attributes:
        n_trials: Trials the study is to have in all.
        n_done, n_pruned, n_failed: Trials ended so, earlier runs included.
        running: Epochs trained, by the number of each running trial.
        n_epochs_run: Epochs trained by this run.
        seconds: Since this run's first trial started.
        epochs_left: Estimate: what running trials have left and waiting ones will need.
        best: Number and prediction of the best finished trial.
    """

    n_trials: int
    phase: str = "starting"
    n_done: int = 0
    n_pruned: int = 0
    n_failed: int = 0
    running: dict[int, int] = field(default_factory=dict)
    n_epochs_run: int = 0
    seconds: float = 0.0
    epochs_left: float = 0.0
    n_audited: int = 0
    n_to_audit: int = 0
    best: tuple[int, Prediction] | None = None

    @property
    def epochs_per_second(self) -> float:
        return self.n_epochs_run / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None before the first epoch is through."""
        return self.epochs_left / self.epochs_per_second if self.n_epochs_run else None


class SearchObserver(Protocol):
    """A progress display, or a test that looks on."""

    def show(self, status: SearchStatus) -> None:
        """Called after every change, and about once a second."""

    def say(self, message: str) -> None:
        """One event worth a line: a trial's end, a lost worker, a new calibrator."""


class SilentObserver:
    """Watches nothing."""

    def show(self, status: SearchStatus) -> None:
        pass

    def say(self, message: str) -> None:
        pass
