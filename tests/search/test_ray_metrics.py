"""Prometheus reads what a search comes to from Ray's own metrics endpoint."""

import contextlib
import re
import urllib.request

import pytest
import ray
from ray_nodes import find_free_port
from searching import Listener, MakeStudy, wait_until

from flatselect.search.events import SearchStatus
from flatselect.search.ray_cluster import leave
from flatselect.search.run import run_search

pytest.importorskip(
    "prometheus_client", reason="Ray's metrics endpoint needs ray[default]: pip install -e '.[metrics]'"
)
pytestmark = pytest.mark.ray


def read_metrics(port: int) -> dict[str, float]:
    """Values by name and state."""
    values = {}
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        for line in page.read().decode().splitlines():
            if match := re.match(r"(ray_flatselect_\w+)\{(.*)\} (\S+)", line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
                assert labels["study"] == "tiny"
                values[f"{match[1]} {labels.get('state', '')}".strip()] = float(match[3])
    return values


def test_trials_epochs_and_the_best_score_are_counted(make_study: MakeStudy) -> None:
    port = find_free_port()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _metrics_export_port=port)
    try:
        listener = Listener()
        result = run_search(make_study("ray.backend=ray", "ray.metrics=true"), listener)
        states = [trial.state for trial in result.trials]
        last: SearchStatus = listener.statuses[-1]
        assert last.best is not None
        expected = {
            "ray_flatselect_trials complete": states.count("COMPLETE"),
            "ray_flatselect_trials pruned": states.count("PRUNED"),
            "ray_flatselect_trials failed": 0,
            "ray_flatselect_trials running": 0,
            "ray_flatselect_trials to_come": 0,
            "ray_flatselect_epochs_total": sum(trial.epochs for trial in result.trials),
            "ray_flatselect_best_predicted_test_score": pytest.approx(last.best[1].predicted_test_score),
        }
        wait_until(lambda: read_metrics(port) == expected, seconds=60)
    finally:
        leave(None)
