"""Clusters that cannot be joined: what is said, and what mends it."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import ray
from ray_nodes import NodeCluster
from searching import MakeStudy

from flatselect.config import RaySection
from flatselect.errors import SearchError
from flatselect.search.ray_cluster import connect, leave
from flatselect.search.run import run_search

pytestmark = pytest.mark.ray


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    with socket.socket() as taken:  # and does not listen
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SearchError, match=f"Ray cannot be reached at '{address}'.*ray start --head"):
            connect(RaySection(address=address), (), None)


def search(folder: Path, address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Ray reads its authentication when it is imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = ["search", str(folder / "tiny.toml"), "--backend", "ray", "--ray-address", address]
    return subprocess.run(
        [sys.executable, "-m", "flatselect", *command],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_token_that_is_not_given_is_asked_for(tmp_path: Path, tiny_text: str) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_text)
    token = "0123456789abcdef" * 4
    with closing(NodeCluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)) as cluster:
        refused = search(tmp_path, cluster.address)
        assert refused.returncode == 1
        assert f"Ray at '{cluster.address}' does not let this process in" in refused.stderr
        assert "RAY_AUTH_MODE=token" in refused.stderr
        assert "Traceback" not in refused.stderr
        let_in = search(tmp_path, cluster.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        assert "do not fit" in let_in.stderr  # the head has no CPUs: it was joined


def test_metrics_that_nobody_would_serve_are_refused(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as without Ray's extra packages
    with pytest.raises(SearchError, match=r"pip install 'flatselect\[metrics\]'"):
        run_search(make_study("ray.backend=ray", "ray.metrics=true"))


def test_ctrl_c_while_ray_is_ended_is_heard_once_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shut_down = ray.shutdown

    def shut_down_under_ctrl_c() -> None:
        signal.raise_signal(signal.SIGINT)
        shut_down()

    auth_mode = os.environ.get("RAY_AUTH_MODE")
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    monkeypatch.setattr(ray, "shutdown", shut_down_under_ctrl_c)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        leave(auth_mode)
    assert not ray.is_initialized()
    assert os.environ.get("RAY_AUTH_MODE") == auth_mode
    assert signal.getsignal(signal.SIGINT) is handler
