"""Searches watched, disturbed and compared."""

import time
from collections.abc import Callable
from typing import Any

import torch

from flatselect.config import StudyConfig
from flatselect.search.events import SearchStatus
from flatselect.search.result import SearchResult
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study

MakeStudy = Callable[..., StudyConfig]
Undisturbed = tuple[StudyConfig, SearchResult]
SECONDS = {"seconds"}


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"what the test waits for did not come in {seconds:g} seconds")
        time.sleep(0.2)


def comparable(result: SearchResult, *without: str) -> list[dict[str, Any]]:
    """The trials as programs see them, less what no two runs share."""
    left_out = SECONDS | set(without)
    return [{key: value for key, value in t.to_json().items() if key not in left_out} for t in result.trials]


def open_reader(result_storage: str, name: str = "tiny") -> StudyReader:
    return find_study(make_engine(result_storage), name)


def read_weights(reader: StudyReader) -> dict[int, dict[str, torch.Tensor]]:
    """Of the trials whose checkpoints are kept, by number."""
    files = reader.kept_checkpoints()
    return {number: torch.load(file.path, weights_only=True)["model"] for number, file in files.items()}


class StopAfter:
    """An observer that interrupts the driver, as Ctrl-C would, after some epochs."""

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def show(self, status: SearchStatus) -> None:
        if status.n_epochs_run >= self.n_epochs:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        pass


class Listener:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.statuses: list[SearchStatus] = []

    def show(self, status: SearchStatus) -> None:
        self.statuses.append(status)

    def say(self, message: str) -> None:
        self.messages.append(message)


def check_books(reader: StudyReader) -> None:
    """No trial lost, none twice, none left running, every attempt ended, every curve whole."""
    trials = reader.trials(include_audits=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.state for trial in trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    ended = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "fail"}
    attempts: dict[int, list[str]] = {}
    for attempt in reader.attempts():
        attempts.setdefault(attempt.trial_number, []).append(attempt.outcome)
        assert attempt.attempt == len(attempts[attempt.trial_number])
        assert attempt.ended_at is not None
    curves = reader.measurements()
    for trial in trials:
        *lost, last = attempts[trial.number]
        assert last == ended[trial.state]
        assert set(lost) <= {"lost", "interrupted"}
        epochs = [measurement.epoch for measurement in curves.get(trial.number, [])]
        assert epochs == list(range(1, trial.epochs + 1))
        assert trial.epochs or trial.state == "FAIL"


def assert_same_weights(one: StudyReader, other: StudyReader) -> None:
    """Bit for bit, of every trial."""
    weights, expected = read_weights(one), read_weights(other)
    assert weights.keys() == expected.keys()
    for number, state in weights.items():
        for name, tensor in state.items():
            assert torch.equal(tensor, expected[number][name]), f"trial {number}: {name}"
