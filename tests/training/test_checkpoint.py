"""Checkpoints: whole or not at all, and never code."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from flatselect.errors import CheckpointError
from flatselect.training.checkpoint import hash_file, load_checkpoint, save_checkpoint


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "c.pt"
    written = save_checkpoint(path, {"model": {"w": torch.arange(3.0)}, "curve": [{"epoch": 1}]}, 1)
    content = load_checkpoint(path)
    assert torch.equal(content["model"]["w"], torch.arange(3.0))
    assert content["curve"] == [{"epoch": 1}]
    assert (written.sha256, written.size) == (hash_file(path), path.stat().st_size)
    assert [p.name for p in path.parent.iterdir()] == ["c.pt"]


def test_a_truncated_checkpoint_is_refused_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"model": {"w": torch.zeros(100)}}, 1)
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"c\.pt"):
            load_checkpoint(path)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format_version": 1, "model": Hostile()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Hostile(), protocol=2))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not written by flatselect"):
        load_checkpoint(tmp_path / "foreign.pt")
    torch.save({"format_version": 99}, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="no such"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"model": {}}, 1)
    before = path.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(CheckpointError, match=r"c\.pt: the checkpoint cannot be written .*is the disk full"):
        save_checkpoint(path, {"model": {"w": torch.zeros(9)}}, 2)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(blocked / "c.pt", {"model": {}}, 2)
