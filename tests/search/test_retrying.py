"""Failed trials tried again by the next search, or by the one that is running."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from searching import (
    Listener,
    MakeStudy,
    StopAfter,
    assert_same_weights,
    check_books,
    comparable,
    open_reader,
)

from flatselect.config import StudyConfig
from flatselect.search.events import SearchStatus
from flatselect.search.result import SearchResult
from flatselect.search.retrying import enqueue_retries, find_failed
from flatselect.search.run import run_search
from flatselect.search.study_identity import open_known_study

BREAKING = """
[study]
name = "tiny"
trials = 8
seed = 2
max_failures_in_row = 20
[data]
train = "digits"
audit = "digits"
size = 100
audit_size = 50
[search_space]
fault = { type = "categorical", choices = ["none", "raises"] }
width = { type = "int", low = 3, high = 8 }
[model]
name = "faulty_nets:small"
[training]
epochs = 2
batch_size = 20
[measure]
probe = 30
[calibration]
trials = 4
[ray]
backend = "inline"
"""


@pytest.fixture(autouse=True)
def _broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidates that can fail do, until the file is gone."""
    monkeypatch.chdir(tmp_path)
    Path("broken").touch()


def retry(config: StudyConfig, numbers: Sequence[int] = ()) -> dict[int, int]:
    """As `flatselect trials STUDY retry` does: by a connection of its own."""
    with closing(open_known_study(open_reader(str(config.study.storage)))) as opened:
        return enqueue_retries(opened.study, numbers or find_failed(opened.study))


def list_failed(result: SearchResult) -> list[int]:
    return [trial.number for trial in result.trials if trial.state == "FAIL"]


def search_and_mend(config: StudyConfig) -> SearchResult:
    """A finished search with failed trials, whose fault is mended afterwards."""
    result = run_search(config)
    assert list_failed(result)
    assert len(result.trials) == 8
    Path("broken").unlink()
    return result


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_the_next_search_tries_failed_trials_again(
    make_study: MakeStudy, request: pytest.FixtureRequest, database: str
) -> None:
    storage = [f"study.storage={request.getfixturevalue('postgresql_url')}"] * (database == "postgresql")
    config = make_study(*storage, text=BREAKING)
    before = search_and_mend(config)
    failed = list_failed(before)
    queued = retry(config)
    assert list(queued) == failed
    assert list(queued.values()) == list(range(8, 8 + len(failed)))
    after = run_search(config)
    trials = {trial.number: trial for trial in after.trials}
    assert len(trials) == 8 + len(failed)
    for number, again in queued.items():
        assert trials[number].state == "FAIL", "what failed stays as it was"
        assert trials[again].state in ("COMPLETE", "PRUNED")
        assert trials[again].params == trials[number].params
        assert trials[again].retries == trials[again].to_json()["retries"] == number
        assert trials[again].prediction is not None
        assert trials[again].audit_test_score is not None
        assert again in after.ranking
    with closing(open_reader(str(config.study.storage))) as reader:
        check_books(reader)
    assert comparable(run_search(config)) == comparable(after), "nothing is tried a second time"


def test_a_retry_does_not_count_among_the_studys_trials(make_study: MakeStudy) -> None:
    config = make_study(text=BREAKING)
    n_failed = len(list_failed(search_and_mend(config)))
    retry(config)
    listener = Listener()
    result = run_search(make_study("study.trials=10", text=BREAKING), listener)
    assert len(result.trials) == 10 + n_failed
    assert sum(not trial.is_repetition for trial in result.trials) == 10
    assert listener.statuses[-1].n_trials == 10 + n_failed


def test_a_study_none_of_whose_trials_lived_can_be_mended(make_study: MakeStudy) -> None:
    """The calibrator could not be fitted: the trials that are tried again are calibration trials."""
    text = BREAKING.replace('choices = ["none", "raises"]', 'choices = ["raises"]').replace("trials = 8", "trials = 4")
    config = make_study(text=text)
    broken = run_search(config)
    assert list_failed(broken) == [0, 1, 2, 3]
    assert broken.stopped_because is not None
    Path("broken").unlink()
    retry(config)
    result = run_search(config)
    assert result.stopped_because is None
    assert [trial.is_calibration for trial in result.trials[4:]] == [True] * 4
    assert [trial.state for trial in result.trials[4:]] == ["COMPLETE"] * 4
    assert sorted(result.ranking) == [4, 5, 6, 7]


@pytest.mark.parametrize("n_epochs", [0, 1, 3])
def test_interrupted_while_trying_again_it_goes_on_bit_for_bit(make_study: MakeStudy, n_epochs: int) -> None:
    config, other = make_study(text=BREAKING), make_study(text=BREAKING, folder="undisturbed")
    run_search(other)
    search_and_mend(config)
    retry(config)
    retry(other)
    undisturbed = run_search(other)
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(n_epochs))
    assert comparable(run_search(config), "attempts") == comparable(undisturbed, "attempts")
    with (
        closing(open_reader(str(config.study.storage))) as reader,
        closing(open_reader(str(other.study.storage))) as expected,
    ):
        assert_same_weights(reader, expected)


class RetryAt(Listener):
    """An observer that asks for all failed trials to be tried again once so many have ended."""

    def __init__(self, config: StudyConfig, n_ended: int) -> None:
        super().__init__()
        self.config, self.n_ended = config, n_ended
        self.queued: dict[int, int] = {}

    def show(self, status: SearchStatus) -> None:
        super().show(status)
        if not self.queued and status.n_done + status.n_pruned + status.n_failed >= self.n_ended and status.n_failed:
            Path("broken").unlink()
            self.queued = retry(self.config)


@pytest.mark.parametrize("n_ended", [1, 8])
def test_a_running_search_takes_up_what_is_to_be_tried_again(make_study: MakeStudy, n_ended: int) -> None:
    """In the middle, and when the last of its trials has just ended."""
    config = make_study(text=BREAKING)
    observer = RetryAt(config, n_ended)
    result = run_search(config, observer)
    assert observer.queued
    trials = {trial.number: trial for trial in result.trials}
    assert all(trials[again].state in ("COMPLETE", "PRUNED") for again in observer.queued.values())
    assert sum(not trial.is_repetition for trial in result.trials) == 8
    with closing(open_reader(str(config.study.storage))) as reader:
        check_books(reader)


def test_a_retrained_trial_is_tried_again_as_what_it_was(make_study: MakeStudy) -> None:
    """One of the best, to be trained again on all images, fails at that."""
    text = BREAKING.replace('choices = ["none", "raises"]', 'choices = ["raises"]')
    Path("broken").unlink()
    run_search(make_study(text=text))
    Path("broken").touch()
    config = make_study("study.retrain_top=1", "training.epochs=2", text=text)
    failed = run_search(config)
    again = [trial for trial in failed.trials if trial.retrains is not None]
    assert [trial.state for trial in again] == ["FAIL"] * len(again)
    assert again, "none was trained again: this study tests nothing"
    Path("broken").unlink()
    queued = retry(config)
    trials = {trial.number: trial for trial in run_search(config).trials}
    for number, new in queued.items():
        assert (trials[new].state, trials[new].retrains, trials[new].retries) == (
            "COMPLETE",
            trials[number].retrains,
            number,
        )
