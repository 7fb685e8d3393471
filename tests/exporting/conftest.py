"""A small real search on images in folders whose names are hostile; trials that ended in every way."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from flatselect.data.digits import load_digits
from flatselect.exporting.trial_model import TrialModel, read_trial_model
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study
from flatselect.study_file import load_study_file

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

CLASS_NAMES = ("---\nlicense: mit\n---", "<script>alert(1)<", "a | b `code` **bold** [x](y)", "œuvre: {{ 1 }}")
STUDY = """
[study]
name = "hostile"
trials = 12
seed = 5
sampler = "random"
[data]
train = "folder:<b>train | images"
audit = "folder:audit"
image_size = 8
[search_space]
width = { type = "int", low = 2, high = 6 }
learning_rate = { type = "categorical", choices = [0.03, 0.1, 1e18] }
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
startup_trials = 2
[ray]
backend = "inline"
"""


class Searched(NamedTuple):
    """A finished search and the folder it ran in."""

    folder: Path
    result: SearchResult

    def open(self) -> StudyReader:
        return find_study(make_engine(f"sqlite:///{self.folder}/hostile.db"), "hostile")


def write_images(folder: Path, of: Any, per_class: int) -> None:
    for label, name in enumerate(CLASS_NAMES):
        (folder / name).mkdir(parents=True)
        for index, pixels in enumerate(of.pixels[of.labels == label][:per_class]):
            Image.fromarray(pixels[0].numpy()).convert("RGB").save(folder / name / f"{index}.png")


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("exported study")
    write_images(folder / "<b>train | images", load_digits("train"), 30)
    write_images(folder / "audit", load_digits("test"), 10)
    (folder / "hostile.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Searched(folder, run_search(load_study_file("hostile.toml")))


@pytest.fixture
def reader(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> StudyReader:
    """Of the study, in its folder."""
    monkeypatch.chdir(searched.folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return searched.open()


@pytest.fixture
def best(reader: StudyReader) -> TrialModel:
    """The model that is ranked first."""
    return read_trial_model(reader, None)
