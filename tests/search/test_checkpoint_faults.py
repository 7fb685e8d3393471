"""Checkpoints that are not what they were, and a disk that has no room for them."""

import pickle
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from searching import (
    Listener,
    MakeStudy,
    StopAfter,
    Undisturbed,
    assert_same_weights,
    check_books,
    comparable,
    open_reader,
)

from flatselect.config import StudyConfig
from flatselect.search.run import run_search


class Bomb:
    """Makes a folder where it is unpickled by a reader that runs what it reads."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.mkdir, (Path("executed"),)  # type: ignore[return-value]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def pickle_a_bomb(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def save_a_bomb(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "trainer": Bomb()}, path)


@pytest.mark.parametrize("spoil", [cut, empty, fill_with_garbage, pickle_a_bomb, save_a_bomb])
def test_a_spoilt_checkpoint_costs_epochs_and_nothing_is_run_from_it(
    make_study: MakeStudy,
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_study()
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(5))
    with closing(open_reader(str(config.study.storage))) as reader:
        checkpoint = reader.checkpoint(1)
    assert checkpoint is not None
    assert checkpoint.epoch == 2, "trial 1 is to be in the middle of its three epochs"
    spoil(Path(checkpoint.path))
    listener = Listener()
    resumed = run_search(config, listener)
    assert not Path("executed").exists()
    assert any("trial 1: starts again, its checkpoint cannot be read" in message for message in listener.messages)
    assert comparable(resumed, "attempts") == comparable(undisturbed[1], "attempts")
    assert_as_undisturbed(config, undisturbed)


def test_the_bombs_go_off_where_they_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can fail."""
    monkeypatch.chdir(tmp_path)
    pickle_a_bomb(tmp_path / "bomb")
    pickle.loads((tmp_path / "bomb").read_bytes())
    assert Path("executed").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "flatselect-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"no small disk can be made here: {error}")
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_stops_the_search_and_keeps_the_trial(
    make_study: MakeStudy, undisturbed: Undisturbed, small_disk: Path
) -> None:
    config = make_study(f"study.checkpoints={small_disk}")
    stopped = run_search(config)
    assert stopped.stopped_because is not None
    assert "is the disk full?" in stopped.stopped_because
    assert "the same command goes on" in stopped.stopped_because
    assert [trial.state for trial in stopped.trials].count("RUNNING") == 1
    assert 0 < len(stopped.trials) < 8
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert comparable(run_search(config), "attempts") == comparable(undisturbed[1], "attempts")
    assert_as_undisturbed(config, undisturbed)
    assert not list(small_disk.rglob(".flatselect-*")), "parts of files are left"


def assert_as_undisturbed(config: StudyConfig, undisturbed: Undisturbed) -> None:
    with (
        closing(open_reader(str(config.study.storage))) as reader,
        closing(open_reader(str(undisturbed[0].study.storage))) as expected,
    ):
        check_books(reader)
        assert_same_weights(reader, expected)
