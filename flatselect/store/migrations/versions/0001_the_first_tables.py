"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flatselect_studies",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_flatselect_studies")),
    )
    op.create_index(op.f("ix_flatselect_studies_name"), "flatselect_studies", ["name"])

    op.create_table(
        "flatselect_audits",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("loss", sa.Double()),
        sa.Column("n_images", sa.Integer(), nullable=False),
        sa.Column("audited_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["flatselect_studies.uid"], name=op.f("fk_flatselect_audits_study_uid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_uid", "trial_number", name=op.f("pk_flatselect_audits")),
    )
    op.create_table(
        "flatselect_calibrators",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("n_rows", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["study_uid"],
            ["flatselect_studies.uid"],
            name=op.f("fk_flatselect_calibrators_study_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flatselect_calibrators")),
        sa.UniqueConstraint("uid", name=op.f("uq_flatselect_calibrators_uid")),
    )
    op.create_index(op.f("ix_flatselect_calibrators_study_uid"), "flatselect_calibrators", ["study_uid"])

    op.create_table(
        "flatselect_checkpoints",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid"],
            ["flatselect_studies.uid"],
            name=op.f("fk_flatselect_checkpoints_study_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_uid", "trial_number", name=op.f("pk_flatselect_checkpoints")),
    )
    op.create_table(
        "flatselect_measurements",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("train_score", sa.Double()),
        sa.Column("train_loss", sa.Double()),
        sa.Column("n_train_images", sa.Integer(), nullable=False),
        sa.Column("n_parameters", sa.BigInteger(), nullable=False),
        sa.Column("relative_gap_flatness", sa.Double()),
        sa.Column("hessian_trace", sa.Double()),
        sa.Column("layer", sa.Text()),
        sa.Column("exactness", sa.Text()),
        sa.Column("n_probe_images", sa.Integer(), nullable=False),
        sa.Column("companions", sa.JSON(), nullable=False),
        sa.Column("holdout_score", sa.Double()),
        sa.Column("holdout_loss", sa.Double()),
        sa.Column("n_holdout_images", sa.Integer(), nullable=False),
        sa.Column("train_seconds", sa.Double()),
        sa.Column("measure_seconds", sa.Double()),
        sa.ForeignKeyConstraint(
            ["study_uid"],
            ["flatselect_studies.uid"],
            name=op.f("fk_flatselect_measurements_study_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_uid", "trial_number", "epoch", name=op.f("pk_flatselect_measurements")),
    )
    op.create_table(
        "flatselect_runs",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("outcome", sa.Text()),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["flatselect_studies.uid"], name=op.f("fk_flatselect_runs_study_uid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_flatselect_runs")),
    )
    op.create_index(op.f("ix_flatselect_runs_study_uid"), "flatselect_runs", ["study_uid"])

    op.create_table(
        "flatselect_attempts",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("run_uid", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("failure_kind", sa.Text()),
        sa.Column("failure_message", sa.Text()),
        sa.Column("failure_traceback", sa.Text()),
        sa.Column("pruned_because", sa.Text()),
        sa.Column("is_calibration", sa.Boolean(), nullable=False),
        sa.Column("candidate", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_uid"], ["flatselect_runs.uid"], name=op.f("fk_flatselect_attempts_run_uid"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["flatselect_studies.uid"], name=op.f("fk_flatselect_attempts_study_uid"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_uid", "trial_number", "attempt", name=op.f("pk_flatselect_attempts")),
    )
    op.create_table(
        "flatselect_predictions",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("calibrator_uid", sa.Text(), nullable=False),
        sa.Column("gap", sa.Double()),
        sa.Column("gap_low", sa.Double()),
        sa.Column("gap_high", sa.Double()),
        sa.Column("score", sa.Double()),
        sa.Column("score_low", sa.Double()),
        sa.Column("score_high", sa.Double()),
        sa.Column("extrapolation", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["calibrator_uid"],
            ["flatselect_calibrators.uid"],
            name=op.f("fk_flatselect_predictions_calibrator_uid"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["study_uid"],
            ["flatselect_studies.uid"],
            name=op.f("fk_flatselect_predictions_study_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "study_uid", "trial_number", "epoch", "calibrator_uid", name=op.f("pk_flatselect_predictions")
        ),
    )
    op.create_index(op.f("ix_flatselect_predictions_calibrator_uid"), "flatselect_predictions", ["calibrator_uid"])


def downgrade() -> None:
    op.drop_table("flatselect_predictions")
    op.drop_table("flatselect_attempts")
    op.drop_table("flatselect_runs")
    op.drop_table("flatselect_measurements")
    op.drop_table("flatselect_checkpoints")
    op.drop_table("flatselect_calibrators")
    op.drop_table("flatselect_audits")
    op.drop_table("flatselect_studies")
