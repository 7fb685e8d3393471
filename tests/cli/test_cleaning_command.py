"""`flatselect trials STUDY clean`: which files it deletes, asks about, and says what of."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import flatselect
from flatselect.cli.main import cli
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import find_study

STUDY = """
[study]
name = "cleaned"
trials = 8
sampler = "random"
[data]
train = "digits"
size = 100
[search_space]
width = { type = "int", low = 2, high = 6 }
[training]
epochs = 1
[measure]
probe = 20
[calibration]
trials = 4
[ray]
backend = "inline"
"""


def run(*words, stdin=None):
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli, list(map(str, words)), input=stdin)


def list_files(folder):
    return sorted(folder.rglob("*.pt"))


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "cleaned.toml"
    path.write_text(STUDY)
    done = run("search", path)
    assert done.exit_code == 0, done.output
    return path


def read_ranking(study):
    with flatselect.open_study(f"sqlite:///{study.with_suffix('.db')}") as opened:
        return list(opened.ranking()["number"])


def test_all_but_the_best_are_deleted_once(study):
    folder, ranking = study.parent, read_ranking(study)
    files = list_files(folder)
    best = [file for file in files if file.name in {f"trial-{number:05d}.pt" for number in ranking[:2]}]
    size = sum(file.stat().st_size for file in files if file not in best)

    tried = run("trials", study, "clean", "--keep", 2, "--dry-run")
    assert tried.exit_code == 0
    assert sorted(map(Path, tried.stdout.split())) == [file for file in files if file not in best]
    words = f"checkpoints of {len(files) - 2} trials, {size / 1e3:.1f} kB"
    assert f"{words} would be deleted; kept: 2" in tried.stderr
    refused = run("trials", study, "clean", "--keep", 2, stdin="n\n")
    assert (refused.exit_code, refused.stdout.strip(" n\n")) == (1, "")  # click before 8.3 shows the answer there
    assert f"delete the {words}, and keep 2? [y/N]" in refused.stderr
    assert run("trials", study, "clean", "--keep", 2).exit_code == 1  # nobody there to answer
    assert list_files(folder) == files

    done = run("trials", study, "clean", "--keep", 2, "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"checkpoints deleted: {len(files) - 2} ({size / 1e3:.1f} kB); kept: 2\n"
    assert list_files(folder) == best
    again = run("trials", study, "clean", "--keep", 2, "--yes")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "nothing to delete; checkpoints kept: 2\n")


def test_what_became_of_a_file_can_be_asked(study):
    run("trials", study, "clean", "--keep", 1, "--yes")
    best, *others = read_ranking(study)
    question = ("query", study, "--columns", "number,checkpoint,checkpoint_deleted_at", "--json")
    deleted = json.loads(run(*question, "--where", "checkpoint_deleted_at is not null").stdout)
    assert sorted(row["number"] for row in deleted) == sorted(others)
    assert not any(Path(row["checkpoint"]).exists() for row in deleted)
    (kept,) = json.loads(run(*question, "--where", "checkpoint is not null and checkpoint_deleted_at is null").stdout)
    assert kept["number"] == best
    assert Path(kept["checkpoint"]).exists()
    assert "deleted" in run("show", study, others[0]).stdout
    refused = run("export", study, "--trial", others[0], "-o", study.with_name("model.pt"))
    assert refused.exit_code == 1
    assert f"those of these trials are kept: {best}" in " ".join(refused.stderr.split())
    assert run("export", study, "-o", study.with_name("model.pt")).exit_code == 0


def test_before_there_is_a_ranking_nothing_is_deleted(study):
    with closing(sqlite3.connect(study.with_suffix(".db"))) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM flatselect_calibrators")
    files = list_files(study.parent)
    refused = run("trials", study, "clean", "--keep", 1, "--yes")
    assert refused.exit_code == 1
    assert "no calibrator yet" in refused.stderr
    assert list_files(study.parent) == files != []


def test_what_cannot_be_deleted_is_said(study):
    with closing(find_study(make_engine(f"sqlite:///{study.with_suffix('.db')}"), "cleaned")) as reader:
        worst = Path(reader.checkpoints()[read_ranking(study)[-1]].path)
    worst.unlink()
    worst.mkdir()
    done = run("trials", study, "clean", "--keep", 1, "--yes")
    assert done.exit_code == 1
    assert f"{worst}: cannot be deleted" in done.stderr
    assert "kept: 2" in done.stdout


def test_the_number_to_keep_is_needed(tmp_path):
    for words in (("clean",), ("clean", "--keep", "0")):
        done = run("trials", "some.db", *words)
        assert done.exit_code == 2
        assert "--keep" in done.stderr
