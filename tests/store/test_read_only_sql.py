"""A SELECT of one's own: it reads, and cannot write, by whatever words."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from recorded_study import record_study
from sqlalchemy import inspect

from flatselect.errors import StoreError
from flatselect.store.engine import make_engine
from flatselect.store.read_only_sql import read_sql

FORBIDDEN = [
    "DELETE FROM flatselect_audits",
    "INSERT INTO flatselect_audits SELECT * FROM flatselect_audits",
    "UPDATE flatselect_studies SET name = 'x'",
    "DROP VIEW flatselect_ranking",
    "CREATE TABLE mine (n INTEGER)",
    "CREATE TEMP TABLE mine (n INTEGER)",
    "SELECT 1; DELETE FROM flatselect_audits",
    "WITH gone AS (DELETE FROM flatselect_audits RETURNING *) SELECT * FROM gone",
    "BEGIN",
    "COMMIT",
    "ROLLBACK; DELETE FROM flatselect_audits",
    "",
    "no SQL at all",
    "\ud800",
    "SELECT '\x00'",
]
ONLY_SQLITE = [
    "PRAGMA query_only=OFF",
    "PRAGMA journal_mode=DELETE",
    "ATTACH DATABASE 'other.db' AS other",
    "ATTACH DATABASE 'file:other.db?mode=rwc' AS other",
    "VACUUM INTO 'copy.db'",
    "VACUUM",
]
ONLY_POSTGRESQL = [
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "COPY flatselect_audits TO '/tmp/flatselect_copy.csv'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "DO $$ BEGIN DELETE FROM flatselect_audits; END $$",
    "SELECT 1 INTO mine",
    "SELECT setval('flatselect_calibrators_id_seq', 99)",
    "SELECT 1; SET TRANSACTION READ WRITE; DELETE FROM flatselect_audits",
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory, postgresql_module_url):
    urls = {
        "sqlite": f"sqlite:///{tmp_path_factory.mktemp('sql')}/a study 100%.db",
        "postgresql": postgresql_module_url,
    }
    for url in urls.values():
        record_study(url)
    return urls


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request, urls):
    return urls[request.param]


def read(url, sql):
    with read_sql(url, sql) as (names, rows):
        return names, list(rows)


def test_a_select_reads(url):
    names, rows = read(url, "SELECT trial_number, score FROM flatselect_audits WHERE score > 0.705 ORDER BY 1")
    assert names == ["trial_number", "score"]
    assert rows == [(1, 0.71), (2, 0.72), (3, 0.73)]
    assert read(url, "SELECT number FROM flatselect_ranking WHERE model LIKE 'cnn%' ORDER BY rank LIMIT 1;")[1] == [
        (1,)
    ]
    assert read(url, "WITH many AS (SELECT 1 AS n UNION ALL SELECT 2) SELECT sum(n) AS s FROM many")[0] == ["s"]
    assert read(url, "SELECT number FROM flatselect_trials WHERE number > 99") == (["number"], [])


@pytest.mark.parametrize("sql", [*FORBIDDEN, *ONLY_SQLITE, *ONLY_POSTGRESQL])
def test_what_is_no_select_is_refused_and_changes_nothing(url, sql, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    everything = "SELECT (SELECT count(*) FROM flatselect_audits), (SELECT min(name) FROM flatselect_studies)"
    with pytest.raises(StoreError) as refused:
        read(url, sql)
    assert str(refused.value)
    assert read(url, everything)[1] == [(4, "digits")]
    assert list(tmp_path.iterdir()) == []


def test_who_asks_for_a_table_that_is_not_there_is_told_which_are(url):
    with pytest.raises(StoreError, match=r"there is .*flatselect_curves, .*flatselect_runs, .*flatselect_trials$"):
        read(url, "SELECT * FROM runs")


def test_a_database_of_something_else_is_left_as_it_is(database_url):
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE recipes (name TEXT)")
    assert read(database_url, "SELECT * FROM recipes") == (["name"], [])
    assert inspect(engine).get_table_names() == ["recipes"]
    engine.dispose()


def test_an_empty_file_stays_empty(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    assert read(f"sqlite:///{path}", "SELECT 1 AS n") == (["n"], [(1,)])
    assert path.stat().st_size == 0


def test_ctrl_c_ends_a_select_that_would_not_end(tmp_path):
    path = tmp_path / "any.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE any (n)")
    endless = "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT count(*) FROM a"
    script = (
        "import sys\nfrom flatselect.cli.main import main\nimport flatselect.cli.sql\nprint('asks', flush=True)\nmain()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, "sql", endless, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "asks\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=20)
    finally:
        child.kill()
    assert (child.returncode, output, errors.strip()) == (130, "", "interrupted")


def test_whoever_stops_reading_rows_leaves_no_complaint(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/study.db"
    record_study(url)
    with pytest.raises(ZeroDivisionError), read_sql(url, "SELECT number FROM flatselect_trials") as (_, rows):
        raise ZeroDivisionError(next(rows))
    rows.close()
    assert capsys.readouterr().err == ""
