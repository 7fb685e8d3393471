"""What goes wrong around a search, and what is left of it: nothing lost, nothing twice, nothing shown."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
from searching import Listener, MakeStudy, StopAfter, Undisturbed, comparable, open_reader
from sklearn.datasets import load_digits

from flatselect.config import StudyConfig
from flatselect.errors import SearchError, StoreError
from flatselect.search.events import SearchStatus
from flatselect.search.ray_cluster import count_workers_on
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search


def get_database(config: StudyConfig) -> str:
    assert config.study.storage is not None
    return config.study.storage.removeprefix("sqlite:///")


def test_the_storage_is_not_remembered_with_the_study(make_study: MakeStudy) -> None:
    config = make_study("study.storage=postgresql://ann:secret@host/name")
    assert "secret" in str(config)
    assert "secret" not in str(config.to_dict())
    assert StudyConfig.from_dict(config.to_dict()).study.storage is None


class BlockCheckpoints:
    """An observer that, after some epochs, puts a file where the checkpoints' folder was."""

    def __init__(self, folder: Path, n_epochs: int) -> None:
        self.folder, self.n_epochs = folder, n_epochs
        self.aside = folder.with_name("aside")

    def show(self, status: SearchStatus) -> None:
        if status.n_epochs_run >= self.n_epochs and not self.aside.exists():
            self.folder.rename(self.aside)
            self.folder.touch()

    def say(self, message: str) -> None:
        pass

    def unblock(self) -> None:
        self.folder.unlink()
        self.aside.rename(self.folder)


def test_a_disk_that_cannot_be_written_stops_the_search_and_keeps_the_trial(
    make_study: MakeStudy, undisturbed: Undisturbed
) -> None:
    config = make_study()
    assert config.study.checkpoints is not None
    disk = BlockCheckpoints(Path(config.study.checkpoints), 8)
    stopped = run_search(config, disk)
    assert stopped.stopped_because is not None
    assert "CheckpointError" in stopped.stopped_because
    assert "the same command goes on" in stopped.stopped_because
    assert [t.state for t in stopped.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    disk.unblock()
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")


def test_a_trial_without_its_parameters_gets_those_it_would_have_had(
    make_study: MakeStudy, undisturbed: Undisturbed
) -> None:
    """A driver that dies between asking for a trial and suggesting its parameters."""
    config = make_study()
    run_search(make_study("study.trials=4"))
    optuna.load_study(study_name="tiny", storage=config.study.storage).ask()
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")


def test_predictions_lost_with_their_driver_are_made_again(make_study: MakeStudy) -> None:
    """A driver that dies after fitting the calibrator, before it says what that predicts of the finished trials."""
    config = make_study("study.trials=4")
    finished = run_search(config)
    with closing(sqlite3.connect(get_database(config))) as connection, connection:
        assert connection.execute("DELETE FROM flatselect_predictions").rowcount > 0
    with closing(open_reader(str(config.study.storage))) as reader:
        assert all(t.prediction is None for t in reader.trials(include_audits=False))
    assert comparable(run_search(config)) == comparable(finished)
    assert all(t.prediction is not None for t in finished.trials)


def test_another_audit_set_audits_anew(make_study: MakeStudy, tmp_path: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    wrong = np.random.default_rng(0).permutation(labels[200:300])
    np.savez(tmp_path / "wrong.npz", images=images[200:300], labels=wrong)

    def search(*overrides: str) -> SearchResult:
        return run_search(make_study("study.trials=4", "training.epochs=8", *overrides))

    first = search()
    other = search(f"data.audit=arrays:{tmp_path}/wrong.npz")
    back = search()
    assert comparable(first) == comparable(back)
    assert comparable(first, "audit_test_score") == comparable(other, "audit_test_score")
    assert [t.audit_test_score for t in first.trials] != [t.audit_test_score for t in other.trials]


def test_a_driver_that_was_taken_for_dead_stops(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatselect.search.heartbeat.HEARTBEAT_SECONDS", 0.01)
    config = make_study()

    class TakeOver(StopAfter):
        def show(self, status: SearchStatus) -> None:
            if status.n_epochs_run == self.n_epochs:
                with closing(sqlite3.connect(get_database(config))) as connection, connection:
                    connection.execute("UPDATE flatselect_runs SET ended_at = '2026-01-01', outcome = 'died'")

    with pytest.raises(SearchError, match="another process took this search for dead"):
        run_search(config, TakeOver(4))
    with closing(open_reader(str(config.study.storage))) as reader:
        assert reader.runs()[-1].outcome == "died"


def test_a_database_that_breaks_in_the_middle_is_a_message(make_study: MakeStudy, undisturbed: Undisturbed) -> None:
    config = make_study()
    database = get_database(config)

    class Break(StopAfter):
        def show(self, status: SearchStatus) -> None:
            if status.n_epochs_run == self.n_epochs:
                self.n_epochs = -1  # once
                with closing(sqlite3.connect(database)) as connection, connection:
                    connection.execute("ALTER TABLE trial_intermediate_values RENAME TO hidden")

    with pytest.raises(StoreError, match=r"no such table.*what was measured is kept"):
        run_search(config, Break(4))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ALTER TABLE hidden RENAME TO trial_intermediate_values")
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")


def test_inline_on_a_gpu_that_is_not_there_is_refused(make_study: MakeStudy) -> None:
    with pytest.raises(SearchError, match="gpus_per_trial = 1, but torch finds no GPU"):
        run_search(make_study("ray.gpus_per_trial=1"))


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "n_workers"),
    [
        ({"CPU": 4.0}, 1, 0, 4),
        ({"CPU": 4.0}, 3, 0, 1),
        ({"CPU": 16.0, "GPU": 2.0}, 1, 0.4, 4),
        ({"CPU": 16.0, "GPU": 2.0}, 1, 0.5, 4),
        ({"CPU": 3.0, "GPU": 2.0}, 1, 0.5, 3),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 3, 1),
        ({"GPU": 4.0}, 1, 1, 0),
        ({"CPU": 8.0}, 1, 0.5, 0),
    ],
)
def test_workers_are_counted_as_ray_can_place_them(
    node: dict[str, float], cpus: float, gpus: float, n_workers: int
) -> None:
    assert count_workers_on(node, cpus, gpus) == n_workers


def test_a_trial_over_its_time_fails_and_the_search_goes_on(make_study: MakeStudy) -> None:
    class Slow(Listener):
        def show(self, status: SearchStatus) -> None:
            if status.running.get(2) == 1 and len(self.statuses) < 2:  # between two epochs of trial 2
                self.statuses.append(status)
                time.sleep(5)

    result = run_search(make_study("study.trial_timeout=8", "study.trials=5"), Slow())
    assert [t.state == "FAIL" for t in result.trials] == [False, False, True, False, False]
    assert result.trials[2].failure == ("TrialTimeout: it took more than 8 seconds (study.trial_timeout), 2 epochs in")
