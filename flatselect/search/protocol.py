"""What the driver and its workers say to each other.

The driver asks for one epoch at a time and decides after each: to ask for the next one is "continue", to start another
trial is "prune". So a worker never waits for a decision that nobody will make, and a message of a dead attempt has
nobody to reach: every reply belongs to a request of the attempt that it names.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from flatselect.data.dataset import Dataset
from flatselect.records import EpochMeasurement, Failure
from flatselect.training.checkpoint import CheckpointFile


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a search is told once.

    Attributes:
        config: The study's plain values.
        study_uid: Guards checkpoints: one of another study is never resumed.
        device: "cpu" or "cuda".
        n_threads: Of torch on the CPU; None leaves torch's own choice.
        python_path: Where the user's own `module:function` factories are looked for.
        memory_fraction: Of the GPU's memory this worker may take.
    """

    config: dict[str, Any]
    study_uid: str
    device: str = "cpu"
    n_threads: int | None = None
    python_path: tuple[str, ...] = ()
    memory_fraction: float | None = None


@dataclass(frozen=True)
class SearchImages:
    """What every worker of a search has in memory.

    Attributes:
        train: The labelled images.
        unlabeled: Images from where the network will be used; nobody looks at their labels.
    """

    train: Dataset
    unlabeled: Dataset | None = None


@dataclass(frozen=True)
class TrialAssignment:
    """One attempt at one trial.

    Attributes:
        params: What Optuna suggested; with the study file they are the candidate.
        is_calibration: Hold out a part of the labelled data and measure the test gap on it.
        checkpoint: Where its checkpoint is written, and read if a former attempt left one.
    """

    number: int
    attempt: int
    params: dict[str, Any]
    is_calibration: bool
    checkpoint: str


@dataclass(frozen=True)
class TrialReport:
    """A worker's reply: where a trial stands.

    Attributes:
        measurements: Measured epochs the driver may not know yet: the newest one; after a resume, the whole curve.
        is_last: Nothing is left to train.
        failure: Why the trial cannot go on; None if it can.
        resumed_at: Epochs that a former attempt had trained, 0 for a fresh start.
    """

    number: int
    attempt: int
    epoch: int
    measurements: tuple[EpochMeasurement, ...] = ()
    is_last: bool = False
    checkpoint: CheckpointFile | None = None
    failure: Failure | None = None
    resumed_at: int = 0
    pid: int = 0


@dataclass(frozen=True)
class AuditRequest:
    """Evaluate one trial's last weights on the audit images; asked only after every decision is made."""

    number: int
    params: dict[str, Any]
    checkpoint: str


@dataclass(frozen=True)
class AuditReply:
    """Score and loss of one trial on the audit images, or why there is none."""

    number: int
    score: float | None = None
    loss: float | None = None
    n_images: int = 0
    failure: Failure | None = None


# The kind of a failure that is the machine's, not the candidate's: a process that decodes images for it died.
LOADER_LOST = "LoaderLost"


@dataclass(frozen=True)
class WorkerLost:
    """A worker died with its request unanswered. A preempted one is not held against the trial."""

    reason: str
    was_preempted: bool = False


Reply = TrialReport | AuditReply | WorkerLost


@dataclass(frozen=True)
class BackendInfo:
    """What the workers run on, for logs and the run's row; workers may come and go.

    Attributes:
        n_workers: There is room for at the start.
        notes: What the user should know.
    """

    name: str
    n_workers: int
    device: str
    notes: tuple[str, ...] = field(default=())


class Backend(Protocol):
    """Workers that answer requests, one at a time each.

    Attributes:
        idle: Numbers of workers that are ready and have no work. Whoever has work takes one out, and puts it back when
            the work is done. A number is never used twice: a lost worker's is gone, its successor has one of its own.
    """

    info: BackendInfo
    idle: deque[int]

    def scale(self, n_wanted: int) -> None:
        """Says for how many workers there is work; there may be fewer, and later more."""

    def request(self, worker: int, method: str, *arguments: Any) -> None:
        """Asks a worker that was idle to run `start`, `train_epoch` or `audit`."""

    def wait(self, timeout: float) -> list[tuple[int, Reply]]:
        """Replies that have come; none if `timeout` seconds pass, or a worker got ready, before the first.

        Raises:
            SearchError: There is no worker, and there will be none.
        """

    def dismiss(self, worker: int) -> None:
        """Gives up a worker that does not answer its request, which is answered no more; another takes its place."""

    def share(self, dataset: Dataset) -> Any:
        """Puts a data set where every worker can read it; pass what comes back as an argument of a request."""

    def close(self) -> None:
        """Ends every worker at once."""
