"""One measured gap with the features it belongs to: what a calibration is made of."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from flatselect.calibration.features import FEATURE_NAMES, make_features
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement


@dataclass(frozen=True)
class CalibrationRow:
    """One epoch of one trial whose test gap is known.

    Attributes:
        group: What the row belongs to, a trial or several networks trained on the same data: rows of one group are held
            out together.
        epoch: Epochs trained.
        features: Of `FEATURE_NAMES`, as `make_features` gives them; NaN or absent where missing.
        test_gap: Measured: training score − held-out score, in [-1, 1].
        cluster: What the group belongs to, such as a data set, where the calibration is to speak for others than those
            it has seen: intervals are then made by holding out whole clusters. None where it speaks for more of the
            same.

    Raises:
        CalibrationError: A feature nobody knows or that is infinite, or a gap that no two accuracies have.
    """

    group: str
    epoch: int
    features: dict[str, float]
    test_gap: float
    cluster: str | None = None

    def __post_init__(self) -> None:
        where = f"calibration row of group {self.group!r}, epoch {self.epoch}"
        if unknown := [name for name in self.features if name not in FEATURE_NAMES]:
            raise CalibrationError(
                f"{where}: unknown feature {unknown[0]!r}; this version knows {', '.join(FEATURE_NAMES)}"
            )
        if infinite := [name for name, value in self.features.items() if math.isinf(value)]:
            raise CalibrationError(
                f"{where}: {infinite[0]} is infinite; give a finite number, or NaN for a missing one"
            )
        if not -1 <= self.test_gap <= 1:
            raise CalibrationError(
                f"{where}: test_gap = {self.test_gap} is no difference of two accuracies; expected -1 to 1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a missing feature is None, since JSON knows no NaN."""
        features = {name: None if math.isnan(value) else value for name, value in self.features.items()}
        cluster = {} if self.cluster is None else {"cluster": self.cluster}
        return {"group": self.group, **cluster, "epoch": self.epoch, "features": features, "test_gap": self.test_gap}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; raises one of Python's own errors for anything else."""
        features = {
            str(name): math.nan if value is None else float(value) for name, value in values["features"].items()
        }
        cluster = None if values.get("cluster") is None else str(values["cluster"])
        return cls(str(values["group"]), int(values["epoch"]), features, float(values["test_gap"]), cluster)


def check_clusters(rows: Iterable[CalibrationRow]) -> None:
    """Raises CalibrationError where a group belongs to two clusters: some of its rows would predict the others."""
    cluster_of: dict[str, str | None] = {}
    for row in rows:
        if (cluster := cluster_of.setdefault(row.group, row.cluster)) != row.cluster:
            named = " and ".join("none" if name is None else repr(name) for name in (cluster, row.cluster))
            raise CalibrationError(
                f"calibration rows of group {row.group!r} are of cluster {named}; a group is held out whole, so give "
                "all its rows one cluster, or name its parts as groups of their own"
            )


def make_calibration_row(group: str, measurement: EpochMeasurement) -> CalibrationRow:
    """The row of a measurement that held out a part of the labelled data.

    Raises:
        CalibrationError: Nothing was held out, or flatness was not measured at this epoch.
    """
    if measurement.test_gap is None or not measurement.is_measured:
        lacking = "a held-out score" if measurement.test_gap is None else "relative GAP flatness"
        raise CalibrationError(
            f"trial {group}, epoch {measurement.epoch}: a calibration row needs {lacking}, which was not measured"
        )
    return CalibrationRow(group, measurement.epoch, make_features(measurement), measurement.test_gap)
