"""The file of a calibration: JSON that holds its rows and specification, refitted on load. Nothing is unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flatselect.atomic_file import open_atomic
from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.estimator_choice import EstimatorChoice
from flatselect.calibration.estimators import CANDIDATE_NAMES, ESTIMATOR_NAMES, EstimatorName
from flatselect.calibration.features import FEATURE_DEFINITIONS, FEATURE_NAMES
from flatselect.errors import CalibrationError

SCHEMA = "flatselect.gap_predictor"
SCHEMA_VERSION = 1
_EXPECTED = "expected what GapPredictor.save wrote"


class Artifact(NamedTuple):
    """What a calibration is refitted from."""

    rows: tuple[CalibrationRow, ...]
    estimator: EstimatorName
    coverage: float
    metadata: dict[str, Any]
    choice: EstimatorChoice | None  # what "auto" came to


def make_document(artifact: Artifact) -> dict[str, Any]:
    """The JSON object of a calibration."""
    used = {name for row in artifact.rows for name in row.features}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "specification": {"estimator": artifact.estimator, "coverage": artifact.coverage},
        **({"estimator_choice": artifact.choice.to_dict()} if artifact.choice is not None else {}),
        "features": {name: FEATURE_DEFINITIONS[name] for name in FEATURE_NAMES if name in used},
        "metadata": artifact.metadata,
        "rows": [row.to_dict() for row in artifact.rows],
    }


def parse_document(document: Any, source: str) -> Artifact:
    """Checks the JSON object of a calibration; `source` names it in messages.

    Raises:
        CalibrationError: It is something else, of a newer schema, or uses a feature this version does not know.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise CalibrationError(f'{source}: not a calibrator ("schema" is not "{SCHEMA}"); {_EXPECTED}')
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CalibrationError(
            f"{source}: schema_version is {version!r}, this version of flatselect reads {SCHEMA_VERSION}; "
            "read it with the version that wrote it, or fit the calibrator anew"
        )
    try:
        specification = document["specification"]
        estimator, coverage = specification["estimator"], float(specification["coverage"])
        _check_features(document["features"], source)
        rows = tuple(CalibrationRow.from_dict(row) for row in document["rows"])
        metadata = dict(document.get("metadata", {}))
        choice = _parse_choice(document["estimator_choice"]) if estimator == "auto" else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CalibrationError(f"{source}: damaged calibrator ({type(error).__name__}: {error}); {_EXPECTED}") from None
    except CalibrationError as error:
        raise CalibrationError(f"{source}: {error}") from None
    estimator = check_estimator_name(estimator, source)
    return Artifact(rows, estimator, check_coverage(coverage, source), metadata, choice)


def _parse_choice(values: Mapping[str, Any]) -> EstimatorChoice:
    for known in CANDIDATE_NAMES:
        if values["name"] == known:
            scores = {str(name): float(score) for name, score in values["scores"].items()}
            return EstimatorChoice(known, scores, str(values["reason"]))
    raise CalibrationError(f"estimator_choice.name = {values['name']!r}; expected one of {', '.join(CANDIDATE_NAMES)}")


def check_estimator_name(name: Any, source: str) -> EstimatorName:
    for known in ESTIMATOR_NAMES:
        if name == known:
            return known
    raise CalibrationError(f"{source}: estimator = {name!r}; expected one of {', '.join(ESTIMATOR_NAMES)}")


def check_coverage(coverage: float, source: str) -> float:
    if not 0 < coverage < 1:
        raise CalibrationError(f"{source}: coverage = {coverage}; expected a number between 0 and 1, such as 0.9")
    return coverage


def read_document(path: Path) -> Any:
    """Parses a JSON file; raises CalibrationError where there is none."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise CalibrationError(f"{path}: no such calibrator file; {_EXPECTED}") from None
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from None
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: not JSON ({error}); {_EXPECTED}") from None


def write_document(document: dict[str, Any], path: Path) -> None:
    """Writes a JSON file whole or not at all."""
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: metadata is no JSON ({error}); give plain, finite values") from None
    try:
        with open_atomic(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror})") from None


def _check_features(features: Mapping[str, str], source: str) -> None:
    """A feature of another definition is another feature, whatever its name."""
    for name, definition in features.items():
        if name not in FEATURE_DEFINITIONS:
            raise CalibrationError(f"unknown feature {name!r}; this version knows {', '.join(FEATURE_NAMES)}")
        if definition != FEATURE_DEFINITIONS[name]:
            raise CalibrationError(f"feature {name!r} means {definition!r} there, {FEATURE_DEFINITIONS[name]!r} here")
