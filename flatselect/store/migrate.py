"""Bringing our tables to the version this code is written for."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from flatselect.errors import StoreError
from flatselect.store.engine import is_shared, make_engine, open_transaction, show_url
from flatselect.store.patience import describe_cause
from flatselect.store.tables import TABLE_PREFIX
from flatselect.store.views import create_views, drop_views, has_views

HEAD_REVISION = "0007"
_VERSION_TABLE = f"{TABLE_PREFIX}alembic_version"
_LOCK_KEY = 0x666C6174  # "flat": any number that no one else locks in this database


def ensure_schema(engine: Engine) -> None:
    """Makes our tables and views, or upgrades them; quick where nothing is to be done. Optuna's tables are not touched.

    Raises:
        StoreError: The database was made by a newer flatselect, or by an older one and may not be written.
    """
    with open_transaction(engine) as connection:
        if _is_current(connection):
            return
        found = _read_revision(connection)
    try:
        with open_transaction(engine) as connection:
            _upgrade(connection, engine)
    except StoreError as error:
        if found in (None, HEAD_REVISION) or not isinstance(error.__cause__, DBAPIError):
            raise
        raise StoreError(
            f"{show_url(engine)}: made by an older flatselect (tables of version {found}), and could not be upgraded "
            f"to version {HEAD_REVISION}: {describe_cause(error.__cause__)}; have someone who may write it run "
            "`flatselect studies` on it" + (", or ask a copy of your own" if not is_shared(engine) else "")
        ) from error.__cause__


def _upgrade(connection: Connection, engine: Engine) -> None:
    _lock(connection)
    if _is_current(connection):  # another process may have been first
        return
    config = _make_config(connection)
    _check_known(_read_revision(connection), config, engine)
    drop_views(connection)
    command.upgrade(config, "head")
    create_views(connection)


def has_schema(engine: Engine) -> bool:
    """Whether the database holds our tables, of any version."""
    with open_transaction(engine) as connection:
        return _read_revision(connection) is not None


def read_schema_version(engine: Engine) -> str | None:
    """The version of our tables; None where there are none yet. An older one is upgraded by the next search.

    Raises:
        StoreError: The database was made by a newer flatselect.
    """
    with open_transaction(engine) as connection:
        current = _read_revision(connection)
        _check_known(current, _make_config(connection), engine)
    return current


def write_revision(message: str, url: str) -> None:
    """Writes the next revision file from how `tables.py` differs from the database at `url`; for developers."""
    engine = make_engine(url)
    ensure_schema(engine)
    with open_transaction(engine) as connection:
        command.revision(_make_config(connection), message, autogenerate=True, rev_id=f"{int(HEAD_REVISION) + 1:04d}")
    engine.dispose()


def _is_current(connection: Connection) -> bool:
    # SQLite rebuilds no table that a view reads: whoever has to drop them gets them back here.
    return _read_revision(connection) == HEAD_REVISION and has_views(connection)


def _make_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "flatselect.store:migrations")
    config.attributes["connection"] = connection
    return config


def _check_known(revision: str | None, config: Config, engine: Engine) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"{show_url(engine)}: made by a newer flatselect (tables of version {revision}, this one knows up to "
            f"{HEAD_REVISION}); pip install -U flatselect"
        )


def _lock(connection: Connection) -> None:
    """Keeps other processes from migrating until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    else:
        # Python's sqlite3 opens a transaction before INSERT, but not before CREATE TABLE.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    revision = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()
    return None if revision is None else str(revision)
