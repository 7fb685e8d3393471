"""A study's system attributes in Optuna's table: Optuna sets and reads them, but has no way to take one out again."""

from collections.abc import Collection

from sqlalchemy import Engine, delete

from flatselect.store.engine import run_transaction
from flatselect.store.optuna_rows import STUDY_SYSTEM_ATTRIBUTES


def delete_system_attributes(engine: Engine, study_id: int, keys: Collection[str]) -> None:
    """Takes attributes out of the study of this number of Optuna's; one that it does not have is no mistake.

    Raises:
        StoreError: The database cannot do it.
    """
    table = STUDY_SYSTEM_ATTRIBUTES
    statement = delete(table).where(table.c.study_id == study_id, table.c.key.in_(keys))
    run_transaction(engine, lambda connection: connection.execute(statement))
