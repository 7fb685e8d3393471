"""`flatselect rank` and `measure` of the checkpoints that a search leaves: they say which network is in them."""

from pathlib import Path

import pytest
import torch
from ranking_runs import RANK
from running import Command

STUDY = """
[study]
name = "small"
trials = 5
seed = 4
checkpoints = "kept"

[data]
train = "digits"
size = 400
mean = [0.2]
std = [0.5]

[search_space]
width = { type = "int", low = 3, high = 9 }

[model]
name = "cnn"

[training]
epochs = 1

[measure]
probe = 64

[calibration]
trials = 4
holdout = 0.25

[ray]
backend = "inline"
"""
MEASURE = Command(("measure",))
DIGITS = ("--data", "digits")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a study of five trials, of which the first four are calibration trials."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("small.toml").write_text(STUDY)
        done = Command(("search",)).run("small.toml")
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def trials(searched, monkeypatch, tmp_path):
    """Checkpoints by trial, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLATSELECT_CACHE", str(tmp_path / "cache"))
    return sorted(searched.rglob("trial-*.pt"))


def read(path):
    return torch.load(path, weights_only=True)


def test_a_folder_of_trials_is_ranked_without_saying_what_they_are(trials):
    contents = {str(path): read(path) for path in trials}
    assert len({content["candidate"]["model_args"]["width"] for content in contents.values()}) > 1
    done = RANK.run(trials[0].parent, *DIGITS, "--calibrator", "none")
    assert done.exit_code == 0, done.output
    for path, n_images in zip(trials, (300, 300, 300, 300, 400), strict=True):
        assert f"{path}: it was trained on {n_images} images, and digits has 1297" in done.stderr
    ranked = RANK.run_json(trials[0].parent, *DIGITS, "--calibrator", "none")["checkpoints"]
    for entry in ranked:
        named = [
            "--model", "cnn", "--model-arg", f"width={contents[entry['path']]['candidate']['model_args']['width']}",
            "--mean", "0.2", "--std", "0.5",
        ]  # fmt: skip
        (expected,) = RANK.run_json(entry["path"], *DIGITS, *named, "--calibrator", "none")["checkpoints"]
        for key in ("train_score", "relative_gap_flatness"):
            assert entry[key] == pytest.approx(expected[key], rel=1e-6)


def test_measure_reads_the_network_and_the_constants_too(trials):
    width = read(trials[4])["candidate"]["model_args"]["width"]
    found = MEASURE.run_json(trials[4], *DIGITS)
    named = MEASURE.run_json(
        trials[4], *DIGITS, "--model", "cnn", "--model-arg", f"width={width}", "--mean", "0.2", "--std", "0.5"
    )
    assert found["measurement"] == named["measurement"]
    assert found["model_args"]["width"] == width


def test_a_checkpoint_of_before_says_its_network_only(trials):
    content = read(trials[4])
    del content["images"]
    torch.save(content, "old.pt")
    done = RANK.run("old.pt", *DIGITS, "--calibrator", "none")
    assert done.exit_code == 0, done.output
    assert "it was trained on" not in done.stderr


def test_a_trial_is_not_ranked_by_images_of_another_size(trials):
    message = RANK.refuse(trials[4], *DIGITS, "--image-size", "16", "--calibrator", "none")
    assert "it was trained on images of 1×8×8, those of digits are 1×16×16" in message


def test_a_file_alone_does_not_name_the_code_that_is_run(trials):
    content = read(trials[4])
    content["candidate"]["model"] = "own:build"
    torch.save(content, "own.pt")
    message = RANK.refuse("own.pt", *DIGITS, "--calibrator", "none")
    assert "its network is built by 'own:build'; if you trust it, add --model own:build" in message


@pytest.mark.parametrize("candidate", [None, "cnn", {"model": "cnn"}, {"model": "cnn", "model_args": 3}])
def test_a_damaged_description_is_none(trials, candidate):
    content = read(trials[4])
    content["candidate"] = candidate
    torch.save(content, "damaged.pt")
    assert "--model is missing" in RANK.refuse("damaged.pt", *DIGITS, "--calibrator", "none")
