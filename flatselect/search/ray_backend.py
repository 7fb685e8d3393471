"""The Ray backend: one long-lived actor a worker, on this machine or a cluster."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

# Read by Ray when it is imported: no question and no report about usage, and no warning on machines without a GPU.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from flatselect.config import RaySection
from flatselect.data.dataset import Dataset
from flatselect.errors import SearchError
from flatselect.search.protocol import BackendInfo, Reply, SearchImages, WorkerLost, WorkerSettings
from flatselect.search.worker import TrialWorker


class RayBackend:
    """Long-lived actors; data sets go to each node once, through Ray's object store."""

    def __init__(self, options: RaySection, settings: WorkerSettings, images: SearchImages) -> None:
        """Starts or joins Ray and starts the workers.

        Raises:
            SearchError: Ray cannot be reached, or does not have what the workers ask for.
        """
        self._started_ray = _connect(options)
        try:
            self._gpus = _choose_gpus(options)
            n_workers, notes = _choose_workers(options, self._gpus)
            device = "cuda" if self._gpus > 0 else "cpu"
            self.info = BackendInfo("ray", n_workers, device, notes)
            self._settings = replace(
                settings,
                device=device,
                n_threads=max(1, int(options.cpus_per_trial)),
                memory_fraction=self._gpus if 0 < self._gpus < 1 else None,
            )
            self._actor_class = ray.remote(TrialWorker)
            self._cpus = options.cpus_per_trial
            self._images = ray.put(images)
            self._workers = [self._start_worker() for _ in range(n_workers)]
            self._pending: dict[Any, int] = {}
        except BaseException:
            self.close()
            raise

    def request(self, worker: int, method: str, *arguments: Any) -> None:
        self._pending[getattr(self._workers[worker], method).remote(*arguments)] = worker

    def wait(self, timeout: float) -> list[tuple[int, Reply]]:
        if not self._pending:
            return []
        pending = list(self._pending)
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout)
        if ready:  # whatever else has come by now is taken along
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        return [(worker, self._take(worker, future)) for future in ready for worker in [self._pending.pop(future)]]

    def share(self, dataset: Dataset) -> Any:
        return ray.put(dataset)

    def close(self) -> None:
        for worker in getattr(self, "_workers", []):
            ray.kill(worker)
        if self._started_ray:
            ray.shutdown()

    def _start_worker(self) -> Any:
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        return self._actor_class.options(**options).remote(self._settings, self._images)

    def _take(self, worker: int, future: Any) -> Reply:
        try:
            reply: Reply = ray.get(future)
        except RayActorError as error:
            self._workers[worker] = self._start_worker()
            return WorkerLost(_first_line(error), bool(getattr(error, "preempted", False)))
        except (RayError, GetTimeoutError) as error:
            ray.kill(self._workers[worker])
            self._workers[worker] = self._start_worker()
            return WorkerLost(_first_line(error))
        return reply


def _connect(options: RaySection) -> bool:
    """Joins the cluster at the option's or RAY_ADDRESS's address, else starts Ray here; True if it was started."""
    if ray.is_initialized():
        return False
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        settings["include_dashboard"] = options.dashboard
        if options.workers is not None:
            # Asked for more workers than cores: Ray would let them wait for ever, the machine only shares its cores.
            settings["num_cpus"] = max(os.cpu_count() or 1, int(options.workers * options.cpus_per_trial + 0.999))
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as error:
        raise SearchError(
            f"Ray cannot be reached at {address!r} ({_first_line(error)}); "
            "start it with `ray start --head`, or leave out the address to run on this machine"
        ) from error
    return address == "local"


def _choose_gpus(options: RaySection) -> float:
    available = ray.cluster_resources().get("GPU", 0.0)
    wanted = options.gpus_per_trial
    if wanted is None:
        return 1.0 if available else 0.0
    if wanted > available:
        # Ray would wait for ever for GPUs that do not exist.
        raise SearchError(
            f"gpus_per_trial = {wanted:g}, but Ray has {available:g} GPUs; use at most that, or 0 to train on CPUs"
        )
    if wanted > 1 and wanted != int(wanted):
        raise SearchError(f"gpus_per_trial = {wanted:g}: above 1 it must be a whole number")
    return wanted


def _choose_workers(options: RaySection, gpus: float) -> tuple[int, tuple[str, ...]]:
    """As many workers as were asked for, if Ray can place them; by default as many as fit."""
    resources = ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(_count_workers_on(node, options.cpus_per_trial, gpus) for node in nodes)
    if fits < 1 or (options.workers or 1) > fits:
        raise SearchError(
            f"{options.workers or 1} workers of {options.cpus_per_trial:g} CPUs and {gpus:g} GPUs do not fit: "
            f"Ray has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs; ask for at most {fits} "
            "workers, or for less a trial (ray.cpus_per_trial, --gpus-per-trial)"
        )
    n_workers = options.workers or fits
    n_cores = os.cpu_count() or 1
    if ray.cluster_resources().get("CPU", 0) > n_cores and n_workers > n_cores and not gpus:
        return n_workers, (f"{n_workers} workers share {n_cores} cores: each will be slower",)
    return n_workers, ()


def _count_workers_on(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many workers Ray can place on one node: a worker does not span nodes, nor a fraction of a GPU two of them."""
    by_cpus = int(node.get("CPU", 0) / cpus + 1e-9)
    if not gpus:
        return by_cpus
    n_gpus = int(node.get("GPU", 0))
    return min(by_cpus, int(n_gpus / gpus) if gpus >= 1 else n_gpus * int(1 / gpus + 1e-9))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
