"""Calibration rows from a CSV file that anybody may have written."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.features import FEATURE_NAMES, make_features
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement

# As `flatselect query --epochs --csv` names what was measured; features are made of these.
_MEASURED = ("train_score", "train_loss", "n_train_images", "n_parameters", "relative_gap_flatness")
_COMPANION = "companion_"
_FLATNESS = ("log_relative_gap_flatness", "relative_gap_flatness")
_GROUPS = ("group", "trial")
_STUDY = "study"
_CLUSTER = "cluster"
_TEST_SCORES = ("test_score", "holdout_score")
_RANGES = {
    "test_gap": (-1.0, 1.0),
    "train_score": (0.0, 1.0),
    "test_score": (0.0, 1.0),
    "holdout_score": (0.0, 1.0),
    "relative_gap_flatness": (0.0, math.inf),
    "train_loss": (0.0, math.inf),
}


class CsvRows(NamedTuple):
    """What a CSV file holds.

    Attributes:
        rows: One for each line with a test gap.
        ignored_columns: Columns that mean nothing here.
        n_without_gap: Lines that say no test gap, which are left out.
    """

    rows: list[CalibrationRow]
    ignored_columns: list[str]
    n_without_gap: int


class _Line(NamedTuple):
    """The cells of one line, by column, and where it stands."""

    place: str
    cells: dict[str, str]

    def read_number(self, column: str) -> float:
        """A finite number within the column's range; NaN where the cell is empty, missing or says nan."""
        text = self.cells.get(column, "").strip()
        if not text or text.lower() == "nan":
            return math.nan
        low, high = _RANGES.get(column, (-math.inf, math.inf))
        try:
            number = float(text)
        except ValueError:
            number = math.inf
        if not math.isfinite(number) or not low <= number <= high:
            expected = "a finite number"
            if math.isfinite(high):
                expected = f"a number from {low:g} to {high:g}"
            elif math.isfinite(low):
                expected = f"a number of at least {low:g}"
            raise CalibrationError(
                f"{self.place}, column {column}: {text[:80]!r}; expected {expected}, or nothing where it is missing"
            )
        return number


def read_csv_rows(path: str | Path) -> CsvRows:
    """Reads calibration rows: a line of column names, then a line for each row.

    Columns are `FEATURE_NAMES`, or what they are made of, as `flatselect query --epochs --csv` names it
    (`relative_gap_flatness`, `train_score`, `train_loss`, `n_train_images`, `n_parameters`, `companion_...`). One of
    `log_relative_gap_flatness` and `relative_gap_flatness` is needed, and `test_gap` or `train_score` with `test_score`
    (or `holdout_score`). `group` (or `trial`, of the `study` if there is such a column) says which rows belong
    together, without it each stands alone; `epoch` and `cluster` (see `CalibrationRow`) are optional. An empty cell is
    a missing value. A line without a test gap is left out.

    Raises:
        CalibrationError: The file cannot be read, a column is lacking or named twice, or a cell is no number in its
            range; the message names file, line, column and value.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            _check_columns(path, names)
            found = [_make_row(line) for line in _iterate_lines(path, names, reader)]
    except FileNotFoundError:
        raise CalibrationError(f"{path}: no such file; expected a CSV file of features and test gaps") from None
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: not CSV in UTF-8 ({error})") from None
    rows = [row for row in found if row is not None]
    return CsvRows(rows, [name for name in names if not _is_known(name)], len(found) - len(rows))


def _check_columns(path: str | Path, names: list[str]) -> None:
    there = f"its columns are {', '.join(names)[:300]}" if any(names) else "it is empty"
    if repeated := [name for name in names if names.count(name) > 1]:
        raise CalibrationError(f"{path}, line 1: column {repeated[0]!r} is there twice; name each once")
    if not any(name in names for name in _FLATNESS):
        raise CalibrationError(f"{path}, line 1: no column {' or '.join(_FLATNESS)}; {there}")
    has_scores = "train_score" in names and any(name in names for name in _TEST_SCORES)
    if "test_gap" not in names and not has_scores:
        raise CalibrationError(f"{path}, line 1: no column test_gap, nor train_score with test_score; {there}")


def _is_known(name: str) -> bool:
    known = (*FEATURE_NAMES, *_MEASURED, *_GROUPS, _STUDY, *_TEST_SCORES, "test_gap", "epoch", _CLUSTER)
    return name in known or name.startswith(_COMPANION)


def _iterate_lines(path: str | Path, names: list[str], reader: Iterator[list[str]]) -> Iterator[_Line]:
    line_number = 1
    for cells in reader:
        line_number = getattr(reader, "line_num", line_number + 1)
        place = f"{path}, line {line_number}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise CalibrationError(f"{place}: {len(cells)} cells for {len(names)} columns; expected as many")
        yield _Line(place, dict(zip(names, cells, strict=True)))


def _make_row(line: _Line) -> CalibrationRow | None:
    gap = line.read_number("test_gap")
    if math.isnan(gap):
        test_scores = [line.read_number(name) for name in _TEST_SCORES]
        gap = line.read_number("train_score") - next((s for s in test_scores if not math.isnan(s)), math.nan)
    # Also what no row needs is read: a mistake in a line without a gap is still one.
    measured = {name: line.read_number(name) for name in _MEASURED}
    companions = {
        name.removeprefix(_COMPANION): line.read_number(name) for name in line.cells if name.startswith(_COMPANION)
    }
    epoch = line.read_number("epoch")
    features = make_features(EpochMeasurement.from_dict({"epoch": 0, **measured, "companions": companions}))
    features |= {name: line.read_number(name) for name in FEATURE_NAMES if line.cells.get(name, "").strip()}
    if math.isnan(gap):
        return None
    cluster = line.cells.get(_CLUSTER, "").strip() or None
    return CalibrationRow(_find_group(line), 0 if math.isnan(epoch) else int(epoch), features, gap, cluster)


def _find_group(line: _Line) -> str:
    group, trial, study = (line.cells.get(name, "").strip() for name in (*_GROUPS, _STUDY))
    # Trials of two studies have the same numbers.
    return group or (f"{study}/{trial}" if study and trial else trial) or line.place
