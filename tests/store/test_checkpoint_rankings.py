"""Rankings of checkpoints in the database, and the image sets beside them."""

import math

import pytest
from sqlalchemy import select

from flatselect.records import EpochMeasurement, Prediction
from flatselect.store.checkpoint_rankings import RankedCheckpoint, record_ranking
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.study_writer import StudyWriter
from flatselect.store.tables import CheckpointRankingRow, DatasetRow, RankedCheckpointRow

DATA = {"fingerprint": "f1", "name": "digits", "n_images": 1297, "class_names": ["0", "1"], "input_shape": [1, 8, 8]}
MEASUREMENT = EpochMeasurement(3, 0.9, math.nan, 100, 10, 5.0, 15.0, "conv", "hessian")
BEST = RankedCheckpoint(
    "a.pt", 1, "5ha", "cnn", MEASUREMENT, Prediction(0.1, (0.05, 0.2), 0.8, (0.7, 0.85), False), 0.75, None
)
BROKEN = RankedCheckpoint("b'; DROP TABLE x.pt", None, None, None, None, None, None, "no such file")


@pytest.fixture
def engine(database_url):
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def read(engine, table):
    with open_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(select(table.__table__))]


def record(engine, **changes):
    return record_ranking(
        engine,
        [BEST, BROKEN],
        **{"data": DATA, "unlabeled": None, "calibrator": {"source": "shipped"}, "versions": {"torch": "2"}, **changes},
    )


def test_what_was_ranked_is_read_back(engine):
    uid = record(engine)
    (ranking,) = read(engine, CheckpointRankingRow)
    assert (ranking["uid"], ranking["data_fingerprint"], ranking["calibrator"]) == (uid, "f1", {"source": "shipped"})
    best, broken = sorted(read(engine, RankedCheckpointRow), key=lambda row: row["position"])
    assert (best["path"], best["rank"], best["sha256"], best["model"]) == ("a.pt", 1, "5ha", "cnn")
    assert (best["train_score"], best["train_loss"], best["relative_gap_flatness"]) == (0.9, None, 5.0)
    assert (best["gap"], best["gap_low"], best["gap_high"]) == (0.1, 0.05, 0.2)
    assert (best["score"], best["score_low"], best["score_high"], best["extrapolation"]) == (0.8, 0.7, 0.85, False)
    assert (best["probability_best"], best["error"]) == (0.75, None)
    assert (broken["path"], broken["rank"], broken["error"]) == (BROKEN.path, None, "no such file")
    assert broken["score"] is broken["extrapolation"] is None


def test_the_same_images_are_one_set(engine):
    record(engine)
    record(engine, calibrator=None, unlabeled="arrays:new.npz")
    StudyWriter.create(engine, "u1", "digits", {}, {**DATA, "name": "another name"})
    StudyWriter.create(engine, "u2", "other", {}, {**DATA, "fingerprint": "f2"})
    assert len(read(engine, CheckpointRankingRow)) == 2
    sets = {row["fingerprint"]: row for row in read(engine, DatasetRow)}
    assert {key: (row["name"], row["n_images"], row["n_classes"]) for key, row in sets.items()} == {
        "f1": ("digits", 1297, 2),
        "f2": ("digits", 1297, 2),
    }
    assert sets["f1"]["details"] == {"class_names": ["0", "1"], "input_shape": [1, 8, 8]}
