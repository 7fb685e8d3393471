"""Run by Alembic, on the connection that `migrate.py` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from flatselect.store.tables import TABLE_PREFIX, Base


def _is_ours(item: Any, name: str | None, kind: str, reflected: bool, compared_to: Any) -> bool:
    table = name if kind == "table" else item.table.name
    return str(table).startswith(TABLE_PREFIX)


def _render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """A revision must not change when our code does: it names the database's own types."""
    return f"sa.{type(item.impl_instance).__name__}()" if isinstance(item, TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # With the default name Optuna takes our revision for its own and says that it is no longer compatible.
    version_table=f"{TABLE_PREFIX}alembic_version",
    include_object=_is_ours,
    render_item=_render_item,
    # The connection is inside a transaction already, in SQLite too.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
