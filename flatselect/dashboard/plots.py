"""The report's charts as optuna-dashboard shows plots of users: half a page wide, of one height."""

import json
import textwrap
from typing import Any

from flatselect.report.chart import Chart
from flatselect.report.plotly_chart import escape_plotly, make_plotly_chart
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_contents import StudyContents

PLOT_PREFIX = "flatselect-"
# The dashboard draws these itself.
_LEFT_OUT = {"importance", "parallel", "pareto"}
_SHOWN_ROWS = 12
_CAPTION_CHARACTERS, _CAPTION_PIXELS = 90, 15


def make_plots(contents: StudyContents) -> dict[str, str]:
    """By its name, each chart for which there is data, as plotly's JSON."""
    return {name: json.dumps(figure, allow_nan=False) for name, figure in make_figures(contents).items()}


def make_figures(contents: StudyContents) -> dict[str, dict[str, Any]]:
    """By its name, each chart for which there is data, as plotly's data and layout."""
    charts = {kind: make(contents) for kind, make in CHARTS.items() if kind not in _LEFT_OUT}
    return {f"{PLOT_PREFIX}{kind}": make_figure(chart) for kind, chart in charts.items() if isinstance(chart, Chart)}


def make_figure(chart: Chart) -> dict[str, Any]:
    """Plotly's data and layout; of a chart of many rows the first are in view."""
    drawing = make_plotly_chart(chart)
    layout = drawing["layout"]
    del layout["height"]  # the dashboard's own
    for path, labels in drawing["narrow"].items():
        axis, _, key = path.partition(".")
        layout[axis][key] = labels
    caption = chart.caption
    if chart.n_rows > _SHOWN_ROWS:
        layout["yaxis"]["range"] = [_SHOWN_ROWS + 0.6, 0.4]
        layout["dragmode"] = "pan"
        caption = f"{caption} Drag the plot to see the rows from {_SHOWN_ROWS + 1} to {chart.n_rows}."
    lines = textwrap.wrap(escape_plotly(caption), _CAPTION_CHARACTERS)
    layout["title"] = {
        "text": chart.title,
        "font": {"size": 14},  # plotly's buttons are on the same line
        "subtitle": {"text": "<br>".join(lines), "font": {"size": 11}},
        "x": 0.02,
        "y": 0.97,
        "yanchor": "top",
    }
    layout["margin"] |= {"t": 48 + _CAPTION_PIXELS * len(lines)}
    layout["legend"] |= {"y": -0.2, "yanchor": "top"}
    return {"data": drawing["data"], "layout": layout}
