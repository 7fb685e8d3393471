"""Connections to the study database: SQLite for one machine, PostgreSQL for a cluster."""

import contextlib
import os
import re
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError

from flatselect.errors import StoreError
from flatselect.store.patience import IMPATIENT, Patience, Result, describe_cause

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    # SQLAlchemy 2.0 takes plain postgresql:// for psycopg2, 2.1 for psycopg 3: say which.
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_SUPPORTED = "sqlite:///PATH.db (one machine) or postgresql://USER:PASSWORD@HOST/DATABASE (cluster)"
_BUSY_SECONDS = 60
_CONNECT_SECONDS = 10
_HUNG_SECONDS = 120  # between two statements of one transaction; what takes longest in one is a calibrator's fit
# A server that vanished with its machine says nothing: without these a statement waits a quarter of an hour for it.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
}

# SQLite's locks and its shared memory do not work across machines: such a file is corrupted sooner or later.
_NETWORK_FILESYSTEMS = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "webdav", "wekafs",
}  # fmt: skip
_NETWORK_FUSE = (
    "afp", "beegfs", "blobfuse", "ceph", "cifs", "curlftpfs", "davfs", "gcsfuse", "gluster", "goofys", "google", "hdfs",
    "juicefs", "mount-s3", "mountpoint-s3", "nfs", "rclone", "s3fs", "seaweed", "smb", "sshfs", "weed",
)  # fmt: skip


class Partition(Protocol):
    """What `psutil.disk_partitions` says of one mounted file system."""

    mountpoint: str
    fstype: str
    opts: str


def make_engine(url: str, *, create: bool = True) -> Engine:
    """Connects to a study database; one connection is tried at once.

    Args:
        url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        create: False for a reader: a SQLite file must be there, and is left in the mode it is in.

    Returns:
        An engine. A SQLite file is put in write-ahead mode: its readers are not blocked by its writer.

    Raises:
        StoreError: The URL is not understood or not supported, the file cannot be used, the server not be reached.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite_file(Path(parsed.database or ""), create)
    try:
        engine = create_engine(parsed, **make_engine_options(parsed, create=create))
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{hide_password(url)}: PostgreSQL needs the package {error.name}; pip install 'flatselect[postgresql]'"
        ) from None
    try:
        with open_transaction(engine):
            pass
    except StoreError:
        engine.dispose()
        raise
    return engine


def make_engine_options(url: URL, *, create: bool = True) -> dict[str, Any]:
    """The keyword arguments of `sqlalchemy.create_engine` that every connection of a study uses."""
    if url.get_backend_name() == "sqlite":
        listener = _set_up_sqlite_writer if create else _set_up_sqlite
        options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_SECONDS}, "pool_events": [(listener, "connect")]}
        path = Path(str(url.database))
        if not create and is_read_only(path):
            options["creator"] = lambda: open_sqlite_read_only(path)
        return options
    connect_args = {"connect_timeout": _CONNECT_SECONDS, **_KEEPALIVE}
    return {"connect_args": connect_args, "pool_pre_ping": True, "pool_events": [(_set_up_postgresql, "connect")]}


def is_read_only(path: Path) -> bool:
    """Whether this process may not write to a SQLite file, or to its folder, where SQLite keeps its locks."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def open_sqlite_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write to the file.

    Where no lock can be made beside the file, it is read as one that nobody changes.
    """
    options = "mode=ro"
    if is_read_only(path) and not _has_log(path):
        options += "&immutable=1"
    return sqlite3.connect(
        f"file:{urllib.parse.quote(str(path))}?{options}", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
    )


def _has_log(path: Path) -> bool:
    """Whether a SQLite file lacks what a search, at work or interrupted, has written beside it."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def parse_url(url: str) -> URL:
    """Reads a database URL: the driver is filled in, a SQLite path is absolute.

    Raises:
        StoreError: Not a URL, or of a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: of a port that is no number
        raise StoreError(f"{hide_password(url)}: not a database URL; expected {_SUPPORTED}") from None
    if parsed.drivername not in _DRIVERS:
        raise StoreError(f"{hide_password(url)}: {parsed.drivername} is not supported; expected {_SUPPORTED}")
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if parsed.database in (None, "", ":memory:"):
        raise StoreError(f"{url}: a database in memory is lost when the search ends; give a file: sqlite:///PATH.db")
    if str(parsed.database).startswith("file:"):
        raise StoreError(f"{url}: SQLite's file: form is not supported; give a plain path: sqlite:///PATH.db")
    return parsed.set(database=str(Path(str(parsed.database)).expanduser().absolute()))


def list_passwords(url: str) -> list[str]:
    """The passwords in a database URL: before the host, and among its parameters, as libpq takes them."""
    parsed = make_url(url)
    given = [parsed.password, *(value for name, value in parsed.query.items() if "password" in name)]
    return [str(password) for password in given if password]


def hide_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    try:
        return _show(make_url(url))
    except (ArgumentError, ValueError):
        # A password with a slash or an @ of its own: all up to the last @ goes.
        return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)


def show_url(engine: Engine) -> str:
    """The engine's URL as it may be shown and logged."""
    return _show(engine.url)


