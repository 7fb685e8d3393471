"""`study.keep_checkpoints`: of ended trials only the best keep their files, and the database knows which."""

from pathlib import Path

import fsspec
import pytest
from searching import MakeStudy, StopAfter, Undisturbed, comparable, open_reader, read_weights
from test_retraining import make_trial

import flatselect.calibration
from flatselect.config import StudyConfig
from flatselect.errors import SearchError
from flatselect.exporting.trial_model import read_trial_model
from flatselect.ranking import find_pareto_front
from flatselect.search.checkpoint_cleaning import delete_checkpoints, find_superfluous
from flatselect.search.events import SearchStatus
from flatselect.search.run import run_search
from flatselect.search.study_identity import open_known_study
from flatselect.store.run_records import CheckpointRecord
from flatselect.training.checkpoint import hash_file

SHIPPED = Path(flatselect.calibration.__file__).with_name("shipped_calibrator.json")
MANY = ("study.trials=24", "training.epochs=1", "study.sampler=random", "pruner.startup_trials=99")


def list_files(config: StudyConfig) -> set[str]:
    return {path.name for path in Path(str(config.study.checkpoints)).rglob("*.pt")}


def name_file(number: int) -> str:
    return f"trial-{number:05d}.pt"


class Counter:
    """An observer that counts the files whenever it is shown something, by how many trials have ended."""

    def __init__(self, config: StudyConfig) -> None:
        self.config = config
        self.most: dict[int, int] = {}
        self.messages: list[str] = []

    def show(self, status: SearchStatus) -> None:
        n_ended = status.n_done + status.n_pruned + status.n_failed
        self.most[n_ended] = max(self.most.get(n_ended, 0), len(list_files(self.config)))

    def say(self, message: str) -> None:
        self.messages.append(message)


def test_which_are_superfluous() -> None:
    trials = [
        make_trial(0, 0.5),
        make_trial(1, 0.9, "PRUNED"),
        make_trial(2, 0.8),
        make_trial(3, 0.99, "RUNNING"),
        make_trial(4, 0.99, "FAIL"),
        make_trial(5, 0.1),
        make_trial(6, 0.85, is_calibration=True),
    ]
    files = {number: CheckpointRecord(number, 1, name_file(number), "", 1) for number in (0, 1, 2, 3, 4, 6)}
    assert [file.trial_number for file in find_superfluous(trials, files, 2)] == [0, 2, 4]
    assert [file.trial_number for file in find_superfluous(trials, files, 9)] == [4]
    again = make_trial(7, 0.2, retrains=6)  # stands for the sixth in the ranking
    assert [file.trial_number for file in find_superfluous([*trials, again], files, 2)] == [0, 4, 6]


def test_of_several_objectives_the_front_is_kept(make_study: MakeStudy) -> None:
    options = ("study.minimize=['parameters']", "study.sampler=random", "study.trials=14", "data.audit_size=10")
    config = make_study("study.keep_checkpoints=1", *options)
    result = run_search(config)
    front = find_pareto_front(result.trials, ["parameters"])
    assert len(front) > 1
    assert list_files(config) == {name_file(number) for number in {*front, result.ranking[0]}}


