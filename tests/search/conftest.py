"""Small real searches: scikit-learn's digits, small networks, the inline backend."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flatselect.config import StudyConfig
from flatselect.study_file import load_study_file

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
batch_size = 32
[measure]
probe = 40
[calibration]
trials = 4
holdout = 0.3
[pruner]
startup_trials = 2
warmup_epochs = 1
[ray]
backend = "inline"
"""

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def tiny_text() -> str:
    return TINY


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Loads the tiny study, in a folder of its own, with overrides."""

    def make(*overrides: str, folder: str = "study", text: str = TINY) -> StudyConfig:
        path = tmp_path / folder / "tiny.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return load_study_file(path, overrides)

    return make
