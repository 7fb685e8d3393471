"""One function over many items in several processes, any of which may die at any time."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerLost:
    """What became of an item whose process ended before it was done: killed, out of memory, or crashed."""

    exit_code: int | None

    def __str__(self) -> str:
        if self.exit_code is not None and self.exit_code < 0:
            how = f"was ended by {signal.Signals(-self.exit_code).name}"
        else:
            how = f"ended with exit code {self.exit_code}"
        return f"the process that measured it {how}; was memory short? try fewer --workers or a smaller --batch-size"


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], n_workers: int, n_threads: int
) -> Iterator[tuple[int, Result | WorkerLost]]:
    """Calls the function for each item, in as many processes, and hands back each result when it is there.

    Processes are spawned anew, with this one's search path for modules; the function, with all that it holds, goes to
    each of them once. What they print goes to standard error. A process that dies is replaced.

    Args:
        function: Can be pickled; does not raise.
        items: Can be pickled.
        n_workers: Processes.
        n_threads: Of torch, in each.

    Yields:
        The item's index and what the function returned.
    """
    waiting = deque(enumerate(items))
    busy: dict[Connection, tuple[_Worker[Item], int]] = {}

    def start_next(worker: "_Worker[Item] | None" = None) -> None:
        if not waiting:
            return
        worker = worker or _Worker(payload, n_threads)
        index, item = waiting.popleft()
        busy[worker.connection] = worker, index
        worker.send(item)

    with tempfile.TemporaryDirectory(prefix="flatselect-") as folder:
        # A file: tensors would be shared through /dev/shm, which is small in containers, and an argument's bytes would
        # be waited for until the process is up, one process after the other.
        payload = Path(folder) / "function.pickle"
        payload.write_bytes(pickle.dumps(function))
        try:
            for _ in range(min(n_workers, len(items))):
                start_next()
            while busy:
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    worker, index = busy.pop(connection)
                    try:
                        result = connection.recv()
                    except (EOFError, OSError):
                        yield index, WorkerLost(worker.join())
                        start_next()
                    else:
                        yield index, result
                        start_next(worker)
        finally:
            for worker, _ in busy.values():
                worker.process.kill()


class _Worker(Generic[Item]):
    def __init__(self, payload: Path, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # A daemon does not outlive this process.
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, payload, n_threads), daemon=True)
        with _interrupts_ignored():
            self.process.start()
        theirs.close()

    def send(self, item: Item) -> None:
        """Sends an item; of a process that is dead already, the next `recv` says so."""
        try:
            self.connection.send(item)
        except OSError:
            self.process.kill()

    def join(self) -> int | None:
        self.process.join()
        return self.process.exitcode


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What is started meanwhile never hears of Ctrl-C, which a terminal sends to all: the parent ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _serve(connection: Connection, payload: Path, n_threads: int) -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(n_threads)
    function = pickle.loads(payload.read_bytes())
    while True:
        try:
            item = connection.recv()
        except EOFError:  # all is done
            return
        connection.send(function(item))
