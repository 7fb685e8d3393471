"""A run tells its machine from others of the same name: drivers on several machines share a study."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flatselect_runs", sa.Column("machine", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("flatselect_runs") as runs:
        runs.drop_column("machine")
