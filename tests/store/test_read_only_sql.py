"""A SELECT of one's own: it reads, and cannot write, by whatever words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded_study import record_study

from flatselect.errors import StoreError
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


NOBODY = 65534


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, to become one who may not write")
def test_a_file_that_may_not_be_written_is_read(urls, tmp_path):
    """By a process of a user who may read the file, and write neither it nor its folder."""
    source = Path(urls["sqlite"].removeprefix("sqlite:///"))
    folder = Path("/tmp") / f"flatselect-read-only-{os.getpid()}"
    folder.mkdir()
    try:
        copied = folder / "study.db"
        copied.write_bytes(source.read_bytes())
        copied.chmod(0o444)
        folder.chmod(0o555)
        # Each command once before, as who it becomes may not even read Python's own files.
        code = (
            "import os, sys\n"
            "from click.testing import CliRunner\n"
            "from flatselect.cli.main import cli\n"
            "def ask(path):\n"
            "    for words in (['sql', 'SELECT count(*) AS n FROM flatselect_trials', path],\n"
            "                  ['query', path, '--where', 'number < 2', '--columns', 'number,state']):\n"
            "        done = CliRunner().invoke(cli, [*words, '--csv'])\n"
            "        yield done.output, done.exit_code\n"
            "list(ask(sys.argv[1]))\n"
            f"os.setuid({NOBODY})\n"
            "for output, code in ask(sys.argv[2]): print(output, code)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(copied)], capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.stdout.split() == ["n", "9", "0", "number,state", "0,COMPLETE", "1,COMPLETE", "0"], done
        assert [path.name for path in folder.iterdir()] == ["study.db"]
    finally:
        folder.chmod(0o755)
        (folder / "study.db").unlink()
        folder.rmdir()
