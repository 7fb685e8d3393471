"""A lock between the drivers that share a database."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from flatselect.store.engine import is_shared
from flatselect.store.patience import IMPATIENT, Patience


@contextlib.contextmanager
def hold_lock(engine: Engine, name: str, patience: Patience = IMPATIENT) -> Iterator[None]:
    """Keeps other processes from entering a block of the same name; one that dies leaves it. Blocks must not nest.

    On SQLite a study has one driver, and nothing is locked.
    """
    if not is_shared(engine):
        yield
        return
    connection = patience.call(lambda: _take_lock(engine, name), lambda error: error)
    try:
        yield
    finally:
        # A server that went away in the meantime has let go by itself.
        with contextlib.suppress(DBAPIError):
            connection.close()


def _take_lock(engine: Engine, name: str) -> Connection:
    connection = engine.connect()
    try:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
    except BaseException:
        connection.close()
        raise
    return connection
