"""flatselect: choose a convolutional network when no labelled data can be spared for validation.

The names below are loaded when first used, so that `import flatselect` loads neither torch nor ray.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatselect.calibration.gap_calibrator import GapCalibrator
    from flatselect.calibration.gap_predictor import GapPredictor
    from flatselect.errors import UnsupportedHeadError
    from flatselect.exporting.loading import load
    from flatselect.flatness.measure import measure
    from flatselect.flatness.measurement import Measurement
    from flatselect.pruning import FlatnessPruner
    from flatselect.search.run import run_search
    from flatselect.selection.models import rank
    from flatselect.selection.result import Ranking
    from flatselect.store.study_frames import open_study
    from flatselect.study_file import load_study_file

__version__ = importlib.metadata.version("flatselect")

__all__ = [
    "FlatnessPruner",
    "GapCalibrator",
    "GapPredictor",
    "Measurement",
    "Ranking",
    "UnsupportedHeadError",
    "__version__",
    "load",
    "load_study_file",
    "measure",
    "open_study",
    "rank",
    "run_search",
]

_HOMES = {
    "FlatnessPruner": "flatselect.pruning",
    "GapCalibrator": "flatselect.calibration.gap_calibrator",
    "GapPredictor": "flatselect.calibration.gap_predictor",
    "Measurement": "flatselect.flatness.measurement",
    "Ranking": "flatselect.selection.result",
    "UnsupportedHeadError": "flatselect.errors",
    "load": "flatselect.exporting.loading",
    "load_study_file": "flatselect.study_file",
    "measure": "flatselect.flatness.measure",
    "open_study": "flatselect.store.study_frames",
    "rank": "flatselect.selection.models",
    "run_search": "flatselect.search.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
