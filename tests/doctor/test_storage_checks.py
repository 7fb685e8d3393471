"""Databases that a search could use, and those it could not."""

import sqlite3
from collections import namedtuple
from contextlib import closing

import pytest
from sqlalchemy import text

from flatselect.doctor.storage import check_storage
from flatselect.store.database_condition import examine_database
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.migrate import HEAD_REVISION, ensure_schema
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage

Mounted = namedtuple("Mounted", ["device", "mountpoint", "fstype", "opts"])  # as psutil says it


def make_tables(url):
    close_optuna_storage(make_optuna_storage(url))
    engine = make_engine(url)
    ensure_schema(engine)
    return engine


def test_a_file_that_is_not_there_yet_is_not_made(tmp_path):
    finding = check_storage(f"sqlite:///{tmp_path}/study.db")
    assert finding.verdict == "ok"
    assert "a search makes it" in finding.found
    assert list(tmp_path.iterdir()) == []


def test_sqlite_with_tables_is_left_as_it_is(tmp_path):
    path = tmp_path / "study.db"
    make_tables(f"sqlite:///{path}").dispose()
    before = path.read_bytes()
    finding = check_storage(f"sqlite:///{path}")
    assert finding.verdict == "ok"
    assert f"tables of version {HEAD_REVISION}, Optuna's v" in finding.found
    assert path.read_bytes() == before


@pytest.mark.postgresql
def test_postgresql(postgresql_url):
    assert "no study of flatselect in it yet" in check_storage(postgresql_url).found
    engine = make_tables(postgresql_url)
    condition = examine_database(postgresql_url)
    assert condition.schema_version == HEAD_REVISION
    with open_transaction(engine) as connection:
        tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        assert "flatselect_write_test" not in set(tables)
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on"))
    engine.dispose()
    finding = check_storage(postgresql_url)
    assert finding.verdict == "problem"
    assert "read-only" in finding.found


def test_postgresql_behind_a_closed_port_is_named_without_its_password():
    finding = check_storage("postgresql://ann:secret@127.0.0.1:1/studies")
    assert finding.verdict == "problem"
    assert "is the server running" in finding.found
    assert "secret" not in finding.found


def test_tables_of_a_newer_version(tmp_path):
    engine = make_tables(f"sqlite:///{tmp_path}/study.db")
    with open_transaction(engine) as connection:
        connection.execute(text("UPDATE flatselect_alembic_version SET version_num = '9999'"))
    engine.dispose()
    finding = check_storage(f"sqlite:///{tmp_path}/study.db")
    assert finding.verdict == "problem"
    assert "made by a newer flatselect" in finding.found


def test_sqlite_on_a_network_file_system(tmp_path, monkeypatch):
    # No network file system can be mounted here: the list of mounts says that there is one.
    monkeypatch.setattr("psutil.disk_partitions", lambda all: [Mounted("server:/home", "/", "nfs4", "rw")])  # noqa: A006
    finding = check_storage(f"sqlite:///{tmp_path}/study.db")
    assert finding.verdict == "problem"
    assert "network file system" in finding.found
    assert "PostgreSQL" in finding.found


def test_read_only_folder(read_only_folder):
    finding = check_storage(f"sqlite:///{read_only_folder}/study.db")
    assert finding.verdict == "problem"
    assert "no file can be made" in finding.found


def test_missing_folder_and_what_is_no_url(tmp_path):
    assert "there is no folder" in check_storage(f"sqlite:///{tmp_path}/absent/study.db").found
    assert "not a database URL" in check_storage("study.db").found


def test_file_that_another_program_made_is_no_problem(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
    assert check_storage(f"sqlite:///{tmp_path}/other.db").verdict == "ok"
