"""SQL from a user's own hand, on a connection that cannot write."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect

from flatselect.errors import StoreError
from flatselect.store.engine import hide_password, make_engine, open_sqlite_read_only, parse_url
from flatselect.store.migrate import ensure_schema, has_schema
from flatselect.store.tables import TABLE_PREFIX

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_NO_TABLE = re.compile("no such table|relation .* does not exist")
_STEPS_BETWEEN_LOOKS = 1_000_000  # of SQLite's machine: some hundredths of a second


@contextlib.contextmanager
def read_sql(url: str, sql: str) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """The column names and the rows that one SELECT gives.

    The statement cannot write; before it, our tables of an older version are upgraded and their missing views made, if
    they may. A database of something else is left as it is.
    SQLite's file is opened read-only, and the connection allows nothing but reading: no other file is made or attached.
    PostgreSQL gets a cursor's SELECT in a read-only transaction: one statement, which is no other.

    Raises:
        StoreError: There is no such database, or it refuses the statement.
    """
    if "\x00" in sql or not sql.strip():
        raise StoreError(f"{sql!r}: expected one SELECT")
    engine = make_engine(url, create=False)
    outdated: StoreError | None = None
    try:
        try:
            if has_schema(engine):
                ensure_schema(engine)
        except StoreError as error:  # its tables may be asked all the same
            outdated = error
        if engine.dialect.name != "sqlite":
            with _read_postgresql(url, sql) as found:
                yield found
            return
        # The last to close a file removes SQLite's files beside it, which who may not write cannot.
        with engine.connect(), contextlib.closing(open_sqlite_read_only(Path(str(engine.url.database)))) as connection:
            yield _read_sqlite(connection, sql)
    except StoreError as error:
        there_is = _list_tables(engine) if _NO_TABLE.search(str(error)) else ""
        raise StoreError(f"{error}{there_is}" + (f" ({outdated})" if outdated else "")) from None
    finally:
        engine.dispose()


def _list_tables(engine: Engine) -> str:
    """What may be asked: our tables and views, or whatever a database of something else has."""
    inspector = inspect(engine)
    names = sorted([*inspector.get_table_names(), *inspector.get_view_names()])
    ours = [name for name in names if name.startswith(TABLE_PREFIX)]
    return f"; there is {', '.join(ours or names) or 'none'}"


def _read_sqlite(connection: sqlite3.Connection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    connection.execute("PRAGMA query_only=ON")
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
    # Python takes note of Ctrl-C only in code of its own.
    connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)
    try:
        cursor = connection.execute(sql)
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
        raise _make_error(error) from None
    if cursor.description is None:
        raise StoreError("the statement gives no rows; expected one SELECT")
    return [column[0] for column in cursor.description], _translate(cursor)


def _translate(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    try:
        yield from iter(cursor.fetchone, None)  # the cursor itself would be closed in the end, after its database
    except sqlite3.Error as error:
        raise _make_error(error) from None


@contextlib.contextmanager
def _read_postgresql(url: str, sql: str) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    import psycopg

    dsn = parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(dsn) as connection:
            connection.read_only = True
            # Prepared, as the server then takes one statement alone; and what is no query cannot have a cursor.
            connection.execute(f"DECLARE flatselect_sql NO SCROLL CURSOR FOR {sql}", prepare=True)
            cursor = connection.execute("FETCH 1000 FROM flatselect_sql")
            names = [column.name for column in cursor.description or ()]

            def read() -> Iterator[tuple[Any, ...]]:
                rows = cursor.fetchall()
                while rows:
                    yield from rows
                    rows = connection.execute("FETCH 1000 FROM flatselect_sql").fetchall()

            yield names, read()
    except (psycopg.Error, UnicodeEncodeError) as error:
        reason = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
        raise StoreError(f"{hide_password(url)}: {reason}") from None


def _make_error(error: Exception) -> BaseException:
    reason = str(error)
    if reason == "interrupted":
        return KeyboardInterrupt()
    if "not authorized" in reason or "readonly" in reason or "prohibited" in reason:
        return StoreError(f"{reason}: only reading is allowed here; expected one SELECT")
    return StoreError(f"{reason}; tables and views: docs/database.md")
