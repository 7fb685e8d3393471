"""What the store remembers of runs, attempts and checkpoints, apart from the database's rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from flatselect.records import Failure

TIDYING = "none"  # the backend of a run that starts no trial
AttemptOutcome = Literal["running", "complete", "pruned", "fail", "lost", "interrupted"]


@dataclass(frozen=True)
class StudySummary:
    """A study in a list of studies. `created_at` is UTC, without a zone; `data` is what is known of its images."""

    name: str
    uid: str
    created_at: datetime
    n_trials: int
    data: dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """One process that drove a study. It is alive while `ended_at` is None and its last heartbeat recent.

    Attributes:
        heartbeat_at: The last sign of life, which a run that was ended gave then.
        ended_at: When it ended; of a run that died, when another found it dead.
        host: The machine's name.
        machine: What tells it from others of the same name; empty for runs of earlier versions.
        config_sha256: Of `config` as JSON, keys in order; None of a run that trained nothing.
        data_fingerprint: Of the training images.
        host_kind: System, CPUs and GPUs of the machine; None for runs of earlier versions.
        silent_seconds: Since the last heartbeat, when this was read.
    """

    uid: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    outcome: str | None
    host: str
    pid: int
    backend: str
    versions: dict[str, Any]
    config: dict[str, Any]
    machine: str
    config_sha256: str | None
    data_fingerprint: str | None
    host_kind: str | None
    silent_seconds: float

    @property
    def is_search(self) -> bool:
        """Whether it searched, and did not only end what a dead run had left."""
        return self.backend != TIDYING


@dataclass(frozen=True)
class AttemptRecord:
    """One start of a trial on a worker; `attempt` counts from 1."""

    trial_number: int
    attempt: int
    run_uid: str
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome
    failure: Failure | None
    pruned_because: str | None
    is_calibration: bool
    candidate: dict[str, Any]
    model: str


@dataclass(frozen=True)
class CheckpointRecord:
    """Where a trial's last checkpoint lies and what its bytes must be; it lay there until `deleted_at`, UTC."""

    trial_number: int
    epoch: int
    path: str
    sha256: str
    size: int
    deleted_at: datetime | None = None
