"""What stands for a trial has a table of its own, and the views read it."""

import sqlalchemy as sa
from alembic import op

from flatselect.store.views import drop_views

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_FILL = """
INSERT INTO flatselect_standings
SELECT e.study_uid, e.trial_number, e.epochs, e.seconds, m.epoch, m.n_train_images, m.n_parameters, {latency},
  m.train_score, m.train_loss, m.holdout_score, m.relative_gap_flatness, m.hessian_trace, m.layer, m.exactness,
  p.calibrator_uid, p.gap, p.gap_low, p.gap_high, p.score, p.score_low, p.score_high, p.extrapolation
FROM (
  SELECT x.study_uid, x.trial_number, MAX(x.epoch) AS epochs,
    COALESCE(MAX(CASE WHEN x.relative_gap_flatness IS NOT NULL THEN x.epoch END), MAX(x.epoch)) AS epoch,
    SUM(COALESCE(x.train_seconds, 0.0) + COALESCE(x.measure_seconds, 0.0)) AS seconds
  FROM flatselect_measurements x GROUP BY x.study_uid, x.trial_number) e
JOIN flatselect_measurements m ON m.study_uid = e.study_uid AND m.trial_number = e.trial_number AND m.epoch = e.epoch
LEFT JOIN flatselect_predictions p
  ON p.study_uid = e.study_uid AND p.trial_number = e.trial_number AND p.epoch = e.epoch AND p.calibrator_uid = (
    SELECT y.calibrator_uid FROM flatselect_predictions y JOIN flatselect_calibrators k ON k.uid = y.calibrator_uid
    WHERE y.study_uid = e.study_uid AND y.trial_number = e.trial_number AND y.epoch = e.epoch
    ORDER BY k.id DESC LIMIT 1)"""


def upgrade() -> None:
    op.create_table(
        "flatselect_standings",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("n_train_images", sa.Integer(), nullable=False),
        sa.Column("n_parameters", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("train_score", sa.Double()),
        sa.Column("train_loss", sa.Double()),
        sa.Column("holdout_score", sa.Double()),
        sa.Column("relative_gap_flatness", sa.Double()),
        sa.Column("hessian_trace", sa.Double()),
        sa.Column("layer", sa.Text()),
        sa.Column("exactness", sa.Text()),
        sa.Column("calibrator_uid", sa.Text()),
        sa.Column("gap", sa.Double()),
        sa.Column("gap_low", sa.Double()),
        sa.Column("gap_high", sa.Double()),
        sa.Column("score", sa.Double()),
        sa.Column("score_low", sa.Double()),
        sa.Column("score_high", sa.Double()),
        sa.Column("extrapolation", sa.Boolean()),
        sa.ForeignKeyConstraint(
            ["study_uid"],
            ["flatselect_studies.uid"],
            name=op.f("fk_flatselect_standings_study_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_uid", "trial_number", name=op.f("pk_flatselect_standings")),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    latency = (
        "json_extract(m.companions, '$.latency_ms')"
        if is_sqlite
        else ("(m.companions ->> 'latency_ms')::double precision")
    )
    op.execute(_FILL.format(latency=latency))


def downgrade() -> None:
    drop_views(op.get_bind())  # PostgreSQL drops no table that a view reads
    op.drop_table("flatselect_standings")
