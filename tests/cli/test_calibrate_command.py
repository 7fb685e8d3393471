"""`flatselect calibrate`: from studies and CSV files to diagnostics and an artifact."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from running import Command

from flatselect.calibration.estimators import CANDIDATE_NAMES
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.cli.calibrate_output import describe_flatness_lift
from flatselect.search.run import run_search
from flatselect.study_file import load_study_file

CALIBRATE = Command(("calibrate",))
STUDY = """
[study]
name = "digits"
trials = 5
[data]
train = "digits"
audit = "digits"
size = 120
audit_size = 50
[search_space]
width = { type = "int", low = 2, high = 6 }
[training]
epochs = 2
batch_size = 32
[measure]
probe = 20
[calibration]
trials = 4
[ray]
backend = "inline"
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with two searched studies: digits.toml, digits.db, and other.db, whose study is called digits too."""
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "digits.toml").write_text(STUDY)
    run_search(load_study_file(folder / "digits.toml"))
    run_search(load_study_file(folder / "digits.toml", ["study.seed=1", f"study.storage=sqlite:///{folder}/other.db"]))
    return folder


@pytest.fixture
def folder(searched, tmp_path, monkeypatch):
    """The same, to be read; the working folder."""
    monkeypatch.chdir(searched)
    return tmp_path


def write_csv(path, n_groups=26, seed=0):
    rng = np.random.default_rng(seed)
    lines = ["group,epoch,log_relative_gap_flatness,log_train_loss,train_score,test_gap,colour"]
    for group in range(n_groups):
        for epoch in range(2):
            kappa, loss, noise = rng.normal(), rng.normal(), 0.005 * rng.normal()
            lines.append(f"{group},{epoch},{kappa},{loss},0.95,{0.1 + 0.03 * kappa + 0.01 * loss + noise},red")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "arguments",
    [["digits.toml"], ["digits.db"], ["digits"], ["study:digits", "--storage", "sqlite:///digits.db"]],
)
def test_a_study_by_each_of_its_names(folder, arguments):
    done = CALIBRATE.run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["n_rows"], result["n_groups"]) == (8, 4)
    (source,) = result["sources"]
    assert (source["kind"], source["name"], source["n_rows"], source["n_groups"]) == ("study", "digits", 8, 4)
    assert len(source["data_fingerprint"]) >= 16
    assert result["estimator_choice"]["name"] == "ridge"
    assert result["output"] is None
    assert done.stderr == ""


def test_artifact_of_two_studies_keeps_their_trials_apart(folder):
    done = CALIBRATE.run(
        "digits.db", "other.db", "-o", folder / "calibrator.json", "--coverage", 0.5, "--estimator", "isotonic"
    )
    assert done.exit_code == 0, done.output
    loaded = GapPredictor.load(folder / "calibrator.json")
    assert len(loaded.rows) == 16
    assert {row.group for row in loaded.rows} == {
        f"{study}/{n}" for study in ("digits", "digits (2)") for n in range(4)
    }
    assert loaded.calibrator.n_groups_ == 8
    assert [source["name"] for source in loaded.metadata["sources"]] == ["digits", "digits"]
    assert all(source["data_fingerprint"] for source in loaded.metadata["sources"])
    assert (loaded.calibrator.coverage, loaded.calibrator.estimator) == (0.5, "isotonic")
    for word in ("digits", "all", "16", "8", "isotonic"):
        assert word in done.stdout


def test_audited_scores_have_no_part_in_it(folder, searched):
    before = CALIBRATE.run("digits.db", "--json").stdout
    with closing(sqlite3.connect(searched / "digits.db")) as connection, connection:
        n_changed = connection.execute("UPDATE flatselect_audits SET score = 0.123").rowcount
    assert n_changed > 0
    assert CALIBRATE.run("digits.db", "--json").stdout == before


def test_epochs_printed_by_query_calibrate_the_same(folder):
    epochs = Command().run("query", "digits.db", "--epochs", "--csv")
    (folder / "epochs.csv").write_text(epochs.stdout)
    done = CALIBRATE.run(folder / "epochs.csv", "--json")
    assert done.exit_code == 0, done.output
    assert "columns ignored: " in done.stderr
    assert "2 lines without a test gap left out" in done.stderr
    of_csv, of_study = json.loads(done.stdout), json.loads(CALIBRATE.run("digits.db", "--json").stdout)
    assert of_csv["cross_validated"]["mae"] == pytest.approx(of_study["cross_validated"]["mae"])
    assert of_csv["features"] == of_study["features"]


def test_tables_say_what_was_tried_and_what_flatness_adds(folder):
    done = CALIBRATE.run(write_csv(folder / "rows.csv"))
    assert done.exit_code == 0, done.output
    assert "columns ignored: colour" in done.stderr
    words = " ".join(done.stdout.split())
    for text in (*CANDIDATE_NAMES, "(chosen)", "52 26", "0.5 0.6 0.7 0.8 0.9 0.95", "Spearman", "Kendall", "R²"):
        assert text in words
    assert "flatness lowers the error by 0.0" in words
    assert "over 26 groups: it helps here" in words
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_scores_of_all_are_printed_and_stored(folder):
    done = CALIBRATE.run(write_csv(folder / "rows.csv"), "--json", "-o", folder / "calibrator.json")
    choice = json.loads(done.stdout)["estimator_choice"]
    assert list(choice["scores"]) == list(CANDIDATE_NAMES)
    assert json.loads((folder / "calibrator.json").read_text())["estimator_choice"] == choice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "absent.csv: no such file"),
        (["absent.db"], "absent.db: no such database"),
        (["study:absent", "--storage", "sqlite:///digits.db"], "no study 'absent'; there is digits"),
        (["digits.db", "digits.toml"], "digits.toml: the same rows as an earlier source"),
        (["digits.db", "-o", "absent/calibrator.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_used_is_named(folder, arguments, message):
    done = CALIBRATE.run(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["digits.db", "--coverage", "1"], ["digits.db", "--estimator", "forest"]])
def test_misuse(folder, arguments):
    assert CALIBRATE.run(*arguments).exit_code == 2


def test_a_csv_file_of_one_row_or_none(folder):
    path = folder / "rows.csv"
    path.write_text("relative_gap_flatness,test_gap\n")
    assert "no line says a test gap" in CALIBRATE.run(path).stderr
    path.write_text("relative_gap_flatness,test_gap\n1,0.1\n")
    done = CALIBRATE.run(path)
    assert done.exit_code == 1
    assert "at least 2 rows with a measured test gap, not 1" in done.stderr


def test_a_study_without_calibration_trials_is_refused(folder, searched):
    CALIBRATE.run("digits.db", "-o", folder / "calibrator.json")
    (folder / "given.toml").write_text(STUDY.replace("trials = 5", "trials = 1"))
    artifact = f"calibration.artifact={folder}/calibrator.json"
    run_search(load_study_file(folder / "given.toml", [artifact]))
    done = CALIBRATE.run(folder / "digits.db")
    assert done.exit_code == 1
    assert "no finished trial of it held out a part of the data" in done.stderr


def test_plot(folder):
    done = CALIBRATE.run("digits.db", "--plot", folder / "plot.html", "--json")
    assert done.exit_code == 0, done.output
    assert "0, epoch 2" in (folder / "plot.html").read_text(encoding="utf-8")
    done = CALIBRATE.run("digits.db", "--plot", folder / "absent" / "plot.html")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "plot.html: cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("lift", "p_value", "text"),
    [
        (0.0003, 0.6, "flatness lowers the error by 0.0003, p = 0.6 over 9 groups: nothing to be seen"),
        (0.02, 0.001, "flatness lowers the error by 0.0200, p = 0.001 over 9 groups: it helps here"),
        (-0.002, 0.98, "flatness raises the error by 0.0020, p = 0.98 over 9 groups: nothing gained"),
        (0.00001, 0.5, "flatness changes the error by less than 0.0001, p = 0.5 over 9 groups: nothing to be seen"),
        (0.0, None, "flatness changes no prediction"),
    ],
)
def test_the_lift_in_plain_words(lift, p_value, text):
    found = {"lift": lift, "p_value": p_value, "n_groups": 9, "features": ["log_relative_gap_flatness"]}
    assert describe_flatness_lift(found) == text
    assert describe_flatness_lift(found | {"features": []}) == "the rows have no flatness that varies"
