"""A Ray cluster that is there, and addresses with nothing, or something else, behind them."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing

import psutil
import pytest

from flatselect.doctor.ray_cluster import check_ray


@pytest.mark.parametrize("address", [None, "local"])
def test_without_an_address_a_search_starts_ray_itself(address):
    finding = check_ray(address)
    assert finding.verdict == "ok"
    assert "on this machine" in finding.found


def test_nothing_behind_the_address():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    finding = check_ray(f"127.0.0.1:{port}")
    assert finding.verdict == "problem"
    assert f"nothing answers at '127.0.0.1:{port}': Connection refused" in finding.found
    assert "ray start --head" in finding.remedy


@pytest.mark.parametrize("address", ["head", "head:port", "ray://", "127.0.0.1:99999999"])
def test_what_is_no_address(address):
    finding = check_ray(address)
    assert finding.verdict == "problem"
    assert repr(address) in finding.found


def test_something_else_behind_the_address():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        taken = []
        threading.Thread(target=lambda: taken.append(listener.accept()), daemon=True).start()
        finding = check_ray(f"127.0.0.1:{listener.getsockname()[1]}", join_seconds=1)
        for connection, _ in taken:
            connection.close()
    assert finding.verdict == "problem"
    assert "no Ray answered within 1 s" in finding.found


@pytest.fixture
def ray_address(tmp_path_factory, monkeypatch):
    """A real head with a token, started as in docker/compose.yaml, with three CPUs that are not there."""
    folder = tmp_path_factory.mktemp("ray")
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    temporary = f"/tmp/ray-doctor-{os.getpid()}"  # pytest's folders are too long for Ray's sockets
    start = ["start", "--head", "--block", f"--port={port}", "--num-cpus=3", "--num-gpus=0"]
    apart = ["--include-dashboard=false", f"--temp-dir={temporary}"]
    started = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *start, *apart],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in started.stdout:
        lines.append(line)
        if "Ray runtime started" in line:
            break
    else:
        pytest.fail("".join(lines))
    host = next(line.rpartition(":")[2].strip() for line in lines if "Local node IP" in line)
    yield f"{host}:{port}"
    processes = [*psutil.Process(started.pid).children(recursive=True), started]
    for process in processes:
        process.kill()
    started.communicate(timeout=60)
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.ray
def test_a_cluster_is_described_and_a_wrong_token_refused(ray_address, tmp_path, monkeypatch):
    finding = check_ray(ray_address)
    assert finding.verdict == "ok", finding
    assert f"at {ray_address}: 1 node, 3 CPUs, 0 GPUs" in finding.found
    wrong = tmp_path / "wrong"
    wrong.write_text("f" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(wrong))
    finding = check_ray(ray_address)
    assert finding.verdict == "problem", finding
