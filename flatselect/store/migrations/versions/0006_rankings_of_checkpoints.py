"""Rankings of checkpoints are remembered, and the image sets of studies and rankings have a table."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from flatselect.store.finite_json import FiniteJson

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    datasets = op.create_table(
        "flatselect_datasets",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("n_images", sa.Integer()),
        sa.Column("n_classes", sa.Integer()),
        sa.Column("details", FiniteJson(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_flatselect_datasets")),
    )
    op.create_table(
        "flatselect_checkpoint_rankings",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("unlabeled", sa.Text()),
        sa.Column("calibrator", FiniteJson()),
        sa.Column("versions", FiniteJson(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_flatselect_checkpoint_rankings")),
    )
    op.create_table(
        "flatselect_ranked_checkpoints",
        sa.Column("ranking_uid", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer()),
        sa.Column("sha256", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("n_train_images", sa.Integer()),
        sa.Column("n_parameters", sa.BigInteger()),
        sa.Column("train_score", sa.Double()),
        sa.Column("train_loss", sa.Double()),
        sa.Column("relative_gap_flatness", sa.Double()),
        sa.Column("hessian_trace", sa.Double()),
        sa.Column("layer", sa.Text()),
        sa.Column("exactness", sa.Text()),
        sa.Column("gap", sa.Double()),
        sa.Column("gap_low", sa.Double()),
        sa.Column("gap_high", sa.Double()),
        sa.Column("score", sa.Double()),
        sa.Column("score_low", sa.Double()),
        sa.Column("score_high", sa.Double()),
        sa.Column("extrapolation", sa.Boolean()),
        sa.Column("probability_best", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["ranking_uid"],
            ["flatselect_checkpoint_rankings.uid"],
            name=op.f("fk_flatselect_ranked_checkpoints_ranking_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ranking_uid", "position", name=op.f("pk_flatselect_ranked_checkpoints")),
    )
    op.create_index(op.f("ix_flatselect_ranked_checkpoints_sha256"), "flatselect_ranked_checkpoints", ["sha256"])
    studies = sa.table("flatselect_studies", sa.column("data", FiniteJson()))
    found: dict[str, dict[str, Any]] = {}
    for (data,) in op.get_bind().execute(sa.select(studies.c.data)):
        known = json.loads(data) if isinstance(data, str) else data
        if "fingerprint" in known:
            found.setdefault(known["fingerprint"], known)
    if found:
        rows = [
            {
                "fingerprint": fingerprint,
                "name": data.get("name"),
                "n_images": data.get("n_images"),
                "n_classes": len(data.get("class_names", ())) or None,
                "details": {key: data[key] for key in ("class_names", "input_shape", "mean", "std") if key in data},
            }
            for fingerprint, data in found.items()
        ]
        op.bulk_insert(datasets, rows)


def downgrade() -> None:
    op.drop_table("flatselect_ranked_checkpoints")
    op.drop_table("flatselect_checkpoint_rankings")
    op.drop_table("flatselect_datasets")
