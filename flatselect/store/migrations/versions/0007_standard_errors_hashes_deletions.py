"""Flatness has its standard error, a run the hashes of what it ran and its kind of host, a checkpoint its deletion."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from flatselect.store.finite_json import FiniteJson, hash_json
from flatselect.store.views import drop_views

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MEASURED = ("flatselect_measurements", "flatselect_standings", "flatselect_ranked_checkpoints")
_OF_RUNS = ("config_sha256", "data_fingerprint", "host_kind")


def upgrade() -> None:
    op.add_column("flatselect_checkpoints", sa.Column("deleted_at", sa.DateTime()))
    for table in _MEASURED:
        op.add_column(table, sa.Column("flatness_standard_error", sa.Double()))
    for name in _OF_RUNS:
        op.add_column("flatselect_runs", sa.Column(name, sa.Text()))
    _hash_earlier_runs()


def _hash_earlier_runs() -> None:
    studies = sa.table("flatselect_studies", sa.column("uid"), sa.column("data", FiniteJson()))
    runs = sa.table(
        "flatselect_runs",
        *(sa.column(name) for name in ("uid", "study_uid", *_OF_RUNS)),
        sa.column("config", FiniteJson()),
    )
    connection = op.get_bind()
    statement = sa.select(runs.c.uid, runs.c.config, studies.c.data).join(studies, studies.c.uid == runs.c.study_uid)
    for uid, config, data in connection.execute(statement).all():
        if plain := _read(config):
            hashes = {"config_sha256": hash_json(plain), "data_fingerprint": _read(data).get("fingerprint")}
            connection.execute(sa.update(runs).where(runs.c.uid == uid).values(hashes))


def _read(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return found


def downgrade() -> None:
    drop_views(op.get_bind())  # the next upgrade makes them again
    op.drop_column("flatselect_checkpoints", "deleted_at")
    for table in _MEASURED:
        op.drop_column(table, "flatness_standard_error")
    for name in _OF_RUNS:
        op.drop_column("flatselect_runs", name)
