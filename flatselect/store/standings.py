"""What stands for a trial: one row of `flatselect_standings` each, made of its measurements and predictions.

Views and frames show one epoch of a trial: to look for it, and for its prediction, in tables of a million rows took a
second a question. Rows are made anew, not counted up, in the transaction that writes what they are made of: an epoch
that is written twice, or again after a crash, comes to the same.
"""

from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, select, true

from flatselect.store.tables import PREDICTED, CalibratorRow, MeasurementRow, PredictionRow, StandingRow
from flatselect.store.upserts import choose_insert

_KEY = ("study_uid", "trial_number")
_MEASURED = (
    *("n_train_images", "n_parameters", "train_score", "train_loss", "holdout_score"),
    *("relative_gap_flatness", "flatness_standard_error", "hessian_trace", "layer", "exactness"),
)


@cache
def make_refresh(dialect: str, *, of_all_trials: bool = False) -> Any:
    """A statement that makes the row of the trial `of_trial`, or of every trial, of the study `of_study` anew."""
    made = _select_standings(of_all_trials)
    names = [column.name for column in made.selected_columns]
    statement = choose_insert(dialect)(StandingRow).from_select(names, made)
    replaced = {name: statement.excluded[name] for name in names if name not in _KEY}
    return statement.on_conflict_do_update(index_elements=_KEY, set_=replaced)


def _select_standings(of_all_trials: bool) -> Select[Any]:
    is_chosen = MeasurementRow.study_uid == bindparam("of_study")
    if not of_all_trials:
        is_chosen &= MeasurementRow.trial_number == bindparam("of_trial")
    seconds = func.coalesce(MeasurementRow.train_seconds, 0.0) + func.coalesce(MeasurementRow.measure_seconds, 0.0)
    measured = case((MeasurementRow.relative_gap_flatness.is_not(None), MeasurementRow.epoch))
    of_trial = (
        select(
            MeasurementRow.study_uid,
            MeasurementRow.trial_number,
            func.max(MeasurementRow.epoch).label("epochs"),
            func.coalesce(func.max(measured), func.max(MeasurementRow.epoch)).label("epoch"),
            func.sum(seconds).label("seconds"),
        )
        .where(is_chosen)
        .group_by(MeasurementRow.study_uid, MeasurementRow.trial_number)
        .subquery()
    )
    shown = MeasurementRow.__table__.alias("shown")
    said = PredictionRow.__table__.alias("said")
    latest = (
        select(said.c.calibrator_uid)
        .join(CalibratorRow, CalibratorRow.uid == said.c.calibrator_uid)
        .where(*(said.c[name] == shown.c[name] for name in (*_KEY, "epoch")))
        .order_by(CalibratorRow.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    is_prediction = and_(
        *(getattr(PredictionRow, name) == shown.c[name] for name in (*_KEY, "epoch")),
        PredictionRow.calibrator_uid == latest,
    )
    return (
        select(
            *of_trial.c,
            *(shown.c[name] for name in _MEASURED),
            shown.c.companions["latency_ms"].as_float().label("latency_ms"),
            *(getattr(PredictionRow, name) for name in ("calibrator_uid", *PREDICTED)),
        )
        .select_from(of_trial)
        .join(shown, and_(*(shown.c[name] == of_trial.c[name] for name in (*_KEY, "epoch"))))
        .outerjoin(PredictionRow, is_prediction)
        .where(true())  # SQLite would take ON CONFLICT for a join's
    )
