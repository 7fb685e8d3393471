"""Searches on a real Ray cluster of several nodes, each its own `ray start` on this machine, that die and join."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import ray
from ray_nodes import NodeCluster, hide_folder, wait_for_nodes
from searching import wait_until
from test_driver import FACTORIES, FAILING, open_reader, read_weights

from flatselect.config import RaySection, StudyConfig
from flatselect.data.loading import load_training_set
from flatselect.errors import SearchError
from flatselect.search import ray_backend
from flatselect.search.checkpoint_folder import FolderToken
from flatselect.search.events import SearchStatus
from flatselect.search.protocol import SearchImages, TrialAssignment, WorkerLost, WorkerSettings
from flatselect.search.ray_backend import RayBackend
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search

pytestmark = pytest.mark.ray
MakeStudy = Callable[..., StudyConfig]
# Parameters by number alone, and no decision that depends on the order in which trials end.
INDEPENDENT = (
    "study.sampler=random",
    "study.trials=6",
    "training.epochs=4",
    "pruner.startup_trials=99",
    "ray.backend=ray",
)


@pytest.fixture(scope="module")
def connected() -> Iterator[NodeCluster]:
    """One cluster for the module, whose nodes each test starts."""
    cluster = NodeCluster()
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield cluster
    finally:
        ray.shutdown()
        cluster.close()


@pytest.fixture
def cluster(connected: NodeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeCluster]:
    monkeypatch.setattr(ray_backend, "_LOOK_SECONDS", 0.5)
    yield connected
    connected.kill_nodes()
    wait_for_nodes(0)


class Observer:
    """Hears what a search says, and does something to its nodes as it goes on."""

    def __init__(self, act: Callable[["Observer", SearchStatus], None] = lambda observer, status: None) -> None:
        self.messages: list[str] = []
        self.most_running = 0
        self._act = act

    def show(self, status: SearchStatus) -> None:
        self.most_running = max(self.most_running, len(status.running))
        self._act(self, status)

    def say(self, message: str) -> None:
        self.messages.append(message)

    def heard(self, text: str) -> bool:
        return any(text in message for message in self.messages)


def make_backend(config: StudyConfig, say: Callable[[str], None] = print, **options: object) -> RayBackend:
    assert config.study.checkpoints is not None
    images = SearchImages(load_training_set(config.data, config.study.seed))
    token = FolderToken(config.study.checkpoints, "run")
    return RayBackend(RaySection(**options), WorkerSettings(config.to_dict(), "uid"), images, token, say=say)


def wait_for_idle(backend: RayBackend, n_workers: int) -> None:
    backend.scale(n_workers)
    wait_until(lambda: not backend.wait(1.0) and len(backend.idle) == n_workers)


def test_nodes_that_die_and_join_change_nothing(cluster: NodeCluster, make_study: MakeStudy) -> None:
    """A node joins, all nodes are killed, another one joins: every trial ends as if nothing had been."""
    cluster.start_node()
    wait_for_nodes(1)
    calm = make_study(*INDEPENDENT, folder="calm")
    expected = run_search(calm)
    steps = iter(("join", "kill", "back"))
    step = next(steps)

    def disturb(observer: Observer, status: SearchStatus) -> None:
        nonlocal step
        if step == "join" and status.n_epochs_run >= 2:
            step = next(steps)
            cluster.start_node()
        elif step == "kill" and len(status.running) == 2 and all(epoch > 0 for epoch in status.running.values()):
            step = next(steps)
            cluster.kill_nodes()
        elif step == "kill":
            time.sleep(2)  # epochs are short: the second node comes before the last one is trained
        elif step == "back" and observer.heard("no worker left; waiting"):
            step = next(steps, "done")
            cluster.start_node()

    observer = Observer(disturb)
    config = make_study(*INDEPENDENT, folder="disturbed")
    result = run_search(config, observer)
    assert step == "done"
    assert observer.most_running == 2  # the node that joined got work
    assert [trial.number for trial in result.trials] == list(range(6))
    assert {trial.state for trial in result.trials} == {"COMPLETE"}
    assert sum(trial.attempts for trial in result.trials) == 8
    check_same(config, result, calm, expected)


def check_same(config: StudyConfig, result: SearchResult, calm: StudyConfig, expected: SearchResult) -> None:
    """Bit by bit: parameters, curves and weights."""
    assert [trial.params for trial in result.trials] == [trial.params for trial in expected.trials]
    with (
        closing(open_reader(str(config.study.storage))) as reader,
        closing(open_reader(str(calm.study.storage))) as calm_reader,
    ):
        curves, calm_curves = (
            {
                number: [(m.epoch, m.train_loss, m.train_score, m.relative_gap_flatness, m.holdout_loss) for m in curve]
                for number, curve in each.measurements().items()
            }
            for each in (reader, calm_reader)
        )
        assert curves == calm_curves
        weights, calm_weights = read_weights(reader), read_weights(calm_reader)
        assert weights.keys() == calm_weights.keys() == set(range(6))
        for number, tensors in weights.items():
            assert all(tensors[name].equal(calm_weights[number][name]) for name in tensors)


def test_workers_go_where_they_fit_and_leave_when_nothing_is_left(
    cluster: NodeCluster, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs that do not exist: placement needs only their number. The images are in the object store once."""
    put: list[object] = []
    put_in_store = ray.put

    def note(value: object) -> object:
        put.append(value)
        return put_in_store(value)

    monkeypatch.setattr(ray, "put", note)
    cluster.start_node(cpus=2)
    cluster.start_node(cpus=3, gpus=2)
    wait_for_nodes(2)
    free = ray.available_resources()
    config = make_study()
    with closing(make_backend(config, cpus_per_trial=1, gpus_per_trial=1)) as backend:
        assert (backend.info.n_workers, backend.info.device) == (2, "cuda")
        wait_for_idle(backend, 2)
        backend.scale(5)
        assert backend.wait(1.0) == []
        assert len(backend._workers) == 2  # the others would wait for ever
        assert len(put) == 1
        monkeypatch.setattr(ray_backend, "_RELEASE_SECONDS", 0.0)
        wait_for_idle(backend, 0)
        wait_until(lambda: ray.available_resources().get("GPU") == free["GPU"])
    with pytest.raises(SearchError, match="at most 5 workers"):
        make_backend(config, gpus_per_trial=0, workers=6)
    with closing(make_backend(config, cpus_per_trial=2, gpus_per_trial=0, workers=5, autoscaling=True)) as backend:
        backend.scale(9)
        assert backend.wait(0.0) == []
        assert len(backend._workers) == 5  # the autoscaler, if there is one, sees what is wanted


