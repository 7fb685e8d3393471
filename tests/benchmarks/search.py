"""What a search costs beside its training: trials that train nothing, as fast as the driver can take them.

python tests/benchmarks/search.py cost [--trials 2000] [--sampler random tpe]   # the driver's milliseconds a trial
python tests/benchmarks/search.py rate [--trials 200] [--tune-trials 20]        # trials a second, beside other tools
python tests/benchmarks/search.py cluster [--epoch-seconds 1]                     # the busy share of many workers

Trials have ten epochs, of which each is measured, stored, predicted and asked about; 8 are calibration trials; the
pruner is the default one, with a margin that lets every trial run to its end. The database is SQLite in a temporary
folder. Costs are the process's CPU time, which other programs disturb less than the clock on the wall; rates and the
busy share are wall-clock time. `cluster` has threads for workers, as 256 processes do not fit on a small machine: they
speak the same protocol, and sleep for their epochs (a minute, give or take a fifth, scaled down to --epoch-seconds).

Ray Tune needs pandas and pyarrow: pip install 'ray[tune]'
"""

import argparse
import contextlib
import platform
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import optuna
import ray
import search_peers
from noop_trials import NoopWorker, make_study, noop_workers, temporary_folder

from flatselect.data.dataset import Dataset
from flatselect.search import run, trial_queue
from flatselect.search.protocol import BackendInfo, Reply, WorkerSettings
from flatselect.search.run import run_search

MARGIN = "pruner.margin=1"


class Meter:
    """CPU seconds spent in sampler and workers, and clock readings whenever a trial with a round number begins."""

    def __init__(self, every: int) -> None:
        self.sampling = self.working = 0.0
        self.marks: list[tuple[int, float, float, float, float]] = []  # trial, wall, cpu, of which sampling and working
        self._every = every

    def begin(self, number: int) -> None:
        if number % self._every == 0:
            self.marks.append((number, time.perf_counter(), time.process_time(), self.sampling, self.working))


class TimedSampler(optuna.samplers.BaseSampler):
    """A sampler whose time is counted apart."""

    def __init__(self, sampler: optuna.samplers.BaseSampler, meter: Meter) -> None:
        self._sampler = sampler
        self._meter = meter

    def __getattribute__(self, name: str) -> Any:
        if name in ("_sampler", "_meter") or name.startswith("__"):
            return super().__getattribute__(name)
        found = getattr(self._sampler, name)
        if not callable(found):
            return found

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return found(*arguments, **options)
            finally:
                self._meter.sampling += time.process_time() - started

        return timed

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any: ...
    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any: ...
    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any: ...


@contextlib.contextmanager
def metered(meter: Meter) -> Iterator[None]:
    make_sampler, start, train_epoch = trial_queue.make_sampler, NoopWorker.start, NoopWorker.train_epoch

    def start_timed(worker: NoopWorker, assignment: Any) -> Any:
        meter.begin(assignment.number)
        return start(worker, assignment)

    def train_epoch_timed(worker: NoopWorker) -> Any:
        started = time.thread_time()
        report = train_epoch(worker)
        meter.working += time.thread_time() - started
        return report

    with (
        patch.object(trial_queue, "make_sampler", lambda *arguments: TimedSampler(make_sampler(*arguments), meter)),
        patch.object(NoopWorker, "start", start_timed),
        patch.object(NoopWorker, "train_epoch", train_epoch_timed),
    ):
        yield


def print_cost(options: argparse.Namespace) -> None:
    for sampler in options.sampler:
        meter = Meter(options.every)
        with temporary_folder() as folder, noop_workers(), metered(meter):
            overrides = (f"study.trials={options.trials + 1}", f"study.sampler={sampler}", "ray.backend=inline", MARGIN)
            run_search(make_study(folder, *overrides))
        print(f"driver's cost a trial of ten epochs, sampler {sampler}: milliseconds of CPU time (of wall-clock time)")
        for before, after in zip(meter.marks, meter.marks[1:], strict=False):
            spent = [(late - early) / (after[0] - before[0]) for early, late in zip(before, after, strict=True)]
            _, wall, cpu, sampling, working = (1000 * seconds for seconds in spent)
            print(
                f"  trials {before[0]:5d} to {after[0]:5d}: driver {cpu - sampling - working:6.1f}, "
                f"sampler {sampling:6.1f} ({wall:6.1f} in all)",
                flush=True,
            )


def time_flatselect(trials: int, epochs: int, *overrides: str) -> float:
    """Trials a second from the first one's start to the last one's end: Ray's and its workers' start does not count."""
    watch = Watch()
    with temporary_folder() as folder, noop_workers():
        config = make_study(folder, f"study.trials={trials}", f"training.epochs={epochs}", MARGIN, *overrides)
        result = run_search(config, watch)
    assert len(result.trials) == trials, result.stopped_because
    return trials / watch.seconds


class Watch:
    """An observer that takes the time from the first running trial on."""

    started: float | None = None
    seconds = 0.0

    def show(self, status: Any) -> None:
        if self.started is not None:
            self.seconds = time.perf_counter() - self.started
        elif status.running:
            self.started = time.perf_counter()

    def say(self, message: str) -> None:
        pass


