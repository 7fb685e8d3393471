"""`flatselect query` and `flatselect studies`: what people and programs get."""

import csv
import io
import json
import math
import sqlite3
import uuid
from contextlib import closing

import optuna
import pytest
from running import Command

from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter

FLATSELECT = Command()
STUDY_FILE = """
[study]
name = "digits"
[data]
train = "digits"
"""


def _measure(epoch):
    return EpochMeasurement(
        epoch=epoch,
        train_score=0.9,
        train_loss=math.nan,
        n_train_images=100,
        n_parameters=10,
        relative_gap_flatness=12.345678,
        hessian_trace=3.0,
        layer="conv",
        exactness="hessian",
        n_probe_images=50,
        companions={"mean_confidence": 0.5, "margin": math.inf},
        train_seconds=1.0,
    )


def make_study(path, name):
    """A study of three trials: calibrated and audited, failed, running."""
    url = f"sqlite:///{path}"
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], name, {}, {})
    run = writer.start_run("host", 1, "inline", {}, {})
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("learning_rate", 0.01, 0.01)
        if number == 1:
            trial.suggest_categorical("norm", ["[bold]batch"])
        model = "cnn 2×3 inverted_residual w32 k5 leaky_relu"
        writer.start_attempt(number, 1, run, is_calibration=number == 0, candidate={}, model=model)
    writer.add_measurements(0, 1, [_measure(1), _measure(2)])
    calibrator = writer.add_calibrator({}, {})
    writer.add_predictions(calibrator, {(0, 2): Prediction(0.1, (0.08, 0.14), 0.8, (0.76, 0.82), extrapolation=True)})
    writer.add_audit(0, 0.7777, 1.0, 100)
    study.tell(0, 0.8)
    writer.end_attempt(0, 1, "complete")
    study.tell(1, state=optuna.trial.TrialState.FAIL)
    writer.end_attempt(1, 1, "fail", failure=Failure("NonFiniteError", "the loss is nan\nat step 3"))
    storage.remove_session()
    storage.engine.dispose()
    engine.dispose()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with `studies/digits.toml` and its database beside it."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/digits.toml").write_text(STUDY_FILE)
    make_study(tmp_path / "studies/digits.db", "digits")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["studies/digits.toml"],
        ["studies/digits.db"],
        ["digits"],
        ["sqlite:///studies/digits.db"],
        ["digits", "--storage", "sqlite:///studies/digits.db"],
        ["studies/digits.toml", "--storage", "sqlite:///studies/digits.db"],
    ],
)
def test_a_study_by_each_of_its_names(folder, arguments):
    done = FLATSELECT.run("query", *arguments, "--json")
    assert done.exit_code == 0, done.output
    assert [trial["number"] for trial in json.loads(done.stdout)] == [0, 1, 2]
    assert done.stderr == ""


def test_json_is_the_contract(folder):
    first, failed, running = json.loads(FLATSELECT.run("query", "digits", "--json").stdout)
    assert first["state"] == "COMPLETE"
    assert first["params"] == {"learning_rate": 0.01}
    assert (first["attempts"], first["epochs"], first["train_score"]) == (1, 2, 0.9)
    assert first["train_loss"] is None, "NaN"
    assert (first["relative_gap_flatness"], first["hessian_trace"]) == (12.345678, 3.0)
    assert first["predicted_test_gap"] == 0.1
    assert first["predicted_test_gap_interval"] == [0.08, 0.14]
    assert first["predicted_test_score"] == 0.8
    assert first["predicted_test_score_interval"] == [0.76, 0.82]
    assert first["audit_test_score"] == 0.7777
    assert first["failure"] is None
    assert (failed["state"], failed["failure"]) == ("FAIL", "NonFiniteError: the loss is nan\nat step 3")
    assert (running["state"], running["predicted_test_score"], running["train_score"]) == ("RUNNING", None, None)


