"""Of a checkpoint it is known whether it was deleted, and when; the view of trials says it."""

import sqlalchemy as sa
from alembic import op

from flatselect.store.views import drop_views

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flatselect_checkpoints", sa.Column("deleted_at", sa.DateTime()))


def downgrade() -> None:
    drop_views(op.get_bind())  # the next upgrade makes them again
    op.drop_column("flatselect_checkpoints", "deleted_at")