def print_rates(options: argparse.Namespace) -> None:
    n = options.trials
    for epochs in options.epochs:
        print(f"no-op trials of {epochs} epochs a second, TPE, SQLite, 2 workers where there are several ({n} trials)")
        ways: dict[str, Callable[[], float]] = {
            "flatselect, Ray actors": partial(time_flatselect, n, epochs, "ray.workers=2"),
            "flatselect, inline": partial(time_flatselect, n, epochs, "ray.backend=inline"),
            "study.optimize(n_jobs=2)": partial(search_peers.time_optimize, n, epochs),
            "plain actor pool, ask and tell": partial(search_peers.time_actor_pool, n, epochs),
            "Ray Tune, OptunaSearch": partial(search_peers.time_ray_tune, options.tune_trials, epochs),
        }
        own = 0.0
        for name, measure_rate in ways.items():
            try:
                rate = measure_rate()
            except ImportError as error:
                print(f"  {name:32s} left out: {error}")
                continue
            own = own or rate
            print(f"  {name:32s} {rate:8.2f}   flatselect on Ray is {own / rate:6.2f} times as fast", flush=True)


class ThreadBackend:
    """Workers that are threads and sleep for their epochs."""

    def __init__(self, n_workers: int, settings: WorkerSettings, epoch_seconds: float) -> None:
        self._epoch_seconds = epoch_seconds
        self.info = BackendInfo("threads", n_workers, "cpu")
        self._replies: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()
        self.idle = deque(range(n_workers))
        self._requests: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(n_workers)]
        self.busy: list[list[tuple[float, float]]] = [[] for _ in range(n_workers)]
        for worker in range(n_workers):
            threading.Thread(target=self._work, args=(worker, settings), daemon=True).start()

    def _work(self, number: int, settings: WorkerSettings) -> None:
        worker, generator = NoopWorker(settings, None), random.Random(number)  # type: ignore[arg-type]
        while (request := self._requests[number].get()) is not None:
            method, arguments = request
            if method == "train_epoch":
                started = time.monotonic()
                time.sleep(self._epoch_seconds * generator.uniform(0.8, 1.2))
                self.busy[number].append((started, time.monotonic()))
            self._replies.put((number, getattr(worker, method)(*arguments)))

    def request(self, worker: int, method: str, *arguments: Any) -> None:
        self._requests[worker].put((method, arguments))

    def scale(self, n_wanted: int) -> None:
        """There are as many as there are."""

    def wait(self, timeout: float) -> list[tuple[int, Reply]]:
        replies: list[tuple[int, Reply]] = []
        with contextlib.suppress(queue.Empty):
            replies.append(self._replies.get(timeout=timeout))
            while True:
                replies.append(self._replies.get_nowait())
        return replies

    def share(self, dataset: Dataset) -> Dataset:
        return dataset

    def close(self) -> None:
        for requests in self._requests:
            requests.put(None)


def print_busy_share(options: argparse.Namespace) -> None:
    backends = []

    def make_backend(config: Any, study_uid: str, *rest: Any) -> ThreadBackend:
        settings = WorkerSettings(config.to_dict(), study_uid)
        backends.append(ThreadBackend(options.workers, settings, options.epoch_seconds))
        return backends[-1]

    for sampler in options.sampler:
        meter = Meter(1)
        started_cpu = time.process_time()
        with temporary_folder() as folder, metered(meter), patch.object(run, "_make_backend", make_backend):
            overrides = (f"study.trials={options.trials}", f"study.sampler={sampler}", "ray.backend=inline", MARGIN)
            run_search(make_study(folder, *overrides))
        cpu = time.process_time() - started_cpu
        epochs = [epoch for worker in backends[-1].busy for epoch in worker]
        # From when every worker has had its first epoch to when the first one found nothing left to do.
        first = max(worker[0][1] for worker in backends[-1].busy)
        last = min(worker[-1][1] for worker in backends[-1].busy)
        busy = sum(max(0.0, min(end, last) - max(start, first)) for start, end in epochs)
        print(
            f"{options.workers} workers, {options.trials} trials of ten epochs of {options.epoch_seconds:g} s, "
            f"sampler {sampler}: "
            f"{100 * busy / (options.workers * (last - first)):.1f} % of the workers busy over {last - first:.0f} s; "
            f"{len(epochs) / 10 / (last - first):.1f} trials/s; this process used {cpu:.0f} s of CPU time, "
            f"{meter.sampling:.0f} s of it in the sampler",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="cost, rate, cluster; default: all")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--every", type=int, default=250, help="trials a row of `cost`")
    parser.add_argument("--sampler", nargs="*", default=["random", "tpe"])
    parser.add_argument("--epochs", type=int, nargs="*", default=[10, 1], help="of `rate`")
    parser.add_argument("--tune-trials", type=int, default=20, help="Ray Tune takes seconds for each")
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--epoch-seconds", type=float, default=1.0, help="what a minute is in `cluster`")
    options = parser.parse_args()
    wanted = options.what or ["cost", "rate", "cluster"]
    benchmarks = {"cost": (print_cost, 2000), "rate": (print_rates, 200), "cluster": (print_busy_share, 1500)}
    if unknown := set(wanted) - set(benchmarks):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(benchmarks)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, optuna "
        f"{optuna.__version__}, ray {ray.__version__}"
    )
    for name in wanted:
        benchmark, trials = benchmarks[name]
        benchmark(argparse.Namespace(**vars(options) | {"trials": options.trials or trials}))


if __name__ == "__main__":
    sys.exit(main())
