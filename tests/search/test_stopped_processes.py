"""`flatselect search` as a process of its own, stopped by real signals: the same command goes on, bit for bit."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from searching import assert_same_weights, check_books, open_reader

from flatselect.store.study_reader import StudyReader

pytestmark = pytest.mark.end_to_end
PAUSING = """
[study]
name = "tiny"
trials = 7
seed = 6
[data]
train = "digits"
audit = "digits"
size = 100
audit_size = 50
[search_space]
width = { type = "int", low = 3, high = 8 }
learning_rate = { type = "float", low = 0.01, high = 0.2, log = true }
[model]
name = "faulty_nets:small"
args = { fault = "pauses" }
[training]
epochs = 3
batch_size = 20
[measure]
probe = 30
[calibration]
trials = 4
[ray]
workers = 1
"""
BACKENDS = ["inline", pytest.param("ray", marks=pytest.mark.ray)]
_PATIENCE = 300  # seconds until a process that does not answer is given up


class Search:
    """The command `flatselect search tiny.toml` in a folder; its networks are slow while the file `broken` is there."""

    def __init__(self, folder: Path, backend: str) -> None:
        folder.mkdir()
        (folder / "tiny.toml").write_text(PAUSING)
        (folder / "faulty_nets.py").write_text(Path(__file__).with_name("faulty_nets.py").read_text())
        self.folder, self.backend = folder, backend

    def run(self) -> None:
        """To the end, at full speed."""
        (self.folder / "broken").unlink(missing_ok=True)
        process = self._start()
        _, errors = process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0, errors

    def disturb(self, n_epochs: int, stop: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
        """Runs until so many epochs more are measured, and stops it; its exit code and what it said."""
        (self.folder / "broken").touch()
        wanted = self.count_epochs() + n_epochs
        process = self._start()
        try:
            deadline = time.monotonic() + _PATIENCE
            while self.count_epochs() < wanted:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline, "no epoch was trained"
                time.sleep(0.02)
            children = psutil.Process(process.pid).children(recursive=True)
            agents = [child for child in children if child.name() in ("ray::DashboardAgent", "ray::RuntimeEnvAgent")]
            stop(process)
            _, errors = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
        if process.returncode == -signal.SIGKILL:  # Ray's agents take a minute to see it
            children = [child for child in children if child not in agents]
        _, left = psutil.wait_procs(children, timeout=_PATIENCE)
        assert not left, "processes are left behind"
        return process.returncode, errors

    def count_epochs(self) -> int:
        return int(self._ask("SELECT count(*) FROM flatselect_measurements"))

    def open_reader(self) -> StudyReader:
        return open_reader(f"sqlite:///{self.folder}/tiny.db")

    def _ask(self, question: str) -> int:
        if not (self.folder / "tiny.db").exists():
            return 0
        with closing(sqlite3.connect(self.folder / "tiny.db", timeout=60)) as connection:
            try:
                return int(connection.execute(question).fetchone()[0])
            except sqlite3.OperationalError:  # no such table yet
                return 0

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flatselect", "search", "tiny.toml", "--backend", self.backend]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        # A session of its own, as a terminal would give it: Ctrl-C reaches all of its processes, and none of ours.
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def read_trials(reader: StudyReader) -> list[dict[str, Any]]:
    trials = [trial.to_json() for trial in reader.trials(include_audits=True)]
    return [{name: value for name, value in t.items() if name not in ("seconds", "attempts")} for t in trials]


def assert_as_undisturbed(search: Search, undisturbed: Search) -> None:
    with closing(search.open_reader()) as reader, closing(undisturbed.open_reader()) as expected:
        check_books(reader)
        assert read_trials(reader) == read_trials(expected)
        assert_same_weights(reader, expected)
        for number, curve in expected.measurements().items():
            other = reader.measurements(number)[number]
            assert [(m.train_loss, m.relative_gap_flatness) for m in other] == [
                (m.train_loss, m.relative_gap_flatness) for m in curve
            ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Search:
    search = Search(tmp_path_factory.mktemp("processes") / "undisturbed", "inline")
    search.run()
    return search


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def press_ctrl_c_twice(process: subprocess.Popen[str]) -> None:
    """The second as soon as the first is heard: there is most of an epoch left then."""
    press_ctrl_c(process)
    assert process.stderr is not None
    assert any("stopping" in line for line in process.stderr)
    press_ctrl_c(process)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_once_and_twice_and_sigterm_keep_every_trial(tmp_path: Path, undisturbed: Search, backend: str) -> None:
    """One after the other, each to the process that goes on after the one before."""
    search = Search(tmp_path / "study", backend)
    code, errors = search.disturb(2, press_ctrl_c)
    assert code == 130, errors
    assert "go on with: flatselect search tiny.toml" in errors
    code, errors = search.disturb(2, press_ctrl_c_twice)
    assert code == 130, errors
    assert "interrupted" in errors
    assert "go on with" not in errors, "the second one came too late to count"
    code, errors = search.disturb(2, subprocess.Popen.terminate)
    assert code == 130, errors
    assert "go on with: flatselect search tiny.toml" in errors
    assert "Traceback" not in errors
    with closing(search.open_reader()) as reader:
        assert [run.outcome for run in reader.runs()] == ["interrupted"] * 3
        assert {attempt.outcome for attempt in reader.attempts()} <= {"complete", "pruned", "interrupted"}
    search.run()
    assert_as_undisturbed(search, undisturbed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_driver_killed_again_and_again_loses_nothing(tmp_path: Path, undisturbed: Search, backend: str) -> None:
    """With signal 9, at random moments: while it loads, and later."""
    search, draw = Search(tmp_path / "study", backend), random.Random(7)
    kills = (0, 1, 2, 0) if backend == "inline" else (1,)  # Ray takes half a minute to see that its driver is gone
    for n_epochs in kills:
        moment = draw.uniform(0, 2.4)

        def kill(process: subprocess.Popen[str], moment: float = moment) -> None:
            time.sleep(moment)
            process.kill()

        code, errors = search.disturb(n_epochs, kill)
        assert code == -signal.SIGKILL, errors
    search.run()
    with closing(search.open_reader()) as reader:
        *killed, last = (run.outcome for run in reader.runs())
    assert set(killed) == {"died"}
    assert last == "complete"
    assert len(killed) <= len(kills), "one that is killed while it loads is no run yet"
    assert not list(tmp_path.rglob("seen-by-workers-*")), "what a killed driver has left is cleaned up"
    assert_as_undisturbed(search, undisturbed)
