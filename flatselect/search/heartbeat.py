"""Signs of life of a driver, from a thread of its own: an epoch, or a sampler, may take longer than a minute."""

import contextlib
import threading
from types import TracebackType
from typing import Self

from flatselect.errors import StoreError
from flatselect.store.study_writer import StudyWriter

HEARTBEAT_SECONDS = 10.0


def is_beating(run_uid: str) -> bool:
    """Whether this very process drives the run."""
    return any(thread.name == _name_thread(run_uid) for thread in threading.enumerate())


def _name_thread(run_uid: str) -> str:
    return f"heartbeat {run_uid}"


class Heartbeat:
    """Beats while its `with` block lasts.

    Attributes:
        run_uid: The run whose life it is a sign of.
        was_taken_over: Whether another process has declared this run dead and goes on with its trials.
    """

    def __init__(self, writer: StudyWriter, run_uid: str) -> None:
        self._writer = writer.without_patience()
        self.run_uid = run_uid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name=_name_thread(run_uid), daemon=True)
        self.was_taken_over = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def beat(self) -> None:
        """One sign of life now, by which it is also learned whether the run was taken over."""
        # A database that is away hears the next one; the driver waits for it by itself.
        with contextlib.suppress(StoreError):
            self.was_taken_over |= not self._writer.heartbeat(self.run_uid)

    def _keep_beating(self) -> None:
        while not self.was_taken_over and not self._is_over.wait(HEARTBEAT_SECONDS):
            self.beat()
