"""Which calibrator predicts, and how it is described."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.calibration.shipped import load_shipped_calibrator
from flatselect.records import EpochMeasurement

SHIPPED = "shipped"
NONE = "none"


@dataclass(frozen=True)
class Calibrator:
    """A predictor and where it comes from.

    Attributes:
        source: A file, `study:NAME`, "shipped", or "given" for one that was handed over in Python.
        predictor: What predicts.
        own_groups: Which group of its rows was measured on the network of a checkpoint, by the SHA-256 of the file, and
            by what an exported model says of its origin (`MeasuredNetwork.origin`).
    """

    source: str
    predictor: GapPredictor
    own_groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its artifact."""
        document = json.dumps(self.predictor.to_dict(), sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()

    @property
    def reads_pixels(self) -> bool:
        """Whether a prediction wants what `measure_training_pixels` says of the training set."""
        return any("pixel_kernel" in name for name in self.predictor.known_features)

    def describe(self) -> dict[str, Any]:
        """Plain values: "source", "fingerprint", and what `GapPredictor.describe` says."""
        return {"source": self.source, "fingerprint": self.fingerprint, **self.predictor.describe()}

    def adapt(self, measurements: Sequence[EpochMeasurement]) -> "Calibrator":
        """The same, fitted anew without the features that none of these measurements has, such as unlabelled images'.

        Raises:
            CalibrationError: They have none of its features.
        """
        return (
            dataclasses.replace(self, predictor=self.predictor.using_features_of(measurements))
            if measurements
            else self
        )


def choose_calibrator(calibrator: "GapPredictor | Calibrator | str | os.PathLike[str] | None") -> Calibrator | None:
    """The calibrator that is meant.

    Args:
        calibrator: A predictor; the file of one; "none" for no predictions; None or "shipped" for the one that ships
            with the package.

    Raises:
        CalibrationError: The file cannot be read.
    """
    if isinstance(calibrator, Calibrator):
        return calibrator
    if isinstance(calibrator, GapPredictor):
        return Calibrator("given", calibrator)
    if calibrator in (None, SHIPPED):
        return Calibrator(SHIPPED, load_shipped_calibrator())
    if calibrator == NONE:
        return None
    path = os.fspath(calibrator)
    return Calibrator(path, GapPredictor.load(path))