def test_the_best_keep_their_files_and_nothing_else_changes(make_study: MakeStudy, undisturbed: Undisturbed) -> None:
    config = make_study("study.keep_checkpoints=2")
    counter = Counter(config)
    result = run_search(config, counter)
    best = set(result.ranking[:2])
    assert list_files(config) == {name_file(number) for number in best}
    assert comparable(result, "audit_test_score") == comparable(undisturbed[1], "audit_test_score")
    audited = {trial.number: trial.audit_test_score for trial in undisturbed[1].trials}
    assert {t.number: t.audit_test_score for t in result.trials if t.audit_test_score is not None} == {
        number: audited[number] for number in best
    }
    assert "only trials whose checkpoints are kept are audited (study.keep_checkpoints = 2)" in counter.messages
    reader = open_reader(str(config.study.storage))
    assert {number for number, file in reader.checkpoints().items() if file.deleted_at is None} == best
    assert reader.checkpoints().keys() == {trial.number for trial in result.trials if trial.epochs}
    assert all(hash_file(file.path) == file.sha256 for file in reader.kept_checkpoints().values())
    assert read_trial_model(reader, None).trial.number == result.ranking[0]
    gone = result.ranking[2]
    kept = ", ".join(map(str, sorted(best)))
    with pytest.raises(SearchError, match=rf"trial {gone}: its checkpoint was deleted .* are kept: {kept}"):
        read_trial_model(reader, gone)


def test_all_are_kept_until_the_calibration_trials_have_ended(make_study: MakeStudy) -> None:
    config = make_study("study.keep_checkpoints=1", "calibration.trials=12", *MANY)
    counter = Counter(config)
    run_search(config, counter)
    assert [counter.most[n_ended] for n_ended in (4, 8, 11)] == [4, 8, 11]
    assert max(counter.most[n_ended] for n_ended in range(13, 25)) <= 1 + 8 + 1
    assert len(list_files(config)) == 1


def test_with_a_given_calibrator_they_go_from_the_first(make_study: MakeStudy) -> None:
    config = make_study("study.keep_checkpoints=1", f"calibration.artifact={SHIPPED}", *MANY)
    counter = Counter(config)
    run_search(config, counter)
    assert max(counter.most.values()) <= 1 + 8 + 1


def test_interrupted_and_resumed(make_study: MakeStudy, undisturbed: Undisturbed) -> None:
    config = make_study("study.keep_checkpoints=1")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run_search(config, StopAfter(6))
    result = run_search(config)
    without = ("attempts", "audit_test_score")
    assert comparable(result, *without) == comparable(undisturbed[1], *without)
    assert list_files(config) == {name_file(undisturbed[1].ranking[0])}


def test_more_trials_later_and_the_best_of_all_is_kept(make_study: MakeStudy) -> None:
    run_search(make_study("study.keep_checkpoints=2", "study.trials=6"))
    config = make_study("study.keep_checkpoints=2", "study.trials=9")
    result = run_search(config)
    reader = open_reader(str(config.study.storage))
    assert set(reader.kept_checkpoints()) == set(result.ranking[:2])
    assert set(read_weights(open_reader(str(config.study.storage)))) == set(result.ranking[:2])


@pytest.mark.parametrize("url", ["memory://cleaned/{}", "file://{}"])
def test_at_a_url(make_study: MakeStudy, tmp_path: Path, url: str) -> None:
    folder = url.format(tmp_path / "shared")
    config = make_study(f"study.checkpoints={folder}", "study.keep_checkpoints=1", "training.epochs=1")
    result = run_search(config)
    filesystem, path = fsspec.core.url_to_fs(folder)
    files = [Path(file).name for file in filesystem.find(path)]
    assert files == [name_file(result.ranking[0])]


def test_what_is_gone_counts_as_deleted_and_what_cannot_be_is_kept(make_study: MakeStudy) -> None:
    config = make_study()
    run_search(config)
    reader = open_reader(str(config.study.storage))
    files = reader.checkpoints()
    Path(files[0].path).unlink()
    Path(files[1].path).unlink()
    Path(files[1].path).mkdir()
    opened = open_known_study(open_reader(str(config.study.storage)))
    done = delete_checkpoints(opened, [files[0], files[1], files[2]])
    opened.close()
    assert [file.trial_number for file in done.deleted] == [0, 2]
    assert len(done.problems) == 1
    assert done.problems[0].startswith(f"{files[1].path}: cannot be deleted")
    assert reader.checkpoints().keys() - reader.kept_checkpoints().keys() == {0, 2}
    assert not Path(files[2].path).exists()
