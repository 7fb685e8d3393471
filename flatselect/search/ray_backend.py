"""The Ray backend: one long-lived actor a worker, on this machine or a cluster whose nodes come and go."""

import itertools
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from flatselect.config import RaySection
from flatselect.data.dataset import Dataset
from flatselect.errors import SearchError
from flatselect.models.user_models import find_own_module
from flatselect.search.checkpoint_folder import FolderToken, find_token_problem
from flatselect.search.logs import start_log
from flatselect.search.protocol import BackendInfo, Reply, SearchImages, WorkerLost, WorkerSettings
from flatselect.search.ray_cluster import (
    choose_gpus,
    choose_workers,
    connect,
    count_fitting,
    describe_error,
    find_nodes,
)
from flatselect.search.worker import TrialWorker

# After the line above: it says what Ray reads when it is imported.
import ray  # isort: skip
from ray.exceptions import RayActorError, RayError  # isort: skip
from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn  # isort: skip

_LOOK_SECONDS = 2.0  # between two looks at the cluster's nodes
_RELEASE_SECONDS = 30.0  # a cluster's worker is kept without work: the audit may want it next
_PATIENCE_SECONDS = 30.0  # without any worker before the user hears of it
_MOST_FAILED_STARTS = 3  # one after the other, with no worker there
_LONGEST_PAUSE_SECONDS = 60.0  # after starts that failed, while other workers go on


@dataclass(frozen=True)
class ReadyWorker:
    """A worker's first words: where it is, and why it does not see the checkpoints of the others, None if it does."""

    host: str
    node: str
    folder_problem: str | None


class RayTrialWorker(TrialWorker):
    """A worker in a process of its own, which knows its place in the cluster."""

    def get_ready(self, token: str) -> ReadyWorker:
        """Called once, after the constructor."""
        start_log(self._config.study, self._settings.study_uid, "worker")
        return ReadyWorker(socket.gethostname(), ray.get_runtime_context().get_node_id(), find_token_problem(token))


