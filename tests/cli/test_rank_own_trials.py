"""`flatselect rank --calibrator study:NAME` of the study's own trials: none is predicted with its own rows."""

import shutil
from pathlib import Path

import pytest
import torch
from measuring import CNN, export
from ranking_runs import DIGITS, RANK, fit_calibrator, make_study

from flatselect.models import build_model

pytestmark = pytest.mark.usefixtures("working_folder")


@pytest.fixture
def runs(working_folder, monkeypatch):
    monkeypatch.setenv("FLATSELECT_CACHE", str(working_folder / "cache"))
    Path("runs").mkdir()
    for seed, name in enumerate(("calibration", "searched", "stranger")):
        torch.manual_seed(seed)
        torch.save(build_model("cnn", {"width": 4}, (1, 8, 8), 10).state_dict(), f"runs/{name}.pt")
    return Path("runs")


def find_gaps(calibrator, *options):
    shown = RANK.run_json("runs", *CNN, *DIGITS, "--calibrator", calibrator, *options)["checkpoints"]
    return {Path(checkpoint["path"]).stem: checkpoint["predicted_test_gap"] for checkpoint in shown}


@pytest.mark.parametrize("options", [[], ["--no-cache"]])
def test_a_calibration_trial_is_predicted_without_its_own_rows(runs, options):
    predictor = fit_calibrator()  # its groups are 0 to 19
    make_study("digits", [predictor], {3: runs / "calibration.pt", 20: runs / "searched.pt"})
    predictor.save("all.json")
    predictor.without("3").save("without.json")
    of_all, without, found = (find_gaps(spec, *options) for spec in ("all.json", "without.json", "study:digits"))
    assert of_all["calibration"] != without["calibration"]
    assert found["calibration"] == pytest.approx(without["calibration"], rel=1e-12)
    for name in ("searched", "stranger"):
        assert found[name] == pytest.approx(of_all[name], rel=1e-12)
    # Wherever its file lies, and whatever else is in it.
    shutil.move(runs / "calibration.pt", runs / "moved.pt")
    torch.save({"model": torch.load(runs / "moved.pt"), "epoch": 1}, runs / "also.pt")
    assert find_gaps("study:digits", *options) == {
        "also": found["calibration"], "moved": None, "searched": found["searched"], "stranger": found["stranger"],
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["first time", "from the cache"])
def test_an_exported_calibration_trial_is_known_by_what_it_says_of_itself(runs, suffix):
    """The file is another than the trial's checkpoint, and the network is the same."""
    predictor = fit_calibrator()
    make_study("digits", [predictor])
    predictor.save("all.json")
    predictor.without("3").save("without.json")
    state = torch.load(runs / "calibration.pt")
    shutil.rmtree(runs)
    runs.mkdir()
    for name, trial in (("digits", 3), ("digits", 20), ("other", 3)):
        shutil.move(export("cnn", {"width": 4}, state, origin=(name, trial)), runs / "model.pt")
        expected = "without.json" if (name, trial) == ("digits", 3) else "all.json"
        if suffix == "from the cache":
            find_gaps("none")
        assert find_gaps("study:digits")["model"] == pytest.approx(find_gaps(expected)["model"], rel=1e-12)
    assert find_gaps("all.json")["model"] != find_gaps("without.json")["model"]


def test_it_says_of_how_many(runs):
    make_study("digits", [fit_calibrator()], {3: runs / "calibration.pt", 20: runs / "searched.pt"})
    arguments = ["runs", *CNN, *DIGITS, "--calibrator", "study:digits"]
    said = "1 of 3 checkpoints are calibration trials of study:digits: each is predicted without its own rows, and its"
    assert f"{said} training score here is of images too that it held out" in RANK.run(*arguments).stderr
    # Other weights in the same file are another network.
    torch.save(build_model("cnn", {"width": 4}, (1, 8, 8), 10).state_dict(), runs / "calibration.pt")
    assert "calibration trials" not in RANK.run(*arguments).stderr
