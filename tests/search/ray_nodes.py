"""Nodes of a Ray cluster on this machine: each its own raylet and workers, to be killed and started at any time."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import ray
from searching import wait_until

_RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]

# A node that is gone is missed after seconds; Ray's own defaults take about 15.
_IMPATIENCE = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


class Node:
    """A `ray start` of its own, in a session of its own; `inside` is a command that it is started by."""

    def __init__(self, arguments: Sequence[str], inside: Sequence[str] = (), **environment: str) -> None:
        environment = {"RAY_AUTH_MODE": "disabled", **environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        self._process = subprocess.Popen(
            [*inside, *_RAY, *arguments],
            env=inherited | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """As a machine that loses power: everything of the node at once."""
        if self._process.poll() is not None:
            return
        started = psutil.Process(self._process.pid)
        processes = [*started.children(recursive=True), started]
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=30)
        self._process.wait()


class NodeCluster:
    """A head without CPUs of its own, and the nodes that are started."""

    def __init__(self, **environment: str) -> None:
        port = find_free_port()
        self.address = f"127.0.0.1:{port}"
        self.nodes: list[Node] = []
        self._head = Node(
            ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"],
            **_IMPATIENCE,
            **environment,
        )
        wait_until(lambda: _is_open(port))

    def start_node(self, cpus: int = 1, gpus: int = 0, inside: Sequence[str] = ()) -> Node:
        """Starts one and waits until it has joined; this process must be connected.

        One after the other: of two `ray start` at once on one machine, one takes the other's node for its own and waits
        for ever (Ray 2.60).
        """
        before = {node["NodeID"] for node in ray.nodes()}
        node = Node(
            [
                f"--address={self.address}",
                f"--num-cpus={cpus}",
                f"--num-gpus={gpus}",
                "--object-store-memory=100000000",
            ],
            inside,
        )
        self.nodes.append(node)
        wait_until(lambda: any(each["Alive"] and each["NodeID"] not in before for each in ray.nodes()))
        return node

    def kill_nodes(self) -> None:
        """All but the head."""
        for node in self.nodes:
            node.kill()
        self.nodes.clear()

    def close(self) -> None:
        self.kill_nodes()
        self._head.kill()


def wait_for_nodes(n_nodes: int) -> None:
    """Until this many nodes with CPUs are alive; this process must be connected."""
    wait_until(lambda: sum(node["Alive"] and "CPU" in node["Resources"] for node in ray.nodes()) == n_nodes)


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def hide_folder(folder: Path) -> list[str]:
    """The start of a command that sees an empty folder there, as another machine would."""
    return ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{folder}' && exec \"$@\"", "sh"]


def _is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
