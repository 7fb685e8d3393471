"""A running Ray cluster, joined as a search would join it.

Joining is tried in a process of its own: where nothing answers, Ray tries for minutes, and then ends the process.
"""

import json
import logging
import os
import socket
import subprocess
import sys
from typing import Any

from flatselect.doctor.finding import Finding

_SUBJECT = "Ray"
_CONNECT_SECONDS = 5
_JOIN_SECONDS = 60
_REMEDY = "start it with `ray start --head`, or correct the address"


def check_ray(address: str | None, join_seconds: float = _JOIN_SECONDS) -> Finding:
    """Whether Ray imports and, where an address is given, whether the cluster there can be joined.

    Args:
        address: `HOST:PORT`, `auto` or `ray://HOST:PORT`; None or `local`: a search starts Ray on this machine.
        join_seconds: After which joining is given up.
    """
    if address is None or address == "local":
        return _check_ray_here()
    if reason := _find_why_unreachable(address):
        return Finding(_SUBJECT, "problem", f"nothing answers at {address!r}: {reason}", _REMEDY)
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, address], capture_output=True, text=True, timeout=join_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        found = f"{address!r} takes connections, but no Ray answered within {join_seconds:g} s"
        return Finding(_SUBJECT, "problem", found, _REMEDY)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        found = f"the cluster at {address!r} cannot be joined: {lines[-1] if lines else 'Ray says nothing'}"
        remedy = "this machine must be a node of it, with the same Ray, Python and token (`ray start --address`)"
        return Finding(_SUBJECT, "problem", found, remedy)
    return _describe_cluster(address, json.loads(done.stdout.splitlines()[-1]))


def _check_ray_here() -> Finding:
    try:
        import ray
    except ImportError as error:
        return Finding(_SUBJECT, "problem", f"Ray does not import: {error}", "pip install --force-reinstall ray")
    return Finding(_SUBJECT, "ok", f"{ray.__version__}; a search starts it on this machine")


def _find_why_unreachable(address: str) -> str | None:
    """Why no connection is taken at the address; None where one is, or where only Ray can say it."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return None
    if not colon or not port.isdecimal():
        return "expected HOST:PORT, auto or ray://HOST:PORT"
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _describe_cluster(address: str, cluster: dict[str, Any]) -> Finding:
    resources = cluster["resources"]
    nodes = f"{cluster['n_nodes']} node{'s' * (cluster['n_nodes'] != 1)}"
    amounts = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    found = f"{cluster['version']} at {address}: {nodes}, {amounts}"
    if resources.get("CPU", 0) < 1:
        return Finding(_SUBJECT, "problem", f"{found}: no trial has a place", "add nodes: ray start --address=...")
    return Finding(_SUBJECT, "ok", found)


def _print_cluster(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        sys.exit(str(error).strip().partition("\n")[0])
    alive = [node for node in ray.nodes() if node["Alive"]]
    cluster = {"version": ray.__version__, "n_nodes": len(alive), "resources": ray.cluster_resources()}
    ray.shutdown()
    sys.stdout.write(json.dumps(cluster) + "\n")


if __name__ == "__main__":
    _print_cluster(sys.argv[1])
