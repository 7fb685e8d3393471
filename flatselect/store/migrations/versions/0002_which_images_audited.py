"""An audit remembers its images, so that another audit set is audited anew."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flatselect_audits", sa.Column("data_fingerprint", sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table("flatselect_audits") as audits:
        audits.drop_column("data_fingerprint")