class RayBackend:
    """Long-lived actors; data sets go to each node once, through Ray's object store.

    As many actors are kept as there is work for and as fit on the nodes that are alive. An actor gets work once it has
    said that it is ready: none waits, with a trial, for a node.
    """

    def __init__(
        self,
        options: RaySection,
        settings: WorkerSettings,
        images: SearchImages,
        token: FolderToken,
        *,
        passwords: Collection[str] = (),
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        """Starts or joins Ray; workers start once `scale` says that there is work.

        Args:
            options: `[ray]` of the study.
            settings: For the workers.
            images: For the workers.
            token: Of the checkpoints' folder, which every worker must see.
            passwords: That no process of Ray's is to see.
            say: Is told what becomes of workers and nodes.

        Raises:
            SearchError: Ray cannot be reached, or does not have what the workers ask for.
        """
        self.idle: deque[int] = deque()
        self._options, self._say, self._token = options, say, token
        self._workers: dict[int, Any] = {}  # those that are starting included
        self._starting: dict[Any, int] = {}
        self._pending: dict[Any, int] = {}
        self._numbers = itertools.count()
        self._n_wanted = 0
        self._next_look = self._surplus_since = -float("inf")
        self._n_failed_starts, self._has_round_failed = 0, False
        self._refused_nodes: set[str] = set()
        self._alone_since: float | None = None
        self._has_said_alone = False
        self._ray = None
        try:
            self._ray = connect(options, passwords, find_own_module(settings.config["model"]["name"]))
            self._gpus = choose_gpus(options)
            n_workers, notes = choose_workers(options, self._gpus)
            device = "cuda" if self._gpus > 0 else "cpu"
            self.info = BackendInfo("ray", n_workers, device, notes)
            self._settings = replace(
                settings,
                device=device,
                n_threads=max(1, int(options.cpus_per_trial)),
                memory_fraction=self._gpus if 0 < self._gpus < 1 else None,
            )
            self._actor_class = ray.remote(RayTrialWorker)
            self._first_nodes = set(find_nodes())
            self._images = ray.put(images)
        except BaseException:
            self.close()
            raise

    def scale(self, n_wanted: int) -> None:
        self._n_wanted = n_wanted

    def request(self, worker: int, method: str, *arguments: Any) -> None:
        self._pending[getattr(self._workers[worker], method).remote(*arguments)] = worker

    def wait(self, timeout: float) -> list[tuple[int, Reply]]:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._adjust(now)
        self._check_not_alone(now)
        futures = [*self._pending, *self._starting]
        if not futures:
            time.sleep(timeout)
            return []
        done, _ = ray.wait(futures, num_returns=1, timeout=timeout)
        if done:  # whatever else has come by now is taken along
            done, _ = ray.wait(futures, num_returns=len(futures), timeout=0)
        replies = []
        for future in done:
            if future in self._starting:
                self._welcome(self._starting.pop(future), future)
            else:
                worker = self._pending.pop(future)
                replies.append((worker, self._take(worker, future)))
        return replies

    def dismiss(self, worker: int) -> None:
        self._pending = {future: number for future, number in self._pending.items() if number != worker}
        self._end_worker(worker)
        self._next_look = -float("inf")

    def share(self, dataset: Dataset) -> Any:
        return ray.put(dataset)

    def close(self) -> None:
        for worker in list(self._workers):
            self._end_worker(worker)
        if self._ray is not None:
            self._ray.close()

    def _adjust(self, now: float) -> None:
        """Starts what is wanted and fits; on a cluster that others share, ends what is not wanted any more."""
        n_most = self._options.workers or sys.maxsize
        if not self._options.autoscaling:
            n_fitting = count_fitting(self._options.cpus_per_trial, self._gpus, without=self._refused_nodes)
            n_most = min(n_most, n_fitting)
        while len(self._workers) < min(self._n_wanted, n_most):
            self._start_worker()
            self._has_round_failed = False
        n_surplus = len(self._workers) - self._n_wanted
        if n_surplus <= 0 or (self._ray is not None and self._ray.is_local):
            self._surplus_since = float("inf")
        elif now - (since := min(now, self._surplus_since)) < _RELEASE_SECONDS:
            self._surplus_since = since
        else:  # an autoscaler can now release their nodes; those that have none yet go first
            for worker in [*reversed(self._starting.values()), *self.idle][:n_surplus]:
                self._end_worker(worker)

    def _start_worker(self) -> None:
        options: dict[str, Any] = {"num_cpus": self._options.cpus_per_trial, "num_gpus": self._gpus}
        if self._refused_nodes:
            options["scheduling_strategy"] = NodeLabelSchedulingStrategy(
                hard={"ray.io/node-id": NotIn(*self._refused_nodes)}
            )
        actor: Any = self._actor_class.options(max_restarts=0, max_task_retries=0, **options).remote(
            self._settings, self._images
        )
        worker = next(self._numbers)
        self._workers[worker] = actor
        self._starting[actor.get_ready.remote(self._token.location)] = worker

    def _end_worker(self, worker: int) -> None:
        """Whether it is alive or not: one that Ray only lost sight of must not go on beside its successor."""
        ray.kill(self._workers.pop(worker))
        self._starting = {future: number for future, number in self._starting.items() if number != worker}
        if worker in self.idle:
            self.idle.remove(worker)

    def _welcome(self, worker: int, future: Any) -> None:
        try:
            ready: ReadyWorker = ray.get(future)
        except RayError as error:
            self._end_worker(worker)
            self._handle_failed_start(describe_error(error))
            return
        if ready.folder_problem is not None:
            self._end_worker(worker)
            self._refuse(ready)
            return
        self.idle.append(worker)
        self._n_failed_starts = 0

    def _handle_failed_start(self, reason: str) -> None:
        """Workers that were started together count as one."""
        if self._has_round_failed:
            return
        self._has_round_failed = True
        self._n_failed_starts += 1
        pause = min(_LOOK_SECONDS * 2**self._n_failed_starts, _LONGEST_PAUSE_SECONDS)
        self._next_look = time.monotonic() + pause
        if len(self._workers) > len(self._starting):
            self._say(f"a worker cannot be started ({reason}); the others go on")
        elif self._n_failed_starts >= _MOST_FAILED_STARTS:
            raise SearchError(
                f"no worker can be started, after {self._n_failed_starts} tries: {reason}; every node needs flatselect "
                "and what the models import, by its image or ray.runtime_env; the same command goes on then"
            )

    def _refuse(self, ready: ReadyWorker) -> None:
        """A worker that would write its checkpoints where no other finds them; its node gets no other one."""
        message = (
            f"{ready.host} (node {ready.node[:12]}) does not see the study's checkpoints in {self._token.folder} "
            f"({ready.folder_problem}); study.checkpoints must be a folder that all nodes share, or an fsspec URL such "
            "as s3://BUCKET/FOLDER"
        )
        if ready.node in self._first_nodes:
            raise SearchError(message)
        if ready.node not in self._refused_nodes:
            self._refused_nodes.add(ready.node)
            self._say(f"a node that joined is not used: {message}")

    def _check_not_alone(self, now: float) -> None:
        if len(self._workers) > len(self._starting) or not self._n_wanted:
            self._alone_since, self._has_said_alone = None, False
            return
        self._alone_since = self._alone_since or now
        seconds, limit = now - self._alone_since, self._options.worker_timeout
        if seconds > limit:
            raise SearchError(
                f"no worker for {limit:g} seconds (ray.worker_timeout): one needs {self._options.cpus_per_trial:g} "
                f"CPUs and {self._gpus:g} GPUs on one node, Ray has {len(find_nodes())} nodes with "
                f"{count_fitting(self._options.cpus_per_trial, self._gpus)} such places, maybe taken by other work; "
                "every trial is kept, the same command goes on once there are nodes"
            )
        if not self._has_said_alone and (seconds > _PATIENCE_SECONDS or not self._workers):
            self._has_said_alone = True
            self._say(f"no worker left; waiting up to {limit:g} seconds for nodes")

    def _take(self, worker: int, future: Any) -> Reply:
        try:
            reply: Reply = ray.get(future)
        except RayError as error:
            self._end_worker(worker)
            self._next_look = -float("inf")
            return WorkerLost(describe_error(error), isinstance(error, RayActorError) and error.preempted)
        return reply