def test_jsonl_is_one_object_a_line(folder):
    lines = FLATSELECT.run("query", "digits", "--jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == json.loads(FLATSELECT.run("query", "digits", "--json").stdout)


def test_csv_is_flat(folder):
    first, failed, _ = csv.DictReader(io.StringIO(FLATSELECT.run("query", "digits", "--csv").stdout))
    assert first["param_learning_rate"] == "0.01"
    assert first["param_norm"] == ""
    assert failed["param_norm"] == "[bold]batch"
    assert (first["predicted_test_gap_low"], first["predicted_test_gap_high"]) == ("0.08", "0.14")
    assert "params" not in first
    assert "predicted_test_gap_interval" not in first
    assert failed["failure"] == "NonFiniteError: the loss is nan\nat step 3"


@pytest.mark.parametrize("width", [80, 160])
def test_table_fits_the_terminal(folder, width):
    shown = FLATSELECT.run("query", "digits", COLUMNS=str(width)).stdout
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join(shown.split())
    for text in (
        "COMPLETE",
        "calibration",
        "FAIL",
        "RUNNING",
        "0.9000",
        "12.3",
        "0.100",
        "±0.030",
        "0.8000?",
        "0.7777",
    ):
        assert text in words
    assert "[bold]batch" in words, "a parameter is no markup"
    assert "extrapolation" in words
    assert "learning_rate=0.01" in words


def test_epochs(folder):
    first, second = json.loads(FLATSELECT.run("query", "digits", "--epochs", "--json").stdout)
    assert (first["trial"], first["epoch"], second["epoch"]) == (0, 1, 2)
    assert first.keys() >= _measure(1).to_dict().keys() - {"companions"}
    assert first["companion_mean_confidence"] == 0.5
    assert first["companion_margin"] is None, "JSON knows no infinity"
    assert first["predicted_test_gap"] is None
    assert second["predicted_test_gap_interval"] == [0.08, 0.14]

    rows = list(csv.DictReader(io.StringIO(FLATSELECT.run("query", "digits", "--epochs", "--csv").stdout)))
    assert [row["relative_gap_flatness"] for row in rows] == ["12.345678"] * 2
    assert [row["predicted_test_gap_low"] for row in rows] == ["", "0.08"]
    table = FLATSELECT.run("query", "digits", "--epochs").stdout
    assert "0.100 ±0.030" in " ".join(table.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "absent"], "no absent.db here or in studies/"),
        (["query", "absent.db"], "absent.db: no such database"),
        (["query", "absent.toml"], "absent.toml: no such study file"),
        (["query", "digist", "--storage", "sqlite:///studies/digits.db"], "no study 'digist'; there is digits"),
        (["query", "digits", "--storage", "sqlite:///absent.db"], "absent.db: no such database"),
        (["query", "studies/digits.db", "--storage", "sqlite:///x.db"], "leave out --storage"),
        (["query", "digits", "--storage", "oracle://ann:secret@host/x"], "oracle is not supported"),
        (["studies", "postgresql://ann:secret@127.0.0.1:1/x"], "postgresql+psycopg://ann:***@127.0.0.1:1/x"),
        (["query", "postgresql://ann:secret@127.0.0.1:1/x"], "ann:***@127.0.0.1:1/x: connection failed"),
        (["show", "postgresql://ann:secret@127.0.0.1:1/x"], "ann:***@127.0.0.1:1/x: connection failed"),
        (["show", "sqlite:///absent.db"], "absent.db: no such database"),
        (["trials", "postgresql://ann:secret@127.0.0.1:1/x", "7"], "show postgresql://ann:***@127.0.0.1:1/x 7"),
        (["calibrate", "study:postgresql://ann:secret@127.0.0.1:1/x"], "ann:***@127.0.0.1:1/x: a database; give"),
        (["studies", "postgresql://ann:secret@h/x", "--storage", "sqlite:///b.db"], "give one database, not two"),
        (["studies", "absent.db"], "absent.db: no such database"),
        (["studies", "a.db", "--storage", "sqlite:///b.db"], "give one database, not two"),
    ],
)
def test_what_is_not_there_is_an_error_and_nothing_is_made(folder, arguments, message):
    before = sorted(folder.rglob("*"))
    done = FLATSELECT.run(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_database_of_several_studies_must_be_told_which(folder):
    make_study("studies/digits.db", "second")
    done = FLATSELECT.run("query", "studies/digits.db")
    assert done.exit_code == 1
    assert "holds 2 studies; name one" in done.stderr
    assert "digits or second" in done.stderr
    assert FLATSELECT.run("query", "second", "--storage", "sqlite:///studies/digits.db", "--json").exit_code == 0


def test_studies_lists_every_database_at_hand(folder):
    make_study("second.db", "second")
    with closing(sqlite3.connect("others.db")) as connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
    (folder / "text.db").write_text("no database at all, but as long as one would be " * 40)
    others = (folder / "others.db").read_bytes()
    done = FLATSELECT.run("studies", "--json")
    assert done.exit_code == 0
    studies = json.loads(done.stdout)
    assert [(study["name"], study["trials"]) for study in studies] == [("second", 3), ("digits", 3)]
    assert studies[0]["storage"] == "sqlite:///second.db"
    assert "text.db" in done.stderr
    assert (folder / "others.db").read_bytes() == others


def test_studies_of_one_database(folder):
    for arguments in (
        ["studies/digits.db"],
        ["sqlite:///studies/digits.db"],
        ["--storage", "sqlite:///studies/digits.db"],
    ):
        assert [study["name"] for study in json.loads(FLATSELECT.run("studies", *arguments, "--json").stdout)] == [
            "digits"
        ]
    table = FLATSELECT.run("studies", "studies/digits.db").stdout
    assert "digits" in table
    with closing(sqlite3.connect("studies/digits.db")) as connection, connection:
        data = {"name": "some\x1b digits", "n_images": 120, "fingerprint": "ab12"}
        connection.execute("UPDATE flatselect_studies SET data = ?", [json.dumps(data)])
    (study,) = json.loads(FLATSELECT.run("studies", "studies/digits.db", "--json").stdout)
    assert (study["images"], study["n_images"], study["data_fingerprint"]) == (data["name"], 120, "ab12")
    assert r"some\x1b digits 120" in FLATSELECT.run("studies", "studies/digits.db").stdout
    assert "studies/digits.db" in table


def test_study_without_trials(tmp_path):
    make_optuna_storage(f"sqlite:///{tmp_path}/empty.db").engine.dispose()
    done = FLATSELECT.run("studies", f"{tmp_path}/empty.db")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no study that flatselect made" in done.stderr
    done = FLATSELECT.run("query", f"{tmp_path}/empty.db")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "holds no study that flatselect made" in done.stderr
