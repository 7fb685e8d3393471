"""Small real searches: scikit-learn's digits, small networks, the inline backend."""

import os
from pathlib import Path

import pytest
from searching import MakeStudy, Undisturbed

from flatselect.config import StudyConfig
from flatselect.search.run import run_search
from flatselect.study_file import load_study_file

# Ray gives its workers niceness 15: beside other work on this machine they would hardly come to start.
os.environ.setdefault("RAY_worker_niceness", "0")

TINY = """
[study]
name = "tiny"
trials = 8
seed = 5
[data]
train = "digits"
audit = "digits"
size = 150
audit_size = 100
[search_space]
width = { type = "int", low = 2, high = 8 }
learning_rate = { type = "float", low = 0.01, high = 0.2, log = true }
block = { type = "categorical", choices = ["plain", "residual"] }
[training]
epochs = 3
batch_size = 16
[measure]
probe = 40
[calibration]
trials = 4
holdout = 0.3
coverage = 0.5
[pruner]
reference = "best"
startup_trials = 2
warmup_epochs = 1
[ray]
backend = "inline"
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    return TINY


def make_study_in(folder: Path, *overrides: str, text: str = TINY) -> StudyConfig:
    folder.mkdir(exist_ok=True)
    path = folder / "tiny.toml"
    path.write_text(text)
    return load_study_file(path, overrides)


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Loads the tiny study, in a folder of its own, with overrides."""

    def make(*overrides: str, folder: str = "study", text: str = TINY) -> StudyConfig:
        return make_study_in(tmp_path / folder, *overrides, text=text)

    return make


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The tiny study searched once, without a disturbance; not to be changed."""
    config = make_study_in(tmp_path_factory.mktemp("undisturbed") / "study")
    return config, run_search(config)
