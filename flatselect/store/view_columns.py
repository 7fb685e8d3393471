"""The views as SQLAlchemy sees them: every column's name and type, in the order of `docs/database.md`."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Double, Integer, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from flatselect.store.tables import PREDICTED

_METADATA = MetaData()


def _make_view(name: str, columns: dict[str, type[TypeEngine[Any]]]) -> Table:
    return Table(name, _METADATA, *(Column(column, kind) for column, kind in columns.items()))


# By the column of a table, the name in every view.
PREDICTED_NAMES = {name: name if name == "extrapolation" else f"predicted_test_{name}" for name in PREDICTED}
_PREDICTION: dict[str, type[TypeEngine[Any]]] = {
    name: Boolean if name == "extrapolation" else Double for name in PREDICTED_NAMES.values()
}
_KEYS: dict[str, type[TypeEngine[Any]]] = {"study_uid": Text, "trial_id": BigInteger}
KEY_COLUMNS = tuple(_KEYS)

TRIALS = _make_view(
    "flatselect_trials",
    {
        "study": Text,
        "number": Integer,
        "state": Text,
        "is_calibration": Boolean,
        "retrains": Integer,
        "retries": Integer,
        "model": Text,
        "params": JSON,
        "attempts": Integer,
        "epochs": Integer,
        "seconds": Double,
        "started_at": DateTime,
        "ended_at": DateTime,
        "epoch": Integer,
        "n_train_images": Integer,
        "n_parameters": BigInteger,
        "latency_ms": Double,
        "train_score": Double,
        "train_loss": Double,
        "holdout_score": Double,
        "test_gap": Double,
        "relative_gap_flatness": Double,
        "flatness_standard_error": Double,
        "hessian_trace": Double,
        "layer": Text,
        "exactness": Text,
        **_PREDICTION,
        "audit_test_score": Double,
        "pruned_because": Text,
        "failure": Text,
        "checkpoint": Text,
        "checkpoint_deleted_at": DateTime,
        **_KEYS,
    },
)
CURVES = _make_view(
    "flatselect_curves",
    {
        "study": Text,
        "trial": Integer,
        "epoch": Integer,
        "attempt": Integer,
        "train_score": Double,
        "train_loss": Double,
        "n_train_images": Integer,
        "n_parameters": BigInteger,
        "relative_gap_flatness": Double,
        "flatness_standard_error": Double,
        "hessian_trace": Double,
        "layer": Text,
        "exactness": Text,
        "n_probe_images": Integer,
        "companions": JSON,
        "holdout_score": Double,
        "holdout_loss": Double,
        "n_holdout_images": Integer,
        "test_gap": Double,
        **_PREDICTION,
        "train_seconds": Double,
        "measure_seconds": Double,
        **_KEYS,
    },
)
RANKING = _make_view(
    "flatselect_ranking",
    {
        "study": Text,
        "rank": Integer,
        "number": Integer,
        "state": Text,
        "model": Text,
        "train_score": Double,
        "relative_gap_flatness": Double,
        **_PREDICTION,
        "audit_test_score": Double,
        **_KEYS,
    },
)
PARAMS = _make_view(
    "flatselect_params", {"trial_id": BigInteger, "name": Text, "value": JSON, "number": Double, "text": Text}
)
OPTUNA_TRIALS = _make_view(
    "flatselect_optuna_trials",
    {
        "study": Text,
        "study_uid": Text,
        "trial_id": BigInteger,
        "number": Integer,
        "state": Text,
        "started_at": DateTime,
        "ended_at": DateTime,
        "retrains": Integer,
        "retries": Integer,
        "failure": Text,
    },
)
