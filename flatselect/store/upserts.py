"""INSERT ... ON CONFLICT, built once a table: building one takes longer than running it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

GatheredRows = tuple[Insert, Sequence[Mapping[str, Any]]]
"""A statement with the rows it is to be executed with."""


def choose_insert(dialect: str) -> Any:
    """SQLAlchemy's `insert` of a database, whose statements know ON CONFLICT."""
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


@cache
def make_upsert(table: Table, dialect: str, key: tuple[str, ...], replaced: tuple[str, ...]) -> Any:
    """A statement that inserts rows; of one whose key is there already, the `replaced` columns become the new ones.

    Args:
        table: To insert into.
        dialect: "sqlite" or "postgresql", which spell it alike, but SQLAlchemy has no common word for it.
        key: Columns that are unique together; none for any that are.
        replaced: With none, a row that is there already stays as it is.
    """
    statement = choose_insert(dialect)(table)
    if not replaced:
        return statement.on_conflict_do_nothing(index_elements=key or None)
    return statement.on_conflict_do_update(
        index_elements=key, set_={name: statement.excluded[name] for name in replaced}
    )
