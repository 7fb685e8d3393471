"""Progress of a search: a live line on a terminal, plain lines elsewhere; always on standard error."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.status import Status

from flatselect.cli.output import escape_controls
from flatselect.config import StudyConfig
from flatselect.search.events import SearchObserver, SearchStatus

_PLAIN_SECONDS = 10.0
_MOST_NAMED = 4  # running trials


class Progress(SearchObserver, Protocol):
    """An observer to be used in a `with` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_progress(config: StudyConfig) -> Progress:
    """The display that fits standard error."""
    console = Console(stderr=True)
    return LiveProgress(console, config.study.name) if console.is_terminal else PlainProgress(config.study.name)


class LiveProgress:
    """One line that renews itself below the events."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._line = Status(f"{name}: starting", console=console)
        self._name = name

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.stop()

    def show(self, status: SearchStatus) -> None:
        self._line.update(f"{self._name}: {describe_status(status)}")

    def say(self, message: str) -> None:
        self._console.print(escape_controls(message), markup=False, highlight=False)


class PlainProgress:
    """Every event a line, and where the search stands every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, status: SearchStatus) -> None:
        if time.monotonic() - self._shown >= _PLAIN_SECONDS:
            self._shown = time.monotonic()
            self.say(describe_status(status))

    def say(self, message: str) -> None:
        print(f"{self._name}: {escape_controls(message)}", file=sys.stderr, flush=True)  # noqa: T201 - the command line's own output


def describe_status(status: SearchStatus) -> str:
    """Where a search stands, in one line: `7/16 trials (2 pruned, 0 failed), running 8 (epoch 3), best 0.9530 ...`."""
    n_ended = status.n_done + status.n_pruned + status.n_failed
    if status.phase == "auditing":
        return f"auditing {status.n_audited}/{status.n_to_audit}"
    parts = [f"{n_ended}/{status.n_trials} trials ({status.n_pruned} pruned, {status.n_failed} failed)"]
    if 0 < len(status.running) <= _MOST_NAMED:
        parts.append("running " + ", ".join(f"{number} (epoch {epoch})" for number, epoch in status.running.items()))
    elif status.running:
        parts.append(f"{len(status.running)} running")
    if status.best is not None:
        number, prediction = status.best
        low, high = prediction.predicted_test_score_interval
        parts.append(f"best {prediction.predicted_test_score:.4f} [{low:.4f}, {high:.4f}] trial {number}")
    if status.n_epochs_run:
        parts.append(f"{status.epochs_per_second:.2f} epochs/s")
    if status.seconds_left is not None:
        parts.append(f"about {format_seconds(status.seconds_left)} left")
    return ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
