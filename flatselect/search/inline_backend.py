"""The inline backend: one worker in the driver's own process, for tests and machines of one core."""

import time
from collections import deque
from typing import Any

from flatselect.data.dataset import Dataset
from flatselect.search.protocol import BackendInfo, Reply, SearchImages, WorkerSettings
from flatselect.search.worker import TrialWorker


class InlineBackend:
    """Answers a request when the driver waits for it: the same protocol as Ray's, without a process of its own."""

    def __init__(self, settings: WorkerSettings, images: SearchImages) -> None:
        self.info = BackendInfo("inline", 1, settings.device)
        self._worker = TrialWorker(settings, images)
        self.idle = deque([0])
        self._pending: tuple[str, tuple[Any, ...]] | None = None

    def request(self, worker: int, method: str, *arguments: Any) -> None:
        self._pending = method, arguments

    def scale(self, n_wanted: int) -> None:
        """There is one worker, wanted or not."""

    def wait(self, timeout: float) -> list[tuple[int, Reply]]:
        if self._pending is None:
            time.sleep(timeout)
            return []
        (method, arguments), self._pending = self._pending, None
        return [(0, getattr(self._worker, method)(*arguments))]

    def dismiss(self, worker: int) -> None:
        """Between two requests nothing hangs: the worker can have other work."""
        self._pending = None
        self.idle.append(worker)

    def share(self, dataset: Dataset) -> Dataset:
        return dataset

    def close(self) -> None:
        self._pending = None
