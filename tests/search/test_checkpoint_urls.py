"""Checkpoints at an fsspec URL: written, resumed, audited, exported, checked."""

from pathlib import Path

import fsspec
import pytest
import torch
from test_driver import StopAfter, Undisturbed, comparable, open_reader

from flatselect.errors import CheckpointError, ConfigError
from flatselect.exporting.loading import load
from flatselect.exporting.model_files import write_model
from flatselect.exporting.trial_model import read_trial_model
from flatselect.search.run import run_search
from flatselect.study_file import load_study_file
from flatselect.training.checkpoint import hash_file, load_checkpoint, save_checkpoint


@pytest.mark.parametrize("url", ["memory://bucket/{}", "file://{}"])
def test_a_search_with_checkpoints_at_a_url(make_study, undisturbed: Undisturbed, tmp_path: Path, url: str) -> None:
    folder = url.format(tmp_path / "shared")
    config = make_study(f"study.checkpoints={folder}")
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(5))
    resumed = run_search(config)
    assert comparable(resumed, "attempts") == comparable(undisturbed[1], "attempts")  # audits included
    assert max(trial.attempts for trial in resumed.trials) == 2
    reader = open_reader(str(config.study.storage))
    best = reader.checkpoint(resumed.ranking[0])
    assert best.path.startswith(folder)
    assert hash_file(best.path) == best.sha256
    filesystem, path = fsspec.core.url_to_fs(folder)
    assert all(file.endswith(".pt") for file in filesystem.find(path))
    write_model(read_trial_model(reader, None), tmp_path / "model.pt")
    expected = load_checkpoint(best.path)["model"]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load(tmp_path / "model.pt").state_dict().items())
    filesystem.pipe_file(fsspec.core.url_to_fs(best.path)[1], b"something else")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        write_model(read_trial_model(reader, None), tmp_path / "model.pt")
    filesystem.rm(path, recursive=True)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        write_model(read_trial_model(reader, None), tmp_path / "model.pt")


def test_a_protocol_that_nothing_speaks_is_named(make_study) -> None:
    with pytest.raises(CheckpointError, match=r"study\.checkpoints: nosuch://bucket.* nosuch:// needs a package"):
        run_search(make_study("study.checkpoints=nosuch://bucket/folder"))


def test_one_process_memory_is_not_shared(make_study) -> None:
    with pytest.raises(ConfigError, match=r"study\.checkpoints.*one process's memory"):
        make_study("study.checkpoints=memory://folder", "ray.backend=ray")


def test_a_url_stays_as_it_is(make_study, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[study]\nname = "s"\ncheckpoints = "s3://bucket/a"\n[data]\ntrain = "digits"\n')
    assert load_study_file(tmp_path / "s.toml").study.checkpoints == "s3://bucket/a"


def test_a_broken_file_at_a_url_is_no_checkpoint() -> None:
    written = save_checkpoint("memory://broken/c.pt", {"model": {"w": torch.ones(9)}}, 1)
    whole = fsspec.filesystem("memory").cat_file("/broken/c.pt")
    assert len(whole) == written.size
    fsspec.filesystem("memory").pipe_file("/broken/c.pt", whole[:-20])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint("memory://broken/c.pt")
