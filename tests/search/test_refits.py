"""A calibrator that was given is fitted anew as the study's own held-out gaps come in."""

import json
from pathlib import Path
from typing import Any

import pytest

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.config import StudyConfig
from flatselect.errors import ConfigError
from flatselect.search.events import SearchStatus, SilentObserver
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study


class Listener(SilentObserver):
    """Remembers what is said; interrupts the driver, as Ctrl-C would, after some epochs."""

    def __init__(self, n_epochs: int | None = None) -> None:
        self.n_epochs = n_epochs
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)

    def show(self, status: SearchStatus) -> None:
        if status.n_epochs_run == self.n_epochs:
            raise KeyboardInterrupt


def open_reader(config: StudyConfig) -> StudyReader:
    assert config.study.storage is not None
    return find_study(make_engine(config.study.storage), "tiny")


def comparable(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in t.to_json().items() if key not in ("seconds", "attempts")} for t in result.trials
    ]


@pytest.fixture
def overrides(undisturbed: tuple[StudyConfig, SearchResult], tmp_path: Path) -> list[str]:
    stored = open_reader(undisturbed[0]).latest_calibrator()
    assert stored is not None
    (tmp_path / "calibrator.json").write_text(json.dumps(stored[1]))
    return [f"calibration.artifact={tmp_path}/calibrator.json", "calibration.artifact_trials=2", "study.trials=4"]


def test_rows_are_added_and_all_is_predicted_again(make_study, overrides):
    config, listener = make_study(*overrides), Listener()
    result = run_search(config, listener)
    assert [t.is_calibration for t in result.trials] == [True, True, False, False]
    assert [m for m in listener.messages if "fitted anew" in m] == [
        "calibrator fitted anew, with 1 trials of this study",
        "calibrator fitted anew, with 2 trials of this study",
    ]
    reader = open_reader(config)
    uid, artifact, summary = reader.latest_calibrator()
    predictor = GapPredictor.from_dict(artifact)
    assert {row.group for row in predictor.rows} == {"given/0", "given/1", "given/2", "given/3", "0", "1"}
    assert summary["n_groups"] == 6
    curves = reader.measurements()
    assert set(reader.predictions(uid)) == {(number, m.epoch) for number, curve in curves.items() for m in curve}
    for trial in result.trials:
        honest = predictor.without(str(trial.number)) if trial.is_calibration else predictor
        assert trial.prediction == honest.predict(curves[trial.number][-1])


@pytest.mark.parametrize("n_epochs", [2, 6])
def test_interrupted_and_gone_on_with_it_comes_to_the_same(make_study, overrides, n_epochs):
    whole = make_study(*overrides, folder="whole")
    expected = run_search(whole)
    config = make_study(*overrides, folder="interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_search(config, Listener(n_epochs))
    result = run_search(config)
    assert comparable(result) == comparable(expected)
    rows = [open_reader(c).latest_calibrator()[1]["rows"] for c in (whole, config)]
    assert rows[0] == rows[1]


def test_a_finished_search_is_left_as_it_is(make_study, overrides):
    config = make_study(*overrides)
    first = run_search(config)
    uid = open_reader(config).latest_calibrator()[0]
    assert comparable(run_search(config)) == comparable(first)
    assert open_reader(config).latest_calibrator()[0] == uid


def test_it_needs_an_artifact(make_study):
    with pytest.raises(ConfigError, match=r"artifact_trials = 2: goes with calibration\.artifact only"):
        make_study("calibration.artifact_trials=2")
