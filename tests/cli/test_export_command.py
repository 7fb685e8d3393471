"""`flatselect export --average`: one file of several fine-tuned networks, as a user makes it."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from ranking_runs import train

import flatselect
from flatselect.cli.main import cli
from flatselect.data.digits import load_digits
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import find_study

# Steps so large that each network ends somewhere around the one that all of them start from.
STUDY = """
[study]
name = "finetuning"
trials = 5
[data]
train = "arrays:images.npz"
[search_space]
learning_rate = { type = "float", low = 0.08, high = 0.12 }
[model]
name = "pretrained:make_network"
[training]
epochs = 2
batch_size = 16
schedule = "constant"
[measure]
probe = 100
[calibration]
trials = 4
[pruner]
name = "none"
[ray]
backend = "inline"
"""
FACTORY = """
from pathlib import Path
import torch
from flatselect.models import build_model

def make_network(n_classes):
    model = build_model("cnn", {"width": 8}, (1, 8, 8), n_classes)
    model.load_state_dict(torch.load(Path(__file__).with_name("pretrained.pt"), weights_only=True))
    return model
"""


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli, [*map(str, arguments)])


def refuse(*arguments: object, code: int = 1) -> str:
    """The message of a refusal, which is no traceback."""
    done = run("export", *arguments)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def study(tmp_path_factory, digits):
    """A folder with the finished search."""
    folder = tmp_path_factory.mktemp("finetuning")
    torch.save(train(digits, 3, seed=1, width=8).state_dict(), folder / "pretrained.pt")
    images = load_digits("train")
    np.savez(folder / "images.npz", images=images.pixels[:300].permute(0, 2, 3, 1).numpy(), labels=images.labels[:300])
    (folder / "pretrained.py").write_text(FACTORY)
    (folder / "finetuning.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", sys.path[:])
        done = run("search", "finetuning.toml")
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(study, monkeypatch):
    monkeypatch.chdir(study)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return study


def test_fine_tuned_networks_are_averaged(folder, tmp_path):
    done = run("export", "finetuning.toml", "--average", 5, "-o", tmp_path / "model.pt")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    model = flatselect.load(tmp_path / "model.pt", factory="pretrained:make_network")
    average = model.provenance["average"]
    first, *others = average["tried"]
    assert len(others) == 4
    assert len(average["trials"]) > 1
    assert average["predicted_test_score"] > first["predicted_test_score"]
    assert model.provenance["trial"]["number"] == average["trials"][0]
    head, *lines, last = [line for line in done.stderr.splitlines() if not line.startswith("? extrapolation")]
    assert head.startswith(f"trial {first['trial']} alone: predicted test score {first['predicted_test_score']:.4f}")
    assert "with its batch norms re-estimated" in head
    for tried, line in zip(others, lines, strict=True):
        assert line.startswith(f"with trial {tried['trial']}: {tried['predicted_test_score']:.4f}")
        assert line.endswith(", kept" if tried["kept"] else ", not kept")
        assert tried["kept"] == (tried["trial"] in average["trials"])
    assert f"the average of trials {', '.join(map(str, average['trials']))}; predicted test score" in last
    with np.load("images.npz") as arrays:
        images, labels = torch.tensor(arrays["images"]).permute(0, 3, 1, 2) / 255, torch.tensor(arrays["labels"])
    data = model.provenance["data"]
    with torch.no_grad():
        logits = model((images - data["mean"][0]) / data["std"][0])
    assert (logits.argmax(1) == labels).double().mean().item() == pytest.approx(average["train_score"])


def test_where_no_average_is_better_the_trial_itself_is_written(folder, tmp_path, monkeypatch):
    others = find_study(make_engine(f"sqlite:///{folder}/finetuning.db"), "finetuning")
    best = others.trials(include_audits=False)
    assert len(best) == 5
    copies = {}
    for number, file in others.checkpoints().items():
        copies[number] = shutil.move(file.path, tmp_path / f"{number}.pt")
    try:
        number = 4
        shutil.copy(copies[number], others.checkpoint(number).path)
        done = run("export", "finetuning.toml", "--trial", number, "--average", 5, "-o", tmp_path / "model.pt")
        single = run("export", "finetuning.toml", "--trial", number, "-o", tmp_path / "single.pt")
    finally:
        for number, copy in copies.items():
            shutil.move(copy, others.checkpoint(number).path)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("skipped") == 4
    assert "no such checkpoint" in done.stderr
    assert "no average was predicted to be better than trial 4 alone" in done.stderr
    assert "networks trained from different starts seldom average well" in done.stderr
    assert single.stderr.endswith("MB, after 2 epochs\n")
    one, other = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("model", "single"))
    assert one["provenance"].pop("average")["trials"] == [4]
    assert one.keys() == other.keys()
    weights = one.pop("state_dict"), other.pop("state_dict")
    assert one == other
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.usefixtures("folder")
def test_a_users_mistakes(tmp_path):
    output = tmp_path / "model.pt"
    assert "is not in the range x>=2" in refuse("finetuning.toml", "--average", 1, "-o", output, code=2)
    assert "no trial 9" in refuse("finetuning.toml", "--trial", 9, "--average", 3, "-o", output)
    with np.load("images.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez("images.npz", images=images[1:], labels=labels[1:])
    try:
        message = refuse("finetuning.toml", "--average", 3, "-o", output)
        assert "not the images that the study was searched on; expected 300 images" in message
        assert "found 299" in message
        Path("images.npz").unlink()
        assert "images.npz" in refuse("finetuning.toml", "--average", 3, "-o", output)
    finally:
        np.savez("images.npz", images=images, labels=labels)
    assert not output.exists()


def test_help_has_an_example():
    done = run("export", "--help")
    assert "flatselect export finetuning.toml --average 5 -o model.pt" in done.stdout
