"""Workers on a real local Ray: placement, and a worker killed with signal 9."""

import os
import signal
from collections.abc import Iterator

import pytest
import ray
from searching import MakeStudy

from flatselect.config import RaySection
from flatselect.data.loading import load_training_set
from flatselect.errors import SearchError
from flatselect.search.checkpoint_folder import FolderToken
from flatselect.search.protocol import SearchImages, TrialAssignment, WorkerLost, WorkerSettings
from flatselect.search.ray_backend import RayBackend
from flatselect.search.ray_cluster import leave

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def _local_ray() -> Iterator[None]:
    """One Ray for the module, with two GPUs that do not exist: placement needs only their number."""
    auth_mode = os.environ.get("RAY_AUTH_MODE")
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    leave(auth_mode)


def make_backend(make_study: MakeStudy, **options: object) -> RayBackend:
    config = make_study()
    assert config.study.checkpoints is not None
    dataset = load_training_set(config.data, config.study.seed)
    settings = WorkerSettings(config.to_dict(), "uid")
    return RayBackend(
        RaySection(**options), settings, SearchImages(dataset), FolderToken(config.study.checkpoints, "run")
    )


def take_worker(backend: RayBackend) -> int:
    """Waits until a worker is ready."""
    backend.scale(1)
    while not backend.idle:
        assert backend.wait(5.0) == []
    return backend.idle.popleft()


@pytest.mark.usefixtures("_local_ray")
def test_gpus_that_do_not_exist_are_refused_at_once(make_study: MakeStudy) -> None:
    with pytest.raises(SearchError, match="Ray has 2 GPUs"):
        make_backend(make_study, gpus_per_trial=4)
    with pytest.raises(SearchError, match="at most 2 workers"):
        make_backend(make_study, gpus_per_trial=0, workers=3)


@pytest.mark.usefixtures("_local_ray")
def test_workers_by_share_of_a_gpu(make_study: MakeStudy) -> None:
    backend = make_backend(make_study, gpus_per_trial=0.5, cpus_per_trial=0.5)
    try:
        assert (backend.info.n_workers, backend.info.device) == (4, "cuda")
    finally:
        backend.close()
    backend = make_backend(make_study, gpus_per_trial=0)
    try:
        assert (backend.info.n_workers, backend.info.device) == (2, "cpu")
    finally:
        backend.close()


@pytest.mark.usefixtures("_local_ray")
def test_a_dead_worker_is_replaced_and_its_successor_resumes(make_study: MakeStudy, tmp_path: object) -> None:
    backend = make_backend(make_study, gpus_per_trial=0, workers=1)
    try:
        assignment = TrialAssignment(
            0, 1, {"width": 4, "learning_rate": 0.05, "block": "plain"}, False, f"{tmp_path}/c.pt"
        )

        def ask(worker: int, method: str, *arguments: object) -> object:
            backend.request(worker, method, *arguments)
            while not (replies := backend.wait(5.0)):
                pass
            return replies[0][1]

        first = take_worker(backend)
        started = ask(first, "start", assignment)
        assert started.epoch == 0
        assert ask(first, "train_epoch").epoch == 1
        os.kill(started.pid, signal.SIGKILL)
        lost = ask(first, "train_epoch")
        assert isinstance(lost, WorkerLost)
        assert "actor died" in lost.reason
        second = take_worker(backend)
        assert second != first
        resumed = ask(second, "start", TrialAssignment(0, 2, assignment.params, False, assignment.checkpoint))
        assert (resumed.epoch, resumed.resumed_at, resumed.attempt) == (1, 1, 2)
        assert [m.epoch for m in resumed.measurements] == [1]
        assert resumed.pid != started.pid
    finally:
        backend.close()
