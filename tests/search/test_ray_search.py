"""Whole searches on a local Ray that the search itself starts, one with a worker killed with signal 9."""

import os
import signal

import psutil
import pytest
import ray
from searching import MakeStudy

from flatselect.config import StudyConfig
from flatselect.search.events import SearchStatus
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import find_study

pytestmark = pytest.mark.ray


def is_worker(process: psutil.Process) -> bool:
    try:
        return "TrialWorker" in process.name() + "".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has ended in the meantime
        return False


class KillOnce:
    """Kills the process of the first worker that has trained `after` epochs, once."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.messages: list[str] = []
        self.killed: int | None = None

    def show(self, status: SearchStatus) -> None:
        if self.killed is None and status.n_epochs_run >= self.after:
            children = psutil.Process().children(recursive=True)
            self.killed = next(child.pid for child in children if is_worker(child))
            os.kill(self.killed, signal.SIGKILL)

    def say(self, message: str) -> None:
        self.messages.append(message)


def test_ray_trains_what_inline_trains(make_study: MakeStudy, undisturbed: tuple[StudyConfig, SearchResult]) -> None:
    inline = undisturbed[1]
    on_ray = run_search(make_study("ray.backend=ray", "ray.workers=1"))
    assert not ray.is_initialized()
    for one, other in zip(inline.trials, on_ray.trials, strict=True):
        assert one.params == other.params
        assert one.state == other.state
        assert one.measurement is not None
        assert other.measurement is not None
        assert one.measurement.train_loss == pytest.approx(other.measurement.train_loss, rel=1e-5)
        assert one.measurement.relative_gap_flatness == pytest.approx(other.measurement.relative_gap_flatness, rel=1e-3)
    assert inline.ranking == on_ray.ranking


def test_a_killed_worker_loses_no_trial(make_study: MakeStudy) -> None:
    config = make_study("ray.backend=ray", "ray.workers=2", "training.epochs=6", folder="killed")
    observer = KillOnce(after=4)
    result = run_search(config, observer)
    assert observer.killed is not None
    assert any("worker lost" in message for message in observer.messages)
    assert len(result.trials) == 8
    assert all(t.state in ("COMPLETE", "PRUNED") for t in result.trials)
    assert sum(t.attempts for t in result.trials) == 9
    reader = find_study(make_engine(config.study.storage), "tiny")
    assert sorted(attempt.outcome for attempt in reader.attempts()).count("lost") == 1
    for curve in reader.measurements().values():
        assert [m.epoch for m in curve] == list(range(1, len(curve) + 1))
