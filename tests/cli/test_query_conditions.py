"""`flatselect query` with conditions, and `flatselect sql`, as a user gives them."""

import importlib.util
import io
import json

import pandas as pd
import pytest
from running import Command
from test_query import make_study

FLATSELECT = Command()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`all.db` with three studies of three trials each, `digits.db` with one."""
    monkeypatch.chdir(tmp_path)
    for name in ("fashion-1", "fashion-2", "other"):
        make_study("all.db", name)
    make_study("digits.db", "digits")
    return tmp_path


def test_a_condition_an_order_and_columns(folder):
    words = ["query", "digits", "--where", "learning_rate < 1 and state != 'FAIL'", "--sort", "-number"]
    assert [trial["number"] for trial in FLATSELECT.run_json(*words)] == [2, 0]
    assert FLATSELECT.run_json(*words, "--columns", "number,norm,learning_rate", "--limit", 1) == [
        {"number": 2, "norm": None, "learning_rate": 0.01}
    ]
    shown = FLATSELECT.run(*words)
    assert shown.stdout.index("RUNNING") < shown.stdout.index("COMPLETE")
    assert FLATSELECT.run(*words, "--format", "csv").stdout == FLATSELECT.run(*words, "--csv").stdout
    (epoch,) = FLATSELECT.run_json("query", "digits", "--epochs", "--where", "epoch = 2")
    assert epoch["predicted_test_gap_interval"] == [0.08, 0.14]


def test_several_studies_at_once(folder):
    rows = FLATSELECT.run_json(
        "query", "all.db", "--study", "fashion*", "--where", "number < 2", "--columns", "study,number"
    )
    assert [(row["study"], row["number"]) for row in rows] == [
        (f"fashion-{study}", number) for study in (1, 2) for number in (0, 1)
    ]
    groups = FLATSELECT.run_json(
        "query", "--storage", "sqlite:///all.db", "--study", "*", "--group-by", "study", "--agg", "count()"
    )
    assert groups == [{"study": name, "count()": 3} for name in ("fashion-1", "fashion-2", "other")]
    table = FLATSELECT.run("query", "all.db", "--study", "*").stdout
    assert "fashion-2" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["query", "digits", "--where", "widht > 3"], "no column or parameter 'widht'"),
        (["query", "digits", "--where", "state = 3"], "state is a text, and 3 is not"),
        (["query", "digits", "--where", "1; DROP TABLE trials"], "; DROP TABLE trials"),
        (["query", "digits", "--sort", "learning_rat"], "did you mean learning_rate?"),
        (["query", "digits", "--group-by", "state", "--columns", "state"], "leave it out"),
        (["query", "all.db", "--study", "none*"], "there is fashion-1, fashion-2, other"),
        (["sql", "DROP TABLE trials", "digits"], "only reading is allowed here"),
        (["sql", "SELECT absent FROM flatselect_trials", "digits"], "no such column: absent"),
        (["sql", "SELECT 1", "absent"], "no absent.db here"),
        (["sql", "SELECT 1", "digits.db", "--storage", "sqlite:///all.db"], "give one database, not two"),
    ],
)
def test_what_is_refused_has_a_reason_and_changes_nothing(folder, words, message):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused = FLATSELECT.run(*words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert message in " ".join(refused.stderr.split())
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "words", [["query"], ["query", "--study", "x"], ["sql", "SELECT 1"], ["query", "x", "--limit", "-1"]]
)
def test_misuse(folder, words):
    assert FLATSELECT.run(*words).exit_code == 2


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet(folder):
    done = FLATSELECT.run("query", "digits", "--format", "parquet")
    frame = pd.read_parquet(io.BytesIO(done.stdout_bytes))
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["predicted_test_gap_low"][0] == 0.08


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
@pytest.mark.parametrize("words", [["--epochs"], [], ["--columns", "number,failure,retries"]])
def test_the_columns_of_a_file_do_not_depend_on_its_rows(folder, words):
    def read(form, *where):
        return FLATSELECT.run("query", "all.db", "--study", "*", *words, *where, "--format", form)

    some, none = (
        pd.read_parquet(io.BytesIO(read("parquet", *where).stdout_bytes)) for where in ([], ["--where", "epoch > 99"])
    )
    assert (len(some) > 0, len(none)) == (True, 0)
    companions = [name for name in some if name.startswith("companion_")]
    assert some.drop(columns=companions).dtypes.equals(none.dtypes)
    assert "object" not in map(str, none.dtypes)
    assert read("csv", "--where", "epoch > 99").stdout.rstrip("\n").split(",") == list(none)


def test_an_answer_without_rows_has_its_heads(folder):
    words = ["query", "digits", "--where", "number > 99", "--columns", "number,learning_rate"]
    assert FLATSELECT.run(*words, "--csv").stdout == "number,learning_rate\n"
    assert "number" in FLATSELECT.run(*words).stdout
    assert FLATSELECT.run_json(*words) == []
    words = ["query", "digits", "--where", "number > 99", "--group-by", "state", "--agg", "count()", "--csv"]
    assert FLATSELECT.run(*words).stdout == "state,count()\n"
    assert FLATSELECT.run("sql", "SELECT 1 AS n WHERE 0", "digits", "--csv").stdout == "n\n"
    assert "n" in FLATSELECT.run("sql", "SELECT 1 AS n WHERE 0", "digits").stdout


@pytest.mark.postgresql
def test_whole_numbers_of_any_size_stay_whole(postgresql_url):
    sql = "SELECT sum(n) AS whole, avg(n) AS mean, 12345678901234567890 AS long FROM (VALUES (1), (2)) AS v (n)"
    (row,) = FLATSELECT.run_json("sql", sql, postgresql_url)
    assert row == {"whole": 3, "mean": 1.5, "long": 12345678901234567890}
    assert isinstance(row["whole"], int)


def test_sql(folder):
    words = ["sql", "SELECT number, state, state, NULL AS missing FROM flatselect_trials ORDER BY number LIMIT 1"]
    expected = [{"number": 0, "state": "COMPLETE", "state_2": "COMPLETE", "missing": None}]
    for database in (["digits"], ["digits.db"], ["sqlite:///digits.db"], ["--storage", "sqlite:///digits.db"]):
        assert FLATSELECT.run_json(*words, *database) == expected
    assert FLATSELECT.run(*words, "digits", "--csv").stdout == "number,state,state_2,missing\n0,COMPLETE,COMPLETE,\n"
    assert "COMPLETE" in FLATSELECT.run(*words, "digits").stdout
    assert json.loads(FLATSELECT.run("sql", "SELECT 1 AS n WHERE 0", "digits", "--jsonl").stdout or "null") is None
