"""A calibration at a glance: predicted against measured gaps, and how often intervals hold what they say."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from flatselect.atomic_file import open_atomic
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.calibration.held_out import HeldOut
from flatselect.errors import CalibrationError

_BLUE, _FAINT, _GREY = "#1f5fa8", "rgba(31, 95, 168, 0.25)", "#888888"


def write_calibration_plots(predictor: GapPredictor, path: str | Path) -> None:
    """Writes `make_calibration_figure` as one HTML file that needs no network, whole or not at all.

    Raises:
        CalibrationError: The file cannot be written.
    """
    html = make_calibration_figure(predictor).to_html(
        include_plotlyjs=True, div_id="calibration", config={"displaylogo": False}
    )
    try:
        with open_atomic(path) as stream:
            stream.write(html.encode())
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror})") from None


def make_calibration_figure(predictor: GapPredictor) -> go.Figure:
    """Two plots of groups held out: each row's predicted against its measured gap, and observed coverage.

    The last epoch of each group has its interval; without at least three groups there is neither interval nor coverage.
    """
    description, held_out = predictor.describe(), predictor.held_out
    quality = description["cross_validated"]
    figure = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.12,
        subplot_titles=("Test gap of networks held out", "Reliability of the intervals"),
    )
    _add_gaps(figure, held_out, description["coverage"])
    _add_reliability(figure, quality["reliability"] or [])
    figure.update_layout(
        title={
            "text": f"{description['estimator_choice']['name']}: {description['n_groups']} groups, "
            f"{description['n_rows']} rows, mean absolute error {quality['mae']:.4f}",
            "x": 0.01,
        },
        template="plotly_white",
        width=1100,
        height=560,
        legend={"orientation": "h", "y": -0.16, "x": 0},
        hovermode="closest",
    )
    return figure


def _add_gaps(figure: go.Figure, held_out: HeldOut, coverage: float) -> None:
    last = held_out.find_last_rows()
    names = np.array([f"{group}, epoch {epoch}" for group, epoch in zip(held_out.groups, held_out.epochs, strict=True)])
    values = [held_out.gaps, held_out.predicted]
    bars = None
    if held_out.intervals is not None:
        values.append(held_out.intervals[last].ravel())
        bars = {
            "type": "data",
            "symmetric": False,
            "array": (held_out.intervals[:, 1] - held_out.predicted)[last],
            "arrayminus": (held_out.predicted - held_out.intervals[:, 0])[last],
            "thickness": 1,
            "width": 2,
            "color": _FAINT,
        }
    _add_diagonal(figure, values, column=1, name="predicted = measured")
    of_last = f"last epoch, {coverage:.0%} interval" if bars else "last epoch"
    for name, rows, marker, error in (
        ("earlier epochs", ~last, {"size": 4, "color": _FAINT}, None),
        (of_last, last, {"size": 7, "color": _BLUE}, bars),
    ):
        figure.add_scatter(
            x=held_out.gaps[rows],
            y=held_out.predicted[rows],
            error_y=error,
            mode="markers",
            marker=marker,
            text=names[rows],
            hovertemplate="%{text}<br>measured %{x:.4f}<br>predicted %{y:.4f}<extra></extra>",
            name=name,
            row=1,
            col=1,
        )
    figure.update_xaxes(title_text="measured test gap", row=1, col=1)
    figure.update_yaxes(title_text="predicted test gap", row=1, col=1)


def _add_reliability(figure: go.Figure, reliability: list[dict[str, float]]) -> None:
    nominal = np.array([level["nominal"] for level in reliability])
    observed = np.array([level["observed"] for level in reliability])
    _add_diagonal(figure, [np.array([0.45, 1.0]), observed], column=2, name="", is_named=False)
    figure.add_scatter(
        x=nominal,
        y=observed,
        mode="lines+markers",
        marker={"size": 8, "color": _BLUE},
        line={"color": _BLUE, "width": 1.5},
        hovertemplate="asked for %{x:.2f}<br>observed %{y:.3f}<extra></extra>",
        showlegend=False,
        row=1,
        col=2,
    )
    figure.update_xaxes(title_text="coverage asked for", tickformat=".0%", row=1, col=2)
    figure.update_yaxes(title_text="held-out rows inside", tickformat=".0%", row=1, col=2)


def _add_diagonal(
    figure: go.Figure, values: list[np.ndarray], *, column: int, name: str, is_named: bool = True
) -> None:
    """A line of equality over the range of all values."""
    every = np.concatenate(values)
    ends = [float(every.min()), float(every.max())]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": _GREY, "dash": "dot", "width": 1},
        hoverinfo="skip",
        name=name,
        showlegend=is_named,
        row=1,
        col=column,
    )
