"""Progress of a work whose steps can be counted: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Item = TypeVar("Item")
_PLAIN_SECONDS = 10.0


class StepProgress:
    """Shows how many of n steps are done, on standard error; to be used in a `with` block, gone after it.

    Args:
        description: What is being done, `measuring`.
        unit: What a step is, in the plural, `batches`.
        n_steps: Steps in all; None: `show` says so.
    """

    def __init__(self, description: str, unit: str, n_steps: int | None = None) -> None:
        self._description = description
        self._unit = unit
        self._n_steps = n_steps
        self._n_done = 0
        console = Console(stderr=True)
        self._bar = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
            self._bar.add_task(description, total=n_steps)
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, n_done: int, n_steps: int | None = None) -> None:
        """Says that n_done steps are done, of n_steps if that is known only now; without a terminal now and then."""
        self._n_done = n_done
        self._n_steps = n_steps or self._n_steps
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=n_done, total=self._n_steps)
        elif time.monotonic() - self._shown >= _PLAIN_SECONDS:
            self._shown = time.monotonic()
            line = f"{self._description}: {n_done}/{self._n_steps} {self._unit}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the command line's own output

    def advance(self) -> None:
        """Says that one more step is done."""
        self.show(self._n_done + 1)

    def track(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each a step that is done when the next one is asked for."""
        for n_done, item in enumerate(items, 1):
            yield item
            self.show(n_done)