@contextlib.contextmanager
def open_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits at the end of the block.

    Raises:
        StoreError: The database says that it cannot do it (no server, disk full, locked for too long, read-only).
    """
    with _translate_errors(engine), engine.begin() as connection:
        yield connection


def run_transaction(engine: Engine, work: Callable[[Connection], Result], patience: Patience = IMPATIENT) -> Result:
    """Calls `work` in a transaction of its own, anew where the database does not answer.

    Raises:
        StoreError: As for `open_transaction`, after `patience` has come to its end.
    """

    def run() -> Result:
        with engine.begin() as connection:
            return work(connection)

    with _translate_errors(engine):
        return patience.call(run, lambda error: error)


def is_shared(engine: Engine) -> bool:
    """Whether processes of several machines may use the database at once."""
    return engine.dialect.name != "sqlite"


def check_local(path: Path, partitions: Sequence[Partition] | None = None) -> None:
    """Raises StoreError where `path` is on a file system that several machines share."""
    partition = find_filesystem(path, partitions)
    if partition is not None and is_network_filesystem(partition):
        raise StoreError(
            f"{path}: on a network file system ({partition.fstype} at {partition.mountpoint}), where SQLite loses "
            "data; put the file on a local disk, or use PostgreSQL: postgresql://USER:PASSWORD@HOST/DATABASE"
        )


def find_filesystem(path: Path, partitions: Sequence[Partition] | None = None) -> Partition | None:
    """The mounted file system that holds `path`, which need not exist; None where the system does not tell."""
    if partitions is None:
        partitions = psutil.disk_partitions(all=True)
    path = path.resolve()
    holding = [p for p in partitions if path.is_relative_to(p.mountpoint)]
    # The longest mount point wins; of two on the same point, the one mounted last.
    return max(reversed(holding), key=lambda p: len(p.mountpoint), default=None)


def is_network_filesystem(partition: Partition) -> bool:
    """Whether other machines may write to this file system."""
    kind = partition.fstype.lower()
    if kind == "9p" and "rfdno=" in partition.opts:
        return False  # gVisor, a container sandbox, shows the local disk as 9p with this option
    return kind in _NETWORK_FILESYSTEMS or (
        kind.startswith("fuse") and any(name in kind.partition(".")[2] for name in _NETWORK_FUSE)
    )


@contextlib.contextmanager
def _translate_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise  # a mistake of the caller, not the database's
    except DBAPIError as error:
        reason = describe_cause(error)
        raise StoreError(f"{show_url(engine)}: {reason}{_advise(error, reason, engine)}") from error


def _show(url: URL) -> str:
    # libpq takes a password as a parameter too.
    hidden = {name: "hidden" for name in url.query if "password" in name}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _check_sqlite_file(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path}: a folder; expected a SQLite file, for example sqlite:///{path / 'study.db'}")
    if not create and not path.exists():
        raise StoreError(f"{path}: no such database; `flatselect search` makes it, or give another one by --storage")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.parent}; make it, or give another path")
    check_local(path)


def _set_up_postgresql(connection: DBAPIConnection, _record: object) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # What a process that hangs in a transaction (stopped, or its machine sleeps) has locked, others get in time.
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_HUNG_SECONDS}s'")
        # A server that compiles what the views ask takes longer for that than for the answer.
        cursor.execute("SET jit = off")
    connection.commit()


def _set_up_sqlite_writer(connection: sqlite3.Connection, record: object) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    _set_up_sqlite(connection, record)


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _advise(error: DBAPIError, reason: str, engine: Engine) -> str:
    """What to do about a database's complaint."""
    if not isinstance(error.orig, sqlite3.Error):
        is_connection = isinstance(error, OperationalError)
        return "; is the server running, and are host, database, user and password right?" if is_connection else ""
    if "not a database" in reason:
        return "; the file is something else: give another path"
    path = Path(str(engine.url.database))
    if "unable to open" in reason and _has_log(path) and not os.access(path.parent, os.W_OK):
        return (
            f"; an interrupted search left {path.name}-wal, which can be read only where a file can be made beside it: "
            f"copy {path.name} and {path.name}-wal into a folder of your own and ask the copy, or have its owner "
            "ask it once"
        )
    if "unable to open" in reason and path.exists() and not os.access(path, os.R_OK):
        return "; this user may not read it: have its owner allow it (chmod a+r), or ask a copy"
    if "unable to open" in reason or "readonly" in reason:
        return "; to write, SQLite needs write permission on the file and on its folder"
    return ""
