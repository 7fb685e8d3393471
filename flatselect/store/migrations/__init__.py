"""Alembic revisions of our tables. Optuna's tables have their own, which are left alone.

After a change of `tables.py`, `migrate.write_revision("what changed", "sqlite:////tmp/any.db")` writes the next one
from the difference; read it, then set `migrate.HEAD_REVISION` to it.
"""