def test_workers_that_cannot_start_end_the_search(cluster: NodeCluster, make_study: MakeStudy) -> None:
    """A share of a GPU is set up by the worker's constructor, which finds none."""
    cluster.start_node(gpus=1)
    wait_for_nodes(1)
    with closing(make_backend(make_study(), gpus_per_trial=0.5)) as backend:
        backend.scale(2)
        with pytest.raises(SearchError, match=r"(?i)no worker can be started, after 3 tries: .*(cuda|nvidia)"):
            wait_until(lambda: bool(backend.wait(1.0)))


def test_a_preempted_node_is_not_held_against_its_trial(
    cluster: NodeCluster, make_study: MakeStudy, tmp_path: Path
) -> None:
    node = cluster.start_node()
    wait_for_nodes(1)
    with closing(make_backend(make_study("training.epochs=1000"))) as backend:
        wait_for_idle(backend, 1)
        worker = backend.idle.popleft()
        params = {"width": 4, "learning_rate": 0.05, "block": "plain"}
        backend.request(worker, "start", TrialAssignment(0, 1, params, False, f"{tmp_path}/c.pt"))
        wait_until(lambda: bool(backend.wait(5.0)))
        alive = next(each["NodeID"] for each in ray.nodes() if each["Alive"] and "CPU" in each["Resources"])
        drain = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address]
        reason = [
            "--reason",
            "DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message",
            "spot",
            "--deadline-remaining-seconds",
        ]
        subprocess.run([*drain, "--node-id", alive, *reason, "1"], check=True, capture_output=True)
        time.sleep(1.5)
        node.kill()
        backend.request(worker, "train_epoch")
        replies: list[object] = []
        wait_until(lambda: replies.extend(reply for _, reply in backend.wait(5.0)) or bool(replies))
        assert isinstance(replies[0], WorkerLost)
        assert replies[0].was_preempted


