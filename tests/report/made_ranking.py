"""A ranking of three files, one of which is broken and one of which has a hostile name."""

import dataclasses
from types import SimpleNamespace

from flatselect.ranking import RankedCandidate
from flatselect.records import EpochMeasurement, Prediction
from flatselect.selection.result import Ranking

EVIL = "<script>alert(1)</script>&\"'<b>.pt"


def make_ranking(predicted=True, **more):
    companions = {"augmentation_accuracy": 0.8125, "mixup_accuracy": 0.7654, **more}
    measurement = EpochMeasurement(1, 0.9321, 0.1, 100, 12345, relative_gap_flatness=1.5, companions=companions)
    prediction = Prediction(0.1, (0.05, 0.2), 0.8321, (0.7321, 0.8821), extrapolation=True)
    candidates = [
        RankedCandidate("runs/best.pt", 1, measurement, prediction, 0.75),
        RankedCandidate(EVIL, 2, measurement, dataclasses.replace(prediction, extrapolation=False), 0.25),
        RankedCandidate(f"broken{EVIL}", error=f"wrong: {EVIL}"),
    ]
    if not predicted:
        candidates = [dataclasses.replace(c, prediction=None, probability_best=None) for c in candidates]
    calibrator = SimpleNamespace(predictor=SimpleNamespace(calibrator=SimpleNamespace(coverage=0.9)))
    return Ranking(tuple(candidates), calibrator if predicted else None)
