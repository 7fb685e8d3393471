"""The commands under `tests/benchmarks`, run as their docstrings say but small: what they print can be read, and holds.

Times are never looked at. What `search.py rate` compares with needs packages that the tests do without.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end
BENCHMARKS = Path(__file__).parent / "benchmarks"
DIGITS = Path(__file__).parents[1] / "studies" / "digits.toml"
NUMBER = r"[-+]?\d+\.\d+"


def run(name: str, *arguments: object, folder: Path) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def find(pattern: str, text: str) -> tuple[float, ...]:
    """The numbers of the one line that fits."""
    found = re.findall(pattern, text)
    assert len(found) == 1, text
    return tuple(map(float, found[0] if isinstance(found[0], tuple) else found))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded search whose trials all held out a part and all ended."""
    folder = tmp_path_factory.mktemp("zoo")
    values = ("study.name=zoo", "study.sampler=random", "calibration.trials=10", "pruner.name=none", "data.size=200")
    sets = [word for value in (*values, "training.epochs=2", "ray.backend=inline") for word in ("--set", value)]
    flatselect = str(Path(sys.executable).with_name("flatselect"))
    command = [flatselect, "search", str(DIGITS), "--trials", "10", "--seed", "7", *sets]
    command += ["--storage", "sqlite:///zoo.db", "--json"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=True)
    return folder


def test_calibration(zoo: Path) -> None:
    printed = run("calibration.py", "zoo.db", "--draws", 3, "--calibration-trials", 5, folder=zoo)
    assert printed.startswith("zoo: 10 trials, audited scores [")
    least, most = find(r"audited scores \[\s*(\S+)\s+\S+\s+(\S+)\]", printed)
    for row in ("predicted", "training score", "own hold-out"):
        error, correlation, regret, _ = find(
            rf"{row}: mean absolute error ({NUMBER}), rank correlation ({NUMBER}), regret of the first ({NUMBER}), "
            rf"error of the first ({NUMBER})",
            printed,
        )
        assert 0 < error < 1
        assert -1 <= correlation <= 1
        assert 0 <= regret <= most - least + 0.001


def test_pruning(zoo: Path) -> None:
    printed = run("pruning.py", "zoo.db", "--seeds", 2, "--calibration-trials", 4, folder=zoo)
    for signal in ("predicted", "validation", "training loss"):
        assert find(rf"{signal} +none +({NUMBER}) .*?({NUMBER}) ±\S+\n", printed) == (1, 0)
        (epochs,) = find(rf"{signal} +FlatnessPruner +({NUMBER}) ", printed)
        # Two epochs a trial: a pruned one has trained half of its own; calibrating and start-up trials all.
        assert 0.5 < epochs <= 1


def test_stopping(zoo: Path) -> None:
    printed = run("stopping.py", "zoo.db", "--orders", 2, "--bounds", 0.002, 0.9, folder=zoo)
    (patient,), (hasty,) = (find(rf"bound {bound} +trials +({NUMBER})", printed) for bound in ("0.002", "0.9"))
    assert 0 < hasty <= patient <= 10


def test_flatness(tmp_path: Path) -> None:
    small = ("--size", 32, "--batch", 2, "--repeats", 1)
    printed = run("flatness.py", "--batches", 1, *small, folder=tmp_path)
    for row in ("forward", "measure", "measure, head known", "find_head, once"):
        assert find(rf"1 × 2 +{row} +({NUMBER}) ", printed) > (0,)
    printed = run("flatness.py", "--layers", *small, "--model", "squeezenet1_1", "--classes", 2, folder=tmp_path)
    assert find(rf"measure, all layers +{NUMBER} +({NUMBER})", printed) > (0,)


@pytest.mark.parametrize(
    "words",
    [("flatness_peers.py", "--images", 2, "--probes", 2), ("flatness.py", "--peers", "--batch", 2, "--repeats", 1)],
)
def test_flatness_peers_agree(words: tuple[str | int, ...], tmp_path: Path) -> None:
    printed = run(*words, "--size", 32, "--classes", 3, folder=tmp_path)
    value = r"([-+.\de]+)"
    row = rf"flatselect measure +{value} +{value} +{value} +{value} +{value} +{value} +images"
    *_, trace, trace_error, flatness, flatness_error = find(row, printed)
    assert trace > 0
    assert flatness > 0
    assert max(trace_error, flatness_error) < 1e-5  # of float64


def test_flatness_penalty(tmp_path: Path) -> None:
    small = ("--model", "cnn", "--size", 8, "--batch", 4, "--images", 4, "--repeats", 1)
    printed = run("flatness_penalty.py", *small, folder=tmp_path)
    step, penalised, ratio = find(rf"step ({NUMBER}) s, with the penalty ({NUMBER}) s, ratio ({NUMBER})", printed)
    assert ratio == pytest.approx(penalised / step, rel=0.05)


def test_training(tmp_path: Path) -> None:
    small = ("--model", "cnn", "--images", 64, "--batch", 32, "--repeats", 1, "--loader-workers", 0)
    printed = run("training.py", *small, folder=tmp_path)
    for row in ("bare step", "flatselect", "DataLoader loop", "plain DataLoader loop"):
        assert find(rf"  {row} +(\d+) images/s", printed) > (0,)


def test_search_cost_and_cluster(tmp_path: Path) -> None:
    printed = run("search.py", "cost", "--trials", 20, "--every", 10, "--sampler", "random", folder=tmp_path)
    for low in (0, 10):
        assert find(rf"trials +{low} to +{low + 10}: driver +({NUMBER})", printed) > (0,)
    small = ("--workers", 2, "--trials", 10, "--epoch-seconds", 0.02, "--sampler", "random")
    printed = run("search.py", "cluster", *small, folder=tmp_path)
    (busy,) = find(rf"({NUMBER}) % of the workers busy", printed)
    assert 0 < busy <= 100


def test_store(tmp_path: Path) -> None:
    printed = run("store.py", "--trials", 60, "--epochs", 3, "--repeats", 1, folder=tmp_path)
    for question in (r"ranking\(\)", r"trials\(\)", r"Optuna's trials_dataframe\(\)", "SQL: the ranking's first"):
        assert find(rf"{question} +({NUMBER}) ms", printed) > (0,)
