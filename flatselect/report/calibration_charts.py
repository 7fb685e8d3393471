"""A calibration at a glance: predicted against measured gaps, and how often intervals hold what they say."""

from pathlib import Path

import numpy as np

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.calibration.held_out import HeldOut
from flatselect.errors import CalibrationError, ConfigError
from flatselect.report.chart import MOST_POINTS, Absence, Axis, Chart, Series, thin
from flatselect.report.page import make_page, write_page

GAPS, RELIABILITY = "calibration", "reliability"
_GAPS_TITLE, _RELIABILITY_TITLE = "Test gap of networks held out", "Reliability of the intervals"


def write_calibration_page(predictor: GapPredictor, path: str | Path) -> None:
    """Writes both charts as one HTML file that needs no network, whole or not at all.

    Raises:
        CalibrationError: The file cannot be written.
    """
    charts = make_calibration_charts(predictor)
    try:
        write_page(make_page("calibration.html", charts, calibrator=predictor.describe()), path)
    except ConfigError as error:
        raise CalibrationError(str(error)) from None


def make_calibration_charts(
    predictor: GapPredictor | None, most_points: int = MOST_POINTS
) -> dict[str, Chart | Absence]:
    """Both charts, by kind."""
    if predictor is None:
        reason = "The study has no calibrator yet: it is fitted when the calibration trials have ended."
        return {GAPS: Absence(GAPS, _GAPS_TITLE, reason), RELIABILITY: Absence(RELIABILITY, _RELIABILITY_TITLE, reason)}
    description = predictor.describe()
    return {
        GAPS: _make_gap_chart(predictor.held_out, description["coverage"], most_points),
        RELIABILITY: _make_reliability_chart(description["cross_validated"]["reliability"]),
    }


def _make_gap_chart(held_out: HeldOut, coverage: float, most_points: int) -> Chart:
    """Each row's predicted against its measured gap; the last epoch of each group has its interval."""
    last = held_out.find_last_rows()
    intervals = held_out.intervals
    every = np.concatenate(
        [held_out.gaps, held_out.predicted, *([] if intervals is None else [intervals[last].ravel()])]
    )
    ends = [float(every.min()), float(every.max())]
    earlier, final = np.flatnonzero(~last), np.flatnonzero(last)
    n = len(last)
    earlier, final = (rows[thin(len(rows), most_points // 2)] for rows in (earlier, final))
    series = [Series("predicted = measured", ends, ends, "line", "grey", is_dotted=True)]
    for name, rows, is_last in (("earlier epochs", earlier, False), ("last epoch", final, True)):
        has_intervals = is_last and intervals is not None
        if not len(rows):
            continue
        series.append(
            Series(
                f"{name}, {coverage:.0%} interval" if has_intervals else name,
                held_out.gaps[rows].tolist(),
                held_out.predicted[rows].tolist(),
                is_faint=not is_last,
                y_intervals=[(low, high) for low, high in intervals[rows].tolist()]
                if has_intervals and intervals is not None
                else (),
                texts=[f"{held_out.groups[row]}, epoch {held_out.epochs[row]}" for row in rows],
            )
        )
    n_shown = len(earlier) + len(final)
    return Chart(
        GAPS,
        _GAPS_TITLE,
        Axis("measured test gap"),
        Axis("predicted test gap"),
        tuple(series),
        caption=f"{n_shown:,} of {n:,} rows, evenly. " if n_shown < n else "",
    )


def _make_reliability_chart(reliability: list[dict[str, float]] | None) -> Chart | Absence:
    if not reliability:
        return Absence(RELIABILITY, _RELIABILITY_TITLE, "It takes at least three groups of rows to hold one out.")
    nominal = [level["nominal"] for level in reliability]
    observed = [level["observed"] for level in reliability]
    ends = [min(nominal), 1.0]
    return Chart(
        RELIABILITY,
        _RELIABILITY_TITLE,
        Axis("coverage asked for"),
        Axis("held-out rows inside"),
        (
            Series("as asked for", ends, ends, "line", "grey", is_dotted=True),
            Series("", nominal, observed, "line"),
            Series("observed", nominal, observed),
        ),
    )