def test_a_search_without_nodes_ends_after_its_time(cluster: NodeCluster, make_study: MakeStudy) -> None:
    messages: list[str] = []
    options = {"workers": 1, "autoscaling": True, "worker_timeout": 1.0, "gpus_per_trial": 0}
    with closing(make_backend(make_study(), messages.append, **options)) as backend:
        backend.scale(1)
        with pytest.raises(SearchError, match=r"no worker for 1 seconds.*0 such places.*every trial is kept"):
            wait_until(lambda: bool(backend.wait(0.5)))


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A folder of the driver's that a node can be started without."""
    folder = tmp_path / "driver-only"
    folder.mkdir()
    done = subprocess.run([*hide_folder(folder), "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no mount namespace can be made here: {done.stderr.strip()}")
    return folder


def test_a_node_without_the_checkpoints_is_refused(
    cluster: NodeCluster, make_study: MakeStudy, own_folder: Path
) -> None:
    config = make_study(*INDEPENDENT, f"study.checkpoints={own_folder}")
    cluster.start_node(inside=hide_folder(own_folder))
    wait_for_nodes(1)
    with pytest.raises(SearchError, match=r"does not see the study's checkpoints in .*driver-only.*FileNotFoundError"):
        run_search(config)
    cluster.kill_nodes()
    wait_for_nodes(0)
    cluster.start_node()
    wait_for_nodes(1)

    def join(observer: Observer, status: SearchStatus) -> None:
        if status.n_epochs_run >= 1 and len(cluster.nodes) == 1:
            cluster.start_node(inside=hide_folder(own_folder))
        elif len(cluster.nodes) == 2 and not observer.heard("not used"):
            time.sleep(2)  # as above

    observer = Observer(join)
    result = run_search(config, observer)
    assert {trial.state for trial in result.trials} == {"COMPLETE"}
    assert sum("a node that joined is not used" in message for message in observer.messages) == 1
    assert observer.most_running == 1


def test_a_users_own_module_reaches_a_node_that_does_not_have_it(
    cluster: NodeCluster, make_study: MakeStudy, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folder / "own_nets.py").write_text(FACTORIES)
    monkeypatch.chdir(own_folder)
    monkeypatch.syspath_prepend(own_folder)
    text = FAILING.replace('{ type = "categorical", choices = [true, false] }', "false")
    config = make_study(f"ray.address={cluster.address}", "ray.backend=ray", "study.trials=4", text=text)
    cluster.start_node(inside=hide_folder(own_folder))
    wait_for_nodes(1)
    ray.shutdown()  # the search connects by itself: it is then that the module is sent
    try:
        result = run_search(config)
    finally:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    assert [trial.failure for trial in result.trials] == [None] * 4
    assert {trial.state for trial in result.trials} == {"COMPLETE"}


def test_a_process_that_had_a_ray_of_its_own_joins_a_cluster(cluster: NodeCluster, make_study: MakeStudy) -> None:
    """Ray's own machine-local authentication would stay on, and the cluster's head would not be heard."""
    cluster.start_node()
    ray.shutdown()
    few = ("ray.backend=ray", "study.trials=4", "training.epochs=2")
    try:
        local = run_search(make_study(*few, "ray.workers=1", folder="local"))
        assert not ray.is_initialized()
        joined = run_search(make_study(*few, f"ray.address={cluster.address}", folder="joined"))
    finally:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    assert [trial.params for trial in joined.trials] == [trial.params for trial in local.trials]
    assert {trial.state for trial in joined.trials} == {"COMPLETE"}
