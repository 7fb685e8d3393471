"""Log files of whole searches, for people and for programs."""

import json
import logging
import re
from pathlib import Path

import pytest
from searching import Listener, MakeStudy

from flatselect.config import StudySection
from flatselect.errors import SearchError
from flatselect.search.logs import LOGGER, keep_log, log_event
from flatselect.search.run import run_search


@pytest.mark.parametrize("backend", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_every_epoch_and_every_event_is_logged(make_study: MakeStudy, tmp_path: Path, backend: str) -> None:
    listener, handlers = Listener(), list(logging.getLogger().handlers)
    logs = (f"study.logs={tmp_path}/logs", "study.log_json=true")
    config = make_study(*logs, f"ray.backend={backend}", "ray.workers=1", "study.trials=5")
    result = run_search(config, listener)
    (folder,) = (tmp_path / "logs").iterdir()
    assert re.fullmatch(r"tiny-[0-9a-f]{8}", folder.name)
    files = {file.name.partition("-")[0]: file for file in folder.iterdir()}
    assert files.keys() == ({"driver"} if backend == "inline" else {"driver", "worker"})
    lines = [json.loads(line) for file in files.values() for line in file.read_text().splitlines()]
    assert all({"time", "level", "logger", "host", "pid", "event"} <= line.keys() for line in lines)
    epochs = sorted((line["trial"], line["epoch"]) for line in lines if line["event"] == "epoch trained")
    assert epochs == [(t.number, epoch) for t in result.trials for epoch in range(1, t.epochs + 1)]
    begun = [(line["trial"], line["params"]) for line in lines if line["event"] == "trial begins"]
    assert sorted(begun, key=str) == sorted(((t.number, t.params) for t in result.trials), key=str)
    said = [json.loads(line)["event"] for line in files["driver"].read_text().splitlines()]
    assert [message for message in said if message in listener.messages] == listener.messages
    assert logging.getLogger().handlers == handlers


def test_lines_for_people(tmp_path: Path) -> None:
    with keep_log(StudySection(name="tiny", logs=str(tmp_path)), "0123456789abcdef"):
        log_event("trial 3: done", trial=3)
        try:
            raise ValueError("the user's own mistake")
        except ValueError as error:
            log_event("trial failed", error=error, trial=4)
        logging.getLogger("another.package").warning("take care")
    log_event("after the end")
    (file,) = (tmp_path / "tiny-01234567").iterdir()
    first, failed, *traceback, last = file.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO flatselect: trial 3: done trial=3", first)
    assert failed.endswith("ERROR flatselect: trial failed trial=4")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ValueError: the user's own mistake"
    assert last.endswith("WARNING another.package: take care")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = StudySection(name="tiny", logs=str(tmp_path / "file"))
    with (
        pytest.raises(SearchError, match=r"study.logs = .*cannot be written.*give another folder"),
        keep_log(options, "u"),
    ):
        pass


def test_nothing_is_written_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with keep_log(StudySection(name="tiny"), "u"):
        LOGGER.info("nobody hears")
    assert list(tmp_path.iterdir()) == []
