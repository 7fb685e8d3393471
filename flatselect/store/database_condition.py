"""Whether a search could use a database, found out without changing it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine, inspect, text

from flatselect.errors import StoreError
from flatselect.store.engine import check_local, hide_password, make_engine, open_transaction, parse_url
from flatselect.store.migrate import read_schema_version
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage

_OPTUNA_VERSION_TABLE = "version_info"
_WRITE_TEST_TABLE = "flatselect_write_test"


@dataclass(frozen=True)
class DatabaseCondition:
    """A database that a search could use.

    Attributes:
        url: Without its password.
        exists: False of a SQLite file that the search would make.
        schema_version: Of our tables; None where there are none yet.
        optuna_version: Of Optuna's tables; None where there are none yet.
    """

    url: str
    exists: bool
    schema_version: str | None = None
    optuna_version: str | None = None


def examine_database(url: str) -> DatabaseCondition:
    """Connects, tries to write, and reads the versions of the tables.

    Args:
        url: As for `make_engine`.

    Raises:
        StoreError: It cannot be reached or written, its tables are of another version, or it is SQLite on a file
            system that several machines share.
    """
    parsed = parse_url(url)
    if _is_missing_file(parsed):
        _check_file_can_be_made(Path(str(parsed.database)))
        return DatabaseCondition(hide_password(url), exists=False)
    engine = make_engine(url, create=False)
    try:
        _check_writable(engine)
        schema_version = read_schema_version(engine)
        with open_transaction(engine) as connection:
            has_optuna = inspect(connection).has_table(_OPTUNA_VERSION_TABLE)
    finally:
        engine.dispose()
    optuna_version = _read_optuna_version(url) if has_optuna else None
    return DatabaseCondition(hide_password(url), True, schema_version, optuna_version)


def _is_missing_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _check_file_can_be_made(path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.parent}; make it, or give another path")
    check_local(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StoreError(
            f"{path}: no file can be made in {path.parent} ({error.strerror}); give another path by --storage"
        ) from error


def _check_writable(engine: Engine) -> None:
    with open_transaction(engine) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # takes the lock of a writer, and writes nothing
        else:
            connection.execute(text(f"CREATE TABLE {_WRITE_TEST_TABLE} (number INTEGER)"))
            connection.execute(text(f"DROP TABLE {_WRITE_TEST_TABLE}"))  # in the same transaction: no one sees it


def _read_optuna_version(url: str) -> str:
    storage = make_optuna_storage(url, create=False)
    try:
        return str(storage.get_current_version())
    finally:
        close_optuna_storage(storage)
