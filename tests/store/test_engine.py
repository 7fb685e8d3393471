"""Connections: how they are set up, and what is said when there can be none."""

import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from sqlalchemy import text

from flatselect.errors import StoreError
from flatselect.store.engine import check_local, find_filesystem, hide_password, is_network_filesystem, make_engine
from flatselect.store.optuna_storage import make_optuna_storage

Mounted = namedtuple("Mounted", ["device", "mountpoint", "fstype", "opts"])  # as psutil says it


def _read_pragma(engine, name):
    with engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_sqlite_connections_are_set_up_for_one_writer_and_many_readers(sqlite_url):
    engine = make_engine(sqlite_url)
    storage = make_optuna_storage(sqlite_url)
    for connected in (engine, storage.engine):
        assert _read_pragma(connected, "journal_mode") == "wal"
        assert _read_pragma(connected, "synchronous") == 1  # NORMAL
        assert _read_pragma(connected, "foreign_keys") == 1
        assert _read_pragma(connected, "busy_timeout") == 60_000
        connected.dispose()


def test_reader_makes_no_file(tmp_path):
    path = tmp_path / "missing.db"
    with pytest.raises(StoreError, match=r"missing\.db: no such database"):
        make_engine(f"sqlite:///{path}", create=False)
    assert not path.exists()


def test_reader_leaves_a_foreign_database_as_it_is(tmp_path):
    path = tmp_path / "foreign.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (words TEXT)")
    connection.close()
    before = path.read_bytes()
    make_engine(f"sqlite:///{path}", create=False).dispose()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = make_engine("sqlite:///here.db")
    monkeypatch.chdir("/")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (words TEXT)"))
    engine.dispose()
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("name", ["with space.db", "100 % sure.db", "{SCHEMA_VERSION}.db", "{braces}.db", "füße.db"])
def test_optuna_opens_the_same_file(tmp_path, name):
    url = f"sqlite:///{tmp_path / name}"
    make_engine(url).dispose()
    storage = make_optuna_storage(url)
    storage.create_new_study([1], "study")
    storage.remove_session()
    storage.engine.dispose()
    assert [path.name for path in tmp_path.glob("*.db")] == [name]
    connection = sqlite3.connect(tmp_path / name)
    assert connection.execute("SELECT study_name FROM studies").fetchall() == [("study",)]
    connection.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///{tmp}/no/such/study.db", "there is no folder .*/no/such; make it"),
        ("sqlite:///{tmp}", "a folder; expected a SQLite file"),
        ("sqlite:///{tmp}/text.db", "not a database; the file is something else"),
        ("sqlite://", "in memory is lost"),
        ("sqlite:///:memory:", "in memory is lost"),
        ("sqlite:///file:study.db?uri=true", "give a plain path"),
        ("study.db", "study.db: not a database URL; expected sqlite:///PATH.db"),
        ("postgresql://user:secret@host:port/name", "not a database URL"),
        ("mysql://user:secret@host/name", "mysql is not supported; expected sqlite:///"),
        ("postgresql+psycopg2://user:secret@host/name", "psycopg2 is not supported"),
        ("postgresql://user:secret@127.0.0.1:1/name", "refused; is the server running"),
    ],
)
@pytest.mark.parametrize("make", [make_engine, make_optuna_storage])
def test_what_cannot_be_opened_is_refused_without_the_password(make, url, message, tmp_path):
    (tmp_path / "text.db").write_text("This is not a database, but it is long enough to have been one. " * 20)
    with pytest.raises(StoreError, match=message) as raised:
        make(url.format(tmp=tmp_path))
    assert "secret" not in str(raised.value)


def test_missing_driver_is_named():
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from flatselect.store.engine import make_engine\n"
        "make_engine('postgresql://user:secret@host/name')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "StoreError" in last
    assert "pip install 'flatselect[postgresql]'" in last
    assert "secret" not in last


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host/name", "postgresql://ann:***@host/name"),
        ("postgresql://host/name?password=secret", "postgresql://host/name?password=hidden"),
        ("sqlite:////data/study.db", "sqlite:////data/study.db"),
        ("postgresql//ann:secret@host/name", "postgresql//ann:***@host/name"),
        ("postgresql://ann:se/c:r@et@host:port/name", "postgresql://ann:***@host:port/name"),
    ],
)
def test_hide_password(url, shown):
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("fstype", "options", "expected"),
    [
        ("ext4", "rw", False),
        ("overlay", "rw", False),
        ("tmpfs", "rw", False),
        ("apfs", "rw", False),
        ("fuseblk", "rw", False),
        ("fuse.ntfs-3g", "rw", False),
        ("nfs4", "rw,vers=4.2", True),
        ("cifs", "rw", True),
        ("smbfs", "rw", True),
        ("lustre", "rw", True),
        ("fuse.sshfs", "rw", True),
        ("fuse.gcsfuse", "rw", True),
        ("9p", "rw,trans=virtio", True),
        ("9p", "rw,trans=fd,rfdno=4,wfdno=4", False),
    ],
)
def test_network_filesystems_are_known(fstype, options, expected):
    assert is_network_filesystem(Mounted("none", "/", fstype, options)) is expected


PARTITIONS = [
    Mounted("/dev/sda", "/", "ext4", "rw"),
    Mounted("auto", "/home", "autofs", "rw"),
    Mounted("server:/home", "/home", "nfs4", "rw"),
    Mounted("/dev/sdb", "/home/ann/scratch", "xfs", "rw"),
    Mounted("server:/ho", "/ho", "cifs", "rw"),
]


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/data/study.db", "ext4"),
        ("/home/ann/study.db", "nfs4"),  # the last mount on a point hides the one before
        ("/home/ann/scratch/study.db", "xfs"),
        ("/homes/study.db", "ext4"),  # a path is not a text
        ("/ho/study.db", "cifs"),
    ],
)
def test_filesystem_of_a_path_that_need_not_exist(path, fstype):
    assert find_filesystem(Path(path), PARTITIONS).fstype == fstype


def test_sqlite_on_a_network_filesystem_is_refused():
    with pytest.raises(StoreError, match=r"network file system \(nfs4 at /home\).*use PostgreSQL"):
        check_local(Path("/home/ann/study.db"), PARTITIONS)
    check_local(Path("/data/study.db"), PARTITIONS)


def test_this_machines_own_filesystem_is_found(tmp_path):
    assert tmp_path.is_relative_to(find_filesystem(tmp_path / "study.db").mountpoint)
