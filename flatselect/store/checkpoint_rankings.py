"""Rankings of checkpoints that no search here has trained, remembered beside the studies."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, insert

from flatselect.records import EpochMeasurement, Prediction
from flatselect.store.clock import read_clock
from flatselect.store.datasets import insert_dataset
from flatselect.store.engine import run_transaction
from flatselect.store.migrate import ensure_schema
from flatselect.store.row_conversion import make_prediction_columns, replace_nan
from flatselect.store.tables import PREDICTED, CheckpointRankingRow, RankedCheckpointRow

_MEASURED = (
    *("n_train_images", "n_parameters", "train_score", "train_loss"),
    *("relative_gap_flatness", "flatness_standard_error", "hessian_trace", "layer", "exactness"),
)


@dataclass(frozen=True)
class RankedCheckpoint:
    """A checkpoint and its place in a ranking.

    Attributes:
        path: As it was given.
        rank: From 1, the best; None where there is an error.
        sha256: Of the file; None where it cannot be read.
        model: The network's name; None where the file says it.
        measurement: None where there is an error.
        prediction: None where nothing is predicted.
        probability_best: That its test score is the highest.
        error: Why it could not be measured.
    """

    path: str
    rank: int | None
    sha256: str | None
    model: str | None
    measurement: EpochMeasurement | None
    prediction: Prediction | None
    probability_best: float | None
    error: str | None


def record_ranking(
    engine: Engine,
    checkpoints: Sequence[RankedCheckpoint],
    *,
    data: Mapping[str, Any],
    unlabeled: str | None,
    calibrator: Mapping[str, Any] | None,
    versions: Mapping[str, Any],
) -> str:
    """Adds a ranking, in one transaction, after making our tables where they are missing; returns its uid.

    Args:
        engine: The database.
        checkpoints: All of it, those that could not be measured too.
        data: Of the images that the networks were trained on: fingerprint, name, n_images, class_names, input_shape.
        unlabeled: The images from where the networks will be used, as they were named.
        calibrator: What is known of what predicts; None where nothing is predicted.
        versions: Of the packages.

    Raises:
        StoreError: The database cannot do it.
    """
    ensure_schema(engine)
    ranking_uid = uuid.uuid4().hex
    ranking = {
        "uid": ranking_uid,
        "created_at": read_clock(),
        "data_fingerprint": data["fingerprint"],
        "unlabeled": unlabeled,
        "calibrator": None if calibrator is None else dict(calibrator),
        "versions": dict(versions),
    }
    rows = [_make_row(ranking_uid, position, checkpoint) for position, checkpoint in enumerate(checkpoints, 1)]

    def write(connection: Connection) -> None:
        insert_dataset(connection, data)
        connection.execute(insert(CheckpointRankingRow).values(ranking))
        if rows:
            connection.execute(insert(RankedCheckpointRow), rows)

    run_transaction(engine, write)
    return ranking_uid


def _make_row(ranking_uid: str, position: int, checkpoint: RankedCheckpoint) -> dict[str, Any]:
    measured, predicted = checkpoint.measurement, checkpoint.prediction
    values = {
        "ranking_uid": ranking_uid,
        "position": position,
        "path": checkpoint.path,
        "rank": checkpoint.rank,
        "sha256": checkpoint.sha256,
        "model": checkpoint.model,
        **{name: getattr(measured, name, None) for name in _MEASURED},
        **(dict.fromkeys(PREDICTED) if predicted is None else make_prediction_columns(predicted)),
        "probability_best": checkpoint.probability_best,
        "error": checkpoint.error,
    }
    return replace_nan(values)
