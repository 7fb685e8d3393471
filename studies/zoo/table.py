"""The zoo's table: what was measured of each network and its true test score."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.features import make_features
from flatselect.records import EpochMeasurement

TABLE = Path(__file__).parent / "table.csv"

_RECORD_FIELDS = {field.name for field in fields(EpochMeasurement)}


@dataclass(frozen=True)
class ZooNetwork:
    """One line of the table.

    Attributes:
        values: All columns by name.
        measurement: What `assess` said of the network.
        test_score: Accuracy on test images that nothing else looks at.
    """

    values: dict[str, Any]
    measurement: EpochMeasurement
    test_score: float

    @property
    def test_gap(self) -> float:
        return self.measurement.train_score - self.test_score

    @property
    def base(self) -> str:
        return str(self.values["environment_base"])

    @property
    def environment(self) -> int:
        return int(self.values["environment_number"])

    def to_row(self, names: tuple[str, ...] | None = None) -> CalibrationRow:
        """The row of a calibration, grouped by environment and data set, with the named features or all."""
        features = make_features(self.measurement)
        if names is not None:
            features = {name: features[name] for name in names}
        return CalibrationRow(f"{self.base} {self.environment}", 1, features, self.test_gap, cluster=self.base)


def read_table(path: Path = TABLE) -> list[ZooNetwork]:
    return [_parse(values) for values in pd.read_csv(path).to_dict("records")]


def _parse(values: dict[str, Any]) -> ZooNetwork:
    own = {name: values[name] for name in _RECORD_FIELDS & set(values)}
    for name in ("n_train_images", "n_parameters", "n_probe_images"):
        own[name] = int(own[name])
    companions = {
        name: float(value)
        for name, value in values.items()
        if name not in own
        and not name.startswith(("environment_", "candidate"))
        and name not in ("network", "test_score", "n_test_images")
        and not math.isnan(value)
    }
    measurement = EpochMeasurement(epoch=1, companions=companions, **own)
    return ZooNetwork(values, measurement, float(values["test_score"]))
