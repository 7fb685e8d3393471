"""A finished search, its folder, its best model."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from hostile_study import STUDY, Searched, write_images

from flatselect.data.digits import load_digits
from flatselect.exporting.trial_model import TrialModel, read_trial_model
from flatselect.search.run import run_search
from flatselect.store.study_reader import StudyReader
from flatselect.study_file import load_study_file

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


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
def reader(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyReader]:
    """Of the study, in its folder."""
    monkeypatch.chdir(searched.folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with closing(searched.open()) as reader:
        yield reader


@pytest.fixture
def best(reader: StudyReader) -> TrialModel:
    """The model that is ranked first."""
    return read_trial_model(reader, None)
