"""The views that anyone may ask. They are made of `views.py` after this; a later revision makes them anew."""

from alembic import op

from flatselect.store.views import drop_views

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    drop_views(op.get_bind())
